//! Names as numbers, in the order in which they were first seen.
//!
//! The order can be observed: strict evaluation, deep forcing and comparison
//! visit the attributes of a set by the age of their names, and of several wrong
//! arguments the oldest name is reported.
//!
//! Threads that evaluate ahead of the first one (see `crew.rs`) see names earlier than an evaluation
//! in order would. From then on a new name has an age besides its number, which it gets when the first
//! thread comes to know it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, RwLock};

pub mod known;

/// A name that was interned; smaller numbers were seen earlier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Symbol(pub u32);

/// A quick hash of short byte strings: names of programs are no attack on a table
/// that one evaluation owns.
#[derive(Default)]
pub(crate) struct NameHasher(u64);

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_usize(&mut self, number: usize) {
        self.0 ^= number as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        const K: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mix = |word: u64| {
            let product = u128::from(self.0 ^ word) * u128::from(K);
            self.0 = product as u64 ^ (product >> 64) as u64;
        };
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            mix(chunk.try_into().map_or(0, u64::from_le_bytes));
        }
        let rest = chunks.remainder();
        // Of fewer than eight bytes two halves that may overlap, or each of up to three.
        let word = match (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
            (Some(first), Some(last)) => {
                u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
            }
            _ => rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        mix(word);
    }
}

pub(crate) type NameMap<V> = HashMap<&'static [u8], V, BuildHasherDefault<NameHasher>>;

#[derive(Default)]
struct Names {
    numbers: NameMap<u32>,
    /// Room for texts: those of one file lie together.
    room: &'static mut [u8],
    /// The bytes of the last piece of `room`.
    size: usize,
}

/// The bytes of the first piece of [`Names::room`], small for the sake of those who make many
/// evaluations, and of the largest.
const ROOM: std::ops::RangeInclusive<usize> = 1 << 10..=64 << 10;

impl Names {
    /// Keeps a text for ever.
    fn keep(&mut self, name: &[u8]) -> &'static [u8] {
        if self.room.len() < name.len() {
            self.size = (2 * self.size).clamp(*ROOM.start(), *ROOM.end());
            self.room = Box::leak(vec![0; self.size.max(name.len())].into_boxed_slice());
        }
        let (text, room) = std::mem::take(&mut self.room).split_at_mut(name.len());
        self.room = room;
        text.copy_from_slice(name);
        text
    }
}

/// Something for each number, in pieces that double in size, so that it can be read while others are added.
struct Numbered<T>([OnceLock<Box<[T]>>; PIECES]);

/// With [`FIRST`] names in the first, these have room for more than 2^32.
const PIECES: usize = 24;
const FIRST: usize = 512;

impl<T: Default> Default for Numbered<T> {
    fn default() -> Numbered<T> {
        Numbered(std::array::from_fn(|_| OnceLock::new()))
    }
}

impl<T: Default> Numbered<T> {
    /// The number of a piece, its size, and the place in it.
    #[inline]
    fn place(number: u32) -> (usize, usize, usize) {
        let rows = number as usize / FIRST + 1;
        let piece = rows.ilog2() as usize;
        (piece, FIRST << piece, (rows - (1 << piece)) * FIRST + number as usize % FIRST)
    }

    /// What belongs to a number, its default where it was never asked for.
    fn made(&self, number: u32) -> Option<&T> {
        let (piece, size, place) = Numbered::<T>::place(number);
        self.0.get(piece)?.get_or_init(|| (0..size).map(|_| T::default()).collect()).get(place)
    }

    #[inline]
    fn get(&self, number: u32) -> Option<&T> {
        let (piece, _, place) = Numbered::<T>::place(number);
        self.0.get(piece)?.get()?.get(place)
    }
}

/// The names of one evaluation. Their texts are never freed, so that values may
/// hold them.
#[derive(Default)]
pub struct Symbols {
    names: RwLock<Names>,
    texts: Numbered<OnceLock<&'static [u8]>>,
    /// From this number on the age of a name is not its number.
    ages_from: AtomicU32,
    /// Those ages; 0 for a name that the first thread has not seen.
    ages: Numbered<AtomicU32>,
    /// The age that the next name gets.
    next_age: AtomicU32,
}

impl Symbols {
    /// A table of the names that every evaluation knows.
    pub fn new() -> Symbols {
        let symbols = Symbols { ages_from: AtomicU32::new(u32::MAX), ..Symbols::default() };
        let mut names = Names::default();
        for (number, name) in (0..).zip(known::NAMES) {
            symbols.set_text(number, name);
            names.numbers.insert(name, number);
        }
        Symbols { names: RwLock::new(names), ..symbols }
    }

    fn set_text(&self, number: u32, text: &'static [u8]) {
        // The number is a new one.
        let _ = self.texts.made(number).map(|place| place.set(text));
    }

    /// Gives the number of `name`, a new one where it was not seen before. For the first thread, which
    /// sees the name thereby.
    pub fn intern(&self, name: &[u8]) -> Symbol {
        let symbol = self.number(name);
        self.see(symbol);
        symbol
    }

    /// The same without seeing it.
    fn number(&self, name: &[u8]) -> Symbol {
        if let Some(symbol) = self.find(name) {
            return symbol;
        }
        let mut names = self.names.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(number) = names.numbers.get(name) {
            return Symbol(*number);
        }
        let number = u32::try_from(names.numbers.len()).unwrap_or(u32::MAX);
        let text = names.keep(name);
        self.set_text(number, text);
        names.numbers.insert(text, number);
        Symbol(number)
    }

    /// Gives the number of `name` if it was seen before.
    pub fn find(&self, name: &[u8]) -> Option<Symbol> {
        let names = self.names.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        names.numbers.get(name).map(|number| Symbol(*number))
    }

    /// The text of a symbol of this table.
    #[inline]
    pub fn text(&self, symbol: Symbol) -> &'static [u8] {
        self.texts.get(symbol.0).and_then(OnceLock::get).copied().unwrap_or_default()
    }

    /// From now on the age of a new name is not its number.
    pub(super) fn tell_ages(&self) {
        let names = self.names.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = u32::try_from(names.numbers.len()).unwrap_or(u32::MAX);
        if self.is_in_order() {
            self.next_age.store(count, Ordering::Relaxed);
            self.ages_from.store(count, Ordering::Relaxed);
        }
    }

    /// Whether the numbers of all names are their ages.
    #[inline]
    pub(super) fn is_in_order(&self) -> bool {
        self.ages_from.load(Ordering::Relaxed) == u32::MAX
    }

    /// The age of a name; none before the first thread has seen it.
    pub(super) fn age(&self, symbol: Symbol) -> Option<u32> {
        if symbol.0 < self.ages_from.load(Ordering::Relaxed) {
            return Some(symbol.0);
        }
        let age = self.ages.get(symbol.0)?.load(Ordering::Relaxed);
        (age != 0).then_some(age)
    }

    /// The first thread sees a name.
    #[inline]
    pub(super) fn see(&self, symbol: Symbol) {
        if symbol.0 >= self.ages_from.load(Ordering::Relaxed) {
            self.see_new(symbol);
        }
    }

    #[cold]
    fn see_new(&self, symbol: Symbol) {
        let Some(age) = self.ages.made(symbol.0) else { return };
        if age.load(Ordering::Relaxed) == 0 {
            // One thread does this.
            age.store(self.next_age.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// The names as one thread makes them.
#[derive(Clone, Copy)]
pub struct Interner<'a> {
    /// The table.
    pub symbols: &'a Symbols,
    /// Where the thread is not the first one: hears of names that the first one has not seen.
    pub(super) seen: Option<&'a dyn Fn(Symbol)>,
}

impl<'a> From<&'a Symbols> for Interner<'a> {
    fn from(symbols: &'a Symbols) -> Self {
        Interner { symbols, seen: None }
    }
}

impl Interner<'_> {
    /// Gives the number of `name`, a new one where it was not seen before.
    #[inline]
    pub fn intern(self, name: &[u8]) -> Symbol {
        let Some(seen) = self.seen else { return self.symbols.intern(name) };
        let symbol = self.symbols.number(name);
        if self.symbols.age(symbol).is_none() {
            seen(symbol);
        }
        symbol
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_many_names() {
        let symbols = Symbols::new();
        let names: Vec<String> = (0..5000).map(|number| format!("n{number}")).collect();
        let numbers: Vec<Symbol> = names.iter().map(|name| symbols.intern(name.as_bytes())).collect();
        for (name, number) in names.iter().zip(numbers) {
            assert_eq!(symbols.text(number), name.as_bytes());
        }
        let long = vec![b'x'; ROOM.end() + 1];
        let symbol = symbols.intern(&long);
        assert_eq!(symbols.text(symbol), long);
        assert_eq!(symbols.text(Symbol(symbol.0 + 1)), b"");
        assert_eq!(symbols.text(Symbol(u32::MAX)), b"");
        assert_eq!(symbols.text(symbols.intern(b"")), b"");
    }

    #[test]
    fn what_others_saw_has_the_age_of_its_first_sight_here() {
        let symbols = Symbols::new();
        let old = symbols.intern(b"old");
        symbols.tell_ages();
        let seen = std::cell::RefCell::new(Vec::new());
        let sees = |symbol| seen.borrow_mut().push(symbol);
        let other = Interner { symbols: &symbols, seen: Some(&sees) };
        let (b, a) = (other.intern(b"b"), other.intern(b"a"));
        assert_eq!(other.intern(b"old"), old);
        assert!(b < a && symbols.age(b).is_none() && seen.borrow().len() == 2);
        assert_eq!((symbols.intern(b"a"), symbols.intern(b"b")), (a, b));
        assert!(symbols.age(old) < symbols.age(a) && symbols.age(a) < symbols.age(b));
        other.intern(b"b");
        assert_eq!(seen.borrow().len(), 2);
    }

    #[test]
    fn the_order_is_that_of_first_sight() {
        let symbols = Symbols::new();
        let (z, a) = (symbols.intern(b"z"), symbols.intern(b"a"));
        assert!(z < a);
        assert_eq!(symbols.intern(b"z"), z);
        assert_eq!(symbols.text(a), b"a");
        assert_eq!(symbols.find(b"nowhere"), None);
        assert_eq!(symbols.intern(b"outPath"), known::OUT_PATH);
        assert_eq!(symbols.intern(b"null"), known::NULL);
    }
}
