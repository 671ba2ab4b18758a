//! Finding every row that is not as it should be. Nothing stops at the first.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;

use super::Db;
use super::cells::{self, Label};
use crate::model::{Hash, StorePath};
use crate::store::error::Result;
use crate::store::graph::PathId;
use crate::store::local::db::read::{content_address, parse_hash};
use crate::sys::interrupt;

/// A row of ValidPaths whose path can be read.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Its number.
    pub id: PathId,
    /// Its path.
    pub path: StorePath,
    /// The hash of its archive, if it can be read.
    pub hash: Option<Hash>,
    /// Bytes of its archive; 0 where nobody recorded it, or it cannot be read.
    pub size: u64,
    /// Whether it has a content address that can be read.
    pub is_addressed: bool,
}

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Valid paths.
    ValidPaths,
    /// References.
    Refs,
    /// Outputs of derivations.
    DerivationOutputs,
    /// Realisations.
    Realisations,
    /// Which realisations depend on which.
    RealisationsRefs,
}

/// A row that is not as it should be.
#[derive(Debug, Clone)]
pub struct Damaged {
    /// Where.
    pub table: Table,
    /// Its number there.
    pub row: i64,
    /// Its name in messages.
    pub label: String,
    /// The columns that are wrong, each with what is to be told.
    pub problems: Vec<(&'static str, String)>,
    /// What stands where a path should.
    pub text: Vec<u8>,
    /// The hash of ValidPaths, if it can be read.
    pub hash: Option<Hash>,
    /// Numbers of rows of ValidPaths that it names and that are there: the
    /// referrer or derivation, and the reference.
    pub ends: (Option<PathId>, Option<PathId>),
}

impl Damaged {
    /// Whether a column is wrong.
    pub fn has(&self, column: &str) -> bool {
        self.problems.iter().any(|(wrong, _)| *wrong == column)
    }
}

/// What a look at every row finds.
#[derive(Debug, Default)]
pub struct Findings {
    /// In the order of their paths.
    pub rows: Vec<Checked>,
    /// Everything else.
    pub damaged: Vec<Damaged>,
}

/// The SQL function that tells whether both ends of a reference are there.
const ARE_ROWS: &str = "nival_are_rows";

impl Db {
    /// Looks at every row of every table.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`](crate::store::StoreError::Sqlite) and [`StoreError::Unusable`](crate::store::StoreError::Unusable).
    pub fn check(&self) -> Result<Findings> {
        self.snapshot(|| {
            let mut findings = Findings::default();
            let mut ids = Ids::default();
            self.check_paths(&mut findings, &mut ids)?;
            findings.sort();
            let by_id = ById::default();
            let ids = Arc::new(ids);
            self.check_all_references(&mut findings, &ids, &by_id)?;
            self.check_outputs(&mut findings, &ids, &by_id)?;
            self.check_realisations(&mut findings)?;
            Ok(findings)
        })
    }

    fn check_paths(&self, findings: &mut Findings, ids: &mut Ids) -> Result<()> {
        let sql =
            "select id, path, hash, narSize, deriver, registrationTime, ultimate, sigs, ca from ValidPaths";
        self.each_row("reading all paths", sql, [], |row| {
            interrupt::check()?;
            let at = |column| cells::value(row, column);
            let id: PathId = row.get(0).unwrap_or(0);
            ids.insert(id);
            let text = bytes(at(1));
            let label = Label { path: (!text.is_empty()).then_some(text), ..Label::valid_path(id) };
            let mut problems = Vec::new();
            let path = cells::path(&self.dir, "path", at(1)).map_err(|p| problems.push(p)).ok();
            let hash = cells::parsed("hash", at(2), parse_hash).map_err(|p| problems.push(p)).ok();
            let size = cells::size(at(3)).map_err(|p| problems.push(p)).unwrap_or(0);
            problems.extend(cells::optional_path_text(&self.dir, "deriver", at(4)).err());
            problems.extend(cells::number("registrationTime", at(5)).err());
            problems.extend(cells::ultimate(at(6)).err());
            problems.extend(cells::optional_text("sigs", at(7)).err());
            let ca = content_address(at(8)).map_err(|p| problems.push(p)).ok().flatten();
            if let Some(path) = path {
                let is_addressed = ca.is_some();
                findings.rows.push(Checked { id, path, hash, size, is_addressed });
            }
            if !problems.is_empty() {
                findings.damaged.push(Damaged {
                    table: Table::ValidPaths,
                    row: id,
                    label: label.to_string(),
                    problems,
                    text: text.to_vec(),
                    hash,
                    ends: (Some(id), None),
                });
            }
            Ok(())
        })
    }

    fn check_all_references(&self, findings: &mut Findings, ids: &Arc<Ids>, by_id: &ById) -> Result<()> {
        let action = "checking references";
        // Inside of SQLite, where a row costs half of what it costs to hand it over.
        let ids = Arc::clone(ids);
        let are_rows = move |context: &Context<'_>| {
            if interrupt::requested() {
                return Err(rusqlite::Error::UserFunctionError(Box::new(interrupt::Interrupted)));
            }
            let is_row = |at| matches!(context.get_raw(at), ValueRef::Integer(id) if ids.has(id));
            Ok(is_row(0) && is_row(1))
        };
        let flags = FunctionFlags::SQLITE_UTF8;
        self.connection.create_scalar_function(ARE_ROWS, 2, flags, are_rows).map_err(self.error(action))?;
        let mut odd = Vec::new();
        let sql = format!("select rowid from Refs where not {ARE_ROWS}(referrer, reference)");
        let result = self.each_row(action, &sql, [], |row| {
            odd.push(row.get::<_, i64>(0).unwrap_or(0));
            Ok(())
        });
        self.connection.remove_function(ARE_ROWS, 2).map_err(self.error(action))?;
        result?;
        odd.into_iter().try_for_each(|row| self.check_reference(row, findings, by_id))
    }

    /// Tells what is wrong with a row of Refs.
    fn check_reference(&self, row: i64, findings: &mut Findings, by_id: &ById) -> Result<()> {
        let sql = "select r.rowid, r.referrer, r.reference, a.id, b.id, a.path, b.path from Refs r \
                   left join ValidPaths a on a.id = r.referrer left join ValidPaths b on b.id = r.reference \
                   where r.rowid = ?";
        self.each_row("checking references", sql, [row], |row| {
            interrupt::check()?;
            let end = |at| match cells::value(row, at) {
                ValueRef::Integer(id) => Some(id),
                _ => None,
            };
            let ends = (end(3), end(4));
            let text = match ends.0.or(ends.1).and_then(|id| by_id.get(&findings.rows, id)) {
                Some(at) => self.dir.print(&findings.rows[at].path).into_bytes(),
                None => bytes(cells::value(row, 5)).to_vec(),
            };
            let mut problems = Vec::new();
            for (column, at, there) in [("referrer", 1, ends.0), ("reference", 2, ends.1)] {
                if there.is_none() {
                    let value = cells::shown(cells::value(row, at));
                    problems.push((column, format!("its {column} is {value}, and there is no such row")));
                }
            }
            findings.push_named(Table::Refs, "Refs", row.get(0).unwrap_or(0), text, problems, ends);
            Ok(())
        })
    }

    fn check_outputs(&self, findings: &mut Findings, ids: &Ids, by_id: &ById) -> Result<()> {
        let sql = "select rowid, drv, id, path from DerivationOutputs";
        self.each_row("checking the outputs of derivations", sql, [], |row| {
            interrupt::check()?;
            let mut problems = Vec::new();
            let drv = match cells::value(row, 1) {
                ValueRef::Integer(id) if ids.has(id) => Some(id),
                _ => {
                    let value = cells::shown(cells::value(row, 1));
                    problems.push(("drv", format!("its drv is {value}, and there is no such row")));
                    None
                }
            };
            problems.extend(cells::text("id", cells::value(row, 2)).err());
            problems.extend(cells::base_name(&self.dir, "path", cells::value(row, 3)).err());
            if problems.is_empty() {
                return Ok(());
            }
            let text = match drv.and_then(|id| by_id.get(&findings.rows, id)) {
                Some(at) => self.dir.print(&findings.rows[at].path).into_bytes(),
                None => bytes(cells::value(row, 3)).to_vec(),
            };
            let row = row.get(0).unwrap_or(0);
            findings.push_named(
                Table::DerivationOutputs,
                "DerivationOutputs",
                row,
                text,
                problems,
                (drv, None),
            );
            Ok(())
        })
    }
}

/// The numbers of all rows of ValidPaths: bits for those that are given out one
/// after the other, which costs a byte for eight paths.
#[derive(Default)]
struct Ids {
    bits: Vec<u64>,
    far: HashSet<PathId>,
}

/// Numbers from here on are no longer bits: 16 MiB at most.
const FAR: PathId = 1 << 27;

impl Ids {
    fn insert(&mut self, id: PathId) {
        let Some((word, bit)) = place(id) else {
            self.far.insert(id);
            return;
        };
        if word >= self.bits.len() {
            self.bits.resize((word + 1).next_power_of_two(), 0);
        }
        self.bits[word] |= bit;
    }

    fn has(&self, id: PathId) -> bool {
        match place(id) {
            Some((word, bit)) => self.bits.get(word).is_some_and(|bits| bits & bit != 0),
            None => self.far.contains(&id),
        }
    }
}

/// The word and the bit of a number.
fn place(id: PathId) -> Option<(usize, u64)> {
    let number = usize::try_from(id).ok().filter(|_| id < FAR)?;
    Some((number / 64, 1 << (number % 64)))
}

/// Where the rows with a number stand, looked up only for rows that are damaged.
#[derive(Default)]
struct ById(OnceCell<HashMap<PathId, usize>>);

impl ById {
    fn get(&self, rows: &[Checked], id: PathId) -> Option<usize> {
        let of_rows = || rows.iter().enumerate().map(|(at, row)| (row.id, at)).collect();
        self.0.get_or_init(of_rows).get(&id).copied()
    }
}

/// The first bytes of a base name as a number of the same order. They decide
/// nearly always, without a look at the name, which lies somewhere else.
fn prefix(name: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = name.len().min(8);
    bytes[..length].copy_from_slice(&name[..length]);
    u64::from_be_bytes(bytes)
}

/// Finds rows by base names.
pub struct Names<'f> {
    rows: &'f [Checked],
    prefixes: Vec<u64>,
}

impl<'f> Names<'f> {
    /// For the rows of [`Findings`], which are in the order of their paths.
    pub fn new(rows: &'f [Checked]) -> Self {
        Self { rows, prefixes: rows.iter().map(|row| prefix(row.path.base_name().as_bytes())).collect() }
    }

    /// The position of the row with a base name.
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        let sought = prefix(name);
        let first = self.prefixes.partition_point(|prefix| *prefix < sought);
        let alike = self.prefixes[first..].iter().take_while(|prefix| **prefix == sought).count();
        let found = self.rows[first..first + alike]
            .binary_search_by(|row| row.path.base_name().as_bytes().cmp(name))
            .ok()?;
        Some(first + found)
    }
}

impl Findings {
    /// Puts the rows into the order of their paths.
    fn sort(&mut self) {
        let key = |row: &Checked| prefix(row.path.base_name().as_bytes());
        self.rows.sort_by_cached_key(key);
        for alike in self.rows.chunk_by_mut(|a, b| key(a) == key(b)).filter(|alike| alike.len() > 1) {
            alike.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        }
    }

    /// Adds a row of a table that is not ValidPaths, if it has problems.
    pub(super) fn push_named(
        &mut self,
        table: Table,
        name: &'static str,
        row: i64,
        text: Vec<u8>,
        problems: Vec<(&'static str, String)>,
        ends: (Option<PathId>, Option<PathId>),
    ) {
        if problems.is_empty() {
            return;
        }
        let label = Label { table: name, row, path: (!text.is_empty()).then_some(&text[..]) };
        let label = label.to_string();
        self.damaged.push(Damaged { table, row, label, problems, text, hash: None, ends });
    }
}

fn bytes(value: ValueRef<'_>) -> &[u8] {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
        _ => &[],
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_with_the_same_beginning_are_found() {
        let hash = "0123456789abcdfghijklmnpqrsvwxyz";
        let names = ["b", "a", "ab", "c"].map(|name| format!("{hash}-{name}"));
        let other = format!("1{}-x", &hash[1..]);
        let mut findings = Findings::default();
        for (id, name) in (1..).zip(names.iter().chain([&other])) {
            let path = StorePath::from_base_name(name).expect("a base name");
            findings.rows.push(Checked { id, path, hash: None, size: 0, is_addressed: false });
        }
        findings.sort();
        assert!(findings.rows.is_sorted_by(|a, b| a.path < b.path));
        let index = Names::new(&findings.rows);
        for name in names.iter().chain([&other]) {
            let at = index.find(name.as_bytes()).expect("a node");
            assert_eq!(findings.rows[at].path.base_name(), name);
        }
        for absent in ["", "0", "01234567", ".links", &format!("{hash}-bb"), &format!("2{}-x", &hash[1..])] {
            assert_eq!(index.find(absent.as_bytes()), None, "{absent}");
        }
    }
}
