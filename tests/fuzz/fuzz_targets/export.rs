//! Export streams from strangers. Whether or not the whole stream is taken:
//! what is registered is complete and has the contents that were registered,
//! and nothing else is left in the store. What is taken is exported so that it
//! is imported the same.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use nival::model::{HashAlgorithm, StorePath};
use nival::nar::dump;
use nival::nar::hashing::HashPipe;
use nival::store::LocalStore;
use nival_fuzz::{clear, registered, with_empty_store};

fuzz_target!(|data: &[u8]| {
    with_empty_store(|store| {
        let imported = store.import(data);
        let valid = registered(store);
        check(store, &valid);
        let Ok(imported) = imported else { return };
        let distinct: BTreeSet<&StorePath> = imported.iter().collect();
        assert!(distinct.iter().copied().eq(&valid), "the paths told are not those registered");
        if imported.is_empty() {
            return;
        }

        let exported = export(store, &imported);
        if !clear(store) {
            return;
        }
        let again = store.import(&*exported).expect("what was exported is imported");
        assert_eq!(again, imported);
        assert!(export(store, &imported) == exported, "exported differently");
    });
});

fn export(store: &LocalStore, paths: &[StorePath]) -> Vec<u8> {
    let mut stream = Vec::new();
    nival::ops::export::export(store, paths, &mut stream).expect("what was imported is exported");
    stream
}

/// The registered paths are intact, and there are no others.
fn check(store: &LocalStore, valid: &[StorePath]) {
    for path in valid {
        let info = store.path_info(path).expect("metadata of a registered path");
        let pipe = HashPipe::without_thread(HashAlgorithm::Sha256);
        let found = dump::hash_with(&store.real_path(path), pipe).expect("a registered path can be read");
        assert_eq!(found, (info.nar_hash, info.nar_size), "{path:?}");
    }
    for entry in std::fs::read_dir(&store.layout().real_store_dir).expect("the store directory") {
        let entry = entry.expect("an entry of the store directory");
        let name = entry.file_name().into_string().expect("a name that is text");
        let known = name == ".links" || valid.iter().any(|path| path.base_name() == name);
        // The place where trees are made stays for as long as the store is open.
        let scratch = || name.ends_with("-scratch") && is_empty(&entry.path());
        assert!(known || scratch(), "{name} is left in the store");
    }
}

fn is_empty(dir: &std::path::Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}
