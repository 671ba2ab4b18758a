//! The variables of a conversation, and where they came from.

use nival::eval::error::{Error, Traced as _};
use nival::eval::heap::Value;
use nival::eval::interpret::Worker;
use nival::eval::sources::Origin;
use nival::eval::symbols::Symbol;
use nival::eval::value::{Attrs, Position, View};
use nival::progress::Progress as _;

use super::Session;
use crate::cli::installables::expression;

/// What gives variables, and is read again by `:reload`.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, by the word that was given for it; the current directory if that is empty.
    File(String),
    /// An attribute of a file.
    Selected { file: String, attribute: String },
    /// An attribute of an expression.
    Text { text: String, attribute: String },
}

/// The variables.
pub struct Scope<'e> {
    attrs: Attrs<'e>,
    sources: Vec<Source>,
    /// The names that were loaded last, if any were.
    last: Option<Vec<Symbol>>,
}

/// How many names are listed when variables are added.
const MOST_LISTED: usize = 20;

impl<'e> Scope<'e> {
    /// No variables.
    pub fn new(worker: &Worker<'e>) -> Self {
        Self { attrs: Attrs::new(&worker.heap, &[]), sources: Vec::new(), last: None }
    }

    /// The variables as a set.
    pub fn attrs(&self) -> Attrs<'e> {
        self.attrs
    }

    /// Adds variables; they hide others of the same names.
    pub fn add(&mut self, worker: &Worker<'e>, more: Attrs<'e>) {
        self.attrs = Attrs::update(&worker.heap, self.attrs, more);
    }
}

impl<'e> Session<'_, 'e> {
    /// Takes the variables of a source, which is remembered for `:reload` in any case.
    ///
    /// # Errors
    /// It cannot be read or evaluated, or gives no set.
    pub fn load(&self, source: Source) -> Result<(), Error> {
        {
            let mut scope = self.scope.borrow_mut();
            scope.sources.retain(|other| *other != source);
            scope.sources.push(source.clone());
        }
        self.take(self.value_of(&source)?)
    }

    /// Takes the variables of sources that the command line names, of all or none.
    ///
    /// # Errors
    /// As [`Session::load`].
    pub fn begin(&self, sources: Vec<Source>) -> Result<(), Error> {
        let values = sources.iter().map(|source| self.value_of(source)).collect::<Result<Vec<_>, _>>()?;
        for (source, value) in sources.iter().zip(values) {
            self.announce(source);
            self.take(value)?;
        }
        self.scope.borrow_mut().sources = sources;
        Ok(())
    }

    fn announce(&self, source: &Source) {
        self.ui.notice(&match source {
            Source::File(file) => format!("Loading \"{file}\"..."),
            Source::Selected { attribute, .. } | Source::Text { attribute, .. } => {
                format!("Loading installable '{attribute}'...")
            }
        });
    }

    fn value_of(&self, source: &Source) -> Result<Value<'e>, Error> {
        let worker = self.worker;
        let (value, attribute) = match source {
            Source::File(file) if file.is_empty() => (worker.import(&worker.shared.world.current_dir())?, ""),
            Source::File(file) => (worker.import(&expression::file(worker, file)?)?, ""),
            Source::Selected { file, attribute } => {
                (worker.import(&expression::file(worker, file)?)?, attribute.as_str())
            }
            Source::Text { text, attribute } => {
                let here = worker.shared.world.current_dir();
                (worker.evaluate_text(Origin::Text, text.as_bytes(), &here)?, attribute.as_str())
            }
        };
        let value = expression::selected(worker, value, attribute, self.arguments)?;
        expression::called(worker, value, self.arguments)
    }

    /// Takes the attributes of a set for variables, and says which.
    ///
    /// # Errors
    /// The value is no set.
    pub fn take(&self, value: Value<'e>) -> Result<(), Error> {
        let during = "while evaluating an attribute set to be merged in the global scope";
        let attrs = self.worker.force_attrs(value, Position::NONE, "").during(during)?;
        let names: Vec<Symbol> = self.worker.by_name(attrs).iter().map(|attr| attr.name).collect();
        self.ui.notice(&format!("Added {} variables.", names.len()));
        let listed: Vec<String> =
            names.iter().take(MOST_LISTED).map(|name| self.worker.quoted_name(*name)).collect();
        if !listed.is_empty() {
            let more = if names.len() > MOST_LISTED { ", … (:ll lists all)" } else { "" };
            self.ui.notice(&format!("{}{more}", listed.join(", ")));
        }
        let mut scope = self.scope.borrow_mut();
        scope.add(self.worker, attrs);
        scope.last = Some(names);
        Ok(())
    }

    /// Forgets all variables and reads all sources again. One that fails is told, and stays a source.
    pub fn reload(&self) {
        self.worker.forget_imports();
        let sources = std::mem::take(&mut self.scope.borrow_mut().sources);
        *self.scope.borrow_mut() = Scope::new(self.worker);
        for source in sources {
            self.announce(&source);
            if let Err(error) = self.load(source) {
                self.tell(&error);
            }
        }
    }

    /// The names that were loaded last.
    ///
    /// # Errors
    /// Nothing was loaded.
    pub fn last_loaded(&self) -> Result<Vec<String>, Error> {
        let scope = self.scope.borrow();
        let last = scope.last.as_ref().ok_or_else(|| Error::new("nothing has been loaded yet"))?;
        Ok(last.iter().map(|name| self.worker.quoted_name(*name)).collect())
    }

    /// The variables that a text defines, if it does.
    ///
    /// # Errors
    /// Something that the bindings name is not there; the text is neither bindings nor an
    /// expression, as far as it goes.
    pub fn bindings(&self, text: &str) -> Result<Option<Attrs<'e>>, Error> {
        if !text.contains('=') && !text.trim_start().starts_with("inherit") {
            return Ok(None);
        }
        let here = self.worker.shared.world.current_dir();
        let parsed = match self.worker.parse_bindings(text.as_bytes(), &here) {
            Ok(parsed) => parsed,
            Err(_) if self.parse(text).is_ok() => return Ok(None),
            Err(_) => {
                // Bindings that more lines may complete are a set that lacks its end.
                let open = self.parse(&format!("{{{text}"));
                return open.err().filter(super::is_incomplete).map_or(Ok(None), Err);
            }
        };
        let value = self.worker.run(&parsed, Some(self.scope.borrow().attrs()))?;
        match value.view() {
            View::Attrs(attrs) => Ok(Some(attrs)),
            _ => Ok(None),
        }
    }
}
