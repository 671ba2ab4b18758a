//! Texts that are deep or long.

use super::{options, printed};

/// How deep: a parser that recursed would need many megabytes of stack.
const DEEP: usize = 30_000;

fn nested(open: &str, inside: &str, close: &str) -> String {
    [&open.repeat(DEEP), inside, &close.repeat(DEEP)].concat()
}

#[test]
fn depth_costs_no_stack() {
    for (open, inside, close) in [
        ("(", "1", ")"),
        ("[", "", "]"),
        ("- ", "1", ""),
        ("! ", "1", ""),
        ("let a = ", "1", "; in a"),
        ("a: ", "1", ""),
        ("\"${", "1", "}\""),
        ("''${", "1", "}''"),
        ("{ a = ", "1", "; }"),
        ("if ", "1", " then 2 else 3"),
        ("if 1 then 2 else ", "3", ""),
        ("with 1; ", "1", ""),
        ("{ a ? ", "1", " }: 1"),
        ("a ++ ", "a", ""),
        ("", "1", " + 1"),
        ("(", "1", " 2)"),
        ("(", "1", " [ 2 ])"),
        ("", "a", ".a"),
        ("./a${1}/b + ", "1", ""),
    ] {
        let text = nested(open, inside, close);
        assert!(
            printed(text.as_bytes(), &options()).ends_with(['1', '3', 'a', '}', ')', ']', '"']),
            "{open}"
        );
    }
}

#[test]
fn depth_without_an_end_is_an_error() {
    for open in ["(", "[", "\"${", "''${", "{ a = ", "a: ", "./a${", "if ", "let a = "] {
        let message = printed(open.repeat(DEEP).as_bytes(), &options());
        assert!(message.contains("syntax error, unexpected end of file"), "{open}: {message}");
    }
}

#[test]
fn deep_sets_are_merged() {
    let text = format!("{{ x = {0}; x = {0}; }}", nested("{ a = ", "{ }", "; }"));
    assert!(printed(text.as_bytes(), &options()).starts_with("{ x = { a = { a = "));
    let text = format!("{{ x = {}; x = {}; }}", nested("{ a = ", "{ }", "; }"), nested("{ a = ", "1", "; }"));
    assert!(printed(text.as_bytes(), &options()).contains("already defined at 1:"));
}

/// Tokens that need a look far ahead must not take time that grows with the square of the text.
#[test]
fn long_texts_take_linear_time() {
    for part in ["/* ", "a_.a.", "<a", "a.a.", "+a.", "''$", "'''", "a:", "~/a", "-a"] {
        printed(part.repeat(DEEP).as_bytes(), &options());
    }
    let names: String = (0..DEEP).map(|number| format!("a{number} = 1; ")).collect();
    let text = format!("{{ {names}a{} = 2; }}", DEEP - 1);
    assert!(printed(text.as_bytes(), &options()).contains("attribute 'a29999' already defined"));
}
