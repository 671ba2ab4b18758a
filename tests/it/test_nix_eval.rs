//! `nix eval` beside the reference.

use crate::common::{Side, World};

/// A world with some files, if there is a reference.
fn world() -> Option<World> {
    let world = World::with_reference()?;
    world.write("f.nix", "{ a = 1; l = [ 1 { x = 2; } ]; f = { x ? 5 }: { y = x; }; }\n");
    world.write("t", "text\n");
    Some(world)
}

/// A derivation with two outputs.
const DERIVATION: &str =
    r#"derivation { name = "x"; system = "s"; builder = "b"; outputs = [ "out" "dev" ]; }"#;

/// Output, errors and status are those of the reference.
fn as_the_reference(world: &World, args: &[&str], input: &str) {
    let [ours, theirs] = [Side::Nival, Side::Reference].map(|side| {
        let outcome = world.run_with_input(side, "nix", &[&["eval"], args].concat(), input.as_bytes());
        let program = world.programs(side).join("nix");
        (outcome.status, outcome.text().to_owned(), outcome.stderr.replace(program.to_str().unwrap(), "nix"))
    });
    assert_eq!(ours, theirs, "{args:?}");
}

#[test]
fn values() {
    let Some(world) = world() else { return };
    for args in [
        &["--expr", "{ a = 1; b = x: x; c = map; d = throw \"x\"; }"][..],
        &["--expr", "{ a = [ 1 { b = 2; } ]; }", "a.1.b"],
        &["--expr", "{ a = 1; }", "b"],
        &["--expr", "{ a = 1; }", "a^out"],
        &["--expr", "{ a = 1; }", "a^*"],
        &["--expr", "{ a = 1; }", "a^"],
        &["--expr", "1", ".a"],
        &["--expr", DERIVATION, "dev"],
        &["--raw", "--expr", "\"a\""],
        &["--raw", "--expr", "1"],
        &["--raw", "--expr", "./t", "--impure"],
        &["--raw", "--expr", "./t", "--impure", "--read-only"],
        &["--apply", "x: x + 1", "--expr", "1"],
        &["--apply", "1", "--expr", "1"],
        &["--apply", "1 +", "--expr", "1"],
        &["--apply", "x: y", "--expr", "1"],
        &["--apply", "x: x", "--expr", "{ a ? 1 }: a"],
        &["--file", "f.nix", "l"],
        &["--file", "f.nix"],
        &["-f", "f.nix", "f.y", "--argstr", "x", "z"],
        &["-f", "-", "a"],
        &["--expr", "./f.nix"],
        &["--expr", "import ./f.nix", "--impure", "a", "b"],
        &["--expr", "1", "--file", "f.nix"],
        &["--stdin"],
    ] {
        as_the_reference(&world, args, "{ a = ./t; }");
    }
}

#[test]
fn json() {
    let Some(world) = world() else { return };
    for expression in [
        "\"a\"",
        "./t",
        "{ a = ./t; b = [ 1 1.5 null true ]; c = { }; d = [ ]; e = \"\\\\ \\\" : [ é\"; }",
        "{ outPath = ./t; }",
        "\"${./t}\"",
        "x: x",
        "{ a = x: x; }",
        DERIVATION,
        "throw \"x\"",
        "[ 1 (throw \"x\") ]",
        "{ a = 1; b = throw \"x\"; }",
        "{ __toString = x: \"s\"; }",
    ] {
        as_the_reference(&world, &["--json", "--impure", "--expr", expression], "");
        as_the_reference(&world, &["--json", "--pretty", "--impure", "--expr", expression], "");
        as_the_reference(&world, &["--json", "--no-pretty", "--impure", "--expr", expression], "");
    }
    as_the_reference(&world, &["--json", "--raw", "--expr", "1"], "");
}

#[test]
fn texts_become_files() {
    let Some(world) = world() else { return };
    let tree = || {
        let mut all = Vec::new();
        let mut open = vec![world.path("out")];
        while let Some(path) = open.pop() {
            let Ok(meta) = path.symlink_metadata() else { continue };
            let text = if meta.is_dir() { Vec::new() } else { std::fs::read(&path).unwrap() };
            all.push((path.clone(), meta.is_dir(), text));
            if meta.is_dir() {
                open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        all.sort();
        all
    };
    for expression in [
        "\"a\"",
        "{ }",
        "{ a = \"x\"; b = { c = \"y\\n\"; }; }",
        "\"${derivation { name = \"x\"; system = \"s\"; builder = \"b\"; }}\"",
        "1",
        "./t",
        "{ a = \"x\"; b = 1; }",
        "{ a = throw \"x\"; }",
        "{ \"..\" = \"x\"; }",
        "throw \"x\"",
    ] {
        let trees = [Side::Nival, Side::Reference].map(|side| {
            let _ = std::fs::remove_file(world.path("out"));
            let _ = std::fs::remove_dir_all(world.path("out"));
            let args = ["eval", "--json", "--write-to", "out", "--expr", expression];
            let outcome = world.run(side, "nix", &args);
            (outcome.status, outcome.text().to_owned(), outcome.stderr, tree())
        });
        assert_eq!(trees[0], trees[1], "{expression}");
    }
    world.write("there", "");
    as_the_reference(&world, &["--write-to", "there", "--expr", "\"a\""], "");
    as_the_reference(&world, &["--write-to", "no/such", "--expr", "\"a\""], "");
}

#[test]
fn no_file_is_written_elsewhere() {
    let world = World::new();
    for name in ["/../x", "b/x", "", "."] {
        let expression = format!("{{ \"{name}\" = \"x\"; }}");
        let told = world.nival("nix", &["eval", "--write-to", "out", "--expr", &expression]);
        assert!(told.status == 1 && told.stderr.contains("invalid file name"), "{told:?}");
        assert_eq!(std::fs::read_dir(world.path("out")).unwrap().count(), 0);
        std::fs::remove_dir(world.path("out")).unwrap();
    }
}

#[test]
fn flakes_come_later() {
    let world = World::new();
    for args in [&["eval"][..], &["eval", "nixpkgs#hello"]] {
        let told = world.nival("nix", args);
        assert_eq!((told.status, told.stderr.lines().count()), (1, 1), "{told:?}");
        assert!(told.stderr.contains("is a flake, and flakes are not available"), "{told:?}");
    }
}
