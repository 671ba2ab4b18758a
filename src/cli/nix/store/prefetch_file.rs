//! `nix store prefetch-file`: adds what is behind a URL to the store.

use std::ffi::OsString;

use nival::fetch::unpack::Top;
use nival::model::{Hash, HashAlgorithm, HashFormat};
use nival::ops::prefetch::{Prefetch, Prefetched};
use nival::progress::Progress as _;

use crate::cli::context::Context;
use crate::cli::flags::parse;
use crate::cli::flags::parse::Given;
use crate::cli::nix::hash::parse_algorithm;
use crate::cli::nix::{Arity, Command};
use crate::cli::output::json::Style;

/// `nix store prefetch-file`.
#[derive(Default)]
pub struct PrefetchFile {
    style: Style,
    name: Option<String>,
    algorithm: Option<HashAlgorithm>,
    expected: Option<String>,
    unpack: bool,
    executable: bool,
}

impl Command for PrefetchFile {
    fn arity(&self) -> Arity {
        Arity::exactly(1)
    }

    fn flag(&mut self, given: &Given, context: &Context) -> anyhow::Result<bool> {
        match given.name() {
            "--name" => self.name = Some(given.text()?),
            "--hash-type" | "--hash-algo" => {
                self.algorithm = Some(parse_algorithm(context, &given.text()?)?);
            }
            "--expected-hash" => self.expected = Some(given.text()?),
            "--unpack" => self.unpack = true,
            "--executable" => self.executable = true,
            _ => return Ok(self.style.flag(given)),
        }
        Ok(true)
    }

    fn run(&self, context: &Context, arguments: &[OsString]) -> anyhow::Result<()> {
        let [url] = arguments else { return Ok(()) };
        let algorithm = self.algorithm.unwrap_or(HashAlgorithm::Sha256);
        let expected = self.expected.as_ref().map(|text| Hash::parse(text, Some(algorithm))).transpose()?;
        let wanted = Prefetch {
            name: self.name.clone(),
            algorithm,
            expected,
            unpack: self.unpack.then_some(Top::Entry),
            executable: self.executable,
            ..Prefetch::file(parse::text(url)?)
        };
        let store = &*context.open_store()?;
        let Prefetched { hash, path, .. } = wanted.run(store, &context.means(None))?;
        let (hash, path) = (hash.digits(HashFormat::Sri), store.dir().print(&path));
        if !self.style.json {
            context.ui.notice(&format!("Downloaded '{}' to '{path}' (hash '{hash}').", wanted.shown()));
            return Ok(());
        }
        let mut json = self.style.writer();
        json.object()?;
        json.key("hash")?;
        json.string(&hash)?;
        json.key("storePath")?;
        json.string(&path)?;
        json.end_object()?;
        json.finish()
    }
}
