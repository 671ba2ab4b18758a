//! `builtin:fetchurl`: a file from elsewhere, or the tree of an archive (NAR) from there.

use std::ffi::CString;
use std::fs::{File, Permissions};
use std::io::{Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use super::Means;
use crate::fetch::{unpack, url};
use crate::nar::input::Input;
use crate::nar::reader;
use crate::nar::restore::{Metadata, Restorer};
use crate::sys::dir;

pub(super) fn run(means: &Means<'_>) -> Result<(), String> {
    if !means.may_fetch {
        return Err("'builtin:fetchurl' must be a fixed-output or impure derivation".to_owned());
    }
    let from = means.text("url").ok_or("attribute 'url' missing")?;
    let is_set = |name: &str| means.text(name).is_some_and(|value| value == "1");
    if is_set("unpack") {
        let mut archive = tempfile::tempfile().map_err(|error| error.to_string())?;
        download(means, &from, &mut archive, means.out)?;
        archive.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
        return restore(&mut archive, means.out);
    }
    let mut file = File::create_new(means.out).map_err(|error| error.to_string())?;
    download(means, &from, &mut file, means.out)?;
    if is_set("executable") {
        file.set_permissions(Permissions::from_mode(0o755)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn download(means: &Means<'_>, from: &str, file: &mut File, path: &Path) -> Result<(), String> {
    let request = url::Request { url: from, ..url::Request::default() };
    url::download(request, means.http.clone(), Arc::clone(&means.progress), file, path)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Makes the tree of an archive, which may be compressed.
fn restore(archive: &mut File, out: &Path) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let plain = unpack::decompressed(archive).map_err(|error| text(&error))?;
    let (Some(parent), Some(name)) = (out.parent(), out.file_name()) else {
        return Err(format!("{out:?} has no name"));
    };
    let parent = dir::open_dir(parent).map_err(|error| text(&error))?;
    let name = CString::new(name.as_bytes()).map_err(|error| text(&error))?;
    let mut restorer = Restorer::new(parent, name, out, Metadata::Ordinary);
    reader::read(&mut Input::new(plain), &mut restorer).map_err(|error| text(&error))
}
