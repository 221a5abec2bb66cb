//! Scripts of rehearsals: what the model shall answer, and in what weather.
//!
//! A script is a document: rules, looked at in their order, and a default. It is read like a workflow ([`Script::parse`]:
//! all problems at once, each with its place and cure). A [`Director`] follows it. What it counts is counted for each
//! task by itself, so that which of two parallel tasks asks first changes nothing.
//!
//! * `types`: what a script says.
//! * `decode`: from a document to that.
//! * `schema`: the JSON Schema, for editors.
//! * `director`: which reply a call gets.

mod decode;
mod director;
mod schema;
#[cfg(test)]
mod tests;
mod types;

use segue_core::spec::{Parsed, parse_document};
use serde_json::Value;

pub use schema::script_schema;
pub use types::Script;

pub(crate) use director::{Asked, Director};
pub(crate) use types::{About, Call, Kind, Reply, What};

impl Script {
    /// Reads a script. `file_name` tells YAML from JSON.
    pub fn parse(bytes: &[u8], file_name: Option<&str>) -> Parsed<Self> {
        parse_document(bytes, file_name, |value: &Value, decoder| decode::script(value, decoder))
    }
}
