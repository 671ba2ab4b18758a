//! What stands for the paths of outputs in the texts of a derivation.

use std::collections::BTreeMap;

use crate::model::derivation::{Bytes, Derivation, placeholder};
use crate::model::store_path::{StoreDir, StorePath};

/// Texts, and what the builder sees in their place.
pub struct Placeholders {
    /// By their first bytes, so that a text is gone through once.
    texts: Vec<(Bytes, Bytes)>,
}

impl Placeholders {
    /// Those of the outputs of a derivation, of which the builder writes the given paths.
    pub fn new(dir: &StoreDir, drv: &Derivation, scratch: &BTreeMap<String, StorePath>) -> Self {
        let mut texts = Vec::new();
        for (name, path) in scratch {
            texts.push((placeholder::of_output(name.as_bytes()), dir.print(path).into_bytes()));
            if let Some(known) = drv.outputs.get(name).and_then(|output| output.path())
                && known != path
            {
                // Both have the same length and, but for the hash part, the same name.
                texts.push((known.hash_part().into(), path.hash_part().into()));
            }
        }
        Self { texts }
    }

    /// A text with all of them replaced.
    pub fn fill_in(&self, text: &[u8]) -> Bytes {
        let mut made = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.first() {
            let found = self.texts.iter().find(|(from, _)| rest.starts_with(from));
            match found {
                Some((from, to)) => {
                    made.extend_from_slice(to);
                    rest = &rest[from.len()..];
                }
                None => {
                    made.push(*first);
                    rest = &rest[1..];
                }
            }
        }
        made
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_filled_in() {
        let dir = StoreDir::default();
        let path =
            |digit: &str, name: &str| dir.parse(&format!("/nix/store/{}-{name}", digit.repeat(32))).unwrap();
        let (known, scratch) = (path("1", "x"), path("2", "x"));
        let mut drv = Derivation::default();
        let output = crate::model::derivation::DerivationOutput::InputAddressed(known);
        drv.outputs.insert("out".to_owned(), output);
        let scratch = BTreeMap::from([("out".to_owned(), scratch)]);
        let placeholders = Placeholders::new(&dir, &drv, &scratch);
        let text = format!(
            "a/nix/store/{0}-x:{0}/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9",
            "1".repeat(32)
        );
        let expected = format!("a/nix/store/{0}-x:{0}/nix/store/{0}-x", "2".repeat(32));
        assert_eq!(String::from_utf8(placeholders.fill_in(text.as_bytes())).unwrap(), expected);
    }
}
