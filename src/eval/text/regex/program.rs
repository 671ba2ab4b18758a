//! Graphs of states as programs that can be run.

use super::bracket::ByteSet;
use super::nfa::{Kind, NOWHERE, Nfa, State};

/// A step of a program; `next` and the like are numbers of steps.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Byte {
        byte: u8,
        next: u32,
    },
    Set {
        set: u32,
        next: u32,
    },
    /// As many bytes of a set as there are, then fewer.
    Run {
        set: u32,
        next: u32,
        branch: u32,
    },
    /// Notes the place in a slot.
    Slot {
        slot: u32,
        next: u32,
    },
    LineBegin {
        next: u32,
    },
    LineEnd {
        next: u32,
    },
    Either {
        first: u32,
        second: u32,
        branch: u32,
    },
    /// The body and then what follows; `counter` counts rounds in the same place.
    Repeat {
        body: u32,
        next: u32,
        branch: u32,
        counter: Option<u32>,
    },
    Accept,
}

pub(super) struct Program {
    pub steps: Vec<Step>,
    pub sets: Vec<ByteSet>,
    pub start: u32,
    /// The number of steps that are a choice.
    pub branches: u32,
    pub counters: u32,
    /// The number of groups, without the whole.
    pub groups: u32,
    pub has_alternatives: bool,
    /// The bytes with which a match can begin, unless it can be empty.
    pub first: Option<ByteSet>,
    /// The text that the pattern stands for if it is nothing but that.
    pub literal: Option<Vec<u8>>,
}

impl Program {
    pub fn new(nfa: Nfa) -> Program {
        let Nfa { mut states, mut sets, groups } = nfa;
        skip_nothing(&mut states);
        let circular = circular(&states);
        let (mut branches, mut counters) = (0, 0);
        let mut next_branch = || {
            branches += 1;
            branches - 1
        };
        let mut steps = Vec::with_capacity(states.len());
        for (number, state) in states.iter().enumerate() {
            let next = state.next;
            steps.push(match state.kind {
                Kind::Byte(byte) => Step::Byte { byte, next },
                Kind::Set(set) => Step::Set { set, next },
                Kind::Begin(group) => Step::Slot { slot: group * 2, next },
                Kind::End(group) => Step::Slot { slot: group * 2 + 1, next },
                Kind::LineBegin => Step::LineBegin { next },
                Kind::LineEnd => Step::LineEnd { next },
                Kind::Either => Step::Either { first: state.other, second: next, branch: next_branch() },
                Kind::Repeat => match run_of(&states, &mut sets, number, state) {
                    Some(set) => Step::Run { set, next, branch: next_branch() },
                    None => {
                        let counter = circular[number].then(|| {
                            counters += 1;
                            counters - 1
                        });
                        Step::Repeat { body: state.other, next, branch: next_branch(), counter }
                    }
                },
                // Nothing leads to an empty state any more.
                Kind::Nothing | Kind::Accept => Step::Accept,
            });
        }
        let has_alternatives = steps.iter().any(|step| matches!(step, Step::Either { .. }));
        let groups = groups.saturating_sub(1);
        let mut program = Program {
            steps,
            sets,
            start: 0,
            branches,
            counters,
            groups,
            has_alternatives,
            first: None,
            literal: None,
        };
        program.first = program.first_bytes();
        program.literal = program.only_literal();
        program
    }

    /// The bytes that can come first, if one must.
    fn first_bytes(&self) -> Option<ByteSet> {
        let mut first = ByteSet::default();
        let mut seen = vec![false; self.steps.len()];
        let mut waiting = vec![self.start];
        while let Some(number) = waiting.pop() {
            if std::mem::replace(&mut seen[number as usize], true) {
                continue;
            }
            match self.steps[number as usize] {
                Step::Byte { byte, .. } => first.insert(byte),
                Step::Set { set, .. } => first.add(&self.sets[set as usize]),
                Step::Run { set, next, .. } => {
                    first.add(&self.sets[set as usize]);
                    waiting.push(next);
                }
                Step::Slot { next, .. } | Step::LineBegin { next } | Step::LineEnd { next } => {
                    waiting.push(next)
                }
                Step::Either { first: one, second: other, .. }
                | Step::Repeat { body: one, next: other, .. } => {
                    waiting.extend([one, other]);
                }
                Step::Accept => return None,
            }
        }
        Some(first)
    }

    fn only_literal(&self) -> Option<Vec<u8>> {
        if self.groups > 0 {
            return None;
        }
        let mut literal = Vec::new();
        let mut number = self.start;
        loop {
            number = match self.steps[number as usize] {
                Step::Byte { byte, next } => {
                    literal.push(byte);
                    next
                }
                // The places of the whole.
                Step::Slot { slot: 0 | 1, next } => next,
                Step::Accept => return Some(literal),
                _ => return None,
            };
        }
    }
}

/// Leads past empty states.
fn skip_nothing(states: &mut [State]) {
    let target = |states: &[State], mut number: u32| {
        while number != NOWHERE && matches!(states[number as usize].kind, Kind::Nothing) {
            number = states[number as usize].next;
        }
        number
    };
    // From the last on would not do: empty states lead to later and to earlier ones.
    for number in 0..states.len() {
        states[number].next = target(states, states[number].next);
        states[number].other = target(states, states[number].other);
    }
}

/// The set that is the whole body of a loop.
fn run_of(states: &[State], sets: &mut Vec<ByteSet>, number: usize, state: &State) -> Option<u32> {
    let body = states.get(state.other as usize)?;
    if body.next as usize != number {
        return None;
    }
    match body.kind {
        Kind::Set(set) => Some(set),
        Kind::Byte(byte) => {
            let mut set = ByteSet::default();
            set.insert(byte);
            let at = sets.iter().position(|other| *other == set).unwrap_or(sets.len());
            if at == sets.len() {
                sets.push(set);
            }
            u32::try_from(at).ok()
        }
        _ => None,
    }
}

/// Tells of each state whether it may be reached from itself without a byte in
/// between; some that lie between two such circles count too.
fn circular(states: &[State]) -> Vec<bool> {
    let ways = |state: &State| match state.kind {
        Kind::Byte(_) | Kind::Set(_) => [NOWHERE; 2],
        _ => [state.next, state.other],
    };
    let reached = |state: &State| ways(state).into_iter().filter(|to| *to != NOWHERE);
    let mut circular = vec![true; states.len()];
    // First those go that nothing in a circle leads to.
    let mut entered = vec![0u32; states.len()];
    states.iter().flat_map(reached).for_each(|to| entered[to as usize] += 1);
    let mut waiting: Vec<usize> = (0..states.len()).filter(|number| entered[*number] == 0).collect();
    while let Some(number) = waiting.pop() {
        circular[number] = false;
        for to in reached(&states[number]) {
            entered[to as usize] -= 1;
            if entered[to as usize] == 0 {
                waiting.push(to as usize);
            }
        }
    }
    // Then those that lead to nothing in a circle.
    let mut sources: Vec<Vec<u32>> = vec![Vec::new(); states.len()];
    let mut left = vec![0u32; states.len()];
    for number in (0..states.len()).filter(|number| circular[*number]) {
        for to in reached(&states[number]).filter(|to| circular[*to as usize]) {
            sources[to as usize].push(u32::try_from(number).unwrap_or(NOWHERE));
            left[number] += 1;
        }
    }
    let mut waiting: Vec<usize> =
        (0..states.len()).filter(|number| circular[*number] && left[*number] == 0).collect();
    while let Some(number) = waiting.pop() {
        circular[number] = false;
        for source in std::mem::take(&mut sources[number]) {
            left[source as usize] -= 1;
            if left[source as usize] == 0 {
                waiting.push(source as usize);
            }
        }
    }
    circular
}
