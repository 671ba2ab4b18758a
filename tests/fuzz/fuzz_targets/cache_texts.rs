//! The other texts that come with binary caches: `nix-cache-info`, keys and
//! signatures, realisations, netrc files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nival::http::netrc;
use nival::model::Realisation;
use nival::model::signature::{PublicKey, SecretKey};
use nival::store::binary_cache::cache_info::CacheInfo;

fuzz_target!(|data: &[u8]| {
    let _ = CacheInfo::parse(data);
    let text = String::from_utf8_lossy(data);
    if let Ok(key) = SecretKey::parse(&text) {
        assert_eq!(SecretKey::parse(&key.print()).expect("what was printed is read").print(), key.print());
        assert!(key.public().verify(data, &key.sign(data)));
    }
    if let Ok(key) = PublicKey::parse(&text) {
        assert_eq!(PublicKey::parse(&key.print()), Ok(key.clone()));
        assert!(!key.verify(b"nobody signed this", &text));
    }
    if let Ok(realisation) = Realisation::parse(data) {
        assert_eq!(Realisation::parse(realisation.print().as_bytes()), Ok(realisation));
    }
    let _ = netrc::lookup(&text, "example.org");
});
