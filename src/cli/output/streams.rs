//! Standard output and standard input of the programs.

use std::io::{self, IsTerminal as _, Write as _};

use nival::sys::interrupt::{self, Interruptible};

use crate::cli::signals;

/// Nobody reads the output any more, which is no failure worth a message.
#[derive(Debug, thiserror::Error)]
#[error("broken pipe")]
pub struct BrokenPipe {
    /// The exit status of the program.
    pub status: u8,
}

/// Bytes gathered before they are written.
const BUFFER: usize = 64 * 1024;

/// The columns of the terminal that standard output is, if it is one and says so.
pub fn terminal_columns() -> Option<usize> {
    let output = io::stdout();
    let size = output.is_terminal().then(|| rustix::termios::tcgetwinsize(&output).ok()).flatten()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Standard output, written in large pieces.
///
/// [`Out::finish`] writes what is left and tells of failures; without it, when
/// an operation fails half-way, what was found till then is still written.
#[derive(Default)]
pub struct Out {
    buffer: Vec<u8>,
}

impl Out {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// A line.
    ///
    /// # Errors
    /// [`BrokenPipe`] when nobody reads; any other failure to write.
    pub fn line(&mut self, line: impl std::fmt::Display) -> anyhow::Result<()> {
        writeln!(self.buffer, "{line}")?;
        self.drain_if_full()
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.buffer.extend_from_slice(bytes);
        self.drain_if_full()
    }

    fn drain_if_full(&mut self) -> anyhow::Result<()> {
        if self.buffer.len() >= BUFFER { self.drain() } else { Ok(()) }
    }

    fn drain(&mut self) -> anyhow::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let result = nival::sys::write_all(stdout_file(), &self.buffer);
        self.buffer.clear();
        interrupt::check()?;
        match result {
            Ok(()) => Ok(()),
            // A reader that has seen enough; the reference ends well here too.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(BrokenPipe { status: 0 }.into()),
            Err(error) => Err(anyhow::anyhow!("writing the output: {}", nival::sys::errno_text(&error))),
        }
    }

    /// Writes what is left.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.drain()
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        // On the way out with another error.
        let _ = self.drain();
    }
}

impl io::Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = nival::sys::write_all(stdout_file(), &self.buffer);
        // What was not written is not written later either.
        self.buffer.clear();
        result
    }
}

/// Standard output without a buffer of its own.
pub fn stdout_file() -> &'static std::fs::File {
    use std::os::fd::AsFd as _;
    static FILE: std::sync::OnceLock<std::fs::File> = std::sync::OnceLock::new();
    FILE.get_or_init(|| {
        let closed = nival::sys::closed::stdout_was_closed();
        let file: std::fs::File = match io::stdout().as_fd().try_clone_to_owned() {
            Ok(fd) if !closed => fd.into(),
            // Standard output is closed: every write is to fail.
            _ => std::fs::File::open("/dev/null").unwrap_or_else(|_| std::process::abort()),
        };
        if file.metadata().is_ok_and(|meta| !meta.is_file()) {
            // A reader that takes nothing would keep us from seeing a signal.
            // Without this, a second signal still ends the process.
            let _ = signals::end_when_stuck(|| {
                let _ = io::stderr().write_all(b"error: interrupted by the user\n");
                std::process::exit(1);
            });
        }
        file
    })
}

/// Standard input; a signal ends the wait for it.
///
/// It has no buffer of its own, in which the wait would not see what is there.
pub fn stdin() -> Interruptible<std::fs::File> {
    use std::os::fd::AsFd as _;
    Interruptible(match io::stdin().as_fd().try_clone_to_owned() {
        Ok(fd) => fd.into(),
        // Standard input is closed: there is nothing to read.
        Err(_) => std::fs::File::open("/dev/null").unwrap_or_else(|_| std::process::abort()),
    })
}

/// All of standard input, which must be text.
///
/// # Errors
/// A signal while waiting; input that cannot be read or is not UTF-8.
pub fn read_stdin() -> anyhow::Result<String> {
    String::from_utf8(read_stdin_bytes()?).map_err(|_| anyhow::anyhow!("standard input is not UTF-8"))
}

/// The words of standard input, separated by blanks or line breaks.
///
/// # Errors
/// As [`read_stdin`].
pub fn read_stdin_words() -> anyhow::Result<Vec<String>> {
    Ok(read_stdin()?.split_ascii_whitespace().map(str::to_owned).collect())
}

/// All of standard input.
///
/// # Errors
/// A signal while waiting; input that cannot be read.
pub fn read_stdin_bytes() -> anyhow::Result<Vec<u8>> {
    use io::Read as _;
    let mut stdin = stdin();
    let mut input = Vec::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        // The reader gives up waiting when a signal comes, and so does this.
        interrupt::check()?;
        match stdin.read(&mut buffer) {
            Ok(0) => return Ok(input),
            Ok(count) => input.extend_from_slice(&buffer[..count]),
            Err(failure) => {
                interrupt::check()?;
                return Err(nival::sys::PathError::new("reading", "standard input", failure).into());
            }
        }
    }
}
