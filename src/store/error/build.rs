//! Why derivations were not built.

/// Kinds of failures that exit statuses tell apart; those of several failures are united.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FailureKinds {
    /// A builder failed, or this machine cannot run it.
    pub builder: bool,
    /// A builder took too long, or was silent for too long.
    pub timeout: bool,
    /// An output is not what was promised.
    pub hash: bool,
    /// An output differs from the one that was there.
    pub difference: bool,
}

impl FailureKinds {
    /// A builder failed.
    pub const BUILDER: Self = Self { builder: true, timeout: false, hash: false, difference: false };
    /// A builder took too long.
    pub const TIMEOUT: Self = Self { builder: false, timeout: true, hash: false, difference: false };
    /// An output is not what was promised.
    pub const HASH: Self = Self { builder: false, timeout: false, hash: true, difference: false };
    /// An output differs.
    pub const DIFFERENCE: Self = Self { builder: false, timeout: false, hash: false, difference: true };

    /// These and others.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            builder: self.builder || other.builder,
            timeout: self.timeout || other.timeout,
            hash: self.hash || other.hash,
            difference: self.difference || other.difference,
        }
    }

    /// The exit status that stands for them: 1 for what has no kind, else 96 with a bit for each kind:
    /// 4 for what is no difference, and with it 1 for time and 2 for hashes; 8 for a difference.
    pub fn status(self) -> u8 {
        let failed = self.builder || self.timeout || self.hash;
        let bits = u8::from(self.timeout)
            | u8::from(self.hash) << 1
            | u8::from(failed) << 2
            | u8::from(self.difference) << 3;
        if bits == 0 { 1 } else { 96 | bits }
    }
}

/// A derivation that was not built, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
#[non_exhaustive]
pub struct BuildFailure {
    /// The full path of the derivation.
    pub drv_path: String,
    /// What is told of it, in the reference's words; lines after the first are indented.
    pub text: String,
    /// What kind of failure it is.
    pub kinds: FailureKinds,
}

impl BuildFailure {
    /// A failure of a derivation, with all that is told of it.
    pub fn new(drv_path: String, text: String, kinds: FailureKinds) -> Self {
        Self { drv_path, text, kinds }
    }
}

#[cfg(test)]
mod tests {
    use super::FailureKinds as Kinds;

    #[test]
    fn statuses() {
        let of = [Kinds::BUILDER, Kinds::TIMEOUT, Kinds::HASH, Kinds::DIFFERENCE, Kinds::default()];
        assert_eq!(of.map(Kinds::status), [100, 101, 102, 104, 1]);
        assert_eq!(Kinds::TIMEOUT.with(Kinds::HASH).status(), 103);
        assert_eq!(Kinds::BUILDER.with(Kinds::default()).status(), 100);
        assert_eq!(Kinds::BUILDER.with(Kinds::DIFFERENCE).status(), 108);
    }
}
