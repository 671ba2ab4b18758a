//! Strings and names as the language writes them.

/// The words that are no names; `or` is one where an attribute is named.
const KEYWORDS: [&[u8]; 9] = [b"if", b"then", b"else", b"assert", b"with", b"let", b"in", b"rec", b"inherit"];

/// The length after which a string is cut where a message shows it.
pub const SHOWN: usize = 1024;

/// Appends `text` in double quotes, so that it reads as the same string.
pub fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    push_start(out, text, text.len());
}

/// Appends `text` in double quotes, cut after [`SHOWN`] bytes, and says how many
/// bytes are missing.
pub fn push_shown(out: &mut Vec<u8>, text: &[u8]) {
    push_start(out, text, text.len().min(SHOWN));
    if let Some(missing @ 1..) = text.len().checked_sub(SHOWN) {
        out.push(b' ');
        push_elided(out, missing, "byte", "bytes");
    }
}

/// Appends `«3 bytes elided»`, with the unit in its form for `count`.
pub fn push_elided(out: &mut Vec<u8>, count: usize, one: &str, several: &str) {
    let unit = if count == 1 { one } else { several };
    out.extend_from_slice(format!("«{count} {unit} elided»").as_bytes());
}

fn push_start(out: &mut Vec<u8>, text: &[u8], end: usize) {
    out.reserve(end + 2);
    out.push(b'"');
    let mut copied = 0;
    for (at, byte) in text.iter().enumerate().take(end) {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            // What follows counts although it may be cut off.
            b'$' if text.get(at + 1) == Some(&b'{') => b"\\$",
            _ => continue,
        };
        out.extend_from_slice(&text[copied..at]);
        out.extend_from_slice(escape);
        copied = at + 1;
    }
    out.extend_from_slice(&text[copied..end]);
    out.push(b'"');
}

/// Tells whether `name` can be written without quotes where an attribute is named.
pub fn is_bare_name(name: &[u8]) -> bool {
    let Some((first, rest)) = name.split_first() else { return false };
    (first.is_ascii_alphabetic() || *first == b'_')
        && rest.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'\''))
        && !KEYWORDS.contains(&name)
}

/// Appends the name of an attribute, quoted if it has to be.
pub fn push_name(out: &mut Vec<u8>, name: &[u8]) {
    if is_bare_name(name) {
        out.extend_from_slice(name);
    } else {
        push_string(out, name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &[u8]) -> String {
        let mut out = Vec::new();
        push_string(&mut out, text);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn shown(text: &str) -> String {
        let mut out = Vec::new();
        push_shown(&mut out, text.as_bytes());
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn strings() {
        assert_eq!(string(b"$${a} $ $ ${ $${x}"), r#""$\${a} $ $ \${ $\${x}""#);
        assert_eq!(string(b"\r\n\t\\\"\x01"), "\"\\r\\n\\t\\\\\\\"\x01\"");
        assert_eq!(string("é".as_bytes()), "\"é\"");
        assert_eq!(string(b""), "\"\"");
        let mut out = Vec::new();
        push_string(&mut out, b"\xff");
        assert_eq!(out, b"\"\xff\"");
    }

    #[test]
    fn cut_strings() {
        let long = "a".repeat(1020);
        assert_eq!(shown(&format!("{long}abcd")), format!("\"{long}abcd\""));
        assert_eq!(shown(&format!("{long}abc\n")), format!("\"{long}abc\\n\""));
        assert_eq!(shown(&format!("{long}abc\nd")), format!("\"{long}abc\\n\" «1 byte elided»"));
        assert_eq!(shown(&format!("{long}aaa${{x")), format!("\"{long}aaa\\$\" «2 bytes elided»"));
    }

    #[test]
    fn names() {
        for bare in ["a", "_", "or", "or'", "a-b", "a'", "true", "__curPos", "A1", "inherits"] {
            assert!(is_bare_name(bare.as_bytes()), "{bare}");
        }
        for quoted in ["", "1a", "-a", "'", "é", "a b", "a.b", "if", "rec", "inherit", "assert"] {
            assert!(!is_bare_name(quoted.as_bytes()), "{quoted}");
        }
        let mut out = Vec::new();
        push_name(&mut out, b"a\n${");
        assert_eq!(out, b"\"a\\n\\${\"");
    }
}
