//! `nix-instantiate`: what is evaluated, found and printed, beside the reference.

use crate::common::{Outcome, Side, World};

/// The program that is run.
pub const PROGRAM: &str = "nix-instantiate";

/// A world with some expressions, if there is a reference.
fn world() -> Option<World> {
    let world = World::with_reference()?;
    world.write("f.nix", "{ a = 1; b = ./sub; l = [ 1 { x = 2; } ]; f = { x ? 5 }: { y = x; }; }\n");
    world.write("sub/default.nix", "\"in sub\"\n");
    world.write("sub/t", "text\n");
    std::os::unix::fs::symlink("sub", world.path("link")).unwrap();
    Some(world)
}

/// A command line, split at blanks; a word within `⟦…⟧` holds blanks.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split(['⟦', '⟧']).enumerate() {
        match index % 2 {
            1 => words.push(part.to_owned()),
            _ => words.extend(part.split_whitespace().map(str::to_owned)),
        }
    }
    words
}

/// Output, errors and status are those of the reference for every line.
fn as_the_reference(world: &World, lines: &[&str]) {
    for line in lines {
        let (line, input) = line.split_once(" < ").unwrap_or((line, ""));
        let [ours, theirs] = [Side::Nival, Side::Reference].map(|side| {
            let outcome = world.run_with_input(side, PROGRAM, &words(line), input.as_bytes());
            let program = world.programs(side).join(PROGRAM);
            let stderr = outcome.stderr.replace(program.to_str().unwrap(), PROGRAM);
            Outcome { stderr, ..outcome }
        });
        assert_eq!((ours.text(), ours.status), (theirs.text(), theirs.status), "{line}: {}", ours.stderr);
        assert_eq!(ours.stderr, theirs.stderr, "{line}");
    }
}

/// Where the words of an error are ours, so far: the excerpts of faulty TOML.
const OTHER_WORDS: &str = "while parsing TOML";

/// How many expressions one process is given.
const AT_ONCE: usize = 40;

/// Compares expressions from the front up to and with the first that fails, in one process on each side.
/// Returns how many those are, and what differs.
fn compare_up_to_a_failure(world: &World, expressions: &[String]) -> (usize, Option<String>) {
    let evaluate = |side, cores: &[&str], expressions: &[String]| {
        let outcome = world
            .command(side, PROGRAM)
            .args(cores)
            .args(["--eval", "--strict", "-E"])
            .args(expressions)
            .output()
            .unwrap();
        let program = world.programs(side).join(PROGRAM);
        let told = String::from_utf8_lossy(&outcome.stderr).replace(program.to_str().unwrap(), PROGRAM);
        (outcome.status.code(), String::from_utf8_lossy(&outcome.stdout).into_owned(), told)
    };
    let at_once = &expressions[..expressions.len().min(AT_ONCE)];
    let theirs = evaluate(Side::Reference, &[], at_once);
    let ours = |cores| evaluate(Side::Nival, &["--option", "eval-cores", cores], at_once);
    let alone = ours("1");
    // Each value is a line.
    let values = theirs.1.lines().count();
    let count = if theirs.0 == Some(0) { at_once.len() } else { values + 1 };
    assert!(theirs.0 == Some(0) || values < at_once.len(), "{theirs:?} of {at_once:?}");
    let same = alone == theirs
        || (alone.0 == theirs.0
            && alone.1 == theirs.1
            && theirs.2.contains(OTHER_WORDS)
            && alone.2.contains(OTHER_WORDS));
    let last = &at_once[count - 1];
    let mut difference = (!same).then(|| format!("up to {last}\n  ours {alone:?}\n  theirs {theirs:?}"));
    // Two threads or eight, in turns: both at once would be half of all the work.
    let cores = if expressions.len().is_multiple_of(2) { "2" } else { "8" };
    let several = ours(cores);
    if several != alone {
        difference = Some(format!("up to {last}\n  on {cores} threads {several:?}\n  on one {alone:?}"));
    }
    (count, difference)
}

/// The expressions that `tests/tools/eval-compare` compares in more ways.
#[test]
fn expressions_of_the_lists() {
    let Some(world) = world() else { return };
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/eval");
    let mut all = Vec::new();
    for file in std::fs::read_dir(dir).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        all.extend(text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned));
    }
    assert!(all.len() > 4000, "{} expressions only", all.len());
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get());
    let compare = |mut rest: &[String]| {
        let mut wrong = Vec::new();
        while !rest.is_empty() {
            let (count, difference) = compare_up_to_a_failure(&world, rest);
            wrong.extend(difference);
            rest = &rest[count..];
        }
        wrong
    };
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let part = all.len().div_ceil(threads);
        let work: Vec<_> = all.chunks(part).map(|part| scope.spawn(|| compare(part))).collect();
        work.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn expressions_and_files() {
    let Some(world) = world() else { return };
    as_the_reference(
        &world,
        &[
            "--eval -E 1",
            "--eval-only -E 1 -E 2 3",
            "--eval f.nix",
            "--eval sub link ./sub/default.nix",
            "--eval --strict f.nix",
            "--eval nosuch.nix",
            "--eval .",
            "--eval",
            "--eval -E",
            "--eval -E - 2 < 1",
            "--eval f.nix - < \"x\"",
            "--eval - < 1 +",
            "--eval /dev/null",
            "--eval --raw -E \"a\"",
            "--eval --json --strict -E ⟦{ a = 1 + 1; b = [ \"x\" 1.5 null ]; }⟧",
            "--eval --json -E ⟦{ a = 1 + 1; }⟧",
            "--eval --raw --json -E ./f.nix",
            "--eval --xml --strict -E ⟦{ a = 1; b = x: x; }⟧",
            "--eval --xml --strict --no-location f.nix",
            "--eval --xml f.nix",
            "--parse --eval -E 1+1",
            "--eval --parse -E 1+1",
            "--eval --raw -E 1",
            "--eval --strict -E ⟦[ 1 (throw \"x\") ]⟧",
            "--eval -E ⟦let f = x: throw \"x\"; in f 1⟧",
            "--eval --show-trace -E ⟦let f = x: throw \"x\"; in f 1⟧",
            "--eval --strict --show-trace -E ⟦builtins.zipAttrsWith (n: vs: throw n) [ { a = 1; } ]⟧",
            "--eval --strict --show-trace -E ⟦builtins.zipAttrsWith (n: builtins.elemAt n) [ { a = 1; } ]⟧",
            "--eval --strict --show-trace -E ⟦builtins.mapAttrs (n: v: throw n) { a = 1; }⟧",
            "--bogus",
            "--eval --arg",
        ],
    );
}

/// Errors in TOML whose words are those of the reference's library.
#[test]
fn texts_that_are_no_toml() {
    let Some(world) = world() else { return };
    let texts = [
        "a",
        "a = ",
        "a = x",
        "a = ,",
        "a b = 1",
        "= 1",
        "a. = 1",
        "a = {=1}",
        "a = [1 2]",
        "a = {b = 1",
        "a = 1 b = 2",
        "[a",
        "[[a]",
        "[a.b",
        "a = 'x",
        "a = 9223372036854775808",
        "b = 1\\n\\n\\nc = 2\\nb c",
        "a = -9223372036854775809",
    ];
    let lines: Vec<String> = texts.iter().map(|text| format!("--eval -E ⟦fromTOML \"{text}\"⟧")).collect();
    as_the_reference(&world, &lines.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn attributes_and_arguments() {
    let Some(world) = world() else { return };
    as_the_reference(
        &world,
        &[
            "--eval f.nix -A a -A b -A l.0 -A l.1.x",
            "--eval f.nix -A f -A f.y",
            "--eval f.nix -A f.y --argstr x z",
            "--eval f.nix -A f --strict --arg x 1+1",
            "--eval f.nix -A ff",
            "--eval f.nix -A a.b",
            "--eval f.nix -A l.2",
            "--eval f.nix -A a.2",
            "--eval f.nix -A l.a",
            "--eval f.nix -A a..b",
            "--eval f.nix -A .",
            "--eval f.nix -A a.",
            "--eval f.nix -A ⟦a.\"x⟧",
            "--eval -E ⟦{ \"c.d\" = 1; }⟧ -A ⟦\"c.d\"⟧",
            "--eval -E ⟦{ x }: x⟧ --arg x 1+",
            "--eval -E ⟦{ x }: x⟧ --arg x 1+y",
            "--eval -E ⟦{ x }: x⟧ --arg x 1 --argstr x 2",
            "--eval -E ⟦{ x }: x⟧ --arg x ⟦throw \"y\"⟧",
            "--eval -E 1 --arg x ⟦throw \"y\"⟧",
            "--eval -E ⟦{ x, y }: x⟧ --argstr x y",
            "--eval -E ⟦{ x ? 1 }: x⟧",
            "--eval -E ⟦x: x⟧ --argstr x 1",
            "--eval --strict -E ⟦{ y ? 2, ... }@a: a⟧ --argstr x 1",
            "--eval -E ⟦{ __functor = self: { x }: { y = x; }; }⟧ -A y --argstr x 1",
            "--eval --arg-from-stdin x -E ⟦{ x }: x⟧ < text",
            "--eval --arg-from-file x sub/t -E ⟦{ x }: x⟧",
            "--eval --arg-from-file x nosuch -E ⟦{ x }: x⟧",
        ],
    );
}

#[test]
fn the_search_path() {
    let Some(mut world) = world() else { return };
    as_the_reference(
        &world,
        &[
            "--find-file x -I x=./sub y",
            "--find-file x/t t -I x=./sub -I ./sub",
            "--find-file x -I x=./nosuch -I x=./sub",
            "--find-file nix/fetchurl.nix",
            "--eval <x> -I x=./f.nix",
            "--eval <nosuch>",
            "--eval --strict -E builtins.nixPath -I a=b -I c",
        ],
    );
    world.variables.push(("NIX_PATH".to_owned(), "x=sub:sub".to_owned()));
    as_the_reference(
        &world,
        &[
            "--find-file x t",
            "--find-file t --option nix-path sub",
            "--find-file x --option nix-path sub",
            "--eval --strict -E builtins.nixPath",
        ],
    );
}

#[test]
fn forbidden_files() {
    let Some(world) = world() else { return };
    as_the_reference(
        &world,
        &[
            "--restrict-eval --eval f.nix",
            "--restrict-eval -I . --eval f.nix",
            "--restrict-eval -I x=./link --eval link",
            "--restrict-eval -I x=./nosuch --eval -E 1",
            "--pure-eval --eval f.nix",
            "--pure-eval --impure --eval f.nix",
            "--pure-eval --eval -E ./f.nix",
            "--pure-eval --eval -E builtins.currentSystem",
        ],
    );
}

#[test]
fn settings_of_the_language_act() {
    let Some(world) = world() else { return };
    as_the_reference(
        &world,
        &[
            "--eval -E builtins.currentSystem --option eval-system x",
            "--eval -E builtins.currentSystem --option system y",
            "--eval -E ⟦let f = n: if n == 0 then 0 else 1 + f (n - 1); in f 20⟧ --option max-call-depth 10",
            "--eval -E ⟦builtins.traceVerbose 1 2⟧ --trace-verbose",
            "--eval -E ⟦builtins.traceVerbose 1 2⟧",
            "--eval -E ⟦builtins.warn \"a\" 2⟧ --abort-on-warn",
            "--eval -E ⟦builtins.warn \"a\" 2⟧ --quiet",
            "--eval -E http://a.b/c --lint-url-literals fatal",
            "--eval -E a/b --lint-short-path-literals fatal",
            "--eval -E /a/b --lint-absolute-path-literals fatal",
            "--eval -E ⟦1 |> (x: x)⟧ --extra-experimental-features pipe-operators",
        ],
    );
}

/// Reads what a build has made.
const BUILT: &str = "--eval --read-write-mode -E ⟦import (derivation { name = \"x\"; \
    system = builtins.currentSystem; builder = \"/bin/sh\"; args = [ \"-c\" \"echo 7 > $out\" ]; })⟧";

/// Name, two values, and a command that says something else for each of them.
const SETTINGS: &[(&str, &str, &str, &str)] = &[
    ("abort-on-warn", "false", "true", "--eval -E ⟦builtins.warn \"a\" 2⟧"),
    (
        "allow-import-from-derivation",
        "true",
        "false",
        "--eval -E ⟦import (derivation { name = \"x\"; system = \"x\"; builder = \"/b\"; })⟧",
    ),
    (
        "allowed-uris",
        "x:",
        "file:",
        "--eval -E ⟦builtins.fetchurl file:///etc/passwd⟧ --option restrict-eval true",
    ),
    ("eval-system", "a", "b", "--eval -E builtins.currentSystem"),
    ("lint-absolute-path-literals", "warn", "fatal", "--eval -E /a/b"),
    ("lint-short-path-literals", "warn", "fatal", "--eval -E a/b"),
    ("lint-url-literals", "warn", "fatal", "--eval -E http://a.b/c"),
    ("max-call-depth", "10", "1000", "--eval -E ⟦let f = n: if n == 0 then 0 else 1 + f (n - 1); in f 20⟧"),
    ("nix-path", "y=sub", "y=sub/t", "--eval -E ⟦<y>⟧"),
    ("pure-eval", "false", "true", "--eval -E ⟦builtins.readFile ./sub/t⟧"),
    ("restrict-eval", "false", "true", "--eval -E ⟦builtins.readFile ./sub/t⟧"),
    ("show-trace", "false", "true", "--eval -E ⟦let f = x: throw \"x\"; in f 1⟧"),
    ("trace-import-from-derivation", "false", "true", BUILT),
    ("trace-verbose", "false", "true", "--eval -E ⟦builtins.traceVerbose 1 2⟧"),
];

#[test]
fn settings_of_the_language_make_a_difference() {
    let Some(world) = world() else { return };
    let built = world.run_with_input(Side::Reference, PROGRAM, &words(BUILT), b"");
    assert_eq!(built.ok().text(), "7\n");
    for (name, one, other, line) in SETTINGS {
        let told = [one, other].map(|value| {
            let mut words = words(line);
            words.extend(["--option", name, value].map(str::to_owned));
            let [ours, theirs] =
                [Side::Nival, Side::Reference].map(|side| world.run_with_input(side, PROGRAM, &words, b""));
            assert_eq!(
                (ours.text(), ours.status),
                (theirs.text(), theirs.status),
                "{name} {value}: {}",
                ours.stderr
            );
            format!("{} {}{}", ours.status, ours.text(), ours.stderr)
        });
        assert_ne!(told[0], told[1], "{name}");
    }
}

#[test]
fn nothing_is_written_unless_asked_for() {
    if let Some(world) = world() {
        as_the_reference(&world, &["--eval -E ⟦\"${./f.nix}\"⟧", "--eval -E ⟦\"${./sub}\"⟧"]);
    }
    let world = World::new();
    world.write("f.nix", "1\n");
    let eval = ["--eval", "--raw", "-E", "\"${./f.nix}\""];
    let path = world.nival(PROGRAM, &eval).ok().text().to_owned();
    assert!(!world.path("var").exists() && !world.store().exists());
    let again = world.nival(PROGRAM, &[&eval[..], &["--read-write-mode"]].concat());
    assert_eq!(again.ok().text(), path);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n");
    world.nix_store(&["--check-validity", &path]).ok();
}

#[test]
fn what_comes_later_says_so() {
    let world = World::new();
    for (flag, why) in [("--repair", "not available"), ("--override-flake", "feature 'flakes' is disabled")] {
        let told = world.nival(PROGRAM, &["--eval", flag, "a", "b"]);
        assert!(told.status == 1 && told.stderr.contains(why), "{told:?}");
    }
}

#[test]
fn an_endless_evaluation_can_be_interrupted() {
    use std::process::Stdio;
    let world = World::new();
    let endless = "let f = n: if n == 0 then 0 else f (n - 1); \
                   in builtins.foldl' (a: b: f 1000) 0 (builtins.genList (x: x) 1000000)";
    let mut command = world.command(Side::Nival, PROGRAM);
    command.args(["--eval", "-E", endless]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let outcome = crate::common::outcome(child.wait_with_output().unwrap());
    assert_eq!((outcome.status, &*outcome.stderr), (1, "error: interrupted by the user\n"));
}
