//! Memory of an evaluation: bump allocation, values of two words, thunks that
//! are overwritten in place. The only unsafe code of the evaluator.
//!
//! # Invariants
//!
//! - Addresses are below 2^56, so that a word with a tag has room for one.
//! - Everything allocated for `'e` lies in chunks of an [`Arena`] that is borrowed
//!   for `'e`; chunks never move, and are freed or used again only when nobody borrows the arena:
//!   when it is dropped or cleared.
//!   Only `Copy` types are stored, so that nothing needs to be dropped.
//! - The low byte of a value's first word is a tag. For `STRING`, `PATH`, `LIST` and
//!   `ATTRS` the upper 56 bits are a length and the second word is the address of that
//!   many bytes, values or attributes; for tags with an object the second word is its
//!   address. Values are made by the constructors in `value.rs` only, from references
//!   that are valid for `'e`.
//! - A thunk's first word is either a value's first word (then the second word is
//!   the value's, written before it), or a state (`state.rs`). From suspended to
//!   running it changes by compare-and-swap, by which one thread owns it (by a store
//!   while one thread evaluates), and from running by that thread. A suspended thunk's
//!   second word is written before the thunk is shared and not changed until it has a value.
//!   The address of a note is that of one which is valid for `'e`.
//! - A slot of an environment is filled by the thread that made the environment,
//!   before it gives the environment (or a thunk that holds it and is evaluated by
//!   others) away through a thunk's release store or a queue's lock.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

mod env;
mod state;
mod sync;
mod thunk;
mod value;

pub use self::env::Env;
pub use self::state::{Bell, Claimant};
pub use self::thunk::{Claim, Note, Seen, Thunk, Work};
pub use self::value::{Closure, Value};

/// The smallest chunk; later ones double up to [`LARGEST_CHUNK`].
const FIRST_CHUNK: usize = 256 << 10;
const LARGEST_CHUNK: usize = 8 << 20;
/// Chunks lie at multiples of this, …
const ALIGNMENT: usize = 16;
/// … large ones at multiples of this, so that the system can map them by pages of this size.
const LARGE_PAGE: usize = 2 << 20;

/// The chunks of an evaluation, freed together.
#[derive(Default)]
pub struct Arena {
    chunks: Mutex<Chunks>,
}

#[derive(Default)]
struct Chunks {
    used: Vec<(NonNull<u8>, Layout)>,
    /// Those of an earlier evaluation, which the system need not clear again.
    spare: Vec<(NonNull<u8>, Layout)>,
}

// SAFETY: the lists of chunks are behind a lock, and the chunks are plain memory.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// An arena without chunks.
    pub fn new() -> Arena {
        Arena::default()
    }

    fn chunk(&self, size: usize) -> NonNull<u8> {
        let alignment = if size < LARGE_PAGE { ALIGNMENT } else { LARGE_PAGE };
        let Ok(layout) = Layout::from_size_align(size, alignment) else {
            handle_alloc_error(Layout::new::<u128>())
        };
        let mut chunks = self.chunks();
        if let Some(at) = chunks.spare.iter().rposition(|(_, other)| *other == layout) {
            let chunk = chunks.spare.swap_remove(at);
            chunks.used.push(chunk);
            return chunk.0;
        }
        // SAFETY: the size of the layout is not zero: chunks have at least FIRST_CHUNK bytes.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        #[cfg(target_os = "linux")]
        if size >= LARGE_PAGE {
            // Fewer faults and a quicker end; where the system has no large pages, nothing changes.
            // SAFETY: advice about memory that was just allocated, which does not change what it holds.
            unsafe { libc::madvise(start.as_ptr().cast(), size, libc::MADV_HUGEPAGE) };
        }
        chunks.used.push((start, layout));
        start
    }

    fn chunks(&self) -> MutexGuard<'_, Chunks> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of all chunks that are in use.
    pub fn size(&self) -> usize {
        self.chunks().used.iter().map(|(_, layout)| layout.size()).sum()
    }

    /// Makes the arena empty, for another evaluation. Nothing in it is borrowed any more.
    pub fn clear(&mut self) {
        let chunks = self.chunks.get_mut().unwrap_or_else(PoisonError::into_inner);
        let (usual, odd) = chunks.used.drain(..).partition(|(_, layout)| layout.size() <= LARGEST_CHUNK);
        chunks.spare.extend::<Vec<_>>(usual);
        free(odd);
    }
}

/// Gives chunks back to the system, which nobody may use any more.
fn free(chunks: Vec<(NonNull<u8>, Layout)>) {
    for (start, layout) in chunks {
        // SAFETY: made by `Arena::chunk` with this layout. Who calls this has the arena for itself.
        unsafe { dealloc(start.as_ptr(), layout) };
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let Chunks { used, spare } =
            std::mem::take(self.chunks.get_mut().unwrap_or_else(PoisonError::into_inner));
        free(used);
        free(spare);
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

    /// Stores what an iterator gives, up to `most` values. The iterator should not allocate: then
    /// no memory is lost where it gives less.
    #[inline]
    pub fn slice_of<T: Copy + 'e>(&self, most: usize, mut values: impl Iterator<Item = T>) -> &'e [T] {
        const { assert!(align_of::<T>() <= 8) };
        if most == 0 {
            return &[];
        }
        let size = size_of::<T>().saturating_mul(most);
        let apart = self.apart.get();
        let place = self.raw(size).cast::<T>();
        let mut count = 0;
        while count < most
            && let Some(value) = values.next()
        {
            // SAFETY: within the memory just taken.
            unsafe { place.add(count).write(value) };
            count += 1;
        }
        let unused = size.next_multiple_of(8) - (size_of::<T>() * count).next_multiple_of(8);
        // What lies apart is no part of the chunk, even if it ends where that begins.
        if self.apart.get() == apart
            && self.next.get() == place.cast::<u8>().wrapping_add(size.next_multiple_of(8))
        {
            self.next.set(self.next.get().wrapping_sub(unused));
            self.left.set(self.left.get() + unused);
        }
        // SAFETY: `count` values are written.
        unsafe { std::slice::from_raw_parts(place, count) }
    }

    /// Stores texts one behind the other.
    pub fn joined(&self, parts: &[&[u8]]) -> &'e [u8] {
        let length = parts.iter().fold(0, |length: usize, part| length.saturating_add(part.len()));
        let place = self.raw(length);
        let mut at = 0;
        for part in parts {
            // SAFETY: fresh memory with room for all parts, which cannot overlap them.
            unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), place.add(at), part.len()) };
            at += part.len();
        }
        // SAFETY: the whole length was just written.
        unsafe { std::slice::from_raw_parts(place, length) }
    }

    /// No values, at an address that nothing else has.
    pub fn nothing<T: Copy + 'e>(&self) -> &'e [T] {
        const { assert!(align_of::<T>() <= 8) };
        let place = self.raw(8).cast::<T>();
        // SAFETY: the address is aligned and not null; nothing is read there.
        unsafe { std::slice::from_raw_parts(place, 0) }
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
}

#[inline]
fn address<T: ?Sized>(object: &T) -> u64 {
    std::ptr::from_ref(object).cast::<u8>() as u64
}
