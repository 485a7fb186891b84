//! Landed bins that are taken over: when every file of a bin is what it was, so is all that the bin lands, byte for byte.
//!
//! The cache of compiled units spares the compiler; analysing and landing again what has not changed would still cost half of a cold run. So a
//! node also keeps the data files of the bins that it landed, under a digest of all that determines them: the names and contents of the
//! files, the options, the interpreter, and the build of the analysis itself. Whether such a bin may be there is asked by names and sizes
//! first, so that a cold run reads nothing twice.

use std::collections::BTreeMap;
use std::time::Instant;

use bytefacts_cache::Cache;
use bytefacts_corpus::Entry;
use bytefacts_landing::{AttemptId, BinRecord, BinStats, FactsStore, LandedFile, LandingError, RepoDigests, RunId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::job::{ANALYZER_VERSION, InterpreterId, Job};

type Key = [u8; 32];

/// Files are kept in pieces of this size, each an entry of the cache.
const PIECE_BYTES: u64 = 8 << 20;

/// What a bin was made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) repo: Option<String>,
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: Key,
}

/// A landed bin in the cache: what its record said, and where the bytes of its files are.
#[derive(Serialize, Deserialize)]
struct Kept {
    stats: BinStats,
    digests: Vec<RepoDigests>,
    files: Vec<KeptFile>,
}

#[derive(Serialize, Deserialize)]
struct KeptFile {
    file: LandedFile,
    pieces: Vec<Key>,
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
            "landed 1\n{} {ANALYZER_VERSION}\n{} {} {}\noptimize={} dont_inherit={} adaptive={} cfg={} terminators={:?} limit={}\n",
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
        self.cache.get_bulk(self.shape(files.iter().map(|f| (f.repo.as_deref(), f.path.as_str(), f.size)))).await.is_some()
    }

    /// Lands a bin again whose sources are these, if it is here; `None` if it is not, or not whole.
    pub(crate) async fn land(
        &self,
        sources: &[Source],
        facts: &FactsStore,
        run: &RunId,
        bin: u32,
        attempt: AttemptId,
    ) -> Result<Option<BinRecord>, LandingError> {
        let begun = Instant::now();
        let kept = self.cache.get_bulk(self.content(sources)).await;
        let Some(kept) = kept.and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok()) else { return Ok(None) };
        let mut files = Vec::with_capacity(kept.files.len());
        for (seq, KeptFile { file, pieces }) in (0..).zip(kept.files) {
            let mut copy = facts.begin_copy(&file, run, bin, &attempt, seq).await?;
            for piece in pieces {
                let Some(bytes) = self.cache.get_bulk(piece).await else {
                    copy.abort().await; // evicted since; files that are whole by now are left to the sweep
                    return Ok(None);
                };
                copy.write(bytes).await?;
            }
            files.push(copy.finish().await?);
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
        let record = BinRecord { run_id: run.clone(), bin_id: bin, attempt, stats, files, digests: kept.digests };
        facts.record_copies(record).await.map(Some)
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
            let mut pieces = Vec::new();
            for start in (0..file.bytes).step_by(usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX)) {
                let bytes = facts.read_piece(&file.key, start..file.bytes.min(start + PIECE_BYTES)).await?;
                let key: Key = Sha256::new().chain_update(b"piece\n").chain_update(&bytes).finalize().into();
                self.cache.put_bulk(key, bytes).await;
                pieces.push(key);
            }
            files.push(KeptFile { file: file.clone(), pieces });
        }
        let kept = Kept { stats: record.stats.clone(), digests: record.digests.clone(), files };
        if let Ok(kept) = serde_json::to_vec(&kept) {
            self.cache.put_bulk(self.content(sources), kept.into()).await;
            let shape = self.shape(sources.iter().map(|s| (s.repo.as_deref(), s.path.as_str(), s.bytes)));
            self.cache.put_bulk(shape, Bytes::from_static(b"landed")).await;
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
