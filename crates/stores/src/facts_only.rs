//! A store of which nothing can be read but facts that are allowed, and nothing written: what plans of others get to see.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};
use url::Url;

use crate::access::Access;
use crate::error::StoreError;
use crate::registry::Stores;

/// The store at a root, read as far as its facts are allowed.
#[derive(Debug)]
pub struct FactsOnly {
    root: Url,
    store: Arc<dyn ObjectStore>,
    access: Access,
}

impl FactsOnly {
    /// The store that a URL lies in.
    ///
    /// # Errors
    /// As [`Stores::open`].
    pub fn of(stores: &Stores, url: &Url) -> Result<Self, StoreError> {
        let place = stores.open(url.as_str())?;
        Ok(Self { root: place.root, store: place.store, access: stores.access().clone() })
    }

    fn check(&self, path: &Path) -> Result<()> {
        if self.access.has_object_of_facts(&self.root, path) {
            Ok(())
        } else {
            Err(self.denied(path, "it is no part of facts that are allowed here"))
        }
    }

    fn denied(&self, path: &Path, why: &str) -> Error {
        Error::PermissionDenied { path: format!("{}{path}", self.root), source: why.into() }
    }

    fn read_only<T>(&self, path: &Path) -> Result<T> {
        Err(self.denied(path, "queries only read"))
    }
}

impl fmt::Display for FactsOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "facts in {}", self.root)
    }
}

#[async_trait]
impl ObjectStore for FactsOnly {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.check(location)?;
        self.store.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.check(location)?;
        self.store.get_ranges(location, ranges).await
    }

    async fn put_opts(&self, location: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        self.read_only(location)
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.read_only(location)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let root = self.root.clone();
        let denied = move |path: Path| Error::PermissionDenied { path: format!("{root}{path}"), source: "queries only read".into() };
        locations.map(move |path| path.and_then(|path| Err(denied(path)))).boxed()
    }

    /// Plans name their files: nothing is ever listed.
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.cloned().unwrap_or_default();
        stream::iter([Err(self.denied(&prefix, "queries list nothing"))]).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        Err(self.denied(&prefix.cloned().unwrap_or_default(), "queries list nothing"))
    }

    async fn copy_opts(&self, _: &Path, to: &Path, _: CopyOptions) -> Result<()> {
        self.read_only(to)
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt as _;
    use object_store::memory::InMemory;

    use super::*;
    use crate::access::Allowed;

    #[tokio::test]
    async fn what_is_allowed_is_read_and_nothing_else_done() {
        let memory = Arc::new(InMemory::new());
        for key in ["facts/a", "secrets/b"] {
            memory.put(&Path::from(key), key.into()).await.unwrap();
        }
        let facts = Allowed::of(&["s3://bucket/facts".to_owned()]).unwrap();
        let stores = Stores::default().with_access(Access { corpus: Allowed::Everything, facts });
        stores.register("s3://bucket", Arc::clone(&memory) as _).unwrap();
        let store = FactsOnly::of(&stores, &Url::parse("s3://bucket/").unwrap()).unwrap();
        let (inside, outside) = (Path::from("facts/a"), Path::from("secrets/b"));

        assert_eq!(store.get(&inside).await.unwrap().bytes().await.unwrap(), "facts/a");
        assert_eq!(store.get_ranges(&inside, &[0..5]).await.unwrap(), ["facts"]);
        assert_eq!(store.head(&inside).await.unwrap().size, 7);
        let denied = |error: Error| assert!(matches!(error, Error::PermissionDenied { .. }), "{error}");
        denied(store.get(&outside).await.unwrap_err());
        denied(store.get_ranges(&outside, &[0..1]).await.unwrap_err());
        denied(store.head(&outside).await.unwrap_err());
        denied(store.put(&inside, "x".into()).await.unwrap_err());
        denied(store.put_multipart(&inside).await.map(drop).unwrap_err());
        denied(store.delete(&inside).await.unwrap_err());
        denied(store.copy(&outside, &inside).await.unwrap_err());
        denied(store.rename(&inside, &outside).await.unwrap_err());
        denied(store.list(None).next().await.unwrap().unwrap_err());
        denied(store.list_with_delimiter(Some(&inside)).await.unwrap_err());
        assert_eq!(memory.get(&inside).await.unwrap().bytes().await.unwrap(), "facts/a", "it is what it was");
    }
}
