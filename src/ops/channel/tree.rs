//! The tree that the derivation of a channel stands for, made without a builder.
//!
//! | variable of the derivation | |
//! |---|---|
//! | src | an archive in the store, with one entry at its top |
//! | channelName | the name that this entry gets in the output, which is a directory |

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::fetch::FetchError;
use crate::fetch::private_dir;
use crate::fetch::unpack::{Limits, Top, unpack_within};
use crate::model::derivation::DerivationOutput;
use crate::model::references::{Candidates, Scanner};
use crate::model::{Derivation, StoreDir, StorePath};
use crate::nar::writer::NarWriter;
use crate::nar::{Sink, dump};
use crate::store::LocalStore;
use crate::store::api::Store as _;
use crate::store::error::{FailedBuild, RealiseError, Result, StoreError};
use crate::sys::PathError;

/// The builder of every channel.
pub const BUILDER: &str = "builtin:unpack-channel";

/// The tree of a channel that is to be made.
pub struct ChannelTree {
    archive: StorePath,
    name: Vec<u8>,
    drv_path: StorePath,
    out: StorePath,
}

impl ChannelTree {
    /// The tree that a derivation stands for; nothing if it stands for something else.
    ///
    /// # Errors
    /// [`RealiseError::Failed`] for the derivation of a channel that does not say which.
    pub fn of(dir: &StoreDir, drv_path: &StorePath, drv: &Derivation) -> Result<Option<Self>> {
        let outputs: Vec<_> = drv.outputs.iter().collect();
        let [(name, DerivationOutput::InputAddressed(out))] = outputs[..] else { return Ok(None) };
        if drv.builder != BUILDER.as_bytes() || name != "out" {
            return Ok(None);
        }
        let bad = |message: String| failed(dir, drv_path, out, message);
        let value = |name: &str| {
            let value = drv.env.get(name.as_bytes());
            value.cloned().ok_or_else(|| bad(format!("attribute '{name}' missing")))
        };
        let name = value("channelName")?;
        let shown = String::from_utf8_lossy(&name).into_owned();
        if name.contains(&b'/') {
            let why = "channelName is not allowed to contain filesystem separators";
            return Err(bad(format!("{why}, got {shown}")));
        }
        if matches!(&name[..], b"" | b"." | b"..") || name.contains(&0) {
            return Err(bad(format!("'{shown}' is no name of a channel")));
        }
        let archive = dir.parse(&String::from_utf8_lossy(&value("src")?))?;
        Ok(Some(Self { archive, name, drv_path: drv_path.clone(), out: out.clone() }))
    }

    /// Makes it and adds it, where its derivation is valid. For somebody who is not `trusted` it
    /// is smaller than it may be otherwise, and not something that needs no signature.
    ///
    /// # Errors
    /// [`RealiseError::Failed`] for a bad archive, and others.
    pub fn make(&self, store: &LocalStore, drv: &Derivation, trusted: bool) -> Result<()> {
        let dir = store.dir();
        let inputs: Vec<StorePath> = drv.references().into_iter().collect();
        store.add_temp_roots(&inputs.iter().chain([&self.archive, &self.out]).collect::<Vec<_>>())?;
        if let Some(path) = inputs.iter().chain([&self.archive]).find_map(|path| match store.is_there(path) {
            Ok(true) => None,
            Ok(false) => Some(Err(store.invalid(path))),
            Err(error) => Some(Err(error)),
        }) {
            return path;
        }
        // Somebody else may have registered it unchecked.
        store.check_outputs(&self.drv_path, drv)?;
        if !drv.input_srcs.contains(&self.archive) {
            return Err(self.failed(dir, format!("'{}' is not among its inputs", dir.display(&self.archive))));
        }
        store.progress().notice(&format!("building '{}'...", dir.display(&self.drv_path)));
        let limits = if trusted { Limits::default() } else { Limits::OF_STRANGERS };
        let scratch = private_dir().map_err(|error| self.of_fetch(dir, error))?;
        let tree = self.unpack(store, scratch.path(), limits).map_err(|error| self.of_fetch(dir, error))?;
        let closure = store.queries().closure(&inputs, false)?;
        let mut paths = vec![self.out.clone()];
        for node in closure.nodes() {
            paths.push(closure.path(node)?);
        }
        let candidates = Candidates::new(paths);
        let mut writer = NarWriter::new(Scanner::new(&candidates))?;
        dump::walk(&tree, &mut writer)?;
        let references = writer.into_output().finish();
        let fill = |sink: &mut dyn Sink| dump::walk(&tree, sink);
        let mut adder = store.adder();
        adder.add_built(&self.out, &self.drv_path, references, trusted, fill)?;
        adder.finish()
    }

    /// Unpacks the archive into a directory, and gives where the tree lies in it.
    fn unpack(&self, store: &LocalStore, scratch: &Path, limits: Limits) -> crate::fetch::Result<PathBuf> {
        let (unpacked, tree) = (scratch.join("unpacked"), scratch.join("tree"));
        for dir in [&unpacked, &tree] {
            std::fs::create_dir(dir).map_err(PathError::at("creating directory", dir))?;
        }
        let told = || store.dir().print(&self.archive);
        let top = unpack_within(&mut open(&store.real_path(&self.archive))?, &unpacked, Top::Entry, limits);
        let top = match top.map(|unpacked| unpacked.top) {
            Err(FetchError::Empty) => {
                return Err(FetchError::Channel(format!("channel tarball '{}' is empty", told())));
            }
            other => other?,
        };
        if top == unpacked {
            return Err(FetchError::Channel(format!(
                "channel tarball '{}' contains more than one file",
                told()
            )));
        }
        let place = tree.join(OsStr::from_bytes(&self.name));
        std::fs::rename(&top, &place).map_err(PathError::at("renaming", &top))?;
        Ok(tree)
    }

    fn failed(&self, dir: &StoreDir, message: String) -> StoreError {
        failed(dir, &self.drv_path, &self.out, message)
    }

    /// A bad archive is a build that failed; anything else is what it is.
    fn of_fetch(&self, dir: &StoreDir, error: FetchError) -> StoreError {
        match error {
            FetchError::Path(error) => error.into(),
            FetchError::Store(error) => error,
            FetchError::Interrupted(interrupted) => interrupted.into(),
            error => self.failed(dir, error.to_string()),
        }
    }
}

fn failed(dir: &StoreDir, drv_path: &StorePath, out: &StorePath, message: String) -> StoreError {
    let failed = FailedBuild { message, drv_path: dir.print(drv_path), out: dir.print(out) };
    RealiseError::Failed(Box::new(failed)).into()
}

/// Opens a file of the store, which must not lead anywhere else.
fn open(path: &Path) -> std::result::Result<File, PathError> {
    let failed = |error: io::Error| PathError::new("opening file", path, error);
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
    match file.metadata().map_err(failed)?.mode() & libc::S_IFMT {
        libc::S_IFREG => Ok(file),
        _ => Err(failed(io::Error::other("it is not a regular file"))),
    }
}
