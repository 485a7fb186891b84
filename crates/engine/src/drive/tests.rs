use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use bytefacts_landing::{
    AttemptId, BinStats, BinWriter, BinsWriter, FactsStore, FileDigest, FileName, PlannedBin, RepoDigests, SystemClock, Tolerance,
    WriterOptions,
};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result as StoreResult,
};
use tokio::time::Instant;

use super::*;
use crate::error::lasting;
use crate::job::InterpreterId;

/// A cluster that never answers.
#[derive(Default)]
struct Standing {
    submissions: AtomicU32,
}

#[async_trait]
impl JobCluster for Standing {
    async fn submit(&self, _: &Job) -> Result<Vec<RecordBatch>, DataFusionError> {
        self.submissions.fetch_add(1, Ordering::Relaxed);
        std::future::pending().await
    }
    async fn cancel(&self) {}
    async fn is_reachable(&self) -> bool {
        true
    }
}

/// A store in which, whenever the client looks whether a bin gets on, it has got on since the last look: so many times in a submission, and then
/// no more. What comes before each look comes however slow this machine is.
#[derive(Clone, Debug, Default)]
struct Signed {
    inner: Arc<InMemory>,
    signs: u32,
    looks: Arc<AtomicU32>,
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Signed {
    /// How often a client looks in one submission: at its beginning, after each sign, and in vain.
    fn looks_of_a_submission(&self) -> u32 {
        self.signs + 2
    }

    async fn sign(&self) {
        let look = self.looks.fetch_add(1, Ordering::Relaxed);
        if (1..=self.signs).contains(&(look % self.looks_of_a_submission())) {
            let facts = FactsStore::new(Arc::clone(&self.inner) as Arc<dyn ObjectStore>, Path::from("facts"));
            let (run, attempt) = (RunId::new("r1").unwrap(), AttemptId::new("a").unwrap());
            facts.note_progress(&run, 0, &attempt, look).await.unwrap();
        }
    }
}

#[async_trait]
impl ObjectStore for Signed {
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        if prefix.as_ref().and_then(Path::filename) != Some("attempts") {
            return store.inner.list(prefix.as_ref());
        }
        let signed = async move {
            store.sign().await;
            store.inner.list(prefix.as_ref())
        };
        stream::once(signed).flatten().boxed()
    }

    async fn put_opts(&self, at: &Path, bytes: PutPayload, how: PutOptions) -> StoreResult<PutResult> {
        self.inner.put_opts(at, bytes, how).await
    }
    async fn put_multipart_opts(&self, at: &Path, how: PutMultipartOptions) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, how).await
    }
    async fn get_opts(&self, at: &Path, how: GetOptions) -> StoreResult<GetResult> {
        self.inner.get_opts(at, how).await
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

const STALL: Duration = Duration::from_millis(100);

/// How long the client at least holds on to a job that gets on so many times, and how often it submits it.
async fn patience_with(signs: u32, fruitless: u32) -> (Duration, u32) {
    let (stores, store) = (Stores::default(), Signed { signs, ..Signed::default() });
    stores.register("memory://", Arc::new(store.clone())).unwrap();
    let cluster = Standing::default();
    let patience = Patience { stall: STALL, fruitless, poll: STALL / 10, unreachable: STALL };
    let begun = Instant::now();
    let error = run_job(&cluster, &job(), &stores, &SystemClock, patience, Tolerance { unread: 1.0, gone: 1.0 }, None).await.unwrap_err();
    assert!(matches!(error, JobError::Stalled { .. }), "{error}");
    let (looks, submissions) = (store.looks.load(Ordering::Relaxed), cluster.submissions.into_inner());
    assert_eq!(looks, submissions * store.looks_of_a_submission(), "the first look in vain ends a submission, and none before it");
    (begun.elapsed(), submissions)
}

fn job() -> Job {
    Job {
        corpus: "file:///nowhere".to_owned(),
        repo: None,
        facts: "memory:///facts".to_owned(),
        run: "r1".to_owned(),
        options: crate::job::ExtractOptions::default(),
        bins: bytefacts_corpus::BinOptions { target: bytefacts_corpus::Target::Bins(1) },
        interpreter: None,
        use_cache: true,
    }
}

#[tokio::test]
async fn files_done_inside_of_a_bin_are_progress() {
    let (stood, submissions) = patience_with(0, 1).await;
    assert!(stood >= STALL && submissions == 1, "{stood:?}");
    let (got_on, submissions) = patience_with(8, 1).await;
    assert!(got_on >= 9 * STALL && submissions == 1, "what is slow does not stand still: {got_on:?}");
}

#[tokio::test]
async fn a_job_that_nobody_has_begun_stands_in_line() {
    assert_eq!(patience_with(1, 2).await.1, 2, "it was begun, and then stood still");
    assert_eq!(patience_with(0, 2).await.1, 2 * IN_LINE);
}

/// Lands a run of one file, as it is left by a client that dies before its commit.
async fn land_all_bins(facts: &FactsStore, run: &RunId) {
    let (attempt, name) = (AttemptId::new("a").unwrap(), FileName::new(None, "x.py"));
    let mut bins = BinsWriter::new(facts, run, attempt.clone()).await.unwrap();
    bins.push(PlannedBin { files: 1, source_bytes: 1, cost_us: 1, first: name }, b"one file").await.unwrap();
    bins.finish().await.unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("repo", DataType::Utf8, true), Field::new("path", DataType::Utf8, false)]));
    let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(vec![None::<&str>])), Arc::new(StringArray::from(vec!["x.py"]))];
    let mut writer = BinWriter::new(facts, run, 0, &attempt, &schema, WriterOptions::default()).unwrap();
    writer.write(&RecordBatch::try_new(schema, columns).unwrap()).await.unwrap();
    let digests = vec![RepoDigests { repo: None, files: vec![FileDigest { path: "x.py".to_owned(), digest: "00".repeat(32) }] }];
    writer.finish(1, BinStats { files: 1, ..BinStats::default() }, digests).await.unwrap();
    let python = InterpreterId { version: "3.13.0".to_owned(), magic: "f30d0d0a".to_owned(), implementation: "cpython".to_owned() };
    facts.create_interpreter(run, serde_json::to_vec(&python).unwrap().into()).await.unwrap();
}

#[tokio::test]
async fn a_run_of_which_every_bin_is_on_record_is_committed_and_asks_nobody() {
    let (stores, job, cluster) = (Stores::default(), job(), Standing::default());
    stores.register("memory://", Arc::new(InMemory::new())).unwrap();
    land_all_bins(&stores.open(&job.facts).unwrap().facts(), &RunId::new(job.run.clone()).unwrap()).await;
    let patience = Patience { stall: STALL, fruitless: 1, poll: STALL / 10, unreachable: STALL };
    let finished = run_job(&cluster, &job, &stores, &SystemClock, patience, Tolerance { unread: 1.0, gone: 1.0 }, None).await.unwrap();
    assert_eq!((finished.committed.newly, finished.committed.document.run.rows), (true, 1));
    assert_eq!(cluster.submissions.into_inner(), 0);
}

/// A cluster on which the job fails for good, at whose end another client has completed the run.
struct Late {
    facts: FactsStore,
    completes: bool,
}

#[async_trait]
impl JobCluster for Late {
    async fn submit(&self, job: &Job) -> Result<Vec<RecordBatch>, DataFusionError> {
        if self.completes {
            land_all_bins(&self.facts, &RunId::new(job.run.clone()).unwrap()).await;
        }
        Err(lasting("a data file should have 5 bytes, the store has None"))
    }
    async fn cancel(&self) {}
    async fn is_reachable(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn records_decide_even_where_ones_own_job_failed_for_good() {
    for completes in [true, false] {
        let (stores, job) = (Stores::default(), job());
        stores.register("memory://", Arc::new(InMemory::new())).unwrap();
        let cluster = Late { facts: stores.open(&job.facts).unwrap().facts(), completes };
        let patience = Patience { stall: STALL, fruitless: 1, poll: STALL / 10, unreachable: STALL };
        let finished = run_job(&cluster, &job, &stores, &SystemClock, patience, Tolerance { unread: 1.0, gone: 1.0 }, None).await;
        match finished {
            Ok(finished) => assert!(completes && finished.committed.newly),
            Err(error) => assert!(!completes && error.to_string().contains("5 bytes"), "{error}"),
        }
    }
}
