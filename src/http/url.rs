//! URLs in messages.

use reqwest::Url;

/// A text with URLs in it, for messages: without what would let a reader
/// in. Passwords, and tokens that stand for a user's name, are left out; names of
/// users on ssh hosts are not secret.
pub fn shown(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at);
        let after = &after[3..];
        // Quotes and `&` do not end it: passwords may hold them.
        let end = after.find(|c: char| "/?#".contains(c) || c.is_whitespace()).unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        out += before;
        out += "://";
        out += &match authority.rsplit_once('@') {
            None => authority.to_owned(),
            Some((user, host)) if before.ends_with("ssh") || before.ends_with("ssh-ng") => {
                match user.split_once(':') {
                    None => authority.to_owned(),
                    Some((name, _)) => format!("{name}:***@{host}"),
                }
            }
            Some((_, host)) => format!("***@{host}"),
        };
        rest = tail;
    }
    out + rest
}

/// A URL without what lets people in.
pub fn of(url: &Url) -> String {
    shown(url.as_str())
}
