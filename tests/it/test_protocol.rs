//! How processes share one store: path locks, temporary roots, the collector's
//! lock and socket, what dead processes leave behind.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::FlockOperation;

use crate::common::{Side, World};
use crate::data::{self, UNSYNCED};

const PATIENCE: Duration = Duration::from_secs(20);

/// Creates a lock file, if need be, and holds it.
fn hold(path: &Path) -> File {
    let file = nival::sys::lock::open_lock_file(path).unwrap();
    rustix::fs::flock(&file, FlockOperation::LockExclusive).unwrap();
    file
}

/// A world with a store, a file to add, and the path it will have.
fn world_with_source() -> (World, String) {
    let world = World::new();
    world.write("src/file", "to be added\n");
    world.nix_store(&["--init"]).ok();
    let path = data::path_of(&world, "src/file");
    (world, path)
}

fn add(world: &World) -> Child {
    data::start(world, Side::Nival, &["--add", &world.text("src/file")])
}

fn temp_roots_file(world: &World, child: &Child) -> PathBuf {
    world.path(format!("var/temproots/{}", child.id()))
}

/// The temporary roots of a running process.
fn temp_roots(world: &World, child: &Child) -> BTreeSet<String> {
    let text = std::fs::read_to_string(temp_roots_file(world, child)).unwrap_or_default();
    let Some(text) = text.strip_suffix('\0') else { return BTreeSet::new() };
    text.split('\0').map(str::to_owned).collect()
}

/// Checks that a process goes on waiting.
#[track_caller]
fn assert_waits(child: &mut Child) {
    std::thread::sleep(Duration::from_millis(250));
    assert_eq!(child.try_wait().unwrap(), None, "it did not wait");
}

#[test]
fn a_held_path_lock_makes_an_add_wait() {
    for removed in [false, true] {
        let (world, path) = world_with_source();
        let lock_path = PathBuf::from(format!("{path}.lock"));
        let mut lock = hold(&lock_path);
        let mut child = add(&world);
        data::wait_until("its temporary root", || temp_roots(&world, &child).contains(&path));
        assert_waits(&mut child);
        assert!(!Path::new(&path).exists());
        if removed {
            // As a holder leaves that knows of others who wait.
            std::fs::remove_file(&lock_path).unwrap();
            lock.write_all(b"d").unwrap();
        }
        drop(lock);
        assert_eq!(data::finish(child, PATIENCE).line(), path);
        data::assert_sound(&world);
    }
}

#[test]
fn several_wait_for_one_lock() {
    let (world, path) = world_with_source();
    let lock = hold(Path::new(&format!("{path}.lock")));
    let children: Vec<Child> = (0..4).map(|_| add(&world)).collect();
    for child in &children {
        data::wait_until("its temporary root", || temp_roots(&world, child).contains(&path));
    }
    drop(lock);
    for child in children {
        assert_eq!(data::finish(child, PATIENCE).line(), path);
    }
    data::assert_sound(&world);
}

#[test]
fn a_path_that_became_valid_meanwhile_is_left_alone() {
    let (world, path) = world_with_source();
    let lock = hold(Path::new(&format!("{path}.lock")));
    let child = add(&world);
    data::wait_until("its temporary root", || temp_roots(&world, &child).contains(&path));
    std::fs::copy(world.path("src/file"), &path).unwrap();
    let text = format!("{path}\n\n0\n");
    world.run_with_input(Side::Nival, "nix-store", &["--register-validity"], text.as_bytes()).ok();
    let before = std::fs::metadata(&path).unwrap().ino();
    drop(lock);
    assert_eq!(data::finish(child, PATIENCE).line(), path);
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), before);
    data::assert_sound(&world);
}

#[test]
fn lock_files_of_the_dead_are_taken_over() {
    let (world, path) = world_with_source();
    std::fs::write(format!("{path}.lock"), "").unwrap();
    assert_eq!(data::finish(add(&world), PATIENCE).line(), path);
    data::assert_sound(&world);
}

#[test]
fn what_is_no_lock_file_is_not_taken_for_one() {
    // A lock file is empty; this might be a path on its way into the store.
    let (world, path) = world_with_source();
    let lock = format!("{path}.lock");
    std::fs::write(&lock, "contents").unwrap();
    data::finish(add(&world), PATIENCE).fails(&format!(
        "error: acquiring lock \"{lock}\": it is not a lock file, because there is something in it"
    ));
    assert_eq!(std::fs::read(&lock).unwrap(), b"contents");
}

#[test]
fn a_path_named_like_a_lock_file_survives() {
    // Both orders, in one stream and one after the other.
    for together in [true, false] {
        for reversed in [true, false] {
            let world = World::new();
            let base = format!("{}/{}-x", world.text("store"), data::hash_part(1));
            let names = [base.clone(), format!("{base}.lock")];
            let item = |path: &String| {
                world.write("src/item", path);
                let mut item = 1u64.to_le_bytes().to_vec();
                item.extend(world.nix_store(&["--dump", &world.text("src/item")]).stdout);
                item.extend(0x4558_494e_u64.to_le_bytes());
                item.extend((path.len() as u64).to_le_bytes());
                item.extend(path.as_bytes());
                item.resize(item.len().next_multiple_of(8), 0);
                item.extend([0; 24]);
                item
            };
            let mut items: Vec<Vec<u8>> = names.iter().map(item).collect();
            if reversed {
                items.reverse();
            }
            let end = [0; 8];
            if together {
                let stream = [items.concat(), end.to_vec()].concat();
                world.run_with_input(Side::Nival, "nix-store", &["--import"], &stream);
            } else {
                for item in items {
                    let stream = [item, end.to_vec()].concat();
                    world.run_with_input(Side::Nival, "nix-store", &["--import"], &stream);
                }
            }
            // The one whose lock file would be the other may be refused; what
            // is registered is there.
            data::assert_sound(&world);
            let registered = world.nix_store(&["--dump-db"]).ok().text().to_owned();
            assert!(registered.contains(&names[1]), "{together} {reversed}");
            assert_eq!(registered.contains(&format!("{base}\n")), !reversed, "{together} {reversed}");
        }
    }
}

/// Puts something of a kind in a path's place; a directory outside is what
/// symlinks lead to.
fn leave_behind(kind: &str, path: &Path, outside: &Path) {
    match kind {
        "file" => {
            std::fs::write(path, "partial").unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o000)).unwrap();
        }
        "empty directory" => std::fs::create_dir(path).unwrap(),
        "read-only tree" => {
            std::fs::create_dir_all(path.join("a/b")).unwrap();
            std::fs::write(path.join("a/b/file"), "partial").unwrap();
            symlink(outside, path.join("a/link")).unwrap();
            for dir in ["a/b", "a", ""] {
                let read_only = std::fs::Permissions::from_mode(0o555);
                std::fs::set_permissions(path.join(dir), read_only).unwrap();
            }
        }
        "symlink" => symlink(outside, path).unwrap(),
        "dangling symlink" => symlink("nowhere", path).unwrap(),
        _ => panic!("unknown kind"),
    }
}

#[test]
fn leftovers_in_the_way_are_replaced() {
    let world = World::new();
    world.write("src/file", "file\n");
    world.write("src/tree/sub/file", "file in a tree\n");
    world.write("outside/keep", "");
    let sources = ["src/file", "src/tree"].map(|source| world.text(source));
    let added = world.nix_store(&["--add", &sources[0], &sources[1]]);
    let paths: Vec<String> = added.ok().lines().into_iter().map(str::to_owned).collect();
    let stream = data::export(&world, &paths);
    let expected = paths.iter().map(|path| data::metadata(Path::new(path)));
    let expected: Vec<_> = expected.collect();
    for kind in ["file", "empty directory", "read-only tree", "symlink", "dangling symlink"] {
        for operation in ["--add", "--import"] {
            data::forget(&world);
            world.nix_store(&["--init"]).ok();
            for path in &paths {
                leave_behind(kind, Path::new(path), &world.path("outside"));
                std::fs::write(format!("{path}.lock"), "").unwrap();
            }
            let mut args = UNSYNCED.to_vec();
            args.push(operation);
            if operation == "--add" {
                args.extend(sources.iter().map(String::as_str));
            }
            let outcome = world.run_with_input(Side::Nival, "nix-store", &args, &stream);
            assert_eq!(outcome.ok().lines().len(), 2, "{kind} {operation}");
            for (path, expected) in paths.iter().zip(&expected) {
                assert_eq!(data::metadata(Path::new(path)), *expected, "{kind} {operation}");
            }
            data::assert_sound(&world);
            assert!(world.path("outside/keep").exists(), "{kind} {operation}");
        }
    }
}

#[test]
fn temporary_roots_of_a_running_import() {
    let world = World::new();
    let paths = data::sample(&world);
    let stream = data::export(&world, &paths);
    data::forget(&world);
    let mut child = data::start(&world, Side::Nival, &["--import"]);
    let half = stream.len() / 2;
    let mut input = child.stdin.take().unwrap();
    input.write_all(&stream[..half]).unwrap();
    let file_path = temp_roots_file(&world, &child);
    data::wait_until("temporary roots", || !temp_roots(&world, &child).is_empty());
    for root in temp_roots(&world, &child) {
        let base = root.strip_prefix(&format!("{}/", world.text("store")));
        let base = base.unwrap_or_else(|| panic!("'{root}' is no full path"));
        nival::model::StorePath::from_base_name(base).unwrap();
    }
    // Locked, and for the owner only.
    let file = File::open(&file_path).unwrap();
    assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o600);
    assert!(rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_err());
    // Whatever is in the store directory by now is a root, or belongs to one.
    let roots = temp_roots(&world, &child);
    for name in data::names(&world.store()).iter().filter(|name| *name != ".links") {
        let hash = format!("{}/{}", world.text("store"), &name[..32]);
        assert!(roots.iter().any(|root| root.starts_with(&hash)), "{name} is not protected: {roots:?}");
    }
    // Held up at the last path, it has announced all of them.
    let lock = hold(Path::new(&format!("{}.lock", paths[5])));
    input.write_all(&stream[half..]).unwrap();
    drop(input);
    let all: BTreeSet<String> = paths.iter().cloned().collect();
    data::wait_until("all temporary roots", || temp_roots(&world, &child).is_superset(&all));
    assert_waits(&mut child);
    drop(lock);
    assert_eq!(data::finish(child, PATIENCE).ok().lines(), paths);
    assert!(!file_path.exists());
    data::assert_sound(&world);
}

#[test]
fn a_held_collector_lock_makes_an_add_wait() {
    let (world, path) = world_with_source();
    let lock = hold(&world.path("var/gc.lock"));
    let mut child = add(&world);
    assert_waits(&mut child);
    assert!(!temp_roots(&world, &child).contains(&path));
    assert!(!Path::new(&path).exists());
    drop(lock);
    assert_eq!(data::finish(child, PATIENCE).line(), path);
    data::assert_sound(&world);
}

/// A collector that is at work: it holds the lock and listens.
fn fake_collector(world: &World) -> (File, UnixListener) {
    let lock = hold(&world.path("var/gc.lock"));
    std::fs::create_dir_all(world.path("var/gc-socket")).unwrap();
    let listener = UnixListener::bind(world.path("var/gc-socket/socket")).unwrap();
    listener.set_nonblocking(true).unwrap();
    (lock, listener)
}

fn accept(listener: &UnixListener) -> BufReader<std::os::unix::net::UnixStream> {
    let mut connection = None;
    data::wait_until("a connection", || {
        connection = listener.accept().ok();
        connection.is_some()
    });
    let stream = connection.unwrap().0;
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

#[test]
fn roots_are_announced_to_a_running_collector() {
    let (world, path) = world_with_source();
    let (lock, listener) = fake_collector(&world);
    let mut child = add(&world);
    let mut connection = accept(&listener);
    let mut announced = Vec::new();
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).unwrap() == 0 {
            break;
        }
        assert!(line.ends_with('\n'), "{line:?}");
        let root = line.trim_end_matches('\n').to_owned();
        let base = root.strip_prefix(&format!("{}/", world.text("store"))).unwrap();
        nival::model::StorePath::from_base_name(base).unwrap();
        // Before the answer nothing is done with the path.
        assert_waits(&mut child);
        // It is in the file already, for a collection that begins next.
        assert!(temp_roots(&world, &child).contains(&root), "{root}");
        assert!(!Path::new(&root).exists() && !Path::new(&format!("{root}.lock")).exists(), "{root}");
        announced.push(root);
        connection.get_mut().write_all(b"1").unwrap();
    }
    assert_eq!(data::finish(child, PATIENCE).line(), path);
    assert_eq!(announced.last(), Some(&path));
    drop(lock);
    data::assert_sound(&world);
}

#[test]
fn a_collector_that_ends_without_an_answer() {
    let (world, path) = world_with_source();
    let (lock, listener) = fake_collector(&world);
    let mut child = add(&world);
    let connection = accept(&listener);
    assert_waits(&mut child);
    drop((lock, listener, connection));
    assert_eq!(data::finish(child, PATIENCE).line(), path);
    data::assert_sound(&world);
}

#[test]
fn a_held_big_lock_makes_everybody_wait() {
    let (world, _) = world_with_source();
    let lock = hold(&world.path("var/db/big-lock"));
    let mut child = data::start(&world, Side::Nival, &["--dump-db"]);
    assert_waits(&mut child);
    drop(lock);
    let outcome = data::finish(child, PATIENCE);
    assert_eq!(outcome.ok().stderr, "waiting for the big Nix store lock...\n");
}

#[test]
fn a_busy_database_is_waited_for() {
    let (world, path) = world_with_source();
    let database = rusqlite::Connection::open(world.path("var/db/db.sqlite")).unwrap();
    database.execute_batch("begin immediate").unwrap();
    let mut child = add(&world);
    data::wait_until("its temporary root", || temp_roots(&world, &child).contains(&path));
    assert_waits(&mut child);
    assert_eq!(world.nix_store(&["--dump-db"]).ok().text(), "");
    database.execute_batch("rollback").unwrap();
    drop(database);
    let outcome = data::finish(child, PATIENCE);
    assert_eq!(outcome.line(), path);
    assert!(!outcome.stderr.contains("error"), "{}", outcome.stderr);
}

#[test]
fn many_create_one_store_at_once() {
    let world = World::new();
    world.write("src/file", "to be added\n");
    let children: Vec<Child> = (0..8).map(|_| add(&world)).collect();
    let lines: BTreeSet<String> =
        children.into_iter().map(|child| data::finish(child, PATIENCE).line()).collect();
    assert_eq!(lines.len(), 1);
    data::assert_sound(&world);
}

/// The database as text.
fn valid(world: &World) -> String {
    world.nix_store(&["--dump-db"]).ok().text().to_owned()
}

#[test]
fn a_running_import_loses_nothing_to_a_collector() {
    let Some(world) = World::with_reference() else { return };
    world.nix_store(&["--init"]).ok();
    let store = world.text("store");
    let planted: Vec<String> = (0..48).map(|i| format!("{store}/{}-s", data::hash_part(i))).collect();
    let text = data::plant(&world, &planted, |_| Vec::new());
    for path in &planted {
        // Big enough that not all of them can wait for the end in memory.
        File::options().write(true).open(path).unwrap().set_len(1 << 20).unwrap();
    }
    world.run_with_input(Side::Nival, "nix-store", &["--register-validity"], text.as_bytes()).ok();
    let stream = data::export(&world, &planted);
    data::forget(&world);
    let mut child = data::start(&world, Side::Nival, &["--import"]);
    let mut input = child.stdin.take().unwrap();
    let pieces = stream.chunks(stream.len() / 8 + 1);
    let last = pieces.len() - 1;
    for (number, piece) in pieces.enumerate() {
        // Before the last piece some paths are valid, and nothing but the
        // running process needs them.
        if number == last {
            data::wait_until("the first paths", || !valid(&world).is_empty());
        }
        if number % 2 == 1 {
            let before = valid(&world);
            world.run(Side::Reference, "nix-store", &["--gc"]).ok();
            let after = valid(&world);
            assert!(before.lines().all(|line| after.contains(line)), "something was collected");
        }
        input.write_all(piece).unwrap();
    }
    drop(input);
    let outcome = data::finish(child, PATIENCE);
    assert_eq!(outcome.ok().lines().len(), planted.len());
    let mut args = vec!["--check-validity"];
    args.extend(planted.iter().map(String::as_str));
    world.nix_store(&args).ok();
    data::assert_sound(&world);
}

#[test]
fn adds_beside_a_collector_in_a_loop() {
    let Some(world) = World::with_reference() else { return };
    world.nix_store(&["--init"]).ok();
    for number in 0..24 {
        data::make_source(&world.path(format!("src/s{number}")), number);
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..6 {
                let collected = world.run(Side::Reference, "nix-store", &["--gc", "--quiet"]);
                assert_eq!((collected.status, collected.stderr.as_str()), (0, ""));
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut round = 0;
        while !done.load(Ordering::Relaxed) && round < 500 {
            let sources = (0..6).map(|i| world.text(format!("src/s{}", (round * 5 + i) % 24)));
            let sources: Vec<String> = sources.collect();
            let mut args = UNSYNCED.to_vec();
            args.push("--add");
            args.extend(sources.iter().map(String::as_str));
            let outcome = world.nix_store(&args);
            assert_eq!(outcome.ok().lines().len(), 6);
            assert_eq!(outcome.stderr, "");
            round += 1;
        }
    });
    data::assert_sound(&world);
}
