//! Trees that are fetched from elsewhere.
//!
//! ```text
//! git       of Git repositories
//! mercurial of Mercurial repositories
//! web       archives and files, by their URLs
//! forge     commits on GitHub, GitLab and SourceHut
//! indirect  what a registry has for a name
//! ```

mod forge;
mod git;
mod indirect;
mod mercurial;
mod web;

use super::add::{self, Source};
use super::files;
use super::world::{Asked, lock};
use crate::eval::error::Error;
use crate::eval::io::FetchedTree;
use crate::eval::text::path::canonical;
use crate::eval::value::Position;
use crate::fetch::path::newest;
use crate::model::input::git::Rev;
use crate::model::input::path::PathInput;
use crate::model::input::url::Url;
use crate::model::input::{Attribute, Attributes, Expected, Input, json};
use crate::model::{Hash, HashFormat};
use crate::sys::clock;

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
            Input::Web(input) => self.fetch_web(input)?,
            Input::Forge(input) => self.fetch_forge(input)?,
            Input::Indirect(_) => self.fetch_input(&self.resolve_indirect(input)?)?,
            Input::Mercurial(input) => self.fetch_mercurial(input, &url)?,
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
            add_rev(&mut attributes, rev);
        }
        if let Some(count) = input.expected.rev_count {
            attributes.insert("revCount".to_owned(), Attribute::Number(count));
        }
        Ok(FetchedTree { path: self.allowed(&path), attributes })
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

/// Adds what is told of a commit.
fn add_rev(attributes: &mut Attributes, rev: &Rev) {
    attributes.insert("rev".to_owned(), Attribute::Text(rev.as_str().to_owned()));
    attributes.insert("shortRev".to_owned(), Attribute::Text(rev.short().to_owned()));
}

/// The failure for a tree of which an attribute is another than the expected one.
fn other_attribute(name: &str, url: &Url, wanted: &str, found: Option<&str>) -> Error {
    let got = found.map(|found| format!(", got {found}")).unwrap_or_default();
    Error::new(format!("'{name}' attribute mismatch in input '{url}', expected {wanted}{got}"))
}
