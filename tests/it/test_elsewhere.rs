//! Operations on stores without a database of their own: binary caches, and
//! `nix-store --serve`.

use crate::common::{Outcome, Side, World};
use crate::data;
use crate::remotes::{Daemon, second_store};

const SIDES: [Side; 2] = [Side::Nival, Side::Reference];

/// Standard output and status of both sides.
#[track_caller]
fn same(world: &World, program: &str, args: &[&str], input: &[u8]) -> Outcome {
    let [ours, theirs] = SIDES.map(|side| world.run_with_input(side, program, args, input));
    assert_eq!(ours.stdout, theirs.stdout, "{args:?}: {}", ours.stderr);
    assert_eq!(ours.status, theirs.status, "{args:?}: {} {}", ours.stderr, theirs.stderr);
    ours
}

/// A derivation with outputs that are there, and these.
fn built(world: &World) -> (String, Vec<String>) {
    world.write("e.nix", DERIVATION);
    let drv = world.run(Side::Reference, "nix-instantiate", &["e.nix"]).line();
    let outputs = world.run(Side::Reference, "nix-store", &["-r", &drv]);
    (drv, outputs.ok().lines().into_iter().map(str::to_owned).collect())
}

const DERIVATION: &str = r#"derivation {
  name = "two"; system = builtins.currentSystem; builder = "/bin/sh"; outputs = [ "out" "dev" ];
  args = [ "-c" "echo 1 > $out; echo 2 > $dev" ];
}"#;

#[test]
fn caches_answer_as_they_answer_the_reference() {
    let Some(world) = World::with_reference() else { return };
    let (drv, outputs) = built(&world);
    let paths = data::sample(&world);
    let top = paths.last().unwrap().as_str();
    let cache = format!("file://{}", world.text("cache"));
    let all = format!("{drv}^*");
    world.nival("nix", &["copy", "--to", &cache, top, &drv, &all]).ok();
    let nowhere = format!("{}/{}-nowhere", world.text("store"), data::hash_part(99));
    for args in [
        &["-q", "--outputs", &drv][..],
        &["-qR", top],
        &["-q", "--references", top],
        &["-q", "--referrers", top],
        &["-q", "--deriver", top, &outputs[0]],
        &["-q", "--valid-derivers", top],
        &["-q", "--binding", "name", &drv],
        &["-q", "--hash", top],
        &["-q", "--size", top],
        &["-q", "--tree", top],
        &["-q", "--graph", top],
        &["-q", "--roots", top],
        &["-q", "--hash", &nowhere],
        &["--check-validity", top],
        &["--check-validity", "--print-invalid", top, &nowhere],
        &["--check-validity", &nowhere],
        &["--dump-db", top],
        &["--verify-path", top],
        &["--verify-path", &nowhere],
        &["--print-env", &drv],
        &["--export", top],
        &["-r", top],
        &["-r", &drv],
        &["-r", top, "--add-root", "root"],
        &["-r", &nowhere],
        &["--gc", "--print-roots"],
        &["--gc", "--print-dead"],
        &["--init"],
    ] {
        same(&world, "nix-store", &[&["--store", &cache][..], args].concat(), b"");
    }
    assert!(!world.path("root").exists());
    let part = &top[world.text("store").len() + 1..][..32];
    for args in [
        &["store", "path-from-hash-part", part][..],
        &["store", "path-from-hash-part", &data::hash_part(99)],
        &["path-info", &all],
        &["path-info", &format!("{drv}^dev")],
        &["path-info", &format!("{drv}^nosuch")],
        &["store", "verify", "--no-trust", &all],
        &["derivation", "show", &drv],
    ] {
        same(&world, "nix", &[args, &["--store", &cache]].concat(), b"");
    }
}

#[test]
fn caches_take_what_is_added() {
    let Some(world) = World::with_reference() else { return };
    world.write("src/file", "hello\n");
    world.write("src/tree/file", "hello\n");
    let paths = data::sample(&world);
    let top = paths.last().unwrap().as_str();
    let closure = world.nix_store(&["-qR", top]);
    let closure: Vec<&str> = closure.ok().lines();
    let stream = world.nix_store(&[&["--export"][..], &closure].concat()).ok().stdout.clone();
    let mut kept = Vec::new();
    for side in SIDES {
        let cache = format!("file://{}", world.text(format!("{side:?}")));
        let run = |program: &str, args: &[&str], input: &[u8]| {
            let outcome = world.run_with_input(side, program, &[args, &["--store", &cache]].concat(), input);
            outcome.ok().text().to_owned()
        };
        let mut printed = vec![
            run("nix", &["store", "add", "src/tree"], b""),
            run("nix", &["store", "add-file", "src/file"], b""),
            run("nix", &["store", "add", "--mode", "text", "src/file"], b""),
            run("nix-store", &["--add", "src/tree"], b""),
            run("nix-store", &["--add-fixed", "sha1", "src/file"], b""),
            run("nix-store", &["--add-fixed", "--recursive", "sha512", "src/tree"], b""),
        ];
        printed.push(run("nix-store", &["--import"], &stream));
        // Without the archives, whose names follow from the compression.
        let mut files = data::names(&world.path(format!("{side:?}")));
        files.retain(|name| name.ends_with(".narinfo"));
        kept.push((printed, files));
        world
            .run(Side::Reference, "nix", &["store", "verify", "--no-trust", "--all", "--store", &cache])
            .ok();
    }
    assert_eq!(kept[0], kept[1]);
    // What refers to something else needs it there.
    let lonely = world.nix_store(&["--export", top]).ok().stdout.clone();
    let empty = format!("file://{}", world.text("empty"));
    let refused = world.run_with_input(Side::Nival, "nix-store", &["--store", &empty, "--import"], &lonely);
    assert!(refused.stderr.contains("to the binary cache because the reference"), "{}", refused.stderr);
    assert!(!data::names(&world.path("empty")).iter().any(|name| name.ends_with(".narinfo")));
}

#[test]
fn the_other_end_of_ssh_is_worked_on() {
    let world = World::new();
    world.write("src/file", "hello\n");
    world.write("src/tree/file", "hello\n");
    let paths = data::sample(&world);
    let top = paths.last().unwrap().as_str();
    let store = second_store(&world, "second").replace('&', "%26");
    let uri = format!("ssh://localhost?remote-program={}&remote-store={store}", world.text("bin/nix-store"));
    let run = |args: &[&str]| world.nix_store(&[&["--store", &uri][..], args].concat());
    let here = |args: &[&str]| world.nix_store(args).ok().stdout.clone();
    let closure = world.nix_store(&["-qR", top]);
    let closure: Vec<&str> = closure.ok().lines();
    let stream = world.nix_store(&[&["--export"][..], &closure].concat()).ok().stdout.clone();
    let args = ["--store", &uri, "--import"];
    world.run_with_input(Side::Nival, "nix-store", &args, &stream).ok();
    for args in [
        &["-qR", top][..],
        &["-q", "--hash", top],
        &["-q", "--size", top],
        &["-q", "--references", top],
        &["-r", "--no-gc-warning", top],
        &["--check-validity", top],
        &["--export", top],
        &["--verify-path", top],
        &["--dump-db", top],
    ] {
        assert_eq!(run(args).ok().stdout, here(args), "{args:?}");
    }
    let added = run(&["--add-fixed", "sha256", "src/file"]).line();
    assert_eq!(format!("{added}\n").as_bytes(), here(&["--add-fixed", "sha256", "src/file"]));
    run(&["--check-validity", &added]).ok();
    let tree = world.nival("nix", &["store", "add", "src/tree", "--store", &uri]).line();
    assert_eq!(run(&["-q", "--hash", &tree]).ok().stdout, {
        here(&["--add", "src/tree"]);
        here(&["-q", "--hash", &tree])
    });
    // What it cannot be asked to do is not a matter of rights.
    let shown = "ssh://localhost";
    for (args, message) in [
        (
            &["-q", "--referrers", top][..],
            format!("operation 'queryReferrers' is not supported by store '{shown}'"),
        ),
        (&["--gc", "--print-roots"], format!("Garbage collection not supported by store '{shown}'")),
        (
            &["--load-db"],
            format!("this operation works on a local store, and '{shown}' is on another machine"),
        ),
    ] {
        run(args).fails(&format!("error: {message}"));
    }
}

#[test]
fn outputs_are_known_through_a_daemon() {
    let Some(world) = World::with_reference() else { return };
    let (drv, outputs) = built(&world);
    let daemon = Daemon::start(&world, Side::Nival, "second", &[]);
    let all = format!("{drv}^*");
    world.nival("nix", &["copy", "--no-check-sigs", "--to", &daemon.uri, &drv, &all]).ok();
    data::trust_new_key(&world);
    let key = world.text("secret");
    for args in [
        &["path-info", &all][..],
        &["store", "sign", "-k", &key, &all],
        &["store", "verify", &all],
        &["path-info", "--sigs", &all],
    ] {
        same(&world, "nix", &[args, &["--store", &daemon.uri]].concat(), b"");
    }
    let info = world.nival("nix", &["path-info", "--sigs", &all, "--store", &daemon.uri]);
    for output in &outputs {
        assert!(info.text().contains(output.as_str()) && info.text().contains("test"), "{}", info.text());
    }
    let shown = world.nival("nix", &["store", "dump-path", &format!("{drv}^dev"), "--store", &daemon.uri]);
    assert!(!shown.ok().stdout.is_empty());
}

#[test]
fn a_dummy_store_has_nothing_and_takes_nothing() {
    let Some(world) = World::with_reference() else { return };
    world.write("src/file", "hello\n");
    let path = world.nix_store(&["--add", "src/file"]).line();
    for args in [
        &["store", "info", "--store", "dummy://"][..],
        &["store", "info", "--json", "--store", "dummy:"],
        &["path-info", "--store", "dummy://", &path],
        &["path-info", "--store", "dummy://", "--all"],
        &["store", "add", "--store", "dummy://", "src/file"],
        &["copy", "--to", "dummy://", &path],
        &["store", "verify", "--store", "dummy://", &path],
    ] {
        same(&world, "nix", args, b"");
    }
    same(&world, "nix-store", &["--store", "dummy://", "--add", "src/file"], b"");
    same(&world, "nix-store", &["--store", "dummy://", "--check-validity", "--print-invalid", &path], b"");
}

#[test]
fn copies_are_named_by_their_contents() {
    let Some(world) = World::with_reference() else { return };
    world.write("e.nix", CHAIN);
    world.write("source", "s\n");
    let drv = world.run(Side::Reference, "nix-instantiate", &["e.nix"]).line();
    let app = world.run(Side::Reference, "nix-store", &["-r", &drv]).line();
    for args in [
        &["store", "make-content-addressed", "--json", &app][..],
        &["store", "make-content-addressed", "--json", "-r", &app],
        &["store", "make-content-addressed", &app],
    ] {
        let ours = world.nival("nix", &[args, &["--to", "./ours?require-sigs=false"]].concat());
        let theirs = world.run(Side::Reference, "nix", &[args, &["--to", "./theirs"]].concat());
        assert_eq!(ours.ok().stdout, theirs.ok().stdout, "{args:?}");
        let lines =
            |text: &str| text.lines().filter(|l| l.starts_with("rew")).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&ours.stderr), lines(&theirs.stderr), "{args:?}");
    }
    let all = |root: &str| {
        let outcome = world.run(Side::Reference, "nix-store", &["--store", root, "--dump-db"]);
        let mut lines: Vec<String> = outcome.ok().lines().into_iter().map(str::to_owned).collect();
        // The order is that of registration.
        lines.sort();
        lines
    };
    assert_eq!(all("./ours"), all("./theirs"));
    world.run(Side::Reference, "nix-store", &["--store", "./ours", "--verify", "--check-contents"]).ok();
    let verified = ["store", "verify", "--all", "--store", "./ours"];
    world.run(Side::Reference, "nix", &verified).ok();
    world.nival("nix", &verified).ok();
    // Into a cache, and what is there already is left as it is.
    let cache = format!("file://{}", world.text("cache"));
    for _ in 0..2 {
        world.nival("nix", &["store", "make-content-addressed", &app, "--to", &cache]).ok();
    }
    world.run(Side::Reference, "nix", &["store", "verify", "--all", "--store", &cache]).ok();
}

const CHAIN: &str = r#"let
  lib = derivation {
    name = "lib"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo self $out > $out" ];
  };
in derivation {
  name = "app"; system = builtins.currentSystem; builder = "/bin/sh";
  args = [ "-c" "echo ${lib} ${./source} $out > $out" ];
}"#;

#[test]
fn output_paths_are_worked_out() {
    let Some(world) = World::with_reference() else { return };
    world.write("e.nix", CHAIN);
    world.write("source", "s\n");
    let drv = world.run(Side::Reference, "nix-instantiate", &["e.nix"]).line();
    let shown = world.nival("nix", &["derivation", "show", &drv]).ok().text().to_owned();
    let mut value: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let all = value["derivations"].as_object_mut().unwrap();
    let mut one = all.values().next().unwrap().clone();
    let path = one["outputs"]["out"].as_object_mut().unwrap().remove("path").unwrap();
    let add = |side: Side, value: &serde_json::Value| {
        world.run_with_input(side, "nix", &["derivation", "add"], value.to_string().as_bytes())
    };
    for side in SIDES {
        assert_eq!(add(side, &one).line(), drv, "{side:?}");
    }
    // Also where the environment says nothing of it.
    let mut other = one.clone();
    other["env"]["out"] = serde_json::json!("");
    for side in SIDES {
        assert_eq!(add(side, &other).line(), drv, "{side:?}");
    }
    other["env"].as_object_mut().unwrap().remove("out");
    assert_eq!(add(Side::Nival, &other).line(), drv);
    // But nothing else.
    one["env"]["out"] = serde_json::json!(format!("{}/{}x", world.text("store"), path.as_str().unwrap()));
    for side in SIDES {
        assert_eq!(add(side, &one).status, 1, "{side:?}");
    }
}
