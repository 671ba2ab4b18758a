//! What is told of each package.
//!
//! ```text
//! answer  = number, list (attribute path, name, bytes: outcome)        in the order of the walk
//!           (the number is how much of what the evaluation told came of the walk alone)
//! outcome = 0                     it is left out
//!         | 1                     it is listed without anything that is known of it
//!         | 2 row
//! row     = option system, output name, option derivation, option output path, description,
//!           option list (output, option path), option list (name, option meta)
//! meta    = 0 text | 1 number | 2 number (bits of a float) | 3 bool | 4 list meta | 5 list (name, meta)
//! ```
//!
//! Paths are written without the store directory.

use super::Remembered;
use crate::model::StorePath;
use crate::ops::evaluate::seen::coding::{Damaged, Decoder, Encoder};
use crate::ops::packages::describe::Row;
use crate::ops::packages::meta::Meta;

/// How deeply lists and sets in `meta` may be nested to be remembered.
const DEEPEST: usize = 128;

/// What comes of a package in a listing.
pub enum Outcome {
    /// It is left out, since its path cannot be told.
    Skipped,
    /// Nothing is known of it.
    Nothing,
    /// What is known.
    Row(Box<Row>),
}

/// A package with its outcome, which is read when it is needed.
pub struct Answer<'r> {
    /// The attributes that lead to it.
    pub attr_path: &'r str,
    /// Name and version.
    pub name: &'r str,
    outcome: &'r [u8],
}

/// The answer that packages with their outcomes as bytes are; `walked` is how much of what was told came of the
/// walk.
pub fn encode<'a>(
    walked: usize,
    count: usize,
    answers: impl Iterator<Item = (&'a str, &'a str, &'a [u8])>,
) -> Vec<u8> {
    let mut to = Encoder::default();
    to.number(walked as u64);
    to.number(count as u64);
    for (attr_path, name, outcome) in answers {
        to.bytes(attr_path.as_bytes());
        to.bytes(name.as_bytes());
        to.bytes(outcome);
    }
    to.0
}

/// The packages of an answer, and whether the evaluation told nothing once it had walked to them.
///
/// # Errors
/// It is none of this kind.
pub fn decode(remembered: &Remembered) -> Result<(Vec<Answer<'_>>, bool), Damaged> {
    let mut from = remembered.answer();
    let quiet = from.number()? == remembered.said.len() as u64;
    let answers =
        from.list(|from| Ok(Answer { attr_path: from.text()?, name: from.text()?, outcome: from.bytes()? }))?;
    Ok((answers, quiet))
}

impl Answer<'_> {
    /// What comes of it.
    ///
    /// # Errors
    /// The bytes are none.
    pub fn outcome(&self) -> Result<Outcome, Damaged> {
        let mut from = Decoder(self.outcome);
        Ok(match from.byte()? {
            0 => Outcome::Skipped,
            1 => Outcome::Nothing,
            2 => Outcome::Row(Box::new(self.row(&mut from)?)),
            _ => return Err(Damaged),
        })
    }

    fn row(&self, from: &mut Decoder<'_>) -> Result<Row, Damaged> {
        let text = |from: &mut Decoder<'_>| from.text().map(str::to_owned);
        Ok(Row {
            attr_path: self.attr_path.to_owned(),
            name: self.name.to_owned(),
            system: from.option(text)?,
            output_name: text(from)?,
            drv_path: from.option(path)?,
            out_path: from.option(path)?,
            description: text(from)?,
            outputs: from
                .option(|from| from.list(|from| Ok((text(from)?, from.option(path)?))))?
                .map(|outputs| outputs.into_iter().collect()),
            meta: from
                .option(|from| from.list(|from| Ok((text(from)?, from.option(|from| meta(from, 0))?))))?,
        })
    }
}

impl Outcome {
    /// As bytes; none for what is nested too deeply.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut to = Encoder::default();
        match self {
            Outcome::Skipped => to.0.push(0),
            Outcome::Nothing => to.0.push(1),
            Outcome::Row(row) => {
                to.0.push(2);
                encode_row(row, &mut to)?;
            }
        }
        Some(to.0)
    }
}

fn encode_row(row: &Row, to: &mut Encoder) -> Option<()> {
    // A new fact is to be remembered here.
    let Row { attr_path: _, name: _, system, output_name, drv_path, out_path, description, outputs, meta } =
        row;
    let path = |to: &mut Encoder, path: &StorePath| to.bytes(path.base_name().as_bytes());
    to.option(system.as_ref(), |to, system| to.bytes(system.as_bytes()));
    to.bytes(output_name.as_bytes());
    to.option(drv_path.as_ref(), path);
    to.option(out_path.as_ref(), path);
    to.bytes(description.as_bytes());
    to.option(outputs.as_ref(), |to, outputs| {
        to.number(outputs.len() as u64);
        for (name, output) in outputs {
            to.bytes(name.as_bytes());
            to.option(output.as_ref(), path);
        }
    });
    let mut fits = true;
    to.option(meta.as_ref(), |to, metas| {
        to.list(metas, |to, (name, meta)| {
            to.bytes(name.as_bytes());
            to.option(meta.as_ref(), |to, meta| fits &= encode_meta(meta, to, 0).is_some());
        });
    });
    fits.then_some(())
}

fn encode_meta(meta: &Meta, to: &mut Encoder, depth: usize) -> Option<()> {
    if depth > DEEPEST {
        return None;
    }
    match meta {
        Meta::Text(text) => {
            to.0.push(0);
            to.bytes(text.as_bytes());
        }
        Meta::Int(number) => {
            to.0.push(1);
            to.number(number.cast_unsigned());
        }
        Meta::Float(number) => {
            to.0.push(2);
            to.number(number.to_bits());
        }
        Meta::Bool(truth) => {
            to.0.push(3);
            to.truth(*truth);
        }
        Meta::List(items) => {
            to.0.push(4);
            to.number(items.len() as u64);
            for item in items {
                encode_meta(item, to, depth + 1)?;
            }
        }
        Meta::Set(members) => {
            to.0.push(5);
            to.number(members.len() as u64);
            for (name, member) in members {
                to.bytes(name.as_bytes());
                encode_meta(member, to, depth + 1)?;
            }
        }
    }
    Some(())
}

fn meta(from: &mut Decoder<'_>, depth: usize) -> Result<Meta, Damaged> {
    if depth > DEEPEST {
        return Err(Damaged);
    }
    Ok(match from.byte()? {
        0 => Meta::Text(from.text()?.to_owned()),
        1 => Meta::Int(from.number()?.cast_signed()),
        2 => Meta::Float(f64::from_bits(from.number()?)),
        3 => Meta::Bool(from.truth()?),
        4 => Meta::List(from.list(|from| meta(from, depth + 1))?),
        5 => Meta::Set(from.list(|from| Ok((from.text()?.to_owned(), meta(from, depth + 1)?)))?),
        _ => return Err(Damaged),
    })
}

fn path(from: &mut Decoder<'_>) -> Result<StorePath, Damaged> {
    StorePath::from_base_name(from.text()?).map_err(|_| Damaged)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let path = |name: &str| {
            StorePath::from_base_name(&format!("g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-{name}")).unwrap()
        };
        let meta = Meta::Set(vec![
            ("é".to_owned(), Meta::List(vec![Meta::Int(i64::MIN), Meta::Float(-0.5), Meta::Bool(true)])),
            ("a".to_owned(), Meta::Text("\0".to_owned())),
        ]);
        let row = Row {
            attr_path: "a.b".to_owned(),
            name: "b-1".to_owned(),
            system: Some("s".to_owned()),
            output_name: "out".to_owned(),
            drv_path: Some(path("b-1.drv")),
            out_path: None,
            description: "d\n".to_owned(),
            outputs: Some([("out".to_owned(), Some(path("b-1"))), ("dev".to_owned(), None)].into()),
            meta: Some(vec![("m".to_owned(), Some(meta)), ("n".to_owned(), None)]),
        };
        let bytes = Outcome::Row(Box::new(row.clone())).encode().unwrap();
        let answer = Answer { attr_path: "a.b", name: "b-1", outcome: &bytes };
        let Outcome::Row(read) = answer.outcome().unwrap() else { panic!("no row") };
        assert_eq!(format!("{read:?}"), format!("{row:?}"));
        for end in 0..bytes.len() {
            assert!(Answer { outcome: &bytes[..end], ..answer }.outcome().is_err());
        }
    }

    #[test]
    fn what_is_nested_too_deeply_is_not_remembered() {
        let mut meta = Meta::Int(1);
        for _ in 0..1000 {
            meta = Meta::List(vec![meta]);
        }
        let row = Row { meta: Some(vec![("m".to_owned(), Some(meta))]), ..Row::default() };
        assert!(Outcome::Row(Box::new(row)).encode().is_none());
    }
}
