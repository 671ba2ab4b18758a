//! Memory of an evaluation: bump allocation, values of two words, thunks that
//! are overwritten in place. The only unsafe code of the evaluator.
//!
//! # Invariants
//!
//! - Addresses are below 2^56, so that a state's word has room for one.
//! - Everything allocated for `'e` lies in chunks of an [`Arena`] that is borrowed
//!   for `'e`; chunks never move and are freed only when the arena is dropped.
//!   Only `Copy` types are stored, so that nothing needs to be dropped.
//! - The low byte of a value's first word is a tag. For `STRING`, `PATH` and `LIST`
//!   the upper 56 bits are a length and the second word is the address of that many
//!   bytes or values; for tags with an object the second word is its address.
//!   Values are made by the constructors of this file only, from references that
//!   are valid for `'e`.
//! - A thunk's first word is either a value's first word (then the second word is
//!   the value's, written before it), or a state. The state changes by
//!   compare-and-swap from suspended to running, by which one thread owns it, and
//!   from running by that thread. A suspended thunk's second word is written
//!   before the thunk is shared and not changed until it has a value.
//! - A slot of an environment is filled by the thread that made the environment,
//!   before it gives the environment (or a thunk that holds it and is evaluated by
//!   others) away through a thunk's release store or a queue's lock.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::code::{Code, LambdaCode};
use super::context::Context;
use super::value::{Applied, Attrs, Builtin, Pending, View};

/// The smallest chunk; later ones double up to [`LARGEST_CHUNK`].
const FIRST_CHUNK: usize = 256 << 10;
const LARGEST_CHUNK: usize = 8 << 20;
/// All objects lie at multiples of this.
const ALIGNMENT: usize = 16;

/// The chunks of an evaluation, freed together.
#[derive(Default)]
pub struct Arena {
    chunks: Mutex<Vec<(NonNull<u8>, Layout)>>,
}

// SAFETY: the list of chunks is behind a lock, and the chunks are plain memory.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// An arena without chunks.
    pub fn new() -> Arena {
        Arena::default()
    }

    fn chunk(&self, size: usize) -> NonNull<u8> {
        let Ok(layout) = Layout::from_size_align(size, ALIGNMENT) else {
            handle_alloc_error(Layout::new::<u128>())
        };
        // SAFETY: the size of the layout is not zero: chunks have at least FIRST_CHUNK bytes.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        self.chunks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((start, layout));
        start
    }

    /// The bytes of all chunks.
    pub fn size(&self) -> usize {
        let chunks = self.chunks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        chunks.iter().map(|(_, layout)| layout.size()).sum()
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        for (start, layout) in
            self.chunks.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).drain(..)
        {
            // SAFETY: made by `chunk` with this layout, and nobody borrows the arena any more.
            unsafe { dealloc(start.as_ptr(), layout) };
        }
    }
}

/// One thread's way into an [`Arena`].
pub struct Heap<'e> {
    arena: &'e Arena,
    next: Cell<*mut u8>,
    left: Cell<usize>,
    chunk: Cell<usize>,
    apart: Cell<u32>,
}

/// How far a heap was filled at some moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    next: *mut u8,
    left: usize,
    apart: u32,
}

impl<'e> Heap<'e> {
    /// A heap that takes its chunks from `arena`.
    pub fn new(arena: &'e Arena) -> Heap<'e> {
        let next = Cell::new(NonNull::<u64>::dangling().as_ptr().cast());
        Heap { arena, next, left: Cell::new(0), chunk: Cell::new(FIRST_CHUNK), apart: Cell::new(0) }
    }

    /// How far the heap is filled.
    #[inline]
    pub(super) fn mark(&self) -> Mark {
        Mark { next: self.next.get(), left: self.left.get(), apart: self.apart.get() }
    }

    /// Takes back what was allocated between `from` and `to`, if nothing was allocated since `to`.
    /// Only for environments of a call that has ended: had a value been made that refers to
    /// them, something would have been allocated after them.
    #[inline]
    pub(super) fn take_back(&self, from: Mark, to: Mark) {
        let same_chunk =
            from.left.wrapping_sub(to.left) == (to.next as usize).wrapping_sub(from.next as usize);
        if self.mark() == to && same_chunk && from.apart == to.apart {
            self.next.set(from.next);
            self.left.set(from.left);
        }
    }

    #[inline]
    fn raw(&self, size: usize) -> *mut u8 {
        let size = size.checked_next_multiple_of(8).unwrap_or(usize::MAX);
        let left = self.left.get();
        if size > left {
            return self.raw_slow(size);
        }
        let start = self.next.get();
        self.left.set(left - size);
        // SAFETY: `size` bytes are left in the chunk.
        self.next.set(unsafe { start.add(size) });
        start
    }

    #[cold]
    fn raw_slow(&self, size: usize) -> *mut u8 {
        let chunk = self.chunk.get();
        if size > chunk / 4 {
            self.apart.set(self.apart.get().wrapping_add(1));
            return self.arena.chunk(size.max(FIRST_CHUNK)).as_ptr();
        }
        self.chunk.set((chunk * 2).min(LARGEST_CHUNK));
        self.next.set(self.arena.chunk(chunk).as_ptr());
        self.left.set(chunk);
        self.raw(size)
    }

    /// Stores `value`.
    #[inline]
    pub fn alloc<T: Copy + 'e>(&self, value: T) -> &'e T {
        const { assert!(align_of::<T>() <= 8) };
        let place = self.raw(size_of::<T>()).cast::<T>();
        // SAFETY: fresh memory of the right size; chunks and sizes are multiples of 8.
        unsafe {
            place.write(value);
            &*place
        }
    }

    /// Stores a copy of `values`.
    #[inline]
    pub fn slice<T: Copy + 'e>(&self, values: &[T]) -> &'e [T] {
        const { assert!(align_of::<T>() <= 8) };
        if values.is_empty() {
            return &[];
        }
        let place = self.raw(size_of_val(values)).cast::<T>();
        // SAFETY: fresh memory of the right size, which cannot overlap `values`.
        unsafe {
            std::ptr::copy_nonoverlapping(values.as_ptr(), place, values.len());
            std::slice::from_raw_parts(place, values.len())
        }
    }

    /// Stores `count` values that `make` computes one after the other.
    #[inline]
    pub fn slice_with<T: Copy + 'e>(&self, count: usize, mut make: impl FnMut(usize) -> T) -> &'e [T] {
        const { assert!(align_of::<T>() <= 8) };
        if count == 0 {
            return &[];
        }
        let place = self.raw(size_of::<T>().saturating_mul(count)).cast::<T>();
        for index in 0..count {
            let value = make(index);
            // SAFETY: within the memory just taken; `make` may allocate more, elsewhere.
            unsafe { place.add(index).write(value) };
        }
        // SAFETY: all `count` values are written.
        unsafe { std::slice::from_raw_parts(place, count) }
    }

    /// Makes an environment of `count` empty slots below `up`.
    #[inline]
    pub fn env(&self, up: Option<&'e Env<'e>>, count: usize) -> &'e Env<'e> {
        let place = self
            .raw(size_of::<Slot<'e>>().saturating_mul(count).saturating_add(size_of::<Env<'e>>()))
            .cast::<Env<'e>>();
        // SAFETY: fresh memory for the head and `count` slots behind it, all of which are written here.
        unsafe {
            place.write(Env { up, count, slots: [] });
            let slots = place.add(1).cast::<Slot<'e>>();
            for index in 0..count {
                slots.add(index).write(Slot(UnsafeCell::new(Value::EMPTY)));
            }
            &*place
        }
    }

    /// Makes a thunk of an expression.
    #[inline]
    pub fn suspend(&self, code: &'e Code<'e>, env: &'e Env<'e>) -> Value<'e> {
        self.thunk(SUSPENDED | (address(code) << 8), address(env))
    }

    /// Makes a thunk of a call.
    #[inline]
    pub fn suspend_call(&self, function: Value<'e>, arguments: &[Value<'e>]) -> Value<'e> {
        let place = self.raw(size_of_val(arguments) + size_of::<Value<'e>>()).cast::<Value<'e>>();
        // SAFETY: fresh memory for the function and its arguments, all of which are written here.
        unsafe {
            place.write(function);
            std::ptr::copy_nonoverlapping(arguments.as_ptr(), place.add(1), arguments.len());
        }
        self.thunk(PENDING | ((arguments.len() as u64) << 8), place as u64)
    }

    /// Makes a thunk that gets its value from its maker, by `Thunk::finish`, before anybody forces it.
    pub fn knot(&self) -> (Value<'e>, &'e Thunk<'e>) {
        let value = self.thunk(RUNNING, 0);
        // SAFETY: `thunk` has just made it.
        (value, unsafe { &*(value.payload as *const Thunk<'e>) })
    }

    #[inline]
    fn thunk(&self, word: u64, payload: u64) -> Value<'e> {
        let place = self.raw(size_of::<Thunk<'e>>()).cast::<Thunk<'e>>();
        // SAFETY: fresh memory of the right size.
        unsafe {
            place.write(Thunk {
                word: AtomicU64::new(word),
                payload: AtomicU64::new(payload),
                life: PhantomData,
            });
        }
        Value { word: THUNK, payload: place as u64, life: PhantomData }
    }
}

#[inline]
fn address<T: ?Sized>(object: &T) -> u64 {
    std::ptr::from_ref(object).cast::<u8>() as u64
}

/// One variable's place in an environment.
pub struct Slot<'e>(UnsafeCell<Value<'e>>);

/// The variables of one scope, and the scope around it.
#[repr(C)]
pub struct Env<'e> {
    /// The scope around this one.
    pub up: Option<&'e Env<'e>>,
    count: usize,
    slots: [Slot<'e>; 0],
}

// SAFETY: slots are written before the environment is shared (see the invariants).
unsafe impl Sync for Env<'_> {}

impl<'e> Env<'e> {
    #[inline]
    fn slot(&self, index: usize) -> *const Slot<'e> {
        assert!(index < self.count);
        // SAFETY: `env` has written `count` slots behind the head, and `Env` has the size of its head.
        unsafe { std::ptr::from_ref(self).add(1).cast::<Slot<'e>>().add(index) }
    }

    /// The value of a slot; [`Value::is_empty`] before it is filled.
    #[inline]
    pub fn get(&self, index: usize) -> Value<'e> {
        // SAFETY: `slot` is in bounds; nobody writes any more once the environment is shared.
        unsafe { *(*self.slot(index)).0.get() }
    }

    /// Fills a slot. Only for the maker of the environment, before it is shared.
    #[inline]
    pub(super) fn fill(&self, index: usize, value: Value<'e>) {
        // SAFETY: `slot` is in bounds; only the thread that made the environment calls this.
        unsafe { *(*self.slot(index)).0.get() = value }
    }
}

/// A value, or a thunk that will have one: two words.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Value<'e> {
    word: u64,
    payload: u64,
    /// Invariant in `'e`: what a value leads to is changed in place, by values of the same evaluation only.
    life: PhantomData<Cell<&'e ()>>,
}

// SAFETY: values are immutable words; what they point to is immutable or synchronised.
unsafe impl Send for Value<'_> {}
// SAFETY: as above.
unsafe impl Sync for Value<'_> {}

const TAG: u64 = 0xff;
const NULL: u64 = 1;
const BOOL: u64 = 2;
const INT: u64 = 3;
const FLOAT: u64 = 4;
const STRING: u64 = 5;
const STRING_WITH_CONTEXT: u64 = 6;
const PATH: u64 = 7;
const LIST: u64 = 8;
const ATTRS: u64 = 9;
const LAMBDA: u64 = 10;
const BUILTIN: u64 = 11;
const APPLIED: u64 = 12;
const THUNK: u64 = 13;
/// States of thunks.
const SUSPENDED: u64 = 16;
const PENDING: u64 = 17;
const RUNNING: u64 = 18;
const FAILED: u64 = 19;

/// A function: what it computes and where it was made.
#[derive(Clone, Copy)]
pub struct Closure<'e> {
    /// Its code.
    pub code: &'e LambdaCode<'e>,
    /// The scope around it.
    pub env: &'e Env<'e>,
}

/// A string with its context.
#[derive(Clone, Copy)]
struct TextWithContext<'e> {
    text: &'e [u8],
    context: &'e Context<'e>,
}

impl<'e> Value<'e> {
    /// No value: a slot that is not yet filled.
    pub const EMPTY: Value<'e> = Value { word: 0, payload: 0, life: PhantomData };

    #[inline]
    fn new(word: u64, payload: u64) -> Value<'e> {
        Value { word, payload, life: PhantomData }
    }

    /// Whether this is no value.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.word == 0
    }

    /// `null`
    #[inline]
    pub fn null() -> Value<'e> {
        Value::new(NULL, 0)
    }

    /// `true` or `false`
    #[inline]
    pub fn bool(value: bool) -> Value<'e> {
        Value::new(BOOL, u64::from(value))
    }

    /// A whole number.
    #[inline]
    pub fn int(value: i64) -> Value<'e> {
        Value::new(INT, value.cast_unsigned())
    }

    /// A floating-point number.
    #[inline]
    pub fn float(value: f64) -> Value<'e> {
        Value::new(FLOAT, value.to_bits())
    }

    /// A string without context.
    #[inline]
    pub fn string(text: &'e [u8]) -> Value<'e> {
        Value::new(STRING | ((text.len() as u64) << 8), text.as_ptr() as u64)
    }

    /// A string with a context, which may be empty.
    pub fn string_with(heap: &Heap<'e>, text: &'e [u8], context: Option<&'e Context<'e>>) -> Value<'e> {
        match context {
            Some(context) => {
                Value::new(STRING_WITH_CONTEXT, address(heap.alloc(TextWithContext { text, context })))
            }
            None => Value::string(text),
        }
    }

    /// An absolute path.
    #[inline]
    pub fn path(text: &'e [u8]) -> Value<'e> {
        Value::new(PATH | ((text.len() as u64) << 8), text.as_ptr() as u64)
    }

    /// A list.
    #[inline]
    pub fn list(items: &'e [Value<'e>]) -> Value<'e> {
        Value::new(LIST | ((items.len() as u64) << 8), items.as_ptr() as u64)
    }

    /// A set.
    #[inline]
    pub fn attrs(attrs: &'e Attrs<'e>) -> Value<'e> {
        Value::new(ATTRS, address(attrs))
    }

    /// A function.
    #[inline]
    pub fn lambda(heap: &Heap<'e>, code: &'e LambdaCode<'e>, env: &'e Env<'e>) -> Value<'e> {
        Value::new(LAMBDA, address(heap.alloc(Closure { code, env })))
    }

    /// A builtin function.
    #[inline]
    pub fn builtin(builtin: &'static Builtin) -> Value<'e> {
        Value::new(BUILTIN, address(builtin))
    }

    /// A builtin function that has some of its arguments.
    pub fn applied(heap: &Heap<'e>, builtin: &'static Builtin, arguments: &[Value<'e>]) -> Value<'e> {
        let arguments = heap.slice(arguments);
        Value::new(APPLIED, address(heap.alloc(Applied { builtin, arguments })))
    }

    /// Whether this is a thunk, evaluated or not.
    #[inline]
    pub fn is_thunk(self) -> bool {
        self.word == THUNK
    }

    /// The thunk, if this is one.
    #[inline]
    pub fn as_thunk(self) -> Option<&'e Thunk<'e>> {
        // SAFETY: the tag says that the payload is the address of a thunk.
        (self.word == THUNK).then(|| unsafe { &*(self.payload as *const Thunk<'e>) })
    }

    /// Whether two values are the same object: one thunk, list, set or function.
    /// Numbers, texts and builtin functions never are.
    pub fn same_object(self, other: Value<'e>) -> bool {
        self.word == other.word
            && self.payload == other.payload
            && matches!(self.word & TAG, THUNK | LIST | ATTRS | LAMBDA | APPLIED)
    }

    /// An address that two values share only if they are the same list or set.
    pub fn identity(self) -> Option<u64> {
        matches!(self.word & TAG, LIST | ATTRS).then_some(self.payload)
    }

    /// An address that two variables share only if they stand for one thunk.
    pub fn slot_identity(self) -> Option<u64> {
        matches!(self.word & TAG, THUNK | LIST).then_some(self.payload)
    }

    /// The value as a case distinction. A thunk that was evaluated is not looked through.
    #[inline]
    pub fn view(self) -> View<'e> {
        let (length, payload) = ((self.word >> 8) as usize, self.payload);
        // SAFETY: by its tag the payload is the address of such an object (and `length`
        // its size), made by one of the constructors above and valid for 'e.
        unsafe {
            match self.word & TAG {
                NULL => View::Null,
                BOOL => View::Bool(payload != 0),
                INT => View::Int(payload.cast_signed()),
                FLOAT => View::Float(f64::from_bits(payload)),
                STRING => View::String(std::slice::from_raw_parts(payload as *const u8, length), None),
                STRING_WITH_CONTEXT => {
                    let with = &*(payload as *const TextWithContext<'e>);
                    View::String(with.text, Some(with.context))
                }
                PATH => View::Path(std::slice::from_raw_parts(payload as *const u8, length)),
                LIST => View::List(std::slice::from_raw_parts(payload as *const Value<'e>, length)),
                ATTRS => View::Attrs(&*(payload as *const Attrs<'e>)),
                LAMBDA => View::Lambda(&*(payload as *const Closure<'e>)),
                BUILTIN => View::Builtin(&*(payload as *const Builtin)),
                APPLIED => View::Applied(&*(payload as *const Applied<'e>)),
                THUNK => View::Thunk(&*(payload as *const Thunk<'e>)),
                _ => View::Null,
            }
        }
    }
}

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

impl<'e> Thunk<'e> {
    /// The value, if it was computed.
    #[inline]
    pub fn value(&self) -> Option<Value<'e>> {
        let word = self.word.load(Ordering::Acquire);
        (word & TAG < SUSPENDED).then(|| Value::new(word, self.payload.load(Ordering::Relaxed)))
    }

    /// Gives the value, or makes the caller the one that computes it.
    #[inline]
    pub(super) fn claim(&self) -> Claim<'e> {
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
            if self.word.compare_exchange(word, RUNNING, Ordering::Acquire, Ordering::Relaxed).is_err() {
                continue;
            }
            let payload = self.payload.load(Ordering::Relaxed);
            // SAFETY: a suspended thunk holds the addresses that `suspend` or `suspend_call` took
            // from references that are valid for 'e.
            let claim = unsafe {
                if tag == SUSPENDED {
                    Claim::Evaluate(&*((word >> 8) as *const Code<'e>), &*(payload as *const Env<'e>))
                } else {
                    let place = payload as *const Value<'e>;
                    let arguments = std::slice::from_raw_parts(place.add(1), (word >> 8) as usize);
                    Claim::Call(Pending { function: *place, arguments })
                }
            };
            return claim;
        }
    }

    /// Stores the value that the claimer computed.
    #[inline]
    pub(super) fn finish(&self, value: Value<'e>) {
        debug_assert!(!value.is_thunk() && !value.is_empty());
        self.payload.store(value.payload, Ordering::Relaxed);
        self.word.store(value.word, Ordering::Release);
    }

    /// Stores the number of the failure that the claimer met.
    pub(super) fn fail(&self, failure: u32) {
        self.word.store(FAILED | (u64::from(failure) << 8), Ordering::Release);
    }
}
