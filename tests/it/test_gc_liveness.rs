//! What is alive and what is dead, beside the reference, on generated stores:
//! random graphs with derivations, roots of all kinds, every setting.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use rusqlite::{Connection, params};

use crate::common::{Outcome, Side, World};
use crate::data::{self, Random, hash_part};

/// A store made for one case.
struct Made {
    /// Keeps temporary roots of processes that are none.
    _locks: Vec<File>,
    /// Environment variables that name paths.
    variables: Vec<(String, String)>,
}

fn base(world: &World, path: &str) -> String {
    path.rsplit('/').next().map(str::to_owned).unwrap_or_else(|| world.text("store"))
}

/// Rows and files of random paths; gives them with the derivations first.
fn make_paths(world: &World, random: &mut Random, seed: u64) -> Vec<String> {
    let count = 2 + random.below(40);
    let derivations = random.below(count / 2 + 1);
    let mut paths: Vec<String> = (0..count)
        .map(|i| {
            let name = if i < derivations { format!("drv-{i}.drv") } else { format!("path-{i}") };
            format!("{}/{}-{name}", world.text("store"), hash_part(seed * 1000 + i as u64))
        })
        .collect();
    let database = Connection::open(world.path("var/db/db.sqlite")).unwrap();
    database.execute_batch("begin").unwrap();
    for (i, path) in paths.iter().enumerate() {
        let gone = format!("{}/{}-gone.drv", world.text("store"), hash_part(seed + 7));
        let deriver = (random.below(4) == 0).then_some(gone);
        database
            .execute(
                "insert into ValidPaths (id, path, hash, registrationTime, deriver, narSize) \
                 values (?, ?, ?, 1, ?, ?)",
                params![i as i64 + 1, path, format!("sha256:{}", "0".repeat(64)), deriver, 100],
            )
            .unwrap();
        match random.below(3) {
            0 => std::fs::write(path, "contents").unwrap(),
            1 => symlink("nowhere", path).unwrap(),
            _ => {
                std::fs::create_dir_all(format!("{path}/sub")).unwrap();
                std::fs::write(format!("{path}/sub/file"), "more").unwrap();
            }
        }
    }
    for from in 0..count {
        for _ in 0..random.below(4) {
            // Only to earlier ones, or itself: real references have no circles.
            let to = random.below(from + 1);
            database
                .execute("insert or ignore into Refs values (?, ?)", [from as i64 + 1, to as i64 + 1])
                .unwrap();
        }
    }
    for drv in 0..derivations {
        for output in ["out", "dev"].iter().take(random.below(3)) {
            let path = &paths[random.below(count)];
            // Of several that could have made it, one did, or none of them.
            if random.below(3) > 0 {
                database
                    .execute("update ValidPaths set deriver = ? where path = ?", params![paths[drv], path])
                    .unwrap();
            }
            database
                .execute(
                    "insert or ignore into DerivationOutputs values (?, ?, ?)",
                    params![drv as i64 + 1, output, path],
                )
                .unwrap();
        }
    }
    database.execute_batch("commit").unwrap();
    drop(database);
    // The order in which roots and the like are drawn does not follow the graph.
    for i in (1..paths.len()).rev() {
        paths.swap(i, random.below(i + 1));
    }
    paths
}

fn make_roots(world: &World, random: &mut Random, paths: &[String], seed: u64) -> Made {
    let mut made = Made { _locks: Vec::new(), variables: Vec::new() };
    let gcroots = world.path("var/gcroots");
    let links = world.path("links");
    for dir in
        [gcroots.join("auto"), gcroots.join("deep/er"), world.path("var/profiles/per-user/x"), links.clone()]
    {
        std::fs::create_dir_all(dir).unwrap();
    }
    let invalid = format!("{}/{}-invalid", world.text("store"), hash_part(seed + 99));
    for number in 0..random.below(7) {
        let path = if random.below(8) == 0 { &invalid } else { &paths[random.below(paths.len())] };
        let below = |dir: &str| gcroots.join(dir).join(format!("root-{number}"));
        let elsewhere = links.join(format!("link-{number}"));
        match random.below(12) {
            0 => symlink(path, below("")).unwrap(),
            1 => symlink(format!("{path}/sub/file"), below("deep/er")).unwrap(),
            2 => symlink(format!("{path}/"), below("deep")).unwrap(),
            3 => {
                symlink(path, &elsewhere).unwrap();
                symlink(&elsewhere, below("auto")).unwrap();
            }
            4 => symlink(elsewhere.join("gone"), below("auto")).unwrap(),
            5 => symlink(elsewhere.join("gone"), below("deep")).unwrap(),
            6 => std::fs::write(gcroots.join(base(world, path)), "").unwrap(),
            7 => {
                symlink(path, world.path(format!("var/profiles/per-user/x/p-{number}-link"))).unwrap();
                symlink(format!("p-{number}-link"), world.path(format!("var/profiles/per-user/x/p{number}")))
                    .unwrap();
            }
            8 => {
                // A directory of links is not entered.
                std::fs::create_dir_all(&elsewhere).unwrap();
                symlink(path, elsewhere.join("inner")).unwrap();
                symlink(&elsewhere, below("deep")).unwrap();
            }
            9 => {
                let mut file = File::create(world.path(format!("var/temproots/99999999{number}"))).unwrap();
                rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
                write!(file, "{path}\0{}\0unfinished", paths[0]).unwrap();
                made._locks.push(file);
            }
            10 => std::fs::write(world.path(format!("var/temproots/88888888{number}")), format!("{path}\0"))
                .unwrap(),
            _ => made.variables.push((format!("USED_{number}"), format!("a:{path}/sub:b"))),
        }
    }
    // What lies in the store without a row.
    for number in 0..random.below(4) {
        let other = &paths[random.below(paths.len())];
        let hash = hash_part(seed * 31 + number as u64);
        match random.below(5) {
            0 => std::fs::write(format!("{other}.lock"), "").unwrap(),
            1 => std::fs::create_dir_all(format!("{}/{hash}-unregistered", world.text("store"))).unwrap(),
            2 => std::fs::create_dir_all(format!("{other}.chroot/x")).unwrap(),
            3 => drop(std::fs::write(format!("{}-with-the-same-hash-part", &other[..other.len() - 2]), "")),
            _ => std::fs::write(format!("{}/{hash}-x.lock", world.text("store")), "").unwrap(),
        }
    }
    made
}

fn run(world: &World, side: Side, made: &Made, args: &[&str]) -> Outcome {
    loop {
        let mut command = world.command(side, "nix-store");
        command.args(args).envs(made.variables.iter().map(|(name, value)| (name, value)));
        let outcome = crate::common::outcome(command.output().unwrap());
        if side == Side::Nival || !crate::common::is_disturbed(&outcome) {
            return outcome;
        }
    }
}

/// Without the numbers of processes.
fn without_pids(text: &str) -> BTreeSet<String> {
    let line = |line: &str| match line.split_once("/proc/") {
        Some((before, after)) => {
            format!("{before}/proc/PID{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => line.to_owned(),
    };
    text.lines().map(line).collect()
}

#[test]
fn a_store_of_real_data() {
    let Some(data) = data::shared() else { return };
    let made = Made { _locks: Vec::new(), variables: vec![("USED".to_owned(), data.plain[7].clone())] };
    for derivations in ["true", "false"] {
        for outputs in ["true", "false"] {
            for question in ["--print-live", "--print-dead", "--print-roots"] {
                let settings =
                    ["--option", "keep-derivations", derivations, "--option", "keep-outputs", outputs];
                let args = [&["--gc", question], &settings[..]].concat();
                let [ours, theirs] =
                    [Side::Nival, Side::Reference].map(|side| run(&data.world, side, &made, &args));
                assert!(ours.ok().lines().len() > 2);
                assert_eq!(without_pids(ours.text()), without_pids(theirs.ok().text()), "{args:?}");
            }
        }
    }
}

#[test]
fn generated_stores() {
    const CASES: u64 = 200;
    let Some(world) = World::with_reference() else { return };
    let (mut dead, mut live) = (0, 0);
    for seed in 1..=CASES {
        let mut random = Random(seed);
        data::forget_if_there(&world);
        if world.path("links").exists() {
            std::fs::remove_dir_all(world.path("links")).unwrap();
        }
        world.nix_store(&["--init"]).ok();
        let paths = make_paths(&world, &mut random, seed);
        let made = make_roots(&world, &mut random, &paths, seed);
        let settings = [
            "--option",
            "keep-derivations",
            ["true", "false"][random.below(2)],
            "--option",
            "keep-outputs",
            ["true", "false"][random.below(2)],
        ];
        for question in ["--print-live", "--print-dead", "--print-roots"] {
            let args = [&["--gc", question], &settings[..]].concat();
            // Ours first: the reference deletes things even when it only prints.
            let ours = run(&world, Side::Nival, &made, &args);
            let theirs = run(&world, Side::Reference, &made, &args);
            assert_eq!(
                (ours.status, without_pids(ours.text())),
                (theirs.status, without_pids(theirs.text())),
                "case {seed}, {question}, {settings:?}: {}\nthe reference: {}",
                ours.stderr,
                theirs.stderr
            );
            match question {
                "--print-live" => live += ours.lines().len(),
                "--print-dead" => dead += ours.lines().len(),
                _ => {}
            }
        }
        // And the collection deletes just that, as the reference finds too.
        let args = [&["--gc"], &settings[..]].concat();
        let before =
            run(&world, Side::Reference, &made, &[&["--gc", "--print-dead"], &settings[..]].concat());
        let collected = run(&world, Side::Nival, &made, &args);
        assert_eq!(collected.status, 0, "case {seed}: {}", collected.stderr);
        for path in before.lines() {
            assert!(
                !PathBuf::from(path).exists() && !PathBuf::from(path).is_symlink(),
                "case {seed}: {path}"
            );
        }
        assert!(
            collected.text().starts_with(&format!("{} store paths deleted, ", before.lines().len())),
            "case {seed}: {collected:?}, {before:?}"
        );
        let again = run(&world, Side::Reference, &made, &[&["--gc", "--print-dead"], &settings[..]].concat());
        assert_eq!(again.text(), "", "case {seed}");
    }
    assert!(dead > 500 && live > 500, "the cases are too simple: {dead} dead, {live} live");
}
