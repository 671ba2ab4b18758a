//! Packages of expressions beside the reference: listings, choices, installations.

use std::os::unix::fs::symlink;

use crate::common::{Side, World};
use crate::test_nix_env::both;

const SIDES: [Side; 2] = [Side::Nival, Side::Reference];

/// What the expressions of the tests have in common.
pub const COMMON: &str = r#"
  drv = name: more: derivation ({
    inherit name; builder = "/bin/sh"; system = "x86_64-linux";
    args = [ "-c" "PATH=/bin:/usr/bin; for o in $outputs; do eval p=\\$$o; mkdir -p $p/share; echo $p > $p/share/$(basename $p); done" ];
    outputs = [ "out" ];
  } // more);
  with_meta = drv: meta: drv // { inherit meta; };
"#;

pub fn write(world: &World, file: &str, members: &str) {
    world.write(file, format!("let {COMMON} in rec {{ {members} }}"));
}

/// Runs the same with both, and compares what is printed and how it ends; of failures the last line, too.
fn same(world: &World, args: &[&str]) -> String {
    let [ours, theirs] = SIDES.map(|side| {
        let outcome = world.run(side, "nix-env", args);
        let said: Vec<String> = outcome
            .stderr
            .lines()
            .filter(|line| line.contains("error: ") || line.starts_with("warning") || !line.starts_with(' '))
            .filter(|line| !line.is_empty() && !line.starts_with("Try '") && *line != "error:")
            .map(|line| line.trim().to_owned())
            .collect();
        (outcome.status, outcome.text().to_owned(), said)
    });
    assert_eq!(ours, theirs, "{args:?}");
    ours.1
}

pub const EVERYTHING: &str = r#"
  foo1 = with_meta (drv "foo-1.0" {}) {
    description = "Foo one\nsecond line"; priority = 3; list = [ "a" 1 "b" ];
    set = { zz = "y"; n = 1; aa = "x"; deep = { a = [ 1 2 ]; }; };
    fl = 1.5; one = 1.0; big = 1.0e30; neg = -0.0; int = 3; yes = true; nul = null; "od d" = "q\"<&>'é\t\\"; empty = [ ]; none = { };
  };
  foo2 = drv "foo-2.0" { outputs = [ "out" "dev" "man" ]; };
  same = foo2;
  again = drv "foo-2.0" { outputs = [ "out" "dev" "man" ]; };
  Bar = drv "Bar-1" { system = "i686-linux"; };
  _z = drv "_z-1" {};
  nine = drv "foo-9" {}; ten = drv "foo-10" {}; b1 = drv "b-1" {}; A2 = drv "A-2" {}; p1 = drv "p" {};
  thrown = throw "no"; failed = assert false; foo1;
  bad_name = foo1 // { name = throw "n"; };
  bad_type = { type = throw "t"; };
  bad_description = with_meta (drv "bad-description-1" {}) { zeta = "z"; alpha = "a"; description = throw "x"; other = "y"; };
  bad_meta = with_meta (drv "bad-meta-1" {}) (throw "M");
  odd_meta = with_meta (drv "odd-meta-1" {}) { f = x: x; p = /etc; d = foo1; l = [ (x: x) ]; ok = "yes"; lk = { a.b = null; }; };
  no_description = with_meta (drv "no-description-1" {}) { description = { x = 1; }; };
  bad_drv = { type = "derivation"; name = "bad-drv-1"; system = "x86_64-linux"; drvPath = throw "z"; outPath = throw "z"; };
  drv_only = { type = "derivation"; name = "drv-only-1"; drvPath = throw "d"; outPath = foo1.outPath; meta.description = "D"; };
  out_only = { type = "derivation"; name = "out-only-1"; outPath = throw "d"; drvPath = foo1.drvPath; meta.description = "D"; };
  bad_system = { type = "derivation"; name = "bad-system-1"; system = throw "s"; outPath = foo1.outPath; };
  bad_output_name = { type = "derivation"; name = "bad-output-name-1"; outPath = foo1.outPath; outputName = throw "o"; };
  bad_output = { type = "derivation"; name = "bad-output-1"; outputs = [ "out" "dev" "zip" ]; outPath = foo1.outPath; dev.outPath = foo1.outPath; out.outPath = throw "q"; meta.b = 1; };
  bad_outputs = { type = "derivation"; name = "bad-outputs-1"; outputs = throw "x"; outPath = foo1.outPath; };
  below = { recurseForDerivations = true; inner = drv "inner-1" {}; thrown = throw "x";
    deeper = { recurseForDerivations = true; inner = drv "inner-2" {}; }; not = { x = drv "no-1" {}; }; off = { recurseForDerivations = false; x = drv "off-1" {}; }; };
  alone = { inner = drv "alone-1" {}; b = drv "alone-2" {}; "we ird" = drv "weird-1" {}; "1st" = drv "first-1" {}; };
  "quo.ted" = { a = drv "quoted-1" {}; "b c" = drv "quoted-2" {}; };
  list = [ (drv "list-1" {}) foo1 foo1 { x = drv "list-2" {}; y.z = drv "list-3" {}; } [ (drv "list-4" {}) ] (throw "x") ];
  three = [ 3 ];
  function = { x ? "1" }: { recurseForDerivations = true; inner = drv "function-${x}" {}; };
  needs = { y }: drv "needs-${y}" {};
"#;

#[test]
fn listings_are_the_reference_s() {
    let Some(world) = World::with_reference() else { return };
    write(&world, "all.nix", EVERYTHING);
    let all = |flags: &[&str]| same(&world, &[&["-f", "all.nix"], flags].concat());
    assert!(all(&["-qaP"]).lines().count() > 20);
    for flags in [
        &["-qa"][..],
        &["-qaPs"],
        &["-qas", "--no-name"],
        &["-qa", "--no-name"],
        &["-qaP", "--system"],
        &["-qaP", "--drv-path"],
        &["-qaP", "--out-path"],
        &["-qaP", "--description"],
        &["-qaPs", "--system", "--drv-path", "--out-path", "--description"],
        &["-qac"],
        &["-qa", "--json"],
        &["-qa", "--json", "-s"],
        &["-qa", "--json", "--meta"],
        &["-qa", "--json", "--meta", "--out-path", "--drv-path"],
        &["-qa", "--xml"],
        &["-qa", "--xml", "-s"],
        &["-qa", "--xml", "--meta"],
        &["-qa", "--xml", "--meta", "--out-path", "--drv-path", "--description", "-s", "-c"],
        &["-qab"],
        &["-qa", "--installed"],
        &["-q", "--available", "-P"],
        &["-qP"],
        &["-qaP", "foo", "Bar"],
        &["-qaP", "foo-2.0"],
        &["-qaP", "foo.*", "foo-1.0"],
        &["-qaP", "fo"],
        &["-qaP", "foo-3"],
        &["-qaP", "FOO"],
        &["-qaP", ""],
        &["-qaP", "*"],
        &["-qaP", ".*"],
        &["-qaP", "("],
        &["-qaP", "nothing", "foo"],
        &["-qaP", "--system-filter", "i686-linux", "-A", "Bar"],
        &["-qaP", "--system-filter", "x86_64-linux", "-A", "below"],
        &["-qaP", "--system-filter", "*"],
        &["-qaP", "-A", "alone"],
        &["-qaP", "-A", "alone", "alone-2"],
        &["-qaP", "-A", "alone", "-A", "below"],
        &["-qaP", "-A", "\"quo.ted\""],
        &["-qaP", "-A", "below.off"],
        &["-qaP", "-A", "below.deeper.inner"],
        &["-qaP", "-A", "list"],
        &["-qaP", "-A", "list.3"],
        &["-qaP", "-A", "list.9"],
        &["-qaP", "-A", "three"],
        &["-qaP", "-A", "function"],
        &["-qaP", "-A", "function", "--argstr", "x", "2"],
        &["-qaP", "-A", "function.inner"],
        &["-qaP", "-A", "needs"],
        &["-qaP", "-A", "needs", "--argstr", "y", "7"],
        &["-qaP", "-A", "thrown"],
        &["-qaP", "-A", "nowhere"],
        &["-qaP", "-A", "foo1.name.x"],
        &["-qaP", "-A", ""],
    ] {
        all(flags);
    }
    // More than one output of a package that is there.
    assert!(all(&["-qa", "--out-path", "foo-2.0"]).contains("dev="));
}

#[test]
fn failures_end_listings() {
    let Some(world) = World::with_reference() else { return };
    write(
        &world,
        "bad.nix",
        r#"
        a = { type = "derivation"; name = "a-1"; meta = 3; };
        b = { type = "derivation"; name = "b-1"; meta = { description = 3; }; };
        f = { type = "derivation"; name = 3; };
        g = { type = "derivation"; name = "g-1"; system = 3; };
        g1 = { type = "derivation"; name = "g-2"; outputName = 3; };
        h = { type = "derivation"; name = "h-1"; outputs = [ 3 ]; };
        i = { type = "derivation"; name = "i-1"; outputs = 3; };
        j = { type = "derivation"; name = "j-1"; drvPath = "/x"; outPath = "/y"; };
        j1 = { type = "derivation"; name = "j-2"; drvPath = ./three.nix; outPath = ./three.nix; };
        j2 = let path = builtins.storeDir + "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-q";
          in { type = "derivation"; name = "j-3"; drvPath = path; outPath = path + "/below"; };
        j3 = let path = builtins.storeDir + "/short"; in { type = "derivation"; name = "j-4"; drvPath = path; outPath = path; };
        k = { type = "derivation"; name = "k-1"; outputs = [ "dev" ]; dev = { outPath = 3; }; outPath = 7; };
        l = { type = "derivation"; name = "l-1"; outputs = [ "out" "dev" ]; out = 3; };
        m = { recurseForDerivations = 3; };
        n = { recurseForDerivations = throw "n"; };
        o = { p = (x: x.foo) { }; };
        q = { r = { type = "derivation"; }; };
        s = { recurseForDerivations = true; t = abort "t"; };
    "#,
    );
    world.write("three.nix", "3");
    world.write("list.nix", format!("let {COMMON} in [ (drv \"z-1\" {{}}) ]"));
    for attribute in
        ["a", "b", "f", "g", "g1", "h", "i", "j", "j1", "j2", "j3", "k", "l", "m", "n", "o", "q", "s"]
    {
        for flags in [
            &["-P"][..],
            &["--system"],
            &["--drv-path"],
            &["--out-path"],
            &["--description"],
            &["-s"],
            &["--json", "--meta"],
        ] {
            same(&world, &[&["-f", "bad.nix", "-qa", "-A", attribute], flags].concat());
        }
    }
    for args in [
        &["-f", "bad.nix", "-qa"][..],
        &["-f", "three.nix", "-qa"],
        &["-f", "list.nix", "-qaP"],
        &["-f", "list.nix", "-qaP", "-A", "0"],
        &["-f", "nothing.nix", "-qa"],
        &["-f", "nothing.nix", "-q"],
        &["-f", "nothing.nix", "-qc"],
        &["-f", "<nothing>", "-qa"],
        &["-f", "<here>", "-I", "here=list.nix", "-qaP"],
    ] {
        same(&world, args);
    }
}

#[test]
fn directories_of_expressions() {
    let Some(world) = World::with_reference() else { return };
    let place = "home/.nix-defexpr";
    write(
        &world,
        &format!("{place}/b.nix"),
        r#"x = drv "b-1" {}; s = { recurseForDerivations = true; y = drv "b-2" {}; };"#,
    );
    write(&world, &format!("{place}/a/default.nix"), r#"x = drv "a-1" {};"#);
    write(&world, &format!("{place}/sub/more/c.nix"), r#"x = drv "c-1" {};"#);
    write(&world, &format!("{place}/sub/b.nix"), r#"x = drv "hidden-1" {};"#);
    write(&world, &format!("{place}/manifest.nix"), r#"x = drv "manifest-1" {};"#);
    write(&world, &format!("{place}/.dot.nix"), r#"x = drv "dot-1" {};"#);
    write(&world, &format!("{place}/we ird.nix"), r#"x = drv "weird-1" {};"#);
    write(&world, "elsewhere.nix", r#"x = drv "linked-1" {};"#);
    write(&world, "channels/one/default.nix", r#"hello = drv "hello-1" {};"#);
    world.write("channels/manifest.nix", "[ ]");
    world.write(format!("{place}/text.txt"), "x");
    world.write(
        format!("{place}/function.nix"),
        format!("{{ v ? \"1\" }}: let {COMMON} in {{ three = 3; inner = drv \"function-${{v}}\" {{}}; }}"),
    );
    world.write(format!("{place}/list.nix"), format!("let {COMMON} in [ (drv \"list-1\" {{}}) ]"));
    symlink(world.path("elsewhere.nix"), world.path(place).join("linked.nix")).unwrap();
    symlink("nowhere", world.path(place).join("dangling.nix")).unwrap();
    symlink(world.path("channels"), world.path(place).join("channels")).unwrap();
    let everything = same(&world, &["-qaP"]);
    assert!(everything.contains("one.hello") && everything.contains("list.0"), "{everything}");
    for args in [
        &["-qaP", "--argstr", "v", "2"][..],
        &["-qaP", "-A", "one"],
        &["-qaP", "-A", "function"],
        &["-qaP", "-A", "\"we ird\""],
        &["-f", place, "-qaP"],
        &["-qac"],
        &["-qc"],
    ] {
        same(&world, args);
    }
    // One that throws ends everything, but for those who do not read it.
    world.write(format!("{place}/thrown.nix"), "throw \"x\"");
    same(&world, &["-qaP"]);
    same(&world, &["-qaP", "-A", "a"]);
    std::fs::remove_dir_all(world.path(place)).unwrap();
    same(&world, &["-qaP"]);
    std::fs::create_dir(world.path("empty")).unwrap();
    for args in [
        &["-f", "empty", "-qaP"][..],
        &["-f", "empty/", "-qa", "nothing"],
        &["-f", "./empty/.", "-iA", "nothing"],
        &["-f", "./channels/.", "-qaP"],
        &["-f", "./channels/one/..", "-qa", "nothing"],
        &["-f", "./channels/none/..", "-qa"],
    ] {
        same(&world, args);
    }
    world.write("home/alone.nix", "");
    same(&world, &["-f", "home/alone.nix", "-qaP"]);
}

#[test]
fn what_can_be_had_is_told() {
    let Some(world) = World::with_reference() else { return };
    let cache = format!("file://{}", world.text("cache"));
    write(&world, "all.nix", EVERYTHING);
    let build = |attribute: &str| {
        let built = world.run(Side::Reference, "nix-build", &["all.nix", "-A", attribute, "--no-out-link"]);
        built.line()
    };
    let (foo, ten, nine) = (build("foo1"), build("ten"), build("nine"));
    world.run(Side::Reference, "nix", &["copy", "--to", &cache, &ten, &nine]).ok();
    world.run(Side::Reference, "nix-store", &["--delete", &ten]).ok();
    world.write("cache/nix-cache-info", format!("StoreDir: {}\nWantMassQuery: 1\n", world.store().display()));
    for side in SIDES {
        world.run(side, "nix-env", &["-p", &world.text("var/profiles/p"), "-i", &foo]).ok();
    }
    let profile = world.text("var/profiles/p");
    let base = ["-f", "all.nix", "-p", &profile, "--substituters", &cache];
    let all = same(&world, &[&base[..], &["-qaPs"]].concat());
    for status in ["IP-  foo1", "-PS  nine", "--S  ten"] {
        assert!(all.contains(status), "{status}: {all}");
    }
    for flags in [
        &["-qaPb"][..],
        &["-qas", "--xml"],
        &["-qab", "--json"],
        &["-qsb"],
        &["-qac"],
        &["-qc"],
        &["-qc", "--xml"],
    ] {
        same(&world, &[&base[..], flags].concat());
    }
    let unasked = format!("{cache}?want-mass-query=false");
    same(&world, &["-f", "all.nix", "-p", &profile, "--substituters", &unasked, "-qaPs"]);
}

/// Packages to choose from; all but one can be built.
pub const CHOICES: &str = r#"
  foo1 = with_meta (drv "foo-1.0" {}) { description = "Foo one"; f = x: x; l = [ 1 "a" ]; fl = 1.0; set = { b = [ ]; "a b" = "${"$"}{x}"; }; };
  foo2 = with_meta (drv "foo-2.0" {}) { priority = 1; };
  foo3 = drv "foo-3.0" {};
  bar1 = with_meta (drv "bar-1" { outputs = [ "out" "dev" "man" ]; }) { outputsToInstall = [ "out" "dev" ]; };
  bar2 = with_meta (drv "bar-2" { outputs = [ "out" "dev" ]; }) { outputsToInstall = [ "out" "nope" ]; };
  baz = drv "baz-1" { outputs = [ "dev" "out" ]; };
  one_output = (drv "one-1" { outputs = [ "out" "dev" ]; }).dev // { outputSpecified = true; outputs = [ "dev" ]; };
  other_system = drv "sys-9" { system = "i686-linux"; };
  this_system = drv "sys-1" {};
  bad_meta = with_meta (drv "bad-meta-1" {}) { x = throw "M"; };
  negative = with_meta (drv "prio-1" {}) { priority = -1; };
  none = drv "prio-2" {};
  word = with_meta (drv "word-1" {}) { priority = "high"; };
  number = with_meta (drv "word-2" {}) { priority = "7"; };
  q1 = drv "q-1" {}; q2 = drv "q-2pre1" {}; q3 = drv "q-2" {};
  kept1 = drv "kept-1" {}; kept2 = drv "kept-2" {};
  renamed = foo1 // { name = "renamed-5"; };
  nested = { a = drv "nested-a-1" {}; b = drv "nested-b-1" {}; };
  plain = { type = "derivation"; name = "plain-1"; outPath = foo1.outPath; };
  "quo.ted" = drv "quoted-1" {};
  no_drv = { type = "derivation"; name = "no-drv-1"; outPath = "/x"; };
"#;

/// The packages of [`CHOICES`] in the store.
fn built() -> Option<World> {
    let world = World::with_reference()?;
    write(&world, "all.nix", CHOICES);
    let built = world.run(
        Side::Reference,
        "nix-build",
        &["--no-out-link", "-E", "with builtins; let all = import ./all.nix; in map (n: all.${n}) (filter (n: !elem n [ \"other_system\" \"plain\" \"no_drv\" ]) (attrNames all))"],
    );
    built.ok();
    Some(world)
}

#[test]
fn choices_are_the_reference_s() {
    let Some(world) = built() else { return };
    let step = |args: &[&str]| both(&world, &[&["-f", "all.nix"], args].concat());
    for args in [
        &["-i", "foo"][..],
        &["-i", "foo-1.0", "bar-1", "baz"],
        &["-q", "--json", "--meta", "--out-path"],
        &["-i", "foo-2.0", "foo", "-P"],
        &["-ir", "foo-1.0", "one", "sys"],
        &["-q"],
        &["-i", "prio", "word-2"],
        &["-q", "--xml", "--meta"],
        &["-i", "[pq].*", "q-1"],
        &["-i", "bar-2"],
        &["-i", "bad-meta"],
        &["-i", "nothing"],
        &["-i", "foo-9", "foo"],
        &["-iA", "foo3", "q1"],
        &["-iA", "nested"],
        &["-iA", "\"quo.ted\"", "renamed"],
        &["-iA", "nowhere"],
        &["-iE", "p: p.foo1", "p: [ p.baz p.q1 ]", "-r"],
        &["-iE", "3"],
        &["-i", "plain"],
        &["-iA", "no_drv"],
        &["-q"],
        &["-u", "--dry-run", "q"],
        &["-u", "q-2pre1"],
        &["-u", "q"],
        &["-u", "q", "--eq"],
        &["-u", "q-1", "--always"],
        &["-u", "q", "--leq"],
        &["-u", "nothing"],
        &["-u", "sys"],
        &["-iA", "kept1", "foo1"],
        &["--set-flag", "keep", "true", "kept"],
        &["-u", "kept", "foo"],
        &["-i", "kept"],
        &["-e", "kept"],
        &["-uA", "foo2"],
        &["-uA", "foo3"],
        &["-uE", "p: p.foo2", "--always"],
        &["-ir", "word-2", "prio-1", "q-1"],
        &["-u"],
        &["-q"],
        &["--rollback"],
        &["-q"],
        &["-e", "q", "prio"],
        &["--set-flag", "active", "false", "word"],
        &["-i", "q", "--dry-run"],
        &["-ib", "q"],
        &["-i", "--system-filter", "i686-linux", "foo"],
        &["-i", "--system-filter", "x86_64-linux", "sys"],
        &["--set", "foo"],
        &["--set", "-A", "foo1"],
        &["--set", "foo", "q"],
        &["--set"],
        &["--list-generations"],
    ] {
        // Times differ.
        if args != ["--list-generations"] {
            step(args);
        }
    }
}

#[test]
fn packages_are_fetched_or_refused() {
    let Some(world) = built() else { return };
    let cache = format!("file://{}", world.text("cache"));
    let all = world.run(Side::Reference, "nix-build", &["all.nix", "-A", "bar1.all", "--no-out-link"]);
    let paths: Vec<&str> = all.ok().lines();
    world.run(Side::Reference, "nix", &[&["copy", "--to", &cache][..], &paths].concat()).ok();
    world.run(Side::Reference, "nix-store", &["--gc"]).ok();
    let profile = world.text("var/profiles/p");
    let base =
        ["-f", "all.nix", "-p", &profile, "--substituters", &cache, "--option", "require-sigs", "false"];
    let run = |args: &[&str]| world.nival("nix-env", &[&base[..], args].concat());
    let told = run(&["-i", "bar-1", "--dry-run"]);
    assert!(told.ok().stderr.contains("these 3 paths will be fetched"), "{}", told.stderr);
    assert!(!world.path("var/profiles/p").exists());
    let done = run(&["-i", "bar-1"]);
    assert!(done.ok().stderr.contains("installing 'bar-1'"), "{}", done.stderr);
    assert!(paths.iter().all(|path| std::path::Path::new(path).exists()));
    // What cannot be built is named, and nothing has changed.
    let refused = run(&["-i", "foo", "-j0"]);
    assert_eq!(refused.status, 100, "{}", refused.stderr);
    assert!(refused.stderr.contains("this derivation will be built:"), "{}", refused.stderr);
    assert!(refused.stderr.contains("-foo-3.0.drv"), "{}", refused.stderr);
    assert_eq!(run(&["-q"]).line(), "bar-1");
    run(&["-i", "foo"]).ok();
    assert_eq!(run(&["-q"]).ok().lines(), ["bar-1", "foo-3.0"]);
}
