//! Questions of clients of a daemon.
//!
//! A path that a client was told to be valid has no root of its own: a client that counts on it adds one.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use super::add::no_realisation;
use crate::model::{DrvOutput, StoreDir, StorePath};
use crate::ops::serve::tunnel::Outlet;
use crate::ops::serve::worker::Worker;
use crate::store::api::{Item, Store as _};
use crate::store::error::{RequestError, Result};
use crate::store::remote::protocol::wire::Writer;
use crate::store::remote::protocol::worker::op;

impl<R: Read, W: Outlet + 'static> Worker<'_, R, W> {
    /// Answers a question; everything else is refused.
    pub(super) fn query(&mut self, operation: u64) -> Result<()> {
        let dir = self.dir();
        match operation {
            op::IS_VALID_PATH => {
                let path = self.path()?;
                self.begin();
                let valid = self.store.db().is_valid(&path)?;
                self.answer(|writer| writer.boolean(valid))
            }
            op::QUERY_PATH_INFO => {
                let path = self.path()?;
                self.begin();
                let info = self.store.db().path_info(&path)?;
                self.answer(|writer| {
                    writer.boolean(info.is_some())?;
                    info.map_or(Ok(()), |info| writer.info(&dir, &info))
                })
            }
            op::QUERY_VALID_PATHS => {
                let paths: Vec<StorePath> = self.reader.paths(&dir)?.into_iter().collect();
                let fetch = self.version().has(27) && self.reader.boolean()?;
                self.begin();
                if fetch {
                    self.fetch(&paths)?;
                }
                let valid = self.store.valid_now(&paths)?;
                self.answer(|writer| writer.paths(&dir, valid.iter()))
            }
            op::QUERY_ALL_VALID_PATHS => {
                self.begin();
                let all = self.store.all()?;
                self.answer(|writer| writer.paths(&dir, all.iter()))
            }
            op::QUERY_PATH_FROM_HASH_PART => {
                let part = self.reader.word()?;
                self.begin();
                if part.len() != crate::model::store_path::HASH_LEN {
                    return Err(RequestError::Malformed("invalid hash part".to_owned()).into());
                }
                let path = self.store.db().path_from_hash_part(&part)?;
                self.answer(|writer| writer.optional_path(&dir, path.as_ref()))
            }
            op::QUERY_DERIVATION_OUTPUT_MAP => {
                let path = self.path()?;
                self.begin();
                self.store.path_info(&path)?;
                let outputs = self.store.known_outputs(&path)?;
                self.answer(|writer| {
                    writer.number(outputs.len() as u64)?;
                    outputs.iter().try_for_each(|(name, path)| {
                        writer.text(name)?;
                        writer.path(&dir, path)
                    })
                })
            }
            op::QUERY_DERIVATION_OUTPUT_NAMES => {
                let path = self.path()?;
                self.begin();
                let outputs = self.store.known_outputs(&path)?;
                self.answer(|writer| writer.texts(outputs.iter().map(|(name, _)| name)))
            }
            op::QUERY_PATH_HASH => {
                let path = self.path()?;
                self.begin();
                let hash = self.store.path_info(&path)?.nar_hash;
                self.answer(|writer| writer.text(&hash.to_base16()))
            }
            op::QUERY_DERIVER => {
                let path = self.path()?;
                self.begin();
                let deriver = self.store.path_info(&path)?.deriver;
                self.answer(|writer| writer.optional_path(&dir, deriver.as_ref()))
            }
            op::QUERY_REFERRERS
            | op::QUERY_REFERENCES
            | op::QUERY_VALID_DERIVERS
            | op::QUERY_DERIVATION_OUTPUTS => {
                let path = self.path()?;
                self.begin();
                let paths = match operation {
                    op::QUERY_REFERRERS => self.store.db().referrers(&path)?,
                    op::QUERY_REFERENCES => self.store.path_info(&path)?.references,
                    op::QUERY_VALID_DERIVERS => self.store.db().valid_derivers(&path)?,
                    _ => {
                        let outputs = self.store.known_outputs(&path)?;
                        outputs.into_iter().map(|(_, path)| path).collect::<BTreeSet<_>>()
                    }
                };
                self.answer(|writer| writer.paths(&dir, paths.iter()))
            }
            op::QUERY_REALISATION => {
                let id: DrvOutput = self.reader.word()?.parse().map_err(no_realisation)?;
                self.begin();
                let found = self.store.known_realisation(&id)?;
                let with_signatures = self.version().has(31);
                self.answer(|writer| {
                    writer.number(u64::from(found.is_some()))?;
                    match found {
                        Some(found) if with_signatures => writer.text(&found.print()),
                        Some(found) => writer.path(&dir, &found.out_path),
                        None => Ok(()),
                    }
                })
            }
            _ => self.query_substitutes(operation),
        }
    }

    /// What substituters know of some paths.
    fn known(&self, paths: &[StorePath]) -> Result<Vec<Item>> {
        self.substituters().known(&self.dir(), paths, &*self.tunnel)
    }

    fn query_substitutes(&mut self, operation: u64) -> Result<()> {
        let dir = self.dir();
        match operation {
            op::QUERY_MISSING => {
                let requests = self.requests()?;
                self.begin();
                let missing = self.with_realise_context(|context| context.missing(&requests))?;
                self.answer(|writer| {
                    writer.paths(&dir, missing.build.iter())?;
                    writer.paths(&dir, missing.fetch.iter())?;
                    writer.paths(&dir, missing.unknown.iter())?;
                    writer.number(missing.download)?;
                    writer.number(missing.unpacked)
                })
            }
            op::HAS_SUBSTITUTES | op::QUERY_SUBSTITUTABLE_PATH_INFO => {
                let path = self.path()?;
                self.begin();
                let items = self.known(&[path])?;
                self.answer(|writer| {
                    writer.boolean(!items.is_empty())?;
                    match items.first().filter(|_| operation == op::QUERY_SUBSTITUTABLE_PATH_INFO) {
                        Some(item) => substitutable(writer, &dir, item),
                        None => Ok(()),
                    }
                })
            }
            op::QUERY_SUBSTITUTABLE_PATHS => {
                let paths: Vec<StorePath> = self.reader.paths(&dir)?.into_iter().collect();
                self.begin();
                let items = self.known(&paths)?;
                self.answer(|writer| writer.paths(&dir, items.iter().map(|item| &item.info.path)))
            }
            op::QUERY_SUBSTITUTABLE_PATH_INFOS => {
                let mut paths = Vec::new();
                if self.version().has(22) {
                    let dir = &dir;
                    self.reader.each(|reader| {
                        paths.push(reader.path(dir)?);
                        reader.word().map(drop)
                    })?;
                } else {
                    paths.extend(self.reader.paths(&dir)?);
                }
                self.begin();
                let items = self.known(&paths)?;
                self.answer(|writer| {
                    writer.number(items.len() as u64)?;
                    items.iter().try_for_each(|item| {
                        writer.path(&dir, &item.info.path)?;
                        substitutable(writer, &dir, item)
                    })
                })
            }
            _ => Err(RequestError::Malformed(format!("invalid operation {operation}")).into()),
        }
    }
}

/// What a substituter knows of a path.
fn substitutable<W: Write>(writer: &mut Writer<W>, dir: &StoreDir, item: &Item) -> Result<()> {
    writer.optional_path(dir, item.info.deriver.as_ref())?;
    writer.paths(dir, item.info.references.iter())?;
    writer.number(item.file.as_ref().and_then(|file| file.size).unwrap_or(0))?;
    writer.number(item.info.nar_size)
}
