//! Where builders work: what they see in a sandbox, as what they run, and what is left of them.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use nival::build::BuildError;
use nival::build::log::{LogOptions, LogWriter};
use nival::build::process::{Ended, Limits, Program};
use nival::build::workplace::users::BuildUser;
use nival::build::workplace::{
    Isolation, SandboxOptions, SandboxPath, Workplace, WorkplaceOptions, sandbox_available,
};
use nival::progress::{ActivityId, Silent};
use nival::sys::interrupt::CancelToken;

use crate::common::{Side, World, skip_missing};

/// A shell that needs no libraries, and is many other programs as well.
pub fn static_shell() -> Option<&'static str> {
    let found = ["/usr/bin/busybox", "/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    if found.is_none() {
        skip_missing("there is no busybox, which is the shell in a sandbox");
    }
    found
}

/// Whether there are namespaces to be had.
pub fn has_sandbox() -> bool {
    let answer = sandbox_available();
    if let Err(error) = &answer {
        skip_missing(&format!("there is no sandbox: {error:?}"));
    }
    answer.is_ok()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn seen(outside: impl Into<PathBuf>, inside: &str) -> SandboxPath {
    SandboxPath { outside: outside.into(), inside: PathBuf::from(inside), optional: false }
}

/// A workplace on the host in a directory.
fn on_host(dir: &Path) -> WorkplaceOptions {
    std::fs::create_dir_all(dir.join("store")).unwrap();
    WorkplaceOptions::new(dir.join("builds"), dir.join("store"))
}

/// A workplace in a sandbox with a shell.
fn in_sandbox(dir: &Path, shell: &str) -> (WorkplaceOptions, SandboxOptions) {
    let mut sandbox = SandboxOptions::new(dir.join("store/x.drv.chroot"), "/nix/store");
    sandbox.paths = vec![seen(shell, "/bin/sh"), seen(shell, "/bin/busybox")];
    (on_host(dir), sandbox)
}

/// What came of a builder.
struct Run {
    ended: Result<Ended, BuildError>,
    lines: Vec<String>,
    workplace: Workplace,
}

fn run_program(options: WorkplaceOptions, builder: &str, args: &[&str]) -> Run {
    let mut workplace = Workplace::make(options).unwrap();
    let args: Vec<Vec<u8>> = args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
    let env = BTreeMap::from([(b"name".to_vec(), b"value".to_vec())]);
    let program = Program { builder: builder.as_bytes(), args: &args, env: &env, files: &[] };
    let mut kept = LogOptions::default();
    kept.tail = 10_000;
    let mut log = LogWriter::create(&kept).unwrap();
    let started = workplace.start(&program);
    let ended =
        started.and_then(|builder| builder.watch(&Limits::default(), &mut log, &Silent, ActivityId::NONE));
    log.finish(&Silent, ActivityId::NONE).unwrap();
    Run { ended, lines: log.tail().iter().cloned().collect(), workplace }
}

/// Runs a script, which ends well, and gives what it printed.
#[track_caller]
fn script(options: WorkplaceOptions, text: &str) -> Vec<String> {
    let run = run_program(options, "/bin/sh", &["-c", text]);
    assert!(matches!(run.ended, Ok(Ended::Exited(0))), "{:?}: {:?}", run.ended, run.lines);
    run.workplace.close().unwrap();
    run.lines
}

/// Everything that a builder sees, with a heading before each part. Parts that are meant to differ are `mounts` and `fd`.
const LOOK: &str = r#"
PATH=/build/.bin; /bin/busybox mkdir $PATH; /bin/busybox --install -s $PATH
part() { echo "== $1"; }
part id; id; grep -E '^(Cap|NoNew|Seccomp|Uid|Gid|Groups)' /proc/self/status
part maps; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups
part etc; for f in /etc/*; do echo "-- $f"; cat $f; done
part modes; stat -c '%a %u %g %F %n' / /* /dev/* /etc/* $NIX_STORE $PWD | grep -v "/dev/pts$"
part links; for l in /dev/fd /dev/stdin /dev/stdout /dev/stderr /dev/ptmx; do readlink $l; done
part net; ip addr; ip route; hostname; uname -n
part limits; umask; cat /proc/self/personality; ulimit -a
part terminal; test -t 1 && test -t 2 && stty -a < /dev/stdout; echo $(readlink /proc/self/fd/0); (: < /dev/tty) 2>&1
part session; cut -d' ' -f1,5,6,7,8 /proc/self/stat | head -c 3
part mounts; cut -d' ' -f2,3 /proc/mounts
part pids; ls -d /proc/[0-9]* | head -1
part env; env
"#;

#[test]
fn inside_everything_is_as_in_the_reference() {
    let Some(shell) = static_shell() else { return };
    if !has_sandbox() || World::with_reference().is_none() {
        return;
    }
    let look = |side: Side| {
        let world = World::new();
        let conf = std::fs::read_to_string(world.path("etc/nix.conf")).unwrap();
        let conf = conf.replace("sandbox = false", "sandbox = true\nsandbox-fallback = false");
        world.write("etc/nix.conf", format!("{conf}sandbox-paths = /bin/sh={shell} /bin/busybox={shell}\n"));
        world.write("look.sh", LOOK);
        // The shell stays behind: a builder that has closed its terminal is killed.
        let nix = r#"derivation { name = "look"; system = builtins.currentSystem; builder = "/bin/sh";
            dep = builtins.toFile "dep" "dep"; args = [ "-c" "(. ${./look.sh}) > $out 2>&1; echo done" ]; }"#;
        let file = world.write("look.nix", nix);
        let drv = world.run(side, "nix-instantiate", &[file]).line();
        let built = world.run(side, "nix-store", &["-r", &drv]);
        built.ok();
        let out = built.text().trim_end().to_owned();
        let text = String::from_utf8(std::fs::read(&out).unwrap()).unwrap();
        text.replace(&out, "$out").replace(&world.text(""), "ROOT/")
    };
    let parts = |text: &str| -> BTreeMap<String, Vec<String>> {
        text.split("== ")
            .skip(1)
            .map(|part| {
                let mut lines = part.lines().map(str::to_owned);
                (lines.next().unwrap(), lines.collect())
            })
            .collect()
    };
    let (ours, theirs) = (parts(&look(Side::Nival)), parts(&look(Side::Reference)));
    assert!(theirs.len() > 10, "{theirs:?}");
    for (name, lines) in &theirs {
        let sorted = |lines: &[String]| {
            let mut lines: Vec<String> = lines
                .iter()
                // Store paths differ with the store, and names with the kind of file system.
                .map(|line| line.split(' ').map(without_hash).collect::<Vec<_>>().join(" "))
                // Parts of /proc are read-only here, and the store is no mount of its own.
                .filter(|line| {
                    name != "mounts" || !(line.starts_with("/proc/") || line.ends_with("/store ext4"))
                })
                .collect();
            if matches!(name.as_str(), "mounts" | "env") {
                lines.sort();
            }
            lines
        };
        let own = ours.get(name).map(Vec::as_slice).unwrap_or_default();
        assert_eq!(sorted(own), sorted(lines), "{name}");
    }
}

/// A word without the hash part of a store path.
fn without_hash(word: &str) -> String {
    match word.rsplit_once("/store/") {
        Some((before, path)) => format!("{before}/store/{}", path.get(33..).unwrap_or(path)),
        None => word.to_owned(),
    }
}

#[test]
fn output_goes_to_a_terminal_and_comes_as_it_is() {
    let world = World::new();
    let dir = world.path("place");
    let text = r"test -t 1 && test -t 2 && echo terminal; printf 'a\n\tb\n'; pwd; echo $PWD $name; umask
        ls -ld . | cut -c1-10; cat; (: < /dev/tty) 2>/dev/null || echo no tty; trap | wc -l; ls /proc/self/fd | wc -l";
    let lines = script(on_host(&dir), text);
    let builds = dir.join("builds").to_str().unwrap().to_owned();
    assert_eq!(lines[..3], ["terminal", "a", "\tb"]);
    assert!(lines[3].starts_with(&format!("{builds}/nix-{}-", std::process::id())), "{lines:?}");
    assert_eq!(lines[4], format!("{} value", lines[3]));
    assert_eq!(lines[5..], ["0022", "drwx------", "no tty", "0", "4"]);
    assert_eq!(std::fs::read_dir(&builds).unwrap().count(), 0, "a directory was left");
}

#[test]
fn how_builders_end() {
    let world = World::new();
    let options = || on_host(&world.path("place"));
    for (text, expected) in [
        ("exit 7", Ended::Exited(7)),
        ("kill -SEGV $$", Ended::Signalled(11)),
        // It is not heard of any more, and need not be waited for.
        ("exec > /dev/null 2>&1; sleep 1000", Ended::Signalled(9)),
    ] {
        let run = run_program(options(), "/bin/sh", &["-c", text]);
        assert_eq!(run.ended.unwrap(), expected, "{text}");
    }
    for (builder, line) in [
        ("/nonexistent", "error: executing '/nonexistent': No such file or directory"),
        ("/etc/passwd", "error: executing '/etc/passwd': Permission denied"),
        ("relative", "error: executing 'relative': No such file or directory"),
    ] {
        let run = run_program(options(), builder, &[]);
        assert!(matches!(run.ended, Ok(Ended::Exited(1))));
        assert_eq!(run.lines, [line]);
    }
    let mut limits = Limits::default();
    limits.log_size = Some(100);
    let mut workplace = Workplace::make(options()).unwrap();
    let args = [b"-c".to_vec(), b"while :; do echo 0123456789; done".to_vec()];
    let (env, files) = (BTreeMap::new(), []);
    let program = Program { builder: b"/bin/sh", args: &args, env: &env, files: &files };
    let mut log = LogWriter::create(&LogOptions::default()).unwrap();
    let ended = workplace.start(&program).unwrap().watch(&limits, &mut log, &Silent, ActivityId::NONE);
    assert_eq!(ended.unwrap(), Ended::TooMuchLog(100));
}

/// A pipe whose writers are looked for.
fn fifo(dir: &Path) -> PathBuf {
    let path = dir.join("fifo");
    std::fs::create_dir_all(dir).unwrap();
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    path
}

#[test]
fn nothing_of_a_builder_outlives_it() {
    let world = World::new();
    let pipe = fifo(&world.path("shared"));
    // Without a terminal, in a session of its own, with a parent that is gone.
    let text = format!(
        "exec 3<>{pipe}; (setsid sh -c 'echo begun >&3; exec sleep 1000' < /dev/null > /dev/null 2>&1 &) ; \
         while ! read line <&3; do :; done; exec 3>&-",
        pipe = pipe.display()
    );
    let run = run_program(on_host(&world.path("place")), "/bin/sh", &["-c", &text]);
    assert!(matches!(run.ended, Ok(Ended::Exited(0))), "{:?} {:?}", run.ended, run.lines);
    // Nobody has it open any more: or this would wait.
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
    let opened = rustix::fs::open(&pipe, flags, rustix::fs::Mode::empty());
    assert_eq!(opened.map(drop), Err(rustix::io::Errno::NXIO));
}

#[test]
fn an_interrupted_build_leaves_nothing() {
    let world = World::new();
    let dir = world.path("place");
    let token = CancelToken::new();
    let mut workplace = Workplace::make(on_host(&dir)).unwrap();
    let args = [b"-c".to_vec(), b"echo begun; exec sleep 1000".to_vec()];
    let (env, files) = (BTreeMap::new(), []);
    let program = Program { builder: b"/bin/sh", args: &args, env: &env, files: &files };
    let mut log = LogWriter::create(&LogOptions::default()).unwrap();
    /// Ends the work as soon as the builder says something.
    struct Ends(CancelToken);
    impl nival::Progress for Ends {
        fn forward(&self, _: &nival::progress::Event) {
            self.0.cancel();
        }
    }
    let ended = token.scope(|| {
        let builder = workplace.start(&program).unwrap();
        builder.watch(&Limits::default(), &mut log, &Ends(token.clone()), ActivityId::NONE)
    });
    assert!(matches!(ended, Err(BuildError::Interrupted(_))), "{ended:?}");
    drop(workplace);
    assert_eq!(std::fs::read_dir(dir.join("builds")).unwrap().count(), 0);
}

/// Run by [`a_builder_ends_with_us`] in a process that is killed.
#[test]
#[ignore = "is run by another test, in a process that is killed"]
fn process_that_is_killed() {
    let dir = PathBuf::from(std::env::var_os("NIVAL_TEST_DIR").unwrap());
    let text = format!(
        "echo begun > {}/shared/fifo; exec sleep 1000 > {}/shared/fifo",
        dir.display(),
        dir.display()
    );
    let options = match std::env::var("NIVAL_TEST_SHELL") {
        Ok(shell) => {
            let (mut options, mut sandbox) = in_sandbox(&dir.join("place"), &shell);
            let shared = dir.join("shared").to_str().unwrap().to_owned();
            sandbox.paths.push(seen(&shared, &shared));
            options.isolation = Isolation::Sandbox(sandbox);
            options
        }
        Err(_) => on_host(&dir.join("place")),
    };
    let text = text.replace(
        "sleep",
        if matches!(options.isolation, Isolation::Host) { "sleep" } else { "/bin/busybox sleep" },
    );
    let _ = run_program(options, "/bin/sh", &["-c", &text]);
}

#[test]
fn a_builder_ends_with_us() {
    for in_sandbox in [false, true] {
        let Some(shell) = static_shell() else { return };
        if in_sandbox && !has_sandbox() {
            return;
        }
        let world = World::new();
        let pipe = fifo(&world.path("shared"));
        let mut other = Command::new(std::env::current_exe().unwrap());
        other.args(["--exact", "test_sandbox::process_that_is_killed", "--ignored", "--nocapture"]);
        other.env("NIVAL_TEST_DIR", world.path("")).stdout(std::process::Stdio::null());
        if in_sandbox {
            other.env("NIVAL_TEST_SHELL", shell);
        }
        let mut other = other.spawn().unwrap();
        let mut first = [0; 6];
        let mut reader = std::fs::File::open(&pipe).unwrap();
        reader.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"begun\n");
        let mut wait = vec![];
        other.kill().unwrap();
        other.wait().unwrap();
        // The end of it is when nobody can write any more.
        reader.read_to_end(&mut wait).unwrap();
        // What the process could not remove, somebody else can.
        assert_eq!(std::fs::read_dir(world.path("place/builds")).unwrap().count(), 1);
    }
}

#[test]
fn inputs_and_other_paths() {
    let Some(shell) = static_shell() else { return };
    if !has_sandbox() {
        return;
    }
    let world = World::new();
    let dir = world.path("place");
    for (path, contents) in
        [("in/dir/file", "in a directory"), ("in/file", "a file"), ("host/file", "outside")]
    {
        world.write(path, contents);
    }
    std::os::unix::fs::symlink("file", world.path("in/link")).unwrap();
    std::os::unix::fs::symlink("/nonexistent", world.path("host/link")).unwrap();
    let (mut options, mut sandbox) = in_sandbox(&dir, shell);
    sandbox.inputs = ["dir", "file", "link"]
        .map(|name| (world.path("in").join(name), PathBuf::from(format!("/nix/store/{name}"))))
        .into();
    sandbox.paths.push(seen(world.path("host"), "/host"));
    sandbox.paths.push(seen(world.path("host/link"), "/lib/link"));
    sandbox.paths.push(SandboxPath {
        outside: world.path("not-there"),
        inside: PathBuf::from("/not-there"),
        optional: true,
    });
    sandbox.build_dir = PathBuf::from("/somewhere/else");
    options.isolation = Isolation::Sandbox(sandbox);
    let text = "b=/bin/busybox; $b cat /nix/store/dir/file /nix/store/link /host/file; echo; $b readlink /lib/link; pwd
        for f in /nix/store/dir/file /nix/store/file; do (echo bad > $f) 2>/dev/null && echo written; done
        $b chmod 777 /nix/store/dir 2>/dev/null && echo changed; echo new > /host/new; echo out > /nix/store/out
        test -e /not-there || echo missing";
    let run = run_program(options, "/bin/sh", &["-c", text]);
    assert!(matches!(run.ended, Ok(Ended::Exited(0))), "{:?} {:?}", run.ended, run.lines);
    assert_eq!(run.lines, ["in a directorya fileoutside", "/nonexistent", "/somewhere/else", "missing"]);
    assert_eq!(std::fs::read(world.path("in/file")).unwrap(), b"a file");
    assert_eq!(std::fs::read(world.path("host/new")).unwrap(), b"new\n");
    assert_eq!(std::fs::read(run.workplace.outputs_in().join("out")).unwrap(), b"out\n");
    run.workplace.close().unwrap();
    assert_eq!(std::fs::read_dir(dir.join("store")).unwrap().count(), 0, "the sandbox was left");

    let (mut options, mut sandbox) = in_sandbox(&dir, shell);
    sandbox.paths.push(seen("/nonexistent", "/x"));
    options.isolation = Isolation::Sandbox(sandbox);
    let run = run_program(options, "/bin/sh", &[]);
    let Err(BuildError::SetUp(error)) = run.ended else { panic!("{:?}", run.ended) };
    assert_eq!(error.to_string(), "getting attributes of path \"/nonexistent\": No such file or directory");
}

#[test]
fn a_kept_directory_can_be_read_and_gives_no_rights() {
    let Some(shell) = static_shell() else { return };
    if !has_sandbox() {
        return;
    }
    let world = World::new();
    let (mut options, sandbox) = in_sandbox(&world.path("place"), shell);
    options.isolation = Isolation::Sandbox(sandbox);
    options.filter_syscalls = false;
    let text =
        "b=/bin/busybox; $b mkdir -p d/e; echo x > d/e/f; $b chmod 6755 d/e/f; $b ln -s /bin/sh d/l; exit 1";
    let run = run_program(options, "/bin/sh", &["-c", text]);
    assert!(matches!(run.ended, Ok(Ended::Exited(1))), "{:?} {:?}", run.ended, run.lines);
    let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    let kept = run.workplace.keep().unwrap();
    assert!(kept.starts_with(world.path("place/builds")) && kept.ends_with("build"), "{kept:?}");
    assert_eq!([mode(&kept), mode(kept.parent().unwrap()), mode(&kept.join("d/e/f"))], [0o755; 3]);
    assert_eq!(std::fs::read_dir(world.path("place/store")).unwrap().count(), 0);
}

#[test]
fn builders_have_users_of_their_own() {
    let Some(shell) = static_shell() else { return };
    if !is_root() || !has_sandbox() {
        return crate::common::skip("only root can run builds as other users");
    }
    const FIRST: u32 = 872_415_232;
    let world = World::new();
    // Below /tmp anybody could exchange directories.
    let open = tempfile::tempdir_in("/tmp").unwrap();
    // Each part has users of its own: processes that other tests begin at this moment hold copies of locks.
    let take = |part: u32| {
        let (pool, first) = (world.path(format!("userpool-{part}")), FIRST + part * (8 << 16));
        BuildUser::allocate(&pool, first, 2 << 16, "").unwrap()
    };
    let (user, other) = (take(0).unwrap(), take(0).unwrap());
    assert_eq!([user.uid(), other.uid()], [FIRST, FIRST + 65_536]);
    assert!(take(0).is_none(), "there are two");
    drop(other);
    while take(0).is_none() {}

    let mut options = WorkplaceOptions::new(open.path().join("builds"), open.path());
    options.user = Some(user);
    let refused = Workplace::make(options).unwrap_err().to_string();
    assert_eq!(refused, "Path \"/tmp\" is world-writable or a symlink. That's not allowed for security.");

    let closed = tempfile::tempdir_in("/run").unwrap();
    std::fs::set_permissions(closed.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (mut options, sandbox) = in_sandbox(closed.path(), shell);
    options.isolation = Isolation::Sandbox(sandbox);
    options.user = take(1);
    let first = options.user.as_ref().unwrap().uid();
    let text = "b=/bin/busybox; $b id -u; $b id -g; $b cat /proc/self/uid_map | $b tr -s ' '; $b stat -c '%u %g %a' / /build $PWD
        (echo > /file) 2>/dev/null && echo written; echo x > /nix/store/out; echo again > /dev/stdout";
    let run = run_program(options, "/bin/sh", &["-c", text]);
    assert!(matches!(run.ended, Ok(Ended::Exited(0))), "{:?} {:?}", run.ended, run.lines);
    let map = format!(" 1000 {first} 1");
    let expected = ["1000", "100", map.as_str(), "65534 100 750", "1000 100 700", "1000 100 700", "again"];
    assert_eq!(run.lines, expected);
    let out = std::fs::metadata(run.workplace.outputs_in().join("out")).unwrap();
    assert_eq!(out.uid(), first);
    run.workplace.close().unwrap();

    // On the host, and what the user left running before is ended first.
    let mut options = on_host(closed.path());
    options.user = take(2);
    let user = options.user.as_ref().unwrap().uid();
    let mut stray = Command::new("sleep");
    use std::os::unix::process::CommandExt as _;
    let mut stray = stray.arg("1000").uid(user).stdout(std::process::Stdio::null()).spawn().unwrap();
    let lines = script(options, "id -u; id -G; stat -c %u .; grep CapEff /proc/self/status | cut -f2");
    use std::os::unix::process::ExitStatusExt as _;
    assert_eq!(stray.wait().unwrap().signal(), Some(9));
    let group = rustix::process::getgid().as_raw().to_string();
    assert_eq!(lines, [&user.to_string(), &group, &user.to_string(), "0000000000000000"]);
}

#[test]
fn without_namespaces_it_goes_without_a_sandbox_if_that_is_allowed() {
    let world = World::new();
    let nix = r#"derivation { name = "a"; system = builtins.currentSystem; builder = "/bin/sh";
        args = [ "-c" "echo > $out" ]; }"#;
    let file = world.write("a.nix", nix);
    let drv = world.nival("nix-instantiate", &[file]).line();
    let run = |fallback: &str| {
        let program = world.command(Side::Nival, "nix-store");
        let mut command = Command::new("unshare");
        // A user namespace in which none can be made.
        let text = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
        command.args(["--user", "--map-root-user", "/bin/sh", "-c", text, "sh"]).arg(program.get_program());
        command.args(["-r", &drv, "--option", "sandbox", "true", "--option", "sandbox-fallback", fallback]);
        command.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        crate::common::outcome(command.output().unwrap())
    };
    let refused = run("false");
    if refused.stderr.contains("unshare: ") || refused.stderr.contains("cannot create") {
        return skip_missing(&format!("there is no namespace to try this in: {}", refused.stderr));
    }
    assert_eq!(refused.status, 1, "{refused:?}");
    let built = run("true");
    built.ok();
    let warning =
        "warning: building without a sandbox, because there is none to be had: making a user namespace";
    assert!(built.stderr.contains(warning), "{built:?}");
}
