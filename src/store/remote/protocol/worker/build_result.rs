//! How a build went, in the words of the protocols.
//!
//! ```text
//! result = status text [times nondeterministic start stop ≥ 1.29]
//!          [user-time system-time ≥ 1.37] [outputs ≥ 1.28]
//! time   = 0 | 1 microseconds
//! outputs = list of ("sha256:HASH!NAME", realisation as JSON)
//! ```

use std::collections::BTreeMap;
use std::io::{Read, Write};

use crate::model::{DrvOutput, Realisation, realisation};
use crate::store::api::build::BuildEnd;
use crate::store::error::{Result, StoreError};
use crate::store::remote::RemoteError;
use crate::store::remote::protocol::wire::{MAX_MESSAGE, Reader, Writer};
use crate::store::remote::protocol::worker::Version;

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
    /// Its builder failed, and will fail again.
    pub const PERMANENT_FAILURE: u64 = 3;
    /// An output is not as it should be.
    pub const OUTPUT_REJECTED: u64 = 5;
    /// It took too long.
    pub const TIMED_OUT: u64 = 8;
    /// Any other failure.
    pub const MISC_FAILURE: u64 = 9;
    /// An output differs from the one that was there.
    pub const NOT_DETERMINISTIC: u64 = 12;
}

impl BuildResult {
    /// Whether what was asked for is there.
    pub fn is_good(&self) -> bool {
        matches!(self.status, status::BUILT | status::SUBSTITUTED | status::ALREADY_VALID)
    }

    /// Reads it.
    ///
    /// # Errors
    /// Errors of the reader.
    pub fn read<R: Read>(reader: &mut Reader<R>, version: Version) -> Result<Self> {
        let mut result =
            Self { status: reader.number()?, message: reader.text(MAX_MESSAGE)?, ..Self::default() };
        if version.has(29) {
            // How often, and whether it was the same each time.
            reader.number()?;
            reader.number()?;
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
            reader.each(|reader| {
                let output = (reader.word()?, reader.text(realisation::MAX_LEN as usize)?);
                result.outputs.push(output);
                Ok(())
            })?;
        }
        Ok(result)
    }

    /// What it means.
    ///
    /// # Errors
    /// Outputs that are none.
    pub fn into_end(self) -> Result<BuildEnd> {
        if !self.is_good() {
            return Ok(BuildEnd::Failed {
                timed_out: self.status == status::TIMED_OUT,
                message: self.message,
            });
        }
        let mut outputs = BTreeMap::new();
        for (id, text) in &self.outputs {
            let broken = || {
                let (peer, what) = ("the server".to_owned(), "its realisation is none".to_owned());
                StoreError::Remote(RemoteError::Protocol { peer, what })
            };
            let id: DrvOutput = id.parse().map_err(|_| broken())?;
            let realisation = Realisation::parse(text.as_bytes()).map_err(|_| broken())?;
            outputs.insert(id.output().to_owned(), realisation.out_path);
        }
        Ok(BuildEnd::Built(outputs))
    }

    /// Writes it.
    ///
    /// # Errors
    /// Errors of the writer.
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
