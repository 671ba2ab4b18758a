//! Listings of archives, and the build ids in them.
//!
//! ```text
//! listing   = {"root":NODE,"version":1}
//! NODE      = {"entries":{NAME:NODE,…},"type":"directory"}
//!           | {["executable":true,]"narOffset":N,"size":N,"type":"regular"}
//!           | {"target":TARGET,"type":"symlink"}
//! build ids = lib/debug/.build-id/XX/YYYY….debug: XX and 38 more hexadecimal digits
//! ```

use std::ffi::CStr;

use serde_json::Value;

use crate::nar::NarError;
use crate::nar::listing::{Node, Visitor};

/// The directory of debug information.
const BUILD_IDS: [&str; 3] = ["lib", "debug", ".build-id"];
/// Hexadecimal digits in a file's name.
const DIGITS: usize = 38;

/// Writes a listing while an archive is written.
#[derive(Default)]
pub struct ListingText {
    text: String,
    /// Names of the directories one stands in, without the root's.
    place: Vec<String>,
    depth: usize,
    first: bool,
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

impl ListingText {
    /// The listing, and the build ids that were seen.
    pub fn finish(self) -> (String, Vec<BuildId>) {
        (format!("{{\"root\":{},\"version\":1}}", self.text), self.build_ids)
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

impl Visitor for ListingText {
    fn node(&mut self, name: &CStr, node: Node<'_>) -> Result<(), NarError> {
        let name = name.to_string_lossy();
        if self.depth > 0 {
            if !self.first {
                self.text.push(',');
            }
            self.text.push_str(&Value::from(&*name).to_string());
            self.text.push(':');
        }
        self.first = false;
        match node {
            Node::Directory => {
                self.text.push_str("{\"entries\":{");
                if self.depth > 0 {
                    self.place.push(name.into_owned());
                }
                self.depth += 1;
                self.first = true;
            }
            Node::Regular { executable, size, offset } => {
                let executable = if executable { "\"executable\":true," } else { "" };
                let offset = offset.unwrap_or(0);
                self.text.push_str(&format!(
                    "{{{executable}\"narOffset\":{offset},\"size\":{size},\"type\":\"regular\"}}"
                ));
                self.note_build_id(&name);
            }
            Node::Symlink(target) => {
                let target = Value::from(&*target.to_string_lossy());
                self.text.push_str(&format!("{{\"target\":{target},\"type\":\"symlink\"}}"));
            }
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<(), NarError> {
        self.text.push_str("},\"type\":\"directory\"}");
        self.depth -= 1;
        self.place.pop();
        self.first = false;
        Ok(())
    }
}
