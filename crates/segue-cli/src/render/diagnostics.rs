//! Shows the problems of a document with the source line, a caret and the cure.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use segue_core::spec::{Diagnostic, Severity, Span};

use crate::terminal::Paint;

/// A document's name and text, as problems are shown in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// The file's name, or `<stdin>`.
    pub(crate) name: &'a str,
    /// Its text.
    pub(crate) text: &'a str,
}

/// Nobody reads more at once.
const SHOWN_MAX: usize = 50;
/// Lines longer than this are shown as the part around the problem.
const LINE_CHARS_MAX: usize = 160;

/// All problems, one after the other, in the order of the document.
pub(crate) fn for_people(source: Source<'_>, diagnostics: &[Diagnostic], paint: Paint) -> String {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|problem| problem.span.map_or(0, |span| span.start));
    let rest = sorted.len().saturating_sub(SHOWN_MAX);
    let mut shown: Vec<String> =
        sorted.into_iter().take(SHOWN_MAX).map(|problem| one(source, problem, paint)).collect();
    if rest > 0 {
        shown.push(format!("… and {rest} more; `segue validate --format json` lists all of them"));
    }
    shown.join("\n\n")
}

fn one(source: Source<'_>, problem: &Diagnostic, paint: Paint) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(problem.message.as_str()).id(problem.code.as_str());
    let mut group = match problem.span.and_then(|span| Excerpt::of(source.text, span)) {
        Some(excerpt) => title.element(
            Snippet::source(excerpt.text)
                .path(source.name)
                .line_start(excerpt.line)
                .annotation(AnnotationKind::Primary.span(excerpt.marked)),
        ),
        None => title.element(Level::NOTE.message(format!("in {}", source.name))),
    };
    if let Some(help) = &problem.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let renderer = if paint.is_on() { Renderer::styled() } else { Renderer::plain() };
    renderer.term_width(LINE_CHARS_MAX + 20).render(&[group])
}

/// The line of a problem, with what is marked in it. Only this line is given to the renderer, which else would read
/// the whole document once a problem.
struct Excerpt<'a> {
    text: &'a str,
    line: usize,
    marked: Range<usize>,
}

impl<'a> Excerpt<'a> {
    fn of(text: &'a str, span: Span) -> Option<Self> {
        let start = floor_char(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = text[line_start..line_end].trim_end_matches('\r');
        if line.is_empty() && line_start == 0 {
            return None;
        }
        let from = start - line_start;
        let to = floor_char(text, span.end.min(line_start + line.len())).saturating_sub(line_start);
        Some(Self { text: line, line: span.line as usize, marked: from.min(line.len())..to.max(from).min(line.len()) })
    }
}

fn floor_char(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: usize, end: usize, line: u32, column: u32) -> Option<Span> {
        Some(Span { start, end, line, column })
    }

    #[test]
    fn a_problem_shows_line_column_cause_and_cure() {
        let text = "id: demo\nnodes:\n  - id: a\n    depends: [b]\n";
        let start = text.find("depends").expect("it is there");
        let mut problem = Diagnostic::error("unknown-field", "/nodes/0/depends", "unknown field `depends`")
            .with_help("did you mean `depends_on`?");
        problem.span = span(start, start + 7, 4, 5);
        let shown = for_people(Source { name: "demo.yaml", text }, &[problem], Paint::none());
        assert_eq!(
            shown,
            "\
error[unknown-field]: unknown field `depends`
 --> demo.yaml:4:5
  |
4 |     depends: [b]
  |     ^^^^^^^
  |
  = help: did you mean `depends_on`?"
        );
    }

    #[test]
    fn no_place_is_too_strange_to_show() {
        for text in ["", "\n", "ä", "a: \"ü\"\r\n\r\n", "x"] {
            for start in 0..8 {
                for end in 0..8 {
                    let mut problem = Diagnostic::error("x", "", "strange");
                    problem.span = span(start, end, 1, 1);
                    let shown = for_people(Source { name: "f", text }, &[problem], Paint::none());
                    assert!(shown.starts_with("error[x]: strange"), "{shown}");
                }
            }
        }
    }
}
