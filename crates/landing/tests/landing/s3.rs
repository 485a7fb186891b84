//! The same against an S3 server, where there is one: `BYTEFACTS_TEST_S3=http://host:port/bucket`.

use std::sync::Arc;

use bytefacts_landing::{DEFAULT_GRACE, FactsStore};
use object_store::aws::AmazonS3Builder;

use crate::sample::{BINS, check_current, clock, keys, land, later, new_attempt, run_id, whole_run};

/// Facts under a prefix of their own.
fn server() -> FactsStore {
    let url = std::env::var("BYTEFACTS_TEST_S3").expect("BYTEFACTS_TEST_S3 names an S3 server and a bucket");
    let (endpoint, bucket) = url.rsplit_once('/').unwrap();
    let store = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_bucket_name(bucket)
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_access_key_id("test")
        .with_secret_access_key("test")
        .build()
        .unwrap();
    let prefix = format!("landing/{}-{}", std::process::id(), new_attempt());
    FactsStore::new(Arc::new(store), prefix.into())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an S3 server"]
async fn runs_are_committed_swept_and_raced_for() {
    let facts = server();
    for id in ["one", "two"] {
        assert!(whole_run(&facts, &run_id(id), &clock()).await.unwrap().newly);
    }
    assert_eq!(check_current(&facts).await, run_id("two"));

    let runs = (0..6).map(|i| {
        let facts = facts.clone();
        tokio::spawn(async move { whole_run(&facts, &run_id(&format!("race{i}")), &clock()).await.unwrap() })
    });
    for run in futures::future::join_all(runs).await {
        assert!(run.unwrap().newly);
    }
    let newest = &facts.runs().await.unwrap()[0];
    assert_eq!(facts.current().await.unwrap().unwrap().run_id, newest.run_id);
    check_current(&facts).await;

    land(&facts, &run_id("dead"), 0, BINS[0]).await.unwrap();
    let swept = facts.collect(None, &later(25), DEFAULT_GRACE).await.unwrap();
    assert_eq!(swept.abandoned_runs, [run_id("dead")]);
    assert_eq!(keys(&facts, "bytecode_files_v1").await.len(), 8 * 2);
    facts.check_create_only(&new_attempt()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an S3 server"]
async fn of_many_attempts_at_a_bin_one_wins() {
    let facts = server();
    let attempts = (0..8).map(|_| {
        let facts = facts.clone();
        tokio::spawn(async move { land(&facts, &run_id("r"), 0, BINS[0]).await.unwrap() })
    });
    let records = futures::future::join_all(attempts).await;
    let winner = records[0].as_ref().unwrap();
    assert!(records.iter().all(|r| r.as_ref().unwrap() == winner));
    assert_eq!(keys(&facts, "bytecode_files_v1").await.len(), winner.files.len());
}
