//! Values as XML, which `toXML` and `--xml` give: elements of which each has a line.

use std::io;

/// What comes before the first element.
pub const HEAD: &[u8] = b"<?xml version='1.0' encoding='utf-8'?>\n";

/// Writes elements, two blanks further in for each one that is open.
pub struct Writer<W> {
    out: W,
    open: Vec<&'static str>,
}

impl<W: io::Write> Writer<W> {
    /// Begins a document.
    ///
    /// # Errors
    /// Writing to `out` fails.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(HEAD)?;
        Ok(Writer { out, open: Vec::new() })
    }

    /// Writes an element without content.
    ///
    /// # Errors
    /// Writing fails.
    pub fn empty(&mut self, name: &str, attributes: &[(&str, &[u8])]) -> io::Result<()> {
        self.tag(name, attributes)?;
        self.out.write_all(b" />\n")
    }

    /// Writes the opening tag of an element.
    ///
    /// # Errors
    /// Writing fails.
    pub fn begin(&mut self, name: &'static str, attributes: &[(&str, &[u8])]) -> io::Result<()> {
        self.tag(name, attributes)?;
        self.open.push(name);
        self.out.write_all(b">\n")
    }

    /// Writes the closing tag of the element that was opened last.
    ///
    /// # Errors
    /// Writing fails.
    pub fn end(&mut self) -> io::Result<()> {
        let Some(name) = self.open.pop() else { return Ok(()) };
        self.indent()?;
        writeln!(self.out, "</{name}>")
    }

    /// Closes the elements that are open and gives back what was written to.
    ///
    /// # Errors
    /// Writing fails.
    pub fn finish(mut self) -> io::Result<W> {
        while !self.open.is_empty() {
            self.end()?;
        }
        Ok(self.out)
    }

    fn indent(&mut self) -> io::Result<()> {
        const BLANKS: [u8; 128] = [b' '; 128];
        let mut left = 2 * self.open.len();
        while left > 0 {
            let now = left.min(BLANKS.len());
            self.out.write_all(&BLANKS[..now])?;
            left -= now;
        }
        Ok(())
    }

    fn tag(&mut self, name: &str, attributes: &[(&str, &[u8])]) -> io::Result<()> {
        self.indent()?;
        write!(self.out, "<{name}")?;
        for (name, value) in attributes {
            write!(self.out, " {name}=\"")?;
            self.escaped(value)?;
            self.out.write_all(b"\"")?;
        }
        Ok(())
    }

    fn escaped(&mut self, text: &[u8]) -> io::Result<()> {
        let mut copied = 0;
        for (at, byte) in text.iter().enumerate() {
            let escape: &[u8] = match byte {
                b'"' => b"&quot;",
                b'<' => b"&lt;",
                b'>' => b"&gt;",
                b'&' => b"&amp;",
                b'\n' => b"&#xA;",
                _ => continue,
            };
            self.out.write_all(&text[copied..at])?;
            self.out.write_all(escape)?;
            copied = at + 1;
        }
        self.out.write_all(&text[copied..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements() -> io::Result<()> {
        let mut writer = Writer::new(Vec::new())?;
        writer.begin("expr", &[])?;
        writer.begin("attrs", &[])?;
        writer.begin("attr", &[("column", b"3"), ("line", b"1"), ("name", b"a")])?;
        writer.empty("string", &[("value", b"<a href=\"b\">&'\n\t\r\xff")])?;
        writer.end()?;
        writer.end()?;
        writer.begin("list", &[])?;
        writer.end()?;
        writer.empty("null", &[])?;
        let text = writer.finish()?;
        let expected = b"<?xml version='1.0' encoding='utf-8'?>
<expr>
  <attrs>
    <attr column=\"3\" line=\"1\" name=\"a\">
      <string value=\"&lt;a href=&quot;b&quot;&gt;&amp;'&#xA;\t\r\xff\" />
    </attr>
  </attrs>
  <list>
  </list>
  <null />
</expr>
";
        assert_eq!(text.escape_ascii().to_string(), expected.escape_ascii().to_string());
        Ok(())
    }
}
