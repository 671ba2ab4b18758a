//! Words that look like another one, for suggestions.

/// Insertions, deletions and replacements that make one word of the other.
pub fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

/// The word that is most likely meant, if any is near enough.
pub fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    /// Words further away are not meant.
    const FURTHEST: usize = 2;
    /// Of a shorter word that would be nearly everything.
    const LEAST_LETTERS: usize = 4;
    if word.trim_start_matches('-').chars().count() < LEAST_LETTERS {
        return None;
    }
    let ranked = known.into_iter().map(|other| (distance(word, other), other));
    ranked.filter(|(distance, _)| *distance <= FURTHEST).min().map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant() {
        assert_eq!(nearest("substituter", ["substitute", "substituters"]), Some("substitute"));
        assert_eq!(nearest("compresion", ["compression", "store"]), Some("compression"));
        assert_eq!(nearest("bogus", ["cores"]), None);
        assert_eq!(nearest("gc", ["gd"]), None);
    }
}
