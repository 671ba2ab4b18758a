//! Derivations are built on other machines, where there are some.
//!
//! ```text
//! mod     is there a machine for a derivation?
//! errand  one build elsewhere: connect, send inputs, order, fetch outputs
//! relay   what is told meanwhile, and when it takes too long
//! ```
//!
//! The reference runs a program of its own for each such build. Here it is a thread.

mod errand;
mod relay;

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

pub use errand::Errand;

use crate::build::machines::{self, Choice, Claim, Machine, Wish};
use crate::build::settings::BuildSettings;
use crate::model::Derivation;
use crate::progress::Progress;
use crate::store::error::{Result, StoreError};
use crate::store::local::LocalStore;

/// How long it is believed that all machines of a kind are at work.
const BUSY: Duration = Duration::from_millis(250);

/// The machines that can be asked, and what is known of them by now.
#[derive(Default)]
pub struct Farm {
    machines: OnceCell<Vec<Machine>>,
    /// Those that did not answer; they are not asked again.
    left_out: RefCell<BTreeSet<String>>,
    /// Since when all machines for a system and features have been at work.
    busy: RefCell<HashMap<(String, BTreeSet<String>), Instant>>,
}

/// What becomes of a derivation that is offered to machines.
pub enum Offer {
    /// A machine has a place for it.
    Taken(Box<Claim>),
    /// All machines that could build it are at work.
    Wait,
    /// There is no such machine.
    None,
}

impl Farm {
    /// Offers a derivation, which asks for `features`, to the machines.
    ///
    /// # Errors
    /// A list of machines that is none, and errors of the locks.
    pub fn offer(
        &self,
        store: &LocalStore,
        builds: &BuildSettings,
        drv: &Derivation,
        features: &BTreeSet<String>,
        progress: &dyn Progress,
    ) -> Result<Offer> {
        if builds.builders.trim().is_empty() {
            return Ok(Offer::None);
        }
        let machines = self.machines(builds, progress)?;
        if machines.is_empty() {
            return Ok(Offer::None);
        }
        let system = String::from_utf8_lossy(&drv.platform);
        let key = (system.clone().into_owned(), features.clone());
        if self.busy.borrow().get(&key).is_some_and(|since| since.elapsed() < BUSY) {
            return Ok(Offer::Wait);
        }
        let wish = wish(&system, features);
        let state_dir = &store.layout().state_dir;
        Ok(match machines::choose(machines, &wish, &self.left_out.borrow(), state_dir)? {
            Choice::Free(claim) => Offer::Taken(claim),
            Choice::Busy => {
                self.busy.borrow_mut().insert(key, Instant::now());
                Offer::Wait
            }
            Choice::NoneFits => Offer::None,
        })
    }

    /// Whether there are machines, as far as one was asked for yet.
    pub fn has_machines(&self) -> bool {
        self.machines.get().is_some_and(|machines| !machines.is_empty())
    }

    /// Takes note that a machine does not answer.
    pub fn leave_out(&self, uri: &str) {
        self.left_out.borrow_mut().insert(uri.to_owned());
    }

    /// Takes note that a place may have become free.
    pub fn look_again(&self) {
        self.busy.borrow_mut().clear();
    }

    /// Why no machine builds a derivation; nothing where there are none.
    pub fn none_fits(
        &self,
        drv: &Derivation,
        base_name: &str,
        features: &BTreeSet<String>,
    ) -> Option<String> {
        let machines = self.machines.get().filter(|machines| !machines.is_empty())?;
        let system = String::from_utf8_lossy(&drv.platform);
        Some(machines::none_fits(machines, &wish(&system, features), base_name))
    }

    fn machines(&self, builds: &BuildSettings, progress: &dyn Progress) -> Result<&Vec<Machine>> {
        if let Some(machines) = self.machines.get() {
            return Ok(machines);
        }
        let machines = machines::parse(&builds.builders, &builds.system, &builds.current_dir)
            .map_err(|error| StoreError::Setting(error.to_string()))?;
        for machine in machines.iter().filter(|machine| machine.jobs == 0) {
            progress.warn(&format!(
                "nothing is built on '{}', because it is to have 0 builds at a time",
                machine.uri
            ));
        }
        Ok(self.machines.get_or_init(|| machines))
    }
}

fn wish<'w>(system: &'w str, features: &'w BTreeSet<String>) -> Wish<'w> {
    Wish { system, is_own: system == "builtin", features }
}
