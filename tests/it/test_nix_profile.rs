//! `nix profile` and `nix store diff-closures` beside the reference.

use std::path::Path;

use crate::common::{Outcome, Side, World};
use crate::data;

const SIDES: [Side; 2] = [Side::Nival, Side::Reference];

fn packages(world: &World) -> Vec<String> {
    let mut args = vec!["--add".to_owned()];
    for (name, tool, size) in [
        ("a-1.0", "x", 10),
        ("a-2.0", "x", 30_000),
        ("b-1", "y", 10),
        ("c", "z", 20_000),
        ("d-3pre1", "w", 5),
    ] {
        world.write(format!("src/{name}/bin/{tool}"), name.repeat(size));
        world.write(format!("src/{name}/share/{name}/only"), name);
        args.push(world.text(format!("src/{name}")));
    }
    let added = world.nix_store(&args);
    added.ok().lines().into_iter().map(str::to_owned).collect()
}

fn profile(world: &World, side: Side) -> String {
    world.text(format!("var/profiles/of-{side:?}"))
}

fn both(world: &World, args: &[&str]) -> Outcome {
    let [ours, theirs] = SIDES.map(|side| {
        let profile = profile(world, side);
        let args = [&["profile"], &args[..1], &["--profile", &profile], &args[1..]].concat();
        let outcome = world.run(side, "nix", &args);
        let said = |text: &str| text.replace(&profile, "PROFILE");
        let lines: Vec<String> = said(&outcome.stderr)
            .lines()
            .map(|line| if line.starts_with("Try '") { "Try".to_owned() } else { line.trim_end().to_owned() })
            .filter(|line| !line.is_empty())
            .collect();
        let target = std::fs::canonicalize(&profile).ok();
        let links: Vec<String> = data::names(&world.path("var/profiles"))
            .iter()
            .filter_map(|name| name.strip_prefix(&format!("of-{side:?}")).map(str::to_owned))
            .collect();
        ((outcome.status, said(outcome.text()), lines, target, links), outcome)
    });
    assert_eq!(ours.0, theirs.0, "{args:?}");
    ours.1
}

#[test]
fn does_what_the_reference_does() {
    let Some(world) = World::with_reference() else { return };
    let paths = packages(&world);
    let [a1, a2, b, c, d] = [0, 1, 2, 3, 4].map(|i| paths[i].as_str());
    both(&world, &["add", b, a1]);
    both(&world, &["list"]);
    both(&world, &["list", "--json"]);
    // A conflict with what is there, and its three ways out.
    both(&world, &["add", a2]);
    both(&world, &["add", a2, "--priority", "4"]);
    both(&world, &["remove", "a"]);
    both(&world, &["list"]);
    both(&world, &["add", c, c, d]);
    both(&world, &["list", "--json"]);
    both(&world, &["remove", "nope"]);
    both(&world, &["remove", "--regex", "D.*"]);
    both(&world, &["remove", "--regex", "nope.*"]);
    both(&world, &["remove"]);
    both(&world, &["history"]);
    both(&world, &["diff-closures"]);
    both(&world, &["rollback"]);
    both(&world, &["rollback", "--to", "77"]);
    both(&world, &["rollback", "--to", "2"]);
    both(&world, &["add", d]);
    both(&world, &["remove", d]);
    both(&world, &["remove", "--all"]);
    both(&world, &["list"]);
    both(&world, &["wipe-history", "--dry-run"]);
    both(&world, &["wipe-history", "--older-than", "5d"]);
    both(&world, &["wipe-history"]);
    both(&world, &["history"]);
    for [before, after] in [[a1, a2], [a2, a1], [b, c], [d, d]] {
        let [ours, theirs] =
            SIDES.map(|side| world.run(side, "nix", &["store", "diff-closures", before, after]));
        assert_eq!(ours.ok().text(), theirs.ok().text());
    }
    data::assert_sound(&world);
}

#[test]
fn a_profile_of_nix_env_is_not_converted() {
    let Some(world) = World::with_reference() else { return };
    let paths = packages(&world);
    let ours = profile(&world, Side::Nival);
    world.nival("nix-env", &["-p", &ours, "-i", &paths[0]]).ok();
    let run = |args: &[&str]| {
        world.nival("nix", &[&["profile"], &args[..1], &["--profile", &ours], &args[1..]].concat())
    };
    assert!(run(&["list"]).ok().text().contains(&paths[0]));
    let refused = run(&["add", &paths[2]]);
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("is kept by 'nix-env'; change it with that"), "{}", refused.stderr);
    assert!(Path::new(&ours).join("manifest.nix").exists());
    // And the other way round.
    let other = world.text("var/profiles/other");
    world.nival("nix", &["profile", "add", "--profile", &other, &paths[0]]).ok();
    let refused = world.nival("nix-env", &["-p", &other, "-i", &paths[2]]);
    assert!(refused.stderr.contains("please use 'nix profile' instead"), "{}", refused.stderr);
    // What others wrote of a package stays as it is.
    let manifest = format!(
        r#"{{"elements":{{"x":{{"active":true,"attrPath":"packages.x","originalUrl":"flake:n","outputs":null,"priority":5,"storePaths":["{}"],"url":"path:/n"}}}},"version":3}}"#,
        paths[0]
    );
    std::fs::create_dir_all(world.path("flake-env")).unwrap();
    std::fs::write(world.path("flake-env/manifest.json"), &manifest).unwrap();
    std::os::unix::fs::symlink(world.path("flake-env"), world.path("var/profiles/flake")).unwrap();
    let flake = world.text("var/profiles/flake");
    world.nival("nix", &["profile", "add", "--profile", &flake, &paths[2]]).ok();
    let kept = world.nival("nix", &["profile", "list", "--json", "--profile", &flake]);
    let kept: serde_json::Value = serde_json::from_str(kept.ok().text()).unwrap();
    assert_eq!(kept["elements"]["x"]["attrPath"], "packages.x");
    assert_eq!(kept["elements"]["b"]["storePaths"][0], paths[2].as_str());
}
