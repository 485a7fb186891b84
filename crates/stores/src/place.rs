//! A place that a URL names, with the client of its store.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytefacts_landing::FactsStore;
use object_store::ObjectStore;
use object_store::list::PaginatedListStore;
use object_store::path::Path;
use url::Url;

/// A place in an object store.
#[derive(Clone)]
pub struct Place {
    /// The store's client.
    pub store: Arc<dyn ObjectStore>,
    /// The same client where it lists page by page, from any key on.
    pub pages: Option<Arc<dyn PaginatedListStore>>,
    /// The store's root (`file:///`, `s3://bucket/`).
    pub root: Url,
    /// The path inside the store.
    pub path: Path,
    /// The folder, where the store is a disk of this machine.
    pub folder: Option<PathBuf>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("root", &self.root.as_str())
            .field("path", &self.path)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Place {
    /// The facts here. On a local disk they are written so that a power cut leaves nothing torn.
    #[must_use]
    pub fn facts(&self) -> FactsStore {
        let facts = FactsStore::new(Arc::clone(&self.store), self.path.clone());
        match &self.folder {
            Some(folder) => facts.on_disk(folder),
            None => facts,
        }
    }
}
