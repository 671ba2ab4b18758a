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
    assert_eq!(dry.ok().text(), "7 store paths would be deleted\n");
    assert!(dry.stderr.ends_with("28.0 KiB would be freed\n"), "{}", dry.stderr);
    assert_eq!(dry.stderr.matches("would remove profile version").count(), 7);
    assert!(dry.stderr.contains(&format!("would delete '{}'", paths[0])));
    assert_eq!(everything(&world), before);
    let done = world.nival("nix-collect-garbage", &["-d"]);
    assert!(done.ok().text().starts_with("7 store paths deleted, "));
    data::assert_sound(&world);
}

#[test]
fn standard_output_of_a_dry_run_is_that_of_the_reference() {
    let Some(world) = World::with_reference() else { return };
    make(&world);
    let calls: [(&str, &[&str]); 3] = [
        ("nix-collect-garbage", &["--dry-run"]),
        ("nix-collect-garbage", &["--delete-older-than", "400d", "--dry-run"]),
        ("nix", &["store", "gc", "--dry-run"]),
    ];
    for (program, args) in calls {
        let [ours, theirs] =
            [Side::Nival, Side::Reference].map(|side| world.run(side, program, args).ok().stdout.clone());
        assert_eq!(ours, theirs, "{program} {args:?}");
    }
}

/// Where the profile in use lies elsewhere, by the user's own link.
fn elsewhere(world: &World) {
    make(world);
    make_profile(world, "../../own/mine", &[50, 20, 1], 3);
    std::fs::create_dir_all(world.path("own/below")).unwrap();
    for number in 1..=2 {
        symlink("/nowhere", world.path(format!("own/below/other-{number}-link"))).unwrap();
    }
    symlink("other-2-link", world.path("own/below/other")).unwrap();
    symlink(world.path("own/mine"), world.path("home/.nix-profile")).unwrap();
}

#[test]
fn what_is_beside_the_profile_in_use_is_looked_at_as_by_the_reference() {
    for args in [&["-d"][..], &["--delete-older-than", "15d"]] {
        let Some(ours) = World::with_reference() else { return };
        let theirs = World::new();
        let results: Vec<_> = [(&ours, Side::Nival), (&theirs, Side::Reference)]
            .map(|(world, side)| {
                elsewhere(world);
                world.run(side, "nix-collect-garbage", args).ok();
                let names = |dir: &str| data::names(&world.path(dir));
                (names("own"), names("own/below"), names("var/profiles"))
            })
            .into();
        assert!(!results[0].0.contains("mine-1-link"), "{args:?}: {results:?}");
        let mut theirs = results[1].clone();
        // A link that the reference makes on the way.
        theirs.2.remove("default");
        assert_eq!(results[0], theirs, "{args:?}");
    }
}

#[test]
fn old_generations_go_where_a_daemon_works_on_the_store() {
    let world = World::new();
    let paths = make(&world);
    let mut daemon = world.command(Side::Nival, "nix-daemon").spawn().unwrap();
    while !world.path("var/daemon-socket/socket").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let run = |args: &[&str]| {
        let mut command = world.command(Side::Nival, "nix-collect-garbage");
        crate::common::outcome(command.args(args).env("NIX_REMOTE", "daemon").output().unwrap())
    };
    let (dry, done) = (run(&["-d", "--dry-run"]), run(&["-d"]));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert_eq!(dry.ok().text(), "0 store paths would be deleted\n");
    assert_eq!(dry.stderr.matches("would remove profile version").count(), 7);
    assert!(done.ok().text().starts_with("7 store paths deleted, "), "{done:?}");
    assert!(!std::path::Path::new(&paths[0]).exists());
}

#[test]
fn only_the_date_of_a_generation_tells_its_age() {
    let world = World::new();
    world.nix_store(&["--init"]).ok();
    // The third was made when the clock was far behind.
    make_profile(&world, "system", &[60, 50, 900, 10, 1], 5);
    let left = |args: &[&str]| {
        world.nival("nix-collect-garbage", args).ok();
        let names = data::names(&world.path("var/profiles"));
        names.into_iter().filter(|name| name.starts_with("system-")).collect::<Vec<_>>()
    };
    let link = |number: u32| format!("system-{number}-link");
    assert_eq!(left(&["--delete-older-than", "30d"]), [link(2), link(4), link(5)]);
    assert_eq!(left(&["--delete-older-than", "+2"]), [link(4), link(5)]);
    let refused = world.nival("nix-collect-garbage", &["--delete-older-than", "2"]);
    refused.fails("error: invalid number of days specifier '2', expected something like '14d'");
}

#[test]
fn nobody_keeps_root_from_collecting() {
    if !rustix::process::geteuid().is_root() {
        crate::common::skip("only root can give directories to others");
        return;
    }
    let world = World::new();
    let paths = make(&world);
    let bob = world.path("var/profiles/per-user/bob");
    std::os::unix::fs::chown(&bob, Some(65534), Some(65534)).unwrap();
    let held = std::fs::File::create(bob.join("profile.lock")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let began = std::time::Instant::now();
    let outcome = world.nival("nix-collect-garbage", &["-d"]);
    assert!(began.elapsed().as_secs() < 30);
    outcome.ok();
    let name = bob.join("profile");
    let told = format!("its generations stay: somebody holds the lock of profile \"{}\"", name.display());
    assert!(outcome.stderr.contains(&told), "{outcome:?}");
    let holder = format!("is held by process {} (", std::process::id());
    assert!(outcome.stderr.contains(&holder), "{outcome:?}");
    // All others were done.
    let left = |dir: &str| data::names(&world.path(dir)).into_iter().filter(|name| name.ends_with("-link"));
    assert_eq!(left("var/profiles/per-user/bob").count(), 2);
    assert_eq!(left("var/profiles").count() + left("var/profiles/per-user/root").count(), 2);
    assert!(!std::path::Path::new(&paths[0]).exists());
    // A lock that is none, in a directory of the machine's own, is told by the status.
    std::fs::create_dir(world.path("var/profiles/per-user/root/profile.lock")).unwrap();
    symlink("/nowhere", world.path("var/profiles/per-user/root/profile-9-link")).unwrap();
    drop(held);
    std::fs::remove_file(bob.join("profile.lock")).unwrap();
    let outcome = world.nival("nix-collect-garbage", &["-d"]);
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.contains("profile.lock\": Is a directory"), "{outcome:?}");
    assert_eq!(left("var/profiles/per-user/bob").count(), 1);
}
