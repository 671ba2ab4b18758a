//! What can go wrong in an evaluation, with the trace of where.

use std::sync::Arc;

use super::value::Position;

/// The kinds of failures; `tryEval` catches the first three.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
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

/// The result, or none for a failure other than that the user interrupted the evaluation.
///
/// # Errors
/// The user interrupted the evaluation.
pub fn unless_interrupted<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == Kind::Interrupted => Err(error),
        Err(_) => Ok(None),
    }
}

/// What a line of a trace is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
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

/// The frames of a trace, the outermost first. A trace is shared with the traces that
/// frames are added to: each thunk that a failure leaves keeps its own.
#[derive(Clone, Default, Debug)]
pub struct Trace(Option<Arc<Link>>);

#[derive(Debug)]
struct Link {
    frame: Frame,
    inner: Trace,
}

impl Trace {
    /// The frames from the outermost to the innermost.
    pub fn iter(&self) -> impl Iterator<Item = &Frame> {
        std::iter::successors(self.0.as_deref(), |link| link.inner.0.as_deref()).map(|link| &link.frame)
    }

    fn add(&mut self, frame: Frame) {
        let inner = std::mem::take(self);
        self.0 = Some(Arc::new(Link { frame, inner }));
    }
}

impl Drop for Trace {
    /// Drops one frame after the other: a trace may be longer than the stack is deep.
    fn drop(&mut self) {
        let mut next = self.0.take();
        while let Some(mut link) = next.and_then(Arc::into_inner) {
            next = link.inner.0.take();
        }
    }
}

/// A failure with its trace.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What kind it is.
    pub kind: Kind,
    /// What happened.
    pub message: Arc<str>,
    /// Where.
    pub position: Position,
    /// What was being done.
    pub trace: Trace,
    /// Names that may have been meant.
    pub suggestions: Arc<[String]>,
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
        let (message, trace) = (message.into().into(), Trace::default());
        Error(Box::new(Failure { kind, message, position: Position::NONE, trace, suggestions: Arc::new([]) }))
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
        self.0.suggestions = suggestions.into();
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
            self.0.trace.add(Frame { text, position, kind });
        }
        self
    }

    /// The same with a place for the outermost frame.
    #[must_use]
    pub fn place_last_frame(mut self, position: Position) -> Error {
        if let Some(link) = self.0.trace.0.take() {
            self.0.trace = link.inner.clone();
            self.0.trace.add(Frame { position, ..link.frame.clone() });
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn traces_share_what_they_have_in_common() {
        let kept = Error::new("x").frame(Position(1), "inner");
        let outer = kept.clone().frame(Position(2), "outer");
        let inner = &outer.failure().trace.0.as_ref().unwrap().inner;
        assert!(Arc::ptr_eq(inner.0.as_ref().unwrap(), kept.failure().trace.0.as_ref().unwrap()));
        let texts: Vec<&str> = outer.failure().trace.iter().map(|frame| &*frame.text).collect();
        assert_eq!(texts, ["outer", "inner"]);
        let placed = outer.clone().place_last_frame(Position(3));
        assert_eq!(placed.failure().trace.iter().next().unwrap().position, Position(3));
        assert_eq!(outer.failure().trace.iter().next().unwrap().position, Position(2));
    }

    #[test]
    fn a_long_trace_needs_no_deep_stack() {
        let mut error = Error::new("x");
        for _ in 0..1_000_000 {
            error = error.frame(Position::NONE, "again");
        }
        assert_eq!(error.failure().trace.iter().count(), 1_000_000);
        drop(error);
    }
}
