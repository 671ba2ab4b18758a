//! What a builder prints, in lines as people see them.
//!
//! A carriage return discards what stands before it on its line, since a terminal would print over
//! it; sequences that colour or move are left out. A line that begins with `@nix ` and goes on
//! as JSON is a message: the log file has it, a reader of lines sees what it means.

use std::collections::VecDeque;

use super::messages::Messages;
use crate::progress::{ActivityId, Event, Field, Progress, result_kind::BUILD_LOG_LINE};

/// The greatest number of bytes in a line; what is longer comes in several.
const MAX_LINE: usize = 1 << 20;

/// What messages begin with.
const MESSAGE: &str = "@nix ";

pub(super) struct Lines {
    /// What came after the last end of a line.
    line: Vec<u8>,
    tail: VecDeque<String>,
    limit: usize,
    messages: Messages,
}

impl Lines {
    /// Remembers the last lines, so many.
    pub(super) fn new(limit: usize) -> Self {
        Self { line: Vec::new(), tail: VecDeque::new(), limit, messages: Messages::default() }
    }

    pub(super) fn take(&mut self, bytes: &[u8], told: &dyn Progress, activity: ActivityId) {
        for &byte in bytes {
            match byte {
                b'\r' => self.line.clear(),
                b'\n' => self.end(told, activity),
                byte => {
                    if self.line.len() >= MAX_LINE {
                        self.end(told, activity);
                    }
                    self.line.push(byte);
                }
            }
        }
    }

    pub(super) fn finish(&mut self, told: &dyn Progress, activity: ActivityId) {
        if !self.line.is_empty() {
            self.end(told, activity);
        }
        self.messages.finish(told);
    }

    pub(super) fn tail(&self) -> &VecDeque<String> {
        &self.tail
    }

    fn end(&mut self, told: &dyn Progress, activity: ActivityId) {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        if let Some(message) = line.strip_prefix(MESSAGE)
            && self.messages.obey(message, told, activity)
        {
            return;
        }
        let line = plain(&line);
        if self.limit > 0 {
            if self.tail.len() == self.limit {
                self.tail.pop_front();
            }
            self.tail.push_back(line.clone());
        }
        let fields = vec![Field::Text(line)];
        told.forward(&Event::Result { id: activity.0, kind: BUILD_LOG_LINE, fields });
    }
}

/// The text without sequences for terminals: `ESC [ … letter`, `ESC ] … BEL`, and `ESC` with one
/// character.
fn plain(line: &str) -> String {
    const ESCAPE: char = '\u{1b}';
    const BELL: char = '\u{7}';
    let mut shown = String::with_capacity(line.len());
    let mut rest = line.chars().peekable();
    while let Some(character) = rest.next() {
        if character != ESCAPE {
            shown.push(character);
            continue;
        }
        match rest.next() {
            Some('[') => {
                while rest.next_if(|c| ('\u{20}'..='\u{3f}').contains(c)).is_some() {}
                let _ = rest.next_if(|c| ('\u{40}'..='\u{7e}').contains(c));
            }
            Some(']') => {
                while let Some(character) = rest.next() {
                    match character {
                        BELL => break,
                        // The other end is `ESC \`.
                        ESCAPE => {
                            let _ = rest.next_if_eq(&'\\');
                            break;
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    shown
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Watcher(Mutex<Vec<String>>);

    impl Progress for Watcher {
        fn notice(&self, text: &str) {
            self.0.lock().unwrap().push(format!("notice {text}"));
        }

        fn problem(&self, text: &str) {
            self.0.lock().unwrap().push(format!("problem {text}"));
        }

        fn start(&self, activity: &crate::progress::Activity<'_>) -> ActivityId {
            let (text, parent) = (activity.text, activity.parent.0);
            self.0.lock().unwrap().push(format!("start {text} of {parent}"));
            ActivityId(900)
        }

        fn stop(&self, id: ActivityId) {
            self.0.lock().unwrap().push(format!("stop {}", id.0));
        }

        fn forward(&self, event: &Event) {
            let Event::Result { id, kind, fields } = event else { panic!("{event:?}") };
            let text = match fields.as_slice() {
                [Field::Text(text)] => text.clone(),
                other => format!("{other:?}"),
            };
            self.0.lock().unwrap().push(match kind {
                101 => text,
                kind => format!("result {id} {kind} {text}"),
            });
        }
    }

    /// What is told of some output, and the last two lines.
    fn told(pieces: &[&[u8]]) -> (Vec<String>, Vec<String>) {
        let (mut lines, watcher) = (Lines::new(2), Watcher::default());
        for piece in pieces {
            lines.take(piece, &watcher, ActivityId(7));
        }
        lines.finish(&watcher, ActivityId(7));
        (watcher.0.into_inner().unwrap(), lines.tail.into_iter().collect())
    }

    #[test]
    fn lines_as_a_terminal_shows_them() {
        let (seen, tail) = told(&[b"one\ntw", b"o\n\n50%\r100%\ncrlf\r\n", b"last"]);
        assert_eq!(seen, ["one", "two", "", "100%", "", "last"]);
        assert_eq!(tail, ["", "last"]);
        let (seen, _) = told(&[b"\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x1b\\\tb\x08\xff\n"]);
        assert_eq!(seen, ["red link\tb\u{8}\u{fffd}"]);
        // What has no end takes the rest of its line, and no more.
        assert_eq!(told(&[b"a\x1b[\nb\x1b]x\nc\x1b\nd"]).0, ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_line_without_an_end_takes_little_memory() {
        let piece = [b'x'; 1 << 16];
        let (seen, _) = told(&[&piece[..]; 40]);
        assert_eq!(seen.iter().map(String::len).collect::<Vec<_>>(), [MAX_LINE, MAX_LINE, 1 << 19]);
    }

    #[test]
    fn messages_are_obeyed() {
        let (seen, tail) = told(&[
            b"@nix {\"action\":\"setPhase\",\"phase\":\"unpack\"}\n",
            b"@nix {\"action\":\"start\",\"id\":3,\"level\":4,\"type\":101,\"text\":\"down\",\"parent\":0,\"fields\":[\"u\"]}\n",
            b"@nix {\"action\":\"start\",\"id\":4,\"level\":4,\"type\":100,\"text\":\"no\",\"parent\":0}\n",
            b"@nix {\"action\":\"result\",\"id\":3,\"type\":105,\"fields\":[1,2,0,0]}\n",
            b"@nix {\"action\":\"result\",\"id\":4,\"type\":105,\"fields\":[1,2,0,0]}\n",
            b"@nix {\"action\":\"stop\",\"id\":4}\n@nix {\"action\":\"stop\",\"id\":3}\n",
            b"@nix {\"action\":\"msg\",\"level\":3,\"msg\":\"hello\"}\n@nix {\"action\":\"msg\",\"level\":7,\"msg\":\"no\"}\n",
            b" @nix {}\n",
        ]);
        assert_eq!(
            seen,
            [
                "result 7 104 unpack",
                "start down of 7",
                "result 900 105 [Number(1), Number(2), Number(0), Number(0)]",
                "stop 900",
                "notice hello",
                " @nix {}"
            ]
        );
        assert_eq!(tail, [" @nix {}"]);
    }

    #[test]
    fn a_bad_message_is_a_line() {
        let (seen, _) = told(&[b"@nix {bad\n@nix 3\n"]);
        assert_eq!(seen.len(), 3, "{seen:?}");
        assert!(
            seen[0].starts_with("problem bad JSON log message from the derivation builder: "),
            "{seen:?}"
        );
        assert_eq!(seen[1..], ["@nix {bad", "@nix 3"]);
    }

    #[test]
    fn what_a_builder_began_is_ended_with_it() {
        let (seen, _) = told(&[b"@nix {\"action\":\"start\",\"id\":3,\"type\":101,\"text\":\"down\"}\n"]);
        assert_eq!(seen, ["start down of 7", "stop 900"]);
    }
}
