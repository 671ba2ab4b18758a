//! The tables of realisations: which path an output of a derivation has where
//! it does not follow from the derivation.
//!
//! The tables are made when the first realisation is registered; a database
//! without them knows none.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension as _, params};

use super::Db;
use super::cells::{self, Label};
use super::check::{Damaged, Findings, Table};
use super::write::Writer;
use crate::model::{DrvOutput, Realisation, StorePath};
use crate::store::error::{Result, StoreError};
use crate::store::graph::PathId;
use crate::sys::interrupt;

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

    /// Looks at every row of the tables of realisations.
    pub(super) fn check_realisations(&self, findings: &mut Findings) -> Result<()> {
        if !self.has_realisations()? {
            return Ok(());
        }
        let action = "checking realisations";
        let sql = "select r.id, r.drvPath, r.outputName, r.outputPath, v.id, v.path, r.signatures \
                   from Realisations r left join ValidPaths v on v.id = r.outputPath";
        self.each_row(action, sql, [], |row| {
            interrupt::check()?;
            let mut problems = Vec::new();
            let hash = cells::text("drvPath", cells::value(row, 1)).map_err(|p| problems.push(p)).ok();
            let name = cells::text("outputName", cells::value(row, 2)).map_err(|p| problems.push(p)).ok();
            if let (Some(hash), Some(name)) = (hash, name)
                && let Err(error) = format!("{hash}!{name}").parse::<DrvOutput>()
            {
                problems.push(("drvPath", error.to_string()));
            }
            let end = integer(cells::value(row, 4));
            if end.is_none() {
                let value = cells::shown(cells::value(row, 3));
                problems.push(("outputPath", format!("its outputPath is {value}, and there is no such row")));
            }
            problems.extend(cells::optional_text("signatures", cells::value(row, 6)).err());
            let text = cells::text("path", cells::value(row, 5)).map_or(Vec::new(), |path| path.into());
            let number = row.get(0).unwrap_or(0);
            findings.push_named(Table::Realisations, "Realisations", number, text, problems, (None, end));
            Ok(())
        })?;
        let sql = "select d.rowid, d.referrer, d.realisationReference, a.id, b.id from RealisationsRefs d \
                   left join Realisations a on a.id = d.referrer \
                   left join Realisations b on b.id = d.realisationReference";
        self.each_row(action, sql, [], |row| {
            interrupt::check()?;
            let mut problems = Vec::new();
            for (column, at) in [("referrer", 1), ("realisationReference", 2)] {
                if integer(cells::value(row, at + 2)).is_none() {
                    let value = cells::shown(cells::value(row, at));
                    problems.push((column, format!("its {column} is {value}, and there is no such row")));
                }
            }
            let (table, name) = (Table::RealisationsRefs, "RealisationsRefs");
            findings.push_named(table, name, row.get(0).unwrap_or(0), Vec::new(), problems, (None, None));
            Ok(())
        })
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

fn integer(value: ValueRef<'_>) -> Option<PathId> {
    match value {
        ValueRef::Integer(id) => Some(id),
        _ => None,
    }
}

impl Writer<'_> {
    /// Registers a realisation, or adds its signatures to those of the same one
    /// that is registered. Its path is valid. What it depends on is noted as far as
    /// that is registered; where something is not, the signatures are dropped, as
    /// they are made over all of it.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if its path is not valid after all; [`StoreError::OutputTaken`] if the output
    /// has another path already.
    pub fn register_realisation(&self, realisation: &Realisation) -> Result<()> {
        let id = &realisation.id;
        let path = self.id_of(&realisation.out_path)?;
        let path = path.ok_or_else(|| StoreError::Invalid(self.dir.print(&realisation.out_path)))?;
        self.transaction.execute_batch(CREATE).map_err(self.error("creating the tables of realisations"))?;
        let dependents = self.registered_dependents(realisation)?;
        let is_whole = dependents.len() == realisation.dependents.len();
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
            Some((number, other, _))
                if other == path && !(is_whole && self.has_dependents(number, &dependents)?) =>
            {
                // The signatures are over another text than the one that is registered.
                Ok(())
            }
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
            None => self.insert_realisation(realisation, path, is_whole, &dependents),
        }
    }

    /// The numbers of the realisations that one depends on, as far as they are registered.
    fn registered_dependents(&self, realisation: &Realisation) -> Result<BTreeSet<i64>> {
        let mut found = BTreeSet::new();
        for (dependent, path) in &realisation.dependents {
            let query = || {
                self.transaction
                    .prepare_cached(
                        "select r.id from Realisations r join ValidPaths v on v.id = r.outputPath \
                         where r.drvPath = ? and r.outputName = ? and v.path = ?",
                    )?
                    .query_row(
                        params![dependent.drv_hash(), dependent.output(), self.dir.print(path)],
                        |row| row.get::<_, i64>(0),
                    )
                    .optional()
            };
            found.extend(query().map_err(self.error("looking up a realisation"))?);
        }
        Ok(found)
    }

    /// Whether a registered realisation depends on these and no others.
    fn has_dependents(&self, number: i64, dependents: &BTreeSet<i64>) -> Result<bool> {
        let query = || {
            self.transaction
                .prepare_cached("select realisationReference from RealisationsRefs where referrer = ?")?
                .query_map([number], |row| row.get::<_, i64>(0))?
                .collect::<rusqlite::Result<BTreeSet<i64>>>()
        };
        Ok(query().map_err(self.error("looking up a realisation"))? == *dependents)
    }

    fn insert_realisation(
        &self,
        realisation: &Realisation,
        path: PathId,
        is_whole: bool,
        dependents: &BTreeSet<i64>,
    ) -> Result<()> {
        let id = &realisation.id;
        let signatures: Vec<&str> =
            realisation.signatures.iter().filter(|_| is_whole).map(String::as_str).collect();
        let number = self
            .transaction
            .execute(
                "insert into Realisations (drvPath, outputName, outputPath, signatures) values (?, ?, ?, ?)",
                params![id.drv_hash(), id.output(), path, signatures.join(" ")],
            )
            .map(|_| self.transaction.last_insert_rowid())
            .map_err(self.error("registering a realisation"))?;
        for dependent in dependents {
            self.transaction
                .execute(
                    "insert into RealisationsRefs (referrer, realisationReference) values (?, ?)",
                    [number, *dependent],
                )
                .map_err(self.error("registering a realisation"))?;
        }
        Ok(())
    }

    /// Mends a row of a table of realisations: a bad list of signatures is emptied,
    /// anything else is removed. Signatures over what is removed go as well.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] and [`StoreError::Unusable`].
    pub fn mend_realisation(&self, damaged: &Damaged) -> Result<()> {
        let only_signatures = damaged.problems.iter().all(|(column, _)| *column == "signatures");
        let statements: &[&str] = match damaged.table {
            Table::RealisationsRefs => &[
                "update Realisations set signatures = null where id in \
                 (select referrer from RealisationsRefs where rowid = ?)",
                "delete from RealisationsRefs where rowid = ?",
            ],
            _ if only_signatures => &["update Realisations set signatures = null where id = ?"],
            _ => &[
                "update Realisations set signatures = null where id in \
                 (select referrer from RealisationsRefs where realisationReference = ?)",
                "delete from RealisationsRefs where realisationReference = ?",
                "delete from RealisationsRefs where referrer = ?",
                "delete from Realisations where id = ?",
            ],
        };
        for sql in statements {
            self.transaction.execute(sql, [damaged.row]).map_err(self.error("mending a realisation"))?;
        }
        Ok(())
    }
}
