//! The expression language: syntax, evaluation, the builtin functions.
//!
//! This room sees `model` only. What an evaluation asks of the world (files, the
//! store, the environment) it asks through [`io::World`].

mod ahead;
mod bound;
pub mod builtins;
mod call;
pub mod code;
pub mod coerce;
pub mod compile;
pub mod context;
pub mod crew;
mod deep;
mod difference;
pub mod error;
pub mod heap;
pub mod interpret;
pub mod io;
pub mod load;
pub mod operators;
pub mod print;
mod queue;
mod reading;
pub mod report;
mod select;
pub mod shared;
pub mod sources;
pub mod stack;
pub mod symbols;
pub mod syntax;
pub mod text;
pub mod value;

use std::sync::Mutex;

use self::heap::Arena;
use self::interpret::Worker;
use self::io::World;
use self::shared::{Settings, Shared};
use self::stack::Stack;

/// Runs `work` with a worker of a new evaluation, on a thread with a stack that is large enough.
///
/// # Errors
/// The thread cannot be started.
pub fn evaluate<R: Send>(
    settings: Settings,
    world: &dyn World,
    work: impl for<'e> FnOnce(&Worker<'e>) -> R + Send,
) -> std::io::Result<R> {
    evaluate_in(&mut Arena::new(), settings, world, work)
}

/// The same in an arena that may have served another evaluation, whose memory is used again.
///
/// # Errors
/// The thread cannot be started.
pub fn evaluate_in<R: Send>(
    arena: &mut Arena,
    settings: Settings,
    world: &dyn World,
    work: impl for<'e> FnOnce(&Worker<'e>) -> R + Send,
) -> std::io::Result<R> {
    arena.clear();
    let arena = &*arena;
    // A thread that cannot be started takes nothing with it.
    let start = Mutex::new(Some((settings, work)));
    let run = &|size: usize| {
        let (settings, work) = start.lock().ok()?.take()?;
        let shared = Shared::new(arena, settings, world);
        let worker = Worker::new(&shared, Stack::here(size));
        worker.prepare();
        Some(work(&worker))
    };
    let mut size = stack::SIZE;
    std::thread::scope(|scope| {
        loop {
            let thread = std::thread::Builder::new().name("evaluate".to_owned()).stack_size(size);
            match thread.spawn_scoped(scope, move || run(size)) {
                Ok(thread) => match thread.join() {
                    Ok(Some(result)) => return Ok(result),
                    Ok(None) => return Err(std::io::Error::other("the evaluation was started twice")),
                    Err(panic) => std::panic::resume_unwind(panic),
                },
                // A limit of the machine: less will do for most evaluations.
                Err(_) if size > stack::LEAST => size /= 2,
                Err(error) => return Err(error),
            }
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod crew_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
