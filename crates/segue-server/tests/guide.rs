//! The catalog of metrics is what is measured, and what the guide tells.
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

/// Every `add`, `observe` and `set` of a metric in the sources names one of the catalog.
#[test]
fn whatever_is_measured_is_in_the_catalog() {
    fn walk(folder: &Path, names: &mut BTreeSet<String>) {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                walk(&path, names);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                for call in [".add(", ".observe(", ".set("] {
                    let calls = text.split(call).skip(1);
                    let given = calls.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split_once('"'));
                    names.extend(given.map(|(name, _)| name.to_owned()).filter(|name| name.starts_with("segue_")));
                }
            }
        }
    }
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut measured = BTreeSet::new();
    for path in fs::read_dir(crates).unwrap().map(|entry| entry.unwrap().path().join("src")) {
        if path.is_dir() {
            walk(&path, &mut measured);
        }
    }
    let kept: BTreeSet<String> = CATALOG.iter().map(|metric| metric.name.to_owned()).collect();
    assert_eq!(measured, kept);
}
