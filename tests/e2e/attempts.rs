//! Several attempts at one bin, and a cluster that answers twice: what is on record decides.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytefacts_cache::{Cache, CacheOptions};
use bytefacts_cluster::Client;
use bytefacts_engine::{Job, JobCluster};
use datafusion::error::DataFusionError;

use crate::support::{GATED, Gate, Shape, extract, folder, python, small_corpus, try_extract_on, write_files};

/// The one file in a folder.
fn only_file(folder: &Path) -> PathBuf {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

fn cache(folder: &Path) -> Option<Arc<Cache>> {
    Some(Arc::new(Cache::open(&CacheOptions { folder: Some(folder.to_owned()), memory_bytes: 1 << 20, disk_bytes: 1 << 30 })))
}

/// A file changes between the reads of two attempts at its bin, and the second attempt comes too late. What the first has landed must not be
/// remembered as the facts of what the second has read.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_comes_too_late_remembers_nothing_of_the_other() {
    let (corpus, facts, home, gate) = (folder(), folder(), folder(), Gate::closed(&python().await));
    // The first attempt's record is there before the second is through.
    write_files(corpus.path(), &[("a/held.py", format!("{GATED} = 1\n").as_bytes()), ("a/x.py", b"x = 1\n")]);
    let shape = Shape { run: "r", bins: 1, executors: 1, python: Some(gate.python.clone()), ..Shape::default() };
    gate.open();
    let of_first = extract(corpus.path(), facts.path(), &shape).await;

    // The first attempt's record is on its way to the store; nothing is committed.
    let run = facts.path().join("runs/r");
    let record = only_file(&run.join("done"));
    let landed = std::fs::read(&record).unwrap();
    for file in [record.as_path(), &run.join("run.json"), &facts.path().join("current.json")] {
        std::fs::remove_file(file).unwrap();
    }
    write_files(corpus.path(), &[("a/x.py", b"y = 2\n")]);
    gate.close();
    let second = tokio::spawn({
        let (corpus, facts, shape) = (corpus.path().to_owned(), facts.path().to_owned(), shape.clone());
        let shape = Shape { cache: cache(home.path()), ..shape };
        async move { extract(&corpus, &facts, &shape).await }
    });
    gate.reached().await;
    std::fs::write(&record, landed).unwrap();
    gate.open();
    let of_second = second.await.unwrap();
    assert_eq!(of_second.run.digest, of_first.run.digest, "the record that was there decides");

    let next = extract(corpus.path(), facts.path(), &Shape { run: "s", cache: cache(home.path()), ..shape.clone() }).await;
    let expected = extract(corpus.path(), folder().path(), &shape).await;
    assert_eq!(next.run.digest, expected.run.digest);
    assert_ne!(next.run.digest, of_first.run.digest);
}

/// A client of a cluster that answers each bin twice.
struct Twice(Client);

#[async_trait]
impl JobCluster for Twice {
    async fn submit(&self, job: &Job) -> Result<Vec<RecordBatch>, DataFusionError> {
        let answers = self.0.submit(job).await?;
        Ok([answers.clone(), answers].concat())
    }
    async fn cancel(&self) {
        self.0.cancel().await;
    }
    async fn is_reachable(&self) -> bool {
        self.0.is_reachable().await
    }
}

/// Schedulers have answered twice for a task that they had done twice. The records are there once.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_come_twice_overrule_no_record() {
    let corpus = small_corpus();
    let expected = extract(corpus.path(), folder().path(), &Shape::default()).await;
    let found = try_extract_on(corpus.path(), folder().path(), &Shape::default(), |_| (), |client| Box::new(Twice(client))).await.unwrap();
    assert_eq!((found.run.digest, found.run.rows), (expected.run.digest, expected.run.rows));
}
