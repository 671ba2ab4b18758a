//! Commands on binary caches, and fetching from them.

use crate::common::{Outcome, Side, World};
use crate::data;

const SIDES: [Side; 2] = [Side::Nival, Side::Reference];

/// A world with [`data::sample`] in its store and in `cache`, signed by a key
/// that it trusts.
fn world() -> Option<(World, Vec<String>, String)> {
    let world = World::with_reference()?;
    let paths = data::sample(&world);
    data::trust_new_key(&world);
    let cache = format!("file://{}", world.text("cache"));
    let to = format!("{cache}?compression=xz&secret-key={}", world.text("secret"));
    let args: Vec<&str> = ["copy", "--to", &to].into_iter().chain(paths.iter().map(String::as_str)).collect();
    world.nival("nix", &args).ok();
    Some((world, paths, cache))
}

/// The same words of both sides, in any order of lines on standard error.
#[track_caller]
fn same(world: &World, program: &str, args: &[&str]) -> Outcome {
    let [ours, theirs] = SIDES.map(|side| world.run(side, program, args));
    let lines = |outcome: &Outcome| {
        let mut lines: Vec<String> = outcome.stderr.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(ours.stdout, theirs.stdout, "{args:?}");
    assert_eq!(lines(&ours), lines(&theirs), "{args:?}");
    assert_eq!(ours.status, theirs.status, "{args:?}");
    ours
}

#[test]
fn caches_are_asked_as_the_reference_asks_them() {
    let Some((world, paths, cache)) = world() else { return };
    let top = paths.last().unwrap().as_str();
    let tree = paths.iter().find(|path| path.ends_with("-tree")).unwrap().as_str();
    let nowhere = format!("{}/{}-nowhere", world.text("store"), data::hash_part(99));
    let on = ["--store", &cache];
    for args in [
        &["path-info", top][..],
        &["path-info", "-rsSh", top],
        &["path-info", "-s", top, tree],
        &["path-info", "--sigs", "-r", top],
        &["path-info", "--json", "--json-format", "1", top, &nowhere],
        &["path-info", "--json", "--json-format", "2", "-r", "-S", top],
        &["path-info", "--json", "--json-format", "1", "--all"],
        &["path-info", &nowhere],
        &["store", "verify", "--all"],
        &["store", "verify", "-r", top, "--no-contents"],
        &["store", "verify", "--no-trust", tree],
        &["store", "verify", "--sigs-needed", "2", tree],
        &["store", "verify", &nowhere],
        &["store", "info"],
        &["store", "info", "--json"],
        &["store", "dump-path", top],
        &["store", "dump-path", &nowhere],
    ] {
        same(&world, "nix", &[args, &on].concat());
    }
    // A damaged archive.
    let narinfo = format!("cache/{}.narinfo", &tree.rsplit('/').next().unwrap()[..32]);
    let text = std::fs::read_to_string(world.path(&narinfo)).unwrap();
    let other = text.replace("NarHash: sha256:", "NarHash: sha256:1").replace("FileHash", "Other");
    std::fs::write(world.path(&narinfo), other).unwrap();
    assert_eq!(world.nival("nix", &["store", "verify", tree, "--store", &cache]).status, 1);
    std::fs::write(world.path(&narinfo), &text).unwrap();
}

#[test]
fn signatures_are_made_and_copied() {
    let Some((world, paths, cache)) = world() else { return };
    let top = paths.last().unwrap().as_str();
    let second = world.nival("nix", &["key", "generate-secret", "--key-name", "test-2"]);
    world.write("second", &second.ok().stdout);
    let key = world.text("second");
    // Signed in the cache by one side, and once more by the other.
    let sign = ["store", "sign", "-k", &key, "-r", top, "--store", &cache];
    let signed = world.nival("nix", &sign);
    assert_eq!(signed.ok().stderr, format!("added {} signatures\n", paths.len()));
    assert_eq!(world.run(Side::Reference, "nix", &sign).ok().stderr, "added 0 signatures\n");
    // Copied to the local store by each side, which then says the same.
    let copy = ["store", "copy-sigs", "-s", &cache, "-r", top];
    let copied = world.nival("nix", &copy);
    assert_eq!(copied.ok().stderr, format!("imported {} signatures\n", 2 * (paths.len())));
    assert_eq!(world.run(Side::Reference, "nix", &copy).ok().stderr, "imported 0 signatures\n");
    same(&world, "nix", &["path-info", "--sigs", "-r", top]);
    data::assert_sound(&world);
    // A signature that another store has counts where it is asked for.
    data::set_aside(&world, 1);
    let root = format!("local?root={}", world.text("elsewhere"));
    let args = ["copy", "--no-check-sigs", "--from", &cache, "--to", &root, top];
    world.nival("nix", &args).ok();
    let stripped = ["store", "verify", "--no-contents", "--sigs-needed", "1", "-r", top, "--store", &root];
    world.nival("nix", &stripped).ok();
}

#[test]
fn missing_paths_are_fetched() {
    let Some((world, paths, cache)) = world() else { return };
    let top = paths.last().unwrap().as_str();
    let substituters = ["--option", "substituters", &cache];
    let mut said = Vec::new();
    for side in SIDES {
        data::forget(&world);
        let dry = world.run(side, "nix-store", &[&["-r", "--dry-run", top][..], &substituters].concat());
        assert_eq!(dry.ok().stdout, b"");
        let fetched = world.run(side, "nix-store", &[&["-r", top][..], &substituters].concat());
        assert_eq!(fetched.line(), top);
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        said.push((sorted(&dry.stderr), sorted(&fetched.stderr)));
        data::assert_sound(&world);
        let all = world.nix_store(&["-qR", top]);
        assert_eq!(all.ok().lines().len(), paths.len());
    }
    assert_eq!(said[0], said[1]);

    // Nobody has it; nobody trusted has it; nobody is asked.
    data::forget(&world);
    let untrusted = ["--option", "trusted-public-keys", ""];
    let unsigned = world.nix_store(&[&["-r", top][..], &substituters, &untrusted].concat());
    assert_eq!(unsigned.status, 1);
    assert!(unsigned.stderr.contains(&format!("ignoring substitute for '{top}' from '{cache}'")));
    assert!(unsigned.stderr.contains("there is no substituter that can build it"));
    // It is told that it will be fetched before it is refused.
    for words in [&["-r"][..], &["-r", "--dry-run"]] {
        let told = SIDES.map(|side| {
            let outcome = world.run(side, "nix-store", &[words, &[top], &substituters, &untrusted].concat());
            let end = outcome.stderr.find("warning:").unwrap_or(outcome.stderr.len());
            let mut lines: Vec<String> = outcome.stderr[..end].lines().map(str::to_owned).collect();
            lines.sort();
            (outcome.status, lines)
        });
        assert_eq!(told[0], told[1]);
        assert!(told[0].1.iter().any(|line| line.contains("will be fetched")), "{told:?}");
    }
    let trusted = format!("{cache}?trusted=1");
    let args = [&["-r", top, "--option", "substituters", &trusted][..], &untrusted].concat();
    world.nix_store(&args).ok();
    data::forget(&world);
    let none =
        world.nix_store(&[&["-r", top, "--option", "substitute", "false"][..], &substituters].concat());
    assert_eq!(none.status, 1);

    // The first that is asked is gone, the second lacks an archive, the third has all.
    let second = world.text("second-cache");
    let copied = std::process::Command::new("cp").args(["-r", &world.text("cache"), &second]).status();
    assert!(copied.unwrap().success());
    for entry in std::fs::read_dir(format!("{second}/nar")).unwrap().take(2) {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let list = format!("http://127.0.0.1:1?priority=1 file://{second}?priority=2 {cache}?priority=3");
    let args = ["-r", top, "--option", "substituters", &list, "--option", "download-attempts", "1"];
    let fetched = world.nix_store(&args);
    assert_eq!(fetched.line(), top);
    assert_eq!(fetched.stderr.matches("127.0.0.1:1").count(), 2, "{}", fetched.stderr);
    assert!(fetched.stderr.contains("does not exist in binary cache"), "{}", fetched.stderr);
    data::assert_sound(&world);

    // Damage is repaired from a cache, too.
    let tree = paths.iter().find(|path| path.ends_with("-tree")).unwrap();
    let file = format!("{tree}/sub/text");
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "damaged").unwrap();
    assert_eq!(world.nix_store(&["--verify-path", tree]).status, 1);
    world.nix_store(&[&["--repair-path", tree][..], &substituters].concat()).ok();
    data::assert_sound(&world);
    // What is copied elsewhere is fetched first.
    data::forget(&world);
    let root = world.text("root");
    let args = [&["copy", "--to", &root, "--no-check-sigs", top][..], &substituters].concat();
    world.nival("nix", &args).ok();
    data::assert_sound(&world);
}

#[test]
fn build_logs_are_copied_and_shown() {
    let Some((world, paths, cache)) = world() else { return };
    let store = world.text("store");
    let drv = format!("{store}/{}-x.drv", data::hash_part(50));
    let base = drv.rsplit('/').next().unwrap().to_owned();
    world.write(format!("log/drvs/{}/{}", &base[..2], &base[2..]), "built\n");
    for side in SIDES {
        world.run(side, "nix", &["store", "copy-log", "--to", &cache, &drv]).ok();
        let file = world.path("cache/log").join(&base);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "built\n");
        same(&world, "nix", &["log", "--store", &cache, &drv]);
        let root = world.text(format!("root{side:?}"));
        world.run(side, "nix", &["store", "copy-log", "--from", &cache, "--to", &root, &drv]).ok();
        same(&world, "nix", &["log", "--store", &root, &drv]);
        std::fs::remove_file(&file).unwrap();
    }
    same(&world, "nix", &["log", "--store", &cache, &paths[0]]);
    let missing = world.nival("nix", &["store", "copy-log", "--to", &cache, &paths[0]]);
    missing.fails(&format!("error: build log for '{}' is not available", paths[0]));
}

#[test]
fn paths_in_a_cache_are_looked_into() {
    let world = World::new();
    let paths = data::sample(&world);
    let cache = format!("file://{}", world.text("cache"));
    world
        .nival(
            "nix",
            &[&["copy", "--to", &cache], &paths.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat(),
        )
        .ok();
    let tree = paths.iter().find(|path| path.ends_with("-tree")).unwrap();
    for options in ["-l", "-lR", "--json"] {
        let listed = |store: &str| {
            world.nival("nix", &["store", "ls", options, "--store", store, tree]).ok().text().to_owned()
        };
        assert_eq!(listed(&cache), listed("local"), "{options}");
    }
    // With a listing the archive is not even opened, but only one that can be its.
    let listed = format!("file://{}", world.text("listed"));
    world.nival("nix", &["copy", "--to", &format!("{listed}?write-nar-listing=true"), tree]).ok();
    let ls = |options| {
        let outcome = world.nival("nix", &["store", "ls", options, "--store", &listed, tree]);
        (outcome.status, outcome.text().to_owned())
    };
    let hash_part = &tree.rsplit('/').next().unwrap()[..32];
    let listing = world.path(format!("listed/{hash_part}.ls"));
    let nars = world.path("listed/nar");
    let aside = world.path("listed/aside");
    for options in ["-l", "-lR", "--json"] {
        let before =
            world.nival("nix", &["store", "ls", options, "--store", &cache, tree]).ok().text().to_owned();
        std::fs::rename(&nars, &aside).unwrap();
        std::fs::create_dir(&nars).unwrap();
        assert_eq!(ls(options), (0, before.clone()), "{options}");
        std::fs::remove_dir(&nars).unwrap();
        std::fs::rename(&aside, &nars).unwrap();
        let right = std::fs::read_to_string(&listing).unwrap();
        for wrong in [right.replace("\"size\":", "\"size\":9"), right.replace("{", "["), String::new()] {
            std::fs::write(&listing, wrong).unwrap();
            assert_eq!(ls(options), (0, before.clone()), "{options}");
        }
        std::fs::write(&listing, right).unwrap();
    }
    let file = format!("{tree}/sub/text");
    assert_eq!(world.nival("nix", &["store", "cat", "--store", &cache, &file]).ok().text(), "some text\n");
    let missing = format!("{tree}/nothing");
    let outcome = world.nival("nix", &["store", "cat", "--store", &cache, &missing]);
    outcome.fails(&format!("error: path '{missing}' does not exist"));
    let link = format!("{tree}/link");
    let outcome = world.nival("nix", &["store", "cat", "--store", &cache, &link]);
    outcome.fails("error: path '/link' is not a regular file");
}

#[test]
fn archives_that_are_looked_into_are_kept_where_the_cache_says() {
    let Some((world, paths, cache)) = world() else { return };
    let tree = paths.iter().find(|path| path.ends_with("-tree")).unwrap();
    let file = format!("{tree}/sub/text");
    let look = |side, store: &str, words: &[&str]| {
        world.run(side, "nix", &[&["store"], words, &["--store", store]].concat())
    };
    let kept = |side| format!("{cache}?local-nar-cache={}", world.text(format!("kept-{side:?}")));
    let files = |side| {
        let dir = world.path(format!("kept-{side:?}"));
        let read = |name: &String| (name.clone(), std::fs::read(dir.join(name)).unwrap());
        data::names(&dir).iter().map(read).collect::<Vec<_>>()
    };
    for side in SIDES {
        assert_eq!(look(side, &kept(side), &["cat", &file]).ok().text(), "some text\n");
    }
    assert_eq!(files(Side::Nival), files(Side::Reference));
    assert_eq!(files(Side::Nival).len(), 2);
    // Each finds what the other has kept, without a look at the cache's archives.
    std::fs::rename(world.path("cache/nar"), world.path("cache/gone")).unwrap();
    for (side, keeper) in [(Side::Nival, Side::Reference), (Side::Reference, Side::Nival)] {
        assert_eq!(look(side, &kept(keeper), &["cat", &file]).ok().text(), "some text\n");
        let listed = look(side, &kept(keeper), &["ls", "-R", tree]);
        assert_eq!(listed.ok().text(), "./empty\n./link\n./sub\n./sub/text\n");
    }
    assert_eq!(look(Side::Nival, &cache, &["cat", &file]).status, 1);
    std::fs::rename(world.path("cache/gone"), world.path("cache/nar")).unwrap();
    // What is damaged there is fetched again.
    let name = files(Side::Nival).into_iter().map(|(name, _)| name).find(|name| name.ends_with(".nar"));
    let archive = world.path("kept-Nival").join(name.unwrap());
    let mut damaged = std::fs::read(&archive).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(&archive, &damaged).unwrap();
    let again = look(Side::Nival, &kept(Side::Nival), &["cat", &file]);
    assert_eq!(again.ok().text(), "some text\n");
    assert!(
        again.stderr.contains("is not the archive that the cache announces; it is replaced"),
        "{again:?}"
    );
    assert_eq!(files(Side::Nival), files(Side::Reference));
    // Nothing else uses it, and a relative directory is refused.
    for side in SIDES {
        look(side, &kept(side).replace("kept-", "none-"), &["dump-path", tree]).ok();
        assert!(!world.path(format!("none-{side:?}")).exists());
        let relative = format!("{cache}?local-nar-cache=here");
        look(side, &relative, &["cat", &file]).fails("error: not an absolute path: \"here\"");
    }
}
