//! Keys and signatures (Ed25519).
//!
//! ```text
//! key or signature = NAME ":" base64
//! ```
//!
//! A secret key is 64 bytes (seed, then public key), a public key 32, a
//! signature 64. Names are free of colons.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use ed25519_dalek::{Signer as _, SigningKey, Verifier as _, VerifyingKey};

/// Why a text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No colon, an empty part, not base-64, or the wrong number of bytes.
    #[error("key is corrupt")]
    Corrupt,
    /// The bytes are base-64, but not those of a secret key.
    #[error("secret key is not valid")]
    Secret,
    /// The bytes are base-64, but not those of a public key.
    #[error("public key is not valid")]
    Public,
    /// There are too few or too many bytes.
    #[error("{what} key is not valid ({found} bytes, {expected} expected)")]
    Length {
        /// `secret` or `public`.
        what: &'static str,
        /// Bytes that are there.
        found: usize,
        /// Bytes that should be.
        expected: usize,
    },
}

/// Base-64 with or without `=` at its end.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn split(text: &str) -> Result<(&str, Vec<u8>), KeyError> {
    let (name, data) = text.trim().split_once(':').ok_or(KeyError::Corrupt)?;
    if name.is_empty() || data.is_empty() {
        return Err(KeyError::Corrupt);
    }
    Ok((name, LENIENT.decode(data).map_err(|_| KeyError::Corrupt)?))
}

/// Whether a text can be a signature: a name without blanks, a colon, base-64.
/// What cannot be is not to be kept among others, which blanks separate; nor are
/// characters that a terminal acts on.
pub fn is_well_formed(text: &str) -> bool {
    !text.contains(|c: char| c.is_whitespace() || c.is_control()) && split(text).is_ok()
}

/// A named secret key.
pub struct SecretKey {
    name: String,
    key: SigningKey,
}

impl SecretKey {
    /// A key from 32 random bytes.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Self {
        Self { name: name.to_owned(), key: SigningKey::from_bytes(seed) }
    }

    /// Reads `NAME:base64`.
    ///
    /// # Errors
    /// Any [`KeyError`]; also when the public half does not belong to the
    /// secret one.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, bytes) = split(text)?;
        let length = |bytes: Vec<u8>| KeyError::Length { what: "secret", found: bytes.len(), expected: 64 };
        let bytes: [u8; 64] = bytes.try_into().map_err(length)?;
        let key = SigningKey::from_keypair_bytes(&bytes).map_err(|_| KeyError::Secret)?;
        Ok(Self { name: name.to_owned(), key })
    }

    /// `NAME:base64`.
    pub fn print(&self) -> String {
        format!("{}:{}", self.name, STANDARD.encode(self.key.to_keypair_bytes()))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey { name: self.name.clone(), key: self.key.verifying_key() }
    }

    /// `NAME:base64` of the signature over `data`.
    pub fn sign(&self, data: &[u8]) -> String {
        format!("{}:{}", self.name, STANDARD.encode(self.key.sign(data).to_bytes()))
    }
}

/// A named public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    key: VerifyingKey,
}

impl PublicKey {
    /// Reads `NAME:base64`.
    ///
    /// # Errors
    /// Any [`KeyError`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, bytes) = split(text)?;
        let length = |bytes: Vec<u8>| KeyError::Length { what: "public", found: bytes.len(), expected: 32 };
        let bytes: [u8; 32] = bytes.try_into().map_err(length)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Public)?;
        Ok(Self { name: name.to_owned(), key })
    }

    /// `NAME:base64`.
    pub fn print(&self) -> String {
        format!("{}:{}", self.name, STANDARD.encode(self.key.as_bytes()))
    }

    /// The key itself: two of them are the same key, whatever they are called.
    pub fn bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// The name, which a signature carries too.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether `signature` (`NAME:base64`) is by this key and over `data`.
    pub fn verify(&self, data: &[u8], signature: &str) -> bool {
        let Ok((name, bytes)) = split(signature) else { return false };
        let Ok(bytes) = <[u8; 64]>::try_from(bytes) else { return false };
        name == self.name && self.key.verify(data, &ed25519_dalek::Signature::from_bytes(&bytes)).is_ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn padding_may_be_missing() {
        let secret = SecretKey::from_seed("k-1", &[7; 32]);
        let bare = |text: String| text.trim_end_matches('=').to_owned();
        let public = PublicKey::parse(&bare(secret.public().print())).unwrap();
        assert_eq!(public, secret.public());
        assert!(public.verify(b"x", &bare(secret.sign(b"x"))));
        assert_eq!(SecretKey::parse(&bare(secret.print())).unwrap().print(), secret.print());
        let short = PublicKey::parse("k-1:AAAA").unwrap_err();
        assert_eq!(short.to_string(), "public key is not valid (3 bytes, 32 expected)");
    }

    proptest! {
        #[test]
        fn sign_and_verify(seed in any::<[u8; 32]>(), data in proptest::collection::vec(any::<u8>(), 0..99)) {
            let secret = SecretKey::parse(&SecretKey::from_seed("k-1", &seed).print()).unwrap();
            let public = PublicKey::parse(&secret.public().print()).unwrap();
            let signature = secret.sign(&data);
            prop_assert!(public.verify(&data, &signature));
            prop_assert!(!public.verify(b"other data, longer than any of the above \
                ...................................................................", &signature));
            prop_assert!(!public.verify(&data, &signature.replacen("k-1", "k-2", 1)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,9}:?[A-Za-z0-9+/=]{0,90}") {
            let _ = SecretKey::parse(&text);
            let _ = PublicKey::parse(&text);
        }
    }
}
