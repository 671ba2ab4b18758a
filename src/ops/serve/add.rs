//! What clients of a daemon put into its store.

use std::ffi::CStr;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use super::tunnel::{Outlet, Tunnel};
use super::worker::{MAX_ARGUMENTS, MAX_SIGNATURES, Worker, check_signatures};
use crate::model::realisation::{self, RealisationError};
use crate::model::{ContentAddressMethod, HashAlgorithm, Realisation, StorePath, ValidPathInfo};
use crate::nar::input::Input;
use crate::nar::{Contents, Discard, NarError, Sink, reader};
use crate::ops::copy::{Trust, unsigned_realisation};
use crate::progress::{Advice, Progress as _};
use crate::store::api::{Item, Receiver, Store};
use crate::store::error::{RequestError, Result, StoreError};
use crate::store::local::LocalStore;
use crate::store::remote::protocol::wire::{FrameReader, MAX_TEXT, Reader};
use crate::store::remote::protocol::worker::message::Message;
use crate::sys::interrupt;

/// Bytes of a file that are held in memory while its length is not known.
const HELD: usize = 1 << 20;
/// Bytes that are asked for at a time, where a client waits to be asked.
const PIECE: u64 = 32 * 1024;

impl<R: Read, W: Outlet + 'static> Worker<'_, R, W> {
    /// Works on what is in frames. What is left of them is passed over, so that
    /// the next request is understood.
    fn framed<T>(
        &mut self,
        work: impl FnOnce(&LocalStore, &mut FrameReader<'_, R>) -> Result<T>,
    ) -> Result<T> {
        self.begin();
        let mut frames = FrameReader::new(&mut self.reader.input);
        let result = work(&self.store, &mut frames);
        if let Err(error) = frames.drain() {
            self.reading = true;
            return result.and(Err(error.into()));
        }
        result
    }

    /// What is there is not written again.
    fn warn_of_repair(&self, repair: bool) {
        if repair && self.trusted {
            self.tunnel.begin();
            let advice = self.tunnel.advice(Advice::RepairInstead);
            self.tunnel.warn(&format!("adding does not repair{advice}"));
        }
    }

    /// Contents, of which the path follows.
    pub(super) fn add_to_store(&mut self) -> Result<()> {
        if !self.version().has(25) {
            return self.add_to_store_old();
        }
        let dir = self.dir();
        let name = self.reader.word()?;
        let method = self.reader.word()?;
        let references = self.reader.paths(&dir)?;
        let repair = self.reader.boolean()?;
        self.warn_of_repair(repair);
        let info = self.framed(|store, frames| {
            let kind = kind_of(&method)?;
            store.check_addressing(kind.0, kind.1)?;
            let mut adder = store.adder();
            let path = if kind.0.takes_trees() {
                let mut input = Input::new(frames);
                adder.add_content(&name, kind, references, |sink| reader::read(&mut input, sink))?
            } else {
                let limit = if kind.0 == ContentAddressMethod::Text { MAX_TEXT as u64 } else { u64::MAX };
                let mut file = Spooled::of(frames, limit, &store.layout().real_store_dir)?;
                adder.add_content(&name, kind, references, |sink| sink.regular(false, &mut file))?
            };
            adder.finish()?;
            store.path_info(&path)
        })?;
        self.answer(|writer| {
            writer.path(&dir, &info.path)?;
            writer.info(&dir, &info)
        })
    }

    /// As clients before 1.25 say it: an archive as it is, also of a single file.
    fn add_to_store_old(&mut self) -> Result<()> {
        let name = self.reader.word()?;
        let fixed = self.reader.boolean()?;
        let recursive = self.reader.boolean()?;
        let algorithm: HashAlgorithm = self.reader.word()?.parse()?;
        let kind = match (fixed, recursive) {
            (false, _) => (ContentAddressMethod::NixArchive, HashAlgorithm::Sha256),
            (true, true) => (ContentAddressMethod::NixArchive, algorithm),
            (true, false) => (ContentAddressMethod::Flat, algorithm),
        };
        self.store.check_addressing(kind.0, kind.1)?;
        self.begin();
        // After a failure nobody knows where in the archive one is.
        self.reading = true;
        let mut adder = self.store.adder();
        let input = &mut self.reader.input;
        let flat = kind.0 == ContentAddressMethod::Flat;
        let path = adder.add_content(&name, kind, Default::default(), |sink| match flat {
            true => reader::read(input, &mut Plain(sink)),
            false => reader::read(input, sink),
        })?;
        adder.finish()?;
        self.reading = false;
        let dir = self.dir();
        self.answer(|writer| writer.path(&dir, &path))
    }

    /// A text with references.
    pub(super) fn add_text(&mut self) -> Result<()> {
        // It is held in memory, also for a trusted client.
        self.reader.input.limit(MAX_ARGUMENTS);
        let dir = self.dir();
        let name = self.reader.word()?;
        let text = self.reader.bytes(MAX_TEXT)?;
        let references = self.reader.paths(&dir)?;
        self.begin();
        let path = (&self.store as &dyn Store).add_text(&name, &text, references)?;
        self.answer(|writer| writer.path(&dir, &path))
    }

    /// The path of an output of a derivation. Of a client that is not trusted it is
    /// taken only with a signature by a trusted key: other users are to get that path.
    pub(super) fn register_realisation(&mut self) -> Result<()> {
        let mut realisation = if self.version().has(31) {
            let text = self.reader.text(realisation::MAX_LEN as usize)?;
            Realisation::parse(text.as_bytes()).map_err(no_realisation)?
        } else {
            let id = self.reader.word()?.parse().map_err(no_realisation)?;
            Realisation::new(id, self.path()?)
        };
        self.begin();
        if !self.trusted {
            let trust = self.host.trust()?;
            // What nobody vouches for would stay, and grow with each request.
            realisation.keep_signatures_of(&trust.keys);
            if !trust.accepts_realisation(&realisation) {
                return Err(unsigned_realisation(&realisation));
            }
        }
        self.store.add_temp_roots(&[&realisation.out_path])?;
        self.store.add_realisation(&realisation)?;
        self.answer(|_| Ok(()))
    }

    /// Whose signatures what comes needs, if any: only who is trusted can do
    /// without.
    fn trust(&self, without_signatures: bool) -> Result<Option<Trust>> {
        match self.trusted && without_signatures {
            true => Ok(None),
            false => self.needed_trust(),
        }
    }

    /// A path with its archive.
    pub(super) fn add_nar(&mut self) -> Result<()> {
        let dir = self.dir();
        let path = self.path()?;
        let info = self.reader.info(&dir, path)?;
        let repair = self.reader.boolean()?;
        let without_signatures = self.reader.boolean()?;
        self.warn_of_repair(repair);
        let version = self.version();
        if version.has(23) {
            let trust = self.trust(without_signatures);
            self.framed(|store, frames| {
                let mut receiver = store.receiver(&[], true)?;
                add(store, &mut receiver, trust?.as_ref(), info, &mut Input::new(frames))?;
                receiver.registrar.finish()
            })?;
            return self.answer(|_| Ok(()));
        }
        self.begin();
        self.reading = true;
        let trust = self.trust(without_signatures)?;
        let mut receiver = self.store.receiver(&[], true)?;
        if version.has(21) {
            let asked = Asked { reader: &mut self.reader, tunnel: &self.tunnel, piece: Vec::new(), at: 0 };
            add(&self.store, &mut receiver, trust.as_ref(), info, &mut Input::new(asked))?;
        } else {
            add(&self.store, &mut receiver, trust.as_ref(), info, &mut self.reader.input)?;
        }
        receiver.registrar.finish()?;
        drop(receiver);
        self.reading = false;
        self.answer(|_| Ok(()))
    }

    /// Many paths with their archives; what comes before a bad one stays.
    pub(super) fn add_multiple(&mut self) -> Result<()> {
        let dir = self.dir();
        let repair = self.reader.boolean()?;
        let without_signatures = self.reader.boolean()?;
        self.warn_of_repair(repair);
        let trust = self.trust(without_signatures);
        self.framed(|store, frames| {
            let trust = trust?;
            let mut stream = Reader::new(frames);
            let mut receiver = store.receiver(&[], true)?;
            let mut each = || {
                for _ in 0..stream.number()? {
                    let path = stream.path(&dir)?;
                    let info = stream.info(&dir, path)?;
                    add(store, &mut receiver, trust.as_ref(), info, &mut stream.input)?;
                }
                Ok(())
            };
            let added: Result<()> = each();
            match &added {
                // What came whole stays, also when the client is gone.
                Err(error) if error.is_interruption() => {
                    interrupt::with_grace(interrupt::KEEPING, || receiver.registrar.finish()).and(added)
                }
                _ => receiver.registrar.finish().and(added),
            }
        })?;
        self.answer(|_| Ok(()))
    }

    /// The log of a build that was made elsewhere.
    pub(super) fn add_log(&mut self) -> Result<()> {
        let drv = StorePath::from_base_name(&self.reader.word()?)?;
        if !self.trusted {
            return Err(RequestError::NotPermitted("you are not privileged to add logs".to_owned()).into());
        }
        self.framed(|store, frames| {
            if !drv.is_derivation() {
                return Err(RequestError::NotADerivation(store.dir().print(&drv)).into());
            }
            store.add_log(&drv, frames)
        })?;
        self.done()
    }
}

/// Takes a path in, unless it is there.
pub(super) fn add<R: Read>(
    store: &LocalStore,
    receiver: &mut Receiver<'_>,
    trust: Option<&Trust>,
    mut info: ValidPathInfo,
    input: &mut Input<R>,
) -> Result<()> {
    // With a root first, no collection comes in between.
    store.add_temp_roots(&[&info.path])?;
    if store.is_there(&info.path)? {
        return Ok(reader::read(input, &mut Discard)?);
    }
    info.ultimate = false;
    if let Some(ca) = &info.ca {
        store.check_addressing(ca.method, ca.hash.algorithm())?;
    }
    let item = Item { info, file: None };
    if let Some(trust) = trust {
        // Who has to show signatures is a stranger, whose words are kept.
        check_signatures(&item.info.signatures, false)?;
        if item.info.signatures.len() > MAX_SIGNATURES {
            let path = store.dir().print(&item.info.path);
            return Err(RequestError::TooManySignatures { path, most: MAX_SIGNATURES }.into());
        }
        trust.check(store, "the client", std::slice::from_ref(&item))?;
    }
    let taken = receiver.taker.take(&item, &mut |sink| reader::read(input, sink))?;
    receiver.registrar.register(taken)
}

/// `fixed:r:sha256`, `fixed:md5`, `text:sha256` …
fn kind_of(text: &str) -> Result<(ContentAddressMethod, HashAlgorithm)> {
    let bad = || RequestError::Malformed(format!("'{text}' is not a way to address contents"));
    let (method, algorithm) = if let Some(rest) = text.strip_prefix("text:") {
        (ContentAddressMethod::Text, rest)
    } else {
        let rest = text.strip_prefix("fixed:").ok_or_else(bad)?;
        ContentAddressMethod::of_prefix(rest)
    };
    let algorithm: HashAlgorithm = algorithm.parse().map_err(|_| bad())?;
    if method == ContentAddressMethod::Text && algorithm != HashAlgorithm::Sha256 {
        return Err(bad().into());
    }
    Ok((method, algorithm))
}

/// Lets the contents of a file through, and not whether it is executable: its
/// address does not tell.
struct Plain<'s>(&'s mut dyn Sink);

impl Sink for Plain<'_> {
    fn enter_directory(&mut self) -> std::result::Result<(), NarError> {
        self.0.enter_directory()
    }

    fn entry(&mut self, name: &CStr) -> std::result::Result<(), NarError> {
        self.0.entry(name)
    }

    fn leave_directory(&mut self) -> std::result::Result<(), NarError> {
        self.0.leave_directory()
    }

    fn regular(
        &mut self,
        _executable: bool,
        contents: &mut dyn Contents,
    ) -> std::result::Result<(), NarError> {
        self.0.regular(false, contents)
    }

    fn symlink(&mut self, target: &CStr) -> std::result::Result<(), NarError> {
        self.0.symlink(target)
    }
}

/// A file of which the length was not told: it is written aside to find out.
struct Spooled {
    file: tempfile::SpooledTempFile,
    left: u64,
}

impl Spooled {
    /// Writes it to a directory where there is room for a file of the store.
    fn of(source: &mut impl Read, limit: u64, dir: &Path) -> Result<Self> {
        let failed = |error| StoreError::from(NarError::reading(error));
        let mut file = tempfile::spooled_tempfile_in(HELD, dir);
        let left = io::copy(&mut source.take(limit.saturating_add(1)), &mut file).map_err(failed)?;
        if left > limit {
            return Err(NarError::TooLong.into());
        }
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        Ok(Self { file, left })
    }
}

impl Contents for Spooled {
    fn remaining(&self) -> u64 {
        self.left
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::result::Result<usize, NarError> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read(&mut buffer[..most]).map_err(NarError::reading)?;
        if count == 0 && most > 0 {
            return Err(NarError::Eof);
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// An archive that a client sends piece by piece, as it is asked for them.
struct Asked<'r, R, W: Outlet> {
    reader: &'r mut Reader<R>,
    tunnel: &'r Arc<Tunnel<W>>,
    piece: Vec<u8>,
    at: usize,
}

impl<R: Read, W: Outlet> Read for Asked<'_, R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            let version = self.tunnel.version();
            let ask = self.tunnel.say(|writer| Message::Read(PIECE).write(writer, version));
            let piece = ask.and_then(|()| self.reader.bytes(PIECE as usize));
            self.piece = piece.map_err(|error| match error {
                error if error.is_interruption() => interrupt::io_error(),
                other => io::Error::other(other),
            })?;
            self.at = 0;
        }
        let count = buffer.len().min(self.piece.len() - self.at);
        buffer[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// The error for a text that is no realisation, or no name of one.
pub(super) fn no_realisation(error: RealisationError) -> StoreError {
    RequestError::Realisation(error).into()
}
