//! `output_schema`: a JSON Schema, compiled, within bounds.
//!
//! A schema is a document's, and so may be hostile: it fetches nothing, its patterns are matched in linear time, and what
//! would be tried on one value, through references and `allOf` and their like, is counted before the library sees it.

use std::{borrow::Cow, collections::BTreeMap};

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value};

/// The most values in a schema.
pub const SCHEMA_VALUES_MAX: usize = 10_000;
/// The deepest nesting of a schema.
const DEPTH_MAX: usize = 64;
/// The longest chain of subschemas that look at one and the same value.
const CHAIN_MAX: usize = 32;
/// The most subschemas that are tried on one value.
const TRIED_MAX: u32 = 1000;
/// The most memory of a pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// The most pieces of a pattern, repetitions written out: what compiling it costs.
const PATTERN_PIECES_MAX: u64 = 5000;
/// Problems and misfits that are told.
const TOLD_MAX: usize = 20;

/// Keywords below which stand values, and not schemas.
const DATA: [&str; 4] = ["enum", "const", "default", "examples"];
/// Keywords whose schemas look at the same value as the schema that holds them.
const SAME_VALUE: [&str; 8] = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"];

/// A JSON Schema (2020-12, unless its `$schema` names another draft), compiled.
#[derive(Debug)]
pub struct OutputSchema(Validator);

/// Where a schema is wrong, or where a value does not fit it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// JSON Pointer into the schema, or into the value.
    pub pointer: String,
    /// What is wrong there, in a few words. Of a value nothing is quoted.
    pub message: String,
}

impl OutputSchema {
    /// Compiles `schema`. Gives all that is wrong with it, a score at most.
    pub fn compile(schema: &Value) -> Result<Self, Vec<Mismatch>> {
        let mut survey = Survey { values: 0, anchors: BTreeMap::new(), wrong: Vec::new() };
        survey.walk(schema, &mut String::new(), 0);
        if !survey.wrong.is_empty() {
            survey.wrong.truncate(TOLD_MAX);
            return Err(survey.wrong);
        }
        let draft = Draft::default().detect(schema);
        if draft == Draft::Unknown {
            return Err(vec![Mismatch {
                pointer: "/$schema".to_owned(),
                message: "this draft is not known".to_owned(),
            }]);
        }
        let rules = jsonschema::meta::validator_for(schema).map_err(|error| vec![from_library(&error)])?;
        let wrong: Vec<Mismatch> = rules.iter_errors(schema).take(TOLD_MAX).map(|error| from_library(&error)).collect();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Cost { root: schema, anchors: &survey.anchors, known: BTreeMap::new() }.of_all(schema)?;
        let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
        let options = jsonschema::options().with_draft(draft).with_pattern_options(patterns);
        options.build(schema).map(Self).map_err(|error| vec![from_library(&error)])
    }

    /// Where `value` does not fit; empty if it does. A score of places at most.
    pub fn misfits(&self, value: &Value) -> Vec<Mismatch> {
        let misfit = |error: jsonschema::ValidationError<'_>| Mismatch {
            pointer: error.instance_path().to_string(),
            message: error.masked().to_string(),
        };
        self.0.iter_errors(value).take(TOLD_MAX).map(misfit).collect()
    }
}

fn from_library(error: &jsonschema::ValidationError<'_>) -> Mismatch {
    let mut message = error.to_string();
    if let Some((end, _)) = message.char_indices().nth(300) {
        message.truncate(end);
        message.push('…');
    }
    Mismatch { pointer: error.instance_path().to_string(), message }
}

/// A first look at everything in a schema, for what is not taken at all.
struct Survey<'s> {
    values: usize,
    anchors: BTreeMap<&'s str, &'s Value>,
    wrong: Vec<Mismatch>,
}

impl<'s> Survey<'s> {
    fn walk(&mut self, schema: &'s Value, pointer: &mut String, depth: usize) {
        self.values += 1;
        if self.values == SCHEMA_VALUES_MAX + 1 {
            self.refuse(pointer, format!("a schema may hold {SCHEMA_VALUES_MAX} values at most"));
        }
        if self.values > SCHEMA_VALUES_MAX {
            return;
        }
        if depth > DEPTH_MAX {
            return self.refuse(pointer, format!("a schema may be nested {DEPTH_MAX} deep at most"));
        }
        let length = pointer.len();
        match schema {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    crate::expr::push_pointer(pointer, &index.to_string());
                    self.walk(item, pointer, depth + 1);
                    pointer.truncate(length);
                }
            }
            Value::Object(fields) => {
                for (name, value) in fields {
                    crate::expr::push_pointer(pointer, name);
                    self.keyword(name, value, schema, pointer, depth);
                    if !DATA.contains(&name.as_str()) {
                        self.walk(value, pointer, depth + 1);
                    }
                    pointer.truncate(length);
                }
            }
            _ => {}
        }
    }

    fn keyword(&mut self, name: &str, value: &'s Value, holder: &'s Value, pointer: &str, depth: usize) {
        if name == "patternProperties" {
            for pattern in value.as_object().into_iter().flatten().map(|(pattern, _)| pattern) {
                self.pattern(pattern, pointer);
            }
        }
        let Some(text) = value.as_str() else { return };
        match name {
            "$anchor" => drop(self.anchors.insert(text, holder)),
            "$ref" if !text.starts_with('#') => {
                self.refuse(
                    pointer,
                    "a reference leads into the same schema: `#/$defs/…`; nothing is fetched".to_owned(),
                );
            }
            "pattern" => self.pattern(text, pointer),
            "$dynamicRef" | "$recursiveRef" => {
                self.refuse(pointer, format!("`{name}` is not available; write `$ref`"));
            }
            "$id" | "id" if depth > 0 && text.contains([':', '/']) => {
                self.refuse(
                    pointer,
                    "a schema inside another has no identity of its own; use `$defs` and `$ref`".to_owned(),
                );
            }
            _ => {}
        }
    }

    fn pattern(&mut self, pattern: &str, pointer: &str) {
        if pieces(pattern) > PATTERN_PIECES_MAX {
            let message = format!("a pattern may have {PATTERN_PIECES_MAX} pieces at most, repetitions written out");
            self.refuse(pointer, message);
        }
    }

    fn refuse(&mut self, pointer: &str, message: String) {
        if self.wrong.len() < TOLD_MAX {
            self.wrong.push(Mismatch { pointer: pointer.to_owned(), message });
        }
    }
}

/// About how many pieces a regular expression has when its counted repetitions are written out.
fn pieces(pattern: &str) -> u64 {
    // What has been read of each open bracket, and the size of the piece before.
    let (mut open, mut total, mut last) = (Vec::new(), 0_u64, 0_u64);
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '(' => {
                open.push(total);
                (total, last) = (0, 0);
            }
            ')' => {
                last = total;
                total = total.saturating_add(open.pop().unwrap_or_default());
            }
            '{' => {
                let inside = rest.as_str().split('}').next().unwrap_or_default();
                let counts = inside.split(',').filter_map(|count| count.trim().parse::<u64>().ok());
                let times = counts.max().unwrap_or(1).max(1);
                let grown = last.saturating_mul(times);
                total = total.saturating_sub(last).saturating_add(grown);
                last = grown;
                rest = rest.as_str()[inside.len()..].strip_prefix('}').unwrap_or_default().chars();
            }
            '\\' => {
                rest.next();
                (total, last) = (total.saturating_add(1), 1);
            }
            _ => (total, last) = (total.saturating_add(1), 1),
        }
    }
    open.into_iter().fold(total, u64::saturating_add)
}

/// How many subschemas are tried on one value.
struct Cost<'s> {
    root: &'s Value,
    anchors: &'s BTreeMap<&'s str, &'s Value>,
    /// By address: of one schema that does not change or move meanwhile.
    known: BTreeMap<*const Value, u32>,
}

impl<'s> Cost<'s> {
    /// Looks at every subschema of `schema`.
    fn of_all(&mut self, schema: &'s Value) -> Result<(), Vec<Mismatch>> {
        let mut open = vec![(schema, String::new())];
        while let Some((part, pointer)) = open.pop() {
            match part {
                Value::Object(fields) => {
                    if self.of(part, 0).is_none_or(|tried| tried > TRIED_MAX) {
                        let message = format!(
                            "more than {TRIED_MAX} subschemas, or {CHAIN_MAX} one inside the other, would be tried on one \
                             value, through `$ref`, `allOf` and their like"
                        );
                        return Err(vec![Mismatch { pointer, message }]);
                    }
                    for (name, value) in fields.iter().filter(|(name, _)| !DATA.contains(&name.as_str())) {
                        let mut inner = pointer.clone();
                        crate::expr::push_pointer(&mut inner, name);
                        open.push((value, inner));
                    }
                }
                Value::Array(items) => {
                    open.extend(items.iter().enumerate().map(|(index, item)| (item, format!("{pointer}/{index}"))));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// None: the chain is too long. A circle counts once: the library goes round it no further.
    fn of(&mut self, schema: &'s Value, depth: usize) -> Option<u32> {
        let Value::Object(fields) = schema else { return Some(1) };
        let address: *const Value = schema;
        if let Some(known) = self.known.get(&address) {
            return Some(*known);
        }
        if depth > CHAIN_MAX {
            return None;
        }
        self.known.insert(address, 0);
        let mut tried = 1_u32;
        for part in self.on_the_same_value(fields) {
            tried = tried.saturating_add(self.of(part, depth + 1)?);
        }
        self.known.insert(address, tried);
        Some(tried)
    }

    fn on_the_same_value(&self, fields: &'s Map<String, Value>) -> Vec<&'s Value> {
        let mut found: Vec<&Value> = Vec::new();
        for name in SAME_VALUE {
            match fields.get(name) {
                Some(Value::Array(parts)) => found.extend(parts),
                Some(Value::Object(parts)) if name == "dependentSchemas" => found.extend(parts.values()),
                Some(part) => found.push(part),
                None => {}
            }
        }
        found.extend(fields.get("$ref").and_then(Value::as_str).and_then(|target| self.target(target)));
        found
    }

    /// What `#…` leads to. What leads nowhere is told by the library.
    fn target(&self, reference: &str) -> Option<&'s Value> {
        let inside = decoded(reference.strip_prefix('#')?);
        if inside.is_empty() || inside.starts_with('/') {
            return self.root.pointer(&inside);
        }
        self.anchors.get(&*inside).copied()
    }
}

/// Without `%20` and the like.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(schema: &Value) -> Vec<Mismatch> {
        OutputSchema::compile(schema).err().unwrap_or_default()
    }

    #[test]
    fn a_value_is_told_where_it_does_not_fit_and_never_quoted() {
        let schema = json!({
            "type": "object", "required": ["kind"],
            "properties": { "kind": { "enum": ["a", "b"] }, "n": { "type": "integer" }, "t": { "$ref": "#/$defs/t" } },
            "$defs": { "t": { "type": "array", "items": { "$ref": "#/$defs/t" } } }
        });
        let schema = OutputSchema::compile(&schema).unwrap();
        assert_eq!(schema.misfits(&json!({ "kind": "a", "n": 3, "t": [[], [[]]] })), []);
        let misfits = schema.misfits(&json!({ "kind": "hunter2", "n": 1.5, "t": [[1]] }));
        let places: Vec<&str> = misfits.iter().map(|misfit| &*misfit.pointer).collect();
        assert_eq!(places, ["/kind", "/n", "/t/0/0"]);
        assert!(misfits.iter().all(|misfit| !misfit.message.contains("hunter2")), "{misfits:?}");
    }

    #[test]
    fn all_that_is_wrong_with_a_schema_is_told() {
        let places: Vec<String> =
            wrong(&json!({ "type": "strng", "properties": { "a": { "minimum": "x" } }, "required": "a" }))
                .into_iter()
                .map(|wrong| wrong.pointer)
                .collect();
        assert_eq!(places.len(), 3, "{places:?}");
        for (schema, place) in [
            (json!({ "$ref": "https://example.com/x.json" }), "/$ref"),
            (json!({ "$ref": "file:///etc/passwd" }), "/$ref"),
            (json!({ "items": { "$id": "https://example.com/", "$ref": "#/a" } }), "/items/$id"),
            (json!({ "$dynamicRef": "#x" }), "/$dynamicRef"),
            (json!({ "$schema": "https://example.com/draft" }), "/$schema"),
            (json!({ "pattern": "(?=a)b" }), "/pattern"),
            (json!({ "pattern": "(a{1000}){1000}" }), "/pattern"),
            (json!({ "items": { "patternProperties": { "((a{99}){99}){99}": {} } } }), "/items/patternProperties"),
            (json!({ "$ref": "#/$defs/none" }), ""),
        ] {
            let wrong = wrong(&schema);
            assert_eq!(wrong[0].pointer, place, "{schema}: {wrong:?}");
        }
        assert_eq!(wrong(&json!({ "$schema": "http://json-schema.org/draft-07/schema#", "type": "string" })), []);
        assert_eq!(
            wrong(&json!({ "enum": [{ "$ref": "https://example.com/data" }], "$id": "https://example.com/" })),
            []
        );
        assert_eq!(wrong(&json!({ "properties": { "$ref": { "type": "string" }, "id": { "type": "string" } } })), []);
        assert_eq!(wrong(&json!(true)), []);
    }

    #[test]
    fn the_pieces_of_a_pattern_are_counted() {
        for (pattern, count) in [
            ("", 0),
            ("abc", 3),
            ("a{10}", 10),
            ("(ab){10}c", 21),
            ("((a{10}){10}){10}", 1000),
            ("a{2,5}b{3}", 8),
            ("\\{{4}", 4),
        ] {
            assert_eq!(pieces(pattern), count, "{pattern}");
        }
        assert!(pieces("^[a-z0-9._%+-]{1,64}@[a-z0-9.-]{1,255}\\.[a-z]{2,63}$") < PATTERN_PIECES_MAX);
        assert_eq!(pieces(&"(".repeat(10_000)), 0);
        assert_eq!(pieces(&format!("{}a{}", "(".repeat(50), "){9}".repeat(50))), u64::MAX);
    }

    /// A schema of thirty lines that would be tried 2^30 times on one value, and one that never ends.
    #[test]
    fn schemas_that_multiply_are_refused_and_circles_end() {
        for keyword in ["allOf", "anyOf", "oneOf"] {
            let mut defs = Map::new();
            for n in 0..30 {
                let next = json!({ "$ref": format!("#/$defs/a%20{}", n + 1) });
                defs.insert(format!("a {n}"), json!({ keyword: [next, next] }));
            }
            defs.insert("a 30".to_owned(), json!({ "type": "integer" }));
            let bomb = wrong(&json!({ "$defs": defs, "$ref": "#/$defs/a%200" }));
            assert!(bomb[0].message.contains("tried on one value"), "{bomb:?}");
        }
        for circle in [
            json!({ "$ref": "#" }),
            json!({ "allOf": [{ "$ref": "#" }] }),
            json!({ "$ref": "#a", "$defs": { "a": { "$anchor": "a", "$ref": "#/$defs/b" }, "b": { "$ref": "#a" } } }),
        ] {
            assert_eq!(OutputSchema::compile(&circle).unwrap().misfits(&json!({ "a": [1] })), [], "{circle}");
        }
        let deep = (0..100).fold(json!({}), |inner, _| json!({ "items": inner }));
        assert!(wrong(&deep)[0].message.contains("64 deep"));
        let many: Vec<Value> = (0..11_000).map(|n| json!(n)).collect();
        assert!(!wrong(&json!({ "allOf": many })).is_empty());
    }
}
