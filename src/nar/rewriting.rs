//! A sink that tells another one of a tree in which store paths are replaced: in contents, in
//! names and in targets of links.
//!
//! The names of a directory must come in the order that they have afterwards; see
//! [`dump::walk_with`](super::dump::walk_with).

use std::ffi::{CStr, CString};

use super::{Contents, NarError, STEP, Sink};
use crate::model::rewriting::{Rewriter, Rewrites};

/// Such a sink.
pub struct RewritingSink<'s> {
    sink: &'s mut dyn Sink,
    rewrites: &'s Rewrites,
}

impl<'s> RewritingSink<'s> {
    /// Tells `sink`.
    pub fn new(sink: &'s mut dyn Sink, rewrites: &'s Rewrites) -> Self {
        Self { sink, rewrites }
    }

    /// A text with paths replaced; no zero byte comes in.
    fn rewritten(&self, text: &CStr) -> Option<CString> {
        let mut bytes = text.to_bytes().to_vec();
        if self.rewrites.apply(&mut bytes) { CString::new(bytes).ok() } else { None }
    }
}

impl Sink for RewritingSink<'_> {
    fn enter_directory(&mut self) -> Result<(), NarError> {
        self.sink.enter_directory()
    }

    fn entry(&mut self, name: &CStr) -> Result<(), NarError> {
        match self.rewritten(name) {
            Some(name) => self.sink.entry(&name),
            None => self.sink.entry(name),
        }
    }

    fn leave_directory(&mut self) -> Result<(), NarError> {
        self.sink.leave_directory()
    }

    fn regular(&mut self, executable: bool, contents: &mut dyn Contents) -> Result<(), NarError> {
        let mut contents = RewrittenContents {
            remaining: contents.remaining(),
            contents,
            rewriter: Rewriter::new(self.rewrites),
            ready: Vec::new(),
            at: 0,
        };
        self.sink.regular(executable, &mut contents)?;
        // What the sink leaves is read all the same: the caller may hear of it.
        let mut buffer = Vec::new();
        while contents.remaining > 0 {
            crate::sys::interrupt::check()?;
            buffer.resize(STEP, 0);
            contents.read(&mut buffer)?;
        }
        Ok(())
    }

    fn symlink(&mut self, target: &CStr) -> Result<(), NarError> {
        match self.rewritten(target) {
            Some(target) => self.sink.symlink(&target),
            None => self.sink.symlink(target),
        }
    }
}

/// Contents with paths replaced; they are as long as before.
struct RewrittenContents<'c> {
    contents: &'c mut dyn Contents,
    rewriter: Rewriter<'c>,
    /// What was rewritten and not read yet, from `at` on.
    ready: Vec<u8>,
    at: usize,
    remaining: u64,
}

impl RewrittenContents<'_> {
    /// Reads on until something is ready.
    fn fill(&mut self) -> Result<(), NarError> {
        self.ready.clear();
        self.at = 0;
        let mut buffer = vec![0; STEP.min(usize::try_from(self.contents.remaining()).unwrap_or(STEP)).max(1)];
        while self.ready.is_empty() {
            if self.contents.remaining() == 0 {
                self.ready.extend_from_slice(self.rewriter.finish());
                break;
            }
            let count = self.contents.read(&mut buffer)?;
            self.ready.extend_from_slice(self.rewriter.push(&buffer[..count]));
        }
        Ok(())
    }
}

impl Contents for RewrittenContents<'_> {
    fn remaining(&self) -> u64 {
        self.remaining
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, NarError> {
        if buffer.is_empty() || self.remaining == 0 {
            return Ok(0);
        }
        if self.at == self.ready.len() {
            self.fill()?;
        }
        let count = buffer.len().min(self.ready.len() - self.at);
        buffer[..count].copy_from_slice(&self.ready[self.at..self.at + count]);
        self.at += count;
        self.remaining -= count as u64;
        Ok(count)
    }
}
