//! `nix-copy-closure`: closures to and from another machine, by ssh.

use std::path::Path;

use nival::model::StorePath;
use nival::ops::copy::{self, CopyOptions};
use nival::ops::query;
use nival::progress::Progress as _;
use nival::store::Store;

use super::args::{Args, Word};
use super::context::Context;
use super::error::usage;
use super::nix_store::store_path_in;
use super::ui::Out;

/// What the words ask for.
#[derive(Default)]
struct Request {
    from: bool,
    include_outputs: bool,
    fetch: bool,
    gzip: bool,
    dry_run: bool,
    host: Option<String>,
    paths: Vec<std::ffi::OsString>,
}

/// Runs it.
///
/// # Errors
/// Usage errors, and those of the copy.
pub fn run(mut context: Context, mut args: Args) -> anyhow::Result<()> {
    let mut request = Request::default();
    while let Some(word) = args.next() {
        let flag = match word {
            Word::Argument(argument) => {
                match request.host {
                    None => request.host = Some(super::args::text(&argument)?),
                    Some(_) => request.paths.push(argument),
                }
                continue;
            }
            Word::Flag(flag) => flag,
        };
        match flag.as_str() {
            "--to" => request.from = false,
            "--from" => request.from = true,
            "--gzip" => request.gzip = true,
            "--bzip2" | "--xz" => {
                context.ui.warn(&format!("'{flag}' is not implemented, falling back to gzip"));
                request.gzip = true;
            }
            "--include-outputs" => request.include_outputs = true,
            "--use-substitutes" | "-s" => request.fetch = true,
            // There is always progress to be seen on a terminal.
            "--show-progress" => context.ui.problem("Warning: '--show-progress' is not implemented"),
            "--dry-run" => request.dry_run = true,
            _ if context.common_flag(&flag, &mut args)? => {}
            _ => return usage(format!("unrecognised flag '{flag}'")),
        }
    }
    if context.is_answered_by(help)? {
        return Ok(());
    }
    let Some(host) = &request.host else { return usage("no host name specified") };
    if request.paths.is_empty() {
        return usage("no paths given");
    }
    copy(&context, &request, host)
}

fn help() -> anyhow::Result<()> {
    let mut out = Out::new();
    for line in [
        "Usage: nix-copy-closure [--to | --from] [FLAGS] [USER@]HOST[:PORT] PATHS",
        "",
        "Copies paths and everything they refer to, to (the default) or from another machine.",
        "  --dry-run              only says what would be copied",
        "  --gzip                 compresses what is sent",
        "  --include-outputs      also the outputs of derivations",
        "  --use-substitutes, -s  the other machine fetches what it can by itself",
    ] {
        out.line(line)?;
    }
    out.finish()
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
            let closure = there.closure(&roots, true)?;
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
    let options = CopyOptions { fetch: request.fetch, ..CopyOptions::default() };
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
