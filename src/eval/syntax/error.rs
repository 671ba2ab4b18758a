//! Errors and options of the parser.

/// A text that is no expression.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct SyntaxError {
    /// The place of the error in the text, in bytes.
    pub offset: u32,
    /// The message; where [`SyntaxError::other`] is set, `ORIGIN:LINE:COLUMN` of that place follows it.
    pub message: String,
    /// An earlier place with which the message ends.
    pub other: Option<u32>,
    /// What to warn of in front of the error: a place and a text.
    pub warnings: Vec<(u32, String)>,
    /// Literals in front of the error that a lint warns of: a place and a text.
    pub lints: Vec<(u32, String)>,
}

/// An error that was noted in the lexer: results of so few bytes are passed in registers.
pub(super) struct Failed;

impl SyntaxError {
    /// An error at a place.
    pub(super) fn new(offset: u32, message: impl Into<String>) -> SyntaxError {
        SyntaxError { offset, message: message.into(), other: None, warnings: Vec::new(), lints: Vec::new() }
    }
}

/// What is done about a form that is legal but discouraged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lint {
    /// Nothing.
    #[default]
    Ignore,
    /// A warning.
    Warn,
    /// An error.
    Fatal,
}

/// How a text is read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ParseOptions {
    /// The absolute directory of relative paths, without `.` and `..`.
    pub base: Vec<u8>,
    /// The directory that `~` stands for; without it, paths in the home directory are errors.
    pub home: Option<Vec<u8>>,
    /// Whether `|>` and `<|` are operators (experimental feature `pipe-operators`).
    pub pipe_operators: bool,
    /// Setting `lint-url-literals`.
    pub url_literals: Lint,
    /// Setting `lint-short-path-literals`.
    pub short_path_literals: Lint,
    /// Setting `lint-absolute-path-literals`.
    pub absolute_path_literals: Lint,
}
