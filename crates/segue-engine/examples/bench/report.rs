//! For people.

use serde_json::Value;

pub const HEAD: &str =
    "workload store        tasks  seconds  tasks/s  cpu s/1000  commits  fsyncs  rss MB  limit/s  ratio  more";

pub const HELP: &str = "\
cargo xtask bench [--json] [STORE]... [WORKLOAD]...

Runs durable no-op workloads through the engine. Stores: sqlite (synchronous=FULL), memory, postgres-1 and postgres-4
(synchronous_commit=on; so many engines in one process, each with connections of its own).

  W1     one chain of 1,000 tasks                     W5   one run of one task, 200 times: p50, p99
  W2     1 -> 1,000 -> 1                              W6   W1, killed in the middle: tasks that ran twice, time to
  W3     1,000 runs of a 5-node diamond, 64 live           the first new task
  W4     100 layers of 100, each after 3 before it    W7   time to the first task, idle memory
  W4x10  the same with 1,000 layers                   W8   a chain of 100 that hands on 1 MB
  map-N, wide-N, chain-N  only when named: N instances of one node, N nodes side by side, N in a row

With four engines W1, W2, W4 and W8 are four runs at once, one an engine.

cargo xtask bench soak [--short] [--minutes N] [--plant WHAT] [--json]
Ten minutes (--short: one) of W3 on SQLite while the process is killed again and again: memory, open files, the database,
its log and slots must stay flat, and nothing may be left of runs that were removed. --plant memory, files, rows,
retention, log or slots makes something grow, which must be found.

cargo xtask bench storm [--runs N] [--seconds N] [--retry-after N] [--plant herd] [--json]
10,000 queued runs with a call of a model each, carried out by `segue serve`, while the provider answers 429 for a minute:
its retries must spread over time, its memory stay bounded, and every run end. For a machine that does nothing else: a
process that was kept waiting makes up for it in one second.

--json prints one JSON line a workload and store. `limit_per_s` is what the disk can do: one-row FULL commits with
plain rusqlite in the same folder; `ratio` is tasks a second to that; `ratio_to_grown_log` to the same over a log that
has grown to its size before. Each workload has three rounds with the limit measured around them; the best round stands
beside the best limit. On PostgreSQL the CPU is this process's and the database's.";

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
        "{:8} {:10} {:>7} {:>8} {:>8} {:>11} {:>8} {:>7} {:>7} {:>8} {:>6}  {}",
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
