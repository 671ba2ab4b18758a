//! Mending rows of the database that are damaged.
//!
//! What a row should say can mostly be known again: its path by the hash of the
//! contents, hash and size by the contents, references by the hash parts in
//! them, the outputs of a derivation by its file. What cannot be known and is
//! not needed is emptied. A row goes only where nothing is left that it could
//! stand for.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::LocalStore;
use super::db::check::{Checked, Damaged, Findings, Table};
use super::examine::{any_content_address, content_address, examine};
use super::misnamed::is_near;
use crate::model::references::Candidates;
use crate::model::{Hash, HashAlgorithm, HashFormat, StorePath, ValidPathInfo};
use crate::nar::dump;
use crate::store::error::Result;
use crate::store::graph::PathId;
use crate::sys::{clock, interrupt};

/// What came of mending a row.
type Mended = std::result::Result<String, String>;

impl LocalStore {
    /// Tells of every row that is damaged, and with `repair` mends what can be
    /// mended. Gives the rows that can be used, and how many are damaged by now.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError).
    pub(super) fn verify_rows(&self, repair: bool) -> Result<(Findings, usize)> {
        let findings = self.db().check()?;
        for damaged in &findings.damaged {
            let problems: Vec<&str> = damaged.problems.iter().map(|(_, text)| text.as_str()).collect();
            self.progress().problem(&format!(
                "the database is damaged: {}: {}",
                damaged.label,
                problems.join("; ")
            ));
        }
        let count = findings.damaged.len();
        if count == 0 || !repair {
            return Ok((findings, count));
        }
        // A row may have several things wrong with it, of which one hides others.
        let mut findings = findings;
        loop {
            let problems = |findings: &Findings| -> usize {
                findings.damaged.iter().map(|damaged| damaged.problems.len().max(1)).sum()
            };
            let before = problems(&findings);
            Mender::new(self, &findings)?.run()?;
            findings = self.db().check()?;
            let left = findings.damaged.len();
            if left == 0 || problems(&findings) >= before {
                return Ok((findings, left));
            }
        }
    }

    /// Whether a vanished row is that of an entry without a row whose name is
    /// nearly the same; with `repair` it gets that name, if the contents are the
    /// registered ones. `None` if there is no such entry.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError).
    pub(super) fn verify_misnamed(
        &self,
        row: &Checked,
        strays: &[StorePath],
        repair: bool,
    ) -> Result<Option<bool>> {
        let near =
            |stray: &&StorePath| is_near(stray.base_name().as_bytes(), row.path.base_name().as_bytes());
        let Some(stray) = strays.iter().find(near) else { return Ok(None) };
        let (shown, there) = (self.dir().print(&row.path), self.dir().print(stray));
        self.progress().problem(&format!(
            "the database is damaged: row {} of ValidPaths: its path '{shown}' is gone, \
             and '{there}', which has no row, has nearly the same name",
            row.id
        ));
        if !repair {
            return Ok(Some(false));
        }
        let real = self.real_path(stray);
        match dump::hash(&real, HashAlgorithm::Sha256) {
            Ok((hash, _)) if Some(hash) == row.hash => {}
            Err(crate::nar::NarError::Interrupted(signal)) => return Err(signal.into()),
            _ => {
                self.progress().problem(&format!(
                    "error: cannot mend row {} of ValidPaths: '{there}' has other contents",
                    row.id
                ));
                return Ok(Some(false));
            }
        }
        self.write(|writer| writer.set(row.id, "path", &there))?;
        self.progress().notice(&format!("mended row {} of ValidPaths: its path is '{there}'", row.id));
        Ok(Some(true))
    }

    /// Compares the outputs that the database has for a derivation with those
    /// in its file; with `repair` it gets them from there. True if all is well
    /// by now.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError).
    pub(super) fn verify_outputs(&self, rows: &[Checked], repair: bool) -> Result<bool> {
        let mut sound = true;
        for row in rows.iter().filter(|row| row.path.is_derivation()) {
            interrupt::check()?;
            // What is wrong with the file is told by the check of the contents.
            let Ok(drv) = self.read_derivation(&row.path) else { continue };
            if !self.db().is_valid(&row.path)? {
                // Collected since it was listed.
                continue;
            }
            let shown = self.dir().print(&row.path);
            let wanted: HashMap<&str, &StorePath> = drv.output_paths().collect();
            let why = match self.db().derivation_outputs(&row.path) {
                Err(error) if error.is_interruption() => return Err(error),
                Err(_) => "cannot be read".to_owned(),
                Ok(known) => {
                    let wrong = known.iter().find(|(name, path)| {
                        !drv.outputs.contains_key(name)
                            || wanted.get(name.as_str()).is_some_and(|wanted| *wanted != path)
                    });
                    let lacking =
                        || wanted.keys().find(|name| !known.iter().any(|(known, _)| known == *name));
                    match wrong.map(|(name, _)| name.as_str()).or_else(|| lacking().copied()) {
                        Some(name) => format!("are not those of its file (output '{name}')"),
                        None => continue,
                    }
                }
            };
            self.progress().problem(&format!("the database is damaged: the outputs of '{shown}' {why}"));
            if !repair {
                sound = false;
                continue;
            }
            self.write(|writer| {
                writer.remove_outputs(row.id)?;
                writer.add_derivation_outputs(row.id, &drv.known_outputs())
            })?;
            self.progress().notice(&format!("mended the outputs of '{shown}'"));
        }
        Ok(sound)
    }
}

/// Mends the rows of one look at the database.
pub(super) struct Mender<'m> {
    pub(super) store: &'m LocalStore,
    pub(super) findings: &'m Findings,
    /// What has no row, with the hashes that were needed so far.
    pub(super) strays: Vec<(StorePath, Option<Hash>)>,
}

impl<'m> Mender<'m> {
    fn new(store: &'m LocalStore, findings: &'m Findings) -> Result<Self> {
        let registered: Vec<&StorePath> = findings.rows.iter().map(|row| &row.path).collect();
        let strays = store.unregistered(&registered)?.into_iter().map(|path| (path, None)).collect();
        Ok(Self { store, findings, strays })
    }

    fn run(mut self) -> Result<()> {
        let paths = || self.findings.damaged.iter().filter(|damaged| damaged.table == Table::ValidPaths);
        let unreadable = paths().any(|damaged| damaged.has("path"));
        for damaged in &self.findings.damaged {
            interrupt::check()?;
            let mended = match damaged.table {
                Table::ValidPaths if damaged.has("path") => self.mend_path(damaged)?,
                Table::ValidPaths => self.mend_columns(damaged)?,
                // Below, all together.
                Table::Refs | Table::DerivationOutputs => continue,
                Table::Realisations | Table::RealisationsRefs => continue,
            };
            self.tell(damaged, mended);
        }
        if unreadable {
            // What refers to these cannot be known before they are mended: the
            // list that was read does not have them.
            for damaged in self.findings.damaged.iter().filter(|d| d.table != Table::ValidPaths) {
                self.store.progress().notice(&format!("{} waits until all paths can be read", damaged.label));
            }
            return Ok(());
        }
        self.mend_references()?;
        self.mend_outputs()?;
        self.mend_realisations()
    }

    /// Removes what cannot be read of realisations.
    fn mend_realisations(&self) -> Result<()> {
        let is_of_them =
            |damaged: &&Damaged| matches!(damaged.table, Table::Realisations | Table::RealisationsRefs);
        for damaged in self.findings.damaged.iter().filter(is_of_them) {
            self.store.write(|writer| writer.mend_realisation(damaged))?;
            let how =
                match (damaged.table, damaged.problems.iter().all(|(column, _)| *column == "signatures")) {
                    (Table::RealisationsRefs, _) => "removed",
                    (_, true) => "it has no signatures any more",
                    (_, false) => "removed; the output is known again once it is built or fetched",
                };
            self.tell(damaged, Ok(how.to_owned()));
        }
        Ok(())
    }

    pub(super) fn tell(&self, damaged: &Damaged, mended: Mended) {
        match mended {
            Ok(how) => self.store.progress().notice(&format!("mended {}: {how}", damaged.label)),
            Err(why) => {
                self.store.progress().problem(&format!("error: cannot mend {}: {why}", damaged.label));
            }
        }
    }

    /// The entry without a row that a row with an unreadable path stands for.
    fn find_contents(&mut self, damaged: &Damaged) -> Result<Option<StorePath>> {
        let dir = self.store.dir().as_str().to_owned();
        let distance = |path: &StorePath| {
            let full = format!("{dir}/{}", path.base_name());
            let differing = full.bytes().zip(&damaged.text).filter(|(a, b)| a != *b).count();
            differing + full.len().abs_diff(damaged.text.len())
        };
        self.strays.sort_by_cached_key(|(path, _)| distance(path));
        for (path, known) in &mut self.strays {
            interrupt::check()?;
            let Some(wanted) = damaged.hash else {
                // Without a hash only the name is left to go by.
                return Ok((distance(path) == 1).then(|| path.clone()));
            };
            let hash = match *known {
                Some(hash) => hash,
                None => match dump::hash(&self.store.real_path(path), HashAlgorithm::Sha256) {
                    Ok((hash, _)) => *known.insert(hash),
                    Err(crate::nar::NarError::Interrupted(signal)) => return Err(signal.into()),
                    Err(_) => continue,
                },
            };
            if hash == wanted {
                return Ok(Some(path.clone()));
            }
        }
        Ok(None)
    }

    /// The first entry without a row that could be what a row with an unreadable
    /// path stands for, though its contents are not those: it may have been
    /// modified, unless it is what its own name says.
    fn possible_contents(&self, damaged: &Damaged) -> Result<Option<StorePath>> {
        let registered = || self.findings.rows.iter().map(|row| row.path.clone());
        for (path, hash) in &self.strays {
            if damaged.hash.is_none() || *hash == damaged.hash {
                return Ok(Some(path.clone()));
            }
            let candidates = Candidates::new(registered().chain([path.clone()]));
            let real = self.store.real_path(path);
            let examined = match examine(&real, &candidates) {
                Ok(examined) => examined,
                Err(error) if error.is_interruption() => return Err(error),
                Err(_) => return Ok(Some(path.clone())),
            };
            let mut info = ValidPathInfo::new(path.clone(), examined.hash, examined.size);
            info.references = examined.references;
            if content_address(self.store.dir(), &info, examined.flat).is_none() {
                return Ok(Some(path.clone()));
            }
        }
        Ok(None)
    }

    fn mend_path(&mut self, damaged: &Damaged) -> Result<Mended> {
        let id = damaged.row;
        if let Some(path) = self.find_contents(damaged)? {
            self.strays.retain(|(stray, _)| *stray != path);
            let shown = self.store.dir().print(&path);
            self.store.write(|writer| writer.set(id, "path", &shown))?;
            return Ok(Ok(format!("its path is '{shown}', by its contents")));
        }
        // The text may be cut off, and the contents unreadable for a moment or
        // modified: as long as anything has no row it may be what is sought. The
        // most similar one comes first.
        if let Some(path) = self.possible_contents(damaged)? {
            let shown = self.store.dir().print(&path);
            return Ok(Err(format!(
                "it may stand for '{shown}', which has no row; \
                 if it does not, move that out of the store and try again"
            )));
        }
        let mut referrers = Vec::new();
        self.store.db().referrer_ids(id, &mut referrers).unwrap_or_default();
        let broken: Vec<String> = self
            .findings
            .rows
            .iter()
            .filter(|row| row.id != id && referrers.contains(&row.id))
            .map(|row| self.store.dir().print(&row.path))
            .collect();
        self.store.write(|writer| writer.remove_with_references(id))?;
        for path in &broken {
            self.store.progress().problem(&format!(
                "path '{path}' referred to {}, whose contents are gone; it may not work any more",
                damaged.label
            ));
        }
        Ok(Ok("removed, because nothing is there that it could stand for".to_owned()))
    }

    fn mend_columns(&self, damaged: &Damaged) -> Result<Mended> {
        let id = damaged.row;
        let Some(row) = self.findings.rows.iter().find(|row| row.id == id) else {
            return Ok(Err("its path cannot be read".to_owned()));
        };
        let store = self.store;
        let mut info = ValidPathInfo::new(row.path.clone(), row.hash.unwrap_or(Hash::sha256(b"")), row.size);
        let mut how = Vec::new();
        if ["hash", "narSize", "ca"].iter().any(|column| damaged.has(column)) {
            let real = store.real_path(&row.path);
            let examined = match examine(&real, &Candidates::new([])) {
                Ok(examined) => examined,
                Err(error) if error.is_interruption() => return Err(error),
                Err(error) => return Ok(Err(error.to_string())),
            };
            info.references = self.known_references(id)?;
            info.nar_hash = examined.hash;
            info.nar_size = examined.size;
            info.ca = match any_content_address(store.dir(), &info, &real, examined.flat) {
                Err(error) if !error.is_interruption() => return Ok(Err(error.to_string())),
                found => found?,
            };
            if damaged.has("hash") && row.is_addressed && info.ca.is_none() {
                // Its address is all that can vouch for the contents now.
                let why = "its contents are not what its content address says, as far as can be told";
                return Ok(Err(why.to_owned()));
            }
            if damaged.has("hash") && !damaged.has("narSize") && ![0, examined.size].contains(&row.size) {
                return Ok(Err("its contents do not have the registered size".to_owned()));
            }
            if damaged.has("hash") {
                how.push(format!("the hash is now that of the contents, {}", info.nar_hash));
            } else if row.hash != Some(examined.hash) {
                return Ok(Err("its contents are not those that were registered".to_owned()));
            }
        }
        let deriver = match damaged.has("deriver") {
            true => store.db().valid_derivers(&row.path).unwrap_or_default().pop_first(),
            false => None,
        };
        store.write(|writer| {
            for (column, _) in &damaged.problems {
                match *column {
                    "hash" => writer.set(id, column, info.nar_hash.prefixed(HashFormat::Base16))?,
                    "narSize" => writer.set(id, column, info.nar_size.cast_signed())?,
                    "ca" => writer.set(id, column, info.ca.map(|ca| ca.to_string()))?,
                    "deriver" => {
                        writer.set(id, column, deriver.as_ref().map(|path| store.dir().print(path)))?
                    }
                    "registrationTime" => writer.set(id, column, clock::now())?,
                    column => writer.set(id, column, None::<i64>)?,
                }
            }
            Ok(())
        })?;
        let columns = damaged.problems.iter().map(|(column, _)| *column).filter(|column| *column != "hash");
        how.extend(columns.map(|column| match column {
            "narSize" => format!("narSize is {}", info.nar_size),
            "ca" => format!("ca is {}", info.ca.map_or("empty".to_owned(), |ca| ca.to_string())),
            "deriver" => format!(
                "deriver is {}",
                deriver.as_ref().map_or("empty".to_owned(), |path| store.dir().print(path))
            ),
            "registrationTime" => "registrationTime is now".to_owned(),
            column => format!("{column} is empty"),
        }));
        Ok(Ok(how.join("; ")))
    }

    /// Paths that a row refers to, as far as they are there.
    pub(super) fn known_references(&self, id: PathId) -> Result<BTreeSet<StorePath>> {
        let ids: HashSet<PathId> = self.store.db().readable_reference_ids(id)?.into_iter().collect();
        let rows = self.findings.rows.iter();
        Ok(rows.filter(|row| ids.contains(&row.id)).map(|row| row.path.clone()).collect())
    }

    /// Removes outputs that cannot be read, and adds those that the files of
    /// derivations have.
    fn mend_outputs(&self) -> Result<()> {
        let all = self.findings.damaged.iter();
        let damaged: Vec<&Damaged> = all.filter(|d| d.table == Table::DerivationOutputs).collect();
        if damaged.is_empty() {
            return Ok(());
        }
        // Where a derivation cannot be read, its row may say what nothing else does.
        let mut unread = HashSet::new();
        for row in self.findings.rows.iter().filter(|row| row.path.is_derivation()) {
            interrupt::check()?;
            match self.store.read_derivation(&row.path) {
                Ok(_) => {}
                Err(error) if error.is_interruption() => return Err(error),
                Err(_) => drop(unread.insert(row.id)),
            }
        }
        let (stay, go): (Vec<&Damaged>, Vec<&Damaged>) = damaged
            .into_iter()
            .partition(|damaged| damaged.ends.0.map_or(!unread.is_empty(), |drv| unread.contains(&drv)));
        self.store.write(|writer| {
            go.iter().try_for_each(|damaged| writer.remove_row("DerivationOutputs", damaged.row))
        })?;
        for damaged in go {
            self.tell(damaged, Ok("removed; outputs are read from the derivations".to_owned()));
        }
        for damaged in stay {
            self.tell(damaged, Err("the derivation that may have the output cannot be read".to_owned()));
        }
        self.store.verify_outputs(&self.findings.rows, true).map(drop)
    }
}
