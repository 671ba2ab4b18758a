//! `nix-copy-closure`: closures to and from another machine, by ssh.

use std::ffi::OsString;
use std::path::Path;

use nival::model::StorePath;
use nival::ops::copy::{self, CopyOptions};
use nival::ops::query;
use nival::progress::Progress as _;
use nival::store::Store;

use super::context::Context;
use super::error::usage;
use super::flags::parse::{Item, Parser, text};
use super::flags::{NIX_COPY_CLOSURE, page};
use super::installables::words::store_path_in;

/// What the words ask for.
#[derive(Default)]
struct Request {
    from: bool,
    include_outputs: bool,
    fetch: bool,
    gzip: bool,
    dry_run: bool,
    host: Option<String>,
    paths: Vec<OsString>,
}

/// Runs it.
///
/// # Errors
/// Usage errors, and those of the copy.
pub fn run(mut context: Context, words: Vec<OsString>) -> anyhow::Result<()> {
    let mut request = Request::default();
    let mut parser = Parser::classic(&NIX_COPY_CLOSURE, words);
    while let Some(item) = parser.next(&mut context, &[])? {
        let given = match item {
            Item::Flag(given) => given,
            Item::Argument(argument) => {
                match request.host {
                    None => request.host = Some(text(&argument)?),
                    Some(_) => request.paths.push(argument),
                }
                continue;
            }
            Item::Unknown(flag) => return Err(NIX_COPY_CLOSURE.unrecognised(&flag)),
            Item::Operation(_) | Item::Taken => continue,
        };
        match given.name() {
            "--to" => request.from = false,
            "--from" => request.from = true,
            "--gzip" | "--bzip2" | "--xz" => request.gzip = true,
            "--include-outputs" => request.include_outputs = true,
            "--use-substitutes" => request.fetch = true,
            "--show-progress" => context.ui.problem("Warning: '--show-progress' is not implemented"),
            "--dry-run" => request.dry_run = true,
            other => return Err(page::not_taken(other)),
        }
    }
    if context.is_answered_by(|| page::of_program(&NIX_COPY_CLOSURE).print())? {
        return Ok(());
    }
    let Some(host) = &request.host else { return usage("no host name specified") };
    if request.paths.is_empty() {
        return usage("no paths given");
    }
    copy(&context, &request, host)
}

fn copy(context: &Context, request: &Request, host: &str) -> anyhow::Result<()> {
    if host.contains(['?', '#', '/']) {
        return usage(format!("invalid SSH authority: '{host}'"));
    }
    let compress = if request.gzip { "?compress=true" } else { "" };
    let there = context.open_any(&format!("ssh://{host}{compress}"))?;
    let here = context.open_store()?;
    let mut roots: Vec<StorePath> = request
        .paths
        .iter()
        .map(|argument| store_path_in(context, here.dir(), Path::new(argument)))
        .collect::<anyhow::Result<_>>()?;
    let near: &dyn Store = &*here;
    let (source, destination) = if request.from { (&*there, near) } else { (near, &*there) };
    if request.include_outputs {
        let mut more = Vec::new();
        if request.from {
            let closure = there.queries().known_closure(&roots, true)?;
            more.extend(closure.ok_or_else(|| anyhow::anyhow!("'{}' cannot tell outputs", there.uri()))?);
        } else {
            let graph = query::closure(&*here, &roots, true)?;
            for node in graph.nodes() {
                more.push(graph.path(node)?);
            }
        }
        roots = more;
    }
    // Nothing of it is to be collected on the way.
    if !here.is_read_only() {
        here.add_temp_roots(&roots.iter().collect::<Vec<_>>())?;
    }
    // Who can log in is trusted, on either side.
    let mut options = CopyOptions::default();
    options.fetch = request.fetch;
    let plan = copy::plan(source, destination, &roots, &options)?;
    if request.dry_run {
        let count = plan.items().len();
        context.ui.notice(&format!("{count} path{} would be copied", if count == 1 { "" } else { "s" }));
        for item in plan.items() {
            context.ui.notice(&format!("  {}", source.dir().display(&item.info.path)));
        }
        return Ok(());
    }
    copy::copy(source, destination, plan, &options, &*context.ui)?;
    Ok(())
}
