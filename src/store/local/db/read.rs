//! Queries.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{OptionalExtension as _, Row, params};

use super::Db;
use crate::model::hash::{HashAlgorithm, HashFormat};
use crate::model::{Hash, StoreDir, StorePath, ValidPathInfo};
use crate::store::error::{Result, StoreError};

/// The number of a valid path in the database; never used twice.
pub type PathId = i64;

/// One row of ValidPaths with its texts as they are, for listings that have no
/// use for parsed values.
#[derive(Debug, Clone)]
pub struct RawPath {
    /// Its number.
    pub id: PathId,
    /// The full path.
    pub path: String,
    /// `sha256:` and base-16 digits.
    pub hash: String,
    /// Bytes of the NAR.
    pub nar_size: u64,
    /// The full path of the deriver.
    pub deriver: Option<String>,
    /// Seconds since 1970.
    pub registration_time: i64,
    /// Whether it was built here.
    pub ultimate: bool,
    /// Blank-separated.
    pub signatures: Option<String>,
    /// The content address.
    pub ca: Option<String>,
}

const COLUMNS: &str = "id, path, hash, narSize, deriver, registrationTime, ultimate, sigs, ca";

impl RawPath {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            path: row.get(1)?,
            hash: row.get(2)?,
            // Sizes over 2^63 are stored as negative numbers.
            nar_size: row.get::<_, Option<i64>>(3)?.unwrap_or(0).cast_unsigned(),
            deriver: row.get(4)?,
            registration_time: row.get(5)?,
            ultimate: row.get::<_, Option<i64>>(6)? == Some(1),
            signatures: row.get(7)?,
            ca: row.get(8)?,
        })
    }

    /// The row that a path of another store would have.
    pub fn of(dir: &StoreDir, info: &ValidPathInfo) -> Self {
        let signatures: Vec<&str> = info.signatures.iter().map(String::as_str).collect();
        Self {
            id: 0,
            path: dir.print(&info.path),
            hash: info.nar_hash.prefixed(HashFormat::Base16),
            nar_size: info.nar_size,
            deriver: info.deriver.as_ref().map(|deriver| dir.print(deriver)),
            registration_time: info.registration_time,
            ultimate: info.ultimate,
            signatures: Some(signatures.join(" ")),
            ca: info.ca.as_ref().map(ToString::to_string),
        }
    }

    /// The hash of the NAR.
    ///
    /// # Errors
    /// [`StoreError::Row`].
    pub fn nar_hash(&self) -> Result<Hash> {
        Hash::parse(&self.hash, Some(HashAlgorithm::Sha256)).map_err(|error| self.error(&error))
    }

    fn error(&self, error: &dyn std::error::Error) -> StoreError {
        StoreError::Row { path: self.path.clone(), message: error.to_string() }
    }
}

impl Db {
    /// Whether the path is registered.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn is_valid(&self, path: &StorePath) -> Result<bool> {
        Ok(self.id_of(path)?.is_some())
    }

    /// The number of a path, if it is registered.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn id_of(&self, path: &StorePath) -> Result<Option<PathId>> {
        let query = || {
            self.connection
                .prepare_cached("select id from ValidPaths where path = ?")?
                .query_row([self.dir.print(path)], |row| row.get(0))
                .optional()
        };
        query().map_err(self.error("looking up a path"))
    }

    /// The full path with a number.
    ///
    /// # Errors
    /// Those of SQLite; also when there is none.
    pub fn path_text(&self, id: PathId) -> Result<String> {
        let query = || {
            self.connection
                .prepare_cached("select path from ValidPaths where id = ?")?
                .query_row([id], |row| row.get(0))
        };
        query().map_err(self.error("looking up a path by its number"))
    }

    /// The full path with a number, and the size of its NAR.
    ///
    /// # Errors
    /// Those of SQLite; also when there is none.
    pub fn path_and_size(&self, id: PathId) -> Result<(String, u64)> {
        let query = || {
            self.connection
                .prepare_cached("select path, narSize from ValidPaths where id = ?")?
                .query_row([id], |row| {
                    Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?.unwrap_or(0).cast_unsigned()))
                })
        };
        query().map_err(self.error("looking up a path by its number"))
    }

    /// The size of the NAR of the path with a number; 0 when there is none.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn size_of(&self, id: PathId) -> Result<u64> {
        let query = || {
            self.connection
                .prepare_cached("select narSize from ValidPaths where id = ?")?
                .query_row([id], |row| row.get::<_, Option<i64>>(0))
                .optional()
        };
        let size = query().map_err(self.error("looking up a size"))?;
        Ok(size.flatten().unwrap_or(0).cast_unsigned())
    }

    /// The path with a number.
    ///
    /// # Errors
    /// Those of SQLite; also when there is none.
    pub fn path_of(&self, id: PathId) -> Result<StorePath> {
        self.parse(&self.path_text(id)?)
    }

    /// Reads a path from the database.
    fn parse(&self, text: &str) -> Result<StorePath> {
        self.dir
            .parse(text)
            .map_err(|error| StoreError::Row { path: text.to_owned(), message: error.to_string() })
    }

    /// The row of a path, if it is registered.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn raw_path(&self, path: &StorePath) -> Result<Option<RawPath>> {
        let query = || {
            self.connection
                .prepare_cached(&format!("select {COLUMNS} from ValidPaths where path = ?"))?
                .query_row([self.dir.print(path)], RawPath::from_row)
                .optional()
        };
        query().map_err(self.error("reading a path's metadata"))
    }

    /// The metadata of a path, if it is registered.
    ///
    /// # Errors
    /// Those of SQLite and [`StoreError::Row`].
    pub fn path_info(&self, path: &StorePath) -> Result<Option<ValidPathInfo>> {
        let Some(raw) = self.raw_path(path)? else { return Ok(None) };
        let references = self.references(raw.id)?;
        self.parse_info(&raw, references).map(Some)
    }

    fn parse_info(&self, raw: &RawPath, references: BTreeSet<StorePath>) -> Result<ValidPathInfo> {
        let ca = raw.ca.as_deref().filter(|ca| !ca.is_empty()).map(str::parse).transpose();
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

    /// The paths that a path refers to.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn references(&self, id: PathId) -> Result<BTreeSet<StorePath>> {
        self.path_set("select path from Refs join ValidPaths on reference = id where referrer = ?", id)
    }

    /// The valid paths that refer to a path, itself among them where it does.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn referrers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>> {
        match self.id_of(path)? {
            Some(id) => self
                .path_set("select path from Refs join ValidPaths on referrer = id where reference = ?", id),
            None => Ok(BTreeSet::new()),
        }
    }

    /// The valid derivations that have a path as an output.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn valid_derivers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>> {
        let sql = "select v.path from DerivationOutputs d join ValidPaths v on d.drv = v.id where d.path = ?";
        self.path_set(sql, self.dir.print(path))
    }

    fn path_set(&self, sql: &str, key: impl rusqlite::ToSql) -> Result<BTreeSet<StorePath>> {
        let query = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let rows = statement.query_map([key], |row| row.get::<_, String>(0))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let texts = query().map_err(self.error("reading a set of paths"))?;
        texts.iter().map(|text| self.parse(text)).collect()
    }

    /// Numbers of the paths that a path refers to, in no order.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn reference_ids(&self, id: PathId, found: &mut Vec<PathId>) -> Result<()> {
        self.ids("select reference from Refs where referrer = ?", id, found)
    }

    /// Numbers of the paths that refer to a path, in no order.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn referrer_ids(&self, id: PathId, found: &mut Vec<PathId>) -> Result<()> {
        self.ids("select referrer from Refs where reference = ?", id, found)
    }

    fn ids(&self, sql: &str, id: PathId, found: &mut Vec<PathId>) -> Result<()> {
        found.clear();
        let mut query = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query([id])?;
            while let Some(row) = rows.next()? {
                found.push(row.get(0)?);
            }
            Ok(())
        };
        query().map_err(self.error("reading references"))
    }

    /// The known output paths of a valid derivation, by output name.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn derivation_outputs(&self, drv: &StorePath) -> Result<Vec<(String, StorePath)>> {
        let Some(id) = self.id_of(drv)? else { return Ok(Vec::new()) };
        let query = || {
            let mut statement = self
                .connection
                .prepare_cached("select id, path from DerivationOutputs where drv = ? order by id")?;
            let rows =
                statement.query_map([id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let rows = query().map_err(self.error("reading a derivation's outputs"))?;
        rows.into_iter().map(|(name, path)| Ok((name, self.parse(&path)?))).collect()
    }

    /// The valid path whose hash part has the given digits.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn path_from_hash_part(&self, hash_part: &str) -> Result<Option<StorePath>> {
        let prefix = format!("{}/{hash_part}", self.dir.as_str());
        let query = || {
            self.connection
                .prepare_cached("select path from ValidPaths where path >= ? limit 1")?
                .query_row([&prefix], |row| row.get::<_, String>(0))
                .optional()
        };
        match query().map_err(self.error("looking up a hash part"))? {
            Some(path) if path.starts_with(&prefix) => self.parse(&path).map(Some),
            _ => Ok(None),
        }
    }

    /// Every valid path, in order, one at a time.
    ///
    /// # Errors
    /// Those of SQLite and of `each`.
    pub fn each_path(&self, mut each: impl FnMut(RawPath) -> Result<()>) -> Result<()> {
        let error = |source| self.error("reading all paths")(source);
        let mut statement = self
            .connection
            .prepare_cached(&format!("select {COLUMNS} from ValidPaths order by path"))
            .map_err(error)?;
        let mut rows = statement.query([]).map_err(error)?;
        while let Some(row) = rows.next().map_err(error)? {
            each(RawPath::from_row(row).map_err(error)?)?;
        }
        Ok(())
    }

    /// The numbers and NAR sizes of all valid paths, in the order of their
    /// paths; `each` gets the full path.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn each_id(&self, mut each: impl FnMut(PathId, &str, u64)) -> Result<()> {
        let mut query = || {
            let mut statement =
                self.connection.prepare_cached("select id, path, narSize from ValidPaths order by path")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let size = row.get::<_, Option<i64>>(2)?.unwrap_or(0).cast_unsigned();
                each(row.get(0)?, row.get_ref(1)?.as_str()?, size);
            }
            Ok(())
        };
        query().map_err(self.error("reading all paths"))
    }

    /// The numbers and NAR sizes of all valid paths, in any order.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn each_size(&self, mut each: impl FnMut(PathId, u64)) -> Result<()> {
        let mut query = || {
            let mut statement = self.connection.prepare_cached("select id, narSize from ValidPaths")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                each(row.get(0)?, row.get::<_, Option<i64>>(1)?.unwrap_or(0).cast_unsigned());
            }
            Ok(())
        };
        query().map_err(self.error("reading sizes"))
    }

    /// As [`Db::each_id`], without the sizes, which saves reading the rows: the
    /// index of paths has all.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn each_name(&self, mut each: impl FnMut(PathId, &str)) -> Result<()> {
        let mut query = || {
            let mut statement =
                self.connection.prepare_cached("select id, path from ValidPaths order by path")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                each(row.get(0)?, row.get_ref(1)?.as_str()?);
            }
            Ok(())
        };
        query().map_err(self.error("reading all paths"))
    }

    /// Every valid output of a valid derivation: the derivation, the output.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn each_derivation_output(&self, mut each: impl FnMut(PathId, PathId)) -> Result<()> {
        let mut query = || {
            let mut statement = self.connection.prepare_cached(
                "select d.drv, v.id from DerivationOutputs d join ValidPaths v on v.path = d.path",
            )?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                each(row.get(0)?, row.get(1)?);
            }
            Ok(())
        };
        query().map_err(self.error("reading the outputs of derivations"))
    }

    /// Every reference, as numbers, ordered by referrer.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn each_reference(&self, mut each: impl FnMut(PathId, PathId)) -> Result<()> {
        let mut query = || {
            let mut statement = self
                .connection
                .prepare_cached("select referrer, reference from Refs order by referrer, reference")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                each(row.get(0)?, row.get(1)?);
            }
            Ok(())
        };
        query().map_err(self.error("reading all references"))
    }

    /// How many valid paths there are.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn count(&self) -> Result<u64> {
        let query = || {
            self.connection
                .query_row("select count(*) from ValidPaths", params![], |row| row.get::<_, i64>(0))
        };
        Ok(query().map_err(self.error("counting paths"))?.cast_unsigned())
    }

    /// The valid outputs of a valid derivation.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn valid_output_ids(&self, drv: PathId, found: &mut Vec<PathId>) -> Result<()> {
        let sql = "select v.id from DerivationOutputs d join ValidPaths v on d.path = v.path where d.drv = ?";
        self.ids(sql, drv, found)
    }

    /// Every valid path that has a deriver, valid or not: its number, and the
    /// full path of the deriver.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn each_deriver(&self, mut each: impl FnMut(PathId, &str)) -> Result<()> {
        let mut query = || {
            let mut statement = self
                .connection
                .prepare_cached("select id, deriver from ValidPaths where deriver is not null")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                each(row.get(0)?, row.get_ref(1)?.as_str()?);
            }
            Ok(())
        };
        query().map_err(self.error("reading the derivers"))
    }

    /// The valid paths whose deriver is valid too, by the deriver.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn ids_by_deriver(&self) -> Result<HashMap<PathId, Vec<PathId>>> {
        let mut found: HashMap<PathId, Vec<PathId>> = HashMap::new();
        let mut query = || {
            let mut statement = self.connection.prepare_cached(
                "select d.id, v.id from ValidPaths v join ValidPaths d on d.path = v.deriver",
            )?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                found.entry(row.get(0)?).or_default().push(row.get(1)?);
            }
            Ok(())
        };
        query().map_err(self.error("reading the derivers"))?;
        Ok(found)
    }

    /// The valid derivations that have a valid path as an output.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn valid_deriver_ids(&self, output: PathId, found: &mut Vec<PathId>) -> Result<()> {
        let sql = "select d.drv from ValidPaths v join DerivationOutputs d on d.path = v.path where v.id = ?";
        self.ids(sql, output, found)
    }
}
