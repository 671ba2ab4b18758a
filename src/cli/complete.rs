//! Completion on a command line: what NIX_GET_COMPLETIONS asks for.
//!
//! ```text
//! NIX_GET_COMPLETIONS=N PROGRAM WORDS...     completes the Nth word
//! answer = KIND \n {WORD \t ABOUT \n}        KIND is `normal` or `filenames`
//! ```
//!
//! A shell that sets the variable must never run a command, so it is looked at before anything
//! else, and neither settings nor a store are opened: names of store paths, generations and
//! packages come from listing directories and reading the manifest of a profile.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use ::nival::model::{StoreDir, manifest_nix};
use ::nival::settings::table::{self, Kind, TABLE};
use ::nival::settings::{Environment, Machine, flags as setting_flags};

use super::{PROGRAMS, nival, nix};
use crate::cli::flags::{self, Group, Operation, Program, Row, Value, common, shells};
use crate::cli::output::streams::Out;

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

    fn add_flags<'r>(&mut self, prefix: &str, rows: impl IntoIterator<Item = &'r Row>) {
        if prefix == "-" {
            self.add(prefix, "--", "");
        }
        for row in rows {
            for name in row.names {
                // One dash alone begins short ones.
                if name.starts_with("--") == prefix.starts_with("--") {
                    self.add(prefix, name, row.about);
                }
            }
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

/// Answers what word `number` (as text) of the words after the program's name may become. A text
/// that is no such number gets an answer without words.
pub fn run(
    program: &str,
    words: &[OsString],
    number: &OsStr,
    environment: &Environment,
) -> anyhow::Result<()> {
    let number: Option<usize> = number.to_str().and_then(|text| text.parse().ok());
    let answer = match number {
        Some(number) if (1..=words.len() + 1).contains(&number) => {
            let partial = words.get(number - 1).cloned().unwrap_or_default();
            Completer { environment, partial }.complete(program, &words[..number - 1])
        }
        _ => Answer::default(),
    };
    answer.print()
}

/// What is known of a flag when a word is completed.
#[derive(Clone, Copy)]
enum Known {
    Row(&'static Row),
    /// A setting that is a flag and takes a value.
    Setting(&'static table::Row),
}

impl Known {
    fn of_setting(word: &str) -> Option<Self> {
        let found = setting_flags::find(word.strip_prefix("--")?)?;
        found.takes_value().then(|| Self::Setting(found.row()))
    }

    fn values(self) -> usize {
        match self {
            Self::Row(row) => row.values.len(),
            Self::Setting(_) => 1,
        }
    }
}

/// A flag whose value is completed: which of its values, and the values that stand before it.
struct Wanted<'w> {
    flag: Known,
    before: &'w [OsString],
}

/// Walks over words, letting `seen` see each that is no flag's value; gives the flag whose value
/// the next word is, or whether `--` was among the words.
fn walk<'w>(
    before: &'w [OsString],
    mut find: impl FnMut(&str) -> Option<Known>,
    mut seen: impl FnMut(&'w OsStr),
) -> Result<bool, Wanted<'w>> {
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
        if before.len() - at < flag.values() {
            return Err(Wanted { flag, before: &before[at..] });
        }
        at += flag.values();
    }
    Ok(ended)
}

/// The word that is completed, and where names of things are looked for.
struct Completer<'e> {
    environment: &'e Environment,
    partial: OsString,
}

impl Completer<'_> {
    fn complete(&self, program: &str, before: &[OsString]) -> Answer {
        match flags::program(program) {
            Some(program) => self.of_classic(program, before),
            None if program == "nix" => self.of_nix(before),
            // One that is not there yet.
            None if super::program(program).is_some() => self.files(),
            None => self.of_nival(before),
        }
    }

    fn prefix(&self) -> std::borrow::Cow<'_, str> {
        self.partial.to_string_lossy()
    }

    fn wanted(&self, wanted: &Wanted<'_>, before: &[OsString]) -> Answer {
        let which = wanted.before.len();
        match wanted.flag {
            Known::Row(row) => match (row.values.get(which), wanted.before.first()) {
                (Some(Value::OfSetting), Some(name)) => self.of_setting(&name.to_string_lossy()),
                (Some(value), _) => self.value(*value, before),
                (None, _) => Answer::default(),
            },
            Known::Setting(row) => self.of_setting(row.name),
        }
    }

    /// Values of a kind. `before` are words in which a profile may be named.
    fn value(&self, value: Value, before: &[OsString]) -> Answer {
        let mut answer = Answer::default();
        let prefix = self.prefix();
        match value {
            Value::StorePath => return self.store_paths(),
            Value::File | Value::Profile => return self.files(),
            Value::Word(words) => words.iter().for_each(|word| answer.add(&prefix, word, "")),
            Value::Setting => {
                for row in TABLE {
                    answer.add(&prefix, row.name, row.doc.trim_end_matches('.'));
                }
            }
            Value::Generation => {
                for (number, target) in self.generations(before) {
                    answer.add(&prefix, &number.to_string(), &target);
                }
            }
            Value::Package => {
                for (name, path) in self.packages(before) {
                    answer.add(&prefix, &name, &path);
                }
            }
            Value::Store => {
                ["auto", "daemon", "file://", "http://", "https://", "local", "s3://", "ssh-ng://", "ssh://"]
                    .iter()
                    .for_each(|word| answer.add(&prefix, word, ""))
            }
            Value::OfSetting | Value::Number | Value::Bytes | Value::Days | Value::Text(_) => {}
        }
        answer
    }

    /// The values of a setting, where there are few.
    fn of_setting(&self, name: &str) -> Answer {
        let mut answer = Answer::default();
        let row = TABLE.iter().find(|row| row.name == name || row.aliases.contains(&name));
        let values: &[&str] = match row.map(|row| row.kind) {
            Some(Kind::Bool) => &["false", "true"],
            Some(Kind::Sandbox) => &["false", "relaxed", "true"],
            Some(Kind::Choice { values, .. }) => values,
            _ => &[],
        };
        values.iter().for_each(|value| answer.add(&self.prefix(), value, ""));
        answer
    }

    fn of_nival(&self, before: &[OsString]) -> Answer {
        let mut answer = Answer::default();
        let prefix = self.prefix();
        match before.first().and_then(|word| word.to_str()) {
            None => {
                let subcommands = nival::SUBCOMMANDS.iter();
                subcommands.for_each(|(name, about)| answer.add(&prefix, name, about));
                PROGRAMS.iter().for_each(|(name, _)| answer.add(&prefix, name, ""));
            }
            Some(name) if super::program(name).is_some() => return self.complete(name, &before[1..]),
            Some("install-links" | "man") => return self.files(),
            Some("completions") => {
                shells::names().for_each(|name| answer.add(&prefix, name, ""));
            }
            Some(_) => {}
        }
        answer
    }

    fn of_nix(&self, before: &[OsString]) -> Answer {
        let place = RefCell::new(nix::Place::default());
        let of_all = [&common::ALL, &common::OF_NIX];
        let find = |word: &str| {
            // Its own ones first: one letter means different things.
            let own = flags::find(place.borrow().groups(), word);
            let row = own.or_else(|| flags::find(&of_all, word)).map(Known::Row);
            row.or_else(|| Known::of_setting(word))
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
            Err(wanted) => return self.wanted(&wanted, before),
        };
        let place = place.into_inner();
        let mut answer = Answer::default();
        let prefix = self.prefix();
        if prefix.starts_with('-') && !ended {
            let own = place.groups().iter().copied().filter(|group| group.offered);
            let rows = own.chain(of_all).flat_map(|group| group.rows);
            answer.add_flags(&prefix, rows);
            return answer;
        }
        if arguments == 0 {
            for (word, about) in place.members() {
                answer.add(&prefix, word, about);
            }
        }
        match place.takes() {
            Some(value) => self.value(value, before),
            None => answer,
        }
    }

    fn of_classic(&self, program: &'static Program, before: &[OsString]) -> Answer {
        let groups: Vec<&Group> =
            program.groups.iter().copied().chain([&common::OF_CLASSIC, &common::ALL]).collect();
        let find = |word: &str| {
            let row = program.any_row(word).or_else(|| flags::find(&groups, word)).map(Known::Row);
            row.or_else(|| Known::of_setting(word))
        };
        let mut chosen: Option<&'static Operation> = None;
        let mut arguments = 0;
        let walked = walk(before, find, |word| {
            let text = word.to_string_lossy();
            arguments += usize::from(!text.starts_with('-'));
            // Letters written together: -qR.
            let short = text.get(..2).filter(|_| !text.starts_with("--"));
            let named = |operation: &&Operation| {
                operation.names.iter().any(|name| *name == text || short == Some(name))
            };
            chosen = chosen.or_else(|| program.operations.iter().find(named));
        });
        let ended = match walked {
            Ok(ended) => ended,
            Err(wanted) => return self.wanted(&wanted, before),
        };
        let prefix = self.prefix();
        if ended || !prefix.starts_with('-') {
            let kinds = chosen.map_or(program.arguments, |operation| operation.arguments);
            let kind = kinds.get(arguments).or(kinds.last());
            return kind.map_or_else(Answer::default, |kind| self.value(*kind, before));
        }
        let mut answer = Answer::default();
        let own = program.rows.iter().chain(chosen.map_or(&[][..], |operation| operation.rows));
        let of_groups = groups.iter().filter(|group| group.offered).flat_map(|group| group.rows);
        answer.add_flags(&prefix, own.chain(of_groups));
        if chosen.is_none() {
            for operation in program.operations {
                let names = operation.names.iter().filter(|name| prefix == "-" || name.starts_with("--"));
                names.for_each(|name| answer.add(&prefix, name, operation.about));
            }
        }
        answer
    }

    /// Files, and the paths of the store where its directory is written.
    fn store_paths(&self) -> Answer {
        let mut answer = self.files();
        let Ok(dirs) = self.environment.directories() else { return answer };
        let Ok(dir) = StoreDir::new(&dirs.store.to_string_lossy()) else { return answer };
        let begin = format!("{}/", dir.as_str());
        let prefix = self.prefix();
        if let Some(rest) = prefix.strip_prefix(&begin).filter(|rest| !rest.contains('/')) {
            // Locks and scratch directories are no store paths.
            answer.words.retain(|word, _| {
                let text = String::from_utf8_lossy(word);
                let name = text.strip_prefix(&begin).unwrap_or_default();
                name.starts_with(rest) && dir.parse(&text).is_ok() && !name.ends_with(".lock")
            });
        } else if begin.starts_with(&*prefix) && !prefix.is_empty() {
            answer.words.remove(dir.as_str().as_bytes());
            answer.words.insert(begin.into_bytes(), "the store".to_owned());
        }
        answer
    }

    /// The profile that some words name, or the user's own.
    fn profile(&self, before: &[OsString]) -> Option<PathBuf> {
        let named = before.windows(2).rfind(|pair| pair[0] == "--profile" || pair[0] == "-p");
        if let Some(pair) = named {
            return Some(PathBuf::from(&pair[1]));
        }
        if let Some(profile) = self.environment.non_empty("NIX_PROFILE") {
            return Some(PathBuf::from(profile));
        }
        let home = Machine::detect().home(self.environment).0?;
        let link = home.join(".nix-profile");
        let target = std::fs::read_link(&link).ok()?;
        Some(home.join(target))
    }

    /// The generations of the profile and what each is.
    fn generations(&self, before: &[OsString]) -> Vec<(u64, String)> {
        let Some(profile) = self.profile(before) else { return Vec::new() };
        let (Some(dir), Some(name)) = (profile.parent(), profile.file_name()) else { return Vec::new() };
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let begin = format!("{}-", name.to_string_lossy());
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let number = name.strip_prefix(&begin)?.strip_suffix("-link")?.parse().ok()?;
                let target = std::fs::read_link(entry.path()).unwrap_or_default();
                Some((number, target.display().to_string()))
            })
            .collect()
    }

    /// The names of the packages in the profile and their first store paths.
    fn packages(&self, before: &[OsString]) -> Vec<(String, String)> {
        /// Manifests are not larger.
        const MOST: u64 = 16 << 20;
        let Some(profile) = self.profile(before) else { return Vec::new() };
        let read = |name: &str| {
            let file = profile.join(name);
            let size = std::fs::metadata(&file).ok()?.len();
            if size > MOST { None } else { std::fs::read_to_string(file).ok() }
        };
        if let Some(text) = read("manifest.json") {
            let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            let elements = json.get("elements").and_then(|elements| elements.as_object());
            let first = |element: &serde_json::Value| {
                let path = element.get("storePaths")?.get(0)?.as_str()?;
                Some(path.to_owned())
            };
            return elements
                .into_iter()
                .flatten()
                .map(|(name, element)| (name.clone(), first(element).unwrap_or_default()))
                .collect();
        }
        let Some(manifest) = read("manifest.nix").and_then(|text| manifest_nix::Value::parse(&text).ok())
        else {
            return Vec::new();
        };
        let manifest_nix::Value::List(elements) = manifest else { return Vec::new() };
        let text = |element: &manifest_nix::Value, name: &str| Some(element.get(name)?.as_str()?.to_owned());
        elements
            .iter()
            .filter_map(|element| {
                Some((text(element, "name")?, text(element, "outPath").unwrap_or_default()))
            })
            .collect()
    }

    /// The files whose names begin with the word.
    fn files(&self) -> Answer {
        /// Nobody looks at more.
        const MOST: usize = 10_000;
        let bytes = self.partial.as_bytes();
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(program: &str, line: &[&str]) -> Vec<String> {
        let all: Vec<OsString> = line.iter().map(OsString::from).collect();
        let (partial, before) = all.split_last().expect("a word");
        let environment = std::iter::empty::<(String, String)>().collect::<Environment>();
        let completer = Completer { environment: &environment, partial: partial.clone() };
        let answer = completer.complete(program, before);
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
        assert_eq!(words("nix", &["copy", "--to", "file:"]), ["file://"]);
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
}
