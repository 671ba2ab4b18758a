//! Trees that become store paths, and are remembered between evaluations.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::Duration;

use crate::common::{Side, World};

/// What is said of a tree that is not read.
const REMEMBERED: &str = "is as it was when it was read";

/// Ways in which a tree is added.
const EXPRESSIONS: [&str; 3] = [
    "\"${./tree}\"",
    "builtins.filterSource (path: type: baseNameOf path != \"left-out\") ./tree",
    "(builtins.path { path = ./tree; name = \"x\"; filter = path: type: type != \"symlink\"; })",
];

/// More files than are read without asking the memory.
fn tree(world: &World) {
    for number in 0..20 {
        world.write(format!("tree/sub{}/file{number}", number % 3), format!("file {number}"));
    }
    world.write("tree/left-out", "1");
    world.write("tree/a", "same");
    world.write("tree/b", "size");
    symlink("a", world.path("tree/link")).unwrap();
}

/// The store paths, and of how many trees it was said that they are remembered.
fn paths(world: &World, side: Side) -> (Vec<String>, usize) {
    let mut remembered = 0;
    let path = |expression: &&str| {
        let args = ["--eval", "--read-write-mode", "-v", "-E", expression];
        let outcome = world.run(side, "nix-instantiate", &args);
        remembered += outcome.stderr.matches(REMEMBERED).count();
        outcome.line()
    };
    (EXPRESSIONS.iter().map(path).collect(), remembered)
}

/// Lets the clock go on, after which a change is seen by its time.
fn settle() {
    std::thread::sleep(Duration::from_millis(2100));
}

#[test]
fn unchanged_trees_are_not_read_again() {
    let Some(world) = World::with_reference() else { return };
    tree(&world);
    // What has changed just now can change again without a trace.
    let first = paths(&world, Side::Nival);
    assert_eq!((&first.0, first.1), (&paths(&world, Side::Reference).0, 0));
    assert_eq!(paths(&world, Side::Nival), first);
    settle();
    assert_eq!(paths(&world, Side::Nival), first);
    assert_eq!(paths(&world, Side::Nival), (first.0.clone(), 3));
    // What the store has lost is read again.
    let deleted = world.run(Side::Reference, "nix-store", &["--gc"]);
    deleted.ok();
    assert_eq!(paths(&world, Side::Nival), first);
    assert_eq!(paths(&world, Side::Nival), (first.0.clone(), 3));
    let with = |name: &str, value: &str| {
        let args = ["--eval", "--read-write-mode", "-v", "--option", name, value, "-E", EXPRESSIONS[0]];
        world.nival("nix-instantiate", &args).ok().stderr.contains(REMEMBERED)
    };
    assert!(with("eval-cache", "true") && !with("eval-cache", "false"));
    // A memory that is none is none.
    let memory = world.path("home/.cache/nix/read-trees-v1.sqlite");
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", memory.display()));
    }
    fs::write(memory, "x".repeat(5000)).unwrap();
    assert_eq!(paths(&world, Side::Nival), first);
}

#[test]
fn changed_trees_are_read_again() {
    let Some(world) = World::with_reference() else { return };
    tree(&world);
    settle();
    paths(&world, Side::Nival);
    assert_eq!(paths(&world, Side::Nival).1, 3);
    let path = |name: &str| world.path("tree").join(name);
    let modified = fs::metadata(path("b")).unwrap().modified().unwrap();
    let changes: [(&str, &dyn Fn()); 9] = [
        ("contents of the same size and time", &|| {
            fs::write(path("b"), "Size").unwrap();
            fs::File::options().write(true).open(path("b")).unwrap().set_modified(modified).unwrap();
        }),
        ("two that change places", &|| {
            fs::rename(path("a"), path("c")).unwrap();
            fs::rename(path("b"), path("a")).unwrap();
            fs::rename(path("c"), path("b")).unwrap();
        }),
        ("one that can be executed", &|| {
            fs::set_permissions(path("a"), fs::Permissions::from_mode(0o755)).unwrap();
        }),
        ("a new file", &|| fs::write(path("sub1/new"), "").unwrap()),
        ("a new directory", &|| fs::create_dir(path("empty")).unwrap()),
        ("a new name", &|| fs::rename(path("empty"), path("void")).unwrap()),
        ("one less", &|| fs::remove_file(path("sub0/file0")).unwrap()),
        ("another target", &|| {
            fs::remove_file(path("link")).unwrap();
            symlink("b", path("link")).unwrap();
        }),
        ("another tree", &|| {
            fs::rename(path("sub1"), path("old")).unwrap();
            fs::rename(path("sub2"), path("sub1")).unwrap();
            fs::rename(path("old"), path("sub2")).unwrap();
        }),
    ];
    for (what, change) in changes {
        change();
        let (ours, theirs) = (paths(&world, Side::Nival), paths(&world, Side::Reference));
        assert_eq!(ours.0, theirs.0, "{what}");
    }
    settle();
    let settled = paths(&world, Side::Nival);
    assert_eq!(paths(&world, Side::Nival), (settled.0, 3));
    // What a filter leaves out makes no difference to it.
    fs::write(path("left-out"), "2").unwrap();
    let (ours, theirs) = (paths(&world, Side::Nival), paths(&world, Side::Reference));
    assert_eq!((ours.0, ours.1), (theirs.0, 1));
}
