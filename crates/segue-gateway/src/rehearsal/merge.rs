//! Two schemas that a value must both satisfy, as one; and where a `$ref` leads.

use serde_json::{Map, Value, json};

use super::schema::Unsatisfiable;

/// The schema of values that satisfy both `base` and `other`.
pub(super) fn merge(mut base: Map<String, Value>, other: &Value) -> Result<Map<String, Value>, Unsatisfiable> {
    let other = match other {
        Value::Object(other) => other,
        Value::Bool(false) => return Err(Unsatisfiable::new("one of its parts allows no value")),
        _ => return Ok(base),
    };
    for (key, theirs) in other {
        let merged = match base.shift_remove(key) {
            None => theirs.clone(),
            Some(ours) => both(key, ours, theirs, &mut base)?,
        };
        base.insert(key.clone(), merged);
    }
    Ok(base)
}

/// The value of a keyword that both schemas have. What does not fold into one value is put into `base`'s `allOf`.
fn both(key: &str, ours: Value, theirs: &Value, base: &mut Map<String, Value>) -> Result<Value, Unsatisfiable> {
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    Ok(match key {
        "minimum" | "exclusiveMinimum" | "minLength" | "minItems" | "minProperties" => {
            if number(&ours) >= number(theirs) { ours } else { theirs.clone() }
        }
        "maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" | "maxProperties" => {
            if number(&ours) <= number(theirs) { ours } else { theirs.clone() }
        }
        "properties" | "patternProperties" | "$defs" | "definitions" => members(ours, theirs),
        "required" | "allOf" => concatenated(ours, theirs),
        "items" | "additionalProperties" | "propertyNames" => json!({ "allOf": [ours, theirs] }),
        "type" => common_type(&ours, theirs)?,
        "enum" => {
            let common = ours.as_array().into_iter().flatten().filter(|value| holds(theirs, value));
            Value::Array(common.cloned().collect())
        }
        "const" if ours != *theirs => return Err(Unsatisfiable::new("two of its parts want different constants")),
        "anyOf" | "oneOf" => {
            let all = base.shift_remove("allOf").unwrap_or_else(|| json!([]));
            base.insert("allOf".to_owned(), concatenated(all, &json!([{ key: theirs }])));
            ours
        }
        _ => theirs.clone(),
    })
}

fn holds(list: &Value, value: &Value) -> bool {
    list.as_array().is_some_and(|values| values.contains(value))
}

fn concatenated(ours: Value, theirs: &Value) -> Value {
    let both = [&ours, theirs].into_iter().filter_map(Value::as_array).flatten();
    Value::Array(both.cloned().collect())
}

fn members(ours: Value, theirs: &Value) -> Value {
    let (Value::Object(mut all), Some(theirs)) = (ours, theirs.as_object()) else { return theirs.clone() };
    for (name, schema) in theirs {
        let merged = match all.get(name) {
            Some(known) if known != schema => json!({ "allOf": [known, schema] }),
            _ => schema.clone(),
        };
        all.insert(name.clone(), merged);
    }
    Value::Object(all)
}

fn common_type(ours: &Value, theirs: &Value) -> Result<Value, Unsatisfiable> {
    let names = |value: &Value| -> Vec<String> {
        match value {
            Value::Array(names) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            other => other.as_str().map(str::to_owned).into_iter().collect(),
        }
    };
    let (ours, theirs) = (names(ours), names(theirs));
    let has = |list: &[String], name: &str| list.iter().any(|known| known == name);
    let all = ours.iter().chain(&theirs);
    // An integer is a number.
    let common = all.filter(|name| {
        let allowed = |list: &[String]| has(list, name) || *name == "integer" && has(list, "number");
        allowed(&ours) && allowed(&theirs)
    });
    let mut common = common.cloned().collect::<Vec<_>>();
    common.dedup();
    if common.is_empty() { Err(Unsatisfiable::new("two of its parts want different types")) } else { Ok(json!(common)) }
}

/// Where `reference` leads within the document `root`.
pub(super) fn resolve<'a>(root: &'a Value, reference: &str) -> Result<&'a Value, Unsatisfiable> {
    let pointer = reference.strip_prefix('#').ok_or_else(|| {
        Unsatisfiable::new(format!("`$ref: {reference}` leads out of the document, which is not supported"))
    })?;
    let found = root.pointer(pointer).or_else(|| root.pointer(&percent_decoded(pointer)));
    found.ok_or_else(|| Unsatisfiable::new(format!("`$ref: {reference}` leads nowhere")))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
