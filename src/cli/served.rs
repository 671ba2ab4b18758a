//! What servers ask of the program around them: its settings.

use std::sync::Arc;

use nival::build::settings::BuildSettings;
use nival::ops::copy::Trust;
use nival::ops::realise::substitute::Substituters;
use nival::ops::serve::{ClientOptions, Host};
use nival::progress::Advise;
use nival::settings::{Origin, Settings};
use nival::store::StoreError;
use nival::store::local::gc::Keep;

use super::context::Context;
use super::output::version::NIX_VERSION;

/// A program that serves others.
pub struct Served<'c>(pub &'c mut Context);

/// Settings that a client may change although it is not trusted.
const HARMLESS: &[&str] = &["build-poll-interval", "connect-timeout", "max-silent-time", "timeout"];
/// Settings of the client's that are passed over without a word.
const PASSED_OVER: &[&str] = &["experimental-features", "extra-experimental-features", "ssh-auth-sock"];

impl Host for Served<'_> {
    fn version(&self) -> String {
        NIX_VERSION.to_owned()
    }

    fn set_options(&mut self, options: &ClientOptions, trusted: bool) -> Vec<String> {
        let mut warnings = Vec::new();
        let settings = &mut self.0.settings;
        let fixed = [
            ("keep-failed", options.keep_failed.to_string()),
            ("keep-going", options.keep_going.to_string()),
            ("fallback", options.fallback.to_string()),
            ("max-jobs", options.max_jobs.to_string()),
            ("max-silent-time", options.max_silent_time.to_string()),
            ("cores", options.cores.to_string()),
            ("substitute", options.substitute.to_string()),
        ];
        for (name, value) in fixed {
            warnings.extend(set(settings, name, &value));
        }
        for (name, value) in &options.overrides {
            match name.as_str() {
                "plugin-files" => warnings.push(
                    "Ignoring the client-specified plugin-files: a daemon loads no plugins for its clients".to_owned(),
                ),
                // Which store this is, is not for the client to say.
                "store" => {}
                name if PASSED_OVER.contains(&name) => {}
                _ if trusted => warnings.extend(set(settings, name, value)),
                name if HARMLESS.contains(&name) => warnings.extend(set(settings, name, value)),
                "builders" if value.is_empty() => warnings.extend(set(settings, name, value)),
                "substituters" => {
                    let allowed = allowed_substituters(settings, value, &mut warnings);
                    warnings.extend(set(settings, name, &allowed));
                }
                _ => warnings.push(format!(
                    "ignoring the client-specified setting '{name}', because it is a restricted setting and you are \
                     not a trusted user"
                )),
            }
        }
        // Unknown names are newer than this program, or older.
        settings.take_unknown();
        warnings.extend(settings.take_warnings().iter().map(ToString::to_string));
        warnings
    }

    fn substituters(&self) -> Substituters {
        self.0.substituters()
    }

    fn builds(&self) -> Arc<BuildSettings> {
        self.0.builds()
    }

    fn trust(&self) -> Result<Trust, StoreError> {
        self.0.trust().map_err(|error| StoreError::Setting(error.to_string()))
    }

    fn keep(&self) -> Keep {
        self.0.keep()
    }

    fn advise(&self) -> Advise {
        super::output::advice::words
    }

    fn told(&self, error: &StoreError) -> String {
        super::error::store_text(error)
    }
}

fn set(settings: &mut Settings, name: &str, value: &str) -> Option<String> {
    settings.set(name, value, Origin::CommandLine).err().map(|error| error.to_string())
}

/// The named substituters that a user who is not trusted may name.
fn allowed_substituters(settings: &Settings, value: &str, warnings: &mut Vec<String>) -> String {
    let plain = |uri: &str| uri.trim_end_matches('/').to_owned();
    let known: Vec<String> =
        settings.substituters().iter().chain(settings.trusted_substituters()).map(|uri| plain(uri)).collect();
    let mut allowed = Vec::new();
    for uri in value.split_ascii_whitespace() {
        if known.contains(&plain(uri)) {
            allowed.push(uri);
        } else {
            warnings.push(format!(
                "ignoring untrusted substituter '{}', you are not a trusted user.\nRun `man nix.conf` for more \
                 information on the `substituters` configuration option.",
                nival::http::url::shown(uri)
            ));
        }
    }
    allowed.join(" ")
}
