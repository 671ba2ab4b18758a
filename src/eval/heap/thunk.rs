//! Thunks: values that are computed when they are needed first, in place.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use super::value::{TAG, THUNK};
use super::{Env, Heap, Value, address};
use crate::eval::code::Code;
use crate::eval::value::{Arguments, Attr, Pending};

/// The states; a smaller tag is that of a value.
const SUSPENDED: u64 = 16;
/// A call of the function at the address in the word: with the values in front of which it lies, …
const PENDING: u64 = 17;
/// … with the value at an address, …
const PENDING_ITEM: u64 = 18;
/// … with a number, …
const PENDING_NUMBER: u64 = 19;
/// … with name and value of an attribute, …
const PENDING_ATTRIBUTE: u64 = 20;
/// … with a name and the values that go by it.
const PENDING_ZIPPED: u64 = 21;
const RUNNING: u64 = 22;
const FAILED: u64 = 23;

/// A value that is computed when it is needed first.
#[repr(C)]
pub struct Thunk<'e> {
    word: AtomicU64,
    payload: AtomicU64,
    life: PhantomData<Cell<&'e ()>>,
}

// SAFETY: by the protocol of the state word (see the invariants).
unsafe impl Sync for Thunk<'_> {}

/// What a thread finds at a thunk.
pub enum Claim<'e> {
    /// It has a value.
    Done(Value<'e>),
    /// The caller shall evaluate this expression now, and must call `Thunk::finish` or `Thunk::fail`.
    Evaluate(&'e Code<'e>, &'e Env<'e>),
    /// The caller shall make this call now, and must end as above.
    Call(Pending<'e>),
    /// It is being evaluated.
    Running,
    /// It failed; the number is that of the failure.
    Failed(u32),
}

impl<'e> Heap<'e> {
    /// Makes a thunk of an expression.
    #[inline]
    pub fn suspend(&self, code: &'e Code<'e>, env: &'e Env<'e>) -> Value<'e> {
        self.thunk(SUSPENDED | (address(code) << 8), address(env))
    }

    /// Makes a thunk of a call with any number of arguments.
    #[inline]
    pub fn suspend_call(&self, function: Value<'e>, arguments: &[Value<'e>]) -> Value<'e> {
        let place = self.slice_with(arguments.len() + 1, |index| {
            index.checked_sub(1).map_or(function, |at| arguments[at])
        });
        self.thunk(PENDING | ((arguments.len() as u64) << 8), place.as_ptr() as u64)
    }

    /// Makes a thunk of a call with one argument, which lies in memory.
    #[inline]
    pub fn suspend_item(&self, function: &'e Value<'e>, item: &'e Value<'e>) -> Value<'e> {
        self.thunk(PENDING_ITEM | (address(function) << 8), address(item))
    }

    /// Makes a thunk of a call with a number.
    #[inline]
    pub fn suspend_number(&self, function: &'e Value<'e>, number: i64) -> Value<'e> {
        self.thunk(PENDING_NUMBER | (address(function) << 8), number.cast_unsigned())
    }

    /// Makes a thunk of a call with the name and the value of an attribute.
    #[inline]
    pub fn suspend_attribute(&self, function: &'e Value<'e>, attr: &'e Attr<'e>) -> Value<'e> {
        self.thunk(PENDING_ATTRIBUTE | (address(function) << 8), address(attr))
    }

    /// Makes a thunk of a call with a name and a list of values.
    #[inline]
    pub fn suspend_zipped(&self, function: &'e Value<'e>, attr: &'e Attr<'e>) -> Value<'e> {
        self.thunk(PENDING_ZIPPED | (address(function) << 8), address(attr))
    }

    /// Makes a thunk that gets its value from its maker, by `Thunk::finish`, before anybody forces it.
    pub fn knot(&self) -> (Value<'e>, &'e Thunk<'e>) {
        let value = self.thunk(RUNNING, 0);
        // SAFETY: `thunk` has just made it.
        (value, unsafe { &*(value.payload() as *const Thunk<'e>) })
    }

    #[inline]
    fn thunk(&self, word: u64, payload: u64) -> Value<'e> {
        let thunk = Thunk { word: AtomicU64::new(word), payload: AtomicU64::new(payload), life: PhantomData };
        let place = self.raw(size_of::<Thunk<'e>>()).cast::<Thunk<'e>>();
        // SAFETY: fresh memory of the right size.
        unsafe { place.write(thunk) };
        Value::new(THUNK, place as u64)
    }
}

impl<'e> Thunk<'e> {
    /// The value, if it was computed.
    #[inline]
    pub fn value(&self) -> Option<Value<'e>> {
        let word = self.word.load(Ordering::Acquire);
        (word & TAG < SUSPENDED).then(|| Value::new(word, self.payload.load(Ordering::Relaxed)))
    }

    /// Gives the value, or makes the caller the one that computes it.
    #[inline]
    pub(in crate::eval) fn claim(&self) -> Claim<'e> {
        loop {
            let word = self.word.load(Ordering::Acquire);
            let tag = word & TAG;
            if tag < SUSPENDED {
                return Claim::Done(Value::new(word, self.payload.load(Ordering::Relaxed)));
            }
            if tag == RUNNING {
                return Claim::Running;
            }
            if tag == FAILED {
                return Claim::Failed((word >> 8) as u32);
            }
            if self.word.compare_exchange(word, RUNNING, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return self.work(word);
            }
        }
    }

    /// What a thunk that was suspended with `word` asks for; for the thread that has claimed it.
    #[inline]
    fn work(&self, word: u64) -> Claim<'e> {
        let (upper, payload) = (word >> 8, self.payload.load(Ordering::Relaxed));
        // SAFETY: a suspended thunk holds the addresses that the functions above took from
        // references that are valid for 'e, as its tag says.
        unsafe {
            let (function, arguments) = match word & TAG {
                SUSPENDED => {
                    return Claim::Evaluate(&*(upper as *const Code<'e>), &*(payload as *const Env<'e>));
                }
                PENDING_ITEM => {
                    let item = std::slice::from_ref(&*(payload as *const Value<'e>));
                    (upper as *const Value<'e>, Arguments::Values(item))
                }
                PENDING_NUMBER => (upper as *const Value<'e>, Arguments::Number(payload.cast_signed())),
                PENDING_ATTRIBUTE => {
                    (upper as *const Value<'e>, Arguments::Attribute(&*(payload as *const Attr<'e>)))
                }
                PENDING_ZIPPED => {
                    (upper as *const Value<'e>, Arguments::Zipped(&*(payload as *const Attr<'e>)))
                }
                _ => {
                    let place = payload as *const Value<'e>;
                    (place, Arguments::Values(std::slice::from_raw_parts(place.add(1), upper as usize)))
                }
            };
            Claim::Call(Pending { function: *function, arguments })
        }
    }

    /// Stores the value that the claimer computed.
    #[inline]
    pub(in crate::eval) fn finish(&self, value: Value<'e>) {
        debug_assert!(!value.is_thunk() && !value.is_empty());
        self.payload.store(value.payload(), Ordering::Relaxed);
        self.word.store(value.word(), Ordering::Release);
    }

    /// The word of the thunk, for [`Thunk::give_back`].
    #[inline]
    pub(in crate::eval) fn word(&self) -> u64 {
        self.word.load(Ordering::Relaxed)
    }

    /// Suspends the thunk again that the caller has claimed; `word` is its word from right before the
    /// claim. A suspended thunk that is suspended again has the same word, so the one is the other.
    #[cold]
    pub(in crate::eval) fn give_back(&self, word: u64) {
        debug_assert!(word & TAG >= SUSPENDED && word & TAG != RUNNING && word & TAG != FAILED);
        self.word.store(word, Ordering::Release);
    }

    /// Stores the number of the failure that the claimer met.
    pub(in crate::eval) fn fail(&self, failure: u32) {
        self.word.store(FAILED | (u64::from(failure) << 8), Ordering::Release);
    }
}
