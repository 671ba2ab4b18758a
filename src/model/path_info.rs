//! What the database knows of a valid path.

use std::collections::BTreeSet;

use super::content_address::{ContentAddress, ContentAddressMethod, ContentReferences};
use super::hash::Hash;
use super::store_path::{StoreDir, StorePath};

/// The metadata of a valid path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidPathInfo {
    /// The path.
    pub path: StorePath,
    /// Hash of its NAR.
    pub nar_hash: Hash,
    /// Bytes of its NAR; 0 where nobody recorded it.
    pub nar_size: u64,
    /// The paths it refers to, itself among them where it does.
    pub references: BTreeSet<StorePath>,
    /// The derivation that made it, valid or not.
    pub deriver: Option<StorePath>,
    /// Seconds since 1970 when it was registered.
    pub registration_time: i64,
    /// Built on this machine, and so trusted without a signature.
    pub ultimate: bool,
    /// `KEYNAME:base64`, each over the fingerprint.
    pub signatures: BTreeSet<String>,
    /// Set when the path follows from its content.
    pub ca: Option<ContentAddress>,
}

impl ValidPathInfo {
    /// Metadata with nothing optional in it.
    pub fn new(path: StorePath, nar_hash: Hash, nar_size: u64) -> Self {
        Self {
            path,
            nar_hash,
            nar_size,
            references: BTreeSet::new(),
            deriver: None,
            registration_time: 0,
            ultimate: false,
            signatures: BTreeSet::new(),
            ca: None,
        }
    }

    /// The text that signatures are made over:
    /// `1;PATH;sha256:NIX32;NARSIZE;REF,REF…` with full paths, sorted.
    pub fn fingerprint(&self, dir: &StoreDir) -> String {
        let references: Vec<String> = self.references.iter().map(|path| dir.print(path)).collect();
        format!("1;{};{};{};{}", dir.display(&self.path), self.nar_hash, self.nar_size, references.join(","))
    }

    /// Whether the path is the one that its content address and references
    /// lead to. False without a content address.
    pub fn is_content_addressed(&self, dir: &StoreDir) -> bool {
        let Some(ca) = &self.ca else { return false };
        let mut references = ContentReferences { others: self.references.clone(), itself: false };
        if ca.method != ContentAddressMethod::Text {
            references.itself = references.others.remove(&self.path);
        }
        dir.content_path(self.path.name(), ca, &references).is_ok_and(|path| path == self.path)
    }
}

/// Whether the hash in a content address can be made from the contents: of a path
/// that contains its own name only that of the archive, with the name blanked out.
pub fn is_verifiable(info: &ValidPathInfo) -> bool {
    info.ca.as_ref().is_some_and(|ca| {
        ca.method == ContentAddressMethod::NixArchive || !info.references.contains(&info.path)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_has_sorted_full_paths() {
        let dir = StoreDir::default();
        let a = dir.parse("/nix/store/3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-demo-1.0").unwrap();
        let b = dir.parse("/nix/store/qa1w9gdfrba6jl2r57mb3c43863gqywp-hello.txt").unwrap();
        let mut info = ValidPathInfo::new(a.clone(), Hash::sha256(b""), 7);
        info.references = [b, a].into();
        assert_eq!(
            info.fingerprint(&dir),
            "1;/nix/store/3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-demo-1.0;\
             sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73;7;\
             /nix/store/3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-demo-1.0,\
             /nix/store/qa1w9gdfrba6jl2r57mb3c43863gqywp-hello.txt"
        );
    }
}
