//! Copies of repositories elsewhere: repositories of ours without a work tree, one for each URL.
//!
//! ```text
//! hg-mirrors-v1/KEY/         the repository; KEY is the SHA-256 hash of the URL
//! hg-mirrors-v1/KEY.lock     held while it is made or fetched into
//! hg-mirrors-v1/KEY.fetched  made when it was made, and changed when it was fetched into
//! ```

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::command::{Hg, failed};
use super::{MercurialError, Result};
use crate::fetch::git::command::run;
use crate::http::url::shown;
use crate::model::input::git::Rev;
use crate::model::{Hash, HashFormat};
use crate::progress::{Progress, Unit};
use crate::sys::lock::{self, LockError, LockKind};
use crate::sys::{PathError, atomic};

/// Bytes of the answers of a server that are taken.
const MOST_OF_ANSWER: u64 = 1 << 20;

/// Has all commits of the repository at `url` in a copy, unless that has the one that is wanted or was
/// fetched into within `time_to_live` seconds. Gives the directory of the copy.
///
/// # Errors
/// [`MercurialError`].
pub fn fetch(
    hg: &Hg,
    cache_dir: &Path,
    url: &str,
    rev: Option<&Rev>,
    time_to_live: u64,
    progress: &dyn Progress,
) -> Result<PathBuf> {
    let parent = cache_dir.join("hg-mirrors-v1");
    std::fs::create_dir_all(&parent).map_err(PathError::at("creating directory", &parent))?;
    let key = Hash::sha256(url.as_bytes()).digits(HashFormat::Nix32);
    let lock_path = parent.join(format!("{key}.lock"));
    let file = lock::open_lock_file(&lock_path)?;
    lock::lock(&file, &lock_path, LockKind::Exclusive, || ()).map_err(|error| match error {
        LockError::Path(error) => MercurialError::Path(error),
        LockError::Interrupted(interrupted) => interrupted.into(),
    })?;
    let (dir, stamp) = (parent.join(&key), parent.join(format!("{key}.fetched")));
    let name = shown(url);
    let mut init = hg.sealed();
    init.arg("init").arg("--").arg(&dir);
    if !dir.join(".hg/requires").exists() {
        let ended = run(&mut init, MOST_OF_ANSWER)?;
        if !ended.status.success() {
            return Err(failed(&name, ended.said));
        }
    }
    if is_there(hg, &dir, rev, &stamp, time_to_live) {
        return Ok(dir);
    }
    let mut pull = hg.reaching();
    pull.arg("-R").arg(&dir).args(["pull", "--quiet", "--"]).arg(url);
    progress.begin(&format!("fetching Mercurial repository '{name}'"), None, Unit::Items);
    let ended = run(&mut pull, MOST_OF_ANSWER);
    progress.end();
    let ended = ended?;
    match ended.status.success() {
        true => atomic::replace_file(&stamp, b"", 0o600)?,
        // What was fetched before is better than nothing.
        false if stamp.exists() => progress.warn(&format!(
            "could not update the copy of Mercurial repository '{name}'; continuing with it as it is: {}",
            ended.said
        )),
        false => return Err(failed(&name, ended.said)),
    }
    Ok(dir)
}

fn is_there(hg: &Hg, dir: &Path, rev: Option<&Rev>, stamp: &Path, time_to_live: u64) -> bool {
    if let Some(rev) = rev {
        return hg.output(dir, "", &["log", "-r", rev.as_str(), "-T", "{node}"]).is_ok();
    }
    let asked = std::fs::metadata(stamp).and_then(|metadata| metadata.modified());
    // What is dated in the future does not count.
    let age = asked.ok().and_then(|asked| SystemTime::now().duration_since(asked).ok());
    age.is_some_and(|age| age < Duration::from_secs(time_to_live))
}
