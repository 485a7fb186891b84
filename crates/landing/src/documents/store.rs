//! A root of facts: reading, creating, listing and deleting what is below it.

use std::path::Path as FsPath;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{Error as E, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode};
use serde::de::DeserializeOwned;

use super::Documents;
use super::content::{from_json, store_error};
use super::disk::{Disk, create_folder};
use super::local::LocalDisk;
use super::objects::Objects;
use crate::names::{AttemptId, keys};
use crate::{LandingError, Result};

/// Requests at the same time where many small ones are made.
pub(crate) const CONCURRENCY: usize = 32;

/// How long is waited after each time that a document was there and then was not. A sweep does so once; a store of which somebody has deleted a part
/// behind its back does it for ever.
const GHOST_PAUSES: [Duration; 6] =
    [Duration::ZERO, Duration::from_millis(50), Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3), Duration::ZERO];

/// How a create-only put ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// This call created the object.
    New,
    /// The object was there already, with these bytes.
    Existing(Bytes),
}

/// A root of facts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FactsStore {
    objects: Objects,
    documents: Arc<dyn Documents>,
}

impl FactsStore {
    /// Facts below `root` in `store`. If that is a disk of this machine, say so by [`FactsStore::on_disk`].
    pub fn new(store: Arc<dyn ObjectStore>, root: Path) -> Self {
        let objects = Objects { store, root };
        Self { documents: Arc::new(objects.clone()), objects }
    }

    /// Facts in a folder of this machine, which is created if need be, in a store of their own.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub fn local(folder: &FsPath) -> Result<Self> {
        create_folder(folder)?;
        let store = LocalDisk::below(folder).map_err(|e| store_error("open", &folder.display().to_string(), e))?;
        Ok(Self::new(Arc::new(store), Path::default()).on_disk(folder))
    }

    /// Says that the root of the facts is this folder of this machine. What a local disk needs beyond an object store is
    /// then done: documents and data survive a power cut, `current` is moved under a lock, and temporary files of killed
    /// writers are swept. Reading needs none of that and may do without.
    #[must_use]
    pub fn on_disk(mut self, folder: &FsPath) -> Self {
        self.documents = Arc::new(Disk::new(folder.to_owned()));
        self
    }

    /// Makes sure before any work is done that a folder of this machine exists and can be written to. Object stores
    /// are not asked. Blocks for a moment.
    ///
    /// # Errors
    /// If the folder cannot be created or written to.
    pub fn check_writable(&self) -> Result<()> {
        self.documents.check_writable()
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.objects.store
    }

    /// The root of the facts in the store.
    pub fn root(&self) -> &Path {
        &self.objects.root
    }

    /// The path in the store of a key that a record or a manifest names.
    ///
    /// # Errors
    /// If it is no key.
    pub fn path_of(&self, key: &str) -> Result<Path> {
        keys::under(self.root(), key).map_err(|source| LandingError::Store {
            operation: "address",
            key: key.to_owned(),
            source: source.into(),
        })
    }

    /// The time now by the clock that dates all objects of the store. To learn it, an empty object is written, looked at and deleted; its name
    /// is made of `attempt`, which nobody else may have.
    ///
    /// # Errors
    /// If the store fails, or does not let itself be written.
    pub async fn now(&self, attempt: &AttemptId) -> Result<SystemTime> {
        let key = keys::probe(attempt);
        let path = self.path_of(&key)?;
        self.objects.put(&key, Bytes::new(), PutMode::Overwrite).await.map_err(|e| store_error("create", &key, e))?;
        let meta = self.store().head(&path).await.map_err(|e| store_error("read", &key, e))?;
        self.store().delete(&path).await.map_err(|e| store_error("delete", &key, e))?;
        Ok(meta.last_modified.into())
    }

    /// Makes sure that the store creates an object only if there is none: all that is never written twice here rests on it. Some stores answer
    /// that they do not know of it, some overwrite without a word. An object named after `attempt`, which nobody else may have, is created
    /// twice and deleted.
    ///
    /// # Errors
    /// [`LandingError::Unconditional`] if it does not; or if the store fails, or does not let itself be written.
    pub async fn check_create_only(&self, attempt: &AttemptId) -> Result<()> {
        let key = keys::probe(attempt);
        let first = self.documents.create(&key, Bytes::from_static(b"1")).await;
        let unknown =
            |error: &LandingError| matches!(error, LandingError::Store { source: E::NotImplemented { .. } | E::NotSupported { .. }, .. });
        let refused = match first {
            Ok(_) => !self.documents.create(&key, Bytes::from_static(b"2")).await?,
            Err(error) if unknown(&error) => false,
            Err(error) => return Err(error),
        };
        self.delete_all("", vec![self.path_of(&key)?]).await?;
        if refused { Ok(()) } else { Err(LandingError::Unconditional { root: format!("{}/{}", self.store(), self.root()) }) }
    }

    /// Creates a document unless there is one.
    pub(crate) async fn create(&self, key: &str, bytes: Bytes) -> Result<Created> {
        for pause in GHOST_PAUSES {
            if self.documents.create(key, bytes.clone()).await? {
                return Ok(Created::New);
            }
            if let Some(found) = self.bytes(key).await? {
                return Ok(Created::Existing(found));
            }
            // A sweep may have deleted it in between: then it can be created after all.
            tokio::time::sleep(pause).await;
        }
        let reason =
            "the store says that it is there when it is to be created, and that it is not when it is to be read: delete what is left of it";
        Err(LandingError::Damaged { key: key.to_owned(), reason: reason.to_owned() })
    }

    /// What object stores and disks do each in its own way.
    pub(crate) fn documents(&self) -> &dyn Documents {
        &*self.documents
    }

    /// The bytes of a document, if it is there.
    pub(crate) async fn bytes(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.objects.get(key).await?.map(|(bytes, _)| bytes))
    }

    pub(crate) async fn document<T: DeserializeOwned>(&self, what: &'static str, key: &str) -> Result<Option<T>> {
        match self.bytes(key).await? {
            Some(bytes) => from_json(what, key, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// What the store knows of an object, if there is one.
    pub(crate) async fn meta(&self, key: &str) -> Result<Option<ObjectMeta>> {
        match self.store().head(&self.path_of(key)?).await {
            Ok(meta) => Ok(Some(meta)),
            Err(E::NotFound { .. }) => Ok(None),
            Err(source) => Err(store_error("look up", key, source)),
        }
    }

    /// Fails unless a data file is there in its full size.
    pub(crate) async fn check_size(&self, key: &str, expected: u64) -> Result<()> {
        match self.meta(key).await?.map(|meta| meta.size) {
            Some(found) if found == expected => Ok(()),
            found => Err(LandingError::DataFile { key: key.to_owned(), expected, found }),
        }
    }

    /// All objects below a folder.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<ObjectMeta>> {
        let listing = self.store().list(Some(&self.path_of(folder)?)).try_collect().await;
        listing.map_err(|e| store_error("list", folder, e))
    }

    /// Deletes what is there of these.
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
