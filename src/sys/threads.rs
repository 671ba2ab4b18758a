//! The same work on several threads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};

use super::interrupt;

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

/// Results of [`in_order`] that may wait for one before them, for each thread.
const AHEAD: usize = 64;

/// Does `work` for each number below `count` on so many threads, and hands what comes
/// of it to `each`: on this thread, and in the order of the numbers. No more than
/// 64 results for each thread wait for an earlier one. Nothing new is
/// begun once `each` has failed. Where no thread can be had this one does everything.
///
/// # Errors
/// The errors of `each`.
///
/// # Panics
/// When `work` does.
pub fn in_order<T: Send, E>(
    threads: usize,
    count: usize,
    work: impl Fn(usize) -> T + Sync,
    mut each: impl FnMut(usize, T) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.min(count);
    let ahead = threads.max(1) * AHEAD;
    let (next, window) = (AtomicUsize::new(0), Window::default());
    std::thread::scope(|scope| {
        let _end = EndOf(&window);
        let (sender, results) = mpsc::sync_channel(ahead);
        let (next, window, work) = (&next, &window, &work);
        let mut helpers = 0;
        for _ in 0..threads {
            let sender = sender.clone();
            let helper = move || {
                // Should this thread panic, the others do not wait for its result.
                let panicked = EndOf(window);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || !window.admits(number, ahead) {
                        break;
                    }
                    if sender.send((number, work(number))).is_err() {
                        break;
                    }
                }
                std::mem::forget(panicked);
            };
            let helper = interrupt::inherited(helper);
            helpers += usize::from(std::thread::Builder::new().spawn_scoped(scope, helper).is_ok());
        }
        drop(sender);
        if helpers == 0 {
            return (0..count).try_for_each(|number| each(number, work(number)));
        }
        let mut waiting = HashMap::new();
        let mut due = 0;
        for (number, result) in results {
            waiting.insert(number, result);
            while let Some(result) = waiting.remove(&due) {
                each(due, result)?;
                due += 1;
                window.move_to(due);
            }
        }
        Ok(())
    })
}

/// How far the results of [`in_order`] have been handed on.
#[derive(Default)]
struct Window {
    due: Mutex<usize>,
    moved: Condvar,
}

impl Window {
    /// Waits until no more than `ahead` results are missing before this one; false once
    /// nothing new is to be begun.
    fn admits(&self, number: usize, ahead: usize) -> bool {
        let wait = |due: &mut usize| number.checked_sub(*due).is_some_and(|missing| missing >= ahead);
        let due = self.moved.wait_while(locked(&self.due), wait);
        *due.unwrap_or_else(PoisonError::into_inner) != usize::MAX
    }

    fn move_to(&self, due: usize) {
        *locked(&self.due) = due;
        self.moved.notify_all();
    }
}

/// Lets those who wait for a window go, and nothing new begin.
struct EndOf<'w>(&'w Window);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.move_to(usize::MAX);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whatever_ends_first() {
        for threads in [0, 1, 4] {
            let work = |number: usize| {
                // The first of each four takes longest.
                std::thread::sleep(std::time::Duration::from_millis(4 - number as u64 % 4));
                number * 2
            };
            let mut seen = Vec::new();
            let done = in_order(threads, 40, work, |number, twice| {
                seen.push((number, twice));
                if number == 30 { Err("enough") } else { Ok(()) }
            });
            assert_eq!(done, Err("enough"));
            assert_eq!(seen, (0..=30).map(|number| (number, number * 2)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn few_results_wait_for_a_slow_one() {
        let begun = AtomicUsize::new(0);
        let work = |number: usize| {
            if number == 0 {
                std::thread::sleep(std::time::Duration::from_millis(200));
                return begun.load(Ordering::Relaxed);
            }
            begun.fetch_add(1, Ordering::Relaxed)
        };
        let mut first = None;
        let done: Result<(), ()> = in_order(2, 100_000, work, |_, seen| {
            first.get_or_insert(seen);
            Ok(())
        });
        assert_eq!(done, Ok(()));
        assert_eq!(begun.into_inner(), 99_999);
        assert!(first.is_some_and(|begun| begun <= 2 * AHEAD), "{first:?} were begun before the first ended");
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn nobody_waits_for_a_result_that_does_not_come() {
        let work = |number: usize| assert_ne!(number, 0);
        let _: Result<(), ()> = in_order(4, 100_000, work, |_, ()| Ok(()));
    }
}
