//! Names as numbers, in the order in which they were first seen.
//!
//! The order can be observed: strict evaluation, deep forcing and comparison
//! visit the attributes of a set by the age of their names, and of several wrong
//! arguments the oldest name is reported.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{OnceLock, RwLock};

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

/// The texts of all numbers, in pieces that double in size, so that they can be read while others are added.
#[derive(Default)]
struct Texts([OnceLock<Piece>; Texts::PIECES]);

/// Places for texts, some of which are still empty.
type Piece = Box<[OnceLock<&'static [u8]>]>;

impl Texts {
    /// With [`Texts::FIRST`] names in the first, these have room for more than 2^32.
    const PIECES: usize = 24;
    const FIRST: usize = 512;

    /// The number of a piece, its size, and the place in it.
    #[inline]
    fn place(number: u32) -> (usize, usize, usize) {
        let number = number as usize / Texts::FIRST + 1;
        let piece = number.ilog2() as usize;
        (piece, Texts::FIRST << piece, number - (1 << piece))
    }

    fn set(&self, number: u32, text: &'static [u8]) {
        let (piece, size, row) = Texts::place(number);
        let Some(piece) = self.0.get(piece) else { return };
        let texts = piece.get_or_init(|| (0..size).map(|_| OnceLock::new()).collect());
        if let Some(place) = texts.get(row * Texts::FIRST + number as usize % Texts::FIRST) {
            // The number is a new one.
            let _ = place.set(text);
        }
    }

    #[inline]
    fn get(&self, number: u32) -> Option<&'static [u8]> {
        let (piece, _, row) = Texts::place(number);
        self.0.get(piece)?.get()?.get(row * Texts::FIRST + number as usize % Texts::FIRST)?.get().copied()
    }
}

/// The names of one evaluation. Their texts are never freed, so that values may
/// hold them.
#[derive(Default)]
pub struct Symbols {
    names: RwLock<Names>,
    texts: Texts,
}

impl Symbols {
    /// A table of the names that every evaluation knows.
    pub fn new() -> Symbols {
        let texts = Texts::default();
        let mut names = Names::default();
        for (number, name) in (0..).zip(KNOWN) {
            texts.set(number, name);
            names.numbers.insert(name, number);
        }
        Symbols { names: RwLock::new(names), texts }
    }

    /// Gives the number of `name`, a new one where it was not seen before.
    pub fn intern(&self, name: &[u8]) -> Symbol {
        if let Some(symbol) = self.find(name) {
            return symbol;
        }
        let mut names = self.names.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(number) = names.numbers.get(name) {
            return Symbol(*number);
        }
        let number = u32::try_from(names.numbers.len()).unwrap_or(u32::MAX);
        let text = names.keep(name);
        self.texts.set(number, text);
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
        self.texts.get(symbol.0).unwrap_or_default()
    }
}

/// The names that every evaluation knows from the start, oldest first, as observed.
const KNOWN: &[&[u8]] = &[
    b"outPath",
    b"drvPath",
    b"type",
    b"meta",
    b"name",
    b"value",
    b"system",
    b"__overrides",
    b"outputs",
    b"outputName",
    b"__ignoreNulls",
    b"file",
    b"line",
    b"column",
    b"__functor",
    b"__toString",
    b"right",
    b"wrong",
    b"__structuredAttrs",
    b"allowedReferences",
    b"disallowedReferences",
    b"builder",
    b"args",
    b"__contentAddressed",
    b"__impure",
    b"outputHash",
    b"outputHashAlgo",
    b"outputHashMode",
    b"recurseForDerivations",
    b"description",
    b"self",
    b"",
    b"startSet",
    b"operator",
    b"key",
    b"path",
    b"prefix",
    b"outputSpecified",
    b"__sub",
    b"__lessThan",
    b"__mul",
    b"__div",
    b"__findFile",
    b"__nixPath",
    b"body",
    b"builtins",
    b"true",
    b"false",
    b"null",
    b"__currentTime",
    b"currentTime",
    b"__currentSystem",
    b"currentSystem",
    b"__nixVersion",
    b"nixVersion",
    b"__storeDir",
    b"storeDir",
    b"__langVersion",
    b"langVersion",
    b"__traceVerbose",
    b"traceVerbose",
    b"nixPath",
    b"scopedImport",
    b"import",
    b"__typeOf",
    b"typeOf",
    b"isNull",
    b"__isFunction",
    b"isFunction",
    b"__isInt",
    b"isInt",
    b"__isFloat",
    b"isFloat",
    b"__isString",
    b"isString",
    b"__isBool",
    b"isBool",
    b"__isPath",
    b"isPath",
    b"__genericClosure",
    b"genericClosure",
    b"break",
    b"abort",
    b"throw",
    b"__addErrorContext",
    b"addErrorContext",
    b"__ceil",
    b"ceil",
    b"__floor",
    b"floor",
    b"__tryEval",
    b"tryEval",
    b"__getEnv",
    b"getEnv",
    b"__seq",
    b"seq",
    b"__deepSeq",
    b"deepSeq",
    b"__trace",
    b"trace",
    b"__warn",
    b"warn",
    b"derivationStrict",
    b"placeholder",
    b"__toPath",
    b"toPath",
    b"__storePath",
    b"storePath",
    b"__pathExists",
    b"pathExists",
    b"baseNameOf",
    b"dirOf",
    b"__readFile",
    b"readFile",
    b"findFile",
    b"__hashFile",
    b"hashFile",
    b"__readFileType",
    b"readFileType",
    b"__readDir",
    b"readDir",
    b"__toXML",
    b"toXML",
    b"__toJSON",
    b"toJSON",
    b"__fromJSON",
    b"fromJSON",
    b"__toFile",
    b"toFile",
    b"__filterSource",
    b"filterSource",
    b"__path",
    b"__attrNames",
    b"attrNames",
    b"__attrValues",
    b"attrValues",
    b"__getAttr",
    b"getAttr",
    b"__unsafeGetAttrPos",
    b"unsafeGetAttrPos",
    b"__hasAttr",
    b"hasAttr",
    b"__isAttrs",
    b"isAttrs",
    b"removeAttrs",
    b"__listToAttrs",
    b"listToAttrs",
    b"__intersectAttrs",
    b"intersectAttrs",
    b"__catAttrs",
    b"catAttrs",
    b"__functionArgs",
    b"functionArgs",
    b"__mapAttrs",
    b"mapAttrs",
    b"__zipAttrsWith",
    b"zipAttrsWith",
    b"__isList",
    b"isList",
    b"__elemAt",
    b"elemAt",
    b"__head",
    b"head",
    b"__tail",
    b"tail",
    b"map",
    b"__filter",
    b"filter",
    b"__elem",
    b"elem",
    b"__concatLists",
    b"concatLists",
    b"__length",
    b"length",
    b"__foldl'",
    b"foldl'",
    b"__any",
    b"any",
    b"__all",
    b"all",
    b"__genList",
    b"genList",
    b"__sort",
    b"sort",
    b"__partition",
    b"partition",
    b"__groupBy",
    b"groupBy",
    b"__concatMap",
    b"concatMap",
    b"__add",
    b"add",
    b"sub",
    b"mul",
    b"div",
    b"__bitAnd",
    b"bitAnd",
    b"__bitOr",
    b"bitOr",
    b"__bitXor",
    b"bitXor",
    b"lessThan",
    b"toString",
    b"__substring",
    b"substring",
    b"__stringLength",
    b"stringLength",
    b"__hashString",
    b"hashString",
    b"__convertHash",
    b"convertHash",
    b"__match",
    b"match",
    b"__split",
    b"split",
    b"__concatStringsSep",
    b"concatStringsSep",
    b"__replaceStrings",
    b"replaceStrings",
    b"__parseDrvName",
    b"parseDrvName",
    b"__compareVersions",
    b"compareVersions",
    b"__splitVersion",
    b"splitVersion",
    b"__unsafeDiscardStringContext",
    b"unsafeDiscardStringContext",
    b"__hasContext",
    b"hasContext",
    b"__unsafeDiscardOutputDependency",
    b"unsafeDiscardOutputDependency",
    b"__addDrvOutputDependencies",
    b"addDrvOutputDependencies",
    b"__getContext",
    b"getContext",
    b"__appendContext",
    b"appendContext",
    b"fetchMercurial",
    b"fetchTree",
    b"__fetchurl",
    b"fetchurl",
    b"fetchTarball",
    b"fetchGit",
    b"fromTOML",
    b"__getFlake",
    b"getFlake",
    b"__parseFlakeRef",
    b"parseFlakeRef",
    b"__flakeRefToString",
    b"flakeRefToString",
    b"derivation",
    b"strict",
    b"drvAttrs",
    b"commonAttrs",
    b"outputsList",
    b"x",
];

/// Symbols of names that the evaluator itself uses.
pub mod known {
    use super::Symbol;

    /// `outPath`
    pub const OUT_PATH: Symbol = Symbol(0);
    /// `drvPath`
    pub const DRV_PATH: Symbol = Symbol(1);
    /// `type`
    pub const TYPE: Symbol = Symbol(2);
    /// `meta`
    pub const META: Symbol = Symbol(3);
    /// `name`
    pub const NAME: Symbol = Symbol(4);
    /// `value`
    pub const VALUE: Symbol = Symbol(5);
    /// `system`
    pub const SYSTEM: Symbol = Symbol(6);
    /// `__overrides`
    pub const OVERRIDES: Symbol = Symbol(7);
    /// `outputs`
    pub const OUTPUTS: Symbol = Symbol(8);
    /// `outputName`
    pub const OUTPUT_NAME: Symbol = Symbol(9);
    /// `__ignoreNulls`
    pub const IGNORE_NULLS: Symbol = Symbol(10);
    /// `file`
    pub const FILE: Symbol = Symbol(11);
    /// `line`
    pub const LINE: Symbol = Symbol(12);
    /// `column`
    pub const COLUMN: Symbol = Symbol(13);
    /// `__functor`
    pub const FUNCTOR: Symbol = Symbol(14);
    /// `__toString`
    pub const TO_STRING: Symbol = Symbol(15);
    /// `right`
    pub const RIGHT: Symbol = Symbol(16);
    /// `wrong`
    pub const WRONG: Symbol = Symbol(17);
    /// `__structuredAttrs`
    pub const STRUCTURED_ATTRS: Symbol = Symbol(18);
    /// `allowedReferences`
    pub const ALLOWED_REFERENCES: Symbol = Symbol(19);
    /// `disallowedReferences`
    pub const DISALLOWED_REFERENCES: Symbol = Symbol(20);
    /// `builder`
    pub const BUILDER: Symbol = Symbol(21);
    /// `args`
    pub const ARGS: Symbol = Symbol(22);
    /// `__contentAddressed`
    pub const CONTENT_ADDRESSED: Symbol = Symbol(23);
    /// `__impure`
    pub const IMPURE: Symbol = Symbol(24);
    /// `outputHash`
    pub const OUTPUT_HASH: Symbol = Symbol(25);
    /// `outputHashAlgo`
    pub const OUTPUT_HASH_ALGO: Symbol = Symbol(26);
    /// `outputHashMode`
    pub const OUTPUT_HASH_MODE: Symbol = Symbol(27);
    /// `recurseForDerivations`
    pub const RECURSE_FOR_DERIVATIONS: Symbol = Symbol(28);
    /// `description`
    pub const DESCRIPTION: Symbol = Symbol(29);
    /// `startSet`
    pub const START_SET: Symbol = Symbol(32);
    /// `operator`
    pub const OPERATOR: Symbol = Symbol(33);
    /// `key`
    pub const KEY: Symbol = Symbol(34);
    /// `path`
    pub const PATH: Symbol = Symbol(35);
    /// `prefix`
    pub const PREFIX: Symbol = Symbol(36);
    /// `__sub`
    pub const SUB: Symbol = Symbol(38);
    /// `__findFile`
    pub const FIND_FILE: Symbol = Symbol(42);
    /// `__nixPath`
    pub const NIX_PATH: Symbol = Symbol(43);
    /// `body`
    pub const BODY: Symbol = Symbol(44);
    /// `builtins`
    pub const BUILTINS: Symbol = Symbol(45);
    /// `true`
    pub const TRUE: Symbol = Symbol(46);
    /// `false`
    pub const FALSE: Symbol = Symbol(47);
    /// `null`
    pub const NULL: Symbol = Symbol(48);
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
