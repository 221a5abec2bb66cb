//! From text to a JSON value, with the place of every key and value in the text.
//!
//! Both readers (YAML, JSON) run in a loop and hand what they find to one [`Builder`], which keeps the bounds: depth,
//! number of values, bytes. Hostile text costs bounded time and memory and no stack.

mod json;
mod spans;
mod yaml;

use std::{collections::BTreeMap, ops::Range};

use serde_json::{Map, Value};

pub(crate) use json::read as read_json;
pub(crate) use spans::{Key, Source, Spans};
pub(crate) use yaml::read as read_yaml;

use super::{
    codes,
    problem::{Problem, Problems},
};

/// The largest document that is read, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 32 << 20;
/// The most values in a document, aliases counted as often as they are used.
pub const VALUES_MAX: usize = 3_000_000;
/// The deepest nesting of a document.
pub const DEPTH_MAX: usize = 64;

/// What a text holds.
pub(crate) struct Tree {
    pub(crate) value: Value,
    pub(crate) spans: Spans,
}

/// The text cannot be read any further.
pub(crate) type Fatal = Problem;

/// A value that is still open.
struct Frame {
    spans: Spans,
    anchor: usize,
    kind: Container,
}

enum Container {
    List(Vec<Value>),
    Map { fields: Map<String, Value>, key: Option<Key> },
}

/// Puts a tree together from what the readers find, in the order of the text.
pub(crate) struct Builder<'p> {
    problems: &'p mut Problems,
    open: Vec<Frame>,
    root: Option<Tree>,
    anchors: BTreeMap<usize, (Value, Spans)>,
    values: usize,
    copied_bytes: usize,
}

impl<'p> Builder<'p> {
    pub(crate) fn new(problems: &'p mut Problems) -> Self {
        Self { problems, open: Vec::new(), root: None, anchors: BTreeMap::new(), values: 0, copied_bytes: 0 }
    }

    pub(crate) fn problem(&mut self, problem: Problem) {
        self.problems.add(problem);
    }

    /// Is the next thing the key of a mapping?
    pub(crate) fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Frame { kind: Container::Map { key: None, .. }, .. }))
    }

    /// Where the innermost open list or mapping begins.
    pub(crate) fn opened_at(&self) -> Option<usize> {
        self.open.last().map(|frame| frame.spans.at().start)
    }

    pub(crate) fn open_list(&mut self, at: Range<usize>, anchor: usize) -> Result<(), Fatal> {
        self.open(at, anchor, Container::List(Vec::new()))
    }

    pub(crate) fn open_map(&mut self, at: Range<usize>, anchor: usize) -> Result<(), Fatal> {
        self.open(at, anchor, Container::Map { fields: Map::new(), key: None })
    }

    fn open(&mut self, at: Range<usize>, anchor: usize, kind: Container) -> Result<(), Fatal> {
        if self.open.len() >= DEPTH_MAX {
            let message = format!("lists and mappings may be nested {DEPTH_MAX} deep at most");
            return Err(Problem::new(&codes::TOO_DEEP, "", message).at(at));
        }
        self.count(1, &at)?;
        self.open.push(Frame { spans: Spans::new(at), anchor, kind });
        Ok(())
    }

    /// Closes the innermost list or mapping. `end`: the end of its closing bracket; none if it has none.
    pub(crate) fn close(&mut self, end: Option<usize>) -> Result<(), Fatal> {
        let Some(Frame { mut spans, anchor, kind }) = self.open.pop() else { return Ok(()) };
        spans.close(end);
        let value = match kind {
            Container::List(items) => Value::Array(items),
            Container::Map { fields, .. } => Value::Object(fields),
        };
        self.keep_anchor(anchor, &value, &spans)?;
        self.put(value, spans);
        Ok(())
    }

    /// The key of the next value.
    pub(crate) fn key(&mut self, name: String, at: Range<usize>) -> Result<(), Fatal> {
        self.count(1, &at)?;
        if let Some(Frame { kind: Container::Map { key, .. }, .. }) = self.open.last_mut() {
            *key = Some(Key::new(name, at));
        }
        Ok(())
    }

    /// A text, number, boolean or null.
    pub(crate) fn scalar(&mut self, value: Value, at: Range<usize>, anchor: usize) -> Result<(), Fatal> {
        self.count(1, &at)?;
        let spans = Spans::new(at);
        self.keep_anchor(anchor, &value, &spans)?;
        self.put(value, spans);
        Ok(())
    }

    /// A copy of what an anchor names; `false` if it names nothing that is complete.
    pub(crate) fn alias(&mut self, anchor: usize, at: Range<usize>) -> Result<bool, Fatal> {
        let Some((value, spans)) = self.anchors.remove(&anchor) else { return Ok(false) };
        self.charge_copy(&value, &at)?;
        if self.expects_key() {
            match value.as_str() {
                Some(name) => self.key(name.to_owned(), at)?,
                None => return Err(bad_key(at)),
            }
        } else {
            let depth = self.open.len() + spans.depth();
            if depth > DEPTH_MAX {
                let message = format!("lists and mappings may be nested {DEPTH_MAX} deep at most");
                return Err(Problem::new(&codes::TOO_DEEP, "", message).at(at));
            }
            self.put(value.clone(), spans.clone().moved_to(at));
        }
        self.anchors.insert(anchor, (value, spans));
        Ok(true)
    }

    /// The tree, once everything is closed.
    pub(crate) fn finish(self) -> Option<Tree> {
        self.root
    }

    fn keep_anchor(&mut self, anchor: usize, value: &Value, spans: &Spans) -> Result<(), Fatal> {
        if anchor != 0 {
            self.charge_copy(value, &spans.at())?;
            self.anchors.insert(anchor, (value.clone(), spans.clone()));
        }
        Ok(())
    }

    fn charge_copy(&mut self, value: &Value, at: &Range<usize>) -> Result<(), Fatal> {
        let (values, bytes) = size_of(value);
        self.copied_bytes += bytes;
        if self.copied_bytes > DOCUMENT_BYTES_MAX {
            return Err(too_large(at.clone()));
        }
        self.count(values, at)
    }

    fn count(&mut self, more: usize, at: &Range<usize>) -> Result<(), Fatal> {
        self.values += more;
        if self.values > VALUES_MAX { Err(too_large(at.clone())) } else { Ok(()) }
    }

    fn put(&mut self, value: Value, mut spans: Spans) {
        let Some(frame) = self.open.last_mut() else {
            self.root = Some(Tree { value, spans });
            return;
        };
        match &mut frame.kind {
            Container::List(items) => items.push(value),
            Container::Map { fields, key } => {
                let Some(key) = key.take() else { return };
                if fields.contains_key(key.name()) {
                    let message = format!("`{}` is given twice in this mapping", key.name());
                    let first = frame.spans.child(key.name()).and_then(Spans::key).map(Key::at);
                    let mut problem = Problem::new(&codes::DUPLICATE_KEY, "", message).at(key.at());
                    problem.first_at = first;
                    self.problems.add(problem.help("keep one of them"));
                    return;
                }
                fields.insert(key.name().to_owned(), value);
                spans.set_key(key);
            }
        }
        frame.spans.push(spans);
    }
}

pub(crate) fn bad_key(at: Range<usize>) -> Problem {
    Problem::new(&codes::BAD_KEY, "", "a key must be a text").at(at)
}

fn too_large(at: Range<usize>) -> Problem {
    let message = format!(
        "the document may have {} MB and {VALUES_MAX} values at most, aliases counted as often as they are used",
        DOCUMENT_BYTES_MAX >> 20
    );
    Problem::new(&codes::TOO_LARGE, "", message).at(at)
}

/// The values in `value` and the bytes of its texts.
fn size_of(value: &Value) -> (usize, usize) {
    let sum = |(values, bytes), item: &Value| {
        let (more, length): (usize, usize) = size_of(item);
        (values + more, bytes + length)
    };
    match value {
        Value::String(text) => (1, text.len()),
        Value::Array(items) => items.iter().fold((1, 0), sum),
        Value::Object(fields) => {
            fields.iter().fold((1, 0), |total, (key, item)| sum((total.0 + 1, total.1 + key.len()), item))
        }
        _ => (1, 0),
    }
}
