//! Secrets: values that a document names and never holds.

/// Knows the secrets of a process. Asked for every attempt that needs one, so that a changed secret is used from the
/// next attempt on. What it says goes to the adapter only: never into a log, an event, an error or a row.
pub trait Secrets: Send + Sync {
    /// The text of the secret called `name`; `None` if there is none, or it cannot be read now.
    fn get(&self, name: &str) -> Option<String>;
}
