//! `--gc`, `--delete`, `nix store gc`, `nix store delete`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use crate::common::{Outcome, Side, World};
use crate::data::{self, Random, hash_part};

/// Registers files (every third a directory) that refer to each other as
/// `references` says, and gives their paths.
fn plant(world: &World, count: usize, references: impl Fn(usize) -> Vec<usize>) -> Vec<String> {
    world.nix_store(&["--init"]).ok();
    let paths: Vec<String> =
        (0..count).map(|i| format!("{}/{}-p{i}", world.text("store"), hash_part(i as u64))).collect();
    let mut text = String::new();
    for (i, path) in paths.iter().enumerate() {
        if i % 3 == 2 {
            std::fs::create_dir_all(format!("{path}/a/b")).unwrap();
            std::fs::write(format!("{path}/a/b/file"), "x".repeat(i * 100)).unwrap();
        } else {
            std::fs::write(path, "y".repeat(i * 1000)).unwrap();
        }
        let mut references: Vec<&String> = references(i).into_iter().map(|to| &paths[to]).collect();
        references.sort();
        text += &format!("{path}\n\n{}\n", references.len());
        references.iter().for_each(|reference| text += &format!("{reference}\n"));
    }
    world.run_with_input(Side::Nival, "nix-store", &["--register-validity"], text.as_bytes()).ok();
    paths
}

fn valid(world: &World) -> BTreeSet<String> {
    let dump = world.nix_store(&["--dump-db"]);
    let store = world.text("store");
    let lines = dump.ok().lines().into_iter().filter(|line| line.starts_with(&store));
    lines.map(str::to_owned).collect()
}

/// What was said, line by line in any order, wherever the world lies. That links
/// save less than nothing is not said by ours.
fn said(world: &World, outcome: &Outcome) -> (i32, String, BTreeSet<String>) {
    let root = world.text("");
    let here = |text: &str| text.replace(&root, "/");
    let stderr = here(&outcome.stderr);
    let lines = stderr.lines().filter(|line| !line.contains("currently saving -"));
    (outcome.status, here(outcome.text()), lines.map(str::to_owned).collect())
}

#[test]
fn says_what_the_reference_says() {
    let sides = [Side::Nival, Side::Reference];
    let Some(ours) = World::with_reference() else { return };
    let theirs = World::new();
    let worlds = [&ours, &theirs];
    for world in worlds {
        let paths = plant(world, 12, |i| if i > 0 { vec![i - 1] } else { vec![] });
        symlink(&paths[4], world.path("var/gcroots/keep")).unwrap();
        std::fs::create_dir(world.path("var/gcroots/auto")).unwrap();
        symlink(world.path("gone"), world.path("var/gcroots/auto/stale")).unwrap();
        symlink(format!("{}/{}-invalid", world.text("store"), hash_part(77)), world.path("var/gcroots/bad"))
            .unwrap();
        std::fs::write(world.path("var/temproots/99999999"), "").unwrap();
        std::fs::create_dir(world.path(format!("store/{}-unknown", hash_part(78)))).unwrap();
        std::fs::write(world.path(format!("store/.links/{}", "0".repeat(52))), "unused").unwrap();
    }
    let name = |number: usize| format!("{}-p{number}", hash_part(number as u64));
    let calls: [&[&str]; 9] = [
        &["--gc", "--print-roots"],
        &["--gc", "--print-live"],
        &["--delete", "11"],
        &["--gc", "--max-freed", "0"],
        &["--gc", "--max-freed", "1K", "--print-dead"],
        &["--gc", "-v"],
        &["--gc"],
        &["--gc", "--print-dead"],
        &["--delete"],
    ];
    for call in calls {
        let outcomes: Vec<_> = std::iter::zip(worlds, sides)
            .map(|(world, side)| {
                let args: Vec<String> = call
                    .iter()
                    .map(|arg| match arg.parse() {
                        Ok(number) if call[0] == "--delete" => {
                            world.text(Path::new("store").join(name(number)))
                        }
                        _ => (*arg).to_owned(),
                    })
                    .collect();
                let mut said = said(world, &world.run(side, "nix-store", &args));
                said.2.retain(|line| !line.starts_with("Try '"));
                said
            })
            .collect();
        assert_eq!(outcomes[0], outcomes[1], "{call:?}");
    }
    assert_eq!(data::names(&ours.store()), data::names(&theirs.store()));
    assert_eq!(valid(&ours).len(), 5);
}

#[test]
fn refuses_what_the_reference_refuses() {
    let Some(world) = World::with_reference() else { return };
    world.nix_store(&["--init"]).ok();
    let calls: [&[&str]; 14] = [
        &["nix-store", "--gc", "--bogus"],
        &["nix-store", "--gc", "x"],
        &["nix-store", "--gc", "--max-freed"],
        &["nix-store", "--gc", "--max-freed", "1x"],
        &["nix-store", "--gc", "--print-live", "--max-freed", "4"],
        &["nix-store", "--gc", "--delete"],
        &["nix-store", "--delete", "--foo"],
        &["nix-store", "--delete", "/nowhere"],
        &["nix", "store", "gc", "x"],
        &["nix", "store", "gc", "--max", "1", "--dry-run"],
        &["nix-collect-garbage", "x"],
        &["nix-collect-garbage", "--bogus"],
        &["nix-collect-garbage", "--delete-older-than"],
        &["nix-collect-garbage", "--max-freed", "1", "--dry-run"],
    ];
    for call in calls {
        let [ours, theirs] = [Side::Nival, Side::Reference].map(|side| world.run(side, call[0], &call[1..]));
        let errors = |outcome: &Outcome| -> Vec<String> {
            let lines = outcome.stderr.lines().filter(|line| line.starts_with("error"));
            // Ours says which units there are.
            lines.map(|line| line.replace(", expected K, M, G or T, as in 10G", "")).collect()
        };
        assert_eq!((ours.status, errors(&ours)), (theirs.status, errors(&theirs)), "{call:?}");
    }
}

#[test]
fn a_closure_is_deleted_in_one_call_and_a_live_path_says_why_it_stays() {
    let world = World::new();
    let paths = plant(&world, 6, |i| if i > 0 { vec![i - 1] } else { vec![] });
    symlink(&paths[3], world.path("var/gcroots/keep")).unwrap();
    // Both can go, whatever their names; what is alive stays, and says why.
    let args = ["--delete", &paths[1], &paths[4], &paths[5]];
    let outcome = world.nix_store(&args);
    assert_eq!(outcome.status, 1);
    assert!(outcome.text().starts_with("2 store paths deleted, "), "{outcome:?}");
    let expected = [
        format!(
            "error: Cannot delete path '{}' since it is still alive. To find out why, use: nix-store --query --roots and nix-store --query --referrers",
            paths[1]
        ),
        format!("'{}' is alive because of", paths[1]),
        format!("  permanent root \"{}\"", world.text("var/gcroots/keep")),
        format!("  → {}", paths[3]),
        format!("    → {}", paths[2]),
        format!("      → {}", paths[1]),
    ];
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert!(lines.ends_with(&expected.iter().map(String::as_str).collect::<Vec<_>>()), "{}", outcome.stderr);
    assert_eq!(valid(&world), paths[..4].iter().cloned().collect());
    // Without regard to roots, but not to those that refer to it.
    world
        .nix_store(&["--delete", "--ignore-liveness", &paths[2]])
        .fails("finding garbage collector roots...");
    let outcome = world.nival("nix", &["store", "delete", "--ignore-liveness", &paths[3], &paths[2]]);
    assert!(outcome.ok().text().starts_with("2 store paths deleted, "));
    assert_eq!(valid(&world), paths[..2].iter().cloned().collect());
    // A path that was never there, and one whose files are gone.
    std::fs::remove_file(&paths[1]).unwrap();
    let unknown = format!("{}/{}-unknown", world.text("store"), hash_part(50));
    assert!(
        world
            .nix_store(&["--delete", &paths[1], &unknown])
            .ok()
            .text()
            .starts_with("2 store paths deleted, ")
    );
    assert_eq!(valid(&world), paths[..1].iter().cloned().collect());
    data::assert_sound(&world);
}

#[test]
fn every_kind_of_root_is_explained() {
    let world = World::new();
    let paths = plant(&world, 9, |i| if i == 8 { vec![7] } else { vec![] });
    std::fs::create_dir_all(world.path("var/gcroots/auto")).unwrap();
    symlink(&paths[0], world.path("var/gcroots/direct")).unwrap();
    symlink(&paths[1], world.path("result")).unwrap();
    symlink(world.path("result"), world.path("var/gcroots/auto/x")).unwrap();
    symlink(&paths[2], world.path("var/profiles/p-1-link")).unwrap();
    let mut temporary =
        File::create(world.path("var/temproots").join(std::process::id().to_string())).unwrap();
    rustix::fs::flock(&temporary, rustix::fs::FlockOperation::LockExclusive).unwrap();
    write!(temporary, "{}\0", paths[8]).unwrap();
    let mut user = std::process::Command::new("sleep").arg("60").env("IN_USE", &paths[4]).spawn().unwrap();
    let lock = File::create(format!("{}.lock", paths[5])).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let json = world.nix_store(&[
        "--gc",
        "--why-alive",
        "--json",
        &paths[0],
        &paths[1],
        &paths[2],
        &paths[7],
        &paths[4],
        &paths[5],
    ]);
    let answers: serde_json::Value = serde_json::from_str(json.ok().text()).unwrap();
    let of = |number: usize, key: &str| answers[number][key].clone();
    let root = |number: usize, key: &str| answers[number]["roots"][0][key].clone();
    assert_eq!(
        (root(0, "kind"), root(0, "root")),
        ("permanent".into(), world.text("var/gcroots/direct").into())
    );
    assert_eq!((root(1, "kind"), root(1, "root")), ("indirect".into(), world.text("result").into()));
    assert_eq!(
        (root(2, "kind"), root(2, "root")),
        ("profile".into(), world.text("var/profiles/p-1-link").into())
    );
    assert_eq!((root(3, "kind"), root(3, "pid")), ("temporary".into(), std::process::id().into()));
    assert_eq!(of(3, "chain"), serde_json::json!([paths[8], paths[7]]));
    assert_eq!((root(4, "kind"), root(4, "pid")), ("runtime".into(), user.id().into()));
    assert_eq!(
        (of(5, "alive"), of(5, "lockHolders")),
        (false.into(), serde_json::json!([std::process::id()]))
    );
    let text = world.nix_store(&["--gc", "--why-alive", &paths[4], &paths[5]]);
    assert!(text.text().contains(&format!("in use by process {} (sleep)", user.id())), "{text:?}");
    assert!(text.text().contains(&format!("nothing keeps '{}'", paths[5])), "{text:?}");
    // The lock of somebody who holds it is no garbage, nor is what is rooted.
    world.nix_store(&["--gc"]).ok();
    assert!(Path::new(&format!("{}.lock", paths[5])).exists());
    let left: BTreeSet<String> = [0, 1, 2, 4, 7, 8].map(|i: usize| paths[i].clone()).into();
    assert_eq!(valid(&world), left);
    user.kill().unwrap();
    user.wait().unwrap();
    drop((temporary, lock));
    world.nix_store(&["--gc"]).ok();
    assert_eq!(valid(&world), paths[..3].iter().cloned().collect());
    data::assert_sound(&world);
}

#[test]
fn roots_say_what_they_keep() {
    let world = World::new();
    // 0 ← 1 ← 2, and 0 ← 3; roots 2 and 3.
    let paths = plant(&world, 5, |i| [vec![], vec![0], vec![1], vec![0], vec![]][i].clone());
    symlink(&paths[2], world.path("var/gcroots/a")).unwrap();
    symlink(&paths[3], world.path("var/gcroots/b")).unwrap();
    symlink(&paths[3], world.path("var/gcroots/c")).unwrap();
    let sizes: Vec<u64> =
        paths.iter().map(|path| world.nix_store(&["-q", "--size", path]).line().parse().unwrap()).collect();
    let answer = world.nix_store(&["--gc", "--print-roots", "--json"]);
    let roots: serde_json::Value = serde_json::from_str(answer.ok().text()).unwrap();
    let number = |root: usize, key: &str| roots[root][key].as_u64().unwrap();
    assert_eq!(roots.as_array().unwrap().len(), 3);
    assert_eq!(number(0, "closureSize"), sizes[0] + sizes[1] + sizes[2]);
    assert_eq!(number(0, "exclusiveSize"), sizes[1] + sizes[2]);
    assert_eq!(number(1, "closureSize"), sizes[0] + sizes[3]);
    // The other link to the same path keeps it.
    assert_eq!((number(1, "exclusiveSize"), number(2, "exclusiveSize")), (0, 0));
    assert!(number(0, "age") < 60);
    assert_eq!(roots[2]["root"], world.text("var/gcroots/c").as_str());
    assert_eq!(roots[2]["path"], paths[3].as_str());
}

#[test]
fn links_of_all_shapes() {
    let world = World::new();
    let paths = plant(&world, 8, |_| vec![]);
    let root = |name: &str, target: &str| symlink(target, world.path("var/gcroots").join(name)).unwrap();
    let link = |name: &str, target: &str| symlink(target, world.path(name)).unwrap();
    let base = |i: usize| paths[i].rsplit('/').next().unwrap();
    root("slash", &format!("{}/", paths[0]));
    root("relative", &format!("../../store/{}", base(1)));
    root("below", &format!("{}/not/there", paths[2]));
    // A chain of three links, one of them relative.
    link("first", "second");
    link("second", &world.text("third"));
    link("third", &paths[3]);
    root("chain", &world.text("first"));
    // Circles: of links, and in the directories above one.
    link("one", &world.text("two"));
    link("two", &world.text("one"));
    root("circle", &world.text("one"));
    root("below-circle", &world.text("one/x"));
    root("self", "self");
    root("file", "/etc/passwd");
    root("below-file", "/etc/passwd/x");
    // Somebody else's, in a sticky directory, where the kernel follows no links.
    std::fs::create_dir(world.path("sticky")).unwrap();
    std::fs::set_permissions(world.path("sticky"), std::fs::Permissions::from_mode(0o1777)).unwrap();
    link("sticky/link", &paths[4]);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(world.path("sticky/link"), Some(65534), Some(65534)).unwrap();
    }
    root("sticky", &world.text("sticky/link"));
    symlink(format!("{}/\u{e9}/\u{0}", paths[5]).replace('\u{0}', "x"), world.path("var/gcroots/unicode"))
        .unwrap();
    world.nix_store(&["--gc"]).ok();
    assert_eq!(valid(&world), paths[..6].iter().cloned().collect());
    data::assert_sound(&world);
}

#[test]
fn what_cannot_be_read_may_be_a_root() {
    if !rustix::process::geteuid().is_root() {
        crate::common::skip("only root can become somebody who may not read everything");
        return;
    }
    let world = World::new();
    let paths = plant(&world, 3, |_| vec![]);
    std::fs::create_dir(world.path("private")).unwrap();
    symlink(&paths[0], world.path("private/link")).unwrap();
    symlink(world.path("private/link"), world.path("var/gcroots/hidden")).unwrap();
    let chown = std::process::Command::new("chown").args(["-R", "65534:65534"]).arg(world.path("")).status();
    assert!(chown.unwrap().success());
    std::fs::set_permissions(world.path("private"), std::fs::Permissions::from_mode(0o000)).unwrap();
    let as_nobody = |args: &[&str]| {
        let mut command = world.command(Side::Nival, "nix-store");
        crate::common::outcome(command.args(args).uid(65534).gid(65534).output().unwrap())
    };
    let outcome = as_nobody(&["--gc"]);
    assert_eq!(outcome.status, 1);
    assert!(
        outcome.stderr.contains("nothing is deleted until it can be read or is gone"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("private/link"), "{}", outcome.stderr);
    assert_eq!(paths.iter().filter(|path| Path::new(path).exists()).count(), 3);
    std::fs::remove_file(world.path("var/gcroots/hidden")).unwrap();
    // As somebody who is no root, with read-only directories in the store.
    as_nobody(&["--gc"]).ok();
    assert_eq!(data::leftovers(&world), BTreeSet::new());
    assert_eq!(paths.iter().filter(|path| Path::new(path).exists()).count(), 0);
    std::fs::set_permissions(world.path("private"), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn what_cannot_be_deleted_is_told_and_the_rest_goes() {
    let world = World::new();
    let paths = plant(&world, 9, |_| vec![]);
    let stuck = [format!("{}/a/b", paths[2]), paths[3].clone()];
    let chattr = |flag: &str| {
        let status = std::process::Command::new("chattr").arg(flag).args(&stuck).output();
        status.is_ok_and(|output| output.status.success())
    };
    if !chattr("+i") {
        crate::common::skip("files cannot be made immutable here");
        return;
    }
    let outcome = world.nix_store(&["--gc"]);
    chattr("-i");
    // Wherever the first one lies by now.
    let found = std::process::Command::new("chattr").args(["-R", "-i"]).arg(world.store()).status();
    assert!(found.unwrap().success());
    assert_eq!(outcome.status, 1, "{outcome:?}");
    let told =
        outcome.stderr.lines().filter(|line| line.starts_with("error: cannot delete: removing")).count();
    assert_eq!(told, 2, "{}", outcome.stderr);
    // What lies whole in its place is as valid as it was.
    assert_eq!(valid(&world), BTreeSet::from([paths[3].clone()]));
    world.nix_store(&["--gc"]).ok();
    assert_eq!(valid(&world), BTreeSet::new());
    data::assert_sound(&world);
    assert_eq!(data::names(&world.store()), BTreeSet::from([".links".to_owned()]));
}

#[test]
fn trees_deeper_than_any_path() {
    let world = World::new();
    let paths = plant(&world, 3, |_| vec![]);
    let mut at = nival::sys::dir::open_dir(Path::new(&paths[2])).unwrap();
    for _ in 0..2000 {
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mkdirat(&at, "nested", mode).unwrap();
        at =
            rustix::fs::openat(&at, "nested", nival::sys::dir::DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    }
    drop(at);
    world.nix_store(&["--gc"]).ok();
    assert_eq!(data::names(&world.store()), BTreeSet::from([".links".to_owned()]));
}

#[test]
fn max_freed_stops_in_time() {
    let Some(world) = World::with_reference() else { return };
    for limit in ["1", "3000", "20K", "1G"] {
        data::forget_if_there(&world);
        let paths = plant(&world, 12, |i| if i > 0 { vec![i - 1] } else { vec![] });
        let sizes: Vec<u64> = paths
            .iter()
            .rev()
            .map(|path| if Path::new(path).is_dir() { 0 } else { Path::new(path).metadata().unwrap().len() })
            .collect();
        let limit_bytes = nival::settings::flags::parse_unit_number(limit).unwrap();
        let outcome = world.nix_store(&["--gc", "--max-freed", limit]);
        let deleted: usize = outcome.ok().text().split(' ').next().unwrap().parse().unwrap();
        // Those that refer to others first, and one more than the limit allows at most.
        assert_eq!(valid(&world), paths[..12 - deleted].iter().cloned().collect());
        let before: u64 = sizes[..deleted.saturating_sub(1)].iter().sum();
        assert!(before <= limit_bytes, "{limit}: {deleted} deleted");
        assert_eq!(outcome.stderr.contains("bytes; stopping"), deleted < 12);
        data::assert_sound(&world);
    }
}

#[test]
fn rows_that_are_no_paths_of_ours_stop_a_collection() {
    let world = World::new();
    let paths = plant(&world, 6, |_| vec![]);
    for path in &paths[..3] {
        symlink(path, world.path("var/gcroots").join(path.rsplit('/').next().unwrap())).unwrap();
    }
    world.write("outside/victim/file", "precious");
    let database = rusqlite::Connection::open(world.path("var/db/db.sqlite")).unwrap();
    let store = world.text("store");
    let mut odd = vec![format!("{store}/../outside/victim"), format!("{store}/victim"), "x".to_owned()];
    // Of another store directory whose name is as long.
    odd.extend((0..30).map(|i| format!("/{}/{}-foreign", "y".repeat(store.len() - 1), hash_part(i + 100))));
    for path in &odd {
        database
            .execute(
                "insert into ValidPaths (path, hash, registrationTime) values (?, 'sha256:0', 1)",
                [path],
            )
            .unwrap();
    }
    let outcome = world.nix_store(&["--gc"]);
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.contains("the database is damaged: row "), "{outcome:?}");
    assert!(paths.iter().all(|path| Path::new(path).exists()));
    assert!(world.path("outside/victim/file").exists());
    // They stand for nothing, and go.
    world.nix_store(&["--verify", "--repair"]);
    let outcome = world.nix_store(&["--gc"]);
    assert!(outcome.ok().text().starts_with("3 store paths deleted, "), "{outcome:?}");
    assert!(paths[..3].iter().all(|path| Path::new(path).exists()));
    assert!(world.path("outside/victim/file").exists());
    let rows: i64 = database.query_row("select count(*) from ValidPaths", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 3);
}

#[test]
fn directories_of_other_programs_stay_while_they_are_locked() {
    let world = World::new();
    world.nix_store(&["--init"]).ok();
    for name in ["tmp-1-0", "tmp-2-0"] {
        world.write(format!("store/{name}/x/file"), "being added");
    }
    let held = File::open(world.path("store/tmp-1-0")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    world.nix_store(&["--gc"]).ok();
    assert!(world.path("store/tmp-1-0/x/file").exists());
    assert!(!world.path("store/tmp-2-0").exists());
    drop(held);
    world.nix_store(&["--gc"]).ok();
    assert!(!world.path("store/tmp-1-0").exists());
}

#[test]
fn max_freed_counts_what_only_links_for_sharing_hold() {
    let world = World::new();
    let mut args = vec!["--add".to_owned()];
    for number in 0..4 {
        world.write(format!("src/f{number}"), format!("{number}").repeat(100_000));
        args.push(world.text(format!("src/f{number}")));
    }
    world.nix_store(&args).ok();
    world.nix_store(&["--optimise"]).ok();
    let outcome = world.nix_store(&["--gc", "--max-freed", "1"]);
    assert!(outcome.ok().text().starts_with("1 store paths deleted, 97.7 KiB freed"), "{outcome:?}");
}

#[test]
fn very_many_kept_entries_are_passed_over() {
    let world = World::new();
    world.nix_store(&["--init"]).ok();
    let hash = hash_part(1);
    for number in 0..20_000 {
        std::fs::write(world.store().join(format!("{hash}-{number}")), "").unwrap();
    }
    let mut roots = File::create(world.path("var/temproots/999999999")).unwrap();
    rustix::fs::flock(&roots, rustix::fs::FlockOperation::LockExclusive).unwrap();
    write!(roots, "{}/{hash}-x\0", world.text("store")).unwrap();
    let outcome = world.nix_store(&["--gc", "--max-freed", "1G"]);
    assert!(outcome.ok().text().starts_with("0 store paths deleted, "), "{}", outcome.text());
    drop(roots);
    let outcome = world.nix_store(&["--gc", "--quiet"]);
    assert!(outcome.ok().text().starts_with("20000 store paths deleted, "), "{}", outcome.text());
}

#[test]
fn a_profile_is_one_root_and_handed_over_links_stay() {
    let world = World::new();
    let paths = plant(&world, 3, |_| vec![]);
    symlink(&paths[0], world.path("var/profiles/p-1-link")).unwrap();
    symlink("p-1-link", world.path("var/profiles/p")).unwrap();
    // Three links, the middle one of which is missing just now.
    std::fs::create_dir(world.path("var/gcroots/auto")).unwrap();
    symlink(world.path("result"), world.path("var/gcroots/auto/x")).unwrap();
    symlink(world.path("current"), world.path("result")).unwrap();
    let printed = world.nix_store(&["--gc", "--print-roots"]);
    assert_eq!(printed.line(), format!("\"{}\" -> {}", world.text("var/profiles/p-1-link"), paths[0]));
    symlink(&paths[1], world.path("current")).unwrap();
    world.nix_store(&["--gc"]).ok();
    assert_eq!(valid(&world), paths[..2].iter().cloned().collect());
}

#[test]
fn max_links_stops_when_there_are_few() {
    use std::os::unix::fs::MetadataExt as _;
    let world = World::new();
    plant(&world, 30, |_| vec![]);
    let links = || world.store().metadata().unwrap().nlink();
    let before = links();
    if before < 12 {
        crate::common::skip("this file system does not count the links of directories");
        return;
    }
    let outcome = world.nix_store(&["--gc", "--max-links", &(before - 3).to_string()]);
    assert!(outcome.ok().stderr.contains("; stopping"), "{}", outcome.stderr);
    assert_eq!(links(), before - 4);
    data::assert_sound(&world);
}

#[test]
fn unused_pages_are_given_back() {
    let world = World::new();
    world.nix_store(&["--init"]).ok();
    let mut text = String::new();
    let paths: Vec<String> =
        (0..20_000).map(|i| format!("{}/{}-p{i}", world.text("store"), hash_part(i))).collect();
    for path in &paths {
        text += &format!("{path}\n{}\n100\n\n0\n", "0".repeat(64));
    }
    world.run_with_input(Side::Nival, "nix-store", &["--load-db"], text.as_bytes()).ok();
    for path in &paths[..100] {
        std::fs::write(path, "").unwrap();
        symlink(path, world.path("var/gcroots").join(path.rsplit('/').next().unwrap())).unwrap();
    }
    let size = || world.path("var/db/db.sqlite").metadata().unwrap().len();
    let before = size();
    let outcome = world.nix_store(&["--gc", "--quiet"]);
    assert!(outcome.ok().text().starts_with("19900 store paths deleted, "));
    assert!(size() * 10 < before, "{before} bytes became {}", size());
    assert_eq!(valid(&world), paths[..100].iter().cloned().collect());
    if let Some(reference) = crate::common::reference() {
        assert!(reference.exists());
        let dump = world.run(Side::Reference, "nix-store", &["--dump-db"]);
        assert_eq!(dump.ok().text(), world.nix_store(&["--dump-db"]).text());
    }
}

#[test]
fn a_swapped_directory_never_leads_outside() {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    // Swaps of a directory for a symlink and back, at least.
    let wanted = std::env::var("NIVAL_SWAPS").map_or(20_000, |swaps| swaps.parse().unwrap());
    let world = World::new();
    let canary = world.path("canary");
    std::fs::create_dir(&canary).unwrap();
    for number in 0..50 {
        std::fs::create_dir(canary.join(format!("d{number}"))).unwrap();
        std::fs::write(canary.join(format!("d{number}/file")), "precious").unwrap();
    }
    let count = || walk(&canary);
    let before = count();
    world.nix_store(&["--init"]).ok();
    let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for racer in 0..2u64 {
            let (world, canary, stop, swaps) = (&world, &canary, &stop, &swaps);
            scope.spawn(move || {
                let mut random = Random(racer + 5);
                while !stop.load(Ordering::Relaxed) {
                    swaps.fetch_add(swap(&world.store(), canary, racer, &mut random), Ordering::Relaxed);
                }
            });
        }
        let mut round = 0;
        while swaps.load(Ordering::Relaxed) < wanted {
            round += 1;
            for number in 0..20 {
                // Made elsewhere, since making it follows links.
                let made = world.path(format!("made-{number}"));
                for dir in 0..10 {
                    std::fs::create_dir_all(made.join(format!("x{dir}/y"))).unwrap();
                    std::fs::write(made.join(format!("x{dir}/y/file")), "x").unwrap();
                }
                std::fs::rename(
                    &made,
                    world.store().join(format!("{}-rubbish", hash_part(round * 100 + number))),
                )
                .unwrap();
            }
            let outcome = world.nix_store(&["--gc"]);
            assert!(outcome.status < 2, "{outcome:?}");
        }
        stop.store(true, Ordering::Relaxed);
    });
    let after = count();
    assert_eq!(before.symmetric_difference(&after).collect::<Vec<_>>(), [&canary; 0]);
}

/// Puts a symlink to `canary` in the place of some directory one to three
/// levels down in `root`, and takes it away again; 1 if it could be done. It
/// follows no link itself.
fn swap(root: &Path, canary: &Path, racer: u64, random: &mut Random) -> u64 {
    use nival::sys::dir::{DIRECTORY, Names, open_dir};
    use rustix::fs::{AtFlags, FileType, Mode, openat, renameat, symlinkat, unlinkat};
    let Ok(mut dir) = open_dir(root) else { return 0 };
    let depth = random.below(3);
    for level in 0..=depth {
        let Ok(mut names) = Names::read(std::os::fd::AsFd::as_fd(&dir)) else { return 0 };
        let mut directories = Vec::new();
        while let Some((name, kind)) = names.take_next() {
            if kind == FileType::Directory && name.to_bytes() != b".links" {
                directories.push(name.to_owned());
            }
        }
        if directories.is_empty() {
            return 0;
        }
        let name = &directories[random.below(directories.len())];
        if level < depth {
            let Ok(below) = openat(&dir, name, DIRECTORY, Mode::empty()) else { return 0 };
            dir = below;
            continue;
        }
        let aside = format!("aside-{racer}");
        if renameat(&dir, name, &dir, &aside).is_err() {
            return 0;
        }
        let _ = symlinkat(canary, &dir, name);
        std::thread::yield_now();
        let _ = unlinkat(&dir, name, AtFlags::empty());
        let _ = renameat(&dir, &aside, &dir, name);
    }
    1
}

fn walk(dir: &Path) -> BTreeSet<std::path::PathBuf> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
            }
            found.insert(entry.path());
        }
    }
    found
}
