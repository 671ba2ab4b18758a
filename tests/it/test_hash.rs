//! `nix-hash` beside the reference.

use crate::common::{Side, World};

#[test]
fn hashes_and_conversions() {
    let Some(world) = World::with_reference() else { return };
    world.write("src/tree/sub/file", "hello\n");
    world.write("src/tree/é", [0xff, 0, 7]);
    std::os::unix::fs::symlink("sub", world.path("src/tree/link")).unwrap();
    world.write("src/file", "some text\n".repeat(100_000));
    let zeros = "0".repeat(64);
    let mut cases: Vec<Vec<String>> = Vec::new();
    for algorithm in ["md5", "sha1", "sha256", "sha512"] {
        for notation in [None, Some("--base16"), Some("--base32"), Some("--base64"), Some("--sri")] {
            for (mode, target) in [(None, "src/tree"), (None, "src/file"), (Some("--flat"), "src/file")] {
                for truncate in [None, Some("--truncate")] {
                    let words = [mode, Some("--type"), Some(algorithm), notation, truncate, Some(target)];
                    cases.push(words.into_iter().flatten().map(str::to_owned).collect());
                }
            }
        }
    }
    let more: &[&[&str]] = &[
        &[],
        &["src/tree", "src/file"],
        &["--to-base32", "--type", "sha256", &zeros],
        &["--to-sri", &format!("sha256:{zeros}")],
        &["--to-base16", "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="],
        &["--to-base64", "--type", "md5", &zeros[..32], &zeros[..32]],
        &["--to-base16", "zz"],
        &["--to-base16", "--type", "sha1", &zeros],
        &["--type", "crc", "src/file"],
        &["--bogus"],
    ];
    cases.extend(more.iter().map(|words| words.iter().map(|word| (*word).to_owned()).collect()));
    for case in cases {
        let reference = world.run(Side::Reference, "nix-hash", &case);
        let ours = world.run(Side::Nival, "nix-hash", &case);
        assert_eq!((ours.status, ours.text()), (reference.status, reference.text()), "{case:?}");
    }
}
