//! `--optimise`, `auto-optimise-store`, and the sizes that depend on hard links.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::common::{Side, World};
use crate::data;

const SIDES: [Side; 2] = [Side::Nival, Side::Reference];

/// Two trees and a file with much in common: contents, executables, symlinks,
/// empty files.
fn add_similar(world: &World, extra: &[&str]) -> Vec<String> {
    for tree in ["a", "b"] {
        for number in 0..20 {
            world.write(
                format!("src/{tree}/d{}/f{number}", number % 3),
                format!("{number}").repeat(number * 100),
            );
        }
        world.write(format!("src/{tree}/run"), "0".repeat(500));
        world.write(format!("src/{tree}/own"), tree.repeat(1000));
        std::fs::set_permissions(
            world.path(format!("src/{tree}/run")),
            std::fs::Permissions::from_mode(0o755),
        )
        .unwrap();
        for number in 0..3 {
            symlink("same target", world.path(format!("src/{tree}/link{number}"))).unwrap();
        }
    }
    world.write("src/single", "5".repeat(500));
    let mut args = vec!["--add".to_owned()];
    args.extend(["a", "b", "single"].map(|source| world.text(Path::new("src").join(source))));
    args.extend(extra.iter().map(|arg| (*arg).to_owned()));
    let added = world.nix_store(&args);
    added.ok().lines().into_iter().map(str::to_owned).collect()
}

/// Which files are one, by their paths in the store; and the links' names.
fn groups(world: &World) -> (BTreeSet<BTreeSet<PathBuf>>, BTreeSet<String>) {
    let mut by_inode: BTreeMap<u64, BTreeSet<PathBuf>> = BTreeMap::new();
    let mut waiting = vec![world.store()];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                waiting.push(entry.path());
            } else {
                let path = entry.path().strip_prefix(world.store()).unwrap().to_owned();
                by_inode.entry(meta.ino()).or_default().insert(path);
            }
        }
    }
    (by_inode.into_values().collect(), data::names(&world.path("store/.links")))
}

/// The store directory without its name, which is part of every path's hash.
fn nameless(
    world: &World,
    (groups, links): (BTreeSet<BTreeSet<PathBuf>>, BTreeSet<String>),
) -> (BTreeSet<BTreeSet<String>>, BTreeSet<String>) {
    let nameless = |path: &PathBuf| {
        let text = path.display().to_string();
        if text.starts_with(".links") { text } else { text[32..].to_owned() }
    };
    assert!(world.store().exists());
    (groups.iter().map(|group| group.iter().map(nameless).collect()).collect(), links)
}

#[test]
fn links_what_the_reference_links() {
    let Some(ours) = World::with_reference() else { return };
    let theirs = World::new();
    let results = std::iter::zip([&ours, &theirs], SIDES).map(|(world, side)| {
        add_similar(world, &[]);
        let outcome = world.run(side, "nix-store", &["--optimise"]);
        (outcome.status, outcome.stderr.clone(), nameless(world, groups(world)))
    });
    let results: Vec<_> = results.collect();
    assert_eq!(results[0], results[1]);
    assert!(ours.path("store/.links").read_dir().unwrap().count() > 20);
    // What one has linked the other finds linked, and nothing has changed.
    let before = groups(&ours);
    for (world, side) in [(&ours, Side::Reference), (&theirs, Side::Nival)] {
        let again = world.run(side, "nix-store", &["--optimise"]);
        assert_eq!(again.ok().stderr, "0.0 KiB freed by hard-linking 0 files\n");
        let metadata = data::metadata(&world.store());
        let odd: Vec<_> = metadata
            .iter()
            .filter(|(path, text)| !path.is_empty() && *path != ".links" && !text.contains(" 1"))
            .collect();
        assert!(odd.is_empty(), "{odd:?}");
        data::assert_sound(world);
    }
    assert_eq!(groups(&ours), before);
}

#[test]
fn what_is_added_is_linked_at_once_if_asked() {
    let world = World::new();
    add_similar(&world, &["--option", "auto-optimise-store", "true"]);
    let linked = groups(&world);
    let outcome = world.nix_store(&["--optimise"]);
    assert_eq!(outcome.ok().stderr, "0.0 KiB freed by hard-linking 0 files\n");
    assert_eq!(groups(&world), linked);
    assert!(linked.0.iter().filter(|group| group.len() > 2).count() > 15);
    data::assert_sound(&world);
}

#[test]
fn only_what_changed_is_looked_at_again() {
    let world = World::new();
    let paths = add_similar(&world, &[]);
    let optimise = || world.nix_store(&["--optimise", "-vvvv"]).ok().stderr.clone();
    let looked_at = |stderr: &str| {
        let hits = paths.iter().map(|path| stderr.contains(&format!("optimising path '{path}'")));
        hits.collect::<Vec<_>>()
    };
    assert_eq!(looked_at(&optimise()), [true; 3]);
    // A file of the store may have changed again since: by links to it.
    assert_eq!(looked_at(&optimise())[..2], [false; 2]);
    // Something else is in the place of one.
    let gone = world.nix_store(&["--delete", &paths[1]]);
    assert!(gone.ok().stderr.contains("deleting"), "{}", gone.stderr);
    assert_eq!(world.nix_store(&["--add", &world.text("src/b")]).line(), paths[1]);
    assert_eq!(looked_at(&optimise())[..2], [false, true]);
    assert_eq!(looked_at(&optimise()), [false; 3]);
    // The links are gone, or the record is not one.
    let record = world.path("var/optimised");
    let good = std::fs::read(&record).unwrap();
    for bad in [&good[..good.len() - 1], b"", b"nival-optimised-1\n", &[7; 100]] {
        std::fs::write(&record, bad).unwrap();
        assert_eq!(looked_at(&optimise()), [true; 3]);
        assert_eq!(std::fs::read(&record).unwrap(), good);
    }
    std::fs::rename(world.path("store/.links"), world.path("store-links")).unwrap();
    std::fs::create_dir(world.path("store/.links")).unwrap();
    assert_eq!(looked_at(&optimise()), [true; 3]);
    assert!(world.path("store/.links").read_dir().unwrap().count() > 20);
}

#[test]
fn damage_does_not_spread_and_odd_files_are_left_alone() {
    let world = World::new();
    let paths = add_similar(&world, &[]);
    world.nix_store(&["--optimise"]).ok();
    // A link whose contents changed, with the same size.
    let file = format!("{}/own", paths[0]);
    let hash = world.nival("nix-hash", &["--type", "sha256", "--base32", &file]).line();
    let link = world.path("store/.links").join(hash);
    let damaged = "x".repeat(1000);
    std::fs::remove_file(&link).unwrap();
    std::fs::write(&link, &damaged).unwrap();
    std::fs::set_permissions(&link, std::fs::Permissions::from_mode(0o444)).unwrap();
    // A file that somebody can write to.
    let writable = format!("{}/own", paths[1]);
    std::fs::remove_file(&writable).unwrap();
    std::fs::write(&writable, "b".repeat(1000)).unwrap();
    std::fs::set_permissions(&writable, std::fs::Permissions::from_mode(0o644)).unwrap();
    // Another file that would be linked to it.
    world.write("src/another", "a".repeat(1000));
    world.nix_store(&["--add", &world.text("src/another")]).ok();
    let outcome = world.nix_store(&["--optimise"]);
    assert!(outcome.ok().stderr.contains("removing corrupted link"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(&format!("skipping suspicious writable file '\"{writable}\"'")));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a".repeat(1000));
    data::assert_sound(&world);
}

/// A file system of its own for a store; unmounted with the guard.
pub struct Mount(PathBuf);

impl Mount {
    /// A tmpfs; `None` (and a word why) where it cannot be had.
    pub fn new(path: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(path)
            .output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            crate::common::skip("no file system can be mounted here");
            return None;
        }
        Some(Self(path.to_owned()))
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        (stat.f_blocks - stat.f_bfree) * stat.f_frsize
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

#[test]
fn a_dry_run_knows_what_comes_free() {
    let world = World::new();
    let Some(mount) = Mount::new(&world.store(), "size=256m") else { return };
    let paths = add_similar(&world, &[]);
    data::big_file(&world.path("src/big"), 200);
    let big = world.nix_store(&["--add", &world.text("src/big")]).line();
    // Some of the links lead to what stays.
    world.nix_store(&["--optimise"]).ok();
    symlink(&paths[1], world.path("var/gcroots/b")).unwrap();
    let before = mount.used();
    let dry = world.nix_store(&["--gc", "--dry-run", "--log-format", "raw"]);
    let line = dry.ok().stderr.lines().last().unwrap().to_owned();
    assert!(line.ends_with(" would be freed"), "{line}");
    assert_eq!(dry.text(), "3 store paths would be deleted\n");
    for path in [&paths[0], &paths[2], &big] {
        assert!(dry.stderr.contains(&format!("would delete '{path}'")));
    }
    let again = world.nival("nix", &["store", "gc", "--dry-run"]);
    assert_eq!((again.ok().text(), again.stderr.lines().last().unwrap()), (dry.text(), &*line));
    assert_eq!(mount.used(), before);
    world.nix_store(&["--gc"]).ok();
    let freed = before - mount.used();
    let said: f64 = line.split(' ').next().unwrap().parse().unwrap();
    let unit = if line.contains("MiB") { 1_048_576.0 } else { 1024.0 };
    let ratio = said * unit / freed as f64;
    assert!((0.99..1.01).contains(&ratio), "{line}, and {freed} came free");
    drop(mount);
}

#[test]
fn a_damaged_link_is_replaced_once_and_all_files_are_linked() {
    for round in 0..12u64 {
        let world = World::new();
        for number in 0..40 {
            world.write(format!("src/d{number}/same"), "s".repeat(100_000));
            world.write(format!("src/d{number}/own"), number.to_string());
        }
        let sources: Vec<String> = (0..40).map(|number| world.text(format!("src/d{number}"))).collect();
        let mut args = vec!["--add"];
        args.extend(sources.iter().map(String::as_str));
        let paths: Vec<String> = world.nix_store(&args).ok().lines().into_iter().map(str::to_owned).collect();
        // The name of the link, and something else of the same size under it.
        world.nix_store(&["--optimise"]).ok();
        let inode = Path::new(&paths[0]).join("same").metadata().unwrap().ino();
        let links = world.path("store/.links");
        let link = std::fs::read_dir(&links).unwrap().map(|entry| entry.unwrap());
        let link = link.into_iter().find(|entry| entry.metadata().unwrap().ino() == inode).unwrap().path();
        let damage = || {
            for path in &paths {
                let file = Path::new(path).join("same");
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
                std::fs::remove_file(&file).unwrap();
                std::fs::write(&file, "s".repeat(100_000)).unwrap();
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o444)).unwrap();
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o555)).unwrap();
            }
            std::fs::remove_file(&link).unwrap();
            std::fs::write(&link, "d".repeat(100_000)).unwrap();
            std::fs::set_permissions(&link, std::fs::Permissions::from_mode(0o444)).unwrap();
        };
        damage();
        let _ = std::fs::remove_file(world.path("var/optimised"));
        let outcome = world.nix_store(&["--optimise"]);
        assert_eq!(outcome.ok().stderr.matches("removing corrupted link").count(), 1, "{outcome:?}");
        assert_eq!(outcome.stderr.matches("there may be more damage").count(), 1, "{outcome:?}");
        let inode = link.metadata().unwrap().ino();
        for path in &paths {
            let file = Path::new(path).join("same").metadata().unwrap();
            assert_eq!(file.ino(), inode, "round {round}: {path} is not linked");
        }
        assert_eq!(link.metadata().unwrap().nlink(), 41, "round {round}");
    }
}
