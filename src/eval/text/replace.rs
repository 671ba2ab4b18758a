//! Replacing some strings in a text by others.

/// The patterns of `replaceStrings`, by the byte with which they begin.
pub struct Patterns<'p> {
    from: &'p [&'p [u8]],
    /// The numbers of the patterns, sorted by first bytes and then in order.
    numbers: Vec<u32>,
    /// Where those begin in `numbers` whose first byte is this one or a greater one.
    begins: [u32; 257],
    /// The first pattern that is empty.
    empty: Option<usize>,
}

impl<'p> Patterns<'p> {
    /// Sorts patterns by their first bytes.
    pub fn new(from: &'p [&'p [u8]]) -> Self {
        let empty = from.iter().position(|pattern| pattern.is_empty());
        // What comes after an empty pattern never matches.
        let usable = &from[..empty.unwrap_or(from.len())];
        let mut begins = [0; 257];
        usable.iter().for_each(|pattern| begins[usize::from(pattern[0]) + 1] += 1);
        (0..256).for_each(|byte| begins[byte + 1] += begins[byte]);
        let mut numbers: Vec<u32> = (0u32..).take(usable.len()).collect();
        numbers.sort_by_key(|number| usable[*number as usize][0]);
        Patterns { from, numbers, begins, empty }
    }

    /// The first pattern that matches at the beginning of `rest`.
    fn matching(&self, rest: &[u8]) -> Option<usize> {
        let first = usize::from(*rest.first()?);
        let numbers = &self.numbers[self.begins[first] as usize..self.begins[first + 1] as usize];
        let mut numbers = numbers.iter().map(|number| *number as usize);
        numbers.find(|number| rest.starts_with(self.from[*number]))
    }

    /// Gives `text` with each match replaced: at each place the first pattern that
    /// matches counts, and what was inserted is not looked at again. An empty
    /// pattern matches at each place where no earlier one does, and at the end.
    ///
    /// `append` adds the replacement of the pattern with the given number; it is
    /// called for each match.
    ///
    /// # Errors
    /// What `append` failed with.
    pub fn replace<E>(
        &self,
        text: &[u8],
        mut append: impl FnMut(usize, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Vec<u8>, E> {
        let mut out = Vec::with_capacity(text.len());
        let (mut at, mut copied) = (0, 0);
        while at < text.len() {
            let Some(number) = self.matching(&text[at..]).or(self.empty) else {
                at += 1;
                continue;
            };
            out.extend_from_slice(&text[copied..at]);
            append(number, &mut out)?;
            copied = at + self.from[number].len();
            // After an empty match one byte is passed over.
            at = copied.max(at + 1);
        }
        out.extend_from_slice(&text[copied..]);
        if let Some(empty) = self.empty {
            append(empty, &mut out)?;
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn replaced(from: &[&str], to: &[&str], text: &str) -> String {
        let from: Vec<&[u8]> = from.iter().map(|pattern| pattern.as_bytes()).collect();
        let result = Patterns::new(&from).replace(text.as_bytes(), |number, out| {
            out.extend_from_slice(to[number].as_bytes());
            Ok::<(), Infallible>(())
        });
        let Ok(text) = result;
        String::from_utf8_lossy(&text).into_owned()
    }

    #[test]
    fn texts() {
        for (from, to, text, result) in [
            (&["a"][..], &["x"][..], "banana", "bxnxnx"),
            (&["a", "ab"], &["1", "2"], "abab", "1b1b"),
            (&["ab", "a"], &["2", "1"], "aab", "12"),
            (&["a", "x"], &["x", "y"], "a", "x"),
            (&[""], &["X"], "abc", "XaXbXcX"),
            (&[""], &["X"], "", "X"),
            (&["", "a"], &["_", "x"], "abca", "_a_b_c_a_"),
            (&["a", ""], &["x", "_"], "ab", "x_b_"),
            (&["a", ""], &["x", "_"], "a", "x_"),
            (&["", ""], &["1", "2"], "a", "1a1"),
            (&["aa"], &["b"], "aaa", "ba"),
            (&[], &[], "abc", "abc"),
            (&["abcd"], &["x"], "abc", "abc"),
            (&["a"], &[""], "banana", "bnn"),
            (&["é"], &["e"], "aé", "ae"),
        ] {
            assert_eq!(replaced(from, to, text), result, "{from:?} {text}");
        }
    }

    #[test]
    fn a_replacement_that_fails() {
        let patterns: [&[u8]; 2] = [b"a", b"b"];
        let patterns = Patterns::new(&patterns);
        let append = |number: usize, out: &mut Vec<u8>| match number {
            0 => {
                out.push(b'x');
                Ok(())
            }
            _ => Err("b"),
        };
        assert_eq!(patterns.replace(b"aca", append), Ok(b"xcx".to_vec()));
        assert_eq!(patterns.replace(b"abc", append), Err("b"));
    }
}
