use super::*;
use crate::model::json::{self, JsonBuilder};

/// Writes values as JSON.
struct Text;

impl JsonBuilder for Text {
    type Value = String;

    fn null(&mut self) -> String {
        "null".to_owned()
    }
    fn boolean(&mut self, value: bool) -> String {
        value.to_string()
    }
    fn integer(&mut self, value: i64) -> String {
        value.to_string()
    }
    fn float(&mut self, value: f64) -> String {
        super::super::numbers::general(value)
    }
    fn string(&mut self, value: Vec<u8>) -> String {
        let mut out = Vec::new();
        json::push_string(&mut out, &value).unwrap_or_else(|error| panic!("{error}"));
        String::from_utf8_lossy(&out).into_owned()
    }
    fn list(&mut self, values: Vec<String>) -> String {
        format!("[{}]", values.join(","))
    }
    fn object(&mut self, members: Vec<(Vec<u8>, String)>) -> String {
        let members = members.into_iter().map(|(name, value)| format!("{}:{value}", self.string(name)));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }
}

fn read(text: &str) -> Result<String, TomlError> {
    parse(text.as_bytes(), true, &mut Text)
}

#[test]
fn documents() {
    for (text, value) in [
        ("", "{}"),
        ("a=inf\nb=-inf\nc=nan\nd=-nan\ne=+nan", r#"{"a":inf,"b":-inf,"c":nan,"d":-nan,"e":nan}"#),
        ("a=+1\nb=1_000\nc=0xAb_C\nd=0o7\ne=0b1\nf=-0", r#"{"a":1,"b":1000,"c":2748,"d":7,"e":1,"f":0}"#),
        ("a=1e5\nb=-0.0\nc=6.0_1\nd=1e06\ne=1e-400", r#"{"a":100000,"b":-0,"c":6.01,"d":1e+06,"e":0}"#),
        (
            "a=-9223372036854775808\nb=0x7fffffffffffffff",
            r#"{"a":-9223372036854775808,"b":9223372036854775807}"#,
        ),
        (
            "[[a.b]]\nc=1\n[[a.b]]\nd=2\n[a.c]\n\"x y\".z=1\n",
            r#"{"a":{"b":[{"c":1},{"d":2}],"c":{"x y":{"z":1}}}}"#,
        ),
        ("[[a]]\n[a.b]\nc=1\n[[a]]\n[a.b]\nc=2", r#"{"a":[{"b":{"c":1}},{"b":{"c":2}}]}"#),
        ("[a]\nb.c=1\n[a.b.d]\ne=1", r#"{"a":{"b":{"c":1,"d":{"e":1}}}}"#),
        ("[a.b]\n[a]\nc=1\n", r#"{"a":{"b":{},"c":1}}"#),
        ("[[a.b]]\n[a]\nc=1", r#"{"a":{"b":[{}],"c":1}}"#),
        ("a={b.c=1,b.d=2}", r#"{"a":{"b":{"c":1,"d":2}}}"#),
        ("a.b.c=1\na.b.d=2\na.e=3", r#"{"a":{"b":{"c":1,"d":2},"e":3}}"#),
        ("'a'.\"b\".c . d=1\n\"\"=2", r#"{"":2,"a":{"b":{"c":{"d":1}}}}"#),
        ("a=[\n1 # c\n,\n[2],{ b = 'x' },\n]\r\n", r#"{"a":[1,[2],{"b":"x"}]}"#),
        ("\u{feff}1=2\n-=3", r#"{"-":3,"1":2}"#),
        ("a=\"\"\"\"x\"\"\"\"\"\nb=''''x'''''", r#"{"a":"\"x\"\"","b":"'x''"}"#),
        ("a=\"\"\"x\r\ny\"\"\"\nb='''\r\nx\r\n'''", r#"{"a":"x\r\ny","b":"x\r\n"}"#),
        ("a=\"\"\"a\\  \n \n c\\t\"\"\"\nb=\"\\u0041\\U0001F600\"", r#"{"a":"ac\t","b":"A😀"}"#),
    ] {
        assert_eq!(read(text).as_deref(), Ok(value), "{text}");
    }
}

#[test]
fn times() {
    for (text, value) in [
        ("1979-05-27T07:32:00Z", "1979-05-27T07:32:00Z"),
        ("1979-05-27 07:32:00.5", "1979-05-27T07:32:00.500"),
        ("1979-05-27 ", "1979-05-27"),
        ("07:32:60", "07:32:60"),
        ("1979-05-27t07:32:00z", "1979-05-27T07:32:00Z"),
        ("1979-05-27T00:32:00.999999-07:00", "1979-05-27T00:32:00.999999-07:00"),
        ("07:32:00.1234567891234", "07:32:00.123456789"),
        ("07:32:00.000", "07:32:00"),
        ("07:32:00.0001", "07:32:00.000100"),
        ("1979-05-27T07:32:00+00:00", "1979-05-27T07:32:00Z"),
        ("1979-05-27T07:32:00+24:60", "1979-05-27T07:32:00+25:00"),
        ("2000-02-29", "2000-02-29"),
    ] {
        let expected = format!(r#"{{"a":{{"_type":"timestamp","value":"{value}"}}}}"#);
        assert_eq!(read(&format!("a={text}")), Ok(expected), "{text}");
    }
    assert_eq!(parse(b"a=07:32:00", false, &mut Text), Err(TomlError::Time));
}

#[test]
fn refused() {
    for text in [
        "a=1\na=2",
        "a=",
        "[a",
        "a={b=1,}",
        "a={\nb=1}",
        "a.b=1\n[a]",
        "a=07:32",
        "a=1979-13-27",
        "a=1900-02-29",
        "a=07:60:00",
        "a=24:00:00",
        "b=1.",
        "a=01",
        "a=1 b=2",
        "a=1979-05-27T07:32",
        "a\r\n=1",
        "a=1\rb=2",
        "# \x01",
        "é=1",
        "a=1__0",
        "a=1979-05-27T07:32:00+25:00",
        "a=1e400",
        "a=9223372036854775808",
        "a=0x8000000000000000",
        "[a]\nb.c=1\n[a.b]",
        "[a.b]\nx=1\n[a]\nb.c=1",
        "a=[]\n[[a]]",
        "a={}\n[a.b]",
        "a={b={},b.d=2}",
        "[a]\n[a]",
        "[[a]]\n[a]",
        "[a]\n[[a]]",
        "a=1\na.b=2",
        "[a.b]\n[[a]]",
        "[[a.b]]\n[a]\nb.c=1",
        "a=0_1",
        "a=0X1",
        "a=+0x1",
        "a=1.e5",
        "a=.5",
        "b=Inf",
        "a=true1",
        "a=07:32:00 b=1",
        "a=\"\\uD800\"",
        "=1",
        "a=\"\"\"a\\ b\"\"\"",
        "a=[1,,2]",
        "[]",
        "[a]]",
        "[[a]",
        "a=\"\x7f\"",
        "[a] b=1",
        "a=1e1_000",
        "a=1_e5",
        "a=-00",
        "a=\n1",
        "a",
        "a=\"\"x",
        "a=0x_1",
        "a=1979-5-27",
        "a=1979-05-27T07:32:00.",
        "a=1979-05-27  07:32:00",
        "a=\"\\e\"",
    ] {
        let error = read(text).map_err(|error| error.to_string());
        assert!(
            error.as_ref().is_err_and(|error| error.starts_with("while parsing TOML: [error] ")),
            "{text} {error:?}"
        );
    }
    assert!(parse(b"# \xff\na=1", true, &mut Text).is_err());
    let error = read("\"a\\u0000\"=1").map_err(|error| error.to_string());
    let message = "input string 'a␀' cannot be represented as Nix string because it contains null bytes";
    assert_eq!(error, Err(format!("while parsing TOML: error: {message}")));
    let error = read("x=1\na=").map_err(|error| error.to_string());
    let message = "bad format: unknown value appeared\n --> fromTOML\n   |\n 2 | a=\n   |   ^-- here\n";
    assert_eq!(error, Err(format!("while parsing TOML: [error] {message}")));
}

#[test]
fn deep() {
    let depth = 100_000;
    assert!(read(&format!("a={}{}", "[".repeat(depth), "]".repeat(depth))).is_err());
    assert!(read(&format!("{}a=1", "a.".repeat(depth))).is_err());
    // Keys count too.
    let key = "a.".repeat(400);
    assert!(read(&format!("{key}a={{{key}a=1}}")).is_err());
    assert!(read(&format!("[{key}a]\n{key}a=1")).is_err());
    let deepest = DEEPEST - 1;
    assert!(read(&format!("a={}{}", "[".repeat(deepest), "]".repeat(deepest))).is_ok());
}
