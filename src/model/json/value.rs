//! JSON as a value of its own, for texts whose members are looked at one by one.

use std::collections::BTreeMap;

use super::{JsonBuilder, JsonError, push_float, push_string};

/// What a JSON text says. Strings and names are UTF-8.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean(bool),
    /// A number without a fraction.
    Integer(i64),
    /// Another number.
    Float(f64),
    /// A string.
    String(String),
    /// A list.
    List(Vec<Json>),
    /// An object; of several members with the same name it has the last one.
    Object(JsonObject),
}

/// Levels of lists and objects in each other: each takes some of the stack when it is written or
/// dropped.
pub const DEEPEST: usize = 1000;

/// The members of an object, in the order in which they are written.
pub type JsonObject = BTreeMap<String, Json>;

impl Json {
    /// Reads a text.
    ///
    /// # Errors
    /// [`JsonError`]; also for more than `DEEPEST` values within each other.
    pub fn parse(text: &[u8]) -> Result<Self, JsonError> {
        let mut values = Values { too_deep: false };
        let (value, _) = super::parse(text, &mut values)?;
        match values.too_deep {
            false => Ok(value),
            true => Err(JsonError::Syntax(format!("values are nested more than {DEEPEST} deep"))),
        }
    }

    /// Appends the value as one line without blanks, the members of objects sorted
    /// by the bytes of their names.
    pub fn push(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Boolean(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Self::Integer(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Self::Float(value) => push_float(out, *value),
            Self::String(text) => push_text(out, text),
            Self::List(values) => {
                out.push(b'[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    value.push(out);
                }
                out.push(b']');
            }
            Self::Object(members) => push_object(members, out),
        }
    }

    /// What messages call its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "boolean",
            Self::Integer(_) | Self::Float(_) => "number",
            Self::String(_) => "string",
            Self::List(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

/// Appends an object; see [`Json::push`].
pub fn push_object(members: &JsonObject, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (name, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_text(out, name);
        out.push(b':');
        value.push(out);
    }
    out.push(b'}');
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    // It is UTF-8 already.
    let _ = push_string(out, text.as_bytes());
}

/// Makes values, each with its depth.
struct Values {
    too_deep: bool,
}

impl Values {
    /// A list or an object, unless it is too deep.
    fn nested(&mut self, json: Json, inside: usize) -> (Json, usize) {
        if inside < DEEPEST {
            return (json, inside + 1);
        }
        self.too_deep = true;
        (Json::Null, 0)
    }
}

fn text(bytes: Vec<u8>) -> String {
    // The reader has made sure that it is UTF-8.
    String::from_utf8(bytes).unwrap_or_default()
}

impl JsonBuilder for Values {
    type Value = (Json, usize);

    fn null(&mut self) -> Self::Value {
        (Json::Null, 0)
    }

    fn boolean(&mut self, value: bool) -> Self::Value {
        (Json::Boolean(value), 0)
    }

    fn integer(&mut self, value: i64) -> Self::Value {
        (Json::Integer(value), 0)
    }

    fn float(&mut self, value: f64) -> Self::Value {
        (Json::Float(value), 0)
    }

    fn string(&mut self, value: Vec<u8>) -> Self::Value {
        (Json::String(text(value)), 0)
    }

    fn list(&mut self, values: Vec<Self::Value>) -> Self::Value {
        let inside = values.iter().map(|(_, depth)| *depth).max().unwrap_or(0);
        self.nested(Json::List(values.into_iter().map(|(value, _)| value).collect()), inside)
    }

    fn object(&mut self, members: Vec<(Vec<u8>, Self::Value)>) -> Self::Value {
        let inside = members.iter().map(|(_, (_, depth))| *depth).max().unwrap_or(0);
        let members = members.into_iter().map(|(name, (value, _))| (text(name), value));
        self.nested(Json::Object(members.collect()), inside)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_the_reference_does() {
        let text = r#"{"b": [1, 2.0, 1e30, "é\n", {}], "a": {"y": null, "x": false}, "b2": []}"#;
        let mut out = Vec::new();
        Json::parse(text.as_bytes()).unwrap().push(&mut out);
        let expected = "{\"a\":{\"x\":false,\"y\":null},\"b\":[1,2.0,1e+30,\"é\\n\",{}],\"b2\":[]}";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::parse(nested(DEEPEST).as_bytes()).is_ok());
        assert!(Json::parse(nested(DEEPEST + 1).as_bytes()).is_err());
        assert!(Json::parse(nested(1_000_000).as_bytes()).is_err());
    }
}
