//! Packages of expressions that a cache has, installed by both programs into stores of their own.

use std::collections::BTreeMap;
use std::fs;

use crate::common::{Side, World};
use crate::data;
use crate::test_packages::{CHOICES, write};

const SIDES: [Side; 2] = [Side::Nival, Side::Reference];

/// What a side has of its own: what is renamed to the common names while it runs, so that all paths are the same.
const OWN: [&str; 2] = ["store", "var"];

/// What came of a command.
#[derive(Debug, PartialEq)]
struct Came {
    status: i32,
    printed: String,
    told: Vec<String>,
    manifest: Option<String>,
    environment: Option<BTreeMap<String, String>>,
    generations: Vec<String>,
}

/// Runs `nix-env` of one side in its own store.
fn came(world: &World, side: Side, args: &[&str]) -> Came {
    for name in OWN {
        let own = world.path(format!("{name}-{side:?}"));
        if own.exists() {
            fs::rename(own, world.path(name)).unwrap();
        }
    }
    let profile = world.text("var/profiles/p");
    let outcome = world.run(side, "nix-env", &[&["-f", "all.nix", "-p", &profile][..], args].concat());
    let mut told: Vec<String> = outcome
        .stderr
        .lines()
        // Which program to ask for help differs.
        .map(|line| if line.starts_with("Try '") { "Try" } else { line })
        .map(str::to_owned)
        .collect();
    // Several are fetched at once.
    told.sort_by_key(|line| line.starts_with("copying path").then(|| line.clone()));
    let came = Came {
        status: outcome.status,
        printed: outcome.text().to_owned(),
        told,
        manifest: fs::read_to_string(world.path("var/profiles/p/manifest.nix")).ok(),
        environment: fs::canonicalize(&profile).ok().map(|path| data::metadata(&path)),
        generations: data::names(&world.path("var/profiles")).into_iter().collect(),
    };
    for name in OWN {
        let own = world.path(format!("{name}-{side:?}"));
        fs::rename(world.path(name), own).unwrap();
    }
    came
}

/// The packages of [`CHOICES`] in a cache, and stores with nothing but profiles.
fn cached() -> Option<World> {
    let mut world = World::with_reference()?;
    write(&world, "all.nix", CHOICES);
    let cache = format!("file://{}", world.text("cache"));
    let all = "with builtins; let all = import ./all.nix; in concatMap (n: all.${n}.all) \
               (filter (n: !elem n [ \"nested\" \"other_system\" \"plain\" \"no_drv\" ]) (attrNames all)) \
               ++ [ all.nested.a all.nested.b ]";
    let built = world.run(Side::Reference, "nix-build", &["--no-out-link", "-E", all]);
    world.run(Side::Reference, "nix", &[&["copy", "--to", &cache][..], &built.ok().lines()].concat()).ok();
    for name in OWN {
        nival::sys::remove::remove(&world.path(name)).unwrap();
    }
    for side in SIDES {
        fs::create_dir_all(world.path(format!("var-{side:?}/profiles"))).unwrap();
    }
    let settings = format!("substituters = {cache}\nrequire-sigs = false\n");
    world.variables.push(("NIX_CONFIG".to_owned(), settings));
    Some(world)
}

/// Runs a row of commands with both; what each tells, and the profile that it leaves, are the same.
fn same(world: &World, rows: &[&[&str]]) -> usize {
    let mut fetched = 0;
    for args in rows {
        let [ours, theirs] = SIDES.map(|side| came(world, side, args));
        assert_eq!(ours, theirs, "{args:?}");
        fetched += ours.told.iter().filter(|line| line.starts_with("copying path")).count();
    }
    fetched
}

#[test]
fn what_a_cache_has_is_installed_and_upgraded_alike() {
    let Some(world) = cached() else { return };
    let fetched = same(
        &world,
        &[
            &["-i", "foo-1.0", "bar-1", "--dry-run"],
            &["-i", "foo-1.0", "bar-1"],
            &["-q", "--out-path"],
            &["-iA", "q1", "baz", "kept1"],
            &["-u", "q", "--dry-run"],
            &["-u", "q-2pre1"],
            &["--set-flag", "keep", "true", "kept"],
            &["-u"],
            &["-u", "q", "--leq"],
            &["-q", "--json", "--out-path", "--meta"],
            &["-e", "q", "nothing"],
            &["--rollback"],
            &["-e", "foo"],
            &["-iA", "nested", "\"quo.ted\""],
            &["-i", "foo-3.0", "foo-2.0", "-P"],
            &["-uA", "foo2", "--always"],
            &["--rollback"],
            &["-G", "2"],
            &["-i", "bad-meta"],
            &["-ir", "word-2", "prio"],
            &["-iE", "p: [ p.plain p.one_output ]"],
            &["-iA", "no_drv"],
            &["-ib", "sys"],
            &["-qas", "-b"],
            &["-q"],
            &["--delete-generations", "+2"],
        ],
    );
    assert!(fetched > 15, "{fetched}");
}

#[test]
fn a_profile_is_set_to_packages_that_tell_nothing_else() {
    let Some(world) = cached() else { return };
    let wrong = "with import ./all.nix; {
        thrown = foo1 // { meta = throw \"M\"; }; number = foo2 // { meta = 3; }; outputs = baz // { outputs = throw \"O\"; };
        system = foo3 // { system = throw \"S\"; }; bad = bar2; install = foo1 // { meta.outputsToInstall = throw \"I\"; };
        no_drv = q1 // { drvPath = throw \"D\"; }; name = q3 // { name = throw \"N\"; };
        }";
    world.write("wrong.nix", wrong);
    let mut rows = Vec::new();
    for attribute in ["thrown", "number", "outputs", "system", "bad", "install", "no_drv", "name", "nowhere"]
    {
        rows.extend([
            vec!["-f", "wrong.nix", "--set", "-A", attribute],
            vec!["-f", "wrong.nix", "--set", "-A", attribute, "--dry-run"],
            vec!["-f", "wrong.nix", "-iA", attribute],
        ]);
    }
    for words in [&["foo-1.0"][..], &["foo"], &["bad-meta"], &["foo-1.0", "q"], &[]] {
        rows.push([&["--set"], words].concat());
    }
    rows.push(vec!["--rollback"]);
    same(&world, &rows.iter().map(Vec::as_slice).collect::<Vec<_>>());
}
