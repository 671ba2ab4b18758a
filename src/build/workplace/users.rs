//! Users that builders run as, one for each build that runs, each held by a lock on a file.

use std::fs::File;
use std::path::Path;

use crate::build::error::BuildError;
use crate::sys::lock::{self, LockKind};
use crate::sys::{PathError, users};

/// A user that no other build has while this is there.
#[derive(Debug)]
pub struct BuildUser {
    uid: u32,
    gid: u32,
    /// Holds the lock.
    _lock: File,
}

impl BuildUser {
    /// The number of the user.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The number of the group.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Takes a member of a group that no build has; `None` when all are taken. The locks lie in
    /// `pool`, usually `userpool` in the state directory.
    ///
    /// # Errors
    /// A group that is not there, has no members or has us as one, and a [`PathError`].
    pub fn take(pool: &Path, group: &str) -> Result<Option<Self>, BuildError> {
        let members = users::members(group).ok_or_else(|| BuildError::NoSuchGroup(group.to_owned()))?;
        if members.names.is_empty() {
            return Err(BuildError::NoBuildUsers(group.to_owned()));
        }
        make_pool(pool)?;
        for name in &members.names {
            let uid =
                users::id(name).ok_or_else(|| BuildError::NoSuchUser(name.clone(), group.to_owned()))?;
            if is_ours(uid) {
                return Err(BuildError::AmongBuildUsers(group.to_owned()));
            }
            if let Some(lock) = try_lock(&pool.join(uid.to_string()))? {
                return Ok(Some(Self { uid, gid: members.group, _lock: lock }));
            }
        }
        Ok(None)
    }

    /// Takes one of `count` users that nobody else has, with 65,536 numbers for each from `first` on;
    /// `None` when all are taken. The locks lie in `pool`, usually `userpool2` in the state directory,
    /// and `group` is that of the store.
    ///
    /// # Errors
    /// A group that is not there, and a [`PathError`].
    pub fn allocate(pool: &Path, first: u32, count: u32, group: &str) -> Result<Option<Self>, BuildError> {
        const NUMBERS: u32 = 1 << 16;
        let gid = match group {
            "" => rustix::process::getgid().as_raw(),
            group => users::members(group).ok_or_else(|| BuildError::NoSuchGroup(group.to_owned()))?.group,
        };
        make_pool(pool)?;
        for slot in 0..count / NUMBERS {
            let Some(uid) = (slot * NUMBERS).checked_add(first) else { break };
            if is_ours(uid) {
                continue;
            }
            if let Some(lock) = try_lock(&pool.join(format!("slot-{slot}")))? {
                return Ok(Some(Self { uid, gid, _lock: lock }));
            }
        }
        Ok(None)
    }
}

/// Whether it is us or root: all processes of a build's user are killed.
fn is_ours(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::getuid().as_raw() || uid == rustix::process::geteuid().as_raw()
}

fn make_pool(pool: &Path) -> Result<(), PathError> {
    std::fs::create_dir_all(pool).map_err(PathError::at("creating directory", pool))
}

fn try_lock(path: &Path) -> Result<Option<File>, PathError> {
    let file = lock::open_lock_file(path)?;
    Ok(lock::try_lock(&file, path, LockKind::Exclusive)?.then_some(file))
}
