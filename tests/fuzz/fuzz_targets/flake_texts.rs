//! Texts of flakes: references, registries and lock files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nival::flake::lock::LockFile;
use nival::flake::registry::Registry;
use nival::model::flake_ref::FlakeRef;

fuzz_target!(|data: &[u8]| {
    if let Ok(found) = FlakeRef::parse(&String::from_utf8_lossy(data)) {
        let _ = found.url().to_string();
        assert_eq!(FlakeRef::from_attributes(&found.attributes()), Ok(found));
    }
    if let Ok(registry) = Registry::parse(data, "file") {
        let again = Registry::parse(registry.print().as_bytes(), "file");
        assert_eq!(again.expect("what was printed is read"), registry);
    }
    if let Ok(lock) = LockFile::parse(data, "file") {
        assert_eq!(LockFile::parse(lock.print().as_bytes(), "file"), Ok(lock));
    }
});
