//! Narinfos: read or refused; what is read is printed so that it reads the
//! same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nival::model::{NarInfo, StoreDir};

fuzz_target!(|data: &[u8]| {
    let dir = StoreDir::default();
    match NarInfo::parse(&dir, data) {
        Ok(info) => {
            let printed = info.print(&dir);
            assert_eq!(NarInfo::parse(&dir, printed.as_bytes()), Ok(info), "{printed}");
        }
        // However long the value is, the message is short.
        Err(error) => assert!(error.to_string().len() < 4096),
    }
});
