//! Questions about garbage, which change nothing and are for everybody.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use crate::common::{self, Outcome, Side, World};

/// A store with a rooted path, one that it refers to, and a dead one.
fn make(world: &World) -> [String; 3] {
    let mut paths = ["kept", "dead", "more"].map(|name| {
        world.write(format!("src/{name}"), name);
        world.nix_store(&["--add", &world.text(format!("src/{name}"))]).line()
    });
    symlink(&paths[0], world.path("var/gcroots/keep")).unwrap();
    paths[1..].sort();
    paths
}

/// Everything below a directory, with times of change.
fn state(dir: &Path, found: &mut BTreeMap<std::path::PathBuf, (i64, i64, u64)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        // Of the database's index even a reader writes.
        if entry.path().extension().is_none_or(|extension| extension != "sqlite-shm") {
            found.insert(entry.path(), (meta.ctime(), meta.ctime_nsec(), meta.len()));
        }
        if meta.is_dir() {
            state(&entry.path(), found);
        }
    }
}

fn as_nobody(world: &World, program: &str, args: &[&str]) -> Outcome {
    let mut command = world.command(Side::Nival, program);
    common::outcome(command.args(args).uid(65534).gid(65534).output().unwrap())
}

#[test]
fn whoever_may_read_may_ask() {
    if !rustix::process::geteuid().is_root() {
        common::skip("only root can become somebody else");
        return;
    }
    let world = World::new();
    std::fs::set_permissions(world.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    let [kept, dead @ ..] = make(&world);
    let everything = || {
        let mut found = BTreeMap::new();
        state(&world.path("var"), &mut found);
        state(&world.store(), &mut found);
        found
    };
    let before = everything();
    let list = as_nobody(&world, "nix-store", &["--gc", "--print-dead"]);
    assert_eq!(list.ok().lines(), dead.iter().map(String::as_str).collect::<Vec<_>>());
    let list = as_nobody(&world, "nix-store", &["--gc", "--print-live"]);
    assert_eq!(list.ok().lines(), [kept.as_str()]);
    for (program, args) in [
        ("nix-store", &["--gc", "--dry-run"][..]),
        ("nix-collect-garbage", &["--dry-run"]),
        ("nix", &["store", "gc", "--dry-run"]),
    ] {
        let dry = as_nobody(&world, program, args);
        assert_eq!(dry.ok().text(), "2 store paths would be deleted\n");
        assert!(dry.stderr.contains("KiB would be freed"), "{dry:?}");
    }
    as_nobody(&world, "nix-store", &["--gc", "--print-roots", "--json"]).ok();
    // Who may not collect is told so, and of nothing else.
    let outcome = as_nobody(&world, "nix-store", &["--gc"]);
    assert_eq!((outcome.status, outcome.text()), (1, ""));
    assert!(outcome.stderr.contains("cannot write to the store"), "{outcome:?}");
    assert_eq!(everything(), before);
    // Nor does root give up the reserve to ask.
    let reserve = world.path("var/db/reserved").metadata().unwrap().ino();
    world.nix_store(&["--gc", "--print-dead"]).ok();
    world.nix_store(&["--gc", "--dry-run"]).ok();
    assert_eq!(world.path("var/db/reserved").metadata().unwrap().ino(), reserve);
}

#[test]
fn a_store_that_is_only_read_is_asked_too() {
    let world = World::new();
    let [kept, dead @ ..] = make(&world);
    let ask = |question: &str| {
        let options = ["--option", "extra-experimental-features", "read-only-local-store"];
        world.nix_store(&[&["--store", "local?read-only=true", "--gc", question], &options[..]].concat())
    };
    assert_eq!(ask("--print-dead").ok().lines(), dead.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(ask("--print-live").ok().lines(), [kept.as_str()]);
    assert_eq!(ask("--dry-run").ok().text(), "2 store paths would be deleted\n");
}

#[test]
fn only_of_what_is_there_can_be_said_why() {
    let world = World::new();
    let [kept, ..] = make(&world);
    let other = format!("{kept}zzz");
    world
        .nix_store(&["--gc", "--why-alive", &other])
        .fails(&format!("error: path '{other}' is not valid; did you mean '{kept}'?"));
    let nothing = format!("{}/{}-nothing", world.text("store"), "0".repeat(32));
    let outcome = world.nix_store(&["--gc", "--why-alive", &nothing]);
    outcome.fails(&format!("error: path '{nothing}' is not valid"));
    let outcome = world.nix_store(&["--gc", "--why-alive"]);
    outcome.fails("error: '--why-alive' expects the paths to ask about");
    world.nix_store(&["--gc", "--why-alive", &kept]).ok();
}

#[test]
fn limits_below_nothing() {
    let world = World::new();
    let [_, dead, _] = make(&world);
    for args in [["--gc", "--max-freed", "-5"], ["--gc", "--max-freed", "-1K"]] {
        assert_eq!(world.nix_store(&args).ok().text(), "0 store paths deleted, 0.0 KiB freed\n");
    }
    world.nival("nix-collect-garbage", &["--max-freed", "-5"]).ok();
    assert!(Path::new(&dead).exists());
    let outcome = world.nix_store(&["--gc", "--max-freed", "1B"]);
    outcome.fails("error: invalid unit specifier 'B', expected K, M, G or T, as in 10G");
}
