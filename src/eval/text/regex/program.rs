//! Graphs of states as programs that can be run.

use std::ops::Range;

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
    /// The number of each step's circle: the steps of one reach each other in the same place.
    pub circles: Vec<u32>,
    /// The counters of each circle.
    pub scopes: Vec<Range<u32>>,
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
        let circles = Circles::new(&states);
        let circular = circles.contain(&states);
        let mut branches = 0;
        let mut next_branch = || {
            branches += 1;
            branches - 1
        };
        let mut counted = vec![Vec::new(); circles.count];
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
                        if circular[number] {
                            counted[circles.of[number] as usize].push(number);
                        }
                        Step::Repeat { body: state.other, next, branch: next_branch(), counter: None }
                    }
                },
                // Nothing leads to an empty state any more.
                Kind::Nothing | Kind::Accept => Step::Accept,
            });
        }
        let (mut counters, mut scopes) = (0, Vec::with_capacity(circles.count));
        for loops in counted {
            let first = counters;
            for number in loops {
                if let Step::Repeat { counter, .. } = &mut steps[number] {
                    *counter = Some(counters);
                    counters += 1;
                }
            }
            scopes.push(first..counters);
        }
        let has_alternatives = steps.iter().any(|step| matches!(step, Step::Either { .. }));
        let groups = groups.saturating_sub(1);
        let mut program = Program {
            steps,
            sets,
            start: 0,
            branches,
            counters,
            circles: circles.of,
            scopes,
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

/// The circles of a graph: the states of one reach each other without a byte in between.
struct Circles {
    /// The number of each state's circle; a state that does not reach itself is alone in one.
    of: Vec<u32>,
    count: usize,
}

/// What a state leads to without a byte in between.
fn ways(state: &State) -> [u32; 2] {
    match state.kind {
        Kind::Byte(_) | Kind::Set(_) => [NOWHERE; 2],
        _ => [state.next, state.other],
    }
}

impl Circles {
    /// Finds the circles by Tarjan's algorithm, without recursion.
    fn new(states: &[State]) -> Circles {
        let mut circles = Circles { of: vec![NOWHERE; states.len()], count: 0 };
        let mut order = vec![NOWHERE; states.len()];
        let mut lowest = vec![0; states.len()];
        let (mut next, mut open) = (0, Vec::new());
        for root in 0..states.len() {
            if order[root] != NOWHERE {
                continue;
            }
            // States under way, and how many of their two ways were taken.
            let mut visits = vec![(root, 0)];
            while let Some((number, taken)) = visits.last_mut() {
                let number = *number;
                if *taken == 0 {
                    (order[number], lowest[number]) = (next, next);
                    next += 1;
                    open.push(number);
                }
                if *taken < 2 {
                    let to = ways(&states[number])[*taken];
                    *taken += 1;
                    match to as usize {
                        to if to >= states.len() => {}
                        to if order[to] == NOWHERE => visits.push((to, 0)),
                        to if circles.of[to] == NOWHERE => lowest[number] = lowest[number].min(order[to]),
                        _ => {}
                    }
                    continue;
                }
                visits.pop();
                if let Some((before, _)) = visits.last() {
                    lowest[*before] = lowest[*before].min(lowest[number]);
                }
                if lowest[number] == order[number] {
                    let first = open.iter().rposition(|other| *other == number).unwrap_or(0);
                    open.drain(first..).for_each(|member| circles.of[member] = circles.count as u32);
                    circles.count += 1;
                }
            }
        }
        circles
    }

    /// Tells of each state whether it may be reached from itself without a byte in between.
    fn contain(&self, states: &[State]) -> Vec<bool> {
        let mut sizes = vec![0u32; self.count];
        self.of.iter().for_each(|circle| sizes[*circle as usize] += 1);
        let leads_to_itself =
            |number: usize| ways(&states[number]).into_iter().any(|to| to as usize == number);
        (0..states.len()).map(|at| sizes[self.of[at] as usize] > 1 || leads_to_itself(at)).collect()
    }
}
