//! Environments: the variables of a scope and the scope around it.

use std::cell::UnsafeCell;

use super::{Heap, Value, address};

/// One variable's place in an environment.
#[repr(transparent)]
struct Slot<'e>(UnsafeCell<Value<'e>>);

/// The variables of one scope, and the scope around it.
///
/// The head is one word: the address of the scope around, and in the low byte the number of slots.
/// Where that is `MANY` the number itself is a word behind the head. The slots follow.
#[repr(C)]
pub struct Env<'e> {
    head: u64,
    slots: [Slot<'e>; 0],
}

// SAFETY: slots are written before the environment is shared (see the invariants).
unsafe impl Sync for Env<'_> {}

/// From this number of slots on the number has a word of its own.
const MANY: usize = 255;

impl<'e> Heap<'e> {
    /// Makes an environment of `count` slots below `up`, the first of which are `values`, the others empty.
    #[inline]
    pub fn env(&self, up: Option<&'e Env<'e>>, values: &[Value<'e>], count: usize) -> &'e Env<'e> {
        self.env_with(up, count.max(values.len()), |index| values.get(index).copied().unwrap_or(Value::EMPTY))
    }

    /// Makes an environment of all slots of `env`, `values` and `more` empty ones, with the same one around.
    #[inline]
    pub fn longer_env(&self, env: &'e Env<'e>, values: &[Value<'e>], more: usize) -> &'e Env<'e> {
        let old = env.count();
        self.env_with(env.up(), old + values.len() + more, |index| match index.checked_sub(old) {
            None => env.get(index),
            Some(index) => values.get(index).copied().unwrap_or(Value::EMPTY),
        })
    }

    #[inline]
    fn env_with(
        &self,
        up: Option<&'e Env<'e>>,
        count: usize,
        value: impl Fn(usize) -> Value<'e>,
    ) -> &'e Env<'e> {
        let head_size = if count < MANY { size_of::<u64>() } else { 2 * size_of::<u64>() };
        let place =
            self.raw(size_of::<Slot<'e>>().saturating_mul(count).saturating_add(head_size)).cast::<u64>();
        // SAFETY: fresh memory for the head and `count` slots behind it, all of which are written here.
        unsafe {
            place.write((up.map_or(0, address) << 8) | count.min(MANY) as u64);
            if count >= MANY {
                place.add(1).write(count as u64);
            }
            let slots = place.cast::<u8>().add(head_size).cast::<Value<'e>>();
            for index in 0..count {
                slots.add(index).write(value(index));
            }
            &*place.cast::<Env<'e>>()
        }
    }
}

impl<'e> Env<'e> {
    /// The scope around this one.
    #[inline]
    pub fn up(&self) -> Option<&'e Env<'e>> {
        let up = (self.head >> 8) as *const Env<'e>;
        // SAFETY: null, or the address of an environment that is valid for 'e.
        unsafe { up.as_ref() }
    }

    /// The number of slots.
    #[inline]
    fn count(&self) -> usize {
        match (self.head & 0xff) as usize {
            // SAFETY: `Heap::env_with` has written this word.
            MANY => unsafe { std::ptr::from_ref(self).cast::<u64>().add(1).read() as usize },
            few => few,
        }
    }

    #[inline]
    fn slot(&self, index: usize) -> *const Slot<'e> {
        assert!(index < self.count());
        let head = if (self.head & 0xff) as usize == MANY { 2 } else { 1 };
        // SAFETY: `Heap::env_with` has written that many slots behind the head.
        unsafe { std::ptr::from_ref(self).cast::<u64>().add(head).cast::<Slot<'e>>().add(index) }
    }

    /// The value of a slot; [`Value::is_empty`] before it is filled.
    #[inline]
    pub fn get(&self, index: usize) -> Value<'e> {
        // SAFETY: `slot` is in bounds; nobody writes any more once the environment is shared.
        unsafe { *(*self.slot(index)).0.get() }
    }

    /// Fills a slot. Only for the maker of the environment, before it is shared.
    #[inline]
    pub(in crate::eval) fn fill(&self, index: usize, value: Value<'e>) {
        // SAFETY: `slot` is in bounds; only the thread that made the environment calls this.
        unsafe { *(*self.slot(index)).0.get() = value }
    }
}
