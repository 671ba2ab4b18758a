//! From a package of an expression to one that can be installed.

use std::collections::BTreeMap;

use super::element::Element;
use crate::eval::error::Error;
use crate::eval::interpret::Worker;
use crate::eval::symbols::Symbol;
use crate::eval::value::View;
use crate::model::{StoreDir, StorePath};
use crate::ops::packages::Package;

/// The attribute of a package that stands for one of its outputs alone.
const OUTPUT_SPECIFIED: &[u8] = b"outputSpecified";
/// The attribute of `meta` that names the outputs that are installed.
const OUTPUTS_TO_INSTALL: &[u8] = b"outputsToInstall";

/// What is to be known of a package before it is made: its name, its derivation and the path of its output.
///
/// # Errors
/// One of them cannot be evaluated.
pub fn paths<'e>(worker: &Worker<'e>, dir: &StoreDir, package: &Package<'e>) -> Result<Element, Error> {
    let drv_path = package.drv_path(worker, dir)?;
    let out_path = package.out_path(worker, dir)?;
    Ok(Element { drv_path, ..Element::of_path(&package.name, out_path) })
}

/// Adds to an element what is only read once everything is made.
///
/// # Errors
/// Outputs or `meta` cannot be evaluated, or `meta` names outputs that the package does not have.
pub fn complete<'e>(
    worker: &Worker<'e>,
    dir: &StoreDir,
    package: &Package<'e>,
    element: &mut Element,
) -> Result<(), Error> {
    element.system = Some(package.system(worker)?);
    element.outputs = outputs(worker, dir, package, element)?;
    element.output_names = element.outputs.keys().cloned().collect();
    let mut metas = BTreeMap::new();
    package.each_meta(worker, |name, meta| {
        if let Some(meta) = &meta {
            metas.insert(name, meta.into());
        }
    })?;
    element.meta = metas;
    Ok(())
}

/// The outputs that are installed.
fn outputs<'e>(
    worker: &Worker<'e>,
    dir: &StoreDir,
    package: &Package<'e>,
    element: &Element,
) -> Result<BTreeMap<String, StorePath>, Error> {
    let outputs = package.outputs(worker, dir)?;
    let symbol = |text: &[u8]| -> Symbol { worker.shared.symbols.intern(text) };
    if let Some(attr) = package.attrs.get(symbol(OUTPUT_SPECIFIED)) {
        let text = "while evaluating the 'outputSpecified' attribute of a derivation";
        if worker.force_bool(attr.value, attr.position, text)? {
            let name = package.output_name(worker)?;
            return Ok(BTreeMap::from([(name, element.out_path.clone())]));
        }
    }
    let metas = package.metas(worker)?;
    let Some(attr) = metas.and_then(|metas| metas.get(symbol(OUTPUTS_TO_INSTALL))) else {
        return Ok(outputs);
    };
    let bad = || Error::new("this derivation has bad 'meta.outputsToInstall'");
    let View::List(names) = worker.force(attr.value)?.view() else { return Err(bad()) };
    let mut installed = BTreeMap::new();
    for name in names {
        let View::String(name, _) = worker.force(*name)?.view() else { return Err(bad()) };
        let name = String::from_utf8_lossy(name).into_owned();
        let path = outputs.get(&name).ok_or_else(bad)?.clone();
        installed.insert(name, path);
    }
    Ok(installed)
}
