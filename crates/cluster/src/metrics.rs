//! Prometheus metrics, read off the counters that there are anyway whenever somebody asks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytefacts_engine::{BIN_SECONDS, Node, STAGES};
use bytefacts_tls::not_after;
use prometheus::Registry;

use crate::error::ClusterError;
use crate::executor::ExecutorView;
use crate::jobs::now_ms;
use crate::process;
pub use crate::readings::{Labels, Reading, number, registry};
use crate::status::JobStatus;
use crate::view::SchedulerView;

/// The metrics that every daemon has: its build, with the version of the CPython that compiles where there is one; its process; the certificates that
/// it shows or asks for, each file with its use; and its requests to object stores.
///
/// # Errors
/// When the registry refuses them.
pub fn of_daemon(python: Option<String>, certificates: Vec<(&'static str, PathBuf)>) -> Result<Registry, ClusterError> {
    let build = vec![("version", env!("CARGO_PKG_VERSION").to_owned()), ("python", python.unwrap_or_default())];
    registry(move || {
        let ends = certificates.iter().filter_map(|(of, file)| {
            // A file that is being replaced is there again at the next look. What is wrong with it says whoever uses it.
            let end = not_after(file).inspect_err(|error| tracing::debug!(error, "no end of a certificate is told")).ok()?;
            #[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
            let end = end as f64;
            Some((vec![("use", (*of).to_owned())], end))
        });
        let requests = bytefacts_stores::requests()
            .into_iter()
            .map(|(operation, outcome, count)| (vec![("operation", operation.to_owned()), ("outcome", outcome.to_owned())], count));
        let mut readings = vec![
            Reading::gauges(
                "bytefacts_build_info",
                "1, with the versions of bytefacts and of its CPython as labels.",
                [(build.clone(), 1.0)],
            ),
            Reading::gauges(
                "bytefacts_certificate_not_after_timestamp_seconds",
                "When the certificates of a file end, in seconds since 1970, by what they are for.",
                ends,
            ),
            Reading::counters_by(
                "bytefacts_store_requests_total",
                "Requests to object stores, tries again included, by operation and by how they ended.",
                requests,
            ),
        ];
        readings.extend(process::readings());
        readings
    })
}

/// The metrics of an executor.
///
/// # Errors
/// When the registry refuses them.
pub fn of_executor(node: Arc<Node>, view: ExecutorView) -> Result<Registry, ClusterError> {
    registry(move || {
        let now = node.progress().read();
        // All stages from the first moment on: of what appears with a value Prometheus sees no increase.
        let mut errors: BTreeMap<String, u64> = STAGES.iter().map(|stage| ((*stage).to_owned(), 0)).collect();
        errors.extend(now.errors);
        let mut readings = vec![
            Reading::counter("bytefacts_files_total", "Files whose row was built, or found landed.", now.files),
            Reading::counter("bytefacts_source_bytes_total", "Bytes of source in these files.", now.source_bytes),
            Reading::counter("bytefacts_units_total", "Code objects analysed.", now.units),
            Reading::counter("bytefacts_instructions_total", "Instructions analysed.", now.instructions),
            Reading::counters("bytefacts_errors_total", "Error rows by stage.", "stage", errors),
            Reading::counter("bytefacts_unit_cache_hits_total", "Files whose compiled unit came from the cache.", now.cache_hits),
            Reading::counter("bytefacts_unit_cache_misses_total", "Files that were compiled.", now.cache_misses),
            Reading::seconds("bytefacts_compile_cpu_seconds_total", "CPU time of the compile workers.", now.compile_cpu_us),
            Reading::seconds("bytefacts_analysis_seconds_total", "Time spent on decoding, analysis and rows.", now.analyse_us),
            Reading::counter("bytefacts_bins_landed_total", "Bins landed.", now.bins),
            Reading::counter("bytefacts_bins_audited_total", "Bins derived under a condition of an audit.", now.audited),
            Reading::counter("bytefacts_landed_bytes_total", "Bytes of Parquet landed.", now.landed_bytes),
            Reading::gauge("bytefacts_bins_running", "Bins that are being worked on.", node.open_bins()),
            Reading::durations(
                "bytefacts_bin_seconds",
                "What bins took that were landed, from their first file to their record.",
                &BIN_SECONDS,
                &now.bin_seconds,
                now.bin_us,
            ),
            Reading::gauge("bytefacts_tasks_running", "Tasks under way.", view.running_tasks()),
            Reading::gauge("bytefacts_task_places", "Tasks that run at a time.", u64::from(view.cores())),
            Reading::gauge("bytefacts_memory_reserved_bytes", "Bytes of the memory budget that are taken.", node.reserved_bytes()),
            Reading::gauge("bytefacts_memory_budget_bytes", "The memory budget.", node.memory_budget_bytes()),
            Reading::gauge("bytefacts_files_waiting_for_memory", "Files that wait for the memory budget.", node.waiting_for_memory()),
            Reading::gauge("bytefacts_scheduler_connected", "1 when the scheduler answered last time.", u64::from(view.is_connected())),
        ];
        let pool = node.pool_stats();
        readings.push(Reading::counter("bytefacts_worker_starts_total", "Compile workers started.", pool.starts));
        let causes = [
            ("crash", pool.crashes),
            ("killed", pool.killed),
            ("time_limit", pool.timeouts),
            ("memory_limit", pool.out_of_memory),
            ("recycled", pool.recycled),
        ];
        let restarts = causes.map(|(cause, count)| (cause.to_owned(), count));
        readings.push(Reading::counters("bytefacts_worker_restarts_total", "Compile workers replaced, by cause.", "cause", restarts));
        if let Some(cache) = node.cache().map(|cache| cache.stats()) {
            let lookups = [("memory", cache.memory_hits), ("disk", cache.disk_hits), ("shared", cache.shared_hits), ("none", cache.misses)];
            let lookups = lookups.map(|(tier, count)| (tier.to_owned(), count));
            readings.push(Reading::counters("bytefacts_cache_lookups_total", "Cache lookups by the tier that answered.", "tier", lookups));
            readings.push(Reading::counter("bytefacts_cache_evictions_total", "Entries evicted from disk.", cache.disk_evictions));
            readings.push(Reading::gauge("bytefacts_cache_disk_bytes", "Bytes of the disk tier, as far as known.", cache.disk_bytes));
            let limit = node.cache().map_or(0, |cache| cache.disk_limit_bytes());
            readings.push(Reading::gauge("bytefacts_cache_disk_limit_bytes", "What the disk tier may take; 0 where there is none.", limit));
            readings.push(Reading::gauge("bytefacts_cache_memory_bytes", "Bytes of the memory tier.", cache.memory_bytes));
            readings.push(Reading::counter("bytefacts_cache_shared_puts_total", "Entries uploaded to the shared tier.", cache.shared_puts));
            readings.push(Reading::counter("bytefacts_cache_shared_skipped_total", "Entries not uploaded to it.", cache.shared_skipped));
            readings.push(Reading::counter(
                "bytefacts_cache_shared_damaged_total",
                "Objects of it that were torn or foreign.",
                cache.shared_damaged,
            ));
            readings.push(Reading::counter("bytefacts_cache_shared_errors_total", "Requests to it that failed.", cache.shared_errors));
        }
        readings
    })
}

/// The metrics of a scheduler.
///
/// # Errors
/// When the registry refuses them.
pub fn of_scheduler(view: SchedulerView) -> Result<Registry, ClusterError> {
    let last = Mutex::new(Vec::new());
    registry(move || {
        let [(_, submitted), ended @ ..] = view.jobs().read();
        let ended = ended.map(|(outcome, count)| (outcome.to_owned(), count));
        let mut readings = vec![
            Reading::counter("bytefacts_jobs_submitted_total", "Jobs that came.", submitted),
            Reading::counters("bytefacts_jobs_total", "Jobs that are over, by what became of them.", "outcome", ended),
            Reading::gauge("bytefacts_jobs_queued", "Jobs that wait to be planned.", view.queued_jobs() as u64),
            Reading::gauge("bytefacts_jobs_running", "Jobs under way.", view.running_jobs() as u64),
            Reading::gauge("bytefacts_executors", "Executors heard of lately.", view.executors() as u64),
            Reading::counter("bytefacts_executors_lost_total", "Executors that went without a word.", view.lost_executors()),
        ];
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        // A job that is being changed just now cannot be looked at: who scales by these figures is told the last ones, not that there is nothing to do.
        if let Some(jobs) = view.job_status_now() {
            *last = jobs;
        } else {
            let under_way = view.jobs().under_way();
            last.retain(|job| job.state.is_over() || under_way.contains(&job.id));
        }
        readings.extend(of_runs(&last));
        readings
    })
}

/// For how long a run that is over is still told of, so that whoever reads metrics every minute sees its end.
const AFTERGLOW_SECONDS: u64 = 900;

/// The metrics of runs, each as its last job shows it.
fn of_runs(jobs: &[JobStatus]) -> Vec<Reading> {
    let recent = |job: &&JobStatus| job.ended_at_ms.is_none_or(|ended| now_ms().saturating_sub(ended) < AFTERGLOW_SECONDS * 1000);
    let runs: BTreeMap<_, _> =
        jobs.iter().filter(recent).filter(|job| job.audit.is_none()).filter_map(|job| Some((job.run.as_deref()?, job))).collect();
    let of_each = |name, help, value: &dyn Fn(&JobStatus) -> Option<u64>| {
        let values = runs.iter().filter_map(|(run, job)| Some((vec![("run", (*run).to_owned())], number(value(job)?))));
        Reading::gauges(name, help, values)
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
        Reading::gauge(
            "bytefacts_bins_waiting",
            "Bins of jobs under way that are not landed yet, and tasks of audits that are not done: what to scale executors by.",
            waiting.sum(),
        ),
        of_each("bytefacts_run_bins", "Bins of a run.", &|job| job.progress.bins),
        of_each("bytefacts_run_bins_landed", "Those that are landed.", &|job| Some(job.progress.bins_done)),
        of_each("bytefacts_run_files", "Files in the bins that are landed.", &|job| Some(job.progress.files)),
        Reading::gauges("bytefacts_run_errors", "Error rows of a run by stage, in the bins that are landed.", errors),
    ]
}
