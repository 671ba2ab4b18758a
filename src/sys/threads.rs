//! The same work on several threads.

use super::interrupt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Threads that compute at the same time.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs `work` on as many threads as there are cores, `limit` at most, this one
/// among them, and gives the first failure. What there is to do is shared out
/// by `work` itself. Where no thread can be had this one does everything.
///
/// # Errors
/// The errors of `work`.
///
/// # Panics
/// When `work` does.
pub fn on_all_cores<E: Send>(limit: usize, work: impl Fn() -> Result<(), E> + Sync) -> Result<(), E> {
    on_threads(cores().min(limit), work)
}

/// As [`on_all_cores`], on so many threads: for work that waits.
///
/// # Errors
/// The errors of `work`.
///
/// # Panics
/// When `work` does.
pub fn on_threads<E: Send>(threads: usize, work: impl Fn() -> Result<(), E> + Sync) -> Result<(), E> {
    if threads <= 1 {
        return work();
    }
    std::thread::scope(|scope| {
        let helper = || interrupt::inherited(&work);
        let spawn = |_| std::thread::Builder::new().spawn_scoped(scope, helper()).ok();
        let others: Vec<_> = (1..threads).filter_map(spawn).collect();
        let mut result = work();
        for other in others {
            match other.join() {
                Ok(outcome) => result = result.and(outcome),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        result
    })
}

/// What a mutex guards, also after a thread panicked: the panic itself is told
/// to the code that waits for that thread.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets a number of threads pass at a time.
pub struct Permits {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A thread that passed, for itself or for several; as many others may when
/// this is dropped.
pub struct Permit<'p>(&'p Permits, usize);

impl Permit<'_> {
    /// For how many.
    pub fn count(&self) -> usize {
        self.1
    }
}

impl Permits {
    /// So many (at least one).
    pub fn new(count: usize) -> Self {
        Self { free: Mutex::new(count.max(1)), freed: Condvar::new() }
    }

    /// Waits for a place.
    pub fn acquire(&self) -> Permit<'_> {
        self.acquire_up_to(1)
    }

    /// Waits for a place, and takes as many as are free then, but no more than
    /// `most` (at least one).
    pub fn acquire_up_to(&self, most: usize) -> Permit<'_> {
        let mut free = locked(&self.free);
        while *free == 0 {
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        let count = most.clamp(1, *free);
        *free -= count;
        Permit(self, count)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *locked(&self.0.free) += self.1;
        self.0.freed.notify_all();
    }
}
