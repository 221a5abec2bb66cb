//! One expression, compiled.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, OnceLock},
};

use minijinja::value::{Object, Value};
use serde_json::Value as Json;

use super::{
    engine::{ENGINE, FILTERS, FUNCTIONS, TESTS},
    error::{ExprError, ExprErrorKind},
    json::{Budget, describe, to_json},
    lex::{OPERATORS_MAX, Token, TokenKind, lex},
    nearest::Nearest,
    path::{Found, NAMES, Path, Root, Step},
    references::{PathUse, References},
    scope::Scope,
    view::View,
};

/// A compiled expression. Cheap to clone.
#[derive(Clone)]
pub struct Expression(Arc<Inner>);

struct Inner {
    source: String,
    references: References,
    uses: Vec<PathUse>,
    program: Program,
}

enum Program {
    /// The expression is one path, and nothing else.
    Path,
    /// The engine's program. Every path in it is a variable of its own, `_0`, `_1`, …
    Engine(minijinja::Expression<'static, 'static>),
}

/// What an evaluation gives, before it becomes a JSON value of its own.
pub(crate) enum Outcome<'s> {
    Shared(&'s Arc<Json>),
    Borrowed(&'s Json),
    Owned(Json),
    /// There is no such value; the error says which. `null` where that is harmless.
    Undefined(ExprError),
}

impl Expression {
    /// Compiles `source`. Unknown names, filters, tests and functions are errors here already.
    pub fn compile(source: &str) -> Result<Self, ExprError> {
        Self::from_tokens(source, &lex(source)?)
    }

    /// Compiles tokens whose offsets are into `source`.
    pub(crate) fn from_tokens(source: &str, tokens: &[Token]) -> Result<Self, ExprError> {
        if tokens.is_empty() {
            return Err(ExprError::new(ExprErrorKind::Syntax, 0..source.len(), "there is no expression here"));
        }
        let Reading { uses, operators } = read(source, tokens)?;
        let mut references = References::default();
        for used in &uses {
            references.add(&used.path);
        }
        let whole = tokens[0].at.start..tokens[tokens.len() - 1].at.end;
        let program = match uses.as_slice() {
            [only] if only.offset == whole => Program::Path,
            _ if operators > OPERATORS_MAX => {
                let message =
                    format!("an expression may have {OPERATORS_MAX} operators at most; this one has {operators}");
                return Err(
                    ExprError::new(ExprErrorKind::TooComplex, whole, message).help("let a node compute the value")
                );
            }
            _ => Program::Engine(
                ENGINE
                    .compile_expression_owned(with_variables(source, &uses))
                    .map_err(|error| engine_error(&error, &uses, whole, ExprErrorKind::Syntax))?,
            ),
        };
        Ok(Self(Arc::new(Inner { source: source.to_owned(), references, uses, program })))
    }

    /// The expression as written.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// What it reads.
    pub fn references(&self) -> &References {
        &self.0.references
    }

    /// Every use of a name, in the order of the text.
    pub fn uses(&self) -> &[PathUse] {
        &self.0.uses
    }

    /// Its value in `scope`. A computed result that is undefined is `null`; a plain path that leads nowhere is an error.
    pub fn evaluate(&self, scope: &Scope) -> Result<Json, ExprError> {
        match self.outcome(scope, &mut Budget::new())? {
            Outcome::Shared(value) => Ok((**value).clone()),
            Outcome::Borrowed(value) => Ok(value.clone()),
            Outcome::Owned(value) => Ok(value),
            Outcome::Undefined(error) if self.is_path() => Err(error),
            Outcome::Undefined(_) => Ok(Json::Null),
        }
    }

    /// Does it hold? `null`, `false`, zero, what is empty and what is not there do not.
    pub fn is_true(&self, scope: &Scope) -> Result<bool, ExprError> {
        Ok(match self.outcome(scope, &mut Budget::new())? {
            Outcome::Shared(value) => is_truthy(value),
            Outcome::Borrowed(value) => is_truthy(value),
            Outcome::Owned(value) => is_truthy(&value),
            Outcome::Undefined(_) => false,
        })
    }

    /// Is it one path and nothing else?
    pub(crate) fn is_path(&self) -> bool {
        matches!(self.0.program, Program::Path)
    }

    /// Evaluates without copying what is there already.
    pub(crate) fn outcome<'s>(&'s self, scope: &'s Scope, budget: &mut Budget) -> Result<Outcome<'s>, ExprError> {
        let program = match &self.0.program {
            Program::Path => {
                let PathUse { path, offset } = &self.0.uses[0];
                return Ok(match path.find(scope, offset)? {
                    Found::Shared(value) => Outcome::Shared(value),
                    Found::Inside(_, _, value) => Outcome::Borrowed(value),
                    Found::Fresh(value) => Outcome::Owned(value),
                    Found::Missing(error) => Outcome::Undefined(error),
                });
            }
            Program::Engine(program) => program,
        };
        let variables = Arc::new(Variables::of(&self.0.uses, scope));
        let whole = 0..self.0.source.len();
        let result = program.eval(Value::from_dyn_object(variables.clone()));
        if let Some(error) = variables.raised.get() {
            return Err(error.clone());
        }
        let result =
            result.map_err(|error| engine_error(&error, &self.0.uses, whole.clone(), ExprErrorKind::Evaluation))?;
        if result.is_undefined() {
            let message = format!("`{}` has no value", self.0.source.trim());
            let error = variables.missing.get().cloned();
            return Ok(Outcome::Undefined(
                error.unwrap_or_else(|| ExprError::new(ExprErrorKind::Evaluation, whole, message)),
            ));
        }
        to_json(&result, budget)
            .map(Outcome::Owned)
            .map_err(|message| ExprError::new(ExprErrorKind::Evaluation, whole, message))
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.0.source)
    }
}

/// Two expressions are equal if their sources are.
impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.source == other.0.source
    }
}

/// Is the value one that a condition takes for true?
pub(crate) fn is_truthy(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(flag) => *flag,
        Json::Number(number) => number.as_f64() != Some(0.0),
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(fields) => !fields.is_empty(),
    }
}

/// What the tokens say without being parsed: an expression binds no names, so a name is a use of a value unless it
/// follows a dot, `|` or `is`, or names an argument.
struct Reading {
    uses: Vec<PathUse>,
    operators: usize,
}

fn read(source: &str, tokens: &[Token]) -> Result<Reading, ExprError> {
    let mut reading = Reading { uses: Vec::new(), operators: 0 };
    let text = |token: &Token| &source[token.at.clone()];
    let sign = |index: usize| match tokens.get(index).map(|token| token.kind) {
        Some(TokenKind::Sign(sign)) => sign,
        _ => "",
    };
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        let before = index.checked_sub(1).map_or("", |before| sign(before));
        match token.kind {
            TokenKind::Sign("," | ":" | ")" | "]" | "}" | "=") => {}
            TokenKind::Sign("(") if is_operand(source, tokens, index) => {
                return Err(ExprError::new(ExprErrorKind::Syntax, token.at.clone(), "values cannot be called")
                    .help("use a filter, as in `text | upper`"));
            }
            TokenKind::Sign(_) => reading.operators += 1,
            TokenKind::Number | TokenKind::Text => {}
            TokenKind::Name => match text(token) {
                "and" | "or" | "in" | "if" | "else" | "not" => reading.operators += 1,
                "true" | "false" | "none" | "True" | "False" | "None" if before != "|" && before != "." => {}
                "is" if before != "|" && before != "." => {
                    reading.operators += 1;
                    if tokens.get(index + 1).is_some_and(|next| text(next) == "not") {
                        index += 1;
                    }
                    if let Some(test) = tokens.get(index + 1).filter(|next| next.kind == TokenKind::Name) {
                        known(test, text(test), "test", &TESTS)?;
                        index += 1;
                    }
                }
                name if before == "|" => known(token, name, "filter", &FILTERS)?,
                name if before == "." => {
                    if sign(index + 1) == "(" {
                        return Err(method_error(token, name));
                    }
                }
                // `f(name=…)`
                _ if sign(index + 1) == "=" => {}
                name if sign(index + 1) == "(" => {
                    if FILTERS.contains(&name) {
                        let message = format!("`{name}` is a filter, not a function");
                        return Err(ExprError::new(ExprErrorKind::UnknownName, token.at.clone(), message)
                            .help(format!("write `value | {name}`")));
                    }
                    known(token, name, "function", &FUNCTIONS)?;
                }
                name => {
                    let (path, after) = path_at(source, tokens, index, name)?;
                    let offset = token.at.start..tokens[after - 1].at.end;
                    reading.uses.push(PathUse { path, offset });
                    index = after - 1;
                }
            },
        }
        index += 1;
    }
    Ok(reading)
}

/// Is what stands before the bracket at `index` a value, so that the bracket would call it?
fn is_operand(source: &str, tokens: &[Token], index: usize) -> bool {
    let Some(before) = index.checked_sub(1).map(|before| &tokens[before]) else { return false };
    match before.kind {
        TokenKind::Number | TokenKind::Text | TokenKind::Sign(")" | "]" | "}") => true,
        TokenKind::Sign(_) => false,
        // Names that may not be called have been refused when they were read; these are left.
        TokenKind::Name => {
            matches!(&source[before.at.clone()], "true" | "false" | "none" | "True" | "False" | "None")
                && index.checked_sub(2).is_none_or(|two| !matches!(&source[tokens[two].at.clone()], "is" | "not"))
        }
    }
}

/// The longest plain path that begins with the name at `start`, and the index of the token after it.
fn path_at(source: &str, tokens: &[Token], start: usize, name: &str) -> Result<(Path, usize), ExprError> {
    let Some(root) = NAMES.into_iter().find(|known| *known == name) else {
        return Err(dashed_id(source, tokens, start).unwrap_or_else(|| unknown_name(&tokens[start], name)));
    };
    let mut path = Path { root, steps: Vec::new() };
    let mut at = start + 1;
    let text = |index: usize| tokens.get(index).map_or("", |token| &source[token.at.clone()]);
    let kind = |index: usize| tokens.get(index).map(|token| token.kind);
    loop {
        let (step, length) = match (kind(at), kind(at + 1)) {
            (Some(TokenKind::Sign(".")), Some(TokenKind::Name)) => {
                if kind(at + 2) == Some(TokenKind::Sign("(")) {
                    return Err(method_error(&tokens[at + 1], text(at + 1)));
                }
                (Step::Key(text(at + 1).into()), 2)
            }
            (Some(TokenKind::Sign(".")), Some(TokenKind::Number)) => match text(at + 1).parse() {
                Ok(number) => (Step::Index(number), 2),
                Err(_) => {
                    let id = text(at + 1);
                    let message = format!("`{id}` after a dot is neither a name nor a number");
                    return Err(ExprError::new(ExprErrorKind::Syntax, tokens[at + 1].at.clone(), message)
                        .help(format!("write `{path}[\"{id}\"]`")));
                }
            },
            (Some(TokenKind::Sign("[")), Some(TokenKind::Text)) if text(at + 2) == "]" => match unquote(text(at + 1)) {
                Some(key) => (Step::Key(key.into()), 3),
                None => break,
            },
            (Some(TokenKind::Sign("[")), Some(TokenKind::Number)) if text(at + 2) == "]" => {
                match text(at + 1).parse() {
                    Ok(number) => (Step::Index(number), 3),
                    Err(_) => break,
                }
            }
            (Some(TokenKind::Sign("[")), Some(TokenKind::Sign("-"))) if text(at + 3) == "]" => {
                match text(at + 2).parse::<i64>() {
                    Ok(number) if number > 0 => (Step::Index(-number), 4),
                    _ => break,
                }
            }
            _ => break,
        };
        path.steps.push(step);
        at += length;
    }
    Ok((path, at))
}

/// `nodes.my-node.output` is read as `nodes.my` minus `node.output`; says how it is written.
fn dashed_id(source: &str, tokens: &[Token], at: usize) -> Option<ExprError> {
    let minus = &tokens[at.checked_sub(1)?];
    let joined = &source[minus.at.clone()] == "-" && minus.at.end == tokens[at].at.start;
    let before = source[..minus.at.start].rsplit(|c: char| c.is_whitespace() || "()[]{},|".contains(c)).next()?;
    let (root, id) = before.split_once('.').filter(|(root, _)| matches!(*root, "nodes" | "params"))?;
    if !joined || id.is_empty() {
        return None;
    }
    let rest = &source[tokens[at].at.start..];
    let rest = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').unwrap_or(rest.len())];
    let message = format!("`{before}-{rest}` is read as `{before}` minus `{rest}`");
    let start = minus.at.start - before.len();
    let offset = start..tokens[at].at.start + rest.len();
    Some(ExprError::new(ExprErrorKind::Syntax, offset, message).help(format!("write `{root}[\"{id}-{rest}\"]`")))
}

/// The text between quotes; none if it has escapes other than of a quote or a backslash, which the engine may read.
fn unquote(quoted: &str) -> Option<String> {
    let inner = &quoted[1..quoted.len() - 1];
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '\\' => chars.next().filter(|c| matches!(c, '\\' | '"' | '\''))?,
            c => c,
        });
    }
    Some(text)
}

fn known(token: &Token, name: &str, what: &str, all: &[&'static str]) -> Result<(), ExprError> {
    if all.contains(&name) {
        return Ok(());
    }
    let message = format!("there is no {what} `{name}`");
    let help = Nearest::default().help(name, all.iter().copied());
    Err(ExprError::new(ExprErrorKind::UnknownName, token.at.clone(), message).maybe_help(help))
}

fn unknown_name(token: &Token, name: &str) -> ExprError {
    let help = Nearest::default().help(name, NAMES).unwrap_or_else(|| match name {
        "inputs" | "input" => format!("write `params.…`, or \"{name}\" in quotes for a text"),
        "null" | "nil" => "write `none`".to_owned(),
        "env" | "environ" | "now" | "secrets" => {
            "expressions see neither the environment nor the clock; give the value as a param".to_owned()
        }
        _ => format!("names are `params.…`, `nodes.…` and `run.…`; a text needs quotes: \"{name}\""),
    });
    ExprError::new(ExprErrorKind::UnknownName, token.at.clone(), format!("there is no name `{name}`")).help(help)
}

fn method_error(token: &Token, name: &str) -> ExprError {
    let help = match name {
        "format" => "write `\"%s\" | format(value)`".to_owned(),
        "strip" => "write `text | trim`".to_owned(),
        "keys" => "write `value | list`".to_owned(),
        "startswith" => "write `text is startingwith(\"…\")`".to_owned(),
        "endswith" => "write `text is endingwith(\"…\")`".to_owned(),
        name if FILTERS.contains(&name) => format!("write `value | {name}`"),
        _ => "use a filter, as in `text | upper`".to_owned(),
    };
    ExprError::new(ExprErrorKind::Syntax, token.at.clone(), format!("values have no methods like `{name}()`"))
        .help(help)
}

/// The source with every path replaced by a variable, padded to the path's length so that offsets stay true.
fn with_variables(source: &str, uses: &[PathUse]) -> String {
    let mut text = source.to_owned();
    for (number, used) in uses.iter().enumerate() {
        let variable = format!("{:<width$}", variable(number), width = used.offset.len());
        // A bare `item` with a number of three digits cannot be in a kilobyte of text.
        debug_assert_eq!(variable.len(), used.offset.len());
        text.replace_range(used.offset.clone(), &variable);
    }
    text
}

fn variable(number: usize) -> String {
    format!("_{number}")
}

/// The engine's error in our words, with its place, and with paths called as the user calls them.
fn engine_error(error: &minijinja::Error, uses: &[PathUse], whole: Range<usize>, kind: ExprErrorKind) -> ExprError {
    if error.kind() == minijinja::ErrorKind::OutOfFuel {
        return ExprError::new(
            ExprErrorKind::TooComplex,
            whole,
            "the evaluation takes too long or makes too much data",
        )
        .help("let a node compute the value");
    }
    let mut message = describe(error);
    // From the last to the first, so that `_1` does not hit `_10`.
    for (number, used) in uses.iter().enumerate().rev() {
        let name = variable(number);
        if message.contains(&name) {
            message = message.replace(&name, &used.path.to_string());
        }
    }
    let offset = error.range().filter(|range| range.start < range.end && range.end <= whole.end).unwrap_or(whole);
    ExprError::new(kind, offset, message)
}

/// The values of an expression's paths, as the engine asks for them.
#[derive(Debug)]
struct Variables {
    values: Vec<Result<Value, ExprError>>,
    /// The first error that the engine ran into.
    raised: OnceLock<ExprError>,
    /// The first path that it asked for and that leads nowhere.
    missing: OnceLock<ExprError>,
    missing_of: Vec<Option<ExprError>>,
}

impl Variables {
    fn of(uses: &[PathUse], scope: &Scope) -> Self {
        let mut variables = Self {
            values: Vec::with_capacity(uses.len()),
            raised: OnceLock::new(),
            missing: OnceLock::new(),
            missing_of: Vec::with_capacity(uses.len()),
        };
        for (number, used) in uses.iter().enumerate() {
            // The same path twice is one value.
            if let Some(same) = uses[..number].iter().position(|earlier| earlier.path == used.path) {
                variables.values.push(variables.values[same].clone());
                variables.missing_of.push(variables.missing_of[same].clone());
                continue;
            }
            let mut missing = None;
            variables.values.push(used.path.find(scope, &used.offset).map(|found| match found {
                Found::Shared(value) => View::show(&Root::Value(value.clone()), &[], value),
                Found::Inside(root, steps, value) => View::show(&root, steps, value),
                Found::Fresh(value) => {
                    let value = Arc::new(value);
                    View::show(&Root::Value(value.clone()), &[], &value)
                }
                Found::Missing(error) => {
                    missing = Some(error);
                    Value::UNDEFINED
                }
            }));
            variables.missing_of.push(missing);
        }
        variables
    }
}

impl Object for Variables {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let number: usize = key.as_str()?.strip_prefix('_')?.parse().ok()?;
        if let Some(missing) = self.missing_of.get(number)? {
            let _ = self.missing.set(missing.clone());
        }
        match self.values.get(number)? {
            Ok(value) => Some(value.clone()),
            Err(error) => {
                let _ = self.raised.set(error.clone());
                Some(Value::from(minijinja::Error::new(minijinja::ErrorKind::UndefinedError, error.message.clone())))
            }
        }
    }
}
