//! Texts that name a store.
