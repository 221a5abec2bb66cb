//! A value for a JSON Schema.
//!
//! Covers what frameworks and people write: types, `enum`, `const`, bounds, lengths, patterns, formats, arrays, objects,
//! `$ref` within the document, `allOf`, `anyOf`, `oneOf`. Conditions (`if`, `not`, `dependentSchemas`) are not looked
//! at. What cannot be satisfied, or not in reasonable size, is an error and not a wrong value.

use serde_json::{Map, Value, json};

use super::{
    merge::{merge, resolve},
    scalar::{self, count},
};

/// Optional properties and list items are filled in down to this depth.
const FILLED_DEPTH: usize = 6;
const DEPTH_MAX: usize = 48;
/// Characters and values of one instance, failed tries included.
const FUEL: usize = 200_000;

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unsatisfiable(String);

impl Unsatisfiable {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Bounds the work: a small schema can describe a huge value.
pub(super) struct Fuel(usize);

impl Fuel {
    pub(super) fn full() -> Self {
        Self(FUEL)
    }

    pub(super) fn burn(&mut self, amount: usize) -> Result<(), Unsatisfiable> {
        match self.0.checked_sub(amount) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => {
                self.0 = 0;
                Err(Unsatisfiable::new("the value would be too large"))
            }
        }
    }
}

/// A value that `schema` accepts.
pub(crate) fn instance(schema: &Value) -> Result<Value, Unsatisfiable> {
    Maker { root: schema, fuel: Fuel::full() }.make(schema, &Place { name: "", depth: 0, nth: 0, refs: Vec::new() })
}

struct Maker<'a> {
    root: &'a Value,
    fuel: Fuel,
}

/// Where in the instance a value stands.
#[derive(Clone)]
struct Place<'a> {
    /// What its owner calls it.
    name: &'a str,
    depth: usize,
    /// Which of several different values is wanted.
    nth: usize,
    /// The references that led here.
    refs: Vec<String>,
}

impl Place<'_> {
    /// Is this the inside of a definition that holds itself, or simply deep enough?
    fn is_deep(&self) -> bool {
        self.depth > FILLED_DEPTH || self.refs.iter().any(|name| self.refs.iter().filter(|x| *x == name).count() > 1)
    }

    /// Some definitions hold themselves and have no end.
    fn check(&self) -> Result<(), Unsatisfiable> {
        if self.depth.max(self.refs.len()) > DEPTH_MAX {
            return Err(Unsatisfiable::new("it holds itself without end"));
        }
        Ok(())
    }

    fn inside<'b>(&self, name: &'b str, nth: usize) -> Place<'b> {
        Place { name, depth: self.depth + 1, nth, refs: self.refs.clone() }
    }
}

impl Maker<'_> {
    fn make(&mut self, schema: &Value, place: &Place<'_>) -> Result<Value, Unsatisfiable> {
        self.fuel.burn(1)?;
        place.check()?;
        match schema {
            Value::Object(schema) => self.make_object_schema(schema, place),
            Value::Bool(false) => Err(Unsatisfiable::new(format!("`{}` allows no value", place.name))),
            _ => Ok(json!(scalar::string(&Map::new(), place.name, place.nth, &mut self.fuel)?)),
        }
    }

    fn make_object_schema(&mut self, schema: &Map<String, Value>, place: &Place<'_>) -> Result<Value, Unsatisfiable> {
        let mut place = Place { name: place.name, depth: place.depth, nth: place.nth, refs: place.refs.clone() };
        let mut schema = schema.clone();
        // `allOf` and `$ref` are taken in until none is left; each may bring more.
        loop {
            self.fuel.burn(1 + schema.len())?;
            if let Some(Value::String(reference)) = schema.shift_remove("$ref") {
                let target = resolve(self.root, &reference)?.clone();
                place.refs.push(reference);
                place.check()?;
                schema = merge(schema, &target)?;
            } else if let Some(Value::Array(all)) = schema.shift_remove("allOf") {
                for part in &all {
                    schema = merge(schema, part)?;
                }
            } else {
                break;
            }
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(Value::Array(alternatives)) = schema.shift_remove(key) {
                return self.make_one_of(&schema, &alternatives, &place);
            }
        }
        self.make_typed(&schema, &place)
    }

    fn make_one_of(
        &mut self,
        base: &Map<String, Value>,
        alternatives: &[Value],
        place: &Place<'_>,
    ) -> Result<Value, Unsatisfiable> {
        let is_null = |schema: &&Value| schema.get("type").and_then(Value::as_str) == Some("null");
        let (nulls, others): (Vec<&Value>, Vec<&Value>) = alternatives.iter().partition(is_null);
        let ordered = if place.is_deep() { [nulls, others] } else { [others, nulls] };
        let mut refusal = Unsatisfiable::new(format!("`{}` has no alternative", place.name));
        for alternative in ordered.into_iter().flatten() {
            match merge(base.clone(), alternative).and_then(|merged| self.make(&Value::Object(merged), place)) {
                Ok(value) => return Ok(value),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    fn make_typed(&mut self, schema: &Map<String, Value>, place: &Place<'_>) -> Result<Value, Unsatisfiable> {
        if let Some(value) = schema.get("const") {
            return Ok(value.clone());
        }
        if let Some(Value::Array(values)) = schema.get("enum") {
            let chosen = values.get(place.nth % values.len().max(1));
            return chosen.cloned().ok_or_else(|| Unsatisfiable::new(format!("the enum of `{}` is empty", place.name)));
        }
        match type_of(schema, place) {
            "null" => Ok(Value::Null),
            "boolean" => Ok(Value::Bool(place.nth.is_multiple_of(2))),
            "integer" => scalar::integer(schema, place.name, place.nth),
            "number" => scalar::number(schema, place.name, place.nth),
            "array" => self.make_array(schema, place),
            "object" => self.make_object(schema, place),
            "string" => Ok(json!(scalar::string(schema, place.name, place.nth, &mut self.fuel)?)),
            other => Err(Unsatisfiable::new(format!("`{other}` is not a JSON type"))),
        }
    }

    fn make_array(&mut self, schema: &Map<String, Value>, place: &Place<'_>) -> Result<Value, Unsatisfiable> {
        let anything = Value::Bool(true);
        let (first, rest) = match (schema.get("prefixItems"), schema.get("items")) {
            (Some(Value::Array(first)), rest) => (first.as_slice(), rest),
            (_, Some(Value::Array(first))) => (first.as_slice(), schema.get("additionalItems")),
            (_, rest) => (&[][..], rest),
        };
        let rest = schema.get("contains").filter(|_| rest.is_none()).or(rest).unwrap_or(&anything);
        let items_min = count(schema, "minItems").unwrap_or(0);
        let items_max = count(schema, "maxItems").unwrap_or(usize::MAX);
        // One item shows more than an empty list, where one is possible.
        let wanted = if place.is_deep() { items_min } else { items_min.max(first.len()).max(1) };
        let is_unique = schema.get("uniqueItems") == Some(&Value::Bool(true));
        let mut items = Vec::new();
        for index in 0..wanted.min(items_max) {
            let item = first.get(index).unwrap_or(rest);
            let nth = if is_unique { place.nth + index } else { place.nth };
            match self.make(item, &place.inside(place.name, nth)) {
                Ok(value) if is_unique && items.contains(&value) => {
                    let name = place.name;
                    return Err(Unsatisfiable::new(format!("not enough different items were found for `{name}`")));
                }
                Ok(value) => items.push(value),
                Err(_) if items.len() >= items_min => break,
                Err(error) => return Err(error),
            }
        }
        if items.len() < items_min {
            let name = place.name;
            return Err(Unsatisfiable::new(format!("`{name}` has minItems {items_min} and maxItems {items_max}")));
        }
        Ok(Value::Array(items))
    }

    fn make_object(&mut self, schema: &Map<String, Value>, place: &Place<'_>) -> Result<Value, Unsatisfiable> {
        let nothing = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&nothing);
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        let required = required.filter_map(Value::as_str).collect::<Vec<_>>();
        let members_max = count(schema, "maxProperties").unwrap_or(usize::MAX);
        let mut members = Map::new();
        for name in &required {
            let member = properties.get(*name).or_else(|| by_pattern(schema, name));
            let member = member.or(schema.get("additionalProperties")).unwrap_or(&Value::Bool(true)).clone();
            members.insert((*name).to_owned(), self.make(&member, &place.inside(name, place.nth))?);
        }
        for (name, member) in properties.iter().filter(|_| !place.is_deep()) {
            if members.len() < members_max && !members.contains_key(name) {
                // An optional property that cannot be made is left out.
                if let Ok(value) = self.make(member, &place.inside(name, place.nth)) {
                    members.insert(name.clone(), value);
                }
            }
        }
        self.add_members(schema, properties.is_empty(), &mut members, place)?;
        // In the order of the schema, which is the order its author thinks in.
        let order = |name: &String| properties.keys().position(|known| known == name).unwrap_or(usize::MAX);
        let mut ordered = members.into_iter().collect::<Vec<_>>();
        ordered.sort_by_key(|(name, _)| order(name));
        Ok(Value::Object(ordered.into_iter().collect()))
    }

    /// Members that no property names: as many as `minProperties` wants, and one for an object that is a map.
    fn add_members(
        &mut self,
        schema: &Map<String, Value>,
        no_properties: bool,
        members: &mut Map<String, Value>,
        place: &Place<'_>,
    ) -> Result<(), Unsatisfiable> {
        let pattern = schema.get("patternProperties").and_then(Value::as_object).and_then(|all| all.iter().next());
        let names = schema.get("propertyNames").cloned().unwrap_or(Value::Bool(true));
        let (name_schema, member) = match (pattern, schema.get("additionalProperties")) {
            (Some((pattern, member)), _) => (json!({ "pattern": pattern }), member.clone()),
            (None, Some(member)) => (names, member.clone()),
            (None, None) => (names, Value::Bool(true)),
        };
        let is_map = no_properties && member.is_object() && !place.is_deep();
        let members_min = count(schema, "minProperties").unwrap_or(0);
        let members_max = count(schema, "maxProperties").unwrap_or(usize::MAX);
        let wanted = members_min.max(usize::from(is_map && members.is_empty())).min(members_max);
        let mut nth = 0;
        while members.len() < wanted {
            self.fuel.burn(1)?;
            let name = match self.make(&name_schema, &place.inside("key", nth))? {
                Value::String(name) => name,
                _ => return Err(Unsatisfiable::new(format!("the names in `{}` are not strings", place.name))),
            };
            nth += 1;
            if !members.contains_key(&name) {
                let value = self.make(&member, &place.inside(place.name, place.nth))?;
                members.insert(name, value);
            }
        }
        Ok(())
    }
}

/// The schema of a property that only a pattern names.
fn by_pattern<'a>(schema: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let patterns = schema.get("patternProperties")?.as_object()?;
    // Only the plainest patterns are told apart: a prefix, or everything.
    patterns.iter().find(|(pattern, _)| name.starts_with(pattern.trim_matches(['^', '$', '.', '*']))).map(|(_, it)| it)
}

/// The type to make: the one that is given, the first of several that is not null, else what the keywords suggest.
fn type_of<'a>(schema: &'a Map<String, Value>, place: &Place<'_>) -> &'a str {
    const HINTS: [(&str, &[&str]); 4] = [
        ("object", &["properties", "required", "additionalProperties", "minProperties", "patternProperties"]),
        ("array", &["items", "prefixItems", "minItems", "uniqueItems", "contains"]),
        ("number", &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]),
        ("string", &[]),
    ];
    match schema.get("type") {
        Some(Value::String(name)) => name,
        Some(Value::Array(names)) => {
            let mut names = names.iter().filter_map(Value::as_str);
            let first = if place.is_deep() {
                names.clone().find(|name| *name == "null").or_else(|| names.next())
            } else {
                names.clone().find(|name| *name != "null").or_else(|| names.next())
            };
            first.unwrap_or("string")
        }
        _ => {
            let hinted = HINTS.iter().find(|(_, keys)| keys.iter().any(|key| schema.contains_key(*key)));
            hinted.map_or("string", |(name, _)| name)
        }
    }
}
