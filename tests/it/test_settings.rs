//! Settings: each has an effect, or says that it has none.

use std::path::Path;

use nival::settings::table::{Effect, TABLE};

use crate::common::{Side, World};

/// The text of the program's sources outside of `src/settings`.
fn code() -> String {
    fn walk(dir: &Path, found: &mut String) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("src/settings") {
                walk(&path, found);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                found.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut found = String::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

/// Settings that are read without a method of their own.
const BY_NAME: &[&str] = &["experimental-features", "sandbox", "sandbox-paths"];

#[test]
fn what_acts_is_read_and_what_is_vain_is_not() {
    let access = include_str!("../../src/settings/access.rs");
    let code = code();
    for row in TABLE {
        let line = access.lines().find(|line| line.ends_with(&format!(": \"{}\",", row.name)));
        let method = line.and_then(|line| line.trim().split(':').next());
        let read = method.is_some_and(|method| code.contains(&format!(".{method}()")))
            || BY_NAME.contains(&row.name);
        match row.effect {
            Effect::Acts | Effect::Builds => {
                assert!(read, "{} is said to act, and nothing reads it", row.name)
            }
            // Some of these have a place of their own in the daemon's protocol.
            Effect::OfBuilding => {}
            Effect::OfLanguage | Effect::Nothing(_) => assert!(!read, "{} is read", row.name),
        }
        assert_eq!(
            matches!(row.effect, Effect::Acts | Effect::Builds),
            row.without_effect().is_none(),
            "{}",
            row.name
        );
    }
}

/// A path of a tree, added.
fn add(world: &World) -> String {
    world.nix_store(&["--add", &world.text("src/tree")]).line()
}

/// A cache with a path that is not here any more; gives the path.
fn in_cache(world: &World) -> String {
    let path = add(world);
    let cache = format!("file://{}?compression=none", world.text("cache"));
    world.nival("nix", &["copy", "--to", &cache, &path]).ok();
    world.nix_store(&["--delete", &path]).ok();
    path
}

#[test]
fn settings_without_effect_say_so() {
    let world = World::new();
    let json = world.nival("nix", &["config", "show", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.ok().stdout).unwrap();
    for row in TABLE {
        let said = json[row.name]["description"].as_str().unwrap().contains("no effect");
        assert_eq!(said, row.without_effect().is_some(), "{}", row.name);
        if row.feature.is_none() && row.without_effect().is_some() {
            let shown = world.nival("nix", &["config", "show", row.name]);
            let note = format!("note: '{}' has no effect", row.name);
            assert!(shown.ok().stderr.contains(&note), "{}: {}", row.name, shown.stderr);
        }
    }
    let used = world.nival("nix", &["config", "show", "keep-outputs"]);
    assert_eq!((used.text(), &*used.stderr), ("false\n", ""));
}

#[test]
fn settings_without_effect_are_told_once_where_they_are_given() {
    let world = World::new();
    let told = |args: &[&str]| world.nix_store(args).ok().stderr.clone();
    for (name, value, why) in [
        ("nar-buffer-size", "5", "has no effect: archives are never held in memory as a whole"),
        ("ignore-try", "true", "has no effect yet: it is of a part of the language that comes later"),
        ("use-cgroups", "true", "has no effect here yet"),
        ("hashed-mirrors", "x", "has no effect here yet"),
    ] {
        let line = format!("warning: setting '{name}' {why}\n");
        assert_eq!(told(&["--init", "--option", name, value]), line);
        // Not for what was written down for other programs too.
        world.write("etc/nix.conf", format!("build-users-group =\n{name} = {value}\n"));
        assert_eq!(told(&["--init"]), "");
    }
}

#[test]
fn mistyped_words_get_a_suggestion() {
    let world = World::new();
    let told = |program: &str, args: &[&str]| world.nival(program, args).stderr;
    for (program, args, hint) in [
        ("nix-store", &["--refernces", "x"][..], "Did you mean '--references'?"),
        ("nix-store", &["-q", "--refernces", "x"], "Did you mean '--references'?"),
        ("nix-store", &["--gc", "--print-dea"], "Did you mean '--print-dead'?"),
        ("nix-store", &["-q", "--substituter"], "Did you mean '--substitute'?"),
        ("nix-env", &["-q", "--no-nam"], "Did you mean '--no-name'?"),
        ("nix-collect-garbage", &["--delete-ol"], "Did you mean '--delete-old'?"),
        ("nix", &["store", "gc", "--versio"], "Did you mean '--version'?"),
        ("nix", &["path-info", "--josn"], "Did you mean '--json'?"),
        ("nix", &["--trusted-public-key"], "Did you mean '--trusted-public-keys'?"),
        (
            "nix-store",
            &["--init", "--option", "trusted-public-key", "x"],
            "did you mean 'trusted-public-keys'?",
        ),
        (
            "nix-store",
            &["--init", "--option", "extra-substituter", "x"],
            "did you mean 'extra-substituters'?",
        ),
    ] {
        let told = told(program, args);
        assert!(told.contains(hint), "{program} {args:?}: {told}");
    }
    assert!(!told("nix-store", &["-q", "--bogus"]).contains("Did you mean"));
}

#[test]
fn a_bad_value_is_told_with_its_place() {
    let world = World::new();
    let conf = world.write("etc/nix.conf", "build-users-group =\nmax-jobs = many\n");
    let place = conf.display();
    let told = world.nix_store(&["--init"]);
    told.fails("error: configuration setting 'max-jobs' should be 'auto' or an integer");
    assert!(told.stderr.contains(&format!("\n       in {place}, line 2: max-jobs = many\n")), "{told:?}");
    world.write("etc/nix.conf", "build-users-group =\n\nnot a line\n");
    let told = world.nix_store(&["--init"]);
    told.fails(&format!("error: syntax error in configuration line 'not a line' in \"{place}\""));
    assert!(told.stderr.contains("\n       at line 3\n"), "{told:?}");
}

#[test]
fn old_flags_are_told() {
    let Some(world) = World::with_reference() else { return };
    world.write("src/tree/file", "text");
    let path = add(&world);
    for args in [
        &["path-info", "--no-registries", &path][..],
        &["path-info", "--recreate-lock-file", &path],
        &["path-info", "--update-input", "x", &path],
        &["path-info", "--impure", "--no-write-lock-file", &path],
    ] {
        let [ours, theirs] = [Side::Nival, Side::Reference].map(|side| world.run(side, "nix", args));
        assert_eq!((ours.ok().text(), &ours.stderr), (theirs.ok().text(), &theirs.stderr));
    }
    let told = world.nival("nix-copy-closure", &["--show-progress"]);
    assert!(told.stderr.starts_with("Warning: '--show-progress' is not implemented\n"), "{told:?}");
}

#[test]
fn the_log_follows_a_copy() {
    let world = World::new();
    world.write("src/tree/file", "text");
    let path = in_cache(&world);
    let cache = format!("file://{}", world.text("cache"));
    let log = world.text("log.json");
    let copy = ["copy", "--no-check-sigs", "--option", "json-log-path", &log, "--from", &cache, &path];
    let copied = world.nival("nix", &copy);
    assert!(!copied.ok().stderr.contains("@nix"), "{copied:?}");
    let text = std::fs::read_to_string(&log).unwrap();
    let events: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let copying = events.iter().find(|event| event["type"] == 100 && event["action"] == "start");
    assert_eq!(copying.unwrap()["fields"][0], path.as_str());
    assert!(events.iter().any(|event| event["action"] == "stop"));
    // Where nothing can be written, the work is done all the same.
    let nowhere = world.text("nowhere/log");
    let told = world.nix_store(&["--json-log-path", &nowhere, "--check-validity", &path]);
    assert!(told.ok().stderr.contains(&format!("nothing is logged to '{nowhere}'")), "{told:?}");
}

#[test]
fn logs_in_the_flat_place_are_found() {
    let Some(world) = World::with_reference() else { return };
    let drv = format!("{}-x.drv", "a".repeat(32));
    world.write(format!("log/drvs/{drv}"), "what was said\n");
    let path = format!("{}/{drv}", world.store().display());
    for side in [Side::Nival, Side::Reference] {
        let log = world.run(side, "nix-store", &["-l", &path]);
        assert_eq!(log.ok().text(), "what was said\n");
    }
}
