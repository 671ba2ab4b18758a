//! Collections that cannot delete, or cannot know what they may delete.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::common::{self, Outcome, Side, World};
use crate::data::hash_part;

/// Who may not read everything.
const NOBODY: u32 = 65534;

/// Makes a file or directory immutable, or no longer; false where the file
/// system or the user cannot.
fn immutable(path: impl AsRef<Path>, on: bool) -> bool {
    let flag = if on { "+i" } else { "-i" };
    Command::new("chattr").arg(flag).arg(path.as_ref()).output().is_ok_and(|output| output.status.success())
}

/// Registers directories, each of which refers to the one before.
fn chain(world: &World, count: usize) -> Vec<String> {
    world.nix_store(&["--init"]).ok();
    let paths: Vec<String> =
        (0..count).map(|i| format!("{}/{}-p{i}", world.text("store"), hash_part(i as u64))).collect();
    let mut text = String::new();
    for (i, path) in paths.iter().enumerate() {
        std::fs::create_dir_all(format!("{path}/d")).unwrap();
        std::fs::write(format!("{path}/d/f"), i.to_string()).unwrap();
        let references = if i > 0 { format!("1\n{}", paths[i - 1]) } else { "0".to_owned() };
        text += &format!("{path}\n\n{references}\n");
    }
    world.run_with_input(Side::Nival, "nix-store", &["--register-validity"], text.as_bytes()).ok();
    paths
}

fn valid(world: &World, path: &str) -> bool {
    world.nix_store(&["--check-validity", path]).status == 0
}

#[test]
fn what_cannot_be_deleted_stays_registered_with_what_it_needs() {
    let world = World::new();
    let paths = chain(&world, 4);
    world.write("src/file", "alone");
    let file = world.nix_store(&["--add", &world.text("src/file")]).line();
    if !immutable(&paths[1], true) || !immutable(&file, true) {
        immutable(&paths[1], false);
        common::skip("nothing can be made immutable here");
        return;
    }
    let info = world.nix_store(&["-q", "--hash", "--deriver", "--references", &paths[1]]);
    let outcome = world.nix_store(&["--gc"]);
    let again = world.nix_store(&["-q", "--hash", "--deriver", "--references", &paths[1]]);
    immutable(&paths[1], false);
    immutable(&file, false);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert_eq!(outcome.text().lines().next().unwrap().split(' ').next(), Some("2"), "{outcome:?}");
    for path in [&paths[1], &file] {
        assert!(
            outcome
                .stderr
                .contains(&format!("error: cannot delete: removing \"{path}\": Operation not permitted")),
            "{}",
            outcome.stderr
        );
    }
    // It and what it refers to; those that referred to it are gone.
    let there: Vec<bool> = paths.iter().map(|path| valid(&world, path)).collect();
    assert_eq!(there, [true, true, false, false]);
    assert!(valid(&world, &file));
    assert_eq!(info.stdout, again.stdout);
    let files: Vec<bool> = paths.iter().map(|path| Path::new(path).join("d/f").exists()).collect();
    assert_eq!(files, there);
    world.nix_store(&["--verify", "--check-contents"]).ok();
    world.nix_store(&["--gc"]).ok();
    assert!(paths.iter().all(|path| !valid(&world, path) && !Path::new(path).exists()));
}

#[test]
fn remains_are_named_where_they_lie_and_not_buried_deeper() {
    let world = World::new();
    let paths = chain(&world, 1);
    let inside = format!("{}/d/f", paths[0]);
    if !immutable(&inside, true) {
        common::skip("nothing can be made immutable here");
        return;
    }
    let find = || {
        let output = Command::new("find").arg(world.store()).args(["-name", "f"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    let outcome = world.nix_store(&["--gc"]);
    let first = find();
    let more: Vec<Outcome> = (0..3).map(|_| world.nix_store(&["--gc"])).collect();
    let last = find();
    immutable(&last, false);
    assert_eq!(outcome.status, 1);
    let line = format!(
        "error: cannot delete: removing \"{first}\": Operation not permitted (this was \"{}\")",
        paths[0]
    );
    assert!(outcome.stderr.contains(&line), "{}", outcome.stderr);
    assert_eq!(first, last);
    assert!(more.iter().all(|outcome| outcome.status == 1 && outcome.stderr.contains(&last)), "{more:?}");
    world.nix_store(&["--gc"]).ok();
    assert_eq!(find(), "");
}

/// Runs a program where `/proc` is empty; nothing where nobody may mount.
fn without_proc(world: &World, args: &[&str]) -> Option<Outcome> {
    let inner = world.command(Side::Nival, "nix-store");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", "mount -t tmpfs none /proc && exec \"$@\"", "sh"]);
    command.arg(inner.get_program()).args(args).env_clear().current_dir(world.path(""));
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let outcome = common::outcome(command.output().ok()?);
    if outcome.stderr.contains("unshare:") || outcome.stderr.contains("mount:") {
        common::skip("nobody may mount here");
        return None;
    }
    Some(outcome)
}

#[test]
fn nothing_is_deleted_without_proc_unless_that_is_wanted() {
    let world = World::new();
    let paths = chain(&world, 2);
    let Some(outcome) = without_proc(&world, &["--gc"]) else { return };
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.stderr.contains("gc-without-proc"), "{outcome:?}");
    assert!(paths.iter().all(|path| valid(&world, path)));
    // A question is answered, with a warning.
    let dead = without_proc(&world, &["--gc", "--print-dead"]).unwrap();
    assert_eq!(dead.ok().lines().len(), 2);
    assert!(dead.stderr.contains("warning: /proc does not tell"), "{dead:?}");
    without_proc(&world, &["--gc", "--option", "gc-without-proc", "true"]).unwrap().ok();
    assert!(paths.iter().all(|path| !Path::new(path).exists()));
}

#[test]
fn directories_of_users_never_stop_a_collection() {
    let world = World::new();
    let paths = chain(&world, 1);
    let keep = world.path("var/gcroots/per-user/bob");
    // Deeper than any path can be named, and a root at the end of it.
    std::fs::create_dir_all(&keep).unwrap();
    // Other programs may look at our open files: the handle is not kept.
    let bottom = || {
        let mut at = nival::sys::dir::open_dir(&keep).unwrap();
        for _ in 0..1500 {
            let _ = rustix::fs::mkdirat(&at, "nested", rustix::fs::Mode::RWXU);
            at = rustix::fs::openat(&at, "nested", nival::sys::dir::DIRECTORY, rustix::fs::Mode::empty())
                .unwrap();
        }
        at
    };
    rustix::fs::symlinkat(&*paths[0], bottom(), "root").unwrap();
    world.nix_store(&["--gc"]).ok();
    assert!(valid(&world, &paths[0]));
    rustix::fs::unlinkat(bottom(), "root", rustix::fs::AtFlags::empty()).unwrap();
    world.nix_store(&["--gc"]).ok();
    assert!(!valid(&world, &paths[0]));
}

fn give_to_nobody(world: &World) {
    std::os::unix::fs::chown(world.path(""), Some(NOBODY), Some(NOBODY)).unwrap();
    let chown = Command::new("chown").args(["-Rh", "65534:65534"]).arg(world.path("")).status();
    assert!(chown.unwrap().success());
}

fn as_nobody(world: &World, args: &[&str]) -> Outcome {
    let mut command = world.command(Side::Nival, "nix-store");
    common::outcome(command.args(args).uid(NOBODY).gid(NOBODY).output().unwrap())
}

fn set_mode(world: &World, mode: u32) {
    std::fs::set_permissions(world.path("private"), std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_root_out_of_reach_keeps_what_it_led_to_and_the_collection_goes_on() {
    if !rustix::process::geteuid().is_root() {
        common::skip("only root can become somebody who may not read everything");
        return;
    }
    let world = World::new();
    let [kept, dead, nothing]: [String; 3] = ["kept", "dead", "nothing"].map(|name| {
        world.write(format!("src/{name}"), name);
        world.nix_store(&["--add", &world.text(format!("src/{name}"))]).line()
    });
    std::fs::create_dir(world.path("private")).unwrap();
    let (link, other) = (world.text("private/link"), world.text("private/other"));
    world.nix_store(&["-r", &kept, "--add-root", &link]).ok();
    // A root that leads to no path, and one that was made by another program.
    symlink("/", &other).unwrap();
    let theirs = world.path("var/gcroots/auto/theirs");
    symlink(&other, &theirs).unwrap();
    give_to_nobody(&world);
    let as_nobody = |args: &[&str]| as_nobody(&world, args);
    let set_mode = |mode| set_mode(&world, mode);
    // Nobody knows yet where that one leads.
    set_mode(0o000);
    let refused = as_nobody(&["--gc"]);
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("nothing is deleted until it can be read or is gone"), "{refused:?}");
    assert!(valid(&world, &dead));
    // A collection that reads them notes it.
    set_mode(0o755);
    as_nobody(&["--gc", "--max-freed", "0"]).ok();
    set_mode(0o000);
    let outcome = as_nobody(&["--gc"]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.text().starts_with("2 store paths deleted"), "{outcome:?}");
    for line in [
        format!("\"{link}\": Permission denied; '{kept}', to which it led before, is kept"),
        format!("\"{other}\": Permission denied; it led to no path before"),
    ] {
        assert!(outcome.stderr.contains(&line), "{line}\n{outcome:?}");
    }
    assert!(valid(&world, &kept) && !valid(&world, &dead) && !valid(&world, &nothing));
    // A link that leads elsewhere now is noted anew, and goes with its entry.
    set_mode(0o755);
    std::fs::remove_file(&link).unwrap();
    as_nobody(&["--gc"]).ok();
    assert!(!valid(&world, &kept));
    assert_eq!(std::fs::read_dir(world.path("var/root-notes")).unwrap().count(), 1);
}

#[test]
fn without_handles_enough_no_root_of_a_user_is_lost() {
    let world = World::new();
    let paths = chain(&world, 2);
    let bottom = world.path("var/gcroots/per-user/bob/1/2/3/4/5/6/7/8/9/10/11");
    std::fs::create_dir_all(&bottom).unwrap();
    symlink(&paths[1], bottom.join("root")).unwrap();
    let (mut refused, mut done) = (0, 0);
    for limit in 8..48 {
        let inner = world.command(Side::Nival, "nix-store");
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {limit} && exec \"$0\" --gc")]).arg(inner.get_program());
        command.env_clear().current_dir(world.path(""));
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let outcome = common::outcome(command.output().unwrap());
        refused += usize::from(outcome.stderr.contains("nothing is deleted until it can be read"));
        done += usize::from(outcome.status == 0);
        assert!(paths.iter().all(|path| valid(&world, path)), "{limit}: {outcome:?}");
    }
    assert!(refused > 0 && done > 0, "{refused} {done}");
}

#[test]
fn what_is_noted_of_a_root_stays_while_nothing_else_is_known() {
    if !rustix::process::geteuid().is_root() {
        common::skip("only root can become somebody who may not read everything");
        return;
    }
    let world = World::new();
    let [profile, chained]: [String; 2] = ["profile", "chained"].map(|name| {
        world.write(format!("src/{name}"), name);
        world.nix_store(&["--add", &world.text(format!("src/{name}"))]).line()
    });
    // From a home back into the state directory, and by way of a second link.
    let own = world.path("var/profiles/per-user/alice");
    for dir in [&own, &world.path("private"), &world.path("var/gcroots/auto")] {
        std::fs::create_dir_all(dir).unwrap();
    }
    symlink(&profile, own.join("p-1-link")).unwrap();
    symlink("p-1-link", own.join("p")).unwrap();
    symlink(own.join("p"), world.path("private/l")).unwrap();
    symlink(&chained, world.path("private/second")).unwrap();
    symlink("second", world.path("private/first")).unwrap();
    symlink(world.path("private/l"), world.path("var/gcroots/auto/l")).unwrap();
    symlink(world.path("private/first"), world.path("var/gcroots/auto/first")).unwrap();
    give_to_nobody(&world);
    let collect = |more: &[&str]| as_nobody(&world, &[&["--gc"], more].concat());
    collect(&[]).ok();
    // The second link is away for a while: its path may go, and what is known
    // of it stays.
    std::fs::rename(world.path("private/second"), world.path("private/away")).unwrap();
    collect(&["--max-freed", "0"]).ok();
    std::fs::rename(world.path("private/away"), world.path("private/second")).unwrap();
    if !valid(&world, &chained) {
        assert_eq!(as_nobody(&world, &["--add", &world.text("src/chained")]).line(), chained);
    }
    set_mode(&world, 0o000);
    let outcome = collect(&[]);
    set_mode(&world, 0o755);
    assert!(outcome.text().starts_with("0 store paths deleted"), "{outcome:?}");
    for path in [&profile, &chained] {
        assert!(
            outcome.stderr.contains(&format!("'{path}', to which it led before, is kept")),
            "{outcome:?}"
        );
        assert!(valid(&world, path));
    }
    // What is there and no link is certain.
    std::fs::remove_file(world.path("private/second")).unwrap();
    std::fs::write(world.path("private/second"), "").unwrap();
    collect(&[]).ok();
    set_mode(&world, 0o000);
    let outcome = collect(&[]);
    set_mode(&world, 0o755);
    assert!(outcome.stderr.contains("it led to no path before"), "{outcome:?}");
}

#[test]
fn a_daemon_that_may_not_read_a_home_takes_roots_from_there() {
    if !rustix::process::geteuid().is_root() {
        common::skip("only root can become somebody who may not read everything");
        return;
    }
    let world = World::new();
    let [first, second]: [String; 2] = ["first", "second"].map(|name| {
        world.write(format!("src/{name}"), name);
        world.nix_store(&["--add", &world.text(format!("src/{name}"))]).line()
    });
    std::fs::create_dir(world.path("private")).unwrap();
    let link = world.text("private/link");
    world.nix_store(&["-r", &first, "--add-root", &link]).ok();
    give_to_nobody(&world);
    std::os::unix::fs::chown(world.path("private"), Some(0), Some(0)).unwrap();
    set_mode(&world, 0o700);
    let mut daemon = world.command(Side::Nival, "nix-daemon").uid(NOBODY).gid(NOBODY).spawn().unwrap();
    while !world.path("var/daemon-socket/socket").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let mut command = world.command(Side::Nival, "nix-store");
    command.args(["-r", &second, "--add-root", &link]).env("NIX_REMOTE", "daemon");
    let outcome = common::outcome(command.output().unwrap());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    outcome.ok();
    assert!(outcome.stderr.contains("Permission denied; garbage collections delete nothing"), "{outcome:?}");
    // What was noted of the link before is not taken for the truth.
    let refused = as_nobody(&world, &["--gc"]);
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("nothing is deleted until it can be read"), "{refused:?}");
    assert!(valid(&world, &second));
    set_mode(&world, 0o755);
    as_nobody(&world, &["--gc"]).ok();
    assert!(valid(&world, &second) && !valid(&world, &first));
}

#[test]
fn a_symlinked_store_is_refused_by_every_command() {
    let Some(world) = World::with_reference() else { return };
    world.write("src/f", "1");
    let path = world.nix_store(&["--add", &world.text("src/f")]).line();
    symlink(world.store(), world.path("link")).unwrap();
    std::fs::create_dir(world.path("above")).unwrap();
    symlink("above", world.path("to-above")).unwrap();
    let calls: [&[&str]; 6] = [
        &["nix-store", "--add", "src/f"],
        &["nix-store", "--gc"],
        &["nix-store", "--init"],
        &["nix-store", "--verify"],
        &["nix-store", "--store", "STORE?read-only=true", "-q", "--hash", "PATH"],
        &["nix-collect-garbage"],
    ];
    for store in ["link", "to-above/store"] {
        let store = world.text(store);
        for call in calls {
            let said = [Side::Nival, Side::Reference].map(|side| {
                let mut command = world.command(side, call[0]);
                let args = call[1..].iter().map(|arg| arg.replace("STORE?", "local?").replace("PATH", &path));
                command.args(args).env("NIX_STORE_DIR", &store);
                command.env("NIX_CONFIG", "extra-experimental-features = read-only-local-store");
                let outcome = common::outcome(command.output().unwrap());
                (outcome.status, outcome.stdout, outcome.stderr.lines().next().unwrap_or_default().to_owned())
            });
            assert_eq!(said[0], said[1], "{call:?}");
            assert_eq!(said[0].0, 1);
        }
    }
    // Where it is allowed, by either way.
    for allowed in [("NIX_IGNORE_SYMLINK_STORE", "1"), ("NIX_CONFIG", "allow-symlinked-store = true")] {
        let mut command = world.command(Side::Nival, "nix-store");
        let command =
            command.args(["--init"]).env("NIX_STORE_DIR", world.path("link")).env(allowed.0, allowed.1);
        common::outcome(command.output().unwrap()).ok();
    }
    assert!(Path::new(&path).exists());
}

#[test]
fn roots_of_a_store_below_another_root_directory() {
    let world = World::new();
    std::fs::create_dir_all(world.path("mnt/home")).unwrap();
    let store = format!("local?root={}", world.text("mnt"));
    let run = |args: &[&str]| {
        let mut command = world.command(Side::Nival, "nix-store");
        for name in ["STORE", "STATE", "LOG"] {
            command.env_remove(format!("NIX_{name}_DIR"));
        }
        common::outcome(command.args(["--store", &store]).args(args).output().unwrap())
    };
    let mut add = |name: &str| {
        world.write(format!("src/{name}"), name);
        run(&["--add", &world.text(format!("src/{name}"))]).line()
    };
    let [plain, real, inside, dead] = ["plain", "real", "inside", "dead"].map(&mut add);
    let there = |path: &str| Path::new(&format!("{}{path}", world.text("mnt"))).exists();
    let roots = world.path("mnt/nix/var/nix/gcroots");
    std::fs::create_dir_all(roots.join("auto")).unwrap();
    symlink(&plain, roots.join("plain")).unwrap();
    symlink(format!("{}{real}", world.text("mnt")), roots.join("real")).unwrap();
    symlink(&inside, world.path("mnt/home/result")).unwrap();
    symlink("/home/result", roots.join("auto/inside")).unwrap();
    run(&["--gc"]).ok();
    assert_eq!([&plain, &real, &inside, &dead].map(|path| there(path)), [true, true, true, false]);
    std::fs::remove_file(world.path("mnt/home/result")).unwrap();
    run(&["--gc"]).ok();
    assert!(!there(&inside) && !roots.join("auto/inside").is_symlink());
}

#[test]
fn whoever_holds_a_lock_for_long_is_named() {
    let world = World::new();
    world.write("src/f", "1");
    world.nix_store(&["--init"]).ok();
    let script = r#"
import fcntl, sqlite3, sys, time
# Somebody else has the database open, so that only writers wait.
reader = sqlite3.connect(sys.argv[4])
reader.execute("select * from ValidPaths").fetchall()
lock, shm = open(sys.argv[1], "r+"), open(sys.argv[2], "r+")
fcntl.flock(lock, fcntl.LOCK_EX) if sys.argv[3] == "gc" else fcntl.lockf(shm, fcntl.LOCK_EX, 1, 120)
print("held", flush=True)
time.sleep(4)
"#;
    for (which, args, said) in [
        ("gc", vec!["--gc"], "the garbage collector lock is held by process"),
        ("db", vec!["--add", "src/f"], "which is locked by process"),
    ] {
        let (lock, shm) = (world.path("var/gc.lock"), world.path("var/db/db.sqlite-shm"));
        std::fs::File::options().create(true).append(true).open(&lock).unwrap();
        let mut holder = Command::new("python3");
        holder.args(["-c", script]).arg(&lock).arg(&shm).arg(which).arg(world.path("var/db/db.sqlite"));
        holder.stdout(std::process::Stdio::piped());
        let Ok(mut holder) = holder.spawn() else { return common::skip("there is no python3") };
        use std::io::Read as _;
        holder.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
        let outcome = world.nix_store(&args);
        let pid = holder.id();
        holder.wait().unwrap();
        outcome.ok();
        assert!(outcome.stderr.contains(&format!("{said} {pid} (python3")), "{outcome:?}");
    }
}
