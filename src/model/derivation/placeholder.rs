//! What stands for store paths that are not known yet in the texts of a derivation: `/` and the
//! nix32 form of a SHA-256.
//!
//! | of | hash of |
//! |---|---|
//! | an output of the derivation itself | `nix-output:OUTPUT` |
//! | an output of an input | `nix-upstream-output:HASHPART:NAME`, of the input and of the output's path |

use super::Bytes;
use crate::model::store_path::{StorePath, output_path_name};
use crate::model::{Hash, base32};

/// What stands for an output of the derivation that the text belongs to.
pub fn of_output(output: &[u8]) -> Bytes {
    placeholder(&[b"nix-output:", output].concat())
}

/// What stands for an output of another derivation.
pub fn of_input(drv: &StorePath, output: &str) -> Bytes {
    let name = drv.name().strip_suffix(".drv").unwrap_or(drv.name());
    let text = format!("nix-upstream-output:{}:{}", drv.hash_part(), output_path_name(name, output));
    placeholder(text.as_bytes())
}

fn placeholder(text: &[u8]) -> Bytes {
    format!("/{}", base32::encode(Hash::sha256(text).as_bytes())).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_those_of_the_reference() {
        assert_eq!(of_output(b"out"), b"/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9");
        assert_eq!(of_output(b"foo"), b"/1x0ymrsy7yr7i9wdsqy9khmzc1yy7nvxw6rdp72yzn50285s67j5");
    }
}
