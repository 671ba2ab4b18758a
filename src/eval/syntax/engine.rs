//! The parser proper: tables and a stack, so that the depth of a text costs memory and never the machine stack.

use super::super::symbols::{Interner, Symbol};
use super::error::{Failed, ParseOptions, SyntaxError};
use super::lexer::Lexer;
use super::tables::{ACTIONS, Action, DEFAULTS, GOTOS, RULES, SYMBOLS, TOKEN_NAMES, Token};
use super::tree::{Node, NodeId, Step, Tree};
use std::collections::HashMap;

/// The numbers that a state can have. Tables have room for all of them, and rows of a power of two, so that no index
/// needs to be compared with a length.
const STATES: usize = 256;
/// How many columns a row of [`TABLE`] has; a power of two above the number of tokens.
const COLUMNS: usize = 64;
/// The same for [`FOLLOWING`] and symbols.
const SYMBOL_COLUMNS: usize = 32;
/// The column of a token that was not read yet.
const UNREAD: usize = COLUMNS - 1;
/// A token is to be read before anything can be decided.
const READ: i16 = i16::MIN;
/// The text is wrong.
const ERROR: i16 = i16::MIN + 1;

/// What to do in a state with a token: shift to a state (0 and above), reduce by rule -1 - n, `READ` or `ERROR`.
static TABLE: [[i16; COLUMNS]; STATES] = table();
/// The state that follows when a symbol was made; not one that would only pass the symbol on as another one, but the
/// state after that.
static FOLLOWING: [[u8; SYMBOL_COLUMNS]; STATES] = following();

const fn table() -> [[i16; COLUMNS]; STATES] {
    let mut table = [[ERROR; COLUMNS]; STATES];
    let mut state = 0;
    while state < DEFAULTS.len() {
        if DEFAULTS[state] != 255 {
            table[state] = [-1 - DEFAULTS[state] as i16; COLUMNS];
        }
        state += 1;
    }
    let mut at = 0;
    while at < ACTIONS.len() {
        let (state, token, action) = ACTIONS[at];
        table[state as usize][token as usize] = if action == 0 { ERROR } else { action };
        table[state as usize][UNREAD] = READ;
        at += 1;
    }
    table
}

const fn following() -> [[u8; SYMBOL_COLUMNS]; STATES] {
    let mut table = [[0; SYMBOL_COLUMNS]; STATES];
    let mut at = 0;
    while at < GOTOS.len() {
        let (state, symbol, target) = GOTOS[at];
        table[state as usize][symbol as usize] = target;
        at += 1;
    }
    let passing = passing();
    let mut state = 0;
    while state < DEFAULTS.len() {
        let mut symbol = 0;
        while symbol < SYMBOLS {
            let mut target = table[state][symbol];
            while target != 0 && passing[target as usize] {
                target = table[state][RULES[DEFAULTS[target as usize] as usize].0 as usize];
            }
            table[state][symbol] = target;
            symbol += 1;
        }
        state += 1;
    }
    table
}

/// Whether a state does the same with every token: it passes the last symbol on as another one.
const fn passing() -> [bool; DEFAULTS.len()] {
    let mut passing = [false; DEFAULTS.len()];
    let mut state = 0;
    while state < DEFAULTS.len() {
        if DEFAULTS[state] != 255 {
            let (_, length, what) = RULES[DEFAULTS[state] as usize];
            passing[state] = length == 1 && matches!(what, Action::Pass);
        }
        state += 1;
    }
    let mut at = 0;
    while at < ACTIONS.len() {
        passing[ACTIONS[at].0 as usize] = false;
        at += 1;
    }
    passing
}

/// What a token or symbol stands for. The meaning of `a` and `b` depends on the symbol:
/// for expressions `a` is a node and `b` how its arguments are kept (`PLAIN` and so on).
#[derive(Clone, Copy, Default)]
pub(super) struct Value {
    /// `a` below `b`: what is written as one is quickly read as one.
    both: u64,
    /// Where the symbol begins in the text.
    pub at: u32,
}

impl Value {
    pub fn new(a: u32, b: u32, at: u32) -> Value {
        Value { both: u64::from(b) << 32 | u64::from(a), at }
    }

    /// A value of 64 bits.
    pub fn of_bits(both: u64, at: u32) -> Value {
        Value { both, at }
    }

    pub fn a(self) -> u32 {
        self.both as u32
    }

    pub fn b(self) -> u32 {
        (self.both >> 32) as u32
    }

    pub fn bits(self) -> u64 {
        self.both
    }

    pub fn node(self) -> NodeId {
        NodeId(self.a())
    }
}

#[derive(Clone, Copy)]
struct Entry {
    both: u64,
    at: u32,
    state: u32,
}

impl Entry {
    fn new(state: u8, value: Value) -> Entry {
        Entry { both: value.both, at: value.at, state: u32::from(state) }
    }

    /// The state that follows this one when a symbol was made.
    fn following(self, symbol: u8) -> u8 {
        FOLLOWING[self.state as usize % STATES][symbol as usize % SYMBOL_COLUMNS]
    }

    fn value(self) -> Value {
        Value { both: self.both, at: self.at }
    }
}

/// A piece of an indented string.
#[derive(Clone, Copy)]
pub(super) enum Piece {
    /// Bytes of the source.
    Text { start: u32, end: u32, at: u32 },
    /// Bytes that an escape stands for.
    Escape { byte: u8, twice: bool, at: u32 },
    /// An interpolation.
    Part { node: NodeId, at: u32 },
}

/// How many names of a text are kept at hand.
const NAMES: usize = 1024;

/// A name that was seen in this text.
#[derive(Clone, Copy)]
pub(super) struct Known {
    start: u32,
    end: u32,
    symbol: Symbol,
}

/// Where a name (of at least one byte) is kept.
fn place_of(name: &[u8]) -> usize {
    let (first, middle, last) = (name[0], name[name.len() / 2], name[name.len() - 1]);
    let mixed = u32::from(first) | u32::from(middle) << 8 | u32::from(last) << 16 | (name.len() as u32) << 24;
    (mixed.wrapping_mul(0x9e37_79b1) >> 22) as usize
}

/// A parser at work.
pub(super) struct Parser<'a> {
    pub lexer: Lexer<'a>,
    pub symbols: Interner<'a>,
    pub options: &'a ParseOptions,
    pub tree: Tree,
    /// Lists, arguments and parts that are not complete, with their places in messages.
    pub pending: Vec<(NodeId, u32)>,
    /// Steps of attribute paths that are not complete, with their places.
    pub steps: Vec<(Step, u32)>,
    /// Where to find the names of large sets: set, name, index of the binding.
    pub index: HashMap<(u32, u32), u32, std::hash::BuildHasherDefault<super::merge::PairHasher>>,
    /// Formals that are not complete.
    pub arguments: Vec<super::tree::Formal>,
    /// Names that were seen in this text.
    pub names: Box<[Known; NAMES]>,
    /// The places of calls whose arguments are not complete.
    pub starts: Vec<u32>,
}

/// Reads a text.
///
/// Names become symbols in the order in which the reference makes them: that in which
/// the parts of the text are complete (the argument of `x: e` comes after the names in `e`).
///
/// # Errors
/// The first error in the text; also texts above 1 GiB are refused.
pub fn parse<'a>(
    text: &[u8],
    symbols: impl Into<Interner<'a>>,
    options: &ParseOptions,
) -> Result<Tree, SyntaxError> {
    if text.len() > 1 << 30 {
        return Err(SyntaxError::new(0, "the text is larger than 1 GiB"));
    }
    let nodes = text.len() / 8 + 16;
    let tree = Tree {
        nodes: Vec::with_capacity(nodes),
        offsets: Vec::with_capacity(nodes),
        bytes: Vec::with_capacity(text.len() / 3 + 16),
        lists: Vec::new(),
        part_offsets: Vec::new(),
        steps: Vec::new(),
        sets: Vec::new(),
        formals: Vec::new(),
        root: NodeId(0),
        warnings: Vec::new(),
        lints: Vec::new(),
    };
    let mut parser = Parser {
        lexer: Lexer::new(text),
        symbols: symbols.into(),
        options,
        tree,
        pending: Vec::new(),
        steps: Vec::new(),
        index: HashMap::default(),
        arguments: Vec::new(),
        names: Box::new([Known { start: 0, end: 0, symbol: Symbol(0) }; NAMES]),
        starts: Vec::new(),
    };
    let result = parser.run();
    let mut tree = parser.tree;
    tree.lints = parser.lexer.lints;
    match result {
        Ok(()) => Ok(tree),
        Err(Failed) => {
            let error =
                parser.lexer.error.map_or_else(|| SyntaxError::new(0, "syntax error"), |error| *error);
            Err(SyntaxError { warnings: tree.warnings, lints: tree.lints, ..error })
        }
    }
}

impl Parser<'_> {
    fn run(&mut self) -> Result<(), Failed> {
        let mut stack: Vec<Entry> = Vec::with_capacity(64);
        stack.push(Entry::new(0, Value::default()));
        let mut state = 0u8;
        let mut token = UNREAD;
        let mut token_value = Value::default();
        loop {
            let action = TABLE[state as usize][token % COLUMNS];
            if action >= 0 {
                state = action as u8;
                stack.push(Entry::new(state, token_value));
                token = UNREAD;
            } else if action > ERROR {
                let (symbol, length, what) = RULES[(-1 - action) as usize];
                let base = stack.len() - length as usize;
                if length == 1 && what == Action::Pass {
                    state = stack[base - 1].following(symbol);
                    stack[base].state = u32::from(state);
                    continue;
                }
                let mut value = match stack.get(base) {
                    Some(entry) => entry.value(),
                    None => Value::default(),
                };
                if what != Action::Pass {
                    if what == Action::Accept {
                        self.tree.root = value.node();
                        return Ok(());
                    }
                    value = self.reduce(what, value, Arguments(&stack[base..]))?;
                }
                stack.truncate(base);
                state = stack[base - 1].following(symbol);
                stack.push(Entry::new(state, value));
            } else if action == READ {
                let (kind, value) = self.lexer.next(&mut self.tree.bytes, self.options)?;
                token = kind as usize;
                token_value = value;
            } else {
                let place = self.lexer.error_place(token_value.at);
                return Err(self.lexer.fail_with(unexpected(state.into(), token, place)));
            }
        }
    }
}

/// The symbols that a rule takes.
#[derive(Clone, Copy)]
pub(super) struct Arguments<'a>(&'a [Entry]);

impl Arguments<'_> {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value of a symbol, counted from 0.
    pub fn get(&self, number: usize) -> Value {
        self.0[number].value()
    }
}

/// The message about a token that a state does not allow; it lists up to four that it allows.
#[cold]
fn unexpected(state: usize, token: usize, offset: u32) -> SyntaxError {
    let mut message = format!("syntax error, unexpected {}", TOKEN_NAMES[token]);
    let expected: Vec<&str> = ACTIONS
        .iter()
        .filter(|(of, _, action)| *of as usize == state && *action != 0)
        .map(|(_, token, _)| TOKEN_NAMES[*token as usize])
        .collect();
    if (1..=4).contains(&expected.len()) {
        message.push_str(", expecting ");
        message.push_str(&expected.join(" or "));
    }
    SyntaxError::new(offset, message)
}

impl Parser<'_> {
    /// Adds a node.
    pub fn add(&mut self, node: Node, offset: u32) -> NodeId {
        let id = NodeId(self.tree.nodes.len() as u32);
        self.tree.nodes.push(node);
        self.tree.offsets.push(offset);
        id
    }

    /// The text of a token.
    pub fn source(&self, start: u32, end: u32) -> &[u8] {
        &self.lexer.text()[start as usize..end as usize]
    }

    /// Makes a symbol of a piece of the source.
    pub fn intern(&mut self, value: Value) -> Symbol {
        let text = self.lexer.text();
        let (start, end) = (value.a() as usize, value.b() as usize);
        let name = &text[start..end];
        let known = &mut self.names[place_of(name)];
        if text[known.start as usize..known.end as usize] == *name {
            return known.symbol;
        }
        let symbol = self.symbols.intern(name);
        *known = Known { start: value.a(), end: value.b(), symbol };
        symbol
    }
}

/// The token kinds are columns of the table.
const _: () =
    assert!((Token::Invalid as usize) < UNREAD && DEFAULTS.len() <= STATES && SYMBOLS <= SYMBOL_COLUMNS);
