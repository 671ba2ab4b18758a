//! Is an output there, and its builder's own?

use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType};
use rustix::io::Errno;

use super::OutputsError;
use super::plan::OutputPlan;
use crate::sys::PathError;

/// Looks at the output itself; what is below it is looked at when it is read.
pub fn check(
    plan: &OutputPlan<'_>,
    output: &str,
    real: &Path,
    owner: Option<u32>,
) -> Result<(), OutputsError> {
    let stat = match rustix::fs::statat(CWD, real, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => {
            return Err(OutputsError::Missing {
                drv: plan.drv(),
                output: output.to_owned(),
                path: real.to_owned(),
            });
        }
        other => other.map_err(PathError::at("getting attributes of path", real))?,
    };
    let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    let others_may_write = !is_link && stat.st_mode & 0o022 != 0;
    if others_may_write || owner.is_some_and(|owner| owner != stat.st_uid) {
        return Err(OutputsError::Suspicious { path: real.to_owned(), output: output.to_owned() });
    }
    Ok(())
}
