//! The most usual error messages of all programs, as their users see them: which
//! path, which setting, which host, and what can be done.

use std::fmt::Write as _;

use crate::common::World;

/// Command lines; `@P` is a valid path, `@G` one that is not, `@F` a file, `@D` a
/// directory, `@C` a cache.
const CASES: &[&str] = &[
    // Words.
    "nix-store",
    "nix-store --bogus",
    "nix-store --refernces @P",
    "nix-store -q --gc",
    "nix-store -q --hash --size @P",
    "nix-store --dump",
    "nix-store --max-freed",
    "nix-store --gc --max-freed 1X",
    "nix-store --option cores many --init",
    "nix-store --option bogus 1 --init",
    "nix-store --log-format bogus --init",
    "nix-env",
    "nix-env -e --lt foo",
    "nix-env -i hello",
    "nix-env -qa",
    "nix-env -u",
    "nix-env --set-flag priority",
    "nix-env --set-flag priority high foo",
    "nix-env -G 99",
    "nix-env --rollback",
    "nix-env -q nosuch",
    "nix-env -i @G",
    "nix-env -i @F",
    "nix",
    "nix stroe",
    "nix store bogus",
    "nix build",
    "nix develop",
    "nix flake show",
    "nix shell",
    "nix store gc --bogus",
    "nix store add",
    "nix config show bogus",
    "nix --store bogus://x store info",
    "nix copy @P",
    "nix path-info @G",
    "nix path-info nixpkgs#hello",
    "nix profile remove",
    "nix profile remove 0",
    "nix profile remove nosuch",
    "nix profile add @G",
    "nix profile rollback",
    "nix log @P",
    "nix store cat @P/nosuch",
    "nix store ls @G",
    "nix hash file nosuch",
    "nix hash convert zz",
    "nix key generate-secret",
    "nix-hash nosuch",
    "nix-hash --type crc @F",
    "nix-collect-garbage --delete-older-than soon",
    "nix-collect-garbage x",
    "nix-copy-closure",
    "nix-daemon x",
    "nix-build x",
    "nix-channel",
    "nix-channel --bogus",
    "nix-channel --add",
    "nix-channel --add bogus",
    "nix-channel --add http://127.0.0.1:1/x a@b",
    "nix-channel --list x",
    "nix-channel --rollback",
    "nix-prefetch-url",
    "nix-prefetch-url x",
    "nix-prefetch-url mirror://gnu",
    // Paths and files.
    "nix-store --add nosuch",
    "nix-store -q --size /nope",
    "nix-store -q --size @G",
    "nix-store -r @G",
    "nix-store --check-validity @G",
    "nix-store --delete @G",
    "nix-store --dump nosuch",
    "nix-store --restore @D",
    "nix-store --export @G",
    "nix-store --import",
    "nix-store --verify-path @G",
    "nix-store --repair-path @G",
    "nix-store -l @P",
    "nix-store --print-env @P",
    "nix-store --add-fixed crc @F",
    "nix-store --add-fixed sha256 @D",
    "nix-store --print-fixed-path sha256 zz x",
    "nix-store --generate-binary-cache-key a",
    "nix copy --from @C @G",
    "nix copy --from http://127.0.0.1:1/nowhere @G",
    "nix copy --to daemon @P",
];

fn is_hash(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
}

/// Texts that differ from run to run in a common form.
fn normal(world: &World, text: &str) -> String {
    let text = text.replace(&world.text(""), "ROOT/").replace(world.text(".").trim_end_matches("/."), "ROOT");
    let mut out = String::new();
    for piece in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let word = piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let known = is_hash(word) && word.bytes().any(|byte| byte != b'a');
        out += &if known { piece.replace(word, "HASH") } else { piece.to_owned() };
    }
    out
}

#[test]
fn usual_errors() {
    let mut all = String::new();
    for case in CASES {
        // Each in a world of its own, so that none depends on another.
        let world = World::new();
        world.write("file", "text");
        world.write("dir/file", "text");
        world.write("etc/nix.conf", "build-users-group =\nsubstituters =\ndownload-attempts = 1\n");
        let path = world.nix_store(&["--add", &world.text("dir")]).line();
        let gone = format!("{}/{}-gone", world.store().display(), "a".repeat(32));
        if case.contains("@C") {
            world.nival("nix", &["copy", "--to", &format!("file://{}", world.text("cache")), &path]).ok();
        }
        let words: Vec<String> = case
            .split(' ')
            .map(|word| {
                word.replace("@P", &path)
                    .replace("@G", &gone)
                    .replace("@F", &world.text("file"))
                    .replace("@D", &world.text("dir"))
                    .replace("@C", &format!("file://{}", world.text("cache")))
            })
            .collect();
        let outcome = world.nival(&words[0], &words[1..]);
        let told = normal(&world, &outcome.stderr);
        assert!(!told.contains("panicked") && outcome.status < 101, "{case}: {told}");
        writeln!(all, "$ {case}\n{}\n[{}]\n", told.trim_end(), outcome.status).unwrap();
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/messages.txt");
    let expected = &*std::fs::read_to_string(file).unwrap();
    if all == expected {
        return;
    }
    let new = concat!(env!("CARGO_TARGET_TMPDIR"), "/messages.txt");
    std::fs::write(new, &all).unwrap();
    let differs = |(ours, theirs): &(&str, &str)| ours != theirs;
    let (ours, theirs): (Vec<&str>, Vec<&str>) =
        (all.split("\n\n").collect(), expected.split("\n\n").collect());
    let first = ours.iter().copied().zip(theirs.iter().copied()).find(differs);
    panic!(
        "messages are others than in tests/it/messages.txt; they are in {new}, to be reviewed. The first: {first:?}"
    );
}
