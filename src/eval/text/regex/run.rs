//! The search for a match: depth first, each choice in its order.
//!
//! What is found is what the original finds. Of alternatives both are tried and the
//! longer match is taken, of equal ones the first; a loop goes on as long as that
//! leads to any match, and only else is left earlier. So the longest of all is
//! not always found: `a*(ab)?` finds `aa` in `aab`.
//!
//! A loop may enter its body twice in the same place, which gives one round that is
//! empty.
//!
//! After some steps the search remembers which choices it has made where, so that
//! its time grows with the length of pattern and text. What a choice leads to may depend on how
//! often loops were entered in this place: of those from which the choice is reached and which
//! it reaches itself without a byte in between. Others do not tell choices apart.

use std::collections::HashMap;

use super::program::{Program, Step};
use super::{SearchError, Watch};

/// No place: a group that took no part.
const NONE: u32 = u32::MAX;

/// The greatest number of things that are still to do.
const MOST_TASKS: usize = 1 << 24;

/// The greatest number of bytes for what is remembered.
const MOST_MEMORY: usize = 1 << 28;

/// The greatest number of choices that are remembered one by one, where all have no room.
const MOST_COUNTED: usize = 1 << 22;

/// The greatest number of counters that tell remembered choices apart, and the number of choices
/// up to which they do: with all of them time would grow with three to the power of their number.
/// Without them the same texts match, but groups may be those of another way to match.
const TOLD_APART: usize = 6;
const MOST_TOLD_APART: usize = 1 << 22;

/// Steps between two questions whether to go on.
const BETWEEN_QUESTIONS: u32 = 1 << 16;

/// How the end of a match is chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The match ends with the text.
    Whole,
    /// The match may end anywhere.
    Prefix,
    /// The match may end anywhere but where it begins.
    NotEmpty,
}

/// What is still to do when the way that is being tried has ended.
#[derive(Clone, Copy)]
enum Task {
    /// The slot gets its earlier value back.
    Slot {
        slot: u32,
        before: u32,
    },
    Counter {
        counter: u32,
        place: u32,
        rounds: u32,
    },
    /// Unless there is a match, go on here.
    Else {
        step: u32,
        place: u32,
    },
    /// Fewer bytes of a run, down to none; `next` was tried after `taken` bytes.
    Shorter {
        step: u32,
        start: u32,
        taken: u32,
    },
    /// The second alternative.
    Also {
        step: u32,
        place: u32,
    },
    /// A match of the first alternative counts as well.
    Joined {
        found: bool,
    },
    /// Remember what the choice led to.
    Remember {
        step: u32,
        place: u32,
    },
}

/// What choices led to.
enum Memory {
    Off,
    /// Two bits for each place and choice: whether it was made, whether it led to a match.
    Bits(Vec<u64>),
    Counted(HashMap<(u32, u32), bool>),
}

pub(super) struct Search<'r> {
    program: &'r Program,
    text: &'r [u8],
    slots: Vec<u32>,
    counters: Vec<(u32, u32)>,
    tasks: Vec<Task>,
    memory: Memory,
    /// Steps until the search begins to remember.
    pub(super) patience: usize,
    /// The number of counters that tell choices apart, and how many choices they make of one.
    told_apart: usize,
    apart: usize,
    steps: u32,
    watch: Watch<'r>,
    best: Option<(u32, Vec<u32>)>,
    found: bool,
}

/// The places of a match and of its groups.
pub(super) type Places = Vec<u32>;

impl<'r> Search<'r> {
    /// # Errors
    /// [`SearchError::TooLong`] if places in the text do not fit into 32 bits.
    pub fn new(program: &'r Program, text: &'r [u8], watch: Watch<'r>) -> Result<Self, SearchError> {
        if u32::try_from(text.len()).map_or(true, |length| length == NONE) {
            return Err(SearchError::TooLong);
        }
        let choices = (text.len() + 1).saturating_mul(program.branches as usize);
        let most = program.scopes.iter().map(ExactSizeIterator::len).max().unwrap_or(0).min(TOLD_APART);
        let (mut told_apart, mut apart) = (0, 1);
        while told_apart < most && choices.saturating_mul(apart * 3) <= MOST_TOLD_APART {
            (told_apart, apart) = (told_apart + 1, apart * 3);
        }
        Ok(Self {
            program,
            text,
            slots: vec![NONE; 2 * (program.groups as usize + 1)],
            counters: vec![(NONE, 0); program.counters as usize],
            tasks: Vec::new(),
            memory: Memory::Off,
            patience: 512 + 8 * text.len(),
            told_apart,
            apart,
            steps: 0,
            watch,
            best: None,
            found: false,
        })
    }

    /// Looks for a match that begins at `start`. Later calls may only be made with
    /// the same mode, for greater starts, and until there is a match.
    pub fn at(&mut self, start: usize, mode: Mode) -> Result<Option<Places>, SearchError> {
        let start = start as u32;
        // Whether the first match decides.
        let first = mode == Mode::Whole || !self.program.has_alternatives;
        self.found = false;
        let mut now = Some((self.program.start, start));
        while let Some((step, place)) = now {
            self.walk(step, place, start, mode)?;
            if self.found
                && (first || self.best.as_ref().is_some_and(|(end, _)| *end as usize == self.text.len()))
            {
                break;
            }
            now = self.next_task()?;
        }
        self.tasks.clear();
        Ok(self.best.take().map(|(_, slots)| slots))
    }

    /// Follows a way to its end.
    fn walk(&mut self, mut step: u32, mut place: u32, start: u32, mode: Mode) -> Result<(), SearchError> {
        self.found = false;
        loop {
            if self.tasks.len() > MOST_TASKS {
                return Err(SearchError::TooLong);
            }
            self.steps = self.steps.wrapping_add(1);
            if self.steps.is_multiple_of(BETWEEN_QUESTIONS) && !(self.watch)() {
                return Err(SearchError::Ended);
            }
            self.patience = self.patience.saturating_sub(1);
            let byte = self.text.get(place as usize);
            match self.program.steps[step as usize] {
                Step::Byte { byte: wanted, next } if byte == Some(&wanted) => {
                    (step, place) = (next, place + 1)
                }
                Step::Set { set, next } if byte.is_some_and(|byte| self.contains(set, *byte)) => {
                    (step, place) = (next, place + 1);
                }
                Step::LineBegin { next } if place == 0 => step = next,
                Step::LineEnd { next } if place as usize == self.text.len() => step = next,
                Step::Byte { .. } | Step::Set { .. } | Step::LineBegin { .. } | Step::LineEnd { .. } => {
                    return Ok(());
                }
                Step::Slot { slot, next } => {
                    let before = std::mem::replace(&mut self.slots[slot as usize], place);
                    self.tasks.push(Task::Slot { slot, before });
                    step = next;
                }
                Step::Run { set, next, .. } => {
                    if self.recall(step, place) {
                        return Ok(());
                    }
                    let Some(end) = self.run(step, set, place) else { return Ok(()) };
                    self.tasks.push(Task::Shorter { step, start: place, taken: end - place });
                    (step, place) = (next, end);
                }
                Step::Either { first, .. } => {
                    if self.recall(step, place) {
                        return Ok(());
                    }
                    self.tasks.push(Task::Remember { step, place });
                    self.tasks.push(Task::Also { step, place });
                    step = first;
                }
                Step::Repeat { body, next, counter, .. } => {
                    if self.recall(step, place) {
                        return Ok(());
                    }
                    self.tasks.push(Task::Remember { step, place });
                    if self.enter(counter, place, next) { step = body } else { step = next }
                }
                Step::Accept => {
                    self.accept(place, start, mode);
                    return Ok(());
                }
            }
        }
    }

    /// Counts a round of a loop; false if there were two in this place.
    fn enter(&mut self, counter: Option<u32>, place: u32, next: u32) -> bool {
        if let Some(counter) = counter {
            let (before, rounds) = self.counters[counter as usize];
            let so_far = if before == place { rounds } else { 0 };
            if so_far == 2 {
                return false;
            }
            self.tasks.push(Task::Else { step: next, place });
            self.tasks.push(Task::Counter { counter, place: before, rounds });
            self.counters[counter as usize] = (place, so_far + 1);
        } else {
            self.tasks.push(Task::Else { step: next, place });
        }
        true
    }

    fn accept(&mut self, place: u32, start: u32, mode: Mode) {
        self.found = match mode {
            Mode::Whole => place as usize == self.text.len(),
            Mode::Prefix => true,
            Mode::NotEmpty => place != start,
        };
        if self.found && self.best.as_ref().is_none_or(|(end, _)| *end < place) {
            self.best = Some((place, self.slots.clone()));
        }
    }

    fn contains(&self, set: u32, byte: u8) -> bool {
        self.program.sets[set as usize].contains(byte)
    }

    /// The end of the longest run from which it is not known that it leads
    /// nowhere; none if a longer one led to a match.
    fn run(&mut self, step: u32, set: u32, start: u32) -> Option<u32> {
        let mut end = start;
        while self.text.get(end as usize).is_some_and(|byte| self.contains(set, *byte)) {
            match self.remembered(step, end + 1) {
                Some(true) => {
                    self.found = true;
                    return None;
                }
                Some(false) => break,
                None => end += 1,
            }
        }
        self.patience = self.patience.saturating_sub((end - start) as usize);
        Some(end)
    }

    /// Undoes and decides, up to the next way to try.
    fn next_task(&mut self) -> Result<Option<(u32, u32)>, SearchError> {
        while let Some(task) = self.tasks.pop() {
            match task {
                Task::Slot { slot, before } => self.slots[slot as usize] = before,
                Task::Counter { counter, place, rounds } => self.counters[counter as usize] = (place, rounds),
                Task::Else { step, place } if !self.found => return Ok(Some((step, place))),
                Task::Else { .. } => {}
                Task::Joined { found } => self.found |= found,
                Task::Also { step, place } => {
                    self.tasks.push(Task::Joined { found: self.found });
                    if let Step::Either { second, .. } = self.program.steps[step as usize] {
                        return Ok(Some((second, place)));
                    }
                }
                Task::Remember { step, place } => self.remember(step, place)?,
                Task::Shorter { step, start, taken } => {
                    if self.found {
                        for place in start..=start + taken {
                            self.remember(step, place)?;
                        }
                        continue;
                    }
                    self.remember(step, start + taken)?;
                    if let (Some(fewer), Step::Run { next, .. }) =
                        (taken.checked_sub(1), self.program.steps[step as usize])
                    {
                        self.tasks.push(Task::Shorter { step, start, taken: fewer });
                        return Ok(Some((next, start + fewer)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Tells whether a choice was made before; then `found` is what it led to.
    fn recall(&mut self, step: u32, place: u32) -> bool {
        match self.remembered(step, place) {
            Some(found) => {
                self.found = found;
                true
            }
            None => false,
        }
    }

    fn remembered(&self, step: u32, place: u32) -> Option<bool> {
        match &self.memory {
            Memory::Off => None,
            Memory::Bits(bits) => {
                let at = self.bit(step, place as usize)?;
                let pair = bits.get(at / 32)? >> (at % 32 * 2);
                (pair & 1 != 0).then_some(pair & 2 != 0)
            }
            Memory::Counted(made) => made.get(&(step, place)).copied(),
        }
    }

    fn bit(&self, step: u32, place: usize) -> Option<usize> {
        match self.program.steps[step as usize] {
            Step::Run { branch, .. } | Step::Either { branch, .. } | Step::Repeat { branch, .. } => {
                let choice = place * self.program.branches as usize + branch as usize;
                Some(choice * self.apart + self.rounds(step, place))
            }
            _ => None,
        }
    }

    /// How often the loops around a step were entered in a place, in one number.
    fn rounds(&self, step: u32, place: usize) -> usize {
        if self.told_apart == 0 {
            return 0;
        }
        let scope = &self.program.scopes[self.program.circles[step as usize] as usize];
        let told_apart = self.counters[scope.start as usize..scope.end as usize].iter().take(self.told_apart);
        told_apart
            .fold(0, |all, (at, rounds)| all * 3 + if *at as usize == place { *rounds as usize } else { 0 })
    }

    /// Remembers that the choice led to what is found now.
    fn remember(&mut self, step: u32, place: u32) -> Result<(), SearchError> {
        if self.patience > 0 {
            return Ok(());
        }
        if let Memory::Off = self.memory {
            self.begin_to_remember();
        }
        let found = self.found;
        let at = self.bit(step, place as usize);
        match (&mut self.memory, at) {
            (Memory::Bits(bits), Some(at)) => {
                if let Some(word) = bits.get_mut(at / 32) {
                    *word |= (1 | u64::from(found) << 1) << (at % 32 * 2);
                }
            }
            (Memory::Counted(made), _) => {
                made.insert((step, place), found);
                if made.len() > MOST_COUNTED {
                    return Err(SearchError::TooLong);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn begin_to_remember(&mut self) {
        let choices = (self.text.len() + 1).saturating_mul(self.program.branches as usize * self.apart);
        let words = choices.div_ceil(32);
        self.memory = match words > MOST_MEMORY / 8 {
            true => Memory::Counted(HashMap::new()),
            false => Memory::Bits(vec![0; words]),
        };
    }
}
