//! Expressions as they stand on a command line: files, texts, and standard input.

use std::ffi::OsString;

use nival::eval::error::Error;
use nival::eval::interpret::{Evaluated, Worker};
use nival::eval::load::Parsed;
use nival::eval::sources::Origin;
use nival::eval::text::path;
use nival::model::{StoreDir, StorePath};
use nival::ops::packages::Package;

use super::expression;
use crate::cli::evaluation;
use crate::cli::output::streams;

/// An expression on the command line.
pub enum Text {
    /// What was read of standard input.
    Stdin(Vec<u8>),
    /// A text.
    Expression(String),
    /// A word that stands for a file.
    File(String),
}

/// The expressions that words stand for; standard input comes first. Without any it is the file
/// `default`, unless the words are texts.
///
/// # Errors
/// Words that are no text, and errors of reading.
pub fn read(words: &[OsString], are_texts: bool, default: &str) -> anyhow::Result<Vec<Text>> {
    let mut texts = Vec::new();
    let words = evaluation::texts(words)?;
    if words.iter().any(|word| word == "-") {
        texts.push(Text::Stdin(streams::read_stdin_bytes()?));
    }
    let others = words.into_iter().filter(|word| word != "-");
    texts.extend(others.map(if are_texts { Text::Expression } else { Text::File }));
    if texts.is_empty() && !are_texts {
        texts.push(Text::File(default.to_owned()));
    }
    Ok(texts)
}

impl Text {
    /// Its value.
    pub fn value<'e>(&self, worker: &Worker<'e>) -> Evaluated<'e> {
        match self {
            Self::Expression(_) | Self::Stdin(_) => worker.run(&self.parsed(worker)?, None),
            Self::File(word) => worker.import(&expression::file(worker, word)?),
        }
    }

    /// Its tree.
    ///
    /// # Errors
    /// It cannot be read, or makes no sense.
    pub fn parsed(&self, worker: &Worker<'_>) -> Result<Parsed, Error> {
        let here = || worker.shared.world.current_dir();
        match self {
            Self::Expression(text) => worker.parse(Origin::Text, text.as_bytes(), &here()),
            Self::Stdin(text) => worker.parse(Origin::Stdin, text, &here()),
            Self::File(word) => {
                let file = worker.source_file(&expression::file(worker, word)?)?;
                let text = worker.shared.world.read_file(&file)?;
                worker.parse(Origin::File(file.clone()), &text, path::dir_of(&file))
            }
        }
    }
}

/// The derivation that a package is.
///
/// # Errors
/// It has none, or cannot be evaluated.
pub fn derivation<'e>(
    worker: &Worker<'e>,
    dir: &StoreDir,
    package: &Package<'e>,
) -> Result<StorePath, Error> {
    let file = package.drv_path(worker, dir)?;
    file.ok_or_else(|| Error::new("derivation does not contain a 'drvPath' attribute"))
}

/// The derivation that a package is, and the name of the output that it stands for.
///
/// # Errors
/// It has none of them, or cannot be evaluated.
pub fn output<'e>(
    worker: &Worker<'e>,
    dir: &StoreDir,
    package: &Package<'e>,
) -> Result<(StorePath, String), Error> {
    let file = derivation(worker, dir, package)?;
    let output = package.output_name(worker)?;
    if output.is_empty() {
        let file = dir.print(&file);
        return Err(Error::new(format!("derivation '{file}' lacks an 'outputName' attribute")));
    }
    Ok((file, output))
}
