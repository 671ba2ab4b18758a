//! Values of two words, and what they lead to.

use std::cell::Cell;
use std::marker::PhantomData;
use std::num::NonZeroU64;

use super::{Env, Heap, Thunk, address};
use crate::eval::code::LambdaCode;
use crate::eval::context::Context;
use crate::eval::value::{Applied, Attr, Attrs, Builtin, Layered, View};

/// A value, or a thunk that will have one: two words.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Value<'e> {
    word: NonZeroU64,
    payload: u64,
    /// Invariant in `'e`: what a value leads to is changed in place, by values of the same evaluation only.
    life: PhantomData<Cell<&'e ()>>,
}

// SAFETY: values are immutable words; what they point to is immutable or synchronised.
unsafe impl Send for Value<'_> {}
// SAFETY: as above.
unsafe impl Sync for Value<'_> {}

use super::state::TAG;

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
pub(super) const THUNK: u64 = 13;
/// A set in layers; other sets are slices.
const LAYERED: u64 = 14;
const EMPTY: u64 = 15;

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
    pub const EMPTY: Value<'e> = Value::new(EMPTY, 0);

    /// A value of a word with a tag, and the payload that belongs to it.
    #[inline]
    pub(super) const fn new(word: u64, payload: u64) -> Value<'e> {
        // SAFETY: no tag is zero. That lets a result be as small as a value.
        Value { word: unsafe { NonZeroU64::new_unchecked(word) }, payload, life: PhantomData }
    }

    #[inline]
    pub(super) fn word(self) -> u64 {
        self.word.get()
    }

    #[inline]
    pub(super) fn payload(self) -> u64 {
        self.payload
    }

    /// Whether this is no value.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.word() == EMPTY
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
    pub fn attrs(attrs: Attrs<'e>) -> Value<'e> {
        match attrs.parts() {
            (_, Some(layered)) => Value::new(LAYERED, address(layered)),
            (own, None) => Value::new(ATTRS | ((own.len() as u64) << 8), own.as_ptr() as u64),
        }
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
        self.word() == THUNK
    }

    /// Whether this is no thunk, or one that was evaluated.
    #[inline]
    pub fn is_known(self) -> bool {
        self.as_thunk().is_none_or(|thunk| thunk.value().is_some())
    }

    /// The thunk, if this is one.
    #[inline]
    pub fn as_thunk(self) -> Option<&'e Thunk<'e>> {
        // SAFETY: the tag says that the payload is the address of a thunk.
        (self.word() == THUNK).then(|| unsafe { &*(self.payload as *const Thunk<'e>) })
    }

    /// Whether two values are the same object: one thunk, list, set or function.
    /// Numbers, texts and builtin functions never are.
    pub fn same_object(self, other: Value<'e>) -> bool {
        self.word == other.word
            && self.payload == other.payload
            && matches!(self.word() & TAG, THUNK | LIST | ATTRS | LAYERED | LAMBDA | APPLIED)
    }

    /// An address that two values share only if they are the same list or set.
    pub fn identity(self) -> Option<u64> {
        matches!(self.word() & TAG, LIST | ATTRS | LAYERED).then_some(self.payload)
    }

    /// An address that two variables share only if they stand for one thunk.
    pub fn slot_identity(self) -> Option<u64> {
        matches!(self.word() & TAG, THUNK | LIST).then_some(self.payload)
    }

    /// The value as a case distinction. A thunk that was evaluated is not looked through.
    #[inline]
    pub fn view(self) -> View<'e> {
        let (length, payload) = ((self.word() >> 8) as usize, self.payload);
        // SAFETY: by its tag the payload is the address of such an object (and `length`
        // its size), made by one of the constructors above and valid for 'e.
        unsafe {
            match self.word() & TAG {
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
                ATTRS => {
                    View::Attrs(Attrs::flat(std::slice::from_raw_parts(payload as *const Attr<'e>, length)))
                }
                LAYERED => View::Attrs(Attrs::layered(&*(payload as *const Layered<'e>))),
                LAMBDA => View::Lambda(&*(payload as *const Closure<'e>)),
                BUILTIN => View::Builtin(&*(payload as *const Builtin)),
                APPLIED => View::Applied(&*(payload as *const Applied<'e>)),
                THUNK => View::Thunk(&*(payload as *const Thunk<'e>)),
                _ => View::Null,
            }
        }
    }
}
