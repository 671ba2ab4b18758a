//! Thunks: values that are computed when they are needed first, in place.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

use super::state::{Found, SUSPENDED, State, TAG};
use super::value::THUNK;
use super::{Bell, Claimant, Env, Heap, Value, address};
use crate::eval::code::Code;
use crate::eval::symbols::Symbol;
use crate::eval::value::{Arguments, Attr, Pending};

/// A suspended thunk has the word [`SUSPENDED`] (an expression and its scope), or that of a call of the function
/// at the address in it: with the values in front of which the function lies, …
const PENDING: u64 = 17;
/// … with the value at an address, …
const PENDING_ITEM: u64 = 18;
/// … with a number, …
const PENDING_NUMBER: u64 = 19;
/// … with name and value of an attribute, …
const PENDING_ATTRIBUTE: u64 = 20;
/// … with a name and the values that go by it.
const PENDING_ZIPPED: u64 = 21;

/// A value that is computed when it is needed first.
#[repr(C)]
pub struct Thunk<'e> {
    state: State,
    life: PhantomData<Cell<&'e ()>>,
}

// SAFETY: by the protocol of the state (see the invariants).
unsafe impl Sync for Thunk<'_> {}

/// What a thread finds at a thunk.
pub enum Claim<'e> {
    /// It has a value.
    Done(Value<'e>),
    /// It has a value, and the first thread has something to catch up on.
    Noted(&'e Note<'e>),
    /// The caller shall do the work of this word (`Thunk::work`) now, and must end it by `Thunk::finish`, `finish_ahead`,
    /// `note`, `fail` or `give_back`.
    Mine(u64),
    /// This thread is at work on it.
    Running(u32),
    /// It failed; the number is that of the failure.
    Failed(u32),
}

/// What a thunk asks for.
pub enum Work<'e> {
    /// Evaluating an expression.
    Evaluate(&'e Code<'e>, &'e Env<'e>),
    /// A call.
    Call(Pending<'e>),
}

/// A value that a helper computed, and what it came to know meanwhile.
pub struct Note<'e> {
    /// The value.
    pub value: Value<'e>,
    /// What the first thread does not know yet, in order.
    pub seen: &'e [Seen<'e>],
    /// Whether the first thread knows all of it by now.
    told: AtomicBool,
}

/// Something that a helper came to know.
#[derive(Clone, Copy)]
pub enum Seen<'e> {
    /// A name.
    Name(Symbol),
    /// Everything in the note of another thunk.
    Note(&'e Note<'e>),
}

impl Note<'_> {
    /// Whether the first thread knows all of it.
    #[inline]
    pub fn is_told(&self) -> bool {
        self.told.load(Ordering::Relaxed)
    }

    /// The first thread begins to learn it; false if it did before.
    pub(in crate::eval) fn tell(&self) -> bool {
        let new = !self.told.load(Ordering::Relaxed);
        self.told.store(true, Ordering::Relaxed);
        new
    }
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
        let value = self.thunk(State::running(), 0);
        // SAFETY: `thunk` has just made it.
        (value, unsafe { &*(value.payload() as *const Thunk<'e>) })
    }

    /// Stores a value and what was seen meanwhile.
    pub(in crate::eval) fn note(&self, value: Value<'e>, seen: &[Seen<'e>]) -> &'e Note<'e> {
        let note = Note { value, seen: self.slice(seen), told: AtomicBool::new(false) };
        let place = self.raw(size_of::<Note<'e>>()).cast::<Note<'e>>();
        // SAFETY: fresh memory of the right size; a note has nothing to drop.
        unsafe {
            place.write(note);
            &*place
        }
    }

    #[inline]
    fn thunk(&self, word: u64, payload: u64) -> Value<'e> {
        let thunk = Thunk { state: State::new(word, payload), life: PhantomData };
        let place = self.raw(size_of::<Thunk<'e>>()).cast::<Thunk<'e>>();
        // SAFETY: fresh memory of the right size.
        unsafe { place.write(thunk) };
        Value::new(THUNK, place as u64)
    }
}

impl<'e> Thunk<'e> {
    /// The value, if it was computed, and not only ahead of the first thread.
    #[inline]
    pub fn value(&self) -> Option<Value<'e>> {
        self.state.value().map(|(word, payload)| Value::new(word, payload))
    }

    /// Gives the value, or makes the caller the one that computes it.
    #[inline]
    pub(in crate::eval) fn claim(&self, by: Claimant) -> Claim<'e> {
        match self.state.claim(by) {
            Found::Value(word, payload) => Claim::Done(Value::new(word, payload)),
            Found::Claimed(word) => Claim::Mine(word),
            Found::Running(other) => Claim::Running(other),
            Found::Failed(number) => Claim::Failed(number),
            // SAFETY: `Thunk::note` has stored the address of a note that is valid for 'e.
            Found::Noted(note) => Claim::Noted(unsafe { &*(note as *const Note<'e>) }),
        }
    }

    /// What a thunk that was suspended with `word` asks for; for the thread that has claimed it.
    #[inline]
    pub(in crate::eval) fn work(&self, word: u64) -> Work<'e> {
        let (upper, payload) = (word >> 8, self.state.payload());
        // SAFETY: a suspended thunk holds the addresses that the functions above took from
        // references that are valid for 'e, as its tag says.
        unsafe {
            let (function, arguments) = match word & TAG {
                SUSPENDED => {
                    return Work::Evaluate(&*(upper as *const Code<'e>), &*(payload as *const Env<'e>));
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
            Work::Call(Pending { function: *function, arguments })
        }
    }

    /// Stores the value that the claimer computed.
    #[inline]
    pub(in crate::eval) fn finish(&self, value: Value<'e>, by: Claimant, bell: &Bell) {
        debug_assert!(!value.is_thunk() && !value.is_empty());
        if self.state.finish(value.word(), value.payload(), by) {
            bell.ring();
        }
    }

    /// The same for a helper, where the first thread did not ask for the value.
    pub(in crate::eval) fn finish_ahead(&self, value: Value<'e>, by: Claimant, bell: &Bell) {
        debug_assert!(!value.is_thunk() && !value.is_empty());
        if self.state.finish_ahead(value.word(), value.payload(), by) {
            bell.ring();
        }
    }

    /// The same with something that the first thread does not know yet.
    pub(in crate::eval) fn note(&self, note: &'e Note<'e>, by: Claimant, bell: &Bell) {
        if self.state.note(address(note), by) {
            bell.ring();
        }
    }

    /// Stores the value of the note that was found here; for the first thread, which knows all of it.
    pub(in crate::eval) fn finish_noted(&self, value: Value<'e>) {
        self.state.finish_noted(value.word(), value.payload());
    }

    /// Suspends the thunk again that the caller has claimed; `word` is what the claim gave.
    #[cold]
    pub(in crate::eval) fn give_back(&self, word: u64, by: Claimant, bell: &Bell) {
        if self.state.give_back(word, by) {
            bell.ring();
        }
    }

    /// Stores the number of the failure that the claimer met.
    pub(in crate::eval) fn fail(&self, failure: u32, by: Claimant, bell: &Bell) {
        if self.state.fail(failure, by) {
            bell.ring();
        }
    }

    /// Waits until the thread `other` is no longer at work on the thunk. Only for the first thread, and for
    /// helpers that have claimed nothing.
    ///
    /// # Errors
    /// That of `go_on`, which is asked now and then.
    pub(in crate::eval) fn wait<E>(
        &self,
        other: u32,
        bell: &Bell,
        go_on: impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        bell.wait(&self.state, other, go_on)
    }
}
