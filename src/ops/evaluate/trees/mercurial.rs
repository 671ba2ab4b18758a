//! Trees of Mercurial repositories.

use std::sync::Arc;

use super::super::add::Source;
use super::super::files;
use super::super::world::Asked;
use super::{add_rev, check_hash, common, other_attribute};
use crate::eval::error::Error;
use crate::eval::io::FetchedTree;
use crate::eval::value::Position;
use crate::fetch::mercurial::{Fetcher, Found, MercurialError};
use crate::model::input::Attribute;
use crate::model::input::mercurial::MercurialInput;
use crate::sys::interrupt;

/// The attribute that only `fetchMercurial` tells.
const BRANCH: &str = "branch";

impl Asked {
    pub(super) fn fetch_mercurial(&self, input: &MercurialInput, url: &str) -> Result<FetchedTree, Error> {
        let fetching =
            |error: Error| error.frame(Position::NONE, format!("while fetching the input '{url}'"));
        let failed = |error: MercurialError| fetching(failure(error));
        let fetcher = Fetcher::new(self.options.git.clone(), Arc::clone(&self.progress));
        let (source, commit, branch) = match fetcher.find(input).map_err(failed)? {
            Found::WorkTree { files, branch } => {
                let source = Source::Told(Box::new(move |sink| files.tell(sink)));
                (source, None, branch)
            }
            Found::Commit(found) => {
                let (tree, branch) = (found.tree().map_err(failed)?, found.branch.clone());
                let source = Source::Told(Box::new(move |sink| tree.tell(sink)));
                (source, Some((found.rev.clone(), found.count)), branch)
            }
        };
        let count = commit.as_ref().map(|(_, count)| *count);
        if let Some(wanted) = input.expected.rev_count.filter(|wanted| count != Some(*wanted)) {
            let found = count.map(|count| count.to_string());
            let error = other_attribute("revCount", &input.url(), &wanted.to_string(), found.as_deref());
            return Err(fetching(error));
        }
        let check = |hash| check_hash(&input.expected, hash, url);
        let (path, hash) = self.add_fetched(input.name.as_deref().unwrap_or("source"), source, check)?;
        let mut attributes = common(0, hash);
        // Mercurial tells no time.
        attributes.retain(|name, _| name == "narHash");
        if let Some((rev, count)) = commit {
            add_rev(&mut attributes, &rev);
            attributes.insert("revCount".to_owned(), Attribute::Number(count));
        }
        attributes.insert(BRANCH.to_owned(), Attribute::Text(branch));
        Ok(FetchedTree { path: self.allowed(&path), attributes })
    }
}

fn failure(error: MercurialError) -> Error {
    match error {
        _ if interrupt::requested() => files::interrupted(),
        other => Error::new(other.to_string()),
    }
}
