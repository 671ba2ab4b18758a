//! Listings of archives, and the build ids in them.
//!
//! ```text
//! listing   = {"root":NODE,"version":1}
//! NODE      = {"entries":{NAME:NODE,…},"type":"directory"}
//!           | {["executable":true,]"narOffset":N,"size":N,"type":"regular"}
//!           | {"target":TARGET,"type":"symlink"}
//! build ids = lib/debug/.build-id/XX/YYYY….debug: XX and 38 more hexadecimal digits
//! ```
//!
//! Names are those of the archive, in its order. JSON holds no other text than
//! UTF-8, so that an archive with other names or targets has no listing.

use std::ffi::CStr;
use std::io::Write;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor as JsonVisitor};
use serde_json::Value;

use crate::nar::listing::{Listing, Node, Visitor};
use crate::nar::reader::{checked_name, checked_target};
use crate::nar::{Contents, NarError, Sink};

/// The directory of debug information.
const BUILD_IDS: [&str; 3] = ["lib", "debug", ".build-id"];
/// Hexadecimal digits in a file's name.
const DIGITS: usize = 38;

/// Longest listing that is read; the archive tells the same.
pub const MAX_LEN: u64 = 16 << 20;

/// Writes a listing while an archive is written.
pub struct ListingText<W> {
    text: W,
    /// Names of the directories one stands in, without the root's.
    place: Vec<String>,
    depth: usize,
    first: bool,
    /// Whether JSON can say everything.
    complete: bool,
    build_ids: Vec<BuildId>,
}

/// Debug information in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildId {
    /// 40 hexadecimal digits.
    pub id: String,
    /// The path of the file within the archive.
    pub member: String,
}

impl<W: Write> ListingText<W> {
    /// Begins a listing.
    ///
    /// # Errors
    /// Errors of the output.
    pub fn new(mut text: W) -> std::io::Result<Self> {
        text.write_all(b"{\"root\":")?;
        let (place, build_ids) = (Vec::new(), Vec::new());
        Ok(Self { text, place, depth: 0, first: true, complete: true, build_ids })
    }

    /// The listing, if the archive can have one, and the build ids that were seen.
    ///
    /// # Errors
    /// Errors of the output.
    pub fn finish(mut self) -> std::io::Result<(Option<W>, Vec<BuildId>)> {
        self.text.write_all(b",\"version\":1}")?;
        Ok((self.complete.then_some(self.text), self.build_ids))
    }

    fn string(&mut self, text: &CStr) -> Value {
        let text = text.to_string_lossy();
        self.complete &= matches!(text, std::borrow::Cow::Borrowed(_));
        Value::from(&*text)
    }

    fn note_build_id(&mut self, name: &str) {
        let [places @ .., prefix] = self.place.as_slice() else { return };
        let hex = |text: &str, len| text.len() == len && text.bytes().all(|b| b.is_ascii_hexdigit());
        if let Some(rest) = name.strip_suffix(".debug")
            && places == BUILD_IDS
            && hex(prefix, 2)
            && hex(rest, DIGITS)
        {
            let member = format!("{}/{name}", self.place.join("/"));
            self.build_ids.push(BuildId { id: format!("{prefix}{rest}"), member });
        }
    }
}

impl<W: Write> Visitor for ListingText<W> {
    fn node(&mut self, name: &CStr, node: Node<'_>) -> Result<(), NarError> {
        if self.depth > 0 {
            let comma = if self.first { "" } else { "," };
            let name = self.string(name);
            write!(self.text, "{comma}{name}:").map_err(NarError::writing)?;
        }
        self.first = false;
        let name = name.to_string_lossy();
        match node {
            Node::Directory => {
                if self.depth > 0 {
                    self.place.push(name.into_owned());
                }
                self.depth += 1;
                self.first = true;
                self.text.write_all(b"{\"entries\":{")
            }
            Node::Regular { executable, size, offset } => {
                self.note_build_id(&name);
                let executable = if executable { "\"executable\":true," } else { "" };
                let offset = offset.unwrap_or(0);
                write!(
                    self.text,
                    "{{{executable}\"narOffset\":{offset},\"size\":{size},\"type\":\"regular\"}}"
                )
            }
            Node::Symlink(target) => {
                let target = self.string(target);
                write!(self.text, "{{\"target\":{target},\"type\":\"symlink\"}}")
            }
        }
        .map_err(NarError::writing)
    }

    fn leave(&mut self) -> Result<(), NarError> {
        self.depth -= 1;
        self.place.pop();
        self.first = false;
        self.text.write_all(b"},\"type\":\"directory\"}").map_err(NarError::writing)
    }
}

/// The root's node in a listing that [`ListingText`] wrote.
pub(super) fn root_node(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"{\"root\":")?.strip_suffix(b",\"version\":1}")
}

/// A listing that was read and can be of the archive it is said to be of.
pub struct StoredListing(Vec<u8>);

impl StoredListing {
    /// Looks at a listing of an archive of `nar_size` bytes. The size follows
    /// from what is listed, up to the contents of files.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: Vec<u8>, nar_size: u64) -> Result<Self, NarError> {
        let mut nobody = Nobody;
        let mut listing = Listing::of_archive(&mut nobody, Vec::new(), usize::MAX)?;
        tell(&text, &mut listing)?;
        match listing.position() {
            size if size == nar_size => Ok(Self(text)),
            size => Err(NarError::bad(format!("the listing is of an archive of {size} bytes"))),
        }
    }

    /// Tells a sink what is listed, without the contents of files.
    ///
    /// # Errors
    /// Errors of the sink.
    pub fn tell(&self, sink: &mut dyn Sink) -> Result<(), NarError> {
        tell(&self.0, sink)
    }
}

/// Nobody is told.
struct Nobody;

impl Visitor for Nobody {
    fn node(&mut self, _name: &CStr, _node: Node<'_>) -> Result<(), NarError> {
        Ok(())
    }

    fn leave(&mut self) -> Result<(), NarError> {
        Ok(())
    }
}

fn tell(text: &[u8], sink: &mut dyn Sink) -> Result<(), NarError> {
    let mut failed = None;
    let mut json = serde_json::Deserializer::from_slice(text);
    let told = Whole(Teller { sink, failed: &mut failed }).deserialize(&mut json).and_then(|()| json.end());
    match (failed, told) {
        (Some(error), _) => Err(error),
        (None, told) => told.map_err(|error| NarError::bad(format!("bad listing: {error}"))),
    }
}

/// Whom to tell, and what went wrong there: the reader of JSON has errors of its
/// own only.
struct Teller<'t> {
    sink: &'t mut dyn Sink,
    failed: &'t mut Option<NarError>,
}

impl Teller<'_> {
    fn again(&mut self) -> Teller<'_> {
        Teller { sink: self.sink, failed: self.failed }
    }

    fn told<T, E: de::Error>(&mut self, result: Result<T, NarError>) -> Result<T, E> {
        result.map_err(|error| {
            let short = E::custom("the listing is not used");
            self.failed.get_or_insert(error);
            short
        })
    }
}

/// `{"root":NODE,"version":1}`
struct Whole<'t>(Teller<'t>);
/// `NODE`
struct OneNode<'t>(Teller<'t>);
/// `{NAME:NODE,…}`
struct Entries<'t>(Teller<'t>);

/// Reads an object.
macro_rules! object {
    ($name:ident) => {
        impl<'de> DeserializeSeed<'de> for $name<'_> {
            type Value = ();

            fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
                json.deserialize_map(self)
            }
        }
    };
}

object!(Whole);
object!(OneNode);
object!(Entries);

impl<'de> JsonVisitor<'de> for Whole<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a listing")
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut map: M) -> Result<(), M::Error> {
        let (mut root, mut version) = (false, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "root" if !root => {
                    root = true;
                    map.next_value_seed(OneNode(self.0.again()))?;
                }
                "root" => return Err(de::Error::duplicate_field("root")),
                "version" => version = Some(map.next_value::<u64>()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match (root, version) {
            (true, Some(1)) => Ok(()),
            (false, _) => Err(de::Error::missing_field("root")),
            (true, _) => Err(de::Error::custom("not version 1")),
        }
    }
}

impl<'de> JsonVisitor<'de> for OneNode<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a node of a listing")
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut map: M) -> Result<(), M::Error> {
        let (mut kind, mut entries, mut executable) = (None, false, false);
        let (mut size, mut target) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "type" => kind = Some(map.next_value::<String>()?),
                "entries" if !entries => {
                    entries = true;
                    let entered = self.0.sink.enter_directory();
                    self.0.told(entered)?;
                    map.next_value_seed(Entries(self.0.again()))?;
                }
                "entries" => return Err(de::Error::duplicate_field("entries")),
                "executable" => executable = map.next_value()?,
                "size" => size = Some(map.next_value::<u64>()?),
                "target" => target = Some(map.next_value::<String>()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let told = match (kind.as_deref(), entries, size, target) {
            (Some("directory"), true, None, None) => self.0.sink.leave_directory(),
            (Some("regular"), false, Some(size), None) => {
                self.0.sink.regular(executable, &mut Announced(size))
            }
            (Some("symlink"), false, None, Some(target)) => {
                checked_target(target.as_bytes()).and_then(|target| self.0.sink.symlink(&target))
            }
            _ => return Err(de::Error::custom("a node of no known type")),
        };
        self.0.told(told)
    }
}

impl<'de> JsonVisitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the entries of a directory")
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut map: M) -> Result<(), M::Error> {
        let mut previous = None;
        while let Some(key) = map.next_key::<String>()? {
            // Stands for what JSON could not say.
            if key.contains('\u{fffd}') {
                return Err(de::Error::custom("a name that is not UTF-8"));
            }
            let name = checked_name(key.as_bytes());
            let name = self.0.told(name)?;
            if previous.as_ref().is_some_and(|previous| *previous >= name) {
                return Err(de::Error::custom("entries that are not sorted"));
            }
            let told = self.0.sink.entry(&name);
            self.0.told(told)?;
            previous = Some(name);
            map.next_value_seed(OneNode(self.0.again()))?;
        }
        Ok(())
    }
}

/// Contents of which only the size is known.
struct Announced(u64);

impl Contents for Announced {
    fn remaining(&self) -> u64 {
        self.0
    }

    fn read(&mut self, _buffer: &mut [u8]) -> Result<usize, NarError> {
        Err(NarError::bad("a listing has no contents"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The listing that a listing is of, and the size of its archive.
    fn again(text: &str) -> Result<(String, u64), NarError> {
        let mut written = ListingText::new(Vec::new()).unwrap();
        let mut listing = Listing::of_archive(&mut written, Vec::new(), usize::MAX)?;
        tell(text.as_bytes(), &mut listing)?;
        let size = listing.position();
        Ok((String::from_utf8(written.finish().unwrap().0.unwrap()).unwrap(), size))
    }

    const TREE: &str = concat!(
        r#"{"root":{"entries":{"a":{"executable":true,"narOffset":400,"size":72,"type":"regular"},"#,
        r#""b":{"entries":{},"type":"directory"},"ö":{"target":"../x","type":"symlink"}},"#,
        r#""type":"directory"},"version":1}"#
    );

    #[test]
    fn what_is_written_is_read() {
        let (text, size) = again(TREE).unwrap();
        // Offsets follow from the rest.
        assert_eq!(text, TREE.replace("400", "264"));
        assert!(StoredListing::parse(text.clone().into_bytes(), size).is_ok());
        assert!(StoredListing::parse(text.into_bytes(), size + 8).is_err());
        let file = r#"{"root":{"narOffset":96,"size":5,"type":"regular"},"version":1}"#;
        assert_eq!(again(file).unwrap(), (file.to_owned(), 120));
        // As others may write it.
        let spaced = r#" { "version" : 1 , "more":[{}], "root":{"type":"symlink","target":"t","x":null}} "#;
        assert_eq!(again(spaced).unwrap().0, r#"{"root":{"target":"t","type":"symlink"},"version":1}"#);
    }

    #[test]
    fn what_no_archive_has_is_refused() {
        for (from, to) in [
            ("version\":1", "version\":2"),
            (",\"version\":1", ""),
            ("\"b\":", "\"a\":"),
            ("\"b\":", "\"..\":"),
            ("\"b\":", "\"b/c\":"),
            ("\"b\":", "\"b\\u0000\":"),
            ("\"b\":", "\"b\u{fffd}\":"),
            ("\"ö\":", "\"aa\":"),
            ("../x", ""),
            ("\"size\":72", "\"size\":-1"),
            ("\"size\":72", "\"size\":18446744073709551616"),
            ("\"size\":72,", ""),
            ("\"type\":\"symlink\"", "\"type\":\"regular\""),
            ("\"type\":\"symlink\"", "\"type\":\"fifo\""),
            ("\"entries\":{}", "\"entries\":{},\"entries\":{}"),
            ("\"root\":", "\"root\":{\"target\":\"t\",\"type\":\"symlink\"},\"root\":"),
            ("}}", "}"),
        ] {
            assert!(TREE.contains(from), "{from}");
            assert!(again(&TREE.replacen(from, to, 1)).is_err(), "{from} {to}");
        }
        assert!(again(&format!("{TREE}{{")).is_err());
        assert!(again(&r#"{"root":{"entries":{"a":"#.repeat(100_000)).is_err());
        // Sizes that no archive has are not added up past the end.
        let huge = TREE.replace("\"size\":72", "\"size\":18446744073709551615");
        assert!(StoredListing::parse(huge.into_bytes(), 0).is_err());
    }

    #[test]
    fn names_that_json_cannot_hold() {
        let mut text = ListingText::new(Vec::new()).unwrap();
        text.node(c"", Node::Directory).unwrap();
        text.node(c"caf\xe9", Node::Symlink(c"x")).unwrap();
        text.leave().unwrap();
        assert_eq!(text.finish().unwrap(), (None, Vec::new()));
    }
}
