//! `--verify --repair`, `--repair-path`, `nix store repair`, `--rebuild-db`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::common::{Outcome, Side, World};
use crate::data;

/// A world with the sample paths, and a copy of it all elsewhere; gives the
/// paths and the URI of the copy.
fn with_copy(world: &World) -> (Vec<String>, String) {
    let paths = data::sample(world);
    let copy = world.path("copy");
    std::fs::create_dir(&copy).unwrap();
    for dir in ["store", "var"] {
        let copied = std::process::Command::new("cp").arg("-a").arg(world.path(dir)).arg(&copy).status();
        assert!(copied.unwrap().success());
    }
    let uri = format!(
        "local?real={}&state={}&store={}",
        world.text("copy/store"),
        world.text("copy/var"),
        world.text("store")
    );
    (paths, uri)
}

fn damage(path: &str) {
    let file = if Path::new(path).is_dir() { format!("{path}/sub/text") } else { path.to_owned() };
    let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    std::fs::write(&file, "damaged").unwrap();
    mode(0o444);
}

fn with_substituters(world: &World, uris: &[&str], args: &[&str]) -> Outcome {
    let list = uris.join(" ");
    world.nix_store(&[args, &["--option", "substituters", &list]].concat())
}

#[test]
fn what_another_store_has_is_repaired() {
    let world = World::new();
    let (paths, uri) = with_copy(&world);
    let before = data::metadata(&world.store());
    let tree = paths.iter().find(|path| Path::new(path).is_dir()).unwrap();
    let other = paths.iter().find(|path| path.ends_with("-sample-3")).unwrap();
    damage(tree);
    nival::sys::remove::remove(Path::new(other)).unwrap();
    let outcome = with_substituters(
        &world,
        &["https://nowhere.invalid", &uri],
        &["--verify", "--check-contents", "--repair"],
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains(&format!("path '{tree}' was modified!")), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("'https://nowhere.invalid' is not asked"), "{}", outcome.stderr);
    let mut after = data::metadata(&world.store());
    let mut expected = before.clone();
    // The store directory's own time does not count.
    after.remove("");
    expected.remove("");
    assert_eq!(after, expected);
    data::assert_sound(&world);
    // By name.
    for program in [&["nix-store", "--repair-path"][..], &["nix", "store", "repair"]] {
        damage(tree);
        let mut args = program[1..].to_vec();
        args.extend([tree.as_str(), "--option", "substituters", &uri]);
        world.nival(program[0], &args).ok();
        data::assert_sound(&world);
    }
}

#[test]
fn what_nobody_has_stays_as_it_is_and_the_check_goes_on() {
    let world = World::new();
    let (paths, uri) = with_copy(&world);
    let files: Vec<&String> = paths.iter().filter(|path| Path::new(path).is_file()).collect();
    let (wrong, fine) = (files[0], files[1]);
    damage(wrong);
    damage(fine);
    damage(&wrong.replace(&world.text("store"), &world.text("copy/store")));
    let outcome = with_substituters(&world, &[&uri], &["--verify", "--check-contents", "--repair"]);
    assert_eq!(outcome.status, 1);
    // The reason comes with it, and a last line tells what helps.
    assert!(
        outcome.stderr.contains(&format!("error: cannot repair path '{wrong}': '")),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("has something else"), "{}", outcome.stderr);
    let last = format!("{} paths checked, 1 damaged; try: nix-store --repair-path {wrong}", paths.len());
    assert!(outcome.stderr.contains(&last), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("is not what is registered here"), "{}", outcome.stderr);
    assert_eq!(std::fs::read(wrong).unwrap(), b"damaged");
    assert_ne!(std::fs::read(fine).unwrap(), b"damaged");
    with_substituters(&world, &[&uri], &["--repair-path", wrong, fine]).fails(&format!(
        "warning: '{}' is not what is registered here",
        wrong.replace(&world.text("store"), &world.text("copy/store"))
    ));
    assert_eq!(data::leftovers(&world), Default::default());
}

#[test]
fn contents_of_another_store_were_not_built_here() {
    let world = World::new();
    let (paths, uri) = with_copy(&world);
    let path = paths.iter().find(|path| Path::new(path).is_file()).unwrap();
    let database = rusqlite::Connection::open(world.path("var/db/db.sqlite")).unwrap();
    database.execute("update ValidPaths set ultimate = 1", []).unwrap();
    drop(database);
    damage(path);
    let alone = world.nix_store(&["--repair-path", path]);
    assert_eq!(alone.status, 1);
    let why = format!("error: cannot repair path '{path}': there is no substituter to take it from");
    assert!(alone.stderr.contains(&why), "{}", alone.stderr);
    with_substituters(&world, &[&uri], &["--repair-path", path]).ok();
    let json = world.nival("nix", &["path-info", "--json", "--json-format", "1", "--all"]);
    let infos: serde_json::Value = serde_json::from_str(json.ok().text()).unwrap();
    for other in &paths {
        assert_eq!(infos[other]["ultimate"], other != path, "{other}");
    }
}

#[test]
fn only_repairing_fetches_what_is_missing() {
    let Some(world) = World::with_reference() else { return };
    let (paths, uri) = with_copy(&world);
    // Nothing refers to it.
    let path = paths.last().unwrap();
    data::trust_new_key(&world);
    let key = world.text("secret");
    let plain = ["--option", "require-sigs", "false", "--option", "substituters"];
    for (words, fetches) in [
        (&["store", "sign", "-k", &key][..], false),
        (&["store", "sign", "-r", "-k", &key], false),
        (&["store", "copy-sigs", "-s", &uri], false),
        (&["store", "dump-path"], false),
        (&["store", "verify"], false),
        (&["path-info"], false),
        (&["store", "repair"], true),
    ] {
        let outcomes = [Side::Nival, Side::Reference].map(|side| {
            world.nix_store(&["--delete", "--ignore-liveness", path]).ok();
            let outcome = world.run(side, "nix", &[words, &[path], &plain, &[&uri]].concat());
            let told = "this path will be fetched";
            assert!(outcome.stderr.contains(told), "{words:?}: {}", outcome.stderr);
            let is_there = world.nix_store(&["--check-validity", path]).status == 0;
            (outcome.status, String::from_utf8(outcome.stdout).unwrap(), is_there)
        });
        assert_eq!(outcomes[0], outcomes[1], "{words:?}");
        assert_eq!(outcomes[0].2, fetches, "{words:?}");
    }
    data::assert_sound(&world);
}

/// The dump of the database without what cannot be known again.
fn dump(world: &World) -> String {
    world.nix_store(&["--dump-db"]).ok().text().to_owned()
}

#[test]
fn a_lost_database_is_made_anew() {
    let Some(world) = World::with_reference() else { return };
    let reference = |program, args: &[&str]| world.run(Side::Reference, program, args);
    let nix = r#"
      let a = derivation { name = "a"; system = "x86_64-linux"; builder = "/bin/sh"; outputs = [ "out" "dev" ];
            args = [ "-c" "echo $dev > $out; echo x > $dev" ]; };
      in derivation { name = "b"; system = "x86_64-linux"; builder = "/bin/sh";
            args = [ "-c" "echo ${a} $out ${builtins.toFile "text" "some text"} > $out" ]; }"#;
    let built = reference("nix-build", &["--no-out-link", "-E", nix]).line();
    let sample = data::sample(&world);
    world.write("src/flat", "flat");
    world.nix_store(&["--add-fixed", "sha256", &world.text("src/flat")]).ok();
    let before = dump(&world);
    assert!(before.contains(&built));
    let valid: Vec<String> = {
        let store = world.text("store");
        let infos = reference("nix", &["path-info", "--all"]);
        infos.lines().iter().filter(|line| line.starts_with(&store)).map(|line| (*line).to_owned()).collect()
    };
    let ca_of = |world: &World| {
        let json = world.nival("nix", &["path-info", "--all", "--json", "--json-format", "1"]);
        let infos: serde_json::Value = serde_json::from_str(json.ok().text()).unwrap();
        valid.iter().map(|path| (path.clone(), infos[path]["ca"].clone())).collect::<Vec<_>>()
    };
    let addresses = ca_of(&world);
    // It is refused while there is something in it.
    world.nix_store(&["--rebuild-db"]).fails(&format!(
        "error: the database '{}' has {} valid paths; to make it anew, move it away first",
        world.text("var/db/db.sqlite"),
        valid.len()
    ));
    // Nor is a database lost because the file beside it is.
    let schema = world.path("var/db/schema");
    std::fs::rename(&schema, world.path("aside")).unwrap();
    assert_eq!(world.nix_store(&["--rebuild-db"]).status, 1);
    std::fs::rename(world.path("aside"), &schema).unwrap();
    std::fs::remove_file(world.path("var/db/db.sqlite")).unwrap();
    // What is not to be registered: rubbish, something incomplete, something
    // that was changed, and what refers to that.
    std::fs::write(world.path("store/rubbish"), "").unwrap();
    let incomplete = format!("{}/{}-incomplete", world.text("store"), data::hash_part(500));
    std::fs::create_dir(&incomplete).unwrap();
    // Beside a path that others refer to, with its hash part.
    let beside = format!("{built}.old");
    std::fs::write(&beside, "x").unwrap();
    let rebuilt = world.nix_store(&["--rebuild-db"]);
    assert!(
        rebuilt.ok().stderr.contains(&format!("not registering '{incomplete}': it may be incomplete")),
        "{}",
        rebuilt.stderr
    );
    assert!(
        rebuilt.stderr.ends_with(&format!(
            "registered {} paths; 3 entries of the store directory are not registered\n",
            valid.len()
        )),
        "{}",
        rebuilt.stderr
    );
    // Derivers are known from the derivations; the rest is as it was.
    assert_eq!(dump(&world), before);
    assert_eq!(ca_of(&world), addresses);
    assert!(Path::new(&incomplete).exists() && world.path("store/rubbish").exists());
    for side in [Side::Nival, Side::Reference] {
        assert_eq!(
            world.run(side, "nix-store", &["--verify", "--check-contents"]).ok().stderr.lines().count(),
            4
        );
    }
    // A derivation that was changed, and all that refers to it.
    let drv = reference("nix-store", &["-qd", &built]).line();
    let mut text = std::fs::read(&drv).unwrap();
    std::fs::set_permissions(&drv, std::fs::Permissions::from_mode(0o644)).unwrap();
    text.extend_from_slice(b" ");
    std::fs::write(&drv, text).unwrap();
    std::fs::remove_file(world.path("var/db/db.sqlite")).unwrap();
    std::fs::remove_file(world.path("var/db/schema")).unwrap();
    let rebuilt = world.nix_store(&["--rebuild-db"]);
    assert!(rebuilt.ok().stderr.contains(&format!("not registering '{drv}': ")), "{}", rebuilt.stderr);
    world
        .nix_store(
            &[&["--check-validity"], &sample.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat(),
        )
        .ok();
}
