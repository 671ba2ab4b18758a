//! Archives and files, by their URLs.

use super::super::add;
use super::super::world::{Asked, of_fetch};
use super::{add_rev, check_hash, common, other_attribute};
use crate::eval::error::Error;
use crate::eval::io::FetchedTree;
use crate::eval::value::Position;
use crate::fetch::FetchError;
use crate::fetch::unpack::Top;
use crate::model::content_address::ContentAddressMethod;
use crate::model::input::url::Url;
use crate::model::input::web::{Content, WebInput};
use crate::model::input::{Attribute, Expected, Input};
use crate::model::{Hash, StorePath};
use crate::ops::prefetch::{Prefetch, Prefetched};

/// The name of fetched trees.
pub(super) const NAME: &str = "source";

impl Asked {
    pub(super) fn fetch_web(&self, input: &WebInput) -> Result<FetchedTree, Error> {
        let shown = input.url();
        let fetching =
            |error: Error| error.frame(Position::NONE, format!("while fetching the input '{shown}'"));
        let name = input.name.as_deref().unwrap_or(NAME);
        let is_archive = input.content == Content::Archive;
        // Everything is known before that would be told.
        if let Some(hash) = input.expected.nar_hash
            && (!is_archive || input.expected.last_modified.is_some())
            && let Some(path) = self.valid_tree(name, hash)?
        {
            return Ok(self.fetched_web(input, &path, hash, None));
        }
        let wanted = Prefetch {
            name: Some(name.to_owned()),
            expected: input.expected.nar_hash,
            unpack: is_archive.then_some(Top::Directory),
            archived: !is_archive,
            timed: is_archive,
            ..Prefetch::file(input.url.to_string())
        };
        let Prefetched { hash, path, version } = self.prefetched_tree(wanted, &shown).map_err(fetching)?;
        let mut input = input.clone();
        let newest = version.as_ref().and_then(|version| version.newest);
        if let Some(place) = version.and_then(|version| version.immutable).filter(|_| is_archive) {
            locked(&mut input, &place).map_err(fetching)?;
        }
        check_time(&input.expected, newest, &shown)?;
        Ok(self.fetched_web(&input, &path, hash, newest))
    }

    /// The path of a tree with this hash, if it is there.
    pub(super) fn valid_tree(&self, name: &str, hash: Hash) -> Result<Option<StorePath>, Error> {
        let method = ContentAddressMethod::NixArchive;
        let path = add::content_path(&self.options.store_dir, name, method, hash, Default::default())?;
        Ok(self.is_known(&path)?.then_some(path))
    }

    /// Gets an archive or file, of which another hash than the expected one is that of an input.
    pub(super) fn prefetched_tree(&self, wanted: Prefetch, input: &Url) -> Result<Prefetched, Error> {
        let expected = Expected { nar_hash: wanted.expected, ..Expected::default() };
        match self.prefetched(wanted)? {
            Err(FetchError::Mismatch(mismatch)) => {
                check_hash(&expected, mismatch.found, &input.to_string())?;
                Err(of_fetch(FetchError::Mismatch(mismatch)))
            }
            other => other.map_err(of_fetch),
        }
    }

    fn fetched_web(
        &self,
        input: &WebInput,
        path: &StorePath,
        hash: Hash,
        newest: Option<u64>,
    ) -> FetchedTree {
        let last_modified = input.expected.last_modified.or(newest);
        let mut attributes = common(last_modified.unwrap_or(0), hash);
        if last_modified.is_none() {
            // Of a file no time is known.
            attributes.retain(|name, _| name == "narHash");
        }
        if let Some(rev) = &input.rev {
            add_rev(&mut attributes, rev);
        }
        if let Some(count) = input.expected.rev_count {
            attributes.insert("revCount".to_owned(), Attribute::Number(count));
        }
        FetchedTree { path: self.allowed(path), attributes }
    }
}

/// Takes over what a server says of the place where the same will always be.
fn locked(input: &mut WebInput, place: &str) -> Result<(), Error> {
    let refused = || Error::new("tarball 'Link' headers that redirect to non-tarball URLs are not supported");
    let immutable = match Input::from_url(place).map_err(|error| Error::new(error.to_string()))? {
        Input::Web(immutable) if immutable.content == Content::Archive => immutable,
        _ => return Err(refused()),
    };
    if let (Some(wanted), Some(found)) = (&input.rev, &immutable.rev)
        && wanted != found
    {
        return Err(other_attribute("rev", &immutable.url(), wanted.as_str(), Some(found.as_str())));
    }
    let counts = (input.expected.rev_count, immutable.expected.rev_count);
    if let (Some(wanted), Some(found)) = counts
        && wanted != found
    {
        let [wanted, found] = [wanted, found].map(|count| count.to_string());
        return Err(other_attribute("revCount", &immutable.url(), &wanted, Some(&found)));
    }
    input.rev = immutable.rev.or(input.rev.take());
    input.expected.rev_count = immutable.expected.rev_count.or(input.expected.rev_count);
    Ok(())
}

/// Refuses the tree of a locked input that is of another time than it was locked at.
pub(super) fn check_time(expected: &Expected, newest: Option<u64>, url: &Url) -> Result<(), Error> {
    match (expected.nar_hash, expected.last_modified, newest) {
        (Some(_), Some(wanted), Some(found)) if wanted != found => {
            let [wanted, found] = [wanted, found].map(|time| time.to_string());
            Err(other_attribute("lastModified", url, &wanted, Some(&found)))
        }
        _ => Ok(()),
    }
}
