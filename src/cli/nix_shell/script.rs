//! Scripts that name their environment: the first line is `#! /usr/bin/env nix-shell`, and others
//! give more words.
//!
//! ```text
//! script = "#!" anything NL { line }
//! line   = "#!" [blanks] "nix-shell" blank words NL | anything NL
//! ```

use std::ffi::{OsStr, OsString};
use std::io::{BufReader, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use nival::model::shell::{quote, split};
use nival::sys::PathError;

/// Bytes of a script in which words are looked for: nobody writes more of them.
const MOST: u64 = 16 << 20;

/// A script that is to be run.
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    /// Its file, as it was called.
    pub file: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl Script {
    /// The directory that the names of files in it are relative to.
    pub fn directory(&self) -> &Path {
        match self.file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    /// What the shell does to run it, with an interpreter that may have arguments.
    pub fn command(&self, interpreter: &OsStr) -> Vec<u8> {
        let mut command = b"exec ".to_vec();
        command.extend_from_slice(interpreter.as_bytes());
        if interpreter.as_bytes().windows(4).any(|part| part == b"ruby") {
            // Ruby looks at the first line, too, and would not know what to do with it.
            command.extend_from_slice(b" -e 'load(ARGV.shift)' --");
        }
        for word in
            std::iter::once(self.file.as_os_str()).chain(self.arguments.iter().map(OsString::as_os_str))
        {
            command.push(b' ');
            command.extend_from_slice(&quote(word.as_bytes()));
        }
        command
    }
}

/// The words that a command line stands for, and the script that it runs, if the first one is one.
///
/// # Errors
/// A script that cannot be read.
pub fn unfold(words: Vec<OsString>) -> anyhow::Result<(Vec<OsString>, Option<Script>)> {
    let Some(first) = words.first() else { return Ok((words, None)) };
    let file = PathBuf::from(first);
    let is_file = std::fs::metadata(&file).is_ok_and(|meta| meta.is_file());
    if !is_file {
        return Ok((words, None));
    }
    let opened = std::fs::File::open(&file).map_err(PathError::at("opening file", &file))?;
    let found = words_of(BufReader::new(opened.take(MOST)));
    let Some(found) = found.map_err(PathError::at("reading file", &file))? else { return Ok((words, None)) };
    let arguments = words.into_iter().skip(1).collect();
    Ok((found, Some(Script { file, arguments })))
}

/// The words in a script; none if it is no script.
fn words_of(mut text: impl std::io::BufRead) -> std::io::Result<Option<Vec<OsString>>> {
    let mut line = Vec::new();
    text.read_until(b'\n', &mut line)?;
    if !line.starts_with(b"#!") {
        return Ok(None);
    }
    let mut words = Vec::new();
    loop {
        line.clear();
        if text.read_until(b'\n', &mut line)? == 0 {
            return Ok(Some(words));
        }
        if let Some(rest) = words_in(&line) {
            words.extend(split(rest).into_iter().map(OsString::from_vec));
        }
    }
}

/// What follows the name of the program in a line that has it.
fn words_in(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"#!")?.trim_ascii_start();
    let rest = rest.strip_prefix(b"nix-shell")?;
    rest.first().is_some_and(u8::is_ascii_whitespace).then_some(rest)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn words_of_scripts() {
        let text = b"#! /usr/bin/env nix-shell\n#! nix-shell -i \"bash -x\" -p a\\ b\n\n# nix-shell -p no\n\
            #!nix-shell -p c\n  #! nix-shell -p no\n#! nix-shellx\n#! nix-shell\n";
        let words = words_of(&text[..]).unwrap().unwrap();
        assert_eq!(words, ["-i", "bash -x", "-p", "a b", "-p", "c"]);
        assert_eq!(words_of(&b"x\n#! nix-shell -p c\n"[..]).unwrap(), None);
        assert_eq!(words_of(&b""[..]).unwrap(), None);
    }

    #[test]
    fn commands() {
        let script = Script { file: "./a b".into(), arguments: vec!["it's".into(), "".into()] };
        let command = |interpreter: &str| String::from_utf8(script.command(interpreter.as_ref())).unwrap();
        assert_eq!(command("bash -x"), "exec bash -x './a b' 'it'\\''s' ''");
        assert_eq!(command("ruby"), "exec ruby -e 'load(ARGV.shift)' -- './a b' 'it'\\''s' ''");
        assert_eq!(script.directory(), Path::new("."));
    }
}
