//! A derivation that is to be built, in the words of both protocols.
//!
//! ```text
//! order  = path outputs sources system builder arguments variables
//! output = name path method-and-algorithm hash
//! ```

use std::io::Write;

use crate::model::derivation::aterm;
use crate::model::{Derivation, StoreDir, StorePath};
use crate::store::error::Result;
use crate::store::remote::protocol::wire::Writer;

/// Writes an order; inputs that are no sources are not part of it.
///
/// # Errors
/// Errors of the writer.
pub fn write<W: Write>(
    writer: &mut Writer<W>,
    dir: &StoreDir,
    path: &StorePath,
    drv: &Derivation,
) -> Result<()> {
    writer.path(dir, path)?;
    writer.number(drv.outputs.len() as u64)?;
    for (name, output) in &drv.outputs {
        let (path, algorithm, hash) = aterm::output_fields(output, dir);
        [name, &path, &algorithm, &hash].into_iter().try_for_each(|text| writer.text(text))?;
    }
    writer.paths(dir, drv.input_srcs.iter())?;
    writer.bytes(&drv.platform)?;
    writer.bytes(&drv.builder)?;
    writer.number(drv.args.len() as u64)?;
    drv.args.iter().try_for_each(|argument| writer.bytes(argument))?;
    writer.number(drv.env.len() as u64)?;
    for (name, value) in &drv.env {
        writer.bytes(name)?;
        writer.bytes(value)?;
    }
    Ok(())
}
