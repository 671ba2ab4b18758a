//! Several threads evaluate one expression, and nobody can tell.

use std::sync::Mutex;

use super::crew::Purpose;
use super::print::Style;
use super::shared::Settings;
use super::sources::Origin;
use super::tests::Memory;

/// What somebody sees of an evaluation: the value or the failure with its trace, and what was told.
type Seen = (Result<String, String>, Vec<String>);

fn seen_in(world: Memory, text: &str, cores: usize) -> Seen {
    let settings = Settings { cores, ..Settings::default() };
    let seen = super::evaluate(settings, &world, |worker| {
        let value = worker.evaluate_text(Origin::Text, text.as_bytes(), b"/work").and_then(|value| {
            worker.with_deep_crew(value, Purpose::Everything, || worker.force_deep(value))?;
            worker.print(value, Style::Instantiate)
        });
        value.map(|text| String::from_utf8(text).unwrap()).map_err(|error| worker.shared.report(&error, true))
    });
    (seen.unwrap(), world.told.into_inner().unwrap())
}

fn seen(text: &str, cores: usize) -> Seen {
    seen_in(world(), text, cores)
}

/// A world with files that have names of their own.
fn world() -> Memory {
    let file = |number: u32| {
        let text = format!("{{ f{number} = 1; e{} = 2; shared = 3; }}", 100 - number);
        (format!("/work/{number}.nix").into_bytes(), text.into_bytes())
    };
    Memory { files: (0..100).map(file).collect(), ..Memory::default() }
}

/// Compares what is seen on one core with what is seen on several, some times over.
fn compare(text: &str) -> Seen {
    let alone = seen(text, 1);
    for cores in [2, 8, 3, 2] {
        assert_eq!(seen(text, cores), alone, "{cores} threads: {text}");
    }
    alone
}

/// A function that takes a while.
const SLOW: &str = "slow = n: builtins.foldl' (a: b: a + b) 0 (builtins.genList (i: i) n);";

#[test]
fn many_threads_force_one_graph() {
    let text = format!(
        "let {SLOW} sums = builtins.genList (n: if n < 2 then slow 50 + n else at (n - 1) + at (n - 2) - slow 50) 60; \
         at = builtins.elemAt sums; in {{ inherit sums; again = builtins.genList (n: at (59 - n)) 60; }}"
    );
    let (value, _) = compare(&text);
    assert!(value.unwrap().contains("956722027266"));
}

#[test]
fn values_that_need_themselves() {
    let (one, _) = compare("let a = b + 1; b = a + 1; in [ 1 2 3 (1 + 1) b a (2 + 2) a ]");
    assert!(one.unwrap_err().contains("infinite recursion encountered"));
    // Whoever comes first to x or y: both are at work before one of them needs the other.
    let text = format!(
        "let {SLOW} x = builtins.seq (slow 3000) (y + 1); y = builtins.seq (slow 3000) (z + 1); \
         z = builtins.seq (slow 3000) (x + 1); in [ x y z (slow 10) (slow 20) ]"
    );
    let (cycle, _) = compare(&text);
    assert!(cycle.unwrap_err().contains("infinite recursion encountered"));
    let (imported, _) = seen_in(
        Memory {
            files: [(b"/work/self.nix".to_vec(), b"import ./self.nix".to_vec())].into(),
            ..Memory::default()
        },
        "[ (import ./self.nix) (import ./self.nix) ]",
        4,
    );
    assert!(imported.unwrap_err().contains("infinite recursion encountered"));
}

#[test]
fn the_first_failure_is_the_first_in_order() {
    let text = format!(
        "let {SLOW} in {{ a = slow 5000; b = slow 5000; c = builtins.seq (slow 5000) (throw \"first\"); \
         d = throw \"second\"; e = 1 + \"third\"; f = abort \"fourth\"; }}"
    );
    let (failure, _) = compare(&text);
    assert!(failure.unwrap_err().contains("first"));
    let text = "builtins.genList (i: (builtins.tryEval (if i > 50 then throw \"x\" else i)).success) 100";
    assert!(compare(text).0.unwrap().ends_with("false ]"));
}

#[test]
fn what_is_told_is_told_once_and_in_order() {
    let text = format!(
        "let {SLOW} told = builtins.genList (i: builtins.trace \"line ${{toString i}}\" i) 50; in \
         builtins.genList (i: builtins.seq (slow 100) (builtins.elemAt told (49 - i) + slow 100)) 50"
    );
    let (_, told) = compare(&text);
    assert_eq!(told.len(), 50);
    assert_eq!(told[0], "trace: line 49");
    // A message shows what was not yet evaluated as such.
    let text = format!("let {SLOW} s = {{ a = s + 1; b = slow 10; c = slow 10; }}; in s");
    let _ = compare(&text);
}

#[test]
fn names_have_the_ages_that_they_have_on_one_core() {
    let shown = "builtins.mapAttrs (name: value: builtins.trace name value)";
    let names = "builtins.listToAttrs (builtins.genList (i: { name = \"n${toString i}\"; value = i; }) 200)";
    let item =
        "builtins.attrNames (builtins.fromJSON ''{\"n${toString (i * 37 - i * 37 / 200 * 200)}\": 0}'')";
    let (_, told) = compare(&format!("builtins.genList (i: {item}) 200 ++ [ ({shown} ({names})) ]"));
    assert_eq!(told[1], "trace: n37");
    let files = "builtins.genList (i: import (./. + \"/${toString (i * 7 - i * 7 / 100 * 100)}.nix\")) 100";
    let all = format!("builtins.foldl' (all: one: all // one) {{ }} ({files})");
    let (_, told) = compare(&format!("{files} ++ [ ({shown} ({all})) ]"));
    assert_eq!(told.len(), 201);
    // Which of several missing arguments is told of, and which difference is met first, are matters of age.
    let other = "builtins.seq (builtins.fromJSON ''{\"zz\": 0, \"yy\": 0}'')";
    let _ = compare(&format!("builtins.genList (i: {other} i) 40 ++ [ (({{ yy, zz }}: 1) {{ }}) ]"));
    let equal = "(builtins.tryEval ({ yy = throw \"x\"; zz = 1; } == { yy = 1; zz = 2; })).success";
    let _ = compare(&format!("builtins.genList (i: {other} {equal}) 40"));
}

#[test]
fn deep_recursion_is_an_error_on_every_thread() {
    let deep = "f = n: if n == 0 then 0 else 1 + f (n - 1);";
    let (failure, _) = compare(&format!("let {deep} in builtins.genList (i: f (9000 + i * 200)) 12"));
    assert!(failure.unwrap_err().contains("max-call-depth exceeded"));
    let nested = "nest = n: builtins.foldl' (v: i: [ v ]) 1 (builtins.genList (i: i) n);";
    let text = format!("let {nested} in builtins.genList (i: builtins.length (nest (1000 + i))) 12");
    assert!(compare(&text).0.is_ok());
}

#[test]
fn interruptions_reach_who_waits() {
    let text = format!("let {SLOW} in builtins.genList (i: slow (20000 + i)) 20");
    for patience in [0, 1, 2] {
        let world = Memory { patience: Some(Mutex::new(patience)), ..world() };
        assert!(seen_in(world, &text, 4).0.unwrap_err().contains("interrupted"));
    }
    // What was interrupted can be evaluated.
    let world = Memory { patience: Some(Mutex::new(2)), ..world() };
    let settings = Settings { cores: 4, ..Settings::default() };
    let done = super::evaluate(settings, &world, |worker| {
        let value = worker.evaluate_text(Origin::Text, text.as_bytes(), b"/work").unwrap();
        let force = || worker.with_deep_crew(value, Purpose::Everything, || worker.force_deep(value));
        assert!(force().is_err());
        *world.patience.as_ref().unwrap().lock().unwrap() = u32::MAX;
        force().is_ok()
    });
    assert!(done.unwrap());
}
