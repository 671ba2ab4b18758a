//! `nix-channel` beside the reference, from a real web server.

use std::process::Command;

use crate::common::{Outcome, Side, World};
use crate::servers::Nginx;

const BOTH: [Side; 2] = [Side::Nival, Side::Reference];
/// Nothing that was fetched before counts.
const AGAIN: [&str; 3] = ["--option", "tarball-ttl", "0"];

fn sh(world: &World, script: &str) {
    let status = Command::new("sh").arg("-ec").arg(script).current_dir(world.path("")).status().unwrap();
    assert!(status.success(), "{script}");
}

/// Ends of the names under which the page of a channel is in the store.
const PAGES: [&str; 3] = ["-chan", "-old", "-web"];

/// Puts a revision of a channel on the server: one package, of this version.
fn publish(world: &World, version: &str) {
    let package = format!(
        "{{ hello = derivation {{ name = \"hello-{version}\"; system = builtins.currentSystem; \
         builder = \"/bin/sh\"; args = [ \"-c\" \"echo {version} > $out\" ]; }}; }}"
    );
    world.write("tree/pkgs/default.nix", package);
    world.write("tree/pkgs/lib/x", version);
    // The same bytes each time, and another time for each version: the server goes by that.
    let tar = "tar --mtime=@0 --sort=name --owner=0 --group=0 -C tree";
    sh(world, &format!("mkdir -p web/chan web/old; {tar} -cJf web/chan/nixexprs.tar.xz pkgs"));
    sh(world, &format!("{tar} -cjf web/old/nixexprs.tar.bz2 pkgs"));
    sh(world, "echo page >web/chan/index.html; echo page >web/old/index.html");
    sh(world, "cp web/chan/nixexprs.tar.xz web/direct-unstable.tar.xz");
    sh(world, &format!("find web -type f -exec touch -d @{version}000000 {{}} +"));
}

/// Forgets everything but what the server has.
fn begin_anew(world: &World) {
    for dir in ["store", "var", "home", "log"] {
        nival::sys::remove::remove(&world.path(dir)).unwrap();
    }
    std::fs::create_dir(world.path("home")).unwrap();
}

fn channel(world: &World, side: Side, words: &[&str]) -> Outcome {
    world.run(side, "nix-channel", words)
}

/// All that channels are, on disk and in the database.
fn state(world: &World, side: Side) -> Vec<String> {
    let mut found = Vec::new();
    let names = |dir: &str| {
        let entries = std::fs::read_dir(world.path(dir)).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    // Pages that were looked at on the way are no part of it.
    let counts = |name: &String| name != ".links" && !PAGES.iter().any(|page| name.ends_with(page));
    for name in names("store").into_iter().filter(counts) {
        let path = format!("{}/{name}", world.text("store"));
        let ask = |what| world.run(side, "nix-store", &["--query", what, &path]).text().to_owned();
        found.push(format!("{name} {} {} {}", ask("--hash"), ask("--deriver"), ask("--references")));
    }
    for dir in ["var/profiles/per-user/root", "home/.nix-defexpr", "home/.local/state/nix/defexpr"] {
        for name in names(dir) {
            let target = std::fs::read_link(world.path(dir).join(&name)).unwrap();
            found.push(format!("{dir}/{name} -> {}", target.display()));
        }
    }
    for file in ["home/.nix-channels", "home/.local/state/nix/channels"] {
        found.extend(std::fs::read_to_string(world.path(file)));
    }
    found
}

/// What is printed, without the times of generations.
fn printed(outcome: &Outcome) -> (i32, String) {
    let is_time = |word: &&str| word.contains(':') && !word.contains('/') || word.starts_with("20");
    let words = outcome.text().split_inclusive(char::is_whitespace).filter(|word| !is_time(&word.trim()));
    (outcome.status, words.collect())
}

#[test]
fn channels_are_followed_as_the_reference_follows_them() {
    let Some(world) = World::with_reference() else { return };
    let Some(nginx) = Nginx::start(&world, "web") else { return };
    let url = |name: &str| format!("{}/{name}", nginx.url);
    let (chan, moved, old, direct) =
        (url("chan/"), url("moved/chan"), url("old"), url("direct-unstable.tar.xz"));
    let dir = format!("file://{}", world.text("web/chan"));
    let gone = url("gone");
    // Each is preceded by the revision on the server.
    let steps: &[(&str, &[&str])] = &[
        ("1", &["--update"]),
        ("1", &["--add", &chan, "foo"]),
        ("1", &["--add", &direct]),
        ("1", &["--list"]),
        ("1", &["--update"]),
        ("1", &["--update"]),
        ("2", &["--update"]),
        ("2", &["--update", "foo", AGAIN[0], AGAIN[1], AGAIN[2]]),
        ("2", &["--list-generations"]),
        ("2", &["--rollback"]),
        ("2", &["--rollback", "3"]),
        ("2", &["--rollback", "99"]),
        ("2", &["--add", &moved, "led-on"]),
        ("2", &["--add", &old, "bz2"]),
        ("2", &["--add", &dir, "here"]),
        ("2", &["--update", "foo"]),
        ("2", &["--update", "nobody"]),
        ("2", &["--update"]),
        ("2", &["--remove", "bz2"]),
        ("2", &["--remove", "nobody"]),
        ("3", &["--update", AGAIN[0], AGAIN[1], AGAIN[2]]),
        ("3", &["--add", &gone]),
        ("3", &["--update"]),
        ("3", &["--remove", "gone"]),
        ("3", &["--list"]),
        ("3", &["--list-generations"]),
    ];
    let run = |side: Side| {
        begin_anew(&world);
        let mut seen = Vec::new();
        let mut published = "";
        for (version, words) in steps {
            if *version != published {
                publish(&world, version);
                published = version;
            }
            seen.push((words.join(" "), printed(&channel(&world, side, words))));
        }
        (seen, state(&world, Side::Reference))
    };
    let [ours, reference] = BOTH.map(run);
    assert_eq!(ours.0, reference.0);
    assert_eq!(ours.1, reference.1);
}

/// Installs a package of a channel, once its output is there.
fn install(world: &World, side: Side, attribute: &str) -> String {
    let path = format!("{}/var/profiles/per-user/root/channels", world.text(""));
    let (channel, package) = attribute.split_once('.').unwrap();
    let built = world.run(
        Side::Reference,
        "nix-build",
        &["--no-out-link", &format!("{path}/{channel}"), "-A", package],
    );
    let out = built.line();
    world.run(side, "nix-env", &["--install", "--attr", attribute]).ok();
    out
}

#[test]
fn either_goes_on_with_what_the_other_began() {
    let Some(world) = World::with_reference() else { return };
    let Some(nginx) = Nginx::start(&world, "web") else { return };
    let root = rustix::process::getuid().is_root();
    publish(&world, "1");
    let url = format!("{}/chan", nginx.url);
    let installed = |side| world.run(side, "nix-env", &["--query"]).text().to_owned();
    let update = |side, version| {
        publish(&world, version);
        channel(&world, side, &[&["--update"][..], &AGAIN].concat()).ok();
    };
    for (first, second) in [(Side::Nival, Side::Reference), (Side::Reference, Side::Nival)] {
        begin_anew(&world);
        publish(&world, "1");
        channel(&world, first, &["--add", &url, "foo"]).ok();
        assert_eq!(channel(&world, second, &["--list"]).text(), format!("foo {url}\n"));
        channel(&world, first, &["--update"]).ok();
        if root {
            let out = install(&world, second, "foo.hello");
            assert_eq!(std::fs::read_to_string(out).unwrap(), "1\n");
        }
        update(second, "2");
        if root {
            install(&world, first, "foo.hello");
            assert_eq!(installed(second), "hello-2\n");
        }
        channel(&world, first, &["--rollback"]).ok();
        let offered = world.run(second, "nix-env", &["--query", "--available"]);
        assert_eq!(offered.text(), "hello-1\n");
        update(first, "3");
        assert_eq!(world.run(second, "nix-env", &["--query", "--available"]).text(), "hello-3\n");
        // It is found where expressions look for it.
        let words = ["--eval", "--expr", "(import <foo>).hello.name"];
        assert_eq!(world.run(second, "nix-instantiate", &words).text(), "\"hello-3\"\n");
        channel(&world, second, &["--remove", "foo"]).ok();
        assert_eq!(channel(&world, first, &["--list"]).text(), "");
        let generations = channel(&world, first, &["--list-generations"]);
        assert_eq!(generations.lines().len(), 4, "{generations:?}");
        world.nix_store(&["--verify", "--check-contents"]).ok();
    }
}

/// Archives that are none, that lead elsewhere, or that hold what a store cannot: NAME, and the entries
/// as Python has them.
const BAD: &[(&str, &str)] = &[
    ("several", "[('a', R, b'x'), ('b', R, b'x')]"),
    ("nothing", "[]"),
    ("out", "[('p', D, 0), ('p/../../../x', R, b'x')]"),
    ("absolute", "[('VICTIM/new', R, b'x')]"),
    ("through-link", "[('p', D, 0), ('p/l', S, 'VICTIM'), ('p/l/new', R, b'x')]"),
    ("over-link", "[('p', D, 0), ('p/l', S, 'VICTIM/there'), ('p/l/x', D, 0)]"),
    ("hard-link", "[('p', D, 0), ('p/h', L, 'VICTIM/there')]"),
    ("hard-link-up", "[('p', D, 0), ('p/h', L, '../../there')]"),
    ("pipe", "[('p', D, 0), ('p/f', F, 0)]"),
    ("device", "[('p', D, 0), ('p/f', C, 0)]"),
    ("both", "[('p', R, b'x'), ('p/f', R, b'x')]"),
];

const TAR: &str = "
import sys, io, tarfile
R, S, L, D, F, C = (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
with tarfile.open(sys.argv[1], 'w:gz') as t:
    for name, kind, extra in eval(sys.argv[2]):
        i = tarfile.TarInfo(name); i.type = kind; i.mode = 0o755
        if kind in (S, L): i.linkname = extra
        if kind == R: i.size = len(extra)
        t.addfile(i, io.BytesIO(extra) if kind == R else None)
";

#[test]
fn a_bad_archive_changes_nothing() {
    let mut world = World::new();
    world.write("victim/there", "x");
    std::fs::create_dir(world.path("tmp")).unwrap();
    world.variables.push(("TMPDIR".to_owned(), world.text("tmp")));
    world.write("tree/p/default.nix", "1");
    sh(&world, "mkdir -p web; tar -C tree -czf web/good.tar.gz p");
    let url = |name: &str| format!("file://{}/web/{name}.tar.gz", world.text(""));
    channel(&world, Side::Nival, &["--add", &url("good"), "c"]).ok();
    channel(&world, Side::Nival, &["--update"]).ok();
    let before = profile(&world);
    let truncated = std::fs::read(world.path("web/good.tar.gz")).unwrap();
    world.write("web/truncated.tar.gz", &truncated[..truncated.len() / 2]);
    world.write("web/text.tar.gz", "no archive");
    world.write("web/empty.tar.gz", "");
    let mut names = vec!["truncated", "text", "empty", "not-there"];
    for (name, entries) in BAD {
        let entries = entries.replace("VICTIM", &world.text("victim"));
        let file = world.text(format!("web/{name}.tar.gz"));
        let made = Command::new("python3").args(["-c", TAR, &file, &entries]).status().unwrap();
        assert!(made.success());
        names.push(name);
    }
    for name in names {
        channel(&world, Side::Nival, &["--add", &url(name), "c"]).ok();
        let failed = channel(&world, Side::Nival, &["--update"]);
        assert_eq!((failed.status, failed.text()), (1, ""), "{name}: {}", failed.stderr);
        assert!(failed.stderr.contains("error: "), "{name}");
        assert_eq!(profile(&world), before, "{name}");
        assert_eq!(std::fs::read_dir(world.path("tmp")).unwrap().count(), 0, "{name}");
    }
    assert_eq!(std::fs::read_dir(world.path("victim")).unwrap().count(), 1);
    assert_eq!(std::fs::read(world.path("victim/there")).unwrap(), b"x");
    let registered = world.nival("nix", &["path-info", "--all"]);
    let channels = registered.lines().into_iter().filter(|path| path.ends_with("-c")).count();
    assert_eq!(channels, 1, "{registered:?}");
    world.nix_store(&["--verify", "--check-contents"]).ok();
}

/// Where the profile of channels leads, and all its generations.
fn profile(world: &World) -> Vec<String> {
    let listed = channel(world, Side::Nival, &["--list-generations"]);
    listed.ok().lines().into_iter().map(str::to_owned).collect()
}

#[test]
fn lists_and_links_lie_where_settings_want_them() {
    let Some(world) = World::with_reference() else { return };
    world.write("tree/p/default.nix", "1");
    sh(&world, "mkdir -p web; tar --mtime=@0 -C tree -cJf web/nixexprs.tar.xz p");
    let url = format!("file://{}", world.text("web"));
    let conf = std::fs::read_to_string(world.path("etc/nix.conf")).unwrap();
    world.write("etc/nix.conf", format!("{conf}use-xdg-base-directories = true\n"));
    let [ours, reference] = BOTH.map(|side| {
        begin_anew(&world);
        channel(&world, side, &["--add", &url, "c"]).ok();
        channel(&world, side, &["--update"]).ok();
        state(&world, Side::Reference)
    });
    assert_eq!(ours, reference);
    assert!(ours.iter().any(|line| line.contains("state/nix/defexpr/channels -> ")), "{ours:?}");
}
