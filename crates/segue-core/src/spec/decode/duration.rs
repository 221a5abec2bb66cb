//! Texts that mean a duration: `5m`, `1h 30m`, `250 ms`.

/// The seconds that `text` means.
pub(crate) fn seconds(text: &str) -> Option<f64> {
    let mut rest = text.trim();
    let mut total = 0.0;
    if rest.is_empty() || rest.len() > 40 {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let amount: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        total += amount
            * match rest[..letters].to_ascii_lowercase().as_str() {
                "ms" | "msec" | "millis" | "milliseconds" | "millisecond" => 0.001,
                "" | "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
                "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
                "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
                "d" | "day" | "days" => 86400.0,
                _ => return None,
            };
        rest = rest[letters..].trim_start();
    }
    total.is_finite().then_some(total)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn reads_what_people_write() {
        for (text, expected) in [
            ("5m", 300.0),
            ("1h30m", 5400.0),
            ("1h 30 min", 5400.0),
            ("250ms", 0.25),
            ("10", 10.0),
            ("1.5 days", 129_600.0),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for text in ["", "soon", "5 parsecs", "-5m", "m5", "1.2.3s", &"1s".repeat(100)] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
