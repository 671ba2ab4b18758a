//! The texts that were read, and places in them as numbers.

use std::sync::{Arc, OnceLock, RwLock};

use super::value::Position;

/// Where a text came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A file, by its absolute path.
    File(Vec<u8>),
    /// `--expr` and its kin.
    Text,
    /// Standard input.
    Stdin,
    /// A text that is part of the program.
    Internal(&'static str),
}

impl Origin {
    /// The name of the text in messages.
    pub fn name(&self) -> String {
        match self {
            Origin::File(path) => String::from_utf8_lossy(path).into_owned(),
            Origin::Text => "«string»".to_owned(),
            Origin::Stdin => "«stdin»".to_owned(),
            Origin::Internal(name) if name.starts_with('<') => (*name).to_owned(),
            Origin::Internal(name) => format!("«nix-internal»/{name}"),
        }
    }
}

/// One text.
#[derive(Debug)]
pub struct Source {
    /// Where it came from.
    pub origin: Origin,
    /// The text; of files it is read again when a message needs it.
    pub text: Option<Arc<[u8]>>,
    base: u32,
    length: u32,
    /// Where its lines begin, once a place in it was told.
    lines: OnceLock<Vec<u32>>,
}

impl Source {
    /// Line and column of a byte, both from 1; `text` gives the text where it is not known yet.
    pub fn line_and_column(
        &self,
        offset: u32,
        text: impl FnOnce() -> Option<Arc<[u8]>>,
    ) -> Option<(u32, u32)> {
        let lines = match self.lines.get() {
            Some(lines) => lines,
            None => {
                let text = text()?;
                self.lines.get_or_init(|| line_starts(&text))
            }
        };
        let line = lines.partition_point(|start| *start <= offset);
        Some((line as u32, offset - lines[line - 1] + 1))
    }
}

/// All texts of an evaluation, one after the other in one space of numbers.
#[derive(Default, Debug)]
pub struct Sources {
    list: RwLock<Vec<Arc<Source>>>,
}

impl Sources {
    /// No texts yet.
    pub fn new() -> Sources {
        Sources::default()
    }

    /// Takes a text in and gives the number of its first byte. Places in texts beyond
    /// 4 GiB in all are not told.
    pub fn add(&self, origin: Origin, text: &[u8]) -> Option<u32> {
        let mut list = self.list.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let base = list.last().map_or(Some(1), |last| last.base.checked_add(last.length)?.checked_add(1))?;
        let length = u32::try_from(text.len()).ok()?;
        base.checked_add(length)?.checked_add(1)?;
        let text = (!matches!(origin, Origin::File(_))).then(|| Arc::from(text));
        list.push(Arc::new(Source { origin, text, base, length, lines: OnceLock::new() }));
        Some(base)
    }

    /// The text of a place, and the place's number of bytes from its start.
    pub fn find(&self, position: Position) -> Option<(Arc<Source>, u32)> {
        if position == Position::NONE {
            return None;
        }
        let list = self.list.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let index = list.partition_point(|source| source.base <= position.0).checked_sub(1)?;
        let source = list[index].clone();
        let offset = position.0 - source.base;
        (offset <= source.length).then_some((source, offset))
    }
}

/// Where the lines of a text begin. A line ends at LF, CR LF or CR.
pub fn line_starts(text: &[u8]) -> Vec<u32> {
    let mut starts = vec![0];
    for (index, byte) in text.iter().enumerate() {
        let ends = match byte {
            b'\n' => true,
            b'\r' => text.get(index + 1) != Some(&b'\n'),
            _ => false,
        };
        if ends {
            starts.push(index as u32 + 1);
        }
    }
    starts
}
