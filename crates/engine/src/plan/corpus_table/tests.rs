use std::fmt;
use std::sync::Mutex;

use datafusion::prelude::SessionContext;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use tokio::sync::watch;

use super::*;

/// So many notes are made while the store takes its time with one thing.
const NOTES: u32 = 3;

/// A store in which each part of a plan takes long: the listing, what packing begins with, and what it ends with. Long is, however slow this
/// machine is, until further notes have been made.
#[derive(Clone, Debug)]
struct Slow {
    inner: Arc<InMemory>,
    notes: watch::Sender<u32>,
    /// What has taken long.
    took_long: Arc<Mutex<Vec<&'static str>>>,
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Slow {
    async fn take_long(&self, what: &'static str) {
        let mut notes = self.notes.subscribe();
        let wanted = *notes.borrow() + NOTES;
        let noted = tokio::time::timeout(Duration::from_mins(1), notes.wait_for(|noted| *noted >= wanted)).await;
        assert!(noted.is_ok(), "nobody notes that the run is being planned: {what}");
        drop(noted);
        self.took_long.lock().unwrap().push(what);
    }
}

#[async_trait]
impl ObjectStore for Slow {
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            if prefix.as_ref().is_some_and(|prefix| prefix.as_ref() == "corpus") {
                store.take_long("list").await;
            }
            store.inner.list(prefix.as_ref())
        };
        stream::once(listed).flatten().boxed()
    }

    async fn put_opts(&self, at: &Path, bytes: PutPayload, how: PutOptions) -> StoreResult<PutResult> {
        if at.as_ref().starts_with("facts/runs/r1/attempts/planning/") {
            self.notes.send_modify(|noted| *noted += 1);
        } else if at.as_ref().starts_with("facts/runs/r1/bins/") {
            self.take_long("bins").await;
        } else if at.as_ref() == "facts/runs/r1/bins.json" {
            self.take_long("index").await;
        }
        self.inner.put_opts(at, bytes, how).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> StoreResult<GetResult> {
        if at.as_ref() == "facts/current.json" {
            self.take_long("current").await;
        }
        self.inner.get_opts(at, how).await
    }

    async fn put_multipart_opts(&self, at: &Path, how: PutMultipartOptions) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, how).await
    }
    fn delete_stream(&self, paths: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(paths)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, how).await
    }
}

/// Whoever waits for a run that takes long to plan sees all the while that it gets on.
#[tokio::test]
async fn listing_packing_and_writing_bins_down_are_noted() {
    let store = Slow { inner: Arc::default(), notes: watch::Sender::new(0), took_long: Arc::default() };
    for path in ["corpus/a/x.py", "corpus/b/y.py"] {
        store.inner.put(&Path::from(path), PutPayload::from_static(b"x = 1\n")).await.unwrap();
    }
    let stores = Stores::default();
    stores.register("s3://bucket", Arc::new(store.clone())).unwrap();
    let job = Job {
        corpus: "s3://bucket/corpus".to_owned(),
        repo: None,
        facts: "s3://bucket/facts".to_owned(),
        run: "r1".to_owned(),
        options: crate::job::ExtractOptions { parallel_min_files: 0, ..crate::job::ExtractOptions::default() },
        bins: bytefacts_corpus::BinOptions { target: bytefacts_corpus::Target::Bins(2) },
        interpreter: None,
        use_cache: true,
    };
    let table = CorpusTable { note_every: Duration::from_millis(1), ..CorpusTable::new(job, Arc::new(stores)) };
    table.scan(&SessionContext::new().state(), None, &[], None).await.unwrap();
    assert_eq!(*store.took_long.lock().unwrap(), ["list", "current", "bins", "index"]);
}
