//! Values that tasks produce. Small ones travel with their event; large ones live once, beside the log, and the
//! event carries their hash.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, ser::SerializeMap};
use serde_json::Value;

use crate::ids::ContentHash;

/// Values whose JSON is longer than this many bytes are kept outside the log.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Names a large value: the hash and length of its JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    /// BLAKE3 of the JSON text.
    pub hash: ContentHash,
    /// Length of the JSON text.
    pub bytes: u64,
}

/// A JSON value as the log carries it. Cheap to clone.
///
/// In JSON an inline payload is the value itself, a large one is `{"$blob": {"hash": …, "bytes": …}}`. A payload read
/// back from a log knows only the reference; [`Payload::supply`] gives it its value again.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(with = "Value")]
pub struct Payload(Repr);

#[derive(Debug, Clone)]
enum Repr {
    Inline(Arc<Value>),
    Blob { blob: BlobRef, value: Option<Arc<Value>>, json: Option<Arc<[u8]>> },
}

impl Payload {
    /// Wraps `value`; measures it, and hashes it if it is large.
    pub fn new(value: Value) -> Self {
        Self::from_arc(Arc::new(value))
    }

    /// As [`Payload::new`], for a value that is shared already.
    pub fn from_arc(value: Arc<Value>) -> Self {
        // A task's own value that looks like a reference is kept as a large one, so that it can never pose as one.
        let poses = value.as_object().is_some_and(|fields| fields.len() == 1 && fields.contains_key("$blob"));
        if !poses && certainly_small(&value, &mut 256) {
            return Self(Repr::Inline(value));
        }
        let json = serde_json::to_vec(&*value).expect("a JSON value can be written as JSON");
        if !poses && json.len() <= INLINE_BYTES_MAX {
            return Self(Repr::Inline(value));
        }
        let blob = BlobRef { hash: ContentHash::of(&json), bytes: json.len() as u64 };
        Self(Repr::Blob { blob, value: Some(value), json: Some(json.into()) })
    }

    /// The value, unless this is a large one that has not been loaded yet.
    pub fn value(&self) -> Option<&Arc<Value>> {
        match &self.0 {
            Repr::Inline(value) => Some(value),
            Repr::Blob { value, .. } => value.as_ref(),
        }
    }

    /// The reference, if this is a large value.
    pub fn blob(&self) -> Option<BlobRef> {
        match &self.0 {
            Repr::Inline(_) => None,
            Repr::Blob { blob, .. } => Some(*blob),
        }
    }

    /// The reference and the JSON text of a large value that was made in this process: what a store must keep.
    pub fn blob_to_store(&self) -> Option<(BlobRef, &[u8])> {
        match &self.0 {
            Repr::Blob { blob, json: Some(json), .. } => Some((*blob, json)),
            _ => None,
        }
    }

    /// The same payload as the log carries it: a large value without its content.
    #[must_use]
    pub fn to_logged(&self) -> Self {
        match &self.0 {
            Repr::Inline(value) => Self(Repr::Inline(value.clone())),
            Repr::Blob { blob, .. } => Self(Repr::Blob { blob: *blob, value: None, json: None }),
        }
    }

    /// Gives a large value its content. The caller has checked the hash.
    pub fn supply(&mut self, loaded: Arc<Value>) {
        if let Repr::Blob { value, .. } = &mut self.0 {
            *value = Some(loaded);
        }
    }
}

/// Cheap upper bound, so that ordinary values are not serialised only to be measured. Gives up after `budget` nodes.
fn certainly_small(value: &Value, budget: &mut usize) -> bool {
    fn bound(value: &Value, budget: &mut usize) -> Option<usize> {
        *budget = budget.checked_sub(1)?;
        Some(match value {
            Value::Null | Value::Bool(_) => 5,
            Value::Number(_) => 32,
            // A control character becomes six bytes.
            Value::String(text) => 2 + 6 * text.len(),
            Value::Array(items) => items.iter().try_fold(2, |sum, item| Some(sum + 1 + bound(item, budget)?))?,
            Value::Object(fields) => {
                fields.iter().try_fold(2, |sum, (key, item)| Some(sum + 4 + 6 * key.len() + bound(item, budget)?))?
            }
        })
    }
    bound(value, budget).is_some_and(|bytes| bytes <= INLINE_BYTES_MAX)
}

/// Two payloads are equal if their JSON is, whether or not a large one has been loaded.
impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Repr::Inline(a), Repr::Inline(b)) => a == b,
            (Repr::Blob { blob: a, .. }, Repr::Blob { blob: b, .. }) => a == b,
            _ => false,
        }
    }
}

impl Serialize for Payload {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Repr::Inline(value) => value.serialize(serializer),
            Repr::Blob { blob, .. } => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("$blob", blob)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if let Value::Object(fields) = &value
            && fields.len() == 1
            && let Some(blob) = fields.get("$blob")
            && let Ok(blob) = BlobRef::deserialize(blob)
        {
            return Ok(Self(Repr::Blob { blob, value: None, json: None }));
        }
        Ok(Self(Repr::Inline(Arc::new(value))))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn small_values_are_themselves() {
        let payload = Payload::new(json!({"a": [1, "two"]}));
        assert_eq!(serde_json::to_value(&payload).expect("JSON"), json!({"a": [1, "two"]}));
        assert!(payload.blob_to_store().is_none());
    }

    #[test]
    fn a_value_just_over_the_limit_becomes_a_reference() {
        let inline = Payload::new(Value::String("x".repeat(INLINE_BYTES_MAX - 2)));
        assert!(inline.blob().is_none());
        let large = Payload::new(Value::String("x".repeat(INLINE_BYTES_MAX - 1)));
        let (blob, json) = large.blob_to_store().expect("a large value");
        assert_eq!(blob.hash, ContentHash::of(json));

        let text = serde_json::to_string(&large).expect("JSON");
        let mut back: Payload = serde_json::from_str(&text).expect("its own JSON");
        assert_eq!(back, large);
        assert!(back.value().is_none());
        back.supply(Arc::new(serde_json::from_slice(json).expect("JSON")));
        assert_eq!(back.value(), large.value());
    }

    /// A task's own output must not be able to pose as a reference to somebody else's blob.
    #[test]
    fn a_value_that_looks_like_a_reference_is_kept_as_large() {
        let forged = json!({"$blob": {"hash": ContentHash::of(b"x").to_string(), "bytes": 1}});
        let payload = Payload::new(forged.clone());
        let text = serde_json::to_string(&payload).expect("JSON");
        let back: Payload = serde_json::from_str(&text).expect("its own JSON");
        assert_eq!(back, payload);
        assert!(back.blob().is_some_and(|blob| blob.hash != ContentHash::of(b"x")));
    }
}
