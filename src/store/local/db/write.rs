//! Changes, each inside a transaction of [`super::Db::write`].

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use rusqlite::types::{Value, ValueRef};
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::sqlite_error;
use crate::model::{HashFormat, StoreDir, StorePath, ValidPathInfo};
use crate::store::error::{Result, StoreError};
use crate::store::graph::PathId;

/// A running transaction.
pub struct Writer<'t> {
    pub(super) transaction: &'t Transaction<'t>,
    database: &'t Path,
    pub(super) dir: &'t StoreDir,
}

impl<'t> Writer<'t> {
    pub(super) fn new(transaction: &'t Transaction<'t>, database: &'t Path, dir: &'t StoreDir) -> Self {
        Self { transaction, database, dir }
    }

    pub(super) fn error(&self, action: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError + use<'t> {
        let database = self.database;
        move |source| sqlite_error(action, database.to_owned(), source)
    }

    /// The number of a path, if it is registered.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn id_of(&self, path: &StorePath) -> Result<Option<PathId>> {
        let query = || {
            self.transaction
                .prepare_cached("select id from ValidPaths where path = ?")?
                .query_row([self.dir.print(path)], |row| row.get(0))
                .optional()
        };
        query().map_err(self.error("looking up a path"))
    }

    /// Adds a row for a path that has none. References are added apart, when
    /// every path they may name has its row.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn insert(&self, info: &ValidPathInfo, now: i64) -> Result<PathId> {
        let signatures: Vec<&str> = info.signatures.iter().map(String::as_str).collect();
        let query = || {
            self.transaction
                .prepare_cached(
                    "insert into ValidPaths (path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca) \
                     values (?, ?, ?, ?, ?, ?, ?, ?)",
                )?
                .insert(params![
                    self.dir.print(&info.path),
                    info.nar_hash.prefixed(HashFormat::Base16),
                    if info.registration_time == 0 { now } else { info.registration_time },
                    info.deriver.as_ref().map(|deriver| self.dir.print(deriver)),
                    (info.nar_size != 0).then_some(info.nar_size.cast_signed()),
                    info.ultimate.then_some(1),
                    (!signatures.is_empty()).then(|| signatures.join(" ")),
                    info.ca.map(|ca| ca.to_string()),
                ])
        };
        query().map_err(self.error("registering a path"))
    }

    /// Changes the row of a registered path: hash, size, `ultimate`,
    /// signatures and content address.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn update(&self, id: PathId, info: &ValidPathInfo) -> Result<()> {
        let signatures: Vec<&str> = info.signatures.iter().map(String::as_str).collect();
        let query = || {
            self.transaction
                .prepare_cached(
                    "update ValidPaths set narSize = ?, hash = ?, ultimate = ?, sigs = ?, ca = ? where id = ?",
                )?
                .execute(params![
                    (info.nar_size != 0).then_some(info.nar_size.cast_signed()),
                    info.nar_hash.prefixed(HashFormat::Base16),
                    info.ultimate.then_some(1),
                    (!signatures.is_empty()).then(|| signatures.join(" ")),
                    info.ca.map(|ca| ca.to_string()),
                    id,
                ])
        };
        query().map(drop).map_err(self.error("updating a path"))
    }

    /// Adds signatures to the row of a path, if it still has that archive;
    /// gives the number of those that it did not have.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn add_signatures(&self, info: &ValidPathInfo) -> Result<usize> {
        self.add_signatures_up_to(info, usize::MAX)
    }

    /// As [`Writer::add_signatures`], where the path then has so many at most.
    ///
    /// # Errors
    /// [`StoreError::TooManySignatures`], [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn add_signatures_up_to(&self, info: &ValidPathInfo, most: usize) -> Result<usize> {
        let hash = info.nar_hash.prefixed(HashFormat::Base16);
        let query = || {
            let known: Option<(PathId, Option<String>)> = self
                .transaction
                .prepare_cached("select id, sigs from ValidPaths where path = ? and hash = ?")?
                .query_row(params![self.dir.print(&info.path), hash], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((id, known)) = known else { return Ok(0) };
            let known = known.unwrap_or_default();
            let mut all: BTreeSet<&str> = known.split_ascii_whitespace().collect();
            let before = all.len();
            all.extend(info.signatures.iter().map(String::as_str));
            let added = all.len() - before;
            if added > 0 && all.len() > most {
                return Ok(usize::MAX);
            }
            if added > 0 {
                let all = all.into_iter().collect::<Vec<_>>().join(" ");
                self.transaction
                    .prepare_cached("update ValidPaths set sigs = ? where id = ?")?
                    .execute(params![all, id])?;
            }
            Ok(added)
        };
        match query().map_err(self.error("adding signatures"))? {
            usize::MAX => Err(StoreError::TooManySignatures { path: self.dir.print(&info.path), most }),
            added => Ok(added),
        }
    }

    /// What notes that paths refer to others.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn references(&self) -> Result<References<'_>> {
        let prepared = self
            .transaction
            .prepare("insert or ignore into Refs (referrer, reference) values (?, ?)")
            .map_err(self.error("registering references"))?;
        Ok(References { statement: prepared, database: self.database })
    }

    /// Drops the indices of references if there are none; true if so.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub(super) fn drop_indices_if_empty(&self) -> Result<bool> {
        let query = || {
            let empty = self
                .transaction
                .query_row("select 1 from Refs limit 1", [], |_| Ok(()))
                .optional()?
                .is_none();
            if empty {
                self.transaction.execute_batch(
                    "drop index if exists IndexReferrer; drop index if exists IndexReference;",
                )?;
            }
            Ok(empty)
        };
        query().map_err(self.error("dropping indices"))
    }

    /// Creates the indices that were dropped.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub(super) fn create_indices(&self, dropped: bool) -> Result<()> {
        if !dropped {
            return Ok(());
        }
        self.transaction
            .execute_batch(super::schema::CREATE_REFERENCE_INDICES)
            .map_err(self.error("creating indices"))
    }

    /// Notes the output paths of a registered derivation.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn add_derivation_outputs(&self, id: PathId, outputs: &[(String, StorePath)]) -> Result<()> {
        for (name, path) in outputs {
            let query = || {
                self.transaction
                    .prepare_cached(
                        "insert or replace into DerivationOutputs (drv, id, path) values (?, ?, ?)",
                    )?
                    .execute(params![id, name, self.dir.print(path)])
            };
            query().map_err(self.error("registering a derivation's output"))?;
        }
        Ok(())
    }

    /// Registers paths, then all their references.
    ///
    /// `existing` says what happens to a path that is registered already.
    /// `outputs` gives the outputs of the derivation of a path that ends in `.drv`, as far as
    /// their paths are known.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a reference to a path that is neither
    /// registered nor among these, and those of SQLite and of `outputs`.
    pub fn register(
        &self,
        infos: &[ValidPathInfo],
        existing: Existing,
        now: i64,
        mut outputs: impl FnMut(&StorePath) -> Result<Vec<(String, StorePath)>>,
    ) -> Result<()> {
        // The number of each path, and whether its references are to be noted.
        let mut ids: HashMap<&StorePath, (PathId, bool)> = HashMap::with_capacity(infos.len());
        for info in infos {
            let id = match self.id_of(&info.path)? {
                Some(id) if existing == Existing::Keep => {
                    // Its references were registered with it.
                    ids.entry(&info.path).or_insert((id, false));
                    continue;
                }
                Some(id) => {
                    self.update(id, info)?;
                    id
                }
                None => {
                    let id = self.insert(info, now)?;
                    if info.path.is_derivation() {
                        self.add_derivation_outputs(id, &outputs(&info.path)?)?;
                    }
                    id
                }
            };
            ids.insert(&info.path, (id, true));
        }
        let mut references = self.references()?;
        let mut targets = Vec::new();
        for info in infos {
            let referrer = match ids.get(&info.path) {
                Some((id, true)) => *id,
                _ => continue,
            };
            targets.clear();
            for path in &info.references {
                let id = match ids.get(path) {
                    Some((id, _)) => *id,
                    None => {
                        let found = self.id_of(path)?;
                        let id = found.ok_or_else(|| StoreError::Invalid(self.dir.print(path)))?;
                        ids.insert(path, (id, false));
                        id
                    }
                };
                targets.push(id);
            }
            targets.sort_unstable();
            for reference in &targets {
                references.add(referrer, *reference)?;
            }
        }
        Ok(())
    }

    /// Removes the row of a path and its references to others.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`]; also when other paths refer to it.
    pub fn invalidate(&self, path: &StorePath) -> Result<()> {
        let query = || {
            self.transaction
                .prepare_cached("delete from ValidPaths where path = ?")?
                .execute([self.dir.print(path)])
        };
        query().map(drop).map_err(self.error("removing a path from the database"))
    }
}

impl Writer<'_> {
    /// Whether a path refers to the one with a number, other than itself and
    /// those of `inside`.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn has_referrer_outside(&self, id: PathId, inside: &HashSet<PathId>) -> Result<bool> {
        let query = || {
            let mut statement =
                self.transaction.prepare_cached("select referrer from Refs where reference = ?")?;
            let mut rows = statement.query([id])?;
            while let Some(row) = rows.next()? {
                let referrer = row.get(0)?;
                if referrer != id && !inside.contains(&referrer) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        query().map_err(self.error("reading referrers"))
    }

    /// Removes the references of the path with a number to others.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn remove_references(&self, id: PathId) -> Result<()> {
        let query = || self.transaction.prepare_cached("delete from Refs where referrer = ?")?.execute([id]);
        query().map(drop).map_err(self.error("removing references"))
    }

    /// Takes away the row with a number, to which no other refers; nothing if
    /// there is none.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn take(&self, id: PathId) -> Result<Option<TakenRow>> {
        let query = || {
            self.transaction
                .prepare_cached(
                    "delete from ValidPaths where id = ? returning path, hash, registrationTime, deriver, \
                     narSize, ultimate, sigs, ca",
                )?
                .query_row([id], |row| {
                    let mut columns: [Value; COLUMNS] = std::array::from_fn(|_| Value::Null);
                    for (index, column) in columns.iter_mut().enumerate() {
                        // As it is, damaged or not: a text that is none comes back as bytes.
                        *column = match row.get_ref(index)? {
                            ValueRef::Text(bytes) if std::str::from_utf8(bytes).is_err() => {
                                Value::Blob(bytes.to_vec())
                            }
                            value => value.try_into().unwrap_or(Value::Null),
                        };
                    }
                    Ok(TakenRow { id, columns })
                })
                .optional()
        };
        query().map_err(self.error("removing a path from the database"))
    }

    /// Gives a row back that was taken, under its number. Its references, and
    /// what a derivation makes, are added apart.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`]; also when the path was registered meanwhile.
    pub fn give_back(&self, row: &TakenRow) -> Result<()> {
        let query = || {
            let mut statement = self.transaction.prepare_cached(
                "insert into ValidPaths \
                 (id, path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca) \
                 values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?;
            let id = Value::Integer(row.id);
            statement.execute(rusqlite::params_from_iter(std::iter::once(&id).chain(&row.columns)))
        };
        query().map(drop).map_err(self.error("registering a path"))
    }
}

/// The columns of a path besides its number.
const COLUMNS: usize = 8;

/// A row that was taken out of the database.
#[derive(Debug)]
pub struct TakenRow {
    id: PathId,
    columns: [Value; COLUMNS],
}

impl TakenRow {
    /// The number of its path.
    pub fn id(&self) -> PathId {
        self.id
    }
}

/// For mending rows that are damaged; columns and tables are names of the schema.
impl Writer<'_> {
    /// Sets one column of a row of ValidPaths.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn set(&self, id: PathId, column: &'static str, value: impl rusqlite::ToSql) -> Result<()> {
        let sql = format!("update ValidPaths set {column} = ? where id = ?");
        let query = || self.transaction.execute(&sql, params![value, id]);
        query().map(drop).map_err(self.error("mending a row"))
    }

    /// Removes a row of a table by its number.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn remove_row(&self, table: &'static str, row: i64) -> Result<()> {
        let sql = format!("delete from {table} where rowid = ?");
        let query = || self.transaction.execute(&sql, [row]);
        query().map(drop).map_err(self.error("removing a damaged row"))
    }

    /// Removes every reference to and from a path with a number, and its row.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn remove_with_references(&self, id: PathId) -> Result<()> {
        let query = || {
            self.transaction.execute("delete from Refs where referrer = ?1 or reference = ?1", [id])?;
            self.transaction.execute("delete from ValidPaths where id = ?", [id])
        };
        query().map(drop).map_err(self.error("removing a damaged row"))
    }

    /// Removes the outputs of a derivation.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn remove_outputs(&self, drv: PathId) -> Result<()> {
        let query = || self.transaction.execute("delete from DerivationOutputs where drv = ?", [drv]);
        query().map(drop).map_err(self.error("removing a derivation's outputs"))
    }
}

/// Adds rows to the table of references.
pub struct References<'w> {
    statement: rusqlite::Statement<'w>,
    database: &'w Path,
}

impl References<'_> {
    /// Notes that one path refers to another.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn add(&mut self, referrer: PathId, reference: PathId) -> Result<()> {
        match self.statement.execute([referrer, reference]) {
            Ok(_) => Ok(()),
            Err(source) => Err(sqlite_error("registering a reference", self.database.to_owned(), source)),
        }
    }
}

/// What [`Writer::register`] does with a path that is registered already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays as it is.
    Keep,
    /// Its row is changed and references are added.
    Update,
}
