//! Store paths, store URIs and content addresses: read or refused; what is
//! read is printed so that it reads the same.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use nival::model::{ContentAddress, StoreDir};
use nival::store::open::uri::StoreUri;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let dir = StoreDir::default();
    if let Ok(path) = dir.parse(text) {
        assert_eq!(dir.print(&path), text);
    }
    if let Ok((path, rest)) = dir.parse_below(text) {
        assert_eq!(format!("{}{rest}", dir.display(&path)), text);
    }
    if let Ok(other) = StoreDir::new(text) {
        assert_eq!(other.as_str(), text);
    }

    if let Ok(ca) = text.parse::<ContentAddress>() {
        assert_eq!(ca.to_string().parse::<ContentAddress>(), Ok(ca));
    }

    let here = Path::new("/here");
    if let Ok(uri) = StoreUri::parse(text, here) {
        let printed = uri.to_string();
        let again = StoreUri::parse(&printed, here).expect("what was printed is read");
        assert_eq!(again, uri, "{printed}");
    }
});
