//! How stores are named: every spelling of a URI, beside the reference.

use std::collections::BTreeSet;
use std::path::Path;

use crate::common::{Outcome, Side, World};
use crate::data;

/// URIs, with HERE for the world's directory, and what a copy to them makes
/// below it.
const URIS: &[(&str, Option<&str>)] = &[
    ("file:HERE/new/c", Some("new/c/nix-cache-info")),
    ("file://HERE/new/c", Some("new/c/nix-cache-info")),
    ("file:HERE/new/c%20d", Some("new/c d/nix-cache-info")),
    ("file:HERE/new/x/../c/", Some("new/c/nix-cache-info")),
    ("file:HERE/new/c#x", Some("new/c/nix-cache-info")),
    ("file:rel", None),
    ("file://rel", None),
    ("file://localhost/HERE/new/c", None),
    ("local:HERE/new/r", Some("new/r/nix/store")),
    ("local://HERE/new/r", Some("new/r/nix/store")),
    ("local:HERE/new/r%20s", Some("new/r s/nix/store")),
    ("local:?root=HERE/new/r", Some("new/r/nix/store")),
    ("local://?root=HERE/new/r", Some("new/r/nix/store")),
    ("auto?root=HERE/new/r", Some("new/r/nix/store")),
    ("?root=HERE/new/r", Some("new/r/nix/store")),
    ("local:rel", None),
    ("local://rel", None),
    ("local:?root=rel", None),
    ("HERE/new/r", Some("new/r/nix/store")),
    ("HERE/new/r%20s", Some("new/r%20s/nix/store")),
    ("HERE/new/r:s", Some("new/r:s/nix/store")),
    ("./new/a:b", Some("new/a:b/nix/store")),
    ("./new/a://b", None),
    ("new/a:b", Some("new/a:b/nix/store")),
    ("1new:/b", Some("1new:/b/nix/store")),
    ("unix:HERE/new/s", None),
    ("unix:", None),
    ("unix:rel", None),
    ("daemon:", None),
    ("auto:", None),
    ("nosuch:/abs", None),
    ("nosuch://abs", None),
    ("nosuch:x", None),
    ("new:b", None),
    ("htp://x", None),
    ("nosuchword", None),
    ("ssh:", None),
    ("ssh:/localhost", None),
    ("ssh://localhost/path", None),
    ("ssh-ng:", None),
    ("http:/localhost:1/x", None),
    ("s3:/bucket", None),
    ("dummy:", None),
    ("dummy://", None),
];

/// The line that says what went wrong, without what our own ones add.
fn error(outcome: &Outcome) -> String {
    let line = outcome.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    // Which word of an authority cannot be.
    let line = line.split(": host name").next().unwrap_or(line);
    line.split(": '' is no").next().unwrap_or(line).to_owned()
}

/// Everything at the top of the world that is not always there.
fn made(world: &World) -> BTreeSet<String> {
    let mut names = data::names(&world.path(""));
    names.retain(|name| !["etc", "home", "bin", "src", "store", "var", "log"].contains(&name.as_str()));
    names
}

#[test]
fn every_spelling_names_what_it_names_to_the_reference() {
    let Some(world) = World::with_reference() else { return };
    world.write("src/file", "hello\n");
    let path = world.nix_store(&["--add", "src/file"]).line();
    for (uri, expected) in URIS {
        let uri = uri.replace("HERE", world.text("").trim_end_matches('/'));
        let mut errors = Vec::new();
        for side in [Side::Reference, Side::Nival] {
            let copied = world.run(side, "nix", &["copy", "--no-check-sigs", "--to", &uri, &path]);
            match expected {
                Some(place) => {
                    copied.ok();
                    assert!(world.path(place).exists(), "{side:?} {uri}");
                }
                None => {
                    assert_eq!(copied.status, 1, "{side:?} {uri}: {}", copied.stderr);
                    assert_eq!(made(&world), BTreeSet::new(), "{side:?} {uri}");
                }
            }
            for name in made(&world) {
                nival::sys::remove::remove(&world.path(name)).unwrap();
            }
            errors.push(error(&copied));
        }
        assert_eq!(errors[1], errors[0], "{uri}");
        // By a flag and a variable it is the same as by an argument.
        let flag = world.nival("nix-store", &["--store", &uri, "-q", "--hash", &path]);
        let mut command = world.command(Side::Nival, "nix-store");
        let output = command.args(["-q", "--hash", &path]).env("NIX_REMOTE", &uri).output().unwrap();
        let variable = crate::common::outcome(output);
        assert_eq!((flag.status, error(&flag)), (variable.status, error(&variable)), "{uri}");
        for name in made(&world) {
            nival::sys::remove::remove(&world.path(name)).unwrap();
        }
    }
    assert!(!Path::new("/rel").exists());
}

#[test]
fn a_new_chroot_store_is_told_of() {
    let world = World::new();
    world.write("src/file", "hello\n");
    let warning = |root: &str| {
        format!(
            "warning: making a new chroot store in '{root}' (a binary cache there would be 'file://{root}')\n"
        )
    };
    let root = world.text("s3/bucket");
    let first = world.nix_store(&["--store", "s3//bucket", "--add", "src/file"]);
    assert_eq!(first.ok().stderr, warning(&root));
    let again = world.nix_store(&["--store", "s3//bucket", "--add", "src/file"]);
    assert_eq!(again.ok().stderr, "");
    // Who says that it is one knows what he does.
    let meant = world.nix_store(&["--store", &format!("local?root={root}2"), "--add", "src/file"]);
    assert_eq!(meant.ok().stderr, "");
}

#[test]
fn a_cache_that_is_not_there_is_not_made_to_be_read() {
    let world = World::new();
    world.write("src/file", "hello\n");
    let path = world.nix_store(&["--add", "src/file"]).line();
    let cache = format!("file://{}", world.text("nope"));
    let message = format!("error: '{cache}' is not a binary cache: there is no such directory");
    for args in [
        &["copy", "--from", &cache, "--all"][..],
        &["copy", "--from", &cache, &path],
        &["path-info", "--store", &cache, "--all"],
        &["store", "info", "--store", &cache],
        &["store", "verify", "--store", &cache, &path],
        &["store", "ls", "--store", &cache, &path],
        &["store", "path-from-hash-part", "--store", &cache, &data::hash_part(1)],
    ] {
        world.nival("nix", args).fails(&message);
    }
    world.nix_store(&["--store", &cache, "-q", "--hash", &path]).fails(&message);
    let missing = format!("{}/{}-x", world.text("store"), data::hash_part(1));
    let fetched = world.nix_store(&["-r", &missing, "--substituters", &cache]);
    assert_eq!(fetched.status, 1);
    assert!(fetched.stderr.contains("is not asked"), "{}", fetched.stderr);
    assert!(!world.path("nope").exists());
}

#[test]
fn uris_are_shown_as_the_reference_shows_them() {
    let Some(world) = World::with_reference() else { return };
    let uris = "http://h/a+b?x=a?b&y=c+d s3://b?profile=a?b file:///c/d+e?store=/a?b https://u@h:1/a%20b/ \
                file:///c local:///a+b?x=1 ssh://h?remote-store=a?b";
    let show = ["config", "show", "substituters", "--option", "substituters", uris];
    let [ours, theirs] = [Side::Nival, Side::Reference].map(|side| world.run(side, "nix", &show));
    assert_eq!(ours.ok().text(), theirs.ok().text());
}
