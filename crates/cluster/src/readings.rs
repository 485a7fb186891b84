//! Metrics that are read off what there is whenever somebody asks, in Prometheus's form.

use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use crate::error::ClusterError;

/// A metric at one moment: name, help, type, and its values by labels.
pub struct Reading {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    values: Vec<(Labels, Value)>,
}

/// Names and values of labels.
pub type Labels = Vec<(&'static str, String)>;

enum Value {
    Number(f64),
    /// What was counted up to each bound, how much there was in all, and of how many.
    Distribution {
        up_to: Vec<(f64, u64)>,
        sum: f64,
        count: u64,
    },
}

impl Reading {
    /// What only grows.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self::of(name, help, MetricType::COUNTER, [(Labels::new(), number(value))])
    }

    /// Seconds that only grow.
    #[must_use]
    pub fn seconds(name: &'static str, help: &'static str, microseconds: u64) -> Self {
        Self::of(name, help, MetricType::COUNTER, [(Labels::new(), number(microseconds) / 1e6)])
    }

    /// Counters by one label.
    #[must_use]
    pub fn counters(name: &'static str, help: &'static str, label: &'static str, values: impl IntoIterator<Item = (String, u64)>) -> Self {
        Self::of(name, help, MetricType::COUNTER, values.into_iter().map(|(value, count)| (vec![(label, value)], number(count))))
    }

    /// What goes up and down.
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Self::of(name, help, MetricType::GAUGE, [(Labels::new(), number(value))])
    }

    /// What goes up and down, by labels.
    #[must_use]
    pub fn gauges(name: &'static str, help: &'static str, values: impl IntoIterator<Item = (Labels, f64)>) -> Self {
        Self::of(name, help, MetricType::GAUGE, values)
    }

    /// What grows, by labels.
    #[must_use]
    pub fn counters_by(name: &'static str, help: &'static str, values: impl IntoIterator<Item = (Labels, u64)>) -> Self {
        Self::of(name, help, MetricType::COUNTER, values.into_iter().map(|(labels, value)| (labels, number(value))))
    }

    /// How often something took how long: `counts` says how often it took up to each of `bounds` and longer than the one before; the last, how often
    /// longer than all.
    #[must_use]
    pub fn durations(name: &'static str, help: &'static str, bounds: &[f64], counts: &[u64], microseconds: u64) -> Self {
        let mut total = 0;
        let cumulative: Vec<u64> = counts
            .iter()
            .map(|count| {
                total += count;
                total
            })
            .collect();
        let up_to = bounds.iter().copied().zip(cumulative).collect();
        let value = Value::Distribution { up_to, sum: number(microseconds) / 1e6, count: total };
        Self { name, help, kind: MetricType::HISTOGRAM, values: vec![(Labels::new(), value)] }
    }

    fn of(name: &'static str, help: &'static str, kind: MetricType, values: impl IntoIterator<Item = (Labels, f64)>) -> Self {
        Self { name, help, kind, values: values.into_iter().map(|(labels, value)| (labels, Value::Number(value))).collect() }
    }
}

/// As Prometheus has numbers.
#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
#[must_use]
pub fn number(value: u64) -> f64 {
    value as f64
}

/// A registry of what a function reads.
///
/// # Errors
/// When the registry refuses it.
pub fn registry(read: impl Fn() -> Vec<Reading> + Send + Sync + 'static) -> Result<Registry, ClusterError> {
    let registry = Registry::new();
    registry.register(Box::new(Readings(read)))?;
    Ok(registry)
}

/// Collects what a function reads.
struct Readings<F>(F);

impl<F: Fn() -> Vec<Reading> + Send + Sync> Collector for Readings<F> {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        (self.0)().into_iter().filter(|reading| !reading.values.is_empty()).map(family).collect()
    }
}

fn family(reading: Reading) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(reading.name.to_owned());
    family.set_help(reading.help.to_owned());
    family.set_field_type(reading.kind);
    family.set_metric(reading.values.into_iter().map(|(labels, value)| metric(reading.kind, labels, value)).collect());
    family
}

fn metric(kind: MetricType, labels: Labels, value: Value) -> Metric {
    let mut metric = Metric::default();
    let labels = labels.into_iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value);
        pair
    });
    metric.set_label(labels.collect());
    match value {
        Value::Number(value) if kind == MetricType::COUNTER => {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        }
        Value::Number(value) => {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        Value::Distribution { up_to, sum, count } => {
            let mut histogram = Histogram::default();
            histogram.set_sample_sum(sum);
            histogram.set_sample_count(count);
            let buckets = up_to.into_iter().map(|(bound, count)| {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(bound);
                bucket.set_cumulative_count(count);
                bucket
            });
            histogram.set_bucket(buckets.collect());
            metric.set_histogram(histogram);
        }
    }
    metric
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder as _, TextEncoder};

    use super::*;

    #[test]
    fn durations_are_counted_up_to_each_bound() {
        let registry = registry(|| vec![Reading::durations("x_seconds", "X.", &[1.0, 10.0], &[2, 0, 3], 40_500_000)]).unwrap();
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for line in [
            "# TYPE x_seconds histogram",
            "x_seconds_bucket{le=\"1\"} 2",
            "x_seconds_bucket{le=\"10\"} 2",
            "x_seconds_bucket{le=\"+Inf\"} 5",
            "x_seconds_sum 40.5",
            "x_seconds_count 5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
    }
}
