//! Where a path leads without leaving the store.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::store::local::Layout;

/// Links on the way at most, as the system has it.
const MAX_LINKS: usize = 40;

/// The real place that a path, named by the store directory, leads to; `None`
/// where it leaves the store on the way, or leads to the store directory itself.
/// Nothing outside is looked at.
///
/// # Errors
/// Errors of the system; `NotFound` for a link that leads nowhere in the store.
pub(super) fn inside(layout: &Layout, logical: &Path) -> io::Result<Option<PathBuf>> {
    let store = Path::new(layout.store_dir.as_str());
    // What is still to be walked, the last first, and where the walk is.
    let mut waiting: Vec<OsString> = Vec::new();
    let mut at: Vec<OsString> = Vec::new();
    let push = |waiting: &mut Vec<OsString>, path: &Path| {
        let names = path.components().rev().filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        });
        waiting.extend(names);
    };
    let Ok(below) = logical.strip_prefix(store) else { return Ok(None) };
    push(&mut waiting, below);
    let mut links = 0;
    while let Some(name) = waiting.pop() {
        if name == ".." {
            if at.pop().is_none() {
                return Ok(None);
            }
            continue;
        }
        let real = place(layout, &at).join(&name);
        if !std::fs::symlink_metadata(&real)?.is_symlink() {
            at.push(name);
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
        let target = std::fs::read_link(&real)?;
        if !target.is_absolute() {
            push(&mut waiting, &target);
            continue;
        }
        let Ok(below) = target.strip_prefix(store) else { return Ok(None) };
        at.clear();
        push(&mut waiting, below);
    }
    if at.is_empty() {
        return Ok(None);
    }
    let real = place(layout, &at);
    Ok(Some(real))
}

fn place(layout: &Layout, names: &[OsString]) -> PathBuf {
    let mut place = layout.real_store_dir.clone();
    place.extend(names);
    place
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::StoreDir;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_outside_is_looked_at() {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().join("real");
        std::fs::create_dir_all(real.join("one/bin")).unwrap();
        std::fs::write(real.join("one/bin/x"), "").unwrap();
        std::fs::write(root.path().join("secret"), "").unwrap();
        let layout = Layout {
            store_dir: StoreDir::new("/names/store").unwrap(),
            real_store_dir: real.clone(),
            state_dir: root.path().join("state"),
            log_dir: root.path().join("log"),
        };
        let leads = |target: &str| {
            let _ = std::fs::remove_file(real.join("link"));
            symlink(target, real.join("link")).unwrap();
            inside(&layout, Path::new("/names/store/link")).map_err(|error| error.kind())
        };
        let within = Ok(Some(real.join("one/bin")));
        assert_eq!(leads("one/bin"), within);
        assert_eq!(leads("one/../one/./bin"), within);
        assert_eq!(leads("/names/store/one/bin"), within);
        for outside in [
            "/etc",
            "/",
            "../secret",
            "../../..",
            "one/../../secret",
            "/names/store",
            "/names/store/../..",
            ".",
            "/names/../names/store/one",
            "one/..",
        ] {
            assert_eq!(leads(outside), Ok(None), "{outside}");
        }
        assert_eq!(leads("nothing"), Err(io::ErrorKind::NotFound));
        assert!(leads("link").is_err());
        assert_eq!(inside(&layout, Path::new("/names/other/x")).unwrap(), None);
    }
}
