//! Texts of the language: read or refused, and what surrounds a text changes nothing
//! about its tree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nival::eval::symbols::Symbols;
use nival::eval::syntax::{self, Lint, ParseOptions, print};

fn options() -> ParseOptions {
    ParseOptions {
        base: b"/work".to_vec(),
        home: Some(b"/home".to_vec()),
        pipe_operators: true,
        url_literals: Lint::Ignore,
        short_path_literals: Lint::Warn,
        absolute_path_literals: Lint::Ignore,
    }
}

/// The printed tree of a text, or where the text is wrong.
fn tree(text: &[u8]) -> Result<Vec<u8>, u32> {
    let symbols = Symbols::new();
    let tree = syntax::parse(text, &symbols, &options()).map_err(|error| {
        assert!(!error.message.is_empty());
        error.offset
    })?;
    assert!(tree.offsets.iter().all(|offset| *offset as usize <= text.len()));
    let mut out = Vec::new();
    print::print(&tree, &symbols, tree.root, &mut out);
    Ok(out)
}

fuzz_target!(|data: &[u8]| {
    let read = tree(data);
    if let Err(offset) = read {
        assert!(offset as usize <= data.len());
    }
    // A NUL ends a text.
    if data.contains(&0) {
        return;
    }
    let Ok(read) = read else { return };
    for (before, after) in [("(", "\n)"), (" /* a */\n# b\r", "\n# c"), ("\t", "\n\t")] {
        let around = [before.as_bytes(), data, after.as_bytes()].concat();
        let again = tree(&around).map(|tree| tree.escape_ascii().to_string());
        assert_eq!(again, Ok(read.escape_ascii().to_string()), "{before}…{after}");
    }
});
