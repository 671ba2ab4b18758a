//! What the builtin functions give, and what their failures say.

use super::super::shared::Settings;
use super::super::sources::Origin;
use super::super::tests::{Memory, evaluate};

/// The failure of an expression as users see it with `--show-trace`, without places.
fn traced(text: &str) -> String {
    let world = Memory::default();
    super::super::evaluate(Settings::default(), &world, |worker| {
        let value = worker
            .evaluate_text(Origin::Text, text.as_bytes(), b"/work")
            .and_then(|value| worker.force_deep(value));
        let report = value.map_or_else(|error| worker.shared.report(&error, true), |_| String::new());
        let kept = |line: &&str| !line.is_empty() && !line.contains("| ") && !line.contains("at «string»");
        report.lines().filter(kept).map(str::trim_start).collect::<Vec<_>>().join("\n")
    })
    .unwrap()
}

#[test]
fn calls_have_room_for_the_arguments_of_all_builtins() {
    let most = super::FAMILIES.iter().copied().flatten().map(|builtin| builtin.arity).max();
    assert!(most <= Some(super::super::call::MOST_ARGUMENTS), "{most:?}");
}

#[test]
fn strings() {
    let cases = [
        ("toString [ 1 [ ] 2 [ [ ] ] true null ./a 1.5 ]", "\"1 2  1  /work/a 1.500000\""),
        ("builtins.substring 1 (-1) \"abc\" + builtins.substring 9 1 \"abc\"", "\"bc\""),
        ("builtins.replaceStrings [ \"\" \"a\" ] [ \"_\" \"c\" ] \"abca\"", "\"_a_b_c_a_\""),
        ("builtins.replaceStrings [ \"a\" \"\" ] [ \"1\" \"2\" ] \"ab\"", "\"12b2\""),
        ("builtins.replaceStrings [ \"\" ] [ \"X\" ] \"\"", "\"X\""),
        ("builtins.replaceStrings [ \"a\" \"b\" ] [ (throw \"x\") \"2\" ] \"b\"", "\"2\""),
        ("builtins.concatStringsSep \",\" [ \"a\" { outPath = \"b\"; } ]", "\"a,b\""),
        ("builtins.parseDrvName \"a-b-1.2\"", "{ name = \"a-b\"; version = \"1.2\"; }"),
        ("builtins.splitVersion \"1.2-rc3\"", "[ \"1\" \"2\" \"rc\" \"3\" ]"),
        ("builtins.compareVersions \"1.0pre\" \"1.0\"", "-1"),
        (
            "[ (baseNameOf \"/a/b/\") (dirOf \"/a/b/\") (dirOf ./a) (builtins.toPath \"/a/../b//c\") ]",
            "[ \"b\" \"/a/b\" /work \"/b/c\" ]",
        ),
        ("placeholder \"out\"", "\"/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9\""),
        ("builtins.hashString \"md5\" \"\"", "\"d41d8cd98f00b204e9800998ecf8427e\""),
        (
            "builtins.convertHash { hash = \"md5:d41d8cd98f00b204e9800998ecf8427e\"; toHashFormat = \"sri\"; }",
            "\"md5-1B2M2Y8AsgTpgAmY7PhCfg==\"",
        ),
        ("builtins.getEnv \"NOT_SET\"", "\"\""),
    ];
    for (text, expected) in cases {
        assert_eq!(evaluate(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn other_notations() {
    let cases = [
        (r#"builtins.match "((a)|(b))*" "ab""#, r#"[ "b" "a" "b" ]"#),
        (r#"builtins.split "(a)|b" "xaxbx""#, r#"[ "x" [ "a" ] "x" [ null ] "x" ]"#),
        (
            r#"builtins.toJSON { b = [ 1.0 null ]; a = { outPath = [ 1 ]; }; }"#,
            r#""{\"a\":[1],\"b\":[1.0,null]}""#,
        ),
        (r#"builtins.fromJSON ''{"a":1,"a":2}''"#, "{ a = 2; }"),
        (
            "builtins.toXML [ null ]",
            r#""<?xml version='1.0' encoding='utf-8'?>\n<expr>\n  <list>\n    <null />\n  </list>\n</expr>\n""#,
        ),
        (r#"fromTOML "a.b = [ 1 ]""#, "{ a = { b = [ 1 ]; }; }"),
    ];
    for (text, expected) in cases {
        assert_eq!(evaluate(text).as_deref(), Ok(expected), "{text}");
    }
    let failures = [
        ("builtins.toJSON { a = builtins.add; }", "cannot convert the built-in function 'add' to JSON"),
        (r#"builtins.match "(" "a""#, "invalid regular expression '('"),
        (
            r#"builtins.toJSON (builtins.substring 0 1 "é")"#,
            "JSON serialization error: [json.exception.type_error.316] incomplete UTF-8 string; last byte: 0xC3",
        ),
        (r#"fromTOML "a = 12:00:00""#, "while parsing TOML: Dates and times are not supported"),
    ];
    for (text, expected) in failures {
        assert_eq!(evaluate(text), Err(expected.to_owned()), "{text}");
    }
}

#[test]
fn a_set_has_a_place_as_an_operand() {
    let world = Memory::default();
    let place = super::super::evaluate(Settings::default(), &world, |worker| {
        let error = worker.evaluate_text(Origin::Text, b"!{ }", b"/work").err().unwrap();
        worker.shared.place_text(error.failure().position)
    });
    assert_eq!(place.unwrap(), "«string»:1:2");
}

#[test]
fn frames() {
    let of_string = "while evaluating the first argument passed to builtins.toString";
    let cases = [
        // A value that cannot be evaluated has no frame where a list or set is wanted.
        ("builtins.length (throw \"x\")", vec!["while calling the 'length' builtin"], "x"),
        (
            "builtins.length 1",
            vec![
                "while calling the 'length' builtin",
                "while evaluating the first argument passed to builtins.length",
            ],
            "expected a list but found an integer: 1",
        ),
        (
            "toString [ (x: x) ]",
            vec![
                "while calling the 'toString' builtin",
                of_string,
                "while evaluating one element of the list",
            ],
            "cannot coerce a function to a string: «lambda @ «string»:1:13»",
        ),
        (
            "toString [ (throw \"x\") ]",
            vec!["while calling the 'toString' builtin", of_string, "while calling the 'throw' builtin"],
            "x",
        ),
        (
            "{ } * 1.0",
            vec!["while calling the 'mul' builtin", "while evaluating the first of the multiplication"],
            "expected a float but found a set: { }",
        ),
        (
            "let s = { a = { }; }; in s.a.b or (throw \"x\")",
            vec!["while evaluating the attribute 'a.b'", "while calling the 'throw' builtin"],
            "x",
        ),
    ];
    for (text, frames, message) in cases {
        let report = traced(text);
        let mut told: Vec<&str> = report.lines().filter_map(|line| line.strip_prefix("… ")).collect();
        // A `throw` tells of itself, too.
        if message == "x" && told.len() > frames.len() {
            assert_eq!(told.pop(), Some("while calling the 'throw' builtin"), "{text}");
        }
        assert_eq!(told, frames, "{text}");
        assert!(report.ends_with(&format!("error: {message}")), "{report}");
    }
}
