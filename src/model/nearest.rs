//! Which of some names a mistyped word was meant to be.

/// Names further away are not meant.
const FURTHEST: usize = 2;

/// The nearest of some names, if one is near.
pub fn nearest<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    // One letter is near to all others.
    let furthest = FURTHEST.min(word.chars().count().saturating_sub(1));
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
    }
}
