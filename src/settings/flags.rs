//! Settings as command-line flags.
//!
//! | Form | Meaning |
//! |---|---|
//! | `--NAME`, `--no-NAME` | Booleans: true, false |
//! | `--sandbox`, `--no-sandbox`, `--relaxed-sandbox` | the three sandbox modes |
//! | `--NAME VALUE` | all other kinds |
//! | `--extra-NAME VALUE` | appendable kinds |
//! | `--ALIAS` or `--ALIAS VALUE` | like `--NAME`; an alias has no `no-` or `extra-` form |
//!
//! One difference, on purpose: the reference attaches an alias to the flag registered last, so
//! that there `--gc-keep-outputs` means `--no-keep-outputs`, `--build-use-sandbox` means
//! `--relaxed-sandbox` and `--binary-caches` means `--extra-substituters`.

use super::table::{self, Kind, Row, TABLE};
use super::value::ValueError;
use super::{Origin, Settings};

/// A flag that sets a setting.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    position: usize,
    action: Action,
    by_alias: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Fixed(&'static str),
    Replace,
    Append,
}

/// A flag's value that cannot be used, in the wording of the classic programs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlagError {
    /// A letter at the end that is no unit.
    #[error("invalid unit specifier '{0}'")]
    Unit(char),
    /// What stands before the unit.
    #[error("'{0}' is not an integer")]
    NotAnInteger(String),
    /// A value the setting does not take.
    #[error(transparent)]
    Value(#[from] ValueError),
}

impl FlagError {
    /// See `ValueError::is_usage`.
    pub fn is_usage(&self) -> bool {
        match self {
            FlagError::Unit(_) | FlagError::NotAnInteger(_) => true,
            FlagError::Value(error) => error.is_usage(),
        }
    }
}

/// The flag called `name`, given without its two dashes.
pub fn find(name: &str) -> Option<Flag> {
    let plain = |position: usize, by_alias| {
        let action = match TABLE[position].kind {
            Kind::Bool | Kind::Sandbox => Action::Fixed("true"),
            _ => Action::Replace,
        };
        Flag { position, action, by_alias }
    };
    if let Some(position) = table::position(name) {
        return Some(plain(position, false));
    }
    if let Some(position) = table::position_or_alias(name) {
        return Some(plain(position, true));
    }
    let (position, action) = if let Some(rest) = name.strip_prefix("no-") {
        let position = table::position(rest)?;
        let switch = matches!(TABLE[position].kind, Kind::Bool | Kind::Sandbox);
        switch.then_some((position, Action::Fixed("false")))?
    } else if let Some(rest) = name.strip_prefix("relaxed-") {
        let position = table::position(rest)?;
        let sandbox = TABLE[position].kind == Kind::Sandbox;
        sandbox.then_some((position, Action::Fixed("relaxed")))?
    } else {
        let position = table::position(name.strip_prefix("extra-")?)?;
        let appendable = TABLE[position].kind.appendable();
        appendable.then_some((position, Action::Append))?
    };
    Some(Flag { position, action, by_alias: false })
}

impl Flag {
    /// The setting.
    pub fn row(&self) -> &'static Row {
        &TABLE[self.position]
    }

    /// Whether the next argument belongs to the flag.
    pub fn takes_value(&self) -> bool {
        !matches!(self.action, Action::Fixed(_))
    }

    /// Sets the setting. `value` is ignored by flags that take none and counts as empty where it
    /// is missing; the caller reports missing arguments.
    ///
    /// A setting behind a disabled feature: once all arguments are read, the caller must check
    /// `Settings::require_feature(flag.row().feature)`; until then a value is ignored with a
    /// warning, while a switch is set right away, since `--extra-experimental-features` may follow.
    pub fn apply(&self, settings: &mut Settings, value: Option<&str>) -> Result<(), ValueError> {
        let value = value.unwrap_or_default();
        match self.action {
            Action::Fixed(text) => settings.assign(self.position, text, false, Origin::CommandLine),
            Action::Replace => settings.assign_gated(self.position, value, false, Origin::CommandLine),
            Action::Append => settings.assign_gated(self.position, value, true, Origin::CommandLine),
        }
    }

    /// Like `apply`, for the classic programs (all but `nix`): they read the values of `--cores`,
    /// `--timeout` and `--max-silent-time` (not of their aliases) with a parser of its own wording.
    pub fn apply_classic(&self, settings: &mut Settings, value: Option<&str>) -> Result<(), FlagError> {
        let strict = matches!(self.row().name, "cores" | "timeout" | "max-silent-time");
        if strict && !self.by_alias {
            let number = parse_unit_number(value.unwrap_or_default())?;
            self.apply(settings, Some(&number.to_string()))?;
        } else {
            self.apply(settings, value)?;
        }
        Ok(())
    }
}

/// Reads a non-negative number with an optional K, M, G or T, as the classic programs do for some
/// flags (also `--max-freed`).
pub fn parse_unit_number(text: &str) -> Result<u64, FlagError> {
    let unit = text.chars().last().filter(char::is_ascii_alphabetic);
    let (digits, factor) = match unit.map(|unit| unit.to_ascii_uppercase()) {
        None => (text, 1),
        Some('K') => (&text[..text.len() - 1], 1 << 10),
        Some('M') => (&text[..text.len() - 1], 1 << 20),
        Some('G') => (&text[..text.len() - 1], 1 << 30),
        Some('T') => (&text[..text.len() - 1], 1 << 40),
        Some(other) => return Err(FlagError::Unit(other)),
    };
    digits
        .parse::<u64>()
        .ok()
        // Overflow: the reference wraps around.
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| FlagError::NotAnInteger(digits.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of `setting` after the given flag.
    fn after(flag: &str, value: Option<&str>, setting: &str) -> String {
        let mut settings = Settings::built_in();
        let found = find(flag).expect("a known flag");
        assert_eq!(found.takes_value(), value.is_some(), "{flag}");
        match found.apply_classic(&mut settings, value) {
            Ok(()) => settings.value(setting).map(|value| value.to_text()).unwrap_or_default(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn forms() {
        assert_eq!(after("fallback", None, "fallback"), "true");
        assert_eq!(after("no-keep-derivations", None, "keep-derivations"), "false");
        assert_eq!(after("gc-keep-outputs", None, "keep-outputs"), "true");
        assert_eq!(after("relaxed-sandbox", None, "sandbox"), "relaxed");
        assert_eq!(after("no-sandbox", None, "sandbox"), "false");
        assert_eq!(after("cores", Some("3K"), "cores"), "3072");
        assert_eq!(after("extra-trusted-users", Some("a b"), "trusted-users"), "root a b");
        assert_eq!(after("extra-platforms", Some("z"), "extra-platforms"), "z");
        assert_eq!(after("extra-extra-platforms", Some("z"), "extra-platforms"), "z");
        for unknown in [
            "",
            "bogus",
            "no-cores",
            "no-build-fallback",
            "extra-cores",
            "extra-binary-caches",
            "no-",
            "relaxed-fallback",
            "extra-",
            "cores=3",
            "no-no-fallback",
        ] {
            assert!(find(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn classic_numbers() {
        assert_eq!(after("cores", Some("x"), "cores"), "error: invalid unit specifier 'X'");
        assert_eq!(after("timeout", Some("5kb"), ""), "error: invalid unit specifier 'B'");
        assert_eq!(after("timeout", Some("-1K"), ""), "error: '-1' is not an integer");
        assert_eq!(after("timeout", Some(""), ""), "error: '' is not an integer");
        assert_eq!(after("timeout", Some("é"), ""), "error: 'é' is not an integer");
        assert_eq!(after("timeout", Some("5 K"), ""), "error: '5 ' is not an integer");
        assert_eq!(
            after("cores", Some("4294967296"), ""),
            "error: setting 'cores' has invalid value '4294967296'"
        );
        assert_eq!(after("build-cores", Some("5x"), ""), "error: setting 'cores' has invalid value '5x'");
    }
}
