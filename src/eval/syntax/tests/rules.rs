//! Options, warnings, the age of names, places of names.

use super::super::super::symbols::Symbols;
use super::super::tree::{Bound, Node, Tree};
use super::super::{Lint, ParseOptions, parse};
use super::{options, printed};

fn tree(text: &str, options: &ParseOptions) -> Tree {
    match parse(text.as_bytes(), &Symbols::new(), options) {
        Ok(tree) => tree,
        Err(error) => panic!("{text}: {error}"),
    }
}

#[test]
fn pipes_need_a_feature() {
    let with = ParseOptions { pipe_operators: true, ..options() };
    for (text, expected) in [
        ("a |> b |> c", "(c (b a))"),
        ("a <| b <| c", "(a (b c))"),
        ("a |> b c |> d", "(d (b c a))"),
        ("a -> b |> c", "(c (a -> b))"),
        ("a |> b <| c", "1:8: syntax error, unexpected '<|', expecting end of file"),
        ("a <| b |> c", "1:8: syntax error, unexpected '|>', expecting end of file"),
    ] {
        assert_eq!(printed(text.as_bytes(), &with), expected);
        assert!(printed(text.as_bytes(), &options()).contains(": experimental Nix feature 'pipe-operators'"));
    }
}

#[test]
fn home_paths_need_a_home() {
    let pure = ParseOptions { home: None, ..options() };
    assert_eq!(printed(b"~/x", &pure), "1:1: the path '~/x' can not be resolved in pure mode");
}

#[test]
fn lints_warn_or_fail() {
    let all = |lint| ParseOptions {
        url_literals: lint,
        short_path_literals: lint,
        absolute_path_literals: lint,
        ..options()
    };
    let warned = tree("[ http://x a/b /c ~/d ./e ../f .g/h ]", &all(Lint::Warn));
    let places: Vec<u32> = warned.lints.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [2, 11, 15, 18]);
    assert_eq!(
        printed(b"[ a/b ]", &all(Lint::Fatal)),
        "1:3: relative path literal 'a/b' should be prefixed with '.' for clarity: './a/b' (lint-short-path-literals)"
    );
    assert!(tree("[ http://x a/b /c ~/d ]", &options()).lints.is_empty());
}

#[test]
fn or_as_a_name_is_warned_of_with_its_source() {
    let tree = tree("[ {a=1;} or\n(b or) ]", &options());
    assert_eq!(tree.warnings.len(), 1);
    assert_eq!(tree.warnings[0].0, 2);
    assert!(tree.warnings[0].1.contains("current meaning:\n    ({a=1;} or)\nGive"), "{}", tree.warnings[0].1);
}

/// A name is made when its part of the text is complete: that of an argument after those of the body.
#[test]
fn names_age_in_the_order_of_completion() {
    for (text, older, younger) in [
        ("zz: aa: 1", "aa", "zz"),
        ("{ zz }: aa: 1", "zz", "aa"),
        ("{ zz ? q: ww: 2 }: 1", "ww", "zz"),
        ("{ zz = ww: 1; }", "zz", "ww"),
        ("{ vv }@zz: aa: 1", "aa", "zz"),
    ] {
        let symbols = Symbols::new();
        assert!(parse(text.as_bytes(), &symbols, &options()).is_ok());
        assert!(symbols.intern(older.as_bytes()) < symbols.intern(younger.as_bytes()), "{text}");
    }
}

#[test]
fn names_have_their_places() {
    let text = "{ a.b = 1; ${c}.d = 2; inherit e; inherit (f) g; a.${h} = 3; }";
    let tree = tree(text, &options());
    let Node::Set(set) = tree.node(tree.root) else { panic!("no set") };
    let places: Vec<u32> = tree.set(set).bindings.iter().map(|binding| binding.offset).collect();
    assert_eq!(places, [2, 31, 46]);
    assert_eq!(tree.set(set).dynamic[0].offset, 11);
    let Bound::Value(inner) = tree.set(set).bindings[0].value else { panic!("no value") };
    let Node::Set(inner) = tree.node(inner) else { panic!("no set") };
    assert_eq!(tree.set(inner).dynamic[0].offset, 49);
}
