//! The JSON of `nix path-info`.
//!
//! ```text
//! format 1   { PATH: entry | null, … }
//! format 2   { "info": { BASENAME: entry | null, … }, "storeDir": DIR, "version": 2 }
//! entry      ca, [closureSize], deriver, narHash, narSize, references, registrationTime,
//!            signatures, storeDir, ultimate, version
//! ```
//!
//! Format 2 has base names and a content address of parts where format 1 has
//! full paths and the address as a text. Keys are sorted. Paths of binary caches
//! have closureDownloadSize, compression, downloadHash, downloadSize and url too.

use std::collections::BTreeSet;

use nival::model::{ContentAddress, ContentAddressMethod, HashFormat, StoreDir};
use nival::ops::path_info::Row;
use nival::store::StoreError;
use nival::store::api::RawPath;

use crate::cli::output::json::Json;

/// The versions of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Full paths.
    One = 1,
    /// Base names.
    Two = 2,
}

/// Writes entries, which come sorted by name.
pub struct InfoWriter<'d> {
    json: Json,
    dir: &'d StoreDir,
    format: Format,
}

impl<'d> InfoWriter<'d> {
    /// Begins.
    pub fn new(mut json: Json, dir: &'d StoreDir, format: Format) -> anyhow::Result<Self> {
        json.object()?;
        if format == Format::Two {
            json.key("info")?;
            json.object()?;
        }
        Ok(Self { json, dir, format })
    }

    /// Ends.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.json.end_object()?;
        if self.format == Format::Two {
            self.json.key("storeDir")?;
            self.json.string(self.dir.as_str())?;
            self.json.key("version")?;
            self.json.bare(2)?;
            self.json.end_object()?;
        }
        self.json.finish()
    }

    fn name(&mut self, base_name: &str) -> anyhow::Result<()> {
        match self.format {
            Format::One => self.json.key_of(&[self.dir.as_str(), "/", base_name]),
            Format::Two => self.json.key(base_name),
        }
    }

    fn path(&mut self, base_name: &str) -> anyhow::Result<()> {
        match self.format {
            Format::One => self.json.string_of(&[self.dir.as_str(), "/", base_name]),
            Format::Two => self.json.string(base_name),
        }
    }

    /// A path that is not valid.
    pub fn missing(&mut self, base_name: &str) -> anyhow::Result<()> {
        self.name(base_name)?;
        self.json.bare("null")
    }

    /// A valid path; the base names of its references are sorted.
    pub fn entry(&mut self, row: &Row<'_>, references: &mut dyn Iterator<Item = &str>) -> anyhow::Result<()> {
        let Row { base_name, raw, file, closure } = *row;
        self.name(base_name)?;
        self.json.object()?;
        self.json.key("ca")?;
        self.content_address(raw)?;
        if let Some(sizes) = closure {
            if file.is_some() {
                self.json.key("closureDownloadSize")?;
                self.json.bare(sizes.download)?;
            }
            self.json.key("closureSize")?;
            self.json.bare(sizes.unpacked)?;
        }
        if let Some(file) = file {
            self.json.key("compression")?;
            self.json.string(&file.compression)?;
        }
        self.json.key("deriver")?;
        match raw.deriver.as_deref().and_then(|deriver| deriver.rsplit('/').next()) {
            None | Some("") => self.json.bare("null")?,
            Some(deriver) => self.path(deriver)?,
        }
        if let Some(file) = file {
            self.json.key("downloadHash")?;
            match &file.hash {
                Some(hash) => self.json.string(&hash.digits(HashFormat::Sri))?,
                None => self.json.bare("null")?,
            }
            self.json.key("downloadSize")?;
            match file.size {
                Some(size) => self.json.bare(size)?,
                None => self.json.bare("null")?,
            }
        }
        self.json.key("narHash")?;
        self.json.string(&raw.nar_hash()?.digits(HashFormat::Sri))?;
        self.json.key("narSize")?;
        self.json.bare(raw.nar_size)?;
        self.json.key("references")?;
        self.json.array()?;
        for reference in references {
            self.path(reference)?;
        }
        self.json.end_array()?;
        self.json.key("registrationTime")?;
        match raw.registration_time {
            0 => self.json.bare("null")?,
            time => self.json.bare(time)?,
        }
        self.signatures(raw)?;
        self.json.key("storeDir")?;
        self.json.string(self.dir.as_str())?;
        self.json.key("ultimate")?;
        self.json.bare(raw.ultimate)?;
        if let Some(file) = file {
            self.json.key("url")?;
            self.json.string(&file.url)?;
        }
        self.json.key("version")?;
        self.json.bare(self.format as u8)?;
        self.json.end_object()
    }

    fn content_address(&mut self, raw: &RawPath) -> anyhow::Result<()> {
        let Some(text) = raw.ca.as_deref().filter(|ca| !ca.is_empty()) else {
            return self.json.bare("null");
        };
        let ca = text
            .parse::<ContentAddress>()
            .map_err(|error| StoreError::Row { path: raw.path.clone(), message: error.to_string() })?;
        if self.format == Format::One {
            return self.json.string(&ca.to_string());
        }
        self.json.object()?;
        self.json.key("hash")?;
        self.json.string(&ca.hash.digits(HashFormat::Sri))?;
        self.json.key("method")?;
        self.json.string(method_name(ca.method))?;
        self.json.end_object()
    }

    fn signatures(&mut self, raw: &RawPath) -> anyhow::Result<()> {
        self.json.key("signatures")?;
        self.json.array()?;
        let signatures = raw.signatures.as_deref().unwrap_or_default();
        let signatures: BTreeSet<&str> = signatures.split_ascii_whitespace().collect();
        for signature in signatures {
            self.json.string(signature)?;
        }
        self.json.end_array()
    }
}

/// A method as JSON and flags name it.
pub fn method_name(method: ContentAddressMethod) -> &'static str {
    match method {
        ContentAddressMethod::Text => "text",
        ContentAddressMethod::Flat => "flat",
        ContentAddressMethod::NixArchive => "nar",
        ContentAddressMethod::Git => "git",
    }
}
