//! Moves archives, many at a time.
//!
//! ```text
//! not begun → being taken → waits for its references → being published → done
//! ```
//!
//! Paths are begun in their order and taken by threads; each is published when
//! everything that it refers to is. What only the destination's own thread can
//! publish is handed to it. Only [`WINDOW`] paths after the first that is not
//! done are begun, which bounds what is held.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver as Channel, RecvTimeoutError, Sender, channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::watch::Watch;
use crate::model::StorePath;
use crate::nar::NarError;
use crate::store::error::{Result, StoreError};
use crate::store::transfer::{Item, NarSource, NarTaker, Registrar, Store, Taken};
use crate::sys::interrupt;
use crate::sys::threads::locked;

/// Paths that may be begun after the first that is not done.
const WINDOW: usize = 512;
/// How often threads that wait look for a signal.
const LOOK: Duration = Duration::from_millis(100);

/// Why not everything was copied.
pub(crate) struct Failed {
    /// The first error.
    pub error: StoreError,
    /// The number of the path that it is about.
    pub item: Option<usize>,
}

impl From<StoreError> for Box<Failed> {
    fn from(error: StoreError) -> Self {
        Self::new(Failed { error, item: None })
    }
}

/// Copies `items`, which come in an order in which references come first, from
/// a source that so many threads may read from.
pub(crate) fn run(
    reader: &dyn NarSource,
    parallel: usize,
    destination: &dyn Store,
    items: &[Item],
    watch: &Watch<'_>,
) -> std::result::Result<(), Box<Failed>> {
    let mut receiver = destination.receiver()?;
    let threads = parallel.max(receiver.parallel).min(items.len());
    let (sender, channel) = channel();
    let work = Work {
        items,
        reader,
        taker: &*receiver.taker,
        watch,
        state: Mutex::new(State::new(items)),
        changed: Condvar::new(),
    };
    std::thread::scope(|scope| {
        let mut spawned = 0;
        for _ in 0..threads {
            let (work, sender) = (&work, sender.clone());
            spawned += usize::from(
                std::thread::Builder::new().spawn_scoped(scope, move || work.thread(&sender)).is_ok(),
            );
        }
        drop(sender);
        if spawned == 0 {
            work.fail(StoreError::Input("no thread can be started".to_owned()), None);
        }
        work.register(&channel, &mut *receiver.registrar);
    });
    let failure = work.state.into_inner().unwrap_or_else(PoisonError::into_inner).failure;
    match failure {
        None => Ok(receiver.registrar.finish()?),
        Some(failed) => {
            if !failed.error.is_interruption() {
                // What is complete stays; the first error tells more than another.
                let _ = receiver.registrar.finish();
            }
            Err(failed)
        }
    }
}

struct Work<'w> {
    items: &'w [Item],
    reader: &'w dyn NarSource,
    taker: &'w dyn NarTaker,
    watch: &'w Watch<'w>,
    state: Mutex<State>,
    changed: Condvar,
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

enum Task {
    Take(usize),
    Publish(usize, Taken),
}

impl Work<'_> {
    fn fail(&self, error: StoreError, item: Option<usize>) {
        let mut state = locked(&self.state);
        state.failure.get_or_insert(Box::new(Failed { error, item }));
        drop(state);
        self.changed.notify_all();
    }

    /// What there is to do next; `None` when there is nothing more.
    fn task(&self) -> Option<Task> {
        let mut state = locked(&self.state);
        loop {
            if let Err(signal) = interrupt::check() {
                state.failure.get_or_insert(StoreError::from(signal).into());
            }
            if state.failure.is_some() || state.left == 0 {
                self.changed.notify_all();
                return None;
            }
            if let Some((number, taken)) = state.ready.pop_front() {
                return Some(Task::Publish(number, taken));
            }
            if state.next < self.items.len() && state.next < state.first + WINDOW {
                state.next += 1;
                return Some(Task::Take(state.next - 1));
            }
            state = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn thread(&self, own: &Sender<(usize, Taken)>) {
        while let Some(task) = self.task() {
            let (number, result) = match task {
                Task::Take(number) => (number, self.take(number)),
                Task::Publish(number, taken) => (number, self.publish(number, taken, own)),
            };
            if let Err(error) = result {
                self.fail(error, Some(number));
            }
        }
    }

    fn take(&self, number: usize) -> Result<()> {
        let item = &self.items[number];
        let activity = self.watch.begin(item);
        let mut fill = |sink: &mut dyn crate::nar::Sink| {
            self.reader.read(item, sink).map_err(|error| NarError::Sink(Box::new(error)))
        };
        let taken = self.taker.take(item, &mut fill);
        self.watch.end(item, activity, taken.is_ok());
        let taken = taken?;
        locked(&self.state).taken(number, taken);
        self.changed.notify_one();
        Ok(())
    }

    fn publish(&self, number: usize, taken: Taken, own: &Sender<(usize, Taken)>) -> Result<()> {
        match self.taker.publish(taken)? {
            None => self.done(number),
            // If nobody takes it, it is because of a failure that is told.
            Some(taken) => drop(own.send((number, taken))),
        }
        Ok(())
    }

    fn done(&self, number: usize) {
        locked(&self.state).finish(number);
        self.changed.notify_all();
    }

    /// Publishes what threads cannot, until they have all ended.
    fn register(&self, channel: &Channel<(usize, Taken)>, registrar: &mut dyn Registrar) {
        loop {
            match channel.recv_timeout(LOOK) {
                Ok((number, taken)) => {
                    if locked(&self.state).failure.is_some() {
                        continue;
                    }
                    match registrar.register(taken) {
                        Ok(()) => self.done(number),
                        Err(error) => self.fail(error, Some(number)),
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}
