//! Programs of the user's that are run around builds.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::settings::BuildSettings;
use crate::progress::Progress;
use crate::sys::interrupt::{self, Interrupted};
use crate::sys::mount;

/// Bytes of a line that are told at once; what is longer is told in pieces.
const MAX_LINE: usize = 1 << 16;
/// How long nothing may be heard before it is looked whether the work is to end.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// How a program ended that did not do well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HookError {
    /// It failed, and said why in its own words.
    #[error("program \"{program}\" failed with exit code {status}")]
    Failed {
        /// The program.
        program: String,
        /// Its status.
        status: i32,
    },
    /// It was told to end, and has ended.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Runs the program `hook` after a build, in the environment and the directory of this process; what it prints
/// is told line by line. `drv_path` and `out_paths` are full paths.
///
/// # Errors
/// [`HookError`].
pub fn post_build(
    settings: &BuildSettings,
    hook: &Path,
    drv_path: &str,
    out_paths: &[String],
    progress: &dyn Progress,
) -> Result<(), HookError> {
    let failed = |status| HookError::Failed { program: hook.display().to_string(), status };
    let not_run = |error: std::io::Error| {
        let error = crate::sys::PathError::new("executing", hook, error);
        progress.post_build_line(&format!("error: {error}"));
        failed(1)
    };
    let (mut said, say) = std::io::pipe().map_err(not_run)?;
    let mut command = Command::new(hook);
    command.env("DRV_PATH", drv_path).env("OUT_PATHS", out_paths.join(" "));
    command.env("NIX_CONFIG", &settings.config).stdin(Stdio::null());
    command.stdout(say.try_clone().map_err(not_run)?).stderr(say);
    let mut child = mount::outside(&mut command).spawn().map_err(not_run)?;
    // The ends of the pipe that it writes to are its own now.
    drop(command);
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    let heard = loop {
        if let Err(interrupted) = interrupt::check() {
            break Err(interrupted);
        }
        match poll(&mut [PollFd::new(&said, PollFlags::IN)], Some(&LOOK)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) | Err(_) => {}
        }
        let count = match said.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            // Nothing more is heard of it; its status counts.
            Err(_) => break Ok(()),
        };
        for byte in &buffer[..count] {
            if *byte == b'\n' || line.len() >= MAX_LINE {
                progress.post_build_line(&String::from_utf8_lossy(&std::mem::take(&mut line)));
            }
            if *byte != b'\n' {
                line.push(*byte);
            }
        }
    };
    if let Err(interrupted) = heard {
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
        return Err(interrupted.into());
    }
    if !line.is_empty() {
        progress.post_build_line(&String::from_utf8_lossy(&line));
    }
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(status.code().unwrap_or(1))),
        Err(error) => Err(not_run(error)),
    }
}
