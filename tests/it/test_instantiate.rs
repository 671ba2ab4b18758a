//! `nix-instantiate`: the derivations that expressions stand for, in the store and as they are printed,
//! beside the reference.

use std::path::Path;

use crate::common::{Outcome, Side, World};
use crate::data;
use crate::remotes::Daemon;
use crate::test_eval::{PROGRAM, words};

const SIDES: [Side; 2] = [Side::Nival, Side::Reference];

/// Derivations of all kinds, and what is none.
const SET: &str = r#"let
  d = name: more: derivation ({ inherit name; system = "x"; builder = "/b"; } // more);
  is = more: { type = "derivation"; name = "is"; drvPath = (d "a" { }).drvPath; outputName = "out"; } // more;
in {
  a = d "a" { };
  text-of = d "text-of" { text = builtins.toFile "t" (builtins.unsafeDiscardOutputDependency (d "named" { }).drvPath); };
  m = d "m" { outputs = [ "dev" "out" "bin" ]; };
  s = {
    x = d "x" { }; "q.t" = d "qt" { }; Z = d "Z" { }; sub = { y = d "y" { }; };
    rec1 = { recurseForDerivations = true; r = d "r" { }; n = 1; f = x: x; };
  };
  l = [ (d "l1" { }) { a = d "l2" { }; b = { c = d "no" { }; }; } (d "l3" { outputs = [ "x" "y" ]; }) ];
  l-bad = [ (d "l1" { }) 3 ];
  l-function = [ (d "l1" { }) ({ x ? 1 }: d "l2" { }) ];
  l-nested = [ [ (d "l1" { }) ] ];
  l-throw = [ (d "l1" { }) (throw "item") ];
  twice = let a = d "a" { }; in [ a a { inherit a; } ];
  equal = { a = d "a" { }; b = d "a" { }; };
  throws = { a = d "a" { }; b = throw "bb"; };
  throws-quoted = { a = d "a" { }; "b.c" = throw "bb"; };
  throws-name = { a = d "a" { }; b = d (throw "name") { }; };
  throws-late = { a = d "a" { }; b = d "b" { x = throw "x"; }; };
  throws-deep = { a = { recurseForDerivations = true; b = { recurseForDerivations = true; c = throw "c"; }; }; };
  asserts = { a = d "a" { }; b = assert false; 1; };
  recurse-1 = { a = { recurseForDerivations = 1; }; };
  recurse-throw = { a = { recurseForDerivations = throw "x"; }; };
  recurse = { recurseForDerivations = true; a = { recurseForDerivations = false; b = d "b" { }; }; c = [ (d "c" { }) ]; };
  recurse-call = { a = { recurseForDerivations = true; __functor = self: { z ? 1 }: { b = d "called${toString z}" { }; }; }; };
  no-path = { type = "derivation"; name = "x"; };
  no-name = { type = "derivation"; drvPath = (d "a" { }).drvPath; };
  no-output = { type = "derivation"; name = "x"; drvPath = (d "a" { }).drvPath; };
  name-1 = is { name = 1; };
  name-context = is { name = "${d "b" { }}"; };
  path-elsewhere = is { drvPath = "/x"; };
  path-below = is { drvPath = (d "a" { }).drvPath + "/x"; };
  path-other = is { drvPath = builtins.toFile "x" ""; };
  path-plain = is { drvPath = builtins.unsafeDiscardStringContext (d "a" { }).drvPath; };
  path-path = is { drvPath = ./f.nix; };
  path-1 = is { drvPath = 1; };
  path-throw = is { drvPath = throw "path"; outputName = throw "output"; };
  path-set = is { drvPath = { __toString = self: (d "a" { }).drvPath; }; };
  output = is { outputName = "foo"; };
  output-1 = is { outputName = 1; };
  output-empty = is { outputName = ""; };
  output-context = is { outputName = "${d "b" { }}"; };
  type-1 = { a = { type = 1; }; };
  type-throw = { a = { type = throw "t"; }; };
  type-x = { type = "x"; a = d "a" { }; };
  number = 1;
  text = "x";
  function = x: x;
  nothing = null;
  path = ./f.nix;
  empty = { };
  empty-list = [ ];
  auto = { x ? 1 }: d "auto${toString x}" { };
  auto-member = { x = { y ? 1 }: d "y" { }; };
  names = { "1a" = d "1a" { }; "a b" = d "ab" { }; "é" = d "e" { }; };
  many = builtins.genList (n: d "many${toString n}" { previous = if n == 0 then [ ] else [ (d "many${toString (n - 1)}" { }) ]; }) 40;
  source = d "source" { src = ./src; text = builtins.toFile "t" "x"; filtered = builtins.filterSource (p: t: t != "symlink") ./src; };
  fixed = d "fixed" { outputHash = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="; outputHashMode = "recursive"; };
  structured = d "structured" { __structuredAttrs = true; a = [ 1 { b = "x"; } ]; dep = d "dep" { }; outputs = [ "out" "lib" ]; };
  closure = d "closure" { all = (d "top" { dep = (d "m" { outputs = [ "dev" "out" ]; }).dev; src = ./src; }).drvPath; };
}
"#;

fn world() -> Option<World> {
    let world = World::with_reference()?;
    world.write("f.nix", SET);
    world.write("src/a", "a\n");
    world.write("word", "w");
    world.write("src/b/c", "c\n");
    std::os::unix::fs::symlink("a", world.path("src/link")).unwrap();
    Some(world)
}

fn run(world: &World, side: Side, line: &str) -> Outcome {
    let (line, input) = line.split_once(" < ").unwrap_or((line, ""));
    let outcome = world.run_with_input(side, PROGRAM, &words(line), input.as_bytes());
    let program = world.programs(side).join(PROGRAM);
    let stderr = outcome.stderr.replace(program.to_str().unwrap(), PROGRAM);
    Outcome { stderr, ..outcome }
}

/// The contents of all files of a store.
fn contents(store: &Path) -> Vec<(String, Vec<u8>)> {
    let files = data::metadata(store).into_keys().map(|name| (store.join(&name), name));
    let read = |(path, name): (std::path::PathBuf, String)| Some((name, std::fs::read(path).ok()?));
    files.filter_map(read).collect()
}

/// Output, errors, status, files and rows are those of the reference for every line, each begun with
/// an empty store.
fn as_the_reference(world: &World, lines: &[&str]) {
    for line in lines {
        let [ours, theirs] = SIDES.map(|side| {
            data::forget_if_there(world);
            let outcome = run(world, side, line);
            let wrote = world.path("var/db").exists();
            let state = wrote.then(|| (data::state(world), contents(&world.store())));
            (outcome, state.unwrap_or_default())
        });
        let (told, expected) = (&ours.0, &theirs.0);
        assert_eq!((told.text(), told.status), (expected.text(), expected.status), "{line}: {}", told.stderr);
        assert_eq!(told.stderr, expected.stderr, "{line}");
        assert_eq!(ours.1, theirs.1, "{line}");
    }
}

#[test]
fn every_attribute_as_the_reference() {
    let Some(world) = world() else { return };
    let names = "builtins.concatStringsSep \" \" (builtins.attrNames (import ./f.nix))";
    let names = run(&world, Side::Reference, &format!("--eval --raw -E ⟦{names}⟧"));
    let names = names.ok().text().to_owned();
    assert!(names.split(' ').count() > 50, "{names}");
    let lines: Vec<String> = names.split(' ').map(|name| format!("f.nix -A {name}")).collect();
    as_the_reference(&world, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    let lines: Vec<String> = names.split(' ').map(|name| format!("--dry-run f.nix -A {name}")).collect();
    as_the_reference(&world, &lines.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn words_and_flags() {
    let Some(world) = world() else { return };
    world.write(
        "default.nix",
        "{ x ? \"d\", y }: { b = (import ./f.nix).m; a = (import ./f.nix).auto { inherit x; }; z = y; }",
    );
    as_the_reference(
        &world,
        &[
            "f.nix -A a -A m.dev -A s ./f.nix -A l",
            "-A a -A m.dev -A a f.nix ./f.nix",
            "--argstr y 1",
            "--argstr y 1 --argstr x 2 . ./default.nix",
            "-A z --arg y ⟦(import ./f.nix).m.bin⟧",
            "--arg-from-file x word --argstr y 1",
            "--arg-from-stdin x --argstr y 1 < text",
            "",
            "-A a",
            "-E ⟦(import ./f.nix).a⟧ ⟦[ (import ./f.nix).l ]⟧",
            "-E",
            "-E 1",
            "-E ⟦{ x ? 2 }: (import ./f.nix).auto { inherit x; }⟧ --arg x 3",
            "- f.nix -A a < import ./f.nix",
            "- < 1 +",
            "f.nix -A a nosuch.nix",
            "f.nix -A a -A nosuch",
            "f.nix -A a -A throws-late.b -A l",
            "<f> -A a -I f=f.nix",
            "--json --xml --raw --strict f.nix -A a",
            "--readonly-mode f.nix -A source",
            "--readonly-mode --read-write-mode f.nix -A source",
            "--dry-run --read-write-mode f.nix -A source",
            "--eval f.nix -A source.drvPath",
            "--eval --read-write-mode f.nix -A source.drvPath",
            "--eval --read-write-mode --dry-run f.nix -A source.drvPath",
            "--eval --read-write-mode --readonly-mode f.nix -A source.drvPath",
            "--no-gc-warning f.nix -A a",
            "--quiet f.nix -A a",
            "--indirect f.nix -A a",
            "--add-root",
            "--bogus",
            "--pure-eval f.nix -A a",
            "--restrict-eval -I . f.nix -A source",
        ],
    );
}

#[test]
fn links_are_named_and_rooted_as_by_the_reference() {
    let Some(world) = world() else { return };
    let lines = [
        "--add-root r f.nix -A a",
        "--add-root r --indirect f.nix -A a -A a -A m.dev -A l",
        "--add-root deep/er/r f.nix -A twice -A equal",
        "--add-root r f.nix -A empty",
        "--add-root ⟦⟧ f.nix -A a",
        "--add-root x --add-root r f.nix -A m.all",
        "--add-root r f.nix -A a -A throws-late.b",
        "--add-root src f.nix -A a",
        "--add-root store/r f.nix -A a",
        "--add-root / f.nix -A a",
    ];
    for line in lines {
        let results = SIDES.map(|side| {
            data::forget_if_there(&world);
            for name in data::names(&world.path("")) {
                if name.starts_with('r') || name == "deep" {
                    nival::sys::remove::remove(&world.path(name)).unwrap();
                }
            }
            let outcome = run(&world, side, line);
            let mut links = data::names(&world.path(""));
            links.retain(|name| !["store", "var", "bin", "home"].contains(&name.as_str()));
            links.extend(data::names(&world.path("deep/er")));
            let targets = links.iter().map(|name| std::fs::read_link(world.path(name)).ok());
            let targets: Vec<_> = targets.chain([std::fs::read_link(world.path("deep/er/r")).ok()]).collect();
            let auto = world.path("var/gcroots/auto");
            let rooted = data::names(&auto)
                .into_iter()
                .map(|name| (std::fs::read_link(auto.join(&name)).unwrap(), name));
            let auto: Vec<_> = rooted.collect();
            // What is rooted is in the store.
            if let Ok(target) = std::fs::read_link(world.path("r")) {
                world.nix_store(&["--check-validity", target.to_str().unwrap()]).ok();
                world.nix_store(&["--gc"]).ok();
                world.nix_store(&["--check-validity", target.to_str().unwrap()]).ok();
            }
            (outcome, links, targets, auto)
        });
        assert_eq!(results[0], results[1], "{line}");
    }
}

/// The reference makes a link to what it has not written.
#[test]
fn a_dry_run_prints_links_and_makes_none() {
    let Some(world) = world() else { return };
    let line = "--add-root r --dry-run f.nix -A a -A m.dev";
    let ours = run(&world, Side::Nival, line);
    assert!(!world.store().exists() && std::fs::symlink_metadata(world.path("r")).is_err());
    assert_eq!(ours, run(&world, Side::Reference, line));
    run(&world, Side::Nival, "--dry-run f.nix -A a -A source").ok();
}

#[test]
fn each_side_reads_what_the_other_wrote() {
    let Some(world) = world() else { return };
    for (writer, reader) in [(Side::Nival, Side::Reference), (Side::Reference, Side::Nival)] {
        data::forget_if_there(&world);
        let line = "f.nix -A s -A l -A many -A source -A fixed -A structured -A closure";
        let written = run(&world, writer, line).ok().text().to_owned();
        let state = data::state(&world);
        let again = run(&world, reader, line);
        assert_eq!(again.ok().text(), written);
        assert_eq!(data::state(&world), state, "{reader:?}");
        let paths: Vec<&str> = written.lines().map(|line| line.split('!').next().unwrap()).collect();
        for side in SIDES {
            let args = [&["-q", "-R", "--include-outputs"], &paths[..]].concat();
            world.run(side, "nix-store", &args).ok();
            let verified = world.run(side, "nix-store", &["--verify", "--check-contents"]);
            let complaint = ["disappeared", "modified", "error", "warning"]
                .iter()
                .find(|word| verified.stderr.contains(**word));
            assert_eq!((verified.status, complaint), (0, None), "{side:?}: {}", verified.stderr);
        }
    }
}

/// What a store holds that is not the usual one: rows and files.
fn held(store: &Path, state: &Path) -> (data::State, Vec<(String, Vec<u8>)>) {
    (data::state_in(store, state), contents(store))
}

#[test]
fn into_other_stores() {
    let Some(world) = world() else { return };
    let line = "f.nix -A s -A m.dev -A source -A closure";
    // Chroot stores, whose paths are named as those of the usual one.
    let results = SIDES.map(|side| {
        let dir = format!("chroot-{side:?}");
        let outcome = run(&world, side, &format!("{line} --store {}", world.text(&dir)));
        let held = held(&world.path(&dir).join("nix/store"), &world.path(&dir).join("nix/var/nix"));
        (outcome.ok().text().to_owned(), held)
    });
    assert_eq!(results[0], results[1]);
    assert!(results[0].1.1.len() > 8, "{results:?}");
    assert!(!world.store().exists());
    // A cache, where nothing can be rooted.
    let results = SIDES.map(|side| {
        let dir = format!("cache-{side:?}");
        let outcome = run(&world, side, &format!("{line} --store file://{} --add-root r", world.text(&dir)));
        let names = data::names(&world.path(&dir));
        (outcome, names.into_iter().filter(|name| name.ends_with(".narinfo")).collect::<Vec<_>>())
    });
    results[0].0.ok();
    assert_eq!(results[0], results[1]);
    assert!(results[0].1.len() > 8 && std::fs::symlink_metadata(world.path("r")).is_err(), "{results:?}");
    // Daemons of both sides.
    for server in SIDES {
        let results = SIDES.map(|side| {
            let name = format!("served-{server:?}-{side:?}");
            let daemon = Daemon::start(&world, server, &name, &[]);
            let outcome = run(&world, side, &format!("{line} --store {} --add-root root", daemon.uri));
            outcome.ok();
            let linked = std::fs::read_link(world.path("root")).unwrap();
            // The server cleans up when the client has gone; it is not to be killed before.
            let has_scratch = || {
                let names = data::names(&world.path(&name).join("store"));
                names.iter().any(|name| name.ends_with("-scratch"))
            };
            data::wait_until("the server cleans up", || !has_scratch());
            drop(daemon);
            std::fs::remove_file(world.path("root")).unwrap();
            let auto = data::names(&world.path(&name).join("var/gcroots/auto"));
            (outcome, linked, auto, held(&world.path(&name).join("store"), &world.path(&name).join("var")))
        });
        assert_eq!(results[0], results[1], "{server:?}");
    }
}

/// Many derivations, each with sources, that depend on each other.
const MANY: &str = r#"let
  mk = i: derivation {
    name = "d${toString i}"; system = "x"; builder = "/b"; n = i;
    text = builtins.toFile "t${toString i}" (toString i);
    src = builtins.path { path = ./src; name = "s${toString (i / 50)}"; };
    previous = if i - i / 10 * 10 == 0 then "" else toString (mk (i - 1));
  };
in builtins.genList mk 200"#;

#[test]
fn a_kill_leaves_a_sound_store() {
    let Some(world) = world() else { return };
    world.write("many.nix", MANY);
    let whole = run(&world, Side::Nival, "many.nix").ok().text().to_owned();
    assert_eq!(whole.lines().count(), 200);
    let state = data::state(&world);
    for round in 0..8_u64 {
        data::forget(&world);
        world.nix_store(&["--init"]).ok();
        let mut command = world.command(Side::Nival, PROGRAM);
        let mut child = command.args(["many.nix"]).stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let verified = run_store(&world, Side::Reference, &["--verify", "--check-contents"]);
        let complaint =
            ["disappeared", "modified", "error"].iter().find(|word| verified.stderr.contains(**word));
        assert_eq!((verified.status, complaint), (0, None), "{}", verified.stderr);
        // Whatever it left is no hindrance.
        assert_eq!(run(&world, Side::Nival, "many.nix").ok().text(), whole);
        world.nix_store(&["--gc", "--print-dead"]).ok();
        assert_eq!(data::state(&world).0, state.0, "round {round}");
    }
}

fn run_store(world: &World, side: Side, args: &[&str]) -> Outcome {
    world.run(side, "nix-store", args)
}

#[test]
fn our_collector_takes_nothing_that_is_being_made() {
    let Some(world) = world() else { return };
    world.write("many.nix", MANY);
    world.nix_store(&["--init"]).ok();
    // The reference's collector looks for temporary roots last: what is linked after it looked at links, by a
    // process that ends before it looks at temporary roots, it takes.
    let collector = Side::Nival;
    for _ in 0..2 {
        let mut writer = world.command(Side::Nival, PROGRAM);
        let null = std::process::Stdio::null;
        writer
            .args(["many.nix", "--add-root", "links/r"])
            .stdout(null())
            .stderr(std::process::Stdio::piped());
        let mut child = writer.spawn().unwrap();
        let mut collections = 0;
        while child.try_wait().unwrap().is_none() {
            run_store(&world, collector, &["--gc"]).ok();
            collections += 1;
        }
        let told = crate::common::outcome(child.wait_with_output().unwrap());
        assert!(told.status == 0 && collections > 0, "{told:?} after {collections} collections");
        run_store(&world, collector, &["--gc"]).ok();
        let links = data::names(&world.path("links"));
        assert_eq!(links.len(), 200);
        let targets = links.iter().map(|link| std::fs::read_link(world.path("links").join(link)).unwrap());
        let targets: Vec<String> = targets.map(|path| path.to_str().unwrap().to_owned()).collect();
        let args = [vec!["-q", "-R"], targets.iter().map(String::as_str).collect()].concat();
        // The derivations, their texts, and one source for each fifty of them.
        assert_eq!(run_store(&world, Side::Reference, &args).ok().lines().len(), 200 + 200 + 4);
        std::fs::remove_dir_all(world.path("links")).unwrap();
        run_store(&world, collector, &["--gc"]).ok();
        let left = run_store(&world, Side::Reference, &["--dump-db"]);
        assert_eq!(left.ok().text(), "");
    }
}

#[test]
fn what_is_made_is_there_for_what_looks_at_it() {
    let Some(world) = world() else { return };
    let a = "(derivation { name = \"a\"; system = \"x\"; builder = \"/b\"; })";
    let lines = [
        format!("--eval -E ⟦builtins.readFile {a}.drvPath⟧ --read-write-mode"),
        format!("--eval -E ⟦builtins.pathExists (builtins.unsafeDiscardStringContext {a}.drvPath)⟧ --read-write-mode"),
        format!("--eval -E ⟦builtins.storePath {a}.drvPath⟧ --read-write-mode"),
        format!("--eval -E ⟦builtins.readFileType (builtins.unsafeDiscardStringContext {a}.drvPath)⟧ --read-write-mode"),
        format!("--eval --strict -E ⟦(import {a}.drvPath).drvPath⟧ --read-write-mode"),
        "--eval -E ⟦builtins.readFile \"${./src}/a\"⟧ --read-write-mode".to_owned(),
        "--eval --strict -E ⟦builtins.readDir \"${./src}\"⟧ --read-write-mode".to_owned(),
        "--eval -E ⟦import (builtins.toFile \"x\" \"1 + 1\")⟧ --read-write-mode".to_owned(),
        "--eval -E ⟦builtins.readFile (builtins.unsafeDiscardStringContext \"${./src}\" + \"/a\")⟧ --read-write-mode".to_owned(),
        "--eval -E ⟦builtins.hashFile \"sha256\" \"${./src}/b/c\"⟧ --read-write-mode".to_owned(),
        "--eval -E ⟦builtins.filterSource (path: type: true) \"${./src}\"⟧ --read-write-mode".to_owned(),
    ];
    for line in &lines {
        as_the_reference(&world, &[line]);
        // In a chroot store, too, where files lie elsewhere than their names say.
        let results = SIDES.map(|side| {
            run(&world, side, &format!("{line} --store {}", world.text(format!("chroot-{side:?}"))))
        });
        assert_eq!(
            (results[0].text(), results[0].status),
            (results[1].text(), results[1].status),
            "{line}: {results:?}"
        );
    }
}

/// A set whose members need what others make before they can be evaluated.
const IMPORTING: &str = r#"let
  made = name: script: derivation {
    inherit name; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" script ]; outputs = [ "out" "dev" ];
  };
  file = made "file" "echo '{ a = 7; }' > $out; echo text > $dev";
  tree = made "tree" "/bin/mkdir $out; echo 1 > $out/x; echo $out > $dev";
  d = name: more: derivation ({ inherit name; system = "x"; builder = "/b"; } // more);
in {
  build = [ file tree ];
  import = d "n${toString (import file).a}" { };
  read = d "read" { text = builtins.readFile file.dev; input = file; };
  twice = [ (d "length${toString (builtins.stringLength (builtins.readFile "${tree}/x"))}" { }) (d "n${toString (import file).a}" { }) ];
  list = d "list" { names = builtins.attrNames (builtins.readDir tree); };
  exists = d "exists${if builtins.pathExists "${tree}/x" then "1" else "0"}" { };
  path = d "path" { src = builtins.path { path = "${tree}/x"; name = "y"; }; };
  filter = d "filter" { src = builtins.filterSource (path: type: true) tree; };
  source = d "source" { src = "${tree}/x"; };
}
"#;

#[test]
fn imports_from_derivations_that_can_be_fetched() {
    let Some(mut world) = World::with_reference() else { return };
    world.write("i.nix", IMPORTING);
    let build = ["--no-out-link", "i.nix", "-A", "build"];
    world.run(Side::Reference, "nix-build", &build).ok();
    let drvs = run(&world, Side::Reference, "i.nix -A build --quiet").text().to_owned();
    let mut args = vec!["-q".to_owned(), "--outputs".to_owned()];
    args.extend(drvs.lines().map(str::to_owned));
    let paths = world.run(Side::Reference, "nix-store", &args).ok().text().to_owned();
    let cache = format!("file://{}", world.text("cache"));
    let mut copy = vec!["copy", "--to", &cache];
    copy.extend(paths.lines());
    world.run(Side::Reference, "nix", &copy).ok();
    let names = ["import", "read", "twice", "list", "exists", "path", "filter", "source"];
    world.variables.push(("NIX_CONFIG".to_owned(), format!("substituters = {cache}\nrequire-sigs = false")));
    for (name, more) in names.iter().flat_map(|name| {
        ["", "--dry-run", "--option allow-import-from-derivation false"].map(|more| (name, more))
    }) {
        let results = SIDES.map(|side| {
            data::forget_if_there(&world);
            let outcome = run(&world, side, &format!("i.nix -A {name} {more}"));
            let errors: Vec<String> =
                outcome.stderr.lines().filter(|line| line.contains("error:")).map(str::to_owned).collect();
            let state =
                world.path("var/db").exists().then(|| (data::state(&world), contents(&world.store())));
            (outcome.text().to_owned(), outcome.status, errors, state.filter(|_| more.is_empty()))
        });
        assert_eq!(results[0], results[1], "{name} {more}");
    }
    // Where nothing can be fetched it is built.
    world.variables.retain(|(name, _)| name != "NIX_CONFIG");
    for name in names {
        let results = SIDES.map(|side| {
            data::forget_if_there(&world);
            let outcome = run(&world, side, &format!("i.nix -A {name}"));
            (outcome.text().to_owned(), outcome.status, data::state(&world), contents(&world.store()))
        });
        assert_eq!(results[0], results[1], "{name}");
        assert_eq!(results[0].1, 0, "{name}: {results:?}");
    }
}
