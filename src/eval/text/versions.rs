//! Names and versions as the builtin functions see them; the rules are in
//! [`crate::model::package_name`].

use crate::model::package_name;

/// The components of a version, in order; their separators are left out.
pub fn split_version(version: &[u8]) -> impl Iterator<Item = &[u8]> {
    package_name::components(version)
}

/// The result of `compareVersions`: -1, 0 or 1.
pub fn compare_versions(a: &[u8], b: &[u8]) -> i64 {
    package_name::compare_versions(a, b) as i64
}

/// The name and the version in the full name of a package; the version may be empty.
pub fn parse_drv_name(full: &[u8]) -> (&[u8], &[u8]) {
    match package_name::dash(full) {
        Some(dash) => (&full[..dash], &full[dash + 1..]),
        None => (full, b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components() {
        let split = |version: &str| {
            let components: Vec<_> = split_version(version.as_bytes())
                .map(|part| String::from_utf8_lossy(part).into_owned())
                .collect();
            components.join("|")
        };
        for (version, components) in [
            ("", ""),
            ("-", ""),
            ("1..2", "1|2"),
            ("a-b.c1_2", "a|b|c|1|_|2"),
            ("1é2", "1|é|2"),
            ("pre1", "pre|1"),
            (".a", "a"),
            ("1-", "1"),
            ("00a", "00|a"),
        ] {
            assert_eq!(split(version), components, "{version}");
        }
        assert_eq!(split_version(b"1\xff2").collect::<Vec<_>>(), [&b"1"[..], b"\xff", b"2"]);
    }

    #[test]
    fn order() {
        for (a, b, order) in [
            ("1.0rc1", "1.0", 1),
            ("1.0a", "1.0", 1),
            ("1.0", "1.0.0", -1),
            ("01", "1", 0),
            ("2147483648", "1", -1),
            ("2147483647", "1", 1),
            ("20240101120000", "5", -1),
            ("9999999999", "10000000000", 1),
            ("1.0pre1", "1.0", -1),
        ] {
            assert_eq!(compare_versions(a.as_bytes(), b.as_bytes()), order, "{a} {b}");
            assert_eq!(compare_versions(b.as_bytes(), a.as_bytes()), -order, "{b} {a}");
        }
        assert_eq!(compare_versions(b"\xff", b"\xfe"), 1);
    }

    #[test]
    fn names() {
        for (full, name, version) in [
            ("", "", ""),
            ("-", "-", ""),
            ("a-", "a-", ""),
            ("-1", "", "1"),
            ("foo--1", "foo", "-1"),
            ("foo-é", "foo", "é"),
            ("a-b-3", "a-b", "3"),
            ("--", "", "-"),
            ("a-b-", "a-b-", ""),
        ] {
            assert_eq!(parse_drv_name(full.as_bytes()), (name.as_bytes(), version.as_bytes()), "{full}");
        }
    }
}
