//! The running task on a terminal: one row, which is gone when the task is done.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nival::progress::Unit;

use super::row::{Shown, row};

/// The time between two rows. A task that takes less shows none.
const TICK: Duration = Duration::from_millis(100);
/// The time over which the speed is taken.
const WINDOW: Duration = Duration::from_secs(5);

/// A task that is shown until it is dropped.
pub struct Task(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

struct State {
    task: String,
    unit: Unit,
    done: u64,
    total: Option<u64>,
    count: Option<(u64, u64)>,
    freed: Option<u64>,
    /// What is under way, by the number of its activity: the first of them has been for longest.
    running: BTreeMap<u64, String>,
    /// What was done when.
    samples: VecDeque<(Instant, u64)>,
    turn: usize,
    /// A row stands on the terminal.
    drawn: bool,
    ended: bool,
}

impl Task {
    /// Begins to show a task.
    pub fn begin(task: &str, total: Option<u64>, unit: Unit) -> Self {
        let state = State {
            task: task.to_owned(),
            unit,
            done: 0,
            total,
            count: None,
            freed: None,
            running: BTreeMap::new(),
            samples: VecDeque::from([(Instant::now(), 0)]),
            turn: 0,
            drawn: false,
            ended: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), ended: Condvar::new() });
        let drawing = Arc::clone(&shared);
        // Without the thread, nothing is shown; the work goes on.
        let _ = std::thread::Builder::new().spawn(move || drawing.draw_until_ended());
        Self(shared)
    }

    /// So much more is done.
    pub fn advance(&self, amount: u64) {
        let mut state = self.0.state();
        state.done = state.done.saturating_add(amount);
    }

    /// So many of the things that the task is about are done.
    pub fn count(&self, done: u64, total: u64) {
        self.0.state().count = Some((done, total));
    }

    /// So many bytes came free by now.
    pub fn freed(&self, bytes: u64) {
        self.0.state().freed = Some(bytes);
    }

    /// Something is under way.
    pub fn start(&self, number: u64, name: &str) {
        self.0.state().running.insert(number, name.to_owned());
    }

    /// Something is under way no more.
    pub fn stop(&self, number: u64) {
        self.0.state().running.remove(&number);
    }

    /// Takes the row away, prints, and leaves the row to come back.
    pub fn suspend(&self, print: impl FnOnce()) {
        let mut state = self.0.state();
        state.clear();
        print();
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.ended = true;
        state.clear();
        self.0.ended.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw_until_ended(&self) {
        let mut state = self.state();
        while !state.ended {
            let (now, waited) = self.ended.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner);
            state = now;
            if waited.timed_out() && !state.ended {
                state.draw();
            }
        }
    }
}

impl State {
    fn rate(&mut self) -> Option<f64> {
        let now = Instant::now();
        self.samples.push_back((now, self.done));
        while self.samples.len() > 2 && self.samples.front().is_some_and(|(then, _)| now - *then > WINDOW) {
            self.samples.pop_front();
        }
        let (then, before) = *self.samples.front()?;
        let seconds = (now - then).as_secs_f64();
        (seconds > 0.0).then(|| self.done.saturating_sub(before) as f64 / seconds)
    }

    fn draw(&mut self) {
        let rate = self.rate();
        self.turn += 1;
        let columns = rustix::termios::tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col);
        let shown = Shown {
            task: &self.task,
            unit: self.unit,
            done: self.done,
            total: self.total,
            count: self.count,
            freed: self.freed,
            rate,
            label: self.running.values().next().map_or("", String::as_str),
            turn: self.turn,
        };
        let text = format!("\r\x1b[K{}", row(&shown, usize::from(columns)));
        // There is nobody to tell that standard error is closed.
        let _ = io::stderr().write_all(text.as_bytes());
        self.drawn = true;
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }
}
