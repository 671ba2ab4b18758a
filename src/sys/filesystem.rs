//! Which kind of file system something lies on.

use std::path::Path;

/// Whether a file there cannot change without its time of change being set by this machine: so it is with the usual
/// file systems on disks and in memory, and not with those that other machines or programs keep, or that know no such
/// time.
#[cfg(target_os = "linux")]
pub fn keeps_change_times(path: &Path) -> bool {
    /// The numbers that the kernel has for file systems (statfs(2)).
    const KINDS: [i64; 9] = [
        0xef53,      // ext2, ext3, ext4
        0x5846_5342, // XFS
        0x9123_683e, // Btrfs
        0x0102_1994, // tmpfs
        0x794c_7630, // overlayfs
        0x2fc1_2fc1, // ZFS
        0xf2f5_2010, // F2FS
        0xca45_1a4e, // bcachefs
        0x8584_58f6, // ramfs
    ];
    // The type of the number is another on other architectures.
    #[allow(clippy::useless_conversion)]
    rustix::fs::statfs(path).is_ok_and(|status| KINDS.contains(&i64::from(status.f_type)))
}

/// The same where the kinds have no numbers that are known here.
#[cfg(not(target_os = "linux"))]
pub fn keeps_change_times(_path: &Path) -> bool {
    false
}
