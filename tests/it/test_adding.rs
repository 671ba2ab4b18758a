//! What goes into a store and out of it: odd arguments, paths that are gone,
//! names that differ only in case, stores that cannot be written.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Stdio;

use crate::common::{Outcome, Side, World, outcome};
use crate::data;

#[test]
fn an_empty_argument_is_an_error_everywhere() {
    let world = World::new();
    world.write("home/precious", "x");
    for args in [
        &["nix-store", "--add", ""][..],
        &["nix-store", "--add-fixed", "sha256", ""],
        &["nix-store", "--add-fixed", "--recursive", "sha256", ""],
        &["nix-store", "--dump", ""],
        &["nix-store", "--restore", ""],
        &["nix-store", "--delete", ""],
        &["nix-store", "-r", ""],
        &["nix-store", "--verify-path", ""],
        &["nix-store", "--print-env", ""],
        &["nix", "store", "add", ""],
        &["nix", "store", "add-file", ""],
        &["nix", "hash", "path", ""],
        &["nix", "hash", "file", ""],
        &["nix", "nar", "pack", ""],
        &["nix", "path-info", ""],
        &["nix-hash", ""],
        &["nix-hash", "--flat", ""],
    ] {
        let refused = world.nival(args[0], &args[1..]);
        assert_eq!((refused.status, refused.text()), (1, ""), "{args:?} {}", refused.stderr);
        assert!(refused.stderr.contains("must not be empty"), "{args:?} {}", refused.stderr);
    }
    assert!(data::names(&world.store()).iter().all(|name| name == ".links"));
}

#[test]
fn what_is_gone_from_the_disk_is_put_there_again() {
    let world = World::new();
    world.write("src/a", "something\n");
    let path = world.nix_store(&["--add", &world.text("src/a")]).line();
    let cache = format!("file://{}", world.text("cache"));
    world.nival("nix", &["copy", "--to", &cache, &path]).ok();
    world.nival("nix", &["store", "sign", "-k", &key(&world), &path]).ok();
    let stream = world.nix_store(&["--export", &path]).ok().stdout.clone();
    let before =
        world.nival("nix", &["path-info", "--json", "--json-format", "1", &path]).ok().text().to_owned();
    let back = |what: &str, outcome: Outcome| {
        assert_eq!(outcome.status, 0, "{what}: {}", outcome.stderr);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "something\n", "{what}");
        let after = world.nival("nix", &["path-info", "--json", "--json-format", "1", &path]);
        assert_eq!(after.ok().text(), before, "{what}");
        data::assert_sound(&world);
        std::fs::remove_file(&path).unwrap();
    };
    std::fs::remove_file(&path).unwrap();
    back("--add", world.nix_store(&["--add", &world.text("src/a")]));
    back("--import", world.run_with_input(Side::Nival, "nix-store", &["--import"], &stream));
    back("copy", world.nival("nix", &["copy", "--no-check-sigs", "--from", &cache, &path]));
    let substituters = format!("{cache}?trusted=1");
    back("-r", world.nix_store(&["--option", "substituters", &substituters, "--realise", &path]));
    back("nix store add", world.nival("nix", &["store", "add", &world.text("src/a")]));
}

fn key(world: &World) -> String {
    world
        .nix_store(&["--generate-binary-cache-key", "test-1", &world.text("secret"), &world.text("public")])
        .ok();
    world.text("secret")
}

#[test]
fn registered_paths_get_canonical_metadata() {
    let Some(world) = World::with_reference() else { return };
    for side in [Side::Reference, Side::Nival] {
        data::forget_if_there(&world);
        world.nix_store(&["--init"]).ok();
        let path = format!("{}/{}-x", world.text("store"), data::hash_part(1));
        let text = format!("{path}\n{:064}\n99\n\n0\n", 7);
        let register = || {
            world.run_with_input(side, "nix-store", &["--register-validity", "--hash-given"], text.as_bytes())
        };
        assert_eq!(register().status, 1, "{side:?}");
        std::fs::write(&path, "hi").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        register().ok();
        assert!(data::metadata(Path::new(&path))[""].starts_with("100555 0:0 1 "), "{side:?}");
        // Only what was not valid before.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        register().ok();
        assert!(data::metadata(Path::new(&path))[""].starts_with("100644 "), "{side:?}");
    }
}

/// An archive with directories (names and nodes) and files.
fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut token = |text: &str| {
        out.extend_from_slice(&(text.len() as u64).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
        out.resize(out.len().next_multiple_of(8), 0);
    };
    ["nix-archive-1", "(", "type", "directory"].iter().for_each(|text| token(text));
    for (name, contents) in entries {
        let node =
            ["entry", "(", "name", name, "node", "(", "type", "regular", "contents", contents, ")", ")"];
        node.iter().for_each(|text| token(text));
    }
    token(")");
    out
}

#[test]
fn names_that_differ_in_case_get_a_suffix_on_request() {
    let world = World::new();
    let nar = archive(&[("A", "1"), ("B", "2"), ("a", "3")]);
    let hack = ["--option", "use-case-hack", "true"];
    let run = |args: &[&str], input: &[u8]| {
        world.run_with_input(Side::Nival, "nix-store", &[&hack, args].concat(), input)
    };
    run(&["--restore", "out"], &nar).ok();
    let names: Vec<String> = data::names(&world.path("out")).into_iter().collect();
    assert_eq!(names, ["A", "B", "a~nix~case~hack~1"]);
    assert_eq!(run(&["--dump", "out"], b"").ok().stdout, nar);
    assert_ne!(world.nix_store(&["--dump", "out"]).ok().stdout, nar);
    // A path in a store is the same with and without.
    world.run_with_input(Side::Nival, "nix-store", &["--restore", "plain"], &nar).ok();
    let plain = world.nix_store(&["--add-fixed", "--recursive", "sha256", "plain"]).line();
    std::fs::rename(world.path("out"), world.path("src/plain")).unwrap();
    let hacked = run(&["--add-fixed", "--recursive", "sha256", "src/plain"], b"").line();
    assert_eq!(plain, hacked);
    // Two names that become one.
    world.write("src/plain/a~nix~case~hack~2", "x");
    let twice = run(&["--dump", "src/plain"], b"");
    assert_eq!(twice.status, 1);
    assert!(twice.stderr.contains("two files of a directory get the name 'a'"), "{}", twice.stderr);
    let clash = archive(&[("X", "1"), ("x", "2"), ("x~nix~case~hack~1", "3")]);
    run(&["--restore", "clash"], &clash);
    // Without the setting they are names as others.
    world.run_with_input(Side::Nival, "nix-store", &["--restore", "clash2"], &clash).ok();
    assert_eq!(data::names(&world.path("clash2")).len(), 3);
}

#[test]
fn a_closed_output_is_an_error() {
    let world = World::new();
    world.write("src/a", "x");
    let path = world.nix_store(&["--add", &world.text("src/a")]).line();
    for args in [
        &["nix-store", "--dump", "src/a"][..],
        &["nix-store", "--export", &path],
        &["nix", "path-info", &path],
        &["nix", "store", "ls", &path],
        &["nix-hash", "src/a"],
        &["nix", "hash", "path", "src/a"],
        &["nix-store", "-qR", &path],
    ] {
        let mut command = world.command(Side::Nival, args[0]);
        let program = command.get_program().to_owned();
        let mut shell = world.command(Side::Nival, "nix-store");
        shell = {
            let mut sh = std::process::Command::new("/bin/sh");
            sh.env_clear().envs(shell.get_envs().filter_map(|(name, value)| Some((name, value?))));
            sh
        };
        command = shell;
        command
            .current_dir(world.path(""))
            .args(["-c", "exec \"$0\" \"$@\" >&-"])
            .arg(program)
            .args(&args[1..]);
        let ended = outcome(command.stdin(Stdio::null()).stderr(Stdio::piped()).output().unwrap());
        assert_eq!(ended.status, 1, "{args:?} {}", ended.stderr);
        assert!(ended.stderr.contains("Bad file descriptor"), "{args:?} {}", ended.stderr);
    }
}

#[test]
fn what_stands_in_the_way_of_unpacking_is_named_alike() {
    let Some(world) = World::with_reference() else { return };
    world.write("file", "x");
    std::fs::create_dir(world.path("directory")).unwrap();
    symlink("nowhere", world.path("link")).unwrap();
    symlink("directory", world.path("to-directory")).unwrap();
    for source in ["file", "directory", "link"] {
        let nar = world.nix_store(&["--dump", source]).ok().stdout.clone();
        for target in ["file", "directory", "link", "to-directory"] {
            let refused = |side| world.run_with_input(side, "nix-store", &["--restore", target], &nar);
            let (ours, theirs) = (refused(Side::Nival), refused(Side::Reference));
            assert_eq!((ours.status, ours.stderr), (theirs.status, theirs.stderr), "{source} over {target}");
        }
    }
}

#[test]
fn errors_name_the_file() {
    let world = World::new();
    symlink("two", world.path("one")).unwrap();
    symlink("one", world.path("two")).unwrap();
    let looped = world.nix_store(&["-q", "--references", &world.text("one")]);
    looped.fails(&format!("error: too many levels of symbolic links at \"{}\"", world.text("one")));
    symlink("nowhere", world.path("src/l")).unwrap();
    std::fs::create_dir(world.path("src/d")).unwrap();
    for name in ["src/l", "src/d"] {
        let refused = world.nix_store(&["--add-fixed", "sha256", name]);
        assert_eq!(refused.status, 1);
        assert!(
            refused.stderr.contains(&format!("cannot add '{}': it is a ", world.text(name))),
            "{refused:?}"
        );
    }
}

#[test]
fn keys_are_not_overwritten_and_have_names() {
    let world = World::new();
    let secret = key(&world);
    let before = std::fs::read(&secret).unwrap();
    let again = world.nix_store(&["--generate-binary-cache-key", "test-2", &secret, &world.text("public2")]);
    assert_eq!(again.status, 1);
    assert!(again.stderr.contains(&secret), "{}", again.stderr);
    assert_eq!(std::fs::read(&secret).unwrap(), before);
    assert!(!world.path("public2").exists());
    for name in ["", "a:b", "a b"] {
        let refused = world.nix_store(&["--generate-binary-cache-key", name, "s", "p"]);
        assert_eq!(refused.status, 1, "{name}");
        assert!(!world.path("s").exists());
        assert_eq!(world.nival("nix", &["key", "generate-secret", "--key-name", name]).status, 1, "{name}");
    }
    // What mktemp makes is no key.
    std::fs::write(world.path("empty"), "").unwrap();
    world.nix_store(&["--generate-binary-cache-key", "test-3", &world.text("empty"), &world.text("p")]).ok();
}

#[test]
fn paths_that_contain_their_own_name_are_checked_by_their_contents() {
    let Some(world) = World::with_reference() else { return };
    let nix = r#"derivation { name = "self"; system = "x86_64-linux"; builder = "/bin/sh";
                 args = [ "-c" "echo a $out b $out c > $out" ]; }"#;
    let built = world.run(Side::Reference, "nix-build", &["--no-out-link", "-E", nix]).line();
    let made = world.run(Side::Reference, "nix", &["store", "make-content-addressed", "--json", &built]);
    let made: serde_json::Value = serde_json::from_str(made.ok().text()).unwrap();
    let path = made["rewrites"][&built].as_str().unwrap().to_owned();
    let other = |name: &str| {
        format!(
            "{}?store={}&real={}",
            world.text(name),
            world.text("store"),
            world.text(format!("{name}-real"))
        )
    };
    world.nival("nix", &["copy", "--to", &other("one"), &path]).ok();
    world.nival("nix", &["store", "verify", "--store", &other("one"), &path]).ok();
    // Through a cache, whose contents are then changed.
    let cache = world.text("cache");
    world.nival("nix", &["copy", "--to", &format!("file://{cache}?compression=none"), &path]).ok();
    world.nival("nix", &["copy", "--from", &format!("file://{cache}"), "--to", &other("two"), &path]).ok();
    let narinfo = std::fs::read_dir(&cache).unwrap().find_map(|entry| {
        let file = entry.unwrap().path();
        file.extension().is_some_and(|extension| extension == "narinfo").then_some(file)
    });
    let narinfo = narinfo.unwrap();
    let text = std::fs::read_to_string(&narinfo).unwrap();
    let nar = Path::new(&cache).join(text.lines().find_map(|line| line.strip_prefix("URL: ")).unwrap());
    let mut bytes = std::fs::read(&nar).unwrap();
    let at = bytes.windows(3).position(|window| window == b" b ").unwrap();
    bytes[at + 1] = b'B';
    std::fs::write(&nar, &bytes).unwrap();
    let hash =
        world.nival("nix-hash", &["--flat", "--type", "sha256", "--base32", nar.to_str().unwrap()]).line();
    let changed: Vec<String> = text
        .lines()
        .map(|line| match line.split_once(": ") {
            Some((field @ ("NarHash" | "FileHash"), _)) => format!("{field}: sha256:{hash}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    std::fs::write(&narinfo, changed.concat()).unwrap();
    let refused =
        world.nival("nix", &["copy", "--from", &format!("file://{cache}"), "--to", &other("three"), &path]);
    assert_eq!(refused.status, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("mismatch") && refused.stderr.contains(&path), "{}", refused.stderr);
}

#[test]
fn what_is_there_needs_no_write() {
    let world = World::new();
    world.write("src/a", "x");
    world.write("src/b", "y");
    let path = world.nix_store(&["--add", &world.text("src/a")]).line();
    let stream = world.nix_store(&["--export", &path]).ok().stdout.clone();
    let fixed = world.nix_store(&["--add-fixed", "sha1", &world.text("src/a")]).line();
    let run = |args: &[&str], input: &[u8]| {
        let store =
            ["--store", "local?read-only=true", "--extra-experimental-features", "read-only-local-store"];
        world.run_with_input(Side::Nival, "nix-store", &[&store, args].concat(), input)
    };
    assert_eq!(run(&["--add", &world.text("src/a")], b"").line(), path);
    assert_eq!(run(&["--add-fixed", "sha1", &world.text("src/a")], b"").line(), fixed);
    assert_eq!(run(&["-r", &path], b"").line(), path);
    assert_eq!(run(&["--import"], &stream).line(), path);
    run(&["--register-validity"], b"").ok();
    for args in [&["--add", &world.text("src/b")][..], &["--register-validity"]] {
        let refused =
            run(args, format!("{}/{}-x\n\n0\n", world.text("store"), data::hash_part(3)).as_bytes());
        assert_eq!(refused.status, 1, "{args:?}");
        assert!(refused.stderr.contains("attempt to write a readonly database"), "{}", refused.stderr);
        assert!(refused.stderr.contains("it was opened with read-only=true"), "{}", refused.stderr);
    }
}

#[test]
fn derivations_whose_attributes_are_structured_or_outputs_unknown() {
    let Some(world) = World::with_reference() else { return };
    let instantiate = |nix: &str| {
        let args = ["--option", "extra-experimental-features", "ca-derivations", "-E", nix];
        world.run(Side::Reference, "nix-instantiate", &args).line()
    };
    let structured = instantiate(
        r#"derivation { name = "s"; system = "x"; builder = "/bin/sh"; __structuredAttrs = true; list = [ "a" ]; }"#,
    );
    let env = |side| world.run(side, "nix-store", &["--print-env", &structured]).ok().text().to_owned();
    assert_eq!(env(Side::Nival), env(Side::Reference));
    let floating = instantiate(
        r#"derivation { name = "f"; system = "x"; builder = "/bin/sh"; __contentAddressed = true;
           outputHashMode = "recursive"; outputHashAlgo = "sha256"; }"#,
    );
    for args in [&["-q", &floating][..], &["-q", "--outputs", &floating]] {
        let args = [&["--option", "extra-experimental-features", "ca-derivations"], args].concat();
        let told = |side| {
            let outcome = world.run(side, "nix-store", &args);
            (outcome.status, outcome.stdout, outcome.stderr.lines().next().unwrap_or_default().to_owned())
        };
        assert_eq!(told(Side::Nival), told(Side::Reference), "{args:?}");
    }
}
