//! NIX_GET_COMPLETIONS: what a shell asks for when a word is completed.

use crate::common::{Outcome, Side, World, outcome};

fn complete(world: &World, side: Side, number: &str, words: &[&str]) -> Outcome {
    let mut command = world.command(side, words[0]);
    command.args(&words[1..]).env("NIX_GET_COMPLETIONS", number);
    outcome(command.output().unwrap())
}

fn first_words(outcome: &Outcome) -> Vec<String> {
    outcome.ok().lines().iter().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

#[test]
fn no_program_runs_anything() {
    let world = World::new();
    let file = world.write("src/file", "text");
    let path = world.nix_store(&["--add", file.to_str().unwrap()]).line();
    for words in [
        &["nix", "store", "gc"][..],
        &["nix", "store", "delete", &path],
        &["nix-store", "--gc"],
        &["nix-store", "--delete", &path],
        &["nix-collect-garbage", "-d"],
        &["nix-env", "-i", &path],
        &["nix-daemon", "--daemon"],
        &["nival", "nix-store", "--gc"],
        &["nival", "install-links", "links"],
        &["nix-hash", "src"],
        &["nix-copy-closure", "host", &path],
        &["nix-build", "x"],
    ] {
        // Also numbers that no shell sends.
        for number in ["0", "1", "2", "3", "9", "", "x", "-1", "99999999999999999999"] {
            let answer = complete(&world, Side::Nival, number, words);
            answer.ok();
            assert!(matches!(answer.lines()[0], "normal" | "filenames"), "{words:?} {number}: {answer:?}");
            assert_eq!(answer.stderr, "", "{words:?} {number}");
        }
    }
    assert_eq!(world.nix_store(&["--check-validity", &path]).status, 0);
    assert!(!world.path("links").exists());
    assert!(!world.path("home/.nix-profile").exists());

    // Nothing is opened either.
    let fresh = World::new();
    fresh.write("etc/nix.conf", "not a line");
    let answer = complete(&fresh, Side::Nival, "2", &["nix", "store", "gc"]);
    assert!(answer.ok().text().starts_with("normal\ngc\t"), "{answer:?}");
    assert!(!fresh.path("store").exists() && !fresh.path("var").exists());
}

#[test]
fn the_form_is_that_of_the_reference() {
    let Some(world) = World::with_reference() else { return };
    world.write("src/one", "");
    world.write("src/only/file", "");
    for (number, words) in [
        ("2", &["nix", "store", "gc"][..]),
        ("2", &["nix", "store", "d"]),
        ("2", &["nix", "profile", ""]),
        ("2", &["nix", "key", ""]),
        ("1", &["nix", "he"]),
        ("1", &["nix", "-"]),
        ("3", &["nix", "store", "gc", "--"]),
        ("3", &["nix", "store", "gc", "--dry"]),
        ("2", &["nix", "path-info", "--json"]),
        ("2", &["nix", "copy", "--to"]),
        ("3", &["nix", "copy", "--to", "x"]),
        ("2", &["nix", "--option", "sub"]),
        ("4", &["nix", "hash", "file", "--type", "s"]),
        ("2", &["nix", "stroe", "gc"]),
        ("1", &["nix", "hash-f"]),
        ("3", &["nix", "hash", "file", "src/on"]),
        ("3", &["nix", "profile", "list", "--pro"]),
        ("4", &["nix", "profile", "list", "--profile", "src/on"]),
        ("4", &["nix", "store", "gc", "--", "--"]),
    ] {
        let ours = first_words(&complete(&world, Side::Nival, number, words));
        let reference = first_words(&complete(&world, Side::Reference, number, words));
        // Flags of evaluation are not offered.
        assert_eq!(ours, reference, "{number} {words:?}");
    }
}

#[test]
fn bash_completes_by_the_script() {
    let world = World::new();
    let script = world.nival("nival", &["completions", "bash"]);
    world.write("script", script.ok().text());
    let ask = |line: &str| {
        let program = format!(
            "source ./script; COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; _nival; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let mut command = std::process::Command::new("bash");
        command.args(["--norc", "-c", &program]).current_dir(world.path("."));
        command.env_clear().env("PATH", format!("{}:/usr/bin:/bin", world.text("bin")));
        outcome(command.output().unwrap()).ok().text().trim_end().to_owned()
    };
    assert_eq!(ask("nix store g"), "gc");
    assert_eq!(ask("nix-store --print-f"), "--print-fixed-path");
    assert_eq!(ask("nix key "), "convert-secret-to-public\ngenerate-secret");
    assert_eq!(ask("nix hash file etc/ni"), "etc/nix.conf");
}
