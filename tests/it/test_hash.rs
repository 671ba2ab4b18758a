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

/// What is behind links and pipes is hashed.
#[test]
fn links_and_pipes() {
    let Some(world) = World::with_reference() else { return };
    world.write("src/file", "some text\n");
    std::os::unix::fs::symlink("file", world.path("src/link")).unwrap();
    for (program, words) in [
        ("nix-hash", &["--flat"][..]),
        ("nix-hash", &["--flat", "--type", "sha256", "--base32"]),
        ("nix", &["hash", "path", "--mode", "flat"]),
        ("nix", &["hash", "file"]),
    ] {
        // Standard input is a pipe.
        for path in ["/dev/stdin", "src/link"] {
            let words = [words, &[path]].concat();
            let [ours, reference] = [Side::Nival, Side::Reference].map(|side| {
                let outcome = world.run_with_input(side, program, &words, b"standard input");
                (outcome.status, outcome.text().to_owned())
            });
            assert_eq!((ours.0, &ours), (0, &reference), "{program} {words:?}");
        }
    }
}

/// Algorithms and methods behind experimental features: off, and on.
#[test]
fn experimental_hashes() {
    let Some(world) = World::with_reference() else { return };
    world.write("src/tree/sub/x", "hello\n");
    world.write("src/tree/sub.c", "hello\n");
    world.write("src/tree/sub0", "");
    std::fs::create_dir(world.path("src/tree/empty")).unwrap();
    std::fs::set_permissions(
        world.path("src/tree/sub.c"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    std::os::unix::fs::symlink("sub", world.path("src/tree/link")).unwrap();
    world.write("src/file", "some text\n".repeat(300_000));
    let zeros = "0".repeat(64);
    let sri = "blake3-DKUVmIOM8bfFuc2bqljrpkzsAytTAKEXRrjNUDH84B8=";
    let cases: &[&[&str]] = &[
        &["nix-hash", "--type", "blake3", "src/tree"],
        &["nix-hash", "--flat", "--type", "blake3", "--base32", "src/file"],
        &["nix-hash", "--to-sri", "--type", "blake3", &zeros],
        &["nix", "hash", "file", "--type", "blake3", "src/file"],
        &["nix", "hash", "path", "--algo", "blake3", "src/tree"],
        &["nix", "hash", "convert", sri],
        &["nix", "hash", "convert", "--hash-algo", "blake3", &zeros],
        &["nix", "hash", "path", "--mode", "git", "src/tree"],
        &["nix", "hash", "path", "--mode", "git", "--algo", "sha1", "--format", "base16", "src/tree"],
        &["nix", "hash", "path", "--mode", "git", "--algo", "sha1", "src/file"],
        &["nix", "hash", "path", "--mode", "git", "--algo", "sha1", "src/tree/link"],
        &["nix", "hash", "path", "--mode", "tar", "src/file"],
        &["nix-store", "--add-fixed", "blake3", "src/file"],
        &["nix-store", "--add-fixed", "--recursive", "blake3", "src/tree"],
        &["nix-store", "--print-fixed-path", "blake3", &zeros, "x"],
        &["nix", "store", "add", "--hash-algo", "blake3", "src/tree"],
        &["nix", "store", "add", "--mode", "git", "src/tree"],
        &["nix", "store", "add", "--mode", "git", "--hash-algo", "sha1", "src/tree"],
        &["nix", "store", "add", "--mode", "git", "--hash-algo", "sha1", "src/file"],
    ];
    for features in ["nix-command", "nix-command blake3-hashes git-hashing"] {
        for case in cases {
            let mut words = vec!["--option", "experimental-features", features];
            words.extend(&case[1..]);
            let ours = world.run(Side::Nival, case[0], &words);
            let reference = world.run(Side::Reference, case[0], &words);
            assert_eq!((ours.status, ours.text()), (reference.status, reference.text()), "{case:?}");
        }
    }
    // What was added so goes from store to store, and both sides find it right.
    let features = ["--option", "experimental-features", "nix-command blake3-hashes git-hashing"];
    let run = |side, words: &[&str]| world.run(side, "nix", &[&features[..], words].concat());
    let copied = format!("{}?store={}&real={}", world.text("copy"), world.text("store"), world.text("real"));
    run(Side::Nival, &["copy", "--all", "--to", &copied]).ok();
    for side in [Side::Nival, Side::Reference] {
        let list = run(side, &["path-info", "--json", "--json-format", "1", "--all"]).ok().text().to_owned();
        assert_eq!((list.matches("fixed:git:").count(), list.matches("blake3:").count()), (3, 2), "{list}");
        run(side, &["store", "verify", "--all", "--store", &copied]).ok();
    }
}
