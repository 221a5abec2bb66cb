//! From the template engine's values back to JSON, with a bound on the size.

use minijinja::value::{Value, ValueKind};
use serde_json::{Map, Number, Value as Json};

use super::{template::RENDERED_BYTES_MAX, view::View};

/// What is left of the space that a result may take.
pub(crate) struct Budget {
    bytes_left: usize,
}

/// The result is larger than allowed.
pub(crate) struct Exceeded;

impl From<Exceeded> for String {
    fn from(_: Exceeded) -> Self {
        format!("the result is larger than {} MB", RENDERED_BYTES_MAX >> 20)
    }
}

impl Budget {
    /// All of it.
    pub(crate) const fn new() -> Self {
        Self { bytes_left: RENDERED_BYTES_MAX }
    }

    /// Takes `bytes` of it.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), Exceeded> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(Exceeded)?;
        Ok(())
    }

    /// Takes what a copy of `value` needs.
    pub(crate) fn take_value(&mut self, value: &Json) -> Result<(), Exceeded> {
        self.take(ENTRY_BYTES)?;
        match value {
            Json::String(text) => self.take(text.len()),
            Json::Array(items) => items.iter().try_for_each(|item| self.take_value(item)),
            Json::Object(fields) => fields.iter().try_for_each(|(key, item)| {
                self.take(key.len())?;
                self.take_value(item)
            }),
            _ => Ok(()),
        }
    }
}

/// What any value takes, however small.
const ENTRY_BYTES: usize = 16;
/// The deepest nesting of a result; the same as of JSON that is read.
const DEPTH_MAX: usize = 128;

/// The JSON of a value that the engine computed. Undefined becomes null.
pub(crate) fn to_json(value: &Value, budget: &mut Budget) -> Result<Json, String> {
    convert(value, budget, 0)
}

fn convert(value: &Value, budget: &mut Budget, depth: usize) -> Result<Json, String> {
    if depth > DEPTH_MAX {
        return Err(format!("the result is nested more than {DEPTH_MAX} deep"));
    }
    if let Some(view) = value.downcast_object_ref::<View>() {
        budget.take_value(view.value())?;
        return Ok(view.value().clone());
    }
    budget.take(ENTRY_BYTES)?;
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => Ok(Json::Null),
        ValueKind::Bool => Ok(Json::Bool(value.is_true())),
        ValueKind::Number => number(value).map(Json::Number),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            budget.take(text.len())?;
            Ok(Json::String(text.to_owned()))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|error| describe(&error))?;
            items.map(|item| convert(&item, budget, depth + 1)).collect::<Result<_, _>>().map(Json::Array)
        }
        ValueKind::Map => {
            let mut fields = Map::new();
            for key in value.try_iter().map_err(|error| describe(&error))? {
                let item = value.get_item(&key).map_err(|error| describe(&error))?;
                let key = key.to_string();
                budget.take(key.len())?;
                fields.insert(key, convert(&item, budget, depth + 1)?);
            }
            Ok(Json::Object(fields))
        }
        other => Err(format!("the result is {other}, which JSON cannot hold")),
    }
}

/// The engine's error without its own name for the kind.
pub(crate) fn describe(error: &minijinja::Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
}

fn number(value: &Value) -> Result<Number, String> {
    if value.is_integer() {
        let signed = value.as_i64().map(Number::from);
        let unsigned = || u64::try_from(value.clone()).ok().map(Number::from);
        return signed.or_else(unsigned).ok_or_else(|| "the result is an integer of more than 64 bits".to_owned());
    }
    f64::try_from(value.clone())
        .ok()
        .and_then(Number::from_f64)
        .ok_or_else(|| "the result is not a finite number".to_owned())
}
