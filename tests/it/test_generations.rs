//! Generations that lead to nothing, and profiles that are not there.

use std::path::Path;

use crate::common::World;

/// A profile with three generations, of which the second leads to nothing.
fn damaged(world: &World) -> String {
    let profile = world.text("profile");
    for (number, name) in ["a", "b", "c"].iter().enumerate() {
        world.write(format!("src/{name}/{name}"), number.to_string());
        let path = world.nix_store(&["--add", &world.text(format!("src/{name}"))]).line();
        world.nival("nix-env", &["-p", &profile, "--set", &path]).ok();
    }
    let second = std::fs::read_link(world.path("profile-2-link")).unwrap();
    nival::sys::remove::remove(&second).unwrap();
    profile
}

#[test]
fn nobody_is_led_to_nothing() {
    let world = World::new();
    let profile = damaged(&world);
    let second = std::fs::read_link(world.path("profile-2-link")).unwrap();
    let current = || std::fs::read_link(&profile).unwrap();
    let gone = format!("leads to \"{}\", which is gone", second.display());
    for args in [&["--rollback"][..], &["-G", "2"]] {
        let outcome = world.nival("nix-env", &[&["-p", &profile], args].concat());
        outcome.fails(&format!(
            "error: profile version 2 {gone} ('--force' switches to it all the same); nothing was switched"
        ));
        assert_eq!(current(), Path::new("profile-3-link"));
    }
    let outcome = world.nival("nix", &["profile", "rollback", "--profile", &profile]);
    outcome.fails(&format!("error: profile version 2 {gone}; nothing was switched"));
    // The list is as it was, and says so beside.
    let list = world.nival("nix-env", &["-p", &profile, "--list-generations"]);
    assert_eq!(list.ok().lines().len(), 3);
    assert_eq!(list.stderr, format!("warning: profile version 2 {gone}\n"));
    let json = world.nival("nix-env", &["-p", &profile, "--list-generations", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.ok().stdout).unwrap();
    let marks: Vec<_> = json.as_array().unwrap().iter().map(|value| value["gone"].as_bool()).collect();
    assert_eq!(marks, [Some(false), Some(true), Some(false)]);
    world.nival("nix-env", &["-p", &profile, "-G", "1"]).ok();
    world.nival("nix-env", &["-p", &profile, "-G", "2", "--force"]).ok();
    assert_eq!(current(), Path::new("profile-2-link"));
    world.nival("nix-env", &["-p", &profile, "--force", "-q"]).fails("error: unknown flag '--force'");
}

#[test]
fn a_profile_that_is_not_there_is_told_of() {
    let world = World::new();
    let nowhere = world.text("nowhere");
    let outcome = world.nival("nix-env", &["--switch-profile", &nowhere]);
    assert!(outcome.ok().stderr.contains(&format!("warning: there is no profile \"{nowhere}\" yet")));
    let profile = damaged(&world);
    let outcome = world.nival("nix-env", &["-S", &profile]);
    assert!(!outcome.ok().stderr.contains("warning"), "{outcome:?}");
    let outcome = world.nival("nix-env", &["-p", &profile, "--delete-generations", "1", "99"]);
    let told = format!("warning: profile \"{profile}\" has no generation 99");
    assert!(outcome.ok().stderr.contains(&told), "{outcome:?}");
    assert!(!world.path("profile-1-link").is_symlink());
}
