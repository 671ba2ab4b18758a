//! Both implementations on one store: in turns, at the same time, and each
//! reading what the other wrote.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use crate::common::{Outcome, Side, World};
use crate::data::{self, Data};

const SIDES: [Side; 2] = [Side::Nival, Side::Reference];

fn run(world: &World, side: Side, args: &[&str]) -> Outcome {
    world.run(side, "nix-store", args)
}

/// Checks that both sides find the store in order.
#[track_caller]
fn assert_accepted(world: &World) {
    for side in SIDES {
        let verified = run(world, side, &["--verify", "--check-contents"]);
        let complaints = ["disappeared", "modified", "error", "warning"];
        let complaint = complaints.iter().find(|word| verified.stderr.contains(**word));
        assert_eq!((verified.status, complaint), (0, None), "{side:?}: {}", verified.stderr);
    }
}

/// Checks that both sides answer alike on the given paths and on the whole.
#[track_caller]
fn assert_answers_agree(world: &World, paths: &[String]) {
    let questions: [&[&str]; 8] = [
        &["--dump-db"],
        &["-q", "--hash"],
        &["-q", "--size"],
        &["-q", "--references"],
        &["-q", "-R"],
        &["-q", "--referrers-closure"],
        &["-q", "--outputs"],
        &["-q", "--deriver"],
    ];
    for question in questions {
        let mut args = question.to_vec();
        args.extend(paths.iter().map(String::as_str));
        let [ours, theirs] = SIDES.map(|side| run(world, side, &args));
        assert_eq!(ours.ok().text(), theirs.ok().text(), "{question:?}");
    }
    let [ours, theirs] = SIDES.map(|side| run(world, side, &["--dump-db"]));
    assert_eq!(ours.ok().text(), theirs.ok().text());
}

fn paths(outcome: &Outcome) -> Vec<String> {
    outcome.ok().lines().into_iter().map(str::to_owned).collect()
}

/// Sources of all kinds, with modes and times as they happen to be.
fn make_sources(world: &World) -> Vec<String> {
    let mut sources = Vec::new();
    for number in 0..16 {
        let path = world.path(format!("src/source-{number}"));
        data::make_source(&path, number);
        sources.push(path.to_str().unwrap().to_owned());
    }
    let odd = world.path("src/odd");
    std::fs::create_dir(&odd).unwrap();
    let root = rustix::process::geteuid().is_root();
    let modes = [0o000, 0o400, 0o454, 0o555, 0o644, 0o666, 0o711, 0o4755, 0o2755, 0o6711];
    for mode in modes.into_iter().filter(|mode| root || mode & 0o400 != 0) {
        let file = odd.join(format!("mode-{mode:o}"));
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let dir = odd.join(format!("dir-{mode:o}"));
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(mode | 0o1700)).unwrap();
    }
    std::fs::hard_link(odd.join("mode-644"), odd.join("second name")).unwrap();
    symlink("/absolute/nowhere", odd.join("absolute")).unwrap();
    symlink("é ü", odd.join("unicode link")).unwrap();
    sources.push(odd.to_str().unwrap().to_owned());
    sources
}

/// The arguments of every way to add the sources.
fn ways_to_add(sources: &[String]) -> Vec<Vec<&str>> {
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    let files: Vec<&str> = [1, 2, 3, 9, 10, 11].map(|number| sources[number]).into();
    let mut ways = vec![[vec!["--add"], sources.clone()].concat()];
    for algorithm in ["md5", "sha1", "sha256", "sha512"] {
        ways.push([vec!["--add-fixed", algorithm], files.clone()].concat());
        ways.push([vec!["--add-fixed", "--recursive", algorithm], sources.clone()].concat());
        ways.push([vec!["--add-fixed", algorithm, "--recursive"], sources[..2].to_vec()].concat());
    }
    ways
}

#[test]
fn what_nival_adds_the_reference_accepts() {
    let Some(world) = World::with_reference() else { return };
    let sources = make_sources(&world);
    let mut all = Vec::new();
    for way in ways_to_add(&sources) {
        let ours = run(&world, Side::Nival, &way);
        all.extend(paths(&ours));
        // It computes the same paths, and finds them valid already.
        assert_eq!(run(&world, Side::Reference, &way).ok().text(), ours.text(), "{way:?}");
    }
    all.extend(data::sample(&world));
    assert_answers_agree(&world, &all);
    assert_accepted(&world);
}

#[test]
fn what_the_reference_adds_nival_accepts() {
    let Some(world) = World::with_reference() else { return };
    let sources = make_sources(&world);
    let mut all = Vec::new();
    for way in ways_to_add(&sources) {
        let theirs = run(&world, Side::Reference, &way);
        all.extend(paths(&theirs));
        assert_eq!(run(&world, Side::Nival, &way).ok().text(), theirs.text(), "{way:?}");
    }
    assert_answers_agree(&world, &all);
    assert_accepted(&world);
}

#[test]
fn real_data_is_in_order() {
    let Some(data) = data::shared() else { return };
    let verified = data.world.nix_store(&["--verify", "--check-contents"]);
    let expected = "reading the Nix store...\nchecking path existence...\n\
                    checking link hashes...\nchecking store hashes...\n";
    assert_eq!((verified.status, &*verified.stderr), (0, expected));
}

/// Does the same with each side, in two stores of the same name, and checks
/// that they are the same.
#[track_caller]
fn assert_same_effect(world: &World, number: usize, args: &[&str], input: &[u8]) {
    let mut states = SIDES.map(|side| {
        let outcome = world.run_with_input(side, "nix-store", args, input);
        let text = outcome.ok().text().to_owned();
        let state = data::state(world);
        data::set_aside(world, number + usize::from(side == Side::Nival));
        (text, state)
    });
    let (ours, theirs) = (std::mem::take(&mut states[0]), std::mem::take(&mut states[1]));
    assert_eq!(ours, theirs, "{args:?}");
}

#[test]
fn both_sides_leave_the_same_on_disk() {
    let Some(world) = World::with_reference() else { return };
    let sources = make_sources(&world);
    for (number, way) in ways_to_add(&sources).iter().enumerate() {
        assert_same_effect(&world, number * 2, way, &[]);
    }
}

/// A store of each kind of path, made by the reference: the world, its paths in
/// the order of their references, and one of its derivations.
fn built() -> Option<(World, Vec<String>, String)> {
    let world = World::with_reference()?;
    let expression = r#"
      let
        make = name: inputs: derivation {
          inherit name;
          system = "x86_64-linux";
          builder = "/bin/sh";
          args = [ "-c" "echo $out ${toString inputs} > $out; echo $out > $dev" ];
          outputs = [ "out" "dev" ];
        };
        a = make "a" [ (builtins.toFile "text" "hello") ];
      in make "b" [ a a.dev ]"#;
    let file = world.write("src/b.nix", expression);
    let built = world.run(Side::Reference, "nix-build", &["--no-out-link", file.to_str().unwrap()]).line();
    let drv = run(&world, Side::Reference, &["-qd", &built]).line();
    let mut all = data::sample(&world);
    all.extend(paths(&run(&world, Side::Reference, &["-qR", "--include-outputs", &drv])));
    Some((world, all, drv))
}

#[test]
fn exports_are_equal_and_imported_alike() {
    let Some((world, all, _)) = built() else { return };
    let mut args = vec!["--export"];
    args.extend(all.iter().map(String::as_str));
    let [ours, theirs] = SIDES.map(|side| run(&world, side, &args).ok().stdout.clone());
    assert!(ours == theirs, "the streams differ");
    data::set_aside(&world, 100);
    assert_same_effect(&world, 0, &["--import"], &ours);
    let imported = world.run_with_input(Side::Nival, "nix-store", &["--import"], &ours);
    assert_eq!(paths(&imported).len(), all.len());
    assert_answers_agree(&world, &all);
    assert_accepted(&world);
}

#[test]
fn databases_are_loaded_alike() {
    let Some((world, all, drv)) = built() else { return };
    let text = run(&world, Side::Reference, &["--dump-db"]).ok().stdout.clone();
    let lost = |number: usize| {
        std::fs::rename(world.path("var"), world.path(format!("lost{number}"))).unwrap();
    };
    let mut states = Vec::new();
    for (number, side) in SIDES.into_iter().enumerate() {
        lost(number);
        let loaded = world.run_with_input(side, "nix-store", &["--load-db"], &text);
        assert_eq!((loaded.status, loaded.stdout.len(), loaded.stderr.as_str()), (0, 0, ""));
        states.push(data::rows(&world));
        assert_eq!(run(&world, Side::Nival, &["--dump-db"]).ok().stdout, text);
        assert_answers_agree(&world, &all);
        assert_accepted(&world);
        let [ours, theirs] = SIDES.map(|side| run(&world, side, &["-q", "--outputs", &drv]));
        assert_eq!(ours.ok().lines().len(), 2);
        assert_eq!(ours.text(), theirs.text());
    }
    assert_eq!(states[0], states[1]);
}

#[test]
fn validity_is_registered_alike() {
    let Some(world) = World::with_reference() else { return };
    run(&world, Side::Reference, &["--init"]).ok();
    let planted: Vec<String> =
        (0..20).map(|i| format!("{}/{}-p{i}", world.text("store"), data::hash_part(i))).collect();
    let deriver = format!("{}/{}-x.drv", world.text("store"), data::hash_part(99));
    let mut states = Vec::new();
    for (number, side) in SIDES.into_iter().enumerate() {
        // The registration changes modes and times: each side gets fresh files.
        for path in &planted {
            let _ = std::fs::remove_file(path);
        }
        let text = data::plant(&world, &planted, |i| planted[i / 2..=i].to_vec());
        let text = text.replace("\n\n", &format!("\n{deriver}\n"));
        let registered = world.run_with_input(side, "nix-store", &["--register-validity"], text.as_bytes());
        assert_eq!((registered.status, registered.stderr.as_str()), (0, ""));
        // What is valid stays as it is, unless --reregister is given.
        let changed = text.replace(&deriver, "");
        world.run_with_input(side, "nix-store", &["--register-validity"], changed.as_bytes()).ok();
        let before = data::rows(&world);
        assert_eq!(run(&world, Side::Nival, &["-qd", &planted[3]]).line(), deriver);
        let again = ["--register-validity", "--reregister"];
        world.run_with_input(side, "nix-store", &again, changed.as_bytes()).ok();
        assert_answers_agree(&world, &planted);
        assert_accepted(&world);
        states.push((before, data::state(&world)));
        std::fs::rename(world.path("var"), world.path(format!("registered{number}"))).unwrap();
    }
    assert_eq!(states[0], states[1]);
}

#[test]
fn in_turns_on_one_store() {
    let Some(world) = World::with_reference() else { return };
    let mut all = Vec::new();
    for number in 0..16 {
        let source = world.path(format!("src/turn-{number}"));
        data::make_source(&source, number);
        let side = SIDES[number % 2];
        all.extend(paths(&run(&world, side, &["--add", source.to_str().unwrap()])));
        assert_answers_agree(&world, &all);
    }
    assert_accepted(&world);
}

#[test]
fn at_the_same_time_on_one_store() {
    let Some(world) = World::with_reference() else { return };
    for number in 0..60 {
        data::make_source(&world.path(format!("src/same-{number}")), number);
    }
    run(&world, Side::Reference, &["--init"]).ok();
    // The sources overlap.
    let mut running = Vec::new();
    for process in 0..6 {
        let sources = (process * 5..process * 5 + 30).map(|i| world.text(format!("src/same-{i}")));
        let sources: Vec<String> = sources.collect();
        let mut args = vec!["--add"];
        args.extend(sources.iter().map(String::as_str));
        running.push(data::start(&world, SIDES[process % 2], &args));
    }
    let mut all = Vec::new();
    for child in running {
        let outcome = data::finish(child, Duration::from_secs(60));
        assert!(!outcome.stderr.contains("error"), "{}", outcome.stderr);
        all.extend(paths(&outcome));
    }
    assert_eq!(all.len(), 180);
    let args: Vec<&str> = std::iter::once("--check-validity").chain(all.iter().map(String::as_str)).collect();
    for side in SIDES {
        run(&world, side, &args).ok();
    }
    assert!(data::leftovers(&world).is_empty());
    assert_accepted(&world);
}

#[test]
fn building_on_what_nival_added() {
    let Some(world) = World::with_reference() else { return };
    world.write("src/input", "from nival\n");
    let input = world.nix_store(&["--add", &world.text("src/input")]).line();
    let expression = format!(
        "derivation {{ name = \"copy\"; system = \"x86_64-linux\"; builder = \"/bin/sh\"; \
         args = [ \"-c\" \"read line < ${{builtins.storePath {input}}}; echo $line {input} > $out\" ]; }}"
    );
    let output = world.run(Side::Reference, "nix-build", &["--no-out-link", "-E", &expression]).line();
    assert_eq!(std::fs::read_to_string(&output).unwrap(), format!("from nival {input}\n"));
    assert_eq!(world.nix_store(&["-q", "--references", &output]).line(), input);
    assert!(Path::new(&world.nix_store(&["-qd", &output]).line()).exists());
    assert_accepted(&world);
}

#[test]
fn big_files_come_through() {
    let Some(data) = data::shared() else { return };
    let Data { world, big, .. } = &*data;
    let theirs = world.run(Side::Reference, "nix-store", &["-q", "--hash", big]).line();
    let ours = world.nival("nix-hash", &["--type", "sha256", "--base32", big]).line();
    assert_eq!(format!("sha256:{ours}"), theirs);
    // By a second name, into a second store.
    let other = World::new();
    std::fs::hard_link(big, other.path("src/big")).unwrap();
    let added = other.nix_store(&["--add", &other.text("src/big")]).line();
    assert_eq!(other.nix_store(&["-q", "--hash", &added]).line(), theirs);
    assert_eq!(Path::new(&added).metadata().unwrap().len(), 1600 * 65536);
    data::assert_sound(&other);
}
