//! Landed bins that are taken over: when every file of a bin is what it was, so is all that the bin lands, byte for byte.
//!
//! The cache of compiled files spares the compiler; analysing and landing again what has not changed would still cost half of a cold run. So the
//! cache also notes where the data files of a bin are, under a digest of all that determines them: the names and contents of the sources, the
//! options, the interpreter, the build of the analysis itself, and the place of the facts. A later run records the bin as what that one is:
//! its manifest names the same files. A node believes only itself in this: the notes stay out of the tier of the cache that nodes share, or whoever
//! writes there could name any bin as the facts of anything. Whether such a bin may be there is asked by names and sizes first, so that a cold run reads nothing twice.

use std::collections::BTreeMap;
use std::time::Instant;

use bytefacts_cache::Cache;
use bytefacts_corpus::Entry;
use bytefacts_landing::{AttemptId, BinRecord, FactsStore, LandingError, PinnedBin, RunId};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::job::{ANALYZER_VERSION, InterpreterId, Job};

type Key = [u8; 32];

/// A file that a bin was made of, as it was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileIdentity {
    pub(crate) repo: Option<String>,
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: Key,
}

/// The landed bins of a node, for one job.
#[derive(Clone, Debug)]
pub(crate) struct LandedBins {
    cache: Cache,
    prefix: Vec<u8>,
}

impl LandedBins {
    /// For jobs whose rows depend on nothing but what the key holds; an oracle's judgement is to be passed anew each time.
    pub(crate) fn of(job: &Job, interpreter: &InterpreterId, cache: &Cache) -> Option<Self> {
        if !job.options.oracle.is_zero() {
            return None;
        }
        let o = &job.options;
        let prefix = format!(
            "landed 3\n{}\n{} {ANALYZER_VERSION}\n{} {} {}\noptimize={} dont_inherit={} adaptive={} cfg={} terminators={:?} limit={}\n",
            job.facts,
            env!("BYTEFACTS_FINGERPRINT"),
            interpreter.implementation,
            interpreter.version,
            interpreter.magic,
            o.optimize,
            o.dont_inherit,
            o.adaptive,
            o.include_cfg_derivations,
            o.terminator_opnames,
            o.max_file_bytes,
        );
        Some(Self { cache: cache.clone(), prefix: prefix.into_bytes() })
    }

    /// Whether a bin of these names and sizes was landed before. Its contents decide whether it can be taken over.
    pub(crate) async fn may_have(&self, files: &[Entry]) -> bool {
        self.cache.get_own(self.shape(files.iter().map(|f| (f.repo.as_deref(), f.path.as_str(), f.size)))).await.is_some()
    }

    /// Takes over a bin whose sources are these, if it was landed and its files are still there.
    pub(crate) async fn take_over(
        &self,
        sources: &[FileIdentity],
        facts: &FactsStore,
        run: &RunId,
        bin: u32,
        attempt: AttemptId,
    ) -> Result<Option<BinRecord>, LandingError> {
        let begun = Instant::now();
        let wall_us = || u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let kept = self.cache.get_own(self.content(sources)).await;
        let Some(kept) = kept.and_then(|bytes| serde_json::from_slice::<PinnedBin>(&bytes).ok()) else { return Ok(None) };
        let files = sources.len() as u64;
        let Some(record) = facts.take_over(&kept, run, bin, files, &attempt, wall_us).await? else { return Ok(None) };
        // From now on this run is the one that vouches for the files, so that older runs can go. What another attempt recorded may be made of
        // other sources.
        if record.attempt == attempt {
            self.keep(sources.to_vec(), facts, &record, Some(&kept)).await;
        }
        Ok(Some(record))
    }

    /// Keeps what a bin has landed, or has taken over from where it was kept `before`. What goes wrong costs the entry.
    pub(crate) async fn keep(&self, mut sources: Vec<FileIdentity>, facts: &FactsStore, record: &BinRecord, before: Option<&PinnedBin>) {
        sources.sort();
        if let Err(error) = self.try_keep(&sources, facts, record, before).await {
            tracing::debug!(%error, bin = record.bin_id, "a landed bin is not kept for later runs");
        }
    }

    async fn try_keep(
        &self,
        sources: &[FileIdentity],
        facts: &FactsStore,
        record: &BinRecord,
        before: Option<&PinnedBin>,
    ) -> Result<(), LandingError> {
        let Some(pinned) = facts.pin(record).await? else { return Ok(()) };
        let pinned = match before {
            Some(before) => pinned.named_before_by(before),
            None => pinned,
        };
        if let Ok(pinned) = serde_json::to_vec(&pinned) {
            self.cache.put_own(self.content(sources), pinned.into()).await;
            let shape = self.shape(sources.iter().map(|s| (s.repo.as_deref(), s.path.as_str(), s.bytes)));
            self.cache.put_own(shape, Bytes::from_static(b"landed")).await;
        }
        Ok(())
    }

    fn shape<'a>(&self, files: impl Iterator<Item = (Option<&'a str>, &'a str, u64)>) -> Key {
        // In one order, whatever the bin's is.
        let files: BTreeMap<_, _> = files.map(|(repo, path, bytes)| ((repo, path), bytes)).collect();
        let mut hasher = Sha256::new().chain_update(&self.prefix).chain_update(b"shape\n");
        for ((repo, path), bytes) in files {
            name(&mut hasher, repo, path);
            hasher.update(bytes.to_be_bytes());
        }
        hasher.finalize().into()
    }

    fn content(&self, sources: &[FileIdentity]) -> Key {
        let mut hasher = Sha256::new().chain_update(&self.prefix).chain_update(b"content\n");
        for source in sources {
            name(&mut hasher, source.repo.as_deref(), &source.path);
            hasher.update(source.bytes.to_be_bytes());
            hasher.update(source.sha256);
        }
        hasher.finalize().into()
    }
}

/// Lengths in front keep one name from running into the next.
fn name(hasher: &mut Sha256, repo: Option<&str>, path: &str) {
    hasher.update(repo.map_or(u64::MAX, |repo| repo.len() as u64).to_be_bytes());
    hasher.update(repo.unwrap_or_default());
    hasher.update((path.len() as u64).to_be_bytes());
    hasher.update(path);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, RecordBatch, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use bytefacts_cache::CacheOptions;
    use bytefacts_corpus::{BinOptions, Target};
    use bytefacts_landing::{
        BinStats, BinWriter, BinsWriter, CommitRequest, FileDigest, FileName, Fold, PlannedBin, ReadErrors, RepoDigests, SchemaSnapshot,
        SystemClock, Tolerance, WriterOptions,
    };
    use object_store::memory::InMemory;
    use object_store::path::Path;

    use super::*;
    use crate::attempt_id::fresh_attempt;
    use crate::job::ExtractOptions;

    fn run_id(text: &str) -> RunId {
        RunId::new(text).unwrap()
    }

    /// The bins that a node has landed, which are none yet.
    fn landed_bins() -> LandedBins {
        let python = InterpreterId { version: "3.13.0".to_owned(), magic: "f30d0d0a".to_owned(), implementation: "cpython".to_owned() };
        let job = Job {
            corpus: "file:///nowhere".to_owned(),
            repo: None,
            facts: "memory:///facts".to_owned(),
            run: "any".to_owned(),
            options: ExtractOptions::default(),
            bins: BinOptions { target: Target::Bins(1) },
            interpreter: None,
            use_cache: true,
        };
        LandedBins::of(&job, &python, &Cache::open(&CacheOptions::default())).unwrap()
    }

    /// The one file of the bin, with this in it.
    fn sources(content: &str) -> Vec<FileIdentity> {
        let sha256 = Sha256::digest(content).into();
        vec![FileIdentity { repo: Some("a".to_owned()), path: "x.py".to_owned(), bytes: content.len() as u64, sha256 }]
    }

    /// Begins a run of the one bin.
    async fn begin(facts: &FactsStore, run: &RunId) {
        let mut bins = BinsWriter::new(facts, run, fresh_attempt()).await.unwrap();
        let bin = PlannedBin { files: 1, source_bytes: 6, cost_us: 1, first: FileName::new(Some("a"), "x.py") };
        bins.push(bin, b"a/x.py").await.unwrap();
        bins.finish().await.unwrap();
    }

    /// Lands the bin as an attempt does that has read this.
    async fn land(facts: &FactsStore, run: &RunId, content: &str) -> BinRecord {
        let schema = Arc::new(Schema::new(vec![
            Field::new("repo", DataType::Utf8, true),
            Field::new("path", DataType::Utf8, false),
            Field::new("content", DataType::Utf8, false),
        ]));
        let columns = ["a", "x.py", content].map(|value| Arc::new(StringArray::from(vec![value])) as ArrayRef);
        let mut writer = BinWriter::new(facts, run, 0, &fresh_attempt(), &schema, WriterOptions::default()).unwrap();
        writer.write(&RecordBatch::try_new(schema, columns.to_vec()).unwrap()).await.unwrap();
        let digest = FileDigest { path: "x.py".to_owned(), digest: hex::encode(Sha256::digest(content)) };
        let digests = vec![RepoDigests { repo: Some("a".to_owned()), files: vec![digest] }];
        writer.finish(1, BinStats { files: 1, ..BinStats::default() }, digests).await.unwrap()
    }

    struct AnyFold;

    impl Fold for AnyFold {
        fn repository(&self, _: Option<&str>, files: &[(&str, [u8; 32])]) -> [u8; 32] {
            Sha256::digest(format!("{files:?}")).into()
        }
        fn run(&self, repos: &[(Option<&str>, [u8; 32])]) -> [u8; 32] {
            Sha256::digest(format!("{repos:?}")).into()
        }
    }

    async fn commit(facts: &FactsStore, run: &RunId) {
        let request = CommitRequest {
            run_id: run.clone(),
            attempt: fresh_attempt(),
            started_at_ms: 0,
            corpus: "file:///nowhere".to_owned(),
            schema_name: "any".to_owned(),
            schema_version: 1,
            interpreter: serde_json::json!({}),
            options: serde_json::json!({}),
            schema: SchemaSnapshot::default(),
            tolerance: Tolerance { unread: 0.0, gone: 1.0 },
            read_errors: ReadErrors { of_files: &[], of_folders: &[] },
        };
        facts.commit(&request, &AnyFold, &SystemClock).await.unwrap();
    }

    /// A file changes between two attempts at its bin: one that has read what it is now records the bin first, and one that has read what it was
    /// is about to take the bin over. It loses, and what the other has landed must not be remembered as the facts of what it has read: every later
    /// run whose file is as it was before would have the facts of another.
    #[tokio::test]
    async fn who_loses_the_race_while_taking_over_remembers_nothing_of_the_other() {
        let (facts, landed) = (FactsStore::new(Arc::new(InMemory::new()), Path::from("facts")), landed_bins());
        let (was, is) = (sources("x = 1\n"), sources("y = 2\n"));
        let (first, second, third) = (run_id("1"), run_id("2"), run_id("3"));
        begin(&facts, &first).await;
        let original = land(&facts, &first, "x = 1\n").await;
        commit(&facts, &first).await;
        landed.keep(was.clone(), &facts, &original, None).await;
        let kept = landed.cache.get_own(landed.content(&was)).await.unwrap();

        begin(&facts, &second).await;
        let of_the_other = land(&facts, &second, "y = 2\n").await;
        let attempt = fresh_attempt();
        let standing = landed.take_over(&was, &facts, &second, 0, attempt.clone()).await.unwrap().unwrap();
        assert_eq!(standing, of_the_other, "the record that was there decides");
        assert_ne!(standing.attempt, attempt);
        assert_eq!(landed.cache.get_own(landed.content(&was)).await.unwrap(), kept, "nothing has been remembered");
        commit(&facts, &second).await;

        // The file is what it was: its facts are those of the first run, and now it is remembered who names them.
        begin(&facts, &third).await;
        let attempt = fresh_attempt();
        let taken = landed.take_over(&was, &facts, &third, 0, attempt.clone()).await.unwrap().unwrap();
        assert_eq!((taken.attempt, taken.files), (attempt, original.files));
        assert_eq!(taken.origin.unwrap().run_id, first);
        assert_ne!(landed.cache.get_own(landed.content(&was)).await.unwrap(), kept);
        // Nor is anything known of what it was in between: the other is another node.
        assert!(landed.take_over(&is, &facts, &third, 0, fresh_attempt()).await.unwrap().is_none());
    }
}
