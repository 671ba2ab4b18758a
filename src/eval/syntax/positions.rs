//! Lines and columns of places in a text, and the excerpts that messages show.

/// A line and a column, both counted from 1; columns count bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// Finds the line and column of a byte. A line ends with LF, CR LF or a lone CR.
pub fn position(text: &[u8], offset: u32) -> Position {
    let end = (offset as usize).min(text.len());
    let (mut line, mut start) = (1, 0);
    while let Some(next) = line_end(text, start)
        && next <= end
    {
        line += 1;
        start = next;
    }
    Position { line, column: (end - start) as u32 + 1 }
}

/// Where the line that begins at `start` ends, behind its line end; nothing for the last line.
fn line_end(text: &[u8], start: usize) -> Option<usize> {
    let at = start + text[start..].iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
    let pair = text[at] == b'\r' && text.get(at + 1) == Some(&b'\n');
    Some(at + if pair { 2 } else { 1 })
}

/// Where each line of a text begins: many places of one text are found quickly.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lines(Vec<u32>);

impl Lines {
    /// Notes the lines of a text.
    pub fn new(text: &[u8]) -> Lines {
        let mut starts = vec![0];
        let mut start = 0;
        while let Some(next) = line_end(text, start) {
            starts.push(next as u32);
            start = next;
        }
        Lines(starts)
    }

    /// Finds the line and column of a byte.
    pub fn position(&self, offset: u32) -> Position {
        let line = self.0.partition_point(|start| *start <= offset);
        Position { line: line as u32, column: offset - self.0[line - 1] + 1 }
    }
}

/// Renders `at ORIGIN:LINE:COLUMN:` and, below it, the line of a place with its neighbours and a caret, each
/// line indented by `indent` blanks and ended by LF. An empty text has no excerpt.
pub fn excerpt(text: &[u8], origin: &[u8], offset: u32, indent: usize) -> Vec<u8> {
    let Position { line, column } = position(text, offset);
    let margin = vec![b' '; indent];
    let mut out = margin.clone();
    out.extend_from_slice(b"at ");
    out.extend_from_slice(origin);
    out.extend_from_slice(format!(":{line}:{column}:\n").as_bytes());
    let start = (offset as usize).min(text.len()) + 1 - column as usize;
    let here = line_at(text, start);
    if text.is_empty() {
        return out;
    }
    if start > 0 {
        numbered(&mut out, &margin, line - 1, line_at(text, start_of_line_before(text, start)));
    }
    numbered(&mut out, &margin, line, here);
    out.extend_from_slice(&margin);
    out.extend_from_slice(b"     | ");
    out.resize(out.len() + column as usize - 1, b' ');
    out.extend_from_slice(b"^\n");
    if let Some(next) = line_end(text, start)
        && next < text.len()
    {
        numbered(&mut out, &margin, line + 1, line_at(text, next));
    }
    out
}

/// The line that begins at `start`, without its line end.
fn line_at(text: &[u8], start: usize) -> &[u8] {
    let rest = &text[start..];
    &rest[..rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len())]
}

/// Where the line before the one that begins at `start` begins.
fn start_of_line_before(text: &[u8], start: usize) -> usize {
    let mut end = start - 1;
    if text[end] == b'\n' && end > 0 && text[end - 1] == b'\r' {
        end -= 1;
    }
    text[..end].iter().rposition(|byte| matches!(byte, b'\n' | b'\r')).map_or(0, |at| at + 1)
}

fn numbered(out: &mut Vec<u8>, margin: &[u8], number: u32, line: &[u8]) {
    out.extend_from_slice(margin);
    out.extend_from_slice(format!("{number:>5}|").as_bytes());
    if !line.is_empty() {
        out.push(b' ');
        out.extend_from_slice(line);
    }
    out.push(b'\n');
}
