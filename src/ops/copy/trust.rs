//! Whether a store may take paths from elsewhere.

use std::collections::BTreeSet;

use crate::model::path_info::is_verifiable;
use crate::model::signature::PublicKey;
use crate::model::{Realisation, StoreDir, ValidPathInfo};
use crate::store::api::{Item, Store};
use crate::store::error::{Result, StoreError};

/// Whose signatures count.
#[derive(Debug, Default, Clone)]
pub struct Trust {
    /// The keys.
    pub keys: Vec<PublicKey>,
}

impl Trust {
    /// Whether a path is signed by one of the keys, or follows from its
    /// contents, which the store that takes it checks.
    pub fn accepts(&self, dir: &StoreDir, info: &ValidPathInfo) -> bool {
        (info.is_content_addressed(dir) && is_verifiable(info)) || self.good_signatures(dir, info) > 0
    }

    /// The number of keys that signed a path: one that is listed twice, or under
    /// two names, counts once.
    pub fn good_signatures(&self, dir: &StoreDir, info: &ValidPathInfo) -> u64 {
        if info.signatures.is_empty() {
            return 0;
        }
        let fingerprint = info.fingerprint(dir);
        let signed = |key: &&PublicKey| {
            info.signatures.iter().any(|signature| key.verify(fingerprint.as_bytes(), signature))
        };
        self.keys.iter().filter(signed).map(PublicKey::bytes).collect::<BTreeSet<_>>().len() as u64
    }

    /// Whether a realisation is signed by one of the keys.
    pub fn accepts_realisation(&self, realisation: &Realisation) -> bool {
        realisation.is_signed_by(&self.keys)
    }

    /// Refuses the first path that is not to be accepted.
    ///
    /// # Errors
    /// [`StoreError::Untrusted`].
    pub(crate) fn check(&self, destination: &dyn Store, from: &str, items: &[Item]) -> Result<()> {
        let dir = destination.dir();
        let Some(item) = items.iter().find(|item| !self.accepts(dir, &item.info)) else { return Ok(()) };
        Err(StoreError::Untrusted {
            path: dir.print(&item.info.path),
            known: format!(
                "       '{}' trusts (trusted-public-keys): {}\n       {}",
                name(destination),
                listed(self.keys.iter().map(PublicKey::name)),
                self.signed_by(from, &item.info),
            ),
        })
    }

    /// By whom a path is said to be signed, and whether that may be.
    fn signed_by(&self, from: &str, info: &ValidPathInfo) -> String {
        let name = |signature: &String| {
            let name = signature.split_once(':').map_or(signature.as_str(), |(name, _)| name);
            name.to_owned()
        };
        let names: BTreeSet<String> = info.signatures.iter().map(name).collect();
        let mut text = format!(
            "it comes from '{from}' with signatures by: {}",
            listed(names.iter().map(String::as_str))
        );
        let wrong = names.iter().filter(|name| self.keys.iter().any(|key| key.name() == name.as_str()));
        for name in wrong {
            text += &format!(
                "\n       that by '{name}' does not fit the key of this name that is trusted: it is by another key, \
                 or the metadata of the path were changed"
            );
        }
        text
    }
}

/// The error for a realisation that has to be signed and is not.
pub fn unsigned_realisation(realisation: &Realisation) -> StoreError {
    StoreError::UntrustedRealisation {
        output: realisation.id.to_string(),
        path: realisation.out_path.base_name().to_owned(),
    }
}

fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// What tells a store from others: `local` would be the name of several.
fn name(store: &dyn Store) -> String {
    match store.files().filter(|_| store.is_direct()) {
        Some(files) => files.shown(),
        None => store.uri(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::signature::SecretKey;
    use crate::model::{Hash, StorePath};

    #[test]
    fn keys_count_once() {
        let dir = StoreDir::default();
        let path = StorePath::from_parts(&[1; 20], "x").unwrap();
        let mut info = ValidPathInfo::new(path, Hash::sha256(b""), 1);
        let keys = [("a", 1), ("b", 1), ("c", 2)].map(|(name, seed)| SecretKey::from_seed(name, &[seed; 32]));
        let fingerprint = info.fingerprint(&dir);
        info.signatures = keys.iter().map(|key| key.sign(fingerprint.as_bytes())).collect();
        let mut trust = Trust { keys: vec![keys[0].public(), keys[0].public(), keys[1].public()] };
        assert_eq!(trust.good_signatures(&dir, &info), 1);
        trust.keys.push(keys[2].public());
        assert_eq!(trust.good_signatures(&dir, &info), 2);
    }

    #[test]
    fn a_signature_of_another_key_of_the_name_is_told_of() {
        let dir = StoreDir::default();
        let path = StorePath::from_parts(&[1; 20], "x").unwrap();
        let mut info = ValidPathInfo::new(path, Hash::sha256(b""), 1);
        let [signs, trusted] = [1, 2].map(|seed| SecretKey::from_seed("ci-1", &[seed; 32]));
        info.signatures.insert(signs.sign(info.fingerprint(&dir).as_bytes()));
        let trust = Trust { keys: vec![trusted.public()] };
        assert!(!trust.accepts(&dir, &info));
        assert!(trust.signed_by("there", &info).contains("that by 'ci-1' does not fit the key"));
    }
}
