//! Which of some names a mistyped word was meant to be.

/// Names further away are not meant.
const FURTHEST: usize = 2;

/// The nearest of some names, if one is near.
pub fn nearest<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    // One letter is near to all others.
    let furthest = FURTHEST.min(word.chars().count().saturating_sub(1));
    let near = names.into_iter().map(|name| (distance(word, name), name));
    near.filter(|(far, _)| *far <= furthest).min().map(|(_, name)| name)
}

/// Letters to change, add or leave out.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in to.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn words() {
        let names = ["none", "xz", "zstd", "bzip2", "gzip", "br", "lz4", "compression"];
        assert_eq!(nearest("zst", names), Some("zstd"));
        assert_eq!(nearest("compresion", names), Some("compression"));
        assert_eq!(nearest("gzpi", names), Some("gzip"));
        assert_eq!(nearest("b", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest("something", names), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
