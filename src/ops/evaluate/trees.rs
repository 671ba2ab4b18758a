//! Trees that are fetched from elsewhere.

use super::add::{self, Source};
use super::world::{Asked, lock};
use crate::eval::error::Error;
use crate::eval::io::FetchedTree;
use crate::eval::text::path::canonical;
use crate::eval::value::Position;
use crate::fetch::git::{Fetcher, Found, GitError, Key, Memory, Remembered};
use crate::fetch::path::newest;
use crate::model::content_address::ContentAddressMethod;
use crate::model::input::git::{GitInput, Rev};
use crate::model::input::path::PathInput;
use crate::model::input::{Attribute, Attributes, Expected, Input, json};
use crate::model::{Hash, HashFormat, StorePath};
use crate::sys::{clock, interrupt};

use super::files;

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
    /// Fetches a tree into the store, once in an evaluation.
    pub(super) fn fetch_input(&self, input: &Input) -> Result<FetchedTree, Error> {
        let url = input.url().to_string();
        self.access.check_uri(&url)?;
        let key = json(&input.attributes());
        let known = lock(&self.fetched).get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let fetched = match input {
            Input::Git(input) => self.fetch_git(input, &url)?,
            Input::Path(input) => self.fetch_path(input, &url)?,
            Input::Mercurial(_) | Input::Forge(_) | Input::Web(_) | Input::Indirect(_) => {
                return Err(Error::new(format!("this program cannot fetch inputs like '{url}' yet")));
            }
        };
        lock(&self.fetched).insert(key, fetched.clone());
        Ok(fetched)
    }

    fn fetch_path(&self, input: &PathInput, url: &str) -> Result<FetchedTree, Error> {
        let fetching =
            |error: Error| error.frame(Position::NONE, format!("while fetching the input '{url}'"));
        if !input.path.starts_with('/') {
            let message = format!("cannot fetch input '{url}' because it uses a relative path");
            return Err(fetching(Error::new(message)));
        }
        let path = self.real(&canonical(input.path.as_bytes()))?;
        let newest = newest(&path).map_err(|error| match error.is_not_found() {
            true => fetching(files::missing(&path)),
            false => fetching(Error::new(error.to_string())),
        })?;
        let check = |hash| check_hash(&input.expected, hash, url);
        let (path, hash) = self.add_fetched("source", Source::Whole(path), check)?;
        let mut attributes = common(input.expected.last_modified.unwrap_or(newest), hash);
        if let Some(rev) = &input.rev {
            attributes.insert("rev".to_owned(), Attribute::Text(rev.as_str().to_owned()));
            attributes.insert("shortRev".to_owned(), Attribute::Text(rev.short().to_owned()));
        }
        if let Some(count) = input.expected.rev_count {
            attributes.insert("revCount".to_owned(), Attribute::Number(count));
        }
        Ok(FetchedTree { path: self.allowed(&path), attributes })
    }

    fn fetch_git(&self, input: &GitInput, url: &str) -> Result<FetchedTree, Error> {
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
        let mut text = |name: &str, text: String| {
            attributes.insert(name.to_owned(), Attribute::Text(text));
        };
        if let Some(rev) = &facts.rev {
            text("rev", rev.as_str().to_owned());
            text("shortRev", rev.short().to_owned());
        }
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

/// What is told of trees of every type.
fn common(last_modified: u64, hash: Hash) -> Attributes {
    let seconds = i64::try_from(last_modified).unwrap_or(i64::MAX);
    let date = clock::utc_time(seconds).chars().filter(char::is_ascii_digit).collect();
    Attributes::from([
        ("lastModified".to_owned(), Attribute::Number(last_modified)),
        ("lastModifiedDate".to_owned(), Attribute::Text(date)),
        ("narHash".to_owned(), Attribute::Text(hash.digits(HashFormat::Sri))),
    ])
}

/// Refuses a tree with another hash than the expected one.
fn check_hash(expected: &Expected, found: Hash, url: &str) -> Result<(), Error> {
    match expected.nar_hash {
        Some(wanted) if wanted != found => {
            let [wanted, found] = [wanted, found].map(|hash| hash.digits(HashFormat::Sri));
            Err(add::other_hash(format!(
                "NAR hash mismatch in input '{url}', expected '{wanted}' but got '{found}'"
            )))
        }
        _ => Ok(()),
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
        let got = found.map(|found| format!(", got {found}")).unwrap_or_default();
        let url = locked.url();
        return Err(Error::new(format!(
            "'{name}' attribute mismatch in input '{url}', expected {wanted}{got}"
        )));
    }
    Ok(())
}

fn failure(error: GitError) -> Error {
    match error {
        _ if interrupt::requested() => files::interrupted(),
        other => Error::new(other.to_string()),
    }
}
