//! `nix store info`, `nix store dump-path` and `nix store path-from-hash-part`.

use std::ffi::OsString;

use nival::http::url::shown;
use nival::model::store_path::HASH_LEN;
use nival::nar::hashing::HashedOutput;
use nival::nar::writer::{FileOutput, NarWriter};
use nival::store::Store;
use nival::store::api::Item;
use nival::store::error::check_nar;
use nival::store::open::uri;
use nival::store::open::uri::{StoreKind, StoreUri};

use crate::cli::context::Context;
use crate::cli::error::usage;
use crate::cli::flags::parse::Given;
use crate::cli::installables::selection::Selection;
use crate::cli::nix::nar;
use crate::cli::nix::{Arity, Command};
use crate::cli::output::json::Style;
use crate::cli::output::streams::{Out, stdout_file};

/// The URL of the store in use, for the user.
pub fn url(context: &Context) -> String {
    let parsed = StoreUri::parse(context.settings.store_uri(), &context.current_dir);
    match parsed.and_then(|uri| uri::resolve(&uri, &context.surroundings())) {
        // Which directory a local store lies in is not told, unless a
        // parameter says it.
        Ok(StoreUri { kind: StoreKind::Auto | StoreKind::Local(_), parameters }) => {
            StoreUri { kind: StoreKind::Local(None), parameters }.to_string()
        }
        Ok(uri) => shown(&uri.to_string()),
        Err(_) => shown(context.settings.store_uri()),
    }
}

/// `nix store info`.
#[derive(Default)]
pub struct Info(Style);

impl Command for Info {
    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        Ok(self.0.flag(given))
    }

    fn run(&self, context: &Context, _arguments: &[OsString]) -> anyhow::Result<()> {
        let url = url(context);
        let store = context.open_any(context.settings.store_uri())?;
        if !self.0.json {
            context.ui.hint(&format!("Store URL: {url}"));
        }
        let mut about = store.about()?;
        if store.is_direct() {
            about.version = Some(crate::cli::NIX_VERSION.to_owned());
        }
        if !self.0.json {
            if let Some(version) = &about.version {
                context.ui.hint(&format!("Version: {version}"));
            }
            if let Some(trusted) = about.trusted {
                context.ui.hint(&format!("Trusted: {}", u8::from(trusted)));
            }
            return Ok(());
        }
        let mut json = self.0.writer();
        json.object()?;
        if store.is_direct() {
            json.key("nival")?;
            json.string(crate::cli::VERSION)?;
        }
        if let Some(trusted) = about.trusted {
            json.key("trusted")?;
            json.bare(trusted)?;
        }
        json.key("url")?;
        json.string(&url)?;
        if let Some(version) = &about.version {
            json.key("version")?;
            json.string(version)?;
        }
        json.end_object()?;
        json.finish()
    }
}

/// `nix store dump-path`.
#[derive(Default)]
pub struct DumpPath(Selection);

impl Command for DumpPath {
    fn arity(&self) -> Arity {
        Arity::ANY
    }

    fn flag(&mut self, given: &Given, _context: &Context) -> anyhow::Result<bool> {
        self.0.flag(given)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let store = &*context.open_any(context.settings.store_uri())?;
        let (selected, invalid) = self.0.select(context, store, arguments, false)?;
        match (&selected.order[..], &invalid[..], store.files()) {
            ([node], [], Some(files)) => Ok(nar::pack(&files.real_path(&selected.graph.path(*node)?))?),
            ([node], [], None) => dump(store, &*selected.item(*node)?),
            ([], [path], Some(_)) => {
                anyhow::bail!("path '{}' is not a valid store path", store.dir().display(path))
            }
            ([], [path], None) => Err(store.invalid(path).into()),
            _ => usage("this command requires exactly one store path"),
        }
    }
}

/// Writes the archive that a store gives to standard output, and makes sure that it is
/// the right one.
fn dump(store: &dyn Store, item: &Item) -> anyhow::Result<()> {
    let mut output = FileOutput::new(stdout_file());
    let mut writer = NarWriter::new(HashedOutput::new(&mut output))?;
    store.source(std::slice::from_ref(item))?.read(item, &mut writer)?;
    let (hash, size) = writer.into_output().finish();
    output.flush()?;
    Ok(check_nar(store.dir(), &item.info, hash, size)?)
}

/// `nix store path-from-hash-part`.
#[derive(Default)]
pub struct PathFromHashPart;

impl Command for PathFromHashPart {
    fn arity(&self) -> Arity {
        Arity::exactly(1)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let store = &*context.open_store()?;
        let part = arguments.first().map(|part| part.to_string_lossy()).unwrap_or_default();
        anyhow::ensure!(part.len() == HASH_LEN, "invalid hash part");
        let Some(path) = store.queries().path_from_hash_part(&part)? else {
            anyhow::bail!("there is no store path corresponding to '{part}'");
        };
        let mut out = Out::new();
        out.line(store.dir().display(&path))?;
        out.finish()
    }
}
