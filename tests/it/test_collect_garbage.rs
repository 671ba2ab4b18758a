//! `nix-collect-garbage`.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use crate::common::{Outcome, Side, World};
use crate::data::{self, hash_part};

/// A profile with generations that lead to paths of their own, made so many
/// days ago.
fn make_profile(world: &World, profile: &str, ages: &[u64], current: usize) -> Vec<String> {
    let dir = world.path("var/profiles").join(profile);
    std::fs::create_dir_all(dir.parent().unwrap()).unwrap();
    let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut text = String::new();
    let mut paths = Vec::new();
    for (i, age) in ages.iter().enumerate() {
        let seed = profile.bytes().fold(i as u64, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
        let path = format!("{}/{}-{name}-{i}", world.text("store"), hash_part(seed));
        std::fs::write(&path, profile).unwrap();
        text += &format!("{path}\n\n0\n");
        let link = dir.with_file_name(format!("{name}-{}-link", i + 1));
        symlink(&path, &link).unwrap();
        let time = Timespec { tv_sec: i64::try_from(now - age * 86_400).unwrap(), tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, &link, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        paths.push(path);
    }
    symlink(format!("{name}-{current}-link"), &dir).unwrap();
    world.run_with_input(Side::Nival, "nix-store", &["--register-validity"], text.as_bytes()).ok();
    paths
}

fn make(world: &World) -> Vec<String> {
    world.nix_store(&["--init"]).ok();
    let mut all = make_profile(world, "per-user/root/profile", &[50, 40, 20, 3, 1], 4);
    all.extend(make_profile(world, "per-user/bob/profile", &[60, 50], 2));
    all.extend(make_profile(world, "system", &[100, 50, 10], 3));
    all
}

fn everything(world: &World) -> (BTreeSet<String>, Vec<BTreeSet<String>>) {
    let dirs = ["var/profiles", "var/profiles/per-user/root", "var/profiles/per-user/bob"];
    let mut profiles: Vec<_> = dirs.iter().map(|dir| data::names(&world.path(dir))).collect();
    // The reference makes a link to root's own profile on the way.
    profiles[0].remove("default");
    (data::names(&world.store()), profiles)
}

/// What was said, as a set: profiles are visited in another order, and ours
/// says each thing once.
fn said(world: &World, outcome: &Outcome) -> (i32, String, BTreeSet<String>) {
    let root = world.text("");
    let stderr = outcome.stderr.replace(&root, "/");
    // In its lines there are names of paths, which differ.
    let lines =
        stderr.lines().filter(|line| !line.starts_with("deleting '") && !line.contains("currently saving -"));
    let lines = lines.map(str::to_owned).collect();
    (outcome.status, outcome.text().to_owned(), lines)
}

#[test]
fn old_generations_go_as_with_the_reference() {
    for args in [
        &["-d"][..],
        &["--delete-old"],
        &["--delete-older-than", "15d"],
        &["--delete-older-than", "45d"],
        &[],
    ] {
        let Some(ours) = World::with_reference() else { return };
        let theirs = World::new();
        let results: Vec<_> = [(&ours, Side::Nival), (&theirs, Side::Reference)]
            .map(|(world, side)| {
                make(world);
                let outcome = world.run(side, "nix-collect-garbage", args);
                (said(world, &outcome), everything(world))
            })
            .into();
        assert_eq!(results[0], results[1], "{args:?}");
    }
}

#[test]
fn a_dry_run_tells_of_what_old_generations_hold() {
    let world = World::new();
    let paths = make(&world);
    let before = everything(&world);
    let dry = world.nival("nix-collect-garbage", &["-d", "--dry-run"]);
    assert!(
        dry.ok().text().starts_with("7 store paths would be deleted, 28.0 KiB would be freed"),
        "{}",
        dry.text()
    );
    assert_eq!(dry.stderr.matches("would remove profile version").count(), 7);
    assert!(dry.stderr.contains(&format!("would delete '{}'", paths[0])));
    assert_eq!(everything(&world), before);
    let done = world.nival("nix-collect-garbage", &["-d"]);
    assert!(done.ok().text().starts_with("7 store paths deleted, "));
    data::assert_sound(&world);
}
