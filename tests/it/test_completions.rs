//! NIX_GET_COMPLETIONS: what a shell asks for when a word is completed.

use crate::common::{Outcome, Side, World, outcome, skip_missing};

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

/// Types lines and TAB into a real shell on a terminal (made by zsh) and prints what became of them.
const DRIVER: &str = r#"
zmodload zsh/zpty
case $1 in
    zsh)
        zpty shell "zsh -f -i"
        zpty -w shell 'PS1=; autoload -Uz compinit; compinit -u -D; source ./script; show() { print -r -- "=[$BUFFER]="; BUFFER= }; zle -N show; bindkey "^T" show; bindkey "^I" complete-word; print READY' ;;
    bash)
        zpty shell "bash --norc --noprofile -i"
        zpty -w shell $'PS1=; source ./script; show() { printf "=[%s]=" "$READLINE_LINE"; READLINE_LINE=; }; bind -x \'"\\C-t": show\'; echo READY' ;;
esac
# Answers come in pieces.
until_line() {
    local piece all= tries
    for tries in {1..200}; do
        while zpty -r -t shell piece; do all+=$piece; done
        [[ $all == *$1* ]] && break
        sleep 0.05
    done
    REPLY=$all
}
until_line $'\nREADY'
for line in "${@:2}"; do
    zpty -w -n shell "$line"$'\t\x14'
    until_line ']='
    REPLY=${REPLY##*=\[}
    print -r -- "${REPLY%%\]=*}"
done
zpty -d shell
"#;

/// Whether a program is there; where it is not, that is told and counted.
fn has(program: &str) -> bool {
    let found = std::process::Command::new(program).arg("--version").output().is_ok();
    if !found {
        skip_missing(&format!("{program} is not installed"));
    }
    found
}

fn in_world(world: &World, program: &str) -> std::process::Command {
    let mut command = std::process::Command::new(program);
    command.env_clear().current_dir(world.path(".")).env("HOME", world.path("home")).env("TERM", "dumb");
    command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", world.text("bin")));
    for (name, dir) in [("STORE", "store"), ("STATE", "var"), ("CONF", "etc")] {
        command.env(format!("NIX_{name}_DIR"), world.path(dir));
    }
    command
}

/// Lines that are typed, and what they become; what a shell adds at the end does not count.
const TYPED: &[(&str, &str)] = &[
    ("nix store g", "nix store gc"),
    ("nix-store --print-f", "nix-store --print-fixed-path"),
    ("nix hash file etc/ni", "nix hash file etc/nix.conf"),
    ("nix key gen", "nix key generate-secret"),
    ("nix --option keep-o", "nix --option keep-outputs"),
    ("nix-store -q --tr", "nix-store -q --tree"),
    ("nival comp", "nival completions"),
];

#[test]
fn zsh_and_bash_complete_what_is_typed() {
    if !has("zsh") || !has("bash") {
        return;
    }
    for shell in ["zsh", "bash"] {
        let world = World::new();
        world.write("script", world.nival("nival", &["completions", shell]).ok().text());
        world.write("driver", DRIVER);
        let lines = TYPED.iter().map(|(typed, _)| typed);
        let driven = in_world(&world, "zsh").args(["-f", "driver", shell]).args(lines).output().unwrap();
        let became = outcome(driven);
        let became: Vec<&str> = became.ok().lines().into_iter().map(str::trim_end).collect();
        let expected: Vec<&str> = TYPED.iter().map(|(_, expected)| *expected).collect();
        assert_eq!(became, expected, "{shell}");
    }
}

#[test]
fn fish_completes_what_is_typed() {
    if !has("fish") {
        return;
    }
    let world = World::new();
    world.write("script", world.nival("nival", &["completions", "fish"]).ok().text());
    for (typed, expected) in TYPED {
        let program = format!("source ./script; complete -C '{typed}'");
        let answer = outcome(in_world(&world, "fish").args(["-N", "-c", &program]).output().unwrap());
        let first = answer.ok().text().lines().next().unwrap_or_default().split('\t').next().unwrap();
        assert_eq!(first, expected.rsplit(' ').next().unwrap(), "{typed}: {answer:?}");
    }
}

/// A package with one file.
fn tool(world: &World, name: &str) -> String {
    world.write(format!("src/{name}/bin/tool"), name);
    world.nix_store(&["--add", &world.text(format!("src/{name}"))]).line()
}

/// Store paths, generations, packages and values of settings.
#[test]
fn names_of_things_are_completed() {
    let world = World::new();
    let one = tool(&world, "tool-1.0");
    let two = tool(&world, "tool-2.0");
    let profile = world.text("profile");
    for path in [&one, &two] {
        world.nival("nix-env", &["-p", &profile, "-i", path]).ok();
    }
    let ask = |number: &str, words: &[&str]| {
        first_words(&complete(&world, Side::Nival, number, words)).split_off(1)
    };
    let store = world.text("store");
    assert_eq!(ask("2", &["nix-store", "-q", &one[..store.len() + 10]]), [&*one]);
    assert_eq!(ask("2", &["nix-store", "-q", &store]), [format!("{store}/")]);
    assert_eq!(ask("2", &["nix", "path-info", &two[..store.len() + 10]]), [&*two]);
    // Neither locks nor what belongs to nobody.
    world.write("store/.hidden", "");
    world.write("store/other", "");
    let all = ask("2", &["nix-store", "-q", &format!("{store}/")]);
    assert!(all.contains(&one) && all.iter().all(|path| path.len() > store.len() + 33), "{all:?}");
    assert_eq!(ask("4", &["nix-env", "-p", &profile, "-G", ""]), ["1", "2"]);
    assert_eq!(ask("4", &["nix-env", "-p", &profile, "--delete-generations", "2"]), ["2"]);
    assert_eq!(ask("4", &["nix-env", "-p", &profile, "-e", "to"]), ["tool-2.0"]);
    assert_eq!(ask("3", &["nix-store", "--option", "sandbox", "r"]), ["relaxed"]);
    assert_eq!(ask("3", &["nix-store", "--option", "keep-outputs", ""]), ["false", "true"]);
    // The same of a profile that `nix profile` made.
    let other = world.text("other");
    world.nival("nix", &["profile", "add", "--profile", &other, &one]).ok();
    assert_eq!(ask("5", &["nix", "profile", "remove", "--profile", &other, ""]), ["tool"]);
    assert_eq!(ask("6", &["nix", "profile", "rollback", "--profile", &other, "--to", ""]), ["1"]);
}
