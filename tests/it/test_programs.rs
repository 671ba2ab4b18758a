//! The one binary under its many names.

use crate::common::{Side, World};

const PROGRAMS: [&str; 9] = [
    "nix-store",
    "nix-hash",
    "nix",
    "nix-env",
    "nix-copy-closure",
    "nix-collect-garbage",
    "nix-daemon",
    "nix-instantiate",
    "nix-build",
];

#[test]
fn every_name_has_a_version() {
    let world = World::new();
    for program in PROGRAMS {
        let version = world.nival("nival", &[program, "--version"]).line();
        assert_eq!(version, format!("{program} (Nival) {}", env!("CARGO_PKG_VERSION")));
    }
    assert!(world.nival("nival", &["--version"]).line().starts_with("nival (Nival) "));
}

#[test]
fn what_is_not_built_says_so_in_one_line() {
    let world = World::new();
    for program in ["nix-instantiate", "nix-build"] {
        let outcome = world.nival("nival", &[program, "x"]);
        assert_eq!(outcome.status, 1);
        assert_eq!(outcome.stdout, b"");
        assert_eq!(outcome.stderr, format!("error: '{program}' is not available in this version of Nival\n"));
    }
    for (program, args) in [("nix", &["build"]), ("nix", &["develop"])] {
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
    assert_eq!(made.ok().lines().len(), PROGRAMS.len());
    for program in PROGRAMS {
        let output = std::process::Command::new(world.path("links").join(program))
            .arg("--version")
            .env("HOME", world.path("home"))
            .env("NIX_CONF_DIR", world.path("etc"))
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).starts_with(&format!("{program} (Nival) ")));
    }
    // Again is fine; over something else it is not.
    world.nival("nival", &["install-links", &links]).ok();
    std::fs::remove_file(world.path("links/nix-env")).unwrap();
    world.write("links/nix-env", "mine");
    let refused = world.nival("nival", &["install-links", "--force", &links]);
    assert_eq!(refused.status, 1);
    assert_eq!(std::fs::read(world.path("links/nix-env")).unwrap(), b"mine");
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
