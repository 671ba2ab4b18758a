//! A model of how threads force thunks: the code of `src/eval/heap/state.rs` itself, run by loom in all orders in
//! which its steps can happen. What waits sleeps until it is woken here, without looking up now and then: a lost
//! wake-up, or threads that wait for each other, is a deadlock that loom reports.
#![cfg(test)]

#[path = "../../../src/eval/heap/state.rs"]
#[allow(dead_code)]
mod state;

mod sync {
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
    pub(super) use loom::sync::{Condvar, Mutex, MutexGuard};

    pub(super) fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
        mutex.lock().unwrap()
    }

    pub(super) fn nap<'a>(bell: &Condvar, guard: MutexGuard<'a, ()>) -> MutexGuard<'a, ()> {
        bell.wait(guard).unwrap()
    }
}

use std::convert::Infallible;

use loom::sync::Arc;
use loom::thread;
use state::{Bell, Claimant, Found, SUSPENDED, State};

/// The tag of the numbers that the thunks of the models have for values.
const NUMBER: u64 = 3;

/// Some thunks. Each has in its payload the number of the thunk that it needs first, if it is one of them.
struct Graph {
    thunks: Vec<State>,
    bell: Bell,
}

/// Why there is no value.
#[derive(PartialEq, Eq, Debug)]
enum Failed {
    /// The thunk needs itself.
    Recursion,
    /// Another thread is at work on that thunk.
    Left(usize, u32),
}

/// The failure that a thunk keeps.
const RECURSION: u32 = 7;

impl Graph {
    fn new(needs: &[usize]) -> Arc<Graph> {
        let thunks = needs.iter().map(|needed| State::new(SUSPENDED, *needed as u64)).collect();
        Arc::new(Graph { thunks, bell: Bell::default() })
    }

    /// What a worker does (`Worker::force_thunk`, `force_ahead` and `await_other`), with one more than the value
    /// of what a thunk needs for its value.
    fn force(&self, at: usize, by: Claimant, nested: bool) -> Result<u64, Failed> {
        let thunk = &self.thunks[at];
        let word = loop {
            match thunk.claim(by) {
                Found::Value(_, value) => return Ok(value),
                // The note of these models is the value itself.
                Found::Noted(value) => {
                    if by.number == 0 {
                        thunk.finish_noted(NUMBER, value);
                    }
                    return Ok(value);
                }
                Found::Claimed(word) => break word,
                Found::Failed(failure) => {
                    assert_eq!(failure, RECURSION);
                    return Err(Failed::Recursion);
                }
                Found::Running(other) if other == by.number => return Err(Failed::Recursion),
                Found::Running(other) if by.number > 0 => return Err(Failed::Left(at, other)),
                Found::Running(other) => self.wait(at, other),
            }
        };
        let needed = thunk.payload() as usize;
        let result = match needed < self.thunks.len() {
            true => self.force(needed, by, true).map(|value| value + 1),
            false => Ok(1),
        };
        let waited = match &result {
            Ok(value) if by.number > 0 && !nested => thunk.finish_ahead(NUMBER, *value, by),
            Ok(value) if by.number == 2 => thunk.note(*value, by),
            Ok(value) => thunk.finish(NUMBER, *value, by),
            Err(_) if by.number > 0 => thunk.give_back(word, by),
            Err(_) => thunk.fail(RECURSION, by),
        };
        if waited {
            self.bell.ring();
        }
        result
    }

    fn wait(&self, at: usize, other: u32) {
        let Ok(()) = self.bell.wait(&self.thunks[at], other, || Ok::<(), Infallible>(()));
    }

    /// What a helper does: it waits with empty hands only, and some times over.
    fn help(&self, at: usize, number: u32) {
        for _ in 0..2 {
            match self.force(at, Claimant { number, alone: false }, false) {
                Err(Failed::Left(met, other)) => self.wait(met, other),
                Ok(value) => return assert!(value > 0),
                Err(Failed::Recursion) => return,
            }
        }
    }
}

/// Runs the first thread on one thunk and helpers on others, and gives `check` what the first one gets.
fn model(needs: &'static [usize], first: usize, helpers: &'static [usize], check: fn(Result<u64, Failed>)) {
    let mut builder = loom::model::Builder::new();
    // Enough to find mistakes of such protocols, and the models of three threads come to an end.
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let graph = Graph::new(needs);
        let threads: Vec<_> = (1..)
            .zip(helpers)
            .map(|(number, at)| {
                let graph = Arc::clone(&graph);
                thread::spawn(move || graph.help(*at, number))
            })
            .collect();
        let by = Claimant { number: 0, alone: false };
        check(graph.force(first, by, false));
        for thread in threads {
            thread.join().unwrap();
        }
        // Nothing that the first thread has seen changes, and nothing is left at work.
        check(graph.force(first, Claimant { number: 0, alone: true }, false));
    });
}

/// The number of no thunk.
const NONE: usize = 99;

#[test]
fn a_thunk_is_computed_once_and_all_get_its_value() {
    model(&[NONE], 0, &[0], |result| assert_eq!(result, Ok(1)));
    model(&[NONE], 0, &[0, 0], |result| assert_eq!(result, Ok(1)));
}

#[test]
fn thunks_that_need_each_other_in_turn() {
    model(&[1, NONE], 0, &[1], |result| assert_eq!(result, Ok(2)));
    model(&[1, 2, NONE], 0, &[1], |result| assert_eq!(result, Ok(3)));
    model(&[1, NONE], 1, &[0], |result| assert_eq!(result, Ok(1)));
    model(&[2, 2, NONE], 0, &[1, 2], |result| assert_eq!(result, Ok(2)));
}

#[test]
fn a_cycle_is_found_by_the_first_thread_whoever_is_at_work_on_it() {
    model(&[0], 0, &[0], |result| assert_eq!(result, Err(Failed::Recursion)));
    model(&[1, 0], 0, &[1], |result| assert_eq!(result, Err(Failed::Recursion)));
    model(&[1, 0], 0, &[1, 0], |result| assert_eq!(result, Err(Failed::Recursion)));
    model(&[1, 2, 0], 0, &[1, 2], |result| assert_eq!(result, Err(Failed::Recursion)));
}
