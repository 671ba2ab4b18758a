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

/// The members of an object, in the order in which they are written.
pub type JsonObject = BTreeMap<String, Json>;

impl Json {
    /// Reads a text.
    ///
    /// # Errors
    /// [`JsonError`].
    pub fn parse(text: &[u8]) -> Result<Self, JsonError> {
        super::parse(text, &mut Values)
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

struct Values;

impl Values {
    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap_or_default()
    }
}

impl JsonBuilder for Values {
    type Value = Json;

    fn null(&mut self) -> Json {
        Json::Null
    }

    fn boolean(&mut self, value: bool) -> Json {
        Json::Boolean(value)
    }

    fn integer(&mut self, value: i64) -> Json {
        Json::Integer(value)
    }

    fn float(&mut self, value: f64) -> Json {
        Json::Float(value)
    }

    fn string(&mut self, value: Vec<u8>) -> Json {
        Json::String(Self::text(value))
    }

    fn list(&mut self, values: Vec<Json>) -> Json {
        Json::List(values)
    }

    fn object(&mut self, members: Vec<(Vec<u8>, Json)>) -> Json {
        Json::Object(members.into_iter().map(|(name, value)| (Self::text(name), value)).collect())
    }
}
