//! What becomes of what builders make, beside the reference: references, outputs of all kinds, checks,
//! and outputs that are there already. Paths, hashes, references, messages and statuses are the same.

use crate::common::{Side, World};
use crate::data;
use crate::test_build::{same, together};

/// Each attribute is a derivation.
const NIX: &str = r##"
let
  d = name: script: more: derivation ({
    inherit name;
    system = "x86_64-linux";
    builder = "/bin/bash";
    args = [ "-c" (script + "\n:") ];
    PATH = "/usr/bin:/bin";
  } // more);
  structured = name: script: more: d name (". $NIX_ATTRS_SH_FILE; PATH=/usr/bin:/bin; out=\${outputs[out]}; " + script) ({ __structuredAttrs = true; } // more);
  text = builtins.toFile "text" "a text";
  user = builtins.toFile "user" "uses ${text}";
  part = builtins.substring (builtins.stringLength builtins.storeDir + 1) 32 text;
  two = { outputs = [ "out" "dev" ]; };
  zero = { outputHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="; };
  empty = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
  archive = { outputHashMode = "recursive"; };
  floating = { __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256"; };
in {
  kinds = {
    plain = d "plain" "echo hi > $out" { };
    executable = d "executable" "echo hi > $out; chmod 755 $out" { };
    link = d "link" "ln -s /nowhere $out" { };
    tree = d "tree" "mkdir -p $out/a/b; echo x > $out/a/b/x; chmod 600 $out/a/b/x; ln -s ../x $out/a/l; chmod 500 $out/a/b; touch -d @0 $out/a/b; mkdir $out/empty; touch $'$out/new\nline' \"$out/ü b\"" { };
    modes = d "modes" "mkdir $out; for m in 000 111 444 4755 2755 1777 640; do echo $m > $out/$m; chmod $m $out/$m || true; done; mkdir $out/d; chmod 1777 $out/d" { };
    hard-links = d "hard-links" "mkdir $out; echo x > $out/a; ln $out/a $out/b; chmod 666 $out/a" { };
    deep = d "deep" "mkdir -p $out/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21/22/23/24/25/26/27/28/29/30" { };
    large = d "large" "head -c 14000000 /dev/zero > $out; echo ${text} >> $out" { };
    in-contents = d "in-contents" "echo ${text} > $out" { };
    in-names = d "in-names" "mkdir -p $out/${part}x" { inherit text; };
    in-links = d "in-links" "ln -s /x/${part}y $out" { inherit text; };
    bare = d "bare" "printf %s x${part}x > $out" { inherit text; };
    indirect = d "indirect" "echo ${text} > $out" { inherit user; };
    at-seams = d "at-seams" "for n in 131000 131050 131071 131072 262140; do head -c $n /dev/zero; printf %s ${part}; done > $out" { inherit text; };
    upper = d "upper" "echo ${text} | tr a-z A-Z > $out" { };
    partial = d "partial" "printf %s ${builtins.substring 0 31 part} > $out" { inherit text; };
    not-an-input = d "not-an-input" "echo ${builtins.unsafeDiscardStringContext text} > $out" { };
    itself = d "itself" "mkdir $out; echo $out > $out/x; ln -s $out/x $out/l" { };
    several = d "several" "echo $out > $dev; echo ${text} > $out" two;
    names-own = d "names-own" "mkdir $out; touch $out/\${out##*/} $out/{0..9} $out/{a..z}; ln -s $out $out/l; echo $out > $out/self" { };
    discard = structured "discard" "echo ${text} $out > $out" { unsafeDiscardReferences.out = true; };
    discard-no = d "discard-no" "echo ${text} $out > $out" { unsafeDiscardReferences = true; };
  };
  bad = {
    missing = d "missing" "" { };
    missing-dev = d "missing-dev" "echo > $out" two;
    missing-both = d "missing-both" "" two;
    writable = d "writable" "echo > $out; chmod 666 $out" { };
    writable-group = d "writable-group" "mkdir $out; chmod 775 $out" { };
    pipe = d "pipe" "mkfifo $out" { };
    pipe-below = d "pipe-below" "mkdir $out; mkfifo $out/f" { };
    circle = d "circle" "echo $dev > $out; echo $out > $dev" two;
    circle-of-three = d "circle-of-three" "echo $b > $a; echo $c > $b; echo $a > $c; echo > $out" { outputs = [ "out" "c" "b" "a" ]; };
  };
  checks = {
    allowed = d "allowed" "echo ${text} $out > $out" { allowedReferences = [ text "out" ]; disallowedReferences = [ user ]; disallowedRequisites = [ user ]; };
    allowed-all = d "allowed-all" "echo ${user} $out > $out" { allowedRequisites = [ text user ]; };
    allowed-other = d "allowed-other" "echo ${text} $dev > $out; echo > $dev" (two // { allowedReferences = [ "dev" text ]; });
    not-in-effect = d "not-in-effect" "echo ${text} > $out" { maxSize = 1; outputChecks = "x"; };
    each = structured "each" "echo ${text} > $out" { outputChecks = { out = { maxSize = 1000; maxClosureSize = 2000; allowedReferences = [ text ]; }; other.maxSize = 1; }; };
    unlimited = structured "unlimited" "echo ${text} > $out" { outputChecks.out.maxSize = -1; };
  };
  refused = {
    references = d "references" "echo ${text} $out > $out" { allowedReferences = [ ]; };
    itself = d "itself" "echo $out > $out" { allowedReferences = [ text ]; };
    disallowed = d "disallowed" "echo ${text} $dev > $out; echo > $dev" (two // { disallowedReferences = [ text "dev" ]; });
    requisites = d "requisites" "echo ${user} > $out" { allowedRequisites = [ user ]; };
    disallowed-requisites = d "disallowed-requisites" "echo ${user} > $out" { disallowedRequisites = [ text ]; };
    through-output = d "through-output" "echo ${text} > $dev; echo $dev > $out" (two // { allowedRequisites = [ "dev" "out" ]; });
    bad-name = d "bad-name" "echo > $out; echo > $dev" (two // { allowedReferences = [ "nosuch" ]; });
    bad-path = d "bad-path" "echo > $out" { disallowedReferences = [ "/etc" ]; };
    size = structured "size" "echo hi > $out" { outputChecks.out.maxSize = 10; };
    closure = structured "closure" "echo ${user} > $out" { outputChecks.out.maxClosureSize = 200; };
    listed = structured "listed" "echo ${text} > $out" { outputChecks.out.disallowedReferences = [ text ]; };
    own = structured "own" "echo $out > $out" { outputChecks.out = { allowedReferences = [ ]; ignoreSelfRefs = true; }; };
  };
  fixed = {
    flat = d "flat" "printf '' > $out" { outputHash = empty; };
    sha1 = d "sha1" "printf '' > $out" { outputHash = "da39a3ee5e6b4b0d3255bfef95601890afd80709"; outputHashAlgo = "sha1"; };
    archive = d "archive" "mkdir $out" (archive // { outputHash = "sha256-pQpattmS9VmO3ZIQUFn66az8GSmB4IvYhTTCFn6SUmo="; });
    discard = structured "discard-fixed" "printf '' > $out" { outputHash = empty; unsafeDiscardReferences.out = true; };
  };
  broken = {
    flat = d "flat" "echo x > $out" zero;
    md5 = d "md5" "echo x > $out" { outputHash = "00000000000000000000000000000000"; outputHashAlgo = "md5"; };
    sha512 = d "sha512" "echo x > $out" { outputHash = "sha512-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="; };
    archive = d "archive" "mkdir $out; echo ${text} > $out/x" (zero // archive);
    itself = d "itself" "echo $out > $out" (zero // archive);
    checked = d "checked" "echo ${text} > $out" (zero // archive // { allowedReferences = [ ]; });
    references = d "references" "echo ${text} > $out" zero;
    archive-references = d "archive-references" "echo $out > $out" (archive // { outputHash = "sha1-AAAAAAAAAAAAAAAAAAAAAAAAAAA="; });
  };
  unknown = {
    plain = d "plain" "echo hi > $out" floating;
    itself = d "itself" "mkdir $out; echo $out > $out/x; ln -s $out $out/l" floating;
    several = d "several" "echo $dev ${text} > $out; echo $dev > $dev" (two // floating);
    flat = d "flat" "echo x > $out" (floating // { outputHashMode = "flat"; });
    sha1 = d "sha1" "echo x > $out" (floating // { outputHashAlgo = "sha1"; });
    checked = d "checked" "echo $dev $out > $out; echo > $dev" (two // floating // { allowedReferences = [ "out" "dev" ]; });
    written = d "written" "echo $out $x > $out" (floating // { x = builtins.placeholder "out"; });
  };
  wrong = {
    flat-references = d "flat-references" "echo ${text} > $out" (floating // { outputHashMode = "flat"; });
    sha1-itself = d "sha1-itself" "echo $out > $out" (floating // { outputHashAlgo = "sha1"; });
    circle = d "circle" "echo $dev > $out; echo $out > $dev" (two // floating);
    missing = d "missing" "" floating;
  };
}
"##;

fn world() -> Option<(World, String)> {
    let world = World::with_reference()?;
    world.write("etc/nix.conf", "experimental-features = nix-command ca-derivations\nbuild-users-group =\nsubstituters =\nsandbox = false\n");
    std::fs::create_dir(world.path("links")).unwrap();
    let file = world.write("src/t.nix", NIX).to_str().unwrap().to_owned();
    Some((world, file))
}

/// The names in one of the sets.
fn names(world: &World, file: &str, set: &str) -> Vec<String> {
    let expression = format!("builtins.attrNames (import {file}).{set}");
    let words = ["--eval", "--json", "--strict", "-E", &expression];
    serde_json::from_slice(&world.run(Side::Nival, "nix-instantiate", &words).ok().stdout).unwrap()
}

/// Builds all of a set with one command.
#[track_caller]
fn all(world: &World, file: &str, set: &str) {
    let names: Vec<String> = names(world, file, set).iter().map(|name| format!("{set}.{name}")).collect();
    let mut words = vec!["nix-build", file, "--no-out-link", "-k", "-j1"];
    names.iter().for_each(|name| words.extend(["-A", name]));
    together(world, &words);
}

/// Builds each of a set with a command of its own.
#[track_caller]
fn each(world: &World, file: &str, set: &str, status: i32) {
    for name in names(world, file, set) {
        let outcome = same(world, &["nix-build", file, "--no-out-link", "-A", &format!("{set}.{name}")]);
        assert_eq!(outcome.status, status, "{name}: {}", outcome.stderr);
    }
}

#[test]
fn references_and_modes() {
    let Some((world, file)) = world() else { return };
    all(&world, &file, "kinds");
    data::assert_sound(&world);
}

#[test]
fn what_is_no_output() {
    let Some((world, file)) = world() else { return };
    each(&world, &file, "bad", 1);
}

#[test]
fn checks() {
    let Some((world, file)) = world() else { return };
    all(&world, &file, "checks");
    each(&world, &file, "refused", 1);
}

#[test]
fn promised_outputs() {
    let Some((world, file)) = world() else { return };
    all(&world, &file, "fixed");
}

#[test]
fn promises_that_are_broken() {
    let Some((world, file)) = world() else { return };
    for (name, status) in [
        ("flat", 102),
        ("md5", 102),
        ("sha512", 102),
        ("archive", 102),
        ("itself", 102),
        ("checked", 102),
        ("references", 1),
        ("archive-references", 1),
    ] {
        let outcome = same(&world, &["nix-build", &file, "--no-out-link", "-A", &format!("broken.{name}")]);
        assert_eq!(outcome.status, status, "{name}: {}", outcome.stderr);
    }
}

#[test]
fn outputs_named_by_their_contents() {
    let Some((world, file)) = world() else { return };
    all(&world, &file, "unknown");
    each(&world, &file, "wrong", 1);
}

/// The builder writes other paths where outputs are there already; nothing of that is left.
#[test]
fn outputs_that_are_there_are_built_again() {
    let Some((world, file)) = world() else { return };
    for name in ["kinds.itself", "kinds.several", "kinds.tree", "kinds.at-seams", "unknown.itself"] {
        for side in [Side::Nival, Side::Reference] {
            world.run(side, "nix-build", &[&file, "--no-out-link", "-A", name]).ok();
            let before = data::state(&world);
            for other in [Side::Nival, Side::Reference] {
                let checked = world.run(other, "nix-build", &[&file, "--no-out-link", "--check", "-A", name]);
                checked.ok();
                assert!(checked.stderr.contains("checking outputs of"), "{name}: {}", checked.stderr);
                assert_eq!(data::state(&world), before, "{name}");
            }
            data::forget(&world);
        }
    }
}

/// The names of a directory have another order where the builder writes another path, which the
/// reference cannot cope with.
#[test]
fn names_are_sorted_anew() {
    let Some((world, file)) = world() else { return };
    let word = [&file, "--no-out-link", "-A", "kinds.names-own"];
    world.nival("nix-build", &word).ok();
    let before = data::state(&world);
    world.nival("nix-build", &[&word[..], &["--check"]].concat()).ok();
    assert_eq!(data::state(&world), before);
    data::assert_sound(&world);
}

/// One of two outputs is gone: both are built, and the other stays as it was.
#[test]
fn one_output_is_gone() {
    let Some((world, file)) = world() else { return };
    let mut states = Vec::new();
    for side in [Side::Nival, Side::Reference] {
        let out = world.run(side, "nix-build", &[&file, "--no-out-link", "-A", "kinds.several"]).ok().line();
        let dev =
            world.run(side, "nix-build", &[&file, "--no-out-link", "-A", "kinds.several.dev"]).ok().line();
        world.nix_store(&["--delete", &dev]).ok();
        let again = world
            .run(side, "nix-build", &[&file, "--no-out-link", "-A", "kinds.several.all"])
            .ok()
            .text()
            .to_owned();
        states.push((out, dev, again, data::names(&world.store())));
        data::assert_sound(&world);
        data::forget(&world);
    }
    assert_eq!(states[0], states[1]);
}
