//! What can be wrong with an expression or a template.

use std::{fmt, ops::Range};

/// Why an expression does not compile, or cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExprError {
    /// What sort of mistake it is.
    pub kind: ExprErrorKind,
    /// What is wrong, in one sentence.
    pub message: String,
    /// Where, in bytes of the source string. Of a template: of the whole string, not only of the expression.
    pub offset: Range<usize>,
    /// What to do about it.
    pub help: Option<String>,
}

/// The sorts of mistakes in expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExprErrorKind {
    /// It is not an expression of the language.
    Syntax,
    /// It is longer, deeper or busier than is allowed.
    TooComplex,
    /// It uses a name, filter, test or function that does not exist.
    UnknownName,
    /// It is well-formed, but with these values it has no result.
    Evaluation,
}

impl ExprError {
    /// An error without help.
    pub(crate) fn new(kind: ExprErrorKind, offset: Range<usize>, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), offset, help: None }
    }

    /// Adds the cure.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the cure, if there is one.
    #[must_use]
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// The same error in a text that begins `by` bytes earlier.
    #[must_use]
    pub(crate) fn shifted(mut self, by: usize) -> Self {
        self.offset = self.offset.start + by..self.offset.end + by;
        self
    }
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ExprError {}

/// What is wrong with a string of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// JSON Pointer to the string, from the template's root.
    pub pointer: String,
    /// What is wrong with it.
    pub error: ExprError,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            write!(f, "{}", self.error)
        } else {
            write!(f, "{}: {}", self.pointer, self.error)
        }
    }
}

impl std::error::Error for TemplateError {}
