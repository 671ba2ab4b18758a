//! Collecting garbage where nothing can be written any more, and by itself
//! before it comes to that.

use std::os::unix::fs::symlink;

use crate::common::{Side, World};
use crate::data::{self, hash_part};
use crate::test_optimise::Mount;

/// A store whose directory and state lie on one small file system, with live
/// and dead paths.
fn small_store(world: &mut World, options: &str) -> Option<(Mount, Vec<String>)> {
    let mount = Mount::new(&world.path("small"), options)?;
    for (name, dir) in [("STORE", "store"), ("STATE", "var"), ("LOG", "log")] {
        world.variables.push((format!("NIX_{name}_DIR"), world.text(format!("small/{dir}"))));
    }
    world.nix_store(&["--init"]).ok();
    let store = world.text("small/store");
    let paths: Vec<String> = (0..300).map(|i| format!("{store}/{}-p{i}", hash_part(i))).collect();
    let mut text = String::new();
    for (i, path) in paths.iter().enumerate() {
        std::fs::create_dir(path).unwrap();
        std::fs::write(format!("{path}/file"), "x".repeat(10_000)).unwrap();
        let reference = (i % 10 != 0).then(|| &paths[i - 1]);
        text += &format!("{path}\n\n{}\n", usize::from(reference.is_some()));
        text.extend(reference.map(|path| format!("{path}\n")));
    }
    world.run_with_input(Side::Nival, "nix-store", &["--register-validity"], text.as_bytes()).ok();
    // Ten chains of ten paths each stay.
    for i in 0..10 {
        symlink(&paths[i * 10 + 9], world.path(format!("small/var/gcroots/{i}"))).unwrap();
    }
    Some((mount, paths))
}

fn check(world: &World, paths: &[String]) {
    let outcome = world.nix_store(&["--gc"]);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(outcome.text().starts_with("200 store paths deleted, "), "{outcome:?}");
    for (i, path) in paths.iter().enumerate() {
        assert_eq!(std::path::Path::new(path).exists(), i < 100, "{path}");
    }
    let verified = world.nix_store(&["--verify", "--check-contents"]);
    assert!(verified.ok().stderr.lines().count() == 4, "{}", verified.stderr);
    assert_eq!(data::names(&world.path("small/store")).len(), 101);
    // The next to open the store keeps room again.
    assert_eq!(world.path("small/var/db/reserved").metadata().unwrap().len(), 8 << 20);
}

#[test]
fn without_a_free_byte() {
    let mut world = World::new();
    let Some((mount, paths)) = small_store(&mut world, "size=24m") else { return };
    let mut rubbish = std::fs::File::create(world.path("small/rubbish")).unwrap();
    while std::io::Write::write(&mut rubbish, &[1; 4096]).is_ok_and(|count| count > 0) {}
    assert!(std::fs::write(world.path("small/more"), "x".repeat(5000)).is_err());
    let _ = std::fs::remove_file(world.path("small/more"));
    check(&world, &paths);
    drop(mount);
}

#[test]
fn without_a_free_inode() {
    let mut world = World::new();
    let Some((mount, paths)) = small_store(&mut world, "size=64m,nr_inodes=2000") else { return };
    let mut made = 0;
    while std::fs::File::create(world.path(format!("small/rubbish-{made}"))).is_ok() {
        made += 1;
    }
    assert!(made > 10);
    check(&world, &paths);
    drop(mount);
}

#[test]
fn collects_by_itself_and_not_in_vain() {
    let mut world = World::new();
    let Some((mount, paths)) = small_store(&mut world, "size=64m") else { return };
    let add = |name: &str| {
        world.write(format!("src/{name}"), name);
        let source = world.text(format!("src/{name}"));
        // More than there is on the whole file system.
        world.nix_store(&["--add", &source, "--option", "min-free", "1T", "--option", "max-free", "2T"])
    };
    let first = add("first");
    assert!(first.stderr.contains("running auto-GC to free "), "{}", first.stderr);
    assert!(first.stderr.contains(&format!("deleting '{}'", paths[299])), "{}", first.stderr);
    assert!(std::path::Path::new(&first.line()).exists());
    assert_eq!(data::names(&world.path("small/store")).len(), 102);
    // The first path goes, since nothing keeps it any more; then there is nothing left.
    let root = |path: &str| {
        symlink(path, world.path("small/var/gcroots").join(path.rsplit('/').next().unwrap())).unwrap()
    };
    let second = add("second");
    assert!(second.stderr.contains(&format!("deleting '{}'", first.line())), "{}", second.stderr);
    root(&second.line());
    let third = add("third");
    assert!(
        third.stderr.contains("there was nothing to delete; no automatic collection for 60 seconds"),
        "{}",
        third.stderr
    );
    let fourth = add("fourth");
    assert_eq!(fourth.ok().stderr, "");
    // A time in the future does not keep it from collecting.
    std::fs::write(world.path("small/var/auto-gc"), "60 99999999999").unwrap();
    assert!(add("fifth").stderr.contains("running auto-GC to free "));
    drop(mount);
}

#[test]
fn where_there_never_was_room_for_the_reserve_nothing_is_half_deleted() {
    let mut world = World::new();
    world.variables.push(("NIX_CONFIG".to_owned(), "gc-reserved-space = 8388608".to_owned()));
    let Some((mount, paths)) = small_store(&mut world, "size=6m") else { return };
    assert_eq!(world.path("small/var/db/reserved").metadata().unwrap().len(), 0);
    let mut rubbish = std::fs::File::create(world.path("small/rubbish")).unwrap();
    while std::io::Write::write(&mut rubbish, &[1; 4096]).is_ok_and(|count| count > 0) {}
    // It may come to an end for want of room, and then its rows are true.
    world.nix_store(&["--gc"]);
    drop(rubbish);
    std::fs::remove_file(world.path("small/rubbish")).unwrap();
    let (live, dead) = paths.split_at(100);
    assert!(live.iter().all(|path| std::path::Path::new(path).exists()));
    let verified = world.nix_store(&["--verify", "--check-contents"]);
    assert!(!verified.ok().stderr.contains("disappeared"), "{}", verified.stderr);
    world.nix_store(&["--gc"]).ok();
    assert!(!dead.iter().any(|path| std::path::Path::new(path).exists()));
    drop(mount);
}

#[test]
fn a_full_disk_without_a_reserve_is_emptied_by_unused_links() {
    let mut world = World::new();
    world.variables.push(("NIX_CONFIG".to_owned(), "gc-reserved-space = 8388608".to_owned()));
    let Some((mount, paths)) = small_store(&mut world, "size=6m") else { return };
    let links = world.path("small/store/.links");
    std::fs::create_dir_all(&links).unwrap();
    for part in 0..100 {
        let name = format!("{}{}", data::hash_part(part), &data::hash_part(part)[..20]);
        std::fs::write(links.join(name), [1; 4096]).unwrap();
    }
    let mut rubbish = std::fs::File::create(world.path("small/rubbish")).unwrap();
    while std::io::Write::write(&mut rubbish, &[1; 4096]).is_ok_and(|count| count > 0) {}
    world.nix_store(&["--gc"]).ok();
    let (live, dead) = paths.split_at(100);
    assert!(live.iter().all(|path| std::path::Path::new(path).exists()));
    assert!(!dead.iter().any(|path| std::path::Path::new(path).exists()));
    assert_eq!(std::fs::read_dir(&links).unwrap().count(), 0);
    drop(mount);
}
