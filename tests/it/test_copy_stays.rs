//! What is complete stays when the rest of a copy fails or is interrupted.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Outcome, Side, World, outcome};
use crate::data;
use crate::servers::{Act, Faulty, Nginx};

/// Paths and a cache of them. The third refers to nothing; the fourth to the first
/// two, the fifth to the third and the fourth.
struct Closure {
    world: World,
    paths: Vec<String>,
}

impl Closure {
    fn new(world: World) -> Self {
        let store = world.text("store");
        world.nix_store(&["--add", &world.text("etc/nix.conf")]).ok();
        let paths: Vec<String> =
            (0..5).map(|i| format!("{store}/{}-part-{i}", data::hash_part(500 + i))).collect();
        let text = data::plant(&world, &paths, |i| match i {
            3 => vec![paths[0].clone(), paths[1].clone()],
            4 => vec![paths[2].clone(), paths[3].clone()],
            _ => Vec::new(),
        });
        world.run_with_input(Side::Nival, "nix-store", &["--register-validity"], text.as_bytes()).ok();
        let cache = format!("file://{}?compression=none", world.text("cache"));
        world.nival("nix", &["copy", "--to", &cache, &paths[4]]).ok();
        Self { world, paths }
    }

    fn narinfo(&self, number: usize) -> String {
        let name = self.paths[number].rsplit('/').next().unwrap();
        format!("cache/{}.narinfo", &name[..32])
    }

    /// The file of the archive of a path, below the cache.
    fn archive(&self, number: usize) -> String {
        let text = std::fs::read_to_string(self.world.path(self.narinfo(number))).unwrap();
        text.lines().find_map(|line| line.strip_prefix("URL: ")).unwrap().to_owned()
    }

    fn args<'a>(&'a self, from: &'a str, to: &'a str) -> Vec<&'a str> {
        vec!["copy", "--no-check-sigs", "--from", from, "--to", to, &self.paths[4]]
    }

    /// The numbers of the paths that a store has.
    fn there(&self, store: &str) -> BTreeSet<usize> {
        let told = self.world.nival("nix", &["path-info", "--all", "--store", store]);
        told.lines().iter().filter_map(|line| self.paths.iter().position(|path| path == line)).collect()
    }

    fn tells(outcome: &Outcome) {
        let text = "3 of 5 paths are copied and stay; the same command goes on from there";
        assert!(outcome.status == 1 && outcome.stderr.contains(text), "{}", outcome.stderr);
    }
}

const KEPT: [usize; 3] = [0, 1, 3];

#[test]
fn what_is_complete_stays_after_an_error() {
    let Some(world) = World::with_reference() else { return };
    let nginx = Nginx::start(&world, "www");
    let all = Closure::new(world);
    let archive = all.archive(2);
    let damaged = Faulty::start(&all.world.path("cache"));
    let missing = Faulty::without(&all.world.path("cache"), &archive);
    for (number, server) in [damaged, missing].iter().enumerate() {
        // So that the others are complete, however busy the machine is.
        server.hold(&archive, Duration::from_secs(1));
        let mut kept = Vec::new();
        for side in [Side::Nival, Side::Reference] {
            let act = if number == 0 { Act::Corrupt } else { Act::Serve };
            server.script(archive.trim_start_matches("nar/"), &[act]);
            let root = all.world.text(format!("root-{number}-{side:?}"));
            let copied = all.world.run(side, "nix", &all.args(&server.url, &root));
            assert_eq!(copied.status, 1, "{}", copied.stderr);
            if side == Side::Nival {
                Closure::tells(&copied);
                // Which path it was.
                assert!(number == 1 || copied.stderr.contains(&all.paths[2]), "{}", copied.stderr);
            }
            kept.push(all.there(&root));
        }
        assert_eq!(kept[0], KEPT.into());
        assert!(kept[0].is_superset(&kept[1]), "{kept:?}");
        // Caches, too: in a directory, and on a server.
        let file = format!("file://{}", all.world.text(format!("other-{number}")));
        let web = nginx.as_ref().map(|nginx| format!("{}/other-{number}", nginx.url));
        for to in [Some(file), web].into_iter().flatten() {
            server.script(
                archive.trim_start_matches("nar/"),
                &[if number == 0 { Act::Corrupt } else { Act::Serve }],
            );
            Closure::tells(&all.world.nival("nix", &all.args(&server.url, &to)));
            for path in KEPT {
                let args = ["path-info", "--refresh", "--store", &to, &all.paths[path]];
                all.world.nival("nix", &args).ok();
            }
            // And the same command goes on from there.
            let healthy = Faulty::start(&all.world.path("cache"));
            let again = all.world.nival("nix", &all.args(&healthy.url, &to));
            let begins = again.ok().stderr.starts_with("copying 2 paths...\n");
            assert!(begins, "{}", again.stderr);
        }
    }
}

#[test]
fn what_is_complete_stays_after_a_signal() {
    let Some(world) = World::with_reference() else { return };
    let all = Closure::new(world);
    let archive = all.archive(2);
    let server = Faulty::start(&all.world.path("cache"));
    let file = format!("file://{}", all.world.text("other"));
    let root = |name: &str| all.world.text(name);
    for (side, signal, to) in [
        (Side::Nival, Signal::INT, root("root-int")),
        (Side::Nival, Signal::TERM, root("root-term")),
        (Side::Nival, Signal::INT, file),
        (Side::Reference, Signal::INT, root("root-reference")),
    ] {
        server.script(archive.trim_start_matches("nar/"), &[Act::Stall(10)]);
        let mut command = all.world.command(side, "nix");
        command.args(all.args(&server.url, &to)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        // The fifth waits for the third; with the reference it is not asked for.
        let wanted = if side == Side::Nival { 5 } else { 4 };
        data::wait_until("all archives are asked for", || {
            server.seen().iter().filter(|line| line.starts_with("GET nar/")).count() >= wanted
        });
        std::thread::sleep(Duration::from_millis(400));
        kill_process(Pid::from_child(&child), signal).unwrap();
        let ended = outcome(child.wait_with_output().unwrap());
        let there = all.there(&to);
        if side == Side::Nival {
            Closure::tells(&ended);
            assert_eq!(there, KEPT.into(), "{signal:?} {to}");
        } else {
            assert!(there.is_subset(&KEPT.into()), "{there:?}");
        }
    }
}
