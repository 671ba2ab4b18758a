//! The subcommands of `nix` beside the reference, on one store.

use crate::common::{Side, World};

/// A store with trees, derivations of several kinds and built outputs, all
/// made by the reference.
struct Subject {
    world: World,
    tree: String,
    file: String,
    built: String,
    drv: String,
    drvs: Vec<String>,
    invalid: String,
}

const EXPRESSION: &str = r#"
let make = name: inputs: derivation {
  inherit name; system = "x86_64-linux"; builder = "/bin/sh"; PATH = "/bin";
  args = [ "-c" "echo ${toString inputs} > $out" "it's" ]; quoted = "\"é\" \\ \t \n end";
};
a = make "a-3" []; b = make "b-bar-1.2" [ a ]; c = make "c.txt" [ a b ];
in make "top-0.1" [ a b c ]
"#;
const FIXED: &str = r#"derivation { name = "fixed"; system = "x86_64-linux"; builder = "/bin/sh";
  outputHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="; outputHashMode = "recursive"; }"#;
const FLAT: &str = r#"derivation { name = "flat"; system = "x86_64-linux"; builder = "/bin/sh";
  outputHash = "0000000000000000000000000000000000000000"; outputHashAlgo = "sha1";
  __structuredAttrs = true; list = [ 1 "a" { b = null; } ]; }"#;
const OUTPUTS: &str = r#"derivation { name = "several"; system = "x86_64-linux"; builder = "/bin/sh";
  outputs = [ "out" "dev" "doc" ]; }"#;

impl Subject {
    fn new() -> Option<Self> {
        let world = World::with_reference()?;
        world.write("src/tree/a", "hello");
        world.write("src/tree/sub/deep/x", "x".repeat(5000));
        world.write("src/tree/é ü", "unicode");
        world.write("src/tree/empty", "");
        std::fs::create_dir(world.path("src/tree/emptydir")).unwrap();
        std::os::unix::fs::symlink("sub/deep", world.path("src/tree/link")).unwrap();
        let executable = world.write("src/tree/run", "#!");
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(executable, std::fs::Permissions::from_mode(0o755)).unwrap();
        world.write("src/file", "file\n");
        world.write("src/top.nix", EXPRESSION);
        let reference = |program: &str, args: &[&str]| world.run(Side::Reference, program, args).line();
        let tree = reference("nix-store", &["--add", "src/tree"]);
        let file = reference("nix-store", &["--add", "src/file"]);
        let built = reference("nix-build", &["--no-out-link", "src/top.nix"]);
        let drv = reference("nix-store", &["-qd", &built]);
        let drvs = [FIXED, FLAT, OUTPUTS].map(|text| reference("nix-instantiate", &["-E", text]));
        let invalid = format!("{}/{}-x", world.store().display(), "a".repeat(32));
        std::os::unix::fs::symlink(&built, world.path("result")).unwrap();
        for (archive, source) in [("tree.nar", "src/tree"), ("file.nar", "src/file")] {
            let dumped = world.run(Side::Reference, "nix-store", &["--dump", source]);
            world.write(archive, &dumped.ok().stdout);
        }
        Some(Self { tree, file, built, drv, drvs: drvs.to_vec(), invalid, world })
    }

    /// Runs the words on both sides; standard output and status must agree.
    #[track_caller]
    fn same(&self, words: &[&str]) {
        let reference = self.world.run(Side::Reference, "nix", words);
        let ours = self.world.run(Side::Nival, "nix", words);
        assert_eq!(ours.status, reference.status, "{words:?}: {}", ours.stderr);
        if ours.stdout != reference.stdout {
            let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert_eq!(show(&ours.stdout), show(&reference.stdout), "{words:?}");
        }
    }

    fn all(&self, cases: &[&[&str]]) {
        for case in cases {
            self.same(case);
        }
    }
}

#[test]
fn path_info() {
    let Some(s) = Subject::new() else { return };
    let (inside, outputs) = (format!("{}/x", s.built), format!("{}^*", s.drvs[2]));
    let chosen = format!("{}^out", s.drv);
    let flags: [&[&str]; 13] = [
        &[],
        &["-s"],
        &["-sS"],
        &["-r"],
        &["-r", "-s", "-S"],
        &["-rsSh"],
        &["--sigs"],
        &["-r", "--sigs", "-s"],
        &["--json", "--json-format", "1"],
        &["--json", "--json-format", "2"],
        &["--json", "--json-format", "3"],
        &["-r", "--json", "--json-format", "1"],
        &["-r", "-S", "--json", "--json-format", "2"],
    ];
    let targets: [&[&str]; 10] = [
        &[&s.built],
        &[&s.tree, &s.built, &s.tree],
        &[&s.drv],
        &[&chosen],
        &[&outputs],
        &["./result"],
        &[&inside],
        &[&s.invalid],
        &["/nope"],
        &["--all"],
    ];
    for flags in flags {
        for targets in targets {
            s.same(&[&["path-info"], flags, targets].concat());
        }
    }
    s.all(&[&["path-info", "--json-format"], &["path-info", "--bogus", &s.built]]);
}

#[test]
fn looking_into_paths() {
    let Some(s) = Subject::new() else { return };
    let within = |path: &str| format!("{}/{path}", s.tree);
    for flags in [&[][..], &["-l"], &["-R"], &["-lR"], &["-d"], &["-ld"], &["--json"], &["--json", "-R"]] {
        for path in ["", "a", "sub", "link", "run", "nope", "sub/deep/x", "é ü"] {
            s.same(&[&["store", "ls"], flags, &[within(path).trim_end_matches('/')]].concat());
            s.same(&[&["nar", "ls"], flags, &["tree.nar", &format!("/{path}")]].concat());
        }
        s.same(&[&["store", "ls"], flags, &[s.file.as_str()]].concat());
        s.same(&[&["store", "ls"], flags, &[s.invalid.as_str()]].concat());
        s.same(&[&["nar", "ls"], flags, &["file.nar", "/"]].concat());
    }
    for path in ["a", "sub/deep/x", "link", "sub", "nope", "empty"] {
        s.same(&["store", "cat", &within(path)]);
        s.same(&["nar", "cat", "tree.nar", &format!("/{path}")]);
    }
    s.all(&[
        &["store", "cat", &s.file],
        &["nar", "cat", "file.nar", "/"],
        &["store", "dump-path", &s.built],
        &["store", "dump-path", &s.invalid],
        &["nar", "pack", "src/tree"],
        &["nar", "dump-path", "src/file"],
        &["store", "ls"],
        &["store", "ls", "/nope"],
    ]);
}

#[test]
fn adding() {
    let Some(s) = Subject::new() else { return };
    s.all(&[
        &["store", "add", "src/tree"],
        &["store", "add", "-n", "other", "src/file"],
        &["store", "add", "--mode", "flat", "src/file"],
        &["store", "add", "--mode", "text", "src/file"],
        &["store", "add", "--mode", "bogus", "src/file"],
        &["store", "add", "--hash-algo", "sha1", "src/file"],
        &["store", "add", "--dry-run", "src/tree/a"],
        &["store", "add-file", "src/tree/run"],
        &["store", "add-path", "src/tree/sub"],
        &["store", "add", "src/nope"],
        &["store", "add"],
    ]);
    let verified = s.world.run(Side::Reference, "nix-store", &["--verify", "--check-contents"]);
    assert_eq!(verified.status, 0, "{}", verified.stderr);
}

#[test]
fn verifying_and_signing() {
    let Some(s) = Subject::new() else { return };
    let key = s.world.run(Side::Nival, "nix", &["key", "generate-secret", "--key-name", "k-1"]);
    s.world.write("secret", &key.ok().stdout);
    for side in [Side::Reference, Side::Nival] {
        let public = s.world.run_with_input(side, "nix", &["key", "convert-secret-to-public"], &key.stdout);
        s.world.write(format!("public-{side:?}"), &public.ok().stdout);
    }
    assert_eq!(
        std::fs::read(s.world.path("public-Nival")).unwrap(),
        std::fs::read(s.world.path("public-Reference")).unwrap()
    );
    // Signatures by both are the same, so that the second finds nothing to add.
    s.world.run(Side::Nival, "nix", &["store", "sign", "-k", "secret", &s.tree]).ok();
    let again = s.world.run(Side::Reference, "nix", &["store", "sign", "-k", "secret", &s.tree]);
    assert_eq!(again.ok().stderr, "added 0 signatures\n");
    let public = String::from_utf8(std::fs::read(s.world.path("public-Nival")).unwrap()).unwrap();
    let trust = ["--option", "trusted-public-keys", public.as_str()];
    for words in [
        &["store", "verify", &s.built][..],
        &["store", "verify", "-r", &s.built],
        &["store", "verify", "--no-trust", &s.built, &s.tree],
        &["store", "verify", "--sigs-needed", "1", &s.tree],
        &["store", "verify", "--sigs-needed", "1", &s.built],
        &["store", "verify", "--all"],
        &["store", "verify", &s.invalid, &s.tree],
        &["path-info", "--sigs", &s.tree, &s.built],
    ] {
        s.same(words);
        s.same(&[words, &trust].concat());
    }
}

#[test]
fn hashes_derivations_settings_and_logs() {
    let Some(s) = Subject::new() else { return };
    let zeros = "0".repeat(64);
    let hash_part = s.built.rsplit('/').next().unwrap()[..32].to_owned();
    s.all(&[
        &["hash", "file", "src/file"],
        &["hash", "file", "--base16", "src/file", "src/tree/a"],
        &["hash", "file", "src/tree"],
        &["hash", "path", "src/tree"],
        &["hash", "path", "--base32", "--type", "sha1", "src/tree"],
        &["hash", "path", "--mode", "flat", "src/file"],
        &["hash", "path", "--algo", "md5", "--format", "base16", "src/file"],
        &["hash", "convert", "--hash-algo", "sha256", &zeros],
        &["hash", "convert", "--to", "nix32", &format!("sha256:{zeros}")],
        &["hash", "convert", "--from", "base16", "--hash-algo", "sha1", "--to", "base64", &zeros[..40]],
        &["hash", "convert", "--from", "base64", "--hash-algo", "sha1", &zeros[..40]],
        &["hash", "convert", "zz"],
        &["hash", "to-sri", "--type", "sha256", &zeros],
        &["hash", "to-base32", "--type", "md5", &zeros[..32]],
        &["derivation", "show", &s.drv],
        &["derivation", "show", "-r", &s.drv],
        &["derivation", "show", &s.built],
        &["derivation", "show", &s.drvs[0], &s.drvs[1], &s.drvs[2]],
        &["derivation", "show", &s.tree],
        &["log", &s.built],
        &["log", &s.drv],
        &["log", &s.tree],
        &["store", "path-from-hash-part", &hash_part],
        &["store", "path-from-hash-part", &"a".repeat(32)],
        &["store", "path-from-hash-part", "zz"],
        &["config", "show", "cores"],
        &["config", "show", "cores", "--cores", "3"],
        &["config", "show", "bogus"],
        &["store"],
        &["store", "bogus"],
        &["bogus"],
        &[],
        &["--option", "experimental-features", "", "store", "info"],
    ]);
    let show = |side| s.world.run(side, "nix", &["config", "show"]).ok().text().to_owned();
    let ours: Vec<String> = show(Side::Nival).lines().map(str::to_owned).collect();
    let ours: Vec<&String> = ours
        .iter()
        .filter(|line| {
            !["sync-store-paths ", "gc-without-proc ", "eval-cores ", "eval-listing-memory "]
                .iter()
                .any(|own| line.starts_with(own))
        })
        .collect();
    let reference = show(Side::Reference);
    // The reference has a shell compiled in, and names its own place.
    let comparable = |line: &&str| !line.starts_with("sandbox-paths ") && !line.starts_with("build-hook ");
    for line in reference.lines().filter(comparable) {
        assert!(ours.iter().any(|other| *other == line), "{line}");
    }
}

#[test]
fn a_subcommand_goes_by_the_name_that_was_typed() {
    let world = World::new();
    for name in ["shell", "env shell"] {
        let words: Vec<&str> = name.split(' ').chain(["x"]).collect();
        let told = world.nival("nix", &words).stderr;
        assert!(told.starts_with(&format!("error: 'nix {name}' is not available")), "{told}");
    }
}
