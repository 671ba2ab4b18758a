//! Integration tests: the programs as their users run them, alone and beside
//! the reference implementation.
//!
//! The reference is found through `NIVAL_REFERENCE` (a directory with
//! `bin/nix-store`, as `tests/tools/install-reference` makes it). Without it the
//! tests that need it pass with a line on standard error that says so; with
//! `CI` set they fail instead.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod conformance;
mod data;
mod imports;
mod peer;
mod remotes;
mod s3;
mod servers;

mod test_adding;
mod test_architecture;
mod test_build;
mod test_build_environment;
mod test_cache_faults;
mod test_caches;
mod test_channels;
mod test_collect_garbage;
mod test_completions;
mod test_copy;
mod test_copy_ends;
mod test_copy_http;
mod test_copy_s3;
mod test_copy_stays;
mod test_damage;
mod test_damaged_roots;
mod test_derivations;
mod test_elsewhere;
mod test_embedding;
mod test_escapes;
mod test_eval;
mod test_far;
mod test_farm;
mod test_fetch_closure;
mod test_fetch_git;
mod test_fetch_mercurial;
mod test_fetch_strangers;
mod test_fetch_tree;
mod test_fetch_web;
mod test_fetching;
mod test_flags;
mod test_flake_refs;
mod test_full_disk;
mod test_gc;
mod test_gc_liveness;
mod test_gc_questions;
mod test_gc_refusals;
mod test_generations;
mod test_hash;
mod test_import_damage;
mod test_instantiate;
mod test_interop;
mod test_messages;
mod test_narinfo_fields;
mod test_nix;
mod test_nix_env;
mod test_nix_eval;
mod test_nix_profile;
mod test_nix_shell;
mod test_optimise;
mod test_outputs;
mod test_packages;
mod test_packages_cache;
mod test_packages_fetched;
mod test_packages_parts;
mod test_parse;
mod test_prefetch;
mod test_programs;
mod test_progress;
mod test_protocol;
mod test_query;
mod test_read_only_store;
mod test_realisations;
mod test_realise;
mod test_remote;
mod test_repair;
mod test_repl;
mod test_robustness;
mod test_sandbox;
mod test_setting_effects;
mod test_settings;
mod test_sources;
mod test_stores;
mod test_strangers;
mod test_transfer;
mod test_uris;
mod test_why_depends;
