//! Dumps of the database: all of a dump is registered or nothing; what is
//! registered is dumped so that it registers the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nival::store::LocalStore;
use nival::store::error::Result;
use nival::store::local::db::write::Existing;
use nival::store::local::register::RegisterOptions;
use nival_fuzz::{clear, registered, with_empty_store};

fuzz_target!(|data: &[u8]| {
    with_empty_store(|store| {
        if register(store, data, Existing::Keep).is_err() {
            assert!(registered(store).is_empty(), "part of a bad dump is registered");
            return;
        }
        register(store, data, Existing::Update).expect("what was registered is registered again");
        register(store, data, Existing::Keep).expect("what was registered is registered again");
        let first = dump(store);
        if !clear(store) {
            return;
        }
        register(store, &first, Existing::Keep).expect("what was dumped is registered");
        assert!(dump(store) == first, "dumped differently");
    });
});

fn register(store: &LocalStore, text: &[u8], existing: Existing) -> Result<()> {
    let mut options = RegisterOptions::new(existing);
    options.hash_given = true;
    store.register_validity(text, options)
}

fn dump(store: &LocalStore) -> Vec<u8> {
    let mut text = Vec::new();
    store.dump_all(&mut text).expect("a store can be dumped");
    text
}
