//! Whatever lies below `gcroots`, `profiles` and `temproots`: nothing that is
//! rooted is lost, nothing hangs or panics, and what is wrong is named.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode};

use crate::common::{Side, World};
use crate::data::{Random, hash_part};

/// Registers so many files.
fn plant(world: &World, count: usize) -> Vec<String> {
    world.nix_store(&["--init"]).ok();
    let mut text = String::new();
    let paths: Vec<String> =
        (0..count).map(|i| format!("{}/{}-p{i}", world.text("store"), hash_part(i as u64))).collect();
    for path in &paths {
        std::fs::write(path, "x").unwrap();
        text += &format!("{path}\n\n0\n");
    }
    world.run_with_input(Side::Nival, "nix-store", &["--register-validity"], text.as_bytes()).ok();
    paths
}

/// A name that nobody expects.
fn name(random: &mut Random, number: usize) -> OsString {
    match random.below(7) {
        0 => OsString::from_vec(vec![0xff, 0xfe, b'a' + (number % 26) as u8, b'0' + (number % 10) as u8]),
        1 => "n".repeat(200 + number % 50).into(),
        2 => format!("line\nbreak \x1b[31m{number}").into(),
        3 => format!("p{number}.lock").into(),
        4 => format!("system-{number}-link").into(),
        5 => format!("{}-named-like-a-path-{number}", hash_part(number as u64 + 900)).into(),
        _ => format!("plain{number}").into(),
    }
}

/// Somewhere in or below a directory.
fn place(random: &mut Random, top: &Path, number: usize) -> PathBuf {
    let mut dir = top.to_owned();
    for level in 0..random.below(4) {
        dir.push(format!("d{level}"));
        if std::fs::create_dir_all(&dir).is_err() {
            dir.pop();
        }
    }
    dir.join(name(random, number))
}

/// Makes something at a place; gives the path that it keeps, if any.
fn make<'p>(world: &World, random: &mut Random, at: &Path, path: &'p str) -> Option<&'p str> {
    let target = |target: &OsStr| symlink(target, at).is_ok();
    match random.below(12) {
        0 => drop(std::fs::create_dir(at)),
        1 => drop(rustix::fs::mknodat(CWD, at, FileType::Fifo, Mode::RWXU, 0)),
        2 => drop(std::os::unix::net::UnixListener::bind(at)),
        3 => drop(target(at.file_name().unwrap())),
        4 => drop(target(OsStr::new(&format!("/nowhere/{}", "x".repeat(3000))))),
        5 => drop(target(OsStr::from_bytes(b"\xff\xfe/..//.\xfd"))),
        6 => drop(std::fs::write(at, "text")),
        7 => drop(target(OsStr::new(&format!("{}/{}-invalid", world.text("store"), hash_part(5000))))),
        // By way of another link, whose name is as odd.
        8 => {
            let link = world.path("links").join(at.file_name().unwrap());
            std::fs::create_dir_all(world.path("links")).unwrap();
            let made = symlink(format!("{path}/below/it"), &link).is_ok() && target(link.as_os_str());
            return made.then_some(path);
        }
        _ => return target(OsStr::new(path)).then_some(path),
    }
    None
}

#[test]
fn nothing_that_is_rooted_is_lost() {
    let world = World::new();
    let mut random = Random(7);
    for round in 0..6u64 {
        let paths = plant(&world, 60);
        let mut kept = BTreeSet::new();
        for (number, path) in paths.iter().enumerate() {
            let top = ["var/gcroots", "var/gcroots/auto", "var/profiles", "var/gcroots/per-user/bob"]
                [random.below(4)];
            std::fs::create_dir_all(world.path(top)).unwrap();
            let at = place(&mut random, &world.path(top), number + 60 * usize::try_from(round).unwrap());
            kept.extend(make(&world, &mut random, &at, path));
        }
        // Where only files of processes should be.
        let temporary = world.path("var/temproots");
        std::fs::create_dir_all(temporary.join(format!("{round}1"))).unwrap();
        let _ = rustix::fs::mknodat(CWD, temporary.join(format!("{round}2")), FileType::Fifo, Mode::RWXU, 0);
        symlink("/etc/passwd", temporary.join(format!("{round}3"))).unwrap();
        std::fs::write(temporary.join(format!("{round}4")), b"\xff\0no path\0/x").unwrap();
        // A profile of our own, among all that.
        world.nival("nix-env", &["-p", &world.text("var/profiles/own"), "--set", &paths[0]]).ok();
        kept.insert(&paths[0]);
        for args in [
            &["--gc", "--print-roots"][..],
            &["--gc", "--print-dead"],
            &["--gc", "--print-live"],
            &["-q", "--roots", &paths[1]],
        ] {
            let outcome = world.nix_store(args);
            assert!(!outcome.stderr.contains("panicked"), "{outcome:?}");
            assert_eq!(outcome.status, 0, "{args:?}: {}", outcome.stderr);
        }
        let dead = world.nix_store(&["--gc", "--print-dead"]);
        for lost in dead.lines() {
            assert!(!kept.contains(lost), "{lost} is rooted");
        }
        let outcome = world.nival("nix-collect-garbage", &["-d"]);
        assert!(!outcome.stderr.contains("panicked"), "{outcome:?}");
        assert!([0, 1].contains(&outcome.status), "{outcome:?}");
        let outcome = world.nix_store(&["--gc"]);
        assert_eq!(outcome.status, 0, "{outcome:?}");
        assert!(
            outcome.stderr.contains(&format!("temproots/{round}1\" is not a file")),
            "{}",
            outcome.stderr
        );
        for path in &kept {
            assert!(Path::new(path).exists(), "{path} is rooted and gone");
        }
        let left: BTreeSet<&String> = paths.iter().filter(|path| Path::new(path).exists()).collect();
        assert_eq!(left.len(), kept.len(), "what nothing keeps is gone");
        // The next round begins with what is left of this one.
        for dir in ["var/gcroots", "var/profiles"] {
            nival::sys::remove::remove(&world.path(dir)).unwrap();
        }
        std::fs::create_dir_all(world.path("var/gcroots/auto")).unwrap();
        if world.path("links").exists() {
            std::fs::remove_dir_all(world.path("links")).unwrap();
        }
        world.nix_store(&["--gc"]);
    }
}

#[test]
fn damaged_profiles_are_named() {
    let world = World::new();
    world.write("src/a/f", "1");
    let path = world.nix_store(&["--add", &world.text("src/a")]).line();
    let profile = world.text("dir/profile");
    std::fs::create_dir(world.path("dir")).unwrap();
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("profile", |at| std::fs::create_dir(at).unwrap()),
        ("profile", |at| rustix::fs::mknodat(CWD, at, FileType::Fifo, Mode::RWXU, 0).unwrap()),
        ("profile.lock", |at| std::fs::create_dir(at).unwrap()),
        ("profile.lock", |at| rustix::fs::mknodat(CWD, at, FileType::Fifo, Mode::RWXU, 0).unwrap()),
        ("profile.lock", |at| symlink("elsewhere", at).unwrap()),
        ("profile.lock", |at| std::fs::write(at, "somebody's text").unwrap()),
    ];
    for (number, (name, damage)) in damages.iter().enumerate() {
        nival::sys::remove::remove(&world.path("dir")).unwrap();
        std::fs::create_dir(world.path("dir")).unwrap();
        damage(&world.path("dir").join(name));
        let outcome = world.nival("nix-env", &["-p", &profile, "--set", &path]);
        assert_eq!(outcome.status, 1, "{number}: {outcome:?}");
        assert!(outcome.stderr.contains(&format!("/dir/{name}\"")), "{number}: {outcome:?}");
        assert!(!outcome.stderr.contains("panicked"), "{number}: {outcome:?}");
        assert!(!world.path("elsewhere").exists());
        world.nival("nix-env", &["-p", &profile, "--list-generations"]);
    }
    assert_eq!(std::fs::read(world.path("dir/profile.lock")).unwrap(), b"somebody's text");
}
