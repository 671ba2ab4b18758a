//! The protocol of `nix-store --serve`, as both sides see it.
//!
//! ```text
//! client  0x390c9deb version
//! server  0x5452eecb version
//! client  command, arguments
//! server  answer
//! ```
//!
//! There are no messages: what a server has to say it writes to its standard
//! error, and after a failure it ends.

use std::io::{Read, Write};

use crate::model::{Hash, HashAlgorithm, StoreDir, ValidPathInfo};
use crate::store::error::Result;
use crate::store::remote::protocol::wire::{Reader, Writer};
use crate::store::remote::protocol::worker::Version;

/// What a client begins with.
pub const CLIENT_HELLO: u64 = 0x390c_9deb;
/// What a server begins with.
pub const SERVER_HELLO: u64 = 0x5452_eecb;
/// The newest version that we speak.
pub const NEWEST: Version = Version::of(2, 7);
/// The oldest version that a client of ours may speak.
pub const OLDEST_CLIENT: Version = Version::of(2, 1);
/// The oldest version that a server of ours may speak: the first with [`command::ADD_TO_STORE_NAR`].
pub const OLDEST: Version = Version::of(2, 5);

/// The numbers of commands.
pub mod command {
    /// lock, substitute, paths → paths
    pub const QUERY_VALID_PATHS: u64 = 1;
    /// paths → infos, then an empty string
    pub const QUERY_PATH_INFOS: u64 = 2;
    /// path → archive
    pub const DUMP_STORE_PATH: u64 = 3;
    /// export stream → 1
    pub const IMPORT_PATHS: u64 = 4;
    /// 0, paths → export stream
    pub const EXPORT_PATHS: u64 = 5;
    /// requests, options → status, text unless it went well
    pub const BUILD_PATHS: u64 = 6;
    /// include outputs, paths → paths
    pub const QUERY_CLOSURE: u64 = 7;
    /// path, derivation, options → result
    pub const BUILD_DERIVATION: u64 = 8;
    /// path, info, archive → 1
    pub const ADD_TO_STORE_NAR: u64 = 9;
}

/// Reads what an answer to [`command::QUERY_PATH_INFOS`] says of a path, after
/// its name.
///
/// # Errors
/// Errors of the parts.
pub fn read_info<R: Read>(
    reader: &mut Reader<R>,
    dir: &StoreDir,
    path: crate::model::StorePath,
) -> Result<ValidPathInfo> {
    let deriver = reader.optional_path(dir)?;
    let references = reader.paths(dir)?;
    // How much there would be to download.
    reader.number()?;
    let size = reader.number()?;
    let hash = Hash::parse(&reader.word()?, Some(HashAlgorithm::Sha256))?;
    let mut info = ValidPathInfo::new(path, hash, size);
    info.deriver = deriver;
    info.references = references;
    info.ca = reader.content_address()?;
    info.signatures = reader.words()?.into_iter().collect();
    Ok(info)
}

/// Writes a part of an answer to [`command::QUERY_PATH_INFOS`].
///
/// # Errors
/// Errors of the writer.
pub fn write_info<W: Write>(
    writer: &mut Writer<W>,
    dir: &StoreDir,
    info: &ValidPathInfo,
    version: Version,
) -> Result<()> {
    writer.path(dir, &info.path)?;
    writer.optional_path(dir, info.deriver.as_ref())?;
    writer.paths(dir, info.references.iter())?;
    // As much to download as there is.
    writer.number(info.nar_size)?;
    writer.number(info.nar_size)?;
    if version < Version::of(2, 4) {
        return Ok(());
    }
    writer.text(&info.nar_hash.to_string())?;
    writer.text(&info.ca.as_ref().map(ToString::to_string).unwrap_or_default())?;
    writer.texts(info.signatures.iter())
}

/// Reads the arguments of [`command::ADD_TO_STORE_NAR`] up to the archive.
///
/// # Errors
/// Errors of the parts.
pub fn read_added<R: Read>(reader: &mut Reader<R>, dir: &StoreDir) -> Result<ValidPathInfo> {
    let path = reader.path(dir)?;
    reader.info(dir, path)
}

/// Writes the arguments of [`command::ADD_TO_STORE_NAR`] up to the archive.
///
/// # Errors
/// Errors of the writer.
pub fn write_added<W: Write>(writer: &mut Writer<W>, dir: &StoreDir, info: &ValidPathInfo) -> Result<()> {
    writer.path(dir, &info.path)?;
    writer.info(dir, info)
}
