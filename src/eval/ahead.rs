//! Evaluating ahead of the first thread, so that nobody can tell.
//!
//! A helper computes values that the first thread will ask for. It tells nobody anything and changes nothing in the
//! world: where that is called for, where it meets any failure, or a thunk at which another thread is at work, it
//! gives back what it has begun, and the first thread comes to it in its own time. Names that it is the first to see
//! are noted with the thunk in which it saw them; they get their ages when the first thread takes its value.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use super::error::{Error, Kind};
use super::heap::{Claimant, Note, Seen, Thunk, Value};
use super::interpret::{Evaluated, Worker};
use super::shared::Shared;
use super::stack::Stack;
use super::symbols::{Interner, Symbol};
use super::value::{Attr, Attrs};

/// What a thread needs that evaluates ahead.
#[derive(Default)]
pub(super) struct Helper<'e> {
    /// What it came to know and the first thread does not know, but for what is in notes of thunks around.
    seen: RefCell<Vec<Seen<'e>>>,
    /// The number of thunks at which it is at work.
    nested: Cell<u32>,
    /// The thunk at which it found another thread at work, and that thread.
    met: Cell<Option<(&'e Thunk<'e>, u32)>>,
}

/// The failure of a helper that leaves something to the first thread. It passes wherever an interruption does.
#[cold]
pub(super) fn left() -> Error {
    Error::of(Kind::Interrupted, "left to the first thread")
}

impl<'e> Worker<'e> {
    /// A worker that evaluates ahead; `number` is not 0.
    pub(super) fn ahead(shared: &'e Shared<'e>, stack: Stack, number: u32) -> Worker<'e> {
        let mut worker = Worker::new(shared, stack);
        worker.claimant.set(Claimant { number, alone: false });
        worker.world = &shared.crew.world;
        worker.helper = Some(Helper::default());
        worker
    }

    /// Whether this thread evaluates ahead of another one.
    pub(super) fn is_ahead(&self) -> bool {
        self.helper.is_some()
    }

    /// Begins with something new; what was noted belongs to values that are gone.
    pub(super) fn begin(&self) {
        if let Some(helper) = &self.helper {
            helper.seen.borrow_mut().clear();
            helper.met.set(None);
        }
    }

    /// The thunk that stopped this thread since [`Worker::begin`], and who was at work at it.
    pub(super) fn met(&self) -> Option<(&'e Thunk<'e>, u32)> {
        self.helper.as_ref().and_then(|helper| helper.met.take())
    }

    /// Does the work of a thunk that this helper has claimed.
    #[inline(never)]
    pub(super) fn force_ahead(&self, helper: &Helper<'e>, thunk: &'e Thunk<'e>, word: u64) -> Evaluated<'e> {
        let (start, nested) = (helper.seen.borrow().len(), helper.nested.get());
        helper.nested.set(nested + 1);
        let result = self.work(thunk, word);
        helper.nested.set(nested);
        let (claimant, bell) = (self.claimant.get(), &self.shared.crew.bell);
        match &result {
            Ok(value) => {
                let mut seen = helper.seen.borrow_mut();
                if seen.len() > start {
                    let note = self.heap.note(*value, seen.get(start..).unwrap_or_default());
                    seen.truncate(start);
                    seen.push(Seen::Note(note));
                    thunk.note(note, claimant, bell);
                } else if nested == 0 {
                    thunk.finish_ahead(*value, claimant, bell);
                } else {
                    thunk.finish(*value, claimant, bell);
                }
            }
            // A failure might be one of this thread alone; the first thread shall meet it in its order.
            Err(_) => thunk.give_back(word, claimant, bell),
        }
        result
    }

    /// Takes the value of a note.
    #[cold]
    pub(super) fn take_note(&self, thunk: &'e Thunk<'e>, note: &'e Note<'e>) -> Value<'e> {
        match &self.helper {
            Some(_) if note.is_told() => {}
            Some(helper) => helper.seen.borrow_mut().push(Seen::Note(note)),
            None => {
                self.learn(note);
                thunk.finish_noted(note.value);
            }
        }
        note.value
    }

    /// Sees the names that a helper saw, in its order.
    fn learn(&self, note: &'e Note<'e>) {
        let mut left = vec![if note.tell() { note.seen } else { &[] }];
        while let Some(seen) = left.last_mut() {
            let Some((first, rest)) = seen.split_first() else {
                left.pop();
                continue;
            };
            *seen = rest;
            match first {
                Seen::Name(name) => self.shared.symbols.see(*name),
                Seen::Note(inner) if inner.tell() => left.push(inner.seen),
                Seen::Note(_) => {}
            }
        }
    }

    /// Another thread is at work at a thunk: the first thread waits for it, a helper gives up.
    ///
    /// # Errors
    /// The helper's, or that the user interrupted the evaluation.
    #[cold]
    pub(super) fn await_other(&self, thunk: &'e Thunk<'e>, other: u32) -> Result<(), Error> {
        if let Some(helper) = &self.helper {
            helper.met.set(Some((thunk, other)));
            return Err(left());
        }
        let crew = &self.shared.crew;
        thunk.wait(other, &crew.bell, || {
            if crew.is_lost() {
                Err(Error::new("a thread of the evaluation ended"))
            } else {
                self.world.go_on()
            }
        })
    }

    /// Tells the user something.
    ///
    /// # Errors
    /// This thread is not the one to do that.
    pub(super) fn tell(&self, text: &str) -> Result<(), Error> {
        if self.is_ahead() {
            return Err(left());
        }
        self.shared.world.tell(text);
        Ok(())
    }

    /// Gives the number of a name, a new one where it was not seen before.
    pub fn intern(&self, name: &[u8]) -> Symbol {
        self.interning(|names| names.intern(name))
    }

    /// Does something with the table of names.
    pub(super) fn interning<R>(&self, work: impl FnOnce(Interner<'_>) -> R) -> R {
        let symbols = &self.shared.symbols;
        match &self.helper {
            None => work(Interner { symbols, seen: None }),
            Some(helper) => {
                let seen = |name| helper.seen.borrow_mut().push(Seen::Name(name));
                work(Interner { symbols, seen: Some(&seen) })
            }
        }
    }

    /// The attributes of a set in the order of the ages of their names.
    ///
    /// # Errors
    /// This thread does not know the ages.
    #[inline]
    pub fn in_order(&self, attrs: Attrs<'e>) -> Result<Cow<'e, [Attr<'e>]>, Error> {
        let entries = attrs.entries();
        if self.shared.symbols.is_in_order() { Ok(entries) } else { self.by_age(entries) }
    }

    #[cold]
    fn by_age(&self, entries: Cow<'e, [Attr<'e>]>) -> Result<Cow<'e, [Attr<'e>]>, Error> {
        let symbols = &self.shared.symbols;
        if self.is_ahead() && entries.len() > 1 && entries.iter().any(|attr| symbols.age(attr.name).is_none())
        {
            return Err(left());
        }
        // What the first thread can get at has names that it has seen.
        let age = |attr: &Attr<'e>| symbols.age(attr.name).unwrap_or(u32::MAX);
        if entries.is_sorted_by_key(age) {
            return Ok(entries);
        }
        let mut entries = entries.into_owned();
        entries.sort_by_cached_key(age);
        Ok(Cow::Owned(entries))
    }
}
