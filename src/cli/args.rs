//! Reading the words of a command line the way the original programs do.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};

use nival::progress::Progress as _;
use nival::settings::flags;

use super::context::Context;
use super::error::{Usage, usage};
use super::ui::{LogFormat, level};

/// The words not looked at yet.
pub struct Args {
    words: VecDeque<OsString>,
    /// After `--` only words that the program knows are flags.
    ended: bool,
    /// The program whose words they are.
    program: String,
}

/// Refuses an argument without a character, which would mean the directory that
/// one stands in: mostly it is a variable that is not set.
///
/// # Errors
/// When there is one.
pub fn refuse_empty(arguments: &[OsString]) -> anyhow::Result<()> {
    match arguments.iter().any(|argument| argument.is_empty()) {
        true => anyhow::bail!("name must not be empty: an argument is the empty text"),
        false => Ok(()),
    }
}

/// One word and what it is.
#[derive(Debug, PartialEq, Eq)]
pub enum Word {
    /// `-x` or `--xyz`; one letter of several written together.
    Flag(String),
    /// Anything else.
    Argument(OsString),
}

impl Args {
    /// All words after the program's name.
    pub fn new(words: impl IntoIterator<Item = OsString>) -> Self {
        Self { words: words.into_iter().collect(), ended: false, program: String::new() }
    }

    /// The words of a classic program, which passes over `--` before its own flags.
    pub fn of(program: &str, words: impl IntoIterator<Item = OsString>) -> Self {
        Self { program: program.to_owned(), ..Self::new(words) }
    }

    /// Whether a word is a flag of the program's own.
    fn is_own(&self, text: &str) -> bool {
        let known = |word: &str| {
            super::flag_table::operations(&self.program).any(|operation| {
                operation.names.contains(&word)
                    || operation.flags.iter().any(|flag| flag.names.contains(&word))
            })
        };
        match text.strip_prefix('-').filter(|letters| !letters.starts_with('-')) {
            Some(letters) => {
                !letters.is_empty() && letters.chars().all(|letter| known(&format!("-{letter}")))
            }
            None => known(text),
        }
    }

    /// The next word. Letters written together (`-qR`) come one at a time.
    pub fn next(&mut self) -> Option<Word> {
        let word = self.words.pop_front()?;
        let Some(text) = word.to_str() else { return Some(Word::Argument(word)) };
        if self.ended && !self.is_own(text) {
            return Some(Word::Argument(word));
        }
        if text == "--" {
            self.ended = true;
            return self.next();
        }
        if text.starts_with("--") {
            return Some(Word::Flag(text.to_owned()));
        }
        let mut letters = match text.strip_prefix('-') {
            Some(letters) if letters.starts_with(|c: char| c.is_ascii_alphabetic()) => letters.chars(),
            _ => return Some(Word::Argument(word)),
        };
        let first = letters.next()?;
        let rest = letters.as_str();
        // `-j4` is a flag with its value.
        if rest.starts_with(|c: char| c.is_ascii_digit()) {
            self.words.push_front(rest.into());
        } else if rest.chars().all(|c| c.is_ascii_alphabetic()) {
            for letter in rest.chars().rev() {
                self.words.push_front(format!("-{letter}").into());
            }
        } else if !rest.is_empty() {
            return Some(Word::Flag(text.to_owned()));
        }
        Some(Word::Flag(format!("-{first}")))
    }

    /// The words that are left.
    pub fn rest(&self) -> Vec<OsString> {
        self.words.iter().cloned().collect()
    }

    /// The next word, whatever it is, as the value of `flag`.
    ///
    /// # Errors
    /// A usage error when there is none.
    pub fn value(&mut self, flag: &str) -> anyhow::Result<OsString> {
        match self.words.pop_front() {
            Some(value) => Ok(value),
            None => usage(format!("flag '{flag}' requires 1 argument(s), but only 0 were given")),
        }
    }

    /// As [`Args::value`], as text.
    ///
    /// # Errors
    /// A usage error when there is none, or when it is not UTF-8.
    pub fn text(&mut self, flag: &str) -> anyhow::Result<String> {
        text(&self.value(flag)?)
    }
}

/// A word as text.
///
/// # Errors
/// A usage error when it is not UTF-8.
pub fn text(word: &OsStr) -> anyhow::Result<String> {
    match word.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => usage(format!("argument '{}' is not UTF-8", word.to_string_lossy())),
    }
}

impl Context {
    /// Deals with a flag that every program knows; false if it is none.
    ///
    /// # Errors
    /// A missing or bad value.
    pub fn common_flag(&mut self, flag: &str, args: &mut Args) -> anyhow::Result<bool> {
        let known = self.common_flag_only(flag, args)?;
        // Archives are made and unpacked far below.
        nival::nar::case_hack::enable(self.settings.use_case_hack());
        Ok(known)
    }

    fn common_flag_only(&mut self, flag: &str, args: &mut Args) -> anyhow::Result<bool> {
        match flag {
            "-v" | "--verbose" => self.ui.change_verbosity(1),
            "--quiet" => self.ui.change_verbosity(-1),
            "--debug" => self.ui.change_verbosity(level::TALKATIVE),
            "--log-format" => {
                let name = args.text(flag)?;
                match LogFormat::parse(&name) {
                    Some(format) => self.ui.set_format(format),
                    None => anyhow::bail!("option 'log-format' has an invalid value '{name}'"),
                }
            }
            "--option" => {
                let count = args.words.len().min(2);
                if count < 2 {
                    return usage(format!(
                        "flag '--option' requires 2 argument(s), but only {count} were given"
                    ));
                }
                let (name, value) = (args.text(flag)?, args.text(flag)?);
                let done = self.settings.set_option(&name, &value);
                self.tell_warnings();
                done?;
            }
            "--version" => self.version_wanted = true,
            "--help" => self.help_wanted = true,
            "-L" | "--print-build-logs" if self.is_nix() => {}
            "-j" => {
                let value = args.text("-j")?;
                self.settings.set("max-jobs", &value, nival::settings::Origin::CommandLine)?;
            }
            _ => return self.setting_flag(flag, args),
        }
        Ok(true)
    }

    /// Every setting is a flag too.
    fn setting_flag(&mut self, flag: &str, args: &mut Args) -> anyhow::Result<bool> {
        let Some(name) = flag.strip_prefix("--") else { return Ok(false) };
        let Some(found) = flags::find(name) else { return Ok(false) };
        let value = if found.takes_value() { Some(args.text(flag)?) } else { None };
        if self.is_nix() {
            found.apply(&mut self.settings, value.as_deref())?;
        } else if let Err(error) = found.apply_classic(&mut self.settings, value.as_deref()) {
            return match error.is_usage() {
                true => Err(Usage(error.to_string()).into()),
                false => Err(error.into()),
            };
        }
        self.gated.push(found.row().feature);
        self.tell_warnings();
        Ok(true)
    }

    /// To be called when all words were read: true if all that was wanted was the
    /// version or the help, which is printed then.
    ///
    /// # Errors
    /// See [`Context::end_of_args`].
    pub fn is_answered_by(&mut self, help: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<bool> {
        self.end_of_args()?;
        if self.version_wanted {
            return self.print_version().map(|()| true);
        }
        if self.help_wanted {
            return help().map(|()| true);
        }
        Ok(false)
    }

    /// Tells of settings on the command line that change nothing.
    fn warn_of_vain_settings(&self) {
        for shown in self.settings.iter() {
            if shown.origin == nival::settings::Origin::CommandLine && shown.row.is_of_nothing() {
                self.ui.warn(&format!("setting '{}' is without effect in Nival", shown.row.name));
            }
        }
    }

    /// What can be said only when all words were read.
    ///
    /// # Errors
    /// A flag of an experimental feature that is not enabled.
    pub fn end_of_args(&mut self) -> anyhow::Result<()> {
        if let Some(path) = self.settings.json_log_path()
            && let Err(error) = self.ui.log_to(path)
        {
            let reason = nival::sys::errno_text(&error);
            let path = path.display();
            self.ui.warn(&format!("nothing is logged to '{path}' (json-log-path): {reason}"));
        }
        self.warn_of_vain_settings();
        for warning in self.settings.take_unknown() {
            nival::progress::Progress::warn(&*self.ui, &warning.to_string());
        }
        for feature in std::mem::take(&mut self.gated) {
            self.settings.require_feature(feature)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        let mut args = Args::new(words.iter().map(OsString::from));
        let mut out = Vec::new();
        while let Some(word) = args.next() {
            out.push(match word {
                Word::Flag(flag) => flag,
                Word::Argument(argument) => format!("={}", argument.to_string_lossy()),
            });
        }
        out
    }

    #[test]
    fn letters_written_together() {
        assert_eq!(words(&["-qR", "x", "--", "-y", "--"]), ["-q", "-R", "=x", "=-y", "=--"]);
        assert_eq!(words(&["-j4", "-", "-4", "--a-b"]), ["-j", "=4", "=-", "=-4", "--a-b"]);
        assert_eq!(words(&["-a/b"]), ["-a/b"]);
    }
}
