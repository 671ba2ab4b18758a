//! Trees of Git repositories.

use super::super::add::{self, Source};
use super::super::files;
use super::super::world::Asked;
use super::{add_rev, check_hash, common, other_attribute};
use crate::eval::error::Error;
use crate::eval::io::FetchedTree;
use crate::eval::value::Position;
use crate::fetch::git::{Fetcher, Found, GitError, Key, Memory, Remembered};
use crate::model::content_address::ContentAddressMethod;
use crate::model::input::Attribute;
use crate::model::input::git::{GitInput, Rev};
use crate::model::{Hash, StorePath};
use crate::sys::interrupt;

/// What is known of a tree besides its files.
#[derive(Default)]
struct Facts {
    /// The commit.
    rev: Option<Rev>,
    /// The commit that changed files began as.
    changed: Option<Rev>,
    /// The branch or tag that the commit was found by.
    reference: Option<String>,
    /// In seconds since 1970.
    last_modified: u64,
    rev_count: Option<u64>,
}

impl Asked {
    pub(super) fn fetch_git(&self, input: &GitInput, url: &str) -> Result<FetchedTree, Error> {
        let fetching = |error: GitError| {
            failure(error).frame(Position::NONE, format!("while fetching the input '{url}'"))
        };
        let fetcher = Fetcher::new(self.options.git.clone(), std::sync::Arc::clone(&self.progress));
        fetcher.check(input).map_err(fetching)?;
        let memory = fetcher.memory();
        if let Some(rev) = &input.rev
            && let Some(known) = self.remembered(memory.as_ref(), input, rev, None)?
        {
            return Ok(known);
        }
        match fetcher.find(input).map_err(fetching)? {
            Found::WorkTree(tree) => {
                let is_changed = !tree.dirty().is_empty();
                let mut facts = Facts {
                    changed: tree.rev.clone().filter(|_| is_changed),
                    reference: tree.reference.clone(),
                    last_modified: tree.time,
                    ..Facts::default()
                };
                if !is_changed {
                    // A repository without commits has none as its commit.
                    let none = || Rev::parse(&"0".repeat(40)).ok();
                    facts.rev = tree.rev.clone().or_else(none);
                    let counts = input.choices.shallow != Some(true);
                    facts.rev_count = counts.then(|| tree.count()).transpose().map_err(fetching)?;
                }
                let source = Source::Told(Box::new(move |sink| tree.tell(sink)));
                let (path, hash) = self.add_tree(input, source, &facts, url)?;
                Ok(self.fetched_git(input, &facts, &path, hash))
            }
            Found::Commit(found) => {
                let (rev, reference) = (found.rev.clone(), found.reference.clone());
                if let Some(known) = self.remembered(memory.as_ref(), input, &rev, reference.clone())? {
                    return Ok(known);
                }
                let tree = fetcher.tree(&found, input).map_err(fetching)?;
                let counts = input.choices.shallow != Some(true);
                let facts = Facts {
                    rev: Some(rev.clone()),
                    reference,
                    last_modified: tree.time,
                    rev_count: counts.then(|| found.count()).transpose().map_err(fetching)?,
                    ..Facts::default()
                };
                let source = Source::Told(Box::new(move |sink| tree.tell(sink)));
                let (path, nar_hash) = self.add_tree(input, source, &facts, url)?;
                if let Some(memory) = &memory {
                    let (last_modified, rev_count) = (facts.last_modified, facts.rev_count);
                    let rev_count = rev_count.filter(|_| found.has_history);
                    memory.put(&Key::new(&rev, input), &Remembered { nar_hash, last_modified, rev_count });
                }
                Ok(self.fetched_git(input, &facts, &path, nar_hash))
            }
        }
    }

    /// What was fetched before, if it is in the store and everything is known that is asked for.
    fn remembered(
        &self,
        memory: Option<&Memory>,
        input: &GitInput,
        rev: &Rev,
        reference: Option<String>,
    ) -> Result<Option<FetchedTree>, Error> {
        let Some(known) = memory.and_then(|memory| memory.get(&Key::new(rev, input))) else {
            return Ok(None);
        };
        let counts = input.choices.shallow != Some(true);
        if counts && known.rev_count.is_none() {
            return Ok(None);
        }
        let name = input.name.as_deref().unwrap_or("source");
        let method = ContentAddressMethod::NixArchive;
        let path =
            add::content_path(&self.options.store_dir, name, method, known.nar_hash, Default::default())?;
        if !self.is_known(&path)? {
            return Ok(None);
        }
        let facts = Facts {
            rev: Some(rev.clone()),
            reference,
            last_modified: known.last_modified,
            rev_count: known.rev_count.filter(|_| counts),
            ..Facts::default()
        };
        check_hash(&input.expected, known.nar_hash, &input.url().to_string())?;
        check_facts(input, &facts)?;
        Ok(Some(self.fetched_git(input, &facts, &path, known.nar_hash)))
    }

    fn add_tree(
        &self,
        input: &GitInput,
        source: Source,
        facts: &Facts,
        url: &str,
    ) -> Result<(StorePath, Hash), Error> {
        let check = |hash| {
            check_facts(input, facts)
                .map_err(|error| error.frame(Position::NONE, format!("while fetching the input '{url}'")))?;
            check_hash(&input.expected, hash, url)
        };
        self.add_fetched(input.name.as_deref().unwrap_or("source"), source, check)
    }

    fn fetched_git(&self, input: &GitInput, facts: &Facts, path: &StorePath, hash: Hash) -> FetchedTree {
        let mut attributes = common(facts.last_modified, hash);
        if let Some(rev) = &facts.rev {
            add_rev(&mut attributes, rev);
        }
        let mut text = |name: &str, text: String| {
            attributes.insert(name.to_owned(), Attribute::Text(text));
        };
        if let Some(rev) = &facts.changed {
            text("dirtyRev", format!("{}-dirty", rev.as_str()));
            text("dirtyShortRev", format!("{}-dirty", rev.short()));
        }
        if let Some(count) = facts.rev_count {
            attributes.insert("revCount".to_owned(), Attribute::Number(count));
        }
        let submodules = input.choices.submodules == Some(true);
        attributes.insert("submodules".to_owned(), Attribute::Bool(submodules));
        FetchedTree { path: self.allowed(path), attributes }
    }
}

/// Refuses a tree of another time or number of commits than the expected ones.
fn check_facts(input: &GitInput, facts: &Facts) -> Result<(), Error> {
    let mut locked = input.clone();
    locked.rev.clone_from(&facts.rev);
    locked.reference = locked.reference.or_else(|| facts.reference.clone());
    let expected = &input.expected;
    let numbers = [
        ("lastModified", expected.last_modified, Some(facts.last_modified)),
        ("revCount", expected.rev_count, facts.rev_count),
    ];
    for (name, wanted, found) in numbers {
        let Some(wanted) = wanted.filter(|wanted| found != Some(*wanted)) else { continue };
        let found = found.map(|found| found.to_string());
        return Err(other_attribute(name, &locked.url(), &wanted.to_string(), found.as_deref()));
    }
    Ok(())
}

fn failure(error: GitError) -> Error {
    match error {
        _ if interrupt::requested() => files::interrupted(),
        other => Error::new(other.to_string()),
    }
}
