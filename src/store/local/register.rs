//! Registering paths from a text, and writing that text.
//!
//! ```text
//! entry = path LF [ hash LF size LF ] deriver LF count LF { reference LF }
//! ```
//!
//! Paths are full, the hash is that of the NAR in base 16, no deriver is an
//! empty line. Hash and size are left out where the registering side computes
//! them itself.

use std::io::{BufRead, Write};

use indexmap::IndexSet;

use super::LocalStore;
use super::db::write::{Existing, Writer};
use crate::model::hash::HashAlgorithm;
use crate::model::{Hash, HashFormat, StoreDir, StorePath, ValidPathInfo};
use crate::nar::{canonical, dump};
use crate::store::error::{RegistrationError, Result, StoreError};
use crate::sys::clock::now;
use crate::sys::{PathError, interrupt};

/// Longest line that is taken, in bytes.
const MAX_LINE: usize = 8192;

/// What [`LocalStore::register_validity`] does besides reading.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RegisterOptions {
    /// The text has hashes and sizes; otherwise they are computed.
    pub hash_given: bool,
    /// The paths have to be there, and are given canonical metadata.
    pub canonicalise: bool,
    /// What happens to paths that are valid already.
    pub existing: Existing,
}

impl RegisterOptions {
    /// Nothing besides reading, with hashes and sizes that are computed.
    pub fn new(existing: Existing) -> Self {
        Self { hash_given: false, canonicalise: false, existing }
    }
}

/// Entries with every path once, so that a hundred thousand of them take some
/// twenty megabytes.
#[derive(Default)]
struct Entries {
    paths: IndexSet<StorePath>,
    entries: Vec<Entry>,
    references: Vec<u32>,
}

struct Entry {
    path: u32,
    nar_hash: Hash32,
    nar_size: u64,
    deriver: Option<u32>,
    /// Where its references end in the common list.
    end: usize,
}

type Hash32 = [u8; 32];

impl Entries {
    fn intern(&mut self, path: StorePath) -> u32 {
        // More than 2^32 paths do not fit in memory anyway.
        u32::try_from(self.paths.insert_full(path).0).unwrap_or(u32::MAX)
    }
}

struct Lines<R> {
    input: R,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// The next line without its end; `None` at the end of the input.
    fn next(&mut self) -> Result<Option<&str>> {
        self.line.clear();
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    interrupt::check()?;
                    return Err(PathError::new("reading", "standard input", error).into());
                }
            };
            if available.is_empty() {
                return if self.line.is_empty() { Ok(None) } else { Err(missing()) };
            }
            let (part, ended) = match available.iter().position(|b| *b == b'\n') {
                Some(end) => (&available[..end], true),
                None => (available, false),
            };
            if self.line.len() + part.len() > MAX_LINE {
                return Err(RegistrationError::LongLine(MAX_LINE).into());
            }
            self.line.extend_from_slice(part);
            let used = part.len() + usize::from(ended);
            self.input.consume(used);
            if ended {
                return std::str::from_utf8(&self.line)
                    .map(Some)
                    .map_err(|_| RegistrationError::NotUtf8.into());
            }
        }
    }

    fn require(&mut self) -> Result<&str> {
        self.next()?.ok_or_else(missing)
    }

    fn number<N: std::str::FromStr>(&mut self) -> Result<N> {
        let line = self.require()?;
        let digits = !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| line.parse().ok()).flatten().ok_or_else(|| RegistrationError::NumberExpected.into())
    }
}

fn missing() -> StoreError {
    RegistrationError::Incomplete.into()
}

impl LocalStore {
    /// Registers the paths that a text lists, in one transaction: all or none.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is then registered.
    pub fn register_validity(&self, input: impl BufRead, options: RegisterOptions) -> Result<()> {
        let mut entries = self.parse_entries(input, options.hash_given)?;
        if entries.entries.is_empty() {
            return Ok(());
        }
        self.require_writable()?;
        if options.canonicalise {
            self.prepare_entries(&mut entries, options)?;
        }
        if options.existing == Existing::Keep {
            self.load(entries)
        } else {
            let infos = self.to_infos(&entries)?;
            self.write(|writer| {
                writer.register(&infos, options.existing, now(), |path| {
                    Ok(self.checked_derivation(path)?.known_outputs())
                })
            })
        }
    }

    fn parse_entries(&self, input: impl BufRead, hash_given: bool) -> Result<Entries> {
        let mut lines = Lines { input, line: Vec::new() };
        let mut entries = Entries::default();
        loop {
            interrupt::check()?;
            let Some(path) = lines.next()? else { return Ok(entries) };
            let text = path.to_owned();
            let mut nar_hash = Hash32::default();
            let mut nar_size = 0;
            if hash_given {
                // The hash is looked at before the path, as it always was.
                let digits = lines.next()?.unwrap_or_default();
                let hash = Hash::parse(digits, Some(HashAlgorithm::Sha256))?;
                nar_hash.copy_from_slice(hash.as_bytes());
                nar_size = lines.number()?;
                if i64::try_from(nar_size).is_err() {
                    return Err(RegistrationError::Size { path: text, size: nar_size }.into());
                }
            }
            let path = self.dir().parse(&text)?;
            let path = entries.intern(path);
            let deriver = lines.require()?;
            let deriver = if deriver.is_empty() { None } else { Some(self.dir().parse(deriver)?) };
            let deriver = deriver.map(|deriver| entries.intern(deriver));
            let count: u64 = lines.number()?;
            for _ in 0..count {
                let reference = self.dir().parse(lines.require()?)?;
                let reference = entries.intern(reference);
                entries.references.push(reference);
            }
            let end = entries.references.len();
            entries.entries.push(Entry { path, nar_hash, nar_size, deriver, end });
        }
    }

    /// Gives the trees canonical metadata and computes their hashes, unless they
    /// were given.
    fn prepare_entries(&self, entries: &mut Entries, options: RegisterOptions) -> Result<()> {
        for entry in &mut entries.entries {
            interrupt::check()?;
            let path = &entries.paths[entry.path as usize];
            if options.existing == Existing::Keep && self.db().is_valid(path)? {
                continue;
            }
            let real = self.real_path(path);
            if let Err(error) = std::fs::symlink_metadata(&real) {
                return Err(PathError::new("getting status of", real, error).into());
            }
            canonical::canonicalise(&real, &self.options.ignored_xattrs)?;
            if options.hash_given {
                continue;
            }
            let (hash, size) = dump::hash(&real, HashAlgorithm::Sha256)?;
            entry.nar_hash.copy_from_slice(hash.as_bytes());
            entry.nar_size = size;
            self.progress().advance(1);
        }
        Ok(())
    }

    fn to_info(&self, entries: &Entries, entry: &Entry, references: &[u32]) -> Result<ValidPathInfo> {
        let path = |index: u32| entries.paths[index as usize].clone();
        let hash = Hash::from_bytes(HashAlgorithm::Sha256, &entry.nar_hash)
            .ok_or_else(|| StoreError::from(RegistrationError::HashLength))?;
        let mut info = ValidPathInfo::new(path(entry.path), hash, entry.nar_size);
        info.deriver = entry.deriver.map(path);
        info.references = references.iter().map(|index| path(*index)).collect();
        Ok(info)
    }

    fn to_infos(&self, entries: &Entries) -> Result<Vec<ValidPathInfo>> {
        let mut start = 0;
        entries
            .entries
            .iter()
            .map(|entry| {
                let references = &entries.references[start..entry.end];
                start = entry.end;
                self.to_info(entries, entry, references)
            })
            .collect()
    }

    /// Registers what is not valid yet, rows first and references after, with
    /// numbers in place of paths.
    fn load(&self, entries: Entries) -> Result<()> {
        /// From here on it pays to prepare for many rows.
        const MANY: usize = 1000;
        if entries.entries.len() < MANY {
            self.write(|writer| self.load_with(writer, &entries))
        } else {
            self.write_in_bulk(move |writer| self.load_with(writer, &entries))
        }
    }

    fn load_with(&self, writer: &Writer<'_>, entries: &Entries) -> Result<()> {
        let now = now();
        // For each path its number in the database, once that is known.
        let mut ids = vec![0; entries.paths.len()];
        let mut fresh = vec![false; entries.paths.len()];
        for entry in &entries.entries {
            let id = &mut ids[entry.path as usize];
            if *id != 0 {
                continue;
            }
            let path = &entries.paths[entry.path as usize];
            *id = match writer.id_of(path)? {
                Some(id) => id,
                None => {
                    interrupt::check()?;
                    fresh[entry.path as usize] = true;
                    let id = writer.insert(&self.to_info(entries, entry, &[])?, now)?;
                    if path.is_derivation() {
                        writer.add_derivation_outputs(id, &self.checked_derivation(path)?.known_outputs())?;
                    }
                    id
                }
            };
        }
        let mut start = 0;
        let mut rows = writer.references()?;
        let mut targets = Vec::new();
        for entry in &entries.entries {
            let references = &entries.references[start..entry.end];
            start = entry.end;
            if !fresh[entry.path as usize] {
                continue;
            }
            targets.clear();
            for index in references {
                let id = &mut ids[*index as usize];
                if *id == 0 {
                    let path = &entries.paths[*index as usize];
                    *id = writer.id_of(path)?.ok_or_else(|| self.invalid(path))?;
                }
                targets.push(*id);
            }
            targets.sort_unstable();
            interrupt::check()?;
            for target in &targets {
                rows.add(ids[entry.path as usize], *target)?;
            }
        }
        Ok(())
    }

    /// Writes the entries of all paths, in order.
    ///
    /// # Errors
    /// Errors of the database and of the output.
    pub fn dump_all(&self, output: &mut dyn Write) -> Result<()> {
        let db = self.db();
        db.snapshot(|| {
            let graph = crate::store::graph::Graph::load(&db)?;
            let mut index = 0;
            let prefix = format!("{}/", self.dir().as_str());
            let mut entry = Vec::new();
            db.each_path(|row| {
                interrupt::check()?;
                self.progress().advance(1);
                let hash = row.nar_hash()?.digits(HashFormat::Base16);
                let deriver = row.deriver.unwrap_or_default();
                let references = graph.references(index);
                index += 1;
                entry.clear();
                let _ = writeln!(
                    entry,
                    "{}\n{hash}\n{}\n{deriver}\n{}",
                    row.path,
                    row.nar_size,
                    references.len()
                );
                for reference in references {
                    entry.extend_from_slice(prefix.as_bytes());
                    entry.extend_from_slice(graph.base_name(*reference).as_bytes());
                    entry.push(b'\n');
                }
                Ok(output.write_all(&entry).map_err(crate::nar::NarError::Write)?)
            })
        })
    }
}

/// Writes the entry of a path.
///
/// # Errors
/// Errors of the output.
pub fn dump_entry(dir: &StoreDir, info: &ValidPathInfo, output: &mut impl Write) -> Result<()> {
    let mut entry = Vec::new();
    let deriver = info.deriver.as_ref().map(|deriver| dir.print(deriver)).unwrap_or_default();
    let hash = info.nar_hash.digits(HashFormat::Base16);
    let _ = writeln!(entry, "{}\n{hash}\n{}\n{deriver}", dir.display(&info.path), info.nar_size);
    let _ = writeln!(entry, "{}", info.references.len());
    for reference in &info.references {
        let _ = writeln!(entry, "{}", dir.display(reference));
    }
    Ok(output.write_all(&entry).map_err(crate::nar::NarError::Write)?)
}
