//! `nix store ls` and `nix store cat`.

use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nival::nar::listing::{Listing, Node, Visitor};
use nival::nar::writer::{FileOutput, Output as _};
use nival::nar::{Contents, NarError, Sink, dump};
use nival::store::api::Item;
use nival::store::binary_cache::BinaryCache;
use nival::store::open::uri::{StoreKind, StoreUri};
use nival::store::{Store, StoreError};
use nival::sys::dir::{DIRECTORY, Names};
use nival::sys::{PathError, interrupt};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::cli::context::Context;
use crate::cli::flags::parse::Given;
use crate::cli::nix::{Arity, Command, nar};
use crate::cli::output::listing::Options;
use crate::cli::output::messages::stdout_file;

/// `nix store ls`.
#[derive(Default)]
pub struct StoreLs(Options);

impl Command for StoreLs {
    fn arity(&self) -> Arity {
        Arity::exactly(1)
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        Ok(self.0.flag(given))
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        self.0.check()?;
        if let Some(elsewhere) = Elsewhere::find(context, arguments)? {
            let name = elsewhere.inner.last().cloned().unwrap_or_default();
            return self.0.print(&name, |visitor| {
                let mut listing = Listing::of_archive(visitor, elsewhere.inner.clone(), self.0.levels())?;
                match elsewhere
                    .store
                    .downcast::<BinaryCache>()
                    .and_then(|cache| cache.listing(&elsewhere.item))
                {
                    Some(stored) => stored.tell(&mut listing)?,
                    None => elsewhere.read(&mut listing)?,
                }
                anyhow::ensure!(listing.found(), "path '{}' does not exist", elsewhere.shown());
                Ok(())
            });
        }
        let store = &*context.open_store()?;
        let place = Place::find(store, arguments)?;
        let name = place.inner.last().map_or(&[][..], |name| name.to_bytes());
        let levels = self.0.levels();
        self.0.print(name, |visitor| {
            if levels == usize::MAX {
                let mut listing = Listing::of_tree(visitor, levels);
                dump::walk_at(place.parent.as_fd(), &place.name, &place.real, &mut listing)?;
                return Ok(());
            }
            // Without looking at what lies deeper.
            place.shallow(visitor, levels)?;
            Ok(())
        })
    }
}

/// `nix store cat`.
#[derive(Default)]
pub struct StoreCat;

impl Command for StoreCat {
    fn arity(&self) -> Arity {
        Arity::exactly(1)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        if let Some(elsewhere) = Elsewhere::find(context, arguments)? {
            let mut output = FileOutput::new(stdout_file());
            let mut file = OneFile::new(&elsewhere.inner, &mut output);
            elsewhere.read(&mut file)?;
            anyhow::ensure!(file.is_there, "path '{}' does not exist", elsewhere.shown());
            anyhow::ensure!(file.found, "path '{}' is not a regular file", elsewhere.shown_within());
            return Ok(output.flush()?);
        }
        let store = &*context.open_store()?;
        let place = Place::find(store, arguments)?;
        if FileType::from_raw_mode(place.stat.st_mode) != FileType::RegularFile {
            let names: Vec<String> =
                place.inner.iter().map(|name| name.to_string_lossy().into_owned()).collect();
            anyhow::bail!("path '/{}' is not a regular file", names.join("/"));
        }
        // Should it be a pipe by now, opening must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat(&place.parent, &place.name, flags, Mode::empty())
            .map_err(PathError::at("opening file", &place.real))?;
        crate::cli::nix::copy_out(&mut std::fs::File::from(file), &place.real)
    }
}

/// Something in a path of a store whose files are not here: it is found in the
/// path's archive.
struct Elsewhere {
    store: Box<dyn Store>,
    item: Item,
    /// The names that lead to it from the store path.
    inner: Vec<Vec<u8>>,
}

impl Elsewhere {
    /// Finds the path; nothing for stores whose files are here.
    fn find(context: &Context, arguments: &[OsString]) -> anyhow::Result<Option<Self>> {
        let uri = StoreUri::parse(context.settings.store_uri(), &context.current_dir)?;
        if !matches!(uri.kind, StoreKind::Other(..)) {
            return Ok(None);
        }
        let store = context.open_any(context.settings.store_uri())?;
        let text = arguments.first().map(|word| word.to_string_lossy()).unwrap_or_default();
        let (path, inner) = store.dir().parse_below(&text)?;
        let item = store.items(std::slice::from_ref(&path))?.pop().flatten();
        let item = item.ok_or_else(|| StoreError::Invalid(store.dir().print(&path)))?;
        let inner = nar::canonical(inner.as_bytes());
        Ok(Some(Self { store, item, inner }))
    }

    fn read(&self, sink: &mut dyn Sink) -> anyhow::Result<()> {
        match self.store.downcast::<BinaryCache>() {
            Some(cache) => cache.look_into(&self.item, sink)?,
            None => self.store.source(std::slice::from_ref(&self.item))?.read(&self.item, sink)?,
        }
        Ok(())
    }

    fn shown(&self) -> String {
        self.store.dir().print(&self.item.info.path) + &self.shown_within()
    }

    /// Its name within the store path.
    fn shown_within(&self) -> String {
        let mut shown = Vec::new();
        for name in &self.inner {
            shown.push(b'/');
            shown.extend_from_slice(name);
        }
        String::from_utf8_lossy(&shown).into_owned()
    }
}

/// Lets the contents of one file of a tree through.
struct OneFile<'o> {
    wanted: &'o [Vec<u8>],
    place: Vec<Vec<u8>>,
    output: &'o mut FileOutput<'static>,
    /// There is something of that name, of whatever type.
    is_there: bool,
    found: bool,
}

impl<'o> OneFile<'o> {
    fn new(wanted: &'o [Vec<u8>], output: &'o mut FileOutput<'static>) -> Self {
        Self { wanted, place: Vec::new(), output, is_there: false, found: false }
    }
}

impl Sink for OneFile<'_> {
    fn enter_directory(&mut self) -> Result<(), NarError> {
        self.is_there |= self.place == self.wanted;
        Ok(())
    }

    fn entry(&mut self, name: &CStr) -> Result<(), NarError> {
        self.place.push(name.to_bytes().to_vec());
        Ok(())
    }

    fn leave_directory(&mut self) -> Result<(), NarError> {
        self.place.pop();
        Ok(())
    }

    fn regular(&mut self, _executable: bool, contents: &mut dyn Contents) -> Result<(), NarError> {
        if self.place == self.wanted {
            (self.is_there, self.found) = (true, true);
            self.output.contents(contents)?;
        }
        self.place.pop();
        Ok(())
    }

    fn symlink(&mut self, _target: &CStr) -> Result<(), NarError> {
        self.is_there |= self.place == self.wanted;
        self.place.pop();
        Ok(())
    }
}

/// A file, directory or symlink in a store path.
struct Place {
    /// The directory it lies in; the store directory for a store path itself.
    parent: OwnedFd,
    name: CString,
    stat: Stat,
    /// The names that lead to it from the store path.
    inner: Vec<CString>,
    real: PathBuf,
}

impl Place {
    /// Finds what the only argument names, without following any symlink.
    fn find(store: &dyn Store, arguments: &[OsString]) -> anyhow::Result<Self> {
        let text = arguments.first().map(|word| word.as_bytes()).unwrap_or_default();
        let not_in_store =
            || anyhow::anyhow!("path '{}' is not in the Nix store", String::from_utf8_lossy(text));
        let prefix = format!("{}/", store.dir().as_str());
        let below = text.strip_prefix(prefix.as_bytes()).filter(|below| !below.is_empty());
        let below = below.ok_or_else(not_in_store)?;
        let (base, rest) = match below.iter().position(|byte| *byte == b'/') {
            Some(slash) => below.split_at(slash),
            None => (below, &[][..]),
        };
        let base = String::from_utf8_lossy(base);
        let path = nival::model::StorePath::from_base_name(&base)?;
        if !store.is_valid(&path)? {
            anyhow::bail!("path '{}' is not a valid store path", store.dir().display(&path));
        }
        let inner = nar::canonical(rest)
            .into_iter()
            .map(CString::new)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| anyhow::anyhow!("path '{}' has a NUL in it", String::from_utf8_lossy(text)))?;
        let files = store.files();
        let files =
            files.ok_or_else(|| anyhow::anyhow!("the files of '{}' are on another machine", store.uri()))?;
        Self::descend(&files.real_store_dir, CString::new(path.base_name())?, inner)
    }

    fn descend(store_dir: &Path, base: CString, inner: Vec<CString>) -> anyhow::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut parent = rustix::fs::open(store_dir, flags, Mode::empty())
            .map_err(PathError::at("opening directory", store_dir))?;
        let mut real = store_dir.to_owned();
        let whole = inner.iter().fold(joined(store_dir, &base), |path, name| joined(&path, name));
        let mut names = std::iter::once(&base).chain(&inner).peekable();
        while let Some(name) = names.next() {
            interrupt::check()?;
            real = joined(&real, name);
            let missing = || anyhow::anyhow!("path '{}' does not exist", whole.display());
            let stat = match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT | Errno::NOTDIR) => return Err(missing()),
                other => other.map_err(PathError::at("getting status of", &real))?,
            };
            if names.peek().is_none() {
                let name = name.clone();
                return Ok(Self { parent, name, stat, inner, real });
            }
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {}
                FileType::Symlink => anyhow::bail!("path '{}' is a symlink", real.display()),
                _ => return Err(missing()),
            }
            parent = rustix::fs::openat(&parent, name, DIRECTORY, Mode::empty())
                .map_err(PathError::at("opening directory", &real))?;
        }
        anyhow::bail!("path '{}' does not exist", whole.display())
    }

    /// Tells of the place itself and, with one level, of its entries.
    fn shallow(&self, visitor: &mut dyn Visitor, levels: usize) -> Result<(), nival::nar::NarError> {
        tell(visitor, self.parent.as_fd(), &self.name, c"", &self.stat, &self.real)?;
        if FileType::from_raw_mode(self.stat.st_mode) != FileType::Directory {
            return Ok(());
        }
        if levels > 0 {
            let error = |error: Errno| PathError::new("cannot read directory", &self.real, error);
            let dir =
                rustix::fs::openat(&self.parent, &self.name, DIRECTORY, Mode::empty()).map_err(error)?;
            let mut names = Names::read(dir.as_fd()).map_err(error)?;
            while let Some((name, _)) = names.take_next() {
                interrupt::check()?;
                let shown = joined(&self.real, name);
                let stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(PathError::at("getting status of", &shown))?;
                tell(visitor, dir.as_fd(), name, name, &stat, &shown)?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    visitor.leave()?;
                }
            }
        }
        visitor.leave()
    }
}

/// Tells of the entry `name` of a directory, under the name `told`.
fn tell(
    visitor: &mut dyn Visitor,
    parent: BorrowedFd<'_>,
    name: &CStr,
    told: &CStr,
    stat: &Stat,
    shown: &Path,
) -> Result<(), nival::nar::NarError> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => visitor.node(told, Node::Directory),
        FileType::RegularFile => {
            let executable = stat.st_mode & 0o100 != 0;
            // Sizes of files are not negative.
            let size = stat.st_size as u64;
            visitor.node(told, Node::Regular { executable, size, offset: None })
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(parent, name, Vec::new())
                .map_err(PathError::at("reading symbolic link", shown))?;
            visitor.node(told, Node::Symlink(&target))
        }
        _ => Err(nival::nar::NarError::UnsupportedType(shown.to_owned())),
    }
}

fn joined(dir: &Path, name: &CStr) -> PathBuf {
    dir.join(std::ffi::OsStr::from_bytes(name.to_bytes()))
}
