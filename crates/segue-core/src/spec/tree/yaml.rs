//! Reads YAML 1.2. The only place that knows the YAML parser.

use std::{borrow::Cow, ops::Range};

use granit_parser::{ErrorKind, Event, Marker, Options, Parser, ScalarStyle, ScanError, StructureStyle, Tag};
use serde_json::{Number, Value};

use super::{Builder, DEPTH_MAX, Fatal, Tree, bad_key};
use crate::spec::{
    codes,
    problem::{Problem, Problems},
};

/// Reads `text`. Problems that do not end the reading go to `problems`.
pub(crate) fn read(text: &str, problems: &mut Problems) -> Result<Option<Tree>, Fatal> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.emit_unresolved_aliases = true;
    // One more than allowed, so that the builder says which limit it is.
    options.flow_nesting_limit = DEPTH_MAX + 1;
    options.block_nesting_limit = DEPTH_MAX + 1;
    let mut builder = Builder::new(problems);
    let mut documents = 0;
    let mut flow = Vec::new();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| syntax(&error, text))?;
        let at = byte(span.start, text)..byte(span.end, text);
        if let Event::DocumentStart(..) = event {
            documents += 1;
            if documents > 1 {
                return Err(Problem::new(&codes::SEVERAL_DOCUMENTS, "", "a second document begins here")
                    .at(at)
                    .help("put each workflow into a file of its own"));
            }
        }
        match event {
            Event::Scalar(written, style, anchor, tag) => {
                if builder.expects_key() {
                    key(&mut builder, written, style, at)?;
                } else {
                    let value = scalar(&mut builder, written, style, tag.as_deref(), &at);
                    builder.scalar(value, at, anchor)?;
                }
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if builder.expects_key() => {
                let start = builder.opened_at().unwrap_or(at.start);
                let problem = bad_key(start..at.end.max(start + 1));
                return Err(if text[start..].starts_with("{{") {
                    problem.help("to YAML this is a mapping; quote the text: \"{{ … }}\"")
                } else {
                    problem
                });
            }
            Event::SequenceStart(style, anchor, tag) => {
                check_tag(&mut builder, tag.as_deref(), "seq", &at);
                flow.push(style == StructureStyle::Flow);
                builder.open_list(at, anchor)?;
            }
            Event::MappingStart(style, anchor, tag) => {
                check_tag(&mut builder, tag.as_deref(), "map", &at);
                flow.push(style == StructureStyle::Flow);
                builder.open_map(at, anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let bracket = flow.pop().unwrap_or(false).then_some(at.end);
                builder.close(bracket)?;
            }
            Event::Alias(anchor) => {
                let is_complete = builder.alias(anchor, at.clone())?;
                if !is_complete {
                    return Err(Problem::new(&codes::YAML_ALIAS, "", "the alias stands inside its own anchor").at(at));
                }
            }
            Event::UnresolvedAlias(name) => {
                let message = format!("there is no anchor `&{name}` before this alias");
                builder.problem(
                    Problem::new(&codes::YAML_ALIAS, "", message)
                        .at(at.clone())
                        .help("a text that begins with `*` needs quotes"),
                );
                if builder.expects_key() {
                    builder.key(format!("*{name}"), at)?;
                } else {
                    builder.scalar(Value::Null, at, 0)?;
                }
            }
            _ => {}
        }
    }
    let tree = builder.finish();
    // A document of comments only is a single null without any text.
    Ok(tree.filter(|tree| !(tree.value.is_null() && tree.spans.at().is_empty())))
}

fn key(builder: &mut Builder<'_>, written: Cow<'_, str>, style: ScalarStyle, at: Range<usize>) -> Result<(), Fatal> {
    if style == ScalarStyle::Plain && matches!(&*written, "" | "~" | "null") {
        builder.problem(bad_key(at.clone()));
    } else if style == ScalarStyle::Plain && written == "<<" {
        builder.problem(
            Problem::new(&codes::YAML_MERGE, "", "`<<` does not merge: documents are YAML 1.2")
                .at(at.clone())
                .help("write the fields out, or use `defaults`"),
        );
        // Said once is enough: with this name nothing else objects to it.
        return builder.key("x-<<".to_owned(), at);
    }
    builder.key(written.into_owned(), at)
}

/// The byte of a marker. Markers of a text that is in memory always have one.
fn byte(marker: Marker, text: &str) -> usize {
    marker.byte_offset().unwrap_or(text.len()).min(text.len())
}

fn syntax(error: &ScanError, text: &str) -> Problem {
    let start = byte(*error.marker(), text);
    let length = text[start..].chars().next().map_or(0, char::len_utf8);
    let at = start..start + length;
    let (code, message, help) = match error.kind() {
        ErrorKind::RecursionLimitExceeded => {
            (&codes::TOO_DEEP, format!("lists and mappings may be nested {DEPTH_MAX} deep at most"), None)
        }
        ErrorKind::UndeclaredTagHandle => (&codes::YAML_TAG, "this tag has no meaning here".to_owned(), None),
        kind => (&codes::YAML_SYNTAX, kind.to_string(), help_for(kind)),
    };
    Problem::new(code, "", message).at(at).maybe_help(help.map(str::to_owned))
}

/// The cure for the mistakes that are made most often.
fn help_for(kind: &ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation => {
            "indent with spaces, not with tabs"
        }
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => {
            "a text with `: ` in it needs quotes; otherwise check the indentation"
        }
        ErrorKind::SimpleKeyExpected => "is the `:` after the key missing? A `:` is followed by a space",
        ErrorKind::InvalidIndentation
        | ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::BlockSequenceEntryNotAllowed
        | ErrorKind::MappingKeyNotAllowed => "check the indentation of this line and of the one before it",
        ErrorKind::UnclosedQuotedScalar => "close the quote",
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::ExpectedFlowMappingSeparator
        | ErrorKind::ExpectedFlowSequenceSeparator => "is a comma or a closing bracket missing?",
        ErrorKind::UnknownQuotedScalarEscape => {
            "in double quotes `\\` begins an escape; use single quotes, or write `\\\\`"
        }
        ErrorKind::UnexpectedCharacter { .. } => "a text that begins with this character needs quotes",
        _ => return None,
    })
}

/// Reports a tag that is not of the core schema, or not for this kind of value.
fn check_tag(builder: &mut Builder<'_>, tag: Option<&Tag>, kind: &str, at: &Range<usize>) {
    if let Some(tag) = tag
        && tag.core_suffix() != Some(kind)
        && tag.original() != "!"
    {
        let message = format!("the tag `{}` has no meaning here", tag.original());
        builder.problem(Problem::new(&codes::YAML_TAG, "", message).at(at.clone()));
    }
}

/// The value of a scalar after YAML 1.2's core schema. Numbers with leading zeros stay texts.
fn scalar(
    builder: &mut Builder<'_>,
    written: Cow<'_, str>,
    style: ScalarStyle,
    tag: Option<&Tag>,
    at: &Range<usize>,
) -> Value {
    let core = tag.and_then(Tag::core_suffix);
    match (tag, core) {
        (Some(tag), None) if tag.original() != "!" => {
            check_tag(builder, Some(tag), "", at);
            return Value::String(written.into_owned());
        }
        (Some(_), None | Some("str")) => return Value::String(written.into_owned()),
        (None, _) if style != ScalarStyle::Plain => return Value::String(written.into_owned()),
        _ => {}
    }
    let value = match &*written {
        "" | "~" | "null" | "Null" | "NULL" => Some(Value::Null),
        "true" | "True" | "TRUE" => Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => Some(Value::Bool(false)),
        text => match number(text) {
            Some(Ok(number)) => Some(Value::Number(number)),
            Some(Err(())) => {
                builder.problem(bad_number(text, at.clone()));
                Some(Value::Null)
            }
            None => None,
        },
    };
    let fits = match (core, &value) {
        (None, _) => true,
        (Some("null"), Some(Value::Null)) | (Some("bool"), Some(Value::Bool(_))) => true,
        (Some("int"), Some(Value::Number(number))) => !number.is_f64(),
        (Some("float"), Some(Value::Number(_))) => true,
        _ => false,
    };
    if !fits {
        check_tag(builder, tag, "", at);
    }
    value.unwrap_or_else(|| Value::String(written.into_owned()))
}

pub(crate) fn bad_number(written: &str, at: Range<usize>) -> Problem {
    let shown: String = written.chars().take(40).collect();
    Problem::new(&codes::BAD_NUMBER, "", format!("`{shown}` is not a number that JSON can keep"))
        .at(at)
        .help("write it in quotes, as a text")
}

/// The number, if the text is one in the core schema; an error if it is one that JSON cannot keep.
fn number(text: &str) -> Option<Result<Number, ()>> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(Err(()));
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if unsigned.is_empty() || unsigned.len() > 1 && unsigned.starts_with('0') && digits(unsigned) {
        return None;
    }
    if digits(unsigned) {
        let text = text.strip_prefix('+').unwrap_or(text);
        return Some(
            text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from)).map_err(|_| ()),
        );
    }
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let is_float = digits(whole)
        && digits(fraction)
        && digits(exponent)
        && !exponent.is_empty()
        && !(whole.is_empty() && fraction.is_empty());
    is_float.then(|| text.parse::<f64>().ok().and_then(Number::from_f64).ok_or(()))
}

fn radix(digits: &str, radix: u32) -> Option<Result<Number, ()>> {
    if digits.is_empty() || !digits.bytes().all(|b| char::from(b).is_digit(radix)) {
        return None;
    }
    Some(u64::from_str_radix(digits, radix).map(Number::from).map_err(|_| ()))
}
