//! A process as a list of what it does before it becomes a program. The list is made where memory
//! can be had and failures have names; the process only follows it.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::sys::PathError;
use crate::sys::seccomp::Filter;

/// What a process does first. Paths inside are relative to the root that was chosen by
/// [`Action::Root`], and links in them do not lead out of it.
#[derive(Debug)]
pub enum Action {
    /// What is mounted is seen in this namespace only.
    PrivateMounts,
    /// The directory that becomes the root, with everything that is mounted from now on.
    Root(CString),
    /// A file or directory is seen at a second place, with all that is mounted below.
    Bind {
        /// Where it lies, as an absolute path of before.
        source: CString,
        /// A file or directory inside.
        target: CString,
        /// Whether nobody can change it there, nor use devices and set-id programs in it.
        read_only: bool,
    },
    /// A file or directory inside is read-only from now on.
    ReadOnly(CString),
    /// A file system of the kernel's is mounted.
    Mount {
        /// Its name.
        kind: CString,
        /// A directory inside; without a root, an absolute path.
        target: CString,
        /// How.
        flags: MountFlags,
        /// Options of its own.
        options: CString,
    },
    /// The chosen root becomes the root, and what was before is out of reach.
    Enter,
    /// Processes of this network reach each other.
    Loopback,
    /// The name of the machine is `localhost`.
    HostName,
    /// Gives up all groups but the first.
    NoGroups,
    /// Becomes a member of a user namespace: of a new one for true, else of the one it was born in. Its
    /// users and groups are those of [`Plan::users`].
    UserNamespace(bool),
    /// Becomes a user and a group.
    Ids(u32, u32),
    /// Keys of its own.
    SessionKeys,
    /// Programs with set-id bits give no rights.
    NoNewPrivileges,
    /// No signals and abstract sockets to processes outside.
    KeepToItself,
    /// System calls go through a filter.
    Filter(Filter),
    /// Modes of new files.
    Umask(u16),
    /// Bits of the personality that are added.
    Personality(u32),
    /// The working directory.
    Directory(CString),
}

/// An action and how its failure is told.
#[derive(Debug)]
pub struct Step {
    pub(super) action: Action,
    operation: &'static str,
    path: PathBuf,
}

impl Step {
    /// A step; when it fails, that was `operation` on `path`.
    pub fn new(action: Action, operation: &'static str, path: impl AsRef<Path>) -> Self {
        Self { action, operation, path: path.as_ref().to_owned() }
    }
}

/// New namespaces of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Those of mounts, processes, inter-process communication and host names.
    pub isolated: bool,
    /// That of networks.
    pub network: bool,
    /// That of users, from the beginning: what a process without rights needs for the others.
    pub user: bool,
}

impl Namespaces {
    pub(super) fn flags(self) -> libc::c_int {
        let isolated = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        let network = libc::CLONE_NEWNET;
        let of = |wanted: bool, flags| if wanted { flags } else { 0 };
        of(self.isolated, isolated) | of(self.network, network) | of(self.user, libc::CLONE_NEWUSER)
    }
}

/// A user and a group of a namespace, and which they are outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Users {
    /// The numbers inside.
    pub inside: (u32, u32),
    /// The numbers outside.
    pub outside: (u32, u32),
}

/// What a process becomes.
#[derive(Debug)]
pub struct Executable {
    /// The file; relative to the working directory.
    pub path: CString,
    /// The name that it is told, and the arguments.
    pub args: Vec<CString>,
    /// `NAME=VALUE` of each variable.
    pub env: Vec<CString>,
}

/// A process that is to be.
#[derive(Debug)]
pub struct Plan {
    /// Where it is born.
    pub namespaces: Namespaces,
    /// Who there is in its user namespace.
    pub users: Option<Users>,
    /// The user who belongs to it alone: all processes of that user are killed before and after it.
    pub owner: Option<u32>,
    /// What it does first.
    pub steps: Vec<Step>,
    /// What it becomes; a process that becomes nothing ends with 0.
    pub program: Option<Executable>,
    /// Its standard input.
    pub input: OwnedFd,
    /// Its standard output and error output.
    pub output: OwnedFd,
}

/// Numbers of steps that are not in the list.
pub(super) mod step {
    /// Killing what is left of its user.
    pub const OWNER: u32 = u32::MAX;
    /// Making it.
    pub const BIRTH: u32 = u32::MAX - 1;
    /// Arranging its descriptors and its session.
    pub const SESSION: u32 = u32::MAX - 2;
    /// Becoming the program.
    pub const EXECUTE: u32 = u32::MAX - 3;
}

/// The failure of the step with a number.
pub(super) fn failure(steps: &[(&'static str, PathBuf)], number: u32, errno: Errno) -> PathError {
    let listed = usize::try_from(number).ok().and_then(|number| steps.get(number));
    let (operation, path) = match (number, listed) {
        (_, Some((operation, path))) => (*operation, path.as_path()),
        (step::OWNER, _) => ("ending processes of the user of", Path::new("/proc")),
        (step::BIRTH, _) => ("making namespaces for", Path::new("/proc/self/ns")),
        _ => ("arranging the terminal of", Path::new("/dev/pts")),
    };
    PathError::new(operation, path, errno)
}

impl Plan {
    /// The names of all steps.
    pub(super) fn names(&self) -> Vec<(&'static str, PathBuf)> {
        self.steps.iter().map(|step| (step.operation, step.path.clone())).collect()
    }
}
