//! What clients of a daemon keep, and have deleted and checked.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::model::StorePath;
use crate::ops::serve::tunnel::Outlet;
use crate::ops::serve::worker::Worker;
use crate::store::api::collect::{GcOptions, GcReport};
use crate::store::api::roots::RootSearch;
use crate::store::error::{RequestError, Result, RootError, StoreError};
use crate::store::remote::protocol::wire::MAX_WORD;
use crate::store::remote::protocol::worker::gc_action;
use crate::sys::lock::{self, LockKind};

impl<R: Read, W: Outlet + 'static> Worker<'_, R, W> {
    /// The name of a file, which need not be text.
    fn link(&mut self) -> Result<PathBuf> {
        Ok(PathBuf::from(OsString::from_vec(self.reader.bytes(MAX_WORD)?)))
    }

    pub(super) fn add_indirect_root(&mut self) -> Result<()> {
        let link = self.link()?;
        self.begin();
        check_link(&link)?;
        // It is shown to every client that asks for the roots.
        if !self.trusted && link.as_os_str().as_bytes().iter().any(u8::is_ascii_control) {
            return Err(RootError::ControlCharacters(link).into());
        }
        self.store.register_indirect_root(&link)?;
        self.done()
    }

    pub(super) fn add_permanent_root(&mut self) -> Result<()> {
        let path = self.path()?;
        let link = self.link()?;
        if !self.trusted {
            return Err(not_permitted(
                "you are not privileged to create perm roots\n\nhint: you can just do this client-side without \
                 special privileges, and probably want to do that instead.",
            ));
        }
        self.begin();
        check_link(&link)?;
        let roots = self.store.layout().state_dir.join("gcroots");
        match link.starts_with(&roots) && !link.components().any(|part| part.as_os_str() == "..") {
            true => self.permanent_root(&link, &path)?,
            false => self.store.add_indirect_root(&link, &path)?,
        }
        self.answer(|writer| writer.bytes(link.as_os_str().as_bytes()))
    }

    /// A link that is a root by where it lies.
    fn permanent_root(&self, link: &Path, path: &StorePath) -> Result<()> {
        self.store.add_temp_roots(&[path])?;
        if std::fs::symlink_metadata(link).is_ok_and(|meta| !meta.is_symlink()) {
            return Err(RootError::Exists(link.to_owned()).into());
        }
        let target = self.store.dir().print(path);
        Ok(crate::sys::atomic::replace_symlink(link, Path::new(&target))?)
    }

    pub(super) fn find_roots(&mut self) -> Result<()> {
        self.begin();
        let roots =
            self.store.find_roots(RootSearch { clean: true, strict: false, censor: !self.trusted })?;
        let dir = self.dir();
        self.answer(|writer| {
            writer.number(roots.values().map(BTreeSet::len).sum::<usize>() as u64)?;
            for (path, holders) in &roots {
                for holder in holders {
                    writer.bytes(&holder.to_bytes())?;
                    writer.path(&dir, path)?;
                }
            }
            Ok(())
        })
    }

    pub(super) fn collect(&mut self) -> Result<()> {
        let dir = self.dir();
        let action = self.reader.number()?;
        let paths: Vec<StorePath> = self.reader.paths(&dir)?.into_iter().collect();
        let ignore_liveness = self.reader.boolean()?;
        let max_freed = self.reader.number()?;
        for _ in 0..3 {
            self.reader.number()?;
        }
        if action > gc_action::DELETE_SPECIFIC {
            return Err(RequestError::Malformed("Invalid GC action".to_owned()).into());
        }
        self.begin();
        if ignore_liveness {
            return Err(not_permitted("you are not allowed to ignore liveness"));
        }
        let options = GcOptions { max_freed, ..GcOptions::new(self.host.keep()) };
        let mut report = GcReport { names: Some(Vec::new()), ..GcReport::default() };
        match action {
            gc_action::RETURN_LIVE | gc_action::RETURN_DEAD => {
                let survey = self.store.survey(options.keep, &std::collections::HashSet::new())?;
                let names = report.names.get_or_insert_default();
                survey.each_name(action == gc_action::RETURN_LIVE, |name| {
                    names.push(name.to_owned());
                    Ok::<_, StoreError>(())
                })?;
            }
            gc_action::DELETE_DEAD => self.store.collect_garbage(&options, &mut report)?,
            _ => self.store.delete_paths(&paths, false, &options, &mut report)?,
        }
        if let Some(alive) = report.alive.first() {
            return Err(RequestError::Alive(dir.print(&alive.path)).into());
        }
        let names = report.names.unwrap_or_default();
        self.answer(|writer| {
            writer.texts(names.iter().map(|name| format!("{}/{name}", dir.as_str())))?;
            writer.number(report.freed)?;
            writer.number(0)
        })
    }

    pub(super) fn verify(&mut self) -> Result<()> {
        let contents = self.reader.boolean()?;
        let repair = self.reader.boolean()?;
        self.begin();
        if repair && !self.trusted {
            return Err(not_permitted("you are not privileged to repair paths"));
        }
        // All of the disk is read: of strangers only one does it at a time.
        let _turn = match contents && !self.trusted {
            true => Some(self.turn_to_check()?),
            false => None,
        };
        let sources: Vec<_> = if repair { self.substituters().iter().collect() } else { Vec::new() };
        let sound = self.store.verify(contents, repair.then_some(&sources[..]))?;
        self.answer(|writer| writer.boolean(!sound))
    }
}

impl<R: Read, W: Outlet + 'static> Worker<'_, R, W> {
    /// Does not wait: a client that comes second may come again.
    fn turn_to_check(&self) -> Result<std::fs::File> {
        let path = self.store.layout().state_dir.join("check.lock");
        let file = lock::open_lock_file(&path)?;
        match lock::try_lock(&file, &path, LockKind::Exclusive)? {
            true => Ok(file),
            false => Err(RequestError::Busy(
                "the contents of the store are being checked for another user; try again later",
            )
            .into()),
        }
    }
}

fn not_permitted(why: &str) -> StoreError {
    RequestError::NotPermitted(why.to_owned()).into()
}

/// A link that can be there: the collector is to look at it later.
fn check_link(link: &Path) -> Result<()> {
    /// As long as paths and names can be, without the NUL at the end.
    const MAX_PATH: usize = 4095;
    const MAX_NAME: usize = 255;
    if !link.is_absolute() {
        return Err(RootError::NotAbsolute(link.to_owned()).into());
    }
    let too_long = link.as_os_str().len() > MAX_PATH || link.iter().any(|name| name.len() > MAX_NAME);
    if too_long || link.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(RootError::NoFileName(link.to_owned()).into());
    }
    Ok(())
}
