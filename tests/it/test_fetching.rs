//! `builtins.fetchurl`, `builtins.fetchTarball` and addresses in the place of files, beside the
//! reference, from a real web server and from one that lies.

use std::process::Command;

use crate::common::{Outcome, Side, World};
use crate::servers::{Act, Faulty, Nginx};

fn sh(world: &World, script: &str) {
    let status = Command::new("sh").arg("-ec").arg(script).current_dir(world.path("")).status().unwrap();
    assert!(status.success(), "{script}");
}

/// A file, and the same tree in every kind of archive.
fn fill(world: &World) {
    world.write("tree/p/default.nix", "{ a = \"of p\"; }");
    world.write("tree/p/bin/x", "#!/bin/sh\n");
    world.write("web/text", "hello\n");
    sh(
        world,
        "chmod +x tree/p/bin/x; ln -s bin/x tree/p/l; ln -s /etc/passwd tree/p/away; ln tree/p/bin/x tree/p/hard
         tar='tar --mtime=@0 -C tree'
         $tar -cf web/p.tar p; $tar -czf web/p.tar.gz p; $tar -cjf web/p.tar.bz2 p; $tar -cJf web/p.tar.xz p
         $tar -c p | zstd -q > web/p.tar.zst
         $tar -C p -czf web/many.tar.gz . ; $tar -C p -czf web/one.tar.gz default.nix
         tar -C tree/p -cf web/both.tar default.nix l; tar -C tree/p -rf web/both.tar default.nix
         (cd tree && python3 -m zipfile -c ../web/p.zip p/default.nix p/bin)
         mkdir tree/long; (cd tree/long; d=$(printf '%0120d' 0); mkdir -p $d/$d; echo x > $d/$d/f; ln -s $d/$d/$d l)
         tar --format=gnu --mtime=@0 -C tree -czf web/gnu.tar.gz long
         tar --format=pax --mtime=@0 -C tree -czf web/pax.tar.gz long
         truncate -s 100k tree/holes; echo x >> tree/holes; tar -C tree -Sczf web/holes.tar.gz --format=gnu holes p",
    );
}

fn evaluated(world: &World, side: Side, expression: &str, words: &[&str]) -> Outcome {
    world.run(side, "nix-instantiate", &[&["--eval", "--strict", "--expr", expression][..], words].concat())
}

/// Forgets what was fetched, and what there is in the store.
fn forget(world: &World) {
    for dir in ["store", "var", "home"] {
        nival::sys::remove::remove(&world.path(dir)).unwrap();
    }
    std::fs::create_dir(world.path("home")).unwrap();
}

#[test]
fn the_same_is_fetched() {
    let Some(world) = World::with_reference() else { return };
    let Some(nginx) = Nginx::start(&world, "web") else { return };
    fill(&world);
    let url = &nginx.url;
    let here = format!("file://{}", world.text("web"));
    let archives = [
        "p.tar",
        "p.tar.gz",
        "p.tar.bz2",
        "p.tar.xz",
        "p.tar.zst",
        "p.zip",
        "many.tar.gz",
        "one.tar.gz",
        "both.tar",
        "gnu.tar.gz",
        "pax.tar.gz",
        "holes.tar.gz",
        "down/p.tar.gz",
    ];
    let zeros = "0".repeat(52);
    let mut expressions: Vec<String> =
        archives.iter().map(|name| format!("fetchTarball \"{url}/{name}\"")).collect();
    expressions.extend([
        format!("fetchTarball {here}/p.tar.xz"),
        format!("fetchTarball {{ url = \"{url}/p.tar#x\"; name = \"n\"; }}"),
        format!("builtins.fetchurl {url}/text"),
        format!("builtins.fetchurl \"{url}/text?x=1\""),
        format!("builtins.fetchurl \"{here}/text?x=1\""),
        format!("builtins.fetchurl {{ url = {url}/moved/text; name = \"t\"; }}"),
        format!("builtins.readFile (builtins.fetchurl {url}/text)"),
        format!("builtins.readDir (fetchTarball {url}/p.tar)"),
        format!("(import (fetchTarball {url}/p.tar)).a"),
        format!("fetchTarball {{ url = {url}/p.tar; sha256 = \"{zeros}\"; }}"),
        format!("builtins.fetchurl {{ url = {url}/text; sha256 = \"{zeros}\"; }}"),
        format!("builtins.fetchurl {url}/nothing"),
        format!("fetchTarball {url}/nothing"),
        format!("fetchTarball {url}/text"),
        "builtins.fetchurl \"web/x\"".to_owned(),
        "builtins.fetchurl \"foo://x/y\"".to_owned(),
        format!("builtins.fetchurl {here}/nothing"),
    ]);
    let [ours, reference] = [Side::Nival, Side::Reference].map(|side| {
        forget(&world);
        expressions
            .iter()
            .map(|text| {
                let found = evaluated(&world, side, &format!("[ ({text}) ]"), &[]);
                (text.clone(), found.status, found.text().to_owned())
            })
            .collect::<Vec<_>>()
    });
    for (ours, reference) in ours.iter().zip(&reference) {
        assert_eq!(ours, reference);
    }
    let mismatch = |side, text: &String| {
        let told = evaluated(&world, side, text, &["--option", "show-trace", "false"]).stderr;
        told.split_once("hash mismatch").map(|(_, rest)| rest.to_owned())
    };
    for text in expressions.iter().filter(|text| text.contains(&zeros)) {
        let told = mismatch(Side::Nival, text);
        assert!(told.is_some(), "{text}");
        assert_eq!(told, mismatch(Side::Reference, text), "{text}");
    }
}

#[test]
fn what_may_be_fetched_is_what_the_reference_lets_through() {
    let Some(world) = World::with_reference() else { return };
    let Some(nginx) = Nginx::start(&world, "web") else { return };
    fill(&world);
    let here = &nginx.url;
    let uris = format!("{here}/p.tar {here}/a");
    let pure = ["--option", "pure-eval", "true"];
    let restricted = ["--option", "restrict-eval", "true"];
    let allowed = [&restricted[..], &["--option", "allowed-uris", &uris]].concat();
    let hash =
        world.nival("nix-prefetch-url", &["--unpack", "--name", "source", &format!("{here}/p.tar")]).line();
    let free = format!("fetchTarball {here}/p.tar");
    let fixed = format!("fetchTarball {{ url = {here}/p.tar; sha256 = \"{hash}\"; }}");
    let read = format!("(import ({fixed})).a");
    for words in [&pure[..], &restricted, &allowed] {
        for text in [&free, &fixed, &read] {
            let [ours, reference] =
                [Side::Nival, Side::Reference].map(|side| evaluated(&world, side, text, words));
            assert_eq!((ours.status, ours.text()), (reference.status, reference.text()), "{text} {words:?}");
            let last =
                |outcome: &Outcome| outcome.stderr.lines().last().unwrap_or_default().trim().to_owned();
            assert!(ours.status == 0 || last(&ours) == last(&reference), "{text} {words:?} {}", ours.stderr);
        }
    }
}

/// How often the server was asked, and what it answered.
fn requests(world: &World, name: &str) -> Vec<String> {
    let log = std::fs::read_to_string(world.path("access.log")).unwrap_or_default();
    let of_name = log.lines().filter(|line| line.contains(&format!("GET /{name} ")));
    of_name.filter_map(|line| Some(line.split('"').nth(2)?.split(' ').nth(1)?.to_owned())).collect()
}

#[test]
fn what_was_fetched_is_remembered() {
    let world = World::new();
    let Some(nginx) = Nginx::start(&world, "web") else { return };
    fill(&world);
    let fetch = |text: &str, words: &[&str]| evaluated(&world, Side::Nival, text, words).line();
    let tarball = format!("fetchTarball {}/p.tar", nginx.url);
    let file = format!("builtins.fetchurl {}/text", nginx.url);
    let stale = ["--option", "tarball-ttl", "0"];
    for (text, name) in [(&tarball, "p.tar"), (&file, "text")] {
        let first = fetch(text, &[]);
        assert_eq!(fetch(text, &[]), first);
        assert_eq!(requests(&world, name), ["200"]);
        // The server is asked whether it is still the same.
        assert_eq!(fetch(text, &stale), first);
        assert_eq!(requests(&world, name), ["200", "304"]);
        // That counts for a new answer.
        assert_eq!(fetch(text, &[]), first);
        // What the store does not have any more is fetched again.
        world.nix_store(&["--delete", first.trim_matches('"')]).ok();
        assert_eq!(fetch(text, &[]), first);
        assert_eq!(requests(&world, name), ["200", "304", "200"]);
        assert!(world.path("store").join(first.trim_matches('"')).exists());
    }
    world.write("web/text", "something else\n");
    let kept = fetch(&file, &[]);
    let newer = fetch(&file, &stale);
    assert_ne!(newer, kept);
    assert_eq!(fetch(&file, &[]), newer);
    // A file that is gone is what it was, with a warning; not so a tree.
    std::fs::remove_file(world.path("web/text")).unwrap();
    std::fs::remove_file(world.path("web/p.tar")).unwrap();
    let gone = evaluated(&world, Side::Nival, &file, &stale);
    assert_eq!(gone.line(), newer);
    assert!(gone.stderr.contains("using cached version"), "{}", gone.stderr);
    assert_eq!(evaluated(&world, Side::Nival, &tarball, &stale).status, 1);
    // A file of this machine is never older than it is.
    let here = format!("builtins.readFile (builtins.fetchurl file://{})", world.text("mine"));
    for text in ["a", "b"] {
        world.write("mine", text);
        assert_eq!(fetch(&here, &[]), format!("{text:?}"));
    }
    // Without a place to remember it, everything is fetched.
    nival::sys::remove::remove(&world.path("home/.cache/nix")).unwrap();
    world.write("home/.cache/nix", "");
    assert_eq!(fetch(&here, &[]), "\"b\"");
}

#[test]
fn several_processes_remember_at_once() {
    let world = World::new();
    fill(&world);
    let text = |number: usize| {
        format!(
            "[ (builtins.fetchurl file://{0}/text) (fetchTarball {{ url = file://{0}/p.tar; name = \"n{number}\"; }}) ]",
            world.text("web")
        )
    };
    std::thread::scope(|scope| {
        for number in 0..6 {
            let (world, text) = (&world, text(number % 3));
            scope.spawn(move || evaluated(world, Side::Nival, &text, &[]).ok().to_owned());
        }
    });
    world.nix_store(&["--verify", "--check-contents"]).ok();
}

#[test]
fn a_server_that_lies_gets_nothing_into_the_store() {
    let mut world = World::new();
    fill(&world);
    std::fs::create_dir(world.path("tmp")).unwrap();
    world.variables.push(("TMPDIR".to_owned(), world.text("tmp")));
    let server = Faulty::start(&world.path("web"));
    let once = ["--option", "download-attempts", "1"];
    let file = format!("builtins.fetchurl {}/text", server.url);
    let tarball = format!("fetchTarball {}/p.tar.gz", server.url);
    for act in [Act::Longer(7), Act::BreakOff(3), Act::Reset, Act::Status(500, ""), Act::Status(304, "")] {
        for text in [&file, &tarball] {
            server.script("", &[act]);
            let failed = evaluated(&world, Side::Nival, text, &once);
            assert_eq!((failed.status, failed.text()), (1, ""), "{act:?} {}", failed.stderr);
            assert_eq!(std::fs::read_dir(world.path("tmp")).unwrap().count(), 0, "{act:?}");
        }
    }
    let registered = world.nival("nix", &["path-info", "--all"]);
    assert_eq!(registered.ok().text(), "");
    // It goes on where it broke off.
    server.script("", &[Act::BreakOff(3)]);
    evaluated(&world, Side::Nival, &tarball, &[]).ok();
}

#[test]
fn addresses_stand_for_files() {
    let Some(world) = World::with_reference() else { return };
    let Some(nginx) = Nginx::start(&world, "web") else { return };
    fill(&world);
    let url = format!("{}/p.tar.gz", nginx.url);
    let here = format!("file://{}", world.text("web/p.tar.xz"));
    let named = format!("p={url}");
    let entry = format!("p={here}");
    let cases: &[(&str, &[&str])] = &[
        ("nix-instantiate", &["--eval", &url, "-A", "a"]),
        ("nix-instantiate", &["--eval", &here, "-A", "a"]),
        ("nix-instantiate", &["--eval", "-I", &named, "--expr", "(import <p>).a"]),
        ("nix-instantiate", &["--eval", "-I", &here, "--expr", "<bin/x>"]),
        ("nix-instantiate", &["--find-file", "-I", &entry, "p", "p/bin"]),
        ("nix-instantiate", &["--find-file", "-I", &entry, "q"]),
        ("nix", &["eval", "--file", &url, "a"]),
        ("nix-env", &["--file", &url, "--query", "--available"]),
    ];
    for (program, words) in cases {
        let [ours, reference] = [Side::Nival, Side::Reference].map(|side| {
            world.run(side, program, &[words, &["--option", "download-attempts", "1"][..]].concat())
        });
        assert_eq!(
            (ours.status, ours.text()),
            (reference.status, reference.text()),
            "{words:?} {}",
            ours.stderr
        );
    }
    let mut world = world;
    world.variables.push(("NIX_PATH".to_owned(), format!("q={here}:p={here}")));
    for side in [Side::Nival, Side::Reference] {
        let found = evaluated(&world, side, "[ (import <q>).a (import <p>).a builtins.nixPath ]", &[]);
        let place = format!("{{ path = \"{here}\"; prefix = \"p\"; }}");
        assert!(found.ok().text().contains(&place), "{found:?}");
    }
}
