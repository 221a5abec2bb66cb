//! The template engine's side: which of its filters, tests and functions the language has, and its bounds.

use std::sync::LazyLock;

use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value, value::Kwargs};

use super::json::{Budget, to_json};

/// What an evaluation may cost. One unit pays for an instruction or for 64 bytes of intermediate results.
const FUEL: u64 = 1_000_000;

/// The filters of the language: pure ones, without HTML escaping.
pub(crate) const FILTERS: [&str; 44] = [
    "abs",
    "attr",
    "batch",
    "bool",
    "capitalize",
    "chain",
    "count",
    "d",
    "default",
    "dictsort",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "slice",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "zip",
];

/// The tests of the language: what may follow `is`.
pub(crate) const TESTS: [&str; 34] = [
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "equalto",
    "even",
    "false",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "int",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "startingwith",
    "string",
    "true",
    "undefined",
    "upper",
    "filter",
    "test",
];

/// The functions of the language.
pub(crate) const FUNCTIONS: [&str; 2] = ["dict", "range"];

/// The one environment: nothing in it depends on the machine, the clock or chance.
pub(crate) static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    engine.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    engine.set_fuel(Some(FUEL));
    // Else a debug build copies the names in scope into every error.
    engine.set_debug(false);
    for name in ["debug", "namespace"] {
        engine.remove_global(name);
    }
    for name in ["safe", "escape", "e", "pprint"] {
        engine.remove_filter(name);
    }
    // The engine's own writes `<` as `\u003c`, for HTML.
    engine.add_filter("tojson", tojson);
    engine
});

fn tojson(value: &Value, indent: Option<usize>, options: Kwargs) -> Result<String, Error> {
    let indent = match indent {
        Some(indent) => Some(indent),
        None => options.get::<Option<usize>>("indent")?,
    };
    options.assert_all_used()?;
    let json =
        to_json(value, &mut Budget::new()).map_err(|message| Error::new(ErrorKind::BadSerialization, message))?;
    let text = match indent {
        None | Some(0) => serde_json::to_string(&json),
        Some(_) => serde_json::to_string_pretty(&json),
    };
    text.map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}
