//! What an expression offers: where it lies, and which of its packages are looked at.

use std::os::unix::ffi::OsStringExt as _;
use std::sync::Arc;

use nival::eval::error::Error;
use nival::eval::interpret::{Evaluated, Worker};
use nival::ops::packages::walk::{self, Thrown};
use nival::ops::packages::{Package, source};
use nival::progress::Progress as _;

use super::Call;
use crate::cli::evaluation::Arguments;
use crate::cli::installables::expression;
use crate::cli::output::messages::Ui;

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
    ui: Arc<Ui>,
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
            ui: Arc::clone(&call.context.ui),
        })
    }

    /// The expression's value; if it is a function, it is not called.
    ///
    /// # Errors
    /// It is not there, or cannot be evaluated.
    pub fn value<'e>(&self, worker: &Worker<'e>) -> Evaluated<'e> {
        let path = match &self.file {
            Some(word) => expression::file(worker, word)?,
            None => self.default.clone(),
        };
        source::source(worker, &path, &|text| self.ui.warn(text))
    }

    /// The packages that an attribute of the expression holds.
    ///
    /// # Errors
    /// It is not there, or cannot be evaluated.
    pub fn packages<'e>(
        &self,
        worker: &Worker<'e>,
        arguments: &Arguments<'e>,
        attribute: &str,
    ) -> Result<Vec<Package<'e>>, Error> {
        let value = expression::selected(worker, self.value(worker)?, attribute, arguments)?;
        let packages = walk::packages(worker, value, attribute, arguments, Thrown::LeftOut)?;
        self.of_system(worker, packages)
    }

    /// Those of some packages that are looked at.
    ///
    /// # Errors
    /// The system of one of them cannot be evaluated.
    pub fn of_system<'e>(
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
