//! Bins that are taken over: named again by another run, not copied.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::documents::{FactsStore, sha256_hex};
use crate::model::{BinRecord, Decision, Origin};
use crate::names::{AttemptId, RunId};

/// A data file, and the mark by which the store tells that very object from any other under its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PinnedFile {
    key: String,
    bytes: u64,
    e_tag: String,
}

/// A landed bin: its record, and the very objects that are its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedBin {
    /// Runs that name the files, newest first. As long as one of them is kept, so are the files.
    named_by: Vec<RunId>,
    origin: Origin,
    files: Vec<PinnedFile>,
}

impl PinnedBin {
    /// Runs that are remembered: the newest may never be committed.
    const RUNS: usize = 3;

    /// Remembers also which runs named the files before.
    #[must_use]
    pub fn named_before_by(mut self, before: &Self) -> Self {
        self.named_by.extend(before.named_by.iter().cloned());
        self.named_by.truncate(Self::RUNS);
        self
    }
}

impl FactsStore {
    /// Pins a recorded bin. `None` if one of its files is not there in its full size, or the store has no marks.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn pin(&self, record: &BinRecord) -> Result<Option<PinnedBin>> {
        let origin = match &record.origin {
            Some(origin) => origin.clone(),
            None => Origin { run_id: record.run_id.clone(), bin_id: record.bin_id, sha256: sha256_hex(&super::records::json(record)?) },
        };
        let mut files = Vec::with_capacity(record.files.len());
        for file in &record.files {
            let Some(e_tag) = self.mark(&file.key, file.bytes).await? else { return Ok(None) };
            files.push(PinnedFile { key: file.key.clone(), bytes: file.bytes, e_tag });
        }
        Ok(Some(PinnedBin { named_by: vec![record.run_id.clone()], origin, files }))
    }

    /// Records a bin of `expected` source files as what a pinned one is. If another attempt was first, its record is returned. `None` if the
    /// pinned bin cannot be had any more: an object is gone or another one, or no run that names it is committed and was not let go: what only
    /// other runs name may be deleted at any time.
    ///
    /// # Errors
    /// If the store fails, or the pinned bin's record is damaged.
    pub async fn take_over(
        &self,
        pinned: &PinnedBin,
        run: &RunId,
        bin_id: u32,
        expected: u64,
        attempt: &AttemptId,
        wall_us: impl FnOnce() -> u64,
    ) -> Result<Option<BinRecord>> {
        let PinnedBin { named_by, origin, files } = pinned;
        for file in files {
            if self.mark(&file.key, file.bytes).await?.as_deref() != Some(&file.e_tag) {
                return Ok(None);
            }
        }
        // Last of all: what is kept now is there for a grace period at least.
        if !self.is_any_kept(named_by).await? {
            return Ok(None);
        }
        let of_origin = self.origin(origin).await?;
        if !of_origin.files.iter().map(|file| &file.key).eq(files.iter().map(|file| &file.key)) {
            return Ok(None);
        }
        let record = BinRecord {
            run_id: run.clone(),
            bin_id,
            attempt: attempt.clone(),
            stats: of_origin.stats.taken_over(wall_us()),
            files: of_origin.files,
            digests: Vec::new(),
            origin: Some(origin.clone()),
        };
        super::records::check(&record, expected)?;
        self.record(record).await.map(Some)
    }

    async fn is_any_kept(&self, runs: &[RunId]) -> Result<bool> {
        for run in runs {
            if matches!(self.decision(run).await?, Some(Decision::Committed(_))) && self.let_go(run).await?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The mark of an object of this size.
    async fn mark(&self, key: &str, bytes: u64) -> Result<Option<String>> {
        Ok(self.meta(key).await?.filter(|meta| meta.size == bytes).and_then(|meta| meta.e_tag))
    }
}
