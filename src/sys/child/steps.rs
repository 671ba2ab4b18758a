//! How a process follows its list: nothing here allocates.

use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_change, move_mount,
    open_tree, unmount,
};
use rustix::process::{Gid, Uid};
use rustix::thread::UnshareFlags;

use super::plan::Action;
use super::{message, raw};

/// Where a process is on its list.
pub(super) struct Follower {
    /// The directory that becomes the root.
    root: Option<OwnedFd>,
    /// The socket to the supervisor.
    supervisor: RawFd,
}

impl Follower {
    pub(super) fn new(supervisor: RawFd) -> Self {
        Self { root: None, supervisor }
    }

    pub(super) fn follow(&mut self, action: &Action) -> Result<(), Errno> {
        match action {
            Action::PrivateMounts => {
                mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            }
            Action::Root(path) => self.choose_root(path),
            Action::Bind { source, target, read_only } => {
                let tree = open_tree(CWD, source.as_c_str(), CLONED)?;
                let flags = if *read_only { READ_ONLY } else { 0 };
                raw::set_mount_flags(borrow(&tree), flags)?;
                place(&tree, &self.inside(target)?)
            }
            Action::ReadOnly(target) => {
                let target = self.inside(target)?;
                let tree = open_tree(&target, c"", CLONED.union(OpenTreeFlags::AT_EMPTY_PATH))?;
                raw::set_mount_flags(borrow(&tree), READ_ONLY)?;
                place(&tree, &target)
            }
            Action::Mount { kind, target, flags, options } => {
                if self.root.is_some() {
                    // Relative to the handle, for a call that knows paths only.
                    rustix::process::fchdir(self.inside(target)?)?;
                    mount(kind.as_c_str(), c".", kind.as_c_str(), *flags, Some(options.as_c_str()))
                } else {
                    let target = target.as_c_str();
                    mount(kind.as_c_str(), target, kind.as_c_str(), *flags, Some(options.as_c_str()))
                }
            }
            Action::Enter => {
                rustix::process::fchdir(self.root()?)?;
                // The old root is put on top of the new one, and then taken away.
                rustix::process::pivot_root(c".", c".")?;
                unmount(c".", UnmountFlags::DETACH)?;
                rustix::process::chdir(c"/")
            }
            Action::Loopback => raw::loopback_up(),
            Action::HostName => {
                rustix::system::sethostname(b"localhost")?;
                raw::set_domain_name(b"(none)")
            }
            Action::NoGroups => rustix::thread::set_thread_groups(&[]),
            Action::UserNamespace(is_new) => {
                if *is_new {
                    new_user_namespace()?;
                }
                message::ask(self.supervisor, message::USERS)
            }
            Action::Ids(user, group) => {
                let (user, group) = (Uid::from_raw(*user), Gid::from_raw(*group));
                // The group first: afterwards it may not.
                rustix::thread::set_thread_res_gid(group, group, group)?;
                rustix::thread::set_thread_res_uid(user, user, user)
            }
            Action::SessionKeys => raw::new_session_keys(),
            Action::NoNewPrivileges => raw::control(libc::PR_SET_NO_NEW_PRIVS, 1),
            Action::KeepToItself => raw::keep_to_ourselves(),
            Action::Filter(filter) => raw::filter(&filter.program),
            Action::Umask(mask) => {
                rustix::process::umask(Mode::from_bits_truncate((*mask).into()));
                Ok(())
            }
            Action::Personality(bits) => raw::add_personality((*bits).into()),
            Action::Directory(path) => rustix::process::chdir(path.as_c_str()),
        }
    }

    /// A directory has to be a mount to become the root: it is mounted on itself.
    fn choose_root(&mut self, path: &CStr) -> Result<(), Errno> {
        let tree = open_tree(CWD, path, CLONED)?;
        raw::set_mount_flags(borrow(&tree), 0)?;
        move_mount(&tree, c"", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        self.root = Some(tree);
        Ok(())
    }

    fn root(&self) -> Result<&OwnedFd, Errno> {
        self.root.as_ref().ok_or(Errno::INVAL)
    }

    /// A handle on what is at a path inside; links are followed as they will be seen inside.
    fn inside(&self, path: &CStr) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        openat2(self.root()?, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
    }
}

/// A copy of a mount and of those below it, not yet anywhere.
const CLONED: OpenTreeFlags =
    OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC).union(OpenTreeFlags::AT_RECURSIVE);

const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

fn place(tree: &OwnedFd, target: &OwnedFd) -> Result<(), Errno> {
    let by_handles = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH.union(MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH);
    move_mount(tree, c"", target, c"", by_handles)
}

fn borrow(fd: &OwnedFd) -> BorrowedFd<'static> {
    raw::borrowed(fd.as_raw_fd())
}

fn new_user_namespace() -> Result<(), Errno> {
    // SAFETY: descriptors and everything else of the process stay as they are.
    #[allow(unsafe_code)]
    unsafe {
        rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER)
    }
}
