//! Finding every row that is not as it should be. Nothing stops at the first.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use rusqlite::types::ValueRef;

use super::Db;
use super::cells::{self, Label};
use super::read::{PathId, content_address, parse_hash};
use crate::model::{Hash, StorePath};
use crate::store::error::Result;
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

impl Db {
    /// Looks at every row of every table.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn check(&self) -> Result<Findings> {
        self.snapshot(|| {
            let mut findings = Findings::default();
            let mut ids = Ids::default();
            self.check_paths(&mut findings, &mut ids)?;
            findings.rows.sort_unstable_by(|a, b| a.path.cmp(&b.path));
            let by_id = ById::default();
            self.check_all_references(&mut findings, &ids, &by_id)?;
            self.check_outputs(&mut findings, &ids, &by_id)?;
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
            problems.extend(cells::optional_path(&self.dir, "deriver", at(4)).err());
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

    fn check_all_references(&self, findings: &mut Findings, ids: &Ids, by_id: &ById) -> Result<()> {
        let mut odd = Vec::new();
        self.each_row("checking references", "select rowid, referrer, reference from Refs", [], |row| {
            interrupt::check()?;
            let is_there = |at| matches!(cells::value(row, at), ValueRef::Integer(id) if ids.has(id));
            if !(is_there(1) && is_there(2)) {
                odd.push(row.get::<_, i64>(0).unwrap_or(0));
            }
            Ok(())
        })?;
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

impl Findings {
    fn push_named(
        &mut self,
        table: Table,
        name: &'static str,
        row: i64,
        text: Vec<u8>,
        problems: Vec<(&'static str, String)>,
        ends: (Option<PathId>, Option<PathId>),
    ) {
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
