//! Words that look like another one, for suggestions.

/// The word that is most likely meant, if any is near enough.
pub fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    /// Words further away are not meant.
    const FURTHEST: usize = 2;
    /// Of a shorter word that would be nearly everything.
    const LEAST_LETTERS: usize = 4;
    if word.trim_start_matches('-').chars().count() < LEAST_LETTERS {
        return None;
    }
    let ranked = known.into_iter().map(|other| (strsim::levenshtein(word, other), other));
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
