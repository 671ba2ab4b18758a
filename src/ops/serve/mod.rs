//! Servers: a local store for the client at the other end of a connection.
//!
//! ```text
//! tunnel   what a client is told while the server works for it
//! worker   the daemon's protocol: requests, and who may make them
//! query    questions
//! add      what is put into the store
//! gc       roots, collection, verification
//! serve_protocol   the protocol of `nix-store --serve`
//! ```

mod add;
mod gc;
mod query;
pub mod serve_protocol;
mod tunnel;
pub mod worker;

use std::io::Read;
use std::sync::Arc;

use super::copy::Trust;
use super::realise::substitute::Substituters;
use crate::build::settings::BuildSettings;
use crate::model::StoreDir;
use crate::progress::Advise;
use crate::store::error::{Result, StoreError};
use crate::store::local::gc::Keep;
pub use crate::store::remote::daemon_store::ClientOptions;
use crate::store::remote::protocol::wire::Reader;

/// The program around a server: its settings.
pub trait Host {
    /// The name of the program's version.
    fn version(&self) -> String;

    /// Takes over what a client wants, as far as it may want it; gives
    /// warnings for the client.
    fn set_options(&mut self, options: &ClientOptions, trusted: bool) -> Vec<String>;

    /// The stores that missing paths may come from.
    fn substituters(&self) -> Substituters;

    /// How derivations are built.
    fn builds(&self) -> Arc<BuildSettings>;

    /// Whose signatures count.
    ///
    /// # Errors
    /// Keys that are none.
    fn trust(&self) -> Result<Trust>;

    /// What keeps paths alive besides references.
    fn keep(&self) -> Keep;

    /// How clients are given advice.
    fn advise(&self) -> Advise {
        |_| String::new()
    }

    /// What a client is told of a failure.
    fn told(&self, error: &StoreError) -> String {
        error.to_string()
    }
}

/// Reads a derivation that is sent to be built, so that what follows is
/// understood; nothing is built yet.
fn read_derivation<R: Read>(reader: &mut Reader<R>, dir: &StoreDir) -> Result<()> {
    /// Longest argument, or value of a variable.
    const MAX_VALUE: usize = 1 << 24;
    reader.path(dir)?;
    // Outputs: name, path, and how they are addressed.
    reader.each(|reader| (0..4).try_for_each(|_| reader.word().map(drop)))?;
    reader.paths(dir)?;
    // The system and the builder.
    reader.word()?;
    reader.word()?;
    reader.each(|reader| reader.bytes(MAX_VALUE).map(drop))?;
    reader.each(|reader| (0..2).try_for_each(|_| reader.bytes(MAX_VALUE).map(drop)))
}
