//! Patterns as graphs of states.
//!
//! ```text
//! pattern = branch *( "|" branch )
//! branch  = *( "^" | "$" | atom *quantifier )
//! atom    = "." | byte | "\" special | "(" pattern ")" | bracket
//! quantifier = "*" | "+" | "?" | "{" n "}" | "{" n "," "}" | "{" n "," m "}"
//! special = one of . [ \ ( ) * + ? { | ^ $
//! ```
//!
//! The graph is built as the original's library builds it, empty states included,
//! so that the same patterns are too large.

use std::collections::HashMap;

use super::Fault;
use super::bracket::{self, ByteSet};

/// The greatest number of states.
const MOST_STATES: usize = 100_000;

/// No state: where a part of a pattern is not connected yet.
pub(super) const NOWHERE: u32 = u32::MAX;

const SPECIAL: &[u8] = b".[\\()*+?{|^$";

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Byte(u8),
    /// The number of a set.
    Set(u32),
    Begin(u32),
    End(u32),
    LineBegin,
    LineEnd,
    /// Both ways are tried, the other one first.
    Either,
    /// The body, which is the other way, and then what follows.
    Repeat,
    Nothing,
    Accept,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub kind: Kind,
    pub next: u32,
    pub other: u32,
}

/// The first and the last state of a part of a pattern.
#[derive(Clone, Copy)]
struct Part {
    start: u32,
    end: u32,
}

/// A pattern that was read.
#[derive(Default)]
pub(super) struct Nfa {
    pub states: Vec<State>,
    pub sets: Vec<ByteSet>,
    pub groups: u32,
}

impl Nfa {
    fn insert(&mut self, kind: Kind) -> Result<Part, Fault> {
        self.insert_state(State { kind, next: NOWHERE, other: NOWHERE })
    }

    fn insert_state(&mut self, state: State) -> Result<Part, Fault> {
        let number = u32::try_from(self.states.len()).map_err(|_| Fault::TooLarge)?;
        self.states.push(state);
        if self.states.len() > MOST_STATES {
            return Err(Fault::TooLarge);
        }
        Ok(Part { start: number, end: number })
    }

    fn branching(&mut self, kind: Kind, next: u32, other: u32) -> Result<Part, Fault> {
        self.insert_state(State { kind, next, other })
    }

    fn append(&mut self, part: &mut Part, other: Part) {
        self.states[part.end as usize].next = other.start;
        part.end = other.end;
    }

    fn copy(&mut self, part: Part) -> Result<Part, Fault> {
        let mut copies: HashMap<u32, u32> = HashMap::new();
        let mut waiting = vec![part.start];
        while let Some(number) = waiting.pop() {
            let state = self.states[number as usize];
            copies.insert(number, self.insert_state(state)?.start);
            let next = if number == part.end { NOWHERE } else { state.next };
            let reached = [state.other, next].into_iter();
            waiting.extend(reached.filter(|to| *to != NOWHERE && !copies.contains_key(to)));
        }
        let copy_of = |number: u32| copies.get(&number).copied().unwrap_or(NOWHERE);
        for number in copies.values() {
            let state = &mut self.states[*number as usize];
            state.next = copy_of(state.next);
            state.other = copy_of(state.other);
        }
        Ok(Part { start: copy_of(part.start), end: copy_of(part.end) })
    }
}

/// A group (or the whole pattern) that is being read.
struct Open {
    begin: Part,
    group: u32,
    /// The branches that are complete, joined.
    branches: Option<Part>,
    /// The branch that is being read.
    branch: Option<Part>,
}

pub(super) struct Parser<'p> {
    rest: &'p [u8],
    nfa: Nfa,
    open: Vec<Open>,
}

/// Reads a pattern.
pub(super) fn parse(pattern: &[u8]) -> Result<Nfa, Fault> {
    let mut parser = Parser { rest: pattern, nfa: Nfa::default(), open: Vec::new() };
    parser.begin_group()?;
    while let Some((byte, rest)) = parser.rest.split_first() {
        parser.rest = rest;
        parser.term(*byte)?;
    }
    let mut whole = parser.end_group()?;
    if !parser.open.is_empty() {
        return Err(Fault::Invalid);
    }
    let accept = parser.nfa.insert(Kind::Accept)?;
    parser.nfa.append(&mut whole, accept);
    Ok(parser.nfa)
}

impl Parser<'_> {
    fn begin_group(&mut self) -> Result<(), Fault> {
        let group = self.nfa.groups;
        let begin = self.nfa.insert(Kind::Begin(group))?;
        self.nfa.groups += 1;
        self.open.push(Open { begin, group, branches: None, branch: None });
        Ok(())
    }

    fn end_branch(&mut self) -> Result<(), Fault> {
        let open = self.open.last_mut().ok_or(Fault::Invalid)?;
        let nothing = self.nfa.insert(Kind::Nothing)?;
        let mut branch = match open.branch.take() {
            Some(mut branch) => {
                self.nfa.append(&mut branch, nothing);
                branch
            }
            None => nothing,
        };
        open.branches = Some(match open.branches {
            None => branch,
            Some(mut earlier) => {
                let end = self.nfa.insert(Kind::Nothing)?;
                self.nfa.append(&mut earlier, end);
                self.nfa.append(&mut branch, end);
                let either = self.nfa.branching(Kind::Either, branch.start, earlier.start)?;
                Part { start: either.start, end: end.end }
            }
        });
        Ok(())
    }

    fn end_group(&mut self) -> Result<Part, Fault> {
        self.end_branch()?;
        let Some(Open { begin: mut part, group, branches: Some(branches), .. }) = self.open.pop() else {
            return Err(Fault::Invalid);
        };
        self.nfa.append(&mut part, branches);
        let end = self.nfa.insert(Kind::End(group))?;
        self.nfa.append(&mut part, end);
        Ok(part)
    }

    fn set(&mut self, set: ByteSet) -> Result<Part, Fault> {
        // An earlier set, or a new one.
        let number = self.nfa.sets.iter().position(|other| *other == set).unwrap_or(self.nfa.sets.len());
        if number == self.nfa.sets.len() {
            self.nfa.sets.push(set);
        }
        self.nfa.insert(Kind::Set(u32::try_from(number).map_err(|_| Fault::TooLarge)?))
    }

    /// Reads one term, whose first byte was read.
    fn term(&mut self, byte: u8) -> Result<(), Fault> {
        let part = match byte {
            b'|' => return self.end_branch(),
            b'(' => return self.begin_group(),
            b')' if self.open.len() < 2 => return Err(Fault::Invalid),
            b')' => self.end_group()?,
            b'^' | b'$' => {
                let line = if byte == b'^' { Kind::LineBegin } else { Kind::LineEnd };
                let part = self.nfa.insert(line)?;
                return self.add(part);
            }
            b'*' | b'+' | b'?' | b'{' => return Err(Fault::Invalid),
            b'.' => self.set(ByteSet::all())?,
            b'[' => {
                let (set, rest) = bracket::parse(self.rest)?;
                self.rest = rest;
                self.set(set)?
            }
            b'\\' => {
                let (escaped, rest) = self.rest.split_first().ok_or(Fault::Invalid)?;
                self.rest = rest;
                if !SPECIAL.contains(escaped) {
                    return Err(Fault::Invalid);
                }
                self.nfa.insert(Kind::Byte(*escaped))?
            }
            byte => self.nfa.insert(Kind::Byte(byte))?,
        };
        let part = self.quantifiers(part)?;
        self.add(part)
    }

    fn add(&mut self, part: Part) -> Result<(), Fault> {
        let open = self.open.last_mut().ok_or(Fault::Invalid)?;
        match &mut open.branch {
            Some(branch) => self.nfa.append(branch, part),
            None => open.branch = Some(part),
        }
        Ok(())
    }

    fn quantifiers(&mut self, mut part: Part) -> Result<Part, Fault> {
        while let Some((byte, rest)) = self.rest.split_first() {
            let rest_before = std::mem::replace(&mut self.rest, rest);
            let nfa = &mut self.nfa;
            part = match byte {
                b'*' => {
                    let repeat = nfa.branching(Kind::Repeat, NOWHERE, part.start)?;
                    nfa.append(&mut part, repeat);
                    repeat
                }
                b'+' => {
                    let repeat = nfa.branching(Kind::Repeat, NOWHERE, part.start)?;
                    nfa.append(&mut part, repeat);
                    part
                }
                b'?' => {
                    let end = nfa.insert(Kind::Nothing)?;
                    let mut repeat = nfa.branching(Kind::Repeat, NOWHERE, part.start)?;
                    nfa.append(&mut part, end);
                    nfa.append(&mut repeat, end);
                    repeat
                }
                b'{' => self.interval(part)?,
                _ => {
                    self.rest = rest_before;
                    break;
                }
            };
        }
        Ok(part)
    }

    /// Reads `n}`, `n,}` or `n,m}`.
    fn interval(&mut self, part: Part) -> Result<Part, Fault> {
        let least = self.count()?.ok_or(Fault::Invalid)?;
        let most = match self.rest.split_first() {
            Some((b',', rest)) => {
                self.rest = rest;
                self.count()?
            }
            _ => Some(least),
        };
        self.rest = self.rest.strip_prefix(b"}").ok_or(Fault::Invalid)?;
        let mut whole = self.nfa.insert(Kind::Nothing)?;
        for _ in 0..least {
            let copy = self.nfa.copy(part)?;
            self.nfa.append(&mut whole, copy);
        }
        let Some(most) = most else {
            let mut copy = self.nfa.copy(part)?;
            let repeat = self.nfa.branching(Kind::Repeat, NOWHERE, copy.start)?;
            self.nfa.append(&mut copy, repeat);
            self.nfa.append(&mut whole, repeat);
            return Ok(whole);
        };
        let more = most.checked_sub(least).ok_or(Fault::Invalid)?;
        let end = self.nfa.insert(Kind::Nothing)?;
        for _ in 0..more {
            let copy = self.nfa.copy(part)?;
            let repeat = self.nfa.branching(Kind::Repeat, end.start, copy.start)?;
            self.nfa.append(&mut whole, repeat);
            whole.end = copy.end;
        }
        self.nfa.append(&mut whole, end);
        Ok(whole)
    }

    fn count(&mut self) -> Result<Option<u64>, Fault> {
        let end = self.rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        digits.iter().try_fold(None, |count: Option<u64>, digit| {
            let count = count
                .unwrap_or(0)
                .checked_mul(10)
                .and_then(|count| count.checked_add(u64::from(digit - b'0')));
            count.filter(|count| i64::try_from(*count).is_ok()).map(Some).ok_or(Fault::Invalid)
        })
    }
}
