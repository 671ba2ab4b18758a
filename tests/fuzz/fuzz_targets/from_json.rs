//! JSON and TOML of the language: read or refused; what is read as JSON is written
//! so that it reads the same, and what TOML gives is JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nival::eval::text::toml;
use nival::model::json::{self, JsonBuilder};

/// Writes values as JSON.
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
        json::push_float(&mut out, value);
        out
    }
    fn string(&mut self, value: Vec<u8>) -> Vec<u8> {
        let mut out = Vec::new();
        json::push_string(&mut out, &value).expect("a string that was read is UTF-8");
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

fuzz_target!(|data: &[u8]| {
    for written in
        [json::parse(data, &mut Text).ok(), toml::parse(data, true, &mut Text).ok()].into_iter().flatten()
    {
        let again = json::parse(&written, &mut Text).expect("what was written is read");
        assert_eq!(again.escape_ascii().to_string(), written.escape_ascii().to_string());
    }
});
