//! What a hostile builder tries. The builder is this very program, which runs [`hostile`] where a builder
//! runs, and prints what came of each attempt; nothing it tries would do harm if it worked.
//!
//! docs/parity.md tells what comes of the same attempts with the reference.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nival::build::log::{LogOptions, LogWriter};
use nival::build::process::{Ended, Limits, Program};
use nival::build::workplace::{Isolation, SandboxOptions, SandboxPath, Workplace, WorkplaceOptions};
use nival::progress::{ActivityId, Silent};

use crate::common::{Side, World, skip, skip_missing};
use crate::remotes::Daemon;
use crate::test_sandbox::has_sandbox;

/// Prints what came of an attempt: the name of an error, or `done`.
fn tell(name: &str, result: i64) {
    let error = std::io::Error::last_os_error();
    let outcome = match result {
        0.. => "done".to_owned(),
        _ => match rustix::io::Errno::from_io_error(&error) {
            Some(rustix::io::Errno::PERM) => "EPERM".to_owned(),
            Some(rustix::io::Errno::ACCESS) => "EACCES".to_owned(),
            Some(rustix::io::Errno::ROFS) => "EROFS".to_owned(),
            Some(rustix::io::Errno::NOSYS) => "ENOSYS".to_owned(),
            Some(rustix::io::Errno::OPNOTSUPP) => "ENOTSUP".to_owned(),
            Some(rustix::io::Errno::XDEV) => "EXDEV".to_owned(),
            Some(rustix::io::Errno::BUSY) => "EBUSY".to_owned(),
            Some(rustix::io::Errno::SRCH) => "ESRCH".to_owned(),
            Some(rustix::io::Errno::CONNREFUSED) => "ECONNREFUSED".to_owned(),
            _ => error.to_string(),
        },
    };
    println!("attempt {name}: {outcome}");
}

/// The attempts. Only where a builder is the first process of its namespace are those made that change mounts.
#[test]
#[ignore = "is run as a builder by the other tests"]
#[allow(unsafe_code)]
fn hostile() {
    let Ok(input) = std::env::var("NIVAL_HOSTILE_INPUT") else { return };
    if let Ok(out) = std::env::var("out") {
        std::fs::write(out, "out").unwrap();
    }
    let in_sandbox = std::process::id() == 1;
    let input = CString::new(input).unwrap();
    let file = c"file".as_ptr();
    let at = libc::AT_FDCWD;
    // SAFETY: plain system calls; all texts end with a NUL, and all structures are as large as is said.
    unsafe {
        let fd = libc::open(file, libc::O_CREAT | libc::O_RDWR, 0o644);
        assert!(fd >= 0);
        let made = libc::O_CREAT | libc::O_RDWR;
        tell("chmod sticky", libc::chmod(file, 0o1755).into());
        tell("chmod set-uid", libc::chmod(file, 0o4755).into());
        tell("fchmod set-gid", libc::fchmod(fd, 0o2755).into());
        tell("fchmodat set-uid", libc::syscall(libc::SYS_fchmodat, at, file, 0o4755));
        tell("fchmodat2 set-uid", libc::syscall(452, at, file, 0o4755, 0));
        tell("openat set-uid", libc::openat(at, c"o".as_ptr(), made, 0o4755).into());
        tell("mknodat set-uid", libc::mknodat(at, c"m".as_ptr(), libc::S_IFREG | 0o4755, 0).into());
        let how = [made as u64, 0o4755, 0_u64];
        tell("openat2 set-uid", libc::syscall(437, at, c"o2".as_ptr(), how.as_ptr(), 24));
        let value = c"x".as_ptr().cast();
        tell("setxattr", libc::setxattr(file, c"user.x".as_ptr(), value, 1, 0).into());
        tell("fsetxattr", libc::fsetxattr(fd, c"user.x".as_ptr(), value, 1, 0).into());
        let attribute = [value as u64, 1_u64];
        tell("setxattrat", libc::syscall(463, at, file, 0, c"user.x".as_ptr(), attribute.as_ptr(), 16));
        let ring = [0_u64; 32];
        tell("io_uring_setup", libc::syscall(425, 4, ring.as_ptr()));
        tell("typing", libc::ioctl(1, libc::TIOCSTI, c"x".as_ptr()).into());
        tell(
            "session key",
            libc::syscall(libc::SYS_request_key, c"user".as_ptr(), c"nival-it".as_ptr(), 0, 0),
        );
        let secret = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0);
        let mut address: libc::sockaddr_un = std::mem::zeroed();
        address.sun_family = libc::AF_UNIX as libc::sa_family_t;
        let name = std::env::var("NIVAL_HOSTILE_SOCKET").unwrap();
        for (place, byte) in address.sun_path[1..].iter_mut().zip(name.bytes()) {
            *place = byte as libc::c_char;
        }
        let length = (3 + name.len()) as libc::socklen_t;
        tell("abstract socket outside", libc::connect(secret, (&raw const address).cast(), length).into());
        let outside: i32 = std::env::var("NIVAL_HOSTILE_PROCESS").unwrap().parse().unwrap();
        tell("signal to outside", libc::kill(outside, 0).into());
        tell("trace of outside", libc::ptrace(libc::PTRACE_SEIZE, outside, 0, 0));
        for fd in 3..1024 {
            // The harness of tests has files open by now; those that are no files of its own tell.
            let target = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
            if target.to_string_lossy().starts_with("socket:") && fd != secret {
                println!("attempt descriptor {fd}: {target:?}");
            }
        }
        if !in_sandbox {
            return;
        }
        tell("chmod of an input", libc::chmod(input.as_ptr(), 0o666).into());
        tell("writing an input", libc::open(input.as_ptr(), libc::O_WRONLY).into());
        tell("hard link to an input", libc::link(input.as_ptr(), c"hard".as_ptr()).into());
        tell("renaming an input", libc::rename(input.as_ptr(), c"/nix/store/moved".as_ptr()).into());
        tell("unmounting an input", libc::umount2(input.as_ptr(), libc::MNT_DETACH).into());
        let none = std::ptr::null();
        let writable = libc::MS_REMOUNT | libc::MS_BIND;
        tell("remounting an input", libc::mount(none, input.as_ptr(), none, writable, none.cast()).into());
        for name in ["sys/kernel/core_pattern", "sys/vm/drop_caches", "irq/default_smp_affinity"] {
            let path = CString::new(format!("/proc/{name}")).unwrap();
            if Path::new(path.to_str().unwrap()).exists() {
                tell(&format!("setting {name}"), libc::open(path.as_ptr(), libc::O_WRONLY).into());
            }
        }
        tell("host name", libc::sethostname(c"x".as_ptr(), 1).into());
        tell("device", libc::mknod(c"dev".as_ptr(), libc::S_IFBLK | 0o600, libc::makedev(8, 0)).into());
        // With all rights in namespaces of its own; those need a process with one thread.
        match libc::fork() {
            0 => {
                let namespaces = libc::CLONE_NEWUSER | libc::CLONE_NEWNS;
                if libc::unshare(namespaces) == 0 {
                    tell(
                        "own mounts: unmounting an input",
                        libc::umount2(input.as_ptr(), libc::MNT_DETACH).into(),
                    );
                    let remount = libc::mount(none, input.as_ptr(), none, writable, none.cast());
                    tell("own mounts: remounting an input", remount.into());
                    let bind = libc::mount(input.as_ptr(), file, none, libc::MS_BIND, none.cast());
                    if bind == 0 {
                        let remount = libc::mount(none, file, none, writable, none.cast());
                        tell("own mounts: remounting a copy", remount.into());
                    }
                    tell("own mounts: writing an input", libc::open(input.as_ptr(), libc::O_WRONLY).into());
                    tell(
                        "own mounts: unmounting the root",
                        libc::umount2(c"/".as_ptr(), libc::MNT_DETACH).into(),
                    );
                }
                libc::_exit(0);
            }
            child => {
                let mut status = 0;
                libc::waitpid(child, &raw mut status, 0);
            }
        }
    }
}

/// Starts the hostile builder in a directory. Run in a process of its own, as the user it is to be.
#[test]
#[ignore = "is run by the other tests in a process of its own"]
fn place_of_the_hostile() {
    let Ok(dir) = std::env::var("NIVAL_TEST_DIR") else { return };
    let dir = PathBuf::from(dir);
    let kind = std::env::var("NIVAL_TEST_KIND").unwrap();
    std::fs::create_dir_all(dir.join("store")).unwrap();
    let program = std::env::current_exe().unwrap();
    let mut options = WorkplaceOptions::new(dir.join("builds"), dir.join("store"));
    let (mut builder, mut input) = (program.to_str().unwrap().to_owned(), dir.join("input"));
    if kind != "host" {
        let mut sandbox = SandboxOptions::new(dir.join("store/x.drv.chroot"), "/nix/store");
        let path = |outside: &Path, inside: &str| SandboxPath {
            outside: outside.to_owned(),
            inside: PathBuf::from(inside),
            optional: true,
        };
        for libraries in ["/lib", "/lib64", "/usr/lib", "/usr/lib64"] {
            sandbox.paths.push(path(Path::new(libraries), libraries));
        }
        sandbox.paths.push(path(&program, "/hostile"));
        sandbox.inputs.push((input, PathBuf::from("/nix/store/input")));
        sandbox.network = kind == "network";
        options.isolation = Isolation::Sandbox(sandbox);
        (builder, input) = ("/hostile".to_owned(), PathBuf::from("/nix/store/input"));
    }
    let mut workplace = Workplace::make(options).unwrap();
    let args = ["--exact", "test_escapes::hostile", "--ignored", "--nocapture", "--test-threads=1"];
    let args = args.map(|arg| arg.as_bytes().to_vec());
    let variable = |name: &str| (name.as_bytes().to_vec(), std::env::var(name).unwrap().into_bytes());
    let mut env = BTreeMap::from(["NIVAL_HOSTILE_SOCKET", "NIVAL_HOSTILE_PROCESS"].map(variable));
    env.insert(b"NIVAL_HOSTILE_INPUT".to_vec(), input.to_str().unwrap().as_bytes().to_vec());
    let program = Program { builder: builder.as_bytes(), args: &args, env: &env, files: &[] };
    let mut kept = LogOptions::default();
    kept.tail = 10_000;
    let mut log = LogWriter::create(&kept).unwrap();
    let ended = workplace
        .start(&program)
        .and_then(|builder| builder.watch(&Limits::default(), &mut log, &Silent, ActivityId::NONE));
    log.finish(&Silent, ActivityId::NONE).unwrap();
    for line in log.tail() {
        println!("{line}");
    }
    assert!(matches!(ended, Ok(Ended::Exited(0))), "{ended:?}");
}

/// What came of each attempt, as the user with a number.
fn attempts(kind: &str, user: Option<u32>) -> BTreeMap<String, String> {
    let world = World::new();
    let dir = world.path("place");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("input"), "input").unwrap();
    let name = format!("nival-it-{}-{kind}-{user:?}", std::process::id());
    let _socket = {
        use std::os::linux::net::SocketAddrExt as _;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        std::os::unix::net::UnixListener::bind_addr(&address).unwrap()
    };
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "test_escapes::place_of_the_hostile", "--ignored", "--nocapture"]);
    command.current_dir("/").stdin(Stdio::null());
    command.env("NIVAL_TEST_DIR", &dir).env("NIVAL_TEST_KIND", kind);
    command.env("NIVAL_HOSTILE_SOCKET", &name);
    // A process of the same user that a builder has nothing to do with.
    let mut outside = Command::new("sleep");
    outside.arg("1000");
    if let Some(user) = user {
        for path in [world.path(""), dir.clone(), dir.join("input")] {
            std::os::unix::fs::chown(path, Some(user), Some(user)).unwrap();
        }
        command.uid(user).gid(user);
        outside.uid(user).gid(user);
    }
    let mut outside = outside.spawn().unwrap();
    command.env("NIVAL_HOSTILE_PROCESS", outside.id().to_string());
    let done = command.output().unwrap();
    outside.kill().unwrap();
    outside.wait().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{text}{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(std::fs::read(dir.join("input")).unwrap(), b"input");
    told(&text)
}

/// The attempts in what a builder printed.
fn told(text: &str) -> BTreeMap<String, String> {
    let attempts = text.lines().filter_map(|line| line.split_once("attempt ")?.1.split_once(": "));
    attempts.map(|(name, outcome)| (name.to_owned(), outcome.to_owned())).collect()
}

/// What a builder may do, and what comes of all else.
#[track_caller]
fn check(kind: &str, attempts: &BTreeMap<String, String>) {
    let allowed: &[&str] = match kind {
        // Nobody else can reach the files of a sandbox.
        "host" => &["chmod sticky"],
        _ => &["chmod sticky", "openat2 set-uid", "io_uring_setup"],
    };
    let least = if kind == "host" { 15 } else { 25 };
    assert!(attempts.len() >= least, "{attempts:#?}");
    for (name, outcome) in attempts {
        if outcome == "done" {
            assert!(allowed.contains(&name.as_str()), "{kind}: {name} was possible: {attempts:#?}");
        }
    }
    let of = |name: &str| attempts.get(name).map_or("", String::as_str);
    assert_eq!(of("chmod sticky"), "done");
    for name in
        ["chmod set-uid", "fchmod set-gid", "fchmodat set-uid", "openat set-uid", "mknodat set-uid", "typing"]
    {
        assert_eq!(of(name), "EPERM", "{name}");
    }
    assert_eq!([of("setxattr"), of("fsetxattr")], ["ENOTSUP"; 2]);
}

#[test]
fn in_a_sandbox() {
    if has_sandbox() {
        for kind in ["sandbox", "network"] {
            check(kind, &attempts(kind, None));
        }
    }
}

#[test]
fn on_the_host() {
    if !nival::sys::child::can_keep_to_itself() {
        return skip_missing("the kernel cannot keep a builder from processes outside");
    }
    check("host", &attempts("host", None));
}

#[test]
fn in_a_sandbox_of_an_ordinary_user() {
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        return skip("only root can become another user; the other tests run as one");
    }
    let mut trial = Command::new(std::env::current_exe().unwrap());
    let trial = trial.arg("--list").current_dir("/").stdout(Stdio::null()).uid(NOBODY).gid(NOBODY).status();
    if !trial.is_ok_and(|status| status.success()) {
        return skip("the tests lie where another user cannot run them");
    }
    for kind in ["sandbox", "network"] {
        check(kind, &attempts(kind, Some(NOBODY)));
    }
}

#[test]
fn through_the_daemon() {
    if !has_sandbox() {
        return;
    }
    let world = World::new();
    let program = std::env::current_exe().unwrap();
    let libraries = "/lib? /lib64? /usr/lib? /usr/lib64?";
    let conf = std::fs::read_to_string(world.path("etc/nix.conf")).unwrap();
    let conf = conf.replace("sandbox = false", "sandbox = true\nsandbox-fallback = false");
    world
        .write("etc/nix.conf", format!("{conf}sandbox-paths = /hostile={} {libraries}\n", program.display()));
    let daemon = Daemon::start(&world, Side::Nival, "far", &[]);
    let nix = format!(
        r#"derivation {{ name = "hostile"; system = builtins.currentSystem; builder = "/hostile";
            NIVAL_HOSTILE_INPUT = builtins.toFile "input" "input"; NIVAL_HOSTILE_SOCKET = "nobody-listens";
            NIVAL_HOSTILE_PROCESS = "{}";
            args = [ "--exact" "test_escapes::hostile" "--ignored" "--nocapture" "--test-threads=1" ]; }}"#,
        std::process::id()
    );
    let file = world.write("hostile.nix", nix);
    let file = file.to_str().unwrap();
    let drv = world.nival("nix-instantiate", &["--store", &daemon.uri, file]).line();
    let built = world.nix_store(&["--store", &daemon.uri, "-r", &drv]);
    built.ok();
    check("sandbox", &told(&built.stderr));
    // The input is as it was.
    world.nix_store(&["--store", &daemon.uri, "--verify", "--check-contents"]).ok();
}
