//! How things look: to people as text, to programs as JSON.

pub(crate) mod diagnostics;
pub(crate) mod document;
pub(crate) mod event_line;
pub(crate) mod failure;
pub(crate) mod sarif;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod waits;
