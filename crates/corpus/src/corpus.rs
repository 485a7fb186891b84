//! A corpus: one interface over the places where it may be.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::list::PaginatedListStore;
use object_store::path::Path as ObjectPath;

use crate::entry::{Entry, Form};
use crate::error::{ListError, ReadError};
use crate::inventory::Inventory;
use crate::objects::Objects;
use crate::selection::Selection;
use crate::{local, objects};

/// Largest source that is read unless set otherwise: 64 MiB.
pub const DEFAULT_LIMIT: u64 = 64 << 20;

/// A corpus that can be listed and read. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Corpus {
    source: Source,
    form: Form,
    selection: Selection,
    limit: u64,
}

#[derive(Clone, Debug)]
enum Source {
    Local(Arc<Path>),
    Objects(Objects),
}

impl Corpus {
    /// A corpus in a folder of this machine.
    pub fn local(root: impl Into<PathBuf>, form: Form, selection: Selection) -> Self {
        Self { source: Source::Local(root.into().into()), form, selection, limit: DEFAULT_LIMIT }
    }

    /// A corpus below a prefix of an object store. Keys are taken as they are.
    ///
    /// With `pages`, the same store asked for pages of keys, several ranges of keys are listed at a time, and keys that the store's client cannot
    /// name are entries; without, the listing is one request after the other, and such a key fails it. Leave it out for S3 Express, which cannot
    /// begin a listing behind a key.
    pub fn objects(
        store: Arc<dyn ObjectStore>,
        pages: Option<Arc<dyn PaginatedListStore>>,
        prefix: ObjectPath,
        form: Form,
        selection: Selection,
    ) -> Self {
        Self { source: Source::Objects(Objects { store, pages, prefix }), form, selection, limit: DEFAULT_LIMIT }
    }

    /// Refuses to read sources larger than `limit` bytes.
    #[must_use]
    pub fn with_limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// Lists all files that are taken.
    ///
    /// # Errors
    /// If the corpus does not exist, is not a folder, may not be listed or holds no such file; or if the store fails.
    pub async fn list(&self) -> Result<Inventory, ListError> {
        match &self.source {
            Source::Local(root) => {
                let (root, form, selection) = (Arc::clone(root), self.form.clone(), self.selection.clone());
                let location = root.display().to_string();
                tokio::task::spawn_blocking(move || local::list(&root, &form, &selection))
                    .await
                    .map_err(|source| ListError::Interrupted { location, source })?
            }
            Source::Objects(objects) => objects::list(objects, &self.form, &self.selection).await,
        }
    }

    /// What shows that the corpus is a single repository: `.git` or `pyproject.toml` in its root; `None` if neither is there.
    ///
    /// # Errors
    /// If a store does not say.
    pub async fn repository_marker(&self) -> Result<Option<&'static str>, ReadError> {
        const MARKERS: [&str; 2] = [".git", "pyproject.toml"];
        match &self.source {
            Source::Local(root) => Ok(MARKERS.into_iter().find(|marker| root.join(marker).symlink_metadata().is_ok())),
            Source::Objects(objects) => {
                for marker in MARKERS {
                    if objects::holds(objects, marker).await? {
                        return Ok(Some(marker));
                    }
                }
                Ok(None)
            }
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
            Source::Objects(objects) => objects::read(objects, &self.form, entry, self.limit).await,
        }
    }

    /// How many bytes [`Self::read`] would hold of a file, as far as it can be known without reading: none of one that would not be read, and none
    /// where nobody says. Whoever reads is told why.
    pub async fn size(&self, entry: &Entry) -> u64 {
        let size = match &self.source {
            Source::Local(root) => {
                let Ok(below) = local::path_of(entry, &self.form) else { return 0 };
                let root = Arc::clone(root);
                tokio::task::spawn_blocking(move || local::size(&root, &below)).await.ok().flatten()
            }
            Source::Objects(objects) => objects::size(objects, &self.form, entry).await,
        };
        size.filter(|size| *size <= self.limit).unwrap_or(0)
    }
}
