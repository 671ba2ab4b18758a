//! Machines that derivations can be built on instead of this one.
//!
//! ```text
//! machines = { line ( ";" | "\n" ) }
//! line     = "@" FILE | URI [ systems [ key [ jobs [ speed [ features [ mandatory [ host-key ]]]]]]]
//! ```
//!
//! Columns stand apart by blanks; `-` stands for what a column that is not there means, lists have
//! commas, and `#` begins a comment. What FILE holds is read in its place; one that is not there is empty.

mod choose;
mod slots;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use base64::Engine as _;

pub use choose::{Choice, Claim, Wish, choose, none_fits};
pub use slots::UploadLock;

use crate::sys::PathError;

/// How deep files may name other files.
const MAX_DEPTH: usize = 16;
/// Bytes of such a file at most.
const MAX_FILE: u64 = 4 << 20;

/// A machine.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Machine {
    /// Its store, without its keys.
    pub uri: String,
    /// The systems whose programs it runs.
    pub systems: BTreeSet<String>,
    /// A file with the key with which one logs in there.
    pub key: Option<PathBuf>,
    /// Builds at a time; 0 for none.
    pub jobs: u64,
    /// How fast it is, compared with others; not below 0.
    pub speed: f32,
    /// What it offers to builds that ask for it.
    pub features: BTreeSet<String>,
    /// What a build has to ask for to be built there.
    pub mandatory: BTreeSet<String>,
    /// The key of the machine itself, in base64.
    pub host_key: Option<String>,
}

/// What is wrong with a list of machines.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachinesError {
    /// A line begins with a column that is left out.
    #[error("bad machine specification: store URL was not found at the first column of a row: '{0}'")]
    NoUri(String),
    /// A column is no number.
    #[error("bad machine specification: failed to convert column #{column} in a row: '{line}' to '{kind}'")]
    Number {
        /// The column, from 0 on.
        column: usize,
        /// The line.
        line: String,
        /// What it should be.
        kind: &'static str,
    },
    /// A machine that gets slower the more it does.
    #[error("speed factor must be >= 0")]
    Speed,
    /// The key of a machine.
    #[error("bad machine specification: a column #{column} in a row: '{line}' is not valid base64 string")]
    HostKey {
        /// The column, from 0 on.
        column: usize,
        /// The line.
        line: String,
    },
    /// Files that name each other without an end.
    #[error("the file of machines '{}' is named by too many others in a row, or by itself", .0.display())]
    Depth(PathBuf),
    /// A file that is no list of machines.
    #[error("the file of machines '{}' is too large", .0.display())]
    Large(PathBuf),
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] PathError),
}

/// Reads the value of the setting `builders`; a machine that says nothing of its systems has
/// `system`, and files without a full name lie in `directory`.
///
/// # Errors
/// [`MachinesError`], for the first line that is none.
pub fn parse(text: &str, system: &str, directory: &Path) -> Result<Vec<Machine>, MachinesError> {
    let mut machines = Vec::new();
    parse_into(&mut machines, text, system, directory, 0)?;
    Ok(machines)
}

fn parse_into(
    machines: &mut Vec<Machine>,
    text: &str,
    system: &str,
    directory: &Path,
    depth: usize,
) -> Result<(), MachinesError> {
    for line in text.split(['\n', ';']) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(file) = line.strip_prefix('@') {
            let file = directory.join(file);
            if depth == MAX_DEPTH {
                return Err(MachinesError::Depth(file));
            }
            if let Some(text) = read(&file)? {
                parse_into(machines, &text, system, directory, depth + 1)?;
            }
        } else if !line.is_empty() {
            machines.push(Machine::parse(line, system)?);
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<Option<String>, MachinesError> {
    use std::io::Read as _;
    let opened = match std::fs::File::open(file) {
        Ok(opened) => opened,
        // No machines.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PathError::new("opening file", file, error).into()),
    };
    let mut text = Vec::new();
    opened.take(MAX_FILE + 1).read_to_end(&mut text).map_err(PathError::at("reading file", file))?;
    if text.len() as u64 > MAX_FILE {
        return Err(MachinesError::Large(file.to_owned()));
    }
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}

impl Machine {
    /// Reads a line that is not empty.
    fn parse(line: &str, system: &str) -> Result<Self, MachinesError> {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let column =
            |number: usize| columns.get(number).copied().filter(|text| !text.is_empty() && *text != "-");
        let list = |number: usize| -> BTreeSet<String> {
            let words = column(number).unwrap_or_default().split(',');
            words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        let no_number = |column, kind| MachinesError::Number { column, line: line.to_owned(), kind };
        let uri = column(0).ok_or_else(|| MachinesError::NoUri(line.to_owned()))?;
        let jobs = match column(3) {
            None => 1,
            Some(text) => text.parse::<u32>().map_err(|_| no_number(3, "unsigned int"))?,
        };
        let speed = match column(4) {
            None => 1.0,
            Some(text) => text
                .parse::<f32>()
                .ok()
                .filter(|speed| speed.is_finite())
                .ok_or_else(|| no_number(4, "float"))?,
        };
        if speed < 0.0 {
            return Err(MachinesError::Speed);
        }
        let host_key = column(7).map(str::to_owned);
        if let Some(key) = &host_key {
            let decoded = base64::engine::general_purpose::STANDARD.decode(key);
            decoded.map_err(|_| MachinesError::HostKey { column: 7, line: line.to_owned() })?;
        }
        let mut systems = list(1);
        if systems.is_empty() {
            systems.insert(system.to_owned());
        }
        Ok(Self {
            uri: full_uri(uri),
            systems,
            key: column(2).map(PathBuf::from),
            jobs: u64::from(jobs),
            speed,
            features: list(5),
            mandatory: list(6),
            host_key,
        })
    }

    /// The text that opens its store: with its keys as parameters.
    pub fn store_uri(&self) -> String {
        let mut uri = self.uri.clone();
        let key = self.key.as_ref().map(|key| key.to_string_lossy().into_owned());
        let parameters = [("ssh-key", key.as_ref()), ("base64-ssh-public-host-key", self.host_key.as_ref())];
        for (name, value) in parameters {
            if let Some(value) = value {
                uri.push(if uri.contains('?') { '&' } else { '?' });
                uri.push_str(&format!("{name}={}", encoded(value)));
            }
        }
        uri
    }

    /// Whether it can build what `wish` asks for.
    pub fn fits(&self, wish: &Wish<'_>) -> bool {
        (wish.is_own || self.systems.contains(wish.system))
            && wish
                .features
                .iter()
                .all(|feature| self.features.contains(feature) || self.mandatory.contains(feature))
            && self.mandatory.is_subset(wish.features)
    }
}

/// A name alone is that of a machine which ssh leads to; parameters come in the order of their names,
/// as the reference names a machine in messages and locks.
fn full_uri(text: &str) -> String {
    let (name, parameters) = text.split_once('?').unwrap_or((text, ""));
    let mut uri = match name {
        "auto" | "daemon" | "local" => name.to_owned(),
        _ if name.contains("://") => name.to_owned(),
        _ if name.starts_with('/') => format!("local://{name}"),
        _ => format!("ssh://{name}"),
    };
    let mut parameters: Vec<&str> = parameters.split('&').filter(|text| !text.is_empty()).collect();
    parameters.sort_unstable();
    for (number, parameter) in parameters.iter().enumerate() {
        uri.push(if number == 0 { '?' } else { '&' });
        uri.push_str(parameter);
    }
    uri
}

/// A value of a parameter, with everything else than plain characters as `%XX`.
fn encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./~".contains(&byte);
    let encode = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    value.bytes().map(encode).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Machine>, String> {
        parse(text, "x86_64-linux", Path::new("/")).map_err(|error| error.to_string())
    }

    fn set(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn columns() {
        let text = "ssh-ng://u@h?compress=true a-linux,b-linux /k e 3 2.5 f,g m c3No # comment\n";
        assert!(parsed(text).is_err(), "a column too many moves the others");
        let machines =
            parsed("ssh-ng://u@h?compress=true a-linux,b-linux /k&e 3 2.5 f,g m c3No # x\n; h").unwrap();
        let [first, second] = &machines[..] else { panic!("{machines:?}") };
        assert_eq!(first.systems, set(&["a-linux", "b-linux"]));
        assert_eq!((first.jobs, first.speed), (3, 2.5));
        assert_eq!((&first.features, &first.mandatory), (&set(&["f", "g"]), &set(&["m"])));
        assert_eq!(
            first.store_uri(),
            "ssh-ng://u@h?compress=true&ssh-key=/k%26e&base64-ssh-public-host-key=c3No"
        );
        assert_eq!((second.uri.as_str(), second.jobs, second.speed), ("ssh://h", 1, 1.0));
        assert_eq!(second.systems, set(&["x86_64-linux"]));
        assert_eq!(parsed("h - - - - - - -").unwrap()[0], *second);
    }

    #[test]
    fn errors_are_those_of_the_reference() {
        let error = |text: &str| parsed(text).unwrap_err();
        assert_eq!(
            error("ssh-ng://foo x86_64-linux - x"),
            "bad machine specification: failed to convert column #3 in a row: 'ssh-ng://foo x86_64-linux - x' to \
             'unsigned int'"
        );
        assert!(error("h - - -1").contains("column #3"));
        assert!(error("h - - 1 x").ends_with("'h - - 1 x' to 'float'"));
        assert_eq!(error("h - - 1 -1"), "speed factor must be >= 0");
        assert_eq!(
            error("- foo - 1 1 - -"),
            "bad machine specification: store URL was not found at the first column of a row: '- foo - 1 1 - -'"
        );
        assert!(error("h - - - - - - no!").ends_with("is not valid base64 string"));
    }

    #[test]
    fn files_are_read_in_their_places() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("one", "a\n# nothing\n\n@two\nc\n");
        write("two", "b");
        write("circle", "@circle");
        let uris = |text: &str| {
            let machines = parse(text, "s", dir.path());
            machines.map(|machines| machines.into_iter().map(|machine| machine.uri).collect::<Vec<_>>())
        };
        assert_eq!(uris("@one;@nowhere;d").unwrap(), ["ssh://a", "ssh://b", "ssh://c", "ssh://d"]);
        assert!(matches!(uris("@circle"), Err(MachinesError::Depth(_))));
    }
}
