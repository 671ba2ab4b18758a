//! What somebody whom the daemon does not trust can do to it: nothing that costs
//! others their memory, their terminals or their files.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::common::{Side, World, outcome};
use crate::data;
use crate::peer::{Peer, Words, op};
use crate::remotes::Daemon;

const STRANGER: u32 = 65_534;
/// KiB of memory that one client may cost at most.
const MOST: u64 = 64 * 1024;

/// A stranger at a daemon of a new world, and the world, where others see it.
fn open_world() -> World {
    let world = World::new();
    std::fs::set_permissions(world.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    world.nix_store(&["--init"]).ok();
    world
}

/// KiB of memory that a process has had at most.
fn peak(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Sends a beginning, then `item` again and again, as long as anybody takes it;
/// gives the KiB of memory that this cost.
fn flood(peer: &mut Peer, begin: Words, item: &Words, times: usize) -> u64 {
    let process = peer.child.id();
    let (over, most) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(peak(process).unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let together = item.0.repeat((1 << 16) / item.0.len() + 1);
        let mut sent = peer.input.write_all(&begin.0).is_ok();
        for _ in 0..times * item.0.len() / together.len() {
            sent = sent && peer.input.write_all(&together).is_ok();
        }
        // What was sent is to be read.
        std::thread::sleep(Duration::from_millis(20));
        over.store(true, Ordering::Relaxed);
    });
    most.load(Ordering::Relaxed)
}

#[test]
fn no_list_costs_memory() {
    let world = open_world();
    let mut peer = Peer::over_stdio(&world, Side::Nival);
    let known = peer.add_text("known", "text", &[]).unwrap();
    let path = |name: &str| format!("{}/{}-{name}", world.text("store"), "0".repeat(32));
    let (long, empty) = (Words::default().text("x".repeat(8192)), Words::default().text(""));
    let named = Words::default().text(path(&"n".repeat(200)));
    let many = 1 << 24;
    let list = |words: Words| words.number(many);
    // What is said of a path, up to a list.
    let info = |words: Words| words.text(path("x")).text("").text("0".repeat(64));
    let to_signatures = |words: Words| info(words).number(0).number(0).number(1).number(0);
    let framed = |begin: Words| {
        let begin = begin.0;
        let mut words = Words::of(op::ADD_MULTIPLE_TO_STORE).number(0).number(0).number(u64::MAX >> 1);
        words.0.extend(begin);
        words
    };
    let one = Words::default().number(1);
    let floods = [
        ("signatures", list(Words::of(op::ADD_SIGNATURES).text(&known))),
        ("valid paths", list(Words::of(op::QUERY_VALID_PATHS))),
        ("options", list((0..12).fold(Words::of(op::SET_OPTIONS), |words, _| words.number(0)))),
        ("build", list(Words::of(op::BUILD_PATHS))),
        ("build with results", list(Words::of(op::BUILD_PATHS_WITH_RESULTS))),
        ("missing", list(Words::of(op::QUERY_MISSING))),
        ("collect", list(Words::of(op::COLLECT_GARBAGE).number(3))),
        ("substitutable", list(Words::of(op::QUERY_SUBSTITUTABLE_PATHS))),
        ("substitutable infos", list(Words::of(op::QUERY_SUBSTITUTABLE_PATH_INFOS))),
        ("references", list(Words::of(op::ADD_TO_STORE).text("x").text("text:sha256"))),
        ("references of an archive", list(info(Words::of(op::ADD_TO_STORE_NAR)))),
        ("signatures of an archive", list(to_signatures(Words::of(op::ADD_TO_STORE_NAR)))),
        ("references of many", framed(list(info(one.clone())))),
        ("signatures of many", framed(list(to_signatures(one)))),
        ("arguments", list(list(Words::of(op::BUILD_DERIVATION).text(path("x.drv"))).text("").text(""))),
        ("sources", list(Words::of(op::BUILD_DERIVATION).text(path("x.drv")).number(0))),
    ];
    for (what, begin) in floods {
        for (word, item, times) in
            [("long", &long, 20_000), ("empty", &empty, 5 << 20), ("named", &named, 400_000)]
        {
            let mut peer = Peer::over_stdio(&world, Side::Nival);
            let cost = flood(&mut peer, begin.clone(), item, times);
            assert!(cost < MOST, "{what}, {word} words: {cost} KiB");
        }
    }
    // Before it is known who it is.
    let mut peer = Peer::stranger(&world);
    let hello = Words::of(0x6e69_7863).number(0x126).number(many);
    let cost = flood(&mut peer, hello, &long, 20_000);
    assert!(cost < MOST, "features: {cost} KiB");
    // The belt: it could not have more than that anyway.
    let peer = Peer::over_stdio(&world, Side::Nival);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", peer.child.id())).unwrap();
    let data = limits.lines().find(|line| line.starts_with("Max data size")).unwrap();
    assert!(!data.contains("unlimited"), "{data}");
    // Questions protect nothing, so that they leave nothing behind.
    let roots = world.path("var/temproots");
    let sizes = std::fs::read_dir(roots).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    assert!(sizes.sum::<u64>() < 1 << 16);
}

#[test]
fn a_server_cannot_fill_its_client() {
    let world = World::new();
    let socket = world.path("socket");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let hello = Words::of(0x6478_696f).number(0x126).number(1 << 24);
        let long = Words::default().text("x".repeat(8192));
        let _ = stream.write_all(&hello.0);
        while stream.write_all(&long.0).is_ok() {}
    });
    let mut command = world.command(Side::Nival, "nix");
    command.args(["store", "info", "--store", &format!("unix://{}", socket.display())]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let ended = data::finish(child, Duration::from_secs(10));
    assert_eq!(ended.status, 1, "{}", ended.stderr);
}

#[test]
fn signatures_of_strangers_are_short_and_few() {
    let world = open_world();
    let mut peer = Peer::over_stdio(&world, Side::Nival);
    let path = peer.add_text("known", "text", &[]).unwrap();
    let mut sign = |signatures: &[String]| {
        peer.send(Words::of(op::ADD_SIGNATURES).text(&path).texts(signatures));
        peer.outcome().map(|()| assert_eq!(peer.number(), 1))
    };
    let base = "A".repeat(86) + "==";
    sign(&[format!("key-1:{base}")]).unwrap();
    for bad in [
        format!("{}:{base}", "k".repeat(600)),
        format!("k:{}", "A".repeat(8000)),
        format!("\u{1b}[2Jk:{base}"),
    ] {
        let error = sign(&[bad]).unwrap_err();
        assert!(error.contains("is corrupt") && !error.contains('\u{1b}'), "{error:?}");
    }
    let many: Vec<String> = (0..64).map(|number| format!("many-{number}:{base}")).collect();
    assert!(sign(&many).unwrap_err().contains("would have more than 64 signatures"));
    sign(&many[1..]).unwrap();
    assert!(sign(&[format!("another:{base}")]).unwrap_err().contains("more than 64"));
}

#[test]
fn who_says_nothing_costs_no_process() {
    let world = open_world();
    let daemon = Daemon::start(&world, Side::Nival, "silent", &[]);
    let children = || {
        let list = format!("/proc/{0}/task/{0}/children", daemon.pid());
        std::fs::read_to_string(list).unwrap().split_whitespace().count()
    };
    data::wait_until("who only looked is gone", || children() == 0);
    let connect = || std::os::unix::net::UnixStream::connect(world.path("silent/socket")).unwrap();
    let mut silent: Vec<_> = (0..20).map(|_| connect()).collect();
    // Others are served meanwhile.
    world.nival("nix", &["store", "info", "--store", &daemon.uri]).ok();
    data::wait_until("who was served is gone", || children() == 0);
    // Late is not too late.
    let mut late = silent.pop().unwrap();
    drop(silent);
    late.write_all(&Words::of(0x6e69_7863).0).unwrap();
    let mut answer = [0; 16];
    late.read_exact(&mut answer).unwrap();
    assert_eq!(children(), 1);
}

#[test]
fn contents_are_addressed_in_ways_that_are_enabled() {
    let world = open_world();
    let mut peer = Peer::over_stdio(&world, Side::Nival);
    let tree = node(Words::default().text("nix-archive-1"), &Node::Directory(vec![])).0;
    for (kind, feature) in [("fixed:git:sha1", "git-hashing"), ("fixed:r:blake3", "blake3-hashes")] {
        let error = peer.add("x", kind, &tree, &[]).unwrap_err();
        assert!(error.contains(&format!("feature '{feature}' is disabled")), "{error}");
    }
    peer.add("x", "fixed:r:sha1", &tree, &[]).unwrap();
}

#[test]
fn roots_of_strangers_are_no_escape_sequences() {
    let world = open_world();
    let mut peer = Peer::over_stdio(&world, Side::Nival);
    let mut root = |name: &str| {
        peer.send(Words::of(op::ADD_INDIRECT_ROOT).text(world.text(name)));
        peer.outcome().map(|()| assert_eq!(peer.number(), 1))
    };
    root("plain").unwrap();
    assert!(root("\u{1b}[2J").unwrap_err().contains("control characters"));
    assert_eq!(data::names(&world.path("var/gcroots/auto")).len(), 1);
}

#[test]
fn only_one_stranger_reads_the_whole_disk() {
    let world = open_world();
    let mut peer = Peer::over_stdio(&world, Side::Nival);
    let mut verify = |contents: u64| {
        peer.send(Words::of(op::VERIFY_STORE).number(contents).number(0));
        peer.outcome().map(|()| assert_eq!(peer.number(), 0))
    };
    verify(1).unwrap();
    let file = std::fs::File::create(world.path("var/check.lock")).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(verify(1).unwrap_err().contains("being checked for another user"));
    verify(0).unwrap();
}

#[test]
fn reading_everything_keeps_no_collection_waiting() {
    let world = open_world();
    let big = std::fs::File::create(world.path("src/big")).unwrap();
    big.set_len(128 << 20).unwrap();
    world.nix_store(&["--add", &world.text("src/big")]).ok();
    let mut command = world.command(Side::Nival, "nix-store");
    command.args(["--verify", "--check-contents"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut said, mut byte) = (Vec::new(), [0]);
    while !String::from_utf8_lossy(&said).contains("checking store hashes") {
        child.stderr.as_mut().unwrap().read_exact(&mut byte).unwrap();
        said.push(byte[0]);
    }
    // As a collection begins.
    let lock = std::fs::File::open(world.path("var/gc.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    data::finish(child, Duration::from_secs(60)).ok();
}

#[test]
fn clients_of_other_containers_are_served() {
    if !rustix::process::getuid().is_root() {
        return crate::common::skip("only root can make a namespace of processes");
    }
    let world = open_world();
    let socket = world.path("socket");
    let mut command = std::process::Command::new("/usr/bin/unshare");
    let daemon = world.command(Side::Nival, "nix-daemon");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(daemon.get_program());
    command.env_clear().env("NIX_DAEMON_SOCKET_PATH", &socket);
    command.envs(daemon.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(world.path("log")).unwrap());
    let mut child = command.spawn().unwrap();
    data::wait_until("the daemon's socket", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let uri = format!("unix://{}", socket.display());
    let info = world.nival("nix", &["store", "info", "--store", &uri]);
    let log = std::fs::read_to_string(world.path("log")).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(info.status, 0, "{}{log}", info.stderr);
    assert!(log.contains("accepted connection from pid unknown, user root"), "{log}");
    assert!(log.contains(&format!("listening at '{}'", socket.display())), "{log}");
}

#[test]
fn who_runs_builds_may_not_connect() {
    if !rustix::process::getuid().is_root() {
        return crate::common::skip("only root can be somebody else");
    }
    let world = open_world();
    // The stranger's own group.
    let conf = std::fs::read_to_string(world.path("etc/nix.conf")).unwrap();
    world.write("etc/nix.conf", conf.replace("build-users-group =", "build-users-group = nogroup"));
    let daemon = Daemon::start(&world, Side::Nival, "builders", &[]);
    let connect = |user: Option<u32>| {
        let mut command = world.command(Side::Nival, "nix");
        command.args(["store", "info", "--store", &daemon.uri]);
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        outcome(command.output().unwrap())
    };
    assert_eq!(connect(Some(STRANGER)).status, 1);
    let log = std::fs::read_to_string(world.path("builders/daemon.log")).unwrap();
    assert!(log.contains("belongs to 'nogroup', whose members run builds and may not connect"), "{log}");
    connect(None).ok();
    connect(Some(4242)).ok();
}

#[test]
fn what_is_passed_is_not_what_was_opened_here() {
    let world = open_world();
    let daemon = world.programs(Side::Nival).join("nix-daemon");
    let mut command = world.command(Side::Nival, "nix-daemon");
    let environment: Vec<_> =
        command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    command = std::process::Command::new("/bin/sh");
    command.env_clear().envs(environment).arg("-c");
    command.arg(format!("LISTEN_FDS=2 LISTEN_PID=$$ exec {}", daemon.display())).stdin(Stdio::null());
    let ended = outcome(command.output().unwrap());
    assert_eq!(ended.status, 1);
    assert!(
        ended.stderr.contains("cannot use a socket of systemd's: Bad file descriptor"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_linked_file_of_somebody_elses_is_not_taken_over() {
    if !rustix::process::getuid().is_root() {
        return crate::common::skip("only root can own what is somebody else's");
    }
    let world = open_world();
    let secret = world.write("secret", "s");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(&secret, Some(STRANGER), Some(STRANGER)).unwrap();
    let path = format!("{}/{}-x", world.text("store"), data::hash_part(1));
    std::fs::create_dir(&path).unwrap();
    std::fs::hard_link(&secret, format!("{path}/file")).unwrap();
    let register = |path: &str| {
        let input = format!("{path}\n\n0\n");
        world.run_with_input(Side::Nival, "nix-store", &["--register-validity"], input.as_bytes())
    };
    let refused = register(&path);
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("has other names (hard links)"), "{}", refused.stderr);
    let meta = std::fs::metadata(&secret).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o7777), (STRANGER, 0o600));
    // Alone it is.
    std::fs::remove_file(&secret).unwrap();
    register(&path).ok();
}

/// A node of an archive: a link, or a directory of nodes.
enum Node {
    Link(String),
    Directory(Vec<(&'static str, Node)>),
}

fn node(words: Words, node: &Node) -> Words {
    let words = words.text("(").text("type");
    let words = match node {
        Node::Link(target) => words.text("symlink").text("target").text(target),
        Node::Directory(entries) => entries.iter().fold(words.text("directory"), |words, (name, inner)| {
            self::node(words.text("entry").text("(").text("name").text(name).text("node"), inner).text(")")
        }),
    };
    words.text(")")
}

/// Has an environment of packages made by a stranger; its path, or why not.
fn environment(peer: &mut Peer, world: &World, packages: &[String]) -> Result<String, String> {
    let names: Vec<&str> = packages.iter().map(String::as_str).collect();
    let manifest = peer.add_text("env-manifest.nix", "[ ]", &names)?;
    let listed: Vec<String> = packages.iter().map(|path| format!("true 5 1 {path}")).collect();
    let listed = listed.join(" ");
    let wrong = format!("{}/{}-e", world.text("store"), "0".repeat(32));
    let text = |out: &str| {
        format!(
            r#"Derive([("out","{out}","","")],[],["{manifest}"],"builtin","builtin:buildenv",[],[("derivations","{listed}"),("manifest","{manifest}"),("out","{out}")])"#
        )
    };
    let error = peer.add_text("e.drv", &text(&wrong), &[&manifest]).unwrap_err();
    let right = error.rsplit_once("should be '").unwrap().1.trim_end_matches('\'').to_owned();
    let drv = peer.add_text("e.drv", &text(&right), &[&manifest])?;
    peer.build(&format!("{drv}!out")).map(|()| right)
}

#[test]
fn environments_of_strangers_stay_in_the_store() {
    use Node::{Directory, Link};
    let world = open_world();
    world.write("public/hidden-name", "");
    let mut peer = Peer::over_stdio(&world, Side::Nival);
    let mut package = |name: &str, tree: Node| {
        let archive = node(Words::default().text("nix-archive-1"), &tree);
        peer.add(name, "fixed:r:sha256", &archive.0, &[]).unwrap()
    };
    let public = world.text("public");
    let leads =
        package("leads", Directory(vec![("bin", Link("/nowhere".into())), ("w", Link(public.clone()))]));
    let has = package("has", Directory(vec![("w", Directory(vec![("x", Link("/y".into()))]))]));
    let climbs = package("climbs", Directory(vec![("w", Link(format!("../../{}", "public")))]));
    let tree = vec![("v", Directory(vec![("z", Link("/".into()))])), ("w", Link("v".into()))];
    let fine = package("fine", Directory(tree));
    let loops = |name: &str| {
        const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let mut entries: Vec<_> = NAMES.into_iter().map(|link| (link, Link(".".into()))).collect();
        entries.push(if name == "one" { ("k", Link("1".into())) } else { ("k", Link("2".into())) });
        Directory(entries)
    };
    let (one, two) = (package("one", loops("one")), package("two", loops("two")));
    for packages in [vec![leads.clone(), has.clone()], vec![has.clone(), climbs]] {
        let made = environment(&mut peer, &world, &packages);
        assert!(!format!("{made:?}").contains("hidden-name"), "{made:?}");
    }
    // Alone it is a link, of which nobody asks where it leads.
    let made = environment(&mut peer, &world, &[leads]).unwrap();
    assert_eq!(std::fs::read_link(format!("{made}/w")).unwrap().file_name().unwrap(), "w");
    let made = environment(&mut peer, &world, &[has, fine]).unwrap();
    assert_eq!(data::names(format!("{made}/w").as_ref()), ["x".to_owned(), "z".to_owned()].into());
    let refused = environment(&mut peer, &world, &[one, two]).unwrap_err();
    assert!(refused.contains("more than 200000 files") || refused.contains("nested too deep"), "{refused}");
    for name in data::names(&world.path("store")) {
        let found = std::process::Command::new("find").arg(world.path("store").join(name)).output().unwrap();
        assert!(!String::from_utf8_lossy(&found.stdout).contains("hidden-name"));
    }
}
