//! The series of one metric.

use std::time::Duration;

use super::catalog::{Metric, MetricKind};

/// So many values of one label are told apart.
pub(super) const VALUES_MAX: usize = 64;
/// A longer value is nobody's name.
const VALUE_CHARS_MAX: usize = 120;
/// The value of every further label.
const OTHER: &str = "other";

/// All series of a metric.
#[derive(Debug)]
pub(super) struct Family {
    metric: &'static Metric,
    /// The values that each of the metric's labels has had.
    known: Vec<Vec<Box<str>>>,
    /// Few: searched in turn, which needs no copy of the labels.
    pub(super) series: Vec<Series>,
}

/// The values of a metric's labels, in the catalog's order, and what was measured under them.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) labels: Box<[Box<str>]>,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Counter(u64),
    Gauge(i64),
    Histogram { buckets: Box<[u64]>, count: u64, sum: Duration },
}

impl Family {
    pub(super) fn new(metric: &'static Metric) -> Self {
        let mut family = Self { metric, known: vec![Vec::new(); metric.labels.len()], series: Vec::new() };
        if metric.labels.is_empty() {
            // There is one series, and it is there before anything happens.
            family.of(&[]);
        }
        family
    }

    pub(super) fn add(&mut self, labels: &[(&'static str, &str)], n: u64) {
        match self.of(labels) {
            Value::Counter(count) => *count = count.saturating_add(n),
            _ => debug_assert!(false, "{} is no counter", self.metric.name),
        }
    }

    pub(super) fn set(&mut self, labels: &[(&'static str, &str)], to: i64) {
        match self.of(labels) {
            Value::Gauge(value) => *value = to,
            _ => debug_assert!(false, "{} is no gauge", self.metric.name),
        }
    }

    pub(super) fn observe(&mut self, labels: &[(&'static str, &str)], took: Duration) {
        let MetricKind::Histogram(bounds) = self.metric.kind else {
            debug_assert!(false, "{} is no histogram", self.metric.name);
            return;
        };
        let Value::Histogram { buckets, count, sum } = self.of(labels) else {
            unreachable!("the series of a histogram are histograms")
        };
        *count += 1;
        *sum = sum.saturating_add(took);
        let seconds = took.as_secs_f64();
        if let Some(at) = bounds.iter().position(|bound| seconds <= *bound) {
            buckets[at] += 1;
        }
    }

    fn of(&mut self, labels: &[(&'static str, &str)]) -> &mut Value {
        let mut values = [OTHER; 4];
        let values = &mut values[..self.metric.labels.len()];
        for (at, name) in self.metric.labels.iter().enumerate() {
            let given = labels.iter().find(|(own, _)| own == name).map_or("", |(_, value)| *value);
            values[at] = bounded(&mut self.known[at], given);
        }
        let found = self.series.iter().position(|series| {
            let own = series.labels.iter().map(|value| &**value);
            own.eq(values.iter().copied())
        });
        let at = found.unwrap_or_else(|| {
            let value = match self.metric.kind {
                MetricKind::Counter => Value::Counter(0),
                MetricKind::Gauge => Value::Gauge(0),
                MetricKind::Histogram(bounds) => {
                    Value::Histogram { buckets: vec![0; bounds.len()].into(), count: 0, sum: Duration::ZERO }
                }
            };
            self.series.push(Series { labels: values.iter().map(|value| Box::from(*value)).collect(), value });
            self.series.len() - 1
        });
        &mut self.series[at].value
    }
}

/// The value, or [`OTHER`] where there have been too many, or it is none.
fn bounded<'v>(known: &mut Vec<Box<str>>, value: &'v str) -> &'v str {
    if value.is_empty() || value.chars().nth(VALUE_CHARS_MAX).is_some() {
        return OTHER;
    }
    if known.iter().any(|own| **own == *value) {
        return value;
    }
    if known.len() >= VALUES_MAX {
        return OTHER;
    }
    known.push(value.into());
    value
}
