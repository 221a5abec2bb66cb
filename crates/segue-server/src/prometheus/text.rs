//! The text format of Prometheus, version 0.0.4.

use std::fmt::Write as _;

use super::{
    catalog::{Metric, MetricKind},
    family::{Family, Series, Value},
};

/// Writes a metric with its series, ordered by their labels.
pub(super) fn write(out: &mut String, metric: &Metric, family: &Family) {
    let kind = match metric.kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram(_) => "histogram",
    };
    line(out, format_args!("# HELP {} {}", metric.name, metric.about));
    line(out, format_args!("# TYPE {} {kind}", metric.name));
    let mut series: Vec<&Series> = family.series.iter().collect();
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    for series in series {
        write_series(out, metric, series);
    }
}

fn write_series(out: &mut String, metric: &Metric, series: &Series) {
    let name = metric.name;
    let own = metric.labels.iter().zip(&series.labels).map(|(label, value)| (*label, escaped(value)));
    let labels: Vec<(&str, String)> = own.collect();
    match (&series.value, metric.kind) {
        (Value::Counter(count), _) => line(out, format_args!("{name}{} {count}", braced(&labels, None))),
        (Value::Gauge(value), _) => line(out, format_args!("{name}{} {value}", braced(&labels, None))),
        (Value::Histogram { buckets, count, sum }, MetricKind::Histogram(bounds)) => {
            let mut below = 0;
            for (bound, own) in bounds.iter().zip(buckets) {
                below += own;
                line(out, format_args!("{name}_bucket{} {below}", braced(&labels, Some(&bound.to_string()))));
            }
            line(out, format_args!("{name}_bucket{} {count}", braced(&labels, Some("+Inf"))));
            line(out, format_args!("{name}_sum{} {}", braced(&labels, None), sum.as_secs_f64()));
            line(out, format_args!("{name}_count{} {count}", braced(&labels, None)));
        }
        (Value::Histogram { .. }, _) => unreachable!("only histograms have such series"),
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a text can be written to");
}

fn braced(labels: &[(&str, String)], bound: Option<&str>) -> String {
    let bound = bound.map(|bound| format!("le=\"{bound}\""));
    let all: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).chain(bound).collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
