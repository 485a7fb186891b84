//! A root of facts: documents of runs, created once, and what readers ask for.

use std::ops::Range;
use std::path::Path as FsPath;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::Error as E;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, UpdateVersion};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::Result;
use crate::disk::Disk;
use crate::error::LandingError;
use crate::id::{AttemptId, RunId};
use crate::keys;
use crate::record::{BinRecord, Current, Manifest, RunHeader, Verdict};

/// Requests at the same time where many small ones are made.
pub(crate) const CONCURRENCY: usize = 32;

/// How a create-only put ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// This call created the object.
    New,
    /// The object was there already, with these bytes.
    Existing(Bytes),
}

/// How far a run has come.
#[derive(Clone, Debug, PartialEq)]
pub enum RunState {
    /// Nothing is known of it.
    New,
    /// Its bins are written; it can be worked on or resumed.
    Open,
    /// It is committed.
    Committed(Box<Manifest>),
    /// It was given up and swept.
    Abandoned,
}

/// A root of facts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FactsStore {
    store: Arc<dyn ObjectStore>,
    root: Path,
    /// Set if the store is a disk of this machine and its folder is known.
    disk: Option<Arc<Disk>>,
}

impl FactsStore {
    /// Facts below `root` in `store`. If that is a disk of this machine, say so by [`FactsStore::on_disk`].
    pub fn new(store: Arc<dyn ObjectStore>, root: Path) -> Self {
        Self { store, root, disk: None }
    }

    /// Facts in a folder of this machine, which is created if need be, in a store of their own.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub fn local(folder: &FsPath) -> Result<Self> {
        create_folder(folder)?;
        let store = LocalFileSystem::new_with_prefix(folder).map_err(|e| store_error("open", &folder.display().to_string(), e))?;
        Ok(Self::new(Arc::new(store), Path::default()).on_disk(folder))
    }

    /// Says that the root of the facts is this folder of this machine. What a local disk needs beyond an object store is
    /// then done: documents and data survive a power cut, `current` is moved under a lock, and temporary files of killed
    /// writers are swept. Reading needs none of that and may do without.
    #[must_use]
    pub fn on_disk(mut self, folder: &FsPath) -> Self {
        self.disk = Some(Arc::new(Disk::new(folder.to_owned())));
        self
    }

    /// Makes sure before any work is done that a folder of this machine exists and can be written to. Object stores
    /// are not asked. Blocks for a moment.
    ///
    /// # Errors
    /// If the folder cannot be created or written to.
    pub fn check_writable(&self) -> Result<()> {
        let Some(disk) = &self.disk else {
            return Ok(());
        };
        create_folder(disk.root())?;
        disk.exclusively(|| Ok(())).map_err(|e| folder_error("write to the folder", disk.root(), e))
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The root of the facts in the store.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path in the store of a key that a record or a manifest names.
    ///
    /// # Errors
    /// If it is no key.
    pub fn path_of(&self, key: &str) -> Result<Path> {
        keys::under(&self.root, key).map_err(|source| LandingError::Store {
            operation: "address",
            key: key.to_owned(),
            source: source.into(),
        })
    }

    /// When the store received the manifest of a committed run, by the clock that dates all its objects. This machine's may show another time.
    ///
    /// # Errors
    /// If the store fails or the run is not committed.
    pub async fn committed_at(&self, run: &RunId) -> Result<SystemTime> {
        let key = keys::manifest(run);
        let meta = self.store.head(&self.path_of(&key)?).await.map_err(|e| store_error("read", &key, e))?;
        Ok(meta.last_modified.into())
    }

    /// The time now by the clock that dates all objects of the store. To learn it, an empty object is written, looked at and deleted; its name
    /// is made of `attempt`, which nobody else may have.
    ///
    /// # Errors
    /// If the store fails, or does not let itself be written.
    pub async fn now(&self, attempt: &AttemptId) -> Result<SystemTime> {
        let key = keys::clock(attempt);
        let path = self.path_of(&key)?;
        self.put(&key, Bytes::new(), PutMode::Overwrite).await.map_err(|e| store_error("create", &key, e))?;
        let meta = self.store.head(&path).await.map_err(|e| store_error("read", &key, e))?;
        self.store.delete(&path).await.map_err(|e| store_error("delete", &key, e))?;
        Ok(meta.last_modified.into())
    }

    /// How far a run has come.
    ///
    /// # Errors
    /// If the store fails or holds something else than a verdict.
    pub async fn run_state(&self, run: &RunId) -> Result<RunState> {
        Ok(match self.verdict(run).await? {
            Some(Verdict::Committed(manifest)) => RunState::Committed(manifest),
            Some(Verdict::Abandoned { .. }) => RunState::Abandoned,
            None if self.size(&keys::bins(run)).await?.is_some() => RunState::Open,
            None => RunState::New,
        })
    }

    /// Writes down what a run was asked to do unless it is known: whoever resumes the run must ask for the same.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn create_job(&self, run: &RunId, job: Bytes) -> Result<Created> {
        self.create(&keys::job(run), job).await
    }

    /// What a run was asked to do.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn job(&self, run: &RunId) -> Result<Option<Bytes>> {
        Ok(self.get(&keys::job(run)).await?.map(|(bytes, _)| bytes))
    }

    /// Writes down the interpreter of a run unless it is known: the first executor decides, and the others must have the same.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn create_interpreter(&self, run: &RunId, interpreter: Bytes) -> Result<Created> {
        self.create(&keys::interpreter(run), interpreter).await
    }

    /// The interpreter of a run, once an executor has begun to work on it.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn interpreter(&self, run: &RunId) -> Result<Option<Bytes>> {
        Ok(self.get(&keys::interpreter(run)).await?.map(|(bytes, _)| bytes))
    }

    /// Writes the bin manifest of a run unless it has one: whoever comes second works on the bins of the first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn create_bins(&self, run: &RunId, bins: Bytes) -> Result<Created> {
        self.create(&keys::bins(run), bins).await
    }

    /// The bin manifest of a run.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn bins(&self, run: &RunId) -> Result<Option<Bytes>> {
        self.bytes(&keys::bins(run)).await
    }

    /// A part of the bin manifest of a run.
    ///
    /// # Errors
    /// If the store fails or there is no such part.
    pub async fn bins_range(&self, run: &RunId, range: Range<u64>) -> Result<Bytes> {
        let key = keys::bins(run);
        let path = self.path_of(&key)?;
        let part = self.store.get_range(&path, range).await;
        part.map_err(|source| store_error("read", &key, source))
    }

    /// The record of a bin, if it is finished.
    ///
    /// # Errors
    /// If the store fails or holds something else than a record.
    pub async fn bin_record(&self, run: &RunId, bin_id: u32) -> Result<Option<BinRecord>> {
        self.document("bin record", &keys::done(run, bin_id)).await
    }

    /// Records a bin unless it is recorded; the record that stands is returned.
    pub(crate) async fn record(&self, record: BinRecord) -> Result<BinRecord> {
        let key = keys::done(&record.run_id, record.bin_id);
        let bytes = to_json("bin record", &key, &record)?;
        match self.create(&key, bytes).await? {
            Created::New => Ok(record),
            Created::Existing(found) => from_json("bin record", &key, &found),
        }
    }

    /// Finished bins of a run, ascending.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn finished_bins(&self, run: &RunId) -> Result<Vec<u32>> {
        let folder = keys::done_folder(run);
        let prefix = self.path_of(&folder)?;
        let records = self.store.list(Some(&prefix));
        let mut bins: Vec<u32> = records
            .try_filter_map(async |meta| Ok(meta.location.filename().and_then(keys::bin_of_record)))
            .try_collect()
            .await
            .map_err(|source| store_error("list", &folder, source))?;
        bins.sort_unstable();
        Ok(bins)
    }

    /// The manifest of a committed run.
    ///
    /// # Errors
    /// If the store fails or holds something else than a manifest.
    pub async fn manifest(&self, run: &RunId) -> Result<Option<Manifest>> {
        Ok(match self.verdict(run).await? {
            Some(Verdict::Committed(manifest)) => Some(*manifest),
            Some(Verdict::Abandoned { .. }) | None => None,
        })
    }

    /// The current run.
    ///
    /// # Errors
    /// If the store fails or holds something else than a pointer.
    pub async fn current(&self) -> Result<Option<Current>> {
        self.document("current run", keys::CURRENT).await
    }

    /// Committed runs, newest first.
    ///
    /// # Errors
    /// If the store fails or holds something else than verdicts.
    pub async fn runs(&self) -> Result<Vec<RunHeader>> {
        let mut headers: Vec<RunHeader> = futures::stream::iter(self.run_ids().await?)
            .map(async |run| self.manifest(&run).await)
            .buffer_unordered(CONCURRENCY)
            .try_filter_map(async |manifest| Ok(manifest.map(|m| m.run)))
            .try_collect()
            .await?;
        headers.sort_by(|a, b| (b.sequence, &b.run_id).cmp(&(a.sequence, &a.run_id)));
        Ok(headers)
    }

    /// All runs that have left something behind, in whatever state.
    pub(crate) async fn run_ids(&self) -> Result<Vec<RunId>> {
        let prefix = self.path_of(keys::RUNS_FOLDER)?;
        let listing = self.store.list_with_delimiter(Some(&prefix)).await;
        let folders = listing.map_err(|e| store_error("list", keys::RUNS_FOLDER, e))?;
        let names = folders.common_prefixes.iter().filter_map(Path::filename);
        // Folders of other names are none of ours.
        let mut ids: Vec<_> = names.filter_map(|name| RunId::new(name).ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    pub(crate) async fn verdict(&self, run: &RunId) -> Result<Option<Verdict>> {
        self.document("manifest", &keys::manifest(run)).await
    }

    /// Decides the fate of a run unless it is decided; returns what is decided.
    pub(crate) async fn decide(&self, run: &RunId, verdict: Verdict) -> Result<(Verdict, bool)> {
        let key = keys::manifest(run);
        let bytes = to_json("manifest", &key, &verdict)?;
        match self.create(&key, bytes.clone()).await? {
            Created::New => Ok((verdict, true)),
            // Also after a first try that succeeded, but whose answer was lost.
            Created::Existing(found) if found == bytes => Ok((verdict, true)),
            Created::Existing(found) => Ok((from_json("manifest", &key, &found)?, false)),
        }
    }

    /// Moves `current` to `next` unless it is there or further. Returns where it is now.
    pub(crate) async fn advance(&self, next: &Current) -> Result<Current> {
        if let Some(disk) = &self.disk {
            return advance_on_disk(Arc::clone(disk), next.clone()).await;
        }
        const ATTEMPTS: u32 = 20;
        let bytes = to_json("current run", keys::CURRENT, next)?;
        for _ in 0..ATTEMPTS {
            let found = self.get(keys::CURRENT).await?;
            let mode = match &found {
                None => PutMode::Create,
                Some((found, version)) => {
                    let found: Current = from_json("current run", keys::CURRENT, found)?;
                    if found.order() >= next.order() {
                        return Ok(found);
                    }
                    PutMode::Update(version.clone())
                }
            };
            match self.put(keys::CURRENT, bytes.clone(), mode).await {
                Err(E::AlreadyExists { .. } | E::Precondition { .. }) => {}
                // No conditional replacement here: write, and look again in the next round.
                Err(E::NotImplemented { .. } | E::NotSupported { .. }) => {
                    let put = self.put(keys::CURRENT, bytes.clone(), PutMode::Overwrite);
                    put.await.map_err(|e| store_error("replace", keys::CURRENT, e))?;
                }
                Ok(()) => return Ok(next.clone()),
                Err(error) => return Err(store_error("replace", keys::CURRENT, error)),
            }
        }
        Err(LandingError::Contended { run_id: next.run_id.clone(), attempts: ATTEMPTS })
    }

    /// Creates a document unless there is one.
    pub(crate) async fn create(&self, key: &str, bytes: Bytes) -> Result<Created> {
        loop {
            let created = match &self.disk {
                Some(disk) => {
                    let (disk, key_copy, bytes) = (Arc::clone(disk), key.to_owned(), bytes.clone());
                    blocking("create", key, move || disk.create(&key_copy, &bytes)).await?
                }
                None => match self.put(key, bytes.clone(), PutMode::Create).await {
                    Ok(()) => true,
                    Err(E::AlreadyExists { .. } | E::Precondition { .. }) => false,
                    Err(error) => return Err(store_error("create", key, error)),
                },
            };
            if created {
                return Ok(Created::New);
            }
            // A sweep may have deleted it in between: then it can be created after all.
            if let Some((found, _)) = self.get(key).await? {
                return Ok(Created::Existing(found));
            }
        }
    }

    async fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<(), E> {
        let path = keys::under(&self.root, key)?;
        let put = self.store.put_opts(&path, bytes.into(), mode.into());
        put.await.map(drop)
    }

    /// Makes sure that a data file survives a power cut, where that is not a store's own business.
    pub(crate) async fn sync(&self, key: &str) -> Result<()> {
        let Some(disk) = &self.disk else {
            return Ok(());
        };
        let (disk, key_copy) = (Arc::clone(disk), key.to_owned());
        blocking("flush", key, move || disk.sync(&key_copy)).await
    }

    pub(crate) fn disk(&self) -> Option<&Arc<Disk>> {
        self.disk.as_ref()
    }

    /// The bytes of a document, if it is there.
    pub(crate) async fn bytes(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.get(key).await?.map(|(bytes, _)| bytes))
    }

    async fn document<T: DeserializeOwned>(&self, what: &'static str, key: &str) -> Result<Option<T>> {
        match self.get(key).await? {
            Some((bytes, _)) => from_json(what, key, &bytes).map(Some),
            None => Ok(None),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<(Bytes, UpdateVersion)>> {
        let failed = |source| store_error("read", key, source);
        let object = match self.store.get(&self.path_of(key)?).await {
            Err(E::NotFound { .. }) => return Ok(None),
            object => object.map_err(failed)?,
        };
        let version = UpdateVersion { e_tag: object.meta.e_tag.clone(), version: object.meta.version.clone() };
        let bytes = object.bytes().await.map_err(failed)?;
        Ok(Some((bytes, version)))
    }

    /// Size of an object, if there is one.
    pub(crate) async fn size(&self, key: &str) -> Result<Option<u64>> {
        match self.store.head(&self.path_of(key)?).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(E::NotFound { .. }) => Ok(None),
            Err(source) => Err(store_error("look up", key, source)),
        }
    }

    /// Fails unless a data file is there in its full size.
    pub(crate) async fn check_size(&self, key: &str, expected: u64) -> Result<()> {
        match self.size(key).await? {
            Some(found) if found == expected => Ok(()),
            found => Err(LandingError::DataFile { key: key.to_owned(), expected, found }),
        }
    }
}

async fn advance_on_disk(disk: Arc<Disk>, next: Current) -> Result<Current> {
    let bytes = to_json("current run", keys::CURRENT, &next)?;
    blocking("replace", keys::CURRENT, move || {
        disk.exclusively(|| {
            let found = match disk.read(keys::CURRENT)? {
                Some(found) => Some(serde_json::from_slice::<Current>(&found)?),
                None => None,
            };
            match found {
                Some(found) if found.order() >= next.order() => Ok(found),
                _ => disk.replace(keys::CURRENT, &bytes).map(|()| next),
            }
        })
    })
    .await
}

fn create_folder(folder: &FsPath) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| folder_error("create the folder", folder, e))
}

fn folder_error(operation: &'static str, folder: &FsPath, source: std::io::Error) -> LandingError {
    LandingError::Io { operation, path: folder.display().to_string(), source }
}

/// Runs a blocking operation of the disk off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    operation: &'static str,
    key: &str,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|source| LandingError::Interrupted { key: key.to_owned(), source })?
        .map_err(|source| LandingError::Io { operation, path: key.to_owned(), source })
}

pub(crate) fn store_error(operation: &'static str, key: &str, source: E) -> LandingError {
    LandingError::Store { operation, key: key.to_owned(), source }
}

pub(crate) fn to_json<T: Serialize>(what: &'static str, key: &str, value: &T) -> Result<Bytes> {
    let bytes = serde_json::to_vec(value).map_err(|source| LandingError::Corrupt { what, key: key.to_owned(), source })?;
    Ok(bytes.into())
}

pub(crate) fn from_json<T: DeserializeOwned>(what: &'static str, key: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|source| LandingError::Corrupt { what, key: key.to_owned(), source })
}

/// SHA-256 of `bytes`, lower hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
