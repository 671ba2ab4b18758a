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
fn a_profile_of_nix_env_is_converted() {
    let Some(world) = World::with_reference() else { return };
    let paths = packages(&world);
    let ours = profile(&world, Side::Nival);
    world.nival("nix-env", &["-p", &ours, "-i", &paths[0]]).ok();
    let run = |args: &[&str]| {
        world.nival("nix", &[&["profile"], &args[..1], &["--profile", &ours], &args[1..]].concat())
    };
    assert!(run(&["list"]).ok().text().contains(&paths[0]));
    let converted = run(&["add", &paths[2]]);
    let way_back = format!("'nix profile rollback --profile {ours}' goes back");
    assert!(converted.ok().stderr.contains(&way_back), "{}", converted.stderr);
    assert!(Path::new(&ours).join("manifest.json").exists());
    assert!(Path::new(&ours).join("bin/x").exists() && Path::new(&ours).join("bin/y").exists());
    // Once, and back again.
    assert_eq!(run(&["add", &paths[3]]).ok().stderr, "");
    run(&["rollback", "--to", "1"]).ok();
    assert_eq!(world.nival("nix-env", &["-p", &ours, "-q"]).line(), "a-1.0");
    // As the reference does it, but priorities and what is switched off stay.
    let theirs = profile(&world, Side::Reference);
    world.run(Side::Reference, "nix-env", &["-p", &theirs, "-i", &paths[0]]).ok();
    world.run(Side::Reference, "nix", &["profile", "add", "--profile", &theirs, &paths[2]]).ok();
    let environment = |link: String| std::fs::canonicalize(link).unwrap();
    assert_eq!(environment(format!("{ours}-2-link")), environment(theirs));
    let named = world.text("var/profiles/named");
    world.nival("nix-env", &["-p", &named, "-i", &paths[0], "--force-name", "other-7"]).ok();
    world.nival("nix-env", &["-p", &named, "--set-flag", "priority", "3", "other"]).ok();
    let [of_us, of_them] =
        SIDES.map(|side| world.run(side, "nix", &["profile", "list", "--profile", &named]));
    assert_eq!(of_us.ok().text(), of_them.ok().text());
    let listed = world.nival("nix", &["profile", "list", "--json", "--profile", &named]);
    let listed: serde_json::Value = serde_json::from_str(listed.ok().text()).unwrap();
    assert_eq!(listed["elements"]["a"]["priority"], 3);
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

/// A profile with a manifest, for one side.
fn with_manifest(world: &World, side: Side, name: &str, manifest: &str) -> String {
    world.write(format!("src/env-{name}/manifest.json"), manifest);
    let path = world.nix_store(&["--add", &world.text(format!("src/env-{name}"))]).line();
    let link = world.text(format!("var/profiles/{name}-{side:?}"));
    std::fs::create_dir_all(world.path("var/profiles")).unwrap();
    std::os::unix::fs::symlink(&path, format!("{link}-1-link")).unwrap();
    std::os::unix::fs::symlink(format!("{name}-{side:?}-1-link"), &link).unwrap();
    link
}

#[test]
fn older_manifests_are_read_and_written_anew() {
    let Some(world) = World::with_reference() else { return };
    world.write(
        "etc/nix.conf",
        "experimental-features = nix-command flakes\nbuild-users-group =\nsubstituters =\n",
    );
    let paths = packages(&world);
    let [a, b, c] = [0, 2, 3].map(|i| paths[i].as_str());
    let url = r#""url":"path:/x","originalUrl":"flake:n""#;
    let attribute = |name: &str| format!(r#""attrPath":"packages.x86_64-linux.{name}""#);
    let manifests = [
        format!(r#"{{"version":2,"elements":[{{"active":true,"priority":7,"storePaths":["{a}"]}}]}}"#),
        format!(
            r#"{{"version":2,"elements":[{{"active":true,"storePaths":["{b}"],{url},{},"outputs":["out","man"]}},
            {{"active":true,"storePaths":["{c}"],"url":"github:foo/bar/1","originalUrl":"github:foo/bar",{},"outputs":null}},
            {{"active":false,"storePaths":["{a}"]}}]}}"#,
            attribute("two"),
            attribute("default")
        ),
        format!(
            r#"{{"version":1,"elements":[{{"active":true,"storePaths":["{b}"],"uri":"path:/x","originalUri":"flake:n",{}}},
            {{"active":true,"storePaths":["{a}"]}}]}}"#,
            attribute("two")
        ),
        format!(
            r#"{{"version":3,"elements":{{"thr":{{"active":true,"priority":5,"storePaths":["{b}"],{url},{},"outputs":["*"]}},"x":{{"active":true,"priority":5,"storePaths":["{c}"]}}}}}}"#,
            attribute("two")
        ),
        r#"{"version":2}"#.to_owned(),
        r#"{"version":9,"elements":[]}"#.to_owned(),
        r#"{"elements":[]}"#.to_owned(),
    ];
    for (number, manifest) in manifests.iter().enumerate() {
        let name = format!("old{number}");
        let links = SIDES.map(|side| with_manifest(&world, side, &name, manifest));
        for args in [
            &["list"][..],
            &["list", "--json"],
            &["history"],
            &["remove", "nosuch"],
            &["upgrade", "a"],
            &["upgrade", "x"],
            &["upgrade", "nosuch"],
            &["upgrade", "0"],
            &["remove", "0"],
            &["remove", "two"],
            &["list", "--json"],
            &["history"],
            &["remove", "--all"],
            &["remove", "--regex", "x"],
            &["diff-closures"],
        ] {
            let [ours, theirs] = [0, 1].map(|i| {
                let args = [&["profile"], &args[..1], &["--profile", &links[i]], &args[1..]].concat();
                let outcome = world.run(SIDES[i], "nix", &args);
                let said = outcome.stderr.replace(&links[i], "PROFILE");
                let count = data::names(&world.path("var/profiles"))
                    .iter()
                    .filter(|other| other.starts_with(&format!("{name}-{:?}", SIDES[i])))
                    .count();
                let end = (std::fs::canonicalize(&links[i]).ok(), count);
                (outcome.status, outcome.text().to_owned(), said, end)
            });
            assert_eq!(ours, theirs, "{manifest} {args:?}");
        }
    }
    // Nothing is made where there was nothing.
    for args in [&["remove", "x"][..], &["remove", "--all"], &["upgrade", "--all"], &["remove", "x", "y"]] {
        both(&world, args);
    }
    assert!(!Path::new(&profile(&world, Side::Nival)).is_symlink());
    // What says something else than it should is not taken for nothing.
    let members = [r#""storePaths":"x""#, r#""storePaths":[7]"#, r#""storePaths":[],"active":"no""#];
    for (number, member) in members.iter().enumerate() {
        let manifest = format!(r#"{{"version":3,"elements":{{"x":{{{member}}}}}}}"#);
        let link = with_manifest(&world, Side::Nival, &format!("odd{number}"), &manifest);
        let refused = world.nival("nix", &["profile", "list", "--profile", &link]);
        assert!(refused.status == 1 && refused.stderr.contains("'x'"), "{manifest} {refused:?}");
    }
    // What comes from a flake needs the language.
    let flake = with_manifest(&world, Side::Nival, "flake", &manifests[1]);
    let refused = world.nival("nix", &["profile", "upgrade", "--profile", &flake, "--all"]);
    assert!(refused.status == 1 && refused.stderr.contains("flake"), "{refused:?}");
}

#[test]
fn names_of_outputs_do_not_count_as_versions() {
    let Some(world) = World::with_reference() else { return };
    let add = |name: &str, size: usize| {
        world.write(format!("src/{name}/file"), "x".repeat(size));
        world.nix_store(&["--add", &world.text(format!("src/{name}"))]).line()
    };
    for (before, after) in [
        ("hello-1.0-man", "hello-2.0"),
        ("user-environment", "user"),
        ("a-b-c", "a-b"),
        ("z-1.0-man-page", "z-1.0"),
        ("x-1.0-rc1", "x-1.0-Bin"),
    ] {
        let (before, after) = (add(before, 10), add(after, 20_000));
        let [ours, theirs] =
            SIDES.map(|side| world.run(side, "nix", &["store", "diff-closures", &before, &after]));
        assert_eq!(ours.ok().text(), theirs.ok().text());
    }
}
