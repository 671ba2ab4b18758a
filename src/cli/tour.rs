//! `nival tour`: the main job on real input, on stores of its own in a
//! temporary directory. Each step is a command line as a user would type it,
//! run by the shell, with its real output.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ::nival::sys::PathError;

use super::PROGRAMS;
use crate::cli::output::streams::{Out, stdout_file};

/// What is told before each step, and the step.
const STEPS: &[(&str, &str)] = &[
    ("A tree of files goes into the store; its path follows from its contents.", "nix-store --add project"),
    ("The same contents give the same path, and cost no space.", "nix-store --add project"),
    (
        "A file by a hash of one's choice, and the path that such a file has.",
        "nix-store --add-fixed sha256 project/README",
    ),
    ("", "nix-store --print-fixed-path sha256 $(nix-hash --flat --type sha256 project/README) README"),
    ("What the database knows of the tree.", "nix-store -q --hash $(nix-store --add project)"),
    ("", "nix-store -q --size $(nix-store --add project)"),
    (
        "A path that refers to another: registered with its reference, and drawn as a tree.",
        "P=$(nix-store --add project); W=$(nix-store --print-fixed-path --recursive sha1 $(nix-hash --type sha1 project) wrapper)\n\
      mkdir -p $W/bin; printf '#!/bin/sh\\nexec sh %s/bin/hello\\n' $P > $W/bin/run; chmod +x $W/bin/run\n\
      printf '%s\\n\\n1\\n%s\\n' $W $P | nix-store --register-validity\n\
      nix-store -q --tree $W | tee ../tree",
    ),
    (
        "Everything is on disk as it was registered.",
        "nix-store --verify --check-contents && echo all is well",
    ),
    (
        "The wrapper and all it needs leave as one stream …",
        "nix-store --export $(nix-store -qR $(head -n 1 ../tree)) > ../closure; ls -l ../closure | awk '{print $5, \"bytes\"}'",
    ),
    ("… and arrive in another store.", "nix-store --store \"$OTHER\" --import < ../closure"),
    (
        "Both stores say the same of it.",
        "nix-store --dump-db $(nix-store -qR $(head -n 1 ../tree)) > ../here\n\
      nix-store --store \"$OTHER\" --dump-db > ../there; sort ../here > ../h; sort ../there > ../t; cmp ../h ../t && echo equal",
    ),
    (
        "And it works from there.",
        "sed \"s|$NIX_STORE_DIR|$OTHER/nix/store|\" \"$OTHER/nix/store/$(basename $(head -n 1 ../tree))/bin/run\" | sh",
    ),
    (
        "A key; and the closure goes, compressed and signed, into a binary cache.",
        "nix key generate-secret --key-name tour-1 > ../key\n\
      nix copy --to \"file://$HOME/cache?compression=zstd&secret-key=$HOME/../key\" $(head -n 1 ../tree)\n\
      cat ~/cache/*.narinfo | grep -v Sig; nix path-info --store file://$HOME/cache -rsS $(head -n 1 ../tree)",
    ),
    (
        "Whoever trusts the key takes it from there; nobody else does.",
        "nix copy --from file://$HOME/cache --to ../third $(head -n 1 ../tree) || echo exit status $?\n\
      KEY=$(nix key convert-secret-to-public < ../key)\n\
      nix copy --from file://$HOME/cache --to ../third $(head -n 1 ../tree) --option trusted-public-keys $KEY\n\
      nix store verify --store ../third --all --option trusted-public-keys $KEY && echo undamaged and signed",
    ),
    (
        "Damage is found.",
        "F=$OTHER/nix/store/$(basename $(nix-store --add project))/data; chmod u+w $F; echo changed > $F\n\
      nix-store --store \"$OTHER\" --verify --check-contents || echo exit status $?",
    ),
    (
        "The first store has the contents still; the damaged path gets them back.",
        "nix-store --store \"$OTHER\" --repair-path $(nix-store --add project) \\\n\
      --option substituters \"local?real=$NIX_STORE_DIR&state=$NIX_STATE_DIR\" && echo repaired",
    ),
    (
        "A symlink becomes a root; it keeps the wrapper, and that keeps the tree.",
        "nix-store --realise $(head -n 1 ../tree) --add-root ../result; nix-store --gc --print-roots",
    ),
    ("", "nix-store --gc --why-alive $(nix-store --add project)"),
    (
        "A profile: a directory of links to what is installed, with a history.",
        "nix-env -i $(nix-store --add project) $(head -n 1 ../tree); nix-env -q --out-path; ls -l ~/.nix-profile/",
    ),
    ("", "nix-env -e wrapper; nix-env --list-generations; nix-env --rollback; nix-env -q"),
    ("What nothing keeps can go.", "nix-store --gc --dry-run"),
    ("", "nix-store --gc"),
    ("Without its roots everything goes.", "rm ../result; nix-env -e '.*'; nix-collect-garbage -d"),
];

/// Runs it; the directory is left there with `keep`.
///
/// # Errors
/// Files that cannot be made; a step that fails.
pub fn run(keep: bool, program: &Path) -> anyhow::Result<()> {
    let root = tempfile::Builder::new().prefix("nival-tour-").tempdir().map_err(|error| {
        let dir = std::env::temp_dir();
        let reason = ::nival::sys::errno_text(&error);
        anyhow::anyhow!(
            "'{}' cannot be used for temporary files: {reason}; set TMPDIR to a directory",
            dir.display()
        )
    })?;
    let root = root.keep();
    let result = Tour { root: root.clone(), program: program.to_owned() }.walk();
    if keep {
        writeln!(stdout_file(), "\nEverything is still in {}", root.display())?;
    } else {
        ::nival::sys::remove::remove(&root)?;
    }
    result
}

struct Tour {
    root: PathBuf,
    program: PathBuf,
}

impl Tour {
    fn walk(&self) -> anyhow::Result<()> {
        self.prepare()?;
        let mut out = Out::new();
        out.line(format_args!("$ export NIX_STORE_DIR={}", self.root.join("store").display()))?;
        out.line(format_args!("$ export NIX_STATE_DIR={}", self.root.join("var").display()))?;
        out.line(format_args!("$ OTHER={}", self.root.join("other").display()))?;
        out.finish()?;
        STEPS.iter().try_for_each(|(about, step)| self.step(about, step))
    }

    fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        let path = self.root.join(path);
        let dir = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(dir).map_err(PathError::at("creating directory", dir))?;
        std::fs::write(&path, text).map_err(PathError::at("writing file", &path))?;
        Ok(())
    }

    /// A tree to add, and links to this program by all its names.
    fn prepare(&self) -> anyhow::Result<()> {
        self.write("work/project/README", "A small project.\n")?;
        self.write("work/project/bin/hello", "echo Hello from the store\n")?;
        self.write("work/project/data", &"0123456789abcdef\n".repeat(4096))?;
        std::os::unix::fs::symlink("../README", self.root.join("work/project/bin/README"))?;
        std::fs::create_dir_all(self.root.join("home"))?;
        let bin = self.root.join("bin");
        std::fs::create_dir_all(&bin)?;
        let program = &self.program;
        for (name, _) in PROGRAMS {
            std::os::unix::fs::symlink(program, bin.join(name))?;
        }
        Ok(())
    }

    fn step(&self, about: &str, step: &str) -> anyhow::Result<()> {
        let mut out = Out::new();
        out.line("")?;
        if !about.is_empty() {
            out.line(format_args!("# {about}"))?;
        }
        for line in step.lines() {
            out.line(format_args!("$ {}", line.trim_start()))?;
        }
        out.finish()?;
        let mut shell = Command::new("/bin/sh");
        // Both streams where the user looks, in the order they come.
        shell.arg("-ec").arg(step).stdin(std::process::Stdio::null());
        shell.stderr(stdout_file().try_clone()?);
        shell.current_dir(self.root.join("work"));
        shell.env_clear().env("PATH", format!("{}:/usr/bin:/bin", self.root.join("bin").display()));
        for (name, dir) in [
            ("HOME", "home"),
            ("NIX_STORE_DIR", "store"),
            ("NIX_STATE_DIR", "var"),
            ("NIX_LOG_DIR", "log"),
            ("NIX_CONF_DIR", "etc"),
            ("OTHER", "other"),
        ] {
            shell.env(name, self.root.join(dir));
        }
        // The tour builds nothing, so the users to build as do not matter.
        shell.env("NIX_CONFIG", "build-users-group =");
        let status = shell.status()?;
        anyhow::ensure!(status.success(), "the step ended with {status}");
        Ok(())
    }
}
