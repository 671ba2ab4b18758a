//! What an expression offers: where it lies, and which of its packages are looked at.

use std::os::unix::ffi::OsStringExt as _;
use std::sync::{Mutex, PoisonError};

use nival::eval::error::{Error, unless_interrupted};
use nival::eval::interpret::{Evaluated, Worker};
use nival::ops::evaluate::Asked;
use nival::ops::evaluate::seen::{Said, Seen};
use nival::ops::packages::memory::names::Offer;
use nival::ops::packages::place::Place;
use nival::ops::packages::walk::{self, Course, Thrown};
use nival::ops::packages::{Package, source};

use super::Call;
use crate::cli::evaluation::Arguments;
use crate::cli::installables::expression;

/// The system that stands for all of them.
const ALL_SYSTEMS: &str = "*";

/// Where packages are chosen from.
pub struct Offers {
    /// The word that names the expression.
    file: Option<String>,
    /// The path of the one that is taken without such a word.
    default: Vec<u8>,
    /// The system that packages are for, if only one is looked at.
    system: Option<String>,
    /// What came of looking for all packages.
    walked: Mutex<Option<Walked>>,
}

/// All packages that were looked for.
pub struct Walked {
    /// What was seen on the way, or why it cannot be remembered.
    pub seen: Result<Seen, String>,
    /// Those that were found.
    pub offers: Vec<Offer>,
}

impl Offers {
    /// What the flags of a call say.
    ///
    /// # Errors
    /// There is no home directory.
    pub fn of(call: &Call) -> anyhow::Result<Self> {
        let system = call.system_filter.as_deref();
        Ok(Self {
            file: call.file.clone(),
            default: call.context.default_expression()?.into_os_string().into_vec(),
            system: system.filter(|system| *system != ALL_SYSTEMS).map(str::to_owned),
            walked: Mutex::default(),
        })
    }

    /// The expression and the system, as what is remembered of it is named after them.
    pub fn identity(&self) -> [Vec<u8>; 2] {
        let place = match &self.file {
            Some(word) => [b"word ", word.as_bytes()].concat(),
            None => [b"path ", &self.default[..]].concat(),
        };
        let system = self.system.as_ref().map_or(Vec::new(), |system| [b"only ", system.as_bytes()].concat());
        [place, system]
    }

    /// The expression's value; if it is a function, it is not called.
    ///
    /// # Errors
    /// It is not there, or cannot be evaluated.
    pub fn value<'e>(&self, worker: &Worker<'e>, asked: &Asked) -> Evaluated<'e> {
        let path = match &self.file {
            Some(word) => expression::file(worker, word)?,
            None => self.default.clone(),
        };
        source::source(worker, &path, &|text| asked.say(Said::Warning(text.to_owned())))
    }

    /// An attribute of the expression, in which packages lie.
    ///
    /// # Errors
    /// It is not there, or cannot be evaluated.
    pub fn place<'w, 'e>(
        &self,
        worker: &'w Worker<'e>,
        arguments: &'w Arguments<'e>,
        asked: &Asked,
        attribute: &'w str,
    ) -> Result<Place<'w, 'e>, Error> {
        let value = expression::selected(worker, self.value(worker, asked)?, attribute, arguments)?;
        Ok(Place::new(worker, arguments, value, attribute))
    }

    /// The packages in a place: all of them, or those of `known` if these were found before.
    ///
    /// # Errors
    /// Something cannot be evaluated.
    pub fn packages<'e>(
        &self,
        place: &Place<'_, 'e>,
        asked: &Asked,
        known: Option<&[Offer]>,
    ) -> Result<Vec<Package<'e>>, Error> {
        if let Some(known) = known
            && let Some(packages) = found_again(place, known)?
        {
            return Ok(packages);
        }
        let packages = self.go_on(place, asked, &mut Course::default(), &|_| false)?;
        Ok(packages.unwrap_or_default())
    }

    /// Goes on looking for packages in a place behind those of `course`, and adds to these what is found, until that
    /// is `enough`. Gives what was found now, if now there are no more.
    ///
    /// # Errors
    /// Something cannot be evaluated.
    pub fn go_on<'e>(
        &self,
        place: &Place<'_, 'e>,
        asked: &Asked,
        course: &mut Course,
        enough: &dyn Fn(usize) -> bool,
    ) -> Result<Option<Vec<Package<'e>>>, Error> {
        let part = walk::part(place, Thrown::LeftOut, course, enough)?;
        let packages = self.of_system(place.worker(), part.packages)?;
        course.found.extend(packages.iter().map(Offer::from));
        if let Some(left) = part.left {
            course.left = left;
            return Ok(None);
        }
        if asked.is_noted() {
            let walked = Walked { seen: asked.seen(), offers: course.found.clone() };
            *self.walked.lock().unwrap_or_else(PoisonError::into_inner) = Some(walked);
        }
        Ok(Some(packages))
    }

    /// What came of looking for all packages, once.
    pub fn take_walked(&self) -> Option<Walked> {
        self.walked.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Those of some packages that are looked at.
    ///
    /// # Errors
    /// The system of one of them cannot be evaluated.
    fn of_system<'e>(
        &self,
        worker: &Worker<'e>,
        packages: Vec<Package<'e>>,
    ) -> Result<Vec<Package<'e>>, Error> {
        let Some(wanted) = &self.system else { return Ok(packages) };
        let mut found = Vec::new();
        for package in packages {
            if package.system(worker)? == *wanted {
                found.push(package);
            }
        }
        Ok(found)
    }
}

/// The packages that were found before; nothing if one of them is not what it was, since something changed
/// just now.
fn found_again<'e>(place: &Place<'_, 'e>, known: &[Offer]) -> Result<Option<Vec<Package<'e>>>, Error> {
    known.iter().map(|offer| package_again(place, offer)).collect()
}

/// A package that was found before, unless it is not what it was.
///
/// # Errors
/// The user does not wait.
pub fn package_again<'e>(place: &Place<'_, 'e>, offer: &Offer) -> Result<Option<Package<'e>>, Error> {
    let package = unless_interrupted(place.package(&offer.attr_path))?.flatten();
    Ok(package.filter(|package| package.name == offer.name))
}
