//! Replacing a file or link so that every reader, and every machine that loses
//! its power, sees the old one or the new one.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::PathError;

/// Writes `contents` aside, syncs, and renames over `path`; the directory is
/// synced too.
///
/// # Errors
/// A [`PathError`]; the old file is then still there.
pub fn replace_file(path: &Path, contents: &[u8], mode: u32) -> Result<(), PathError> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let error = |operation| PathError::at(operation, path);
    let mut file = tempfile::Builder::new()
        .prefix(".tmp-")
        .permissions(std::fs::Permissions::from_mode(mode))
        .tempfile_in(dir)
        .map_err(error("creating file"))?;
    file.write_all(contents).map_err(error("writing file"))?;
    // The mode was subject to the umask.
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(mode))
        .map_err(error("changing mode of"))?;
    file.as_file().sync_all().map_err(error("syncing file"))?;
    file.persist(path).map_err(|e| PathError::new("renaming file to", path, e.error))?;
    sync_dir(dir)
}

/// Makes a symlink to `target` aside and renames it over `path`; the directory
/// is synced too.
///
/// # Errors
/// A [`PathError`]; what was at `path` is then still there.
pub fn replace_symlink(path: &Path, target: &Path) -> Result<(), PathError> {
    replace_symlink_unsynced(path, target)?;
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => sync_dir(dir),
        _ => sync_dir(Path::new(".")),
    }
}

/// As [`replace_symlink`], for a directory that the caller syncs when
/// everything in it is as it should be.
///
/// # Errors
/// A [`PathError`]; what was at `path` is then still there.
pub fn replace_symlink_unsynced(path: &Path, target: &Path) -> Result<(), PathError> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let error = |operation| PathError::at(operation, path);
    let aside = loop {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".tmp-{}-{number}", std::process::id()));
        match std::os::unix::fs::symlink(target, &aside) {
            // Left by a killed process that had our number.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => {
                made.map_err(error("creating symlink"))?;
                break aside;
            }
        }
    };
    if let Err(failure) = std::fs::rename(&aside, path) {
        let _ = std::fs::remove_file(&aside);
        return Err(error("renaming symlink to")(failure));
    }
    Ok(())
}

/// Makes what was created, renamed or removed in `dir` durable.
///
/// # Errors
/// A [`PathError`].
pub fn sync_dir(dir: &Path) -> Result<(), PathError> {
    std::fs::File::open(dir)
        .and_then(|handle| handle.sync_all())
        .map_err(PathError::at("syncing directory", dir))
}
