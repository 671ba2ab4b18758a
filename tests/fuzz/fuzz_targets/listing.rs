//! Listings of archives in binary caches: what is read is told as an archive
//! would be, and written again it is the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nival::nar::listing::Listing;
use nival::nar::writer::NarWriter;
use nival::nar::{Contents, NarError, Sink};
use nival::store::binary_cache::listing::{ListingText, StoredListing};

/// The size of the archive that a listing is of.
struct Size(NarWriter<Count>);

struct Count(u64);

impl nival::nar::writer::Output for Count {
    fn write(&mut self, data: &[u8]) -> Result<(), NarError> {
        self.0 = self.0.saturating_add(data.len() as u64);
        Ok(())
    }

    fn contents(&mut self, contents: &mut dyn Contents) -> Result<(), NarError> {
        self.0 = self.0.saturating_add(contents.remaining());
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    // The first eight bytes are the size that the archive is said to have; where
    // that cannot be, the listing's own is tried.
    let Some((size, text)) = data.split_first_chunk() else { return };
    let said = u64::from_le_bytes(*size);
    let listing = match StoredListing::parse(text.to_vec(), said) {
        Ok(listing) => listing,
        Err(error) => {
            let own = error.to_string();
            let own = own.rsplit(" of ").next().and_then(|end| end.strip_suffix(" bytes"));
            let Some(own) = own.and_then(|own| own.parse().ok()) else { return };
            StoredListing::parse(text.to_vec(), own).expect("it has this size")
        }
    };
    let write = |listing: &StoredListing| {
        let mut text = ListingText::new(Vec::new()).expect("memory does not fail");
        let mut told = Listing::of_archive(&mut text, Vec::new(), usize::MAX).expect("so here");
        listing.tell(&mut told).expect("it was told before");
        let size = told.position();
        let (text, _) = text.finish().expect("memory does not fail");
        (text.expect("all of it is UTF-8"), size)
    };
    let (once, size) = write(&listing);
    let mut counted = Size(NarWriter::new(Count(0)).expect("counting does not fail"));
    let again = StoredListing::parse(once.clone(), size).expect("what was written is read");
    assert_eq!(write(&again), (once, size));
    again.tell(&mut counted.0 as &mut dyn Sink).expect("counting does not fail");
    assert_eq!(counted.0.output().0, size);
});
