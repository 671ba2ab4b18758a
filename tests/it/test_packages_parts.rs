//! Listings that are made in several evaluations.

use std::fs;
use std::os::unix::fs::symlink;

use crate::common::{Outcome, World};
use crate::test_packages::{COMMON, EVERYTHING, write};

/// What is said where another evaluation goes on.
const GOES_ON: &str = "goes on in another evaluation";

/// Packages that are met again, by other names and in other sets, and others of the same names.
const AGAIN: &str = r#"
  zz = foo1; zz_nine = drv "foo-9" {}; zz_other = again // { a = 1; }; zz_same = ten;
  zz_set = { recurseForDerivations = true; a = nine; b = drv "foo-9" {}; c = below.inner; last = p1;
    deep = { recurseForDerivations = true; last = foo2; }; };
  zzz = drv "zzz-1" {};
"#;

fn run(world: &World, memory: &str, args: &[&str]) -> Outcome {
    world.nival("nix-env", &[&["--option", "eval-listing-memory", memory], args].concat())
}

/// Lists in one evaluation and in as many as there can be, and what these remember.
#[track_caller]
fn same(world: &World, args: &[&str]) {
    let whole = run(world, "768", &[args, &["--no-eval-cache"]].concat());
    let _ = fs::remove_dir_all(world.path("home/.cache/nix/nival-packages"));
    assert_eq!(run(world, "0", args), whole, "{args:?}");
    assert_eq!(run(world, "768", args), whole, "{args:?}");
}

#[test]
fn a_listing_in_many_parts_is_the_same() {
    let world = World::new();
    write(&world, "all.nix", &[EVERYTHING, AGAIN].concat());
    let packages = run(&world, "768", &["-f", "all.nix", "-qaP"]).ok().lines().len();
    let told = run(&world, "0", &["-f", "all.nix", "-qaP", "-v", "--no-eval-cache"]).stderr;
    let parts = told.lines().filter(|line| line.contains(GOES_ON)).count();
    assert!(parts > packages - 5, "{parts} of {packages}");
    for args in [&["-qaP"][..], &["-qa", "--json", "--meta", "--out-path"]] {
        same(&world, &[&["-f", "all.nix"], args].concat());
    }
    let members = r#"
        foo1 = drv "foo-1" {}; nine = drv "foo-9" {}; ten = drv "foo-10" { system = "i686-linux"; };
        list = [ (drv "list-1" {}) foo1 { x = drv "list-2" {}; } ];
        function = { x ? "1" }: { recurseForDerivations = true; inner = drv "function-${x}" {}; };
        below.inner = drv "inner-1" {}; p1 = drv "p-1" {}; foo2 = drv "foo-2" {}; again = drv "foo-2" {};
        thrown = throw "x"; bad = { type = "derivation"; name = "bad-1"; outPath = throw "o"; };"#;
    write(&world, "few.nix", &[members, AGAIN].concat());
    for args in [
        &["-qaPs", "--drv-path", "--system"][..],
        &["-qa", "--xml", "--meta", "--out-path"],
        &["-qaP", "foo"],
        &["-qaP", "nothing"],
        &["-qaP", "-A", "zz_set"],
        &["-qaP", "-A", "list"],
        &["-qaP", "-A", "foo1"],
        &["-qaP", "-A", "function", "--argstr", "x", "3"],
        &["-qaP", "--system-filter", "x86_64-linux"],
        &["-qc"],
    ] {
        same(&world, &[&["-f", "few.nix"], args].concat());
    }
}

#[test]
fn what_is_called_is_called_once() {
    let world = World::new();
    let two = "{ v ? \"1\" }: let COMMON in rec { a = drv \"foo-1\" {}; b = drv \"b-${v}\" {}; c = b; }";
    for file in ["one", "two"] {
        world.write(format!("home/.nix-defexpr/{file}.nix"), two.replace("COMMON", COMMON));
    }
    fs::create_dir_all(world.path("sub/three")).unwrap();
    world
        .write("sub/three/default.nix", format!("let {COMMON} in [ (drv \"b-1\" {{}}) (drv \"c-1\" {{}}) ]"));
    symlink(world.path("sub"), world.path("home/.nix-defexpr/sub")).unwrap();
    same(&world, &["-qaP"]);
    same(&world, &["-qaPs", "--drv-path"]);
    assert_eq!(run(&world, "0", &["-qaP", "--no-eval-cache"]).lines().len(), 6);
}

#[test]
fn what_is_told_or_fails_is_the_same_in_parts() {
    let world = World::new();
    // Once something is told there are no more parts, so that nothing is told twice.
    let told = |name: &str| format!("{name} = builtins.trace \"told\" (drv \"{name}-1\" {{}}); ");
    let members = ["a", "b", "m", "y", "z"].map(told).concat();
    write(
        &world,
        "told.nix",
        &[
            "foo1 = drv \"foo-1\" {}; ",
            &members,
            "n = drv \"n-${m.name}\" { x = builtins.trace \"told\" 1; };",
        ]
        .concat(),
    );
    for args in [&["-qaP"][..], &["-qaP", "--drv-path"], &["-qaP", "n"]] {
        same(&world, &[&["-f", "told.nix"], args].concat());
    }
    for (name, member) in [
        ("type", "mm = { type = \"derivation\"; name = 3; };"),
        ("missing", "mm = drv \"mm-1\" {} // { outPath = nowhere.x; }; nowhere = { };"),
        ("abort", "mm = abort \"it ends\";"),
        ("nested", "mm = { recurseForDerivations = true; a = drv \"a-1\" {}; b = drv (1 + \"\") {}; };"),
        ("time", "mm = drv \"mm-${toString (builtins.currentTime / 1000000000)}\" {};"),
    ] {
        let file = format!("{name}.nix");
        write(&world, &file, &["a = drv \"a-1\" {}; z = drv \"z-1\" {}; ", member].concat());
        same(&world, &["-f", &file, "-qaP"]);
        same(&world, &["-f", &file, "-qaPs"]);
    }
}
