//! The tables of realisations: which path an output of a derivation has where
//! it does not follow from the derivation.
//!
//! The tables are made when the first realisation is registered; a database
//! without them knows none.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension as _, params};

use super::Db;
use super::cells::{self, Label};
use super::write::Writer;
use crate::model::{DrvOutput, Realisation, StorePath};
use crate::store::error::{Result, StoreError};
use crate::store::graph::PathId;

/// Creates the tables, and notes that they are there.
const CREATE: &str = "
create table if not exists Realisations (
    id         integer primary key autoincrement not null,
    drvPath    text not null,
    outputName text not null,
    outputPath integer not null,
    signatures text,
    foreign key (outputPath) references ValidPaths(id) on delete cascade
);
create index if not exists IndexRealisations on Realisations(drvPath, outputName);
create trigger if not exists DeleteSelfRefsViaRealisations before delete on ValidPaths
begin
    delete from RealisationsRefs where realisationReference in (
        select id from Realisations where outputPath = old.id
    );
end;
create table if not exists RealisationsRefs (
    referrer             integer not null,
    realisationReference integer,
    foreign key (referrer) references Realisations(id) on delete cascade,
    foreign key (realisationReference) references Realisations(id) on delete restrict
);
create index if not exists IndexRealisationsRefsRealisationReference
    on RealisationsRefs(realisationReference);
create index if not exists IndexRealisationsRefs on RealisationsRefs(referrer);
create index if not exists IndexRealisationsRefsOnOutputPath on Realisations(outputPath);
insert or ignore into SchemaMigrations (migration) values ('20220326-ca-derivations');
";

impl Db {
    /// Whether there may be realisations: whether there is a table of them with a row.
    pub fn has_realisations(&self) -> Result<bool> {
        let mut found = false;
        let sql = "select 1 from sqlite_master where type = 'table' and name = 'Realisations'";
        self.each_row("looking for realisations", sql, [], |_| {
            found = true;
            Ok(())
        })?;
        if !found {
            return Ok(false);
        }
        found = false;
        self.each_row("looking for realisations", "select 1 from Realisations limit 1", [], |_| {
            found = true;
            Ok(())
        })?;
        Ok(found)
    }

    /// The realisation of an output, if one is registered.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for a row that cannot be read.
    pub fn realisation(&self, id: &DrvOutput) -> Result<Option<Realisation>> {
        if !self.has_realisations()? {
            return Ok(None);
        }
        let mut found = None;
        let sql = "select r.id, v.path, r.signatures from Realisations r \
                   left join ValidPaths v on v.id = r.outputPath \
                   where r.drvPath = ? and r.outputName = ? order by r.id";
        self.each_row("reading a realisation", sql, [id.drv_hash().as_str(), id.output()], |row| {
            let number: i64 = row.get(0).unwrap_or(0);
            let label = Label { table: "Realisations", row: number, path: None };
            let path = cells::at(label, cells::path(&self.dir, "outputPath", cells::value(row, 1)))?;
            let signatures = cells::at(label, cells::optional_text("signatures", cells::value(row, 2)))?;
            let mut realisation = Realisation::new(id.clone(), path);
            let words = signatures.unwrap_or_default().split_ascii_whitespace();
            realisation.signatures.extend(words.map(str::to_owned));
            found.get_or_insert((number, realisation));
            Ok(())
        })?;
        let Some((number, mut realisation)) = found else { return Ok(None) };
        realisation.dependents = self.dependents(number)?;
        Ok(Some(realisation))
    }

    fn dependents(&self, referrer: i64) -> Result<BTreeMap<DrvOutput, StorePath>> {
        let mut found = BTreeMap::new();
        let sql = "select r.id, r.drvPath, r.outputName, v.path from RealisationsRefs d \
                   join Realisations r on r.id = d.realisationReference \
                   left join ValidPaths v on v.id = r.outputPath where d.referrer = ?";
        self.each_row("reading a realisation", sql, [referrer], |row| {
            let label = Label { table: "Realisations", row: row.get(0).unwrap_or(0), path: None };
            let hash = cells::at(label, cells::text("drvPath", cells::value(row, 1)))?;
            let name = cells::at(label, cells::text("outputName", cells::value(row, 2)))?;
            let id = format!("{hash}!{name}");
            let id = id.parse::<DrvOutput>().map_err(|error| label.damaged(error.to_string()))?;
            let path = cells::path(&self.dir, "outputPath", cells::value(row, 3));
            found.insert(id, cells::at(label, path)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// The valid derivations of which no output path is recorded: those whose
    /// output paths do not follow from them.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for a row that cannot be read.
    pub fn derivations_without_outputs(&self) -> Result<Vec<(PathId, StorePath)>> {
        let mut found = Vec::new();
        let sql = "select v.id, v.path from ValidPaths v where v.path like '%.drv' \
                   and not exists (select 1 from DerivationOutputs d where d.drv = v.id)";
        self.each_row("reading derivations", sql, [], |row| {
            let id = row.get(0).unwrap_or(0);
            let path = cells::path(&self.dir, "path", cells::value(row, 1));
            found.push((id, cells::at(Label::valid_path(id), path)?));
            Ok(())
        })?;
        Ok(found)
    }
}

impl Writer<'_> {
    /// Registers a realisation, or adds its signatures to those of the same one
    /// that is registered. Its path is valid. What it depends on is noted as far as
    /// that is registered.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if its path is not valid after all; [`StoreError::OutputTaken`] if the output
    /// has another path already.
    pub fn register_realisation(&self, realisation: &Realisation) -> Result<()> {
        let id = &realisation.id;
        let path = self.id_of(&realisation.out_path)?;
        let path = path.ok_or_else(|| StoreError::Invalid(self.dir.print(&realisation.out_path)))?;
        self.transaction.execute_batch(CREATE).map_err(self.error("creating the tables of realisations"))?;
        let known = || {
            self.transaction
                .prepare_cached(
                    "select id, outputPath, signatures from Realisations \
                     where drvPath = ? and outputName = ? order by id limit 1",
                )?
                .query_row([id.drv_hash().as_str(), id.output()], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, PathId>(1)?, row.get::<_, Option<String>>(2)?))
                })
                .optional()
        };
        match known().map_err(self.error("looking up a realisation"))? {
            Some((number, other, signatures)) if other == path => {
                let known = signatures.unwrap_or_default();
                let mut all: std::collections::BTreeSet<&str> = known.split_ascii_whitespace().collect();
                all.extend(realisation.signatures.iter().map(String::as_str));
                let all = all.into_iter().collect::<Vec<_>>().join(" ");
                self.transaction
                    .execute("update Realisations set signatures = ? where id = ?", params![all, number])
                    .map(drop)
                    .map_err(self.error("adding signatures to a realisation"))
            }
            Some(_) => {
                let path = self.dir.print(&realisation.out_path);
                Err(StoreError::OutputTaken { output: id.to_string(), path })
            }
            None => self.insert_realisation(realisation, path),
        }
    }

    fn insert_realisation(&self, realisation: &Realisation, path: PathId) -> Result<()> {
        let id = &realisation.id;
        let signatures: Vec<&str> = realisation.signatures.iter().map(String::as_str).collect();
        let number = self
            .transaction
            .execute(
                "insert into Realisations (drvPath, outputName, outputPath, signatures) values (?, ?, ?, ?)",
                params![id.drv_hash(), id.output(), path, signatures.join(" ")],
            )
            .map(|_| self.transaction.last_insert_rowid())
            .map_err(self.error("registering a realisation"))?;
        for (dependent, path) in &realisation.dependents {
            let query = || {
                self.transaction.execute(
                    "insert into RealisationsRefs (referrer, realisationReference) \
                     select ?, r.id from Realisations r join ValidPaths v on v.id = r.outputPath \
                     where r.drvPath = ? and r.outputName = ? and v.path = ?",
                    params![number, dependent.drv_hash(), dependent.output(), self.dir.print(path)],
                )
            };
            // Without a row there is nothing to refer to, and nobody needs it.
            query().map_err(self.error("registering a realisation"))?;
        }
        Ok(())
    }
}
