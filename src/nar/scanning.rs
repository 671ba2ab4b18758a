//! Looking for references in an archive that is written.

use super::writer::Output;
use super::{Contents, NarError, STEP};
use crate::model::references::Scanner;
use crate::sys::interrupt;

impl Output for Scanner<'_> {
    fn write(&mut self, data: &[u8]) -> Result<(), NarError> {
        self.update(data);
        Ok(())
    }

    fn contents(&mut self, contents: &mut dyn Contents) -> Result<(), NarError> {
        let mut buffer = vec![0; STEP];
        while contents.remaining() > 0 {
            interrupt::check()?;
            let count = contents.read(&mut buffer)?;
            self.update(&buffer[..count]);
        }
        Ok(())
    }
}
