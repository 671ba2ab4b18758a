//! `nix-instantiate --parse` beside the reference.

use crate::common::{Side, World};

#[test]
fn trees_are_printed_as_the_reference_does() {
    let Some(world) = World::with_reference() else { return };
    let texts = [
        "x: x + 1",
        "{ a, b ? 1, ... }@s: a",
        "rec { inherit (x) a b; c.d = 1; c.e = 2; \"f g\" = 3; ${\"h\"} = 4; }",
        "let a = ./b; in x ++ [ a (a b) a.b.c or d ]",
        "''\n  a ${b}\n    c\n''",
        "assert 1 == 2; with { }; if a then -b else !c",
        "x",
        "1 +",
        "{ a = 1; a = 2; }",
        "\"${./a}/b\"",
        "1.5e10 * 2",
    ];
    // Variables that the texts use without defining them.
    let around = |text: &str| format!("a: b: c: d: x: {text}");
    for text in texts.iter().map(|text| around(text)).chain(texts.iter().map(|text| (*text).to_owned())) {
        let [ours, theirs] = [Side::Nival, Side::Reference]
            .map(|side| world.run(side, "nix-instantiate", &["--parse", "-E", &text]));
        assert_eq!((ours.text(), &ours.stderr), (theirs.text(), &theirs.stderr), "{text}");
        assert_eq!(ours.status, theirs.status, "{text}");
    }
}

#[test]
fn files_are_parsed_one_after_the_other() {
    let Some(world) = World::with_reference() else { return };
    world.write("a.nix", "{ x = ./b; }\n");
    world.write("dir/default.nix", "[ ./c ../d ]\n");
    for args in [
        &["--parse", "a.nix", "dir"][..],
        &["--parse", "a.nix", "nosuch", "dir"],
        &["--parse"],
        &["--parse-only", "--eval", "-E", "1"],
    ] {
        let [ours, theirs] =
            [Side::Nival, Side::Reference].map(|side| world.run(side, "nix-instantiate", args));
        assert_eq!((ours.text(), &ours.stderr), (theirs.text(), &theirs.stderr), "{args:?}");
        assert_eq!(ours.status, theirs.status, "{args:?}");
    }
}
