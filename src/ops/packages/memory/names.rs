//! Which packages there are: the names by which they are selected, and where they are found.
//!
//! ```text
//! answer = list (attribute path, name)        in the order of the walk
//! ```

use super::Remembered;
use crate::ops::evaluate::seen::coding::{Damaged, Decoder, Encoder};
use crate::ops::packages::Package;
use crate::ops::packages::describe::Row;

/// A package without its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// The attributes that lead to it.
    pub attr_path: String,
    /// Name and version.
    pub name: String,
}

impl Row {
    /// A row of which only that is known.
    pub fn of(offer: &Offer) -> Row {
        Row { attr_path: offer.attr_path.clone(), name: offer.name.clone(), ..Row::default() }
    }
}

impl From<&Package<'_>> for Offer {
    fn from(package: &Package<'_>) -> Offer {
        Offer { attr_path: package.attr_path.clone(), name: package.name.clone() }
    }
}

/// The answer that such packages are.
pub fn encode(offers: &[Offer]) -> Vec<u8> {
    let mut to = Encoder::default();
    to.list(offers, |to, offer| {
        to.bytes(offer.attr_path.as_bytes());
        to.bytes(offer.name.as_bytes());
    });
    to.0
}

/// The packages that an answer tells.
///
/// # Errors
/// It is none of this kind.
pub fn decode(remembered: &Remembered) -> Result<Vec<Offer>, Damaged> {
    let offer = |from: &mut Decoder<'_>| {
        Ok(Offer { attr_path: from.text()?.to_owned(), name: from.text()?.to_owned() })
    };
    remembered.answer().list(offer)
}
