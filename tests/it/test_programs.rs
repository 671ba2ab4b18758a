//! The one binary under its many names.

use crate::common::{Side, World};

const PROGRAMS: [&str; 12] = [
    "nix-store",
    "nix-hash",
    "nix",
    "nix-env",
    "nix-copy-closure",
    "nix-collect-garbage",
    "nix-daemon",
    "nix-instantiate",
    "nix-build",
    "nix-shell",
    "nix-channel",
    "nix-prefetch-url",
];

#[test]
fn every_name_has_a_version() {
    let world = World::new();
    for program in PROGRAMS {
        let version = world.nival("nival", &[program, "--version"]).line();
        assert_eq!(version, format!("{program} (Nival, like Nix) 2.34.8"));
    }
    let own = format!("nival (Nival) {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(world.nival("nival", &["--version"]).line(), own);
    // Wherever it stands, and the last word is that of the reference.
    for args in [&["copy", "--version"][..], &["store", "gc", "--version"], &["--version", "store"]] {
        assert_eq!(world.nival("nix", args).line(), "nix (Nival, like Nix) 2.34.8");
    }
    let info = world.nival("nix", &["store", "info", "--json"]);
    let info: serde_json::Value = serde_json::from_slice(&info.ok().stdout).unwrap();
    assert_eq!((&info["version"], &info["nival"]), (&"2.34.8".into(), &env!("CARGO_PKG_VERSION").into()));
    if let Some(world) = World::with_reference() {
        let theirs = world.run(Side::Reference, "nix-store", &["--version"]).line();
        assert_eq!(theirs.rsplit(' ').next(), Some("2.34.8"));
    }
}

#[test]
fn what_is_not_built_says_so_in_one_line() {
    let world = World::new();
    for (program, args) in [("nix", &["build"]), ("nix", &["develop"]), ("nix", &["shell"])] {
        let outcome = world.nival(program, args);
        assert_eq!((outcome.status, outcome.stderr.lines().count()), (1, 1), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("is not available in this version of Nival"));
    }
}

#[test]
fn links_are_made_for_every_name() {
    let world = World::new();
    let links = world.text("links");
    let made = world.nival("nival", &["install-links", &links]);
    // The last line tells of man pages and completions.
    assert_eq!(made.ok().lines().len(), PROGRAMS.len() + 1);
    for program in PROGRAMS {
        let output = std::process::Command::new(world.path("links").join(program))
            .arg("--version")
            .env("HOME", world.path("home"))
            .env("NIX_CONF_DIR", world.path("etc"))
            .output()
            .unwrap();
        assert!(
            String::from_utf8_lossy(&output.stdout).starts_with(&format!("{program} (Nival, like Nix) "))
        );
    }
    // Again is fine; over something else it is not.
    world.nival("nival", &["install-links", &links]).ok();
    std::fs::remove_file(world.path("links/nix-env")).unwrap();
    world.write("links/nix-env", "mine");
    let refused = world.nival("nival", &["install-links", "--force", &links]);
    assert_eq!(refused.status, 1);
    assert_eq!(std::fs::read(world.path("links/nix-env")).unwrap(), b"mine");
    // So are pages of the original, and nothing is made then.
    world.write("other/share/man/man1/nix.1", "the original's");
    let refused = world.nival("nival", &["install-links", &world.text("other/bin")]);
    assert_eq!(refused.status, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("man1/nix.1' exists already"), "{}", refused.stderr);
    assert!(!world.path("other/bin").exists());
    world.nival("nival", &["install-links", "--force", &world.text("other/bin")]).ok();
    assert_ne!(std::fs::read(world.path("other/share/man/man1/nix.1")).unwrap(), b"the original's");
}

#[test]
fn the_newer_commands_work_out_of_the_box() {
    let world = World::new();
    let run = |conf: &str| {
        world.write("etc/nix.conf", format!("build-users-group =\nsubstituters =\n{conf}"));
        world.nival("nix", &["store", "info"])
    };
    run("").ok();
    run("extra-experimental-features = ca-derivations\n").ok();
    // A setting of one's own takes the place of the default.
    let refused = run("experimental-features = ca-derivations\n");
    refused.fails(
        "error: experimental Nix feature 'nix-command' is disabled; add '--extra-experimental-features nix-command' to enable it",
    );
}

#[test]
fn the_tour_needs_a_place_for_its_files() {
    let mut world = World::new();
    world.variables.push(("TMPDIR".to_owned(), world.text("nowhere")));
    let told = world.nival("nival", &["tour"]);
    let place = world.text("nowhere");
    told.fails(&format!(
        "error: '{place}' cannot be used for temporary files: No such file or directory; set TMPDIR to a directory"
    ));
}

#[test]
fn words_may_be_repeated_and_follow_two_dashes() {
    let Some(world) = World::with_reference() else { return };
    let file = world.write("src/file", "text");
    let path = world.nix_store(&["--add", file.to_str().unwrap()]).line();
    let cases: &[(&str, &[&str])] = &[
        ("nix-store", &["-q", "-q", "--hash", &path]),
        ("nix-store", &["-q", "--query", "--hash", &path]),
        ("nix-store", &["-r", "--realise", &path]),
        ("nix-store", &["--", "-q", "--hash", &path]),
        ("nix-store", &["-q", "--", "--hash", &path]),
        ("nix-store", &["-q", "--hash", "--", &path]),
        ("nix-store", &["-q", "--dump", &path]),
        ("nix-env", &["-q", "-q"]),
        ("nix-env", &["--", "-q"]),
        ("nix-env", &["-q", "-e"]),
        ("nix-hash", &["--", "--flat", "src/file"]),
        ("nix-collect-garbage", &["--", "--dry-run"]),
    ];
    for (program, args) in cases {
        let [ours, theirs] = [Side::Nival, Side::Reference].map(|side| world.run(side, program, args));
        assert_eq!(ours.status, theirs.status, "{program} {args:?}: {}", ours.stderr);
        if *program != "nix-collect-garbage" {
            assert_eq!(ours.text(), theirs.text(), "{program} {args:?}");
        }
    }
}

#[test]
fn the_tour_shows_the_main_job() {
    let mut world = World::new();
    world.variables.push(("TMPDIR".to_owned(), world.text("home")));
    let tour = world.nival("nival", &["tour"]);
    let text = tour.ok().text();
    for wanted in
        ["$ nix-store --add project", "└───", "all is well", "equal", "Hello from the store", "exit status 1"]
    {
        assert!(text.contains(wanted), "{wanted} is missing in:\n{text}");
    }
    assert_eq!(std::fs::read_dir(world.path("home")).unwrap().count(), 0);
}

#[test]
fn usage_errors_are_those_of_the_reference() {
    let Some(world) = World::with_reference() else { return };
    let path = format!("{}/{}-x", world.store().display(), "a".repeat(32));
    let cases: &[&[&str]] = &[
        &[],
        &["--bogus"],
        &["--init", "x"],
        &["-q", "--bogus"],
        &["-q", "--hash", "--size", &path],
        &["-q", "--dump"],
        &["-q", "-x", &path],
        &["--dump"],
        &["--dump", "a", "b"],
        &["--restore"],
        &["--add-fixed"],
        &["--add-fixed", "crc"],
        &["--print-fixed-path", "sha256"],
        &["--print-fixed-path", "sha256", "zz", "x"],
        &["--generate-binary-cache-key", "a"],
        &["--print-env"],
        &["--option"],
        &["--option", "bogus", "1", "--init"],
        &["--option", "cores", "abc", "--init"],
        &["--cores", "abc", "--init"],
        &["--log-format", "bogus", "--init"],
        &["--import", "x"],
        &["--load-db", "x"],
        &["--store", "bogus", "--init"],
        &["--store", "bogus://x", "--init"],
        &["--store", "local?bogus=1", "--init"],
        &["-q", "--size", &path],
        &["-q", "--size", "/nope"],
        &["-q", "--size", "foo"],
        &["--check-validity", &path],
        &["-q", "-b"],
    ];
    // The hint names the program as it was called.
    let told = |text: String| {
        let hint = text.lines().map(|line| match line.strip_prefix("Try '") {
            Some(rest) => format!("Try '{}", rest.rsplit('/').next().unwrap_or(rest)),
            None => line.to_owned(),
        });
        hint.collect::<Vec<_>>()
    };
    for case in cases {
        let reference = world.run(Side::Reference, "nix-store", case);
        let ours = world.run(Side::Nival, "nix-store", case);
        assert_eq!(ours.status, reference.status, "{case:?}");
        assert_eq!(told(ours.stderr), told(reference.stderr), "{case:?}");
    }
}
