//! Conditions and templates: one small language, Jinja expressions.
//!
//! * [`Expression`]: `nodes.score.output.value >= 8`, as in `when`.
//! * [`Template`]: a JSON value whose strings may hold `{{ … }}`.
//! * [`Scope`]: the names that they see. Evaluation is a pure function of it: no clock, no randomness, no environment.
//!
//! Hostile text is expected. `lex` reads every expression first, with a loop and not with recursion, and refuses what
//! is too long or too deep; only then does the template engine parse it. Time and memory of an evaluation are bounded,
//! and so is its result.
//!
//! ```
//! use segue_core::expr::{Scope, Template};
//! use serde_json::json;
//!
//! let template = Template::compile(&json!({"text": "Hello {{ params.name }}", "age": "{{ params.age }}"})).expect("valid");
//! let scope = Scope { params: json!({"name": "Ada", "age": 36}).as_object().cloned().unwrap_or_default().into(), ..Scope::default() };
//! assert_eq!(*template.render(&scope).expect("renders"), json!({"text": "Hello Ada", "age": 36}));
//! ```

mod engine;
mod error;
mod expression;
mod json;
mod lex;
mod nearest;
mod path;
mod references;
mod scope;
mod template;
mod view;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use error::{ExprError, ExprErrorKind, TemplateError};
pub use expression::Expression;
pub use lex::{EXPRESSION_BYTES_MAX, NESTING_MAX, OPERATORS_MAX};
pub(crate) use nearest::Nearest;
pub use path::{NAMES, Path, Step};
pub(crate) use path::{NODE_FIELDS, RUN_FIELDS};
pub use references::{PathUse, References};
pub use scope::{NodeView, RunView, Scope};
pub(crate) use template::push_pointer;
pub use template::{EXPRESSIONS_MAX, RENDERED_BYTES_MAX, TEMPLATE_BYTES_MAX, Template};
