//! Shows a failure: for people with what to do next, for programs as one JSON object; both on stderr.

use crate::{
    failure::Failure,
    render::text::harmless,
    terminal::{self, Paint},
};

/// Writes the failure to stderr.
pub(crate) fn show(failure: &Failure, json: bool) {
    if json {
        terminal::say(failure.to_json().to_string());
    } else {
        terminal::say(for_people(failure, Paint::stderr()));
    }
}

fn for_people(failure: &Failure, paint: Paint) -> String {
    let mut text = format!("{} {}", paint.bad("error:"), harmless(&failure.message));
    for note in &failure.notes {
        text += &format!("\n  {} {}", paint.bold("note:"), harmless(note));
    }
    for help in &failure.help {
        text += &format!("\n  {} {}", paint.help("help:"), harmless(help));
    }
    text
}
