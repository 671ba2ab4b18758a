//! What packages an expression offers, remembered between evaluations: always the same answer as without,
//! and as the reference's, whatever changes.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Stdio;

use crate::common::{Outcome, Side, World};
use crate::test_packages::{COMMON, EVERYTHING};

/// What `-v` tells of an answer that was remembered.
const REMEMBERED: &str = "packages are remembered: ";
/// What it tells of an evaluation that is not remembered.
const NOT_REMEMBERED: &str = "packages are not remembered: ";

fn write(world: &World, file: &str, members: &str) {
    world.write(file, format!("let {COMMON} in rec {{ {members} }}"));
}

fn list(world: &World, args: &[&str]) -> Outcome {
    world.nival("nix-env", args)
}

fn without_memory(world: &World, args: &[&str]) -> Outcome {
    list(world, &[args, &["--no-eval-cache"]].concat())
}

/// What was told, but for what is told of remembering.
fn told(outcome: &Outcome) -> (i32, String, String) {
    let lines = outcome.stderr.lines().filter(|line| !line.contains("remembered"));
    (outcome.status, outcome.text().to_owned(), lines.collect::<Vec<_>>().join("\n"))
}

/// Lists twice, and sees that the second answer is a remembered one and the same.
fn list_twice(world: &World, args: &[&str]) -> String {
    let first = list(world, args);
    let second = list(world, args);
    assert_eq!(told(&first), told(&second), "{args:?}");
    let curious = list(world, &[args, &["-v"]].concat());
    assert!(curious.stderr.contains(REMEMBERED), "{args:?}: {}", curious.stderr);
    assert_eq!(curious.text(), first.ok().text());
    first.text().to_owned()
}

/// The files in which packages are remembered.
fn files(world: &World) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(world.path("home/.cache/nix/nival-packages")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Lists after a change, and sees that nothing old is told.
#[track_caller]
fn notices(world: &World, args: &[&str], before: &str) -> String {
    let now = list(world, args);
    assert_eq!(told(&now), told(&without_memory(world, args)), "{args:?}");
    assert_ne!(now.text(), before, "nothing changed by that");
    now.text().to_owned()
}

#[test]
fn every_question_has_the_same_answer() {
    let Some(world) = World::with_reference() else { return };
    write(&world, "all.nix", EVERYTHING);
    for flags in [
        &["-qa"][..],
        &["-qaPs"],
        &["-qaP", "--system"],
        &["-qaP", "--drv-path"],
        &["-qaP", "--out-path"],
        &["-qaP", "--description"],
        &["-qac"],
        &["-qc"],
        &["-qa", "--json"],
        &["-qa", "--json", "-s"],
        &["-qa", "--json", "--meta", "--out-path", "--drv-path"],
        &["-qa", "--xml", "--meta", "--out-path", "-s", "-c"],
        &["-qab"],
        &["-qaP", "foo.*", "foo-1.0"],
        &["-qa", "--json", "--meta", "odd.*"],
        &["-qaP", "--out-path", "fo.*", "list"],
        &["-qaP", "--out-path", "fo.*", "inner"],
        &["-qaP", "fo"],
        &["-qaPs", "nothing", "foo"],
        &["-qaP", "--system-filter", "i686-linux", "-A", "Bar"],
        &["-qaP", "--drv-path", "-A", "list"],
        &["-qaP", "--drv-path", "-A", "list", "list-4"],
        &["-qaP", "--drv-path", "-A", "below", "inner-2"],
        &["-qaP", "--drv-path", "-A", "function", "--argstr", "x", "2", "function"],
        &["-qaP", "-A", "thrown"],
    ] {
        let args = [&["-f", "all.nix"], flags].concat();
        let plain = without_memory(&world, &args);
        let theirs = world.run(Side::Reference, "nix-env", &args);
        assert_eq!((plain.status, plain.text()), (theirs.status, theirs.text()), "{args:?}");
        for _ in 0..2 {
            assert_eq!(told(&list(&world, &args)), told(&plain), "{args:?}");
        }
    }
    // With nothing but the names remembered, packages are looked for one by one.
    for flags in [
        &["-qaP", "--out-path", "list-4", "foo"][..],
        &["-qa", "--json", "--meta", "odd-meta", "inner"],
        &["-qaP", "--drv-path", "bad.*"],
    ] {
        let args = [&["-f", "all.nix"], flags].concat();
        for file in files(&world) {
            fs::remove_file(file).unwrap();
        }
        list(&world, &["-f", "all.nix", "-qa"]).ok();
        assert_eq!(told(&list(&world, &args)), told(&without_memory(&world, &args)), "{args:?}");
        let curious = list(&world, &[&args[..], &["-v"]].concat());
        assert!(curious.stderr.contains(REMEMBERED), "{}", curious.stderr);
    }
}

/// Writes a file anew, with the times that it had.
fn rewrite(path: &PathBuf, text: &str) {
    let before = fs::metadata(path).unwrap();
    assert_eq!(before.size(), text.len() as u64, "the size is to stay as it is");
    fs::write(path, text).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    let times = fs::FileTimes::new().set_modified(before.modified().unwrap());
    file.set_times(times.set_accessed(before.accessed().unwrap())).unwrap();
    assert_eq!(fs::metadata(path).unwrap().modified().unwrap(), before.modified().unwrap());
}

#[test]
fn changed_files_are_noticed() {
    let world = World::new();
    let args = &["-f", "all.nix", "-qaP"][..];
    write(&world, "all.nix", r#"a = drv (import ./name.nix) {}; b = drv "b-${builtins.readFile ./v}" {};"#);
    let (name, version) = (world.write("name.nix", "\"a-1\""), world.write("v", "1"));
    let mut before = list_twice(&world, args);
    rewrite(&name, "\"a-2\"");
    before = notices(&world, args, &before);
    before = list_twice(&world, args).max(before);
    rewrite(&version, "2");
    before = notices(&world, args, &before);
    fs::remove_file(&name).unwrap();
    assert!(list(&world, args).stderr.contains("does not exist"));
    // What ends a listing is not remembered, and what was found before counts again.
    world.write("name.nix", "\"a-2\"");
    assert_eq!(list_twice(&world, args), before);
    fs::remove_file(&version).unwrap();
    fs::create_dir(&version).unwrap();
    assert_ne!(list(&world, args).status, 0);
    // A file of another kind, which is no file that was read.
    write(&world, "kinds.nix", r#"a = drv "a-${(builtins.readDir ./.).v}" {};"#);
    let kinds = &["-f", "kinds.nix", "-qaP"][..];
    let before = list_twice(&world, kinds);
    fs::remove_dir(&version).unwrap();
    fs::write(&version, "x").unwrap();
    notices(&world, kinds, &before);
}

#[test]
fn changed_directories_and_links_are_noticed() {
    let world = World::new();
    let args = &["-f", "all.nix", "-qaP"][..];
    write(
        &world,
        "all.nix",
        r#"recurseForDerivations = true;
        found = builtins.mapAttrs (n: _: drv "${n}-1" {}) (builtins.readDir ./found) // { recurseForDerivations = true; };
        over = drv "over-${if builtins.pathExists ./overlay.nix then import ./overlay.nix else "0"}" {};
        linked = import ./link;"#,
    );
    world.write("found/a", "");
    world.write("one.nix", "derivation { name = \"one-1\"; builder = \"x\"; system = \"y\"; }");
    world.write("two.nix", "derivation { name = \"two-1\"; builder = \"x\"; system = \"y\"; }");
    symlink("one.nix", world.path("link")).unwrap();
    let mut before = list_twice(&world, args);
    assert!(before.contains("found.a") && before.contains("one-1"), "{before}");
    world.write("found/b", "");
    before = notices(&world, args, &before);
    fs::remove_file(world.path("found/a")).unwrap();
    before = notices(&world, args, &before);
    world.write("overlay.nix", "\"1\"");
    before = notices(&world, args, &before);
    fs::remove_file(world.path("overlay.nix")).unwrap();
    before = notices(&world, args, &before);
    fs::remove_file(world.path("link")).unwrap();
    symlink("two.nix", world.path("link")).unwrap();
    before = notices(&world, args, &before);
    fs::remove_file(world.path("link")).unwrap();
    fs::copy(world.path("one.nix"), world.path("link")).unwrap();
    notices(&world, args, &before);
    list_twice(&world, args);
    // The directory from which packages are chosen without a word.
    let args = &["-qaP"][..];
    write(&world, "home/.nix-defexpr/a.nix", r#"x = drv "x-1" {};"#);
    let before = list_twice(&world, args);
    write(&world, "home/.nix-defexpr/b.nix", r#"y = drv "y-1" {};"#);
    notices(&world, args, &before);
}

#[test]
fn changed_surroundings_are_noticed() {
    let mut world = World::new();
    write(
        &world,
        "all.nix",
        r#"a = drv "a-${builtins.getEnv "VERSION"}" {}; b = drv "b-${import <lib>}" {};
        c = drv "c-${builtins.currentSystem}" {}; d = drv "d-${builtins.toString (builtins ? fetchTree)}" {};"#,
    );
    world.write("one/lib.nix", "\"one\"");
    world.write("two/lib.nix", "\"two\"");
    let set = |world: &mut World, name: &str, value: &str| {
        world.variables.retain(|(known, _)| known != name);
        world.variables.push((name.to_owned(), value.to_owned()));
    };
    let args = &["-f", "all.nix", "-qaP"][..];
    set(&mut world, "NIX_PATH", "lib=one/lib.nix");
    let mut before = list_twice(&world, args);
    set(&mut world, "VERSION", "1");
    before = notices(&world, args, &before);
    set(&mut world, "VERSION", "2");
    before = notices(&world, args, &before);
    list_twice(&world, args);
    set(&mut world, "NIX_PATH", "lib=two/lib.nix");
    before = notices(&world, args, &before);
    notices(&world, &[args, &["-I", "lib=one/lib.nix"]].concat(), &before);
    notices(&world, &[args, &["--option", "eval-system", "other"]].concat(), &before);
    notices(&world, &[args, &["--option", "experimental-features", "fetch-tree"]].concat(), &before);
    // A variable that nobody asks for does not matter.
    set(&mut world, "OTHER", "1");
    assert!(list(&world, &[args, &["-v"]].concat()).stderr.contains(REMEMBERED));

    world.write("call.nix", format!("{{ x ? \"1\" }}: let {COMMON} in {{ a = drv \"a-${{x}}\" {{}}; }}"));
    let args = &["-f", "call.nix", "-qaP"][..];
    let before = list_twice(&world, args);
    for more in [&["--argstr", "x", "2"][..], &["--arg", "x", "\"3\""], &["--arg", "x", "import one/lib.nix"]]
    {
        let args = [args, more].concat();
        notices(&world, &args, &before);
        list_twice(&world, &args);
    }
    // The same words in another directory.
    let elsewhere = |args: &[&str]| {
        let output = world.command(Side::Nival, "nix-env").args(args).current_dir(world.path("two")).output();
        crate::common::outcome(output.unwrap())
    };
    world.write("two/one/lib.nix", "\"elsewhere\"");
    world.write("two/call.nix", fs::read(world.path("call.nix")).unwrap());
    let args = [args, &["--arg", "x", "import one/lib.nix"]].concat();
    assert!(list_twice(&world, &args).contains("a-one"));
    assert!(elsewhere(&args).ok().text().contains("a-elsewhere"));
    assert!(elsewhere(&args).ok().text().contains("a-elsewhere"));
    assert!(list_twice(&world, &args).contains("a-one"));
}

#[test]
fn what_is_copied_into_the_store_is_noticed() {
    let world = World::new();
    write(
        &world,
        "all.nix",
        r#"a = drv "a-1" { src = ./tree; }; b = drv "b-1" { patch = ./patch; };
        c = drv "c-1" { src = builtins.filterSource (p: _: baseNameOf p != "not") ./filtered; };
        d = drv "d-1" { src = builtins.path { path = ./flat; recursive = false; name = "flat"; }; };
        thrown = drv "thrown-1" { src = builtins.filterSource (p: _: throw "no") ./tree; };"#,
    );
    for file in ["tree/in/x", "patch", "filtered/in/x", "filtered/not", "flat"] {
        world.write(file, "1");
    }
    let args = &["-f", "all.nix", "-qaP", "--out-path"][..];
    let mut before = list_twice(&world, args);
    for file in ["tree/in/x", "patch", "filtered/in/x", "flat"] {
        rewrite(&world.path(file), "2");
        before = notices(&world, args, &before);
    }
    list_twice(&world, args);
    for file in ["tree/in/new", "filtered/in/new"] {
        world.write(file, "");
        before = notices(&world, args, &before);
    }
    for file in ["tree/in/x", "filtered/in/x"] {
        fs::set_permissions(world.path(file), fs::Permissions::from_mode(0o755)).unwrap();
        before = notices(&world, args, &before);
    }
    // What the filter leaves out does not matter.
    list(&world, args).ok();
    world.write("filtered/not", "other");
    let curious = list(&world, &[args, &["-v"]].concat());
    assert_eq!(curious.text(), before);
    assert!(curious.stderr.contains(REMEMBERED), "{}", curious.stderr);
    // The names need none of it.
    let names = &["-f", "all.nix", "-qa"][..];
    list(&world, names).ok();
    world.write("patch", "another");
    assert!(list(&world, &[names, &["-v"]].concat()).stderr.contains(REMEMBERED));
}

#[test]
fn what_was_told_is_told_again() {
    let world = World::new();
    write(
        &world,
        "all.nix",
        r#"a = builtins.trace "walked" (drv (builtins.warn "careful" "a-1") {});
        b = with_meta (drv "b-1" {}) { description = builtins.trace "described" "B"; };
        c = drv "c-1" { x = builtins.trace "made" 1; };"#,
    );
    let base = ["-f", "all.nix", "-I", "nowhere=nothing", "-I", "all=all.nix"];
    for flags in [
        &["-qa"][..],
        &["-qa", "c"],
        &["-qa", "--description"],
        &["-qaP", "--out-path"],
        &["-qaP", "--description", "a"],
        &["-qaP", "--description", "b"],
        &["-qaP", "--out-path", "c"],
        &["-f", "<all>", "-qa"],
    ] {
        let args = [&base[..], flags].concat();
        let plain = told(&without_memory(&world, &args));
        assert!(plain.2.contains("trace: walked") && plain.2.contains("careful"), "{}", plain.2);
        for _ in 0..3 {
            assert_eq!(told(&list(&world, &args)), plain, "{args:?}");
        }
    }
    assert!(!files(&world).is_empty());
}

#[test]
fn what_cannot_be_seen_again_is_not_remembered() {
    let world = World::new();
    let members = [
        (r#"a = drv "a-${toString builtins.currentTime}" {};"#, "the time was asked for"),
        (
            r#"a = drv "a-${builtins.toJSON (builtins.mapAttrs (_: builtins.typeOf) builtins)}" {};"#,
            "the time",
        ),
        (
            r#"a = drv "a-1" {}; b = drv "b-${builtins.readFile (builtins.fetchurl "file://SRC/v")}" {};"#,
            "hash",
        ),
        (
            r#"a = drv "a-1" {}; b = drv "b-${toString (builtins.length (builtins.split "x" (builtins.readFile foo)))}" {};
            foo = builtins.toFile "foo" "";"#,
            "",
        ),
    ];
    world.write("v", "1");
    for (index, (members, why)) in members.into_iter().enumerate() {
        let file = format!("all{index}.nix");
        write(&world, &file, &members.replace("SRC", &world.text("")));
        let args = ["-f", &file, "-qaP", "-v"];
        for _ in 0..2 {
            let outcome = list(&world, &args);
            if why.is_empty() || outcome.status != 0 {
                assert_eq!(told(&outcome), told(&without_memory(&world, &args)));
                continue;
            }
            let line = outcome.stderr.lines().find(|line| line.contains(NOT_REMEMBERED));
            assert!(line.is_some_and(|line| line.contains(why)), "{file}: {}", outcome.stderr);
        }
        // That it could be asked for does not matter.
        write(&world, &file, r#"a = drv "a-${toString (builtins ? currentTime)}" {};"#);
        list_twice(&world, &args[..3]);
    }
    // Builds on the way.
    write(
        &world,
        "built.nix",
        r#"a = import (derivation { name = "n"; system = "x86_64-linux"; builder = "/bin/sh";
          args = [ "-c" "echo '{ type = \"derivation\"; name = \"in-1\"; }' > $out" ]; });"#,
    );
    let args = ["-f", "built.nix", "-qaP"];
    let outcome = list(&world, &args);
    assert_eq!(told(&outcome), told(&without_memory(&world, &args)));
    let curious = list(&world, &[&args[..], &["-v"]].concat());
    assert!(!curious.stderr.contains(REMEMBERED), "{}", curious.stderr);
    // Where not everything may be read.
    write(&world, "small.nix", r#"a = drv "a-1" {};"#);
    let args = ["-f", "small.nix", "-I", "small.nix", "-qaP", "--option", "restrict-eval", "true"];
    for _ in 0..2 {
        let curious = list(&world, &[&args[..], &["-v"]].concat());
        assert!(!curious.stderr.contains(REMEMBERED), "{}", curious.stderr);
    }
}

#[test]
fn unchanged_files_are_not_read_again() {
    let world = World::new();
    write(
        &world,
        "all.nix",
        r#"a = import ./a.nix; b = drv "b-${toString (builtins.length (builtins.attrNames (builtins.readDir ./dir)))}" {};"#,
    );
    world.write("a.nix", "derivation { name = \"a-1\"; builder = \"x\"; system = \"y\"; }");
    world.write("dir/x", "");
    let curious = |args: &[&str]| {
        let outcome = list(&world, &[&["-f", "all.nix", "-qaP", "-v"], args].concat());
        let line = outcome.stderr.lines().find(|line| line.contains(REMEMBERED)).map(str::to_owned);
        line.unwrap_or_else(|| panic!("not remembered: {}", outcome.stderr))
    };
    list(&world, &["-f", "all.nix", "-qaP"]).ok();
    // What changed just now can change again without a trace.
    assert!(curious(&[]).ends_with(", 3 were read again"), "{}", curious(&[]));
    std::thread::sleep(std::time::Duration::from_millis(2100));
    curious(&[]);
    assert!(curious(&[]).ends_with(", 0 were read again"), "{}", curious(&[]));
    // As it was, but somebody wrote it.
    let text = fs::read(world.path("a.nix")).unwrap();
    world.write("a.nix", text);
    assert!(curious(&[]).ends_with(", 1 were read again"), "{}", curious(&[]));
    // Somebody changed it behind the times.
    rewrite(&world.path("a.nix"), "derivation { name = \"a-2\"; builder = \"x\"; system = \"y\"; }");
    assert!(list(&world, &["-f", "all.nix", "-qaP"]).text().contains("a-2"));
}

#[test]
fn damaged_files_are_none() {
    let world = World::new();
    write(&world, "all.nix", r#"a = drv "a-1" {};"#);
    let args = ["-f", "all.nix", "-qaP"];
    let answer = list_twice(&world, &args);
    let [file] = &files(&world)[..] else { panic!("{:?}", files(&world)) };
    assert_eq!(fs::metadata(file).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().mode() & 0o7777, 0o700);
    let good = fs::read(file).unwrap();
    // Each byte is turned in a test of the format; here some of each part.
    let damaged = (0..good.len()).step_by(good.len() / 12).map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    let others = [Vec::new(), good[..good.len() - 1].to_vec(), [&good[..], b"x"].concat(), vec![0; 1 << 20]];
    for bytes in damaged.chain(others) {
        fs::write(file, &bytes).unwrap();
        let outcome = list(&world, &[&args[..], &["-v"]].concat());
        assert_eq!(outcome.ok().text(), answer);
        assert!(outcome.stderr.contains("is not used: it is damaged"), "{}", outcome.stderr);
        // It was written anew.
        assert!(list(&world, &[&args[..], &["-v"]].concat()).stderr.contains(REMEMBERED));
    }
    // What is no file of ours, or no file at all.
    let elsewhere = world.write("elsewhere", "precious");
    fs::remove_file(file).unwrap();
    symlink(&elsewhere, file).unwrap();
    assert_eq!(list(&world, &args).ok().text(), answer);
    assert_eq!(fs::read(&elsewhere).unwrap(), b"precious");
    assert!(fs::symlink_metadata(file).unwrap().is_file());
    fs::remove_file(file).unwrap();
    fs::create_dir(file).unwrap();
    assert_eq!(list(&world, &args).ok().text(), answer);
    let dir = file.parent().unwrap();
    fs::remove_dir_all(dir).unwrap();
    fs::write(dir, "").unwrap();
    let outcome = list(&world, &[&args[..], &["-v"]].concat());
    assert_eq!(outcome.ok().text(), answer);
    assert!(outcome.stderr.contains(NOT_REMEMBERED), "{}", outcome.stderr);
}

#[test]
fn several_at_once_are_safe() {
    let world = World::new();
    write(&world, "all.nix", EVERYTHING);
    let args = ["-f", "all.nix", "-qaP", "--description"];
    let plain = without_memory(&world, &args);
    for _ in 0..2 {
        let start = |_| {
            let mut command = world.command(Side::Nival, "nix-env");
            command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let children: Vec<_> = (0..4).map(start).collect();
        for child in children {
            let outcome = crate::common::outcome(child.wait_with_output().unwrap());
            assert_eq!(told(&outcome), told(&plain));
        }
    }
    assert_eq!(list_twice(&world, &args), plain.text());
    assert!(files(&world).iter().all(|file| file.extension().is_some_and(|suffix| suffix == "rows")));
}

#[test]
fn so_many_files_are_kept() {
    let world = World::new();
    write(&world, "all.nix", r#"a = drv "a-1" {};"#);
    for number in 0..100 {
        let file = world.write(format!("home/.cache/nix/nival-packages/{number}.rows"), "");
        let age = std::time::Duration::from_secs(10_000 - number);
        let file = fs::File::options().write(true).open(file).unwrap();
        file.set_modified(std::time::SystemTime::now() - age).unwrap();
    }
    let left = world.write("home/.cache/nix/nival-packages/.tmp-x", "");
    let file = fs::File::options().write(true).open(&left).unwrap();
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(10_000)).unwrap();
    world.write("home/.cache/nix/nival-packages/other", "");
    list_twice(&world, &["-f", "all.nix", "-qaP"]);
    let names: Vec<String> =
        files(&world).iter().map(|file| file.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    let is_there = |name: &str| names.iter().any(|other| other == name);
    assert!(!left.exists() && is_there("other"), "{names:?}");
    assert_eq!(names.iter().filter(|name| name.ends_with(".rows")).count(), 64, "{names:?}");
    assert!(is_there("99.rows") && !is_there("0.rows"), "the oldest go: {names:?}");
}

#[test]
fn nothing_is_remembered_against_the_wish_of_the_user() {
    let world = World::new();
    write(&world, "all.nix", r#"a = drv "a-1" {};"#);
    let args = ["-f", "all.nix", "-qaP", "-v"];
    for more in [&["--no-eval-cache"][..], &["--option", "eval-cache", "false"]] {
        let outcome = list(&world, &[&args[..], more].concat());
        assert!(!outcome.ok().stderr.contains("remembered"), "{}", outcome.stderr);
    }
    assert_eq!(files(&world), [""; 0].map(PathBuf::from));
    list(&world, &args).ok();
    let outcome = list(&world, &[&args[..], &["--no-eval-cache"]].concat());
    assert!(!outcome.ok().stderr.contains("remembered"), "{}", outcome.stderr);
    assert!(list(&world, &args).stderr.contains(REMEMBERED));
}

/// Packages of several versions, one of which is better than its version.
fn choices(world: &World, version: &str) {
    let members = r#"a1 = drv "a-1" {}; a2 = drv "a-VERSION" {}; b1 = with_meta (drv "b-1" {}) { priority = 1; }; b2 = drv "b-2" {};
        z9 = drv "z-9" { system = "i686-linux"; }; z1 = drv "z-1" {}; told = builtins.trace "told" (drv "told-1" {});
        inner = { recurseForDerivations = true; c = drv "c-1" { text = builtins.readFile ./text; }; };"#;
    write(world, "all.nix", &members.replace("VERSION", version));
    build(world);
}

/// Has the packages in the store.
fn build(world: &World) {
    let all = "with import ./all.nix; [ a1 a2 b1 b2 z1 told inner.c ]";
    world.run(Side::Reference, "nix-build", &["--no-out-link", "-E", all]).ok();
}

#[test]
fn installing_and_upgrading_choose_the_same() {
    let Some(world) = World::with_reference() else { return };
    world.write("text", "1");
    choices(&world, "2");
    let installed = |profile: &str| list(&world, &["-p", profile, "-q", "--out-path"]).text().to_owned();
    let generation = |profile: &str| fs::canonicalize(profile).unwrap();
    let memory = world.text("var/profiles/memory");
    let plain = world.text("var/profiles/plain");
    let theirs = world.text("var/profiles/theirs");
    let each = |args: &[&str]| {
        let ours = list(&world, &[&["-f", "all.nix", "-p", &memory], args].concat());
        let without = without_memory(&world, &[&["-f", "all.nix", "-p", &plain], args].concat());
        let outcome =
            world.run(Side::Reference, "nix-env", &[&["-f", "all.nix", "-p", &theirs], args].concat());
        // The second builds nothing.
        let said = |outcome: &Outcome| {
            let lines = outcome.stderr.lines().filter(|line| !line.starts_with("building '"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!((ours.status, said(&ours)), (without.status, said(&without)), "{args:?}");
        assert_eq!(ours.status, outcome.status, "{args:?}: {}", outcome.stderr);
        assert_eq!(generation(&memory), generation(&plain), "{args:?}: {}", installed(&memory));
        assert_eq!(generation(&memory), generation(&theirs), "{args:?}: {}", installed(&memory));
    };
    list(&world, &["-f", "all.nix", "-qa"]).ok();
    for args in [
        &["-i", "a", "b"][..],
        &["-i", "c"],
        &["-i", "nothing"],
        &["-i", "b-2"],
        &["-i", "told", "z"],
        &["-e", "z"],
    ] {
        each(args);
    }
    let another = world.text("var/profiles/another");
    let curious = list(&world, &["-f", "all.nix", "-p", &another, "-i", "c", "-v"]);
    assert!(curious.ok().stderr.contains(REMEMBERED), "{}", curious.stderr);
    each(&["-u"]);
    choices(&world, "3");
    for args in [&["-u", "a"][..], &["-u"], &["-u", "--always"]] {
        each(args);
    }
    // The derivation is made of what is there now.
    world.write("text", "2");
    build(&world);
    each(&["-i", "c"]);
    // What installing walked to is remembered, too.
    for file in files(&world) {
        fs::remove_file(file).unwrap();
    }
    each(&["-i", "c"]);
    assert!(list(&world, &["-f", "all.nix", "-qa", "-v"]).stderr.contains(REMEMBERED));
}

#[test]
fn channels_in_the_store_are_remembered() {
    let world = World::new();
    let text = format!("let {COMMON} in {{ a = drv \"a-${{builtins.readFile ./.version}}\" {{}}; }}");
    world.write("channel/default.nix", text);
    world.write("channel/.version", "1");
    let path = world.nix_store(&["--add", &world.text("channel")]).line();
    fs::create_dir_all(world.path("home/.nix-defexpr")).unwrap();
    symlink(&path, world.path("home/.nix-defexpr/channel")).unwrap();
    assert!(list_twice(&world, &["-qaP"]).contains("a-1"));
    world.write("channel/.version", "2");
    let path = world.nix_store(&["--add", &world.text("channel")]).line();
    fs::remove_file(world.path("home/.nix-defexpr/channel")).unwrap();
    symlink(&path, world.path("home/.nix-defexpr/channel")).unwrap();
    assert!(list_twice(&world, &["-qaP"]).contains("a-2"));
}
