//! What a workplace is to be like.

use std::path::PathBuf;

use super::users::BuildUser;

/// How a build is run here. Made by [`WorkplaceOptions::new`]; the fields are set after that.
#[derive(Debug)]
#[non_exhaustive]
pub struct WorkplaceOptions {
    /// The parent of working directories: `builds` in the state directory, or the setting `build-dir`.
    pub build_dir: PathBuf,
    /// The real store directory.
    pub store_dir: PathBuf,
    /// What the builder sees of this machine.
    pub isolation: Isolation,
    /// Who the builder is; `None` for the user of this process.
    pub user: Option<BuildUser>,
    /// Whether the builder is told that this machine has 32 bits.
    pub bits32: bool,
    /// Whether files with set-id bits and extended attributes are refused.
    pub filter_syscalls: bool,
    /// Whether programs with set-id bits give the builder their rights.
    pub allow_new_privileges: bool,
}

impl WorkplaceOptions {
    /// A workplace on the host, of the user of this process, with system calls filtered.
    pub fn new(build_dir: impl Into<PathBuf>, store_dir: impl Into<PathBuf>) -> Self {
        Self {
            build_dir: build_dir.into(),
            store_dir: store_dir.into(),
            isolation: Isolation::Host,
            user: None,
            bits32: false,
            filter_syscalls: true,
            allow_new_privileges: false,
        }
    }
}

/// What a builder sees of this machine.
#[derive(Debug)]
pub enum Isolation {
    /// Everything.
    Host,
    /// What it was given.
    Sandbox(SandboxOptions),
}

/// What there is in a sandbox. Made by [`SandboxOptions::new`]; the fields are set after that.
#[derive(Debug)]
#[non_exhaustive]
pub struct SandboxOptions {
    /// The directory that is made for the sandbox and removed with it, on the file system of the
    /// store: the real path of `$STORE/H-name.drv.chroot`. The builder's root lies in it.
    pub chroot: PathBuf,
    /// The store directory as the builder sees it.
    pub store_dir: PathBuf,
    /// The store paths that can be read: where they really lie, and where the builder sees them.
    pub inputs: Vec<(PathBuf, PathBuf)>,
    /// Other files and directories of this machine.
    pub paths: Vec<SandboxPath>,
    /// The working directory as the builder sees it.
    pub build_dir: PathBuf,
    /// The greatest size of `/dev/shm`, as the option `size` of a tmpfs has it.
    pub dev_shm_size: String,
    /// Whether there is `/dev/kvm`, where this machine has one.
    pub with_kvm: bool,
    /// Whether the builder shares the network of this machine.
    pub network: bool,
    /// Whether it is a failure where root cannot give up its groups, as in a container that a user made.
    pub must_drop_groups: bool,
    /// The file with certificates of authorities, for a builder with a network. It may be missing.
    pub certificates: Option<PathBuf>,
}

impl SandboxOptions {
    /// A sandbox in a directory that is not there yet, without network, inputs and paths.
    pub fn new(chroot: impl Into<PathBuf>, store_dir: impl Into<PathBuf>) -> Self {
        Self {
            chroot: chroot.into(),
            store_dir: store_dir.into(),
            inputs: Vec::new(),
            paths: Vec::new(),
            build_dir: PathBuf::from("/build"),
            dev_shm_size: "50%".to_owned(),
            with_kvm: false,
            network: false,
            must_drop_groups: true,
            certificates: None,
        }
    }
}

/// A file or directory of this machine that a builder sees and may change as far as its user may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxPath {
    /// Where it lies.
    pub outside: PathBuf,
    /// Where the builder sees it.
    pub inside: PathBuf,
    /// Whether it may be missing.
    pub optional: bool,
}
