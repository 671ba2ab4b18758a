//! What can go wrong in an evaluation, with the trace of where.

use super::heap::boxed;
use super::value::Position;

/// The kinds of failures; `tryEval` catches the first three.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `throw`
    Throw,
    /// A failed `assert`.
    Assertion,
    /// A name that is not in the search path.
    Lookup,
    /// `abort`
    Abort,
    /// Calls nested too deeply, or the stack used up.
    Depth,
    /// A value that needs itself.
    Recursion,
    /// A text that cannot be parsed.
    Syntax,
    /// A build or fetch that failed, with the exit status of the program.
    World(u8),
    /// A word that is none of those a builtin knows; programs tell where to find them.
    Usage,
    /// The user interrupted the evaluation.
    Interrupted,
    /// Anything else.
    Other,
}

/// What a line of a trace is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameKind {
    /// Shown within the limits of a short trace.
    Usual,
    /// Shown with `--show-trace` only.
    Call,
    /// A text of `addErrorContext`: always shown.
    Added,
}

/// One line of a trace.
#[derive(Clone, Debug)]
pub struct Frame {
    /// What was being done.
    pub text: String,
    /// Where.
    pub position: Position,
    /// When it is shown.
    pub kind: FrameKind,
}

/// A failure with its trace.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What kind it is.
    pub kind: Kind,
    /// What happened.
    pub message: String,
    /// Where.
    pub position: Position,
    /// The trace, the innermost frame first.
    pub frames: Vec<Frame>,
    /// Names that may have been meant.
    pub suggestions: Vec<String>,
}

/// A failed evaluation.
#[derive(Clone, Debug)]
pub struct Error(Box<Failure>);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

impl Error {
    /// A failure of the usual kind without a place.
    #[cold]
    pub fn new(message: impl Into<String>) -> Error {
        Error::of(Kind::Other, message)
    }

    /// A failure of some kind without a place.
    #[cold]
    pub fn of(kind: Kind, message: impl Into<String>) -> Error {
        let (message, frames) = (message.into(), Vec::new());
        Error(boxed(Failure { kind, message, position: Position::NONE, frames, suggestions: Vec::new() }))
    }

    /// The same with a place.
    #[must_use]
    pub fn at(mut self, position: Position) -> Error {
        self.0.position = position;
        self
    }

    /// The same with names that may have been meant.
    #[must_use]
    pub fn suggest(mut self, suggestions: Vec<String>) -> Error {
        self.0.suggestions = suggestions;
        self
    }

    /// The same with one more, outer, frame of the usual kind.
    #[must_use]
    pub fn frame(self, position: Position, text: impl Into<String>) -> Error {
        self.frame_of(FrameKind::Usual, position, text)
    }

    /// The same with one more, outer, frame; none where there is no text.
    #[must_use]
    pub fn frame_of(mut self, kind: FrameKind, position: Position, text: impl Into<String>) -> Error {
        let text = text.into();
        if !text.is_empty() {
            self.0.frames.push(Frame { text, position, kind });
        }
        self
    }

    /// The same with a place for the outermost frame.
    #[must_use]
    pub fn place_last_frame(mut self, position: Position) -> Error {
        if let Some(frame) = self.0.frames.last_mut() {
            frame.position = position;
        }
        self
    }

    /// The failure.
    pub fn failure(&self) -> &Failure {
        &self.0
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Whether `tryEval` catches the failure.
    pub fn is_catchable(&self) -> bool {
        matches!(self.0.kind, Kind::Throw | Kind::Assertion | Kind::Lookup)
    }
}

/// Adds frames to failures on their way out; costs nothing where nothing failed.
pub trait Traced<T> {
    /// Adds a frame without a place.
    ///
    /// # Errors
    /// The failure, with the frame.
    fn during(self, text: &str) -> Result<T, Error>;

    /// Adds a frame with a place.
    ///
    /// # Errors
    /// The failure, with the frame.
    fn during_at(self, position: Position, text: impl FnOnce() -> String) -> Result<T, Error>;

    /// Gives the failure a place, if it has none.
    ///
    /// # Errors
    /// The failure, with the place.
    fn located(self, position: Position) -> Result<T, Error>;
}

impl<T> Traced<T> for Result<T, Error> {
    #[inline]
    fn during(self, text: &str) -> Result<T, Error> {
        match self {
            Ok(value) => Ok(value),
            Err(error) => Err(error.frame(Position::NONE, text)),
        }
    }

    #[inline]
    fn during_at(self, position: Position, text: impl FnOnce() -> String) -> Result<T, Error> {
        match self {
            Ok(value) => Ok(value),
            Err(error) => Err(error.frame(position, text())),
        }
    }

    #[inline]
    fn located(self, position: Position) -> Result<T, Error> {
        match self {
            Err(error) if error.0.position == Position::NONE => Err(error.at(position)),
            other => other,
        }
    }
}
