//! `nix-instantiate`: makes derivations of expressions, or evaluates them.

mod listing;

use std::ffi::OsString;
use std::path::PathBuf;

use nival::eval::builtins::json::JsonStyle;
use nival::eval::builtins::xml::XmlStyle;
use nival::eval::coerce::STRICT;
use nival::eval::crew::Purpose;
use nival::eval::error::Error;
use nival::eval::heap::Value;
use nival::eval::interpret::Worker;
use nival::eval::print::Style;
use nival::eval::syntax;
use nival::eval::value::Position;
use nival::ops::evaluate::Asked;
use nival::ops::packages::walk::{self, Thrown};

use self::listing::Listing;
use super::context::Context;
use super::evaluation::{self, Arguments, Stopped, Wanted};
use super::flags::parse;
use super::flags::{NIX_INSTANTIATE, page};
use super::installables::expression;
use super::installables::texts::{self, Text};
use crate::cli::output::streams::Out;

/// What is done with the expressions. Of several, the last of this list counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Instantiate,
    Eval,
    Parse,
    FindFile,
}

/// The form of values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Value,
    Json,
    Xml,
    Raw,
}

/// What the command line asks for.
struct Call {
    mode: Mode,
    form: Form,
    strict: bool,
    location: bool,
    /// Whether the arguments are expressions.
    expressions: bool,
    writes: bool,
    dry_run: bool,
    /// The value of `--add-root`.
    root: Option<PathBuf>,
    attributes: Vec<String>,
    wanted: Wanted,
    words: Vec<OsString>,
}

/// Runs it.
///
/// # Errors
/// Usage errors, and those of evaluating.
pub fn run(mut context: Context, words: Vec<OsString>) -> anyhow::Result<()> {
    let call = Call::read(&mut context, words)?;
    if context.is_answered_by(|| page::of_program(&NIX_INSTANTIATE).print())? {
        return Ok(());
    }
    let texts = call.texts()?;
    let writes = call.mode == Mode::Instantiate || call.writes;
    let reads_only = !writes || call.dry_run || context.readonly_mode;
    let mut listing = Listing::new(&context, call.root.as_deref(), reads_only);
    evaluation::run(&context, &call.wanted, reads_only, |worker, arguments, asked| {
        let mut out = Out::new();
        match call.mode {
            Mode::FindFile => find_files(worker, &texts, &mut out)?,
            Mode::Instantiate => {
                let each = |text| call.instantiate(worker, asked, text, arguments, &mut listing);
                let result = texts.iter().try_for_each(each);
                // What was made before a failure is printed, too.
                let printed = listing.flush(asked);
                result.and(printed)?;
            }
            _ => texts.iter().try_for_each(|text| call.one(worker, text, arguments, &mut out))?,
        }
        Ok(out.finish()?)
    })
}

impl Call {
    fn read(context: &mut Context, words: Vec<OsString>) -> anyhow::Result<Self> {
        let mut call = Self {
            mode: Mode::Instantiate,
            form: Form::Value,
            strict: false,
            location: true,
            expressions: false,
            writes: false,
            dry_run: false,
            root: None,
            attributes: Vec::new(),
            wanted: Wanted::default(),
            words: Vec::new(),
        };
        let words = parse::expressions(&NIX_INSTANTIATE, words, context, |context, given| {
            match given.name() {
                "--eval" => call.mode = call.mode.max(Mode::Eval),
                "--parse" => call.mode = call.mode.max(Mode::Parse),
                "--find-file" => call.mode = call.mode.max(Mode::FindFile),
                "--json" => call.form = Form::Json,
                "--xml" => call.form = Form::Xml,
                "--raw" => call.form = Form::Raw,
                "--strict" => call.strict = true,
                "--no-location" => call.location = false,
                "--expr" => call.expressions = true,
                "--read-write-mode" => call.writes = true,
                "--attr" => call.attributes.push(given.text()?),
                "--add-root" => call.root = Some(given.value().into()),
                "--dry-run" => call.dry_run = true,
                // Roots are always indirect.
                "--indirect" => {}
                _ if call.wanted.flag(&given, context)? => {}
                other => return Err(page::not_taken(other)),
            }
            Ok(())
        })?;
        call.words = words;
        Ok(call)
    }

    fn texts(&self) -> anyhow::Result<Vec<Text>> {
        if self.mode == Mode::FindFile {
            return Ok(evaluation::texts(&self.words)?.into_iter().map(Text::File).collect());
        }
        texts::read(&self.words, self.expressions, "./default.nix")
    }

    fn one<'e>(
        &self,
        worker: &Worker<'e>,
        text: &Text,
        arguments: &Arguments<'e>,
        out: &mut Out,
    ) -> Result<(), Stopped> {
        if self.mode != Mode::Parse {
            return self.values(worker, text.value(worker)?, arguments, out);
        }
        let parsed = text.parsed(worker)?;
        // A variable that is not defined is an error already.
        worker.check(&parsed)?;
        let (tree, symbols) = (&parsed.tree, &worker.shared.symbols);
        syntax::print::print_pieces(tree, symbols, tree.root, |piece| out.raw(piece))?;
        Ok(out.raw(b"\n")?)
    }

    /// Makes the derivations that an expression, or each selection path in it, stands for.
    fn instantiate<'e>(
        &self,
        worker: &Worker<'e>,
        asked: &Asked,
        text: &Text,
        arguments: &Arguments<'e>,
        listing: &mut Listing,
    ) -> Result<(), Stopped> {
        let value = text.value(worker)?;
        for path in self.paths() {
            let value = expression::selected(worker, value, path, arguments)?;
            for package in walk::packages(worker, value, path, arguments, Thrown::Ends)? {
                listing.add(worker, asked, &package)?;
            }
        }
        Ok(())
    }

    /// The selection paths; without any it is that of the whole.
    fn paths(&self) -> impl Iterator<Item = &str> {
        let whole = self.attributes.is_empty().then_some("");
        whole.into_iter().chain(self.attributes.iter().map(String::as_str))
    }

    /// Prints a value, or what the selection paths mean in it.
    fn values<'e>(
        &self,
        worker: &Worker<'e>,
        value: Value<'e>,
        arguments: &Arguments<'e>,
        out: &mut Out,
    ) -> Result<(), Stopped> {
        for path in self.paths() {
            let mut value = expression::selected(worker, value, path, arguments)?;
            if self.wanted.has_arguments() {
                value = expression::called(worker, value, arguments)?;
            }
            if self.strict {
                value = worker.with_deep_crew(value, Purpose::Everything, || worker.force_deep(value))?;
            }
            out.raw(&self.printed(worker, value)?)?;
        }
        Ok(())
    }

    fn printed<'e>(&self, worker: &Worker<'e>, value: Value<'e>) -> Result<Vec<u8>, Error> {
        let mut text = match self.form {
            Form::Value => worker.print(value, Style::Instantiate)?,
            Form::Raw => {
                let during = "while generating the nix-instantiate output";
                return Ok(worker.coerce(value, STRICT, Position::NONE, during)?.0.to_vec());
            }
            Form::Json => {
                let mut text = Vec::new();
                let how = JsonStyle { strict: self.strict, copies: true };
                worker.write_json(value, how, Position::NONE, &mut text)?;
                text
            }
            Form::Xml => {
                let how = XmlStyle { strict: self.strict, places: self.location };
                let mut text = Vec::new();
                worker.write_xml(value, how, Position::NONE, &mut text)?;
                return Ok(text);
            }
        };
        text.push(b'\n');
        Ok(text)
    }
}

fn find_files(worker: &Worker<'_>, names: &[Text], out: &mut Out) -> Result<(), Stopped> {
    for name in names {
        let Text::File(name) = name else { continue };
        let mut found = expression::lookup(worker, name)?;
        found.push(b'\n');
        out.raw(&found)?;
    }
    Ok(())
}
