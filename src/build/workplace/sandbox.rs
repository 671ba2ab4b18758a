//! What a builder sees of the machine: its root is made of files of ours and of places where the rest is
//! mounted.
//!
//! The mounts are made in namespaces of the child's own. Where we are root they belong to root: the builder
//! becomes a member of its user namespace only after they are made, so it has no rights over them, whatever rights
//! it gets in namespaces that it makes itself. Another user has to be in that namespace first; then the builder
//! loses its rights over the mounts when it becomes a program, and can gain none.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::directories::Owner;
use super::options::{SandboxOptions, SandboxPath};
use super::root::Root;
use crate::sys::PathError;
use crate::sys::child::{Action, Namespaces, Step, Users};

/// Who the builder is in its sandbox.
pub(super) const USER: u32 = 1000;
/// Its group there.
pub(super) const GROUP: u32 = 100;

const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";
const GROUPS: &str = "root:x:0:\nnixbld:!:100:\nnogroup:x:65534:\n";
/// Where names of machines come from, for a builder with a network.
const NAMES: &str = "hosts: files dns\nservices: files\n";
/// What a builder with a network needs to know of it.
const NETWORK_FILES: [&str; 3] = ["/etc/resolv.conf", "/etc/services", "/etc/hosts"];
const DEVICES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];

/// The namespaces of a builder.
pub(super) fn namespaces(network: bool) -> Namespaces {
    Namespaces { isolated: true, network: !network, user: !is_root() }
}

/// Who there is in the namespace of a builder.
pub(super) fn users(owner: Owner) -> Users {
    let ours = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Users { inside: (USER, GROUP), outside: owner.unwrap_or(ours) }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes everything that lies in the root before mounting, and tells what is to be mounted.
pub(super) fn furnish(
    root: &Root,
    options: &SandboxOptions,
    work: &Path,
    owner: Owner,
) -> Result<Vec<Step>, PathError> {
    let mut mounts = Mounts { root, steps: Vec::new() };
    root.directory_of(Path::new("/tmp"), 0o1777, None)?;
    root.directory_of(&options.store_dir, 0o1775, owner.map(|(_, group)| (0, group)))?;
    accounts(root, options)?;
    for (outside, inside) in &options.inputs {
        mounts.show(outside, inside, Access::ReadOnly)?;
    }
    if options.network {
        for path in NETWORK_FILES.map(Path::new).into_iter().chain(options.certificates.as_deref()) {
            // What a link stands for: the place that it names is not there inside.
            if let Ok(real) = std::fs::canonicalize(path) {
                mounts.show(&real, path, Access::ReadOnly)?;
            }
        }
    }
    for path in in_order(&options.paths) {
        match std::fs::symlink_metadata(&path.outside) {
            Err(error) if path.optional && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(PathError::new("getting attributes of path", &path.outside, error)),
            Ok(_) => mounts.show(&path.outside, &path.inside, Access::AsOutside)?,
        }
    }
    mounts.show(work, &options.build_dir, Access::AsOutside)?;
    devices(&mut mounts, options)?;
    processes(&mut mounts, owner)?;
    // What is to be in it is there.
    root.directory_of(Path::new("/etc"), 0o555, None)?;
    Ok(mounts.steps)
}

fn accounts(root: &Root, options: &SandboxOptions) -> Result<(), PathError> {
    let home = options.build_dir.display();
    let passwd = format!(
        "root:x:0:0:Nix build user:{home}:/noshell\n\
         nixbld:x:{USER}:{GROUP}:Nix build user:{home}:/noshell\n\
         nobody:x:65534:65534:Nobody:/:/noshell\n"
    );
    root.file(Path::new("/etc/passwd"), passwd.as_bytes())?;
    root.file(Path::new("/etc/group"), GROUPS.as_bytes())?;
    let (name, contents) =
        if options.network { ("/etc/nsswitch.conf", NAMES) } else { ("/etc/hosts", HOSTS) };
    root.file(Path::new(name), contents.as_bytes())
}

/// Directories before what lies in them.
fn in_order(paths: &[SandboxPath]) -> Vec<&SandboxPath> {
    let mut paths: Vec<_> = paths.iter().collect();
    paths.sort_by(|a, b| a.inside.cmp(&b.inside));
    paths
}

fn devices(mounts: &mut Mounts<'_>, options: &SandboxOptions) -> Result<(), PathError> {
    let root = mounts.root;
    let dev = Path::new("/dev");
    for name in DEVICES {
        mounts.show(&dev.join(name), &dev.join(name), Access::AsOutside)?;
    }
    let kvm = dev.join("kvm");
    if options.with_kvm && std::fs::metadata(&kvm).is_ok_and(|meta| meta.file_type().is_char_device()) {
        mounts.show(&kvm, &kvm, Access::AsOutside)?;
    }
    for (name, target) in [
        ("ptmx", "/dev/pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        root.link(&dev.join(name), Path::new(target))?;
    }
    let harmless = MountFlags::NOSUID | MountFlags::NOEXEC;
    mounts.file_system("devpts", "/dev/pts", harmless, "newinstance,mode=0620,ptmxmode=0666")?;
    let size = format!("mode=1777,size={}", options.dev_shm_size);
    mounts.file_system("tmpfs", "/dev/shm", MountFlags::NOSUID | MountFlags::NODEV, &size)
}

fn processes(mounts: &mut Mounts<'_>, owner: Owner) -> Result<(), PathError> {
    let harmless = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mounts.file_system("proc", "/proc", harmless, "")?;
    // To root outside belong the settings of the kernel, and it takes no capability to change most of them.
    if is_root() && owner.is_none_or(|(user, _)| user == 0) {
        for name in settings_of_the_kernel()? {
            let inside = Path::new("/proc").join(name);
            mounts.step(Action::ReadOnly(relative(&inside)?), "protecting", &inside);
        }
    }
    Ok(())
}

/// What in `/proc` is about no process and can be written by its owner.
fn settings_of_the_kernel() -> Result<Vec<std::ffi::OsString>, PathError> {
    use std::os::unix::fs::PermissionsExt as _;
    let error = |operation| PathError::at(operation, "/proc");
    let mut names = Vec::new();
    for entry in std::fs::read_dir("/proc").map_err(error("reading directory"))? {
        let entry = entry.map_err(error("reading directory"))?;
        let name = entry.file_name();
        let is_process = name.as_bytes().iter().all(u8::is_ascii_digit);
        // A process may have ended.
        let Ok(meta) = entry.metadata() else { continue };
        let can_be_written = meta.is_file() && meta.permissions().mode() & 0o200 != 0;
        if !is_process && (meta.is_dir() || can_be_written) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What a builder may do to something of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    ReadOnly,
    /// What its user may do there.
    AsOutside,
}

struct Mounts<'r> {
    root: &'r Root,
    steps: Vec<Step>,
}

impl Mounts<'_> {
    /// Shows a file or directory of this machine. A link is copied.
    fn show(&mut self, outside: &Path, inside: &Path, access: Access) -> Result<(), PathError> {
        let error = |operation| PathError::at(operation, outside);
        let meta = std::fs::symlink_metadata(outside).map_err(error("getting attributes of path"))?;
        if meta.is_symlink() {
            let target = std::fs::read_link(outside).map_err(error("reading symlink"))?;
            return self.root.link(inside, &target);
        }
        self.root.place(inside, meta.is_dir())?;
        let action = Action::Bind {
            source: text(outside)?,
            target: relative(inside)?,
            read_only: access == Access::ReadOnly,
        };
        self.step(action, "bind mounting", outside);
        Ok(())
    }

    fn file_system(
        &mut self,
        kind: &str,
        inside: &str,
        flags: MountFlags,
        options: &str,
    ) -> Result<(), PathError> {
        let inside = Path::new(inside);
        self.root.directory(inside)?;
        let target = relative(inside)?;
        let (kind, options) = (text(Path::new(kind))?, text(Path::new(options))?);
        self.step(Action::Mount { kind, target, flags, options }, "mounting", inside);
        Ok(())
    }

    fn step(&mut self, action: Action, operation: &'static str, path: &Path) {
        self.steps.push(Step::new(action, operation, path));
    }
}

/// A path for the system.
pub(super) fn text(path: &Path) -> Result<CString, PathError> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| PathError::new("getting attributes of path", path, Errno::INVAL))
}

/// A path inside, relative to the root.
fn relative(inside: &Path) -> Result<CString, PathError> {
    let parts = inside.components().filter(|part| matches!(part, Component::Normal(_)));
    text(&parts.collect::<PathBuf>())
}

/// A step that takes no path.
fn plain(action: Action, operation: &'static str) -> Step {
    Step::new(action, operation, "/proc/self")
}

/// What comes before the mounts.
pub(super) fn opening(network: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    if !is_root() {
        steps.push(plain(Action::UserNamespace(false), "writing the user map of"));
    }
    if !network {
        steps.push(plain(Action::Loopback, "starting the loopback interface for"));
    }
    steps.push(plain(Action::HostName, "setting the host name for"));
    steps.push(Step::new(Action::PrivateMounts, "making private the mount", "/"));
    steps
}

/// What comes after them: the builder becomes its user.
pub(super) fn closing(must_drop_groups: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    if is_root() {
        if must_drop_groups || can_drop_groups() {
            steps.push(plain(Action::NoGroups, "clearing the groups of"));
        }
        steps.push(plain(Action::UserNamespace(true), "making a user namespace for"));
    }
    steps.push(plain(Action::Ids(USER, GROUP), "setting the user of"));
    steps
}

/// Whether the namespace that we are in lets root change its groups.
fn can_drop_groups() -> bool {
    std::fs::read("/proc/self/setgroups").is_ok_and(|answer| answer.trim_ascii() == b"allow")
}

/// The root and everything in it, seen by the child.
pub(super) fn mounted(root: &Root, mounts: Vec<Step>) -> Result<Vec<Step>, PathError> {
    let mut steps = vec![Step::new(Action::Root(text(root.path())?), "bind mounting", root.path())];
    steps.extend(mounts);
    steps.push(Step::new(Action::Enter, "changing the root directory to", root.path()));
    Ok(steps)
}

/// The steps of a child that tries whether all of this is possible here.
pub(super) fn trial() -> Result<Vec<Step>, PathError> {
    let mut steps = opening(false);
    let (kind, target, options) = (text(Path::new("proc"))?, text(Path::new("/proc"))?, CString::default());
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    steps.push(Step::new(Action::Mount { kind, target, flags, options }, "mounting", "/proc"));
    steps.extend(closing(false));
    Ok(steps)
}
