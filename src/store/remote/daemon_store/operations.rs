//! What a daemon does for its clients besides giving and taking paths.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::ops::ControlFlow;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::model::{ContentAddressMethod, DerivedPath, HashAlgorithm, Outputs, StorePath, ValidPathInfo};
use crate::nar::file;
use crate::nar::writer::NarWriter;
use crate::store::api::Store;
use crate::store::api::add::{Adder, Tell};
use crate::store::api::collect::CollectStore;
use crate::store::api::collect::{GcOptions, GcReport, Keep};
use crate::store::api::maintain::MaintainStore;
use crate::store::api::query::QueryStore;
use crate::store::api::realise::{Missing, RealiseMode, RealiseStore};
use crate::store::api::roots::RootStore;
use crate::store::api::roots::{Holder, RootSearch, Roots};
use crate::store::error::{Result, StoreError};
use crate::store::remote::channel::connection::{Incoming, Outgoing};
use crate::store::remote::client::session::Link;
use crate::store::remote::daemon_store::DaemonStore;
use crate::store::remote::protocol::wire::{Frames, MAX_WORD};
use crate::store::remote::protocol::worker::{build_mode, gc_action, op};

impl DaemonStore {
    pub(super) fn ask<T>(
        &self,
        operation: u64,
        arguments: impl FnOnce(&mut Outgoing) -> Result<()>,
        answer: impl FnOnce(&mut Incoming) -> Result<T>,
    ) -> Result<T> {
        self.link()?.call(
            |writer| {
                writer.number(operation)?;
                arguments(writer)
            },
            answer,
        )
    }

    fn ask_paths(&self, operation: u64, path: &StorePath) -> Result<BTreeSet<StorePath>> {
        let dir = self.dir();
        self.ask(operation, |writer| writer.path(dir, path), |reader| reader.paths(dir))
    }

    /// Writes requests in the words of the server.
    fn requests(&self, link: &Link, writer: &mut Outgoing, requests: &[DerivedPath]) -> Result<()> {
        // Before 1.30 a derivation alone stood for its outputs.
        let old = !link.version().has(30);
        let word = |request: &DerivedPath| match request.outputs {
            Some(Outputs::All) if old => self.dir().print(&request.path),
            _ => request.print(self.dir()),
        };
        writer.texts(requests.iter().map(word))
    }

    fn collect(
        &self,
        action: u64,
        paths: &[StorePath],
        ignore_liveness: bool,
        max_freed: u64,
    ) -> Result<(Vec<String>, u64)> {
        let dir = self.dir();
        self.ask(
            op::COLLECT_GARBAGE,
            |writer| {
                writer.number(action)?;
                writer.paths(dir, paths.iter())?;
                writer.boolean(ignore_liveness)?;
                writer.number(max_freed)?;
                (0..3).try_for_each(|_| writer.number(0))
            },
            |reader| {
                let names = reader.words()?.iter().map(|name| harmless(name)).collect();
                let freed = reader.number()?;
                reader.number()?;
                Ok((names, freed))
            },
        )
    }

    /// Adds contents as servers from 1.25 on take them.
    fn add_framed(
        &self,
        link: &Link,
        (name, method): (&str, &str),
        flat: bool,
        references: &BTreeSet<StorePath>,
        tell: Tell<'_>,
    ) -> Result<ValidPathInfo> {
        let dir = self.dir();
        link.call(
            |writer| {
                writer.number(op::ADD_TO_STORE)?;
                writer.text(name)?;
                writer.text(method)?;
                writer.paths(dir, references.iter())?;
                writer.number(0)?;
                let mut frames = Frames::default();
                let mut on = frames.on(writer);
                let mut stream = on.as_writer();
                // What tells of it may fail: then the frames are left open,
                // and the server adds nothing.
                match flat {
                    true => tell(&mut file::contents_to(&mut stream, "be hashed flat", u64::MAX))?,
                    false => tell(&mut NarWriter::new(&mut stream)?)?,
                }
                stream.flush()?;
                drop(stream);
                on.finish()
            },
            |reader| {
                let path = reader.path(dir)?;
                reader.info(dir, path)
            },
        )
    }
}

impl QueryStore for DaemonStore {
    fn referrers(&self, paths: &[StorePath]) -> Result<BTreeSet<StorePath>> {
        let dir = self.dir();
        let found = self.link()?.calls(
            paths,
            |writer, path| {
                writer.number(op::QUERY_REFERRERS)?;
                writer.path(dir, path)
            },
            |reader, _| reader.paths(dir),
        )?;
        Ok(found.into_iter().flatten().collect())
    }

    fn valid_derivers(&self, path: &StorePath) -> Result<BTreeSet<StorePath>> {
        self.ask_paths(op::QUERY_VALID_DERIVERS, path)
    }

    fn derivation_outputs(&self, drv: &StorePath) -> Result<Vec<(String, StorePath)>> {
        let (dir, link) = (self.dir(), self.link()?);
        if !link.version().has(22) {
            // The file itself says most of it.
            let drv = self.read_derivation(drv)?;
            let known = drv.outputs.into_iter();
            return Ok(known.filter_map(|(name, output)| Some((name, output.path()?.clone()))).collect());
        }
        self.ask(
            op::QUERY_DERIVATION_OUTPUT_MAP,
            |writer| writer.path(dir, drv),
            |reader| {
                let mut outputs = Vec::new();
                reader.each(|reader| {
                    let name = reader.word()?;
                    outputs.extend(reader.optional_path(dir)?.map(|path| (name, path)));
                    Ok(())
                })?;
                Ok(outputs)
            },
        )
    }

    fn path_from_hash_part(&self, part: &str) -> Result<Option<StorePath>> {
        let dir = self.dir();
        let path = self.ask(
            op::QUERY_PATH_FROM_HASH_PART,
            |writer| writer.text(part),
            |reader| reader.optional_path(dir),
        )?;
        Ok(path.filter(|path| path.hash_part() == part))
    }
}

impl RootStore for DaemonStore {
    fn add_temp_roots(&self, paths: &[&StorePath]) -> Result<()> {
        let dir = self.dir();
        self.link()?.calls(
            paths,
            |writer, path| {
                writer.number(op::ADD_TEMP_ROOT)?;
                writer.path(dir, path)
            },
            |reader, _| reader.number().map(drop),
        )?;
        Ok(())
    }

    fn register_indirect_root(&self, link: &Path) -> Result<()> {
        let link = link.as_os_str().as_bytes();
        self.ask(op::ADD_INDIRECT_ROOT, |writer| writer.bytes(link), |reader| reader.number().map(drop))
    }

    fn find_roots(&self, _search: RootSearch) -> Result<Roots> {
        let dir = self.dir();
        self.ask(
            op::FIND_ROOTS,
            |_| Ok(()),
            |reader| {
                let mut roots = Roots::new();
                reader.each(|reader| {
                    let holder = holder(reader.bytes(MAX_WORD)?);
                    roots.entry(reader.path(dir)?).or_default().insert(holder);
                    Ok(())
                })?;
                Ok(roots)
            },
        )
    }
}

/// Adds contents by sending them.
pub(super) struct SendingAdder<'s>(pub &'s DaemonStore);

impl Adder for SendingAdder<'_> {
    fn add_content(
        &mut self,
        name: &str,
        (method, algorithm): (ContentAddressMethod, HashAlgorithm),
        references: BTreeSet<StorePath>,
        tell: Tell<'_>,
    ) -> Result<StorePath> {
        let link = self.0.link()?;
        if !link.version().has(25) {
            return Err(self.0.too_old(&link, "adding contents"));
        }
        let (word, flat) = match method {
            ContentAddressMethod::Text => ("text:", true),
            ContentAddressMethod::Flat => ("fixed:", true),
            ContentAddressMethod::NixArchive => ("fixed:r:", false),
            ContentAddressMethod::Git => ("fixed:git:", false),
        };
        let method = format!("{word}{algorithm}");
        let path = self.0.add_framed(&link, (name, &method), flat, &references, tell)?.path;
        match path.name() == name {
            true => Ok(path),
            false => Err(link.protocol("it says that what was added has another name")),
        }
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl RealiseStore for DaemonStore {
    fn realise(&self, requests: &[DerivedPath], mode: RealiseMode) -> Result<()> {
        let link = self.link()?;
        link.call(
            |writer| {
                writer.number(op::BUILD_PATHS)?;
                self.requests(&link, writer, requests)?;
                writer.number(match mode {
                    RealiseMode::Normal => build_mode::NORMAL,
                    RealiseMode::Repair => build_mode::REPAIR,
                    RealiseMode::Check => build_mode::CHECK,
                })
            },
            |reader| reader.number().map(drop),
        )
    }

    fn missing(&self, requests: &[DerivedPath]) -> Result<Missing> {
        let (dir, link) = (self.dir(), self.link()?);
        if !link.version().has(19) {
            return Err(self.too_old(&link, "asking what is missing"));
        }
        link.call(
            |writer| {
                writer.number(op::QUERY_MISSING)?;
                self.requests(&link, writer, requests)
            },
            |reader| {
                Ok(Missing {
                    build: reader.paths(dir)?.into_iter().collect(),
                    fetch: reader.paths(dir)?.into_iter().collect(),
                    unknown: reader.paths(dir)?,
                    download: reader.number()?,
                    unpacked: reader.number()?,
                })
            },
        )
    }
}

impl CollectStore for DaemonStore {
    fn survey(&self, alive: bool, _keep: Keep, visit: &mut dyn FnMut(&str) -> ControlFlow<()>) -> Result<()> {
        let action = if alive { gc_action::RETURN_LIVE } else { gc_action::RETURN_DEAD };
        let (paths, _) = self.collect(action, &[], false, u64::MAX)?;
        // An early end is no error.
        let _ = paths.iter().try_for_each(|path| visit(path));
        Ok(())
    }

    fn collect_garbage(&self, options: &GcOptions, report: &mut GcReport) -> Result<()> {
        if options.max_links.is_some() {
            return Err(StoreError::unsupported("collectGarbage with a limit of links", &self.uri));
        }
        let (names, freed) = self.collect(gc_action::DELETE_DEAD, &[], false, options.max_freed)?;
        report.deleted = names.len() as u64;
        report.freed = freed;
        Ok(())
    }

    fn delete_paths(
        &self,
        paths: &[StorePath],
        ignore_liveness: bool,
        options: &GcOptions,
        report: &mut GcReport,
    ) -> Result<()> {
        let (names, freed) =
            self.collect(gc_action::DELETE_SPECIFIC, paths, ignore_liveness, options.max_freed)?;
        report.deleted = names.len() as u64;
        report.freed = freed;
        Ok(())
    }
}

impl MaintainStore for DaemonStore {
    fn link_equal_files(&self) -> Result<u64> {
        self.ask(op::OPTIMISE_STORE, |_| Ok(()), Incoming::number)?;
        Ok(0)
    }

    fn verify(&self, contents: bool, repair: Option<&[&dyn Store]>) -> Result<bool> {
        let errors = self.ask(
            op::VERIFY_STORE,
            |writer| {
                writer.boolean(contents)?;
                writer.boolean(repair.is_some())
            },
            Incoming::boolean,
        )?;
        Ok(!errors)
    }
}

/// A name without anything that a terminal would act on.
fn harmless(name: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    name.chars().map(escape).collect()
}

/// Who holds a root, by the text that is sent.
fn holder(name: Vec<u8>) -> Holder {
    let text = String::from_utf8_lossy(&name).into_owned();
    let temporary = text.strip_prefix("{temp:").and_then(|rest| rest.strip_suffix('}'));
    let path = PathBuf::from(OsString::from_vec(name));
    match temporary {
        Some(pid) if pid.bytes().all(|byte| byte.is_ascii_digit()) => Holder::Temporary(pid.to_owned()),
        _ if text == "{censored}" => Holder::Censored,
        _ if path.starts_with("/proc") => Holder::Running(path),
        // Which kind of link it is only matters where it lies.
        _ => Holder::Permanent(path),
    }
}
