//! Storing archives in a cache: hashed, compressed and hashed again on their
//! way into the file that they become.

use std::ffi::CStr;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use super::listing::{BuildId, ListingText};
use super::partial::WORTH_KEEPING;
use super::stage::Stage;
use super::transport::Presence;
use super::transport::{JSON_TYPE, NAR_TYPE};
use super::{BinaryCache, CacheError};
use crate::http::staged::Staged;
use crate::model::{Hash, HashAlgorithm, HashFormat, NarFile, NarInfo, StorePath};
use crate::nar::hashing::HashPipe;
use crate::nar::listing::Listing;
use crate::nar::writer::{NarWriter, Output};
use crate::nar::{Contents, NarError, Sink};
use crate::progress::Progress;
use crate::store::api::{Fill, Item, NarTaker, Taken};
use crate::store::compression::{Compression, Effort, Encoder};
use crate::store::error::{Result, StoreError};
use crate::sys::{interrupt, threads};

/// Archives from this size on are compressed by all cores even if nobody asks.
const LARGE: u64 = 16 << 20;

pub(super) struct Uploader<'c>(pub &'c BinaryCache);

impl NarTaker for Uploader<'_> {
    fn take(&self, item: &Item, fill: Fill<'_>) -> Result<Taken> {
        let cache = self.0;
        let info = &item.info;
        if let Some(file) = cache.stored_before(item)? {
            return cache.uploaded(item, file);
        }
        let started = Instant::now();
        // As many threads as there are cores, over all archives.
        let wanted = if cache.options.parallel || info.nar_size >= LARGE { threads::cores() } else { 1 };
        let permit = cache.cores.acquire_up_to(wanted);
        let archive = cache.archive(item, permit.count(), fill)?;
        drop(permit);
        super::super::error::check_nar(&cache.dir, info, archive.nar_hash, archive.nar_size)?;
        let size = archive.data.len();
        cache.progress.detail(&format!(
            "copying path '{}' ({} bytes, compressed {:.1}% in {} ms) to binary cache",
            cache.dir.display(&info.path),
            archive.nar_size,
            // Shown with one digit.
            (1.0 - size as f64 / archive.nar_size as f64) * 100.0,
            started.elapsed().as_millis()
        ));
        let file = NarFile {
            url: nar_name(&archive.file_hash, cache.options.compression),
            compression: cache.options.compression.name().to_owned(),
            hash: Some(archive.file_hash),
            size: Some(size),
        };
        // One of another size is what is left of something.
        let found = cache.presence(&file.url)?;
        if !matches!(found, Presence::Present(len) if len.is_none_or(|len| len == size)) {
            cache.transport.put(&file.url, NAR_TYPE, archive.data)?;
        }
        if let Some((listing, build_ids)) = archive.listing {
            cache.store_listing(&info.path, &file, listing, &build_ids)?;
        }
        let mut item = item.clone();
        // Old databases do not know it.
        item.info.nar_size = archive.nar_size;
        cache.uploaded(&item, file)
    }

    fn publish(&self, taken: Taken) -> Result<()> {
        match taken.redeem::<NarInfo>() {
            Some(info) => Ok(self.0.store_narinfos(std::slice::from_ref(&*info))?),
            None => Ok(()),
        }
    }
}

pub(super) fn listing_name(path: &StorePath) -> String {
    format!("{}.ls", path.hash_part())
}

fn nar_name(hash: &Hash, compression: Compression) -> String {
    format!("nar/{}.nar{}", hash.digits(HashFormat::Nix32), compression.suffix())
}

/// An archive that is ready to be stored.
struct Archive {
    nar_hash: Hash,
    nar_size: u64,
    file_hash: Hash,
    data: Staged,
    listing: Option<(Option<Staged>, Vec<BuildId>)>,
}

impl BinaryCache {
    /// An uncompressed archive has the name that its hash gives it, so that one
    /// from an earlier try is found before anything is read.
    fn stored_before(&self, item: &Item) -> Result<Option<NarFile>> {
        let info = &item.info;
        if self.options.compression != Compression::None
            || self.options.listing
            || self.options.debug_info
            || info.nar_hash.algorithm() != HashAlgorithm::Sha256
        {
            return Ok(None);
        }
        let url = nar_name(&info.nar_hash, Compression::None);
        let found = self.presence(&url)?;
        Ok((found == Presence::Present(Some(info.nar_size))).then(|| NarFile {
            url,
            compression: Compression::None.name().to_owned(),
            hash: Some(info.nar_hash),
            size: Some(info.nar_size),
        }))
    }

    /// The narinfo of a path whose archive is stored.
    fn uploaded(&self, item: &Item, file: NarFile) -> Result<Taken> {
        let mut info = item.info.clone();
        let fingerprint = info.fingerprint(&self.dir);
        info.signatures.extend(self.options.secret_keys.iter().map(|key| key.sign(fingerprint.as_bytes())));
        Ok(Taken::new(NarInfo { info, file }))
    }

    fn archive(&self, item: &Item, threads: usize, fill: Fill<'_>) -> Result<Archive> {
        let expected = item.info.nar_size;
        let effort =
            Effort { level: self.options.level, threads: u32::try_from(threads).unwrap_or(1), expected };
        let compression = self.options.compression;
        let mut stage = Stage::new(self.transport.staging(), self.transport.gathers() && self.options.sync);
        if expected >= WORTH_KEEPING {
            let hash = item.info.nar_hash.digits(HashFormat::Nix32);
            stage = stage.lasting(format!("{hash}.nar{}", compression.suffix()));
        }
        let hashed = HashedStage {
            hash: (compression != Compression::None).then(|| HashPipe::new(HashAlgorithm::Sha256)),
            stage,
        };
        let failed = |source: io::Error| StoreError::from(CacheError::Option(source.to_string()));
        let output = Pack {
            hash: HashPipe::new(HashAlgorithm::Sha256)
                .watched(Arc::clone(&self.progress) as Arc<dyn Progress>),
            encoder: compression.encoder(effort, hashed).map_err(failed)?,
        };
        let writer = NarWriter::new(output)?;
        let (pack, listing) = if self.options.listing || self.options.debug_info {
            let text = Stage::new(self.transport.staging(), false);
            let mut text = ListingText::new(text).map_err(|error| StoreError::from(written(error)))?;
            let listing = Listing::of_archive(&mut text, Vec::new(), usize::MAX)?;
            let mut both = Both { listing, writer };
            fill(&mut both)?;
            let pack = both.writer.into_output();
            let finish =
                |(text, ids): (Option<Stage<'_>>, _)| Ok((text.map(Stage::finish).transpose()?, ids));
            let finished = text.finish().and_then(finish);
            (pack, Some(finished.map_err(|error| StoreError::from(written(error)))?))
        } else {
            let mut writer = writer;
            fill(&mut writer)?;
            (writer.into_output(), None)
        };
        let Pack { hash, mut encoder } = pack;
        encoder.write_all(hash.rest()).map_err(|error| StoreError::from(written(error)))?;
        let (nar_hash, nar_size) = hash.finish();
        let staged = encoder.finish().map_err(|error| StoreError::from(written(error)))?;
        let file_hash = staged.hash.map_or(nar_hash, |pipe| pipe.finish().0);
        if staged.stage.found() > 0 {
            let path = self.dir.display(&item.info.path);
            let found = staged.stage.found();
            self.progress.detail(&format!("continuing the upload of '{path}' after {found} bytes"));
        }
        let data = staged.stage.finish().map_err(|error| StoreError::from(written(error)))?;
        Ok(Archive { nar_hash, nar_size, file_hash, data, listing })
    }

    fn store_listing(
        &self,
        path: &StorePath,
        file: &NarFile,
        listing: Option<Staged>,
        build_ids: &[BuildId],
    ) -> std::result::Result<(), CacheError> {
        if self.options.listing {
            match listing {
                Some(listing) => {
                    let (name, coding) = (listing_name(path), self.options.listing_coding);
                    let listing = match coding {
                        Compression::None => listing,
                        _ => {
                            let failed = |reason| CacheError::Read { url: self.url(&name), reason };
                            self.encoded(&name, coding, &mut listing.reader(0).map_err(failed)?)?
                        }
                    };
                    self.transport.put_encoded(&name, JSON_TYPE, coding, listing)?;
                }
                None => self.progress.warn(&format!(
                    "'{}' has names that are not UTF-8, and no listing for that reason",
                    self.dir.display(path)
                )),
            }
        }
        if !self.options.debug_info {
            return Ok(());
        }
        for BuildId { id, member } in build_ids {
            // Over what another archive may have left.
            let name = format!("debuginfo/{id}.debug");
            let text = serde_json::json!({"archive": format!("../{}", file.url), "member": member});
            self.transport.put(&name, JSON_TYPE, Staged::Memory(text.to_string().into_bytes()))?;
        }
        Ok(())
    }
}

/// Why an archive could not be written.
fn written(error: io::Error) -> NarError {
    match interrupt::check() {
        Ok(()) => NarError::Write(error),
        Err(interrupted) => interrupted.into(),
    }
}

/// Hashes an archive and compresses it, chunk by chunk: what an archive consists
/// of is a few bytes long where files are small.
struct Pack<'d> {
    hash: HashPipe,
    encoder: Encoder<HashedStage<'d>>,
}

impl Pack<'_> {
    /// Bytes were written to the room of the hash. Whole chunks go on.
    fn took(&mut self, count: usize) -> std::result::Result<(), NarError> {
        if let Some(chunk) = self.hash.full_with(count) {
            self.encoder.write_all(chunk).map_err(written)?;
        }
        self.hash.filled(count);
        Ok(())
    }
}

impl Output for Pack<'_> {
    fn write(&mut self, mut data: &[u8]) -> std::result::Result<(), NarError> {
        while !data.is_empty() {
            let room = self.hash.room();
            let count = room.len().min(data.len());
            room[..count].copy_from_slice(&data[..count]);
            self.took(count)?;
            data = &data[count..];
        }
        Ok(())
    }

    fn contents(&mut self, contents: &mut dyn Contents) -> std::result::Result<(), NarError> {
        while contents.remaining() > 0 {
            interrupt::check()?;
            let count = contents.read(self.hash.room())?;
            self.took(count)?;
        }
        Ok(())
    }
}

/// Hashes what is stored, where that is not the archive itself.
struct HashedStage<'d> {
    hash: Option<HashPipe>,
    stage: Stage<'d>,
}

impl Write for HashedStage<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if let Some(hash) = &mut self.hash {
            hash.update(data);
        }
        self.stage.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lists an archive while it is written.
struct Both<'v, 'd, O: Output> {
    listing: Listing<'v, ListingText<Stage<'d>>>,
    writer: NarWriter<O>,
}

impl<O: Output> Sink for Both<'_, '_, O> {
    fn enter_directory(&mut self) -> std::result::Result<(), NarError> {
        self.listing.enter_directory()?;
        self.writer.enter_directory()
    }

    fn entry(&mut self, name: &CStr) -> std::result::Result<(), NarError> {
        self.listing.entry(name)?;
        self.writer.entry(name)
    }

    fn leave_directory(&mut self) -> std::result::Result<(), NarError> {
        self.listing.leave_directory()?;
        self.writer.leave_directory()
    }

    fn regular(
        &mut self,
        executable: bool,
        contents: &mut dyn Contents,
    ) -> std::result::Result<(), NarError> {
        self.listing.regular(executable, contents)?;
        self.writer.regular(executable, contents)
    }

    fn symlink(&mut self, target: &CStr) -> std::result::Result<(), NarError> {
        self.listing.symlink(target)?;
        self.writer.symlink(target)
    }
}
