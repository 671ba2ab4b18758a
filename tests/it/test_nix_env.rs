//! `nix-env` beside the reference, on profiles of both.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::{Outcome, Side, World};
use crate::data::{self, Random};

const SIDES: [Side; 2] = [Side::Nival, Side::Reference];

/// Thirty packages: directories that several have, symlinks to directories and
/// to nothing, propagated ones, files left out, a package that is a file.
fn packages(world: &World) -> Vec<String> {
    let mut args = vec!["--add".to_owned()];
    for number in 0..30 {
        let name = format!("pkg{}-{}.{}", number % 25, number / 25 + 1, number);
        let tree = format!("src/{name}");
        world.write(format!("{tree}/bin/tool{number}"), format!("{number}"));
        world.write(format!("{tree}/share/doc/pkg{number}/README"), "read me");
        world.write(format!("{tree}/share/man/man{}/page{number}.gz", number % 3), "page");
        world.write(format!("{tree}/nix-support/setup-hook"), "");
        world.write(format!("{tree}/.hidden/x"), "");
        match number % 6 {
            0 => world.write(format!("{tree}/lib/only{number}/file"), ""),
            1 => world.write(format!("{tree}/log/x"), ""),
            2 => world.write(format!("{tree}/info/dir"), ""),
            3 => world.write(format!("{tree}/manifest.nix"), "not a manifest"),
            4 => world.write(format!("{tree}/etc/é {number}/ü"), ""),
            _ => world.write(format!("{tree}/perllocal.pod"), ""),
        };
        let link = |target: &str, name: &str| symlink(target, world.path(&tree).join(name)).unwrap();
        link("nowhere", &format!("dangling{}", number % 4));
        link("share/doc", "docs");
        link("/etc", &format!("absolute{number}"));
        if number % 7 == 0 {
            link("share/man", "man");
        } else if number % 7 == 1 {
            world.write(format!("{tree}/man/man9/own{number}"), "");
        }
        args.push(world.text(tree));
    }
    world.write("src/just-a-file-1.0", "a file");
    args.push(world.text("src/just-a-file-1.0"));
    let added = world.nix_store(&args);
    let mut paths: Vec<String> = added.ok().lines().into_iter().map(str::to_owned).collect();
    // One that propagates others, with a file of theirs in its own place.
    world.write("src/top-1/bin/top", "");
    world.write("src/top-1/bin/tool3", "mine");
    world.write("src/top-1/nix-support/propagated-user-env-packages", format!("{} {}\n", paths[3], paths[4]));
    paths.push(world.nix_store(&["--add", &world.text("src/top-1")]).line());
    let text = format!(
        "{}\n\n2\n{}\n{}\n",
        paths[31],
        paths[3].clone().min(paths[4].clone()),
        paths[3].clone().max(paths[4].clone())
    );
    world
        .run_with_input(Side::Nival, "nix-store", &["--register-validity", "--reregister"], text.as_bytes())
        .ok();
    paths
}

fn profile(world: &World, side: Side) -> String {
    world.text(format!("var/profiles/of-{side:?}"))
}

fn env(world: &World, side: Side, profile: &str, args: &[&str]) -> Outcome {
    world.run(side, "nix-env", &[&["-p", profile], args].concat())
}

/// Everything in a tree: types, modes, times, targets.
fn tree(link: &str) -> BTreeMap<String, String> {
    data::metadata(&std::fs::canonicalize(link).unwrap())
}

/// Runs the same on a profile of each side, and compares what is said and what
/// comes of it.
pub fn both(world: &World, args: &[&str]) -> Outcome {
    let [ours, theirs] = SIDES.map(|side| {
        let profile = profile(world, side);
        let outcome = env(world, side, &profile, args);
        let said = |text: &str| text.replace(&profile, "PROFILE");
        // An environment that the other has built is there already.
        let lines: Vec<String> = said(&outcome.stderr)
            .lines()
            .filter(|line| !is_build(line))
            // Only ours says that a generation is not there.
            .filter(|line| !line.starts_with("warning: profile \"PROFILE\" has no generation"))
            // Which program to ask for help differs.
            .map(|line| if line.starts_with("Try '") { "Try".to_owned() } else { line.to_owned() })
            .collect();
        let numbers = data::names(&world.path("var/profiles"));
        let of_side: BTreeSet<String> = numbers
            .iter()
            .filter_map(|name| name.strip_prefix(&format!("of-{side:?}")).map(str::to_owned))
            .collect();
        let target = std::fs::canonicalize(&profile).ok();
        ((outcome.status, said(outcome.text()), lines, of_side, target), outcome)
    });
    assert_eq!(ours.0, theirs.0, "{args:?}");
    ours.1
}

fn is_build(line: &str) -> bool {
    ["building '", "warning: skipping dangling", "warning: not including"]
        .iter()
        .any(|word| line.starts_with(word))
}

#[test]
fn environments_are_the_reference_s() {
    let Some(world) = World::with_reference() else { return };
    let paths = packages(&world);
    // Each side builds in a store of its own, which have the same name.
    // The one that is propagated is not installed by itself.
    let all: Vec<&str> =
        paths.iter().map(String::as_str).filter(|path| !path.ends_with("pkg3-1.3")).collect();
    let mut results = Vec::new();
    for (number, side) in SIDES.into_iter().enumerate() {
        for dir in ["store", "var"] {
            let copied = std::process::Command::new("cp")
                .arg("-a")
                .arg(world.path(dir))
                .arg(world.path(format!("{dir}-kept{number}")))
                .status();
            assert!(copied.unwrap().success());
        }
        let profile = world.text("var/profiles/p");
        let mut said = Vec::new();
        for args in [
            &[&["-i"], &all[..]].concat(),
            &vec!["-e", "pkg1.*"],
            &vec!["--set-flag", "active", "false", "pkg4"],
        ] {
            let outcome = env(&world, side, &profile, args);
            said.push((
                outcome.status,
                outcome.ok().stderr.lines().map(str::to_owned).collect::<BTreeSet<_>>(),
            ));
            said.push((0, tree(&profile).into_iter().map(|(path, text)| format!("{path} {text}")).collect()));
        }
        let env_path = std::fs::canonicalize(&profile).unwrap();
        let manifest = std::fs::read_to_string(env_path.join("manifest.nix")).unwrap();
        let info = world.run(
            side,
            "nix",
            &["path-info", "--json", "--json-format", "1", env_path.to_str().unwrap()],
        );
        let mut info: serde_json::Value = serde_json::from_str(info.ok().text()).unwrap();
        for (_, info) in info.as_object_mut().unwrap() {
            info.as_object_mut().unwrap().remove("registrationTime");
        }
        let verified = world.run(Side::Reference, "nix-store", &["--verify", "--check-contents"]);
        assert_eq!(verified.ok().stderr.lines().count(), 4, "{}", verified.stderr);
        results.push((said, env_path, manifest, info));
        for dir in ["store", "var"] {
            nival::sys::remove::remove(&world.path(dir)).unwrap();
            std::fs::rename(world.path(format!("{dir}-kept{number}")), world.path(dir)).unwrap();
        }
    }
    for (ours, theirs) in results[0].0.iter().zip(&results[1].0) {
        assert_eq!(ours.1.symmetric_difference(&theirs.1).collect::<Vec<_>>(), [""; 0]);
    }
    assert_eq!(results[0].2, results[1].2);
    assert_eq!(results[0], results[1]);
    assert!(results[0].0[1].1.len() > 100, "the environment is too simple");
}

#[test]
fn operations_and_queries_are_the_reference_s() {
    let Some(world) = World::with_reference() else { return };
    let paths = packages(&world);
    let path = |number: usize| paths[number].as_str();
    both(&world, &["-i"]);
    both(&world, &["-i", path(0), path(1), path(30)]);
    both(&world, &["-i", path(26), path(2)]);
    both(&world, &["-i", path(26)]);
    both(&world, &["-P", "-i", path(27)]);
    both(&world, &["--dry-run", "-i", path(7), path(0)]);
    both(&world, &["-e", "nothing", "pkg2"]);
    both(&world, &["-e", path(27), "pkg1"]);
    both(&world, &["--dry-run", "-e", "pkg0"]);
    both(&world, &["-u", path(28), path(3)]);
    both(&world, &["-i", path(3)]);
    both(&world, &["-u", path(28)]);
    both(&world, &["-u", path(3)]);
    both(&world, &["-u", "--always", path(3)]);
    both(&world, &["-u", "--leq", path(3), path(28)]);
    both(&world, &["--set-flag", "priority", "3", "pkg3"]);
    both(&world, &["--set-flag", "description", "three \"quoted\" <words> ${x} é", "pkg3"]);
    both(&world, &["--set-flag", "keep", "true", "pkg0"]);
    both(&world, &["-i", path(25)]);
    both(&world, &["--set-flag", "active", "false", "pkg0-2.25"]);
    both(&world, &["--set-flag", "x"]);
    both(&world, &["--set-flag", "x", "y", "nope"]);
    both(&world, &["-i", path(4), path(5), path(6), path(8), path(9)]);
    both(&world, &["--rollback"]);
    both(&world, &["-G", "99"]);
    both(&world, &["-G", "3"]);
    both(&world, &["-G", "x"]);
    both(&world, &["-G"]);
    both(&world, &["--dry-run", "-G", "4"]);
    both(&world, &["-i", path(5)]);
    both(&world, &["--set", path(0), path(1)]);
    both(&world, &["--set", path(0)]);
    both(&world, &["-q"]);
    both(&world, &["--set", path(0)]);
    both(&world, &["--rollback"]);
    both(&world, &["--dry-run", "--delete-generations", "old"]);
    both(&world, &["--delete-generations", "1", "2", "99"]);
    both(&world, &["--delete-generations", "+2"]);
    both(&world, &["--delete-generations", "0d"]);
    both(&world, &["--delete-generations", "x"]);
    both(&world, &["--delete-generations", "30d"]);
    both(&world, &["-i", "/nowhere"]);
    both(&world, &["-r", "-i", path(10), path(11), path(31)]);
    both(&world, &["-i", path(12), path(13), path(14), path(15), path(26)]);
    both(&world, &["--set-flag", "description", "short", "pkg1.*"]);
    both(&world, &["--set-flag", "description", "a longer text", "pkg14"]);
    let columns =
        ["-s", "--no-name", "-c", "--system", "--drv-path", "--out-path", "--description", "--meta"];
    for form in [None, Some("--json"), Some("--xml")] {
        for mask in 0..1usize << columns.len() {
            // All of one and two, and some of the others.
            if mask.count_ones() > 2 && mask % 17 != 0 {
                continue;
            }
            let mut args = vec!["-q"];
            args.extend(form);
            args.extend(
                columns.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1).map(|(_, column)| *column),
            );
            both(&world, &args);
        }
    }
    for words in [&["pkg1.*"][..], &["pkg12-1.12"], &["pkg12-1.1"], &["pkg", "x"], &["top", "pkg14"], &["*"]]
    {
        both(&world, &[&["-q"], words].concat());
    }
    both(&world, &["-q", "-P"]);
    both(&world, &["-q", "--bogus"]);
    both(&world, &["-q", "-b"]);
    both(&world, &["--list-generations", "x"]);
    both(&world, &["-i", "-q"]);
    both(&world, &["--bogus"]);
    // The same words with the same times.
    for side in SIDES {
        let [ours, theirs] = SIDES.map(|by| env(&world, by, &profile(&world, side), &["--list-generations"]));
        assert_eq!(ours.ok().text(), theirs.ok().text());
    }
}

#[test]
fn derivations_and_other_profiles() {
    let Some(world) = World::with_reference() else { return };
    let paths = packages(&world);
    let nix = r#"(derivation { name = "multi-1.0"; system = "x86_64-linux"; builder = "/bin/sh"; outputs = [ "out" "dev" ]; PATH = "/bin:/usr/bin";
                 args = [ "-c" "mkdir -p $out/bin $dev/include; echo > $out/bin/multi; echo > $dev/include/multi.h" ]; }) // { meta.description = "x"; }"#;
    let file = world.write("src/multi.nix", nix);
    let file = file.to_str().unwrap();
    let drv = world.run(Side::Reference, "nix-instantiate", &["--quiet", file]).line();
    both(&world, &["-q"]);
    // In a profile that nobody compares: it is built for that.
    env(&world, Side::Nival, &world.text("var/profiles/built"), &["-i", &drv]).ok();
    world.run(Side::Reference, "nix-store", &["-r", &drv]).ok();
    both(&world, &["-i", &drv, &paths[1]]);
    both(&world, &["--option", "keep-env-derivations", "true", "-i", &drv]);
    both(&world, &["-q", "--drv-path", "--json"]);
    both(&world, &["-q", "--drv-path"]);
    both(&world, &["-q", "--drv-path", "--xml"]);
    both(&world, &["-i", &paths[3]]);
    both(&world, &["-q", "--drv-path"]);
    both(&world, &["-e", "pkg3"]);
    // What the reference installs from an expression is kept as it is.
    let from = world.text("var/profiles/from");
    env(&world, Side::Reference, &from, &["-f", file, "-i", "multi"]).ok();
    env(&world, Side::Reference, &from, &["-i", &paths[2], &paths[5]]).ok();
    both(&world, &["--from-profile", &from, "-i", "multi", "pkg2"]);
    both(&world, &["--from-profile", &from, "-i", "nope"]);
    both(&world, &["-q", "--out-path", "--description", "--system"]);
    both(&world, &["-q", "--json", "--meta", "--out-path"]);
    both(&world, &["-q", "--xml", "--meta", "--out-path", "-s"]);
    both(&world, &["-e", "pkg2"]);
    // Ours only: outputs of one's choice.
    let ours = profile(&world, Side::Nival);
    env(&world, Side::Nival, &ours, &["-r", "-i", &format!("{drv}!dev,out")]).ok();
    assert!(Path::new(&ours).join("include/multi.h").exists() && Path::new(&ours).join("bin/multi").exists());
    assert!(env(&world, Side::Reference, &ours, &["-q", "--out-path"]).ok().text().contains("dev="));
}

#[test]
fn either_side_operates_what_the_other_made() {
    let Some(world) = World::with_reference() else { return };
    let paths = packages(&world);
    let profile = world.text("var/profiles/shared");
    let mut random = Random(11);
    let mut expected: BTreeSet<String> = BTreeSet::new();
    let name = |path: &str| path.rsplit('/').next().unwrap()[33..].to_owned();
    for round in 0..40 {
        let side = SIDES[random.below(2)];
        match random.below(5) {
            0 | 1 => {
                let path = &paths[random.below(25)];
                env(&world, side, &profile, &["-i", path]).ok();
                expected.insert(name(path));
            }
            2 => {
                let Some(gone) = expected.iter().nth(random.below(expected.len().max(1))).cloned() else {
                    continue;
                };
                env(&world, side, &profile, &["-e", &gone]).ok();
                expected.remove(&gone);
            }
            3 => {
                let program = ["nix-store", "nix-collect-garbage"][random.below(2)];
                let args: &[&str] = if program == "nix-store" { &["--gc"] } else { &["-d"] };
                // The packages themselves stay for the next rounds.
                for (i, path) in paths.iter().enumerate() {
                    let root = world.path(format!("var/gcroots/package-{i}"));
                    if !root.is_symlink() {
                        symlink(path, root).unwrap();
                    }
                }
                world.run(side, program, args).ok();
            }
            _ => {
                env(&world, side, &profile, &["--delete-generations", "+3"]).ok();
            }
        }
        if Path::new(&profile).is_symlink() {
            for by in SIDES {
                let listed = env(&world, by, &profile, &["-q"]);
                let names: BTreeSet<String> = listed.ok().lines().into_iter().map(str::to_owned).collect();
                assert_eq!(names, expected, "round {round}");
            }
        }
    }
    // Back and forth, by both.
    for side in SIDES {
        env(&world, side, &profile, &["-i", &paths[24]]).ok();
        let with = env(&world, side, &profile, &["-q"]).text().to_owned();
        env(&world, side, &profile, &["-e", "pkg24"]).ok();
        for by in [side, SIDES[usize::from(side == Side::Nival)]] {
            env(&world, by, &profile, &["--rollback"]).ok();
            assert_eq!(env(&world, by, &profile, &["-q"]).ok().text(), with);
            let generations = env(&world, by, &profile, &["--list-generations"]).text().to_owned();
            let newest = generations.lines().last().unwrap()[..4].trim().to_owned();
            env(&world, by, &profile, &["-G", &newest]).ok();
        }
    }
    data::assert_sound(&world);
}

#[test]
fn conflicts_are_told_all_of_them() {
    let Some(world) = World::with_reference() else { return };
    for (name, other) in [("a-1", "x"), ("b-1", "y")] {
        world.write(format!("src/{name}/bin/same"), name);
        world.write(format!("src/{name}/bin/{other}"), name);
        world.write(format!("src/{name}/share/other"), name);
    }
    world.write("src/c-1/bin", "a file");
    let added =
        world.nix_store(&["--add", &world.text("src/a-1"), &world.text("src/b-1"), &world.text("src/c-1")]);
    let paths: Vec<&str> = added.ok().lines();
    let [ours, theirs] =
        SIDES.map(|side| env(&world, side, &profile(&world, side), &["-i", paths[0], paths[1]]));
    assert_eq!((ours.status, theirs.status), (100, 100));
    // Theirs is one pair of ours: the first that the file system came to.
    let pair: Vec<&str> = theirs.stderr.lines().filter(|line| line.starts_with("         \"")).collect();
    let all: Vec<&str> = ours.stderr.lines().filter(|line| line.starts_with("         \"")).collect();
    assert_eq!((pair.len(), all.len()), (2, 4));
    assert!(pair == all[..2] || pair == all[2..], "{pair:?} {all:?}");
    assert!(ours.stderr.contains("To choose between them, install '"), "{}", ours.stderr);
    assert!(ours.stderr.contains("error: Cannot build '"));
    assert!(!Path::new(&profile(&world, Side::Nival)).is_symlink());
    // The derivation of the environment stays, and cannot be realised either.
    let text = ours.stderr.split_once("error: Cannot build '").unwrap().1;
    let environment = text.split_once('\'').unwrap().0;
    let realised = SIDES.map(|side| world.run(side, "nix-store", &["--realise", environment]).status);
    assert_eq!(realised, [100, 100]);
    for pair in [[0, 2], [2, 0]] {
        let outcomes = SIDES
            .map(|side| env(&world, side, &profile(&world, side), &["-i", paths[pair[0]], paths[pair[1]]]));
        let errors = outcomes.map(|o| o.stderr.lines().find(|l| l.starts_with("error")).unwrap().to_owned());
        assert_eq!(errors[0], errors[1]);
    }
}

#[test]
fn the_advice_for_a_conflict_works() {
    let world = World::new();
    for name in ["a-1", "b-1"] {
        world.write(format!("src/{name}/bin/same"), name);
    }
    let added = world.nix_store(&["--add", &world.text("src/a-1"), &world.text("src/b-1")]);
    let paths: Vec<&str> = added.ok().lines();
    let profile = profile(&world, Side::Nival);
    env(&world, Side::Nival, &profile, &["-i", paths[0]]).ok();
    let refused = env(&world, Side::Nival, &profile, &["-i", paths[1]]);
    assert_eq!(refused.status, 100);
    let command = "nix-env --set-flag priority 6 'a-1'";
    assert!(refused.stderr.contains(command), "{}", refused.stderr);
    env(&world, Side::Nival, &profile, &["--set-flag", "priority", "6", "a-1"]).ok();
    env(&world, Side::Nival, &profile, &["-i", paths[1]]).ok();
    assert_eq!(std::fs::read_to_string(Path::new(&profile).join("bin/same")).unwrap(), "b-1");
}

/// Which flags each operation has, and what they do where it is little.
#[test]
fn flags_belong_to_operations() {
    let Some(world) = World::with_reference() else { return };
    let paths = packages(&world);
    let (one, two) = (paths[0].as_str(), paths[1].as_str());
    let operations: &[&[&str]] = &[
        &["-i", one],
        &["-u", one],
        &["-e", "x"],
        &["--set-flag", "a", "b", "x"],
        &["-q"],
        &["--rollback"],
        &["--list-generations"],
        &["--delete-generations", "old"],
    ];
    let flags: &[&[&str]] = &[
        &["--lt"],
        &["--eq"],
        &["--always"],
        &["--from-profile", "/nope"],
        &["--force-name", "x"],
        &["-b"],
        &["-r"],
        &["-P"],
        &["--xml"],
        &["-a"],
        &["-s"],
        &["--no-name"],
        &["--out-path"],
        &["--meta"],
        &["--arg", "a", "b"],
        &["-I", "x"],
    ];
    for operation in operations {
        for flag in flags {
            let args = [*operation, *flag].concat();
            let [ours, theirs] = SIDES.map(|side| {
                let outcome = env(&world, side, &world.text("var/profiles/words"), &args);
                outcome.stderr.contains("unknown flag")
            });
            assert_eq!(ours, theirs, "{args:?}");
        }
    }
    // Beside each other, with what is in the profiles at the end.
    for args in [
        &["-q", "*"][..],
        &["-q", "*", "--json"],
        &["-q", "*", "--xml"],
        &["-q", ".*"],
        &["-e", "*"],
        &["-i", one, two, "--force-name", "other-1"],
        &["-q"],
        &["-e", "nosuch"],
        &["-e", "nosuch"],
        &["--set-flag", "active", "perhaps", "other"],
        &["-i", "--from-profile", "/nope", "*"],
        &["-f", "etc", "-qc"],
    ] {
        let [ours, theirs] = SIDES.map(|side| {
            let outcome = env(&world, side, &profile(&world, side), args);
            let generations = data::names(&world.path("var/profiles"));
            let mine = generations.iter().filter(|name| name.starts_with(&format!("of-{side:?}"))).count();
            let target = std::fs::canonicalize(profile(&world, side)).ok();
            (outcome.text().to_owned(), target, mine, outcome)
        });
        assert_eq!(ours.3.status, theirs.3.status, "{args:?}: {:?}", ours.3);
        assert_eq!((ours.0, ours.1, ours.2), (theirs.0, theirs.1, theirs.2), "{args:?}");
    }
}

#[test]
fn a_named_profile_leaves_the_home_directory_alone() {
    let Some(world) = World::with_reference() else { return };
    for side in SIDES {
        let home = world.path(format!("home-{side:?}"));
        std::fs::create_dir(&home).unwrap();
        for args in [&["--list-generations"][..], &["-q"]] {
            let mut command = world.command(side, "nix-env");
            command.args(["-p", &profile(&world, side)]).args(args).env("HOME", &home);
            assert!(command.status().unwrap().success());
        }
        assert_eq!(data::names(&home), BTreeSet::from([".nix-defexpr".to_owned()]), "{side:?}");
    }
}

#[test]
fn twenty_at_once_all_stay() {
    let world = World::new();
    let paths = packages(&world);
    let profile = world.text("var/profiles/busy");
    let children: Vec<_> = paths[..20]
        .iter()
        .map(|path| {
            let mut command = world.command(Side::Nival, "nix-env");
            command.args(["-p", &profile, "-i", path]).stdout(std::process::Stdio::piped());
            command.stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        let outcome = data::finish(child, Duration::from_secs(120));
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    }
    let listed = env(&world, Side::Nival, &profile, &["-q"]);
    assert_eq!(listed.ok().lines().len(), 20);
    let generations = env(&world, Side::Nival, &profile, &["--list-generations"]);
    let numbers: Vec<&str> = generations.ok().lines().iter().map(|line| line[..4].trim()).collect();
    assert_eq!(numbers, (1..=20).map(|number| number.to_string()).collect::<Vec<_>>());
    data::assert_sound(&world);
}

#[test]
fn a_killed_installation_leaves_the_old_or_the_new() {
    let world = World::new();
    let paths = packages(&world);
    let profile = world.text("var/profiles/killed");
    let begun = std::time::Instant::now();
    env(&world, Side::Nival, &profile, &["-i", &paths[0]]).ok();
    // A machine that is busy takes longer for all of it.
    let enough = begun.elapsed() * 3 / 2;
    let mut random = Random(4);
    let (mut old, mut new) = (0, 0);
    for round in 0..60 {
        let number = 1 + round % 20;
        let before = env(&world, Side::Nival, &profile, &["-q"]).text().to_owned();
        let mut command = world.command(Side::Nival, "nix-env");
        let args = ["-p", &profile, "-r", "-i", &paths[0], &paths[number]];
        let mut child = command.args(args).stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(enough.mul_f64(random.below(1000) as f64 / 1000.0));
        let _ = child.kill();
        child.wait().unwrap();
        let after = env(&world, Side::Nival, &profile, &["-q"]);
        let changed = after.ok().text() != before;
        assert!(!changed || after.lines().len() == 2, "round {round}: {after:?}");
        if changed {
            new += 1
        } else {
            old += 1
        }
        let target = std::fs::canonicalize(&profile).unwrap();
        world.nix_store(&["--verify-path", target.to_str().unwrap()]).ok();
    }
    assert!(old > 0 && new > 0, "{old} killed before, {new} after");
    world.nix_store(&["--gc"]).ok();
    let temporary: Vec<_> =
        data::names(&world.path("var/profiles")).into_iter().filter(|name| name.contains("tmp")).collect();
    assert!(temporary.len() <= 3, "{temporary:?}");
    data::assert_sound(&world);
}

#[test]
fn links_of_the_user() {
    let Some(data_world) = World::with_reference() else { return };
    drop(data_world);
    let results = SIDES.map(|side| {
        let world = World::new();
        let path = {
            world.write("src/x-1/bin/x", "");
            world.nix_store(&["--add", &world.text("src/x-1")]).line()
        };
        world.run(side, "nix-env", &["-i", &path]).ok();
        let other = world.text("var/profiles/other");
        if side == Side::Nival {
            // The original says that it does nothing, and switches.
            let before = std::fs::read_link(world.path("home/.nix-profile")).unwrap();
            world.run(side, "nix-env", &["--dry-run", "-S", &other]).ok();
            assert_eq!(std::fs::read_link(world.path("home/.nix-profile")).unwrap(), before);
        }
        world.run(side, "nix-env", &["-S", &other]).ok();
        world.run(side, "nix-env", &["-i", &path]).ok();
        let mut links = BTreeMap::new();
        let mut waiting = vec![world.path("home"), world.path("var/profiles"), world.path("var/gcroots")];
        while let Some(dir) = waiting.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                let path = entry.path();
                let here = |path: &Path| path.display().to_string().replace(&world.text(""), "/");
                if entry.file_type().unwrap().is_dir() {
                    waiting.push(path);
                } else if path.is_symlink() {
                    // The names in `auto` are hashes of what they lead to.
                    let name =
                        if path.parent().unwrap().ends_with("auto") { "auto".into() } else { here(&path) };
                    let target = here(&std::fs::read_link(&path).unwrap());
                    let target: PathBuf = target.split("/store/").next().unwrap().into();
                    links.insert((name, target), ());
                }
            }
        }
        links.into_keys().collect::<BTreeSet<_>>()
    });
    assert_eq!(results[0], results[1]);
}

#[test]
fn links_are_made_where_no_profile_is_named() {
    if World::with_reference().is_none() {
        return;
    }
    let commands: [&[&str]; 4] = [
        &["nix-env", "-q"],
        &["nix-env", "-p", "PROFILE", "-q"],
        &["nix", "profile", "list"],
        &["nix", "profile", "list", "--profile", "PROFILE"],
    ];
    for (command, named) in commands.iter().flat_map(|command| [(command, false), (command, true)]) {
        let [ours, theirs] = SIDES.map(|side| {
            let world = World::new();
            world.write("home/here", "");
            let profile = world.text("var/profiles/mine");
            let words: Vec<String> =
                command[1..].iter().map(|word| word.replace("PROFILE", &profile)).collect();
            let mut process = world.command(side, command[0]);
            process.args(words);
            if named {
                process.env("NIX_PROFILE", world.path("var/profiles/named"));
            }
            let outcome = crate::common::outcome(process.output().unwrap());
            outcome.ok();
            let there = |path: &str| std::fs::symlink_metadata(world.path(path)).is_ok();
            (there("var/profiles/default"), there("home/.nix-profile"))
        });
        assert_eq!(ours, theirs, "{command:?}, NIX_PROFILE set: {named}");
    }
}

#[test]
fn versions_and_names_as_the_reference_compares_them() {
    use nival::model::package_name::{compare_versions, split};
    let Some(world) = World::with_reference() else { return };
    let mut random = Random(21);
    let parts = [
        "1",
        "2",
        "10",
        "0",
        "pre",
        "a",
        "b",
        "rc1",
        ".",
        "-",
        "..",
        "_",
        "+",
        "1a",
        "2147483648",
        "99999999999",
    ];
    let mut version = || (0..random.below(5)).map(|_| parts[random.below(parts.len())]).collect::<String>();
    let pairs: Vec<(String, String)> = (0..200).map(|_| (version(), version())).collect();
    let list: String =
        pairs.iter().map(|(a, b)| format!("(builtins.compareVersions \"{a}\" \"{b}\")")).collect();
    let eval = |expression: &str| {
        let outcome = world.run(
            Side::Reference,
            "nix-instantiate",
            &["--eval", "--strict", "--json", "-E", expression],
        );
        serde_json::from_str::<serde_json::Value>(outcome.ok().text()).unwrap()
    };
    let answers = eval(&format!("[ {list} ]"));
    for ((a, b), answer) in pairs.iter().zip(answers.as_array().unwrap()) {
        assert_eq!(compare_versions(a, b) as i64, answer.as_i64().unwrap(), "{a} {b}");
    }
    let names: Vec<String> = pairs.iter().map(|(a, b)| format!("n{a}-{b}")).collect();
    let list: String = names.iter().map(|name| format!("(builtins.parseDrvName \"{name}\")")).collect();
    let answers = eval(&format!("[ {list} ]"));
    for (name, answer) in names.iter().zip(answers.as_array().unwrap()) {
        assert_eq!(
            (answer["name"].as_str().unwrap(), answer["version"].as_str().unwrap()),
            split(name),
            "{name}"
        );
    }
}

#[test]
fn profiles_of_others_are_left_alone() {
    let world = World::new();
    std::fs::create_dir_all(world.path("odd")).unwrap();
    std::fs::write(world.path("odd/manifest.json"), "{}").unwrap();
    let refused = world.nival("nix-env", &["-p", &world.text("odd"), "-q"]);
    assert!(refused.stderr.contains("please use 'nix profile' instead"), "{refused:?}");
    std::fs::remove_file(world.path("odd/manifest.json")).unwrap();
    std::fs::write(world.path("odd/manifest.nix"), "let x = 1; in x").unwrap();
    let refused = world.nival("nix-env", &["-p", &world.text("odd"), "-q"]);
    assert_eq!(refused.status, 1);
    std::fs::set_permissions(world.path("odd"), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn odd_profiles_lose_nothing() {
    let world = World::new();
    let paths = packages(&world);
    let profile = world.text("var/profiles/odd");
    let run = |args: &[&str]| env(&world, Side::Nival, &profile, args);
    run(&["-i", &paths[0]]).ok();
    run(&["-i", &paths[1]]).ok();
    // Nothing is to be deleted, and the store has to be there all the same.
    run(&["--delete-generations"]).ok();
    let elsewhere =
        world.nival("nix-env", &["--store", "gopher://x", "-p", &profile, "--delete-generations"]);
    assert_eq!(elsewhere.status, 1, "{}", elsewhere.stderr);
    // The manifest is gone: that is no empty profile.
    let env_path = std::fs::canonicalize(&profile).unwrap();
    let manifest = std::fs::read_link(env_path.join("manifest.nix")).unwrap();
    let aside = world.path("aside");
    std::fs::rename(&manifest, &aside).unwrap();
    assert_eq!(run(&["-q"]).status, 1);
    assert_eq!(run(&["-i", &paths[2]]).status, 1);
    std::fs::rename(&aside, &manifest).unwrap();
    // The environment is gone.
    let moved = env_path.with_extension("moved");
    std::fs::rename(&env_path, &moved).unwrap();
    assert!(run(&["-i", &paths[2]]).stderr.contains("leads to something that does not exist"));
    std::fs::rename(&moved, &env_path).unwrap();
    // The profile has become a directory.
    std::fs::rename(&profile, &aside).unwrap();
    std::fs::create_dir(&profile).unwrap();
    assert_eq!(run(&["--delete-generations", "old"]).status, 1);
    assert_eq!(run(&["-i", &paths[2]]).status, 1);
    std::fs::remove_dir(&profile).unwrap();
    std::fs::rename(&aside, &profile).unwrap();
    assert_eq!(run(&["--list-generations"]).ok().lines().len(), 2);
    // Numbers that nobody counts to.
    symlink(&env_path, world.path("var/profiles/odd-18446744073709551615-link")).unwrap();
    run(&["-i", &paths[2]]).ok();
    assert_eq!(run(&["--list-generations"]).ok().lines().len(), 3);
    // A generation that was made and not yet rooted when somebody was killed.
    let elsewhere = world.text("home/profile");
    let run = |args: &[&str]| env(&world, Side::Nival, &elsewhere, args);
    run(&["-i", &paths[0]]).ok();
    std::fs::remove_dir_all(world.path("var/gcroots/auto")).unwrap();
    std::fs::remove_file(&elsewhere).unwrap();
    run(&["-i", &paths[0]]).ok();
    world.nix_store(&["--gc"]).ok();
    assert_eq!(run(&["-q"]).ok().lines().len(), 1);
    // The variable, set to nothing.
    let mut command = world.command(Side::Nival, "nix-env");
    command
        .args(["--delete-generations", "old"])
        .env("NIX_PROFILE", "")
        .current_dir(world.path("var/profiles"));
    assert!(command.output().unwrap().status.success());
    assert!(world.path("var/profiles/odd-1-link").is_symlink());
    // A profile that is one file, set so.
    world.write("src/file", "x");
    let file = world.nix_store(&["--add", &world.text("src/file")]).line();
    run(&["--set", &file]).ok();
    assert_eq!(run(&["-q"]).ok().text(), "");
    run(&["-i", &file]).ok();
    // What cannot be linked fails like a build, and by a path that leads to it is removed.
    symlink(&file, world.path("result")).unwrap();
    assert!(run(&["-e", "./result"]).ok().stderr.contains("uninstalling 'file'"));
    run(&["-e", "./nothing/here"])
        .fails(&format!("error: path \"{}\" is not in the Nix store", world.text("nothing/here")));
}

#[test]
fn chroot_stores_have_profiles_of_their_own() {
    let world = World::new();
    world.write("src/a-1/bin/a", "a");
    world.write("src/b-1/share/b", "b");
    world.write("src/c-1/share/c", "c");
    let root = world.text("root");
    let run = |program: &str, args: &[&str]| {
        let mut command = world.command(Side::Nival, program);
        for name in ["STORE", "STATE", "LOG"] {
            command.env_remove(format!("NIX_{name}_DIR"));
        }
        command.args(["--store", &root]).args(args);
        crate::common::outcome(command.output().unwrap())
    };
    let add = |name: &str| run("nix-store", &["--add", &world.text(format!("src/{name}"))]).line();
    let (a, b) = (add("a-1"), add("b-1"));
    // A package whose directory is a link into another one of that store.
    symlink(format!("{b}/share"), world.path("src/c-1/linked")).unwrap();
    let c = add("c-1");
    let profile = world.text("root/profile");
    for path in [&a, &b, &c] {
        run("nix-env", &["-p", &profile, "-i", path]).ok();
    }
    assert_eq!(run("nix-env", &["-p", &profile, "-q"]).ok().lines(), ["a-1", "b-1", "c-1"]);
    let env = std::fs::read_link(world.path("root/profile-3-link")).unwrap();
    let real = world.path("root").join(env.strip_prefix("/").unwrap());
    assert!(data::names(&real).contains("linked"), "{:?}", data::names(&real));
    assert_eq!(data::names(&real.join("share")), BTreeSet::from(["b".to_owned(), "c".to_owned()]));
}

#[test]
fn what_is_not_there_is_fetched() {
    let world = World::new();
    let paths = data::sample(&world);
    let top = paths.last().unwrap();
    let cache = format!("file://{}", world.text("cache"));
    world.nival("nix", &["copy", "--to", &cache, top]).ok();
    world.nix_store(&["--gc"]).ok();
    assert!(!std::path::Path::new(top).exists());
    let profile = world.text("profile");
    let missing = world.nival("nix-env", &["-p", &profile, "-i", top]);
    missing.fails("don't know how to build these paths:");
    let error = format!("error: path '{top}' is required, but there is no substituter that can build it");
    assert!(missing.stderr.contains(&error), "{}", missing.stderr);
    let substituter = format!("{cache}?trusted=1");
    let installed =
        world.nival("nix-env", &["-p", &profile, "--option", "substituters", &substituter, "-i", top]);
    assert!(installed.ok().stderr.contains("paths will be fetched"), "{}", installed.stderr);
    assert!(std::path::Path::new(top).exists());
    assert_eq!(world.nival("nix-env", &["-p", &profile, "-q"]).line(), "sample-3");
}
