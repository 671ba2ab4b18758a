//! Regular expressions: those of POSIX, extended, as the original's library reads
//! them. Text and pattern are bytes; `.` stands for any of them.

mod bracket;
mod nfa;
mod program;
mod run;

use std::ops::Range;

use program::Program;
use run::{Mode, Search};
use thiserror::Error;

/// Why a pattern is refused.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegexError {
    /// The pattern does not follow the grammar.
    #[error("invalid regular expression '{0}'")]
    Invalid(String),
    /// The pattern has too many repetitions.
    #[error("memory limit exceeded by regular expression '{0}'")]
    TooLarge(String),
}

/// Why a search ended without an answer.
#[derive(Error, Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchError {
    /// The search would take too much memory.
    #[error("a text is too long for a regular expression")]
    TooLong,
    /// Who watched it told it to end.
    #[error("the search for a regular expression was ended")]
    Ended,
}

/// Tells now and then during a search whether it is to go on.
pub type Watch<'w> = &'w dyn Fn() -> bool;

/// A fault in a pattern, which is named where the fault is passed on.
enum Fault {
    Invalid,
    TooLarge,
}

/// The places of the groups of a match; none for a group that took no part.
pub type Groups = Vec<Option<Range<usize>>>;

/// A match in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The place of the whole.
    pub range: Range<usize>,
    /// The places of the groups.
    pub groups: Groups,
}

/// A pattern that was read.
pub struct Regex {
    program: Program,
}

impl Regex {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`RegexError`], whose text names the pattern.
    pub fn new(pattern: &[u8]) -> Result<Regex, RegexError> {
        let text = || String::from_utf8_lossy(pattern).into_owned();
        let nfa = nfa::parse(pattern).map_err(|fault| match fault {
            Fault::Invalid => RegexError::Invalid(text()),
            Fault::TooLarge => RegexError::TooLarge(text()),
        })?;
        Ok(Regex { program: Program::new(nfa) })
    }

    /// How much memory the pattern takes, as a number of steps.
    pub fn size(&self) -> usize {
        self.program.steps.len()
    }

    /// The number of groups.
    pub fn groups(&self) -> usize {
        self.program.groups as usize
    }

    /// Matches the whole of a text and gives the places of the groups.
    ///
    /// # Errors
    /// [`SearchError`]; too long may be texts of millions of bytes.
    pub fn match_whole(&self, text: &[u8], watch: Watch<'_>) -> Result<Option<Groups>, SearchError> {
        if let Some(literal) = &self.program.literal {
            return Ok((literal == text).then(Vec::new));
        }
        if !self.can_begin(text, 0) {
            return Ok(None);
        }
        let found = Search::new(&self.program, text, watch)?.at(0, Mode::Whole)?;
        Ok(found.map(|places| to_match(&places).groups))
    }

    /// Finds the first match that begins at `start` or later; `^` matches only at
    /// the start of `text`.
    ///
    /// # Errors
    /// [`SearchError`]; too long may be texts of millions of bytes.
    pub fn find_at(&self, text: &[u8], start: usize, watch: Watch<'_>) -> Result<Option<Match>, SearchError> {
        if let Some(literal) = &self.program.literal {
            return Ok(find_literal(text, literal, start));
        }
        let mut search = Search::new(&self.program, text, watch)?;
        for start in (start..=text.len()).filter(|start| self.can_begin(text, *start)) {
            if let Some(places) = search.at(start, Mode::Prefix)? {
                return Ok(Some(to_match(&places)));
            }
        }
        Ok(None)
    }

    /// Gives the matches in a text as `split` uses them: each begins where the one
    /// before ended, or later; after an empty match one that is not empty is looked
    /// for in the same place.
    pub fn matches<'r>(&'r self, text: &'r [u8], watch: Watch<'r>) -> Matches<'r> {
        Matches { regex: self, text, watch, next: Some(0), after_empty: false }
    }

    fn can_begin(&self, text: &[u8], start: usize) -> bool {
        match &self.program.first {
            Some(first) => text.get(start).is_some_and(|byte| first.contains(*byte)),
            None => true,
        }
    }
}

/// The matches in a text, from [`Regex::matches`].
pub struct Matches<'r> {
    regex: &'r Regex,
    text: &'r [u8],
    watch: Watch<'r>,
    /// Where to look next; none after the end.
    next: Option<usize>,
    after_empty: bool,
}

impl Matches<'_> {
    fn find(&mut self) -> Result<Option<Match>, SearchError> {
        let Some(mut start) = self.next else { return Ok(None) };
        if self.after_empty {
            if start == self.text.len() {
                return Ok(None);
            }
            if self.regex.can_begin(self.text, start) {
                let mut search = Search::new(&self.regex.program, self.text, self.watch)?;
                if let Some(places) = search.at(start, Mode::NotEmpty)? {
                    return Ok(Some(to_match(&places)));
                }
            }
            start += 1;
        }
        self.regex.find_at(self.text, start, self.watch)
    }
}

impl Iterator for Matches<'_> {
    type Item = Result<Match, SearchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.find();
        self.next = None;
        if let Ok(Some(found)) = &found {
            self.next = Some(found.range.end);
            self.after_empty = found.range.is_empty();
        }
        found.transpose()
    }
}

fn to_match(places: &[u32]) -> Match {
    let range = |pair: &[u32]| (pair[1] != u32::MAX).then(|| pair[0] as usize..pair[1] as usize);
    let mut ranges = places.chunks_exact(2).map(range);
    Match { range: ranges.next().flatten().unwrap_or_default(), groups: ranges.collect() }
}

fn find_literal(text: &[u8], literal: &[u8], start: usize) -> Option<Match> {
    let rest = text.get(start..)?;
    let at = match literal {
        [] => Some(0),
        [byte] => rest.iter().position(|other| other == byte),
        literal => rest.windows(literal.len()).position(|window| window == literal),
    }?;
    Some(Match { range: start + at..start + at + literal.len(), groups: Vec::new() })
}

#[cfg(test)]
mod tests;
