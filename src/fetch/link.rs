//! Where a server says that what it gives will always be: a header `Link` with the relation `immutable`.
//!
//! ```text
//! header = link { "," link }
//! link   = "<" URL ">" { ";" NAME "=" ( WORD | '"' { WORD " " } '"' ) }
//! ```
//!
//! A header that is none says nothing.

use reqwest::Url;

/// The URL of the first link with this relation in the headers of an answer from `base`.
pub fn immutable(headers: &[String], base: &Url) -> Option<String> {
    headers.iter().find_map(|header| {
        let mut rest = header.as_str();
        loop {
            let (target, after) = rest.trim_start().strip_prefix('<')?.split_once('>')?;
            let (parameters, more) = split_link(after);
            if is_immutable(parameters) {
                return absolute(target, base);
            }
            rest = more?;
        }
    })
}

/// The parameters of a link, and what follows its comma.
fn split_link(text: &str) -> (&str, Option<&str>) {
    let mut quoted = false;
    for (at, letter) in text.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => return (&text[..at], Some(&text[at + 1..])),
            _ => {}
        }
    }
    (text, None)
}

fn is_immutable(parameters: &str) -> bool {
    parameters.split(';').any(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("rel") => {
            value.trim().trim_matches('"').split_ascii_whitespace().any(|word| word == "immutable")
        }
        _ => false,
    })
}

/// A target, which may be relative to where the answer came from.
fn absolute(target: &str, base: &Url) -> Option<String> {
    match Url::parse(target) {
        // As it was written: another spelling might be another place.
        Ok(_) => Some(target.to_owned()),
        Err(_) => base.join(target).ok().map(|url| url.to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        let base = Url::parse("http://h/a/b").unwrap();
        let found = |header: &str| immutable(&[header.to_owned()], &base);
        let there = Some("http://h/c?x=1,2".to_owned());
        for header in [
            "<http://h/c?x=1,2>; rel=\"immutable\"",
            "<http://h/c?x=1,2>;rel=immutable",
            "<http://h/x>; rel=next; title=\"a, b\", <http://h/c?x=1,2>; foo; Rel=\"other immutable\"",
            "</c?x=1,2>; rel=\"immutable\"",
        ] {
            assert_eq!(found(header), there, "{header}");
        }
        for header in ["", "<", "<http://h/c>", "http://h/c; rel=immutable", "<http://h/c>; rel=immutable2"] {
            assert_eq!(found(header), None, "{header}");
        }
    }
}
