//! What an evaluation told the user and saw of the world, for evaluations after it.

use std::sync::atomic::Ordering;

use super::seen::{Said, Seen};
use super::world::{Asked, lock};

impl Asked {
    /// Tells the user something that belongs to the evaluation.
    pub fn say(&self, said: Said) {
        if self.notes.is_some() || self.options.in_parts {
            lock(&self.said).push(said.clone());
        }
        let mut before = lock(&self.told_before);
        match before.iter().position(|other| *other == said) {
            Some(at) => drop(before.remove(at)),
            None => said.tell(&*self.progress),
        }
    }

    /// What the evaluation told the user up to now, if it is noted or done in parts.
    pub fn said(&self) -> Vec<Said> {
        lock(&self.said).clone()
    }

    /// Whether it is noted what the evaluation sees.
    pub fn is_noted(&self) -> bool {
        self.notes.is_some()
    }

    /// Whether another evaluation would find the same: this one has not asked for the time, or for what can be fetched
    /// or built only.
    pub fn is_repeatable(&self) -> bool {
        !self.is_single.load(Ordering::Relaxed)
    }

    /// Something is done that another evaluation would find different.
    pub(super) fn do_once(&self) {
        self.is_single.store(true, Ordering::Relaxed);
    }

    /// What the evaluation saw up to now.
    ///
    /// # Errors
    /// Why what it found cannot be remembered.
    pub fn seen(&self) -> Result<Seen, String> {
        match &self.notes {
            Some(notes) => Ok(Seen { sights: notes.sights()?, said: self.said() }),
            None => Err("not everything may be read".to_owned()),
        }
    }
}
