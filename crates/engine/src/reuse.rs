//! Landed bins that are taken over: when every file of a bin is what it was, so is all that the bin lands, byte for byte.
//!
//! The cache of compiled units spares the compiler; analysing and landing again what has not changed would still cost half of a cold run. So the
//! cache also notes where the data files of a bin are, under a digest of all that determines them: the names and contents of the sources, the
//! options, the interpreter, the build of the analysis itself, and the place of the facts. A later run has the store copy those files, which
//! sends no byte of them anywhere. A node believes only itself in this: the notes stay out of the tier of the cache that nodes share, or whoever
//! writes there could name any objects as the facts of anything. Whether such a bin may be there is asked by names and sizes first, so that a cold run reads nothing twice.

use std::collections::BTreeMap;
use std::time::Instant;

use bytefacts_cache::Cache;
use bytefacts_corpus::Entry;
use bytefacts_landing::{AttemptId, BinRecord, BinStats, FactsStore, LandingError, PinnedFile, RepoDigests, RunId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::job::{ANALYZER_VERSION, InterpreterId, Job};

type Key = [u8; 32];

/// What a bin was made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) repo: Option<String>,
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: Key,
}

/// What the cache knows of a landed bin: what its record said, and the objects that are its files.
#[derive(Serialize, Deserialize)]
struct Kept {
    stats: BinStats,
    digests: Vec<RepoDigests>,
    files: Vec<PinnedFile>,
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

    /// Lands a bin again whose sources are these, if it was landed and its files are still there.
    pub(crate) async fn land(
        &self,
        sources: &[Source],
        facts: &FactsStore,
        run: &RunId,
        bin: u32,
        attempt: AttemptId,
    ) -> Result<Option<BinRecord>, LandingError> {
        let begun = Instant::now();
        let kept = self.cache.get_own(self.content(sources)).await;
        let Some(kept) = kept.and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok()) else { return Ok(None) };
        let mut files = Vec::with_capacity(kept.files.len());
        for (seq, pinned) in (0..).zip(&kept.files) {
            match facts.land_again(pinned, run, bin, &attempt, seq).await? {
                Some(file) => files.push(file),
                None => return Ok(None), // deleted since; copies made by now are left to the sweep
            }
        }
        files.sort_by(|a, b| (&a.repo, &a.key).cmp(&(&b.repo, &b.key)));
        let stats = BinStats {
            cache_hits: kept.stats.files,
            cache_shared_hits: 0,
            cache_misses: 0,
            compile_cpu_us: 0,
            analyse_cpu_us: 0,
            wall_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            ..kept.stats
        };
        let record = BinRecord { run_id: run.clone(), bin_id: bin, attempt: attempt.clone(), stats, files, digests: kept.digests };
        let record = facts.record_copies(record).await?;
        // From now on the files of this run are the ones to copy, so that older runs can go. What another attempt recorded may be made of
        // other sources.
        if record.attempt == attempt {
            self.keep(sources.to_vec(), facts, &record).await;
        }
        Ok(Some(record))
    }

    /// Keeps what a bin has landed. What goes wrong costs the entry.
    pub(crate) async fn keep(&self, mut sources: Vec<Source>, facts: &FactsStore, record: &BinRecord) {
        sources.sort();
        if let Err(error) = self.try_keep(&sources, facts, record).await {
            tracing::debug!(%error, bin = record.bin_id, "a landed bin is not kept for later runs");
        }
    }

    async fn try_keep(&self, sources: &[Source], facts: &FactsStore, record: &BinRecord) -> Result<(), LandingError> {
        let mut files = Vec::with_capacity(record.files.len());
        for file in &record.files {
            let Some(pinned) = facts.pin(file).await? else { return Ok(()) };
            files.push(pinned);
        }
        let kept = Kept { stats: record.stats.clone(), digests: record.digests.clone(), files };
        if let Ok(kept) = serde_json::to_vec(&kept) {
            self.cache.put_own(self.content(sources), kept.into()).await;
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

    fn content(&self, sources: &[Source]) -> Key {
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
