//! The fields of a mapping, read one kind at a time.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Decoder, UNREADABLE, duration};
use crate::spec::{
    Seconds, codes,
    problem::{At, Problem},
};

/// What a value is, for a message.
pub fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(flag) => format!("the boolean {flag}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(_) => "a text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

/// The fields of one mapping.
pub struct Fields<'a> {
    /// All of them.
    pub map: &'a Map<String, Value>,
    /// Where the mapping stands.
    pub at: &'a At<'a>,
}

impl<'a> Fields<'a> {
    /// The field's value; none if it is absent or null.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }
}

impl Decoder<'_> {
    /// The value as a mapping.
    pub fn mapping<'a>(&mut self, value: &'a Value, at: &'a At<'a>, what: &str) -> Option<Fields<'a>> {
        match value.as_object() {
            Some(map) => Some(Fields { map, at }),
            None => {
                self.wrong_type(at, &format!("{what} is a mapping"), value);
                None
            }
        }
    }

    /// Reports a value that is not what `rule` says.
    pub fn wrong_type(&mut self, at: &At<'_>, rule: &str, value: &Value) {
        self.add(Problem::new(&codes::WRONG_TYPE, at, format!("{rule}; this is {}", kind_of(value))));
    }

    /// Reports every field that is not in `known`; one in `reserved` as not built yet.
    pub fn only(&mut self, fields: &Fields<'_>, what: &str, known: &[&'static str], reserved: &[&'static str]) {
        for name in fields.map.keys() {
            if known.contains(&name.as_str()) || name.starts_with("x-") {
                continue;
            }
            let at = fields.at.key(name);
            if reserved.contains(&name.as_str()) {
                self.not_available(&at, &format!("`{name}`"));
                continue;
            }
            let all = known.iter().chain(reserved).copied();
            let help = self
                .nearest
                .help(name, all)
                .unwrap_or_else(|| format!("{what} has {}; your own fields begin with `x-`", known.join(", ")));
            self.add(
                Problem::new(&codes::UNKNOWN_FIELD, at, format!("{what} has no field `{name}`")).help(help).on_key(),
            );
        }
    }

    pub(crate) fn not_available(&mut self, at: &At<'_>, what: &str) {
        let message = format!("{what} is part of the language but not built in this version");
        self.add(Problem::new(&codes::NOT_AVAILABLE, at, message).on_key());
    }

    /// Reports a field that has to be there.
    pub fn missing(&mut self, fields: &Fields<'_>, name: &str, what: &str) {
        let message = format!("{what} needs `{name}`");
        let problem = Problem::new(&codes::MISSING_FIELD, fields.at.key(name), message);
        self.add(problem.help(format!("add `{name}: …`")));
    }

    /// A text.
    pub fn text(&mut self, fields: &Fields<'_>, name: &str) -> Option<String> {
        let value = fields.get(name)?;
        if let Value::String(text) = value {
            return Some(text.clone());
        }
        self.text_expected(&fields.at.key(name), name, value);
        None
    }

    /// Reports that a text was expected. Numbers and booleans get their quotes as the cure.
    pub fn text_expected(&mut self, at: &At<'_>, name: &str, value: &Value) {
        let message = format!("`{name}` is a text; this is {}", kind_of(value));
        let help = (value.is_number() || value.is_boolean()).then(|| format!("write it in quotes: \"{value}\""));
        self.add(Problem::new(&codes::WRONG_TYPE, at, message).maybe_help(help));
    }

    /// An id. What is not a text is reported and becomes [`UNREADABLE`].
    pub(crate) fn id(&mut self, value: &Value, at: &At<'_>, name: &str) -> String {
        match value {
            Value::String(text) if text.contains(UNREADABLE) => {
                self.add(Problem::new(&codes::BAD_ID, at, "an id cannot hold a NUL character"));
                UNREADABLE.to_owned()
            }
            Value::String(text) => text.clone(),
            // `id: 1` is meant as a name; the quotes would be noise.
            Value::Number(number) if number.is_u64() => number.to_string(),
            other => {
                self.text_expected(at, name, other);
                UNREADABLE.to_owned()
            }
        }
    }

    /// A required id.
    pub(crate) fn required_id(&mut self, fields: &Fields<'_>, name: &str, what: &str) -> String {
        match fields.get(name) {
            Some(value) => self.id(value, &fields.at.key(name), name),
            None => {
                self.missing(fields, name, what);
                UNREADABLE.to_owned()
            }
        }
    }

    /// A span of time.
    pub fn seconds(&mut self, fields: &Fields<'_>, name: &str) -> Option<Seconds> {
        let value = fields.get(name)?;
        let at = fields.at.key(name);
        match value {
            Value::Number(number) => number.as_f64().map(Seconds),
            Value::String(text) => {
                let message = format!("`{name}` is a number of seconds; this is a text");
                let help = duration::seconds(text).map(|seconds| format!("write `{name}: {seconds}`"));
                self.add(Problem::new(&codes::DURATION, at, message).maybe_help(help));
                None
            }
            other => {
                self.wrong_type(&at, &format!("`{name}` is a number of seconds"), other);
                None
            }
        }
    }

    pub(crate) fn number(&mut self, fields: &Fields<'_>, name: &str) -> Option<f64> {
        let value = fields.get(name)?;
        let number = value.as_f64();
        if number.is_none() {
            self.wrong_type(&fields.at.key(name), &format!("`{name}` is a number"), value);
        }
        number
    }

    /// A whole number. What is out of a `u32` is out of every range here.
    pub fn whole(&mut self, fields: &Fields<'_>, name: &str) -> Option<u32> {
        let value = fields.get(name)?;
        let at = fields.at.key(name);
        match value.as_i64().map(u32::try_from) {
            Some(Ok(number)) => Some(number),
            Some(Err(_)) => {
                self.add(Problem::new(&codes::OUT_OF_RANGE, at, format!("`{name}` cannot be {value}")));
                None
            }
            None => {
                self.wrong_type(&at, &format!("`{name}` is a whole number"), value);
                None
            }
        }
    }

    /// A free-form mapping.
    pub(crate) fn free_map(&mut self, fields: &Fields<'_>, name: &str) -> Map<String, Value> {
        match fields.get(name) {
            None => Map::new(),
            Some(Value::Object(map)) => map.clone(),
            Some(other) => {
                self.wrong_type(&fields.at.key(name), &format!("`{name}` is a mapping"), other);
                Map::new()
            }
        }
    }

    /// `hints`: one mapping an adapter.
    pub(crate) fn hints(&mut self, fields: &Fields<'_>) -> Map<String, Value> {
        let hints = self.free_map(fields, "hints");
        let hints_at = fields.at.key("hints");
        for (adapter, value) in &hints {
            if !value.is_object() && !adapter.starts_with("x-") {
                self.wrong_type(&hints_at.key(adapter), &format!("the hints for `{adapter}` are a mapping"), value);
            }
        }
        hints
    }

    /// True or false; false if absent.
    pub fn flag(&mut self, fields: &Fields<'_>, name: &str) -> bool {
        match fields.get(name) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                self.wrong_type(&fields.at.key(name), &format!("`{name}` is true or false"), other);
                false
            }
        }
    }

    /// A list of texts. One that cannot be read leaves a gap, so that the others keep their places.
    pub(crate) fn texts(&mut self, fields: &Fields<'_>, name: &str) -> Vec<String> {
        let at = fields.at.key(name);
        let items = self.list(fields, name, None).into_iter().flatten().enumerate();
        items.map(|(index, item)| self.id(item, &at.index(index), name)).collect()
    }

    /// The items of a list, each with its place; none if the field is absent or no list.
    pub fn list<'a>(&mut self, fields: &Fields<'a>, name: &str, help: Option<&str>) -> Option<&'a Vec<Value>> {
        let value = fields.get(name)?;
        if let Value::Array(items) = value {
            return Some(items);
        }
        let message = format!("`{name}` is a list; this is {}", kind_of(value));
        let help = help.map(str::to_owned).or_else(|| value.as_str().map(|text| format!("write `{name}: [{text}]`")));
        self.add(Problem::new(&codes::WRONG_TYPE, fields.at.key(name), message).maybe_help(help));
        None
    }

    /// One of a few words, which are the serialised names of a type.
    pub fn word<T: DeserializeOwned>(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        known: &[&'static str],
        reserved: &[&'static str],
    ) -> Option<T> {
        self.one_word(fields.get(name)?, &fields.at.key(name), name, known, reserved)
    }

    /// As [`Decoder::word`], of a value that is no field.
    pub fn one_word<T: DeserializeOwned>(
        &mut self,
        value: &Value,
        at: &At<'_>,
        name: &str,
        known: &[&'static str],
        reserved: &[&'static str],
    ) -> Option<T> {
        let Some(word) = value.as_str() else {
            self.text_expected(at, name, value);
            return None;
        };
        if reserved.contains(&word) {
            self.not_available(at, &format!("`{name}: {word}`"));
            return None;
        }
        if let Ok(found) = T::deserialize(value) {
            return Some(found);
        }
        let message = format!("`{name}` cannot be `{word}`");
        let words: BTreeSet<_> = known.iter().map(|word| format!("`{word}`")).collect();
        let help = self
            .nearest
            .help(word, known.iter().copied())
            .unwrap_or_else(|| format!("it is one of {}", words.into_iter().collect::<Vec<_>>().join(", ")));
        self.add(Problem::new(&codes::UNKNOWN_VALUE, at, message).help(help));
        None
    }
}
