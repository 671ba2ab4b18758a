//! Programs on other machines, by the system's `ssh`: so that what the user has
//! configured, agents and jump hosts are used.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use crate::store::error::{OpenError, Result, StoreError};
use crate::store::remote::RemoteError;
use crate::store::remote::channel::connection::Connection;
#[cfg(feature = "built-in-ssh")]
use crate::store::remote::channel::ssh_library;

/// A machine, and what is started there.
#[derive(Debug, Clone, Default)]
pub struct Ssh {
    /// The user's name there, if it is to be another.
    pub user: Option<String>,
    /// Its name or address.
    pub host: String,
    /// The port, if it is not the usual one.
    pub port: Option<u16>,
    /// A file with a key.
    pub key: Option<PathBuf>,
    /// The key of the machine itself, as a line of `known_hosts` without names.
    pub host_key: Option<String>,
    /// What is sent is compressed.
    pub compress: bool,
    /// Words for `ssh` (`NIX_SSHOPTS`).
    pub options: Vec<String>,
    /// What to start there: a program and its arguments.
    pub program: Vec<String>,
    /// The user's name here, which is that there unless another is named.
    pub login: String,
    /// The user's home, where the keys are.
    pub home: Option<PathBuf>,
}

/// The name of the machine in a file of its own.
const ALIAS: &str = "nival-host";

/// Reads `[USER@]HOST[:PORT]`, where `HOST` may be an IPv6 address, in brackets
/// or without a port.
///
/// # Errors
/// [`StoreError::Open`].
pub fn parse_authority(text: &str) -> Result<(Option<String>, String, Option<u16>)> {
    let invalid = |reason: String| OpenError::Authority { kind: "SSH", authority: text.to_owned(), reason };
    let (user, rest) = match text.rsplit_once('@') {
        Some((user, rest)) => (Some(user.to_owned()), rest),
        None => (None, text),
    };
    let (host, port) = if let Some(rest) = rest.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or_else(|| invalid("']' is missing".to_owned()))?;
        match after {
            "" => (host, None),
            _ => (host, Some(after.strip_prefix(':').ok_or_else(|| invalid("':' is missing".to_owned()))?)),
        }
    } else if rest.matches(':').count() > 1 {
        (rest, None)
    } else {
        rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)))
    };
    let port = match port {
        Some(port) => Some(port.parse().map_err(|_| invalid(format!("'{port}' is no port")))?),
        None => None,
    };
    for (what, name) in [("user name", user.as_deref()), ("host name", Some(host))] {
        let Some(name) = name else { continue };
        if name.starts_with('-') {
            return Err(invalid(format!("{what} '{name}' must not start with '-'")).into());
        }
        // A control character would end up in a file or on a terminal.
        if name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(invalid(format!("'{}' is no {what}", name.escape_default())).into());
        }
    }
    Ok((user, host.to_owned(), port))
}

impl Ssh {
    /// Starts the program there.
    ///
    /// # Errors
    /// [`RemoteError::Ssh`].
    pub fn connect(&self) -> Result<Connection> {
        if let Some(connection) = self.connect_here()? {
            return Ok(connection);
        }
        let mut command = Command::new("ssh");
        command.arg(match &self.user {
            Some(user) => format!("{user}@{}", self.host),
            None => self.host.clone(),
        });
        command.arg("-x");
        if let Some(key) = &self.key {
            command.arg("-i").arg(key);
        }
        if self.compress {
            command.arg("-C");
        }
        if let Some(port) = self.port {
            command.arg(format!("-p{port}"));
        }
        let known_hosts = self.known_hosts()?;
        if let Some(file) = &known_hosts {
            // Before whatever the user has configured: no other key will do.
            command.arg("-oStrictHostKeyChecking=yes").arg("-oGlobalKnownHostsFile=/dev/null");
            command.arg(format!("-oUserKnownHostsFile={}", file.path().display()));
            command.arg(format!("-oHostKeyAlias={ALIAS}"));
        }
        command.args(&self.options);
        // A machine that does not answer for a minute is gone; the user's own options,
        // which come before, take precedence.
        command.args(["-oServerAliveInterval=15", "-oServerAliveCountMax=4"]);
        command.arg("--");
        command.args(self.program.iter().map(|word| quoted(word)));
        let failed = |error: std::io::Error| self.failed(crate::sys::errno_text(&error));
        let mut connection = match Connection::to_program(command) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return self.without_program(),
            other => other.map_err(failed)?,
        };
        if let Some(file) = known_hosts {
            let program = connection.carrier.take();
            connection.carrier = Some(Box::new(WithFile { _program: program, _file: file }));
        }
        Ok(connection)
    }

    /// What is done where there is no program `ssh`.
    #[cfg(feature = "built-in-ssh")]
    fn without_program(&self) -> Result<Connection> {
        ssh_library::connect(self)
    }

    #[cfg(not(feature = "built-in-ssh"))]
    fn without_program(&self) -> Result<Connection> {
        Err(self.failed(
            "there is no program 'ssh' on PATH, and this build of Nival has no client of its own \
             (feature 'built-in-ssh')"
                .to_owned(),
        ))
    }

    /// `localhost` alone is this machine, without any `ssh`.
    fn connect_here(&self) -> Result<Option<Connection>> {
        if self.host != "localhost" || self.user.is_some() || self.port.is_some() {
            return Ok(None);
        }
        let Some((program, arguments)) = self.program.split_first() else { return Ok(None) };
        let mut command = Command::new(program);
        command.args(arguments);
        let connection = Connection::to_program(command);
        connection
            .map(Some)
            .map_err(|error| self.failed(format!("'{program}': {}", crate::sys::errno_text(&error))))
    }

    /// What a failure to begin means.
    pub fn explain(&self, error: StoreError) -> StoreError {
        match error {
            // What ssh had to say stands on standard error.
            StoreError::Remote(RemoteError::Lost { .. }) => {
                self.failed(format!("the connection was closed before '{}' answered", self.program.join(" ")))
            }
            other => other,
        }
    }

    fn failed(&self, reason: String) -> StoreError {
        RemoteError::Ssh { host: self.host.clone(), reason }.into()
    }

    /// A file in which the machine has the key that it has to have.
    fn known_hosts(&self) -> Result<Option<tempfile::NamedTempFile>> {
        let Some(key) = &self.host_key else { return Ok(None) };
        let write = || {
            let mut file = tempfile::NamedTempFile::new()?;
            writeln!(file, "{ALIAS} {key}")?;
            file.flush()?;
            Ok(file)
        };
        let failed = |error: std::io::Error| self.failed(crate::sys::errno_text(&error));
        write().map(Some).map_err(failed)
    }
}

struct WithFile {
    _program: Option<Box<dyn crate::store::remote::channel::connection::Carrier>>,
    _file: tempfile::NamedTempFile,
}

impl crate::store::remote::channel::connection::Carrier for WithFile {}

/// A word as the shell of the other machine is to read it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        let parse = |text| parse_authority(text).unwrap();
        let host = |user: Option<&str>, host: &str, port| (user.map(str::to_owned), host.to_owned(), port);
        assert_eq!(parse("h"), host(None, "h", None));
        assert_eq!(parse("u@h:22"), host(Some("u"), "h", Some(22)));
        assert_eq!(parse("u@x@h"), host(Some("u@x"), "h", None));
        assert_eq!(parse("[::1]:2222"), host(None, "::1", Some(2222)));
        assert_eq!(parse("::1"), host(None, "::1", None));
        for bad in ["", "-oProxyCommand=x", "u@-h", "-u@h", "h:x", "h:99999", "[::1", "[::1]x", "a b", "h\n"]
        {
            assert!(parse_authority(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn words_reach_the_other_shell() {
        assert_eq!(quoted("nix-store"), "nix-store");
        assert_eq!(quoted("a b'c"), "'a b'\\''c'");
        assert_eq!(quoted("/n;x"), "'/n;x'");
        assert_eq!(quoted("local?root=/x&log=/y"), "'local?root=/x&log=/y'");
    }
}
