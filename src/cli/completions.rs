//! Completion on a command line: what NIX_GET_COMPLETIONS asks for.
//!
//! ```text
//! NIX_GET_COMPLETIONS=N PROGRAM WORDS...     completes the Nth word
//! answer = KIND \n {WORD \t ABOUT \n}        KIND is `normal` or `filenames`
//! ```
//!
//! Whoever sets the variable must never run a command, so it is looked at before
//! anything else, and nothing is opened: neither settings nor a store.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use ::nival::settings::flags;
use ::nival::settings::table::TABLE;

use super::flag_table::{self, Flag, Value};
use super::nix;
use super::ui::Out;

/// The variable with the number of the word.
pub const VARIABLE: &str = "NIX_GET_COMPLETIONS";

/// What the word may become.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    /// The words are files.
    files: bool,
    /// Words and what they are for.
    words: BTreeMap<Vec<u8>, String>,
}

impl Answer {
    fn add(&mut self, prefix: &str, word: &str, about: &str) {
        if word.starts_with(prefix) {
            self.words.insert(word.as_bytes().to_vec(), about.to_owned());
        }
    }

    fn print(&self) -> anyhow::Result<()> {
        let mut out = Out::new();
        out.line(if self.files { "filenames" } else { "normal" })?;
        for (word, about) in &self.words {
            out.raw(word)?;
            out.line(format_args!("\t{about}"))?;
        }
        out.finish()
    }
}

/// Answers what word `number` (as text) of the words after the program's name
/// may become. A number that is none gets an answer without words.
///
/// # Errors
/// Those of the output.
pub fn run(program: &str, words: &[OsString], number: &OsStr) -> anyhow::Result<()> {
    let number: Option<usize> = number.to_str().and_then(|text| text.parse().ok());
    let answer = match number {
        Some(number) if (1..=words.len() + 1).contains(&number) => {
            let partial = words.get(number - 1).cloned().unwrap_or_default();
            complete(program, &words[..number - 1], &partial)
        }
        _ => Answer::default(),
    };
    answer.print()
}

fn complete(program: &str, before: &[OsString], partial: &OsStr) -> Answer {
    match program {
        "nix" => of_nix(before, partial),
        _ if super::program(program).is_some() => of_classic(program, before, partial),
        _ => of_nival(before, partial),
    }
}

/// Walks over words, letting `seen` see each that is no flag's value; gives the
/// flag whose value the next word is, and which of its values, or whether `--`
/// came.
fn walk<'w>(
    before: &'w [OsString],
    mut find: impl FnMut(&str) -> Option<Flag>,
    mut seen: impl FnMut(&'w OsStr),
) -> Result<bool, (Flag, usize, &'w OsStr)> {
    let mut ended = false;
    let mut at = 0;
    while at < before.len() {
        let word = before[at].as_os_str();
        at += 1;
        let text = word.to_string_lossy();
        if ended || !text.starts_with('-') || text == "-" {
            seen(word);
            continue;
        }
        if text == "--" {
            ended = true;
            continue;
        }
        // Of letters written together only the last one has its values here.
        let last = match text.strip_prefix('-').filter(|rest| !rest.starts_with('-')) {
            Some(letters) if find(&text).is_none() => {
                letters.chars().last().map(|letter| format!("-{letter}")).unwrap_or_default()
            }
            _ => text.clone().into_owned(),
        };
        seen(word);
        let Some(flag) = find(&last) else { continue };
        for value in 0..flag.values {
            match before.get(at) {
                Some(_) => at += 1,
                None => return Err((flag, value, before[at - 1].as_os_str())),
            }
        }
    }
    Ok(ended)
}

/// A setting as a flag, which is known but not offered: there are too many.
fn setting_flag(word: &str) -> Option<Flag> {
    let found = flags::find(word.strip_prefix("--")?)?;
    Some(Flag { names: &[], values: usize::from(found.takes_value()), value: Value::Free, about: "" })
}

fn value(flag: &Flag, which: usize, partial: &OsStr) -> Answer {
    let mut answer = Answer::default();
    let prefix = partial.to_string_lossy();
    match flag.value {
        Value::File => return files(partial),
        Value::Word(words) => words.iter().for_each(|word| answer.add(&prefix, word, "")),
        Value::Setting if which == 0 => add_settings(&mut answer, &prefix),
        Value::Setting | Value::Free => {}
    }
    answer
}

fn add_settings(answer: &mut Answer, prefix: &str) {
    for row in TABLE {
        answer.add(prefix, row.name, row.doc.trim_end_matches('.'));
    }
}

fn add_flags<'f>(answer: &mut Answer, prefix: &str, flags: impl IntoIterator<Item = &'f Flag>) {
    for flag in flags.into_iter().filter(|flag| !flag.about.is_empty()) {
        for name in flag.names {
            // One dash alone begins short ones.
            if name.starts_with("--") == prefix.starts_with("--") {
                answer.add(prefix, name, flag.about);
            }
        }
    }
}

fn of_nival(before: &[OsString], partial: &OsStr) -> Answer {
    let mut answer = Answer::default();
    let prefix = partial.to_string_lossy();
    match before.first().and_then(|word| word.to_str()) {
        None => {
            super::nival::SUBCOMMANDS.iter().for_each(|(name, about)| answer.add(&prefix, name, about));
            super::PROGRAMS.iter().for_each(|(name, _)| answer.add(&prefix, name, ""));
        }
        Some(name) if super::program(name).is_some() => return complete(name, &before[1..], partial),
        Some("install-links") => return files(partial),
        Some("completions") => answer.add(&prefix, "bash", ""),
        Some(_) => {}
    }
    answer
}

fn of_nix(before: &[OsString], partial: &OsStr) -> Answer {
    let place = RefCell::new(nix::Place::default());
    let common = [flag_table::COMMON, flag_table::COMMON_OF_NIX];
    let find = |word: &str| {
        // Its own ones first: one letter means different things.
        let own = place.borrow().flags().into_iter().find(|flag| flag.names.contains(&word));
        let known = [common[0], common[1], flag_table::OF_NIX];
        own.or(flag_table::find(&known, word)).copied().or_else(|| setting_flag(word))
    };
    let mut arguments = 0;
    let walked = walk(before, find, |word| {
        let text = word.to_string_lossy();
        if !text.starts_with('-') {
            arguments += usize::from(!place.borrow_mut().step(&text));
        }
    });
    let ended = match walked {
        Ok(ended) => ended,
        Err((flag, which, _)) => return value(&flag, which, partial),
    };
    let place = place.into_inner();
    let mut answer = Answer::default();
    let prefix = partial.to_string_lossy();
    if prefix.starts_with('-') && !ended {
        if prefix == "-" {
            answer.add(&prefix, "--", "");
        }
        let own = place.flags();
        add_flags(&mut answer, &prefix, common.into_iter().flatten().chain(own));
        return answer;
    }
    if arguments == 0 {
        for (word, about) in place.members() {
            answer.add(&prefix, word, about);
        }
    }
    match place.takes() {
        nix::Takes::Files => return files(partial),
        nix::Takes::Settings => add_settings(&mut answer, &prefix),
        nix::Takes::Nothing => {}
    }
    answer
}

fn of_classic(program: &str, before: &[OsString], partial: &OsStr) -> Answer {
    let mut chosen = None;
    let all: Vec<&'static Flag> =
        flag_table::operations(program).flat_map(|operation| operation.flags).collect();
    let find = |word: &str| {
        let of_program = all.iter().find(|flag| flag.names.contains(&word)).map(|flag| **flag);
        of_program
            .or_else(|| flag_table::find(&[flag_table::COMMON], word).copied())
            .or_else(|| setting_flag(word))
    };
    let walked = walk(before, find, |word| {
        let text = word.to_string_lossy();
        let named = |operation: &&flag_table::Operation| {
            // Letters written together: -qR.
            let short = text.get(..2).filter(|_| !text.starts_with("--"));
            operation.names.iter().any(|name| *name == text || short == Some(name))
        };
        chosen = chosen.or(flag_table::operations(program).find(named));
    });
    let ended = match walked {
        Ok(ended) => ended,
        Err((flag, which, _)) => return value(&flag, which, partial),
    };
    let prefix = partial.to_string_lossy();
    if ended || !prefix.starts_with('-') {
        return files(partial);
    }
    let mut answer = Answer::default();
    let of_all = flag_table::operations(program).filter(|operation| operation.names.is_empty());
    let own = of_all.chain(chosen).flat_map(|operation| operation.flags);
    if prefix == "-" {
        answer.add(&prefix, "--", "");
    }
    add_flags(&mut answer, &prefix, flag_table::COMMON.iter().chain(own));
    if chosen.is_none() {
        for operation in flag_table::operations(program) {
            let names = operation.names.iter().filter(|name| prefix == "-" || name.starts_with("--"));
            names.for_each(|name| answer.add(&prefix, name, operation.about));
        }
    }
    answer
}

/// The files whose names begin with a text.
fn files(partial: &OsStr) -> Answer {
    /// Nobody looks at more.
    const MOST: usize = 10_000;
    let bytes = partial.as_bytes();
    let cut = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let (dir, begin) = bytes.split_at(cut);
    let place = if dir.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(dir) };
    let mut answer = Answer { files: true, ..Answer::default() };
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name().into_vec();
        let hidden = name.starts_with(b".") && begin.is_empty();
        // A line break would be the end of the word.
        if name.starts_with(begin) && !hidden && !name.contains(&b'\n') && answer.words.len() < MOST {
            answer.words.insert([dir, &name].concat(), String::new());
        }
    }
    answer
}

/// The script that makes bash ask for completions.
pub const BASH: &str = include_str!("completions.bash");

#[cfg(test)]
mod tests {
    use super::*;

    fn words(program: &str, line: &[&str]) -> Vec<String> {
        let all: Vec<OsString> = line.iter().map(OsString::from).collect();
        let (partial, before) = all.split_last().expect("a word");
        let answer = complete(program, before, partial);
        answer.words.keys().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }

    #[test]
    fn subcommands() {
        assert_eq!(words("nix", &["store", "gc"]), ["gc"]);
        assert_eq!(words("nix", &["store", "add"]), ["add", "add-file", "add-path"]);
        assert_eq!(words("nix", &["-v", "--store", "x", "sto"]), ["store"]);
        assert_eq!(words("nix", &["stroe", "gc"]), [""; 0]);
        assert_eq!(words("nix", &["hash-f"]), [""; 0]);
        assert_eq!(words("nix", &["help", "stor"]), ["store"]);
    }

    #[test]
    fn flags_and_their_values() {
        assert_eq!(words("nix", &["path-info", "--js"]), ["--json", "--json-format"]);
        assert_eq!(words("nix", &["copy", "--to"]), ["--to"]);
        assert_eq!(words("nix", &["copy", "--to", "file:"]), [""; 0]);
        assert_eq!(words("nix", &["hash", "file", "--type", "s"]), ["sha1", "sha256", "sha512"]);
        assert_eq!(words("nix", &["--option", "sub"]), ["substitute", "substituters"]);
        assert_eq!(words("nix", &["--option", "substituters", "h"]), [""; 0]);
        assert_eq!(words("nix", &["store", "gc", "--", "--"]), [""; 0]);
        assert_eq!(words("nix", &["daemon", "--s"]), ["--stdio"]);
        assert_eq!(words("nix", &["config", "show", "keep-o"]), ["keep-outputs"]);
        assert!(words("nix", &["store", "gc", "-"]).contains(&"-v".to_owned()));
    }

    #[test]
    fn classic_programs() {
        assert_eq!(words("nix-store", &["--gc"]), ["--gc"]);
        assert_eq!(
            words("nix-store", &["--gc", "--print-"]),
            ["--print-dead", "--print-live", "--print-roots"]
        );
        assert_eq!(words("nix-store", &["-qR", "--incl"]), ["--include-outputs"]);
        assert_eq!(words("nix-env", &["-e", "--lt"]), [""; 0]);
        assert_eq!(words("nix-env", &["-u", "--lt"]), ["--lt"]);
        assert_eq!(words("nix-collect-garbage", &["--delete-o"]), ["--delete-old", "--delete-older-than"]);
    }

    /// Every flag that the sources of the commands name is in the tables.
    #[test]
    fn no_flag_is_missing() {
        let sources = [
            include_str!("nix/copy.rs"),
            include_str!("nix/elsewhere.rs"),
            include_str!("nix/gc.rs"),
            include_str!("nix/hash.rs"),
            include_str!("nix/key.rs"),
            include_str!("nix/path_info.rs"),
            include_str!("nix/profile.rs"),
            include_str!("nix/selection.rs"),
            include_str!("nix/sign.rs"),
            include_str!("nix/store_add.rs"),
            include_str!("nix/tree.rs"),
            include_str!("nix/verify.rs"),
            include_str!("json.rs"),
        ];
        let find = regex_lite::Regex::new("\"(--[a-z][a-z0-9-]+|-[a-zA-Z])\"").expect("a regex");
        for (_, [flag]) in
            sources.iter().flat_map(|source| find.captures_iter(source).map(|found| found.extract()))
        {
            assert!(flag_table::find(&[flag_table::OF_NIX, flag_table::COMMON], flag).is_some(), "{flag}");
        }
    }
}
