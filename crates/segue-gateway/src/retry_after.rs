//! For how long a provider asks to wait.

use std::time::{Duration, SystemTime};

use axum::http::HeaderMap;
use serde_json::Value;

/// A little more than asked for: a provider's clock is not ours.
const MARGIN: Duration = Duration::from_millis(20);

/// What the headers of a 429 say; none if they say nothing.
pub(crate) fn of(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let reset = |name: &str| text(name).and_then(duration);
    text("retry-after-ms")
        .and_then(|ms| ms.parse::<f64>().ok())
        .and_then(|ms| seconds(ms / 1e3))
        .or_else(|| text("retry-after").and_then(retry_after))
        .or_else(|| exhausted(&text, "requests").then(|| reset("x-ratelimit-reset-requests")).flatten())
        .or_else(|| exhausted(&text, "tokens").then(|| reset("x-ratelimit-reset-tokens")).flatten())
        .map(|pause| pause + MARGIN)
}

/// Does this body of a 429 say that waiting does not help?
pub(crate) fn is_quota(body: &[u8]) -> bool {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    ["code", "type"].iter().any(|field| body["error"][field] == "insufficient_quota")
}

fn exhausted<'h>(text: &impl Fn(&str) -> Option<&'h str>, what: &str) -> bool {
    text(&format!("x-ratelimit-remaining-{what}")).is_none_or(|left| left == "0")
}

/// Seconds, or a date.
fn retry_after(text: &str) -> Option<Duration> {
    match text.parse::<f64>() {
        Ok(number) => seconds(number),
        Err(_) => {
            let then = httpdate(text)?;
            Some(then.duration_since(SystemTime::now()).unwrap_or_default())
        }
    }
}

fn seconds(number: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(number).ok()
}

/// `1h2m3.5s`, `20ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut sum = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return None,
        };
        sum += number * unit;
        rest = &rest[letters..];
    }
    seconds(sum).filter(|_| !text.is_empty())
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn httpdate(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split_whitespace().collect();
    let [_, day, month, year, clock, "GMT"] = words[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
    let (day, year): (i64, i64) = (day.parse().ok()?, year.parse().ok()?);
    let mut parts = clock.split(':').map(|part| part.parse::<i64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    // Days since 1970 in the Gregorian calendar, the year beginning in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
            - 719_469;
    let since_1970 = ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(since_1970).ok()?))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn pause(headers: &[(&'static str, &'static str)]) -> Option<f64> {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        of(&headers).map(|pause| (pause - MARGIN).as_secs_f64())
    }

    #[test]
    fn every_way_to_say_it_is_understood() {
        assert_eq!(pause(&[("retry-after", "2")]), Some(2.0));
        assert_eq!(pause(&[("retry-after", "0.5"), ("retry-after-ms", "250")]), Some(0.25));
        assert_eq!(pause(&[("x-ratelimit-reset-requests", "1m0.5s")]), Some(60.5));
        let tokens = [("x-ratelimit-remaining-requests", "9"), ("x-ratelimit-reset-requests", "1s")];
        assert_eq!(pause(&tokens), None, "requests are left");
        assert_eq!(pause(&[("x-ratelimit-reset-tokens", "20ms")]), Some(0.02));
        assert_eq!(pause(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]), Some(0.0), "long ago");
        for nothing in ["soon", "-1", "NaN", ""] {
            assert_eq!(pause(&[("retry-after", nothing)]), None, "{nothing}");
        }
        assert_eq!(pause(&[]), None);
    }

    #[test]
    fn a_date_is_a_point_in_time() {
        let seconds = |text| {
            httpdate(text).and_then(|then| then.duration_since(SystemTime::UNIX_EPOCH).ok()).map(|past| past.as_secs())
        };
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds("Thu, 29 Feb 2024 12:00:00 GMT"), Some(1_709_208_000));
        assert_eq!(seconds("yesterday"), None);
    }

    #[test]
    fn a_used_up_quota_is_not_waited_for() {
        assert!(is_quota(br#"{"error": {"code": "insufficient_quota"}}"#));
        assert!(!is_quota(br#"{"error": {"code": "rate_limit_exceeded", "type": "requests"}}"#));
        assert!(!is_quota(b"no JSON"));
    }
}
