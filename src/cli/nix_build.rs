//! `nix-build`: builds derivations of expressions, and links to what they make.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nival::model::{DerivedPath, Outputs, StorePath};
use nival::ops::packages::walk::{self, Thrown};
use nival::ops::realise::output_paths;
use nival::store::api::Store;
use nival::store::api::realise::RealiseMode;

use super::context::Context;
use super::evaluation::{self, Arguments, Stopped, Wanted};
use super::flags::parse;
use super::flags::{NIX_BUILD, page};
use super::installables::expression;
use super::installables::texts::{self, Text};
use super::realiser;
use crate::cli::output::streams::Out;

/// What the command line asks for.
struct Call {
    /// The link to the first result, if there are to be links.
    link: Option<PathBuf>,
    /// Whether the arguments are expressions.
    expressions: bool,
    dry_run: bool,
    again: Option<RealiseMode>,
    attributes: Vec<String>,
    wanted: Wanted,
    words: Vec<OsString>,
}

/// A derivation and the output that is meant of it.
type Meant = (StorePath, String);

/// Runs it.
///
/// # Errors
/// Usage errors, and those of evaluating and building.
pub fn run(mut context: Context, words: Vec<OsString>) -> anyhow::Result<()> {
    let call = Call::read(&mut context, words)?;
    if context.is_answered_by(|| page::of_program(&NIX_BUILD).print())? {
        return Ok(());
    }
    let wanted = call.instantiate(&context)?;
    let store = &*context.open_store()?;
    let requests = requests(store, &wanted)?;
    if call.dry_run {
        return realiser::tell_missing(&context, store, &requests);
    }
    let outcomes = match call.again {
        Some(mode) => realiser::realise_again(&context, store, &requests, mode)?,
        None => realiser::realise(&context, store, &requests)?,
    };
    realiser::require(&context, store, &requests, outcomes)?;
    call.finish(&context, store, &wanted)
}

impl Call {
    fn read(context: &mut Context, words: Vec<OsString>) -> anyhow::Result<Self> {
        let mut call = Self {
            link: Some("result".into()),
            expressions: false,
            dry_run: false,
            again: None,
            attributes: Vec::new(),
            wanted: Wanted::default(),
            words: Vec::new(),
        };
        let words = parse::expressions(&NIX_BUILD, words, context, |context, given| {
            match given.name() {
                "--attr" => call.attributes.push(given.text()?),
                "--check" => call.again = Some(RealiseMode::Check),
                "--dry-run" => call.dry_run = true,
                "--expr" => call.expressions = true,
                "--no-out-link" => call.link = None,
                "--out-link" => call.link = Some(given.value().into()),
                "--repair" => call.again = Some(RealiseMode::Repair),
                _ if call.wanted.flag(&given, context)? => {}
                other => return Err(page::not_taken(other)),
            }
            Ok(())
        })?;
        call.words = words;
        Ok(call)
    }

    /// The derivations that the arguments stand for, in the store.
    fn instantiate(&self, context: &Context) -> anyhow::Result<Vec<Meant>> {
        let dir = context.store_dir()?;
        let mut found = Vec::new();
        let mut words = Vec::new();
        for word in &self.words {
            match derivation(&dir, word).filter(|_| !self.expressions) {
                Some(result) => found.push(result?),
                None => words.push(word.clone()),
            }
        }
        if words.is_empty() && !found.is_empty() {
            return Ok(found);
        }
        let texts = texts::read(&words, self.expressions, "./default.nix")?;
        let mut evaluated = Vec::new();
        evaluation::run(context, &self.wanted, context.readonly_mode, |worker, arguments, asked| {
            for text in &texts {
                self.each(worker, text, arguments, &mut evaluated, &asked.options().store_dir)?;
            }
            Ok(asked.settle()?)
        })?;
        found.extend(evaluated);
        Ok(found)
    }

    fn each<'e>(
        &self,
        worker: &nival::eval::interpret::Worker<'e>,
        text: &Text,
        arguments: &Arguments<'e>,
        found: &mut Vec<Meant>,
        dir: &nival::model::StoreDir,
    ) -> Result<(), Stopped> {
        let value = text.value(worker)?;
        let whole = self.attributes.is_empty().then_some("");
        for path in whole.into_iter().chain(self.attributes.iter().map(String::as_str)) {
            let value = expression::selected(worker, value, path, arguments)?;
            for package in walk::packages(worker, value, path, arguments, Thrown::Ends)? {
                found.push(texts::output(worker, dir, &package)?);
            }
        }
        Ok(())
    }

    /// Makes the links, then prints the paths.
    fn finish(&self, context: &Context, store: &dyn Store, wanted: &[Meant]) -> anyhow::Result<()> {
        let mut numbers = HashMap::new();
        let mut lines = Vec::new();
        for (drv_path, output) in wanted {
            let count = numbers.len() + 1;
            let number = *numbers.entry(drv_path).or_insert(count);
            let drv = store.queries().read_derivation(drv_path)?;
            let named = Outputs::Named([output.clone()].into());
            for (_, path) in output_paths(store, drv_path, &drv, &named)? {
                let Some(path) = path else { continue };
                if let Some(link) = &self.link {
                    let link = numbered(&context.absolute(link), number, output);
                    store.require_root_links()?.add_indirect_root(&link, &path)?;
                }
                lines.push(store.dir().print(&path));
            }
        }
        let mut out = Out::new();
        lines.into_iter().try_for_each(|line| out.line(line))?;
        out.finish()
    }
}

/// The link to an output of the derivation with a number.
fn numbered(link: &Path, number: usize, output: &str) -> PathBuf {
    let mut link = link.as_os_str().to_owned();
    if number > 1 {
        link.push(format!("-{number}"));
    }
    if output != "out" {
        link.push(format!("-{output}"));
    }
    link.into()
}

/// What a word stands for that names a derivation of the store: `DRV` or `DRV!OUTPUT`.
fn derivation(dir: &nival::model::StoreDir, word: &OsString) -> Option<anyhow::Result<Meant>> {
    let word = word.to_str()?;
    let (path, output) = word.split_once('!').unwrap_or((word, "out"));
    let path = dir.parse(path).ok().filter(StorePath::is_derivation)?;
    if output.contains(',') {
        let why = "building more than one derivation output is not supported, in";
        return Some(Err(anyhow::anyhow!("{why} '{word}'")));
    }
    Some(Ok((path, output.to_owned())))
}

/// What has to be valid.
fn requests(store: &dyn Store, wanted: &[Meant]) -> anyhow::Result<Vec<DerivedPath>> {
    store.add_temp_roots(&wanted.iter().map(|(path, _)| path).collect::<Vec<_>>())?;
    let mut requests: Vec<DerivedPath> = Vec::new();
    for (path, output) in wanted {
        if store.is_there(path)? && !store.queries().read_derivation(path)?.outputs.contains_key(output) {
            anyhow::bail!("derivation '{}' does not have output '{output}'", store.dir().display(path));
        }
        // The outputs of one derivation are one request.
        match requests.iter_mut().find(|request| request.path == *path) {
            Some(DerivedPath { outputs: Some(Outputs::Named(names)), .. }) => {
                _ = names.insert(output.clone())
            }
            _ => requests.push(DerivedPath::built(path.clone(), Outputs::Named([output.clone()].into()))),
        }
    }
    Ok(requests)
}
