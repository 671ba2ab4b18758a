//! A snapshot of the environment variables, and what follows from them alone.
//!
//! Reading the process's own variables is left to `load.rs`; tests build a snapshot by hand.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::value::lexically_normal;

/// Environment variables, by name.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

// Values may be secrets (cloud credentials, tokens in NIX_CONFIG), so only names are shown.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Environment {
            variables: pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        }
    }
}

/// A directory variable that holds a relative path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an absolute path: \"{value}\"")]
#[non_exhaustive]
pub struct RelativeDirectory {
    /// The variable.
    pub variable: &'static str,
    /// The path in it.
    pub value: String,
}

/// The four directories fixed by variables alone, normalised lexically.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directories {
    /// NIX_STORE_DIR, or its old name NIX_STORE.
    pub store: PathBuf,
    /// NIX_STATE_DIR: database, profiles, roots.
    pub state: PathBuf,
    /// NIX_LOG_DIR: build logs.
    pub log: PathBuf,
    /// NIX_CONF_DIR: nix.conf and its companions.
    pub conf: PathBuf,
}

impl Environment {
    /// The variable, also when it is set to nothing.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// The variable, unless it is unset or set to nothing.
    pub fn non_empty(&self, name: &str) -> Option<&OsStr> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// The variable as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| value.to_string_lossy().into_owned())
    }

    /// Whether the variable is `1`, the way switches among the variables are set.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value == "1")
    }

    /// All variables, sorted by name, for programs we start.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// The directories given by NIX_STORE_DIR, NIX_STATE_DIR, NIX_LOG_DIR and NIX_CONF_DIR.
    pub fn directories(&self) -> Result<Directories, RelativeDirectory> {
        let store = match self.non_empty("NIX_STORE_DIR") {
            Some(_) => "NIX_STORE_DIR",
            None => "NIX_STORE",
        };
        Ok(Directories {
            store: self.directory(store, "/nix/store")?,
            state: self.directory("NIX_STATE_DIR", "/nix/var/nix")?,
            log: self.directory("NIX_LOG_DIR", "/nix/var/log/nix")?,
            conf: self.directory("NIX_CONF_DIR", "/etc/nix")?,
        })
    }

    fn directory(&self, variable: &'static str, default: &str) -> Result<PathBuf, RelativeDirectory> {
        match self.non_empty(variable) {
            None => Ok(PathBuf::from(default)),
            Some(value) => lexically_normal(Path::new(value))
                .ok_or_else(|| RelativeDirectory { variable, value: value.to_string_lossy().into_owned() }),
        }
    }

    /// Whether `user_conf_files` looks at the home directory.
    pub fn conf_files_need_home(&self) -> bool {
        ["NIX_USER_CONF_FILES", "NIX_CONFIG_HOME", "XDG_CONFIG_HOME"]
            .iter()
            .all(|name| self.get(name).is_none())
    }

    /// The user's configuration files, existing or not, the one that wins first.
    ///
    /// NIX_USER_CONF_FILES, a list separated by colons, replaces all others. Without it these are
    /// nix.conf in NIX_CONFIG_HOME, else in XDG_CONFIG_HOME/nix, else in ~/.config/nix, and then
    /// nix/nix.conf in each of XDG_CONFIG_DIRS.
    pub fn user_conf_files(&self, home: Option<&Path>) -> Vec<PathBuf> {
        if let Some(files) = self.get("NIX_USER_CONF_FILES") {
            if files.is_empty() {
                return Vec::new();
            }
            // An empty element is the working directory, which then is no readable file.
            return split_colons(files)
                .map(|file| if file.is_empty() { Path::new(".") } else { Path::new(file) })
                .map(Path::to_path_buf)
                .collect();
        }
        let mut files = Vec::new();
        if let Some(directory) = self.get("NIX_CONFIG_HOME") {
            files.push(Path::new(directory).join("nix.conf"));
        } else if let Some(directory) = self.get("XDG_CONFIG_HOME") {
            files.push(Path::new(directory).join("nix/nix.conf"));
        } else if let Some(home) = home {
            files.push(home.join(".config/nix/nix.conf"));
        }
        let directories = self.get("XDG_CONFIG_DIRS").unwrap_or(OsStr::new("/etc/xdg"));
        files.extend(
            split_colons(directories)
                .filter(|directory| !directory.is_empty())
                .map(|directory| Path::new(directory).join("nix/nix.conf")),
        );
        files
    }

    /// The user's directory for state: NIX_STATE_HOME, else XDG_STATE_HOME/nix, else
    /// ~/.local/state/nix.
    pub fn state_home(&self, home: Option<&Path>) -> Option<PathBuf> {
        if let Some(dir) = self.non_empty("NIX_STATE_HOME") {
            return Some(PathBuf::from(dir));
        }
        match self.non_empty("XDG_STATE_HOME") {
            Some(dir) => Some(Path::new(dir).join("nix")),
            None => home.map(|home| home.join(".local/state/nix")),
        }
    }

    /// The user's directory for what can be had again: NIX_CACHE_HOME, else
    /// XDG_CACHE_HOME/nix, else ~/.cache/nix.
    pub fn cache_home(&self, home: Option<&Path>) -> Option<PathBuf> {
        if let Some(dir) = self.non_empty("NIX_CACHE_HOME") {
            return Some(PathBuf::from(dir));
        }
        match self.non_empty("XDG_CACHE_HOME") {
            Some(dir) => Some(Path::new(dir).join("nix")),
            None => home.map(|home| home.join(".cache/nix")),
        }
    }

    /// The elements of NIX_PATH, if it is set; then it replaces `nix-path` from all files.
    ///
    /// A colon after `flake` or `channel`, or in the `://` of certain URLs, does not separate.
    pub fn lookup_path(&self) -> Option<Vec<String>> {
        let text = self.text("NIX_PATH")?;
        let mut elements = Vec::new();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let end = element_end(rest);
            if end > 0 {
                elements.push(rest[..end].to_owned());
            }
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        Some(elements)
    }
}

/// Schemes whose `://` does not end an element; any other colon does.
const URL_SCHEMES: &[&str] = &["channel", "file", "git", "http", "https", "s3", "ssh"];

/// Where the first element of a lookup path ends: at a colon or at the end of the text.
fn element_end(text: &str) -> usize {
    for (index, _) in text.match_indices(':') {
        let head = &text[..index];
        let scheme = head.rsplit_once('=').map_or(head, |(_, scheme)| scheme);
        let in_url = URL_SCHEMES.contains(&scheme) && text[index + 1..].starts_with("//");
        if !in_url && !matches!(scheme, "flake" | "channel") {
            return index;
        }
    }
    text.len()
}

fn split_colons(list: &OsStr) -> impl Iterator<Item = &OsStr> {
    list.as_bytes().split(|byte| *byte == b':').map(OsStr::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().copied().collect()
    }

    fn conf_files(pairs: &[(&str, &str)]) -> String {
        let files = environment(pairs).user_conf_files(Some(Path::new("/home/u")));
        let files: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
        files.join(":")
    }

    #[test]
    fn configuration_files() {
        assert_eq!(conf_files(&[]), "/home/u/.config/nix/nix.conf:/etc/xdg/nix/nix.conf");
        let dirs = ("XDG_CONFIG_DIRS", "/a/::b");
        assert_eq!(
            conf_files(&[dirs, ("XDG_CONFIG_HOME", "/x/")]),
            "/x/nix/nix.conf:/a/nix/nix.conf:b/nix/nix.conf"
        );
        let none = ("XDG_CONFIG_DIRS", "");
        assert_eq!(conf_files(&[none, ("XDG_CONFIG_HOME", "/x"), ("NIX_CONFIG_HOME", "/n/")]), "/n/nix.conf");
        assert_eq!(conf_files(&[none, ("NIX_CONFIG_HOME", "")]), "nix.conf");
        assert_eq!(conf_files(&[("NIX_USER_CONF_FILES", "")]), "");
        assert_eq!(conf_files(&[("NIX_USER_CONF_FILES", "a::/b")]), "a:.:/b");
    }

    #[test]
    fn directories() {
        let found =
            environment(&[("NIX_STORE_DIR", "/x/../s/"), ("NIX_STATE_DIR", ""), ("NIX_CONF_DIR", "/c")])
                .directories()
                .expect("absolute");
        assert_eq!(found.store, Path::new("/s"));
        assert_eq!(found.state, Path::new("/nix/var/nix"));
        assert_eq!(found.conf, Path::new("/c"));
        let old = environment(&[("NIX_STORE", "/o"), ("NIX_STORE_DIR", "")]).directories();
        assert_eq!(old.map(|found| found.store), Ok(PathBuf::from("/o")));
        let error = environment(&[("NIX_LOG_DIR", "rel")]).directories().expect_err("relative");
        assert_eq!(error.to_string(), "not an absolute path: \"rel\"");
        assert_eq!(error.variable, "NIX_LOG_DIR");
    }

    #[test]
    fn lookup_paths() {
        let split = |text| environment(&[("NIX_PATH", text)]).lookup_path().expect("set").join(" ");
        assert_eq!(split(":a::b=c:"), "a b=c");
        assert_eq!(split("http://x:y:flake:z:d=https://u/p"), "http://x y flake:z d=https://u/p");
        assert_eq!(split("a=b=https://c:https:d:ftp://e"), "a=b=https://c https d ftp //e");
        assert_eq!(split("flake:nixpkgs:x=channel:y:flakex:z"), "flake:nixpkgs x=channel:y flakex z");
        assert_eq!(split(""), "");
        assert_eq!(split("é:ü"), "é ü");
        assert_eq!(environment(&[]).lookup_path(), None);
    }

    #[test]
    fn debugging_shows_no_values() {
        let shown = format!("{:?}", environment(&[("NIX_CONFIG", "access-tokens = a=secret")]));
        assert!(shown.contains("NIX_CONFIG") && !shown.contains("secret"));
    }
}
