//! Servers: a local store for whoever is at the other end of a connection.
//!
//! ```text
//! tunnel   what a client is told while the server works for it
//! worker   the daemon's protocol: what is asked, and who may ask it
//! add      what is put into the store
//! shell    the protocol of `nix-store --serve`
//! ```

mod add;
pub mod shell;
mod tunnel;
pub mod worker;

use super::copy::Trust;
use super::substitute::Substituters;
use crate::store::error::Result;
use crate::store::local::gc::Keep;
pub use crate::store::remote::daemon::ClientOptions;

/// The program around a server: its settings.
pub trait Host {
    /// The name of the program's version.
    fn version(&self) -> String;

    /// Takes over what a client wants, as far as it may want it; gives
    /// warnings for the client.
    fn set_options(&mut self, options: &ClientOptions, trusted: bool) -> Vec<String>;

    /// The stores that missing paths may come from.
    fn substituters(&self) -> Substituters;

    /// Whose signatures count.
    ///
    /// # Errors
    /// Keys that are none.
    fn trust(&self) -> Result<Trust>;

    /// What keeps paths alive besides references.
    fn keep(&self) -> Keep;
}
