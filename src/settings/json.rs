//! The little JSON writing that `config show --json` needs: compact, without any blanks.

use std::collections::BTreeMap;

/// Appends `text` as a JSON string: quotes, backslashes and control characters escaped, the rest
/// as it is.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            control if control < ' ' => {
                out.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// Appends a JSON array of strings.
pub fn write_array<'a>(items: impl Iterator<Item = &'a str>, out: &mut String) {
    out.push('[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(item, out);
    }
    out.push(']');
}

/// Appends a JSON object, its keys in the order of the map.
pub fn write_object<T>(map: &BTreeMap<String, T>, out: &mut String, write_value: impl Fn(&T, &mut String)) {
    out.push('{');
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(key, out);
        out.push(':');
        write_value(value, out);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_strings_are_escaped() {
        let mut out = String::new();
        write_string("\u{1}\"\\/\u{1f}\u{7f}é\u{8}\n", &mut out);
        assert_eq!(out, "\"\\u0001\\\"\\\\/\\u001f\u{7f}é\\b\\n\"");
    }
}
