//! The expression language: syntax, evaluation, the builtin functions.
//!
//! This room sees `model` only. What an evaluation asks of the world (files, the
//! store, the environment) it asks through [`io::World`].

pub mod builtins;
pub mod code;
pub mod coerce;
pub mod compile;
pub mod context;
mod difference;
pub mod error;
pub mod heap;
pub mod interpret;
pub mod io;
pub mod load;
pub mod operators;
pub mod print;
pub mod report;
pub mod shared;
pub mod sources;
pub mod stack;
pub mod symbols;
pub mod syntax;
pub mod text;
pub mod value;

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
    let run = move || {
        let stack = Stack::here(stack::SIZE);
        let arena = Arena::new();
        let shared = Shared::new(&arena, settings, world);
        let worker = Worker::new(&shared, 1, stack);
        worker.prepare();
        work(&worker)
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("evaluate".to_owned()).stack_size(stack::SIZE);
        let thread = thread.spawn_scoped(scope, run)?;
        match thread.join() {
            Ok(result) => Ok(result),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
