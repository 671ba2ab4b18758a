//! Structured attributes as declarations for the shell (Bash).
//!
//! ```text
//! string            declare NAME='TEXT'
//! number            declare NAME=NUMBER
//! true, false, null declare NAME=1, declare NAME=, declare NAME=''
//! list              declare -a NAME=(VALUE … )
//! object            declare -A NAME=(['KEY']=VALUE … )
//! ```
//!
//! There is one line for each attribute, sorted by name. What the shell cannot hold is left
//! out: names that are none there, fractions, and lists and objects that hold such, or lists
//! or objects.

use crate::model::json::{Json, JsonObject};
use crate::model::shell;

/// The declarations.
pub fn script(members: &JsonObject) -> Vec<u8> {
    let mut script = String::new();
    for (name, value) in members.iter().filter(|(name, _)| is_name(name)) {
        let Some((flag, value)) = variable(value) else { continue };
        script.push_str("declare ");
        script.push_str(flag);
        script.push_str(name);
        script.push('=');
        script.push_str(&value);
        script.push('\n');
    }
    script.into_bytes()
}

fn is_name(name: &str) -> bool {
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    begins && name.chars().all(|other| other.is_ascii_alphanumeric() || other == '_')
}

/// What a variable is declared with, and its value.
fn variable(value: &Json) -> Option<(&'static str, String)> {
    match value {
        Json::List(values) => {
            let mut text = "(".to_owned();
            for value in values {
                text.push_str(&word(value)?);
                text.push(' ');
            }
            Some(("-a ", text + ")"))
        }
        Json::Object(members) => {
            let mut text = "(".to_owned();
            for (name, value) in members {
                text.push_str(&format!("[{}]={} ", quote(name), word(value)?));
            }
            Some(("-A ", text + ")"))
        }
        value => Some(("", word(value)?)),
    }
}

/// A value as a word of the shell.
fn word(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(quote(text)),
        Json::Integer(number) => Some(number.to_string()),
        Json::Float(number) if number.fract() == 0.0 => Some(format!("{:.0}", number + 0.0)),
        Json::Boolean(true) => Some("1".to_owned()),
        Json::Boolean(false) => Some(String::new()),
        Json::Null => Some("''".to_owned()),
        Json::Float(_) | Json::List(_) | Json::Object(_) => None,
    }
}

fn quote(text: &str) -> String {
    String::from_utf8_lossy(&shell::quote(text.as_bytes())).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What the reference writes, but for integers of more than 32 bits, of which it writes others.
    #[test]
    fn declarations_of_the_reference() {
        let json =
            br#"{"A1_":[""],"PATH":"/bin","Z":1,"a b":3,"b":10000000000.0,"c":-3,"d":9223372036854775807,
            "e":[true,false,null,1.0,1.5],"f":[1.0,2,true,false,null,"a\nb"],"g":{"a-b":1,"f":false,"fl":1.0,
            "it's":"it's","n":null,"t":true},"h":[[]],"i":{"a":{}},"j":{"a":1.5},"k":-1.0,"n":-0.0,"nn":null,
            "no":false,"outputs":{"out":"/s/x"},"v":[],"w":{},"x":"","yes":true,"1x":1,"_u":1,"\u00e9":2}"#;
        let Json::Object(members) = Json::parse(json).unwrap() else { panic!("no object") };
        let expected = "declare -a A1_=('' )\ndeclare PATH='/bin'\ndeclare Z=1\ndeclare _u=1\ndeclare b=10000000000\n\
            declare c=-3\ndeclare d=9223372036854775807\ndeclare -a f=(1 2 1  '' 'a\nb' )\n\
            declare -A g=(['a-b']=1 ['f']= ['fl']=1 ['it'\\''s']='it'\\''s' ['n']='' ['t']=1 )\ndeclare k=-1\n\
            declare n=0\ndeclare nn=''\ndeclare no=\ndeclare -A outputs=(['out']='/s/x' )\ndeclare -a v=()\n\
            declare -A w=()\ndeclare x=''\ndeclare yes=1\n";
        assert_eq!(String::from_utf8(script(&members)).unwrap(), expected);
    }
}
