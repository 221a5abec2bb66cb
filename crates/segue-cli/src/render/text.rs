//! Small texts: spans of time, counts, values, cut to size.

use std::time::Duration;

use segue_core::time::Timestamp;
use serde_json::Value;

/// A span of time for people: `340 ms`, `2.3 s`, `4 min 07 s`, `1 h 02 min`.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{} ms", span.as_millis()),
        1..=59 => format!("{:.1} s", (span.as_secs_f64() * 10.0).floor() / 10.0),
        60..=3599 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `1 task`, `2 tasks`, `1,234 tasks`.
pub(crate) fn count(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(n), if n == 1 { "" } else { "s" })
}

/// A time to the second, in UTC: `2026-11-22 18:40:03`.
pub(crate) fn second(time: Timestamp) -> String {
    let text = time.to_string();
    text.get(..19).map_or(text.clone(), |text| text.replace('T', " "))
}

/// A number of bytes: `512 B`, `3.4 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut unit = 0;
    let mut tenths = n * 10 / 1024;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A number with its thousands set apart.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The first line of `text`, without control characters, in at most `width` characters.
pub(crate) fn one_line(text: &str, width: usize) -> String {
    let whole = text.trim();
    let line: String = whole.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    let cut = whole.lines().nth(1).is_some();
    if line.chars().count() <= width && !cut {
        return line;
    }
    let kept: String = line.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// `text` without what would steer the terminal: it may come from a model or a process.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// A value for people: a text as it is, else indented JSON.
pub(crate) fn value(value: &Value) -> String {
    match value {
        Value::String(text) => harmless(text.trim_end()),
        other => serde_json::to_string_pretty(other).expect("a JSON value can be written as JSON"),
    }
}

/// `name: value`; a value of several lines goes below its name, indented.
pub(crate) fn named_value(name: &str, given: &Value) -> String {
    let text = value(given);
    if text.contains('\n') {
        let body: Vec<String> = text.lines().map(|line| format!("  {line}").trim_end().to_owned()).collect();
        format!("{name}:\n{}", body.join("\n"))
    } else {
        format!("{name}: {text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_well() {
        let text = |millis| span(Duration::from_millis(millis));
        assert_eq!(text(0), "0 ms");
        assert_eq!(text(999), "999 ms");
        assert_eq!(text(2_349), "2.3 s");
        assert_eq!(text(59_999), "59.9 s");
        assert_eq!(text(247_000), "4 min 07 s");
        assert_eq!(text(3_720_000), "1 h 02 min");
    }

    #[test]
    fn bytes_read_well() {
        assert_eq!(bytes(1_023), "1023 B");
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(bytes(5 << 30), "5.0 GiB");
        assert_eq!(bytes(u64::MAX / 16), "1023.9 PiB");
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!(count(1, "task"), "1 task");
        assert_eq!(count(1_234_567, "token"), "1,234,567 tokens");
        assert_eq!(count(100, "token"), "100 tokens");
    }

    #[test]
    fn a_line_is_cut_and_says_so() {
        assert_eq!(one_line("short", 10), "short");
        assert_eq!(one_line("a longer text", 8), "a longe…");
        assert_eq!(one_line("first\nsecond", 80), "first…");
        assert_eq!(one_line("\x1b[31mred", 80), "[31mred");
    }
}
