//! Texts as words of a shell.

/// A word that stands for exactly this text, in single quotes.
pub fn quote(text: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    quoted.push(b'\'');
    for byte in text {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

/// The words of a text: blanks separate them, but not within quotes or behind a backslash.
///
/// | | |
/// |---|---|
/// | `'…'` | as it stands |
/// | `"…"` | a backslash makes the next character stand for itself |
/// | `\x` | x |
pub fn split(text: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (None, b' ' | b'\t' | b'\n' | b'\r') => words.extend(word.take()),
            (None, b'\'' | b'"') => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (Some(end), byte) if byte == end => quote = None,
            (None | Some(b'"'), b'\\') => word.get_or_insert_default().extend(bytes.next()),
            (_, byte) => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let text = br#" -i bash  -p a\ b 'c "d\' "e\"f'g"h"i"'j' '' # x$y \"#;
        let expected: [&[u8]; 10] =
            [b"-i", b"bash", b"-p", b"a b", b"c \"d\\", b"e\"f'ghij", b"", b"#", b"x$y", b""];
        assert_eq!(split(text), expected);
        assert!(split(b" \t").is_empty());
    }

    #[test]
    fn quoted_texts_are_one_word() {
        for text in [&b""[..], b"it's", b"a b\n$x\\", b"'"] {
            assert_eq!(split(&quote(text)), [text]);
        }
    }
}
