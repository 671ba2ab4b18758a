//! Building: `nix-build`, and `nix-store --realise` of what has to be built, beside the reference.
//! Both build the same derivations in the same store, one after the other.

use crate::common::{Outcome, Side, World};
use crate::data;

pub const SIDES: [Side; 2] = [Side::Nival, Side::Reference];

/// Derivations of all kinds; each attribute is one.
const NIX: &str = r#"
let
  d = name: script: more: derivation ({
    inherit name;
    system = "x86_64-linux";
    builder = "/bin/sh";
    args = [ "-c" script ];
    PATH = "/usr/bin:/bin";
  } // more);
in rec {
  ok = d "ok" "echo hi; echo out > $out" { };
  dir = d "dir" "mkdir -p $out/bin; echo x > $out/bin/x; chmod 755 $out/bin/x; ln -s x $out/bin/y" { };
  dep = d "dep" "cat $x > $out; echo $x >> $out" { x = ok; };
  self = d "self" "mkdir $out; echo $out > $out/self" { };
  many = d "many" "for o in $outputs; do echo $o > \${!o}; done; echo $dev >> $out" { outputs = [ "out" "dev" "doc" ]; builder = "/bin/bash"; };
  bad = d "bad" "echo line; exit 3" { };
  killed = d "killed" "kill -9 $$" { };
  needs-bad = d "needs-bad" "echo > $out" { x = bad; };
  needs-both = d "needs-both" "echo > $out" { x = bad; y = killed; };
  no-output = d "no-output" "true" { };
  platform = d "platform" "true" { system = "foo-bar"; };
  features = d "features" "true" { requiredSystemFeatures = [ "b" "a" ]; };
  no-builder = d "no-builder" "" { builder = "/nonexistent/builder"; };
  fixed = d "fixed" "printf x > $out" { outputHash = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"; outputHashAlgo = "sha256"; };
  mismatch = d "mismatch" "printf y > $out" { outputHash = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"; outputHashAlgo = "sha256"; };
  fixed-bad = d "fixed-bad" "exit 1" { outputHash = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"; outputHashAlgo = "sha256"; };
  slow = d "slow" "echo begin; sleep 60" { };
  loud = d "loud" "for i in 1 2 3 4 5 6 7 8 9; do echo $i$i$i$i$i$i$i$i$i$i; done; echo > $out" { };
  refers = d "refers" "echo $x > $out" { x = ok; allowedReferences = [ ]; };
  fifo = d "fifo" "mkfifo $out" { };
  env = d "env" "env | sort > $out" { passAsFile = [ "long" ]; long = "a text"; };
  structured = d "structured" ". .attrs.sh; cat .attrs.json > \${outputs[out]}" { builder = "/bin/bash"; __structuredAttrs = true; list = [ 1 "two" ]; PATH = "/bin"; };
}
"#;

/// Links by name, and where they lead.
pub type Links = Vec<(String, Option<std::path::PathBuf>)>;

/// What is there after a command: exit status, both outputs, links, and the paths that are valid now.
pub fn after(world: &World, side: Side, words: &[&str]) -> (Outcome, Links, Vec<String>) {
    // Everything of the command before goes, but the expressions.
    for name in data::names(&world.path("links")) {
        std::fs::remove_file(world.path("links").join(name)).unwrap();
    }
    world.nix_store(&["--gc"]).ok();
    let mut command = world.command(side, words[0]);
    command.args(&words[1..]).current_dir(world.path("links"));
    let outcome = crate::common::outcome(command.output().unwrap());
    let links = data::names(&world.path("links"))
        .into_iter()
        .map(|name| {
            let target = std::fs::read_link(world.path("links").join(&name)).ok();
            (name, target)
        })
        .collect();
    let info = world.run(Side::Reference, "nix", &["path-info", "--all", "--json", "--json-format", "1"]);
    let info: serde_json::Value = serde_json::from_slice(&info.ok().stdout).unwrap();
    let rows = info.as_object().unwrap().iter().map(|(path, row)| {
        let mut row = row.clone();
        row.as_object_mut().map(|row| row.remove("registrationTime"));
        format!("{path} {row}")
    });
    (outcome, links, rows.collect())
}

/// Runs a command on both sides; all that comes of it is the same.
pub fn same(world: &World, words: &[&str]) -> Outcome {
    let [ours, theirs] = SIDES.map(|side| after(world, side, words));
    assert_eq!(
        (ours.0.status, ours.0.text(), &ours.0.stderr),
        (theirs.0.status, theirs.0.text(), &theirs.0.stderr),
        "{words:?}"
    );
    assert_eq!(ours.1, theirs.1, "links of {words:?}");
    assert_eq!(ours.2, theirs.2, "rows of {words:?}");
    ours.0
}

/// As [`same`], of a command that builds several derivations, which succeeds: the order in which they
/// are built, and how often something is told, do not matter.
#[track_caller]
pub fn together(world: &World, words: &[&str]) {
    let [ours, theirs] = SIDES.map(|side| after(world, side, words));
    assert_eq!(
        (ours.0.ok().text(), &ours.1, &ours.2),
        (theirs.0.ok().text(), &theirs.1, &theirs.2),
        "{words:?}"
    );
    let lines = |outcome: &Outcome| -> std::collections::BTreeSet<String> {
        outcome.stderr.lines().map(str::to_owned).collect()
    };
    assert_eq!(lines(&ours.0), lines(&theirs.0), "{words:?}");
}

fn world() -> Option<(World, String)> {
    let world = World::with_reference()?;
    std::fs::create_dir(world.path("links")).unwrap();
    let file = world.write("src/t.nix", NIX).to_str().unwrap().to_owned();
    Some((world, file))
}

#[test]
fn one_derivation() {
    let Some((world, file)) = world() else { return };
    let statuses = [
        ("ok", 0),
        ("dir", 0),
        ("dep", 0),
        ("self", 0),
        ("many", 0),
        ("many.dev", 0),
        ("bad", 100),
        ("killed", 100),
        ("needs-bad", 100),
        ("no-output", 1),
        ("platform", 100),
        ("features", 100),
        ("no-builder", 100),
        ("fixed", 0),
        ("mismatch", 102),
        ("fixed-bad", 1),
        ("refers", 1),
        ("fifo", 1),
        ("structured", 0),
    ];
    for (name, status) in statuses {
        let outcome = same(&world, &["nix-build", &file, "-A", name]);
        assert_eq!(outcome.status, status, "{name}: {outcome:?}");
    }
}

#[test]
fn command_lines() {
    let Some((world, file)) = world() else { return };
    let file = file.as_str();
    for words in [
        &["-A", "ok", "-A", "many.all"][..],
        &["-A", "many.dev", "-A", "ok", "-A", "many"],
        &["-A", "ok", "-A", "ok"],
        &["-A", "ok", "--no-out-link"],
        &["-A", "ok", "-A", "dir", "-o", "foo"],
        &["-A", "dep", "--dry-run"],
        &["-A", "ok", "-j0"],
        &["-A", "bad", "-Q"],
        &["-A", "ok", "-Q"],
        &["-A", "ok", "--quiet"],
        &["-A", "needs-both", "-k"],
        &["-A", "slow", "--timeout", "1"],
        &["-A", "slow", "--max-silent-time", "1"],
        &["-A", "nothing"],
        &["-A", "bad", "-Q", "--option", "log-lines", "0"],
        &["-A", "ok", "--option", "keep-build-log", "false"],
    ] {
        same(&world, &[&["nix-build", file], words].concat());
    }
    same(&world, &["nix-build", "-E", "(import ../src/t.nix).ok"]);
    // In which order several failures are told is nowhere said.
    let words = ["nix-build", file, "-A", "bad", "-A", "ok", "-A", "no-output", "-k", "-j1"];
    let [ours, theirs] = SIDES.map(|side| {
        let (outcome, links, rows) = after(&world, side, &words);
        (outcome.status, sorted(&outcome.stderr), links, rows)
    });
    assert_eq!(ours, theirs);
    // How much of a log is shown before it is known to be too long depends on time.
    let words = ["nix-build", file, "-A", "loud", "--option", "max-build-log-size", "20"];
    let [ours, theirs] = SIDES.map(|side| {
        let (outcome, ..) = after(&world, side, &words);
        (outcome.status, outcome.stderr.lines().last().map(str::to_owned))
    });
    assert_eq!(ours, theirs);
}

#[test]
fn derivations_as_arguments() {
    let Some((world, file)) = world() else { return };
    let instantiate =
        |name| world.run(Side::Reference, "nix-instantiate", &["--quiet", &file, "-A", name]).line();
    let drv = instantiate("many");
    // They have to stay.
    let root = world.text("var/gcroots/many");
    std::os::unix::fs::symlink(&drv, root).unwrap();
    for words in [
        &["nix-build", &drv][..],
        &["nix-build", &format!("{drv}!dev")],
        &["nix-build", &format!("{drv}!dev,doc")],
        &["nix-build", &format!("{drv}!nope")],
        &["nix-store", "-r", &drv],
        &["nix-store", "-r", &format!("{drv}!dev")],
        &["nix-store", "-r", &drv, "--add-root", "root"],
    ] {
        same(&world, words);
    }
}

/// What is there is not built again, and logs are where the reference has them.
#[test]
fn what_is_there_and_logs() {
    let Some((world, file)) = world() else { return };
    for (first, second) in [(Side::Nival, Side::Reference), (Side::Reference, Side::Nival)] {
        let (built, ..) = after(&world, first, &["nix-build", &file, "-A", "dep"]);
        built.ok();
        let run = |program: &str, words: &[&str]| {
            let outcome = world.run(second, program, words);
            outcome.ok();
            outcome
        };
        let again = run("nix-build", &[&file, "-A", "dep", "--no-out-link"]);
        assert_eq!(again.text(), built.text());
        assert_eq!(again.stderr, "");
        assert_eq!(run("nix-store", &["-l", &built.line()]).text(), "");
        let drv = run("nix-store", &["-q", "--deriver", &built.line()]).line();
        let references = run("nix-store", &["-q", "--references", &drv]);
        assert_eq!(run("nix-store", &["-l", references.lines().last().unwrap()]).text(), "hi\n");
        data::assert_sound(&world);
    }
}

/// The program that runs after each build is told of it, and what needs the build waits for it.
#[test]
fn a_program_after_each_build() {
    let Some((mut world, file)) = world() else { return };
    let program = |world: &World, name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = world.write(format!("src/{name}"), format!("#!/bin/sh\n{text}\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let log = world.text("src/log");
    let good = program(&world, "good", &format!("echo hooked; echo \"$DRV_PATH $OUT_PATHS\" >> {log}"));
    let bad = program(&world, "bad", "echo oops >&2; exit 3");
    world.variables.push(("LANG".to_owned(), "C".to_owned()));
    for (hook, names, status) in
        [(&good, &["dep", "many"][..], 0), (&bad, &["dep"], 1), (&"/nonexistent".to_owned(), &["ok"], 1)]
    {
        let mut words = vec!["nix-build", &file, "--option", "post-build-hook", hook];
        names.iter().for_each(|name| words.extend(["-A", name]));
        let (mut told, mut said) = (Vec::new(), Vec::new());
        for side in SIDES {
            let (outcome, _, rows) = after(&world, side, &words);
            let lines = std::fs::read_to_string(&log).unwrap_or_default();
            let mut lines: Vec<String> = lines.lines().map(str::to_owned).collect();
            lines.sort();
            let _ = std::fs::remove_file(&log);
            assert_eq!(outcome.status, status, "{hook}: {outcome:?}");
            said.push(sorted(&outcome.stderr));
            told.push((outcome.text().to_owned(), lines, rows));
        }
        assert_eq!(told[0], told[1], "{hook}");
        // We tell of what needed the build, too.
        let lacks = said[1].iter().find(|line| !said[0].contains(line));
        assert_eq!(lacks, None, "{hook}: {:?}", said[0]);
    }
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Builds that end together with the same contents, one of them promised and the others not.
#[test]
fn the_same_contents_from_several_builds() {
    let Some((world, _)) = world() else { return };
    let nix = r#"
        let d = hash: n: derivation {
          name = "same"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "printf x > $out" ]; inherit n;
          outputHash = hash; outputHashAlgo = "sha256";
        }; in [
          (d "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" 0)
          (d "1111111111111111111111111111111111111111111111111111111111111111" 1)
          (d "2222222222222222222222222222222222222222222222222222222222222222" 2)
        ]"#;
    let file = world.write("src/same.nix", nix).to_str().unwrap().to_owned();
    let build = |side, jobs| {
        let (outcome, _, rows) = after(&world, side, &["nix-build", &file, "-k", "-j", jobs]);
        // Which of them is registered as the deriver depends on time.
        let paths: Vec<String> = rows.iter().map(|row| row.split(' ').next().unwrap().to_owned()).collect();
        (outcome.status, outcome.text().to_owned(), paths)
    };
    let ours = build(Side::Nival, "1");
    assert_eq!(ours.0, 102);
    assert_eq!(ours, build(Side::Reference, "1"));
    // Several at a time wait for each other for ever there, now and then.
    for _ in 0..5 {
        assert_eq!(build(Side::Nival, "3"), ours);
    }
}
