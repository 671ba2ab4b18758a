//! Failures as the text that users see: trace, message, places with excerpts.

use std::collections::BTreeSet;

use super::error::{Error, Frame, FrameKind, Trace};
use super::shared::Shared;
use super::value::Position;

/// A short trace ends when its frames cost more than this.
const BUDGET: u32 = 3;
/// A run of more repeated frames than this is told as their number.
const MOST_DUPLICATES: usize = 5;

impl Shared<'_> {
    /// The text of a failure, without the word `error:` in front and without a line end.
    /// `whole` tells every frame.
    pub fn report(&self, error: &Error, whole: bool) -> String {
        let failure = error.failure();
        let mut frames = String::new();
        let cut = self.frames(&failure.trace, whole, &mut frames);
        let message = failure.message.replace('\n', "\n       ");
        let mut tail = String::new();
        self.place_lines(failure.position, 7, &mut tail);
        if let Some(line) = meant(&failure.suggestions) {
            tail.push_str("\n       ");
            tail.push_str(&line.replace('\n', "\n       "));
        }
        if frames.is_empty() && !cut {
            return format!(" {message}{tail}");
        }
        if cut {
            frames.push_str(
                "       (stack trace truncated; use '--show-trace' to show the full, detailed trace)\n\n",
            );
        }
        format!("\n{frames}       error: {message}{tail}")
    }

    /// Writes the frames from the outermost in; tells whether some were left out.
    fn frames(&self, frames: &Trace, whole: bool, out: &mut String) -> bool {
        let (mut spent, mut cut) = (0, false);
        let mut seen: BTreeSet<(&str, Position)> = BTreeSet::new();
        let mut duplicates: Vec<&Frame> = Vec::new();
        for frame in frames.iter() {
            if !whole {
                if frame.kind == FrameKind::Call {
                    continue;
                }
                if spent > BUDGET && frame.kind != FrameKind::Added {
                    cut = true;
                    continue;
                }
            }
            if !seen.insert((&frame.text, frame.position)) {
                duplicates.push(frame);
                continue;
            }
            // Frames that were told before cost nothing.
            spent += if frame.position == Position::NONE { 1 } else { 2 };
            self.flush(&mut duplicates, out);
            self.frame(frame, out);
        }
        self.flush(&mut duplicates, out);
        cut
    }

    fn flush(&self, duplicates: &mut Vec<&Frame>, out: &mut String) {
        if duplicates.len() > MOST_DUPLICATES {
            out.push_str(&format!("       ({} duplicate frames omitted)\n\n", duplicates.len()));
            duplicates.clear();
        }
        for frame in duplicates.drain(..) {
            self.frame(frame, out);
        }
    }

    fn frame(&self, frame: &Frame, out: &mut String) {
        out.push_str("       … ");
        // Later lines of a text of `addErrorContext` stand as the reference puts them.
        let pad = if frame.kind == FrameKind::Added { 7 } else { 9 };
        out.push_str(&frame.text.replace('\n', &format!("\n{}", " ".repeat(pad))));
        self.place_lines(frame.position, 9, out);
        out.push_str("\n\n");
    }

    /// `at FILE:1:2:` and the lines around, each with a line end in front.
    pub fn place_lines(&self, position: Position, indent: usize, out: &mut String) {
        let Some((source, offset)) = self.sources.find(position) else { return };
        let pad = " ".repeat(indent);
        let Some(text) = self.text_of(&source) else {
            out.push_str(&format!("\n{pad}at {}:", source.origin.name()));
            return;
        };
        let Some((line, column)) = source.line_and_column(offset, || Some(text.clone())) else { return };
        out.push_str(&format!("\n{pad}at {}:{line}:{column}:", source.origin.name()));
        excerpt(&text, line, column, out);
    }
}

/// The lines of a text, split at LF, CR LF and CR.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    let (mut lines, mut start, mut index) = (Vec::new(), 0, 0);
    while index < text.len() {
        if text[index] == b'\n' || text[index] == b'\r' {
            lines.push(&text[start..index]);
            if text[index] == b'\r' && text.get(index + 1) == Some(&b'\n') {
                index += 1;
            }
            start = index + 1;
        }
        index += 1;
    }
    lines.push(&text[start..]);
    lines
}

/// The line of a place with its neighbours and a caret, each with a line end in front.
fn excerpt(text: &[u8], line: u32, column: u32, out: &mut String) {
    if text.is_empty() {
        return;
    }
    let lines = lines(text);
    let one = |number: u32, out: &mut String| {
        let Some(content) = lines.get(number.wrapping_sub(1) as usize) else { return };
        let gap = if content.is_empty() { "" } else { " " };
        out.push_str(&format!("\n{number:>13}|{gap}{}", String::from_utf8_lossy(content)));
    };
    one(line.wrapping_sub(1), out);
    one(line, out);
    out.push_str(&format!("\n{}| {}^", " ".repeat(13), " ".repeat(column as usize - 1)));
    one(line + 1, out);
}

/// `Did you mean …?`
pub fn meant(suggestions: &[String]) -> Option<String> {
    match suggestions {
        [] => None,
        [one] => Some(format!("Did you mean {one}?")),
        [first @ .., last] => Some(format!("Did you mean one of {} or {last}?", first.join(", "))),
    }
}
