//! The words of a command line → flags with their values, operations and arguments.
//!
//! | word | what it is |
//! |---|---|
//! | `-qR` | `-q` and `-R` |
//! | `-j4`, `-s/path` | `-j` or `-s`, and then the word `4` or `/path` |
//! | `-4`, `-` | a flag that nobody knows |
//! | after `--` | an argument; in classic programs a flag if the program itself has it |

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use ::nival::settings::flags as setting_flags;

use super::{Group, Operation, Program, Row, common, find};
use crate::cli::error::{Usage, usage};

/// A flag that was given, with its values: as many as its row says.
#[derive(Debug, Clone)]
pub struct Given {
    row: &'static Row,
    spelled: String,
    values: Vec<OsString>,
}

impl Given {
    /// The name by which the program knows the flag, however it was spelled.
    pub fn name(&self) -> &'static str {
        self.row.name()
    }

    /// The flag as it was spelled.
    pub fn spelled(&self) -> &str {
        &self.spelled
    }

    /// The first value.
    pub fn value(&self) -> OsString {
        self.values.first().cloned().unwrap_or_default()
    }

    /// The first value as text.
    ///
    /// # Errors
    /// A usage error when it is not UTF-8.
    pub fn text(&self) -> anyhow::Result<String> {
        text(&self.value())
    }

    /// The first two values as texts.
    ///
    /// # Errors
    /// A usage error when one of them is not UTF-8.
    pub fn texts(&self) -> anyhow::Result<(String, String)> {
        Ok((self.text()?, text(self.values.get(1).map_or(OsStr::new(""), OsString::as_os_str))?))
    }

    /// The first value as a number that may have a unit.
    ///
    /// # Errors
    /// A usage error for any other text.
    pub fn number(&self) -> anyhow::Result<u64> {
        let number = setting_flags::parse_unit_number(&self.text()?);
        number.map_err(|error| Usage(error.to_string()).into())
    }
}

/// Takes what every program has while the words are read.
pub trait CommonFlags {
    /// Takes a flag of every program, of every classic program or of every subcommand of `nix`.
    ///
    /// # Errors
    /// A bad value.
    fn take_flag(&mut self, given: &Given) -> anyhow::Result<()>;

    /// Takes a setting that was given as a flag.
    ///
    /// # Errors
    /// A bad value.
    fn take_setting(&mut self, flag: setting_flags::Flag, value: Option<&str>) -> anyhow::Result<()>;

    /// Warns the user.
    fn warn(&self, message: &str);

    /// Whether `--version` was given.
    fn version_wanted(&self) -> bool;
}

/// A part of a command line.
pub enum Item {
    /// An operation.
    Operation(&'static Operation),
    /// A flag of the program, the operation or the subcommand.
    Flag(Given),
    /// A flag of every program, or a setting: the context has taken it.
    Taken,
    /// A word that begins with a dash and is no flag.
    Unknown(String),
    /// Any other word.
    Argument(OsString),
}

/// Reads the words of a classic program whose arguments are expressions, of which `-` is one. `take` takes
/// the program's own flags.
///
/// # Errors
/// Flags that there are not, those of [`Parser::next`], and what `take` says.
pub fn expressions<C: CommonFlags>(
    program: &'static Program,
    words: Vec<OsString>,
    context: &mut C,
    mut take: impl FnMut(&mut C, Given) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<OsString>> {
    let mut arguments = Vec::new();
    let mut parser = Parser::classic(program, words);
    while let Some(item) = parser.next(context, program.groups)? {
        match item {
            Item::Flag(given) => take(context, given)?,
            Item::Argument(argument) => arguments.push(argument),
            Item::Unknown(flag) if flag == "-" => arguments.push(flag.into()),
            Item::Unknown(flag) => return Err(program.unrecognised(&flag)),
            Item::Operation(_) | Item::Taken => {}
        }
    }
    Ok(arguments)
}

/// The words that are not looked at yet.
pub struct Parser {
    words: VecDeque<OsString>,
    /// `--` was seen.
    ended: bool,
    /// The classic program whose words they are; none for `nix`.
    program: Option<&'static Program>,
    /// The operation that was named by now.
    operation: Option<&'static Operation>,
}

/// A word and what it looks like.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Flag(String),
    Argument(OsString),
}

impl Parser {
    /// The words of a classic program.
    pub fn classic(program: &'static Program, words: impl IntoIterator<Item = OsString>) -> Self {
        Self { program: Some(program), ..Self::nix(words) }
    }

    /// The words of `nix`.
    pub fn nix(words: impl IntoIterator<Item = OsString>) -> Self {
        Self { words: words.into_iter().collect(), ended: false, program: None, operation: None }
    }

    /// The words that are left.
    pub fn rest(&self) -> Vec<OsString> {
        self.words.iter().cloned().collect()
    }

    /// The next part of the command line. `groups` are the flags that are known besides those of
    /// the program and of every program.
    ///
    /// # Errors
    /// A usage error for a missing value, and whatever the context says of a flag that it takes.
    pub fn next(
        &mut self,
        context: &mut impl CommonFlags,
        groups: &[&'static Group],
    ) -> anyhow::Result<Option<Item>> {
        let name = match self.word() {
            None => return Ok(None),
            Some(Word::Argument(argument)) => return Ok(Some(Item::Argument(argument))),
            Some(Word::Flag(name)) => name,
        };
        if let Some(program) = self.program {
            if let Some(operation) = program.operation(&name) {
                self.operation = Some(operation);
                return Ok(Some(Item::Operation(operation)));
            }
            let of_operation = self.operation.and_then(|operation| operation.row(&name));
            if let Some(row) = of_operation.or_else(|| program.any_row(&name)) {
                if self.words.len() < row.values.len() {
                    return usage(format!("'{name}' requires an argument"));
                }
                return self.given(row, name, context).map(|given| Some(Item::Flag(given)));
            }
        }
        if let Some(row) = find(groups, &name) {
            return self.given(row, name, context).map(|given| Some(Item::Flag(given)));
        }
        let of_all: &[&'static Group] = match self.program {
            Some(_) => &[&common::ALL, &common::OF_CLASSIC],
            None => &[&common::ALL, &common::OF_NIX],
        };
        if let Some(row) = find(of_all, &name) {
            let given = self.given(row, name, context)?;
            context.take_flag(&given)?;
            return Ok(Some(Item::Taken));
        }
        let Some(setting) = name.strip_prefix("--").and_then(setting_flags::find) else {
            return Ok(Some(Item::Unknown(name)));
        };
        let value = match setting.takes_value() {
            true => Some(text(&self.values(&name, 1)?[0])?),
            false => None,
        };
        context.take_setting(setting, value.as_deref())?;
        Ok(Some(Item::Taken))
    }

    fn given(
        &mut self,
        row: &'static Row,
        spelled: String,
        context: &impl CommonFlags,
    ) -> anyhow::Result<Given> {
        if let Some(why) = row.deprecated {
            context.warn(&format!("'{spelled}' {why}"));
        }
        let values = self.values(&spelled, row.values.len())?;
        Ok(Given { row, spelled, values })
    }

    /// The next words, whatever they are.
    fn values(&mut self, flag: &str, wanted: usize) -> anyhow::Result<Vec<OsString>> {
        let left = self.words.len();
        if left < wanted {
            return usage(format!("flag '{flag}' requires {wanted} argument(s), but only {left} were given"));
        }
        Ok(self.words.drain(..wanted).collect())
    }

    fn word(&mut self) -> Option<Word> {
        let word = self.words.pop_front()?;
        let is_end = word == "--" && !self.ended;
        if is_end {
            self.ended = true;
            return self.word();
        }
        let bytes = word.as_bytes();
        let may_be_flag = match self.program {
            _ if !self.ended => true,
            Some(program) => word.to_str().is_some_and(|text| is_own(program, text)),
            None => false,
        };
        if bytes.first() != Some(&b'-') || !may_be_flag {
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
        self.put_back(&String::from_utf8_lossy(&bytes[2..=letters]));
        Some(Word::Flag(format!("-{}", char::from(bytes[1]))))
    }

    /// Puts letters that were written together back as flags.
    fn put_back(&mut self, letters: &str) {
        for letter in letters.chars().rev() {
            self.words.push_front(format!("-{letter}").into());
        }
    }
}

/// Whether a word is made of operations and flags of the program's own.
fn is_own(program: &Program, text: &str) -> bool {
    match text.strip_prefix('-').filter(|letters| !letters.starts_with('-')) {
        Some(letters) => {
            !letters.is_empty() && letters.chars().all(|letter| program.knows(&format!("-{letter}")))
        }
        None => program.knows(text),
    }
}

/// The command line of a program with operations.
#[derive(Default)]
pub struct Reading {
    /// The operation.
    pub operation: Option<&'static Operation>,
    /// Flags that only some operations have, or none, in order.
    flags: Vec<Result<Given, String>>,
    /// All other words, in order.
    pub arguments: Vec<OsString>,
}

impl Reading {
    /// Reads the words of a program. Flags of all its operations go to `take`.
    pub fn read<C: CommonFlags>(
        program: &'static Program,
        context: &mut C,
        words: Vec<OsString>,
        mut take: impl FnMut(&Given, &mut C) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let mut parser = Parser::classic(program, words);
        let mut reading = Self::default();
        while let Some(item) = parser.next(context, program.groups)? {
            match item {
                Item::Operation(operation) => {
                    // The same one may be repeated.
                    if reading.operation.is_some_and(|other| other.name() != operation.name()) {
                        return usage("only one operation may be specified");
                    }
                    reading.operation = Some(operation);
                }
                Item::Flag(given) if program.is_of_all(given.spelled()) => take(&given, context)?,
                Item::Flag(given) => reading.flags.push(Ok(given)),
                Item::Unknown(flag) => reading.flags.push(Err(flag)),
                Item::Argument(argument) => reading.arguments.push(argument),
                Item::Taken => {}
            }
        }
        // The originals take `--version` for an operation.
        if reading.operation.is_some() && context.version_wanted() {
            return usage("only one operation may be specified");
        }
        Ok(reading)
    }

    /// The error for words without an operation.
    pub fn no_operation(&self, program: &Program) -> anyhow::Error {
        let mut unknown = self.flags.iter().filter_map(|flag| flag.as_ref().err());
        program.no_operation(unknown.next().map(String::as_str))
    }

    /// The flags of an operation; instead the first flag that the operation does not have.
    pub fn flags_of(&self, operation: &'static Operation) -> Result<anyhow::Result<Vec<Given>>, String> {
        let of_operation = |flag: &Result<Given, String>| {
            let given = flag.as_ref().map_err(Clone::clone)?;
            let row = operation.row(given.spelled()).ok_or_else(|| given.spelled().to_owned())?;
            Ok(Given { row, ..given.clone() })
        };
        let flags: Vec<Given> = self.flags.iter().map(of_operation).collect::<Result<_, String>>()?;
        Ok(match flags.iter().find(|given| given.values.len() < given.row.values.len()) {
            // The flag stood before the operation, where it was not known that it takes a value.
            Some(given) => usage(format!("'{}' requires an argument", given.spelled())),
            None => Ok(flags),
        })
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

/// Refuses an argument without a character. It would mean the current directory, and mostly stems
/// from a variable that is not set.
///
/// # Errors
/// That there is one.
pub fn refuse_empty(arguments: &[OsString]) -> anyhow::Result<()> {
    match arguments.iter().any(|argument| argument.is_empty()) {
        true => anyhow::bail!("name must not be empty: an argument is the empty text"),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(mut parser: Parser) -> Vec<String> {
        std::iter::from_fn(|| parser.word())
            .map(|word| match word {
                Word::Flag(flag) => flag,
                Word::Argument(argument) => format!("={}", argument.to_string_lossy()),
            })
            .collect()
    }

    fn all(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn words_are_split() {
        let nix = |line: &[&str]| words(Parser::nix(all(line)));
        assert_eq!(nix(&["-sS/p", "-", "-4", "-j2"]), ["-s", "-S", "=/p", "-", "-4", "-j", "=2"]);
        assert_eq!(nix(&["-s=3", "-s-x", "--a-b", ""]), ["-s", "==3", "-s", "-x", "--a-b", "="]);
        assert_eq!(nix(&["-é", "-vé"]), ["-é", "-v", "=é"]);
        assert_eq!(nix(&["x", "--", "-y", "--"]), ["=x", "=-y", "=--"]);
    }

    #[test]
    fn words_of_classic_programs() {
        let program = super::super::program("nix-store").expect("a program");
        let split = |line: &[&str]| words(Parser::classic(program, all(line)));
        assert_eq!(split(&["-qR", "x", "--", "-y", "--"]), ["-q", "-R", "=x", "=-y", "=--"]);
        assert_eq!(split(&["-j4", "-a/b", "--a-b"]), ["-j", "=4", "-a", "=/b", "--a-b"]);
        // Flags of the program's own are flags behind `--`, too.
        assert_eq!(split(&["--", "-qR", "--gc", "--debug"]), ["-q", "-R", "--gc", "=--debug"]);
    }
}
