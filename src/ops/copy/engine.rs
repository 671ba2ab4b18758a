//! Moves archives, many at a time.
//!
//! ```text
//! not begun → being taken → waits for its references → being published → done
//! ```
//!
//! Paths are begun in their order and taken by threads; each is published when
//! everything that it refers to is, by a thread or by the destination's own, as
//! the destination wants it. When one fails, or a signal comes, what was taken is
//! still published if it can be. Only [`WINDOW`] paths after the first that is not
//! done are begun, which bounds what is held.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::watch::Watch;
use crate::model::StorePath;
use crate::nar::NarError;
use crate::store::api::{Item, NarSource, NarTaker, Registrar, Store, Taken};
use crate::store::error::{Result, StoreError};
use crate::sys::interrupt;
use crate::sys::threads::locked;

/// Paths that may be begun after the first that is not done.
const WINDOW: usize = 512;
/// Paths that the destination's own thread is woken for, unless others wait for it.
const GATHERED: usize = 32;
/// How often threads that wait look for a signal.
const LOOK: Duration = Duration::from_millis(100);

/// Why not everything was copied.
pub(crate) struct Failed {
    /// The first error.
    pub error: StoreError,
    /// The number of the path that it is about.
    pub item: Option<usize>,
    /// Paths that were complete, and stay.
    pub kept: usize,
}

impl From<StoreError> for Box<Failed> {
    fn from(error: StoreError) -> Self {
        Self::new(Failed { error, item: None, kept: 0 })
    }
}

/// Copies `items`, which come in an order in which references come first, from
/// a source that so many threads may read from.
pub(crate) fn run(
    reader: &dyn NarSource,
    parallel: usize,
    destination: &dyn Store,
    items: &[Item],
    check_signatures: bool,
    watch: &Watch<'_>,
) -> std::result::Result<(), Box<Failed>> {
    let mut receiver = destination.receiver(items, check_signatures)?;
    let threads = parallel.max(receiver.parallel).min(items.len());
    let work = Work {
        items,
        reader,
        taker: &*receiver.taker,
        watch,
        publishes: receiver.publishes,
        state: Mutex::new(State::new(items)),
        changed: Condvar::new(),
        ready: Condvar::new(),
    };
    std::thread::scope(|scope| {
        let (mut spawned, mut refused) = (0, None);
        for _ in 0..threads {
            match std::thread::Builder::new().spawn_scoped(scope, interrupt::inherited(|| work.thread())) {
                Ok(_) => spawned += 1,
                Err(error) => refused = Some(error),
            }
        }
        if let (0, Some(error)) = (spawned, refused) {
            work.fail(StoreError::NoThread(error), None);
        }
        work.register(&mut *receiver.registrar);
    });
    let failure = locked(&work.state).failure.take();
    let Some(mut failed) = failure else {
        return Ok(complete(|| receiver.registrar.finish())?);
    };
    // What is complete stays, whatever happened to the others. The first error
    // tells more than one that comes now.
    failed.kept = complete(|| work.keep(&mut *receiver.registrar));
    Err(failed)
}

/// Makes visible what is complete, also when a signal comes: what was taken would
/// be lost.
fn complete<T>(publish: impl FnOnce() -> T) -> T {
    interrupt::with_grace(interrupt::KEEPING, publish)
}

struct Work<'w> {
    items: &'w [Item],
    reader: &'w dyn NarSource,
    taker: &'w dyn NarTaker,
    watch: &'w Watch<'w>,
    /// By threads.
    publishes: bool,
    state: Mutex<State>,
    /// There may be something to do for threads.
    changed: Condvar,
    /// There may be something to do for the destination's own thread.
    ready: Condvar,
}

struct State {
    /// The first that was not begun.
    next: usize,
    /// The first that is not done.
    first: usize,
    done: Vec<bool>,
    left: usize,
    /// References that are not done, for each.
    waits_for: Vec<u32>,
    /// Who refers to each.
    referrers: Vec<Vec<u32>>,
    /// Taken, but with references that are not done.
    waiting: HashMap<usize, Taken>,
    /// To be published.
    ready: VecDeque<(usize, Taken)>,
    failure: Option<Box<Failed>>,
    /// Threads that wait.
    idle: usize,
}

impl State {
    fn new(items: &[Item]) -> Self {
        let index: HashMap<&StorePath, usize> =
            items.iter().enumerate().map(|(number, item)| (&item.info.path, number)).collect();
        let mut waits_for = vec![0; items.len()];
        let mut referrers = vec![Vec::new(); items.len()];
        for (number, item) in items.iter().enumerate() {
            for other in item.info.references.iter().filter_map(|path| index.get(path)) {
                // Later ones are itself, or a circle.
                if *other < number {
                    waits_for[number] += 1;
                    // A plan of four thousand million paths does not fit in memory.
                    referrers[*other].push(number as u32);
                }
            }
        }
        Self {
            next: 0,
            first: 0,
            done: vec![false; items.len()],
            left: items.len(),
            waits_for,
            referrers,
            waiting: HashMap::new(),
            ready: VecDeque::new(),
            failure: None,
            idle: 0,
        }
    }

    fn finish(&mut self, number: usize) {
        self.done[number] = true;
        self.left -= 1;
        while self.done.get(self.first) == Some(&true) {
            self.first += 1;
        }
        for referrer in std::mem::take(&mut self.referrers[number]) {
            let referrer = referrer as usize;
            self.waits_for[referrer] -= 1;
            if self.waits_for[referrer] == 0
                && let Some(taken) = self.waiting.remove(&referrer)
            {
                self.ready.push_back((referrer, taken));
            }
        }
    }

    fn taken(&mut self, number: usize, taken: Taken) {
        match self.waits_for[number] {
            0 => self.ready.push_back((number, taken)),
            _ => drop(self.waiting.insert(number, taken)),
        }
    }
}

/// Ends the others when a thread panics: they would wait for it.
struct Guard<'w>(&'w Work<'w>);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(StoreError::ThreadFailed, None);
        }
    }
}

enum Task {
    Take(usize),
    Publish(usize, Taken),
}

impl Work<'_> {
    fn fail(&self, error: StoreError, item: Option<usize>) {
        let mut state = locked(&self.state);
        // Who only had to give up because of another knows less than that one.
        let known =
            state.failure.as_ref().is_some_and(|failed| !matches!(failed.error, StoreError::Overtaken));
        if !known {
            state.failure = Some(Box::new(Failed { error, item, kept: 0 }));
        }
        drop(state);
        self.changed.notify_all();
        self.ready.notify_all();
    }

    /// Lets go of the state and wakes the threads that have something to do now.
    fn wake(&self, state: MutexGuard<'_, State>) {
        let over = state.left == 0;
        let idle = state.idle > 0;
        let pressing = idle || state.next == self.items.len() || state.ready.len() >= GATHERED;
        let ready = !self.publishes && !state.ready.is_empty() && pressing;
        drop(state);
        if idle {
            self.changed.notify_all();
        }
        if ready || over {
            self.ready.notify_all();
        }
    }

    /// What there is to do next; `None` when there is nothing more.
    fn task(&self) -> Option<Task> {
        let mut state = locked(&self.state);
        loop {
            if let Err(signal) = interrupt::check() {
                state.failure.get_or_insert(StoreError::from(signal).into());
            }
            if state.failure.is_some() || state.left == 0 {
                return None;
            }
            if self.publishes
                && let Some((number, taken)) = state.ready.pop_front()
            {
                return Some(Task::Publish(number, taken));
            }
            if state.next < self.items.len() && state.next < state.first + WINDOW {
                state.next += 1;
                return Some(Task::Take(state.next - 1));
            }
            state.idle += 1;
            state = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
        }
    }

    fn thread(&self) {
        let _guard = Guard(self);
        while let Some(task) = self.task() {
            let (number, result) = match task {
                Task::Take(number) => (number, self.take(number)),
                Task::Publish(number, taken) => (number, self.publish(number, taken)),
            };
            if let Err(error) = result {
                self.fail(error, Some(number));
            }
        }
    }

    /// Publishes what was taken before something failed and refers to nothing
    /// that is missing; gives the number of paths that stay.
    fn keep(&self, registrar: &mut dyn Registrar) -> usize {
        let mut state = locked(&self.state);
        while let Some((number, taken)) = state.ready.pop_front() {
            let kept = match self.publishes {
                true => self.taker.publish(taken),
                false => registrar.register(taken),
            };
            if kept.is_ok() {
                state.finish(number);
            }
        }
        let done = state.done.iter().filter(|done| **done).count();
        if registrar.finish().is_ok() && registrar.keeps() { done } else { 0 }
    }

    fn take(&self, number: usize) -> Result<()> {
        let item = &self.items[number];
        let activity = self.watch.begin(item);
        let mut fill = |sink: &mut dyn crate::nar::Sink| {
            self.reader.read(item, sink).map_err(|error| NarError::Sink(Box::new(error)))
        };
        let taken = self.taker.take(item, &mut fill);
        self.watch.end(item, activity, taken.is_ok());
        let done = self.reader.done(item, taken.is_ok());
        let taken = taken.map_err(|error| self.reader.explain(item, error))?;
        done?;
        let mut state = locked(&self.state);
        state.taken(number, taken);
        self.wake(state);
        Ok(())
    }

    fn publish(&self, number: usize, taken: Taken) -> Result<()> {
        complete(|| self.taker.publish(taken))?;
        let mut state = locked(&self.state);
        state.finish(number);
        self.wake(state);
        Ok(())
    }

    /// Publishes what threads do not, until everything is done or something
    /// failed.
    fn register(&self, registrar: &mut dyn Registrar) {
        loop {
            let mut state = locked(&self.state);
            while state.failure.is_none() && state.left > 0 && (self.publishes || state.ready.is_empty()) {
                state = self.ready.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            }
            if state.failure.is_some() || state.left == 0 {
                return;
            }
            let mut ready = std::mem::take(&mut state.ready);
            drop(state);
            let mut numbers = Vec::with_capacity(ready.len());
            let mut failure = None;
            while let Some((number, taken)) = ready.pop_front() {
                if let Err(error) = complete(|| registrar.register(taken)) {
                    // A full batch is about others, too.
                    let about = matches!(error, StoreError::Invalid(_)).then_some(number);
                    failure = Some((error, about));
                    break;
                }
                numbers.push(number);
            }
            let mut state = locked(&self.state);
            numbers.into_iter().for_each(|number| state.finish(number));
            // Those after one that failed can be kept.
            state.ready.append(&mut ready);
            self.wake(state);
            if let Some((error, about)) = failure {
                return self.fail(error, about);
            }
        }
    }
}
