//! Where the keys and values of a document stand in its text.

use std::ops::Range;

use serde_json::Value;

use crate::spec::Span;

/// The place of a value, and of all that it holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spans {
    start: u32,
    end: u32,
    key: Option<Box<Key>>,
    children: Vec<Spans>,
}

/// The key of a field, and its place.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    name: Box<str>,
    start: u32,
    end: u32,
}

/// Positions fit: documents are bounded far below 4 GB.
fn narrow(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

impl Key {
    pub(crate) fn new(name: String, at: Range<usize>) -> Self {
        Self { name: name.into(), start: narrow(at.start), end: narrow(at.end) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn at(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl Spans {
    pub(crate) fn new(at: Range<usize>) -> Self {
        Self { start: narrow(at.start), end: narrow(at.end), key: None, children: Vec::new() }
    }

    pub(crate) const fn at(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    pub(crate) fn key(&self) -> Option<&Key> {
        self.key.as_deref()
    }

    pub(crate) fn set_key(&mut self, key: Key) {
        self.key = Some(Box::new(key));
    }

    pub(crate) fn push(&mut self, child: Self) {
        self.children.push(child);
    }

    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.key().is_some_and(|key| key.name() == name))
    }

    /// Sets the end: that of the bracket, or else that of the last child.
    pub(crate) fn close(&mut self, end: Option<usize>) {
        let last = self.children.iter().map(|child| child.end).max();
        self.end = end.map(narrow).or(last).unwrap_or(self.end).max(self.start);
        self.children.shrink_to_fit();
    }

    /// How many lists and mappings stand inside each other here.
    pub(crate) fn depth(&self) -> usize {
        self.children.iter().map(|child| 1 + child.depth()).max().unwrap_or(0)
    }

    /// The same, as seen at an alias: what it holds stays where it is written.
    pub(crate) fn moved_to(mut self, at: Range<usize>) -> Self {
        self.start = narrow(at.start);
        self.end = narrow(at.end);
        self.key = None;
        self
    }

    /// What a JSON Pointer leads to, or the last value on the way that is there. `true`: all the way.
    fn follow(&self, pointer: &str) -> (&Self, bool) {
        let mut here = self;
        for step in pointer.split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            let child = here
                .child(&step)
                .or_else(|| here.children.get(step.parse::<usize>().ok()?).filter(|child| child.key.is_none()));
            match child {
                Some(child) => here = child,
                None => return (here, false),
            }
        }
        (here, true)
    }
}

/// A document's text with the places of its values: turns JSON Pointers into lines and columns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Source {
    text: String,
    line_starts: Vec<u32>,
    spans: Spans,
}

impl Source {
    pub(crate) fn new(text: &str, spans: Spans) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| narrow(at + 1));
        Self { text: text.to_owned(), line_starts: std::iter::once(0).chain(newlines).collect(), spans }
    }

    /// A line of the text, counted from 1, without its end.
    pub(crate) fn line(&self, number: u32) -> Option<&str> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        let start = *self.line_starts.get(index)? as usize;
        let end = self.line_starts.get(index + 1).map_or(self.text.len(), |next| *next as usize);
        Some(self.text[start..end].trim_end_matches(['\n', '\r']))
    }

    /// The place that a pointer leads to, or the nearest around it that is there.
    pub(crate) fn find(&self, pointer: &str, on_key: bool) -> Range<usize> {
        let (spans, found) = self.spans.follow(pointer);
        match spans.key() {
            // What is missing inside a field is shown at the field's name.
            Some(key) if on_key || !found => key.at(),
            _ => spans.at(),
        }
    }

    /// The place of a part of the text value that a pointer leads to: exact where the value stands in the document as it
    /// is, the whole value where escapes are in the way.
    pub(crate) fn find_inside(&self, pointer: &str, value: &Value, inside: &Range<usize>) -> Range<usize> {
        let whole = self.find(pointer, false);
        let exact = || {
            let value = value.pointer(pointer)?.as_str()?;
            let written = self.text.get(whole.clone())?;
            let line_end = value[inside.start..].find('\n').map_or(value.len(), |end| inside.start + end);
            // The part as it can be recognised: up to the end of its line, and at least one character.
            let part = value.get(inside.start..inside.end.min(line_end).max(inside.start))?;
            if part.is_empty() {
                return None;
            }
            let nth = count(&value[..inside.start], part);
            let at = written.match_indices(part).nth(nth)?.0;
            Some(whole.start + at..whole.start + at + part.len())
        };
        exact().unwrap_or(whole)
    }

    /// A range of bytes as a span: its first line only, with line and column for a person.
    pub(crate) fn span(&self, at: Range<usize>) -> Span {
        let floor = |mut position: usize| {
            position = position.min(self.text.len());
            while !self.text.is_char_boundary(position) {
                position -= 1;
            }
            position
        };
        let (start, end) = (floor(at.start), floor(at.end.max(at.start)));
        let line = self.line_starts.partition_point(|first| *first as usize <= start).max(1);
        let line_start = self.line_starts.get(line - 1).map_or(0, |first| *first as usize);
        let bom = if line == 1 && self.text.starts_with('\u{feff}') { 1 } else { 0 };
        let before = self.text[line_start..start].chars().count();
        let rest = &self.text[start..end];
        let first_line = rest.find(['\n', '\r']).unwrap_or(rest.len());
        Span {
            start,
            end: start + rest[..first_line].trim_end().len(),
            line: narrow(line),
            column: narrow(before.saturating_sub(bom) + 1),
        }
    }
}

/// How often `part` occurs in `text`, overlaps not counted, as [`str::match_indices`] does.
fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}
