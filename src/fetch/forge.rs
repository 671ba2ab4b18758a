//! Where forges tell of commits, and where they have archives of them.
//!
//! | | which commit | the archive |
//! |---|---|---|
//! | github | `API/repos/OWNER/REPO/commits/REF` | `API/repos/OWNER/REPO/tarball/REV`; without a token `https://github.com/OWNER/REPO/archive/REV.tar.gz` |
//! | gitlab | `PROJECT/commits?ref_name=REF` | `PROJECT/archive.tar.gz?sha=REV` |
//! | sourcehut | `https://HOST/OWNER/REPO/info/refs`, and `…/HEAD` | `https://HOST/OWNER/REPO/archive/REV.tar.gz` |
//!
//! `API` is `https://api.github.com`, on other hosts `https://HOST/api/v3`; `PROJECT` is
//! `https://HOST/api/v4/projects/OWNER%2FREPO/repository`.
//!
//! A token of the setting `access-tokens` goes to the host that it is for. That for `HOST/OWNER/REPO`
//! comes before that for `HOST/OWNER`, and that before the one for `HOST`.

use std::collections::BTreeMap;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::http::message::PRIVATE_TOKEN;
use crate::model::input::InputError;
use crate::model::input::forge::{Forge, ForgeInput};
use crate::model::input::git::Rev;
use crate::model::input::url::{in_part, in_query};
use crate::progress::Progress;

/// The branch that is meant where none is named.
const HEAD: &str = "HEAD";

/// Why a forge has no commit for us.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForgeError {
    /// A list without commits.
    #[error("No commits returned by GitLab API -- does the git ref really exist?")]
    NoCommits,
    /// A list without a branch or tag.
    #[error("in '{input}', couldn't find ref '{reference}'")]
    NoReference {
        /// The input as a URL.
        input: String,
        /// The branch or tag.
        reference: String,
    },
    /// An answer that says something else than was asked for.
    #[error("the answer of '{url}' tells of no commit: {why}")]
    Answer {
        /// Where it came from.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A name that would lead elsewhere.
    #[error("'{0}' is no name of an owner or repository")]
    Name(String),
    /// A token that cannot be sent.
    #[error("the setting 'access-tokens' has a token for '{0}' with characters that cannot be sent")]
    Token(String),
    /// Why there is no answer is known to who asked.
    #[error("'{0}' gave no answer")]
    NoAnswer(String),
}

/// A repository on a forge.
pub struct Site<'f> {
    input: &'f ForgeInput,
    letting_in: HeaderMap,
    /// Where its parts lie.
    base: String,
}

impl<'f> Site<'f> {
    /// The repository of `input`, with the token that `tokens` have for it.
    ///
    /// # Errors
    /// Names and tokens that cannot be used.
    pub fn new(
        input: &'f ForgeInput,
        tokens: &BTreeMap<String, String>,
        progress: &dyn Progress,
    ) -> Result<Site<'f>, ForgeError> {
        let parts = [&input.owner, &input.repo];
        let leads_elsewhere = |name: &&&String| name.split('/').any(|part| matches!(part, "" | "." | ".."));
        if let Some(name) = parts.iter().find(leads_elsewhere) {
            return Err(ForgeError::Name((**name).clone()));
        }
        let letting_in = match token(input, tokens) {
            Some(token) => headers(input, token, progress)?,
            None => HeaderMap::new(),
        };
        let (host, [owner, repo]) = (input.host(), parts.map(|part| in_part(part)));
        let base = match input.forge {
            Forge::GitHub if host == Forge::GitHub.default_host() => {
                format!("https://api.github.com/repos/{owner}/{repo}")
            }
            Forge::GitHub => format!("https://{host}/api/v3/repos/{owner}/{repo}"),
            Forge::GitLab => format!("https://{host}/api/v4/projects/{owner}%2F{repo}/repository"),
            Forge::SourceHut => format!("https://{host}/{owner}/{repo}"),
        };
        Ok(Site { input, letting_in, base })
    }

    /// Headers that let us in.
    pub fn letting_in(&self) -> HeaderMap {
        self.letting_in.clone()
    }

    /// The URL of the archive of a commit.
    pub fn archive(&self, rev: &Rev) -> String {
        let (base, rev) = (&self.base, rev.as_str());
        match self.input.forge {
            // It is found without the interface, which answers strangers a few times an hour only.
            Forge::GitHub if self.input.host() == "github.com" && self.letting_in.is_empty() => {
                let [owner, repo] = [&self.input.owner, &self.input.repo].map(|part| in_part(part));
                format!("https://github.com/{owner}/{repo}/archive/{rev}.tar.gz")
            }
            Forge::GitHub => format!("{base}/tarball/{rev}"),
            Forge::GitLab => format!("{base}/archive.tar.gz?sha={rev}"),
            Forge::SourceHut => format!("{base}/archive/{rev}.tar.gz"),
        }
    }

    /// The commit that a branch or tag stands for. `get` has the answer of a URL.
    ///
    /// # Errors
    /// [`ForgeError`].
    pub fn find(&self, get: &mut dyn FnMut(&str) -> Option<Vec<u8>>) -> Result<Rev, ForgeError> {
        let mut get = |url: &str| get(url).ok_or_else(|| ForgeError::NoAnswer(url.to_owned()));
        let reference = self.input.reference.as_deref();
        let base = &self.base;
        let bad = |url: &str, why: String| ForgeError::Answer { url: url.to_owned(), why };
        match self.input.forge {
            Forge::GitHub => {
                let parts: Vec<String> = reference.unwrap_or(HEAD).split('/').map(in_part).collect();
                let url = format!("{base}/commits/{}", parts.join("/"));
                let answer = json(&get(&url)?).map_err(|why| bad(&url, why))?;
                commit(answer.get("sha")).map_err(|why| bad(&url, why))
            }
            Forge::GitLab => {
                let url = format!("{base}/commits?ref_name={}", in_query(reference.unwrap_or(HEAD)));
                let answer = json(&get(&url)?).map_err(|why| bad(&url, why))?;
                match answer.as_array().map(|commits| commits.first()) {
                    Some(None) => Err(ForgeError::NoCommits),
                    Some(Some(first)) => commit(first.get("id")).map_err(|why| bad(&url, why)),
                    None => Err(bad(&url, "it is no list".to_owned())),
                }
            }
            Forge::SourceHut => {
                let wanted = match reference {
                    Some(reference) => {
                        vec![format!("refs/heads/{reference}"), format!("refs/tags/{reference}")]
                    }
                    None => {
                        let url = format!("{base}/{HEAD}");
                        let answer = get(&url)?;
                        let text = String::from_utf8_lossy(&answer);
                        let name = text.lines().next().and_then(|line| line.strip_prefix("ref: "));
                        let name = name.ok_or_else(|| bad(&url, "it names no branch".to_owned()))?;
                        vec![name.trim().to_owned()]
                    }
                };
                let url = format!("{base}/info/refs");
                let answer = get(&url)?;
                let text = String::from_utf8_lossy(&answer);
                let mut lines = text.lines().filter_map(|line| line.split_once('\t'));
                match lines.find(|(_, name)| wanted.iter().any(|wanted| wanted == name)) {
                    Some((rev, _)) => Rev::parse(rev).map_err(|why| bad(&url, why.to_string())),
                    None => Err(ForgeError::NoReference {
                        input: self.input.url().to_string(),
                        reference: reference.unwrap_or(&wanted[0]).to_owned(),
                    }),
                }
            }
        }
    }
}

fn json(answer: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(answer).map_err(|error| error.to_string())
}

fn commit(value: Option<&Value>) -> Result<Rev, String> {
    let text = value.and_then(Value::as_str).ok_or("there is none in it")?;
    Rev::parse(text).map_err(|error: InputError| error.to_string())
}

/// The token for a repository.
fn token<'t>(input: &ForgeInput, tokens: &'t BTreeMap<String, String>) -> Option<&'t str> {
    let (host, owner, repo) = (input.host(), &input.owner, &input.repo);
    let places = [format!("{host}/{owner}/{repo}"), format!("{host}/{owner}"), host.to_owned()];
    places.iter().find_map(|place| tokens.get(place)).map(String::as_str)
}

/// What lets us in with a token.
fn headers(input: &ForgeInput, token: &str, progress: &dyn Progress) -> Result<HeaderMap, ForgeError> {
    let (name, value): (HeaderName, String) = match input.forge {
        Forge::GitHub => (AUTHORIZATION, format!("token {token}")),
        Forge::SourceHut => (AUTHORIZATION, format!("Bearer {token}")),
        Forge::GitLab => match token.split_once(':') {
            Some(("OAuth2", token)) => (AUTHORIZATION, format!("Bearer {token}")),
            Some(("PAT", token)) => (PRIVATE_TOKEN, token.to_owned()),
            _ => {
                // What stands there may be the token itself, which nobody is told.
                let host = input.host();
                progress.warn(&format!(
                    "the token for '{host}' is not used: it has to begin with 'OAuth2:' or 'PAT:'"
                ));
                return Ok(HeaderMap::new());
            }
        },
    };
    let mut value = HeaderValue::from_str(&value).map_err(|_| ForgeError::Token(input.host().to_owned()))?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(name, value)]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::model::input::url::Url;
    use crate::progress::Silent;

    const REV: &str = "fa866f85814ba2080d39e950fb3d8c966c5b522a";

    fn input(text: &str) -> ForgeInput {
        ForgeInput::from_url(&Url::parse(text).unwrap()).unwrap().unwrap()
    }

    /// The URLs that are asked with these answers, and what is found.
    fn asked(
        text: &str,
        tokens: &[(&str, &str)],
        answers: &[&str],
    ) -> (Vec<String>, Result<Rev, ForgeError>) {
        let tokens = tokens.iter().map(|(place, token)| ((*place).to_owned(), (*token).to_owned())).collect();
        let input = input(text);
        let site = Site::new(&input, &tokens, &Silent).unwrap();
        let (mut urls, mut answers) = (Vec::new(), answers.iter());
        let found = site.find(&mut |url| {
            urls.push(url.to_owned());
            answers.next().map(|answer| answer.as_bytes().to_vec())
        });
        urls.push(site.archive(&Rev::parse(REV).unwrap()));
        let letting_in = site.letting_in();
        urls.extend(letting_in.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())));
        (urls, found)
    }

    #[test]
    fn github() {
        let answer = format!("{{\"sha\": \"{REV}\"}}");
        let (urls, found) = asked("github:o/r", &[], &[&answer]);
        assert_eq!(found.unwrap().as_str(), REV);
        let archive = format!("https://github.com/o/r/archive/{REV}.tar.gz");
        assert_eq!(urls, ["https://api.github.com/repos/o/r/commits/HEAD", &archive]);
        let tokens = [("h.x", "a"), ("h.x/o", "b"), ("github.com", "c"), ("h.x/oo", "d")];
        let (urls, _) = asked("github:o/r/a+/b?host=h.x", &tokens, &[&answer]);
        let base = "https://h.x/api/v3/repos/o/r";
        let tarball = format!("{base}/tarball/{REV}");
        assert_eq!(urls, [&format!("{base}/commits/a%2B/b"), &tarball, "authorization: token b"]);
        for answer in ["", "{", "[]", "{\"sha\": 1}", "{\"sha\": \"x\"}"] {
            let (_, found) = asked("github:o/r", &[], &[answer]);
            assert!(matches!(found, Err(ForgeError::Answer { .. })), "{answer}");
        }
    }

    #[test]
    fn gitlab() {
        let answer = format!("[{{\"id\": \"{REV}\"}}, {{}}]");
        let (urls, found) = asked("gitlab:o%2Fs/r/a/b", &[("gitlab.com", "PAT:x")], &[&answer]);
        assert_eq!(found.unwrap().as_str(), REV);
        let base = "https://gitlab.com/api/v4/projects/o%2Fs%2Fr/repository";
        let archive = format!("{base}/archive.tar.gz?sha={REV}");
        assert_eq!(urls, [&format!("{base}/commits?ref_name=a/b"), &archive, "private-token: x"]);
        let (urls, found) = asked("gitlab:o/r", &[("gitlab.com", "secret")], &["[]"]);
        assert!(matches!(found, Err(ForgeError::NoCommits)) && urls.len() == 2);
    }

    #[test]
    fn sourcehut() {
        let list = format!("{}\trefs/tags/a/b\n{REV}\trefs/heads/main\n", REV.replace('f', "a"));
        let (urls, found) =
            asked("sourcehut:~o/r", &[("git.sr.ht", "x")], &["ref: refs/heads/main\n", &list]);
        assert_eq!(found.unwrap().as_str(), REV);
        let base = "https://git.sr.ht/~o/r";
        let archive = format!("{base}/archive/{REV}.tar.gz");
        let wanted =
            [&format!("{base}/HEAD"), &format!("{base}/info/refs"), &archive, "authorization: Bearer x"];
        assert_eq!(urls, wanted);
        let (_, found) = asked("sourcehut:~o/r/a/b", &[], &[&list]);
        assert_ne!(found.unwrap().as_str(), REV);
        let (_, found) = asked("sourcehut:~o/r/nosuch", &[], &[&list]);
        assert!(matches!(found, Err(ForgeError::NoReference { .. })));
        let (_, found) = asked("sourcehut:~o/r", &[], &[REV]);
        assert!(matches!(found, Err(ForgeError::Answer { .. })));
    }

    #[test]
    fn names_lead_nowhere_else() {
        for text in ["github:../r", "github:o%2F..%2Fx/r", "gitlab:o/.", "sourcehut:a%2F%2Fb/r"] {
            let input = input(text);
            let site = Site::new(&input, &BTreeMap::new(), &Silent);
            assert!(matches!(site.err(), Some(ForgeError::Name(_))), "{text}");
        }
    }
}
