//! Hashes: read or refused, with every algorithm expected; what is read is the
//! same in all notations.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nival::model::{Hash, HashAlgorithm, HashFormat, base32};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    check(text, None);
    for algorithm in HashAlgorithm::ALL {
        check(text, Some(algorithm));
        if let Ok(hash) = Hash::parse_digits(text, algorithm) {
            assert_eq!(hash.algorithm(), algorithm);
        }
        if let Ok(bytes) = base32::decode(text, algorithm.digest_len()) {
            assert_eq!(base32::encode(&bytes), text);
        }
    }
});

fn check(text: &str, expected: Option<HashAlgorithm>) {
    let Ok(hash) = Hash::parse(text, expected) else { return };
    let algorithm = hash.algorithm();
    assert!(expected.is_none_or(|expected| expected == algorithm));
    assert_eq!(Hash::from_bytes(algorithm, hash.as_bytes()), Some(hash));
    for format in [HashFormat::Base16, HashFormat::Nix32, HashFormat::Base64, HashFormat::Sri] {
        assert_eq!(Hash::parse(&hash.prefixed(format), None), Ok(hash));
        assert_eq!(Hash::parse(&hash.digits(format), Some(algorithm)), Ok(hash));
    }
}
