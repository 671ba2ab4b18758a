//! Submodules of a commit: what `.gitmodules` says of the commits that are its
//! entries.
//!
//! A URL may be relative to the repository's own (`../other`). One that leads to
//! this machine is followed for repositories of this machine only: whoever
//! controls a repository elsewhere could name any directory with it.

use std::collections::BTreeMap;

use super::command;
use super::objects::{EntryKind, Objects, Oid, check_name};
use super::repository::Repository;
use super::{GitError, Result};
use crate::http::url::shown;
use crate::model::input::Expected;
use crate::model::input::git::{Choices, GitInput, Rev, repository_url};
use crate::model::input::url::Url;

/// Bytes of the file of submodules, and of what is in it.
const MOST: u64 = 1 << 20;

/// A submodule.
pub struct Module {
    /// Its place in the tree.
    pub path: Vec<u8>,
    /// What it is fetched by.
    pub input: GitInput,
}

/// The submodules of a commit of the repository that `input` names.
///
/// # Errors
/// [`GitError`].
pub fn of_commit(repository: &Repository, rev: &Rev, input: &GitInput) -> Result<Vec<Module>> {
    let mut objects = Objects::open(repository)?;
    let tree = objects.commit(rev)?.tree;
    let entries = objects.tree(&tree)?;
    let is_list = |kind| matches!(kind, EntryKind::File { .. });
    let Some(list) = entries.iter().find(|entry| entry.name == b".gitmodules" && is_list(entry.kind)) else {
        return Ok(Vec::new());
    };
    // Hashed, which `git config` does not do.
    objects.small_file(&list.oid, MOST)?;
    let mut modules = Vec::new();
    for (path, url) in listed(repository, &list.oid)? {
        let Some(rev) = commit_at(&mut objects, &tree, path.as_bytes())? else { continue };
        let failed = |reason: String| GitError::Module {
            path: path.clone(),
            repository: shown(&input.url.to_string()),
            reason,
        };
        let url = url_of(&input.url, &url).map_err(failed)?;
        let choices = Choices {
            submodules: Some(true),
            all_refs: Some(true),
            shallow: input.choices.shallow,
            ..Choices::default()
        };
        modules.push(Module {
            path: path.into_bytes(),
            input: GitInput {
                url,
                rev: Some(rev),
                reference: None,
                choices,
                dir: None,
                name: None,
                expected: Expected::default(),
            },
        });
    }
    Ok(modules)
}

/// The paths and URLs in a file of submodules.
fn listed(repository: &Repository, list: &Oid) -> Result<Vec<(String, String)>> {
    let mut config = repository.command();
    config.args(["config", "--null", "--list", "--blob", &list.digits()]);
    let text = command::output(&mut config, "config", 4 * MOST)?;
    let mut found: BTreeMap<String, (Option<String>, Option<String>)> = BTreeMap::new();
    for setting in text.split(|byte| *byte == 0) {
        let setting = String::from_utf8_lossy(setting);
        let Some((name, value)) = setting.split_once('\n') else { continue };
        let Some((module, what)) = name.strip_prefix("submodule.").and_then(|name| name.rsplit_once('.'))
        else {
            continue;
        };
        let entry = found.entry(module.to_owned()).or_default();
        match what {
            "path" => entry.0 = Some(value.trim_end_matches('/').to_owned()),
            "url" => entry.1 = Some(value.to_owned()),
            _ => {}
        }
    }
    Ok(found.into_values().filter_map(|(path, url)| path.zip(url)).collect())
}

/// The commit that is the entry of a tree at a path; none if there is something else.
fn commit_at(objects: &mut Objects, tree: &Oid, path: &[u8]) -> Result<Option<Rev>> {
    let mut here = *tree;
    let mut names = path.split(|byte| *byte == b'/').peekable();
    while let Some(name) = names.next() {
        check_name(name)?;
        let entries = objects.tree(&here)?;
        let Some(entry) = entries.iter().find(|entry| entry.name == name) else { return Ok(None) };
        match (entry.kind, names.peek()) {
            (EntryKind::Directory, Some(_)) => here = entry.oid,
            (EntryKind::Module, None) => {
                let rev = Rev::parse(&entry.oid.digits());
                return rev.map(Some).map_err(|error| GitError::Bad(error.to_string()));
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// The URL of a submodule of the repository at `base`.
fn url_of(base: &Url, text: &str) -> std::result::Result<Url, String> {
    if text.starts_with('-') || text.is_empty() {
        return Err(format!("'{text}' is no URL of a repository"));
    }
    let is_relative = text.starts_with("./") || text.starts_with("../");
    let url = match is_relative {
        true => relative(base, text)?,
        false => repository_url(text).map_err(|error| error.to_string())?,
    };
    match url.scheme == "file" && base.scheme != "file" {
        true => Err(format!("'{text}' leads to this machine, and the repository is elsewhere")),
        false => Ok(url),
    }
}

fn relative(base: &Url, text: &str) -> std::result::Result<Url, String> {
    let mut path = base.path.trim_end_matches('/').to_owned();
    let mut rest = text;
    loop {
        if let Some(after) = rest.strip_prefix("./") {
            rest = after;
        } else if let Some(after) = rest.strip_prefix("../") {
            let above = path.rfind('/').map(|slash| path[..slash].to_owned());
            path = above.ok_or_else(|| format!("'{text}' leads above the root of its server"))?;
            rest = after;
        } else {
            break;
        }
    }
    let rest = Url::of_file(rest).path;
    let url = Url {
        path: format!("{path}/{rest}"),
        query: BTreeMap::new(),
        fragment: String::new(),
        ..base.clone()
    };
    Ok(url)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let base = Url::parse("https://h/a/b.git").unwrap();
        for (text, url) in [
            ("../c", "https://h/a/c"),
            ("./c", "https://h/a/b.git/c"),
            ("../../c/d", "https://h/c/d"),
            ("http://x/y", "http://x/y"),
            ("git@h:x", "ssh://git@h/x"),
        ] {
            assert_eq!(url_of(&base, text).unwrap().to_string(), url);
        }
        for text in
            ["ext::sh -c x", "-u", "--upload-pack=x", "", "../../../c", "/etc", "file:///etc", "relative"]
        {
            assert!(url_of(&base, text).is_err(), "{text}");
        }
        let local = Url::of_file("/a/b");
        assert_eq!(url_of(&local, "/c").unwrap().to_string(), "file:///c");
        assert_eq!(url_of(&local, "../c d").unwrap().to_string(), "file:///a/c%20d");
    }
}
