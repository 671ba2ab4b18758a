//! Words that select packages by name.
//!
//! ```text
//! selector = REGEX [ "-" VERSION ]     split like the full name of a package
//! ```
//!
//! The expression must match the whole name; the version must be the very same
//! text. A full store path selects what it is an output of.

use regex_lite::Regex;

use super::element::Element;
use crate::model::{StoreDir, StorePath, package_name};
use crate::ops::packages::Package;
use crate::ops::packages::memory::answers::Answer;
use crate::ops::packages::memory::names::Offer;

/// What the original says of parentheses without their partners.
const MISMATCHED: &str = "Mismatched '(' and ')' in regular expression";

/// Something that selectors select.
pub trait Named {
    /// Name and version.
    fn name(&self) -> &str;

    /// Whether a path is one of its outputs, as far as that is known without evaluating anything.
    fn has_output(&self, path: &StorePath) -> bool;
}

impl Named for Element {
    fn name(&self) -> &str {
        &self.name
    }

    fn has_output(&self, path: &StorePath) -> bool {
        self.outputs.values().any(|output| output == path)
    }
}

impl Named for Package<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn has_output(&self, _path: &StorePath) -> bool {
        false
    }
}

impl Named for Offer {
    fn name(&self) -> &str {
        &self.name
    }

    fn has_output(&self, _path: &StorePath) -> bool {
        false
    }
}

impl Named for Answer<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn has_output(&self, _path: &StorePath) -> bool {
        false
    }
}

/// One selector.
#[derive(Debug, Clone)]
pub struct Selector {
    text: String,
    path: Option<StorePath>,
    name: Regex,
    version: Option<String>,
    /// Whether it has matched anything yet.
    pub hits: usize,
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// A bad regular expression.
    pub fn parse(dir: &StoreDir, text: &str) -> Result<Self, String> {
        let (name, version) = package_name::split(text);
        let any = if text == "*" { ".*" } else { name };
        let path = dir.parse(text).ok();
        if path.is_none() {
            check_expression(any)?;
        }
        let expression = if path.is_some() { "" } else { any };
        let name =
            Regex::new(&format!("^(?s:(?:{expression}))$")).map_err(|error| match error.to_string() {
                text if text.contains("group") => MISMATCHED.to_owned(),
                text => format!("invalid regular expression '{any}': {text}"),
            })?;
        let version = (!version.is_empty()).then(|| version.to_owned());
        Ok(Self { text: text.to_owned(), path, name, version, hits: 0 })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it means a package; then that is noted.
    pub fn matches(&mut self, package: &impl Named) -> bool {
        let hit = match &self.path {
            Some(path) => package.has_output(path),
            None => {
                let (name, version) = package_name::split(package.name());
                self.version.as_deref().is_none_or(|wanted| wanted == version) && self.name.is_match(name)
            }
        };
        self.hits += usize::from(hit);
        hit
    }
}

/// What our expressions know and the original's do not is refused in its words,
/// so that a selector never means something else here.
fn check_expression(expression: &str) -> Result<(), String> {
    for pair in expression.as_bytes().windows(2) {
        match pair {
            b"(?" => return Err(MISMATCHED.to_owned()),
            [b'\\', letter] if letter.is_ascii_alphanumeric() => {
                return Err("Invalid escape in regular expression".to_owned());
            }
            _ => {}
        }
    }
    Ok(())
}

/// The packages that any of the selectors means, in their order; all of them
/// without a selector.
///
/// # Errors
/// The first selector that means nothing.
pub fn select<'e, P: Named>(elements: &'e [P], selectors: &mut [Selector]) -> Result<Vec<&'e P>, NoMatch> {
    if selectors.is_empty() {
        return Ok(elements.iter().collect());
    }
    let mut found: Vec<&P> = Vec::new();
    let mut taken = vec![false; elements.len()];
    for selector in selectors.iter_mut() {
        for (element, taken) in elements.iter().zip(&mut taken) {
            if selector.matches(element) && !std::mem::replace(taken, true) {
                found.push(element);
            }
        }
    }
    // "All of them" may be none.
    match selectors.iter().find(|selector| selector.hits == 0 && selector.text != "*") {
        None => Ok(found),
        Some(selector) => Err(NoMatch { selector: selector.text.clone(), near: near(selector, elements) }),
    }
}

/// Takes the packages that a selector means out of a list, and gives them.
///
/// What stays is put together as the original does it, which swaps elements
/// instead of moving them up: the order is part of the manifest, and so of the
/// environment's path.
pub fn take_out(elements: &mut Vec<Element>, selector: &mut Selector) -> Vec<Element> {
    let stays: Vec<bool> = elements.iter().map(|element| !selector.matches(element)).collect();
    let mut order: Vec<usize> = (0..elements.len()).collect();
    let (mut first, mut last) = (0, order.len());
    'all: loop {
        while first < last && stays[order[first]] {
            first += 1;
        }
        if first == last {
            break;
        }
        last -= 1;
        while !stays[order[last]] {
            if first == last {
                break 'all;
            }
            last -= 1;
        }
        order.swap(first, last);
        first += 1;
    }
    let mut slots: Vec<Option<Element>> = elements.drain(..).map(Some).collect();
    let mut all: Vec<Element> = order.into_iter().filter_map(|at| slots[at].take()).collect();
    let gone = all.split_off(first);
    *elements = all;
    gone
}

/// A selector that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("selector '{selector}' matches no derivations{}", hint(near))]
#[non_exhaustive]
pub struct NoMatch {
    /// The selector.
    pub selector: String,
    /// Names of packages that look like it.
    pub near: Vec<String>,
}

fn hint(near: &[String]) -> String {
    if near.is_empty() {
        return String::new();
    }
    let names: String = near.iter().map(|name| format!("\n       {name}")).collect();
    format!(", maybe you meant:{names}")
}

/// Names, without versions, that begin as the selector does.
fn near(selector: &Selector, elements: &[impl Named]) -> Vec<String> {
    /// More than that are no help.
    const MOST: usize = 3;
    let wanted = package_name::split(&selector.text).0;
    let mut found: Vec<String> = Vec::new();
    for name in elements
        .iter()
        .map(|element| package_name::split(element.name()).0)
        .filter(|name| name.starts_with(wanted))
    {
        if found.len() < MOST && !found.iter().any(|there| there == name) {
            found.push(name.to_owned());
        }
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn element(name: &str) -> Element {
        let path = StorePath::from_base_name(&format!("3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-{name}")).unwrap();
        Element::of_path(name, path)
    }

    #[test]
    fn what_they_mean() {
        let dir = StoreDir::default();
        let matches =
            |selector: &str, name: &str| Selector::parse(&dir, selector).unwrap().matches(&element(name));
        for (selector, name, expected) in [
            ("foo", "foo-1.0", true),
            ("foo", "foobar-1.0", false),
            ("foo-1.0", "foo-1.0", true),
            ("foo-2.0", "foo-1.0", false),
            ("foo.*", "foobar-1.0", true),
            ("foo-1.*", "foo-1.0", false),
            ("a|b", "b", true),
            ("a|b", "ab", false),
            ("*", "anything-3", true),
            ("FOO", "foo", false),
            ("/nix/store/3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-x", "x", true),
            ("/nix/store/3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-x", "y", false),
        ] {
            assert_eq!(matches(selector, name), expected, "{selector} {name}");
        }
        assert!(Selector::parse(&dir, "*zip").is_err());
        let all = [element("foo-1"), element("bar-2")];
        let mut selectors = vec![Selector::parse(&dir, "bar-3").unwrap()];
        let mut many = ["a-1", "b-1", "a-2", "c-1", "d-1"].map(element).to_vec();
        let gone = take_out(&mut many, &mut Selector::parse(&dir, "a").unwrap());
        let names = |elements: &[Element]| elements.iter().map(|e| e.name.clone()).collect::<Vec<_>>();
        assert_eq!(
            (names(&many), names(&gone)),
            (
                vec!["d-1".to_owned(), "b-1".to_owned(), "c-1".to_owned()],
                vec!["a-2".to_owned(), "a-1".to_owned()]
            )
        );
        let error = select(&all, &mut selectors).unwrap_err();
        assert_eq!(
            error.to_string(),
            "selector 'bar-3' matches no derivations, maybe you meant:\n       bar"
        );
    }
}
