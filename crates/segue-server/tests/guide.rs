//! The guide's table of metrics is the catalog.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::Path};

use segue_server::{CATALOG, MetricKind};

#[test]
fn the_guide_names_every_metric_with_its_labels_and_type() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/serving.md");
    let text = fs::read_to_string(guide).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `segue_"));
    let told: BTreeSet<String> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            format!("{} {}", cells[1].trim_matches('`'), cells[2])
        })
        .collect();
    let kept: BTreeSet<String> = CATALOG
        .iter()
        .map(|metric| {
            let kind = match metric.kind {
                MetricKind::Counter => "counter",
                MetricKind::Gauge => "gauge",
                MetricKind::Histogram(_) => "histogram",
            };
            let labels =
                if metric.labels.is_empty() { String::new() } else { format!("{{{}}}", metric.labels.join(",")) };
            format!("{}{labels} {kind}", metric.name)
        })
        .collect();
    assert_eq!(told, kept);
}
