//! Queries.

use std::collections::{BTreeSet, HashMap};

use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::Db;
use super::cells::{self, Label, Problem};
use crate::model::hash::{HashAlgorithm, HashError};
use crate::model::{ContentAddress, Hash, StoreDir, StorePath, ValidPathInfo};
use crate::store::api::RawPath;
use crate::store::error::{Result, StoreError};
use crate::store::graph::PathId;

const COLUMNS: &str = "id, path, hash, narSize, deriver, registrationTime, ultimate, sigs, ca";

/// Reads a row and looks at every value of it.
fn raw_path(dir: &StoreDir, row: &Row<'_>) -> Result<RawPath> {
    let at = |column| cells::value(row, column);
    let id = id_at(row, 0);
    let label = Label { path: as_bytes(at(1)), ..Label::valid_path(id) };
    let check = || {
        Ok(RawPath {
            id,
            path: cells::full_path(dir, "path", at(1))?.to_owned(),
            hash: hash_text(at(2))?.to_owned(),
            nar_size: cells::size(at(3))?,
            deriver: cells::optional_path_text(dir, "deriver", at(4))?.map(str::to_owned),
            registration_time: cells::number("registrationTime", at(5))?.cast_signed(),
            ultimate: cells::ultimate(at(6))?,
            signatures: cells::optional_text("sigs", at(7))?.map(str::to_owned),
            ca: content_address(at(8))?.map(str::to_owned),
        })
    };
    cells::at(label, check())
}

/// The hash of a NAR that can be read, as it stands there.
fn hash_text(value: ValueRef<'_>) -> std::result::Result<&str, Problem> {
    cells::parsed("hash", value, |text| parse_hash(text).map(drop))?;
    cells::text("hash", value)
}

/// Reads the hash of a NAR.
pub(super) fn parse_hash(text: &str) -> std::result::Result<Hash, HashError> {
    Hash::parse(text, Some(HashAlgorithm::Sha256))
}

/// A content address that can be read, or nothing.
pub(super) fn content_address(value: ValueRef<'_>) -> std::result::Result<Option<&str>, Problem> {
    match cells::optional_text("ca", value)? {
        None | Some("") => Ok(None),
        Some(text) => cells::parsed("ca", value, str::parse::<ContentAddress>).map(|_| Some(text)),
    }
}

/// The number of a row, which SQLite lets be nothing but a whole number.
fn id_at(row: &Row<'_>, at: usize) -> PathId {
    row.get(at).unwrap_or(0)
}

fn as_bytes(value: ValueRef<'_>) -> Option<&[u8]> {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes),
        _ => None,
    }
}

impl Db {
    /// Runs a query and hands its rows over, one at a time.
    pub(super) fn each_row(
        &self,
        action: &'static str,
        sql: &str,
        parameters: impl rusqlite::Params,
        mut each: impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let error = |source| self.error(action)(source);
        let mut statement = self.connection.prepare_cached(sql).map_err(error)?;
        let mut rows = statement.query(parameters).map_err(error)?;
        while let Some(row) = rows.next().map_err(error)? {
            each(row)?;
        }
        Ok(())
    }

    /// Whether the path is registered.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn is_valid(&self, path: &StorePath) -> Result<bool> {
        Ok(self.id_of(path)?.is_some())
    }

    /// The number of a path, if it is registered.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn id_of(&self, path: &StorePath) -> Result<Option<PathId>> {
        let mut found = None;
        let sql = "select id from ValidPaths where path = ?";
        self.each_row("looking up a path", sql, [self.dir.print(path)], |row| {
            found = Some(id_at(row, 0));
            Ok(())
        })?;
        Ok(found)
    }

    /// The base name of the path with a number, and the size of its NAR, if it
    /// is registered.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Unusable`] and [`StoreError::Damaged`].
    pub fn name_and_size(&self, id: PathId) -> Result<Option<(String, u64)>> {
        let mut found = None;
        let sql = "select path, narSize from ValidPaths where id = ?";
        self.each_row("looking up a path by its number", sql, [id], |row| {
            let label = Label { path: as_bytes(cells::value(row, 0)), ..Label::valid_path(id) };
            let name = cells::at(label, cells::base_name(&self.dir, "path", cells::value(row, 0)))?;
            found = Some((name.to_owned(), cells::at(label, cells::size(cells::value(row, 1)))?));
            Ok(())
        })?;
        Ok(found)
    }

    /// The full path with a number, for messages too: as it stands there.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`]; also when there is none.
    pub fn path_text(&self, id: PathId) -> Result<String> {
        let mut found = None;
        let sql = "select path from ValidPaths where id = ?";
        self.each_row("looking up a path by its number", sql, [id], |row| {
            let read = cells::text("path", cells::value(row, 0));
            found = Some(cells::at(Label::valid_path(id), read)?.to_owned());
            Ok(())
        })?;
        found.ok_or_else(|| Label::valid_path(id).damaged("it is gone, though another row leads to it"))
    }

    /// The size of the NAR of the path with a number; 0 when there is none, or
    /// nothing that could be a size.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn size_of(&self, id: PathId) -> Result<u64> {
        let mut size = 0;
        self.each_row("looking up a size", "select narSize from ValidPaths where id = ?", [id], |row| {
            size = cells::size(cells::value(row, 0)).unwrap_or(0);
            Ok(())
        })?;
        Ok(size)
    }

    /// The row of a path, if it is registered.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Unusable`] and [`StoreError::Damaged`].
    pub fn raw_path(&self, path: &StorePath) -> Result<Option<RawPath>> {
        let mut found = None;
        let sql = format!("select {COLUMNS} from ValidPaths where path = ?");
        self.each_row("reading a path's metadata", &sql, [self.dir.print(path)], |row| {
            found = Some(raw_path(&self.dir, row)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// The metadata of a path, if it is registered.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Unusable`] and [`StoreError::Damaged`].
    pub fn path_info(&self, path: &StorePath) -> Result<Option<ValidPathInfo>> {
        let Some(raw) = self.raw_path(path)? else { return Ok(None) };
        let references = self.references(raw.id)?;
        self.parse_info(&raw, references).map(Some)
    }

    fn parse_info(&self, raw: &RawPath, references: BTreeSet<StorePath>) -> Result<ValidPathInfo> {
        let ca = raw.ca.as_deref().map(str::parse).transpose();
        Ok(ValidPathInfo {
            path: self.parse(&raw.path)?,
            nar_hash: raw.nar_hash()?,
            nar_size: raw.nar_size,
            references,
            deriver: match raw.deriver.as_deref() {
                None | Some("") => None,
                Some(deriver) => Some(self.parse(deriver)?),
            },
            registration_time: raw.registration_time,
            ultimate: raw.ultimate,
            signatures: raw
                .signatures
                .iter()
                .flat_map(|sigs| sigs.split_ascii_whitespace())
                .map(str::to_owned)
                .collect(),
            ca: ca.map_err(|error| raw.error(&error))?,
        })
    }

    /// Reads a path from the database.
    fn parse(&self, text: &str) -> Result<StorePath> {
        self.dir
            .parse(text)
            .map_err(|error| StoreError::Row { path: text.to_owned(), message: error.to_string() })
    }

    /// The paths that a path refers to.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Unusable`] and [`StoreError::Damaged`].
    pub fn references(&self, id: PathId) -> Result<BTreeSet<StorePath>> {
        let sql = "select r.rowid, r.reference, v.path from Refs r \
                   left join ValidPaths v on r.reference = v.id where r.referrer = ?";
        self.others("reading references", sql, "reference", id)
    }

    /// The valid paths that refer to a path, itself among them where it does.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Unusable`] and [`StoreError::Damaged`].
    pub fn referrers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>> {
        let Some(id) = self.id_of(path)? else { return Ok(BTreeSet::new()) };
        let sql = "select r.rowid, r.referrer, v.path from Refs r \
                   left join ValidPaths v on r.referrer = v.id where r.reference = ?";
        self.others("reading referrers", sql, "referrer", id)
    }

    /// The paths at the other end of references from or to a path.
    fn others(
        &self,
        action: &'static str,
        sql: &str,
        end: &'static str,
        id: PathId,
    ) -> Result<BTreeSet<StorePath>> {
        let mut found = BTreeSet::new();
        self.each_row(action, sql, [id], |row| {
            let (other, path) = (cells::value(row, 1), cells::value(row, 2));
            if path == ValueRef::Null {
                let of = self.path_text(id)?;
                let label = Label { table: "Refs", row: id_at(row, 0), path: Some(of.as_bytes()) };
                let other = cells::shown(other);
                return Err(label.damaged(format!("its {end} is {other}, and there is no such row")));
            }
            let label = Label::valid_path(cells::at(Label::valid_path(id), cells::id(end, other))?);
            found.insert(cells::at(label, cells::path(&self.dir, "path", path))?);
            Ok(())
        })?;
        Ok(found)
    }

    /// The valid derivations that have a path as an output.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Unusable`] and [`StoreError::Damaged`].
    pub fn valid_derivers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>> {
        let shown = self.dir.print(path);
        let mut found = BTreeSet::new();
        let sql = "select d.rowid, d.drv, v.path from DerivationOutputs d \
                   left join ValidPaths v on d.drv = v.id where d.path = ?";
        self.each_row("reading derivers", sql, [&shown], |row| {
            let label =
                Label { table: "DerivationOutputs", row: id_at(row, 0), path: Some(shown.as_bytes()) };
            if cells::value(row, 2) == ValueRef::Null {
                let drv = cells::shown(cells::value(row, 1));
                return Err(label.damaged(format!("its drv is {drv}, and there is no such row")));
            }
            found.insert(cells::at(label, cells::path(&self.dir, "path", cells::value(row, 2)))?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Numbers of the paths that a path refers to, in no order.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Unusable`] and [`StoreError::Damaged`].
    pub fn reference_ids(&self, id: PathId, found: &mut Vec<PathId>) -> Result<()> {
        self.ids("select rowid, reference from Refs where referrer = ?", "reference", id, found)
    }

    /// Numbers of the paths that refer to a path, in no order.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Unusable`] and [`StoreError::Damaged`].
    pub fn referrer_ids(&self, id: PathId, found: &mut Vec<PathId>) -> Result<()> {
        self.ids("select rowid, referrer from Refs where reference = ?", "referrer", id, found)
    }

    fn ids(&self, sql: &str, column: &'static str, id: PathId, found: &mut Vec<PathId>) -> Result<()> {
        found.clear();
        self.each_row("reading references", sql, [id], |row| {
            let read = cells::id(column, cells::value(row, 1));
            if let Ok(id) = read {
                found.push(id);
                return Ok(());
            }
            let of = self.path_text(id)?;
            let table = if column == "drv" { "DerivationOutputs" } else { "Refs" };
            let label = Label { table, row: id_at(row, 0), path: Some(of.as_bytes()) };
            cells::at(label, read).map(drop)
        })
    }

    /// The known output paths of a valid derivation, by output name.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Unusable`] and [`StoreError::Damaged`].
    pub fn derivation_outputs(&self, drv: &StorePath) -> Result<Vec<(String, StorePath)>> {
        let Some(id) = self.id_of(drv)? else { return Ok(Vec::new()) };
        let shown = self.dir.print(drv);
        let mut found = Vec::new();
        let sql = "select rowid, id, path from DerivationOutputs where drv = ? order by id";
        self.each_row("reading a derivation's outputs", sql, [id], |row| {
            let label =
                Label { table: "DerivationOutputs", row: id_at(row, 0), path: Some(shown.as_bytes()) };
            let name = cells::at(label, cells::text("id", cells::value(row, 1)))?;
            let path = cells::at(label, cells::path(&self.dir, "path", cells::value(row, 2)))?;
            found.push((name.to_owned(), path));
            Ok(())
        })?;
        Ok(found)
    }

    /// The valid path whose hash part has the given digits.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Unusable`] and [`StoreError::Damaged`].
    pub fn path_from_hash_part(&self, hash_part: &str) -> Result<Option<StorePath>> {
        let prefix = format!("{}/{hash_part}", self.dir.as_str());
        let mut found = None;
        let sql = "select id, path from ValidPaths where path >= ? limit 1";
        self.each_row("looking up a hash part", sql, [&prefix], |row| {
            let text = cells::value(row, 1);
            if as_bytes(text).is_some_and(|path| path.starts_with(prefix.as_bytes())) {
                let label = Label::valid_path(id_at(row, 0));
                found = Some(cells::at(label, cells::path(&self.dir, "path", text))?);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Every valid path, in order, one at a time.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Unusable`], [`StoreError::Damaged`], and the errors of `each`.
    pub fn each_path(&self, mut each: impl FnMut(RawPath) -> Result<()>) -> Result<()> {
        let sql = format!("select {COLUMNS} from ValidPaths order by path");
        self.each_row("reading all paths", &sql, [], |row| each(raw_path(&self.dir, row)?))
    }

    /// The numbers, base names and NAR sizes of all valid paths, in the order
    /// of their paths.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Unusable`] and [`StoreError::Damaged`].
    pub fn each_id(&self, mut each: impl FnMut(PathId, &str, u64)) -> Result<()> {
        let sql = "select id, path, narSize from ValidPaths order by path";
        self.each_row("reading all paths", sql, [], |row| {
            let (id, path) = (id_at(row, 0), cells::value(row, 1));
            let label = Label { path: as_bytes(path), ..Label::valid_path(id) };
            let name = cells::at(label, cells::base_name(&self.dir, "path", path))?;
            each(id, name, cells::at(label, cells::size(cells::value(row, 2)))?);
            Ok(())
        })
    }

    /// The numbers and NAR sizes of all valid paths, in any order.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Unusable`] and [`StoreError::Damaged`].
    pub fn each_size(&self, mut each: impl FnMut(PathId, u64)) -> Result<()> {
        self.each_row("reading sizes", "select id, narSize from ValidPaths", [], |row| {
            let id = id_at(row, 0);
            each(id, cells::at(Label::valid_path(id), cells::size(cells::value(row, 1)))?);
            Ok(())
        })
    }

    /// As [`Db::each_id`], without the sizes, which saves reading the rows: the
    /// index of paths has all.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Unusable`] and [`StoreError::Damaged`].
    pub fn each_name(&self, mut each: impl FnMut(PathId, &str)) -> Result<()> {
        let sql = "select id, path from ValidPaths order by path";
        self.each_row("reading all paths", sql, [], |row| {
            let (id, path) = (id_at(row, 0), cells::value(row, 1));
            let label = Label { path: as_bytes(path), ..Label::valid_path(id) };
            each(id, cells::at(label, cells::base_name(&self.dir, "path", path))?);
            Ok(())
        })
    }

    /// Every valid output of a valid derivation: the derivation, the output.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`]; [`StoreError::Damaged`] for any row of the table,
    /// also of outputs that are not valid.
    pub fn each_derivation_output(&self, mut each: impl FnMut(PathId, PathId)) -> Result<()> {
        let sql = "select d.rowid, d.drv, d.path, v.id, w.id from DerivationOutputs d \
                   left join ValidPaths v on v.path = d.path left join ValidPaths w on w.id = d.drv";
        self.each_row("reading the outputs of derivations", sql, [], |row| {
            let path = cells::value(row, 2);
            let label = Label { table: "DerivationOutputs", row: id_at(row, 0), path: as_bytes(path) };
            let drv = cells::at(label, cells::id("drv", cells::value(row, 1)))?;
            cells::at(label, cells::base_name(&self.dir, "path", path))?;
            if cells::value(row, 4) == ValueRef::Null {
                return Err(label.damaged(format!("its drv is the number {drv}, and there is no such row")));
            }
            if let ValueRef::Integer(output) = cells::value(row, 3) {
                each(drv, output);
            }
            Ok(())
        })
    }

    /// Every reference, as numbers, ordered by referrer.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Unusable`], [`StoreError::Damaged`], and the errors of `each`.
    pub fn each_reference(&self, mut each: impl FnMut(PathId, PathId) -> Result<()>) -> Result<()> {
        let sql = "select referrer, reference from Refs order by referrer, reference";
        self.each_row("reading all references", sql, [], |row| {
            match (cells::value(row, 0), cells::value(row, 1)) {
                (ValueRef::Integer(referrer), ValueRef::Integer(reference)) => each(referrer, reference),
                (referrer, reference) => Err(StoreError::Damaged {
                    row: "a row of Refs".to_owned(),
                    message: format!(
                        "its referrer is {}, its reference is {}",
                        cells::shown(referrer),
                        cells::shown(reference)
                    ),
                }),
            }
        })
    }

    /// As [`Db::reference_ids`], without those that are no numbers.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn readable_reference_ids(&self, id: PathId) -> Result<Vec<PathId>> {
        let mut found = Vec::new();
        let sql = "select reference from Refs where referrer = ? and typeof(reference) = 'integer'";
        self.each_row("reading references", sql, [id], |row| {
            found.push(id_at(row, 0));
            Ok(())
        })?;
        Ok(found)
    }

    /// Checks that every reference leads from one row to another.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Unusable`] and [`StoreError::Damaged`].
    pub fn check_references(&self) -> Result<()> {
        let sql = "select r.rowid, r.referrer, r.reference, a.path, b.path from Refs r \
                   left join ValidPaths a on a.id = r.referrer left join ValidPaths b on b.id = r.reference \
                   where a.id is null or b.id is null limit 1";
        self.each_row("checking references", sql, [], |row| {
            let (from, to) = (cells::value(row, 3), cells::value(row, 4));
            let label = Label { table: "Refs", row: id_at(row, 0), path: as_bytes(from).or(as_bytes(to)) };
            let (end, at) = if from == ValueRef::Null { ("referrer", 1) } else { ("reference", 2) };
            let value = cells::shown(cells::value(row, at));
            Err(label.damaged(format!("its {end} is {value}, and there is no such row")))
        })
    }

    /// How many valid paths there are.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn count(&self) -> Result<u64> {
        let mut count = 0i64;
        self.each_row("counting paths", "select count(*) from ValidPaths", [], |row| {
            count = id_at(row, 0);
            Ok(())
        })?;
        Ok(count.cast_unsigned())
    }

    /// The valid outputs of a valid derivation.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Unusable`] and [`StoreError::Damaged`].
    pub fn valid_output_ids(&self, drv: PathId, found: &mut Vec<PathId>) -> Result<()> {
        found.clear();
        let sql = "select d.rowid, d.path, v.id from DerivationOutputs d \
                   left join ValidPaths v on d.path = v.path where d.drv = ?";
        self.each_row("reading a derivation's outputs", sql, [drv], |row| {
            let path = cells::value(row, 1);
            let label = Label { table: "DerivationOutputs", row: id_at(row, 0), path: as_bytes(path) };
            cells::at(label, cells::base_name(&self.dir, "path", path))?;
            if let ValueRef::Integer(output) = cells::value(row, 2) {
                found.push(output);
            }
            Ok(())
        })
    }

    /// Every valid path that has a deriver, valid or not: its number, and the
    /// base name of the deriver.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Unusable`] and [`StoreError::Damaged`].
    pub fn each_deriver(&self, mut each: impl FnMut(PathId, &str)) -> Result<()> {
        let sql = "select id, deriver, path from ValidPaths where deriver is not null and deriver <> ''";
        self.each_row("reading the derivers", sql, [], |row| {
            let id = id_at(row, 0);
            let label = Label { path: as_bytes(cells::value(row, 2)), ..Label::valid_path(id) };
            each(id, cells::at(label, cells::base_name(&self.dir, "deriver", cells::value(row, 1)))?);
            Ok(())
        })
    }

    /// The valid paths whose deriver is valid too, by the deriver.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn ids_by_deriver(&self) -> Result<HashMap<PathId, Vec<PathId>>> {
        let mut found: HashMap<PathId, Vec<PathId>> = HashMap::new();
        let sql = "select d.id, v.id from ValidPaths v join ValidPaths d on d.path = v.deriver";
        self.each_row("reading the derivers", sql, [], |row| {
            found.entry(id_at(row, 0)).or_default().push(id_at(row, 1));
            Ok(())
        })?;
        Ok(found)
    }

    /// The valid derivations that have a valid path as an output.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Unusable`] and [`StoreError::Damaged`].
    pub fn valid_deriver_ids(&self, output: PathId, found: &mut Vec<PathId>) -> Result<()> {
        let sql = "select d.rowid, d.drv from ValidPaths v join DerivationOutputs d on d.path = v.path \
                   where v.id = ?";
        self.ids(sql, "drv", output, found)
    }
}
