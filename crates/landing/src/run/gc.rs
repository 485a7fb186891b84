//! Garbage collection: lets runs go that nobody wants to keep, and deletes what no kept run names, never what someone may still be working on.
//!
//! Runs share data files: one names what an earlier one has landed. So the question is never whose a file is, but whether a run names it that
//! is kept or may still become one.
//!
//! - A run without a decision is live until nothing of it has been written for a grace period. It is then given up by creating the document that
//!   would have been its header, which decides the race against anybody who might commit it at the same moment.
//! - A committed run that is let go is marked first. From then on nobody takes anything over from it, and what only it names is deleted once the
//!   mark is older than the grace period: by then whoever took something over just before, or reads it, has a record or is done.
//! - An audit goes with its run, or if that never came into being, once nothing of it was written for a grace period. Of a concluded one only what
//!   its header names is kept.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, UNIX_EPOCH};

use futures::{StreamExt as _, TryStreamExt as _, stream, try_join};
use object_store::ObjectMeta;
use object_store::path::Path;

use super::retention::Keep;
use crate::documents::{CONCURRENCY, Clock, FactsStore, Mode, store_error, to_json};
use crate::model::{Decision, LandedFile, LetGo, RunDocument, RunHeader, Shard};
use crate::names::{DATA_FOLDER, RunId, keys};
use crate::{LandingError, Result};

/// How long a run may rest before it counts as dead, and what was let go is kept.
pub const DEFAULT_GRACE: Duration = Duration::from_hours(24);

/// What a collection removed, or would have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Data files deleted.
    pub data_files: u64,
    /// Bytes of them.
    pub data_bytes: u64,
    /// Documents deleted: of runs that were given up or let go, and of attempts.
    pub documents: u64,
    /// Temporary files of killed processes: what they had not written to its end (on local disks; in object stores a
    /// lifecycle rule removes incomplete uploads), and what they wrote to learn the store's time.
    pub staged_files: u64,
    /// Runs given up by this collection.
    pub abandoned_runs: Vec<RunId>,
    /// Committed runs let go by this collection. What only they name is deleted by one that comes after the grace period.
    pub let_go: Vec<RunId>,
    /// Runs of an earlier layout, of which nothing is touched.
    pub older_runs: Vec<RunId>,
    /// Audits deleted, whose runs are gone.
    pub audits: Vec<RunId>,
}

/// What is known of a run when objects are judged.
enum Fate {
    /// It is kept: committed, and not let go, or only just.
    Kept(Box<RunDocument>),
    /// Nothing of it is kept for its own sake.
    Dead,
    /// Nothing is decided.
    Open(Open),
    /// An earlier version's.
    Older,
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
        self.last_write_ms = self.last_write_ms.max(modified_ms(meta));
    }
}

pub(super) fn modified_ms(meta: &ObjectMeta) -> u64 {
    u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0)
}

impl FactsStore {
    /// Lets runs go as `keep` says, if it does, and deletes what no kept run names: files of lost attempts, and all of runs that have rested, or
    /// are let go for, longer than `grace`.
    ///
    /// Can be repeated and may run beside anything else.
    ///
    /// # Errors
    /// If the store fails, or the rules are none; what was not deleted then is found by the next collection.
    pub async fn collect(&self, keep: Option<&Keep>, clock: &dyn Clock, grace: Duration) -> Result<Swept> {
        self.collect_in(Mode::Delete, keep, clock, grace).await
    }

    /// What [`FactsStore::collect`] would do now; nothing is changed.
    ///
    /// # Errors
    /// As [`FactsStore::collect`].
    pub async fn survey(&self, keep: Option<&Keep>, clock: &dyn Clock, grace: Duration) -> Result<Swept> {
        self.collect_in(Mode::DryRun, keep, clock, grace).await
    }

    async fn collect_in(&self, mode: Mode, keep: Option<&Keep>, clock: &dyn Clock, grace: Duration) -> Result<Swept> {
        let now_ms = clock.now_millis();
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let mut swept = Swept::default();
        let current = &self.current().await?;
        let fates = self.run_ids().await?.into_iter().map(|run| async move {
            let is_current = current.as_ref().is_some_and(|current| current.run_id == run);
            let fate = self.fate(&run, is_current, now_ms, grace_ms).await?;
            Ok((run, fate))
        });
        let mut fates: BTreeMap<RunId, Fate> = in_parallel(fates).await?.into_iter().collect();
        swept.older_runs.extend(fates.iter().filter(|(_, fate)| matches!(fate, Fate::Older)).map(|(run, _)| run.clone()));
        if let Some(keep) = keep {
            swept.let_go = self.let_go_of(keep, &fates, mode, now_ms).await?;
        }

        // Undecided runs are judged by all that they have written, data included.
        let mut unnamed = Vec::new();
        for meta in self.list(DATA_FOLDER).await? {
            // Files of other names are none of ours.
            let Some((run, _)) = self.key_of(&meta.location).and_then(|key| keys::origin_of_data_file(&key)) else { continue };
            match fates.entry(run).or_insert_with(|| Fate::Open(Open::default())) {
                Fate::Kept(_) | Fate::Dead => unnamed.push(meta),
                Fate::Open(open) => {
                    open.seen(&meta);
                    open.data.push(meta);
                }
                Fate::Older => {}
            }
        }
        for (run, fate) in &mut fates {
            let Fate::Open(open) = fate else { continue };
            let rests = now_ms.saturating_sub(open.last_write_ms);
            // Somebody may have gone on with it while all this was listed.
            if rests > grace_ms
                && now_ms.saturating_sub(self.last_write_ms(run).await?) > grace_ms
                && (mode == Mode::DryRun || self.give_up(run, now_ms).await?)
            {
                unnamed.append(&mut open.data);
                swept.abandoned_runs.push(run.clone());
                *fate = Fate::Dead;
            }
        }

        let named = self.named(&fates).await?;
        let garbage: Vec<ObjectMeta> = unnamed.into_iter().filter(|meta| !named.contains(&meta.location)).collect();
        swept.data_files = garbage.len() as u64;
        swept.data_bytes = garbage.iter().map(|m| m.size).sum();
        if mode == Mode::Delete {
            self.delete_all(DATA_FOLDER, garbage.into_iter().map(|m| m.location).collect()).await?;
        }
        for (run, fate) in &fates {
            let documents = match fate {
                Fate::Kept(_) => self.leavings(run, &named).await?,
                Fate::Dead => self.remains(run, &named).await?,
                Fate::Open(_) | Fate::Older => continue,
            };
            swept.documents += documents.len() as u64;
            if mode == Mode::Delete {
                // The header first: what has none is not taken for a run whose lists are gone.
                let header = self.path_of(&keys::header(run))?;
                let (first, rest): (Vec<Path>, Vec<Path>) = documents.into_iter().partition(|path| *path == header);
                self.delete_all(&keys::run_folder(run), first).await?;
                self.delete_all(&keys::run_folder(run), rest).await?;
            }
        }
        self.collect_audits(mode, &fates, now_ms.saturating_sub(grace_ms), &mut swept).await?;
        swept.staged_files = self.documents().remove_staged(UNIX_EPOCH + Duration::from_millis(now_ms), grace, mode).await?;
        swept.staged_files += self.delete_probes(mode, now_ms.saturating_sub(grace_ms)).await?;
        Ok(swept)
    }

    /// Deletes audits of which nothing was written since `before_ms` and whose runs are gone, and of concluded ones what they no longer need.
    async fn collect_audits(&self, mode: Mode, fates: &BTreeMap<RunId, Fate>, before_ms: u64, swept: &mut Swept) -> Result<()> {
        for audit in self.audit_ids().await? {
            // Without this document it is none of ours. It is created first and deleted last.
            let Some(asked) = self.audit_asked(&audit).await? else { continue };
            let objects = self.list(&keys::audit_folder(&audit)).await?;
            if objects.iter().any(|meta| modified_ms(meta) >= before_ms) {
                continue;
            }
            let at = |name: &str| self.path_of(&keys::audit(&audit, name));
            let (question, header) = (at(keys::AUDIT_ASKED)?, at(keys::AUDIT_HEADER)?);
            let all = objects.into_iter().map(|meta| meta.location);
            // The header first: what has none is not taken for an audit whose tables are gone.
            let (first, rest): (Vec<Path>, Vec<Path>) = match fates.get(&asked.run) {
                Some(Fate::Dead) | None => {
                    swept.audits.push(audit.clone());
                    all.filter(|path| *path != question).partition(|path| *path == header)
                }
                Some(Fate::Kept(_) | Fate::Open(_) | Fate::Older) => {
                    let Some(concluded) = self.audit_header(&audit).await? else { continue };
                    let mut kept = HashSet::from([question.clone(), header, at(keys::AUDIT_PLAN)?]);
                    for document in concluded.documents.values() {
                        kept.insert(self.path_of(&document.key)?);
                    }
                    (Vec::new(), all.filter(|path| !kept.contains(path)).collect())
                }
            };
            let last = if swept.audits.last() == Some(&audit) { vec![question] } else { Vec::new() };
            swept.documents += (first.len() + rest.len() + last.len()) as u64;
            if mode == Mode::Delete {
                for paths in [first, rest, last] {
                    self.delete_all(&keys::audit_folder(&audit), paths).await?;
                }
            }
        }
        Ok(())
    }

    async fn fate(&self, run: &RunId, is_current: bool, now_ms: u64, grace_ms: u64) -> Result<Fate> {
        let mark = self.meta(&keys::let_go(run)).await?;
        if let Some(mark) = &mark
            && !is_current
            && now_ms.saturating_sub(modified_ms(mark)) > grace_ms
        {
            return Ok(Fate::Dead);
        }
        Ok(match self.decision(run).await {
            Ok(None) if mark.is_some() => Fate::Dead,
            Ok(Some(Decision::Committed(document))) => Fate::Kept(document),
            Ok(Some(Decision::Abandoned { .. })) => Fate::Dead,
            Ok(None) => {
                let mut open = Open::default();
                for meta in self.list(&keys::run_folder(run)).await? {
                    open.seen(&meta);
                }
                Fate::Open(open)
            }
            Err(LandingError::OlderLayout { .. }) => Fate::Older,
            Err(error) => return Err(error),
        })
    }

    /// Marks the runs that the rules do not keep, and are not marked yet.
    async fn let_go_of(&self, keep: &Keep, fates: &BTreeMap<RunId, Fate>, mode: Mode, now_ms: u64) -> Result<Vec<RunId>> {
        let kept = fates.iter().filter_map(|(run, fate)| if let Fate::Kept(document) = fate { Some((run, document)) } else { None });
        let headers = kept.map(|(run, document)| async move {
            let header = keys::header(run);
            let (mark, header) = try_join!(self.let_go(run), self.meta(&header))?;
            // By the store's clock: that of the machine that committed it may have been anything.
            let at_ms = header.filter(|_| mark.is_none()).map(|header| modified_ms(&header));
            Ok(at_ms.map(|committed_at_ms| RunHeader { committed_at_ms, ..document.run.clone() }))
        });
        let runs: Vec<RunHeader> = in_parallel(headers).await?.into_iter().flatten().collect();
        let current = self.current().await?;
        let gone = keep.let_go(&runs, current.as_ref(), now_ms)?;
        if mode == Mode::Delete {
            for run in &gone {
                let key = keys::let_go(run);
                self.create(&key, to_json("mark", &key, &LetGo { run_id: run.clone(), at_ms: now_ms })?).await?;
            }
        }
        Ok(gone)
    }

    /// All that kept and undecided runs name: data files, shards, and the records in which the digests of data files stand.
    async fn named(&self, fates: &BTreeMap<RunId, Fate>) -> Result<HashSet<Path>> {
        // Runs share shards; each is fetched once.
        let mut shards: BTreeMap<&str, &Shard> = BTreeMap::new();
        let mut keys: HashSet<String> = HashSet::new();
        for fate in fates.values() {
            let Fate::Kept(document) = fate else { continue };
            shards.extend(document.files.iter().map(|shard| (shard.key.as_str(), shard)));
            keys.extend(document.files.iter().chain(&document.repos).map(|shard| shard.key.clone()));
        }
        keys.extend(in_parallel(shards.into_values().map(|shard| self.data_keys(shard))).await?.into_iter().flatten());
        let living = fates.iter().filter(|(_, fate)| matches!(fate, Fate::Kept(_) | Fate::Open(_)));
        let living = living.map(|(run, fate)| async move {
            let mut keys = if matches!(fate, Fate::Open(_)) { self.recorded_keys(run).await? } else { Vec::new() };
            keys.extend(self.bins(run).await?.into_iter().flat_map(|index| index.shards).map(|shard| shard.key));
            Ok(keys)
        });
        keys.extend(in_parallel(living).await?.into_iter().flatten());
        let records: Vec<String> =
            keys.iter().filter_map(|key| keys::origin_of_data_file(key)).map(|(run, bin)| keys::done(&run, bin)).collect();
        keys.iter().chain(&records).map(|key| self.path_of(key)).collect()
    }

    /// The data files that the bins of an undecided run have on record.
    async fn recorded_keys(&self, run: &RunId) -> Result<Vec<String>> {
        let records = self.finished_bins(run).await?.into_iter().map(|bin| self.bin_record(run, bin));
        let files = in_parallel(records).await?.into_iter().flatten().flat_map(|record| record.files);
        Ok(files.map(|file| file.key).collect())
    }

    /// When anything of a run's documents was last written, in milliseconds since 1970, UTC.
    async fn last_write_ms(&self, run: &RunId) -> Result<u64> {
        Ok(self.list(&keys::run_folder(run)).await?.iter().map(modified_ms).max().unwrap_or(0))
    }

    async fn data_keys(&self, shard: &Shard) -> Result<Vec<String>> {
        Ok(self.read_shard::<LandedFile>(shard).await?.into_iter().map(|file| file.key).collect())
    }

    /// Decides that a run is dead; says whether it was so decided.
    async fn give_up(&self, run: &RunId, at_ms: u64) -> Result<bool> {
        let decision = Decision::Abandoned { run_id: run.clone(), at_ms };
        let (decided, _) = self.decide(run, decision).await?;
        Ok(matches!(decided, Decision::Abandoned { .. }))
    }

    /// The documents of a dead run that nobody names, but for what says that it is dead.
    async fn remains(&self, run: &RunId, named: &HashSet<Path>) -> Result<Vec<Path>> {
        let mark = self.path_of(&keys::let_go(run))?;
        let decision = self.path_of(&keys::header(run))?;
        let is_marked = self.meta(&keys::let_go(run)).await?.is_some();
        let stays = |path: &Path| named.contains(path) || *path == mark || (*path == decision && !is_marked);
        Ok(self.list(&keys::run_folder(run)).await?.into_iter().map(|m| m.location).filter(|path| !stays(path)).collect())
    }

    /// Deletes what was written to learn what the store does before a time, in milliseconds since 1970, UTC: its process was killed.
    async fn delete_probes(&self, mode: Mode, before_ms: u64) -> Result<u64> {
        let listing = self.store().list_with_delimiter(Some(self.root())).await;
        let objects = listing.map_err(|e| store_error("list", "", e))?.objects.into_iter();
        let is_probe = |meta: &ObjectMeta| meta.location.filename().is_some_and(keys::is_probe);
        let paths: Vec<_> = objects.filter(|meta| is_probe(meta) && modified_ms(meta) < before_ms).map(|meta| meta.location).collect();
        let count = paths.len() as u64;
        if mode == Mode::Delete {
            self.delete_all("", paths).await?;
        }
        Ok(count)
    }

    /// A path in the store as a key below the root.
    fn key_of(&self, path: &Path) -> Option<String> {
        let root = self.root().as_ref();
        let path = path.as_ref();
        if root.is_empty() { Some(path.to_owned()) } else { path.strip_prefix(root)?.strip_prefix('/').map(str::to_owned) }
    }
}

/// The answers of many small requests, in their order.
pub(super) async fn in_parallel<T>(requests: impl Iterator<Item = impl Future<Output = Result<T>>>) -> Result<Vec<T>> {
    let requests: Vec<_> = requests.collect();
    stream::iter(requests).buffered(CONCURRENCY).try_collect().await
}
