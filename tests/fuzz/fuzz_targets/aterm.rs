//! Derivations: read or refused; what is read is printed so that it reads the
//! same, and its outputs can be checked.
#![no_main]

use std::convert::Infallible;

use libfuzzer_sys::fuzz_target;
use nival::model::derivation::modulo::{self, Modulo};
use nival::model::{Derivation, Hash, StoreDir, StorePath};

fuzz_target!(|data: &[u8]| {
    let dir = StoreDir::default();
    let Ok(drv) = Derivation::parse(&dir, data) else { return };
    let text = drv.print(&dir);
    let again = Derivation::parse(&dir, &text).expect("what was printed is read");
    assert_eq!(again, drv);
    assert_eq!(again.print(&dir), text);

    let input = |path: &StorePath| -> Result<Modulo, Infallible> {
        Ok(Modulo::Known(Hash::sha256(path.base_name().as_bytes())))
    };
    let Ok(_) = modulo::hash_as_input(&drv, &dir, input);
    let Ok(_) = modulo::check_outputs(&drv, &dir, "name", input);
});
