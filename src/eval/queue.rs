//! What the first thread will need, in its order: values that others may compute meanwhile.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::heap::Value;

/// Helpers keep at least so many values of a long batch between themselves and the first thread, so that it
/// does not have to wait for each of them.
const GAP: usize = 16;

/// Values that the first thread will need one after the other.
pub(super) struct Batch<'e> {
    values: Vec<Value<'e>>,
    /// The number of values that the first thread has come to.
    reached: AtomicUsize,
    /// The first value that nobody was given; changed under the lock of the queue.
    next: AtomicUsize,
}

impl<'e> Batch<'e> {
    fn new(values: Vec<Value<'e>>) -> Batch<'e> {
        Batch { values, reached: AtomicUsize::new(0), next: AtomicUsize::new(0) }
    }

    /// The first thread comes to a value.
    #[inline]
    pub(super) fn reach(&self, index: usize) {
        self.reached.store(index + 1, Ordering::Relaxed);
    }

    fn take(&self) -> Option<Value<'e>> {
        let mut next = self.next.load(Ordering::Relaxed);
        let reached = self.reached.load(Ordering::Relaxed);
        if reached > 0 {
            next = next.max(reached + GAP.min(self.values.len() / GAP));
        }
        self.next.store(next + 1, Ordering::Relaxed);
        self.values.get(next).copied()
    }
}

/// What waits for helpers.
pub(super) struct Queue<'e> {
    waiting: Mutex<Waiting<'e>>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting<'e> {
    /// The last one is the next that is needed.
    batches: Vec<Arc<Batch<'e>>>,
    /// Those of sets and lists, by their identity.
    known: HashMap<u64, Arc<Batch<'e>>>,
    open: bool,
}

impl<'e> Queue<'e> {
    pub(super) fn new() -> Queue<'e> {
        Queue { waiting: Mutex::default(), more: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<'e>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to take batches.
    pub(super) fn open(&self) {
        self.lock().open = true;
    }

    /// Ends all waiting, and forgets everything.
    pub(super) fn close(&self) {
        *self.lock() = Waiting::default();
        self.more.notify_all();
    }

    /// Adds the values of a set or list (which has that identity), before those that were added earlier. Who is not the first to do so gets
    /// the batch of that one.
    pub(super) fn add(
        &self,
        identity: Option<u64>,
        values: impl FnOnce() -> Vec<Value<'e>>,
    ) -> Arc<Batch<'e>> {
        let mut waiting = self.lock();
        if let Some(batch) = identity.and_then(|identity| waiting.known.get(&identity)) {
            return Arc::clone(batch);
        }
        let batch = Arc::new(Batch::new(values()));
        if let Some(identity) = identity {
            waiting.known.insert(identity, Arc::clone(&batch));
        }
        waiting.batches.push(Arc::clone(&batch));
        drop(waiting);
        self.more.notify_all();
        batch
    }

    /// The next value that the first thread has not come to; none when there will be no more.
    pub(super) fn take(&self) -> Option<Value<'e>> {
        let mut waiting = self.lock();
        while waiting.open {
            match waiting.batches.last().map(|batch| batch.take()) {
                Some(Some(value)) => return Some(value),
                Some(None) => drop(waiting.batches.pop()),
                None => waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            }
        }
        None
    }
}
