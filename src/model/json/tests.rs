use proptest::prelude::*;

use super::*;

/// Writes values as JSON, with members as they come.
struct Text;

impl JsonBuilder for Text {
    type Value = Vec<u8>;

    fn null(&mut self) -> Vec<u8> {
        b"null".to_vec()
    }
    fn boolean(&mut self, value: bool) -> Vec<u8> {
        value.to_string().into_bytes()
    }
    fn integer(&mut self, value: i64) -> Vec<u8> {
        value.to_string().into_bytes()
    }
    fn float(&mut self, value: f64) -> Vec<u8> {
        let mut out = Vec::new();
        push_float(&mut out, value);
        out
    }
    fn string(&mut self, value: Vec<u8>) -> Vec<u8> {
        let mut out = Vec::new();
        push_string(&mut out, &value).unwrap_or_else(|error| panic!("{error}"));
        out
    }
    fn list(&mut self, values: Vec<Vec<u8>>) -> Vec<u8> {
        [&b"["[..], &values.join(&b","[..]), b"]"].concat()
    }
    fn object(&mut self, members: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<u8> {
        let members = members.into_iter().map(|(name, value)| [self.string(name), value].join(&b":"[..]));
        [&b"{"[..], &members.collect::<Vec<_>>().join(&b","[..]), b"}"].concat()
    }
}

fn read(text: &[u8]) -> Result<String, String> {
    let value = parse(text, &mut Text).map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&value).into_owned())
}

#[test]
fn values() {
    for (text, value) in [
        ("[]", "[]"),
        ("{}", "{}"),
        (" [ 1 , [ ] , {} , [ { \"a\" : [ null ] } ] ]\n", r#"[1,[],{},[{"a":[null]}]]"#),
        (r#"{"a":true,"b":false,"a":2}"#, r#"{"a":true,"b":false,"a":2}"#),
        ("-0", "0"),
        ("-0.0", "-0.0"),
        ("1E5", "100000.0"),
        ("1.5e+3", "1500.0"),
        ("1e-400", "0.0"),
        ("5e-324", "5e-324"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("-9223372036854775809", "-9.223372036854776e+18"),
        ("18446744073709551616", "1.8446744073709552e+19"),
        (r#""\"\\\/\b\f\n\r\t\u0041\ud83d\ude00é""#, "\"\\\"\\\\/\\b\\f\\n\\r\\tA😀é\""),
        ("\"\x7f\"", "\"\x7f\""),
        ("\u{feff}1", "1"),
    ] {
        assert_eq!(read(text.as_bytes()).as_deref(), Ok(value), "{text}");
    }
}

/// Texts, and what the original says of them after `parse error at line `.
const REFUSED: &[(&[u8], &str)] = &[
    (
        b"",
        "1, column 1: attempting to parse an empty input; check that your input string or stream contains the expected JSON",
    ),
    (
        b" ",
        "1, column 2: syntax error while parsing value - unexpected end of input; expected '[', '{', or a literal",
    ),
    (
        b"[",
        "1, column 2: syntax error while parsing value - unexpected end of input; expected '[', '{', or a literal",
    ),
    (b"[1", "1, column 3: syntax error while parsing array - unexpected end of input; expected ']'"),
    (
        b"[1,",
        "1, column 4: syntax error while parsing value - unexpected end of input; expected '[', '{', or a literal",
    ),
    (
        b"[1,]",
        "1, column 4: syntax error while parsing value - unexpected ']'; expected '[', '{', or a literal",
    ),
    (
        b"{",
        "1, column 2: syntax error while parsing object key - unexpected end of input; expected string literal",
    ),
    (
        b"{\"a\"",
        "1, column 5: syntax error while parsing object separator - unexpected end of input; expected ':'",
    ),
    (
        b"{\"a\":",
        "1, column 6: syntax error while parsing value - unexpected end of input; expected '[', '{', or a literal",
    ),
    (b"{\"a\":1", "1, column 7: syntax error while parsing object - unexpected end of input; expected '}'"),
    (
        b"{\"a\":1,",
        "1, column 8: syntax error while parsing object key - unexpected end of input; expected string literal",
    ),
    (
        b"{\"a\":1,}",
        "1, column 8: syntax error while parsing object key - unexpected '}'; expected string literal",
    ),
    (
        b"{1:2}",
        "1, column 2: syntax error while parsing object key - unexpected number literal; expected string literal",
    ),
    (b"[1 2]", "1, column 4: syntax error while parsing array - unexpected number literal; expected ']'"),
    (b"nul", "1, column 4: syntax error while parsing value - invalid literal; last read: 'nul'"),
    (b"nulx", "1, column 4: syntax error while parsing value - invalid literal; last read: 'nulx'"),
    (b"tru", "1, column 4: syntax error while parsing value - invalid literal; last read: 'tru'"),
    (
        b"01",
        "1, column 2: syntax error while parsing value - unexpected number literal; expected end of input",
    ),
    (
        b"-",
        "1, column 2: syntax error while parsing value - invalid number; expected digit after '-'; last read: '-'",
    ),
    (
        b"-a",
        "1, column 2: syntax error while parsing value - invalid number; expected digit after '-'; last read: '-a'",
    ),
    (
        b"1.",
        "1, column 3: syntax error while parsing value - invalid number; expected digit after '.'; last read: '1.'",
    ),
    (
        b"1.e",
        "1, column 3: syntax error while parsing value - invalid number; expected digit after '.'; last read: '1.e'",
    ),
    (
        b"1e",
        "1, column 3: syntax error while parsing value - invalid number; expected '+', '-', or digit after exponent; last read: '1e'",
    ),
    (
        b"1e+",
        "1, column 4: syntax error while parsing value - invalid number; expected digit after exponent sign; last read: '1e+'",
    ),
    (
        b"1ex",
        "1, column 3: syntax error while parsing value - invalid number; expected '+', '-', or digit after exponent; last read: '1ex'",
    ),
    (b".5", "1, column 1: syntax error while parsing value - invalid literal; last read: '.'"),
    (b"+1", "1, column 1: syntax error while parsing value - invalid literal; last read: '+'"),
    (
        b"\"abc",
        "1, column 5: syntax error while parsing value - invalid string: missing closing quote; last read: '\"abc'",
    ),
    (
        b"\"a\nb\"",
        "2, column 0: syntax error while parsing value - invalid string: control character U+000A (LF) must be escaped to \\u000A or \\n; last read: '\"a<U+000A>'",
    ),
    (
        b"\"a\tb\"",
        "1, column 3: syntax error while parsing value - invalid string: control character U+0009 (HT) must be escaped to \\u0009 or \\t; last read: '\"a<U+0009>'",
    ),
    (
        b"\"\x01\"",
        "1, column 2: syntax error while parsing value - invalid string: control character U+0001 (SOH) must be escaped to \\u0001; last read: '\"<U+0001>'",
    ),
    (
        b"\"\\x\"",
        "1, column 3: syntax error while parsing value - invalid string: forbidden character after backslash; last read: '\"\\x'",
    ),
    (
        b"\"\\u12\"",
        "1, column 6: syntax error while parsing value - invalid string: '\\u' must be followed by 4 hex digits; last read: '\"\\u12\"'",
    ),
    (
        b"\"\\ud800\"",
        "1, column 8: syntax error while parsing value - invalid string: surrogate U+D800..U+DBFF must be followed by U+DC00..U+DFFF; last read: '\"\\ud800\"'",
    ),
    (
        b"\"\\udc00\"",
        "1, column 7: syntax error while parsing value - invalid string: surrogate U+DC00..U+DFFF must follow U+D800..U+DBFF; last read: '\"\\udc00'",
    ),
    (
        b"\"\\ud800x\"",
        "1, column 8: syntax error while parsing value - invalid string: surrogate U+D800..U+DBFF must be followed by U+DC00..U+DFFF; last read: '\"\\ud800x'",
    ),
    (
        b"\"\\ud800\\u0041\"",
        "1, column 13: syntax error while parsing value - invalid string: surrogate U+D800..U+DBFF must be followed by U+DC00..U+DFFF; last read: '\"\\ud800\\u0041'",
    ),
    (
        b"\"\xff\"",
        "1, column 2: syntax error while parsing value - invalid string: ill-formed UTF-8 byte; last read: '\"�'",
    ),
    (
        b"\"\xc3\"",
        "1, column 3: syntax error while parsing value - invalid string: ill-formed UTF-8 byte; last read: '\"�\"'",
    ),
    (
        b"\"\xc3(\"",
        "1, column 3: syntax error while parsing value - invalid string: ill-formed UTF-8 byte; last read: '\"�('",
    ),
    (
        b"\"\xe2\x82\"",
        "1, column 4: syntax error while parsing value - invalid string: ill-formed UTF-8 byte; last read: '\"�\"'",
    ),
    (
        b"\"\xed\xa0\x80\"",
        "1, column 3: syntax error while parsing value - invalid string: ill-formed UTF-8 byte; last read: '\"��'",
    ),
    (
        b"\"\xf4\x90\x80\x80\"",
        "1, column 3: syntax error while parsing value - invalid string: ill-formed UTF-8 byte; last read: '\"��'",
    ),
    (
        b"\"\xc0\x80\"",
        "1, column 2: syntax error while parsing value - invalid string: ill-formed UTF-8 byte; last read: '\"�'",
    ),
    (
        b"\xef\xbb1",
        "1, column 3: syntax error while parsing value - invalid BOM; must be 0xEF 0xBB 0xBF if given; last read: '�1'",
    ),
    (
        b"\xef",
        "1, column 2: syntax error while parsing value - invalid BOM; must be 0xEF 0xBB 0xBF if given; last read: '�'",
    ),
    (
        b"1 2",
        "1, column 3: syntax error while parsing value - unexpected number literal; expected end of input",
    ),
    (b"[]]", "1, column 3: syntax error while parsing value - unexpected ']'; expected end of input"),
    (
        b"{} x",
        "1, column 4: syntax error while parsing value - invalid literal; last read: '{} x'; expected end of input",
    ),
    (b"/* */1", "1, column 1: syntax error while parsing value - invalid literal; last read: '/'"),
    (b"// a\n1", "1, column 1: syntax error while parsing value - invalid literal; last read: '/'"),
    (
        b"1 // a",
        "1, column 3: syntax error while parsing value - invalid literal; last read: '1 /'; expected end of input",
    ),
    (b"'a'", "1, column 1: syntax error while parsing value - invalid literal; last read: '''"),
    (b"NaN", "1, column 1: syntax error while parsing value - invalid literal; last read: 'N'"),
    (
        b"[1,\n2,\n]",
        "3, column 1: syntax error while parsing value - unexpected ']'; expected '[', '{', or a literal",
    ),
    (
        b"[1,\n\n  x]",
        "3, column 3: syntax error while parsing value - invalid literal; last read: '1,<U+000A><U+000A>  x'",
    ),
    (b"[1}", "1, column 3: syntax error while parsing array - unexpected '}'; expected ']'"),
    (b"{\"a\":1]", "1, column 7: syntax error while parsing object - unexpected ']'; expected '}'"),
    (
        b"true false",
        "1, column 10: syntax error while parsing value - unexpected false literal; expected end of input",
    ),
    (
        b"\"\\",
        "1, column 3: syntax error while parsing value - invalid string: forbidden character after backslash; last read: '\"\\'",
    ),
    (
        b"\"\\u",
        "1, column 4: syntax error while parsing value - invalid string: '\\u' must be followed by 4 hex digits; last read: '\"\\u'",
    ),
    (
        b"\"\\uD83D\\",
        "1, column 9: syntax error while parsing value - invalid string: surrogate U+D800..U+DBFF must be followed by U+DC00..U+DFFF; last read: '\"\\uD83D\\'",
    ),
    (
        b"\"\\uD83D\\u",
        "1, column 10: syntax error while parsing value - invalid string: '\\u' must be followed by 4 hex digits; last read: '\"\\uD83D\\u'",
    ),
    (
        b"\"\\uD83D\\uZ",
        "1, column 10: syntax error while parsing value - invalid string: '\\u' must be followed by 4 hex digits; last read: '\"\\uD83D\\uZ'",
    ),
    (
        b"[[[",
        "1, column 4: syntax error while parsing value - unexpected end of input; expected '[', '{', or a literal",
    ),
    (
        b"\"a\xffb\"",
        "1, column 3: syntax error while parsing value - invalid string: ill-formed UTF-8 byte; last read: '\"a�'",
    ),
    (b"\x0c1", "1, column 1: syntax error while parsing value - invalid literal; last read: '<U+000C>'"),
    (b"\xff", "1, column 1: syntax error while parsing value - invalid literal; last read: '�'"),
    (
        b"{\"a\" 1}",
        "1, column 6: syntax error while parsing object separator - unexpected number literal; expected ':'",
    ),
    (b"{,}", "1, column 2: syntax error while parsing object key - unexpected ','; expected string literal"),
    (
        b"[,1]",
        "1, column 2: syntax error while parsing value - unexpected ','; expected '[', '{', or a literal",
    ),
    (
        b"123abc",
        "1, column 4: syntax error while parsing value - invalid literal; last read: '123a'; expected end of input",
    ),
    (
        b"\"abc\ndef",
        "2, column 0: syntax error while parsing value - invalid string: control character U+000A (LF) must be escaped to \\u000A or \\n; last read: '\"abc<U+000A>'",
    ),
    (
        b"[\r\n1 x",
        "2, column 3: syntax error while parsing array - invalid literal; last read: '1 x'; expected ']'",
    ),
    (b"\xe2\x82\xac", "1, column 1: syntax error while parsing value - invalid literal; last read: '�'"),
    (
        b"-01",
        "1, column 3: syntax error while parsing value - unexpected number literal; expected end of input",
    ),
    (
        b"00",
        "1, column 2: syntax error while parsing value - unexpected number literal; expected end of input",
    ),
    (
        b"1.5.5",
        "1, column 4: syntax error while parsing value - invalid literal; last read: '1.5.'; expected end of input",
    ),
    (
        b"\"\xf0\x9f\x98\x80",
        "1, column 6: syntax error while parsing value - invalid string: missing closing quote; last read: '\"😀'",
    ),
    (b"\x01", "1, column 1: syntax error while parsing value - invalid literal; last read: '<U+0001>'"),
    (b"\x7f", "1, column 1: syntax error while parsing value - invalid literal; last read: '\x7f'"),
];

#[test]
fn refused() {
    for (text, message) in REFUSED {
        let message = format!("[json.exception.parse_error.101] parse error at line {message}");
        assert_eq!(read(text), Err(message), "{}", text.escape_ascii());
    }
    for (text, message) in [
        ("9223372036854775808", "unsigned json number 9223372036854775808 outside of Nix integer range"),
        ("[18446744073709551615", "unsigned json number 18446744073709551615 outside of Nix integer range"),
        ("[-1e400,2]", "[json.exception.out_of_range.406] number overflow parsing '-1e400'"),
        (
            "{\"a\\u0000\":1}",
            "input string 'a␀' cannot be represented as Nix string because it contains null bytes",
        ),
    ] {
        assert_eq!(read(text.as_bytes()), Err(message.to_owned()));
    }
}

#[test]
fn deep() {
    let depth = 1_000_000;
    assert!(read("[".repeat(depth).as_bytes()).is_err());
    assert!(read("{\"a\":".repeat(depth).as_bytes()).is_err());
}

#[test]
fn strings() {
    let written = |text: &[u8]| {
        let mut out = Vec::new();
        push_string(&mut out, text).map(|()| out).map_err(|error| error.to_string())
    };
    assert_eq!(written(b"\x1f\x7f/\x08").as_deref(), Ok(&b"\"\\u001f\x7f/\\b\""[..]));
    for (text, message) in [
        (&b"a\xc3"[..], "incomplete UTF-8 string; last byte: 0xC3"),
        (b"\xf0\x9f\x98", "incomplete UTF-8 string; last byte: 0x98"),
        (b"\xa9", "invalid UTF-8 byte at index 0: 0xA9"),
        (b"a\xff", "invalid UTF-8 byte at index 1: 0xFF"),
        (b"\xc3(", "invalid UTF-8 byte at index 1: 0x28"),
        (b"\xe2\x82(", "invalid UTF-8 byte at index 2: 0x28"),
        (b"\xed\xa0\x80", "invalid UTF-8 byte at index 1: 0xA0"),
        (b"\xc0\x80", "invalid UTF-8 byte at index 0: 0xC0"),
    ] {
        let prefix = "JSON serialization error: [json.exception.type_error.316] ";
        assert_eq!(written(text), Err(format!("{prefix}{message}")));
    }
}

#[test]
fn floats() {
    for (number, text) in [
        (1.0, "1.0"),
        (0.1, "0.1"),
        (-0.0, "-0.0"),
        (100000.0, "100000.0"),
        (999999999999999.0, "999999999999999.0"),
        (123456789012345.6, "123456789012345.6"),
        (1e15, "1e+15"),
        (1.2345678901234568e17, "1.2345678901234568e+17"),
        (0.0001, "0.0001"),
        (0.00012345, "0.00012345"),
        (0.00001, "1e-05"),
        (1.5e-7, "1.5e-07"),
        (1e300, "1e+300"),
        (f64::MAX, "1.7976931348623157e+308"),
        (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
        (f64::from_bits(1), "5e-324"),
        (f64::NAN, "null"),
        (f64::NEG_INFINITY, "null"),
    ] {
        assert_eq!(read_float(number), text);
    }
}

fn read_float(number: f64) -> String {
    let mut out = Vec::new();
    push_float(&mut out, number);
    String::from_utf8_lossy(&out).into_owned()
}

proptest! {
    #[test]
    fn floats_are_read_back(bits: u64) {
        let number = f64::from_bits(bits);
        let written = read_float(number);
        if number.is_finite() {
            prop_assert_eq!(written.parse::<f64>().map(f64::to_bits), Ok(bits), "{}", written);
        } else {
            prop_assert_eq!(written, "null");
        }
    }

    #[test]
    fn strings_are_read_back(text in "([^\0]|\n|\r|\t|\"|\\\\|[\x01-\x20]){0,20}") {
        let mut out = Vec::new();
        push_string(&mut out, text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        prop_assert_eq!(read(&out), Ok(String::from_utf8_lossy(&out).into_owned()));
    }
}
