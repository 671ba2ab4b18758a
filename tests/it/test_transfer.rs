//! Archives in and out through the command line; output that nobody reads;
//! signals.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Outcome, Side, World, outcome};
use crate::data;

fn dump(world: &World, path: &str) -> Vec<u8> {
    world.nix_store(&["--dump", path]).ok().stdout.clone()
}

fn restore(world: &World, path: &str, archive: &[u8]) -> Outcome {
    world.run_with_input(Side::Nival, "nix-store", &["--restore", path], archive)
}

#[test]
fn round_trips() {
    let world = World::new();
    for number in 0..24 {
        let source = world.text(format!("src/s{number}"));
        data::make_source(Path::new(&source), number);
        let archive = dump(&world, &source);
        let restored = world.text(format!("restored-{number}"));
        let outcome = restore(&world, &restored, &archive);
        assert_eq!((outcome.ok().stdout.len(), outcome.stderr.as_str()), (0, ""));
        assert!(dump(&world, &restored) == archive, "{source}");
        // Everyday permissions and times, not those of the store.
        let meta = Path::new(&restored).symlink_metadata().unwrap();
        let mode = if meta.is_dir() || number % 8 == 3 { 0o755 } else { 0o644 };
        if !meta.is_symlink() {
            assert_eq!(meta.mode() & 0o7777, mode, "{source}");
        }
        assert!(meta.mtime() > 1_000_000, "{source}");
    }
}

#[test]
fn archives_equal_those_of_the_reference() {
    let Some(world) = World::with_reference() else { return };
    for number in 0..16 {
        data::make_source(&world.path(format!("src/s{number}")), number);
    }
    symlink("s5", world.path("src/link")).unwrap();
    for path in ["src", "src/s5", "src/s2", "src/link", "src/s0", "./src/../src/s4", "src/s5/"] {
        let theirs = world.run(Side::Reference, "nix-store", &["--dump", path]).ok().stdout.clone();
        assert!(dump(&world, path) == theirs, "{path}");
        // And back through the other side.
        let args = ["--restore", "theirs"];
        world.run_with_input(Side::Reference, "nix-store", &args, &theirs).ok();
        restore(&world, "ours", &theirs).ok();
        let kept = |tree: &str| {
            let files = data::metadata(&world.path(tree)).into_iter();
            // Without times.
            files.map(|(path, text)| (path, text.split(' ').next().map(str::to_owned))).collect::<Vec<_>>()
        };
        assert_eq!(kept("ours"), kept("theirs"), "{path}");
        for tree in ["ours", "theirs"] {
            nival::sys::remove::remove(&world.path(tree)).unwrap();
        }
    }
}

#[test]
fn restoring_over_something_is_refused() {
    let world = World::new();
    world.write("src/tree/file", "text");
    let archive = dump(&world, "src/tree");
    world.write("file", "kept");
    world.write("dir/file", "kept");
    symlink("nowhere", world.path("dangling")).unwrap();
    symlink("dir", world.path("link")).unwrap();
    for target in ["file", "dir", "dangling", "link", "dir/file"] {
        let outcome = restore(&world, target, &archive);
        // The words are the reference's; see also `what_stands_in_the_way_of_unpacking_is_named_alike`.
        outcome.fails(&match world.path(target).is_dir() {
            true => format!("error: path '{target}' already exists"),
            false => format!("error: filesystem error: cannot create directory: File exists [{target}]"),
        });
    }
    assert_eq!(std::fs::read_to_string(world.path("file")).unwrap(), "kept");
    assert_eq!(data::names(&world.path("dir")), ["file".to_owned()].into());
    assert!(!world.path("nowhere").exists());
}

#[test]
fn restoring_without_a_parent() {
    let world = World::new();
    world.write("src/file", "text");
    let archive = dump(&world, "src/file");
    let outcome = restore(&world, "no/parent/here", &archive);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.stderr.contains("No such file or directory"), "{outcome:?}");
    assert!(!world.path("no").exists());
}

#[test]
fn bad_archives_leave_nothing() {
    let world = World::new();
    data::make_source(&world.path("src/tree"), 5);
    let archive = dump(&world, "src/tree");
    let before = data::names(&world.path(""));
    let mut random = data::Random(11);
    let mut cases: Vec<(String, Vec<u8>)> = vec![
        ("nothing".to_owned(), Vec::new()),
        ("zeroes".to_owned(), vec![0; 4096]),
        ("text".to_owned(), b"not an archive, but long enough to look at\n".to_vec()),
    ];
    for _ in 0..40 {
        let end = random.below(archive.len());
        cases.push((format!("cut off at {end}"), archive[..end].to_vec()));
    }
    for (what, archive) in cases {
        let outcome = restore(&world, "restored", &archive);
        assert_eq!((outcome.status, outcome.stdout.len()), (1, 0), "{what}: {outcome:?}");
        assert!(outcome.stderr.starts_with("error: "), "{what}: {outcome:?}");
        assert_eq!(data::names(&world.path("")), before, "{what}");
    }
    // What follows an archive belongs to somebody else.
    restore(&world, "restored", &[&archive[..], &b"more"[..]].concat()).ok();
    assert!(dump(&world, "restored") == archive);
}

#[test]
fn names_that_cannot_be_added() {
    let world = World::new();
    world.write("src/tree/file", "");
    world.write("src/a b", "");
    rustix::fs::mkfifoat(CWD, world.path("src/tree/fifo"), Mode::RUSR).unwrap();
    world.nix_store(&["--init"]).ok();
    for source in ["nowhere", "src/tree", "src/tree/fifo", "src/a b"] {
        let outcome = world.nix_store(&["--add", source]);
        assert_eq!((outcome.status, outcome.stdout.len()), (1, 0), "{source}: {outcome:?}");
        assert!(outcome.stderr.starts_with("error: "), "{source}: {outcome:?}");
        assert!(data::leftovers(&world).is_empty(), "{source}");
    }
    let outcome = world.nix_store(&["--add", "src/tree"]);
    outcome.fails(&format!("error: file '{}' has an unsupported type", world.text("src/tree/fifo")));
    // What comes before a failure is added.
    let outcome = world.nix_store(&["--add", "src/tree/file", "src/tree"]);
    assert_eq!((outcome.status, outcome.lines().len()), (1, 1), "{outcome:?}");
    data::assert_sound(&world);
}

#[test]
fn a_dot_is_no_name() {
    let world = World::new();
    world.write("src/tree/file", "");
    let outcome = world.nix_store(&["--add", "src/tree/."]);
    assert_eq!((outcome.status, outcome.stdout.len()), (1, 0), "{outcome:?}");
    assert!(outcome.stderr.contains("name '.' is not valid"), "{outcome:?}");
}

/// Directories in directories, deeper than any path may be long.
fn make_deep(top: &Path, levels: usize) {
    std::fs::create_dir(top).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at: OwnedFd = rustix::fs::openat(CWD, top, flags, Mode::empty()).unwrap();
    for _ in 0..levels {
        rustix::fs::mkdirat(&at, "dir", Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "dir", flags, Mode::empty()).unwrap();
    }
    rustix::fs::symlinkat("at the bottom", &at, "link").unwrap();
}

#[test]
fn deep_trees() {
    let world = World::new();
    make_deep(&world.path("src/deep"), 3000);
    let archive = dump(&world, "src/deep");
    restore(&world, "restored", &archive).ok();
    assert!(dump(&world, "restored") == archive);
    let path = world.nix_store(&["--add", "src/deep"]).line();
    assert!(dump(&world, &path) == archive);
    data::assert_sound(&world);
    // Once more over a leftover of the same depth, and in by another way.
    let stream = data::export(&world, std::slice::from_ref(&path));
    data::forget(&world);
    world.nix_store(&["--init"]).ok();
    make_deep(Path::new(&path), 2500);
    let imported = world.run_with_input(Side::Nival, "nix-store", &["--import"], &stream);
    assert_eq!(imported.line(), path);
    data::assert_sound(&world);
}

#[test]
fn output_that_nobody_reads() {
    let world = World::new();
    let paths = data::sample(&world);
    data::big_file(&world.path("src/big"), 30);
    let many: Vec<String> = (0..4000).map(|_| paths[5].clone()).collect();
    let mut hashes = vec!["-q", "--hash"];
    hashes.extend(many.iter().map(String::as_str));
    let commands: [&[&str]; 7] = [
        &["--dump", "src/big"],
        &["--export", &paths[0], &paths[1]],
        &["-qR", &paths[5]],
        &["-q", "--tree", &paths[5]],
        &["-q", "--graph", &paths[5]],
        &["--dump-db"],
        &hashes,
    ];
    for args in commands {
        let mut child = data::start(&world, Side::Nival, args);
        drop(child.stdout.take());
        let ended = data::finish(child, Duration::from_secs(20));
        assert_eq!(ended.stderr, "", "{args:?}");
        // Cut-off archives are failures, cut-off answers are not.
        let expected = i32::from(matches!(args[0], "--dump" | "--export"));
        assert!(ended.status == expected || ended.status == 0, "{args:?}: {ended:?}");
    }
    data::assert_sound(&world);
}

#[test]
fn a_full_device() {
    let world = World::new();
    world.write("src/file", "x".repeat(100_000));
    world.nix_store(&["--init"]).ok();
    let mut command = world.command(Side::Nival, "nix-store");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    command.args(["--dump", "src/file"]).stdout(full).stderr(Stdio::piped());
    let ended = outcome(command.spawn().unwrap().wait_with_output().unwrap());
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(ended.stderr.contains("No space left on device"), "{ended:?}");
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits until a process has a file open whose name ends so: it is at work then.
fn wait_until_open(child: &Child, end: &str) {
    let handles = format!("/proc/{}/fd", child.id());
    data::wait_until("an open file", || {
        let entries = std::fs::read_dir(&handles).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .any(|target| target.to_string_lossy().ends_with(end))
    });
}

/// Sends a signal to a process at work and checks how it ends.
#[track_caller]
fn assert_ends(child: Child, which: Signal) {
    signal(&child, which);
    // A moment, but on a busy machine moments are long; the work takes minutes.
    let ended = data::finish(child, Duration::from_secs(20));
    assert_eq!((ended.status, ended.stdout.len()), (1, 0), "{ended:?}");
    let last = ended.stderr.lines().last();
    assert_eq!(last, Some("error: interrupted by the user"), "{ended:?}");
}

#[test]
fn signals_end_an_import() {
    let world = World::new();
    let paths = data::sample(&world);
    let stream = data::export(&world, &paths);
    for which in [Signal::INT, Signal::TERM, Signal::HUP] {
        for end in [0, 4, 200, stream.len() / 2, stream.len() - 8] {
            data::forget(&world);
            let mut child = data::start(&world, Side::Nival, &["--import"]);
            let mut input = child.stdin.take().unwrap();
            input.write_all(&stream[..end]).unwrap();
            let roots = world.path("var/temproots");
            data::wait_until("the beginning", || world.path("var/db/schema").exists());
            if end > 8 {
                data::wait_until("temporary roots", || !data::names(&roots).is_empty());
            }
            std::thread::sleep(Duration::from_millis(50));
            assert_ends(child, which);
            drop(input);
            assert!(data::names(&roots).is_empty());
            data::assert_sound(&world);
        }
    }
}

#[test]
fn signals_end_an_add_that_waits() {
    let world = World::new();
    world.write("src/file", "text");
    world.nix_store(&["--init"]).ok();
    let path = data::path_of(&world, "src/file");
    for lock in [world.path("var/gc.lock"), Path::new(&format!("{path}.lock")).to_owned()] {
        let file = nival::sys::lock::open_lock_file(&lock).unwrap();
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let child = data::start(&world, Side::Nival, &["--add", "src/file"]);
        let roots = world.path("var/temproots");
        data::wait_until("the beginning", || !data::names(&roots).is_empty());
        std::thread::sleep(Duration::from_millis(100));
        assert_ends(child, Signal::INT);
        drop(file);
        assert!(data::names(&roots).is_empty());
        // The lock file is not its own.
        let _ = std::fs::remove_file(format!("{path}.lock"));
        data::assert_sound(&world);
    }
}

/// Registers files full of nothing, so big that hashing them takes long.
fn register_huge(world: &World, count: u64) {
    let mut text = String::new();
    for number in 0..count {
        let path = format!("{}/{}-huge", world.text("store"), data::hash_part(number));
        std::fs::File::create(&path).unwrap().set_len(1 << 38).unwrap();
        text += &format!("{path}\n{}\n{}\n\n0\n", "0".repeat(64), 1u64 << 38);
    }
    world.run_with_input(Side::Nival, "nix-store", &["--load-db"], text.as_bytes()).ok();
}

#[test]
fn signals_end_a_verification() {
    for count in [1, 3] {
        let world = World::new();
        world.nix_store(&["--init"]).ok();
        register_huge(&world, count);
        let before = world.nix_store(&["--dump-db"]).ok().stdout.clone();
        for which in [Signal::INT, Signal::TERM] {
            let child = data::start(&world, Side::Nival, &["--verify", "--check-contents"]);
            wait_until_open(&child, "-huge");
            assert_ends(child, which);
        }
        assert_eq!(world.nix_store(&["--dump-db"]).ok().stdout, before);
    }
}

#[test]
fn signals_end_adding_and_dumping_what_is_huge() {
    let world = World::new();
    world.nix_store(&["--init"]).ok();
    let source = world.path("src/huge");
    std::fs::File::create(&source).unwrap().set_len(1 << 38).unwrap();
    std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o600)).unwrap();
    let child = data::start(&world, Side::Nival, &["--add", "src/huge"]);
    wait_until_open(&child, "/src/huge");
    assert_ends(child, Signal::INT);
    data::assert_sound(&world);
    assert!(data::names(&world.path("var/temproots")).is_empty());
    // Blocked, as nobody reads.
    let child = data::start(&world, Side::Nival, &["--dump", "src/huge"]);
    wait_until_open(&child, "/src/huge");
    std::thread::sleep(Duration::from_millis(200));
    signal(&child, Signal::TERM);
    let ended = data::finish(child, Duration::from_secs(20));
    assert_eq!((ended.status, ended.stderr.as_str()), (1, "error: interrupted by the user\n"));
}
