use proptest::prelude::*;

use super::*;

/// The groups of a whole match, joined by `|`; `-` for one that took no part.
fn whole(pattern: &str, text: &str) -> Option<String> {
    let regex = Regex::new(pattern.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let groups = regex.match_whole(text.as_bytes(), &|| true).unwrap_or_else(|error| panic!("{error}"))?;
    Some(shown(&groups, text))
}

fn shown(groups: &Groups, text: &str) -> String {
    let show = |group: &Option<Range<usize>>| group.clone().map_or("-", |range| &text[range]).to_owned();
    groups.iter().map(show).collect::<Vec<_>>().join("|")
}

/// What `split` gives: pieces, and between them groups in brackets.
fn split(pattern: &str, text: &str) -> String {
    let regex = Regex::new(pattern.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let (mut out, mut end) = (String::new(), 0);
    for found in regex.matches(text.as_bytes(), &|| true) {
        let found = found.unwrap_or_else(|error| panic!("{error}"));
        out += &format!("{}[{}]", &text[end..found.range.start], shown(&found.groups, text));
        end = found.range.end;
    }
    out + &text[end..]
}

#[test]
fn whole_texts() {
    for (pattern, text, groups) in [
        ("(a|ab)(c|bcd)?", "abcd", Some("a|bcd")),
        ("((a)|(b))*", "ab", Some("b|a|b")),
        ("(a?)*", "aa", Some("")),
        ("(|a)*", "aa", Some("")),
        ("(a|ab)(.*)", "abcd", Some("a|bcd")),
        ("(a*)+", "b", None),
        ("((a*)(b)?)*", "abaa", Some("||b")),
        ("(a|aa)(a|aa)", "aaa", Some("a|aa")),
        ("(x)*(y)*", "xx", Some("x|-")),
        ("(a*)(ab)*(b*)", "abb", Some("a|-|bb")),
        ("(a{0,1}){2,3}", "a", Some("")),
        ("a.c", "a\nc", Some("")),
        ("a{3}", "aaaa", None),
        ("^a$", "a", Some("")),
        ("a^b", "ab", None),
        ("", "", Some("")),
        ("abc", "abc", Some("")),
        ("([0-9]+)\\.([0-9]+)\\.?([^.]*).*", "12.34.x-1.2", Some("12|34|x-1")),
        ("[]a]+", "]a]", Some("")),
        ("[^]a]", "]", None),
        ("[a\\]", "\\", Some("")),
        ("[+--]+", "+,-", Some("")),
        ("[[:W:]]+", "a_1", Some("")),
        ("[[.space.][.A.]-C]+", " B", Some("")),
        ("[[=a=]]+", "aA", Some("")),
        ("a]}", "a]}", Some("")),
        ("(a{0})b", "b", Some("")),
    ] {
        assert_eq!(whole(pattern, text).as_deref(), groups, "{pattern} {text}");
    }
}

#[test]
fn pieces() {
    for (pattern, text, pieces) in [
        ("", "abc", "[]a[]b[]c[]"),
        ("x*", "axb", "[]a[][]b[]"),
        ("b", "abc", "a[]c"),
        ("(b)", "abc", "a[b]c"),
        ("((a)|(b))*", "ab", "[b|a|b][-|-|-]"),
        ("(a*)*", "b", "[]b[]"),
        ("a*(ab)?", "aab", "[-][-]b[-]"),
        ("(a|ab)(c|bcd)?", "abcd", "[a|bcd]"),
        ("(b|bc|bcd)", "abcd", "a[bcd]"),
        ("^a", "aaa", "[]aa"),
        ("a$", "aaa", "aa[]"),
        ("(.){0}a", "aaa", "[-][-][-]"),
        ("x", "abc", "abc"),
    ] {
        assert_eq!(split(pattern, text), pieces, "{pattern} {text}");
    }
}

#[test]
fn refused_patterns() {
    for pattern in [
        "(",
        ")",
        "[",
        "{",
        "*",
        "+",
        "?",
        "a|*",
        "(+)",
        "^*",
        "a{,2}",
        "a{",
        "a{1",
        "a{x}",
        "a{3,2}",
        "[z-a]",
        "[a-c-e]",
        "[[:foo:]]",
        "[[.ab.]]",
        "[[.-.]]",
        "(?:a)",
        "(?=a)",
        "\\]",
        "\\}",
        "\\-",
        "\\/",
        "\\n",
        "\\d",
        "\\1",
        "a\\",
        "[[:alpha:]-z]",
        "[a",
        "[a-[:d:]]",
        "a{99999999999999999999}",
    ] {
        let error = Regex::new(pattern.as_bytes()).err().map(|error| error.to_string());
        assert_eq!(error, Some(format!("invalid regular expression '{pattern}'")));
    }
    for pattern in ["a{99994}", "((a{100}){100}){100}", "a{0,50000}"] {
        let error = Regex::new(pattern.as_bytes()).err().map(|error| error.to_string());
        assert_eq!(error, Some(format!("memory limit exceeded by regular expression '{pattern}'")));
    }
    assert!(Regex::new(b"a{99993}").is_ok());
}

#[test]
fn bytes() {
    let matches = |pattern: &[u8], text: &[u8]| {
        Regex::new(pattern)
            .is_ok_and(|regex| regex.match_whole(text, &|| true).is_ok_and(|found| found.is_some()))
    };
    assert!(matches(b"..", "é".as_bytes()));
    assert!(!matches(b"[[:alpha:]]+", "é".as_bytes()));
    // Bytes are signed.
    assert!(matches(b"[\x80-a]", b"\xff"));
    assert!(Regex::new(b"[a-\xff]").is_err());
}

#[test]
fn long_texts() {
    let text = "a".repeat(10_000);
    for pattern in ["(a*)*b", "(a|a)*b", "(a|aa)*b", "(a*)*(a*)*b", "((a?)*)*b", "(a|b|ab)*c", "a*a*a*b"] {
        assert_eq!(whole(pattern, &text), None, "{pattern}");
    }
    assert_eq!(whole("(a|b)*", &text).as_deref(), Some("a"));
    assert_eq!(split("(a|b)*b", &text), text);
    // A search that takes too much memory ends.
    let regex = Regex::new(b"(a|b)*").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(regex.match_whole("a".repeat(4_000_000).as_bytes(), &|| true), Err(SearchError::TooLong));
}

#[test]
fn a_search_ends_when_it_is_told_to() {
    let regex = Regex::new(b"(a*)*b").unwrap_or_else(|error| panic!("{error}"));
    let text = "a".repeat(100_000);
    assert_eq!(regex.match_whole(text.as_bytes(), &|| false), Err(SearchError::Ended));
    assert_eq!(regex.matches(text.as_bytes(), &|| false).next(), Some(Err(SearchError::Ended)));
}

/// Loops in a row do not tell the choices in later ones apart: that took minutes.
#[test]
fn many_loops_that_may_be_empty() {
    let text = "aab7.aaaa".repeat(7);
    assert_eq!(whole("|((a?*a?*|).*){2,88}.7.a?*", &text).as_deref(), Some("|"));
    assert_eq!(whole("((a?*b?*){2,40}){2,20}c", &text), None);
    assert_eq!(whole("((((a?*b?*)*a?)*b?){2,9})*c", &text), None);
}

#[test]
fn many_empty_alternatives() {
    let pattern = "(|a)".repeat(40);
    assert_eq!(whole(&format!("({pattern})*b"), "aaaa"), None);
    assert_eq!(whole(&format!("{}a{}b", "(".repeat(200), ")*".repeat(200)), "aa"), None);
    assert!(Regex::new("(".repeat(1_000_000).as_bytes()).is_err());
}

proptest! {
    /// What is remembered changes nothing.
    #[test]
    fn remembering(
        pattern in "((a|b|\\(a|\\(b?|\\)|\\)\\*|\\)\\?|\\*|\\||a\\*|\\)\\+|\\)\\{2\\}|c\\?){1,10})",
        text in "[abc]{0,7}",
    ) {
        let Ok(regex) = Regex::new(pattern.as_bytes()) else { return Ok(()) };
        for mode in [Mode::Whole, Mode::Prefix, Mode::NotEmpty] {
            let find = |patience: usize| {
                let mut search = Search::new(&regex.program, text.as_bytes(), &|| true)?;
                search.patience = patience;
                search.at(0, mode)
            };
            prop_assert_eq!(find(0), find(usize::MAX), "{} {}", pattern, text);
        }
    }
}
