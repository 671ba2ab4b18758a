//! What a line asks for.

use crate::cli::error::Usage;
use crate::cli::evaluation::Stopped;

/// What can be asked for beside evaluating.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    Add,
    Build,
    Document,
    Edit,
    Flake,
    Help,
    Install,
    Last,
    Link,
    Load,
    Log,
    Print,
    Quit,
    Reload,
    Shell,
    Traces,
    Type,
    Use,
}

/// A command: its names, what follows it, what it does.
pub struct Row {
    pub names: &'static [&'static str],
    pub word: Word,
    takes: &'static str,
    about: &'static str,
}

const fn row(names: &'static [&'static str], word: Word, takes: &'static str, about: &'static str) -> Row {
    Row { names, word, takes, about }
}

/// The commands, as the help lists them.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    row(&[":?", ":help"], Word::Help, "", "Lists the commands"),
    row(&[":a", ":add"], Word::Add, "EXPRESSION", "Takes the attributes of a set for variables"),
    row(&[":b"], Word::Build, "EXPRESSION", "Makes the outputs of a derivation valid"),
    row(&[":bl"], Word::Link, "EXPRESSION", "Builds and links the outputs here; not available yet"),
    row(&[":doc"], Word::Document, "EXPRESSION", "Tells what a builtin function does, or where a function is"),
    row(&[":e", ":edit"], Word::Edit, "EXPRESSION", "Opens where a package or function is defined in $EDITOR"),
    row(&[":i"], Word::Install, "EXPRESSION", "Installs a derivation; not available yet"),
    row(&[":l", ":load"], Word::Load, "FILE", "Takes the attributes of a file's expression for variables"),
    row(&[":lf", ":load-flake"], Word::Flake, "FLAKE", "Loads a flake; not available yet"),
    row(&[":ll", ":last-loaded"], Word::Last, "", "Lists the variables that were loaded last"),
    row(&[":log"], Word::Log, "EXPRESSION", "Shows the log of a derivation's build"),
    row(&[":p", ":print"], Word::Print, "EXPRESSION", "Shows everything in a value; a text as it is"),
    row(&[":q", ":quit"], Word::Quit, "", "Ends the conversation, as Ctrl-D does"),
    row(&[":r", ":reload"], Word::Reload, "", "Reads all files again that were loaded"),
    row(&[":sh"], Word::Shell, "EXPRESSION", "Starts a shell to build a derivation; not available yet"),
    row(&[":t"], Word::Type, "EXPRESSION", "Shows the type of a value"),
    row(&[":te", ":trace-enable"], Word::Traces, "[true|false]", "Shows whole traces, or not"),
    row(&[":u"], Word::Use, "EXPRESSION", "Starts a shell with a derivation; not available yet"),
];

/// A line that was understood.
#[derive(PartialEq, Eq, Debug)]
pub enum Line<'t> {
    /// A blank line.
    Nothing,
    /// An expression or bindings.
    Evaluate(&'t str),
    /// A command and what follows it.
    Command(Word, &'t str),
}

/// Understands a line.
///
/// # Errors
/// A command that is none.
pub fn read(text: &str) -> Result<Line<'_>, Stopped> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Ok(Line::Nothing);
    }
    if !trimmed.starts_with(':') {
        return Ok(Line::Evaluate(text.trim_end()));
    }
    let (name, rest) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
    match TABLE.iter().find(|row| row.names.contains(&name)) {
        Some(row) => Ok(Line::Command(row.word, rest.trim())),
        None => {
            let hint = "; :? lists those there are";
            Err(Stopped::Other(Usage(format!("unknown command '{name}'{hint}")).into()))
        }
    }
}

/// The commands with what they do, a line each.
pub fn help() -> String {
    let mut text = String::from(
        "An expression is evaluated, and its value is shown. NAME = EXPRESSION makes a variable; several \
         are separated by ;.\n\n",
    );
    for row in TABLE {
        let names = row.names.join(", ");
        text.push_str(&format!("  {:<32} {}\n", format!("{names} {}", row.takes), row.about));
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for (text, line) in [
            ("", Line::Nothing),
            (" \n", Line::Nothing),
            (" 1 +\n2\n", Line::Evaluate(" 1 +\n2")),
            (":p 1\n", Line::Command(Word::Print, "1")),
            (" :print  {\n}\n", Line::Command(Word::Print, "{\n}")),
            (":q", Line::Command(Word::Quit, "")),
        ] {
            assert_eq!(read(text).ok().unwrap(), line, "{text}");
        }
        assert!(read(":x").is_err() && read(":").is_err());
    }

    #[test]
    fn names_are_different() {
        let mut names: Vec<&str> = TABLE.iter().flat_map(|row| row.names).copied().collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
