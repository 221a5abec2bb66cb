//! Problems while they are collected: a diagnostic, and what is known of its place.

use std::{fmt, ops::Range};

use super::{Diagnostic, codes::Code};

/// The most problems that are reported of one document.
pub(crate) const PROBLEMS_MAX: usize = 1000;

/// A problem of a document and its place, as a [`Decoder`](super::Decoder) takes it.
#[derive(Debug)]
pub struct Problem {
    pub(crate) code: &'static Code,
    /// JSON Pointer to the value.
    pub(crate) path: String,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// The place in the document's text, where the reader of the text knows it.
    pub(crate) at: Option<Range<usize>>,
    /// The place inside the text value that `path` leads to.
    pub(crate) inside: Option<Range<usize>>,
    /// Where the same thing stands for the first time.
    pub(crate) first_at: Option<Range<usize>>,
    /// It is about the key and not about its value.
    pub(crate) on_key: bool,
}

impl Problem {
    /// What breaks the rule `code`, at a JSON Pointer or an [`At`].
    pub fn new(code: &'static Code, path: impl fmt::Display, message: impl Into<String>) -> Self {
        let path = path.to_string();
        Self { code, path, message: message.into(), help: None, at: None, inside: None, first_at: None, on_key: false }
    }

    /// Adds the cure; without one the rule's own is shown.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    #[must_use]
    pub(crate) fn at(mut self, at: Range<usize>) -> Self {
        self.at = Some(at);
        self
    }

    #[must_use]
    pub(crate) fn inside(mut self, inside: Range<usize>) -> Self {
        self.inside = Some(inside);
        self
    }

    /// It is about the key and not about its value.
    #[must_use]
    pub fn on_key(mut self) -> Self {
        self.on_key = true;
        self
    }

    /// The diagnostic, without its place in a text. One without a cure of its own has that of its rule.
    pub(crate) fn into_diagnostic(self) -> Diagnostic {
        Diagnostic {
            code: self.code.name.to_owned(),
            severity: self.code.severity,
            path: self.path,
            span: None,
            message: self.message,
            help: Some(self.help.unwrap_or_else(|| self.code.cure.to_owned())),
        }
    }
}

/// The problems so far. Takes no more than a bounded number.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    pub(crate) list: Vec<Problem>,
    /// Some were left out.
    pub(crate) overflow: bool,
}

impl Problems {
    pub(crate) fn add(&mut self, problem: Problem) {
        if self.list.len() < PROBLEMS_MAX {
            self.list.push(problem);
        } else {
            self.overflow = true;
        }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.list.iter().any(|problem| problem.code.severity == super::Severity::Error)
    }
}

/// A place in a document, as a chain of steps: costs nothing until a problem is found there.
#[derive(Clone, Copy)]
pub struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Pointer(&'a str),
    Key(&'a str),
    Index(usize),
}

impl<'a> At<'a> {
    /// The whole document.
    pub const ROOT: At<'static> = At { parent: None, step: Step::Root };

    /// The place that a JSON Pointer leads to.
    pub(crate) const fn pointer(pointer: &'a str) -> At<'a> {
        At { parent: None, step: Step::Pointer(pointer) }
    }

    /// A field of the mapping here.
    pub const fn key(&'a self, key: &'a str) -> At<'a> {
        At { parent: Some(self), step: Step::Key(key) }
    }

    /// An item of the list here, from 0.
    pub const fn index(&'a self, index: usize) -> At<'a> {
        At { parent: Some(self), step: Step::Index(index) }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Pointer(pointer) => f.write_str(pointer),
            Step::Key(key) => write!(f, "/{}", key.replace('~', "~0").replace('/', "~1")),
            Step::Index(index) => write!(f, "/{index}"),
        }
    }
}
