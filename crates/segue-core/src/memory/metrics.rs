//! Counters, gauges and latencies in memory, to be read as one snapshot.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use serde::Serialize;

use crate::ports::MetricsCollector;

/// Keeps every series of measurements in bounded memory: a latency costs its buckets, however often it is observed.
#[derive(Debug, Default)]
pub struct MemoryMetrics(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    counters: Table<u64>,
    gauges: Table<i64>,
    latencies: Table<Histogram>,
}

/// The series of one name differ in their labels. There are few (labels are bounded), so they are searched in turn, which
/// needs no copy of the labels.
type Table<T> = BTreeMap<&'static str, Vec<(Labels, T)>>;

type Labels = Box<[(&'static str, Box<str>)]>;

/// One series at the time of the snapshot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample<T> {
    /// The metric's name.
    pub name: &'static str,
    /// Its labels, in the order in which they were given.
    pub labels: Vec<(&'static str, String)>,
    /// Its value.
    pub value: T,
}

/// What is known of the latencies of one series. Quantiles are the upper bounds of their buckets, at most a quarter too high.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LatencySample {
    /// How often it was observed.
    pub count: u64,
    /// All of them together, in seconds.
    pub sum_seconds: f64,
    /// Half of them took no longer, in seconds.
    pub p50_seconds: f64,
    /// 95 of 100 took no longer, in seconds.
    pub p95_seconds: f64,
    /// 99 of 100 took no longer, in seconds.
    pub p99_seconds: f64,
    /// The longest, in seconds.
    pub max_seconds: f64,
}

/// All series, ordered by name; those of one name in the order of their first measurement.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MetricsSnapshot {
    /// What was added.
    pub counters: Vec<Sample<u64>>,
    /// What was set last.
    pub gauges: Vec<Sample<i64>>,
    /// What was observed.
    pub latencies: Vec<Sample<LatencySample>>,
}

impl MemoryMetrics {
    /// Every series as it is now.
    pub fn snapshot(&self) -> MetricsSnapshot {
        let tables = self.tables();
        MetricsSnapshot {
            counters: samples(&tables.counters, |count| *count),
            gauges: samples(&tables.gauges, |value| *value),
            latencies: samples(&tables.latencies, Histogram::sample),
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().expect("no panic happens under this lock")
    }
}

impl MetricsCollector for MemoryMetrics {
    fn add(&self, name: &'static str, labels: &[(&'static str, &str)], n: u64) {
        let mut tables = self.tables();
        let count = series(&mut tables.counters, name, labels);
        *count = count.saturating_add(n);
    }

    fn observe(&self, name: &'static str, labels: &[(&'static str, &str)], took: Duration) {
        series(&mut self.tables().latencies, name, labels).record(took);
    }

    fn set(&self, name: &'static str, labels: &[(&'static str, &str)], value: i64) {
        *series(&mut self.tables().gauges, name, labels) = value;
    }
}

fn series<'t, T: Default>(table: &'t mut Table<T>, name: &'static str, labels: &[(&'static str, &str)]) -> &'t mut T {
    let of_name = table.entry(name).or_default();
    let known = of_name.iter().position(|(own, _)| {
        own.len() == labels.len() && own.iter().zip(labels).all(|(own, given)| own.0 == given.0 && *own.1 == *given.1)
    });
    let at = known.unwrap_or_else(|| {
        of_name.push((labels.iter().map(|(key, value)| (*key, Box::from(*value))).collect(), T::default()));
        of_name.len() - 1
    });
    &mut of_name[at].1
}

fn samples<T, S>(table: &Table<T>, read: impl Fn(&T) -> S) -> Vec<Sample<S>> {
    let all = table.iter().flat_map(|(name, of_name)| of_name.iter().map(move |(labels, value)| (name, labels, value)));
    all.map(|(name, labels, value)| Sample {
        name,
        labels: labels.iter().map(|(key, value)| (*key, value.to_string())).collect(),
        value: read(value),
    })
    .collect()
}

/// Buckets a power of two.
const STEPS: u64 = 4;
/// The last bucket takes everything above 2^41 µs, 25 days.
const BUCKETS: usize = 40 * STEPS as usize;

#[derive(Debug)]
struct Histogram {
    count: u64,
    sum: Duration,
    max: Duration,
    buckets: Box<[u64; BUCKETS]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { count: 0, sum: Duration::ZERO, max: Duration::ZERO, buckets: Box::new([0; BUCKETS]) }
    }
}

impl Histogram {
    fn record(&mut self, took: Duration) {
        self.count += 1;
        self.sum = self.sum.saturating_add(took);
        self.max = self.max.max(took);
        self.buckets[bucket_of(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))] += 1;
    }

    fn sample(&self) -> LatencySample {
        LatencySample {
            count: self.count,
            sum_seconds: self.sum.as_secs_f64(),
            p50_seconds: self.quantile(50).as_secs_f64(),
            p95_seconds: self.quantile(95).as_secs_f64(),
            p99_seconds: self.quantile(99).as_secs_f64(),
            max_seconds: self.max.as_secs_f64(),
        }
    }

    fn quantile(&self, percent: u64) -> Duration {
        let rank = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|n| {
            seen += n;
            seen >= rank
        });
        bucket.map_or(self.max, |at| Duration::from_micros(upper_bound(at)).min(self.max))
    }
}

/// The bucket of a latency: the power of two below it, cut into [`STEPS`] equal parts.
fn bucket_of(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let power = u64::from(micros.ilog2());
    let part = (micros >> (power - STEPS.ilog2() as u64)) - STEPS;
    (((power - 1) * STEPS + part) as usize).min(BUCKETS - 1)
}

/// The highest latency of a bucket in microseconds.
fn upper_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let (power, part) = (bucket / STEPS + 1, bucket % STEPS);
    ((STEPS + part + 1) << (power - STEPS.ilog2() as u64)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_told_apart_by_their_labels() {
        let metrics = MemoryMetrics::default();
        metrics.add("runs", &[("status", "FAILED")], 1);
        metrics.add("runs", &[("status", "SUCCEEDED")], 2);
        metrics.add("runs", &[("status", "FAILED")], 3);
        metrics.set("live", &[], 7);
        metrics.set("live", &[], 5);
        let snapshot = metrics.snapshot();
        let counters: Vec<_> = snapshot.counters.iter().map(|s| (s.labels[0].1.as_str(), s.value)).collect();
        assert_eq!(counters, [("FAILED", 4), ("SUCCEEDED", 2)]);
        assert_eq!(snapshot.gauges, [Sample { name: "live", labels: Vec::new(), value: 5 }]);
    }

    #[test]
    fn each_latency_lies_in_its_bucket() {
        for micros in (0..2_000).chain([65_535, 65_536, 1 << 39, (1 << 40) - 1]) {
            let bucket = bucket_of(micros);
            assert!(micros <= upper_bound(bucket), "{micros}");
            assert!(bucket == 0 || micros > upper_bound(bucket - 1), "{micros}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_close_from_above() {
        let metrics = MemoryMetrics::default();
        for millis in 1..=1_000 {
            metrics.observe("took", &[], Duration::from_millis(millis));
        }
        let sample = metrics.snapshot().latencies[0].value;
        assert_eq!((sample.count, sample.max_seconds), (1_000, 1.0));
        assert!((sample.sum_seconds - 500.5).abs() < 1e-9);
        for (got, exact) in [(sample.p50_seconds, 0.5), (sample.p95_seconds, 0.95), (sample.p99_seconds, 0.99)] {
            assert!(got >= exact && got <= exact * 1.26, "{got} for {exact}");
        }
    }
}
