//! Every setting that acts, set to two values, and what differs then.
//!
//! The table in `src/settings/table.rs` says of each setting whether it acts; each
//! that does has a row here, or a test of its own that is named here.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nival::settings::table::{Effect, Kind, Row, TABLE};

use crate::common::{self, Outcome, Side, World};
use crate::data;
use crate::peer::Peer;
use crate::remotes::Daemon;
use crate::servers::{Faulty, Nginx};

/// A setting, two of its values, and what is seen of them from outside.
struct Case {
    name: &'static str,
    values: [&'static str; 2],
    seen: fn(&Run) -> String,
    /// The reference shows the same.
    beside: bool,
}

const fn case(name: &'static str, values: [&'static str; 2], seen: fn(&Run) -> String) -> Case {
    Case { name, values, seen, beside: true }
}

impl Case {
    const fn ours_alone(mut self) -> Self {
        self.beside = false;
        self
    }
}

/// One program with one value, in a world of its own.
struct Run {
    world: World,
    side: Side,
    name: &'static str,
    value: String,
}

impl Run {
    fn new(case: &Case, side: Side, value: &str) -> Self {
        let world = World::new();
        world.write("src/tree/file", "x".repeat(5000));
        let value = value.replace("ROOT/", &world.text(""));
        Self { world, side, name: case.name, value }
    }

    /// The words that give the setting its value.
    fn option(&self) -> [&str; 3] {
        ["--option", self.name, &self.value]
    }

    fn nix_store(&self, args: &[&str]) -> Outcome {
        self.world.run(self.side, "nix-store", &[&self.option(), args].concat())
    }

    fn nix(&self, args: &[&str]) -> Outcome {
        self.world.run(self.side, "nix", &[args, &self.option()].concat())
    }

    fn add(&self) -> Outcome {
        self.nix_store(&["--add", &self.world.text("src/tree")])
    }

    /// A directory with a cache that has a path which is not here; gives the path.
    fn cached(&self) -> String {
        let path = self.world.nix_store(&["--add", &self.world.text("src/tree")]).line();
        let cache = format!("file://{}?compression=none", self.world.text("cache"));
        self.world.nival("nix", &["copy", "--to", &cache, &path]).ok();
        self.world.nix_store(&["--delete", &path]).ok();
        path
    }

    /// Fetches a path from a cache without a look at signatures.
    fn fetch(&self, url: &str, path: &str) -> Outcome {
        let url = format!("{url}?trusted=true");
        let once = ["--option", "download-attempts", "1"];
        let words = [&["--option", "substituters", &url, "-r", path][..], &once].concat();
        // What is tested comes last.
        self.world.run(self.side, "nix-store", &[&words[..], &self.option()].concat())
    }
}

/// Standard error or what was left out of it, for those who look for one line.
fn line_with(outcome: &Outcome, word: &str) -> String {
    let lines = outcome.stderr.lines().filter(|line| line.contains(word));
    format!("{} {}", outcome.status, lines.collect::<Vec<_>>().join("\n"))
}

/// What shows in messages and in the store itself.
const OF_STORES: &[Case] = &[
    case("print-missing", ["true", "false"], |run| {
        let path = run.cached();
        line_with(&run.fetch(&format!("file://{}", run.world.text("cache")), &path), "will be fetched")
    }),
    case("substitute", ["true", "false"], |run| {
        let path = run.cached();
        run.fetch(&format!("file://{}", run.world.text("cache")), &path).status.to_string()
    }),
    case("substituters", ["", "file://ROOT/cache?trusted=true"], |run| {
        let path = run.cached();
        run.nix_store(&["-r", &path]).status.to_string()
    }),
    case("require-sigs", ["true", "false"], |run| {
        let path = run.world.nix_store(&["--add", &run.world.text("src/tree")]).line();
        let planted = format!("{}/{}-x", run.world.text("store"), data::hash_part(1));
        let text = data::plant(&run.world, std::slice::from_ref(&planted), |_| vec![path.clone()]);
        let register = ["--register-validity"];
        run.world.run_with_input(Side::Nival, "nix-store", &register, text.as_bytes()).ok();
        let elsewhere = run.world.text("elsewhere");
        let to = format!("local?real={elsewhere}/store&state={elsewhere}/var&log={elsewhere}/log");
        run.nix(&["copy", "--to", &to, &planted]).status.to_string()
    }),
    case("trusted-public-keys", ["", "KEYS"], |run| {
        data::trust_new_key(&run.world);
        let path = run.world.nix_store(&["--add", &run.world.text("src/tree")]).line();
        let planted = format!("{}/{}-x", run.world.text("store"), data::hash_part(1));
        let text = data::plant(&run.world, std::slice::from_ref(&planted), |_| vec![path.clone()]);
        let register = ["--register-validity"];
        run.world.run_with_input(Side::Nival, "nix-store", &register, text.as_bytes()).ok();
        run.world.nival("nix", &["store", "sign", "-k", &run.world.text("secret"), &planted]).ok();
        let conf = std::fs::read_to_string(run.world.path("etc/nix.conf")).unwrap();
        let key = conf.split("trusted-public-keys = ").nth(1).unwrap().trim().to_owned();
        let value = if run.value.is_empty() { "" } else { key.as_str() };
        let elsewhere = run.world.text("elsewhere");
        let to = format!("local?real={elsewhere}/store&state={elsewhere}/var&log={elsewhere}/log");
        let args = ["copy", "--to", &to, &planted, "--option", "trusted-public-keys", value];
        run.world.run(run.side, "nix", &args).status.to_string()
    }),
    case("warn-large-path-threshold", ["0", "1000"], |run| line_with(&run.add(), "large")),
    case("system", ["a-b", "c-d"], |run| system_lines(&run.nix_store(&["--version", "-v"]))),
    case("extra-platforms", ["a-b", "c-d"], |run| {
        let version = ["--version", "-v", "--option", "system", "x-y"];
        system_lines(&run.nix_store(&version))
    }),
    case("allow-symlinked-store", ["false", "true"], |run| {
        std::fs::create_dir_all(run.world.path("real-store")).unwrap();
        std::os::unix::fs::symlink(run.world.path("real-store"), run.world.path("linked-store")).unwrap();
        let mut command = run.world.command(run.side, "nix-store");
        command.env("NIX_STORE_DIR", run.world.path("linked-store")).args(run.option());
        let added = command.args(["--add", &run.world.text("src/tree")]).output().unwrap();
        common::outcome(added).status.to_string()
    }),
    case("auto-optimise-store", ["false", "true"], |run| {
        run.add().ok();
        std::fs::read_dir(run.world.path("store/.links")).map_or(0, Iterator::count).to_string()
    }),
    case("gc-reserved-space", ["0", "100000"], |run| {
        run.add().ok();
        let reserve = std::fs::metadata(run.world.path("var/db/reserved"));
        reserve.map_or(0, |meta| meta.len()).to_string()
    }),
    case("use-sqlite-wal", ["false", "true"], |run| {
        run.add().ok();
        // The header tells how the database is written.
        let header = std::fs::read(run.world.path("var/db/db.sqlite")).unwrap();
        format!("{:?}", &header[18..20])
    }),
    case("use-xdg-base-directories", ["false", "true"], |run| {
        // On the command line it comes too late for some of it, in the reference.
        run.world.write("etc/nix.conf", format!("build-users-group =\n{} = {}\n", run.name, run.value));
        run.world.run(run.side, "nix-env", &["-q"]).ok();
        // The reference's caches of its language stand there too.
        let home = data::names(&run.world.path("home"));
        format!("{:?}", home.iter().filter(|name| *name != ".cache").collect::<Vec<_>>())
    }),
    case("store", ["auto", "ROOT/chroot"], |run| {
        run.add().ok();
        run.world.path("chroot").exists().to_string()
    }),
    case("json-log-path", ["", "ROOT/log.json"], |run| {
        run.nix(&["path-info", "/nope"]);
        run.world.path("log.json").exists().to_string()
    }),
    case("experimental-features", ["nix-command", ""], |run| run.nix(&["store", "info"]).status.to_string()),
    case("build-users-group", ["", "no-such-group"], |run| {
        if !rustix::process::getuid().is_root() {
            common::skip("only for root a group is missed");
            return run.value.clone();
        }
        line_with(&run.nix_store(&["--init"]), "no-such-group")
    }),
    case("keep-derivations", ["true", "false"], |run| kept(run, true)),
    case("keep-outputs", ["true", "false"], |run| kept(run, false)),
    case("use-case-hack", ["false", "true"], |run| {
        run.world.write("src/case/A", "1");
        run.world.write("src/case/a", "2");
        let nar = run.world.nix_store(&["--dump", &run.world.text("src/case")]);
        let restore = [&run.option()[..], &["--restore", "restored"]].concat();
        run.world.run_with_input(run.side, "nix-store", &restore, &nar.ok().stdout).ok();
        format!("{:?}", data::names(&run.world.path("restored")))
    }),
    case("ignored-acls", ["user.x", "user.y"], |run| {
        let path = format!("{}/{}-x", run.world.text("store"), data::hash_part(1));
        run.world.nix_store(&["--init"]).ok();
        let text = data::plant(&run.world, std::slice::from_ref(&path), |_| Vec::new());
        let flags = rustix::fs::XattrFlags::empty();
        if rustix::fs::setxattr(Path::new(&path), "user.x", b"1", flags).is_err() {
            common::skip("this file system has no extended attributes");
            return run.value.clone();
        }
        let register = [&run.option()[..], &["--register-validity"]].concat();
        run.world.run_with_input(run.side, "nix-store", &register, text.as_bytes()).ok();
        let mut buffer = [0_u8; 16];
        let left = rustix::fs::getxattr(Path::new(&path), "user.x", &mut buffer[..]);
        left.is_ok().to_string()
    }),
    // The reference collects by itself in builds only.
    case("min-free", ["0", "1000T"], |run| {
        line_with(&run.add(), "running auto-GC").contains("running").to_string()
    })
    .ours_alone(),
    case("max-free", ["1", "1000T"], |run| {
        let garbage = run.world.nix_store(&["--add", &run.world.text("etc")]).line();
        run.nix_store(&["--option", "min-free", "1000T", "--add", &run.world.text("src/tree")]).ok();
        Path::new(&garbage).exists().to_string()
    })
    .ours_alone(),
    case("min-free-check-interval", ["0", "1000"], |run| {
        let conf = "build-users-group =\nmin-free = 1000T\nmax-free = 1000T\n";
        run.world.write("etc/nix.conf", format!("{conf}{} = {}\n", run.name, run.value));
        let garbage = |source: &str| {
            let file = run.world.write(source, source);
            run.world.nix_store(&["--option", "min-free", "0", "--add", file.to_str().unwrap()]).line()
        };
        let first = garbage("src/first");
        let mut peer = Peer::over_stdio_as(&run.world, Side::Nival, "--force-trusted");
        peer.add_text("one", "1", &[]).unwrap();
        let second = garbage("src/second");
        peer.add_text("two", "2", &[]).unwrap();
        [first, second].map(|path| Path::new(&path).exists().to_string()).join(" ")
    })
    .ours_alone(),
    case("fsync-metadata", ["true", "false"], |run| synced(run, &[]).0.to_string()),
    // What the next two do is done unless `sync-store-paths` is off.
    case("fsync-store-paths", ["true", "false"], |run| synced(run, &["sync-store-paths"]).1.to_string())
        .ours_alone(),
    case("sync-before-registering", ["true", "false"], |run| {
        synced(run, &["sync-store-paths"]).1.to_string()
    })
    .ours_alone(),
    case("sync-store-paths", ["true", "false"], |run| synced(run, &[]).1.to_string()).ours_alone(),
];

/// Whether a derivation (or the output of one that is rooted) outlives a collection.
fn kept(run: &Run, derivation: bool) -> String {
    let json = r#"{"name":"x","version":4,"outputs":{"out":{}},"inputs":{"drvs":{},"srcs":[]},"system":"x-y",
        "builder":"/bin/sh","args":[],"env":{}}"#;
    let add = ["derivation", "add"];
    let drv = run.world.run_with_input(Side::Nival, "nix", &add, json.as_bytes()).line();
    let out = run.world.nix_store(&["-q", "--outputs", &drv]).line();
    std::fs::write(&out, "1").unwrap();
    let row = format!("{out}\n{drv}\n0\n");
    run.world.run_with_input(Side::Nival, "nix-store", &["--register-validity"], row.as_bytes()).ok();
    let (rooted, asked) = if derivation { (&out, &drv) } else { (&drv, &out) };
    std::os::unix::fs::symlink(rooted, run.world.path("var/gcroots/x")).unwrap();
    run.nix_store(&["--gc"]).ok();
    Path::new(asked).exists().to_string()
}

/// Whether adding a path puts the database, and whether it puts contents, on the disk;
/// settings in `off` are false.
fn synced(run: &Run, off: &[&str]) -> (bool, bool) {
    let traced = run.world.text("trace");
    let store = run.world.programs(run.side).join("nix-store");
    // The directories are made before.
    run.world.nix_store(&["--init"]).ok();
    let command = run.world.command(run.side, "nix-store");
    let mut strace = std::process::Command::new("strace");
    let calls = "trace=fsync,fdatasync,syncfs,sync,sync_file_range";
    strace.args(["-f", "-y", "-o", &traced, "-e", calls]).arg(store).args(run.option());
    for name in off {
        strace.args(["--option", name, "false"]);
    }
    strace.args(["--add", &run.world.text("src/tree")]).env_clear();
    strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.current_dir(run.world.path(""));
    let Ok(output) = strace.output() else {
        common::skip_missing("strace is not installed");
        return (run.value == "true", run.value == "true");
    };
    common::outcome(output).ok();
    let trace = std::fs::read_to_string(traced).unwrap();
    let database = trace.contains("db.sqlite");
    let store = run.world.text("store");
    let contents = trace.contains(&store) || trace.contains(" syncfs(") || trace.contains(" sync()");
    (database, contents)
}

fn system_lines(outcome: &Outcome) -> String {
    let lines = outcome.ok().lines();
    let wanted = |line: &&&str| line.starts_with("System type") || line.starts_with("Additional");
    lines.iter().filter(wanted).copied().collect::<Vec<_>>().join("\n")
}

/// What shows in what a server is asked, and in the time it takes.
const OF_CACHES: &[Case] = &[
    case("download-attempts", ["1", "2"], |run| {
        let path = run.cached();
        let server = Faulty::start(&run.world.path("cache"));
        server.script("narinfo", &[crate::servers::Act::Status(500, ""); 1]);
        run.fetch(&server.url, &path).status.to_string()
    }),
    case("download-speed", ["0", "20"], |run| {
        run.world.write("src/tree/file", "x".repeat(20_000));
        let path = run.cached();
        let server = Faulty::start(&run.world.path("cache"));
        let begun = Instant::now();
        run.fetch(&server.url, &path).ok();
        (begun.elapsed() > Duration::from_millis(600)).to_string()
    })
    .ours_alone(),
    case("http-connections", ["1", "25"], |run| {
        let (paths, server) = several(run);
        server.hold(".narinfo", Duration::from_millis(150));
        let begun = Instant::now();
        let url = format!("{}?trusted=true", server.url);
        let words = [&["--option", "substituters", &url, "-r"][..], &paths.each_ref().map(|p| &**p)].concat();
        run.nix_store(&words).ok();
        (begun.elapsed() >= Duration::from_millis(900)).to_string()
    })
    .ours_alone(),
    case("connect-timeout", ["1", "2"], |run| {
        let path = run.cached();
        let deaf = Deaf::new();
        let begun = Instant::now();
        let fetched = run.fetch(&deaf.url, &path);
        format!("{} {}", fetched.status, begun.elapsed().as_secs())
    })
    .ours_alone(),
    case("stalled-download-timeout", ["1", "2"], |run| {
        let path = run.cached();
        let server = Faulty::start(&run.world.path("cache"));
        server.script("narinfo", &[crate::servers::Act::Stall(10); 9]);
        let begun = Instant::now();
        let fetched = run.fetch(&server.url, &path);
        format!("{} {}", fetched.status, begun.elapsed().as_secs())
    })
    .ours_alone(),
    case("narinfo-cache-positive-ttl", ["0", "1000"], |run| asked_again(run, true, ".narinfo")),
    case("narinfo-cache-negative-ttl", ["0", "1000"], |run| asked_again(run, false, ".narinfo")),
    case("narinfo-cache-meta-ttl", ["0", "1000"], |run| asked_again(run, true, "nix-cache-info")),
    case("tarball-ttl", ["0", "1000"], |run| {
        let logged = at_nginx(run, |nginx, _| {
            let fetch = format!("builtins.fetchurl {}/nix-cache-info", nginx.url);
            for _ in 0..2 {
                let words = [&["--eval", "--expr", &fetch][..], &run.option()].concat();
                run.world.run(run.side, "nix-instantiate", &words).ok();
            }
        });
        let requests = |log: String| log.matches("GET /nix-cache-info").count().to_string();
        logged.map_or_else(|| run.value.clone(), requests)
    }),
    case("user-agent-suffix", ["", "and-more"], |run| {
        let logged = at_nginx(run, |nginx, path| drop(run.fetch(&nginx.url, path)));
        logged.map_or_else(|| run.value.clone(), |log| log.contains(" and-more\"").to_string())
    }),
    case("http2", ["false", "true"], |run| {
        let logged = at_nginx(run, |nginx, path| drop(run.fetch(&trusted(run, nginx), path)));
        logged.map_or_else(|| run.value.clone(), |log| log.contains(".narinfo HTTP/2.0\" 200").to_string())
    }),
    case("ssl-cert-file", ["ROOT/none.crt", "ROOT/tls.crt"], |run| {
        run.world.write("none.crt", "");
        let logged = at_nginx(run, |nginx, path| drop(run.fetch(&nginx.secure_url, path)));
        logged.map_or_else(|| run.value.clone(), |log| log.contains(".narinfo").to_string())
    }),
    case("netrc-file", ["ROOT/none", "ROOT/netrc"], |run| {
        run.world.write("netrc", "machine 127.0.0.1 login user password secret\n");
        let logged = at_nginx(run, |nginx, path| {
            let dir = run.world.path("cache");
            let moved = std::process::Command::new("sh")
                .args(["-c", "mv nix-cache-info *.narinfo nar private/"])
                .current_dir(dir)
                .status();
            assert!(moved.unwrap().success());
            drop(run.fetch(&format!("{}/private", nginx.url), path));
        });
        logged.map_or_else(|| run.value.clone(), |log| log.contains(".narinfo HTTP/1.1\" 200").to_string())
    }),
];

/// Six paths in a cache, and its server.
fn several(run: &Run) -> ([String; 6], Faulty) {
    let paths = [0, 1, 2, 3, 4, 5].map(|number| {
        let file = run.world.write(format!("src/file-{number}"), number.to_string());
        run.world.nix_store(&["--add", file.to_str().unwrap()]).line()
    });
    let cache = format!("file://{}?compression=none", run.world.text("cache"));
    let all = paths.each_ref().map(|path| &**path);
    run.world.nival("nix", &[&["copy", "--to", &cache][..], &all].concat()).ok();
    run.world.nix_store(&[&["--delete"][..], &all].concat()).ok();
    let server = Faulty::start(&run.world.path("cache"));
    (paths, server)
}

/// How often a file is asked for by two programs, one after the other.
fn asked_again(run: &Run, there: bool, word: &str) -> String {
    let path = run.cached();
    let server = Faulty::start(&run.world.path("cache"));
    let absent = format!("{}/{}-absent", run.world.text("store"), data::hash_part(9));
    let path = if there { path } else { absent };
    for _ in 0..2 {
        let missing = ["-r", "--dry-run", &path];
        let url = format!("{}?trusted=true", server.url);
        run.nix_store(&[&["--option", "substituters", &url][..], &missing].concat());
    }
    server.seen().iter().filter(|line| line.contains(word)).count().to_string()
}

/// What nginx was asked for while `work` was done with its path.
fn at_nginx(run: &Run, work: impl FnOnce(&Nginx, &str)) -> Option<String> {
    let path = run.cached();
    let nginx = Nginx::start(&run.world, "cache")?;
    work(&nginx, &path);
    std::fs::read_to_string(run.world.path("access.log")).ok()
}

/// The URL of nginx by https, whose certificate the world then trusts.
fn trusted(run: &Run, nginx: &Nginx) -> String {
    let conf = std::fs::read_to_string(run.world.path("etc/nix.conf")).unwrap();
    run.world.write("etc/nix.conf", format!("{conf}ssl-cert-file = {}\n", run.world.text("tls.crt")));
    nginx.secure_url.clone()
}

/// A port where the system takes no more connections, so that another one gets no
/// answer.
struct Deaf {
    _listener: std::net::TcpListener,
    _waiting: Vec<rustix::fd::OwnedFd>,
    url: String,
}

impl Deaf {
    fn new() -> Self {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, listen, socket_with};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listen(&listener, 0).unwrap();
        let address = listener.local_addr().unwrap();
        let waiting = (0..4).map(|_| {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
            let _ = connect(&socket, &address);
            socket
        });
        let waiting = waiting.collect();
        Self { _listener: listener, _waiting: waiting, url: format!("http://{address}") }
    }
}

/// What shows to clients of a daemon that has the setting.
const OF_DAEMONS: &[Case] = &[
    case("trusted-users", ["", "*"], |run| {
        let daemon = Daemon::start(&run.world, run.side, "served", &run.option());
        run.world
            .nival("nix", &["store", "info", "--store", &daemon.uri])
            .ok()
            .stderr
            .lines()
            .last()
            .unwrap()
            .to_owned()
    }),
    case("allowed-users", ["*", "nobody-here"], |run| {
        let options = [&["--option", "trusted-users", ""][..], &run.option()].concat();
        let daemon = Daemon::start(&run.world, run.side, "served", &options);
        run.world.nival("nix", &["store", "info", "--store", &daemon.uri]).status.to_string()
    }),
    case("trusted-substituters", ["", "file://ROOT/cache"], |run| {
        let path = run.cached();
        let untrusted = ["--option", "trusted-users", "", "--option", "require-sigs", "false"];
        let options = [&untrusted[..], &run.option()].concat();
        let daemon = Daemon::start(&run.world, run.side, "served", &options);
        let cache = format!("file://{}", run.world.text("cache"));
        let fetch = ["--store", &daemon.uri, "--option", "substituters", &cache, "-r", &path];
        run.world.nix_store(&fetch).status.to_string()
    }),
];

/// Settings that are tried by a test of their own: its file and name.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "gc-without-proc",
        include_str!("test_gc_refusals.rs"),
        "fn nothing_is_deleted_without_proc_unless_that_is_wanted(",
    ),
    ("keep-env-derivations", include_str!("test_nix_env.rs"), "fn derivations_and_other_profiles("),
    ("eval-cores", EVAL, "fn compare_up_to_a_failure("),
    ("eval-listing-memory", PARTS, "fn run("),
    ("abort-on-warn", EVAL, "const SETTINGS"),
    ("allow-import-from-derivation", EVAL, "const SETTINGS"),
    ("allowed-uris", EVAL, "const SETTINGS"),
    ("eval-system", EVAL, "const SETTINGS"),
    ("access-tokens", FETCH_WEB, "fn tokens_of_forges"),
    ("flake-registry", FETCH_WEB, "fn names_of_registries"),
    ("allow-dirty", FETCH_GIT, "fn changed_files_are_taken_and_told_of"),
    ("lint-absolute-path-literals", EVAL, "const SETTINGS"),
    ("lint-short-path-literals", EVAL, "const SETTINGS"),
    ("lint-url-literals", EVAL, "const SETTINGS"),
    ("max-call-depth", EVAL, "const SETTINGS"),
    ("nix-path", EVAL, "const SETTINGS"),
    ("pure-eval", EVAL, "const SETTINGS"),
    ("restrict-eval", EVAL, "const SETTINGS"),
    ("show-trace", EVAL, "const SETTINGS"),
    ("trace-import-from-derivation", EVAL, "const SETTINGS"),
    ("trace-verbose", EVAL, "const SETTINGS"),
    (
        "eval-cache",
        include_str!("test_packages_cache.rs"),
        "fn nothing_is_remembered_against_the_wish_of_the_user(",
    ),
    ("warn-dirty", FETCH_GIT, "fn changed_files_are_taken_and_told_of"),
];
const EVAL: &str = include_str!("test_eval.rs");
const PARTS: &str = include_str!("test_packages_parts.rs");
const FETCH_GIT: &str = include_str!("test_fetch_git.rs");
const FETCH_WEB: &str = include_str!("test_fetch_web.rs");

/// Tries every case with both values, beside the reference where it can be.
fn act(cases: &[Case]) {
    let beside = common::reference().is_some();
    for case in cases {
        let seen = |side| {
            case.values.map(|value| {
                let run = Run::new(case, side, value);
                let seen = (case.seen)(&run);
                seen.replace("//", "/").replace(&run.world.text(""), "ROOT/")
            })
        };
        let ours = seen(Side::Nival);
        assert_ne!(ours[0], ours[1], "{} changes nothing", case.name);
        if case.beside && beside {
            assert_eq!(ours, seen(Side::Reference), "{}", case.name);
        }
    }
}

#[test]
fn settings_of_stores_act() {
    act(OF_STORES);
}

#[test]
fn settings_of_caches_act() {
    act(OF_CACHES);
}

#[test]
fn settings_of_daemons_act() {
    act(OF_DAEMONS);
}

#[test]
fn every_setting_that_acts_is_tried() {
    let cases = || OF_STORES.iter().chain(OF_CACHES).chain(OF_DAEMONS).map(|case| case.name);
    let tried: Vec<&str> = cases().chain(ELSEWHERE.iter().map(|(name, ..)| *name)).collect();
    for row in TABLE {
        let times = tried.iter().filter(|name| **name == row.name).count();
        assert_eq!(times, usize::from(row.effect == Effect::Acts), "{}", row.name);
    }
    for (name, file, test) in ELSEWHERE {
        let body = file.split(test).nth(1).unwrap_or_else(|| panic!("no test {test}"));
        let end = if test.starts_with("const") { "\n];\n" } else { "\n}\n" };
        let body = body.split(end).next().unwrap();
        assert!(body.contains(&format!("\"{name}\"")), "{test} does not try {name}");
    }
}

/// A value that is not the default.
fn another_value(row: &Row) -> &'static str {
    match row.kind {
        Kind::Bool if row.default == "true" => "false",
        Kind::Bool => "true",
        Kind::Unsigned32 | Kind::Unsigned64 | Kind::Signed64 | Kind::MaxJobs => "77",
        Kind::Map => "NAME=value",
        Kind::Sandbox => "relaxed",
        Kind::Json => r#"[{"systems":["x"],"program":"/x","args":[]}]"#,
        _ => "/somewhere",
    }
}

/// A daemon's socket that notes what clients say.
struct Listening {
    said: Arc<Mutex<Vec<u8>>>,
    uri: String,
}

impl Listening {
    fn at(world: &World, daemon: &Daemon) -> Self {
        let behind = daemon.uri.trim_start_matches("unix://").split('?').next().unwrap().to_owned();
        let socket = world.text("listening");
        let listener = UnixListener::bind(&socket).unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&said);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (mut client, mut server) = (client.unwrap(), UnixStream::connect(&behind).unwrap());
                let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || drop(std::io::copy(&mut from, &mut to)));
                let noted = Arc::clone(&noted);
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(count @ 1..) = client.read(&mut buffer) {
                        noted.lock().unwrap().extend(&buffer[..count]);
                        if server.write_all(&buffer[..count]).is_err() {
                            break;
                        }
                    }
                    let _ = server.shutdown(std::net::Shutdown::Write);
                });
            }
        });
        let parameters = daemon.uri.split_once('?').unwrap().1;
        Self { said, uri: format!("unix://{socket}?{parameters}") }
    }

    /// What a client says that has these words.
    fn said_by(&self, world: &World, side: Side, words: &[&str]) -> Vec<u8> {
        self.said.lock().unwrap().clear();
        let path = format!("{}/{}-x", world.text("store"), data::hash_part(1));
        let asked = ["--store", &self.uri, "--check-validity", "--print-invalid", &path];
        world.run(side, "nix-store", &[words, &asked].concat()).ok();
        self.said.lock().unwrap().clone()
    }
}

#[test]
fn daemons_are_told_of_settings_of_building() {
    let world = World::new();
    let daemon = Daemon::start(&world, Side::Nival, "served", &[]);
    let listening = Listening::at(&world, &daemon);
    let silent = |side| listening.said_by(&world, side, &[]);
    let with_features = |row: &Row| match row.feature {
        Some(feature) => vec!["--option", "extra-experimental-features", feature],
        None => Vec::new(),
    };
    let beside = common::reference().is_some();
    let sides = if beside { &[Side::Nival, Side::Reference][..] } else { &[Side::Nival] };
    let silent: Vec<_> = sides.iter().map(|side| silent(*side)).collect();
    for row in TABLE.iter().filter(|row| row.is_of_building()) {
        let mut words = with_features(row);
        words.extend(["--option", row.name, another_value(row)]);
        let told: Vec<bool> = sides
            .iter()
            .zip(&silent)
            .map(|(side, silent)| {
                let said = listening.said_by(&world, *side, &words);
                let named = said.windows(row.name.len()).any(|words| words == row.name.as_bytes());
                // The others have a place of their own.
                named || said != *silent && said.len() == silent.len()
            })
            .collect();
        assert!(told.iter().all(|told| *told), "{}: {told:?}", row.name);
    }
}
