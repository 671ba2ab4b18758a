//! User names and passwords for servers, as `curl` and `ftp` keep them.
//!
//! ```text
//! file  = { entry }
//! entry = ("machine" NAME | "default") { "login" WORD | "password" WORD | "account" WORD }
//! ```
//!
//! Words are separated by blanks or newlines, and may stand in double quotes;
//! `#` at the start of a word begins a comment to the end of the line. A
//! `macdef` ends at the next empty line and is passed over.

/// The name and password for a host; the first entry that fits counts.
pub fn lookup(text: &str, host: &str) -> Option<(String, String)> {
    let mut words = Words { rest: text };
    let mut fits = false;
    let (mut login, mut password) = (None, None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "machine" | "default" => {
                if fits {
                    break;
                }
                (login, password) = (None, None);
                fits = word == "default" || words.next().is_some_and(|name| name.eq_ignore_ascii_case(host));
            }
            "login" => login = words.next(),
            "password" => password = words.next(),
            "account" => drop(words.next()),
            "macdef" => words.skip_macro(),
            _ => {}
        }
    }
    if !fits {
        return None;
    }
    Some((login.unwrap_or_default(), password?))
}

struct Words<'t> {
    rest: &'t str,
}

impl Words<'_> {
    fn next(&mut self) -> Option<String> {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.starts_with('#') {
                break;
            }
            self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
        }
        if let Some(quoted) = self.rest.strip_prefix('"') {
            let mut word = String::new();
            let mut characters = quoted.char_indices();
            while let Some((at, character)) = characters.next() {
                match character {
                    '"' => {
                        self.rest = &quoted[at + 1..];
                        return Some(word);
                    }
                    '\\' => word.extend(characters.next().map(|(_, next)| next)),
                    other => word.push(other),
                }
            }
            self.rest = "";
            return Some(word);
        }
        let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then(|| word.to_owned())
    }

    fn skip_macro(&mut self) {
        self.rest = self.rest.split_once("\n\n").map_or("", |(_, rest)| rest);
    }
}

#[cfg(test)]
mod tests {
    use super::lookup;

    #[test]
    fn entries() {
        let text = "# mine\nmachine a.example login me password secret\nmachine b password \"with \\\" blank\"\n\
                    macdef init\nmachine c password no\n\nmachine a.example login x password y\n\
                    default login anonymous password guest";
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(lookup(text, "A.example"), pair("me", "secret"));
        assert_eq!(lookup(text, "b"), pair("", "with \" blank"));
        assert_eq!(lookup(text, "c"), pair("anonymous", "guest"));
        assert_eq!(lookup("machine a login x", "a"), None);
        assert_eq!(lookup("machine", "a"), None);
        assert_eq!(lookup("machine a password \"open", "a"), pair("", "open"));
    }
}
