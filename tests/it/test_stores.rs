//! Which store is opened: chroot stores, the parts of a store in other places,
//! stores that may only be read, databases of other versions.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{Outcome, Side, World, outcome};
use crate::data;

/// Of a file `hello.txt` that says hello, in /nix/store.
const HELLO: &str = "/nix/store/i9pmrzmpshapij2kin22pff6fc2adavx-hello.txt";
const HELLO_BASE: &str = "i9pmrzmpshapij2kin22pff6fc2adavx-hello.txt";
const READ_ONLY_FEATURE: [&str; 2] = ["--extra-experimental-features", "read-only-local-store"];
/// A user without any rights.
const NOBODY: u32 = 65534;

/// A world with the file to add.
fn world_with_hello() -> World {
    let world = World::new();
    world.write("src/hello.txt", "hello\n");
    world
}

/// Our program without the variables that say where the store is.
fn plain(world: &World, side: Side) -> Command {
    let mut command = world.command(side, "nix-store");
    for name in ["STORE", "STATE", "LOG"] {
        command.env_remove(format!("NIX_{name}_DIR"));
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ended(command: &mut Command) -> Outcome {
    loop {
        match command.output() {
            // A child that another test has just started still has the copy of
            // the program open for writing, until it becomes what it is to be.
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
            output => return outcome(output.unwrap()),
        }
    }
}

fn in_store(world: &World, store: &str, args: &[&str]) -> Outcome {
    ended(plain(world, Side::Nival).args(["--store", store]).args(args))
}

/// Everything about the files below a directory that tells of changes.
fn fingerprint(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(path) = waiting.pop() {
        let meta = path.symlink_metadata().unwrap();
        if meta.is_dir() {
            waiting.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let times = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
        let text = format!("{:o} {} {} {times:?}", meta.mode(), meta.uid(), meta.len());
        found.insert(path.display().to_string(), text);
    }
    found
}

#[test]
fn chroot_stores_by_every_name() {
    let world = world_with_hello();
    let root = world.text("chroot");
    for (uri, root) in [
        (root.clone(), root.clone()),
        (format!("local?root={root}2"), format!("{root}2")),
        (format!("local://{root}3"), format!("{root}3")),
        ("./chroot4".to_owned(), format!("{root}4")),
        ("some/where".to_owned(), world.text("some/where")),
        (format!("auto?root={root}5"), format!("{root}5")),
        (format!("local?root={root}%20blank"), format!("{root} blank")),
    ] {
        // Printed, registered and taken: the logical path.
        let run = |args: &[&str]| in_store(&world, &uri, args);
        assert_eq!(run(&["--add", "src/hello.txt"]).line(), HELLO, "{uri}");
        let real = format!("{root}{HELLO}");
        assert_eq!(std::fs::read_to_string(&real).unwrap(), "hello\n");
        assert!(Path::new(&format!("{root}/nix/var/nix/db/db.sqlite")).exists(), "{uri}");
        assert_eq!(run(&["-qR", HELLO]).line(), HELLO, "{uri}");
        assert_eq!(run(&["--dump-db"]).ok().lines()[0], HELLO, "{uri}");
        run(&["--verify-path", HELLO]).ok();
        run(&["--verify", "--check-contents"]).ok();
        let physical = run(&["-q", "--hash", &real]);
        physical.fails(&format!("error: path \"{real}\" is not in the Nix store"));
    }
    assert!(!world.path("store").exists() && !world.path("var").exists());
}

#[test]
fn chroot_stores_are_the_same_to_the_reference() {
    let Some(world) = World::with_reference() else { return };
    world.write("src/hello.txt", "hello\n");
    world.write("src/other.txt", "other\n");
    let root = world.text("chroot");
    let run = |side, args: &[&str]| ended(plain(&world, side).args(["--store", &root]).args(args));
    assert_eq!(run(Side::Nival, &["--add", "src/hello.txt"]).line(), HELLO);
    let other = run(Side::Reference, &["--add", "src/other.txt"]).line();
    let link = world.path("chroot/nix/var/nix/gcroots/link");
    std::os::unix::fs::symlink(HELLO, &link).unwrap();
    for args in [
        &["--dump-db"] as &[&str],
        &["-q", "--hash", HELLO, &other],
        &["-q", "--tree", HELLO],
        &["-q", "--roots", HELLO],
        &["--export", &other, HELLO],
        &["--verify-path", HELLO, &other],
        &["--verify", "--check-contents"],
    ] {
        let [ours, theirs] = [Side::Nival, Side::Reference].map(|side| run(side, args));
        assert_eq!((ours.status, &ours.stdout), (0, &theirs.stdout), "{args:?}");
        assert_eq!(ours.stderr, theirs.stderr, "{args:?}");
    }
    let roots = run(Side::Nival, &["-q", "--roots", HELLO]).line();
    assert_eq!(roots, format!("{} -> {HELLO}", link.display()));
}

#[test]
fn parts_in_other_places() {
    let world = world_with_hello();
    let at = world.text("at");
    let files = |dir: &str| data::names(&world.path(format!("at/{dir}")));
    let add = |uri: String| in_store(&world, &uri, &["--add", "src/hello.txt"]).line();
    assert_eq!(add(format!("local?root={at}/a&state={at}/a-state")), HELLO);
    assert!(files("a/nix/store").contains(HELLO_BASE));
    assert!(files("a-state/db").contains("db.sqlite") && files("a/nix/var").is_empty());

    assert_eq!(add(format!("local?real={at}/b&state={at}/b-state")), HELLO);
    assert!(files("b").contains(HELLO_BASE) && files("b").contains(".links"));
    assert!(files("b-state/db").contains("db.sqlite"));

    assert_eq!(add(format!("local?real={at}/c&root={at}/c-root")), HELLO);
    assert!(files("c").contains(HELLO_BASE));
    assert!(files("c-root/nix/var/nix/db").contains("db.sqlite"));

    // Another store directory makes other paths.
    let path = add(format!("local?store={at}/d&state={at}/d-state&log={at}/d-log"));
    assert!(path.starts_with(&format!("{at}/d/")) && !path.contains("i9pmrz"), "{path}");
    assert!(Path::new(&path).exists());
}

#[test]
fn the_store_directory_of_the_environment_stays_logical() {
    let world = world_with_hello();
    let root = world.text("root");
    let path = world.nix_store(&["--store", &root, "--add", "src/hello.txt"]).line();
    let base = path.strip_prefix(&format!("{}/", world.text("store"))).unwrap();
    assert!(Path::new(&format!("{root}/nix/store/{base}")).exists(), "{path}");
    assert!(Path::new(&format!("{root}/nix/var/nix/db")).exists());
    assert!(!Path::new(&path).exists() && !world.path("var").exists());
    let uri = format!("local?store=/nix/store&root={root}2");
    assert_eq!(world.nix_store(&["--store", &uri, "--add", "src/hello.txt"]).line(), HELLO);
}

#[test]
fn logs_in_another_place() {
    let world = world_with_hello();
    let drv = format!("/nix/store/{}-x.drv", data::hash_part(1));
    let base = drv.strip_prefix("/nix/store/").unwrap();
    world.write(format!("logs/drvs/{}/{}", &base[..2], &base[2..]), "what happened\n");
    let uri = format!("local?root={}&log={}", world.text("root"), world.text("logs"));
    assert_eq!(in_store(&world, &uri, &["--read-log", &drv]).line(), "what happened");
    let without = in_store(&world, &world.text("root"), &["--read-log", &drv]);
    without.fails(&format!("error: build log of derivation '{drv}' is not available"));
}

#[test]
fn the_variable_that_names_the_store() {
    let mut world = world_with_hello();
    let root = world.text("chroot");
    let named = |world: &mut World, value: &str, args: &[&str]| {
        world.variables = vec![("NIX_REMOTE".to_owned(), value.to_owned())];
        world.nix_store(args)
    };
    for local in ["", "auto", "local", "local://", "local?root="] {
        let path = named(&mut world, local, &["--add", "src/hello.txt"]).line();
        assert!(Path::new(&path).exists(), "{local}");
    }
    named(&mut world, &root, &["--add", "src/hello.txt"]).ok();
    assert!(world.path("chroot/nix/var/nix/db").exists());
    // What the command line says comes first.
    let elsewhere = named(&mut world, &root, &["--store", "local", "--dump-db"]);
    assert_eq!(elsewhere.ok().lines()[0], format!("{}/{}", world.text("store"), hello_base(&world)));
    let broken = named(&mut world, "bogus", &["--init"]);
    broken.fails("error: Cannot parse Nix store 'bogus'");
    let remote = named(&mut world, "daemon", &["--dump-db"]);
    assert_eq!((remote.status, remote.stdout.len()), (1, 0), "{remote:?}");
    assert!(remote.stderr.starts_with("error: ") && remote.stderr.contains("daemon"), "{remote:?}");
}

/// The name of the file in the store of the world itself.
fn hello_base(world: &World) -> String {
    let path = data::path_of(world, "src/hello.txt");
    path.rsplit('/').next().unwrap().to_owned()
}

#[test]
fn store_uris_that_make_no_sense() {
    let world = world_with_hello();
    for (uri, message) in [
        ("bogus", "error: Cannot parse Nix store 'bogus'"),
        ("%", "error: Cannot parse Nix store '%'"),
        ("bogus://x", "error: don't know how to open Nix store with scheme 'bogus'"),
        ("local?root=relative", "error: not an absolute path: \"relative\""),
        ("local?require-sigs=maybe", "error: Boolean setting 'require-sigs' has invalid value 'maybe'"),
        (
            "local?read-only=true",
            "error: experimental Nix feature 'read-only-local-store' is disabled; \
             add '--extra-experimental-features read-only-local-store' to enable it",
        ),
        ("://", "error: Cannot parse Nix store '://'"),
    ] {
        world.nix_store(&["--store", uri, "--init"]).fails(message);
        assert_eq!(data::names(&world.path("")), ["bin", "etc", "home", "src"].map(String::from).into());
    }
    let warned = world.nix_store(&["--store", "local?bogus=1", "--init"]);
    assert_eq!(warned.ok().stderr, "warning: unknown setting 'bogus'\n");
}

/// Operations that only read, and those that would write; `HELLO` stands for
/// itself.
const READING: [&[&str]; 12] = [
    &["-q", "--hash", HELLO],
    &["-q", "--size", HELLO],
    &["-qR", HELLO],
    &["-q", "--referrers-closure", HELLO],
    &["-q", "--tree", HELLO],
    &["-q", "--graph", HELLO],
    &["-q", "--deriver", HELLO],
    &["-q", "--roots", HELLO],
    &["--dump-db"],
    &["--check-validity", HELLO],
    &["--verify-path", HELLO],
    &["--export", HELLO],
];
const WRITING: [&[&str]; 2] = [&["--add", "src/new"], &["--add-fixed", "md5", "src/new"]];

/// Checks that a store can be read as root reads it, and that writing fails
/// with a clear message and no effect.
#[track_caller]
fn assert_read_only(world: &World, root: &str, lines: usize, run: impl Fn(&[&str]) -> Outcome) {
    world.write("src/new", "new\n");
    let expected: Vec<_> = READING.iter().map(|args| in_store(world, root, args).ok().clone()).collect();
    let before = fingerprint(Path::new(root));
    for (args, expected) in READING.iter().zip(expected) {
        assert_eq!(run(args), expected, "{args:?}");
    }
    for args in WRITING {
        let refused = run(args);
        assert_eq!((refused.status, refused.stdout.len()), (1, 0), "{args:?}: {refused:?}");
        let first = format!("error: cannot write to the store '{root}': ");
        assert!(refused.stderr.starts_with(&first), "{args:?}: {refused:?}");
        assert_eq!(refused.stderr.lines().count(), lines, "{args:?}: {refused:?}");
    }
    assert_eq!(fingerprint(Path::new(root)), before);
}

#[test]
fn a_store_opened_for_reading() {
    let world = world_with_hello();
    let root = world.text("chroot");
    in_store(&world, &root, &["--add", "src/hello.txt"]).ok();
    let uri = format!("local?root={root}&read-only=true");
    assert_read_only(&world, &root, 1, |args| {
        in_store(&world, &uri, &[&READ_ONLY_FEATURE[..], args].concat())
    });
    // One that does not exist is not made.
    let uri = format!("local?root={}&read-only=true", world.text("nowhere"));
    let missing = in_store(&world, &uri, &[&READ_ONLY_FEATURE[..], &["--init"]].concat());
    missing.fails("error: database does not exist, and cannot be created in read-only mode");
    assert!(!world.path("nowhere").exists());
}

/// A world that a user without rights can look into, with our program where
/// he can run it; none when the tests do not run as root.
fn open_world() -> Option<World> {
    if !rustix::process::geteuid().is_root() {
        crate::common::skip("only root can be somebody else");
        return None;
    }
    let world = world_with_hello();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(world.path(""), open.clone()).unwrap();
    // The program may lie where nobody may look.
    let program = world.path("bin/nix-store");
    std::fs::remove_file(&program).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_nival"), &program).unwrap();
    std::fs::set_permissions(&program, open).unwrap();
    std::fs::create_dir(world.path("nobody")).unwrap();
    chown(world.path("nobody"), Some(NOBODY), Some(NOBODY)).unwrap();
    Some(world)
}

fn as_nobody(world: &World, store: &str, args: &[&str]) -> Outcome {
    let mut command = plain(world, Side::Nival);
    command.args(["--store", store]).args(args).env("HOME", world.path("nobody"));
    ended(command.uid(NOBODY).gid(NOBODY))
}

#[test]
fn a_store_of_somebody_else() {
    let Some(world) = open_world() else { return };
    let root = world.text("chroot");
    in_store(&world, &root, &["--add", "src/hello.txt"]).ok();
    assert_read_only(&world, &root, 2, |args| as_nobody(&world, &root, args));
}

#[test]
fn what_is_only_in_the_log_of_the_database_is_seen() {
    let Some(world) = open_world() else { return };
    let root = world.text("chroot");
    in_store(&world, &root, &["--init"]).ok();
    // A reader keeps the write-ahead log from being folded in.
    let database = rusqlite::Connection::open(world.path("chroot/nix/var/nix/db/db.sqlite")).unwrap();
    database.execute_batch("begin").unwrap();
    let count = |database: &rusqlite::Connection| -> i64 {
        database.query_row("select count(*) from ValidPaths", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count(&database), 0);
    in_store(&world, &root, &["--add", "src/hello.txt"]).ok();
    assert_eq!(count(&database), 0);
    assert_eq!(as_nobody(&world, &root, &["-qR", HELLO]).line(), HELLO);
    let uri = format!("local?root={root}&read-only=true");
    let read_only = in_store(&world, &uri, &[&READ_ONLY_FEATURE[..], &["-qR", HELLO]].concat());
    assert_eq!(read_only.line(), HELLO);
}

#[test]
fn a_database_without_its_log_files() {
    let Some(world) = open_world() else { return };
    let root = world.text("chroot");
    in_store(&world, &root, &["--add", "src/hello.txt"]).ok();
    // As any other program leaves it that closes the database last.
    for file in ["db.sqlite-wal", "db.sqlite-shm"] {
        let _ = std::fs::remove_file(world.path("chroot/nix/var/nix/db").join(file));
    }
    let before = fingerprint(Path::new(&root));
    assert_eq!(as_nobody(&world, &root, &["-qR", HELLO]).line(), HELLO);
    assert_eq!(fingerprint(Path::new(&root)), before);
}

#[test]
fn databases_of_other_versions() {
    let world = world_with_hello();
    let root = world.text("chroot");
    in_store(&world, &root, &["--add", "src/hello.txt"]).ok();
    world.write("src/new", "new\n");
    let schema = world.path("chroot/nix/var/nix/db/schema");
    assert_eq!(std::fs::read(&schema).unwrap(), b"10");
    let newer =
        |version| format!("error: current Nix store schema is version {version}, but I only support 10");
    let corrupt = format!("error: \"{}\" is corrupt", schema.display());
    let older = "error: the Nix store has schema version".to_owned();
    for (text, message) in [
        ("11", newer(11)),
        ("4711", newer(4711)),
        ("x", corrupt.clone()),
        ("10\n", corrupt.clone()),
        (" ", corrupt.clone()),
        ("99999999999999999999", corrupt.clone()),
        ("5", older.clone()),
        ("9", older),
    ] {
        std::fs::write(&schema, text).unwrap();
        let before = fingerprint(Path::new(&root));
        let init: [&[&str]; 3] = [&["--init"], &["--verify"], &["--register-validity"]];
        for args in READING.iter().chain(&WRITING).chain(&init) {
            let refused = in_store(&world, &root, args);
            assert_eq!((refused.status, refused.stdout.len()), (1, 0), "{text:?} {args:?}: {refused:?}");
            assert!(refused.stderr.starts_with(&message), "{text:?} {args:?}: {refused:?}");
            assert_eq!(refused.stderr.lines().count(), 1, "{text:?} {args:?}: {refused:?}");
        }
        assert_eq!(fingerprint(Path::new(&root)), before, "{text:?}");
    }
    std::fs::write(&schema, "10").unwrap();
    assert_eq!(in_store(&world, &root, &["-qR", HELLO]).line(), HELLO);
}

#[test]
fn a_user_without_a_store_gets_one_at_home() {
    let Some(world) = open_world() else { return };
    // Out of sight of whatever store this machine has.
    let script = "if [ -d /nix ]; then mount -t tmpfs none /nix || exit 77; fi; \
                  exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
    let run = |args: &[&str]| {
        let inside = plain(&world, Side::Nival);
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script, "sh"]).arg(inside.get_program()).args(args);
        command.env_clear().current_dir(world.path("")).stdin(Stdio::null());
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", world.path("nobody"));
        command.env("NIX_CONF_DIR", world.path("etc"));
        ended(&mut command)
    };
    let first = run(&["--add", "src/hello.txt"]);
    if first.status == 77 || first.stderr.contains("unshare") {
        crate::common::skip(&format!("no mount namespace here: {}", first.stderr));
        return;
    }
    let root = world.text("nobody/.local/share/nix/root");
    assert_eq!(first.line(), HELLO);
    let expected = format!("does not exist, so Nival will use \"{root}\" as a chroot store\n");
    assert!(first.stderr.ends_with(&expected), "{}", first.stderr);
    assert!(Path::new(&format!("{root}{HELLO}")).exists());
    // Later it goes without saying.
    let again = run(&["-q", "--hash", HELLO]);
    assert_eq!((again.ok().lines().len(), again.stderr.as_str()), (1, ""));
}

#[test]
fn what_writes_nothing_is_done_on_a_store_opened_for_reading() {
    let Some(world) = World::with_reference() else { return };
    world.write("src/hello.txt", "hello\n");
    let path = world.nix_store(&["--add", &world.text("src/hello.txt")]).line();
    world.nix_store(&["-r", &path, "--add-root", &world.text("home/kept")]).ok();
    world.nix_store(&["--optimise"]).ok();
    let export = world.nix_store(&["--export", &path]).ok().stdout.clone();
    let uri = "local?read-only=true";
    let (root, cache) = (world.text("home/root"), format!("file://{}", world.text("cache")));
    let before = fingerprint(&world.store());
    let commands = [
        ("nix-store", &["--optimise", "--store", uri][..]),
        ("nix-store", &["--gc", "--store", uri]),
        ("nix-store", &["--verify", "--check-contents", "--store", uri]),
        ("nix-store", &["--verify-path", &path, "--store", uri]),
        ("nix-store", &["--import", "--store", uri]),
        ("nix-store", &["-r", &path, "--add-root", &root, "--store", uri]),
        ("nix-store", &["--add", "src/hello.txt", "--store", uri]),
        ("nix-store", &["--register-validity", "--store", uri]),
        ("nix-store", &["-q", "--roots", &path, "--store", uri]),
        ("nix", &["store", "optimise", "--store", uri]),
        ("nix", &["store", "gc", "--store", uri]),
        ("nix", &["store", "dump-path", &path, "--store", uri]),
        ("nix", &["copy", "--from", uri, "--to", &cache, &path]),
        ("nix", &["copy", "--from", &cache, "--to", uri, &path]),
    ];
    let run = |side, (program, words): &(&str, &[&str])| {
        let input = if words.contains(&"--import") { &export[..] } else { b"" };
        let words = [&READ_ONLY_FEATURE[..], words].concat();
        world.run_with_input(side, program, &words, input)
    };
    let ours = commands.each_ref().map(|command| run(Side::Nival, command));
    assert_eq!(fingerprint(&world.store()), before);
    for (command, ours) in commands.iter().zip(ours) {
        let theirs = run(Side::Reference, command);
        // The reference tells of roots in the order in which directories list them.
        let printed = |stdout: &[u8]| {
            match command.1.contains(&"--roots") {
                true => stdout
                    .split(|byte| *byte == b'\n')
                    .collect::<std::collections::BTreeSet<_>>()
                    .into_iter()
                    .collect(),
                false => vec![stdout],
            }
            .concat()
        };
        assert_eq!(
            (ours.status, printed(&ours.stdout)),
            (theirs.ok().status, printed(&theirs.stdout)),
            "{command:?}: {ours:?}"
        );
    }
}
