//! Settings: each has an effect, or says that it has none.

use std::path::Path;

use nival::settings::table::TABLE;

use crate::common::{Outcome, Side, World};

/// The text of all sources below a directory of the project, by path.
fn sources(dir: &str) -> Vec<(String, String)> {
    fn walk(dir: &Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir), &mut found);
    found
}

/// Settings that are read without a method of their own.
const BY_NAME: &[&str] = &["experimental-features"];

#[test]
fn a_setting_is_marked_as_used_if_something_reads_it() {
    let access = include_str!("../../src/settings/access.rs");
    let code: String = sources("src")
        .iter()
        .filter(|(path, _)| !path.contains("/settings/"))
        .map(|(_, text)| &**text)
        .collect();
    for row in TABLE {
        let line = access.lines().find(|line| line.ends_with(&format!(": \"{}\",", row.name)));
        let method = line.and_then(|line| line.trim().split(':').next());
        let read = method.is_some_and(|method| code.contains(&format!(".{method}()")));
        assert_eq!(row.used, read || BY_NAME.contains(&row.name), "{}", row.name);
        assert_eq!(row.used, row.without_effect().is_none(), "{}", row.name);
    }
}

/// What a setting changes, seen from outside: arguments of `nix-store` or `nix`
/// (the last one is the setting's value in each run), and what differs.
struct Effect {
    name: &'static str,
    values: [&'static str; 2],
    run: fn(&World, &[&str]) -> Outcome,
}

fn store(world: &World, option: &[&str], args: &[&str]) -> Outcome {
    let args: Vec<&str> = option.iter().chain(args).copied().collect();
    world.nix_store(&args)
}

fn add(world: &World, option: &[&str]) -> Outcome {
    let outcome = store(world, option, &["--add", &world.text("src/tree")]);
    outcome.ok();
    outcome
}

/// A cache with a path that is not here any more; gives the path.
fn in_cache(world: &World) -> String {
    let path = add(world, &[]).line();
    let cache = format!("file://{}?compression=none", world.text("cache"));
    world.nival("nix", &["copy", "--to", &cache, &path]).ok();
    world.nix_store(&["--delete", &path]).ok();
    path
}

fn realise(world: &World, option: &[&str]) -> Outcome {
    let path = in_cache(world);
    let cache = format!("file://{}", world.text("cache"));
    let own = option[1] == "substituters";
    let substituters = ["--option", "substituters", cache.as_str()];
    let mut all: Vec<&str> = if own { Vec::new() } else { substituters.to_vec() };
    all.extend(option);
    let mut outcome = store(world, &all, &["-r", "--no-gc-warning", &path]);
    outcome.stderr = outcome.stderr.replace(&path, "PATH");
    outcome
}

fn shown(world: &World, option: &[&str]) -> Outcome {
    store(world, option, &["--version", "-v"])
}

const EFFECTS: &[Effect] = &[
    Effect { name: "print-missing", values: ["true", "false"], run: realise },
    Effect { name: "substitute", values: ["true", "false"], run: realise },
    Effect { name: "substituters", values: ["", "file:///nowhere"], run: realise },
    Effect { name: "warn-large-path-threshold", values: ["0", "1000"], run: add },
    Effect { name: "system", values: ["a-b", "c-d"], run: shown },
    Effect { name: "extra-platforms", values: ["a-b", "c-d"], run: shown },
    Effect { name: "allow-symlinked-store", values: ["false", "true"], run: symlinked },
    Effect { name: "auto-optimise-store", values: ["false", "true"], run: links },
    Effect { name: "gc-reserved-space", values: ["0", "100000"], run: reserve },
    Effect { name: "use-sqlite-wal", values: ["false", "true"], run: journal },
    Effect { name: "json-log-path", values: ["", "/dev/full"], run: logged },
    Effect { name: "use-xdg-base-directories", values: ["false", "true"], run: home },
    Effect { name: "store", values: ["auto", "bogus"], run: add_anywhere },
    Effect {
        name: "trusted-public-keys",
        values: ["", "a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="],
        run: keys,
    },
];

fn add_anywhere(world: &World, option: &[&str]) -> Outcome {
    store(world, option, &["--add", &world.text("src/tree")])
}

fn symlinked(world: &World, option: &[&str]) -> Outcome {
    std::fs::create_dir_all(world.path("real-store")).unwrap();
    let _ = std::os::unix::fs::symlink(world.path("real-store"), world.path("linked-store"));
    let mut command = world.command(Side::Nival, "nix-store");
    command.env("NIX_STORE_DIR", world.path("linked-store")).args(option);
    crate::common::outcome(command.args(["--add", &world.text("src/tree")]).output().unwrap())
}

fn links(world: &World, option: &[&str]) -> Outcome {
    let mut outcome = add(world, option);
    let links = std::fs::read_dir(world.path("store/.links")).map_or(0, Iterator::count);
    outcome.stderr = format!("{links} links");
    outcome
}

fn reserve(world: &World, option: &[&str]) -> Outcome {
    let mut outcome = add(world, option);
    let size = std::fs::metadata(world.path("var/db/reserved")).map_or(0, |meta| meta.len());
    outcome.stderr = format!("{size} bytes");
    outcome
}

fn journal(world: &World, option: &[&str]) -> Outcome {
    let mut outcome = add(world, option);
    // The header tells how the database is written.
    let header = std::fs::read(world.path("var/db/db.sqlite")).unwrap();
    outcome.stderr = format!("{:?}", &header[18..20]);
    outcome
}

fn logged(world: &World, option: &[&str]) -> Outcome {
    let file = world.text("log.json");
    let value = if option[2].is_empty() { "" } else { file.as_str() };
    let mut outcome = store(world, &["--option", "json-log-path", value], &["-q", "--size", "/nope"]);
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(text.lines().all(|line| line.starts_with("{\"action\":\"")), "{text}");
    outcome.stderr = text;
    outcome
}

fn home(world: &World, option: &[&str]) -> Outcome {
    let mut outcome = world.nival("nix-env", &[option, &["-q"]].concat());
    outcome.stderr = format!("{:?}", crate::data::names(&world.path("home")));
    outcome
}

fn keys(world: &World, option: &[&str]) -> Outcome {
    realise(world, &["--option", option[1], option[2]])
}

#[test]
fn settings_act() {
    for effect in EFFECTS {
        let [one, other] = effect.values.map(|value| {
            let world = World::new();
            world.write("src/tree/file", "x".repeat(5000));
            let outcome = (effect.run)(&world, &["--option", effect.name, value]);
            let root = world.text("");
            (outcome.status, outcome.text().replace(&root, "/"), outcome.stderr.replace(&root, "/"))
        });
        assert_ne!(one, other, "{} changes nothing", effect.name);
    }
    // What is not tried here is tried elsewhere, by name.
    let tests: String = sources("tests/it")
        .iter()
        .filter(|(path, _)| !path.ends_with("test_settings.rs"))
        .map(|(_, text)| &**text)
        .collect();
    let units: String = sources("src")
        .iter()
        .filter(|(path, _)| !path.contains("/settings/"))
        .map(|(_, text)| &**text)
        .collect();
    let missing: Vec<&str> = TABLE
        .iter()
        .filter(|row| row.used && !EFFECTS.iter().any(|effect| effect.name == row.name))
        .map(|row| row.name)
        .filter(|name| !tests.contains(name) && !units.contains(name) && !NOT_SEEN.contains(name))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

/// Settings whose effect cannot be seen from outside in a short test.
const NOT_SEEN: &[&str] = &[
    // How fast, and whether after a failure of power.
    "download-speed",
    "fsync-store-paths",
    "min-free-check-interval",
    "sync-before-registering",
    // They need https, and a daemon for others.
    "ssl-cert-file",
    "trusted-substituters",
    "user-agent-suffix",
];

#[test]
fn settings_without_effect_say_so() {
    let world = World::new();
    for row in TABLE.iter().filter(|row| !row.used && row.feature.is_none()) {
        let shown = world.nival("nix", &["config", "show", row.name]);
        let note = format!("note: '{}' is without effect in Nival", row.name);
        assert!(shown.ok().stderr.contains(&note), "{}: {}", row.name, shown.stderr);
    }
    let used = world.nival("nix", &["config", "show", "keep-outputs"]);
    assert_eq!((used.text(), &*used.stderr), ("false\n", ""));
    let json = world.nival("nix", &["config", "show", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.ok().stdout).unwrap();
    assert!(json["sandbox"]["description"].as_str().unwrap().contains("without effect in Nival"));
    assert!(!json["store"]["description"].as_str().unwrap().contains("without effect"));
    // At use, if nothing will ever look at it.
    let used = world.nix_store(&["--nar-buffer-size", "5", "--init"]);
    assert!(used.ok().stderr.contains("setting 'nar-buffer-size' is without effect in Nival"), "{used:?}");
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
    let path = add(&world, &[]).line();
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
