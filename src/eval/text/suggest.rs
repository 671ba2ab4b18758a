//! The names that a missing one may have been meant to be.

/// Names further away than this are not proposed.
const FURTHEST: usize = 2;

/// The greatest number of names that are proposed.
const MOST: usize = 5;

/// Gives the names that are nearest to `word`, the nearest first, equally near
/// ones in the order of their bytes.
pub fn near<'n>(word: &[u8], names: impl IntoIterator<Item = &'n [u8]>) -> Vec<&'n [u8]> {
    let mut near: Vec<(usize, &[u8])> =
        names.into_iter().filter_map(|name| Some((distance(word, name)?, name))).collect();
    near.sort_unstable();
    near.truncate(MOST);
    near.into_iter().map(|(_, name)| name).collect()
}

/// Gives the question that follows a message about the missing name `word`, such
/// as `Did you mean one of foa, fob or foo?`, if any name is near.
pub fn did_you_mean<'n>(word: &[u8], names: impl IntoIterator<Item = &'n [u8]>) -> Option<Vec<u8>> {
    let near = near(word, names);
    let (last, others) = near.split_last()?;
    let mut question = b"Did you mean ".to_vec();
    if !others.is_empty() {
        question.extend_from_slice(b"one of ");
        question.extend_from_slice(&others.join(&b", "[..]));
        question.extend_from_slice(b" or ");
    }
    question.extend_from_slice(last);
    question.push(b'?');
    Some(question)
}

/// The number of bytes to insert, remove or replace, if it is at most [`FURTHEST`].
fn distance(a: &[u8], b: &[u8]) -> Option<usize> {
    if a.len().abs_diff(b.len()) > FURTHEST {
        return None;
    }
    let start = a.iter().zip(b).take_while(|(one, other)| one == other).count();
    let (a, b) = (&a[start..], &b[start..]);
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(one, other)| one == other).count();
    let (a, b) = (&a[..a.len() - end], &b[..b.len() - end]);
    within(a, b, FURTHEST).then_some(())?;
    (0..FURTHEST).find(|edits| within(a, b, *edits)).or(Some(FURTHEST))
}

/// Tells whether `edits` bytes inserted, removed or replaced turn `a` into `b`.
fn within(a: &[u8], b: &[u8], edits: usize) -> bool {
    let ((Some((one, a_rest)), Some((other, b_rest))), Some(left)) =
        ((a.split_first(), b.split_first()), edits.checked_sub(1))
    else {
        return if edits == 0 { a == b } else { a.len().max(b.len()) <= edits };
    };
    if one == other {
        return within(a_rest, b_rest, edits);
    }
    within(a_rest, b, left) || within(a, b_rest, left) || within(a_rest, b_rest, left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn question(word: &str, names: &[&str]) -> String {
        let names = names.iter().map(|name| name.as_bytes());
        String::from_utf8_lossy(&did_you_mean(word.as_bytes(), names).unwrap_or_default()).into_owned()
    }

    #[test]
    fn questions() {
        assert_eq!(question("cc", &["aa", "b"]), "Did you mean one of aa or b?");
        assert_eq!(question("foo_bar", &["foo-bar"]), "Did you mean foo-bar?");
        assert_eq!(
            question("ab1", &["abc", "abd", "ab", "abcd", "xbc", "bac", "axxc"]),
            "Did you mean one of ab, abc, abd, abcd or xbc?"
        );
        assert_eq!(
            question("aac", &["aaa", "aab", "aba", "baa", "aa", "a"]),
            "Did you mean one of aa, aaa, aab, a or aba?"
        );
        assert_eq!(question("bbaab", &["aaaaa", "aaaab", "aaabb"]), "Did you mean aaaab?");
        assert_eq!(question("", &["a", "abc"]), "Did you mean a?");
        assert_eq!(question("本", &["日"]), "Did you mean 日?");
        assert_eq!(question("a", &["é", "a b"]), "Did you mean one of a b or é?");
        assert_eq!(question("abcd", &["efgh", "x"]), "");
    }

    proptest! {
        #[test]
        fn the_distance_is_levenshteins(a in "[ab]{0,8}", b in "[ab]{0,8}") {
            let full = strsim::levenshtein(&a, &b);
            prop_assert_eq!(distance(a.as_bytes(), b.as_bytes()), (full <= FURTHEST).then_some(full));
        }
    }
}
