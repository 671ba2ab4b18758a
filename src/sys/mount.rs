//! A directory that is mounted read-only, made writable for us alone.
//!
//! Some systems keep the store directory as a read-only mount of itself, so
//! that nobody changes it by mistake. A user who may mount can have it writable in
//! a mount namespace of their own; everybody else sees it as it was, also the
//! programs that are run by [`outside`].

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount_bind_recursive, mount_change, mount_remount};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::PathError;

/// Whether a directory that is there is mounted read-only.
///
/// # Errors
/// Errors of statvfs.
pub fn is_read_only(dir: &Path) -> Result<bool, PathError> {
    Ok(flags(dir)?.contains(StatVfsMountFlags::RDONLY))
}

/// Whether [`make_writable_for_us`] has put us into a mount namespace of our own.
static ALONE: AtomicBool = AtomicBool::new(false);

/// Whether we are in a mount namespace of our own: then the kernel may name the
/// files of other processes from another root than ours.
pub fn is_in_namespace_of_its_own() -> bool {
    ALONE.load(Ordering::Relaxed)
}

/// Where the process was before it had mounts of its own.
struct Outside {
    namespace: OwnedFd,
    /// The root may be another one than that of the namespace.
    root: OwnedFd,
    current_dir: OwnedFd,
}

static OUTSIDE: OnceLock<Outside> = OnceLock::new();

impl Outside {
    /// Where the calling thread is.
    fn here() -> Result<Self, Errno> {
        let open = |path: &str, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
        Ok(Self {
            namespace: open("/proc/thread-self/ns/mnt", OFlags::RDONLY)?,
            root: open("/", OFlags::PATH | OFlags::DIRECTORY)?,
            current_dir: open(".", OFlags::PATH | OFlags::DIRECTORY)?,
        })
    }

    /// Takes the calling process back there.
    fn enter(&self) -> Result<(), Errno> {
        let mounts = Some(LinkNameSpaceType::Mount);
        if move_into_link_name_space(self.namespace.as_fd(), mounts).is_err() {
            // The right to mount was given up: it stays where it is.
            return Ok(());
        }
        // Both were those of the namespace after this.
        rustix::process::fchdir(&self.root)?;
        rustix::process::chroot(".")?;
        rustix::process::fchdir(&self.current_dir)
    }
}

/// Lets a program run with the mounts that everybody else sees, in the directory
/// that was current before a store was made writable here; a directory given to
/// `command` does not count.
pub fn outside(command: &mut Command) -> &mut Command {
    let Some(outside) = OUTSIDE.get() else { return command };
    // SAFETY: the closure runs between fork and exec; it makes system calls only and
    // allocates nothing.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(|| Ok(outside.enter()?))
    }
}

/// Makes a directory writable in a mount namespace of the calling thread's own,
/// in which threads and processes that it starts from now on are too. Nothing
/// of that is seen outside.
///
/// # Errors
/// What could not be done, of a directory that then stays read-only.
pub fn make_writable_for_us(dir: &Path) -> Result<(), PathError> {
    let before = flags(dir)?;
    // Without /proc, what is run later stays in here.
    if let (None, Ok(here)) = (OUTSIDE.get(), Outside::here()) {
        let _ = OUTSIDE.set(here);
    }
    // SAFETY: what is unshared is the namespace of mounts, and with it root and
    // working directory; the table of descriptors stays common to all threads.
    #[allow(unsafe_code)]
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
        .map_err(PathError::at("making a mount namespace for", dir))?;
    ALONE.store(true, Ordering::Relaxed);
    // What is mounted here is not to be seen outside, while what is unmounted
    // outside goes here as well. Where the root is no mount, the mounts on the
    // way to the directory are looked for below.
    let slave = MountPropagationFlags::DOWNSTREAM;
    let all = mount_change("/", slave | MountPropagationFlags::REC);
    match remount(dir, before) {
        // No mount of its own.
        Err(Errno::INVAL) => {
            if all.is_err() {
                let mut above = dir.ancestors();
                above
                    .find(|above| mount_change(*above, slave | MountPropagationFlags::REC).is_ok())
                    .ok_or_else(|| PathError::new("finding the mount of", dir, Errno::INVAL))?;
            }
            mount_bind_recursive(dir, dir).map_err(PathError::at("mounting", dir))?;
            remount(dir, before)
        }
        other => other,
    }
    .map_err(PathError::at("making writable", dir))?;
    match is_read_only(dir)? {
        false => Ok(()),
        // Not the mount, but the file system.
        true => Err(PathError::new("making writable", dir, Errno::ROFS)),
    }
}

/// Lets go of "read-only", and of nothing else.
fn remount(dir: &Path, before: StatVfsMountFlags) -> Result<(), Errno> {
    let kept = [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let kept = kept.into_iter().filter(|(there, _)| before.contains(*there)).map(|(_, flag)| flag);
    mount_remount(dir, MountFlags::BIND | kept.collect::<MountFlags>(), c"")
}

fn flags(dir: &Path) -> Result<StatVfsMountFlags, PathError> {
    Ok(rustix::fs::statvfs(dir).map_err(PathError::at("getting the file system of", dir))?.f_flag)
}
