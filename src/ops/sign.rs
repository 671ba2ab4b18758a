//! Signing paths of any store.

use super::selected::Selected;
use crate::model::signature::SecretKey;
use crate::store::error::Result;
use crate::sys::interrupt;

/// Paths whose signatures are written together.
const BATCH: usize = 512;

/// Signs the selected paths with `key`, and gives the number of signatures that were
/// added: a path that is signed by the key already gets none.
///
/// # Errors
/// [`crate::store::StoreError`]; signatures that were written by then stay.
pub fn sign(selected: &Selected<'_>, key: &SecretKey) -> Result<u64> {
    let store = selected.store();
    let mut added = 0;
    for nodes in selected.order.chunks(BATCH) {
        let mut signed = Vec::new();
        for node in nodes {
            interrupt::check()?;
            let mut item = selected.item(*node)?.into_owned();
            let signature = key.sign(item.info.fingerprint(store.dir()).as_bytes());
            if item.info.signatures.insert(signature) {
                signed.push(item);
            }
        }
        if !signed.is_empty() {
            store.add_signatures(&signed)?;
            added += signed.len() as u64;
        }
    }
    Ok(added)
}
