//! What packages of older manifests are called, which had no names, and what
//! packages from flakes are called where their changes are told.
//!
//! ```text
//! name  = last part of ATTRPATH, unless that is `default`
//!       | the parameter `dir` of URL
//!       | second part of `github:OWNER/REPO…` and the like
//!       | last part of the path of URL
//!       | URL#ATTRPATH
//! title = URL#ATTRPATH[^OUTPUT,OUTPUT]
//! ```

use serde_json::{Map, Value};

/// Where a package came from: the URL that was given, and the attribute.
fn source(other: &Map<String, Value>) -> Option<(&str, &str)> {
    let text = |key: &str| other.get(key).and_then(Value::as_str);
    text("originalUrl").filter(|url| !url.is_empty()).zip(text("attrPath"))
}

/// The outputs that were chosen, as they are written after an attribute.
pub fn chosen_outputs(other: &Map<String, Value>) -> String {
    let names = other.get("outputs").and_then(Value::as_array);
    let names: Vec<&str> = names.into_iter().flatten().filter_map(Value::as_str).collect();
    if names.is_empty() { String::new() } else { format!("^{}", names.join(",")) }
}

/// What tells a package from a flake from others.
pub fn title(other: &Map<String, Value>) -> Option<String> {
    let (url, attribute) = source(other)?;
    Some(format!("{url}#{attribute}{}", chosen_outputs(other)))
}

/// A short name for a package from a flake.
pub fn short(other: &Map<String, Value>) -> Option<String> {
    let (url, attribute) = source(other)?;
    let by_attribute = of_attribute(attribute).map(str::to_owned);
    by_attribute.or_else(|| of_url(url)).or_else(|| Some(format!("{url}#{attribute}")))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn of_attribute(attribute: &str) -> Option<&str> {
    let path = attribute.split('^').next()?;
    let last = path.rsplit('.').next()?;
    let is_default = last == "default" || path.starts_with("defaultPackage.");
    (is_word(last) && !is_default).then_some(last)
}

fn of_url(url: &str) -> Option<String> {
    let (place, parameters) = url.split_once('?').unwrap_or((url, ""));
    if let Some(dir) = parameters.split('&').find_map(|parameter| parameter.strip_prefix("dir=")) {
        return Some(dir.to_owned());
    }
    let (scheme, path) = place.split_once(':')?;
    let mut parts = path.split('/');
    let part = match scheme {
        "github" | "gitlab" | "sourcehut" => parts.nth(1),
        _ if path.contains('/') => parts.next_back(),
        _ => None,
    };
    part.filter(|part| is_word(part)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_packages_from_flakes() {
        for (url, attribute, name) in [
            ("flake:n", "packages.x86_64-linux.two", "two"),
            ("flake:n", "packages.x86_64-linux.default", "flake:n#packages.x86_64-linux.default"),
            ("flake:nixpkgs", "legacyPackages.x86_64-linux.python3Packages.requests", "requests"),
            ("flake:nixpkgs/nixos-unstable", "defaultPackage.x86_64-linux", "nixos-unstable"),
            ("github:foo/bar", "packages.x86_64-linux.default", "bar"),
            ("github:foo/bar/main", "packages.x86_64-linux.default", "bar"),
            ("github:foo/bar?dir=sub/dir", "packages.x86_64-linux.default", "sub/dir"),
            ("path:/home/me/proj", "packages.x86_64-linux.default", "proj"),
            ("path:/home/me/proj/", "default", "path:/home/me/proj/#default"),
            ("git+file:///home/me/proj.git", "default", "git+file:///home/me/proj.git#default"),
            ("git+https://host/x/proj?ref=a", "packages.x86_64-linux.default", "proj"),
            ("https://host/x", "packages.x86_64-linux.default", "x"),
            ("path:/x", "hello", "hello"),
            ("path:/x", "", "x"),
            ("path:/x", "packages.x86_64-linux.a^b", "a"),
            ("path:/x", "packages.x86_64-linux.foo bar", "x"),
        ] {
            let other = serde_json::json!({"originalUrl": url, "attrPath": attribute});
            assert_eq!(
                short(other.as_object().expect("an object")).as_deref(),
                Some(name),
                "{url} {attribute}"
            );
        }
    }
}
