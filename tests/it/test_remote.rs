//! Stores behind the daemon and behind ssh: every client with every server, ours
//! and the reference's of two ages, over sockets and over a real sshd.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;

use crate::common::{Outcome, Side, World, old_reference};
use crate::data;
use crate::remotes::{Daemon, Sshd, real, second_store};

const SIDES: [Side; 3] = [Side::Nival, Side::Reference, Side::OldReference];

/// What lies in the directory of a second store.
fn left(world: &World, name: &str) -> Vec<String> {
    data::names(&world.path(name).join("store")).into_iter().filter(|name| name != ".links").collect()
}

/// A world whose store has [`data::sample`].
struct Sampled {
    world: World,
    paths: Vec<String>,
}

fn sampled() -> Option<Sampled> {
    old_reference()?;
    let world = World::with_reference()?;
    let paths = data::sample(&world);
    Some(Sampled { world, paths })
}

impl Sampled {
    fn run(&self, side: Side, program: &str, args: &[&str], paths: &[String]) -> Outcome {
        let args: Vec<&str> = args.iter().copied().chain(paths.iter().map(String::as_str)).collect();
        self.world.run(side, program, &args)
    }

    /// Checks that a second store has everything, unchanged.
    fn assert_arrived(&self, name: &str) {
        for path in &self.paths {
            let there = real(&self.world, name, path);
            assert_eq!(data::metadata(&there), data::metadata(path.as_ref()), "{path}");
        }
        let store = second_store(&self.world, name);
        let verified =
            self.run(Side::Reference, "nix-store", &["--store", &store, "--verify", "--check-contents"], &[]);
        assert!(!verified.ok().stderr.contains("modified"), "{}", verified.stderr);
    }

    /// What goes by the daemon's protocol only: contents are added, and garbage
    /// is collected.
    fn adds_and_collects(&self, client: Side, uri: &str, name: &str) {
        let world = &self.world;
        let source = world.text("src/tree");
        let added = self.run(client, "nix-store", &["--store", uri, "--add", &source], &[]).line();
        // It is there on this side, too.
        assert_eq!(data::metadata(&real(world, name, &added)), data::metadata(added.as_ref()));
        let hash = self.run(client, "nix-store", &["--store", uri, "-q", "--hash", &added], &[]).line();
        assert_eq!(hash, self.run(Side::Nival, "nix-store", &["-q", "--hash", &added], &[]).line());
        let top = &self.paths[self.paths.len() - 1..];
        let closure = self.run(client, "nix-store", &["--store", uri, "-qR"], top);
        assert_eq!(closure.ok().lines(), self.run(Side::Nival, "nix-store", &["-qR"], top).ok().lines());
        // The servers of clients that have left may live on for a moment, and
        // keep what those clients asked for.
        data::wait_until("a collection of everything", || {
            let text = self.run(client, "nix-store", &["--store", uri, "--gc"], &[]);
            assert!(text.ok().text().contains("store paths deleted"), "{text:?}");
            data::names(&world.path(name).join("store")).iter().all(|name| name == ".links")
        });
    }

    /// Everything that goes by any of the protocols.
    fn copies_and_queries(&self, client: Side, uri: &str, name: &str) {
        let (world, top) = (&self.world, &self.paths[self.paths.len() - 1..]);
        self.run(client, "nix", &["copy", "--no-check-sigs", "--to", uri], top).ok();
        let closure = self.run(client, "nix", &["path-info", "-r", "--store", uri], top);
        let mut found: Vec<&str> = closure.ok().lines();
        let here = self.run(Side::Nival, "nix-store", &["-qR"], top);
        let mut expected = here.ok().lines();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
        // The rest, of which a part is there.
        self.run(client, "nix", &["copy", "--no-check-sigs", "--to", uri], &self.paths).ok();
        self.assert_arrived(name);
        if client == Side::Nival {
            let tree = self.paths.iter().find(|path| path.ends_with("-tree")).unwrap();
            let text =
                self.run(client, "nix", &["store", "cat", "--store", uri, &format!("{tree}/sub/text")], &[]);
            assert_eq!(text.ok().text(), "some text\n");
            let listed = |store: &str| {
                self.run(client, "nix", &["store", "ls", "-lR", "--store", store, tree], &[])
                    .ok()
                    .text()
                    .to_owned()
            };
            assert_eq!(listed(uri), listed("local"));
        }
        let missing = format!("{}/{}-missing", world.text("store"), data::hash_part(77));
        assert_ne!(self.run(client, "nix", &["path-info", "--store", uri], &[missing]).status, 0);
        let back = format!("{name}-back-{client:?}");
        let to = second_store(world, &back);
        self.run(client, "nix", &["copy", "--no-check-sigs", "--from", uri, "--to", &to], &self.paths).ok();
        self.assert_arrived(&back);
    }
}

#[test]
fn daemons_serve_every_client() {
    let Some(sampled) = sampled() else { return };
    for server in SIDES {
        for client in SIDES {
            let name = format!("{server:?}-{client:?}");
            let daemon = Daemon::start(&sampled.world, server, &name, &[]);
            sampled.copies_and_queries(client, &daemon.uri, &name);
            sampled.adds_and_collects(client, &daemon.uri, &name);
        }
    }
}

#[test]
fn ssh_leads_to_every_server() {
    let Some(mut sampled) = sampled() else { return };
    let Some(mut sshd) = Sshd::start(&sampled.world) else { return };
    let mut pairs = Vec::new();
    for server in SIDES {
        for client in SIDES {
            for scheme in ["ssh", "ssh-ng"] {
                let name = format!("{scheme}-{server:?}-{client:?}").to_lowercase();
                sshd.add_host(&sampled.world, &name, server);
                pairs.push((client, format!("{scheme}://{name}"), name));
            }
        }
    }
    sampled.world.variables.push(("NIX_SSHOPTS".to_owned(), sshd.options()));
    for (client, uri, name) in pairs {
        sampled.copies_and_queries(client, &uri, &name);
        if uri.starts_with("ssh-ng") {
            sampled.adds_and_collects(client, &uri, &name);
        }
    }
}

#[test]
fn copy_closure_goes_both_ways() {
    let Some(mut sampled) = sampled() else { return };
    let Some(mut sshd) = Sshd::start(&sampled.world) else { return };
    for server in SIDES {
        for client in SIDES {
            let name = format!("{server:?}-{client:?}").to_lowercase();
            sshd.add_host(&sampled.world, &name, server);
        }
    }
    sampled.world.variables.push(("NIX_SSHOPTS".to_owned(), sshd.options()));
    for server in SIDES {
        for client in SIDES {
            let name = format!("{server:?}-{client:?}").to_lowercase();
            sampled.run(client, "nix-copy-closure", &["--to", "--gzip", &name], &sampled.paths).ok();
            sampled.assert_arrived(&name);
            let back = format!("back-{name}");
            let store = second_store(&sampled.world, &back);
            sampled.world.variables.push(("NIX_REMOTE".to_owned(), store));
            sampled.run(client, "nix-copy-closure", &["--from", &name], &sampled.paths).ok();
            sampled.world.variables.pop();
            sampled.assert_arrived(&back);
        }
    }
}

/// Commands, with words that stand for paths of the world.
const COMMANDS: &[&str] = &[
    "nix-store --add SRC/tree",
    "nix-store --add-fixed sha256 SRC/plain",
    "nix-store --add-fixed --recursive sha1 SRC/tree",
    "nix-store -q --hash ALL",
    "nix-store -q --size ALL",
    "nix-store -qR TOP",
    "nix-store -q --references ALL",
    "nix-store -q --tree TOP",
    "nix-store -q --graph TOP",
    "nix-store -q --referrers BOTTOM",
    "nix-store -q --referrers-closure BOTTOM",
    "nix-store -q --deriver TOP",
    "nix-store -q --valid-derivers TOP",
    "nix-store --check-validity ALL",
    "nix-store --check-validity MISSING",
    "nix-store --dump-db ALL",
    "nix-store --export ALL",
    "nix-store -r TOP --add-root HERE/root",
    "nix-store -q --roots BOTTOM",
    "nix-store -r MISSING",
    "nix-store --verify --check-contents",
    "nix-store --verify-path ALL",
    "nix-store --delete TOP",
    "nix path-info -rs TOP",
    "nix path-info --json --json-format 2 -r TOP",
    "nix store add SRC/tree --name another",
    "nix store add --mode flat SRC/plain",
    "nix store cat BOTTOM",
    "nix store verify --no-trust ALL",
    "nix store delete TOP",
    "nix log TOP",
];

/// What the commands say, by a client over a daemon.
fn transcript(sampled: &Sampled, client: Side, server: Side) -> Vec<String> {
    let name = format!("commands-{client:?}-{server:?}");
    let mut all = Vec::new();
    let (world, paths) = (&sampled.world, &sampled.paths);
    let daemon = Daemon::start(world, server, &name, &[]);
    let mut command_world = Vec::new();
    let here = world.text(&name);
    sampled
        .run(Side::Reference, "nix", &["copy", "--no-check-sigs", "--to", &second_store(world, &name)], paths)
        .ok();
    let leaf = paths.iter().find(|path| path.ends_with("-plain")).unwrap();
    let missing = format!("{}/{}-missing", world.text("store"), data::hash_part(77));
    for line in COMMANDS {
        let mut words: Vec<String> = Vec::new();
        for word in line.split(' ') {
            match word {
                "ALL" => words.extend(paths.iter().cloned()),
                "TOP" => words.push(paths[paths.len() - 1].clone()),
                "BOTTOM" => words.push(leaf.clone()),
                "MISSING" => words.push(missing.clone()),
                _ => words.push(word.replace("SRC", &world.text("src")).replace("HERE", &here)),
            }
        }
        let mut command = world.command(client, &words[0]);
        command.args(&words[1..]).env("NIX_REMOTE", &daemon.uri).env("HOME", format!("{here}/home"));
        command.env("NIX_STATE_DIR", format!("{here}/state"));
        std::fs::create_dir_all(format!("{here}/home")).unwrap();
        let outcome = crate::common::outcome(command.output().unwrap());
        let kept = |line: &&str| {
            // Who collects tells of its own steps, and when things happened differs.
            !line.contains("temporary roots file") && !line.contains("registrationTime")
        };
        let mut stderr: Vec<&str> = outcome.stderr.lines().filter(kept).collect();
        if line.contains("verify") {
            // Several at a time.
            stderr.sort_unstable();
        }
        let stdout = String::from_utf8_lossy(&outcome.stdout).into_owned();
        let stdout = if line.contains("json") { String::new() } else { stdout };
        command_world.push(format!("{line}: {} {stdout}\n{}", outcome.status, stderr.join("\n")));
    }
    for entry in command_world {
        all.push(entry.replace(&here, "HERE").replace("\\u{1b}", "\x1b"));
    }
    all
}

#[test]
fn commands_say_the_same_through_a_daemon() {
    let Some(sampled) = sampled() else { return };
    for server in [Side::Nival, Side::Reference] {
        let ours = transcript(&sampled, Side::Nival, server);
        let theirs = transcript(&sampled, Side::Reference, server);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "with {server:?} behind the socket");
        }
    }
}

#[test]
fn profiles_are_changed_through_a_daemon() {
    let Some(mut sampled) = sampled() else { return };
    for dir in ["one", "two"] {
        sampled.world.write(format!("src/{dir}/bin/{dir}"), dir);
    }
    let sources: Vec<String> =
        ["one", "two"].iter().map(|dir| sampled.world.text(format!("src/{dir}"))).collect();
    let added = sampled.run(Side::Nival, "nix-store", &["--add"], &sources);
    let packages: Vec<String> = added.ok().lines().into_iter().map(str::to_owned).collect();
    for server in [Side::Nival, Side::Reference] {
        let socket = sampled.world.text(format!("socket-{server:?}"));
        let log = std::fs::File::create(sampled.world.path("daemon.log")).unwrap();
        let mut command = sampled.world.command(server, "nix-daemon");
        command.env("NIX_DAEMON_SOCKET_PATH", &socket).stderr(log);
        let mut child = command.spawn().unwrap();
        data::wait_until("the socket", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
        sampled.world.variables.push(("NIX_REMOTE".to_owned(), format!("unix://{socket}")));
        let profile = sampled.world.text(format!("profile-{server:?}"));
        let env = |side: Side, args: &[&str]| {
            let args: Vec<&str> = ["-p", &profile].into_iter().chain(args.iter().copied()).collect();
            sampled.run(side, "nix-env", &args, &[])
        };
        env(Side::Nival, &["-i", &packages[0]]).ok();
        env(Side::Reference, &["-i", &packages[1]]).ok();
        for side in [Side::Nival, Side::Reference] {
            assert_eq!(env(side, &["-q"]).ok().lines(), ["one", "two"]);
        }
        env(Side::Nival, &["-e", "one"]).ok();
        assert_eq!(env(Side::Reference, &["-q"]).ok().lines(), ["two"]);
        env(Side::Nival, &["--rollback"]).ok();
        assert_eq!(env(Side::Reference, &["-q"]).ok().lines(), ["one", "two"]);
        // What is installed is kept.
        sampled.run(Side::Nival, "nix-store", &["--gc"], &[]).ok();
        assert!(std::path::Path::new(&packages[0]).exists());
        assert!(std::path::Path::new(&profile).join("bin/one").exists());
        let other = format!("{profile}-nix");
        let nix = |args: &[&str]| sampled.run(Side::Nival, "nix", args, &[]);
        nix(&["profile", "add", "--profile", &other, &packages[0]]).ok();
        let listed = sampled.run(Side::Reference, "nix", &["profile", "list", "--profile", &other], &[]);
        assert!(listed.ok().text().contains(&packages[0]));
        sampled.world.variables.pop();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// A user that is nobody's friend; `None` (with a word why) unless we are root.
fn stranger() -> Option<u32> {
    if rustix::process::getuid().is_root() {
        return Some(65_534);
    }
    crate::common::skip("only root can be somebody else");
    None
}

#[test]
fn strangers_may_add_what_can_be_checked_and_nothing_else() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    let (Some(sampled), Some(stranger)) = (sampled(), stranger()) else { return };
    let world = &sampled.world;
    // The world is to be seen by others.
    std::fs::set_permissions(world.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    world.write("home/x", "");
    std::fs::set_permissions(world.path("home"), std::fs::Permissions::from_mode(0o777)).unwrap();
    for server in [Side::Nival, Side::Reference] {
        let name = format!("strange-{server:?}");
        let daemon = Daemon::start(world, server, &name, &[]);
        let run = |args: &[&str], paths: &[String]| {
            let mut command = world.command(Side::Nival, args[0]);
            command.args(&args[1..]).args(paths).env("NIX_REMOTE", &daemon.uri).uid(stranger).gid(stranger);
            crate::common::outcome(command.output().unwrap())
        };
        // Contents.
        let added = run(&["nix-store", "--add", &world.text("src/tree")], &[]);
        let added = added.ok().lines()[0].to_owned();
        assert!(real(world, &name, &added).exists());
        // A path that is neither signed nor follows from its contents.
        let planted: Vec<String> =
            sampled.paths.iter().filter(|path| path.contains("-sample-")).cloned().collect();
        let refused =
            run(&["nix", "copy", "--no-check-sigs", "--to", &daemon.uri, "--from", "local"], &planted);
        assert_eq!(refused.status, 1);
        assert!(refused.stderr.contains("lacks a signature by a trusted key"), "{}", refused.stderr);
        for path in &planted {
            assert!(!real(world, &name, path).exists(), "{path}");
        }
        let refused = run(&["nix-store", "--verify", "--repair"], &[]);
        assert!(refused.stderr.contains("you are not privileged to repair paths"), "{}", refused.stderr);
        let refused = run(&["nix-store", "--delete", "--ignore-liveness", &added], &[]);
        assert!(refused.stderr.contains("you are not allowed to ignore liveness"), "{}", refused.stderr);
        // A setting that concerns others is passed over, with a word.
        let warned = run(&["nix-store", "--option", "sandbox", "true", "-q", "--hash", &added], &[]);
        assert!(
            warned.ok().stderr.contains("ignoring the client-specified setting 'sandbox'"),
            "{}",
            warned.stderr
        );
        assert!(run(&["nix", "store", "info"], &[]).ok().stderr.contains("Trusted: 0"));
        // Garbage may be collected by everybody.
        run(&["nix-store", "--gc"], &[]).ok();
        assert!(!real(world, &name, &added).exists());
    }
}

#[test]
fn who_is_not_allowed_is_told_nothing() {
    let (Some(sampled), Some(stranger)) = (sampled(), stranger()) else { return };
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    let world = &sampled.world;
    std::fs::set_permissions(world.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = Daemon::start(world, Side::Nival, "closed", &["--option", "allowed-users", "root"]);
    let mut command = world.command(Side::Nival, "nix");
    command.args(["store", "info"]).env("NIX_REMOTE", &daemon.uri).uid(stranger).gid(stranger);
    let refused = crate::common::outcome(command.output().unwrap());
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("cannot open connection to remote store"), "{}", refused.stderr);
    let log = std::fs::read_to_string(world.path("closed/daemon.log")).unwrap();
    assert!(log.contains("is not allowed to connect to the Nix daemon"), "{log}");
}

#[test]
fn a_daemon_that_is_not_there() {
    let world = World::new();
    let socket = world.text("nothing");
    let outcome = world.nival("nix-store", &["--store", &format!("unix://{socket}"), "-q", "--hash", "x"]);
    assert_eq!(outcome.status, 1);
    let path = format!("{}/{}-x", world.text("store"), data::hash_part(1));
    let outcome = world.nival("nix-store", &["--store", &format!("unix://{socket}"), "-q", "--hash", &path]);
    outcome.fails(&format!("error: cannot connect to socket at '{socket}': No such file or directory"));
}

#[test]
fn without_a_program_ssh_there_is_one_built_in() {
    if !cfg!(feature = "built-in-ssh") {
        return crate::common::skip("this build has no client for ssh of its own (feature built-in-ssh)");
    }
    let Some(mut sampled) = sampled() else { return };
    let Some(mut sshd) = Sshd::start(&sampled.world) else { return };
    sshd.add_host(&sampled.world, "plain", Side::Reference);
    sshd.add_host(&sampled.world, "newer", Side::Nival);
    // The names of users are those of this machine.
    let me = Command::new("id").arg("-un").output().unwrap();
    let me = String::from_utf8(me.stdout).unwrap().trim().to_owned();
    sampled.world.variables.push(("PATH".to_owned(), sampled.world.text("bin")));
    let (key, host) = sshd.built_in("plain");
    let top = &sampled.paths[sampled.paths.len() - 1..];
    let copy = |uri: &str| sampled.run(Side::Nival, "nix", &["copy", "--no-check-sigs", "--to", uri], top);
    let refused = copy(&format!("ssh://{me}@{host}?{key}"));
    assert!(refused.stderr.contains("its key is not known"), "{}", refused.stderr);
    let shown = sshd.known_host();
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let (_, machine_key) = shown.trim().split_once(' ').unwrap();
    let good = encode(machine_key).replace('+', "%2B").replace('=', "%3D");
    let other = encode("ssh-ed25519 AAAA").replace('=', "%3D");
    let refused = copy(&format!("ssh://{me}@{host}?{key}&base64-ssh-public-host-key={other}"));
    assert!(refused.stderr.contains("its key is not the one"), "{}", refused.stderr);
    copy(&format!("ssh://{me}@{host}?{key}&base64-ssh-public-host-key={good}")).ok();
    // What is taken away from a machine is not accepted from another line.
    sampled.world.write("home/.ssh/known_hosts", format!("{shown}@revoked * {machine_key}\n"));
    let refused = copy(&format!("ssh://{me}@{host}?{key}"));
    assert!(refused.stderr.contains("its key is marked as revoked"), "{}", refused.stderr);
    // Only the program understands certificates, and that is told.
    sampled.world.write("home/.ssh/known_hosts", format!("@cert-authority * {machine_key}\n"));
    let refused = copy(&format!("ssh://{me}@{host}?{key}"));
    assert!(refused.stderr.contains("its key is not known"), "{}", refused.stderr);
    assert!(refused.stderr.contains("names an authority ('@cert-authority')"), "{}", refused.stderr);
    sampled.world.write("home/.ssh/known_hosts", &shown);
    sampled.copies_and_queries(Side::Nival, &format!("ssh-ng://{me}@{host}?{key}&compress=true"), "plain");
    let (key, _) = sshd.built_in("newer");
    sampled.copies_and_queries(Side::Nival, &format!("ssh://{me}@{host}?{key}"), "newer");
    // A key that nobody knows there.
    sshd.add_host(&sampled.world, "forgotten", Side::Nival);
    sampled.world.write("ssh/authorized_keys", "");
    let (key, _) = sshd.built_in("forgotten");
    let refused = sampled.run(
        Side::Nival,
        "nix",
        &["store", "info", "--store", &format!("ssh://{me}@{host}?{key}")],
        &[],
    );
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains(&format!("permission denied for user '{me}'")), "{}", refused.stderr);
    sampled.world.variables.pop();
}

#[test]
fn archives_that_nobody_wants_are_passed_over() {
    let Some(sampled) = sampled() else { return };
    let world = &sampled.world;
    let daemon = Daemon::start(world, Side::Nival, "passed-over", &[]);
    sampled.run(Side::Nival, "nix", &["copy", "--no-check-sigs", "--to", &daemon.uri], &sampled.paths).ok();
    let cache = format!("file://{}?compression=none", world.text("cache"));
    let copy =
        || sampled.run(Side::Nival, "nix", &["copy", "--from", &daemon.uri, "--to", &cache], &sampled.paths);
    copy().ok();
    // As after an interrupted copy: archives without narinfos.
    for name in data::names(&world.path("cache")).into_iter().filter(|name| name.ends_with(".narinfo")) {
        std::fs::remove_file(world.path("cache").join(name)).unwrap();
    }
    let mut command = world.command(Side::Nival, "nix");
    command.args(["copy", "--from", &daemon.uri, "--to", &cache]).args(&sampled.paths);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    data::finish(command.spawn().unwrap(), Duration::from_secs(20)).ok();
}

#[test]
fn a_damaged_path_behind_a_daemon_ends_the_copy() {
    let Some(sampled) = sampled() else { return };
    let world = &sampled.world;
    let daemon = Daemon::start(world, Side::Nival, "damaged", &[]);
    sampled.run(Side::Nival, "nix", &["copy", "--no-check-sigs", "--to", &daemon.uri], &sampled.paths).ok();
    let plain = sampled.paths.iter().find(|path| path.ends_with("-plain")).unwrap();
    std::fs::write(real(world, "damaged", plain), "short").unwrap();
    let to = second_store(world, "damaged-back");
    let mut command = world.command(Side::Nival, "nix");
    command.args(["copy", "--no-check-sigs", "--from", &daemon.uri, "--to", &to]).args(&sampled.paths);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let outcome = data::finish(command.spawn().unwrap(), Duration::from_secs(20));
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.contains("mismatch importing path"), "{}", outcome.stderr);
    assert!(!real(world, "damaged-back", plain).exists());
}

/// Answers the beginning of the daemon's protocol, and nothing more.
fn silent_daemon(socket: &Path) -> std::os::unix::net::UnixListener {
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    let accepting = listener.try_clone().unwrap();
    std::thread::spawn(move || {
        for stream in accepting.incoming() {
            let mut stream = stream.unwrap();
            let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
            // Version 1.32: no features, no name, no trust.
            stream.write_all(&words(&[0x6478_696f, 0x120, 0x616c_7473, 0x616c_7473])).unwrap();
            // Kept open.
            std::mem::forget(stream);
        }
    });
    listener
}

#[test]
fn a_signal_ends_the_wait_for_a_daemon() {
    let world = World::new();
    world.write("src/big", vec![7; 8 << 20]);
    let socket = world.path("silent");
    let _listener = silent_daemon(&socket);
    let uri = format!("unix://{}", socket.display());
    let path = format!("{}/{}-x", world.text("store"), data::hash_part(1));
    // It waits for an answer, or for somebody to take what it writes.
    for args in [vec!["-q", "--hash", &path], vec!["--add", &world.text("src/big")]] {
        let mut command = world.command(Side::Nival, "nix-store");
        command.args(["--store", &uri]).args(&args).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(500));
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
            .unwrap();
        let outcome = data::finish(child, Duration::from_secs(2));
        assert_eq!(outcome.status, 1, "{args:?}");
        assert!(outcome.stderr.contains("interrupted by the user"), "{args:?}: {}", outcome.stderr);
    }
}

/// The processes that serve clients of a daemon.
fn servers(daemon: &Daemon) -> Vec<String> {
    let children = format!("/proc/{0}/task/{0}/children", daemon.pid());
    std::fs::read_to_string(children).unwrap().split_whitespace().map(str::to_owned).collect()
}

/// The command line of the process that a daemon starts for a client.
fn server_words(daemon: &Daemon, socket: &Path) -> Vec<String> {
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.write_all(&0x6e69_7863_u64.to_le_bytes()).unwrap();
    let words = |pid: &String| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split_terminator('\0').map(str::to_owned).collect::<Vec<String>>()
    };
    // The process is a copy of the daemon until it runs a program of its own.
    let started = || servers(daemon).iter().map(words).find(|words| words.contains(&"--stdio".to_owned()));
    data::wait_until("the process for the client", || started().is_some());
    started().unwrap()
}

#[test]
fn what_a_daemon_is_told_reaches_the_processes_for_clients() {
    let world = World::new();
    let cases: [(&str, &[&str]); 2] = [
        ("nix", &["-v", "--option", "timeout", "77", "daemon", "-vL", "--offline", "--no-keep-outputs"]),
        ("nix-daemon", &["-vv", "--timeout", "77", "--option", "substitute", "false"]),
    ];
    for (number, (program, args)) in cases.into_iter().enumerate() {
        let name = format!("told-{number}");
        let daemon = Daemon::start_program(&world, Side::Nival, &name, program, args);
        let words = server_words(&daemon, &world.path(&name).join("socket"));
        assert_eq!(words.iter().filter(|word| *word == "--verbose").count(), 2, "{words:?}");
        let set = |name: &str, value: &str| words.windows(3).any(|three| three == ["--option", name, value]);
        assert!(set("timeout", "77") && set("substitute", "false"), "{words:?}");
        assert_eq!(set("narinfo-cache-meta-ttl", "4294967295"), program == "nix", "{words:?}");
    }
}

#[test]
fn nix_daemon_and_its_subcommand_have_flags_of_their_own() {
    let world = World::new();
    let sides = if crate::common::reference().is_some() { &SIDES[..2] } else { &SIDES[..1] };
    for side in sides {
        for flag in ["-K", "--readonly-mode", "--daemon"] {
            let refused = world.run(*side, "nix", &["daemon", flag]);
            assert_eq!(refused.status, 1, "{side:?} {flag}");
            assert!(refused.stderr.contains(&format!("unrecognised flag '{flag}'")), "{}", refused.stderr);
        }
        let refused = world.run(*side, "nix-daemon", &["--offline", "--version"]);
        assert_eq!(refused.status, 1, "{side:?}");
    }
}

#[test]
fn who_goes_in_the_middle_leaves_no_process_behind() {
    let Some(sampled) = sampled() else { return };
    let world = &sampled.world;
    let daemon = Daemon::start(world, Side::Nival, "gone", &[]);
    let socket = world.path("gone/socket");
    let word = |text: &str| {
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    };
    for round in 0..20 {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        let mut bytes: Vec<u8> = Vec::new();
        let number = |bytes: &mut Vec<u8>, number: u64| bytes.extend_from_slice(&number.to_le_bytes());
        [0x6e69_7863, 0x120, 0, 0, 7].into_iter().for_each(|value| number(&mut bytes, value));
        bytes.extend(word("x"));
        bytes.extend(word("fixed:sha256"));
        [0, 0].into_iter().for_each(|value| number(&mut bytes, value));
        // Frames that never end.
        for _ in 0..round * 50 {
            number(&mut bytes, 3);
            bytes.extend_from_slice(b"abc");
        }
        stream.write_all(&bytes).unwrap();
    }
    data::wait_until("the processes for clients that are gone", || servers(&daemon).is_empty());
    sampled.run(Side::Nival, "nix", &["store", "info", "--store", &daemon.uri], &[]).ok();
}

#[test]
fn roots_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt as _;
    let Some(sampled) = sampled() else { return };
    let world = &sampled.world;
    let daemon = Daemon::start(world, Side::Nival, "bytes", &[]);
    let top = &sampled.paths[sampled.paths.len() - 1..];
    sampled.run(Side::Nival, "nix", &["copy", "--no-check-sigs", "--to", &daemon.uri], top).ok();
    let link = world.path(std::ffi::OsStr::from_bytes(b"li\xffnk"));
    let mut command = world.command(Side::Nival, "nix-store");
    command.args(["--store", &daemon.uri, "-r", &top[0], "--add-root"]).arg(&link);
    crate::common::outcome(command.output().unwrap()).ok();
    sampled.run(Side::Nival, "nix-store", &["--store", &daemon.uri, "--gc"], &[]).ok();
    assert!(real(world, "bytes", &top[0]).exists());
}

#[test]
fn a_stranger_sees_nothing_through_an_environment() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::os::unix::process::CommandExt as _;
    let (Some(sampled), Some(stranger)) = (sampled(), stranger()) else { return };
    let world = &sampled.world;
    let open = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::set_permissions(world.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    world.write("secret/hidden-name", "");
    std::fs::set_permissions(world.path("secret"), std::fs::Permissions::from_mode(0o700)).unwrap();
    world.write("home/x", "");
    open(&world.path("home"));
    for (package, other) in [("one", "bin/one"), ("two", "bin/two")] {
        world.write(format!("src/{package}/{other}"), "");
        symlink(world.path("secret"), world.path(format!("src/{package}/share"))).unwrap();
        std::fs::create_dir(world.path(format!("src/{package}/nix-support"))).unwrap();
        let list = format!("src/{package}/nix-support/propagated-user-env-packages");
        symlink(world.path("secret/hidden-name"), world.path(list)).unwrap();
    }
    std::fs::create_dir(world.path("profiles")).unwrap();
    open(&world.path("profiles"));
    let daemon = Daemon::start(world, Side::Nival, "confined", &[]);
    let run = |args: &[&str]| {
        let mut command = world.command(Side::Nival, args[0]);
        command.args(&args[1..]).env("NIX_REMOTE", &daemon.uri).uid(stranger).gid(stranger);
        command.env("NIX_STATE_DIR", world.path("home/state"));
        crate::common::outcome(command.output().unwrap())
    };
    let added = run(&["nix-store", "--add", &world.text("src/one"), &world.text("src/two")]);
    let added: Vec<String> = added.ok().lines().into_iter().map(str::to_owned).collect();
    let profile = world.text("profiles/p");
    let outcome = run(&["nix-env", "-p", &profile, "-i", &added[0], &added[1]]);
    // The two links may clash; nothing of what is behind them is told.
    assert!(!outcome.stderr.contains("hidden-name"), "{}", outcome.stderr);
    let mut waiting = vec![world.path("confined/store")];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            assert!(!path.ends_with("hidden-name"), "{}", path.display());
            if path.is_dir() && !path.is_symlink() {
                waiting.push(path);
            }
        }
    }
}

/// The processes whose environment has a text in it.
fn processes_with(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.windows(text.len()).any(|window| window == text.as_bytes()) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found
}

#[test]
fn a_signal_ends_both_ends_of_a_copy() {
    let Some(mut sampled) = sampled() else { return };
    let Some(mut sshd) = Sshd::start(&sampled.world) else { return };
    for side in ["here", "there"] {
        sshd.add_host(&sampled.world, side, if side == "here" { Side::Nival } else { Side::Reference });
    }
    sampled.world.variables.push(("NIX_SSHOPTS".to_owned(), sshd.options()));
    let world = &sampled.world;
    data::big_file(&world.path("src/big"), 4000);
    let big = world.nix_store(&["--add", &world.text("src/big")]).line();
    for host in ["here", "there"] {
        for scheme in ["ssh", "ssh-ng"] {
            let mut command = world.command(Side::Nival, "nix");
            command.args(["copy", "--no-check-sigs", "--to", &format!("{scheme}://{host}"), &big]);
            let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            let far = format!("NIX_REMOTE={}", second_store(world, host));
            data::wait_until("the other end", || !processes_with(&far).is_empty());
            std::thread::sleep(Duration::from_millis(50));
            rustix::process::kill_process(
                rustix::process::Pid::from_child(&child),
                rustix::process::Signal::INT,
            )
            .unwrap();
            let outcome = data::finish(child, Duration::from_secs(2));
            // It may have been quicker.
            assert!(outcome.status == 1 || outcome.status == 0, "{outcome:?}");
            data::wait_until("the end of the other end", || processes_with(&far).is_empty());
            world.run(Side::Reference, "nix-store", &["--store", &second_store(world, host), "--gc"]).ok();
            // Nothing of what was on its way is left.
            assert_eq!(left(world, host), Vec::<String>::new());
        }
    }
}

#[test]
fn an_archive_that_is_larger_than_announced_ends_the_copy() {
    let Some(sampled) = sampled() else { return };
    let world = &sampled.world;
    data::big_file(&world.path("src/big"), 20);
    let big = world.nix_store(&["--add", &world.text("src/big")]).line();
    let small = sampled.paths.iter().find(|path| path.ends_with("-plain")).unwrap().clone();
    for (number, path) in [small, big].into_iter().enumerate() {
        let name = format!("larger-{number}");
        let daemon = Daemon::start(world, Side::Nival, &name, &[]);
        let path = [path];
        sampled.run(Side::Nival, "nix", &["copy", "--no-check-sigs", "--to", &daemon.uri], &path).ok();
        data::big_file(&real(world, &name, &path[0]), 100);
        let back = format!("{name}-back");
        let to = second_store(world, &back);
        let copied = sampled.run(
            Side::Nival,
            "nix",
            &["copy", "--no-check-sigs", "--from", &daemon.uri, "--to", &to],
            &path,
        );
        assert_eq!(copied.status, 1);
        assert!(
            copied.stderr.contains("larger than what is registered")
                || copied.stderr.contains("more of it than was announced"),
            "{}",
            copied.stderr
        );
        assert!(!real(world, &back, &path[0]).exists());
    }
}

#[test]
fn contents_of_any_size_are_added_and_long_settings_refused() {
    let Some(sampled) = sampled() else { return };
    let world = &sampled.world;
    // More than is held in memory.
    data::big_file(&world.path("src/big"), 50);
    for server in [Side::Nival, Side::Reference] {
        let name = format!("sizes-{server:?}");
        let daemon = Daemon::start(world, server, &name, &[]);
        let at = |args: &[&str]| {
            let args: Vec<&str> = ["--store", &daemon.uri].into_iter().chain(args.iter().copied()).collect();
            world.nix_store(&args)
        };
        for args in [&["--add-fixed", "sha256"][..], &["--add-fixed", "--recursive", "sha512"], &["--add"]] {
            let source = world.text("src/big");
            let there = at(&[args, &[&source]].concat()).line();
            let here = world.nix_store(&[args, &[&source]].concat()).line();
            assert_eq!(there, here);
            assert_eq!(data::metadata(&real(world, &name, &there)), data::metadata(here.as_ref()));
        }
        if server == Side::Nival {
            let long = format!("https://{}", "x".repeat(70_000));
            let refused = at(&["--option", "substituters", &long, "--check-validity", &sampled.paths[0]]);
            assert_eq!(refused.status, 1);
            assert!(refused.stderr.contains("string is too long"), "{}", refused.stderr);
        }
    }
}

#[test]
fn who_takes_no_messages_keeps_nobody_waiting() {
    let Some(sampled) = sampled() else { return };
    let world = &sampled.world;
    let _daemon = Daemon::start(world, Side::Nival, "deaf", &["--force-untrusted"]);
    // Enough garbage for more messages than a socket holds.
    let planted: Vec<String> = (0..20_000)
        .map(|i| format!("{}/{}-{}", world.text("deaf/store"), data::hash_part(i), "long-name-".repeat(15)))
        .collect();
    for path in &planted {
        std::fs::write(path, "").unwrap();
    }
    let mut stream = std::os::unix::net::UnixStream::connect(world.path("deaf/socket")).unwrap();
    // Hello at 1.32; options with the highest verbosity; a collection.
    let words: Vec<u64> =
        [0x6e69_7863, 0x120, 0, 0, 19, 0, 0, 0, 7, 1, 0, 1, 0, 0, 0, 0, 1, 0, 20, 2, 0, 0, u64::MAX, 0, 0, 0]
            .to_vec();
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    stream.write_all(&bytes).unwrap();
    // It reads nothing; somebody else collects nevertheless.
    std::thread::sleep(Duration::from_millis(300));
    let mut command = world.command(Side::Nival, "nix-store");
    command
        .args(["--store", &second_store(world, "deaf"), "--gc"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    data::finish(command.spawn().unwrap(), Duration::from_secs(30)).ok();
    assert!(!Path::new(&planted[0]).exists());
    drop(stream);
}
