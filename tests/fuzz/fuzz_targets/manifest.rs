//! `manifest.nix`: read or refused; what is read is printed so that it reads
//! the same, and so do the packages in it. Names and versions of all lengths.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nival::model::manifest_nix::Value;
use nival::model::{StoreDir, package_name};
use nival::ops::user_env::element;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (name, version) = package_name::split(text);
    assert!(name.len() + version.len() <= text.len());
    assert!(package_name::compare_versions(text, text).is_eq());
    assert_eq!(
        package_name::compare_versions(name, version),
        package_name::compare_versions(version, name).reverse()
    );

    let Ok(value) = Value::parse(text) else { return };
    let printed = value.print();
    let again = Value::parse(&printed).expect("what was printed is read");
    assert_eq!(again.print(), printed);

    let dir = StoreDir::default();
    let Ok(elements) = element::read_all(&dir, &value) else { return };
    let manifest = element::print_all(&dir, &elements);
    let read = Value::parse(&manifest).expect("a manifest that we print is read");
    let read = element::read_all(&dir, &read).expect("and so are its packages");
    assert_eq!(element::print_all(&dir, &read), manifest);
});
