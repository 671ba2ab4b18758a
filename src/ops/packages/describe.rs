//! From a package to a row: what somebody asked for.

use std::collections::BTreeMap;

use super::meta::Meta;
use super::{Package, unless_thrown};
use crate::eval::coerce::NO_COPY;
use crate::eval::crew::{Offered, Purpose};
use crate::eval::error::Error;
use crate::eval::heap::Value;
use crate::eval::interpret::Worker;
use crate::eval::symbols::known;
use crate::eval::value::{Position, View};
use crate::model::{StoreDir, StorePath};

/// What the system of a package is called that does not say which.
pub const UNKNOWN_SYSTEM: &str = "unknown";

/// One fact of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The system that it is for.
    System,
    /// The output that it stands for.
    OutputName,
    /// The path of its derivation.
    DrvPath,
    /// The path of the output that it stands for.
    OutPath,
    /// The description.
    Description,
    /// The names of its outputs.
    OutputNames,
    /// The names of its outputs, and their paths.
    Outputs,
    /// All that `meta` says.
    Meta,
}

/// What is asked of packages.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Facts without which there is no row.
    pub first: Vec<Fact>,
    /// Facts that come after them, in this order. Where one throws, those behind it are left out.
    pub then: Vec<Fact>,
}

/// What is known of a package; what was not asked for is empty.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The attributes that lead to it.
    pub attr_path: String,
    /// Name and version.
    pub name: String,
    /// The system that it is for.
    pub system: Option<String>,
    /// The output that it stands for; empty where it does not say.
    pub output_name: String,
    /// The path of its derivation.
    pub drv_path: Option<StorePath>,
    /// The path of the output that it stands for.
    pub out_path: Option<StorePath>,
    /// The description.
    pub description: String,
    /// Its outputs by name.
    pub outputs: Option<BTreeMap<String, Option<StorePath>>>,
    /// What `meta` says, by name; nothing for what cannot be told.
    pub meta: Option<Vec<(String, Option<Meta>)>>,
}

/// The answers to `question` for a package; none where one of the first facts throws.
///
/// # Errors
/// A fact that cannot be evaluated, and does not merely throw.
pub fn describe<'e>(
    worker: &Worker<'e>,
    dir: &StoreDir,
    package: &Package<'e>,
    question: &Question,
) -> Result<Option<Row>, Error> {
    let mut row = Row { attr_path: package.attr_path.clone(), name: package.name.clone(), ..Row::default() };
    let mut answer = |facts: &[Fact]| {
        let all = facts.iter().try_for_each(|fact| package.answer(worker, dir, *fact, &mut row));
        package.querying(unless_thrown(all))
    };
    if answer(&question.first)?.is_none() {
        return Ok(None);
    }
    answer(&question.then)?;
    Ok(Some(row))
}

/// Does `work`, which describes some packages one after the other and tells `Offered::reach` of each, with the
/// help of a crew.
pub fn with_crew<'p, 'e: 'p, R>(
    worker: &Worker<'e>,
    dir: &StoreDir,
    question: &Question,
    packages: impl Iterator<Item = &'p Package<'e>>,
    work: impl FnOnce(&Offered<'e>) -> R,
) -> R {
    let errand = |worker: &Worker<'e>, value: Value<'e>| match value.view() {
        View::Attrs(attrs) => {
            let package = Package { attr_path: String::new(), name: String::new(), attrs };
            describe(worker, dir, &package, question).map(drop)
        }
        _ => Ok(()),
    };
    worker.with_crew(Purpose::Rows, &errand, || {
        work(&worker.offer_all(Purpose::Rows, packages.map(|package| Value::attrs(package.attrs))))
    })
}

impl<'e> Package<'e> {
    fn answer(&self, worker: &Worker<'e>, dir: &StoreDir, fact: Fact, row: &mut Row) -> Result<(), Error> {
        match fact {
            Fact::System => row.system = Some(self.system(worker)?),
            Fact::OutputName => row.output_name = self.output_name(worker)?,
            Fact::DrvPath => row.drv_path = self.drv_path(worker, dir)?,
            Fact::OutPath => row.out_path = Some(self.out_path(worker, dir)?),
            Fact::Description => row.description = self.description(worker)?,
            Fact::OutputNames => {
                let names = self.output_names(worker)?;
                row.outputs = Some(names.into_iter().map(|name| (name, None)).collect());
            }
            Fact::Outputs => {
                let outputs = self.outputs(worker, dir)?;
                row.outputs = Some(outputs.into_iter().map(|(name, path)| (name, Some(path))).collect());
            }
            Fact::Meta => {
                let metas = row.meta.insert(Vec::new());
                self.each_meta(worker, |name, meta| metas.push((name, meta)))?;
            }
        }
        Ok(())
    }

    /// The system that it is for.
    ///
    /// # Errors
    /// It cannot be evaluated, or is no string.
    pub fn system(&self, worker: &Worker<'e>) -> Result<String, Error> {
        let Some(attr) = self.get(known::SYSTEM) else { return Ok(UNKNOWN_SYSTEM.to_owned()) };
        let text = "while evaluating the 'system' attribute of a derivation";
        text_of(worker, attr.value, attr.position, text)
    }

    /// The output that it stands for; empty where it does not say.
    ///
    /// # Errors
    /// It cannot be evaluated, or is no string.
    pub fn output_name(&self, worker: &Worker<'e>) -> Result<String, Error> {
        let Some(attr) = self.get(known::OUTPUT_NAME) else { return Ok(String::new()) };
        let text = "while evaluating the output name of a derivation";
        text_of(worker, attr.value, Position::NONE, text)
    }

    /// The path of its derivation, if it has one.
    ///
    /// # Errors
    /// It cannot be evaluated, or is no store path of a derivation.
    pub fn drv_path(&self, worker: &Worker<'e>, dir: &StoreDir) -> Result<Option<StorePath>, Error> {
        let Some(attr) = self.get(known::DRV_PATH) else { return Ok(None) };
        let text = "while evaluating the 'drvPath' attribute of a derivation";
        let path = path_of(worker, dir, attr.value, attr.position, text)?;
        if path.is_derivation() {
            return Ok(Some(path));
        }
        let message = format!("store path '{}' is not a valid derivation path", path.base_name());
        Err(Error::new(message).frame(attr.position, text))
    }

    /// The path of the output that it stands for.
    ///
    /// # Errors
    /// There is none, it cannot be evaluated, or it is no store path.
    pub fn out_path(&self, worker: &Worker<'e>, dir: &StoreDir) -> Result<StorePath, Error> {
        let Some(attr) = self.get(known::OUT_PATH) else {
            return Err(Error::new("derivation does not have attribute 'outPath'"));
        };
        let text = "while evaluating the output path of a derivation";
        path_of(worker, dir, attr.value, attr.position, text)
    }

    /// The names of its outputs, in their order.
    ///
    /// # Errors
    /// They cannot be evaluated, or are no list of strings.
    pub fn output_names(&self, worker: &Worker<'e>) -> Result<Vec<String>, Error> {
        let Some(attr) = self.get(known::OUTPUTS) else { return Ok(vec!["out".to_owned()]) };
        let text = "while evaluating the 'outputs' attribute of a derivation";
        let names = worker.force_list(attr.value, attr.position, text)?;
        let text = "while evaluating the name of an output of a derivation";
        names.iter().map(|name| text_of(worker, *name, attr.position, text)).collect()
    }

    /// The paths of its outputs by name. An output that the package does not have is left out.
    ///
    /// # Errors
    /// They cannot be evaluated, or are no store paths.
    pub fn outputs(&self, worker: &Worker<'e>, dir: &StoreDir) -> Result<BTreeMap<String, StorePath>, Error> {
        if self.get(known::OUTPUTS).is_none() {
            return Ok(BTreeMap::from([("out".to_owned(), self.out_path(worker, dir)?)]));
        }
        let mut outputs = BTreeMap::new();
        for name in self.output_names(worker)? {
            let Some(output) = worker.shared.symbols.find(name.as_bytes()).and_then(|name| self.get(name))
            else {
                continue;
            };
            let text = "while evaluating an output of a derivation";
            let attrs = worker.force_attrs(output.value, output.position, text)?;
            let Some(path) = attrs.get(known::OUT_PATH) else { continue };
            let text = "while evaluating an output path of a derivation";
            outputs.insert(name, path_of(worker, dir, path.value, path.position, text)?);
        }
        Ok(outputs)
    }
}

fn text_of<'e>(
    worker: &Worker<'e>,
    value: Value<'e>,
    position: Position,
    text: &str,
) -> Result<String, Error> {
    let text = worker.force_plain(value, position, text)?;
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// A store path.
fn path_of<'e>(
    worker: &Worker<'e>,
    dir: &StoreDir,
    value: Value<'e>,
    position: Position,
    text: &str,
) -> Result<StorePath, Error> {
    let (path, _) = worker.coerce(value, NO_COPY, position, text)?;
    let path = String::from_utf8_lossy(path);
    dir.parse(&path)
        .map_err(|_| Error::new(format!("path '{path}' is not in the Nix store")).frame(position, text))
}
