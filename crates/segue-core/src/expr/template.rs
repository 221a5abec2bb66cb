//! A JSON value whose strings may hold `{{ … }}`, compiled.

use std::{fmt::Write as _, sync::Arc};

use serde_json::{Map, Value};

use super::{
    error::{ExprError, ExprErrorKind, TemplateError},
    expression::{Expression, Outcome},
    json::{Budget, Exceeded},
    lex::lex_until_close,
    references::References,
    scope::Scope,
};

/// The longest string with expressions in it, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 256 * 1024;
/// The most expressions in one string.
pub const EXPRESSIONS_MAX: usize = 1000;
/// About how much memory a rendered value may take, in bytes.
pub const RENDERED_BYTES_MAX: usize = 16 << 20;
/// The deepest nesting of a template; the same as of JSON that is read.
const DEPTH_MAX: usize = 128;

/// A JSON value whose strings may hold `{{ … }}`, compiled. Cheap to clone.
///
/// A string that is exactly one `{{ expr }}` becomes the expression's value with its type. In a longer string a text
/// stands for itself and anything else for its JSON. Keys are never rendered, and neither are values that come in.
#[derive(Debug, Clone)]
pub struct Template(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    part: Part,
    references: References,
    expressions: Vec<Placed>,
}

/// An expression of a template, and its place.
#[derive(Debug, Clone)]
struct Placed {
    pointer: Arc<str>,
    /// Where its text begins in the string.
    start: usize,
    expression: Expression,
}

#[derive(Debug)]
enum Part {
    Constant(Arc<Value>),
    /// Exactly one expression: its index.
    Whole(usize),
    Text(Vec<Segment>),
    List(Vec<Part>),
    Object(Vec<(String, Part)>),
}

#[derive(Debug)]
enum Segment {
    Literal(String),
    Expression(usize),
}

impl Template {
    /// Compiles `value`. Gives all mistakes at once.
    pub fn compile(value: &Value) -> Result<Self, Vec<TemplateError>> {
        let mut compiler = Compiler { pointer: String::new(), expressions: Vec::new(), errors: Vec::new() };
        let part = compiler.part(value, 0);
        if !compiler.errors.is_empty() {
            return Err(compiler.errors);
        }
        let mut references = References::default();
        for placed in &compiler.expressions {
            references.merge(placed.expression.references());
        }
        let part = part.unwrap_or_else(|| Part::Constant(Arc::new(value.clone())));
        Ok(Self(Arc::new(Inner { part, references, expressions: compiler.expressions })))
    }

    /// What it reads.
    pub fn references(&self) -> &References {
        &self.0.references
    }

    /// Does it hold no expression at all? Then it renders to itself, everywhere and always.
    pub fn is_constant(&self) -> bool {
        matches!(self.0.part, Part::Constant(_))
    }

    /// Its expressions, each with the JSON Pointer of its string and the byte of that string at which its text begins.
    pub fn expressions(&self) -> impl Iterator<Item = (&str, usize, &Expression)> {
        self.0.expressions.iter().map(|placed| (&*placed.pointer, placed.start, &placed.expression))
    }

    /// Fills in the values of `scope`. A value that is one path as a whole is shared and not copied.
    pub fn render(&self, scope: &Scope) -> Result<Arc<Value>, TemplateError> {
        let mut budget = Budget::new();
        match &self.0.part {
            Part::Constant(value) => Ok(value.clone()),
            Part::Whole(index) => {
                let placed = &self.0.expressions[*index];
                match placed.whole(scope, &mut budget)? {
                    Outcome::Shared(value) => Ok(value.clone()),
                    outcome => placed.copy(outcome, &mut budget).map(Arc::new),
                }
            }
            part => self.render_part(part, scope, &mut budget).map(Arc::new),
        }
    }

    fn render_part(&self, part: &Part, scope: &Scope, budget: &mut Budget) -> Result<Value, TemplateError> {
        let anywhere = |exceeded: Exceeded| {
            let error = ExprError::new(ExprErrorKind::TooComplex, 0..0, String::from(exceeded));
            TemplateError { pointer: String::new(), error }
        };
        Ok(match part {
            Part::Constant(value) => {
                budget.take_value(value).map_err(anywhere)?;
                (**value).clone()
            }
            Part::Whole(index) => {
                let placed = &self.0.expressions[*index];
                let outcome = placed.whole(scope, budget)?;
                placed.copy(outcome, budget)?
            }
            Part::Text(segments) => {
                let mut text = String::new();
                for segment in segments {
                    match segment {
                        Segment::Literal(literal) => {
                            budget.take(literal.len()).map_err(anywhere)?;
                            text.push_str(literal);
                        }
                        Segment::Expression(index) => self.0.expressions[*index].write(&mut text, scope, budget)?,
                    }
                }
                Value::String(text)
            }
            Part::List(parts) => {
                let items = parts.iter().map(|part| self.render_part(part, scope, budget));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Part::Object(fields) => {
                let mut object = Map::with_capacity(fields.len());
                for (key, part) in fields {
                    object.insert(key.clone(), self.render_part(part, scope, budget)?);
                }
                Value::Object(object)
            }
        })
    }
}

impl Placed {
    fn error(&self, error: ExprError) -> TemplateError {
        TemplateError { pointer: self.pointer.to_string(), error: error.shifted(self.start) }
    }

    fn exceeded(&self, exceeded: Exceeded) -> TemplateError {
        let whole = 0..self.expression.source().len();
        self.error(ExprError::new(ExprErrorKind::TooComplex, whole, String::from(exceeded)))
    }

    /// The value of a string that is this expression and nothing else.
    fn whole<'s>(&'s self, scope: &'s Scope, budget: &mut Budget) -> Result<Outcome<'s>, TemplateError> {
        match self.expression.outcome(scope, budget).map_err(|error| self.error(error))? {
            Outcome::Undefined(error) if self.expression.is_path() => Err(self.error(error)),
            Outcome::Undefined(_) => Ok(Outcome::Owned(Value::Null)),
            outcome => Ok(outcome),
        }
    }

    fn copy(&self, outcome: Outcome<'_>, budget: &mut Budget) -> Result<Value, TemplateError> {
        let value = match outcome {
            Outcome::Owned(value) => return Ok(value),
            Outcome::Undefined(error) => return Err(self.error(error)),
            Outcome::Shared(value) => value,
            Outcome::Borrowed(value) => value,
        };
        budget.take_value(value).map_err(|exceeded| self.exceeded(exceeded))?;
        Ok(value.clone())
    }

    /// Appends the value to a longer text.
    fn write(&self, text: &mut String, scope: &Scope, budget: &mut Budget) -> Result<(), TemplateError> {
        let outcome = self.expression.outcome(scope, budget).map_err(|error| self.error(error))?;
        let value: &Value = match &outcome {
            Outcome::Shared(value) => value,
            Outcome::Borrowed(value) => value,
            Outcome::Owned(value) => value,
            Outcome::Undefined(error) => return Err(self.error(error.clone())),
        };
        budget.take_value(value).map_err(|exceeded| self.exceeded(exceeded))?;
        match value {
            Value::String(inner) => text.push_str(inner),
            other => write!(text, "{other}").expect("a String takes everything"),
        }
        Ok(())
    }
}

struct Compiler {
    pointer: String,
    expressions: Vec<Placed>,
    errors: Vec<TemplateError>,
}

impl Compiler {
    /// The part; none if `value` holds no expression.
    fn part(&mut self, value: &Value, depth: usize) -> Option<Part> {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(_) | Value::Object(_) if depth >= DEPTH_MAX => {
                let message = format!("a value may be nested {DEPTH_MAX} deep at most");
                self.error(ExprError::new(ExprErrorKind::TooComplex, 0..0, message));
                None
            }
            Value::Array(items) => {
                let parts: Vec<_> = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.within(&index.to_string(), |own| own.part(item, depth + 1)))
                    .collect();
                if parts.iter().all(Option::is_none) {
                    return None;
                }
                let parts = parts.into_iter().zip(items).map(|(part, item)| part_or_constant(part, item));
                Some(Part::List(parts.collect()))
            }
            Value::Object(fields) => {
                let parts: Vec<_> =
                    fields.iter().map(|(key, item)| self.within(key, |own| own.part(item, depth + 1))).collect();
                if parts.iter().all(Option::is_none) {
                    return None;
                }
                let parts = parts.into_iter().zip(fields);
                Some(Part::Object(
                    parts.map(|(part, (key, item))| (key.clone(), part_or_constant(part, item))).collect(),
                ))
            }
            _ => None,
        }
    }

    fn within<T>(&mut self, step: &str, inner: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.pointer.len();
        push_pointer(&mut self.pointer, step);
        let result = inner(self);
        self.pointer.truncate(length);
        result
    }

    fn error(&mut self, error: ExprError) {
        self.errors.push(TemplateError { pointer: self.pointer.clone(), error });
    }

    fn text(&mut self, text: &str) -> Option<Part> {
        let opening = next_opening(text, 0)?;
        if text.len() > TEMPLATE_BYTES_MAX {
            let message = format!("a text with expressions may have {} KB at most", TEMPLATE_BYTES_MAX >> 10);
            self.error(
                ExprError::new(ExprErrorKind::TooComplex, opening..opening + 2, message)
                    .help("write `{{ '{{' }}` for the two characters themselves"),
            );
            return None;
        }
        match self.segments(text) {
            Err(error) => {
                self.error(error);
                None
            }
            Ok(segments) => Some(match segments.as_slice() {
                [Segment::Expression(only)] => Part::Whole(*only),
                _ => Part::Text(segments),
            }),
        }
    }

    fn segments(&mut self, text: &str) -> Result<Vec<Segment>, ExprError> {
        let pointer: Arc<str> = self.pointer.as_str().into();
        let mut segments = Vec::new();
        let mut at = 0;
        while let Some(opening) = next_opening(text, at) {
            let here = opening..opening + 2;
            match text.as_bytes()[opening + 1] {
                b'{' => {}
                sign => {
                    let sign = char::from(sign);
                    let message = format!("`{{{sign}` is not available: texts hold expressions only, `{{{{ … }}}}`");
                    return Err(ExprError::new(ExprErrorKind::Syntax, here, message)
                        .help(format!("write `{{{{ '{{{sign}' }}}}` for the two characters themselves")));
                }
            }
            if let Some(sign @ (b'-' | b'+')) = text.as_bytes().get(opening + 2).copied() {
                let message = format!("`{{{{{}` is not available: texts keep their white space", char::from(sign));
                return Err(ExprError::new(ExprErrorKind::Syntax, opening..opening + 3, message)
                    .help("write `{{ … }}`; before a negative number leave a space"));
            }
            if segments.len() >= 2 * EXPRESSIONS_MAX {
                let message = format!("a text may hold {EXPRESSIONS_MAX} expressions at most");
                return Err(ExprError::new(ExprErrorKind::TooComplex, here, message));
            }
            if at < opening {
                segments.push(Segment::Literal(text[at..opening].to_owned()));
            }
            let start = opening + 2;
            let (mut tokens, end) = lex_until_close(text, start)?;
            for token in &mut tokens {
                token.at = token.at.start - start..token.at.end - start;
            }
            let expression =
                Expression::from_tokens(&text[start..end], &tokens).map_err(|error| error.shifted(start))?;
            segments.push(Segment::Expression(self.expressions.len()));
            self.expressions.push(Placed { pointer: pointer.clone(), start, expression });
            at = end + 2;
        }
        if at < text.len() {
            segments.push(Segment::Literal(text[at..].to_owned()));
        }
        Ok(segments)
    }
}

fn part_or_constant(part: Option<Part>, value: &Value) -> Part {
    part.unwrap_or_else(|| Part::Constant(Arc::new(value.clone())))
}

/// The next `{{`, `{%` or `{#` from `from` on.
fn next_opening(text: &str, from: usize) -> Option<usize> {
    let bytes = &text.as_bytes()[from..];
    bytes.windows(2).position(|pair| pair[0] == b'{' && matches!(pair[1], b'{' | b'%' | b'#')).map(|at| from + at)
}

/// Appends a step to a JSON Pointer.
pub(crate) fn push_pointer(pointer: &mut String, step: &str) {
    pointer.push('/');
    for c in step.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}
