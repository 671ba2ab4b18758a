//! What threads use to wait for each other; the model of the protocol has its own.

pub(super) use std::sync::atomic::{AtomicU64, Ordering};
pub(super) use std::sync::{Condvar, Mutex, MutexGuard};

use std::sync::PoisonError;
use std::time::Duration;

/// How long a thread sleeps at most before it looks whether it shall still wait.
const NAP: Duration = Duration::from_millis(50);

pub(super) fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sleeps until somebody rings, or for a while.
pub(super) fn nap<'a>(bell: &Condvar, guard: MutexGuard<'a, ()>) -> MutexGuard<'a, ()> {
    bell.wait_timeout(guard, NAP).unwrap_or_else(PoisonError::into_inner).0
}
