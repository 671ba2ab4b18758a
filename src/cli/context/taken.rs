//! What the context does with flags of every program.

use ::nival::progress::Progress as _;
use ::nival::settings::table::{self, Effect, TABLE};
use ::nival::settings::{Origin, flags as setting_flags};

use super::Context;
use crate::cli::error::Usage;
use crate::cli::flags::page;
use crate::cli::flags::parse::{CommonFlags, Given};
use crate::cli::output::messages::{LogFormat, Logs, level};

/// The settings that `--refresh` stands for: what was fetched before does not count any more.
const REFRESH: &[(&str, &str)] = &[
    ("tarball-ttl", "0"),
    ("narinfo-cache-meta-ttl", "0"),
    ("narinfo-cache-positive-ttl", "0"),
    ("narinfo-cache-negative-ttl", "0"),
];
/// The settings that `--offline` stands for: nothing else is to be fetched.
const OFFLINE: &[(&str, &str)] = &[
    ("substitute", "false"),
    ("tarball-ttl", "4294967295"),
    ("narinfo-cache-meta-ttl", "4294967295"),
    ("download-attempts", "0"),
    ("connect-timeout", "1"),
];

impl CommonFlags for Context {
    fn take_flag(&mut self, given: &Given) -> anyhow::Result<()> {
        match given.name() {
            "--verbose" => self.ui.change_verbosity(1),
            "--quiet" => self.ui.change_verbosity(-1),
            "--debug" => self.ui.change_verbosity(level::TALKATIVE),
            "--log-format" => {
                let name = given.text()?;
                match LogFormat::parse(&name) {
                    Some(format) => {
                        self.ui.set_format(format);
                        self.ui.set_logs(Logs::of_format(&name));
                    }
                    None => anyhow::bail!("option 'log-format' has an invalid value '{name}'"),
                }
            }
            "--option" => {
                let (name, value) = given.texts()?;
                self.note_given(&name);
                let done = self.settings.set_option(&name, &value);
                self.tell_warnings();
                done?;
                self.settings_changed();
            }
            "--version" => self.version_wanted = true,
            "--help" => self.help_wanted = true,
            "--no-gc-warning" => self.no_gc_warning = true,
            "-j" => self.set_given("max-jobs", &given.text()?)?,
            "--keep-failed" => self.set_given("keep-failed", "true")?,
            "--keep-going" => self.set_given("keep-going", "true")?,
            "--refresh" => self.set_all(REFRESH)?,
            "--offline" => self.set_all(OFFLINE)?,
            "--readonly-mode" => self.readonly_mode = true,
            "--print-build-logs" => self.ui.set_logs(Logs::Named),
            "--no-build-output" => self.ui.set_logs(Logs::Hidden),
            other => return Err(page::not_taken(other)),
        }
        Ok(())
    }

    fn take_setting(&mut self, flag: setting_flags::Flag, value: Option<&str>) -> anyhow::Result<()> {
        if self.is_nix() {
            flag.apply(&mut self.settings, value)?;
        } else if let Err(error) = flag.apply_classic(&mut self.settings, value) {
            return match error.is_usage() {
                true => Err(Usage(error.to_string()).into()),
                false => Err(error.into()),
            };
        }
        self.given.insert(flag.row().name);
        self.gated.push(flag.row().feature);
        self.tell_warnings();
        self.settings_changed();
        Ok(())
    }

    fn warn(&self, message: &str) {
        self.ui.warn(message);
    }

    fn version_wanted(&self) -> bool {
        self.version_wanted
    }
}

impl Context {
    fn set(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        Ok(self.settings.set(name, value, Origin::CommandLine)?)
    }

    fn set_given(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        self.note_given(name);
        self.set(name, value)
    }

    fn set_all(&mut self, settings: &[(&str, &str)]) -> anyhow::Result<()> {
        settings.iter().try_for_each(|(name, value)| self.set(name, value))
    }

    /// Passes on what parts of the library that know no settings go by.
    fn settings_changed(&self) {
        ::nival::nar::case_hack::enable(self.settings.use_case_hack());
    }

    /// Prints the version or the help if one of them was asked for, and says whether it was. All words
    /// must have been read.
    pub fn is_answered_by(&mut self, help: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<bool> {
        self.end_of_args()?;
        if self.version_wanted {
            return self.print_version().map(|()| true);
        }
        if self.help_wanted {
            return help().map(|()| true);
        }
        Ok(false)
    }

    /// Warns of settings on the command line that change nothing, whatever store is
    /// opened; those of building wait for a store that builds nothing.
    fn warn_of_vain_settings(&self) {
        self.warn_without_effect(|effect| matches!(effect, Effect::OfLanguage | Effect::Nothing(_)));
    }

    /// Warns of settings on the command line without effect.
    pub fn warn_without_effect(&self, of: impl Fn(Effect) -> bool) {
        for row in TABLE.iter().filter(|row| of(row.effect) && self.given.contains(row.name)) {
            let taken = self.settings.origin(row.name) == Some(Origin::CommandLine);
            if taken && let Some(why) = row.without_effect() {
                let why = why.split(';').next().unwrap_or_default();
                self.ui.warn(&format!("setting '{}' {why}", row.name));
            }
        }
    }

    /// Notes that the user gave a setting on the command line; others are set there
    /// by flags that stand for several.
    fn note_given(&mut self, name: &str) {
        let name = name.strip_prefix("extra-").unwrap_or(name);
        self.given.extend(table::position_or_alias(name).map(|place| TABLE[place].name));
    }

    /// Tells of what can be seen only when all words were read.
    ///
    /// # Errors
    /// A flag of an experimental feature that is not enabled.
    pub fn end_of_args(&mut self) -> anyhow::Result<()> {
        if let Some(path) = self.settings.json_log_path()
            && let Err(error) = self.ui.log_to(path)
        {
            let reason = ::nival::sys::errno_text(&error);
            let path = path.display();
            self.ui.warn(&format!("nothing is logged to '{path}' (json-log-path): {reason}"));
        }
        self.warn_of_vain_settings();
        for warning in self.settings.take_unknown() {
            ::nival::progress::Progress::warn(&*self.ui, &warning.to_string());
        }
        for feature in std::mem::take(&mut self.gated) {
            self.settings.require_feature(feature)?;
        }
        Ok(())
    }
}
