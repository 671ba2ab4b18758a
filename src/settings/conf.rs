//! The grammar of nix.conf, without any I/O.
//!
//! ```text
//! file  = { line }, separated by newlines
//! line  = [ entry ] [ "#" comment ]
//! entry = NAME "=" { WORD } | "include" FILE | "!include" FILE
//! ```
//! Words are separated by spaces, tabs and carriage returns, and the `=` is a word of its own. A
//! value is its words joined by one blank. There is neither quoting nor continuation of lines.
//!
//! Observed with Nix 2.34.8. One difference: for an `include` with more or fewer than one word the
//! reference prints an internal failure (`boost::bad_format_string`) or a syntax error; here it is
//! always the syntax error.

use super::value::words;

/// One meaningful line of a configuration text. Lines are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `NAME = VALUE`.
    Assignment {
        /// The setting, which need not exist.
        name: String,
        /// The words after the `=`.
        value: String,
        /// Where it stands.
        line: usize,
    },
    /// Another file, as written. Without `required` (`!include`) it may be missing.
    Include {
        /// The name, relative to the including file.
        file: String,
        /// Whether a missing file is an error.
        required: bool,
        /// Where it stands.
        line: usize,
    },
}

/// A line that is no entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in configuration line '{text}' in \"{origin}\"\n       at line {line}")]
#[non_exhaustive]
pub struct SyntaxError {
    /// The line as written, without its comment.
    pub text: String,
    /// The file, or NIX_CONFIG.
    pub origin: String,
    /// Its number.
    pub line: usize,
}

/// Parses a configuration text; `origin` is only used in the error.
///
/// The result never has more entries than the text has lines. All text is accepted that follows
/// the grammar, whether or not such settings exist.
pub fn parse(text: &str, origin: &str) -> Result<Vec<Entry>, SyntaxError> {
    let mut entries = Vec::new();
    for (index, raw) in text.split('\n').enumerate() {
        let line = index + 1;
        let content = raw.split_once('#').map_or(raw, |(content, _)| content);
        let tokens: Vec<&str> = words(content).collect();
        match tokens.as_slice() {
            [] => {}
            [directive @ ("include" | "!include"), file] => entries.push(Entry::Include {
                file: (*file).to_owned(),
                required: *directive == "include",
                line,
            }),
            // `include = x` is no assignment: there is no such setting, and there never may be.
            [name, "=", value @ ..] if !matches!(*name, "include" | "!include") => {
                entries.push(Entry::Assignment { name: (*name).to_owned(), value: value.join(" "), line });
            }
            _ => {
                return Err(SyntaxError { text: content.to_owned(), origin: origin.to_owned(), line });
            }
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The only entry of a text, as `name=value`; or the text of the faulty line.
    fn one(text: &str) -> Result<String, String> {
        let entries = parse(text, "F").map_err(|error| error.text)?;
        match entries.as_slice() {
            [] => Ok(String::new()),
            [Entry::Assignment { name, value, .. }] => Ok(format!("{name}={value}")),
            [Entry::Include { file, required, .. }] => Ok(format!("include {file} {required}")),
            _ => Err("several".to_owned()),
        }
    }

    #[test]
    fn assignments() {
        for text in ["cores = 3", "\tcores\t=  3\r\n", "cores = 3 # x", "cores = 3#x"] {
            assert_eq!(one(text), Ok("cores=3".to_owned()));
        }
        assert_eq!(one("a = b  c\td"), Ok("a=b c d".to_owned()));
        assert_eq!(one("a ="), Ok("a=".to_owned()));
        assert_eq!(one("a = = 3"), Ok("a== 3".to_owned()));
        assert_eq!(one("# cores = 3"), Ok(String::new()));
        assert_eq!(one("a = x\u{b}y\u{a0}z"), Ok("a=x\u{b}y\u{a0}z".to_owned()));
    }

    #[test]
    fn includes() {
        assert_eq!(one("include a"), Ok("include a true".to_owned()));
        assert_eq!(one("  !include a"), Ok("include a false".to_owned()));
    }

    #[test]
    fn faulty_lines() {
        let faulty = [
            "cores",
            "cores=3",
            "cores =3",
            "cores= 3",
            "= 3",
            "=",
            "cores == 3",
            "a b",
            "a b c d",
            "include",
            "!include",
            "include a b",
            "include = 3",
            "\0",
            "\u{feff}",
        ];
        for text in faulty {
            assert_eq!(one(text), Err(text.to_owned()));
        }
        assert_eq!(one("  cores 3 # hi"), Err("  cores 3 ".to_owned()));
        let error = parse("a = 1\n\nb", "/etc/nix/nix.conf").expect_err("faulty");
        assert_eq!(error.line, 3);
        assert_eq!(
            error.to_string(),
            "syntax error in configuration line 'b' in \"/etc/nix/nix.conf\"\n       at line 3"
        );
    }

    #[test]
    fn any_text_is_parsed_or_refused() {
        // Every pair of interesting characters, in the middle of a line and at its ends.
        let characters = ['\0', '\n', '\r', '\t', ' ', '#', '=', '!', 'é', '\u{2028}', 'a'];
        for first in characters {
            for second in characters {
                let _ = parse(&format!("{first}{second}"), "F");
                let _ = parse(&format!("a {first}{second} b"), "F");
                let _ = parse(&format!("include {first}{second}"), "F");
            }
        }
    }
}
