//! For people.

use serde_json::Value;

pub const HEAD: &str =
    "workload store      tasks  seconds  tasks/s  cpu s/1000  commits  fsyncs  rss MB  limit/s  ratio  more";

/// One line of the table.
pub fn row(line: &Value) -> String {
    let number = |key: &str, digits: usize| match line[key].as_f64() {
        Some(value) => format!("{value:.digits$}"),
        None => "-".to_owned(),
    };
    let more: Vec<String> = line["more"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| {
            format!("{key}={}", value.as_f64().map_or_else(|| value.to_string(), |n| format!("{n:.3}")))
        })
        .collect();
    format!(
        "{:8} {:8} {:>7} {:>8} {:>8} {:>11} {:>8} {:>7} {:>7} {:>8} {:>6}  {}",
        line["workload"].as_str().unwrap_or_default(),
        line["store"].as_str().unwrap_or_default(),
        number("tasks", 0),
        number("seconds", 3),
        number("tasks_per_s", 0),
        number("cpu_s_per_1000_tasks", 4),
        number("commits", 0),
        number("fsyncs", 0),
        number("peak_rss_mb", 1),
        number("limit_per_s", 0),
        number("ratio", 2),
        more.join(" "),
    )
}
