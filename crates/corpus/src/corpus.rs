//! A corpus: one interface over the places where it may be.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path as ObjectPath;

use crate::error::{ListError, ReadError};
use crate::inventory::{Entry, Excluded, Form, Inventory};
use crate::{local, objects};

/// Largest source that is read unless set otherwise: 64 MiB.
pub const DEFAULT_LIMIT: u64 = 64 << 20;

/// A corpus that can be listed and read. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Corpus {
    source: Source,
    form: Form,
    excluded: Excluded,
    limit: u64,
}

#[derive(Clone, Debug)]
enum Source {
    Local(Arc<Path>),
    Objects { store: Arc<dyn ObjectStore>, prefix: ObjectPath },
}

impl Corpus {
    /// A corpus in a folder of this machine.
    pub fn local(root: impl Into<PathBuf>, form: Form) -> Self {
        Self::new(Source::Local(root.into().into()), form)
    }

    /// A corpus below a prefix of an object store. Keys are taken as they are.
    pub fn objects(store: Arc<dyn ObjectStore>, prefix: ObjectPath, form: Form) -> Self {
        Self::new(Source::Objects { store, prefix }, form)
    }

    fn new(source: Source, form: Form) -> Self {
        Self { source, form, excluded: Excluded::new([]), limit: DEFAULT_LIMIT }
    }

    /// Refuses to read sources larger than `limit` bytes.
    #[must_use]
    pub fn with_limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// Leaves out folders of these names, wherever they are, beside `.git`.
    #[must_use]
    pub fn excluding(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.excluded = Excluded::new(names);
        self
    }

    /// Lists all Python files, sorted.
    ///
    /// # Errors
    /// If the corpus does not exist, is not a folder, may not be listed or holds no Python file; or if the store fails.
    pub async fn list(&self) -> Result<Inventory, ListError> {
        match &self.source {
            Source::Local(root) => {
                let (root, form, excluded) = (Arc::clone(root), self.form.clone(), self.excluded.clone());
                let location = root.display().to_string();
                tokio::task::spawn_blocking(move || local::list(&root, &form, &excluded))
                    .await
                    .map_err(|source| ListError::Interrupted { location, source })?
            }
            Source::Objects { store, prefix } => objects::list(store.as_ref(), prefix, &self.form, &self.excluded).await,
        }
    }

    /// Reads one file.
    ///
    /// # Errors
    /// See [`ReadError`]; one that is transient may be tried again, any other is a fact about the corpus.
    pub async fn read(&self, entry: &Entry) -> Result<Bytes, ReadError> {
        match &self.source {
            Source::Local(root) => {
                let (root, limit) = (Arc::clone(root), self.limit);
                let below = local::path_of(entry, &self.form)?;
                tokio::task::spawn_blocking(move || local::read(&root, &below, limit))
                    .await
                    .map_err(|source| ReadError::Transient { source: Box::new(source) })?
            }
            Source::Objects { store, prefix } => objects::read(store.as_ref(), prefix, &self.form, entry, self.limit).await,
        }
    }
}
