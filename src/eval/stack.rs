//! The native stack: how large it is, and whether it is nearly used up.

/// The stack of an evaluating thread. Only what is used is taken from the machine.
pub const SIZE: usize = 1 << 30;
/// The smallest stack that an evaluation is tried with, where the machine refuses larger ones.
pub const LEAST: usize = 64 << 20;
/// What must be left for functions that do not look.
const RESERVE: usize = 512 << 10;

/// The lowest address that recursion may reach on this thread.
#[derive(Clone, Copy, Debug)]
pub struct Stack {
    lowest: usize,
}

impl Stack {
    /// The limit of a stack of `size` bytes; to be called near its beginning.
    pub fn here(size: usize) -> Stack {
        let here = 0u8;
        let lowest = (std::ptr::from_ref(&here) as usize).saturating_sub(size).saturating_add(RESERVE);
        Stack { lowest }
    }

    /// Whether a recursion must end.
    #[inline]
    pub fn is_exhausted(self) -> bool {
        let here = 0u8;
        (std::ptr::from_ref(&here) as usize) < self.lowest
    }
}
