//! Documents about a committed run that others derive from it, such as the tree of its digests.
//!
//! They follow from the run alone, so that whoever comes first writes what anybody would; they lie in the run's folder and go with it.

use bytes::Bytes;

use crate::Result;
use crate::documents::{Created, FactsStore};
use crate::names::{RunId, keys};

impl FactsStore {
    /// Keeps a document about a run under a name, which is made of lower-case letters, digits, dots and dashes, unless there is one.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn attach(&self, run: &RunId, name: &str, bytes: Bytes) -> Result<Created> {
        self.create(&keys::attached(run, name), bytes).await
    }

    /// The size in bytes of a document about a run, if there is one.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn attached_size(&self, run: &RunId, name: &str) -> Result<Option<u64>> {
        Ok(self.meta(&keys::attached(run, name)).await?.map(|meta| meta.size))
    }

    /// A document about a run, if there is one.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn attached(&self, run: &RunId, name: &str) -> Result<Option<Bytes>> {
        self.bytes(&keys::attached(run, name)).await
    }

    /// The key of the header of a committed run, which names all that belongs to it by digests.
    pub fn header_key(&self, run: &RunId) -> String {
        keys::header(run)
    }

    /// The key of a document about a run, for whoever reads parts of it.
    pub fn attached_key(&self, run: &RunId, name: &str) -> String {
        keys::attached(run, name)
    }
}
