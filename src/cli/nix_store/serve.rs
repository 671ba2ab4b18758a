//! `--serve`: the local store for the client at the other end of standard input
//! and output.

use std::os::fd::AsFd as _;

use nival::ops::serve::serve_protocol;
use nival::sys::interrupt::Interruptible;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Call;
use crate::cli::output::streams::{stdin, stdout_file};
use crate::cli::served::Served;
use crate::cli::signals;

/// Serves one client; with `--write` it may change the store.
pub fn serve(call: Call) -> anyhow::Result<()> {
    let writable = call.has("--write");
    call.no_arguments()?;
    let store = &call.context.open_local_store()?;
    let output = stdout_file().try_clone()?;
    // The client may go while something is being done for it.
    signals::cancel_when_gone(output.try_clone()?)?;
    let input = stdin();
    let watched = input.0.as_fd().try_clone_to_owned()?;
    let more = || {
        let mut readable = [PollFd::new(&watched, PollFlags::IN)];
        poll(&mut readable, Some(&Timespec::default())).is_ok_and(|count| count > 0)
    };
    let progress = call.context.progress();
    let mut context = call.context;
    let host = Served(&mut context);
    serve_protocol::run(input, Interruptible(output), store, &host, &*progress, writable, &more)?;
    Ok(())
}
