//! Commits on forges, as archives.

use std::io::Read as _;

use super::super::world::{Asked, of_fetch};
use super::web::{NAME, check_time};
use super::{add_rev, common};
use crate::eval::error::Error;
use crate::eval::io::FetchedTree;
use crate::eval::value::Position;
use crate::fetch::forge::{ForgeError, Site};
use crate::fetch::unpack::Top;
use crate::model::input::forge::ForgeInput;
use crate::model::input::git::Rev;
use crate::model::{Hash, StorePath};
use crate::ops::prefetch::{Prefetch, Prefetched};

/// Longest answer of a forge that is read, in bytes: a list of all branches and tags.
const MAX_ANSWER: u64 = 1 << 26;

impl Asked {
    pub(super) fn fetch_forge(&self, input: &ForgeInput) -> Result<FetchedTree, Error> {
        let shown = input.url();
        let fetching =
            |error: Error| error.frame(Position::NONE, format!("while fetching the input '{shown}'"));
        if let (Some(hash), Some(time), Some(rev)) =
            (input.expected.nar_hash, input.expected.last_modified, &input.rev)
            && let Some(path) = self.valid_tree(NAME, hash)?
        {
            return Ok(self.fetched_forge(&path, hash, time, rev));
        }
        let refused = |error: ForgeError| fetching(Error::new(error.to_string()));
        let site = Site::new(input, &self.options.access_tokens, &*self.progress).map_err(refused)?;
        let rev = match &input.rev {
            Some(rev) => rev.clone(),
            None => self.commit(&site).map_err(fetching)?,
        };
        let wanted = Prefetch {
            name: Some(NAME.to_owned()),
            expected: input.expected.nar_hash,
            unpack: Some(Top::Directory),
            timed: true,
            fixed: true,
            letting_in: site.letting_in(),
            ..Prefetch::file(site.archive(&rev))
        };
        let Prefetched { hash, path, version } = self.prefetched_tree(wanted, &shown).map_err(fetching)?;
        let newest = version.and_then(|version| version.newest);
        check_time(&input.expected, newest, &shown)?;
        let time = input.expected.last_modified.or(newest).unwrap_or(0);
        Ok(self.fetched_forge(&path, hash, time, &rev))
    }

    /// Asks a site for the commit that is meant. Its answers count for a while, as all downloads do.
    fn commit(&self, site: &Site<'_>) -> Result<Rev, Error> {
        let mut failure = None;
        let found = site.find(&mut |url| {
            let answer = self.answer(site, url);
            answer.map_err(|error| failure = Some(error)).ok()
        });
        match (failure, found) {
            (Some(error), _) => Err(error),
            (None, found) => found.map_err(|error| Error::new(error.to_string())),
        }
    }

    fn answer(&self, site: &Site<'_>, url: &str) -> Result<Vec<u8>, Error> {
        let wanted = Prefetch {
            name: Some(NAME.to_owned()),
            letting_in: site.letting_in(),
            ..Prefetch::file(url.to_owned())
        };
        let path = self.prefetched(wanted)?.map_err(of_fetch)?.path;
        let file = self.real(self.options.store_dir.print(&path).as_bytes())?;
        let failed = |error| super::files::failure(&file, "reading", &error);
        let mut answer = Vec::new();
        let opened = std::fs::File::open(&file).map_err(failed)?;
        opened.take(MAX_ANSWER + 1).read_to_end(&mut answer).map_err(failed)?;
        match answer.len() as u64 > MAX_ANSWER {
            true => Err(Error::new(format!("the answer of '{url}' is longer than {MAX_ANSWER} bytes"))),
            false => Ok(answer),
        }
    }

    fn fetched_forge(&self, path: &StorePath, hash: Hash, time: u64, rev: &Rev) -> FetchedTree {
        let mut attributes = common(time, hash);
        add_rev(&mut attributes, rev);
        FetchedTree { path: self.allowed(path), attributes }
    }
}
