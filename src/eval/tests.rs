//! The evaluator with a world in memory.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::error::{Error, Kind};
use super::io::{Addition, ClosureFetch, Dependency, Fetch, FetchedTree, FileKind, Filter, World};
use super::print::Style;
use super::shared::Settings;
use super::sources::Origin;
use crate::model::content_address::{ContentAddress, ContentAddressMethod, ContentReferences};
use crate::model::derivation::DerivationFile;
use crate::model::hash::Hash;
use crate::model::input::Input;
use crate::model::store_path::StoreDir;

/// A result is as small as a value, so that it is handed back in registers.
const _: () = assert!(size_of::<super::interpret::Evaluated<'static>>() == 16);

/// A text and what it refers to.
type StoredText = (Vec<u8>, Vec<Vec<u8>>);

/// A world of a few files, and a store that keeps texts.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) files: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) told: Mutex<Vec<String>>,
    /// Texts of the store and what they refer to, by their paths.
    pub(super) texts: Mutex<BTreeMap<Vec<u8>, StoredText>>,
    /// How often the evaluation may ask whether it shall go on, if that has an end.
    pub(super) patience: Option<Mutex<u32>>,
}

fn absent<T>() -> Result<T, Error> {
    Err(Error::new("this world has none"))
}

impl World for Memory {
    fn store_dir(&self) -> &[u8] {
        b"/nix/store"
    }
    fn current_dir(&self) -> Vec<u8> {
        b"/work".to_vec()
    }
    fn read_file(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        let missing = || Error::new(format!("path '{}' does not exist", String::from_utf8_lossy(path)));
        self.files.get(path).cloned().ok_or_else(missing)
    }
    fn read_dir(&self, _: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, Error> {
        absent()
    }
    fn kind(&self, path: &[u8]) -> Result<Option<FileKind>, Error> {
        Ok(self.files.contains_key(path).then_some(FileKind::Regular))
    }
    fn read_link(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        absent()
    }
    fn variable(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
    fn now(&self) -> Option<i64> {
        None
    }
    fn system(&self) -> Option<Vec<u8>> {
        None
    }
    fn search_path(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        Vec::new()
    }
    fn resolve_entry(&self, _: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(None)
    }
    fn add(&self, _: &Addition<'_>, _: Option<Filter<'_>>) -> Result<Vec<u8>, Error> {
        absent()
    }
    fn add_text(&self, name: &[u8], text: &[u8], references: &[Vec<u8>]) -> Result<Vec<u8>, Error> {
        let dir = StoreDir::default();
        let parsed = |path: &Vec<u8>| dir.parse(&String::from_utf8_lossy(path)).unwrap();
        let references_of =
            ContentReferences { others: references.iter().map(parsed).collect(), itself: false };
        let ca = ContentAddress { method: ContentAddressMethod::Text, hash: Hash::sha256(text) };
        let path = dir.content_path(&String::from_utf8_lossy(name), &ca, &references_of);
        let path = dir.print(&path.map_err(|error| Error::new(error.to_string()))?).into_bytes();
        self.texts.lock().unwrap().insert(path.clone(), (text.to_vec(), references.to_vec()));
        Ok(path)
    }
    fn add_derivation(&self, new: DerivationFile) -> Result<(), Error> {
        let dir = StoreDir::default();
        let references = new.references.iter().map(|path| dir.print(path).into_bytes()).collect();
        self.texts.lock().unwrap().insert(dir.print(&new.path).into_bytes(), (new.text, references));
        Ok(())
    }
    fn read_derivation(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        self.texts.lock().unwrap().get(path).map_or_else(absent, |(text, _)| Ok(text.clone()))
    }
    fn references(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        self.texts.lock().unwrap().get(path).map_or_else(absent, |(_, references)| Ok(references.clone()))
    }
    fn realise(&self, _: &[Dependency]) -> Result<(), Error> {
        Ok(())
    }
    fn fetch(&self, _: &Fetch) -> Result<Vec<u8>, Error> {
        absent()
    }
    fn fetch_tree(&self, _: &Input) -> Result<FetchedTree, Error> {
        absent()
    }

    fn fetch_closure(&self, _: &ClosureFetch) -> Result<Vec<u8>, Error> {
        absent()
    }
    fn go_on(&self) -> Result<(), Error> {
        let Some(patience) = &self.patience else { return Ok(()) };
        let mut left = patience.lock().unwrap();
        *left = left.checked_sub(1).ok_or_else(|| Error::of(Kind::Interrupted, "interrupted"))?;
        Ok(())
    }
    fn tell(&self, text: &str) {
        self.told.lock().unwrap().push(text.to_owned());
    }
}

pub(super) fn evaluate_in(world: &Memory, text: &str) -> Result<String, String> {
    evaluate_with(Settings::default(), world, text)
}

pub(super) fn evaluate_with(settings: Settings, world: &Memory, text: &str) -> Result<String, String> {
    super::evaluate(settings, world, |worker| {
        let value = worker
            .evaluate_text(Origin::Text, text.as_bytes(), b"/work")
            .and_then(|value| worker.force_deep(value))
            .and_then(|value| worker.print(value, Style::Instantiate));
        match value {
            Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    })
    .unwrap()
}

pub(super) fn evaluate(text: &str) -> Result<String, String> {
    evaluate_in(&Memory::default(), text)
}

#[test]
fn values_are_what_the_language_says() {
    let cases = [
        ("let fib = n: if n < 2 then n else fib (n - 1) + fib (n - 2); in fib 15", "610"),
        ("let f = a: b: c: [ a b c ]; g = f 1 2; in [ (g 3) (f 4 5 6) ]", "[ [ 1 2 3 ] [ 4 5 6 ] ]"),
        ("({ a, b ? a, ... }@all: [ a b (all ? c) ]) { a = 1; c = 2; }", "[ 1 1 true ]"),
        ("rec { b = a; a = 1; }", "{ a = 1; b = 1; }"),
        ("with { a = 1; b = 2; }; with { b = 3; }; [ a b ]", "[ 1 3 ]"),
        ("let x.a = 1; in { inherit (x) a; b = x.c or 2; }", "{ a = 1; b = 2; }"),
        ("{ ${\"a\" + \"b\"} = 1; ${null} = 2; }", "{ ab = 1; }"),
        ("builtins.sort builtins.lessThan [ 3 1 2 ]", "[ 1 2 3 ]"),
        ("rec { __overrides = { a = 2; }; a = 1; b = a; }.b", "2"),
    ];
    for (text, expected) in cases {
        assert_eq!(evaluate(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn an_update_in_a_loop_keeps_the_last_value_of_each_name() {
    let text = "builtins.foldl' (set: n: set // (if n < 40 then { a = n; } else { b = n; })) \
                { c0 = 0; c1 = 1; c2 = 2; c3 = 3; c4 = 4; c5 = 5; c6 = 6; c7 = 7; c8 = 8; c9 = 9; } \
                (builtins.genList (n: n) 80)";
    let value = evaluate(text).unwrap();
    assert!(value.starts_with("{ a = 39; b = 79; c0 = 0;"), "{value}");
}

#[test]
fn calls_take_back_only_what_nothing_refers_to() {
    // Closures and thunks that a call leaves behind keep its variables.
    let text = "let keep = a: b: { sum = a + b; get = c: a; }; all = map (n: keep n (n + 1)) [ 1 2 3 ]; \
                noise = builtins.foldl' (a: b: a + b) 0 (builtins.genList (n: n) 1000); \
                in [ noise (map (k: k.sum) all) (map (k: k.get 0) all) ]";
    assert_eq!(evaluate(text).as_deref(), Ok("[ 499500 [ 3 5 7 ] [ 1 2 3 ] ]"));
}

#[test]
fn functions_of_several_arguments_share_a_scope() {
    let cases = [
        // What is called with less keeps what it has, for each further call anew.
        (
            "let f = a: b: c: [ a b c ]; g = f 1; h = g 2; in [ (h 3) (h 4) (g 5 6) (f 7 8 9) ]",
            "[ [ 1 2 3 ] [ 1 2 4 ] [ 1 5 6 ] [ 7 8 9 ] ]",
        ),
        // The innermost of a name counts.
        ("(a: b: a: [ a b ]) 1 2 3", "[ 3 2 ]"),
        ("(x: y: { x, z ? [ x y ] }@all: [ x y z all ]) 1 2 { x = 3; }", "[ 3 2 [ 3 2 ] { x = 3; } ]"),
        ("(a: { b, c ? a }: d: [ a b c d ]) 1 { b = 2; } 3", "[ 1 2 1 3 ]"),
        (
            "let f = a: { b }: c: d: [ a b c d ]; g = f 1 { b = 2; } 3; in map g [ 4 5 ]",
            "[ [ 1 2 3 4 ] [ 1 2 3 5 ] ]",
        ),
        ("builtins.functionArgs ((a: b: { c, d ? 1 }: 1) 1 2)", "{ c = false; d = true; }"),
        ("(a: b: c: d: e: f: g: h: i: j: [ a j ]) 1 2 3 4 5 6 7 8 9 10", "[ 1 10 ]"),
        ("({ a ? 1, b ? null, c ? a, d ? x: x }: [ a b c ]) { }", "[ 1 null 1 ]"),
    ];
    for (text, expected) in cases {
        assert_eq!(evaluate(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn scopes_of_many_names() {
    let names: Vec<usize> = (0..1000).collect();
    let set: String = names.iter().map(|name| format!("n{name} = {name};")).collect();
    assert_eq!(
        evaluate(&format!("let {set} f = x: n999 + x; in [ n0 n254 n255 (f 1) ]")),
        Ok("[ 0 254 255 1000 ]".to_owned())
    );
    let formals: Vec<String> = names.iter().map(|name| format!("n{name}")).collect();
    let text = format!("(a: {{ {} }}: b: [ a n0 n255 n999 b ]) true {{ {set} }} false", formals.join(", "));
    assert_eq!(evaluate(&text), Ok("[ true 0 255 999 false ]".to_owned()));
}

#[test]
fn a_set_that_grows_is_not_copied_each_time() {
    let text = "let names = builtins.genList toString 4000; \
                grown = builtins.foldl' (set: n: set // { ${n} = n; ${\"x\" + n} = n; }) { a = 1; } (names ++ names); \
                in [ (builtins.length (builtins.attrNames grown)) (grown ? x17) (grown ? y) grown.\"3999\" grown.x0 \
                (builtins.all (n: grown.${n} == n && grown.${\"x\" + n} == n) names) ]";
    super::evaluate(Settings::default(), &Memory::default(), |worker| {
        let value = worker.evaluate_text(Origin::Text, text.as_bytes(), b"/work").unwrap();
        let value = worker.force_deep(value).unwrap();
        let printed = worker.print(value, Style::Instantiate).unwrap();
        assert_eq!(String::from_utf8_lossy(&printed), r#"[ 8001 true false "3999" "0" true ]"#);
        // Copies alone would take more than 700 MB.
        assert!(worker.shared.arena.size() < 40_000_000, "{}", worker.shared.arena.size());
    })
    .unwrap();
}

#[test]
fn failures_are_kept_and_effects_happen_once() {
    let world = Memory::default();
    let text =
        "let x = builtins.trace \"once\" (throw \"no\"); in [ (builtins.tryEval x) (builtins.tryEval x) ]";
    let failed = "{ success = false; value = false; }";
    assert_eq!(evaluate_in(&world, text), Ok(format!("[ {failed} {failed} ]")));
    assert_eq!(*world.told.lock().unwrap(), ["trace: once"]);
}

#[test]
fn what_never_ends_is_an_error() {
    let depth = "stack overflow; max-call-depth exceeded";
    let cases = [
        ("let x = x; in x", "infinite recursion encountered"),
        ("let f = x: f x; in f 1", depth),
        ("let x = [ x ]; y = [ y ]; in x == y", depth),
        ("rec { a = b; b = a; }.a", "infinite recursion encountered"),
    ];
    for (text, expected) in cases {
        assert_eq!(evaluate(text), Err(expected.to_owned()), "{text}");
    }
    let chain = "let f = n: acc: if n == 0 then acc else f (n - 1) (acc + 1); in f 5000 0";
    assert_eq!(evaluate(chain).as_deref(), Ok("5000"));
}

#[test]
fn files_are_read_once_and_relative_to_themselves() {
    let mut world = Memory::default();
    world.files.insert(b"/work/dir/a.nix".to_vec(), b"[ ./b.nix ../c ]".to_vec());
    let text = "builtins.typeOf ./dir/a.nix";
    assert_eq!(evaluate_in(&world, text).as_deref(), Ok("\"path\""));
    let value = super::evaluate(Settings::default(), &world, |worker| {
        let first = worker.import(b"/work/dir/a.nix").unwrap();
        let again = worker.import(b"/work/dir/a.nix").unwrap();
        assert!(first.same_object(again));
        worker.print(first, Style::Instantiate).unwrap()
    });
    assert_eq!(value.unwrap(), b"[ /work/dir/b.nix /work/c ]");
}

#[test]
fn recursion_without_calls_ends_with_the_stack() {
    let nested = "let nest = n: builtins.foldl' (v: i: [ v ]) 1 (builtins.genList (i: i) n);";
    let settings = || Settings { max_call_depth: u32::MAX - 1, ..Settings::default() };
    for what in ["nest 5000000 == nest 5000000", "builtins.deepSeq (nest 5000000) 1"] {
        let text = format!("{nested} in {what}");
        let told = super::evaluate(settings(), &Memory::default(), |worker| {
            let value = worker.evaluate_text(Origin::Text, text.as_bytes(), b"/work");
            value.and_then(|value| worker.force_deep(value)).map(|_| ()).unwrap_err().to_string()
        });
        assert_eq!(told.unwrap(), "stack overflow (possible infinite recursion)", "{what}");
    }
}

#[test]
fn plain_calls_take_no_memory() {
    let used = |count: usize| {
        let text = format!("builtins.foldl' (a: b: a + b) 0 (builtins.genList (i: 1) {count})");
        super::evaluate(Settings::default(), &Memory::default(), |worker| {
            worker.evaluate_text(Origin::Text, text.as_bytes(), b"/work").unwrap();
            worker.shared.arena.size()
        })
        .unwrap()
    };
    // The list itself takes 64 bytes an element; the two scopes of each call would take 64 more.
    assert!(used(1_000_000) < 100_000_000, "{}", used(1_000_000));
}

/// An interruption is told wherever it comes: also in what is done to tell a difference.
#[test]
fn interruptions() {
    let text = "
        let long = last: builtins.genList (x: [ x ]) 40000 ++ [ last ];
        in assert long 1 == long 2; 3
    ";
    let search =
        "builtins.match \"(a*)*b\" (builtins.concatStringsSep \"\" (builtins.genList (x: \"a\") 100000))";
    for (text, expected) in [
        (text, Err("an integer with value '1' is not equal to an integer with value '2'")),
        (search, Ok("null")),
    ] {
        let with = |patience| {
            let world = Memory { patience: Some(Mutex::new(patience)), ..Memory::default() };
            evaluate_in(&world, text)
        };
        let enough = (0..1000).find(|patience| with(*patience) != Err("interrupted".to_owned())).unwrap();
        assert!(enough > 2, "{enough} questions");
        let done = with(enough);
        assert_eq!(done.as_deref().map_err(String::as_str), expected);
    }
}
