//! Reads an expression into tokens, with a loop and a counter and without recursion, and refuses what is too large.
//!
//! The template engine's parser recurses: five thousand minus signs end the whole process. Nothing reaches it that has
//! not passed through here.

use std::ops::Range;

use super::error::{ExprError, ExprErrorKind};

/// The longest expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 1024;
/// The most operators in an expression.
pub const OPERATORS_MAX: usize = 64;
/// The deepest nesting of brackets.
pub const NESTING_MAX: usize = 32;

/// A piece of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    /// Where it stands, in bytes of the source.
    pub(crate) at: Range<usize>,
}

/// The kinds of pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Name,
    Number,
    Text,
    /// An operator or bracket, as written.
    Sign(&'static str),
}

/// Signs of two characters before those of one.
const SIGNS: [&str; 27] = [
    "//", "**", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "|", "=", "<", ">", ".", ",", ":", "(", ")", "[",
    "]", "{", "}", "!", ";",
];

/// Reads the whole of `source` as an expression.
pub(crate) fn lex(source: &str) -> Result<Vec<Token>, ExprError> {
    Lexer::new(source, 0).run(false).map(|(tokens, _)| tokens)
}

/// Reads an expression that begins at `start` and ends before `}}`. Gives its tokens and the position of the `}}`.
pub(crate) fn lex_until_close(source: &str, start: usize) -> Result<(Vec<Token>, usize), ExprError> {
    Lexer::new(source, start).run(true)
}

struct Lexer<'s> {
    source: &'s str,
    start: usize,
    at: usize,
    open: Vec<(&'static str, usize)>,
    tokens: Vec<Token>,
}

impl<'s> Lexer<'s> {
    const fn new(source: &'s str, start: usize) -> Self {
        Self { source, start, at: start, open: Vec::new(), tokens: Vec::new() }
    }

    fn run(mut self, until_close: bool) -> Result<(Vec<Token>, usize), ExprError> {
        loop {
            let rest = &self.source.as_bytes()[self.at..];
            let Some(&byte) = rest.first() else { break };
            if self.at - self.start > EXPRESSION_BYTES_MAX {
                return Err(self.too_long(until_close));
            }
            if until_close && self.open.is_empty() && rest.starts_with(b"}}") {
                return Ok((self.tokens, self.at));
            }
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b'"' | b'\'' => self.text(byte, until_close)?,
                b'0'..=b'9' => self.word(TokenKind::Number),
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.word(TokenKind::Name),
                _ => self.sign()?,
            }
        }
        if let Some((sign, at)) = self.open.last() {
            return Err(ExprError::new(ExprErrorKind::Syntax, *at..at + 1, format!("`{sign}` is never closed")));
        }
        if until_close {
            return Err(ExprError::new(
                ExprErrorKind::Syntax,
                self.start.saturating_sub(2)..self.start,
                "`{{` is never closed",
            )
            .help("end the expression with `}}`; write `{{ '{{' }}` for the two characters themselves"));
        }
        if self.source.len() - self.start > EXPRESSION_BYTES_MAX {
            return Err(self.too_long(false));
        }
        Ok((self.tokens, self.at))
    }

    fn too_long(&self, until_close: bool) -> ExprError {
        let message = format!("an expression may have {EXPRESSION_BYTES_MAX} bytes at most");
        let help = if until_close {
            "is the `}}` missing? Otherwise let a node compute the value"
        } else {
            "let a node compute the value"
        };
        ExprError::new(ExprErrorKind::TooComplex, self.start..self.at, message).help(help)
    }

    fn push(&mut self, kind: TokenKind, length: usize) {
        self.tokens.push(Token { kind, at: self.at..self.at + length });
        self.at += length;
    }

    fn word(&mut self, kind: TokenKind) {
        let rest = &self.source.as_bytes()[self.at..];
        let length = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
        self.push(kind, length);
    }

    fn text(&mut self, quote: u8, until_close: bool) -> Result<(), ExprError> {
        let rest = &self.source.as_bytes()[self.at..];
        let mut escaped = false;
        for (length, &byte) in rest.iter().enumerate().skip(1).take(EXPRESSION_BYTES_MAX + 1) {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                _ if byte == quote => {
                    self.push(TokenKind::Text, length + 1);
                    return Ok(());
                }
                _ => {}
            }
        }
        if rest.len() > EXPRESSION_BYTES_MAX {
            return Err(self.too_long(until_close));
        }
        Err(ExprError::new(ExprErrorKind::Syntax, self.at..self.at + 1, "the text in quotes is never closed"))
    }

    fn sign(&mut self) -> Result<(), ExprError> {
        let rest = &self.source[self.at..];
        let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) else {
            let length = rest.chars().next().map_or(1, char::len_utf8);
            return Err(ExprError::new(
                ExprErrorKind::Syntax,
                self.at..self.at + length,
                format!("`{}` has no meaning in an expression", &rest[..length]),
            ));
        };
        let here = self.at..self.at + sign.len();
        match sign {
            "(" | "[" | "{" => {
                self.open.push((sign, self.at));
                if self.open.len() > NESTING_MAX {
                    let message = format!("brackets may be nested {NESTING_MAX} deep at most");
                    return Err(ExprError::new(ExprErrorKind::TooComplex, here, message));
                }
            }
            ")" | "]" | "}" => {
                let closes = match sign {
                    ")" => "(",
                    "]" => "[",
                    _ => "{",
                };
                if self.open.pop().is_none_or(|(opened, _)| opened != closes) {
                    return Err(ExprError::new(ExprErrorKind::Syntax, here, format!("`{sign}` closes nothing")));
                }
            }
            "!" | ";" => {
                let help = if sign == "!" { "write `not x`, or `a != b`" } else { "an expression has no statements" };
                let message = format!("`{sign}` has no meaning in an expression");
                return Err(ExprError::new(ExprErrorKind::Syntax, here, message).help(help));
            }
            _ => {}
        }
        self.push(TokenKind::Sign(sign), sign.len());
        Ok(())
    }
}
