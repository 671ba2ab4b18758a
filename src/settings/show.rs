//! Settings as `nix config show` prints them.
//!
//! Plain: one `name = value` line per setting, sorted, without those behind a disabled feature.
//! With a name: the value alone. `--json`: one object with all settings on one line. Compared with
//! the reference `eval-cores`, `eval-listing-memory`, `gc-without-proc` and `sync-store-paths` appear additionally, and descriptions are
//! our own.

use serde_json::{Value as Json, json};

use super::table::{Row, TABLE};
use super::value::Value;
use super::{Origin, Settings};

/// One setting and its state.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The setting.
    pub row: &'static Row,
    /// Its value in force.
    pub value: &'a Value,
    /// Its default on this machine.
    pub default: &'a Value,
    /// Where the value comes from.
    pub origin: Origin,
    /// Whether it was set by anything but the built-in default and the system's nix.conf.
    pub overridden: bool,
}

/// `config show NAME` for a name that is unknown, an alias, or behind a disabled feature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not find setting '{0}'")]
pub struct NoSuchSetting(pub String);

impl Settings {
    /// All settings, sorted by name, also those behind disabled features.
    pub fn iter(&self) -> impl Iterator<Item = Shown<'_>> {
        TABLE.iter().zip(&self.slots).map(|(row, slot)| Shown {
            row,
            value: &slot.value,
            default: &slot.default,
            origin: slot.origin,
            overridden: slot.origin > Origin::System,
        })
    }

    /// The settings that are in force: not behind a disabled feature.
    pub fn enabled(&self) -> impl Iterator<Item = Shown<'_>> {
        self.iter().filter(|shown| shown.row.feature.is_none_or(|feature| self.feature_enabled(feature)))
    }

    /// The output of `config show`.
    pub fn show(&self) -> String {
        self.enabled().map(|shown| format!("{} = {}\n", shown.row.name, shown.value.to_text())).collect()
    }

    /// The output of `config show NAME`.
    pub fn show_one(&self, name: &str) -> Result<String, NoSuchSetting> {
        self.enabled()
            .find(|shown| shown.row.name == name)
            .map(|shown| format!("{}\n", shown.value.to_text()))
            .ok_or_else(|| NoSuchSetting(name.to_owned()))
    }

    /// The output of `config show --json`.
    pub fn show_json(&self) -> String {
        let all = self.iter().map(|shown| (shown.row.name.to_owned(), shown.to_json()));
        format!("{}\n", Json::Object(all.collect()))
    }
}

impl Shown<'_> {
    /// The object that stands for this setting in `config show --json`.
    fn to_json(self) -> Json {
        let description = match self.row.without_effect() {
            Some(why) => format!("{} (It {why}.)", self.row.doc),
            None => self.row.doc.to_owned(),
        };
        json!({
            "aliases": self.row.aliases,
            "defaultValue": self.default.to_json(),
            "description": description,
            "documentDefault": self.row.document_default,
            "experimentalFeature": self.row.feature,
            "value": self.value.to_json(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(assignments: &[(&str, &str)]) -> Settings {
        let mut settings = Settings::built_in();
        for (name, value) in assignments {
            settings.set(name, value, Origin::User).expect("a valid value");
        }
        settings
    }

    #[test]
    fn plain_lines() {
        let settings =
            with(&[("experimental-features", ""), ("trusted-users", "b  a"), ("access-tokens", "z=1 y=2")]);
        let shown = settings.show();
        for line in ["build-dir = ", "cores = 0", "trusted-users = b a", "access-tokens =  y=2 z=1"] {
            assert!(shown.lines().any(|found| found == line), "{line}");
        }
        assert!(!shown.contains("flake-registry"));
        assert!(shown.ends_with("warn-short-path-literals = false\n"));
    }

    #[test]
    fn one_value() {
        let settings = with(&[("experimental-features", "flakes")]);
        assert_eq!(settings.show_one("cores"), Ok("0\n".to_owned()));
        assert_eq!(settings.show_one("use-registries"), Ok("true\n".to_owned()));
        for name in ["gc-keep-outputs", "auto-allocate-uids", "bogus"] {
            let error = settings.show_one(name).expect_err("hidden");
            assert_eq!(error.to_string(), format!("could not find setting '{name}'"));
        }
    }

    #[test]
    fn json_object() {
        let json = with(&[("sandbox", "relaxed")]).show_json();
        assert!(
            json.starts_with("{\"abort-on-warn\":{\"aliases\":[],\"defaultValue\":false,\"description\":")
        );
        assert!(json.contains("\"documentDefault\":true,\"experimentalFeature\":\"flakes\",\"value\":true}"));
        assert!(json.contains("\"aliases\":[\"build-use-chroot\",\"build-use-sandbox\"]"));
        assert!(json.contains("\"value\":\"relaxed\"}"));
        assert!(json.contains("\"defaultValue\":9223372036854775807"));
        assert!(json.ends_with("}}\n"));
    }

    #[test]
    fn only_what_the_user_set_is_overridden() {
        let mut settings = with(&[("cores", "3")]);
        settings.set("timeout", "5", Origin::System).expect("a valid value");
        let overridden: Vec<_> = settings.overridden().collect();
        assert_eq!(overridden, [("cores", "3".to_owned())]);
    }
}
