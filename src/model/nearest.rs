//! Which of some names a mistyped word was meant to be.

/// Names further away are not meant.
const FURTHEST: usize = 2;

/// The nearest of some names, if one is near. The dashes that a flag begins with are no letters of
/// it.
pub fn nearest<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    // One letter is near to all others, and two are near to too many.
    let furthest = match word.trim_start_matches('-').chars().count() {
        0..=2 => return None,
        3 => 1,
        _ => FURTHEST,
    };
    let near = names.into_iter().map(|name| (strsim::levenshtein(word, name), name));
    near.filter(|(distance, _)| *distance <= furthest).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn words() {
        let names = ["none", "xz", "zstd", "bzip2", "gzip", "br", "lz4", "compression"];
        assert_eq!(nearest("zst", names), Some("zstd"));
        assert_eq!(nearest("compresion", names), Some("compression"));
        assert_eq!(nearest("gzpi", names), Some("gzip"));
        assert_eq!(nearest("b", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest("something", names), None);
        assert_eq!(nearest("substituter", ["substitute", "substituters"]), Some("substitute"));
        assert_eq!(nearest("--gc", ["--gd", "--gcc"]), None);
        assert_eq!(nearest("--lgo", ["--log"]), None);
    }
}
