//! A private world for each test: its own store, home and configuration, a
//! cleared environment, and the programs under their own names.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a program did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Exit status; 128 + N for signal N.
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Outcome {
    /// Standard output as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// The lines of standard output.
    pub fn lines(&self) -> Vec<&str> {
        self.text().lines().collect()
    }

    /// The only line of standard output, after checking that all went well.
    pub fn line(&self) -> String {
        self.ok();
        assert_eq!(self.lines().len(), 1, "{self:?}");
        self.lines()[0].to_owned()
    }

    /// Checks that all went well.
    #[track_caller]
    pub fn ok(&self) -> &Self {
        assert_eq!(self.status, 0, "{}", self.stderr);
        self
    }

    /// Checks that it failed with status 1 and the given first line.
    #[track_caller]
    pub fn fails(&self, message: &str) -> &Self {
        assert_eq!(self.status, 1, "{self:?}");
        assert_eq!(self.stderr.lines().next().unwrap_or_default(), message);
        self
    }
}

/// Which implementation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Nival,
    Reference,
    /// Nix 2.8, which speaks older versions of the protocols.
    OldReference,
}

/// A private world.
pub struct World {
    root: tempfile::TempDir,
    pub variables: Vec<(String, String)>,
}

impl Drop for World {
    fn drop(&mut self) {
        // Stores hold read-only directories, of any depth.
        nival::sys::remove::remove(self.root.path()).unwrap();
    }
}

impl World {
    /// An empty world whose store is opened by the first command.
    pub fn new() -> Self {
        let root = tempfile::Builder::new().prefix("nival-it-").tempdir().unwrap();
        let world = Self { root, variables: Vec::new() };
        for dir in ["etc", "home", "bin", "src"] {
            std::fs::create_dir(world.path(dir)).unwrap();
        }
        world.write("etc/nix.conf", CONF);
        for program in [
            "nival",
            "nix-store",
            "nix-hash",
            "nix",
            "nix-env",
            "nix-build",
            "nix-collect-garbage",
            "nix-copy-closure",
            "nix-daemon",
            "nix-shell",
            "nix-channel",
            "nix-prefetch-url",
            "nix-instantiate",
        ] {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_nival"), world.path("bin").join(program)).unwrap();
        }
        world
    }

    /// A world where the reference can run too; `None` (with a word why) where
    /// it is not installed.
    pub fn with_reference() -> Option<Self> {
        reference().map(|_| Self::new())
    }

    /// A path in the world.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(path)
    }

    /// A path in the world as text.
    pub fn text(&self, path: impl AsRef<Path>) -> String {
        self.path(path).to_str().unwrap().to_owned()
    }

    /// The store directory.
    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Writes a file and the directories above it.
    pub fn write(&self, path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, contents).unwrap();
        path
    }

    /// Where the programs of one side lie.
    pub fn programs(&self, side: Side) -> PathBuf {
        match side {
            Side::Nival => self.path("bin"),
            Side::Reference => reference().expect("checked by the test").join("bin"),
            Side::OldReference => old_reference().expect("checked by the test").join("bin"),
        }
    }

    /// A program of one side, with this world's environment.
    pub fn command(&self, side: Side, program: &str) -> Command {
        let directory = self.programs(side);
        let mut command = Command::new(directory.join(program));
        command.env_clear().current_dir(self.root.path()).stdin(Stdio::null());
        command.env("PATH", "/usr/bin:/bin").env("HOME", self.path("home"));
        for (name, dir) in [("STORE", "store"), ("STATE", "var"), ("LOG", "log"), ("CONF", "etc")] {
            command.env(format!("NIX_{name}_DIR"), self.path(dir));
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a program.
    pub fn run(&self, side: Side, program: &str, args: &[impl AsRef<OsStr>]) -> Outcome {
        self.run_with_input(side, program, args, &[])
    }

    /// Runs a program with something on its standard input.
    pub fn run_with_input(
        &self,
        side: Side,
        program: &str,
        args: &[impl AsRef<OsStr>],
        input: &[u8],
    ) -> Outcome {
        loop {
            let mut command = self.command(side, program);
            command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            let output = std::thread::scope(|scope| {
                // A program may end without reading everything.
                scope.spawn(move || drop(stdin.write_all(input)));
                child.wait_with_output().unwrap()
            });
            let outcome = outcome(output);
            // Behind a daemon or ssh it may be the reference that is disturbed.
            let behind = outcome.stderr.contains("error: reading symlink: File name too long");
            if !behind && (side == Side::Nival || !is_disturbed(&outcome)) {
                return outcome;
            }
        }
    }

    /// Our program.
    pub fn nival(&self, program: &str, args: &[impl AsRef<OsStr>]) -> Outcome {
        self.run(Side::Nival, program, args)
    }

    /// Our `nix-store`.
    pub fn nix_store(&self, args: &[impl AsRef<OsStr>]) -> Outcome {
        self.nival("nix-store", args)
    }
}

/// Settings of every world; the reference needs some of them.
const CONF: &str = "experimental-features = nix-command
build-users-group =
substituters =
sandbox = false
";

/// Whether the reference gave up, before it had done anything, because another
/// test's program stands in a directory deeper than any path.
pub fn is_disturbed(outcome: &Outcome) -> bool {
    outcome.status != 0
        && outcome.stderr.contains("reading symlink '\"/proc/")
        && outcome.stderr.contains("File name too long")
}

/// What came of a finished program.
pub fn outcome(output: std::process::Output) -> Outcome {
    use std::os::unix::process::ExitStatusExt as _;
    let status = output.status;
    Outcome {
        status: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Says that a test, or a part of one, is left out, and why. `tests/run` counts
/// and shows what was left out; the harness would hide it.
pub fn skip(why: &str) {
    let thread = std::thread::current();
    let line = format!("{}: {why}", thread.name().unwrap_or("a test"));
    eprintln!("skipped: {line}");
    if let Some(file) = std::env::var_os("NIVAL_SKIPPED") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}

/// [`skip`], for what `tests/run` would have installed: a failure in continuous
/// integration.
pub fn skip_missing(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    skip(why);
}

/// Where the old reference is installed.
pub fn old_reference() -> Option<PathBuf> {
    let dir = std::env::var_os("NIVAL_OLD_REFERENCE").map(PathBuf::from);
    if dir.is_none() {
        skip_missing("NIVAL_OLD_REFERENCE is not set, so there is no old reference to speak with");
    }
    dir
}

/// Where the reference is installed.
pub fn reference() -> Option<PathBuf> {
    match std::env::var_os("NIVAL_REFERENCE") {
        Some(dir) => Some(PathBuf::from(dir)),
        None => {
            skip_missing("NIVAL_REFERENCE is not set, so there is no reference to compare with");
            None
        }
    }
}
