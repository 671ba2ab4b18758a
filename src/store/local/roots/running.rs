//! Paths that running processes use: programs, working directories, open and
//! mapped files, and whatever stands in their environments.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::model::StorePath;
use crate::store::api::roots::Holder;
use crate::store::error::{Result, StoreError};
use crate::store::local::roots::Finder;
use crate::sys::{PathError, interrupt, mount};

/// Files of the kernel that name programs it starts by itself.
const KERNEL: [&str; 3] =
    ["/proc/sys/kernel/modprobe", "/proc/sys/kernel/fbsplash", "/proc/sys/kernel/poweroff_cmd"];

impl Finder<'_> {
    pub(super) fn running(&mut self) -> Result<()> {
        for file in KERNEL.map(Path::new) {
            let text = self.tolerant(file, std::fs::read(file))?.unwrap_or_default();
            self.used(&text, file)?;
        }
        let spellings = self.spellings();
        let proc = Path::new("/proc");
        let mut seen = false;
        for process in self.tolerant(proc, std::fs::read_dir(proc))?.into_iter().flatten() {
            let process = process.map_err(PathError::at("cannot read directory", proc))?;
            let name = process.file_name();
            if !name.as_bytes().iter().all(u8::is_ascii_digit) {
                continue;
            }
            interrupt::check()?;
            self.process(&process.path(), &spellings)?;
            seen = true;
        }
        if seen { Ok(()) } else { self.without_proc() }
    }

    /// We run, so there is a process: `/proc` is not what it should be.
    fn without_proc(&self) -> Result<()> {
        if self.search.strict && !self.store.options().gc_without_proc {
            return Err(StoreError::NoProc);
        }
        let warning = "/proc does not tell what running programs use, so there may be more roots";
        self.store.progress().warn(warning);
        Ok(())
    }

    /// A process may end, or turn out to be another user's, at any moment: then
    /// it has nothing to tell. Any other failure may hide a root.
    fn tolerant<T>(&self, file: &Path, result: io::Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
                    // Of a zombie, of a thread of the kernel, of something without a path.
                    || matches!(
                        error.raw_os_error(),
                        Some(libc::ESRCH | libc::EINVAL | libc::ENAMETOOLONG | libc::EPERM)
                    ) =>
            {
                Ok(None)
            }
            Err(error) => {
                self.unreadable(PathError::new("cannot read potential root", file, error))?;
                Ok(None)
            }
        }
    }

    /// What one process uses.
    fn process(&mut self, dir: &Path, spellings: &[Vec<u8>]) -> Result<()> {
        let mut links = vec![dir.join("exe"), dir.join("cwd")];
        let fd = dir.join("fd");
        for descriptor in self.tolerant(&fd, std::fs::read_dir(&fd))?.into_iter().flatten() {
            if let Some(descriptor) = self.tolerant(&fd, descriptor)? {
                links.push(descriptor.path());
            }
        }
        for link in links {
            if let Some(target) = self.tolerant(&link, std::fs::read_link(&link))? {
                self.used_path(target.as_os_str().as_bytes(), spellings, &link)?;
            }
        }
        self.mapped_files(&dir.join("maps"), spellings)?;
        let environ = dir.join("environ");
        let text = self.tolerant(&environ, std::fs::read(&environ))?.unwrap_or_default();
        self.used(&text, &environ)
    }

    fn mapped_files(&mut self, maps: &Path, spellings: &[Vec<u8>]) -> Result<()> {
        let Some(file) = self.tolerant(maps, File::open(maps))? else { return Ok(()) };
        let mut lines = BufReader::new(file);
        let (mut line, mut last) = (Vec::new(), Vec::new());
        // One line a mapping, of which a process may have tens of thousands;
        // those of one file stand together.
        while self.tolerant(maps, lines.read_until(b'\n', &mut line))?.is_some_and(|count| count > 0) {
            let path = line.iter().position(|b| *b == b'/').map_or(&[][..], |start| &line[start..]);
            let path = path.strip_suffix(b"\n").unwrap_or(path);
            if !path.is_empty() && path != last {
                self.used_path(path, spellings, maps)?;
                last.clear();
                last.extend_from_slice(path);
            }
            line.clear();
        }
        Ok(())
    }

    /// How the names of files in the store directory begin. The kernel tells
    /// where they really are: not behind a symlink, and not where the store is
    /// said to lie.
    fn spellings(&self) -> Vec<Vec<u8>> {
        let layout = self.store.layout();
        let mut dirs = vec![PathBuf::from(layout.store_dir.as_str()), layout.real_store_dir.clone()];
        dirs.extend(std::fs::canonicalize(&layout.real_store_dir));
        let mut spellings: Vec<Vec<u8>> =
            dirs.into_iter().map(|dir| [dir.as_os_str().as_bytes(), b"/"].concat()).collect();
        spellings.sort();
        spellings.dedup();
        spellings
    }

    /// Adds the store path that a file in use lies in.
    ///
    /// Files of a process in another mount namespace are named from the top of
    /// that namespace. We may be in one of our own, where the store is writable,
    /// and our root directory may be a chroot: then the names of all other
    /// processes' files have the path to it in front. So there the store
    /// directory is looked for anywhere in a name: a root too many does no harm.
    fn used_path(&mut self, file: &[u8], spellings: &[Vec<u8>], holder: &Path) -> Result<()> {
        let anywhere = mount::is_in_namespace_of_its_own();
        let named = |prefix: &&Vec<u8>| anywhere || file.starts_with(prefix);
        spellings.iter().filter(named).try_for_each(|prefix| self.used_below(file, prefix, holder))
    }

    fn add_used(&mut self, path: StorePath, holder: &Path) -> Result<()> {
        if self.is_valid(&path)? {
            let holder =
                if self.search.censor { Holder::Censored } else { Holder::Running(holder.to_owned()) };
            self.add(path, holder);
        }
        Ok(())
    }

    /// Adds every valid store path whose text stands somewhere in `text`.
    fn used(&mut self, text: &[u8], file: &Path) -> Result<()> {
        let prefix = format!("{}/", self.store.dir().as_str());
        self.used_below(text, prefix.as_bytes(), file)
    }

    /// As [`Finder::used`], for one spelling of the store directory.
    fn used_below(&mut self, text: &[u8], prefix: &[u8], file: &Path) -> Result<()> {
        let mut rest = text;
        while let Some(at) = find(rest, prefix) {
            rest = &rest[at + prefix.len()..];
            let len = rest.iter().take_while(|c| c.is_ascii_alphanumeric() || b"+-._?=".contains(c)).count();
            let Ok(name) = std::str::from_utf8(&rest[..len]) else { continue };
            let Ok(path) = StorePath::from_base_name(name) else { continue };
            self.add_used(path, file)?;
        }
        Ok(())
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.iter().position(|b| *b == first)?;
        if text[at..].starts_with(wanted) {
            return Some(at);
        }
        from = at + 1;
    }
}
