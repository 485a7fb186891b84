//! What `LandExec` does: rows in, data files and records of bins out.

use std::time::Instant;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::SchemaRef;
use bytefacts_facts::coded_schema;
use bytefacts_landing::{AttemptId, BinRecord, BinStats, BinWriter, FactsStore, FileDigest, RepoDigests, RunId, WriterOptions};
use datafusion::common::{Result, internal_err};

use super::envelope::{Envelope, detach};
use crate::error::{landing_error, lasting};
use crate::job::Job;
use crate::node::Node;
use crate::node::reuse::{FileIdentity, LandedBins};

/// The bin being written, and how the next one is begun.
pub(super) struct Landing<'a> {
    facts: FactsStore,
    run: RunId,
    schema: SchemaRef,
    node: &'a Node,
    landed_bins: Option<LandedBins>,
    /// Ballista's name of the task, for the log.
    task: String,
    open: Option<OpenBin>,
}

struct OpenBin {
    bin: u32,
    /// Files that it has, as it is written down.
    expected: u64,
    attempt: AttemptId,
    writer: BinWriter,
    stats: BinStats,
    digests: Vec<RepoDigests>,
    /// What the bin was made of; none once a row was not reproducible.
    sources: Option<Vec<FileIdentity>>,
    begun: Instant,
}

impl<'a> Landing<'a> {
    pub(super) fn new(job: &Job, node: &'a Node, task: String) -> Result<Self> {
        let run = RunId::new(job.run.clone()).map_err(lasting)?;
        Ok(Self {
            facts: node.stores().open_facts(&job.facts).map_err(lasting)?,
            run,
            schema: coded_schema(),
            node,
            landed_bins: node.landed_bins(job),
            task,
            open: None,
        })
    }

    /// Writes the rows of a batch; returns the bins that it completed.
    pub(super) async fn take(&mut self, batch: &RecordBatch) -> Result<Vec<BinRecord>> {
        let (facts, envelopes) = detach(batch)?;
        let mut done = Vec::new();
        let mut start = 0;
        for same_bin in envelopes.chunk_by(|a, b| a.bin == b.bin && a.landed == b.landed) {
            let rows = facts.slice(start, same_bin.len());
            start += same_bin.len();
            let Some(first) = same_bin.first() else { continue };
            if self.open.as_ref().is_some_and(|open| open.bin != first.bin) {
                done.extend(self.finish().await?);
            }
            if first.landed {
                match self.facts.bin_record(&self.run, first.bin).await.map_err(landing_error)? {
                    Some(record) => done.push(record),
                    None => return internal_err!("bin {} of run {} was landed and has no record", first.bin, self.run),
                }
            } else {
                self.write(first, &rows, same_bin).await?;
            }
        }
        Ok(done)
    }

    async fn write(&mut self, first: &Envelope, rows: &RecordBatch, envelopes: &[Envelope]) -> Result<()> {
        let (bin, expected) = (first.bin, first.bin_files);
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let attempt = self.node.next_attempt();
                let writer = BinWriter::new(&self.facts, &self.run, bin, &attempt, &self.schema, WriterOptions::default());
                let writer = writer.map_err(landing_error)?;
                let (stats, digests) = Default::default();
                let sources = self.landed_bins.is_some().then(Vec::new);
                self.open.insert(OpenBin { bin, expected, attempt, writer, stats, digests, sources, begun: Instant::now() })
            }
        };
        open.writer.write(rows).await.map_err(landing_error)?;
        count(&mut open.stats, rows, envelopes)?;
        note_sources(&mut open.sources, rows, envelopes)?;
        note_digests(&mut open.digests, rows)
    }

    /// Completes the open bin, if there is one.
    pub(super) async fn finish(&mut self) -> Result<Option<BinRecord>> {
        let Some(mut open) = self.open.take() else { return Ok(None) };
        open.stats.wall_us = u64::try_from(open.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        match open.writer.finish(open.expected, open.stats, open.digests).await {
            Ok(record) => {
                // From the first note of an attempt on; a bin that nobody has noted here, from its first rows on.
                let took = self.node.open_attempts().landed(&self.facts, &self.run, open.bin).await.unwrap_or(open.begun.elapsed());
                // Of another attempt's record the sources are not known: a file may have changed between its read and this one's.
                if record.attempt == open.attempt
                    && let (Some(landed), Some(sources)) = (&self.landed_bins, open.sources)
                {
                    landed.keep(sources, &self.facts, &record, None).await;
                }
                self.node.progress().add_bin(record.files.iter().map(|f| f.bytes).sum(), took);
                tracing::info!(run = %self.run, bin = open.bin, task = self.task, files = record.stats.files, rows = record.rows(), "bin landed");
                Ok(Some(record))
            }
            Err(error) => {
                self.node.open_attempts().failed(&self.run, open.bin).await;
                Err(landing_error(error))
            }
        }
    }

    /// Gives the open bin up and removes what it wrote.
    pub(super) async fn abort(&mut self) {
        if let Some(open) = self.open.take() {
            open.writer.abort().await;
            self.node.open_attempts().failed(&self.run, open.bin).await;
        }
    }
}

/// Adds rows to the figures of their bin.
fn count(stats: &mut BinStats, rows: &RecordBatch, envelopes: &[Envelope]) -> Result<()> {
    for file in envelopes.iter().map(|envelope| &envelope.metrics) {
        stats.files += 1;
        stats.units += file.units;
        stats.instructions += file.instructions;
        stats.source_bytes += file.source_bytes;
        stats.compile_cpu_us += file.compile_cpu_us;
        stats.analyse_cpu_us += file.analyse_us;
        stats.oracle_files += u64::from(file.judged);
        stats.oracle_differences += file.differences;
        stats.cache_shared_hits += u64::from(file.shared_hit);
        if file.cache_hit {
            stats.cache_hits += 1;
        } else {
            stats.cache_misses += 1;
        }
    }
    let errors = rows.column_by_name("errors").and_then(|c| c.as_list_opt::<i32>());
    let Some(errors) = errors else { return internal_err!("rows without a list of errors") };
    let values = errors.values();
    let offsets = errors.value_offsets();
    let (Some(from), Some(to)) = (offsets.first(), offsets.last()) else { return Ok(()) };
    let Some(structs) = values.as_struct_opt() else { return internal_err!("errors are no structs") };
    let text = |name: &str| structs.column_by_name(name).and_then(|c| c.as_string_opt::<i32>());
    let (Some(stage), Some(kind), Some(severity)) = (text("stage"), text("error_type"), text("severity")) else {
        return internal_err!("errors lack stage, error_type or severity");
    };
    let (Ok(from), Ok(to)) = (usize::try_from(*from), usize::try_from(*to)) else { return internal_err!("an offset below zero") };
    for i in from..to {
        stats.count_error(stage.value(i), kind.value(i), severity.value(i), 1);
    }
    Ok(())
}

/// Notes what each row was made of, as long as all rows are what their sources make them.
fn note_sources(sources: &mut Option<Vec<FileIdentity>>, rows: &RecordBatch, envelopes: &[Envelope]) -> Result<()> {
    let Some(noted) = sources else { return Ok(()) };
    let text = |name: &str| rows.column_by_name(name).and_then(|c| c.as_string_opt::<i32>());
    let (Some(repo), Some(path), Some(digest)) = (text("repo"), text("path"), text("file_sha256")) else {
        return internal_err!("rows lack repo, path or file_sha256");
    };
    for (row, Envelope { metrics, .. }) in envelopes.iter().enumerate() {
        let mut sha256 = [0; 32];
        if !metrics.reproducible || digest.is_null(row) || hex::decode_to_slice(digest.value(row), &mut sha256).is_err() {
            *sources = None;
            return Ok(());
        }
        let repo = (!repo.is_null(row)).then(|| repo.value(row).to_owned());
        noted.push(FileIdentity { repo, path: path.value(row).to_owned(), bytes: metrics.source_bytes, sha256 });
    }
    Ok(())
}

/// Notes the digest of each row under its repository; rows come sorted by repository and path.
fn note_digests(digests: &mut Vec<RepoDigests>, rows: &RecordBatch) -> Result<()> {
    let text = |name: &str| rows.column_by_name(name).and_then(|c| c.as_string_opt::<i32>());
    let (Some(repo), Some(path), Some(digest)) = (text("repo"), text("path"), text("facts_digest")) else {
        return internal_err!("rows lack repo, path or facts_digest");
    };
    for row in 0..rows.num_rows() {
        let repo = (!repo.is_null(row)).then(|| repo.value(row));
        let file = FileDigest { path: path.value(row).to_owned(), digest: digest.value(row).to_owned() };
        match digests.last_mut() {
            Some(last) if last.repo.as_deref() == repo => last.files.push(file),
            _ => digests.push(RepoDigests { repo: repo.map(str::to_owned), files: vec![file] }),
        }
    }
    Ok(())
}
