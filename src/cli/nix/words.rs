//! The words of `nix`, which splits letters written together differently from
//! the classic programs.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use nival::settings::flags;

use crate::cli::args::{self, Args};
use crate::cli::context::Context;
use crate::cli::error::{Usage, usage};

/// Most values that a flag of every command takes (`--option`).
const COMMON_VALUES: usize = 2;

/// The words not looked at yet.
pub struct Words {
    words: VecDeque<OsString>,
    /// After `--` everything is an argument.
    ended: bool,
    /// What is to be told about flags.
    warnings: Vec<String>,
}

/// One word and what it is.
#[derive(Debug, PartialEq, Eq)]
pub enum Word {
    /// Begins with a dash; one letter of several written together.
    Flag(String),
    /// Anything else.
    Argument(OsString),
}

impl Words {
    /// All words that `args` still has.
    pub fn new(mut args: Args) -> Self {
        let mut words = VecDeque::new();
        while let Ok(word) = args.value("") {
            words.push_back(word);
        }
        Self { words, ended: false, warnings: Vec::new() }
    }

    /// Something is to be told about a flag.
    pub fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    /// What is to be told by now.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// The words that are left.
    pub fn rest(&self) -> Vec<OsString> {
        self.words.iter().cloned().collect()
    }

    /// The next word. Of `-sS/path` come `-s`, `-S` and `/path`.
    pub fn next(&mut self) -> Option<Word> {
        let word = self.words.pop_front()?;
        if self.ended {
            return Some(Word::Argument(word));
        }
        if word == "--" {
            self.ended = true;
            return self.next();
        }
        let bytes = word.as_bytes();
        if bytes.first() != Some(&b'-') {
            return Some(Word::Argument(word));
        }
        let letters = bytes[1..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        if bytes.starts_with(b"--") || letters == 0 {
            return Some(Word::Flag(word.to_string_lossy().into_owned()));
        }
        let rest = &bytes[1 + letters..];
        if !rest.is_empty() {
            self.words.push_front(OsString::from_vec(rest.to_vec()));
        }
        for letter in bytes[2..=letters].iter().rev() {
            self.words.push_front(format!("-{}", char::from(*letter)).into());
        }
        Some(Word::Flag(format!("-{}", char::from(bytes[1]))))
    }

    /// Deals with a flag that every program knows; false if it is none.
    ///
    /// # Errors
    /// A missing or bad value.
    pub fn common(&mut self, context: &mut Context, flag: &str) -> anyhow::Result<bool> {
        let count = self.words.len().min(COMMON_VALUES);
        let mut values = Args::new(self.words.drain(..count));
        let known = context.common_flag(flag, &mut values)?;
        let mut left = Vec::new();
        while let Ok(word) = values.value(flag) {
            left.push(word);
        }
        for word in left.into_iter().rev() {
            self.words.push_front(word);
        }
        Ok(known)
    }

    /// The next words, whatever they are, as the values of `flag`.
    ///
    /// # Errors
    /// A usage error when there are too few.
    pub fn values<const N: usize>(&mut self, flag: &str) -> anyhow::Result<[OsString; N]> {
        let count = self.words.len();
        if count < N {
            return usage(format!("flag '{flag}' requires {N} argument(s), but only {count} were given"));
        }
        Ok(std::array::from_fn(|_| self.words.pop_front().unwrap_or_default()))
    }

    /// The next word as the value of `flag`.
    ///
    /// # Errors
    /// A usage error when there is none, or when it is not UTF-8.
    pub fn text(&mut self, flag: &str) -> anyhow::Result<String> {
        let [value] = self.values(flag)?;
        args::text(&value)
    }

    /// The next word as a number that may have a unit.
    ///
    /// # Errors
    /// As [`Words::text`], and for anything that is no such number.
    pub fn number(&mut self, flag: &str) -> anyhow::Result<u64> {
        let text = self.text(flag)?;
        flags::parse_unit_number(&text).map_err(|error| Usage(error.to_string()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        let mut words = Words::new(Args::new(words.iter().map(OsString::from)));
        let mut out = Vec::new();
        while let Some(word) = words.next() {
            out.push(match word {
                Word::Flag(flag) => flag,
                Word::Argument(argument) => format!("={}", argument.to_string_lossy()),
            });
        }
        out
    }

    #[test]
    fn letters_written_together() {
        assert_eq!(words(&["-sS/p", "-", "-4", "-j2"]), ["-s", "-S", "=/p", "-", "-4", "-j", "=2"]);
        assert_eq!(words(&["-s=3", "-s-x", "--a-b", ""]), ["-s", "==3", "-s", "-x", "--a-b", "="]);
        assert_eq!(words(&["x", "--", "-y", "--"]), ["=x", "=-y", "=--"]);
    }
}
