//! What a long operation tells whoever watches. The library never prints: it
//! calls this trait, and a program decides what becomes of it.

use std::sync::Arc;

/// What the numbers of a running task count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Paths, rows, files.
    Items,
}

/// Somebody who watches. Every method does nothing unless it is overridden.
pub trait Progress: Send + Sync {
    /// Something every user should read, in one line.
    fn notice(&self, text: &str) {
        let _ = text;
    }

    /// As [`Progress::notice`], of something that is not as it should be.
    fn warn(&self, text: &str) {
        let _ = text;
    }

    /// Something that is wrong with the store, of which the operation's result
    /// tells too.
    fn problem(&self, text: &str) {
        let _ = text;
    }

    /// Something only a curious user wants to read.
    fn detail(&self, text: &str) {
        let _ = text;
    }

    /// A task begins; `total` is how much there is to do, where that is known.
    fn begin(&self, task: &str, total: Option<u64>, unit: Unit) {
        let _ = (task, total, unit);
    }

    /// So much more of the task is done.
    fn advance(&self, amount: u64) {
        let _ = amount;
    }

    /// The task ends.
    fn end(&self) {}
}

/// Nobody watches.
pub struct Silent;

impl Progress for Silent {}

/// A shared [`Silent`].
pub fn silent() -> Arc<dyn Progress> {
    Arc::new(Silent)
}

/// A number of bytes for people: one decimal, in KiB or a larger unit.
pub fn size_text(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    // Only one digit after the point is shown, so rounding does no harm.
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // More than: exactly one MiB is "1024.0 KiB".
    while value.abs() > 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}
