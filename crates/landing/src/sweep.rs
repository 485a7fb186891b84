//! The sweep: deletes what no manifest names, and never what someone may still be working on.
//!
//! A committed run's files are settled, so that whatever else bears its name is garbage: files of attempts that lost,
//! were cancelled, or came too late. A run without a verdict is live until nothing of it has been written for a grace
//! period. It is then given up by creating the document that would have been its manifest, which decides the race
//! against anybody who might commit it at the same moment; only then are its files deleted.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, UNIX_EPOCH};

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error as E, ObjectMeta};

use crate::Result;
use crate::clock::Clock;
use crate::id::RunId;
use crate::keys;
use crate::record::Verdict;
use crate::store::{FactsStore, blocking, store_error};

/// How long a run may rest before it counts as dead.
pub const DEFAULT_GRACE: Duration = Duration::from_hours(24);

/// Whether a sweep deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It does.
    Delete,
    /// It only tells what it would delete.
    DryRun,
}

/// What a sweep removed, or would have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Data files deleted.
    pub data_files: u64,
    /// Bytes of them.
    pub data_bytes: u64,
    /// Documents of runs that were given up.
    pub documents: u64,
    /// Temporary files of killed processes: what they had not written to its end (on local disks; in object stores a
    /// lifecycle rule removes incomplete uploads), and what they wrote to learn the store's time.
    pub staged_files: u64,
    /// Runs given up by this sweep.
    pub abandoned_runs: Vec<RunId>,
}

/// What is known of a run when its data files are judged.
enum Fate {
    /// Keep these keys, delete the others.
    Committed(HashSet<Path>),
    /// Delete all.
    Abandoned,
    /// Nothing is decided.
    Open(Open),
}

/// What an undecided run has left behind so far.
#[derive(Default)]
struct Open {
    data: Vec<ObjectMeta>,
    /// Last sign of life, in milliseconds since 1970, UTC.
    last_write_ms: u64,
}

impl Open {
    fn seen(&mut self, meta: &ObjectMeta) {
        let at = u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0);
        self.last_write_ms = self.last_write_ms.max(at);
    }
}

impl FactsStore {
    /// Deletes what no manifest names: files of lost attempts, and all of runs that have rested longer than `grace`.
    ///
    /// Can be repeated and may run beside anything else.
    ///
    /// # Errors
    /// If the store fails; what was not deleted then is found by the next sweep.
    pub async fn sweep(&self, clock: &dyn Clock, grace: Duration) -> Result<Swept> {
        self.sweep_in(Mode::Delete, clock, grace).await
    }

    /// What [`FactsStore::sweep`] would delete now; nothing is changed.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn survey(&self, clock: &dyn Clock, grace: Duration) -> Result<Swept> {
        self.sweep_in(Mode::DryRun, clock, grace).await
    }

    async fn sweep_in(&self, mode: Mode, clock: &dyn Clock, grace: Duration) -> Result<Swept> {
        let dry = mode == Mode::DryRun;
        let mut swept = Swept::default();
        let mut fates = BTreeMap::new();
        for run in self.run_ids().await? {
            let fate = self.fate(&run).await?;
            fates.insert(run, fate);
        }

        let mut garbage = Vec::new();
        let data = self.path_of(keys::DATA_FOLDER)?;
        let mut listing = self.store().list(Some(&data));
        while let Some(meta) = listing.try_next().await.map_err(|e| store_error("list", keys::DATA_FOLDER, e))? {
            let name = meta.location.filename();
            // Files of other names are none of ours.
            let Some(run) = name.and_then(keys::run_of_data_file) else {
                continue;
            };
            let fate = fates.entry(run).or_insert_with(|| Fate::Open(Open::default()));
            match fate {
                Fate::Committed(named) if named.contains(&meta.location) => {}
                Fate::Committed(_) | Fate::Abandoned => garbage.push(meta),
                Fate::Open(open) => {
                    open.seen(&meta);
                    open.data.push(meta);
                }
            }
        }

        let now_ms = clock.now_millis();
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        for (run, fate) in fates {
            match fate {
                Fate::Committed(_) => continue,
                Fate::Abandoned => {}
                Fate::Open(open) => {
                    let rests_since = now_ms.saturating_sub(open.last_write_ms);
                    if rests_since <= grace_ms || !(dry || self.give_up(&run, now_ms).await?) {
                        continue;
                    }
                    garbage.extend(open.data);
                    swept.abandoned_runs.push(run.clone());
                }
            }
            swept.documents += self.delete_documents(&run, mode).await?;
        }

        swept.data_files = garbage.len() as u64;
        swept.data_bytes = garbage.iter().map(|m| m.size).sum();
        if !dry {
            let paths = garbage.into_iter().map(|m| m.location).collect();
            self.delete_all(keys::DATA_FOLDER, paths).await?;
        }
        if let Some(disk) = self.disk() {
            let disk = disk.clone();
            let now = UNIX_EPOCH + Duration::from_millis(now_ms);
            let removed = blocking("sweep", "", move || disk.remove_staged(now, grace, mode));
            swept.staged_files = removed.await?;
        }
        swept.staged_files += self.delete_clocks(mode, now_ms.saturating_sub(grace_ms)).await?;
        Ok(swept)
    }

    async fn fate(&self, run: &RunId) -> Result<Fate> {
        match self.verdict(run).await? {
            Some(Verdict::Committed(manifest)) => {
                let named = manifest.files.iter().map(|f| self.path_of(&f.key));
                Ok(Fate::Committed(named.collect::<Result<_>>()?))
            }
            Some(Verdict::Abandoned { .. }) => Ok(Fate::Abandoned),
            None => {
                let mut open = Open::default();
                for meta in self.documents(run).await? {
                    open.seen(&meta);
                }
                Ok(Fate::Open(open))
            }
        }
    }

    /// Decides that a run is dead; says whether it was so decided.
    async fn give_up(&self, run: &RunId, at_ms: u64) -> Result<bool> {
        let verdict = Verdict::Abandoned { run_id: run.clone(), at_ms };
        let (decided, _) = self.decide(run, verdict).await?;
        Ok(matches!(decided, Verdict::Abandoned { .. }))
    }

    async fn documents(&self, run: &RunId) -> Result<Vec<ObjectMeta>> {
        let folder = keys::run_folder(run);
        let listing = self.store().list(Some(&self.path_of(&folder)?));
        let documents = listing.try_collect().await;
        documents.map_err(|e| store_error("list", &folder, e))
    }

    /// Deletes the documents of a dead run, but the one that says so.
    async fn delete_documents(&self, run: &RunId, mode: Mode) -> Result<u64> {
        let verdict = self.path_of(&keys::manifest(run))?;
        let documents = self.documents(run).await?.into_iter();
        let paths: Vec<_> = documents.map(|m| m.location).filter(|path| *path != verdict).collect();
        let count = paths.len() as u64;
        if mode == Mode::Delete {
            self.delete_all(&keys::run_folder(run), paths).await?;
        }
        Ok(count)
    }

    /// Deletes what [`FactsStore::now`] left before a time, in milliseconds since 1970, UTC: its process was killed.
    async fn delete_clocks(&self, mode: Mode, before_ms: u64) -> Result<u64> {
        let listing = self.store().list_with_delimiter(Some(self.root())).await;
        let objects = listing.map_err(|e| store_error("list", "", e))?.objects.into_iter();
        let is_old = |meta: &ObjectMeta| u64::try_from(meta.last_modified.timestamp_millis()).is_ok_and(|at| at < before_ms);
        let is_clock = |meta: &ObjectMeta| meta.location.filename().is_some_and(keys::is_clock);
        let paths: Vec<_> = objects.filter(|meta| is_clock(meta) && is_old(meta)).map(|meta| meta.location).collect();
        let count = paths.len() as u64;
        if mode == Mode::Delete {
            self.delete_all("", paths).await?;
        }
        Ok(count)
    }

    pub(crate) async fn delete_all(&self, folder: &str, paths: Vec<Path>) -> Result<()> {
        let paths = futures::stream::iter(paths).map(Ok).boxed();
        let mut deletions = self.store().delete_stream(paths);
        while let Some(deleted) = deletions.next().await {
            match deleted {
                // Another sweep was faster.
                Ok(_) | Err(E::NotFound { .. }) => {}
                Err(source) => return Err(store_error("delete", folder, source)),
            }
        }
        Ok(())
    }
}
