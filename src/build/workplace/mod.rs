//! Where a builder works: directories that are made for it and removed after it, its user, and what
//! it sees of the machine.

mod directories;
mod options;
mod root;
mod sandbox;
pub mod users;

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::error::BuildError;
use super::log::LogWriter;
use super::process::{Builder, Ended, Program};
use crate::progress::{ActivityId, Progress};
use crate::sys::child::{self, Action, Child, Executable, Namespaces, Plan, Step};
use crate::sys::seccomp::Filter;
use crate::sys::{PathError, pty};
use directories::{Owner, WorkingDirectory};
pub use options::{Isolation, SandboxOptions, SandboxPath, WorkplaceOptions};
use root::Root;

/// The place of one build. Its directories are removed with it, unless they are [kept](Self::keep).
#[derive(Debug)]
pub struct Workplace {
    options: WorkplaceOptions,
    work: WorkingDirectory,
    sandbox: Option<Sandbox>,
    inside: PathBuf,
    outputs_in: PathBuf,
}

/// The directory of a sandbox.
#[derive(Debug)]
struct Sandbox {
    chroot: PathBuf,
    root: Root,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Somebody who wants to know calls `Workplace::close`. What stays is removed by the next build of
        // the derivation, or a collection.
        let _ = directories::remove_chroot(&self.chroot);
    }
}

impl Workplace {
    /// Makes the directories of a build.
    ///
    /// # Errors
    /// What could not be made, or is not safe.
    pub fn make(options: WorkplaceOptions) -> Result<Self, BuildError> {
        let owner = owner(&options);
        let in_sandbox = matches!(options.isolation, Isolation::Sandbox(_));
        let work = WorkingDirectory::make(&options.build_dir, owner, in_sandbox)?;
        let (sandbox, inside, outputs_in) = match &options.isolation {
            Isolation::Host => (None, work.work_path().to_owned(), options.store_dir.clone()),
            Isolation::Sandbox(sandbox) => {
                if !sandbox.build_dir.is_absolute() {
                    return Err(BuildError::NotAbsolute(sandbox.build_dir.clone()));
                }
                let handle = directories::make_chroot(&sandbox.chroot)?;
                let root = Root::make(&handle, &sandbox.chroot, owner)?;
                let outputs_in = root.outside(&sandbox.store_dir);
                let made = Sandbox { chroot: sandbox.chroot.clone(), root };
                (Some(made), sandbox.build_dir.clone(), outputs_in)
            }
        };
        Ok(Self { options, work, sandbox, inside, outputs_in })
    }

    /// The working directory as the builder sees it.
    pub fn inside(&self) -> &Path {
        &self.inside
    }

    /// The real directory in which the store paths lie that the builder writes.
    pub fn outputs_in(&self) -> &Path {
        &self.outputs_in
    }

    /// The root of the sandbox.
    pub fn root(&self) -> Option<&Path> {
        self.sandbox.as_ref().map(|sandbox| sandbox.root.path())
    }

    /// Adds to what the builder will see of this machine; without a sandbox it sees that anyway.
    pub fn add_path(&mut self, path: SandboxPath) {
        if let Isolation::Sandbox(options) = &mut self.options.isolation {
            options.paths.push(path);
        }
    }

    /// Sets up what the builder sees and starts it. What it prints waits until it is
    /// [watched](Builder::watch).
    ///
    /// # Errors
    /// [`BuildError::SetUp`], a [`PathError`], and an interruption. A builder that cannot be executed is none of
    /// these.
    pub fn start(&mut self, program: &Program<'_>) -> Result<Builder<'_>, BuildError> {
        let owner = owner(&self.options);
        for file in program.files {
            self.work.add(file, owner).map_err(BuildError::SetUp)?;
        }
        let terminal = pty::open().map_err(|error| PathError::new("opening", "/dev/ptmx", error))?;
        // Programs open their output anew by its name in /proc.
        directories::give(&terminal.program, owner, Path::new("/dev/pts"))?;
        let executable = executable(program)?;
        let name = String::from_utf8_lossy(program.builder).into_owned();
        let steps = self.steps(owner).map_err(BuildError::SetUp)?;
        let (namespaces, users) = match &self.options.isolation {
            Isolation::Host => (Namespaces::default(), None),
            Isolation::Sandbox(options) => {
                (sandbox::namespaces(options.network), Some(sandbox::users(owner)))
            }
        };
        let plan = Plan {
            namespaces,
            users,
            owner: self.options.user.as_ref().map(users::BuildUser::uid),
            steps,
            program: Some(executable),
            input: nothing()?,
            output: terminal.program,
        };
        Ok(Builder::new(Child::start(plan).map_err(BuildError::of_child)?, terminal.reader, name))
    }

    /// All that a child does before it becomes the builder.
    fn steps(&self, owner: Owner) -> Result<Vec<Step>, PathError> {
        let of = |action, operation| Step::new(action, operation, "/proc/self");
        let mut steps = vec![of(Action::Umask(0o022), "setting the umask of")];
        // Before the user changes: without the rights of root, a filter needs what is set first.
        let mut restrictions = Vec::new();
        if !self.options.allow_new_privileges {
            restrictions.push(of(Action::NoNewPrivileges, "giving up new privileges of"));
        }
        // Without that, only root may.
        let may_restrict = !self.options.allow_new_privileges || rustix::process::geteuid().is_root();
        if child::can_keep_to_itself() && (may_restrict || self.sandbox.is_some()) {
            restrictions.push(of(Action::KeepToItself, "restricting"));
        }
        if self.options.filter_syscalls {
            let filter = Filter::new(self.sandbox.is_none())
                .ok_or_else(|| PathError::new("filtering system calls of", "/proc/self", NO_FILTER))?;
            restrictions.push(of(Action::Filter(filter), "filtering system calls of"));
        }
        match (&self.options.isolation, &self.sandbox) {
            (Isolation::Sandbox(options), Some(sandbox)) => {
                let mounts = sandbox::furnish(&sandbox.root, options, self.work.work_path(), owner)?;
                steps.extend(sandbox::opening(options.network));
                steps.extend(sandbox::mounted(&sandbox.root, mounts)?);
                steps.extend(restrictions);
                steps.extend(sandbox::closing(options.must_drop_groups));
            }
            _ => {
                steps.extend(restrictions);
                if let Some((user, group)) = owner {
                    steps.push(of(Action::NoGroups, "clearing the groups of"));
                    steps.push(of(Action::Ids(user, group), "setting the user of"));
                }
            }
        }
        steps.push(of(Action::SessionKeys, "making a keyring for"));
        let bits32 = if self.options.bits32 { PER_LINUX32 } else { 0 };
        steps.push(of(Action::Personality(ADDR_NO_RANDOMIZE | bits32), "setting the personality of"));
        let directory = Action::Directory(sandbox::text(&self.inside)?);
        steps.push(Step::new(directory, "changing into", &self.inside));
        Ok(steps)
    }

    /// Runs a function of ours in place of a builder, in this process and as its user: `work` gets
    /// the real working directory and the directory of [`Workplace::outputs_in`]. The text of its error is a
    /// line of the log.
    ///
    /// # Errors
    /// Errors of the log, and an interruption.
    pub fn run_builtin(
        &mut self,
        work: impl FnOnce(&Path, &Path) -> Result<(), String>,
        log: &mut LogWriter,
        told: &dyn Progress,
        activity: ActivityId,
    ) -> Result<Ended, BuildError> {
        crate::sys::interrupt::check()?;
        if let Isolation::Sandbox(options) = &self.options.isolation
            && let Some(sandbox) = &self.sandbox
        {
            sandbox.root.directory(&options.store_dir).map_err(BuildError::SetUp)?;
        }
        let done = work(self.work.work_path(), &self.outputs_in);
        crate::sys::interrupt::check()?;
        match done {
            Ok(()) => Ok(Ended::Exited(0)),
            Err(text) => {
                log.write(format!("error: {text}\n").as_bytes(), told, activity)?;
                Ok(Ended::Exited(1))
            }
        }
    }

    /// Leaves the working directory where it is, for everybody to read, and says where.
    ///
    /// # Errors
    /// A [`PathError`]; the directory is kept all the same.
    pub fn keep(mut self) -> Result<PathBuf, BuildError> {
        Ok(self.work.keep()?.to_owned())
    }

    /// Removes the directories, as dropping it does, and says if that fails.
    ///
    /// # Errors
    /// A [`PathError`].
    pub fn close(mut self) -> Result<(), BuildError> {
        self.work.remove()?;
        if let Some(sandbox) = &self.sandbox {
            directories::remove_chroot(&sandbox.chroot)?;
        }
        Ok(())
    }
}

const NO_FILTER: rustix::io::Errno = rustix::io::Errno::OPNOTSUPP;

/// Addresses are the same in each run.
const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;
/// The machine says that it has 32 bits.
const PER_LINUX32: u32 = 0x0008;

fn owner(options: &WorkplaceOptions) -> Owner {
    options.user.as_ref().map(|user| (user.uid(), user.gid()))
}

/// What a builder can read from its standard input.
fn nothing() -> Result<OwnedFd, PathError> {
    rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(PathError::at("opening file", "/dev/null"))
}

fn executable(program: &Program<'_>) -> Result<Executable, BuildError> {
    let shown = Path::new(std::ffi::OsStr::from_bytes(program.builder));
    let text = |bytes: &[u8]| {
        CString::new(bytes)
            .map_err(|_| BuildError::SetUp(PathError::new("executing", shown, rustix::io::Errno::INVAL)))
    };
    let name = program.builder.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let args = std::iter::once(name).chain(program.args.iter().map(Vec::as_slice)).map(text);
    let variables = program.env.iter().map(|(name, value)| [name, b"=".as_slice(), value].concat());
    Ok(Executable {
        path: text(program.builder)?,
        args: args.collect::<Result<_, _>>()?,
        env: variables.map(|variable| text(&variable)).collect::<Result<_, _>>()?,
    })
}

/// Whether sandboxes can be made here, and why not.
///
/// # Errors
/// [`BuildError::SetUp`] with what is refused.
pub fn sandbox_available() -> Result<(), BuildError> {
    let plan = Plan {
        namespaces: sandbox::namespaces(false),
        users: Some(sandbox::users(None)),
        owner: None,
        steps: sandbox::trial().map_err(BuildError::SetUp)?,
        program: None,
        input: nothing()?,
        output: nothing()?,
    };
    Child::start(plan).and_then(Child::end).map(drop).map_err(BuildError::of_child)
}
