//! The state of a thunk: two words that several threads may look at.
//!
//! ```text
//! suspended ── claim ──→ running(thread) ── finish ──→ value
//!     ↑                        │  ├── finish ahead ──→ value ahead ── take ──→ value
//!     └────── give back ───────┘  ├── note ──→ noted ── finish ──→ value
//!                                 └── fail ──→ failed
//! ```
//!
//! The first thread evaluates in order. The others, helpers, evaluate ahead of it what it will need: what they
//! leave are values (*ahead* where the first thread has not asked for them yet, *noted* where it has something to
//! catch up on when it does), never failures.
//!
//! A helper never waits while it runs a thunk: where it needs one that another thread runs, it gives back all of
//! its own and waits with empty hands. So whoever is waited for goes on, and the first thread can wait for a
//! helper. A thunk that the first thread finds running on itself needs itself, by whichever way.
//!
//! This file has no other parts of the program in it, so that `tests/threads` can try all orders of its steps.

use super::sync::{AtomicU64, Condvar, Mutex, Ordering, lock, nap};

/// The part of a word that says what it is; smaller ones than [`SUSPENDED`] are those of values.
pub(super) const TAG: u64 = 0xff;
/// From here on words are suspended, …
pub(super) const SUSPENDED: u64 = 16;
/// … from here on something else: a thread is at work (its number lies above the tag), …
const RUNNING: u64 = 22;
/// … it failed (above the tag lies the number of the failure), …
const FAILED: u64 = 23;
/// … or a helper left a note, the address of which lies above the tag.
const NOTED: u64 = 24;
/// In the tag of a value: the first thread did not ask for it yet.
const AHEAD: u64 = 0x40;
/// In the word of a running thunk: somebody waits.
const WAITED: u64 = 1 << 40;

/// A thread of the evaluation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claimant {
    /// 0 for the first thread.
    pub number: u32,
    /// Whether no other thread is there.
    pub alone: bool,
}

/// What a thread finds at a thunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// A value: word and payload.
    Value(u64, u64),
    /// A value of which a helper has something to tell the first thread.
    Noted(u64),
    /// It was suspended with this word, and is the caller's now.
    Claimed(u64),
    /// A thread is at work on it.
    Running(u32),
    /// It failed.
    Failed(u32),
}

/// The two words.
pub(super) struct State {
    word: AtomicU64,
    payload: AtomicU64,
}

impl State {
    /// A state with these words: suspended, or [`State::running`].
    #[inline]
    pub(super) fn new(word: u64, payload: u64) -> State {
        State { word: AtomicU64::new(word), payload: AtomicU64::new(payload) }
    }

    /// The word of a thunk on which the first thread is at work.
    pub(super) const fn running() -> u64 {
        RUNNING
    }

    /// Word and payload of the value, if the first thread has asked for it, or a helper for its own sake.
    #[inline]
    pub(super) fn value(&self) -> Option<(u64, u64)> {
        let word = self.word.load(Ordering::Acquire);
        (word & TAG < SUSPENDED).then(|| (word, self.payload.load(Ordering::Relaxed)))
    }

    /// The second word, for the thread that has claimed the thunk.
    #[inline]
    pub(super) fn payload(&self) -> u64 {
        self.payload.load(Ordering::Relaxed)
    }

    /// Gives what is there, or the thunk to the caller.
    #[inline]
    pub(super) fn claim(&self, by: Claimant) -> Found {
        loop {
            let word = self.word.load(Ordering::Acquire);
            let tag = word & TAG;
            if tag < SUSPENDED {
                return Found::Value(word, self.payload.load(Ordering::Relaxed));
            }
            if tag >= RUNNING {
                return self.found(word, by);
            }
            let mine = RUNNING | (u64::from(by.number) << 8);
            if by.alone {
                self.word.store(mine, Ordering::Relaxed);
                return Found::Claimed(word);
            }
            if self.word.compare_exchange(word, mine, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return Found::Claimed(word);
            }
        }
    }

    /// What a word says that is neither a value nor suspended.
    #[cold]
    fn found(&self, word: u64, by: Claimant) -> Found {
        match word & TAG {
            RUNNING => Found::Running((word >> 8) as u32),
            FAILED => Found::Failed((word >> 8) as u32),
            NOTED => Found::Noted(word >> 8),
            _ => {
                // Nobody else changes this word, and who has read the old one finds the same payload.
                if by.number == 0 {
                    self.word.store(word & !AHEAD, Ordering::Release);
                }
                Found::Value(word & !AHEAD, self.payload.load(Ordering::Relaxed))
            }
        }
    }

    /// Stores the value that the claimer computed; true if somebody has to be woken.
    #[inline]
    #[must_use]
    pub(super) fn finish(&self, word: u64, payload: u64, by: Claimant) -> bool {
        self.payload.store(payload, Ordering::Relaxed);
        self.leave(word, by)
    }

    /// Stores a value that the first thread has not asked for; true as above.
    #[must_use]
    pub(super) fn finish_ahead(&self, word: u64, payload: u64, by: Claimant) -> bool {
        self.finish(word | AHEAD, payload, by)
    }

    /// Stores the address of a note; true as above.
    #[must_use]
    pub(super) fn note(&self, address: u64, by: Claimant) -> bool {
        self.leave(NOTED | (address << 8), by)
    }

    /// Stores the value of a note that the first thread has read. A helper that reads the old word finds the
    /// same value in the note.
    pub(super) fn finish_noted(&self, word: u64, payload: u64) {
        self.payload.store(payload, Ordering::Relaxed);
        self.word.store(word, Ordering::Release);
    }

    /// Stores the number of the failure that the claimer met; true as above.
    #[must_use]
    pub(super) fn fail(&self, failure: u32, by: Claimant) -> bool {
        self.leave(FAILED | (u64::from(failure) << 8), by)
    }

    /// Suspends the thunk again with the word that it had when the caller claimed it; true as above.
    #[must_use]
    pub(super) fn give_back(&self, word: u64, by: Claimant) -> bool {
        self.leave(word, by)
    }

    #[inline]
    fn leave(&self, word: u64, by: Claimant) -> bool {
        if by.alone {
            self.word.store(word, Ordering::Release);
            return false;
        }
        self.word.swap(word, Ordering::AcqRel) & (TAG | WAITED) == RUNNING | WAITED
    }
}

/// Wakes those who wait for thunks.
pub struct Bell {
    lock: Mutex<()>,
    rung: Condvar,
}

impl Default for Bell {
    /// A bell for which nobody waits.
    fn default() -> Bell {
        Bell { lock: Mutex::new(()), rung: Condvar::new() }
    }
}

impl Bell {
    /// Wakes all who wait.
    #[cold]
    pub fn ring(&self) {
        // Whoever has marked the word and is not asleep yet holds the lock.
        drop(lock(&self.lock));
        self.rung.notify_all();
    }

    /// Waits until the thread `other` is no longer at work on a thunk, or `go_on` says that it is enough.
    pub(super) fn wait<E>(
        &self,
        state: &State,
        other: u32,
        mut go_on: impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut guard = lock(&self.lock);
        loop {
            let word = state.word.load(Ordering::Acquire);
            if word & TAG != RUNNING || (word >> 8) as u32 != other {
                return Ok(());
            }
            let waited = word | WAITED;
            if state.word.compare_exchange(word, waited, Ordering::Relaxed, Ordering::Relaxed).is_err() {
                continue;
            }
            guard = nap(&self.rung, guard);
            go_on()?;
        }
    }
}
