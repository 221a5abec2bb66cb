//! The last lines of `cargo xtask test`.

use std::{fmt::Write as _, time::Duration};

/// How a step went.
pub(super) struct Outcome {
    pub(super) name: &'static str,
    pub(super) elapsed: Duration,
    pub(super) failure: Option<String>,
}

/// A line a step, the first failure by name, and `N passed, N failed`.
pub(super) fn report(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for Outcome { name, elapsed, failure } in outcomes {
        let verdict = if failure.is_none() { "passed" } else { "FAILED" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{name:<12} {verdict} {:>8.1} s", elapsed.as_secs_f64());
        let _ = writeln!(text, "{}", failure.as_ref().map(|failure| format!("  {failure}")).unwrap_or_default());
    }
    let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).collect::<Vec<_>>();
    if let Some(first) = failed.first() {
        let _ =
            writeln!(text, "\nThe first failing step: {}. Again: cargo xtask test --only {}", first.name, first.name);
    }
    let _ = writeln!(text, "\n{} passed, {} failed", outcomes.len() - failed.len(), failed.len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts_the_steps() {
        let outcome = |name, failure: Option<&str>| Outcome {
            name,
            elapsed: Duration::from_millis(1500),
            failure: failure.map(str::to_owned),
        };
        assert!(report(&[outcome("a", None)]).ends_with("\n1 passed, 0 failed\n"));
        assert_eq!(
            report(&[outcome("a", None), outcome("b", Some("no")), outcome("c", Some("also no"))]),
            "a            passed      1.5 s\n\
             b            FAILED      1.5 s  no\n\
             c            FAILED      1.5 s  also no\n\
             \nThe first failing step: b. Again: cargo xtask test --only b\n\
             \n1 passed, 2 failed\n"
        );
    }
}
