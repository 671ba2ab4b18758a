//! The threads that evaluate ahead of the first one.
//!
//! ```text
//! crew     starts and ends them                  queue    what the first thread will need
//! ahead    how they evaluate                     reading  what they may ask of the world
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::Error;
use super::heap::{Bell, Claimant, Value};
use super::interpret::Worker;
use super::io::World;
use super::queue::{Batch, Queue};
use super::reading::Reading;
use super::stack::{self, Stack};

/// What values are needed for, and how much of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// All of a value is forced.
    Everything,
    /// What JSON shows: of a set with a path (such as a derivation) that alone.
    Json,
    /// What is printed: of a derivation the path of its file.
    Printed,
    /// Packages are looked for.
    Packages,
    /// Packages are described.
    Rows,
}

/// What a helper does with a value that the first thread will need. Failures mean nothing.
pub type Errand<'a, 'e> = &'a (dyn Fn(&Worker<'e>, Value<'e>) -> Result<(), Error> + Sync);

/// What all threads know that evaluate ahead.
pub(super) struct Crew<'e> {
    /// The world as they see it.
    pub world: Reading<'e>,
    /// Wakes those who wait for thunks.
    pub bell: Bell,
    queue: Queue<'e>,
    lost: AtomicBool,
}

impl<'e> Crew<'e> {
    pub(super) fn new(world: &'e dyn World) -> Crew<'e> {
        Crew {
            world: Reading::new(world),
            bell: Bell::default(),
            queue: Queue::new(),
            lost: AtomicBool::new(false),
        }
    }

    /// Whether a thread ended in disorder, so that what it had begun is never finished.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Values that helpers may compute, if there are any.
#[derive(Default)]
pub struct Offered<'e>(Option<Arc<Batch<'e>>>);

impl Offered<'_> {
    /// The first thread comes to a value.
    #[inline]
    pub fn reach(&self, index: usize) {
        if let Some(batch) = &self.0 {
            batch.reach(index);
        }
    }
}

/// Sends all helpers home when it is dropped.
struct Shift<'a, 'e>(&'a Worker<'e>);

impl Drop for Shift<'_, '_> {
    fn drop(&mut self) {
        let crew = &self.0.shared.crew;
        crew.world.set_over(true);
        crew.queue.close();
        crew.bell.ring();
    }
}

/// Tells when it is dropped by a panic.
struct Alive<'a>(&'a AtomicBool);

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

impl<'e> Worker<'e> {
    /// Does `work` while helpers, if the settings want any, run an `errand` for each value that
    /// is [offered](Worker::offer) for the same purpose. Within a crew there is no other one.
    pub fn with_crew<R>(&self, purpose: Purpose, errand: Errand<'_, 'e>, work: impl FnOnce() -> R) -> R {
        let alone = self.claimant.get();
        let helpers = u32::try_from(self.shared.settings.cores.saturating_sub(1)).unwrap_or(u32::MAX);
        if helpers == 0 || !alone.alone {
            return work();
        }
        let shared = self.shared;
        let crew = &shared.crew;
        shared.symbols.tell_ages();
        crew.world.set_over(false);
        crew.queue.open();
        self.claimant.set(Claimant { alone: false, ..alone });
        self.purpose.set(Some(purpose));
        let result = std::thread::scope(|scope| {
            let shift = Shift(self);
            for number in 1..=helpers {
                let helper = move || {
                    let _alive = Alive(&crew.lost);
                    let worker = Worker::ahead(shared, Stack::here(stack::SIZE), number);
                    worker.purpose.set(Some(purpose));
                    worker.help(errand);
                };
                let name = "evaluate ahead".to_owned();
                let thread = std::thread::Builder::new().name(name).stack_size(stack::SIZE);
                // Where the machine has no room for more threads, those that are there do.
                if thread.spawn_scoped(scope, helper).is_err() {
                    break;
                }
            }
            let result = work();
            drop(shift);
            result
        });
        self.purpose.set(None);
        self.claimant.set(alone);
        result
    }

    /// Tells helpers that values of the set or list `whole` will be needed, one after the other.
    pub fn offer(
        &self,
        purpose: Purpose,
        whole: Value<'e>,
        values: impl Iterator<Item = Value<'e>> + Clone,
    ) -> Offered<'e> {
        // Few values are not worth it.
        let is_long = || values.clone().filter(|value| !value.is_known()).nth(1).is_some();
        if self.purpose.get() != Some(purpose) || !is_long() {
            return Offered(None);
        }
        Offered(Some(self.shared.crew.queue.add(whole.identity(), || values.collect())))
    }

    /// The same for values that are part of no other one.
    pub fn offer_all(&self, purpose: Purpose, values: impl Iterator<Item = Value<'e>>) -> Offered<'e> {
        let is_meant = self.purpose.get() == Some(purpose);
        Offered(is_meant.then(|| self.shared.crew.queue.add(None, || values.collect())))
    }

    /// Runs errands until there are no more.
    fn help(&self, errand: Errand<'_, 'e>) {
        let crew = &self.shared.crew;
        while let Some(value) = crew.queue.take() {
            loop {
                self.begin();
                let done = errand(self, value);
                let (Err(_), Some((thunk, other))) = (done, self.met()) else { break };
                // Its hands are empty now, so it can wait, and go on where it was stopped.
                if thunk.wait(other, &crew.bell, || crew.world.go_on()).is_err() {
                    break;
                }
            }
            if crew.world.is_over() {
                break;
            }
        }
    }
}
