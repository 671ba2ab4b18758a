//! `--realise` of what is there, and the roots it makes.

use crate::common::{Outcome, Side, World};
use crate::data;
use crate::remotes::Daemon;

const SIDES: [Side; 2] = [Side::Nival, Side::Reference];

fn both(world: &World, args: &[&str]) -> Outcome {
    let [ours, theirs] = SIDES.map(|side| world.run(side, "nix-store", args));
    assert_eq!(
        (ours.status, ours.text(), &ours.stderr),
        (theirs.status, theirs.text(), &theirs.stderr),
        "{args:?}"
    );
    ours
}

#[test]
fn prints_and_roots_what_is_there() {
    let Some(data) = data::shared() else { return };
    let world = &data.world;
    let multi = format!("{}!dev,doc", data.multi_drv);
    both(world, &["-r"]);
    both(world, &["-r", &data.plain[3], &data.plain[1], &data.plain[3], &data.multi_drv, &data.top_drv]);
    both(world, &["-r", "--no-gc-warning", &multi, &format!("{}/below", data.plain[0])]);
    let unknown = format!("{}/{}-unknown", world.text("store"), data::hash_part(900));
    both(world, &["-r", "--ignore-unknown", &unknown, &data.plain[2]]);
    both(world, &["-r", "--dry-run", &unknown]);
    let refused = both(world, &["-r", &format!("{}!nope", data.multi_drv)]);
    assert_eq!(refused.status, 1);
    assert_eq!(world.nix_store(&["-r", &unknown]).status, 1);
}

#[test]
fn links_are_named_and_rooted_as_by_the_reference() {
    let Some(world) = World::with_reference() else { return };
    let paths = data::sample(&world);
    let nix = r#"derivation { name = "m"; system = "x86_64-linux"; builder = "/bin/sh"; outputs = [ "out" "dev" ];
                 args = [ "-c" "echo > $out; echo > $dev" ]; }"#;
    let file = world.write("src/m.nix", nix);
    let drv = world.run(Side::Reference, "nix-instantiate", &["--quiet", file.to_str().unwrap()]).line();
    world.run(Side::Reference, "nix-store", &["-r", &drv]).ok();
    let mut results = Vec::new();
    for side in SIDES {
        let links = world.path("links");
        let _ = std::fs::remove_dir_all(&links);
        let _ = std::fs::remove_dir_all(world.path("var/gcroots/auto"));
        let add = |args: &[&str]| world.run(side, "nix-store", &[&["-r"], args].concat());
        let root = world.text("links/deep/r");
        let outcomes = [
            add(&[&paths[0], &drv, &paths[1], "--add-root", &root, "--indirect"]),
            add(&[&format!("{drv}!dev"), "--add-root", "links/relative"]),
            // Again, over a link that is there.
            add(&[&paths[2], "--add-root", &root]),
        ];
        std::fs::write(world.path("links/file"), "").unwrap();
        let refused = add(&[&paths[0], "--add-root", &world.text("links/file")]);
        assert_eq!(refused.status, 1);
        let mut made = Vec::new();
        for dir in ["links", "links/deep", "var/gcroots/auto"] {
            for name in data::names(&world.path(dir)) {
                let path = world.path(dir).join(&name);
                made.push((dir, name, std::fs::read_link(path).ok()));
            }
        }
        let said: Vec<_> =
            outcomes.iter().map(|o| (o.status, o.text().to_owned(), o.stderr.clone())).collect();
        results.push((said, made, refused.stderr));
    }
    assert_eq!(results[0], results[1]);
    // They hold: nothing else is left of the sample.
    let before = world.nix_store(&["-qR", &paths[0], &paths[1], &paths[2], &drv]);
    assert!(before.ok().lines().len() > 3);
    world.nix_store(&["--gc"]).ok();
    world.nix_store(&["--check-validity", &paths[1], &paths[2]]).ok();
    data::assert_sound(&world);
}

/// Outputs are asked of the daemon by their derivation, as of the local store.
#[test]
fn outputs_are_named_by_their_derivation_through_a_daemon() {
    let Some(data) = data::shared() else { return };
    let world = &data.world;
    let outputs = format!("{}^*", data.multi_drv);
    let output = format!("{}^dev", data.multi_drv);
    for (number, server) in SIDES.into_iter().enumerate() {
        let daemon = Daemon::start(world, server, &format!("named-{number}"), &[]);
        let copy = ["copy", "--no-check-sigs", "--to", &daemon.uri, &outputs];
        world.nival("nix", &copy).ok();
        world.nival("nix", &[&copy[..4], &["--derivation", &data.multi_drv]].concat()).ok();
        for args in [
            &["path-info", &outputs][..],
            &["path-info", "--json", "--json-format", "1", "-s", &output],
            &["path-info", "-r", "-S", &output],
            &["store", "verify", "--no-trust", &outputs],
            &["store", "dump-path", &output],
            &[
                "store",
                "ls",
                "-lR",
                "--json",
                &world.run(Side::Reference, "nix", &["path-info", &output]).line(),
            ],
            &["derivation", "show", &outputs],
            &["store", "copy-log", "--from", &daemon.uri, &output],
        ] {
            let run = |side| world.run(side, "nix", &[args, &["--store", &daemon.uri]].concat());
            let [ours, theirs] = SIDES.map(run);
            let json = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).ok();
            let same = ours.stdout == theirs.stdout
                || json(&ours.stdout).is_some() && json(&ours.stdout) == json(&theirs.stdout);
            assert_eq!(ours.status, theirs.status, "{args:?} {ours:?} {theirs:?}");
            assert!(same, "{args:?} {ours:?} {theirs:?}");
        }
    }
}
