//! Prometheus metrics, read off the counters that there are anyway whenever somebody asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytefacts_engine::Node;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Opts, Registry};

use crate::error::ClusterError;
use crate::executor::ExecutorView;
use crate::jobs::now_ms;
use crate::status::JobStatus;
use crate::view::SchedulerView;

/// A metric at one moment: name, help, type, and its values by labels.
struct Reading {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    values: Vec<(Labels, f64)>,
}

type Labels = Vec<(&'static str, String)>;

fn counter(name: &'static str, help: &'static str, value: u64) -> Reading {
    Reading { name, help, kind: MetricType::COUNTER, values: vec![(Labels::new(), number(value))] }
}

fn gauge(name: &'static str, help: &'static str, value: u64) -> Reading {
    Reading { name, help, kind: MetricType::GAUGE, values: vec![(Labels::new(), number(value))] }
}

fn labelled(name: &'static str, help: &'static str, label: &'static str, values: impl IntoIterator<Item = (String, u64)>) -> Reading {
    let values = values.into_iter().map(|(value, count)| (vec![(label, value)], number(count))).collect();
    Reading { name, help, kind: MetricType::COUNTER, values }
}

fn seconds(name: &'static str, help: &'static str, microseconds: u64) -> Reading {
    Reading { name, help, kind: MetricType::COUNTER, values: vec![(Labels::new(), number(microseconds) / 1e6)] }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
fn number(value: u64) -> f64 {
    value as f64
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
    let metrics = reading.values.into_iter().map(|(labels, value)| {
        let mut metric = Metric::default();
        let labels = labels.into_iter().map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value);
            pair
        });
        metric.set_label(labels.collect());
        if reading.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        metric
    });
    family.set_metric(metrics.collect());
    family
}

/// The metrics of an executor.
///
/// # Errors
/// When the registry refuses them.
pub fn of_executor(node: Arc<Node>, view: ExecutorView) -> Result<Registry, ClusterError> {
    registry(move || {
        let now = node.progress().read();
        let mut readings = vec![
            counter("bytefacts_files_total", "Files whose row was built, or found landed.", now.files),
            counter("bytefacts_source_bytes_total", "Bytes of source in these files.", now.source_bytes),
            counter("bytefacts_units_total", "Code objects analysed.", now.units),
            counter("bytefacts_instructions_total", "Instructions analysed.", now.instructions),
            labelled("bytefacts_errors_total", "Error rows by stage.", "stage", now.errors),
            counter("bytefacts_unit_cache_hits_total", "Files whose compiled unit came from the cache.", now.cache_hits),
            counter("bytefacts_unit_cache_misses_total", "Files that were compiled.", now.cache_misses),
            seconds("bytefacts_compile_cpu_seconds_total", "CPU time of the compile workers.", now.compile_cpu_us),
            seconds("bytefacts_analysis_seconds_total", "Time spent on decoding, analysis and rows.", now.analyse_us),
            counter("bytefacts_bins_landed_total", "Bins landed.", now.bins),
            counter("bytefacts_landed_bytes_total", "Bytes of Parquet landed.", now.landed_bytes),
            gauge("bytefacts_tasks_running", "Tasks under way.", view.running_tasks()),
            gauge("bytefacts_task_places", "Tasks that run at a time.", u64::from(view.cores())),
            gauge("bytefacts_memory_reserved_bytes", "Bytes of the memory budget that are taken.", node.reserved_bytes()),
            gauge("bytefacts_memory_budget_bytes", "The memory budget.", node.memory_budget_bytes()),
            gauge("bytefacts_files_waiting_for_memory", "Files that wait for the memory budget.", node.waiting_for_memory()),
            gauge("bytefacts_scheduler_connected", "1 when the scheduler answered last time.", u64::from(view.is_connected())),
        ];
        if let Some(pool) = node.pool_stats() {
            readings.push(counter("bytefacts_worker_starts_total", "Compile workers started.", pool.starts));
            let causes = [
                ("crash", pool.crashes),
                ("killed", pool.killed),
                ("time_limit", pool.timeouts),
                ("memory_limit", pool.out_of_memory),
                ("recycled", pool.recycled),
            ];
            let restarts = causes.map(|(cause, count)| (cause.to_owned(), count));
            readings.push(labelled("bytefacts_worker_restarts_total", "Compile workers replaced, by cause.", "cause", restarts));
        }
        if let Some(cache) = node.cache().map(|cache| cache.stats()) {
            let lookups = [("memory", cache.memory_hits), ("disk", cache.disk_hits), ("shared", cache.shared_hits), ("none", cache.misses)];
            let lookups = lookups.map(|(tier, count)| (tier.to_owned(), count));
            readings.push(labelled("bytefacts_cache_lookups_total", "Cache lookups by the tier that answered.", "tier", lookups));
            readings.push(counter("bytefacts_cache_evictions_total", "Entries evicted from disk.", cache.disk_evictions));
            readings.push(gauge("bytefacts_cache_disk_bytes", "Bytes of the disk tier, as far as known.", cache.disk_bytes));
            readings.push(gauge("bytefacts_cache_memory_bytes", "Bytes of the memory tier.", cache.memory_bytes));
            readings.push(counter("bytefacts_cache_shared_puts_total", "Entries uploaded to the shared tier.", cache.shared_puts));
            readings.push(counter("bytefacts_cache_shared_skipped_total", "Entries not uploaded to it.", cache.shared_skipped));
            readings.push(counter(
                "bytefacts_cache_shared_damaged_total",
                "Objects of it that were torn or foreign.",
                cache.shared_damaged,
            ));
            readings.push(counter("bytefacts_cache_shared_errors_total", "Requests to it that failed.", cache.shared_errors));
        }
        readings
    })
}

/// The metrics of a scheduler.
///
/// # Errors
/// When the registry refuses them.
pub fn of_scheduler(view: SchedulerView) -> Result<Registry, ClusterError> {
    registry(move || {
        let jobs = view.jobs().read().map(|(outcome, count)| (outcome.to_owned(), count));
        let mut readings = vec![
            labelled("bytefacts_jobs_total", "Jobs by what became of them.", "outcome", jobs),
            gauge("bytefacts_jobs_queued", "Jobs that wait to be planned.", view.queued_jobs() as u64),
            gauge("bytefacts_jobs_running", "Jobs under way.", view.running_jobs() as u64),
            gauge("bytefacts_executors", "Executors heard of lately.", view.executors() as u64),
        ];
        readings.extend(of_runs(&view.job_status_now()));
        readings
    })
}

/// For how long a run that is over is still told of, so that whoever reads metrics every minute sees its end.
const AFTERGLOW_SECONDS: u64 = 900;

/// The metrics of runs, each as its last job shows it.
fn of_runs(jobs: &[JobStatus]) -> Vec<Reading> {
    let recent = |job: &&JobStatus| job.ended_at_ms.is_none_or(|ended| now_ms().saturating_sub(ended) < AFTERGLOW_SECONDS * 1000);
    let runs: BTreeMap<_, _> = jobs.iter().filter(recent).filter_map(|job| Some((job.run.as_deref()?, job))).collect();
    let of_each = |name, help, value: &dyn Fn(&JobStatus) -> Option<u64>| {
        let values = runs.iter().filter_map(|(run, job)| Some((vec![("run", (*run).to_owned())], number(value(job)?)))).collect();
        Reading { name, help, kind: MetricType::GAUGE, values }
    };
    let errors = runs.iter().flat_map(|(run, job)| {
        let labels = |stage: &String| vec![("run", (*run).to_owned()), ("stage", stage.clone())];
        job.progress.errors.iter().map(move |(stage, count)| (labels(stage), number(*count)))
    });
    let waiting = jobs.iter().filter(|job| !job.state.is_over()).map(|job| {
        let progress = &job.progress;
        progress.bins.unwrap_or_default().saturating_sub(progress.bins_done)
    });
    vec![
        gauge("bytefacts_bins_waiting", "Bins of jobs under way that are not landed yet: what to scale executors by.", waiting.sum()),
        of_each("bytefacts_run_bins", "Bins of a run.", &|job| job.progress.bins),
        of_each("bytefacts_run_bins_landed", "Those that are landed.", &|job| Some(job.progress.bins_done)),
        of_each("bytefacts_run_files", "Files in the bins that are landed.", &|job| Some(job.progress.files)),
        Reading {
            name: "bytefacts_run_errors",
            help: "Error rows of a run by stage, in the bins that are landed.",
            kind: MetricType::GAUGE,
            values: errors.collect(),
        },
    ]
}

fn registry(read: impl Fn() -> Vec<Reading> + Send + Sync + 'static) -> Result<Registry, ClusterError> {
    let registry = Registry::new();
    registry.register(Box::new(Readings(read)))?;
    let info = Opts::new("bytefacts_build_info", "1, with the version as label.").const_label("version", env!("CARGO_PKG_VERSION"));
    let info = prometheus::Gauge::with_opts(info)?;
    info.set(1.0);
    registry.register(Box::new(info))?;
    Ok(registry)
}
