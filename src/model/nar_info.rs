//! What a binary cache says of a path (`.narinfo`).
//!
//! ```text
//! file  = { KEY ": " VALUE "\n" }
//! ```
//!
//! | key | value | |
//! |---|---|---|
//! | StorePath | full path | required |
//! | URL | of the archive, relative to the cache | required |
//! | Compression | its compression; absent means bzip2 | |
//! | FileHash, FileSize | of the archive as it is stored | |
//! | NarHash, NarSize | of the archive itself | required |
//! | References | base names, blank-separated | |
//! | Deriver | base name, or `unknown-deriver` | |
//! | Sig | a signature over the fingerprint; any number of them; what is none is passed over | |
//! | CA | content address | |
//!
//! Unknown keys are passed over; of a key that comes twice the last counts.
//! Texts over [`MAX_LEN`] bytes are refused.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::content_address::ContentAddress;
use super::hash::Hash;
use super::path_info::ValidPathInfo;
use super::signature;
use super::store_path::{StoreDir, StorePath};

/// Longest text that is read, in bytes.
pub const MAX_LEN: u64 = 4 << 20;
/// Longest URL of an archive.
const MAX_URL: usize = 4096;
/// Longest name of a compression.
const MAX_NAME: usize = 64;
/// Longest signature that may be one: they have some hundred bytes.
const MAX_SIGNATURE: usize = 1024;
/// The compression of an archive whose narinfo names none.
const DEFAULT_COMPRESSION: &str = "bzip2";

/// The archive of a path as a cache stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NarFile {
    /// Relative to the cache.
    pub url: String,
    /// Its name, as in the text.
    pub compression: String,
    /// Hash of the stored bytes.
    pub hash: Option<Hash>,
    /// Stored bytes.
    pub size: Option<u64>,
}

/// A narinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NarInfo {
    /// What is known of the path.
    pub info: ValidPathInfo,
    /// Where its archive is.
    pub file: NarFile,
}

/// Why a text is not a narinfo.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NarInfoError {
    /// A line without a colon.
    #[error("expecting ':' at line {0}")]
    Colon(usize),
    /// The text ends within a line.
    #[error("expecting '\\n' at line {0}")]
    Newline(usize),
    /// A required key.
    #[error("{0} missing")]
    Missing(&'static str),
    /// A value that cannot be.
    #[error("{key} is '{}': {reason}", shown(.value))]
    Value {
        /// The key.
        key: &'static str,
        /// What stands there.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Not text.
    #[error("it is not UTF-8")]
    NotText,
}

/// Text from outside, short enough for a message.
fn shown(text: &str) -> String {
    const MOST: usize = 100;
    shortened(text, MOST).escape_debug().to_string()
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn bad(key: &'static str, value: &str, reason: impl ToString) -> NarInfoError {
    /// Reasons have the value in them, too.
    const MOST: usize = 300;
    let reason = shortened(&reason.to_string(), MOST);
    NarInfoError::Value { key, value: value.to_owned(), reason }
}

impl NarInfo {
    /// Reads a narinfo.
    ///
    /// # Errors
    /// [`NarInfoError`], which names the key.
    pub fn parse(dir: &StoreDir, text: &[u8]) -> Result<Self, NarInfoError> {
        let text = std::str::from_utf8(text).map_err(|_| NarInfoError::NotText)?;
        let mut fields = Fields::default();
        let mut rest = text;
        let mut number = 0;
        while !rest.is_empty() {
            number += 1;
            let (line, after) = rest.split_once('\n').ok_or(NarInfoError::Newline(number))?;
            rest = after;
            let (key, value) = line.split_once(':').ok_or(NarInfoError::Colon(number))?;
            fields.set(dir, key, value.strip_prefix(' ').unwrap_or(value))?;
        }
        fields.finish()
    }

    /// The text, with the keys in their usual order.
    pub fn print(&self, dir: &StoreDir) -> String {
        let Self { info, file } = self;
        let mut text = String::new();
        let mut line = |key: &str, value: &str| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{key}: {value}");
        };
        line("StorePath", &dir.print(&info.path));
        line("URL", &file.url);
        line("Compression", &file.compression);
        if let Some(hash) = &file.hash {
            line("FileHash", &hash.to_string());
        }
        if let Some(size) = file.size {
            line("FileSize", &size.to_string());
        }
        line("NarHash", &info.nar_hash.to_string());
        line("NarSize", &info.nar_size.to_string());
        let references: Vec<&str> = info.references.iter().map(StorePath::base_name).collect();
        line("References", &references.join(" "));
        if let Some(deriver) = &info.deriver {
            line("Deriver", deriver.base_name());
        }
        for signature in &info.signatures {
            line("Sig", signature);
        }
        if let Some(ca) = &info.ca {
            line("CA", &ca.to_string());
        }
        text
    }
}

#[derive(Default)]
struct Fields {
    path: Option<StorePath>,
    url: Option<String>,
    compression: Option<String>,
    file_hash: Option<Hash>,
    file_size: Option<u64>,
    nar_hash: Option<Hash>,
    nar_size: Option<u64>,
    references: BTreeSet<StorePath>,
    deriver: Option<StorePath>,
    signatures: BTreeSet<String>,
    ca: Option<ContentAddress>,
}

impl Fields {
    fn set(&mut self, dir: &StoreDir, key: &str, value: &str) -> Result<(), NarInfoError> {
        let hash = |key| Hash::parse(value, None).map_err(|error| bad(key, value, error));
        let number = |key| value.parse::<u64>().map_err(|error| bad(key, value, error));
        let base_name = |key, name: &str| StorePath::from_base_name(name).map_err(|e| bad(key, name, e));
        match key {
            "StorePath" => {
                self.path = Some(dir.parse(value).map_err(|error| bad("StorePath", value, error))?);
            }
            "URL" if value.len() > MAX_URL => return Err(bad("URL", value, "it is too long")),
            "Compression" if value.len() > MAX_NAME => {
                return Err(bad("Compression", value, "it is too long"));
            }
            "URL" => self.url = Some(value.to_owned()).filter(|url| !url.is_empty()),
            "Compression" => self.compression = Some(value.to_owned()).filter(|name| !name.is_empty()),
            "FileHash" => self.file_hash = Some(hash("FileHash")?),
            "FileSize" => self.file_size = Some(number("FileSize")?),
            "NarHash" => self.nar_hash = Some(hash("NarHash")?),
            "NarSize" => self.nar_size = Some(number("NarSize")?),
            "References" => {
                let names = value.split(' ').filter(|name| !name.is_empty());
                self.references =
                    names.map(|name| base_name("References", name)).collect::<Result<_, _>>()?;
            }
            "Deriver" if value == "unknown-deriver" => self.deriver = None,
            "Deriver" => self.deriver = Some(base_name("Deriver", value)?),
            "Sig" if value.len() <= MAX_SIGNATURE && signature::is_well_formed(value) => {
                self.signatures.insert(value.to_owned());
            }
            // Of a kind that is not known here, or nonsense: it vouches for nothing.
            "Sig" => {}
            "CA" if value.is_empty() => self.ca = None,
            "CA" => self.ca = Some(value.parse().map_err(|error| bad("CA", value, error))?),
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<NarInfo, NarInfoError> {
        let missing = NarInfoError::Missing;
        let mut info = ValidPathInfo::new(
            self.path.ok_or(missing("StorePath"))?,
            self.nar_hash.ok_or(missing("NarHash"))?,
            self.nar_size.filter(|size| *size > 0).ok_or(missing("NarSize"))?,
        );
        info.references = self.references;
        info.deriver = self.deriver;
        info.signatures = self.signatures;
        info.ca = self.ca;
        let file = NarFile {
            url: self.url.ok_or(missing("URL"))?,
            compression: self.compression.unwrap_or_else(|| DEFAULT_COMPRESSION.to_owned()),
            hash: self.file_hash,
            size: self.file_size.filter(|size| *size > 0),
        };
        Ok(NarInfo { info, file })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "\
StorePath: /nix/store/3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-demo-1.0
URL: nar/1343fyf3ryhr3g1h3b1fw1652p71b2kqvcnbry2xybfbjiqhh81j.nar.xz
Compression: xz
FileHash: sha256:1343fyf3ryhr3g1h3b1fw1652p71b2kqvcnbry2xybfbjiqhh81j
FileSize: 180
NarHash: sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73
NarSize: 176
References: 3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-demo-1.0 qa1w9gdfrba6jl2r57mb3c43863gqywp-hello.txt
Deriver: qa1w9gdfrba6jl2r57mb3c43863gqywp-demo.drv
Sig: a:AAAA
Sig: b:BBBB
CA: fixed:r:sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73
";

    fn parse(text: &str) -> Result<NarInfo, String> {
        NarInfo::parse(&StoreDir::default(), text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn both_directions() {
        let info = parse(TEXT).unwrap();
        assert_eq!(info.print(&StoreDir::default()), TEXT);
        assert_eq!(info.info.references.len(), 2);
        let bare: String = TEXT
            .lines()
            .filter(|line| ["StorePath", "URL", "NarHash", "NarSize"].iter().any(|key| line.starts_with(key)))
            .map(|line| format!("{line}\nUnknown: x\n"))
            .collect();
        let bare = parse(&bare).unwrap();
        assert_eq!(bare.file.compression, "bzip2");
        assert!(bare.print(&StoreDir::default()).contains("References: \n"));
    }

    #[test]
    fn every_field_is_checked_and_named() {
        let change = |key: &str, line: &str| {
            let lines = TEXT.lines().map(|old| match old.starts_with(&format!("{key}:")) {
                true => line.to_owned(),
                false => format!("{old}\n"),
            });
            parse(&lines.collect::<String>()).unwrap_err()
        };
        for key in ["StorePath", "URL", "NarHash", "NarSize"] {
            assert_eq!(change(key, ""), format!("{key} missing"));
        }
        for (key, value) in [
            ("StorePath", "/other/3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-demo"),
            ("StorePath", "/nix/store/../3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-demo"),
            ("FileHash", "sha256:zz"),
            ("FileSize", "-1"),
            ("NarHash", "md5:"),
            ("NarSize", "18446744073709551616"),
            ("References", "../../etc/passwd"),
            ("References", "/nix/store/3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-demo-1.0"),
            ("Deriver", "x"),
            ("CA", "fixed:r:sha256:x"),
        ] {
            let error = change(key, &format!("{key}: {value}\n"));
            assert!(error.starts_with(&format!("{key} is '{value}': ")), "{error}");
        }
        for odd in ["nocolon", "other-1:notbase64!", "other-1:ed448:AAAA", "a b:AAAA", ""] {
            let info = parse(&TEXT.replace("a:AAAA", odd)).unwrap();
            assert_eq!(info.info.signatures, ["b:BBBB".to_owned()].into());
        }
        assert_eq!(change("NarSize", "NarSize: 0\n"), "NarSize missing");
        assert_eq!(parse("x\n").unwrap_err(), "expecting ':' at line 1");
        assert_eq!(parse(TEXT.trim_end()).unwrap_err(), "expecting '\\n' at line 12");
    }

    proptest! {
        #[test]
        fn what_is_read_is_printed_the_same(cut in 0..TEXT.len(), junk in any::<Vec<u8>>()) {
            let text = [&TEXT.as_bytes()[..cut], &junk, &TEXT.as_bytes()[cut..]].concat();
            if let Ok(info) = NarInfo::parse(&StoreDir::default(), &text) {
                let printed = info.print(&StoreDir::default());
                prop_assert_eq!(NarInfo::parse(&StoreDir::default(), printed.as_bytes()), Ok(info));
            }
        }
    }
}
