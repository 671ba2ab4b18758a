//! Whether a store may take paths from elsewhere.

use crate::model::path_info::is_verifiable;
use crate::model::signature::PublicKey;
use crate::model::{StoreDir, ValidPathInfo};
use crate::store::error::{Result, StoreError};
use crate::store::transfer::{Item, Store};

/// Whose signatures count.
#[derive(Debug, Default, Clone)]
pub struct Trust {
    /// The keys.
    pub keys: Vec<PublicKey>,
}

impl Trust {
    /// Whether a path is signed by one of the keys, or follows from its
    /// contents, which whoever takes it checks.
    pub fn accepts(&self, dir: &StoreDir, info: &ValidPathInfo) -> bool {
        (info.is_content_addressed(dir) && is_verifiable(info)) || self.good_signatures(dir, info) > 0
    }

    /// The number of keys that signed a path.
    pub fn good_signatures(&self, dir: &StoreDir, info: &ValidPathInfo) -> u64 {
        if info.signatures.is_empty() {
            return 0;
        }
        let fingerprint = info.fingerprint(dir);
        let signed = |key: &&PublicKey| {
            info.signatures.iter().any(|signature| key.verify(fingerprint.as_bytes(), signature))
        };
        self.keys.iter().filter(signed).count() as u64
    }

    /// Refuses the first path that is not to be accepted.
    ///
    /// # Errors
    /// [`StoreError::Untrusted`], which says what would help.
    pub(crate) fn check(&self, destination: &dyn Store, from: &str, items: &[Item]) -> Result<()> {
        let dir = destination.dir();
        let Some(item) = items.iter().find(|item| !self.accepts(dir, &item.info)) else { return Ok(()) };
        let names = |names: Vec<&str>| match names.is_empty() {
            true => "none".to_owned(),
            false => names.join(", "),
        };
        let signed = item
            .info
            .signatures
            .iter()
            .map(|signature| signature.split_once(':').map_or(signature.as_str(), |(name, _)| name));
        Err(StoreError::Untrusted {
            path: dir.print(&item.info.path),
            hint: format!(
                "       '{}' trusts (trusted-public-keys): {}\n       \
                 it comes from '{from}' with signatures by: {}\n       \
                 sign it with 'nix store sign', trust its key, or use '--no-check-sigs'",
                destination.uri(),
                names(self.keys.iter().map(PublicKey::name).collect()),
                names(signed.collect()),
            ),
        })
    }
}
