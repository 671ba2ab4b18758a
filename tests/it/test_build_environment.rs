//! What builders are given, beside the reference: variables, arguments, files, structured attributes,
//! descriptions of closures, and what cannot be understood. Each derivation writes down what it sees.

use crate::common::{Side, World};
use crate::test_build::{SIDES, after, same, together};

/// Each attribute is a derivation.
const NIX: &str = r##"
let
  # The directory of a build has another name each time.
  seen = "env | sed \"s#$NIX_BUILD_TOP#TOP#g\" | sort > $out; pwd | sed \"s#$NIX_BUILD_TOP#TOP#g\" >> $out\n:";
  d = name: script: more: derivation ({
    inherit name;
    system = "x86_64-linux";
    builder = "/bin/sh";
    args = [ "-c" script ];
    PATH = "/usr/bin:/bin";
  } // more);
  bash = name: script: more: d name (". $NIX_ATTRS_SH_FILE\n" + script + "\n:") ({
    builder = "/bin/bash";
    __structuredAttrs = true;
    PATH = "";
  } // more);
  written = "PATH=/usr/bin:/bin; cat $NIX_ATTRS_JSON_FILE $NIX_ATTRS_SH_FILE > \${outputs[out]}; ls -la . | grep attr | cut -c1-10 >> \${outputs[out]}";
  text = builtins.toFile "text" "a text";
  user = builtins.toFile "user" "uses ${text}";
  dep = d "dep" "echo ${user} > $out; echo $out >> $out" { };
in {
  variables = d "variables" seen { a = "x"; empty = ""; list = [ "a" "b c" 1 true null ]; n = null; yes = true; no = false; };
  lines = d "lines" "printf %s \"$a\" > $out\n:" { a = "one\ntwo\n\n  three\\ \"q\" $x `y`\n"; };
  no-path = d "no-path" "echo $PATH > $out; echo $HOME >> $out\n:" { PATH = null; };
  others = d "others" seen { HOME = "/home"; NIX_STORE = "x"; NIX_BUILD_CORES = "77"; TMPDIR = "no"; PWD = "no"; TERM = "no"; NIX_LOG_FD = "9"; NIX_BUILD_TOP = "no"; NIX_OUTPUT_CHECKED = "own"; };
  arguments = d "arguments" "" { args = [ "-c" "for i in \"$@\"; do echo \"<$i>\"; done > $out; echo \"$0\" >> $out\n:" "zero" "a b" "" "*" "new\nline" (builtins.placeholder "out") ]; };
  no-arguments = d "no-arguments" "" { args = [ ]; builder = "/nonexistent"; };
  placeholders = d "placeholders" seen { a = "${builtins.placeholder "out"}/x:${builtins.placeholder "dev"}:${builtins.placeholder "other"}"; outputs = [ "out" ]; };
  as-file = d "as-file" "${seen}; cat $aPath $bPath >> $out; ls -a | grep attr >> $out; ls -l .attr* | cut -c1-10 >> $out\n:" { passAsFile = [ "a" "b" "nothing" ]; a = "text of a"; b = "text of\nb ${text}"; bPath = "mine"; };
  as-file-out = d "as-file-out" "cp $xPath $out\n:" { passAsFile = "x"; x = builtins.placeholder "out"; };
  graph = d "graph" "cat deps one > $out; ls -l deps | cut -c1-10 >> $out\n:" { exportReferencesGraph = [ "deps" dep "one" text "one" user ]; };
  graph-of-drv = d "graph-of-drv" "cat deps > $out\n:" { exportReferencesGraph = [ "deps" dep.drvPath ]; };
  graph-below = d "graph-below" "cat deps > $out\n:" { exportReferencesGraph = [ "deps" "${dep}/x" ]; };
  structured = bash "structured" "${written}; echo > \${outputs[dev]}" {
    a = "x"; i = -3; t = true; f = false; n = null; fl = 1.5; whole = 2.0; big = 1.0e30; small = 1.0e-7; quote = "it's \"q\" \\ $x"; lines = "a\nb"; unicode = "ü";
    list = [ "a b" 1 2.0 true false null ]; nested = [ [ 1 ] ]; of-sets = [ { a = 1; } ]; empty = [ ]; none = { };
    set = { a = 1; "b c" = "it's"; f = false; n = null; }; deep = { a = { }; }; fraction = { a = 1.5; }; "a-b" = 1; "1x" = 1; _u = 1; "ü" = 1;
    outputs = [ "out" "dev" ]; script = "echo \${outputs[dev]}"; p = builtins.placeholder "dev"; passAsFile = [ "a" ]; out = "mine"; PWD = "mine"; HOME = "mine";
  };
  structured-both = bash "structured-both" "${written}; echo > \${outputs[dev]}" { outputs = [ "out" "dev" ]; p = builtins.placeholder "dev"; "${builtins.placeholder "out"}" = 1; };
  structured-variables = bash "structured-variables" "/usr/bin/env | /bin/sed \"s#$NIX_BUILD_TOP#TOP#g\" | /usr/bin/sort > \${outputs[out]}" { a = "x"; HOME = "x"; };
  structured-graph = bash "structured-graph" written { exportReferencesGraph = { deps = [ dep ]; "a b" = text; several = [ text [ user ] ]; }; };
  structured-no-graph = bash "structured-no-graph" written { exportReferencesGraph = "x"; };
  fixed = d "fixed" "echo \"[$FOO] [$BAR] [$NOTHING] $NIX_OUTPUT_CHECKED $TERM $NIX_LOG_FD [$TMPDIR]\"; printf x > $out" {
    outputHash = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"; outputHashAlgo = "sha256";
    impureEnvVars = [ "FOO" "BAR" "NOTHING" "TERM" "NIX_LOG_FD" "TMPDIR" ]; BAR = "own"; FOO = "own"; NIX_OUTPUT_CHECKED = "0";
  };
  not-fixed = d "not-fixed" "echo \"[$FOO] [$BAR]\" > $out" { impureEnvVars = [ "FOO" "BAR" ]; BAR = "own"; };
  bad-graph = d "bad-graph" "" { exportReferencesGraph = "x"; };
  bad-graph-name = d "bad-graph-name" "" { exportReferencesGraph = [ "../x" text ]; };
  bad-graph-path = d "bad-graph-path" "" { exportReferencesGraph = [ "x" "/etc/passwd" ]; };
  bad-graph-input = d "bad-graph-input" "" { exportReferencesGraph = [ "x" "${builtins.storeDir}/00000000000000000000000000000000-x" ]; };
  bad-flag = bash "bad-flag" "" { preferLocalBuild = "yes"; };
  bad-names = bash "bad-names" "" { requiredSystemFeatures = "kvm"; };
  bad-name = bash "bad-name" "" { impureEnvVars = [ 1 ]; };
  bad-checks = bash "bad-checks" "" { outputChecks = [ ]; };
  bad-check = bash "bad-check" "" { outputChecks.out.allowedReferences = null; };
  bad-size = bash "bad-size" "" { outputChecks.out.maxSize = "1"; };
  bad-discard = bash "bad-discard" "" { unsafeDiscardReferences.out = 1; };
}
"##;

fn world() -> Option<(World, String)> {
    let mut world = World::with_reference()?;
    world.variables = vec![("FOO".to_owned(), "from outside".to_owned())];
    std::fs::create_dir(world.path("links")).unwrap();
    let file = world.write("src/t.nix", NIX).to_str().unwrap().to_owned();
    Some((world, file))
}

/// Builds some of the derivations with one command.
#[track_caller]
fn built(world: &World, file: &str, names: &[&str]) {
    let mut words = vec!["nix-build", file, "--no-out-link", "-k", "-j1"];
    names.iter().for_each(|name| words.extend(["-A", name]));
    together(world, &words);
}

#[test]
fn variables_and_files() {
    let Some((world, file)) = world() else { return };
    let names = [
        "variables",
        "lines",
        "no-path",
        "others",
        "arguments",
        "placeholders",
        "as-file",
        "as-file-out",
        "graph",
        "graph-of-drv",
        "graph-below",
        "not-fixed",
    ];
    built(&world, &file, &names);
}

#[test]
fn structured_attributes() {
    let Some((world, file)) = world() else { return };
    let names = ["structured-both", "structured-variables", "structured-graph", "structured-no-graph"];
    built(&world, &file, &names);
}

/// Where the reference cuts off what does not fit into 32 bits, we do not.
#[test]
fn numbers_of_structured_attributes() {
    let Some((world, file)) = world() else { return };
    let text = |side| {
        let built = world.run(side, "nix-build", &[&file, "-A", "structured", "--no-out-link"]).ok().line();
        let text = std::fs::read_to_string(built).unwrap();
        crate::data::forget(&world);
        text
    };
    let (ours, theirs) = (text(Side::Nival), text(Side::Reference));
    let big = |text: &str| text.lines().find(|line| line.starts_with("declare big=")).unwrap().to_owned();
    assert_eq!(big(&ours), "declare big=1000000000000000019884624838656");
    assert_eq!(ours.replace(&big(&ours), &big(&theirs)), theirs);
}

/// Variables from outside, where nothing else decides what comes out.
#[test]
fn impure_variables() {
    let Some((world, file)) = world() else { return };
    let outcome = same(&world, &["nix-build", &file, "--no-out-link", "-A", "fixed"]);
    assert!(outcome.stderr.contains("[from outside] [] [] 1 xterm-256color 2 []"), "{}", outcome.stderr);
}

#[test]
fn what_cannot_be_understood() {
    let Some((world, file)) = world() else { return };
    for name in [
        "no-arguments",
        "bad-graph",
        "bad-graph-name",
        "bad-graph-path",
        "bad-graph-input",
        "bad-flag",
        "bad-names",
        "bad-name",
        "bad-checks",
        "bad-check",
        "bad-size",
        "bad-discard",
    ] {
        let words = ["nix-build", &file, "--no-out-link", "-A", name];
        let [ours, theirs] = SIDES.map(|side| after(&world, side, &words).0);
        assert_eq!(ours.status, theirs.status, "{name}: {}", ours.stderr);
        // We tell first what would be built.
        assert!(ours.stderr.ends_with(&theirs.stderr), "{name}: {}\n{}", ours.stderr, theirs.stderr);
    }
}
