//! Texts beside what the reference makes of them.

use super::super::sources::line_starts;
use super::super::symbols::Symbols;
use super::{ParseOptions, SyntaxError, parse, print};

mod depth;
mod errors;
mod rules;
mod trees;

fn options() -> ParseOptions {
    ParseOptions { base: b"/b/p/w".to_vec(), home: Some(b"/b/p/home".to_vec()), ..ParseOptions::default() }
}

/// The tree of a text as `--parse` prints it, or the message and place of its error.
fn printed(text: &[u8], options: &ParseOptions) -> String {
    let symbols = Symbols::new();
    match parse(text, &symbols, options) {
        Ok(tree) => {
            let mut out = Vec::new();
            print::print(&tree, &symbols, tree.root, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        }
        Err(SyntaxError { offset, message, other, .. }) => {
            let place = |offset: u32| {
                let starts = line_starts(text);
                let line = starts.partition_point(|start| *start <= offset);
                let column = offset - starts[line - 1] + 1;
                format!("{line}:{column}")
            };
            let other = other.map(place).unwrap_or_default();
            format!("{}: {message}{other}", place(offset))
        }
    }
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(printed(text.as_bytes(), &options()), *expected, "{text}");
    }
}
