//! How a build went, in the words of the protocols.
//!
//! ```text
//! result = status text [times nondeterministic start stop ≥ 1.29]
//!          [user-time system-time ≥ 1.37] [outputs ≥ 1.28]
//! time   = 0 | 1 microseconds
//! outputs = list of ("sha256:HASH!NAME", realisation as JSON)
//! ```

use std::io::{Read, Write};

use super::Version;
use crate::store::error::Result;
use crate::store::remote::wire::{MAX_MESSAGE, Reader, Writer};

/// How a build went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildResult {
    /// One of [`status`].
    pub status: u64,
    /// Why it failed.
    pub message: String,
    /// Seconds since 1970.
    pub started: u64,
    /// Seconds since 1970.
    pub stopped: u64,
    /// Outputs and their realisations, as they are sent.
    pub outputs: Vec<(String, String)>,
}

/// The kinds of ends.
pub mod status {
    /// It was built.
    pub const BUILT: u64 = 0;
    /// It was fetched.
    pub const SUBSTITUTED: u64 = 1;
    /// It was there.
    pub const ALREADY_VALID: u64 = 2;
    /// It will fail again.
    pub const PERMANENT_FAILURE: u64 = 3;
    /// The builder makes something else.
    pub const OUTPUT_REJECTED: u64 = 5;
    /// Any other failure.
    pub const MISC_FAILURE: u64 = 9;
}

impl BuildResult {
    /// Whether what was asked for is there.
    pub fn is_success(&self) -> bool {
        self.status <= status::ALREADY_VALID || self.status == 13
    }

    /// Reads one.
    ///
    /// # Errors
    /// Those of reading.
    pub fn read<R: Read>(reader: &mut Reader<R>, version: Version) -> Result<Self> {
        let mut result =
            Self { status: reader.number()?, message: reader.text(MAX_MESSAGE)?, ..Self::default() };
        if version.has(29) {
            reader.number()?;
            reader.boolean()?;
            (result.started, result.stopped) = (reader.number()?, reader.number()?);
        }
        if version.has(37) {
            for _ in 0..2 {
                if reader.boolean()? {
                    reader.number()?;
                }
            }
        }
        if version.has(28) {
            let outputs = &mut result.outputs;
            reader.each(|reader| {
                outputs.push((reader.word()?, reader.text(MAX_MESSAGE)?));
                Ok(())
            })?;
        }
        Ok(result)
    }

    /// Writes it.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write<W: Write>(&self, writer: &mut Writer<W>, version: Version) -> Result<()> {
        writer.number(self.status)?;
        writer.text(&self.message)?;
        if version.has(29) {
            let times = u64::from(self.status == status::BUILT);
            [times, 0, self.started, self.stopped].into_iter().try_for_each(|word| writer.number(word))?;
        }
        if version.has(37) {
            writer.number(0)?;
            writer.number(0)?;
        }
        if version.has(28) {
            writer.number(self.outputs.len() as u64)?;
            for (output, realisation) in &self.outputs {
                writer.text(output)?;
                writer.text(realisation)?;
            }
        }
        Ok(())
    }
}
