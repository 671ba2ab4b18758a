//! `nix`: the subcommands of the newer interface.
use super::args::Args;
use super::context::Context;
pub fn run(_context: Context, _args: Args) -> anyhow::Result<()> {
    anyhow::bail!("no subcommand specified")
}
