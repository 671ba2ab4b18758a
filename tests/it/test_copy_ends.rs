//! What `nix copy` leaves where it ends: destinations, links and profiles.

use crate::common::{Side, World};
use crate::data;
use crate::remotes::Daemon;

const SIDES: [Side; 2] = [Side::Nival, Side::Reference];

#[test]
fn a_copy_that_cannot_begin_makes_no_destination() {
    let world = World::new();
    let paths = data::sample(&world);
    let nowhere = format!("{}/{}-nowhere", world.text("store"), data::hash_part(99));
    let cache = format!("file://{}", world.text("new"));
    for to in [cache.as_str(), "./new", "local?root=/HERE/new"] {
        let to = to.replace("/HERE", world.text("").trim_end_matches('/'));
        for arguments in [
            &[nowhere.as_str()][..],
            &[],
            &["--from", "file:///nosuch/dir", paths[0].as_str()],
            &["--from", "dummy://", paths[0].as_str()],
        ] {
            let args = [&["copy", "--to", &to][..], arguments].concat();
            let copied = world.nival("nix", &args);
            assert_eq!(copied.status, 1, "{args:?}");
            assert!(!world.path("new").exists(), "{args:?}: {}", copied.stderr);
        }
    }
    // Nobody signed it.
    let top = paths.last().unwrap();
    let copied = world.nival("nix", &["copy", "--to", "./new", top]);
    let first = copied.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    assert!(first.ends_with("because it lacks a signature by a trusted key"), "{}", copied.stderr);
    assert!(!world.path("new").exists());
    // With something to put into it, it is made.
    world.nival("nix", &["copy", "--to", "./new", "--no-check-sigs", top]).ok();
    assert!(world.path("new/nix/store").exists());
}

#[test]
fn an_empty_list_of_paths_is_an_error() {
    let world = World::new();
    let message = "error: no paths are given, and there is no flake in this directory or above it";
    for args in [&["copy", "--to", "./x"][..], &["path-info"], &["store", "verify"]] {
        world.nival("nix", args).fails(message);
    }
    assert!(!world.path("x").exists());
    world.nival("nix", &["copy", "--to", "./x", "--stdin"]).ok();
}

#[test]
fn links_are_numbered_in_the_order_of_the_arguments() {
    let Some(world) = World::with_reference() else { return };
    world.write("src/zz", "1\n");
    world.write("src/aa", "2\n");
    let [z, a] = ["src/zz", "src/aa"].map(|file| world.nix_store(&["--add", file]).line());
    for (number, order) in [[&z, &a, &z], [&a, &z, &a]].into_iter().enumerate() {
        let links = SIDES.map(|side| {
            let dir = format!("{side:?}{number}");
            std::fs::create_dir(world.path(&dir)).unwrap();
            let mut args = vec!["copy", "--no-check-sigs", "--to", "./chroot", "--out-link"];
            let link = format!("{dir}/l");
            args.push(&link);
            args.extend(order.iter().map(|path| path.as_str()));
            world.run(side, "nix", &args).ok();
            let names = data::names(&world.path(&dir)).into_iter();
            let leads = |name: String| {
                let target = std::fs::read_link(world.path(&dir).join(&name)).unwrap();
                (name, target)
            };
            names.map(leads).collect::<Vec<_>>()
        });
        assert_eq!(links[0], links[1]);
        assert_eq!(links[0][0].1.to_str().unwrap(), order[0]);
    }
}

#[test]
fn links_and_profiles_are_made_through_a_daemon() {
    let world = World::new();
    let paths = data::sample(&world);
    let top = paths.last().unwrap().as_str();
    let daemon = Daemon::start(&world, Side::Nival, "second", &[]);
    let args = ["copy", "--no-check-sigs", "--to", &daemon.uri, top, "--out-link", "link"];
    world.nival("nix", &args).ok();
    assert_eq!(std::fs::read_link(world.path("link")).unwrap().to_str().unwrap(), top);
    let profile = ["copy", "--no-check-sigs", "--to", &daemon.uri, top, "--profile", "profile"];
    world.nival("nix", &profile).ok();
    assert_eq!(std::fs::read_link(world.path("profile-1-link")).unwrap().to_str().unwrap(), top);
    let roots = world.nix_store(&["--store", &daemon.uri, "--gc", "--print-roots"]);
    for link in ["link", "profile-1-link"] {
        assert!(
            roots.ok().text().contains(&format!("\"{}\" -> {top}", world.text(link))),
            "{}",
            roots.text()
        );
    }
    // Roots are no business of a cache.
    let cache = format!("file://{}", world.text("cache"));
    for flag in ["--out-link", "--profile"] {
        let copied = world.nival("nix", &["copy", "--to", &cache, top, flag, "other"]);
        assert!(copied.stderr.contains(&format!("'{flag}' is not supported for this Nix store")));
        assert_eq!(copied.status, 1);
    }
}

#[test]
fn only_the_other_store_is_named() {
    let Some(world) = World::with_reference() else { return };
    world.write("src/file", "hello\n");
    let path = world.nix_store(&["--add", "src/file"]).line();
    let daemon = Daemon::start(&world, Side::Nival, "second", &[]);
    let socket = world.text("second/socket");
    let run = |side: Side, args: &[&str]| {
        let mut command = world.command(side, "nix");
        let places =
            ["STATE", "LOG"].map(|name| (format!("NIX_{name}_DIR"), world.path("second").join(name)));
        command.args(args).env("NIX_DAEMON_SOCKET_PATH", &socket).envs(places);
        crate::common::outcome(command.output().unwrap()).ok().stderr.clone()
    };
    world.nival("nix", &["copy", "--no-check-sigs", "--to", &daemon.uri, &path]).ok();
    let [ours, theirs] = SIDES.map(|side| {
        let cache = format!("file://{}", world.text("cache"));
        let text = run(side, &["copy", "--from", "daemon", "--to", &cache, &path]);
        nival::sys::remove::remove(&world.path("cache")).unwrap();
        text
    });
    assert_eq!(ours, theirs);
    drop(daemon);
}

#[test]
fn the_version_wins() {
    let world = World::new();
    for command in [&["copy"][..], &["store", "sign"], &["hash", "file"], &["store"], &[]] {
        let with = world.nival("nix", &[command, &["--version"]].concat());
        assert!(with.ok().text().starts_with("nix ("), "{command:?}");
    }
}
