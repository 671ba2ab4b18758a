//! Settings: what nix.conf, the environment and flags say, in one typed table.
//!
//! `table` lists the settings, `value` parses one value, `conf` the grammar of files, `load` reads
//! files and environment in order of precedence, `flags` are settings on the command line, `show`
//! prints them and `access` hands them to the code.
//!
//! Nothing here prints: warnings are collected as values and taken by the caller. Texts and order
//! are those of Nix 2.34.8.

mod access;
pub mod conf;
pub mod environment;
pub mod flags;
pub mod load;
pub mod machine;
pub mod show;
pub mod table;
pub mod value;

use std::collections::BTreeSet;

pub use environment::{Directories, Environment};
pub use load::{LoadError, load};
pub use machine::Machine;
pub use value::{SandboxMode, StoreUriParser, Value, ValueError};

use table::{FEATURES, Kind, TABLE};
use value::{Context, accept_store_uri};

/// Where a value comes from; later ones take precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Built in, perhaps depending on machine and environment.
    Default,
    /// nix.conf in the system's configuration directory.
    System,
    /// A configuration file of the user's, or one in XDG_CONFIG_DIRS.
    User,
    /// NIX_CONFIG or another variable.
    Environment,
    /// A flag.
    CommandLine,
}

/// Something worth telling the user, to be printed after `warning: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// No such setting.
    #[error("unknown setting '{}'{}", .0, table::suggestion(.0))]
    UnknownSetting(String),
    /// No such feature; it is left out.
    #[error("unknown experimental feature '{0}'")]
    UnknownFeature(String),
    /// A setting that belongs to a feature that is off; it is left alone.
    #[error("Ignoring setting '{name}' because experimental feature '{feature}' is not enabled")]
    DisabledFeature {
        /// The setting.
        name: &'static str,
        /// The feature.
        feature: &'static str,
    },
    /// A setting with a successor.
    #[error("'{name}' is deprecated, use '{instead}' instead")]
    Deprecated {
        /// The setting.
        name: &'static str,
        /// The assignment that replaces it.
        instead: String,
    },
    /// A bad value given with `--option`; anywhere else it is an error.
    #[error("{0}")]
    InvalidOption(ValueError),
    /// HOME belongs to another user.
    #[error(
        "$HOME ('{home}') is not owned by you, falling back to the one defined in the 'passwd' \
         file ('{passwd}')"
    )]
    ForeignHome {
        /// HOME.
        home: String,
        /// What is used in its place.
        passwd: String,
    },
}

/// A feature that something needs and that is not enabled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("experimental Nix feature '{feature}' is disabled{what}")]
#[non_exhaustive]
pub struct FeatureDisabled {
    /// Its name in `experimental-features`.
    pub feature: String,
    /// What it is needed for, in parentheses; may be empty.
    pub what: String,
}

/// Whether a setting decides about others of the same text.
fn is_of_features(name: &str) -> bool {
    matches!(name, "experimental-features" | "extra-experimental-features")
}

/// The state of one setting.
#[derive(Clone, Debug)]
struct Slot {
    default: Value,
    value: Value,
    origin: Origin,
}

/// The values of all settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// One for each row of the table, in its order.
    slots: Vec<Slot>,
    context: Context,
    warnings: Vec<Warning>,
    unknown: BTreeSet<String>,
}

impl Settings {
    /// The defaults of the table alone, for tests and embedding programs. Defaults that depend on
    /// machine and environment are neutral; `load` fills them in.
    pub fn built_in() -> Settings {
        Settings::with_context(Context { store_uri: accept_store_uri, cores: 1 })
    }

    fn with_context(context: Context) -> Settings {
        let slots = TABLE
            .iter()
            .map(|row| {
                // A test makes sure that all defaults can be parsed.
                let default = Value::parse(row, row.default, &context)
                    .unwrap_or_else(|_| Value::Text(row.default.to_owned()));
                Slot { value: default.clone(), default, origin: Origin::Default }
            })
            .collect();
        Settings { slots, context, warnings: Vec::new(), unknown: BTreeSet::new() }
    }

    /// The value of the setting called `name`, which must not be an alias.
    pub fn value(&self, name: &str) -> Option<&Value> {
        table::position(name).and_then(|position| self.slots.get(position)).map(|slot| &slot.value)
    }

    /// Where the value of the setting called `name` (no alias) comes from.
    pub fn origin(&self, name: &str) -> Option<Origin> {
        table::position(name).and_then(|position| self.slots.get(position)).map(|slot| slot.origin)
    }

    /// Whether the experimental feature is enabled.
    pub fn feature_enabled(&self, feature: &str) -> bool {
        matches!(
            self.value("experimental-features"),
            Some(Value::Set(enabled)) if enabled.contains(feature)
        )
    }

    /// Refuses to go on without the experimental feature, if one is given.
    pub fn require_feature(&self, feature: Option<&str>) -> Result<(), FeatureDisabled> {
        match feature {
            Some(feature) if !self.feature_enabled(feature) => {
                Err(FeatureDisabled { feature: feature.to_owned(), what: String::new() })
            }
            _ => Ok(()),
        }
    }

    /// Sets `name` to `text`; `name` may be an alias, and `extra-NAME` appends.
    ///
    /// An unknown name and a setting behind a disabled feature lead to a warning, and `text` is
    /// not even looked at.
    pub fn set(&mut self, name: &str, text: &str, origin: Origin) -> Result<(), ValueError> {
        // Names come first: `extra-platforms` is a setting, not an addition to `platforms`.
        if let Some(position) = table::position_or_alias(name) {
            return self.assign_gated(position, text, false, origin);
        }
        let appended = name.strip_prefix("extra-").and_then(table::position_or_alias);
        match appended {
            Some(position) if TABLE[position].kind.appendable() => {
                self.assign_gated(position, text, true, origin)
            }
            _ => {
                self.unknown.insert(name.to_owned());
                Ok(())
            }
        }
    }

    /// Does what `--option NAME VALUE` does: like `set`, but wrong usage is only a warning.
    pub fn set_option(&mut self, name: &str, text: &str) -> Result<(), ValueError> {
        match self.set(name, text, Origin::CommandLine) {
            Err(error) if error.is_usage() => {
                self.warnings.push(Warning::InvalidOption(error));
                Ok(())
            }
            result => result,
        }
    }

    /// Sets all of `assignments`, in order, except that those of `experimental-features` are made
    /// first, since they decide about others of the same text.
    pub fn apply(&mut self, assignments: &[(String, String)], origin: Origin) -> Result<(), ValueError> {
        for (name, value) in assignments.iter().filter(|(name, _)| is_of_features(name)) {
            self.set(name, value, origin)?;
        }
        for (name, value) in assignments.iter().filter(|(name, _)| !is_of_features(name)) {
            self.set(name, value, origin)?;
        }
        Ok(())
    }

    /// The settings given by anything but the built-in default and the system's nix.conf: those
    /// that are forwarded to a daemon, which has read that file itself.
    pub fn overridden(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.iter().filter(|shown| shown.overridden).map(|shown| (shown.row.name, shown.value.to_text()))
    }

    /// Takes the warnings that are due at once, in the order in which they arose; the same one may
    /// come several times.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    /// Takes the warnings about unknown settings, sorted and each once. They are due when all
    /// arguments have been read, and not at all when reading them failed.
    pub fn take_unknown(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.unknown).into_iter().map(Warning::UnknownSetting).collect()
    }

    /// Adds a warning of the caller's, unless it is already waiting.
    pub fn warn_once(&mut self, warning: Warning) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    fn assign_gated(
        &mut self,
        position: usize,
        text: &str,
        append: bool,
        origin: Origin,
    ) -> Result<(), ValueError> {
        let row = &TABLE[position];
        match row.feature {
            Some(feature) if !self.feature_enabled(feature) => {
                self.warnings.push(Warning::DisabledFeature { name: row.name, feature });
                Ok(())
            }
            _ => self.assign(position, text, append, origin),
        }
    }

    fn assign(
        &mut self,
        position: usize,
        text: &str,
        append: bool,
        origin: Origin,
    ) -> Result<(), ValueError> {
        let row = &TABLE[position];
        let mut value = Value::parse(row, text, &self.context)?;
        if let (Kind::Features, Value::Set(features)) = (row.kind, &mut value) {
            self.keep_known_features(features);
        }
        if row.name == "warn-short-path-literals" {
            self.replace_short_path_warning(value == Value::Bool(true));
        }
        let slot = &mut self.slots[position];
        if append {
            slot.value.append(value);
        } else {
            slot.value = value;
        }
        slot.origin = origin;
        Ok(())
    }

    fn keep_known_features(&mut self, features: &mut BTreeSet<String>) {
        features.retain(|feature| {
            let known = FEATURES.contains(&feature.as_str());
            if !known {
                self.warnings.push(Warning::UnknownFeature(feature.clone()));
            }
            known
        });
        if features.contains("flakes") {
            features.insert("fetch-tree".to_owned());
        }
    }

    /// `warn-short-path-literals` is an old form of one lint, which goes before it if it is set too.
    fn replace_short_path_warning(&mut self, warn: bool) {
        let level = if warn { "warn" } else { "ignore" };
        self.warnings.push(Warning::Deprecated {
            name: "warn-short-path-literals",
            instead: format!("lint-short-path-literals = {level}"),
        });
        if self.origin("lint-short-path-literals") == Some(Origin::Default) {
            self.set_initial("lint-short-path-literals", Value::Text(level.to_owned()));
        }
    }

    /// Replaces a default that depends on machine or environment, and the value with it.
    fn set_default(&mut self, name: &str, default: Value) {
        if let Some(slot) = table::position(name).and_then(|position| self.slots.get_mut(position)) {
            slot.value = default.clone();
            slot.default = default;
        }
    }

    /// Replaces a value without a trace: the default stays, and so does the origin.
    fn set_initial(&mut self, name: &str, value: Value) {
        if let Some(slot) = table::position(name).and_then(|position| self.slots.get_mut(position)) {
            slot.value = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(assignments: &[(&str, &str)]) -> Settings {
        let mut settings = Settings::built_in();
        let owned: Vec<_> =
            assignments.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        settings.apply(&owned, Origin::System).expect("valid values");
        settings
    }

    fn text(settings: &Settings, name: &str) -> String {
        settings.value(name).map(Value::to_text).unwrap_or_default()
    }

    fn warnings(settings: &mut Settings) -> Vec<String> {
        let mut all = settings.take_warnings();
        all.extend(settings.take_unknown());
        all.iter().map(Warning::to_string).collect()
    }

    #[test]
    fn defaults_can_be_parsed() {
        let context = Context { store_uri: accept_store_uri, cores: 1 };
        for row in TABLE {
            // The system is the only empty default without which nothing works; `load` fills it in.
            let value = Value::parse(row, row.default, &context);
            assert!(value.is_ok(), "{}: {value:?}", row.name);
        }
    }

    #[test]
    fn later_assignments_win_and_extra_appends() {
        let found = settings(&[
            ("trusted-users", "x"),
            ("extra-trusted-users", "a"),
            ("trusted-users", "y"),
            ("extra-trusted-users", "b c"),
            ("build-cores", "3"),
            ("extra-binary-caches", "https://z"),
            ("extra-platforms", "p"),
        ]);
        assert_eq!(text(&found, "trusted-users"), "y b c");
        assert_eq!(text(&found, "cores"), "3");
        assert_eq!(text(&found, "substituters"), "https://cache.nixos.org/ https://z");
        assert_eq!(text(&found, "extra-platforms"), "p");
    }

    #[test]
    fn unknown_settings_warn_once_sorted_and_last() {
        let mut found = settings(&[
            ("zz", "1"),
            ("bogus", "1"),
            ("extra-cores", "1"),
            ("bogus", "2"),
            ("experimental-features", "b a a flakes"),
        ]);
        assert_eq!(
            warnings(&mut found),
            [
                "unknown experimental feature 'a'",
                "unknown experimental feature 'b'",
                "unknown setting 'bogus'",
                "unknown setting 'extra-cores'",
                "unknown setting 'zz'",
            ]
        );
        assert_eq!(warnings(&mut found), Vec::<String>::new());
        assert_eq!(text(&found, "experimental-features"), "fetch-tree flakes");
    }

    #[test]
    fn features_gate_settings() {
        let none = ("experimental-features", "");
        let mut found = settings(&[none, ("use-registries", "blah"), ("use-registries", "no")]);
        let line = "Ignoring setting 'use-registries' because experimental feature 'flakes' is not enabled";
        assert_eq!(warnings(&mut found), [line, line]);
        assert_eq!(text(&found, "use-registries"), "true");
        let error = found.require_feature(Some("flakes")).expect_err("disabled");
        assert_eq!(error.to_string(), "experimental Nix feature 'flakes' is disabled");
        // Within one text the feature may come after the setting.
        let mut found = settings(&[("use-registries", "no"), ("experimental-features", "flakes")]);
        assert_eq!(warnings(&mut found), Vec::<String>::new());
        assert_eq!(text(&found, "use-registries"), "false");
        assert_eq!(found.require_feature(Some("flakes")), Ok(()));
    }

    #[test]
    fn bad_options_are_warnings_unless_paths() {
        let mut found = Settings::built_in();
        assert_eq!(found.set_option("cores", "x"), Ok(()));
        assert_eq!(warnings(&mut found), ["setting 'cores' has invalid value 'x'"]);
        assert!(found.set_option("build-dir", "x").is_err());
        assert!(found.set("cores", "x", Origin::User).is_err());
        assert_eq!(text(&found, "cores"), "0");
    }

    #[test]
    fn the_old_path_warning_sets_the_lint() {
        let mut found = settings(&[("warn-short-path-literals", "true")]);
        assert_eq!(text(&found, "lint-short-path-literals"), "warn");
        assert_eq!(
            warnings(&mut found),
            ["'warn-short-path-literals' is deprecated, use 'lint-short-path-literals = warn' instead"]
        );
    }
}
