//! What may stand between `[` and `]`.
//!
//! ```text
//! bracket = "[" [ "^" ] first item* "]"         first may be a literal "]" or "-"
//! item    = byte | byte "-" byte | "[:" class ":]" | "[." name ".]" | "[=" name "=]"
//! ```
//!
//! A backslash is literal. Ranges compare signed bytes, so those from 0x80 on come
//! before `a`. Neither a range nor a class can begin another range.

use super::Fault;

/// A set of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct ByteSet([u64; 4]);

impl ByteSet {
    /// Every byte.
    pub fn all() -> ByteSet {
        ByteSet([u64::MAX; 4])
    }

    pub fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
    }

    pub fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    pub fn add(&mut self, other: &ByteSet) {
        self.0.iter_mut().zip(other.0).for_each(|(ours, theirs)| *ours |= theirs);
    }

    fn insert_where(&mut self, belongs: impl Fn(u8) -> bool) {
        (0..=u8::MAX).filter(|byte| belongs(*byte)).for_each(|byte| self.insert(byte));
    }

    fn negate(&mut self) {
        self.0.iter_mut().for_each(|word| *word = !*word);
    }
}

/// What came last, which may yet begin a range.
enum Last {
    Nothing,
    Byte(u8),
    Class,
}

enum Item<'p> {
    Byte(u8),
    Dash,
    Class(&'p [u8]),
    Symbol(&'p [u8]),
    Equivalents(&'p [u8]),
    End,
}

struct Items<'p> {
    rest: &'p [u8],
    at_start: bool,
}

impl<'p> Items<'p> {
    fn next(&mut self) -> Result<Item<'p>, Fault> {
        let (byte, rest) = self.rest.split_first().ok_or(Fault::Invalid)?;
        self.rest = rest;
        let at_start = std::mem::take(&mut self.at_start);
        match byte {
            b'-' => Ok(Item::Dash),
            b']' if !at_start => Ok(Item::End),
            b'[' => match rest.first().ok_or(Fault::Invalid)? {
                b':' => self.name(b':').map(Item::Class),
                b'.' => self.name(b'.').map(Item::Symbol),
                b'=' => self.name(b'=').map(Item::Equivalents),
                _ => Ok(Item::Byte(b'[')),
            },
            byte => Ok(Item::Byte(*byte)),
        }
    }

    /// The name between two marks, of which the second is followed by `]`.
    fn name(&mut self, mark: u8) -> Result<&'p [u8], Fault> {
        let rest = &self.rest[1..];
        let end = rest.iter().position(|byte| *byte == mark).ok_or(Fault::Invalid)?;
        self.rest = rest[end + 1..].strip_prefix(b"]").ok_or(Fault::Invalid)?;
        Ok(&rest[..end])
    }
}

/// Reads what follows `[`; gives the set and what follows its `]`.
pub(super) fn parse(rest: &[u8]) -> Result<(ByteSet, &[u8]), Fault> {
    let (negated, rest) = match rest.strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let mut items = Items { rest, at_start: true };
    let mut set = ByteSet::default();
    let mut last = Last::Nothing;
    let mut at_start = true;
    loop {
        let item = items.next()?;
        let first = std::mem::take(&mut at_start);
        match item {
            Item::End => break,
            Item::Byte(byte) => push(&mut set, &mut last, Last::Byte(byte)),
            Item::Dash if first => push(&mut set, &mut last, Last::Byte(b'-')),
            Item::Dash => {
                let end = match items.next()? {
                    Item::End => {
                        push(&mut set, &mut last, Last::Byte(b'-'));
                        break;
                    }
                    Item::Byte(byte) => byte,
                    Item::Dash => b'-',
                    _ => return Err(Fault::Invalid),
                };
                let Last::Byte(start) = std::mem::replace(&mut last, Last::Nothing) else {
                    return Err(Fault::Invalid);
                };
                add_range(&mut set, start, end)?;
            }
            Item::Class(name) => {
                push(&mut set, &mut last, Last::Class);
                add_class(&mut set, name)?;
            }
            Item::Symbol(name) => {
                let byte = collating_symbol(name).ok_or(Fault::Invalid)?;
                push(&mut set, &mut last, Last::Byte(byte));
            }
            Item::Equivalents(name) => {
                push(&mut set, &mut last, Last::Class);
                let byte = collating_symbol(name).ok_or(Fault::Invalid)?;
                set.insert(byte.to_ascii_lowercase());
                set.insert(byte.to_ascii_uppercase());
            }
        }
    }
    push(&mut set, &mut last, Last::Nothing);
    if negated {
        set.negate();
    }
    Ok((set, items.rest))
}

/// Adds the byte that came last to the set, since it begins no range.
fn push(set: &mut ByteSet, last: &mut Last, now: Last) {
    if let Last::Byte(byte) = std::mem::replace(last, now) {
        set.insert(byte);
    }
}

fn add_range(set: &mut ByteSet, start: u8, end: u8) -> Result<(), Fault> {
    let range = start as i8..=end as i8;
    if range.is_empty() {
        return Err(Fault::Invalid);
    }
    set.insert_where(|byte| range.contains(&(byte as i8)));
    Ok(())
}

fn add_class(set: &mut ByteSet, name: &[u8]) -> Result<(), Fault> {
    let belongs: fn(&u8) -> bool = match name.to_ascii_lowercase().as_slice() {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"d" | b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| matches!(byte, b' '..=b'~'),
        b"punct" => u8::is_ascii_punctuation,
        b"s" | b"space" => |byte| matches!(byte, b' ' | b'\t'..=b'\r'),
        b"upper" => u8::is_ascii_uppercase,
        b"w" => |byte| byte.is_ascii_alphanumeric() || *byte == b'_',
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return Err(Fault::Invalid),
    };
    set.insert_where(|byte| belongs(&byte));
    Ok(())
}

/// Names of the bytes before the letters, from 0 on.
const CONTROLS_AND_SIGNS: &str = "NUL SOH STX ETX EOT ENQ ACK alert backspace tab newline vertical-tab \
    form-feed carriage-return SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC IS4 IS3 IS2 IS1 space \
    exclamation-mark quotation-mark number-sign dollar-sign percent-sign ampersand apostrophe \
    left-parenthesis right-parenthesis asterisk plus-sign comma hyphen period slash zero one two three \
    four five six seven eight nine colon semicolon less-than-sign equals-sign greater-than-sign \
    question-mark commercial-at";

/// Names of the bytes between upper and lower case, from `[` on.
const MIDDLE_SIGNS: &str =
    "left-square-bracket backslash right-square-bracket circumflex underscore grave-accent";

/// Names of the bytes after the letters, from `{` on.
const LAST_SIGNS: &str = "left-curly-bracket vertical-line right-curly-bracket tilde DEL";

fn collating_symbol(name: &[u8]) -> Option<u8> {
    if let [letter] = name {
        return letter.is_ascii_alphabetic().then_some(*letter);
    }
    [(0, CONTROLS_AND_SIGNS), (b'[', MIDDLE_SIGNS), (b'{', LAST_SIGNS)].iter().find_map(|(first, names)| {
        let at = names.split(' ').position(|other| other.as_bytes() == name)?;
        u8::try_from(at).ok()?.checked_add(*first)
    })
}
