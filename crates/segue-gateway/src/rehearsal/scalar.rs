//! Values without parts: strings and numbers that keep to their schema's bounds.
//!
//! `nth` asks for another value each time, for lists whose items must differ.

use serde_json::{Map, Number, Value};

use super::{
    pattern,
    schema::{Fuel, Unsatisfiable},
};

type Schema = Map<String, Value>;

/// A string for `schema`; `name` is what its owner calls it.
pub(super) fn string(schema: &Schema, name: &str, nth: usize, fuel: &mut Fuel) -> Result<String, Unsatisfiable> {
    let chars_min = count(schema, "minLength").unwrap_or(0);
    let chars_max = count(schema, "maxLength").unwrap_or(usize::MAX);
    fuel.burn(chars_min)?;
    if chars_min > chars_max {
        return Err(Unsatisfiable::new(format!("`{name}` has minLength {chars_min} and maxLength {chars_max}")));
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
        return pattern::matching(pattern, chars_min, chars_max, nth, fuel);
    }
    let format = schema.get("format").and_then(Value::as_str).and_then(|format| formatted(format, nth));
    let text = format.unwrap_or_else(|| plain(name, nth));
    Ok(fit(text, chars_min, chars_max))
}

fn plain(name: &str, nth: usize) -> String {
    let name = if name.is_empty() { "value" } else { name };
    // The number comes first, so that shortening keeps texts apart.
    if nth == 0 { format!("rehearsed {name}") } else { format!("{} rehearsed {name}", nth + 1) }
}

fn formatted(format: &str, nth: usize) -> Option<String> {
    let day = nth % 28 + 1;
    Some(match format {
        "date" => format!("2026-01-{day:02}"),
        "date-time" => format!("2026-01-{day:02}T00:00:00Z"),
        "time" => format!("{:02}:{:02}:00Z", nth / 60 % 24, nth % 60),
        "duration" => format!("P{}D", nth + 1),
        "email" | "idn-email" => format!("rehearsal{nth}@example.com"),
        "hostname" | "idn-hostname" => format!("host{nth}.example.com"),
        "ipv4" => format!("192.0.2.{}", nth % 254 + 1),
        "ipv6" => format!("2001:db8::{:x}", nth % 0xffff + 1),
        "uri" | "url" | "iri" => format!("https://example.com/{nth}"),
        "uri-reference" | "iri-reference" => format!("/{nth}"),
        "json-pointer" => format!("/{nth}"),
        "uuid" | "uuid4" => format!("00000000-0000-4000-8000-{nth:012x}"),
        "regex" => "^.*$".to_owned(),
        _ => return None,
    })
}

fn fit(text: String, chars_min: usize, chars_max: usize) -> String {
    let chars = text.chars().count();
    if chars > chars_max {
        text.chars().take(chars_max).collect()
    } else {
        text.chars().chain(std::iter::repeat_n('.', chars_min.saturating_sub(chars))).collect()
    }
}

/// An integer for `schema`.
pub(super) fn integer(schema: &Schema, name: &str, nth: usize) -> Result<Value, Unsatisfiable> {
    let mut lowest = i128::from(i64::MIN);
    let mut highest = i128::from(i64::MAX);
    if let Some(bound) = number_at(schema, "minimum") {
        lowest = lowest.max(bound.ceil() as i128);
    }
    if let Some(bound) = number_at(schema, "exclusiveMinimum") {
        lowest = lowest.max(bound.floor() as i128 + 1);
    }
    if let Some(bound) = number_at(schema, "maximum") {
        highest = highest.min(bound.floor() as i128);
    }
    if let Some(bound) = number_at(schema, "exclusiveMaximum") {
        highest = highest.min(bound.ceil() as i128 - 1);
    }
    let step = match number_at(schema, "multipleOf") {
        Some(step) if step >= 1.0 && step.fract() == 0.0 => step as i128,
        Some(step) if step > 0.0 && (1.0 / step).fract() == 0.0 => 1,
        Some(step) => return Err(Unsatisfiable::new(format!("`{name}` is an integer and a multiple of {step}"))),
        None => 1,
    };
    let up = |value: i128| value + (step - value.rem_euclid(step)) % step;
    // 1, or what is nearest to it.
    let first = match up(1) {
        one if one > highest => highest - highest.rem_euclid(step),
        one => one.max(up(lowest)),
    };
    let nth = nth as i128 * step;
    let value = [first + nth, first - nth].into_iter().find(|value| (lowest..=highest).contains(value));
    let value = value.and_then(|value| i64::try_from(value).ok());
    value.map(Value::from).ok_or_else(|| Unsatisfiable::new(format!("no integer is within the bounds of `{name}`")))
}

/// A number for `schema`; written with a decimal point.
pub(super) fn number(schema: &Schema, name: &str, nth: usize) -> Result<Value, Unsatisfiable> {
    let [minimum, above, maximum, below] =
        ["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"].map(|key| number_at(schema, key));
    let lowest = minimum.into_iter().chain(above).fold(f64::NEG_INFINITY, f64::max);
    let highest = maximum.into_iter().chain(below).fold(f64::INFINITY, f64::min);
    let fits = |value: &f64| {
        (lowest..=highest).contains(value)
            && above.is_none_or(|bound| *value > bound)
            && below.is_none_or(|bound| *value < bound)
    };
    let shift = nth as f64;
    let mut candidates =
        vec![1.0 + shift, lowest + shift, lowest + 1.0 + shift, highest - shift, highest - 1.0 - shift];
    // Between close bounds: halves, thirds, quarters.
    candidates.push(lowest + (highest - lowest) / (shift + 2.0));
    if let Some(step) = number_at(schema, "multipleOf").filter(|step| *step > 0.0) {
        let whole = |value: f64| (value / step).ceil() * step;
        let start = if lowest.is_finite() { lowest } else { 1.0_f64.min(highest) };
        candidates = vec![whole(1.0) + shift * step, whole(start) + shift * step, whole(start) + (shift + 1.0) * step];
        candidates.push((highest / step).floor() * step - shift * step);
    }
    let value = candidates.into_iter().filter(|value| value.is_finite()).find(fits).and_then(Number::from_f64);
    value.map(Value::Number).ok_or_else(|| Unsatisfiable::new(format!("no number is within the bounds of `{name}`")))
}

fn number_at(schema: &Schema, key: &str) -> Option<f64> {
    schema.get(key).and_then(Value::as_f64)
}

/// A length or number of things that a schema gives; whole numbers may be written as `3.0`.
pub(super) fn count(schema: &Schema, key: &str) -> Option<usize> {
    number_at(schema, key).filter(|count| *count >= 0.0).map(|count| count as usize)
}
