//! `builtins.parseFlakeRef` and `flakeRefToString`, beside the reference.

use crate::common::{Side, World};
use crate::test_eval::words;
use crate::test_fetch_git::{as_the_reference, message, world};

const REV: &str = "fa866f85814ba2080d39e950fb3d8c966c5b522a";
const HASH: &str = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// References that there are, in every spelling; `REV` and `HASH` stand for a commit and a hash.
const REFERENCES: &[&str] = &[
    "nixpkgs",
    "nixpkgs#",
    "nixpkgs/branch",
    "nixpkgs/branch/",
    "nixpkgs/REV",
    "nixpkgs/a+b@c/REV",
    "a_b-1",
    "flake:nixpkgs?ref=x&dir=d",
    "flake:/nixpkgs//a%2Fb",
    "github:o/r",
    "github:o//r/",
    "github:o/r/a/b",
    "github:o/r/c%2Fd?dir=d",
    "github:o/r/REV",
    "github:o/r?rev=REV",
    "github:o/r?ref=v1.0-rc+x&ref=y&foo=1",
    "github:o%2Fsub/r?host=h.x&narHash=HASH&lastModified=5",
    "gitlab:o%2Fsub/r/b?host=x.org",
    "sourcehut:~o/r/x",
    "git+https://h/p?ref=x&rev=REV&submodules=1&shallow=0&dir=a/b%20c",
    "git+https://h/p?lastModified=5&narHash=HASH&name=x&dirtyRev=y",
    "git+https://h/p?foo=1&lfs=1&allRefs=1&exportIgnore=1&submodules=true",
    "git+ssh://git@h/p",
    "git+git://h/p",
    "git+file:./p",
    "hg+https://h/p?ref=x&dir=d&foo=1&narHash=HASH&rev=REV",
    "hg+file:p",
    "https://h/p",
    "https://h/p.zip?dir=d&narHash=HASH&rev=REV&revCount=3&lastModified=4&foo=1",
    "https://h/p?ref=x&lastModified=x&name=x&unpack=1&type=x&url=y",
    "https://u:p%40@h:80/a%2fb%7e~/;=,@:?x=a+b%2B[c]&x=2",
    "https://[::1]//a//b/../c/%ff",
    "https:x",
    "file+https://h/p?narHash=HASH&rev=REV&lastModified=4&dir=x",
    "tarball+file:///p%20x",
    "file:p",
    "path:/a%20b//c/?dir=d",
    "path:///a?lastModified=5&narHash=HASH&rev=REV&revCount=3",
    "path:",
    "path:./a/../b",
    "//a//b/",
    "/a b%20?dir=d&lastModified=5",
    "/é?#",
];

/// Texts that are none.
const NONE: &[&str] = &[
    "",
    "#",
    ".",
    "./rel",
    "nixpkgs?dir=d",
    "nixpkgs/",
    "nixpkgs//a",
    "nixpkgs/a,b",
    "nixpkgs/a..b",
    "nixpkgs/a/b",
    "nixpkgs/a/b/c",
    "nixpkgs#attr",
    "flake:1a",
    "flake://nixpkgs",
    "github:o",
    "github://o/r",
    "github:o/r/x?ref=y",
    "github:o/r/x?rev=REV",
    "github:o/r?rev=zz",
    "github:o/r/x.lock",
    "github:o/r?host=h:80",
    "github:o/é",
    "GitHub:o/r",
    "git+https://h/p?ref=",
    "git+https://h/p?verifyCommit=1",
    "git+file://h/p",
    "git@h:p",
    "ssh://h/p",
    "hg://h/p",
    "https://h/p#f",
    "https://h/%zz",
    "https://h/a[b]",
    "https://h:99999/a",
    "file+path:/x",
    "s3://b/x.tar.gz",
    "path://a/b",
    "path:/a?foo=1",
    "path:/a?lastModified=x",
    "path:/a#f",
    "/a?foo=1",
    "nosuch:x",
    "a b",
];

/// Sets, and whether there is a text for each.
const SETS: &[(&str, bool)] = &[
    (
        "type = \"github\"; owner = \"o/p\"; repo = \"r+x\"; ref = \"a/b\"; dir = \"d/e f\"; host = \"h.x\";",
        true,
    ),
    (
        "type = \"gitlab\"; owner = \"o\"; repo = \"r\"; rev = \"REV\"; narHash = \"\"; lastModified = 5;",
        true,
    ),
    ("type = \"github\"; owner = \"o\"; repo = \"r\"; treeHash = \"REV\";", true),
    ("type = \"github\"; owner = \"o\"; repo = \"r\"; rev = \"REV\"; ref = \"x\";", false),
    ("type = \"github\"; owner = \"o\"; repo = \"r\"; host = \"a/b\";", false),
    ("type = \"github\"; owner = \"o\"; repo = \"r\"; revCount = 5;", false),
    ("type = \"github\"; owner = \"o\";", false),
    ("type = \"github\"; owner = 1; repo = \"r\";", false),
    ("type = \"indirect\"; id = \"x\"; ref = \"b\"; rev = \"REV\"; dir = \"d\"; narHash = \"\";", true),
    ("type = \"indirect\"; id = \"1x\";", false),
    ("type = \"indirect\"; id = \"x\"; lastModified = 1;", false),
    ("type = \"tarball\"; url = \"https://h/x?a=b#f\"; narHash = \"\"; revCount = 3; dir = \"d\";", true),
    ("type = \"tarball\"; url = \"file+https://h/x\"; name = \"n\"; unpack = true;", true),
    ("type = \"tarball\"; url = \"/x\";", false),
    ("type = \"tarball\"; url = \"https://h/x\"; ref = \"x\";", false),
    ("type = \"file\"; url = \"https://h/x\"; rev = \"REV\";", true),
    (
        "type = \"hg\"; url = \"https://h/x?a=b\"; ref = \"a..b\"; rev = \"REV\"; revCount = 2; name = \"x\";",
        true,
    ),
    ("type = \"hg\"; url = \"https://h/x\"; ref = \"\";", false),
    ("type = \"hg\"; url = \"/x\";", false),
    ("type = \"git\"; url = \"/x\"; submodules = true; allRefs = true; shallow = false; lfs = true;", true),
    (
        "type = \"git\"; url = \"https://h/x?ref=y\"; ref = \"x\"; dir = \"d\"; narHash = \"\"; revCount = 4;",
        true,
    ),
    ("type = \"git\"; url = \"https://h/x\"; submodules = \"1\";", false),
    ("type = \"git\"; url = \"https://h/x\"; publicKeys = \"[]\";", false),
    ("type = \"path\"; path = \"/a?b#c//\"; dir = \"d\"; lastModified = 3;", true),
    ("type = \"path\"; path = \"\";", true),
    ("type = \"path\"; path = \"/a\"; foo = 1;", false),
    ("type = \"path\"; path = \"/a\"; lastModified = \"5\";", false),
    ("type = \"path\"; path = \"/a\"; lastModified = -5;", false),
    ("type = \"path\"; path = \"/a\"; dir = 1;", false),
    ("type = \"path\"; path = /a;", false),
    ("type = \"path\"; path = null;", false),
    ("type = \"path\";", false),
    ("type = \"nosuch\";", false),
    ("path = \"/a\";", false),
    ("", false),
];

fn filled(text: &str) -> String {
    text.replace("REV", REV).replace("HASH", HASH)
}

/// Both give the same value.
#[track_caller]
fn same_values(world: &World, expressions: &[String]) {
    let whole = format!("[ {} ]", expressions.join(" "));
    let run = |side| {
        let mut arguments = words("eval --json --expr");
        arguments.push(whole.clone());
        let outcome = world.run(side, "nix", &arguments);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        let values: Vec<serde_json::Value> = serde_json::from_str(outcome.text().trim()).unwrap();
        values
    };
    let (ours, theirs) = (run(Side::Nival), run(Side::Reference));
    for ((ours, theirs), expression) in ours.iter().zip(&theirs).zip(expressions) {
        assert_eq!(ours, theirs, "{expression}");
    }
    assert_eq!(ours.len(), theirs.len());
}

/// Both fail with the same message.
#[track_caller]
fn same_failures(world: &World, expressions: &[String]) {
    for expression in expressions {
        let run = |side| {
            let mut arguments = words("eval --json --expr");
            arguments.push(expression.clone());
            let outcome = world.run(side, "nix", &arguments);
            (message(&outcome), outcome.status)
        };
        let (ours, theirs) = (run(Side::Nival), run(Side::Reference));
        assert_eq!(ours, theirs, "{expression}");
        assert_eq!(ours.1, 1, "{expression}");
    }
}

#[test]
fn texts_are_taken_apart_and_put_together() {
    let Some(world) = world() else { return };
    let parsed = |text: &&str| format!("(builtins.parseFlakeRef \"{}\")", filled(text));
    let sets: Vec<String> = REFERENCES.iter().map(parsed).collect();
    let printed: Vec<String> = sets.iter().map(|set| format!("(builtins.flakeRefToString {set})")).collect();
    same_values(&world, &[sets, printed].concat());
    same_failures(&world, &NONE.iter().map(parsed).collect::<Vec<_>>());
}

#[test]
fn sets_are_put_together() {
    let Some(world) = world() else { return };
    let of = |wanted: bool| -> Vec<String> {
        let sets = SETS.iter().filter(|(_, is)| *is == wanted);
        sets.map(|(set, _)| format!("(builtins.flakeRefToString {{ {} }})", filled(set))).collect()
    };
    same_values(&world, &of(true));
    same_failures(&world, &of(false));
}

/// What cannot be fetched purely is named by its URL, however it was written.
#[test]
fn fetched_by_urls_of_all_kinds() {
    let Some(world) = world() else { return };
    let urls = [
        "nixpkgs",
        "flake:nixpkgs?dir=d",
        "flake:",
        "flake:1a",
        "flake:nixpkgs/a/b",
        "flake:nixpkgs/a..b",
        "github:o/r/a/b",
        "github:o",
        "github:o/r/x?ref=y",
        "github:o/r/x?rev=REV",
        "github:o/r?ref=a..b",
        "github:o/r?host=h/x",
        "gitlab:o/r?narHash=x",
        "sourcehut:~o/r?host=h",
        "hg+file:p?ref=x&dir=d",
        "https://h/p.zip?dir=d&foo=1&rev=REV#f",
        "file+https://h/p?revCount=4",
        "tarball+file:///p",
        "ftp://h/x.tar",
        "git+https://h/p?dir=a&allRefs=1",
    ];
    let expressions: Vec<String> =
        urls.iter().map(|url| format!("builtins.fetchTree \"{}\"", filled(url))).collect();
    as_the_reference(&world, "", &expressions);
}
