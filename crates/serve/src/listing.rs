//! Tables that the service tells of itself, of its cluster and of runs under way: the schema `system`.
//!
//! Their rows are read when a statement is planned, and stay what they are until it ends. Without a cluster, what only a cluster knows is empty.

use arrow::array::RecordBatch;
use bytefacts_landing::{BinIndex, FactsStore, RunId};
use bytefacts_query::listings::Kind::{Flag, Number, Text, Time};
use bytefacts_query::listings::{self, Listing, flags, maybe_numbers, maybe_texts, maybe_times, numbers, texts, times};
use datafusion::common::Result;

use crate::options::{COMPRESSION, Compression, EXECUTION, Execution, RUN, SessionOptions};
use crate::record::Record;
use crate::runs::external;
use crate::spread::{ClusterState, ExecutorState, JobState};

/// The schema of [`SYSTEM`].
pub(crate) const SYSTEM_SCHEMA: &str = "system";

/// What is asked of the service, and was a short time ago.
pub(crate) const QUERIES: Listing = Listing {
    schema: SYSTEM_SCHEMA,
    name: "queries",
    doc: "what is asked now, and the last 200 that were",
    columns: &[
        ("query_id", Text, false, "the query"),
        ("user", Text, true, "who asks; null without access control"),
        (
            "state",
            Text,
            false,
            "`running`, `finished`, `failed`, `cancelled`, `left` by its reader, `expired` because nobody fetched it, `idle` because its reader took nothing",
        ),
        ("started_at", Time, false, "when it came, UTC"),
        ("milliseconds", Number, false, "for how long it has run, or ran"),
        ("rows", Number, false, "rows handed over to be sent"),
        ("bytes", Number, false, "bytes of these"),
        ("statement", Text, false, "the statement; of a long one the beginning"),
        ("error", Text, true, "why it failed"),
    ],
};

/// The executors of the cluster.
const EXECUTORS: Listing = Listing {
    schema: SYSTEM_SCHEMA,
    name: "executors",
    doc: "the executors of the cluster",
    columns: &[
        ("executor_id", Text, false, "the executor; another one when it is started again"),
        ("node", Text, true, "the node that it runs on"),
        ("address", Text, false, "where the others find it"),
        ("cores", Number, false, "tasks that it works on at a time"),
        ("cores_in_use", Number, false, "of these, how many it works on now"),
        ("silent_seconds", Number, true, "seconds since it was heard of"),
        ("version", Text, true, "its version of bytefacts"),
        ("python", Text, true, "the version of its CPython"),
    ],
};

/// The jobs of the cluster.
const JOBS: Listing = Listing {
    schema: SYSTEM_SCHEMA,
    name: "jobs",
    doc: "the jobs of the cluster: those under way, and the last that ended",
    columns: &[
        ("job_id", Text, false, "the job"),
        ("run_id", Text, true, "the run that it works on; null for a query"),
        ("state", Text, false, "`queued`, `running`, `completed`, `failed` or `cancelled`"),
        ("corpus", Text, true, "where its corpus is, once it is planned"),
        ("facts", Text, true, "where its facts go, once it is planned"),
        ("submitted_at", Time, false, "when it came, UTC"),
        ("ended_at", Time, true, "when it ended, UTC"),
        ("seconds", Number, false, "for how long it has run, or ran"),
        ("bins", Number, true, "its bins, once it is planned"),
        ("bins_done", Number, false, "of these, how many are landed"),
        ("files", Number, false, "source files in these"),
        ("errors", Number, false, "errors in these"),
        ("reruns", Number, false, "how often its stages were begun again, since executors were lost"),
        ("error", Text, true, "why it failed"),
    ],
};

/// The options of the session, as `SHOW` tells them.
pub(crate) const OPTIONS: Listing = Listing {
    schema: SYSTEM_SCHEMA,
    name: "options",
    doc: "the options of the session",
    columns: &[
        ("name", Text, false, "the option, as SET takes it"),
        ("value", Text, true, "what holds: of the run the current one, where none is set; null where no run is committed"),
        ("is_set", Flag, false, "whether the session, or a header of the call, has set it"),
        ("description", Text, false, "what it is for"),
    ],
};

/// The bins of runs.
const BINS: Listing = Listing {
    schema: SYSTEM_SCHEMA,
    name: "bins",
    doc: "the bins of runs under way, and of the run that is shown",
    columns: &[
        ("run_id", Text, false, "the run: one under way, or the one that `public` shows"),
        ("bin_id", Number, false, "the bin"),
        ("files", Number, false, "source files in it"),
        ("source_bytes", Number, false, "their bytes, as listed"),
        ("predicted_milliseconds", Number, false, "CPU time that it was predicted to take"),
        ("first_repo", Text, true, "repository of its first file"),
        ("first_path", Text, false, "path of its first file"),
        ("landed", Flag, false, "whether it is on record: done, for good"),
    ],
};

/// What the cache of compiled units was worth to each run.
const CACHE: Listing = Listing {
    schema: SYSTEM_SCHEMA,
    name: "cache",
    doc: "what the cache of compiled units was worth to each run",
    columns: &[
        ("run_id", Text, false, "the run"),
        ("files", Number, false, "its source files"),
        ("hits", Number, false, "files that were not compiled: their units were cached, or their bin was taken over from an earlier run"),
        ("shared_hits", Number, false, "of these, how many the tier answered which nodes share"),
        ("misses", Number, false, "files that were compiled"),
        ("compile_milliseconds", Number, false, "CPU time of the compiling processes"),
    ],
};

/// The tables of the schema `system`.
pub const SYSTEM: [&Listing; 6] = [&EXECUTORS, &JOBS, &BINS, &CACHE, &QUERIES, &OPTIONS];

/// All that is told beside facts.
pub(crate) fn all() -> impl Iterator<Item = &'static Listing> {
    listings::ALL.into_iter().chain(SYSTEM)
}

/// [`QUERIES`].
pub(crate) fn queries(all: &[Record]) -> Result<RecordBatch> {
    QUERIES.rows(vec![
        texts(all, |query| query.id.clone()),
        maybe_texts(all, |query| query.user.as_deref()),
        texts(all, |query| query.state),
        times(all, |query| query.started_at_ms),
        numbers(all, |query| query.milliseconds),
        numbers(all, |query| query.rows),
        numbers(all, |query| query.bytes),
        texts(all, |query| query.statement.clone()),
        maybe_texts(all, |query| query.error.as_deref()),
    ])
}

/// [`EXECUTORS`].
pub(crate) fn executors(cluster: Option<&ClusterState>) -> Result<RecordBatch> {
    let all: &[ExecutorState] = cluster.map_or(&[], |cluster| &cluster.executors);
    EXECUTORS.rows(vec![
        texts(all, |executor| executor.id.clone()),
        maybe_texts(all, |executor| executor.node.as_deref()),
        texts(all, |executor| executor.address.clone()),
        numbers(all, |executor| executor.cores.into()),
        numbers(all, |executor| executor.cores_in_use.into()),
        maybe_numbers(all, |executor| executor.silent_seconds),
        maybe_texts(all, |executor| executor.version.as_deref()),
        maybe_texts(all, |executor| executor.python.as_deref()),
    ])
}

/// [`JOBS`].
pub(crate) fn jobs(cluster: Option<&ClusterState>) -> Result<RecordBatch> {
    let all: &[JobState] = cluster.map_or(&[], |cluster| &cluster.jobs);
    JOBS.rows(vec![
        texts(all, |job| job.id.clone()),
        maybe_texts(all, |job| job.run.as_deref()),
        texts(all, |job| job.state),
        maybe_texts(all, |job| job.corpus.as_deref()),
        maybe_texts(all, |job| job.facts.as_deref()),
        times(all, |job| job.submitted_at_ms),
        maybe_times(all, |job| job.ended_at_ms),
        numbers(all, |job| job.seconds),
        maybe_numbers(all, |job| job.bins),
        numbers(all, |job| job.bins_done),
        numbers(all, |job| job.files),
        numbers(all, |job| job.errors),
        numbers(all, |job| job.reruns),
        maybe_texts(all, |job| job.error.as_deref()),
    ])
}

/// [`BINS`] of the runs under way and of the one that is shown. What goes away while it is looked at is left out.
pub(crate) async fn bins(facts: &FactsStore, shown: Option<&RunId>) -> Result<RecordBatch> {
    let mut runs: Vec<_> = facts.unfinished().await.map_err(external)?.into_iter().map(|(run, _)| run).collect();
    runs.extend(shown.cloned());
    let mut all = Vec::new();
    for run in runs {
        let Some(BinIndex { bins, .. }) = facts.bins(&run).await.map_err(external)? else { continue };
        let landed = facts.finished_bins(&run).await.map_err(external)?;
        all.extend((0_u32..).zip(bins).map(|(number, bin)| (run.clone(), number, bin, landed.binary_search(&number).is_ok())));
    }
    let all = all.as_slice();
    BINS.rows(vec![
        texts(all, |(run, ..)| run.as_str().to_owned()),
        numbers(all, |(_, number, ..)| (*number).into()),
        numbers(all, |(_, _, bin, _)| bin.files),
        numbers(all, |(_, _, bin, _)| bin.source_bytes),
        numbers(all, |(_, _, bin, _)| bin.cost_us / 1000),
        maybe_texts(all, |(_, _, bin, _)| bin.first.repo.as_deref()),
        texts(all, |(_, _, bin, _)| bin.first.path.clone()),
        flags(all, |(_, _, _, landed)| *landed),
    ])
}

/// [`CACHE`].
pub(crate) async fn cache(facts: &FactsStore) -> Result<RecordBatch> {
    let runs = facts.runs().await.map_err(external)?;
    let all = runs.as_slice();
    CACHE.rows(vec![
        texts(all, |run| run.run_id.as_str().to_owned()),
        numbers(all, |run| run.stats.files),
        numbers(all, |run| run.stats.cache_hits),
        numbers(all, |run| run.stats.cache_shared_hits),
        numbers(all, |run| run.stats.cache_misses),
        numbers(all, |run| run.stats.compile_cpu_us / 1000),
    ])
}

/// [`OPTIONS`], where `public` shows this run.
pub(crate) fn options(set: &SessionOptions, run: Option<&RunId>) -> Result<RecordBatch> {
    let all = [
        (COMPRESSION, Some(set.compression.name()), set.compression != Compression::default(), "how results are sent: none, lz4 or zstd"),
        (EXECUTION, Some(set.execution.name()), set.execution != Execution::default(), "where queries run: auto, local or cluster"),
        (RUN, run.map(RunId::as_str), set.run.is_some(), "the run that `public` shows"),
    ];
    let all = all.as_slice();
    OPTIONS.rows(vec![
        texts(all, |option| option.0),
        maybe_texts(all, |option| option.1),
        flags(all, |option| option.2),
        texts(all, |option| option.3),
    ])
}
