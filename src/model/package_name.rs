//! Names of packages: name and version, and the order of versions.
//!
//! ```text
//! full name = NAME [ "-" VERSION ]   split at the first "-" that no ASCII letter follows
//! version   = components, each a run of digits or of anything else, separated by "." and "-"
//!             or by the change from the one to the other
//! ```
//!
//! Two versions are compared component by component; where one has ended, its
//! component is empty. Of two components:
//!
//! | first | second | |
//! |---|---|---|
//! | number | number | by value |
//! | empty | number | less |
//! | `pre` | anything but `pre` | less |
//! | not a number | number | less |
//! | anything else | | by bytes |
//!
//! A run of digits over `i32::MAX` counts as no number, as in the original.

use std::cmp::Ordering;

/// Name and version of a full name; the version may be empty.
pub fn split(full: &str) -> (&str, &str) {
    match dash(full.as_bytes()) {
        Some(at) => (&full[..at], &full[at + 1..]),
        None => (full, ""),
    }
}

/// The place of the dash between name and version in a full name.
pub fn dash(full: &[u8]) -> Option<usize> {
    full.windows(2).position(|pair| pair[0] == b'-' && !pair[1].is_ascii_alphabetic())
}

/// The components of a version. Only ASCII bytes end one, so those of a text are texts.
pub fn components(version: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_separator = |byte: u8| matches!(byte, b'.' | b'-');
    let mut rest = version;
    std::iter::from_fn(move || {
        let start = rest.iter().position(|byte| !is_separator(*byte))?;
        rest = &rest[start..];
        let digits = rest[0].is_ascii_digit();
        let same = |byte: u8| byte.is_ascii_digit() == digits && !is_separator(byte);
        let end = rest.iter().position(|byte| !same(*byte)).unwrap_or(rest.len());
        let (component, after) = rest.split_at(end);
        rest = after;
        Some(component)
    })
}

fn number(component: &[u8]) -> Option<i32> {
    let digits = component.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(component));
    digits?.ok()?.parse().ok()
}

fn is_less(a: &[u8], b: &[u8]) -> bool {
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a < b,
        (None, Some(_)) if a.is_empty() => true,
        _ if a == b"pre" && b != b"pre" => true,
        _ if b == b"pre" => false,
        (None, Some(_)) => true,
        (Some(_), None) => false,
        (None, None) => a < b,
    }
}

/// The order of two versions, which are texts or any other bytes.
pub fn compare_versions<V: AsRef<[u8]> + ?Sized>(a: &V, b: &V) -> Ordering {
    let (mut ours, mut theirs) = (components(a.as_ref()), components(b.as_ref()));
    loop {
        let (one, other) = match (ours.next(), theirs.next()) {
            (None, None) => return Ordering::Equal,
            (one, other) => (one.unwrap_or(b""), other.unwrap_or(b"")),
        };
        if is_less(one, other) {
            return Ordering::Less;
        }
        if is_less(other, one) {
            return Ordering::Greater;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names() {
        for (full, name, version) in [
            ("apache-httpd-2.0.48", "apache-httpd", "2.0.48"),
            ("foo-bar-3", "foo-bar", "3"),
            ("foo", "foo", ""),
            ("x-y-z", "x-y-z", ""),
            ("foo-1.0-2", "foo", "1.0-2"),
            ("a-1b", "a", "1b"),
            ("-1", "", "1"),
            ("a-", "a-", ""),
            ("foo-_1", "foo", "_1"),
            ("a--1", "a", "-1"),
            ("a-é", "a", "é"),
            ("firefox.*", "firefox.*", ""),
        ] {
            assert_eq!(split(full), (name, version), "{full}");
        }
    }

    #[test]
    fn order() {
        for (a, b, order) in [
            ("1.0", "2.3", Ordering::Less),
            ("2.3.1", "2.3", Ordering::Greater),
            ("2.3.1", "2.3a", Ordering::Greater),
            ("2.3pre1", "2.3", Ordering::Less),
            ("2.3pre3", "2.3pre12", Ordering::Less),
            ("2.3a", "2.3c", Ordering::Less),
            ("2.3pre1", "2.3c", Ordering::Less),
            ("1.0", "1", Ordering::Greater),
            ("1.0", "1-0", Ordering::Equal),
            ("01", "1", Ordering::Equal),
            ("1.a", "1.1", Ordering::Less),
            ("1", "1a", Ordering::Less),
            ("1.0pre", "1.0", Ordering::Less),
            ("10", "9", Ordering::Greater),
            ("1..0", "1.0", Ordering::Equal),
            ("1.0_1", "1.0-1", Ordering::Less),
            ("1.0+1", "1.0.1", Ordering::Less),
            ("18446744073709551616", "2", Ordering::Less),
        ] {
            assert_eq!(compare_versions(a, b), order, "{a} {b}");
            assert_eq!(compare_versions(b, a), order.reverse(), "{b} {a}");
        }
    }

    proptest! {
        #[test]
        fn a_total_preorder(
            a in "[0-9a-c.-]{0,4}(pre)?[0-9.]{0,3}",
            b in "[0-9a-c.-]{0,4}(pre)?[0-9.]{0,3}",
            c in "[0-9a-c.-]{0,4}(pre)?[0-9.]{0,3}",
        ) {
            prop_assert_eq!(compare_versions(&a, &a), Ordering::Equal);
            prop_assert_eq!(compare_versions(&a, &b), compare_versions(&b, &a).reverse());
            if compare_versions(&a, &b).is_le() && compare_versions(&b, &c).is_le() {
                prop_assert!(compare_versions(&a, &c).is_le(), "{} {} {}", a, b, c);
            }
        }

        #[test]
        fn nothing_is_lost_in_splitting(full in ".{0,20}") {
            let (name, version) = split(&full);
            let joined = if full.len() == name.len() { name.to_owned() } else { format!("{name}-{version}") };
            prop_assert_eq!(joined, full);
        }
    }
}
