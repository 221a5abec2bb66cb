//! How long a server asks to wait.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// Longer pauses are no advice any more.
const PAUSE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What `Retry-After` asks for, in seconds or until a date; at most a day. A date that has passed: no pause.
pub fn of(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    parse(text, now)
}

fn parse(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<f64>() {
        let is_number = seconds.is_finite() && text.starts_with(|c: char| c.is_ascii_digit());
        return is_number.then(|| Duration::try_from_secs_f64(seconds).unwrap_or(PAUSE_MAX).min(PAUSE_MAX));
    }
    let until = DateTimeParser::new().parse_timestamp(text).ok()?;
    let pause = until.duration_since(now);
    Some(Duration::try_from(pause).unwrap_or_default().min(PAUSE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().expect("a time");
        for (text, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("1.5", Some(1)),
            ("9999999999999999999999", Some(86_400)),
            ("Sun, 22 Nov 2026 10:00:30 GMT", Some(30)),
            ("Sun, 22 Nov 2026 09:00:00 GMT", Some(0)),
            ("Fri, 01 Jan 2100 00:00:00 GMT", Some(86_400)),
            ("-1", None),
            ("inf", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(parse(text, now).map(|pause| pause.as_secs()), seconds, "{text}");
        }
    }
}
