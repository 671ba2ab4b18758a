//! What must not go wrong again.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::common::{Side, World};
use crate::data;

/// An export item with the given archive and no references.
fn item(archive: &[u8], path: &str) -> Vec<u8> {
    let mut item = 1u64.to_le_bytes().to_vec();
    item.extend(archive);
    item.extend(0x4558_494e_u64.to_le_bytes());
    item.extend((path.len() as u64).to_le_bytes());
    item.extend(path.as_bytes());
    item.resize(item.len().next_multiple_of(8), 0);
    // No reference, no deriver, no signature.
    item.extend([0; 24]);
    item
}

#[test]
fn a_derivation_that_is_a_link_is_not_followed() {
    let world = World::new();
    let path = format!("{}/{}-x.drv", world.text("store"), data::hash_part(1));
    std::os::unix::fs::symlink("/dev/zero", world.path("src/link")).unwrap();
    let archive = world.nix_store(&["--dump", "src/link"]).ok().stdout.clone();
    let stream = [item(&archive, &path), vec![0; 8]].concat();
    let mut child = data::start(&world, Side::Nival, &["--import"]);
    child.stdin.take().unwrap().write_all(&stream).unwrap();
    let outcome = data::finish(child, Duration::from_secs(10));
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.stderr.contains("opening file"), "{outcome:?}");
    assert!(!Path::new(&path).exists());
    assert!(std::fs::symlink_metadata(&path).is_err());
    assert_eq!(data::leftovers(&world), [].into());
}

#[test]
fn a_complete_stream_is_taken_while_its_pipe_stays_open() {
    let world = World::new();
    world.write("src/large", "x".repeat(200_000));
    let archive = world.nix_store(&["--dump", "src/large"]).ok().stdout.clone();
    let path = format!("{}/{}-large", world.text("store"), data::hash_part(2));
    let stream = [item(&archive, &path), vec![0; 8]].concat();
    // Wherever a reader may have stopped before the rest arrived.
    for first in [1, 100_000, 125 * 1024, 128 * 1024 - 100, 128 * 1024, stream.len() - 8] {
        data::forget_if_there(&world);
        let mut child = data::start(&world, Side::Nival, &["--import"]);
        let mut input = child.stdin.take().unwrap();
        input.write_all(&stream[..first]).unwrap();
        std::thread::sleep(Duration::from_millis(150));
        input.write_all(&stream[first..]).unwrap();
        let outcome = data::finish(child, Duration::from_secs(10));
        assert_eq!(outcome.line(), path, "{first}");
        drop(input);
    }
}

#[test]
fn keys_are_written_to_what_is_no_regular_file() {
    let world = World::new();
    let args = ["--generate-binary-cache-key", "k", "secret", "/dev/stdout"];
    let outcome = world.nix_store(&args);
    assert!(outcome.ok().text().starts_with("k:"));
    assert!(!std::fs::symlink_metadata("/dev/stdout").unwrap().is_file());
    assert_eq!(world.nix_store(&["--generate-binary-cache-key", "k", "other", "/dev/null"]).status, 0);
    assert!(!std::fs::symlink_metadata("/dev/null").unwrap().is_file());
}

#[test]
fn verifying_forgets_nothing_that_is_added_meanwhile() {
    let world = World::new();
    world.nix_store(&["--init"]).ok();
    // A long listing leaves time for something to be added.
    for i in 0..20_000 {
        std::fs::write(world.store().join(format!("{}-entry", data::hash_part(i))), "").unwrap();
    }
    let added: Vec<String> = std::thread::scope(|scope| {
        let verifier = scope.spawn(|| {
            for _ in 0..8 {
                world.nix_store(&["--verify"]).ok();
            }
        });
        let mut added = Vec::new();
        while !verifier.is_finished() {
            let name = format!("src/file-{}", added.len());
            world.write(&name, &name);
            added.push(world.nix_store(&["--add", &name]).line());
        }
        added
    });
    assert!(added.len() > 5, "too few were added for this to tell anything");
    let args: Vec<&str> =
        ["--check-validity", "--print-invalid"].into_iter().chain(added.iter().map(String::as_str)).collect();
    assert_eq!(world.nix_store(&args).ok().text(), "");
}

#[test]
fn few_descriptors_are_enough() {
    let world = World::new();
    for i in 0..300 {
        world.write(format!("src/many/file-{i}"), i.to_string());
    }
    let script = "ulimit -n 64 && exec nix-store --add src/many/*";
    let mut command = world.command(Side::Nival, "nix-store");
    let bin = world.text("bin");
    let environment: Vec<_> =
        command.get_envs().map(|(k, v)| (k.to_owned(), v.map(ToOwned::to_owned))).collect();
    command = std::process::Command::new("/bin/sh");
    command.env_clear().current_dir(world.path("")).args(["-c", script]);
    for (name, value) in environment {
        command.env(name, value.unwrap_or_default());
    }
    let outcome =
        crate::common::outcome(command.env("PATH", format!("{bin}:/usr/bin:/bin")).output().unwrap());
    assert_eq!(outcome.ok().lines().len(), 300);
    data::assert_sound(&world);
}

#[test]
fn a_new_store_is_set_up_by_all_who_come_at_once() {
    // Each round has a chance of one in seven to meet in the change to WAL mode.
    for _ in 0..25 {
        let world = World::new();
        world.write("file", "content");
        std::thread::scope(|scope| {
            for _ in 0..24 {
                scope.spawn(|| {
                    world.nix_store(&["--add", "file"]).ok();
                });
            }
        });
    }
}

#[test]
fn long_chains_of_derivations_are_checked() {
    let mut world = World::new();
    world
        .variables
        .push(("NIX_CONFIG".to_owned(), "extra-experimental-features = ca-derivations".to_owned()));
    world.nix_store(&["--init"]).ok();
    let store = world.text("store");
    let (mut text, mut below) = (String::new(), None::<String>);
    // More than any stack would hold, one inside the other, and nobody knows what
    // comes of the first.
    for number in 0..=5000 {
        let path = format!("{store}/{}-n{number}.drv", data::hash_part(number));
        let input = below.iter().map(|below| format!("(\"{below}\",[\"out\"])")).collect::<String>();
        let chosen = format!("{store}/{}-n{number}", data::hash_part(100_000 + number));
        let (out, algorithm) = match number {
            0 => ("", "r:sha256"),
            5000 => (chosen.as_str(), ""),
            _ => ("", ""),
        };
        let derivation = format!(
            "Derive([(\"out\",\"{out}\",\"{algorithm}\",\"\")],[{input}],[],\"x\",\"/bin/sh\",[],[(\"out\",\"{out}\")])"
        );
        std::fs::write(&path, derivation).unwrap();
        let references = below.iter().map(|below| format!("{below}\n")).collect::<String>();
        let entry = format!("{path}\n\n{}\n{references}", below.iter().count());
        if number < 5000 {
            text += &entry;
            below = Some(path);
        } else {
            world.run_with_input(Side::Nival, "nix-store", &["--register-validity"], text.as_bytes()).ok();
            text = entry;
        }
    }
    // No path follows, all the way down, which is found out.
    let refused = world.run_with_input(Side::Nival, "nix-store", &["--register-validity"], text.as_bytes());
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("should be deferred"), "{}", refused.stderr);
}
