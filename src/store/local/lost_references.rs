//! References of the database that lead nowhere: what they said is found again in
//! the contents of paths.
//!
//! | what is known of a damaged row | it is removed when |
//! |---|---|
//! | the referrer | as many references of the referrer are found as it has damaged rows, or its contents are the registered ones and name nothing else |
//! | the reference only | as many referrers are found, or all contents are the registered ones |
//! | neither | as many references are found, or all contents are the registered ones and name nothing else |
//!
//! Until then the row stays: it is all that is left of a reference.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::db::check::{Checked, Damaged, Table};
use super::examine::examine;
use super::mend::Mender;
use crate::model::references::Candidates;
use crate::model::{StorePath, ValidPathInfo};
use crate::store::error::Result;
use crate::store::graph::PathId;
use crate::sys::{interrupt, threads};

/// The damaged rows of references.
struct Sought<'d> {
    damaged: Vec<&'d Damaged>,
    /// Referrers that are known.
    referrers: HashSet<PathId>,
    /// References whose referrers are not known.
    targets: HashSet<PathId>,
    /// Whether any path may be the referrer of one of them.
    everywhere: bool,
    /// Whether one of them may lead anywhere from anywhere.
    anything: bool,
}

impl<'d> Sought<'d> {
    fn new(damaged: Vec<&'d Damaged>) -> Self {
        let adrift = || damaged.iter().filter(|damaged| damaged.ends.0.is_none());
        Self {
            referrers: damaged.iter().filter_map(|damaged| damaged.ends.0).collect(),
            targets: adrift().filter_map(|damaged| damaged.ends.1).collect(),
            everywhere: adrift().next().is_some(),
            anything: adrift().any(|damaged| damaged.ends.1.is_none()),
            damaged,
        }
    }

    /// Whether a reference that is not recorded may be one of these.
    fn may_be(&self, referrer: PathId, reference: PathId) -> bool {
        self.anything
            || self.targets.is_empty()
            || self.referrers.contains(&referrer)
            || self.targets.contains(&reference)
    }
}

/// What the contents of a path name.
struct Scanned<'r> {
    row: &'r Checked,
    /// Valid paths.
    references: BTreeSet<StorePath>,
    /// Whether the contents are the registered ones.
    is_intact: bool,
    /// Whether the contents name something that has no row.
    names_strays: bool,
}

/// What came of the search.
#[derive(Default)]
struct Outcome {
    /// References that are not recorded: referrer and reference.
    lost: Vec<(PathId, PathId)>,
    /// Paths known to have no more references than are recorded.
    complete: HashSet<PathId>,
    /// Paths whose contents cannot be read.
    unread: HashSet<PathId>,
    /// Paths whose contents are not the registered ones.
    altered: HashSet<PathId>,
    /// Paths whose contents name something that has no row.
    name_strays: HashSet<PathId>,
}

impl Outcome {
    /// Whether a damaged row says nothing any more that is not known otherwise.
    fn settles(&self, damaged: &Damaged, sought: &Sought<'_>) -> bool {
        let lost_from = |referrer| self.lost.iter().filter(|(from, _)| *from == referrer).count();
        let lost_to = |reference| self.lost.iter().filter(|(_, to)| *to == reference).count();
        let alike = |is_alike: &dyn Fn(&Damaged) -> bool| {
            sought.damaged.iter().filter(|other| is_alike(other)).count()
        };
        match damaged.ends {
            (Some(referrer), _) if self.unread.contains(&referrer) => false,
            (Some(referrer), _) => {
                self.complete.contains(&referrer)
                    || lost_from(referrer) >= alike(&|other| other.ends.0 == Some(referrer))
                    || !(self.altered.contains(&referrer) || self.name_strays.contains(&referrer))
            }
            (None, _) if !self.unread.is_empty() => false,
            (None, Some(target)) => {
                lost_to(target) >= alike(&|other| other.ends == damaged.ends) || self.altered.is_empty()
            }
            (None, None) => {
                self.lost.len() >= sought.damaged.len()
                    || (self.altered.is_empty() && self.name_strays.is_empty())
            }
        }
    }

    /// Why a row stays.
    fn reason(&self, damaged: &Damaged) -> &'static str {
        let concerns = |paths: &HashSet<PathId>| match damaged.ends.0 {
            Some(referrer) => paths.contains(&referrer),
            None => !paths.is_empty(),
        };
        if concerns(&self.unread) {
            "the contents of a path that may have it cannot be read"
        } else if concerns(&self.name_strays) {
            "it may lead to something that is there and has no row"
        } else {
            "what it referred to was not found again, and the contents of a path that may have it are modified"
        }
    }
}

impl Mender<'_> {
    /// Removes references that lead nowhere, and adds those that are lost with
    /// them, in one transaction.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError).
    pub(super) fn mend_references(&self) -> Result<()> {
        let all = self.findings.damaged.iter();
        let sought = Sought::new(all.filter(|damaged| damaged.table == Table::Refs).collect());
        if sought.damaged.is_empty() {
            return Ok(());
        }
        self.store.progress().notice("looking for the references that were lost...");
        let outcome = self.search(&sought)?;
        let (gone, kept): (Vec<&Damaged>, Vec<&Damaged>) =
            sought.damaged.iter().copied().partition(|damaged| outcome.settles(damaged, &sought));
        self.store.write(|writer| {
            for damaged in &gone {
                writer.remove_row("Refs", damaged.row)?;
            }
            let mut references = writer.references()?;
            outcome.lost.iter().try_for_each(|(from, to)| references.add(*from, *to))
        })?;
        let how = match outcome.lost.len() {
            0 => "removed; the contents name nothing more than is recorded".to_owned(),
            count => format!("removed; {count} references were found again"),
        };
        gone.into_iter().for_each(|damaged| self.tell(damaged, Ok(how.clone())));
        kept.into_iter().for_each(|damaged| self.tell(damaged, Err(outcome.reason(damaged).to_owned())));
        Ok(())
    }

    fn search(&self, sought: &Sought<'_>) -> Result<Outcome> {
        let is_wanted = |row: &&Checked| sought.everywhere || sought.referrers.contains(&row.id);
        let rows: Vec<&Checked> = self.findings.rows.iter().filter(is_wanted).collect();
        let (scanned, unread) = self.scan(&rows)?;
        let mut outcome = Outcome { unread, ..Outcome::default() };
        for Scanned { row, references, is_intact, names_strays } in scanned {
            let known = self.known_references(row.id)?;
            if self.is_complete(row, &known)? {
                outcome.complete.insert(row.id);
                continue;
            }
            let fresh: BTreeSet<&StorePath> = references.difference(&known).collect();
            let others = self.findings.rows.iter().filter(|other| fresh.contains(&other.path));
            let lost = others.filter(|other| sought.may_be(row.id, other.id)).map(|other| (row.id, other.id));
            outcome.lost.extend(lost);
            if !is_intact {
                outcome.altered.insert(row.id);
            }
            if names_strays {
                outcome.name_strays.insert(row.id);
            }
        }
        Ok(outcome)
    }

    /// Whether a path is known to have no other references than these: its name
    /// is made of them.
    fn is_complete(&self, row: &Checked, references: &BTreeSet<StorePath>) -> Result<bool> {
        let raw = match self.store.db().raw_path(&row.path) {
            Ok(Some(raw)) => raw,
            Err(error) if error.is_interruption() => return Err(error),
            _ => return Ok(false),
        };
        let mut info = ValidPathInfo::new(row.path.clone(), raw.nar_hash()?, raw.nar_size);
        info.references = references.clone();
        info.ca = raw.ca.as_deref().and_then(|ca| ca.parse().ok());
        Ok(info.is_content_addressed(self.store.dir()))
    }

    /// What the contents of each path name, and the rows of those whose contents
    /// could not be read.
    fn scan<'r>(&self, rows: &[&'r Checked]) -> Result<(Vec<Scanned<'r>>, HashSet<PathId>)> {
        let valid = || self.findings.rows.iter().map(|row| &row.path);
        let parts: HashSet<&str> = valid().map(StorePath::hash_part).collect();
        let strays: HashSet<&StorePath> = self
            .strays
            .iter()
            .map(|(path, _)| path)
            .filter(|path| !parts.contains(path.hash_part()))
            .collect();
        let candidates = Candidates::new(valid().chain(strays.iter().copied()).cloned());
        let layout = self.store.layout();
        let next = AtomicUsize::new(0);
        let found = Mutex::new((Vec::new(), HashSet::new()));
        threads::on_all_cores(rows.len(), || -> Result<()> {
            while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                interrupt::check()?;
                let examined = examine(&layout.real_path(&row.path), &candidates);
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                match examined {
                    Ok(examined) => {
                        let (named, references) = examined
                            .references
                            .into_iter()
                            .partition::<Vec<_>, _>(|path| strays.contains(path));
                        found.0.push(Scanned {
                            row,
                            references: references.into_iter().collect(),
                            is_intact: row.hash == Some(examined.hash),
                            names_strays: !named.is_empty(),
                        });
                    }
                    Err(error) if error.is_interruption() => return Err(error),
                    Err(_) => {
                        found.1.insert(row.id);
                    }
                }
            }
            Ok(())
        })?;
        Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}
