//! Peers of other ages and habits: what is said over ssh and through a daemon,
//! and how it ends.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::common::{Outcome, Side, World};
use crate::data;
use crate::peer::Words;
use crate::remotes::{Daemon, second_store};

/// A derivation that the reference has built in the world's store, and its
/// output.
fn built(world: &World) -> (String, String) {
    let nix = r#"derivation { name = "built"; system = "x86_64-linux"; builder = "/bin/sh";
                 args = [ "-c" "echo hello > $out" ]; }"#;
    let file = world.write("src/built.nix", nix);
    let drv = world.run(Side::Reference, "nix-instantiate", &["--quiet", file.to_str().unwrap()]).line();
    let out = world.run(Side::Reference, "nix-store", &["-r", &drv]).line();
    (drv, out)
}

/// A program `ssh` in the world, first of all that are found.
fn fake_ssh(world: &mut World, script: &str) {
    let ssh = world.write("ssh/ssh", format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}:/usr/bin:/bin", world.text("ssh"), world.text("bin"));
    world.variables.push(("PATH".to_owned(), path));
}

/// A script for [`fake_ssh`] that runs what it is to run on another store.
fn on_store(world: &World, name: &str) -> String {
    let store = second_store(world, name);
    format!("while [ \"$1\" != -- ]; do shift; done; shift; NIX_REMOTE='{store}' exec /bin/sh -c \"$*\"")
}

#[test]
fn what_was_built_here_was_not_built_there() {
    let Some(mut world) = World::with_reference() else { return };
    let (_, out) = built(&world);
    let ultimate = |world: &World, store: &str| {
        let args = ["path-info", "--json", "--json-format", "1", "--store", store, &out];
        world.nival("nix", &args).ok().text().contains(r#""ultimate":true"#)
    };
    assert!(ultimate(&world, "local"));
    let program = world.programs(Side::Reference).join("nix-store");
    let script = on_store(&world, "there")
        .replace("-c \"$*\"", &format!("-c '{} --serve --write'", program.display()));
    fake_ssh(&mut world, &script);
    world.nival("nix-copy-closure", &["--to", "host", &out]).ok();
    assert!(!ultimate(&world, &second_store(&world, "there")));
}

#[test]
fn a_dry_run_copies_nothing() {
    let mut world = World::new();
    world.write("src/x", "x");
    let path = world.nix_store(&["--add", &world.text("src/x")]).line();
    let script = on_store(&world, "there");
    fake_ssh(&mut world, &script);
    let run = |args: &[&str]| world.nival("nix-copy-closure", args);
    let told = run(&["--to", "host", "--dry-run", &path]);
    told.ok();
    assert!(told.stdout.is_empty());
    assert!(told.stderr.contains(&format!("1 path would be copied\n  {path}\n")), "{}", told.stderr);
    let there = world.path("there/store").join(path.rsplit('/').next().unwrap());
    assert!(!there.exists());
    run(&["--to", "host", &path]).ok();
    assert!(there.exists());
    assert!(run(&["--to", "host", "--dry-run", &path]).ok().stderr.contains("0 paths would be copied"));
    let nothing = run(&["--to", "host"]);
    assert_eq!(nothing.status, 1);
    assert!(nothing.stderr.contains("no paths given"), "{}", nothing.stderr);
}

#[test]
fn a_connection_that_breaks_is_no_damage() {
    let mut world = World::new();
    let there = second_store(&world, "there");
    let paths: Vec<String> = (0..6)
        .map(|number| {
            data::big_file(&world.path(format!("src/file-{number}")), 100);
            let file = world.text(format!("src/file-{number}"));
            world.nival("nix-store", &["--store", &there, "--add", &file]).line()
        })
        .collect();
    let script = on_store(&world, "there");
    fake_ssh(&mut world, &script);
    let store = ["nix", "store", "verify", "--no-trust", "--store", "ssh-ng://host"];
    let verify = |world: &World| {
        let args: Vec<&str> = store[1..].iter().copied().chain(paths.iter().map(String::as_str)).collect();
        world.nival(store[0], &args)
    };
    verify(&world).ok();
    // The daemon is killed in the middle of an archive.
    let cut = script.replace("exec /bin/sh -c \"$*\"", "/bin/sh -c \"$*\" | dd bs=64k count=60 status=none");
    assert_ne!(cut, script);
    fake_ssh(&mut world, &cut);
    let broken = verify(&world);
    assert_eq!(broken.status, 1, "{}", broken.stderr);
    let errors: Vec<&str> = broken.stderr.lines().filter(|line| line.contains("error:")).collect();
    assert!(matches!(errors[..], [one] if one.contains("ssh-ng://host")), "{}", broken.stderr);
    assert!(!broken.stderr.contains("modified"), "{}", broken.stderr);
}

#[test]
fn what_another_machine_says_first_is_shown() {
    let mut world = World::new();
    world.write("src/x", "x");
    let path = world.nix_store(&["--add", &world.text("src/x")]).line();
    fake_ssh(&mut world, "echo started; echo Welcome to example; exec sleep 1");
    for scheme in ["ssh", "ssh-ng"] {
        let failed = world.nival("nix", &["copy", "--to", &format!("{scheme}://host"), &path]);
        assert_eq!(failed.status, 1);
        assert!(failed.stderr.contains("it begins with 'started"), "{}", failed.stderr);
    }
}

#[test]
fn a_machine_that_says_nothing_is_told_of() {
    let mut world = World::new();
    fake_ssh(&mut world, "exec sleep 60");
    let mut command = world.command(Side::Nival, "nix");
    command.args(["store", "info", "--store", "ssh-ng://host"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = [0; 70];
    child.stderr.as_mut().unwrap().read_exact(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.ends_with("waiting for an answer from 'ssh-ng://host'..."), "{said}");
    interrupt(&child, rustix::process::Signal::INT);
    assert_eq!(data::finish(child, Duration::from_secs(5)).status, 1);
}

fn interrupt(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

/// A server with a client of a version, after the hello.
fn serving(world: &World, side: Side, version: u64) -> Child {
    let mut command = world.command(side, "nix-store");
    command.args(["--serve", "--write"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let hello = Words::of(0x390c_9deb).number(version);
    child.stdin.as_mut().unwrap().write_all(&hello.0).unwrap();
    let mut answer = [0; 16];
    child.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
    child
}

#[test]
fn servers_end_quietly_between_requests() {
    let world = World::new();
    world.nix_store(&["--init"]).ok();
    for end in ["closed", "signal"] {
        let mut child = serving(&world, Side::Nival, 0x207);
        match end {
            "closed" => drop(child.stdout.take()),
            _ => interrupt(&child, rustix::process::Signal::TERM),
        }
        let ended = data::finish(child, Duration::from_secs(5));
        assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{end}");
    }
}

#[test]
fn clients_of_every_age_are_served() {
    let Some(world) = World::with_reference() else { return };
    world.write("src/x", "x");
    let path = world.nix_store(&["--add", &world.text("src/x")]).line();
    let drv = format!("{}/{}-x.drv", world.text("store"), "0".repeat(32));
    for version in 0x201..=0x207 {
        let options = match version & 0xff {
            1 => 2,
            2 => 3,
            7 => 6,
            _ => 5,
        };
        let ask = |side| {
            let mut child = serving(&world, side, version);
            let questions = [
                Words::of(1).number(0).number(0).texts(&[&path]),
                Words::of(2).texts(&[&path]),
                Words::of(7).number(0).texts(&[&path]),
            ];
            let mut stdin = child.stdin.take().unwrap();
            questions.iter().for_each(|question| stdin.write_all(&question.0).unwrap());
            drop(stdin);
            let answers = data::finish(child, Duration::from_secs(10)).stdout;
            // A build fails here and there, each with its own words.
            let mut child = serving(&world, side, version);
            let mut build =
                Words::of(8).text(&drv).number(1).text("out").text(drv.replace(".drv", "")).text("").text("");
            build = build.number(0).text("nosuch").text("/bin/sh").number(0).number(0);
            build = (0..options).fold(build, |words, _| words.number(0));
            // Something after it, to be answered as well.
            build.0.extend(&questions[0].0);
            child.stdin.as_mut().unwrap().write_all(&build.0).unwrap();
            let mut output = child.stdout.take().unwrap();
            let mut number = |skip: u64| {
                let mut bytes = [0; 8];
                output.read_exact(&mut bytes).unwrap();
                let number = u64::from_le_bytes(bytes);
                let mut rest = vec![0; usize::try_from(skip * number.next_multiple_of(8)).unwrap()];
                output.read_exact(&mut rest).unwrap();
                number
            };
            assert_ne!(number(0), 0);
            number(1);
            let zeros = match version & 0xff {
                1 | 2 => 0,
                3..=5 => 4,
                _ => 5,
            };
            let rest: Vec<u64> = (0..=zeros).map(|_| number(0)).collect();
            assert_eq!(rest[..zeros], vec![0; zeros], "{version:x}");
            // One path is valid.
            assert_eq!(rest[zeros], 1, "{version:x}");
            child.kill().unwrap();
            child.wait().unwrap();
            answers
        };
        assert_eq!(ask(Side::Nival), ask(Side::Reference), "{version:x}");
    }
}

/// A daemon of the reference over the world's own store, which can build.
struct Builder(Child, String);

impl Drop for Builder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn builder(world: &World) -> Builder {
    let socket = world.path("socket");
    let mut command = world.command(Side::Reference, "nix-daemon");
    command
        .env("NIX_DAEMON_SOCKET_PATH", &socket)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = command.spawn().unwrap();
    data::wait_until("the daemon's socket", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    Builder(child, format!("unix://{}", socket.display()))
}

#[test]
fn a_daemon_that_builds_is_asked_to() {
    let Some(mut world) = World::with_reference() else { return };
    let (drv, out) = built(&world);
    let failing = r#"derivation { name = "fails"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "exit 3" ]; }"#;
    let file = world.write("src/fails.nix", failing);
    let fails = world.run(Side::Reference, "nix-instantiate", &["--quiet", file.to_str().unwrap()]).line();
    let daemon = builder(&world);
    world.variables.push(("NIX_REMOTE".to_owned(), daemon.1.clone()));
    let both = |program: &str, args: &[&str]| -> [Outcome; 2] {
        [Side::Nival, Side::Reference].map(|side| world.run(side, program, args))
    };
    for args in [["--check", &drv], ["--repair", &drv]] {
        let [ours, theirs] = both("nix-store", &["-r", args[0], args[1]]);
        assert_eq!((ours.status, ours.text()), (theirs.status, theirs.text()), "{args:?}: {}", ours.stderr);
        assert_eq!(ours.text(), format!("{out}\n"));
    }
    let outputs = format!("{drv}^*");
    for args in [vec!["path-info", &outputs], vec!["store", "verify", "--no-trust", &outputs]] {
        let store = ["--store", &daemon.1];
        let [ours, theirs] = both("nix", &[&args[..], &store].concat());
        assert_eq!((ours.status, ours.text()), (theirs.status, theirs.text()), "{args:?}: {}", ours.stderr);
        assert_eq!(ours.status, 0);
    }
    // What a profile is to have is built there, too.
    for side in [Side::Nival, Side::Reference] {
        world.run(Side::Reference, "nix-store", &["--delete", &out]).ok();
        let profile = world.text(format!("profile-{side:?}"));
        let added = world.run(side, "nix", &["profile", "add", "--profile", &profile, &format!("{drv}^out")]);
        assert_eq!(added.status, 0, "{side:?}: {}", added.stderr);
        assert!(added.stderr.contains("this derivation will be built:"), "{side:?}: {}", added.stderr);
        let listed = world.run(Side::Reference, "nix", &["profile", "list", "--json", "--profile", &profile]);
        assert!(listed.ok().text().contains(&out), "{side:?}: {}", listed.text());
        let generation = format!("{profile}-1-link");
        let environment = std::fs::read_link(&generation).unwrap();
        for link in [&profile, &generation] {
            std::fs::remove_file(link).unwrap();
        }
        world.run(Side::Reference, "nix-store", &["--delete", environment.to_str().unwrap()]).ok();
    }
    // Errors of several lines look the same.
    let [ours, theirs] = both("nix-store", &["-r", &fails]);
    assert_eq!(ours.status, theirs.status);
    let error = |outcome: &Outcome| {
        let text = outcome.stderr.replace("\u{1b}[0m", "");
        let lines = text.lines().skip_while(|line| !line.starts_with("error:"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(error(&ours), error(&theirs), "{}\n{}", ours.stderr, theirs.stderr);
}

#[test]
fn questions_keep_nothing_alive() {
    let Some(mut world) = World::with_reference() else { return };
    world.write("src/tree/x", "x");
    let daemon = Daemon::start(&world, Side::Nival, "asked", &[]);
    world.variables.push(("NIX_REMOTE".to_owned(), daemon.uri.clone()));
    for side in [Side::Nival, Side::Reference] {
        let path = world.run(side, "nix", &["store", "add-path", &world.text("src/tree")]).line();
        world.run(side, "nix", &["store", "delete", &path]).ok();
    }
}
