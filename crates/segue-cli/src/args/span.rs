//! Spans of time on the command line.

use std::time::Duration;

/// The units that a span may have, and their seconds.
const UNITS: [(char, f64); 4] = [('s', 1.0), ('m', 60.0), ('h', 3_600.0), ('d', 86_400.0)];

/// A number of seconds: as in a document, without a unit.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => Ok(seconds),
        Ok(_) => Err("not a span of time".to_owned()),
        Err(_) => Err(match with_unit(text) {
            Some(seconds) => format!("spans of time are numbers of seconds: {seconds}"),
            None => "not a number of seconds".to_owned(),
        }),
    }
}

/// An age: a number of seconds, or with a unit `45s`, `15m`, `12h`, `30d`.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().or_else(|| with_unit(text));
    let span = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    span.ok_or_else(|| "not a span of time; write a number of seconds, or 15m, 12h, 30d".to_owned())
}

fn with_unit(text: &str) -> Option<f64> {
    let (unit, factor) = UNITS.into_iter().find(|(unit, _)| text.ends_with(*unit))?;
    text.strip_suffix(unit)?.parse::<f64>().ok().map(|n| n * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_seconds_and_the_error_says_how_many() {
        assert_eq!(seconds("1.5"), Ok(1.5));
        assert!(seconds("5m").is_err_and(|error| error.ends_with(" 300")));
        assert!(seconds("-1").is_err());
        assert!(seconds("soon").is_err());
        assert!(seconds("inf").is_err());
    }

    #[test]
    fn ages_may_have_a_unit() {
        assert_eq!(age("90"), Ok(Duration::from_secs(90)));
        assert_eq!(age("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(age("1.5h"), Ok(Duration::from_secs(5_400)));
        for bad in ["", "d", "-1d", "1w", "soon", "inf", "NaN", "ä"] {
            assert!(age(bad).is_err(), "{bad}");
        }
    }
}
