//! The collection of garbage: what it takes, and what it must not touch.

use std::fs;
use std::time::Duration;

use bytefacts_landing::{BinWriter, DEFAULT_GRACE, FactsStore, LandingError, RunState, WriterOptions};
use object_store::ObjectStoreExt;

use crate::sample::{
    BINS, TextFold, batch, check_current, clock, keys, land, later, memory, new_attempt, request, run_id, schema, whole_run, write_bins,
    writer,
};

/// Files of an attempt that was killed before it could record anything.
async fn leave_files(facts: &FactsStore, run: &str, bin_id: u32) {
    let run = run_id(run);
    // Each row closes a file; what is open when the writer is dropped never comes into being.
    let options = WriterOptions { file_bytes: 1, ..WriterOptions::default() };
    let mut lost = BinWriter::new(facts, &run, bin_id, &new_attempt(), &schema(), options).unwrap();
    lost.write(&batch(BINS[0])).await.unwrap();
}

#[tokio::test]
async fn lost_attempts_of_a_committed_run_go_at_once() {
    let facts = memory();
    leave_files(&facts, "r", 0).await;
    let before = keys(&facts, "bytecode_files_v1").await.len();
    whole_run(&facts, &run_id("r"), &clock()).await.unwrap();
    assert!(before > 0);
    assert_eq!(keys(&facts, "bytecode_files_v1").await.len(), 2);
    // One that comes after the commit goes with the next sweep.
    leave_files(&facts, "r", 1).await;
    let swept = facts.collect(None, &clock(), DEFAULT_GRACE).await.unwrap();
    assert!(swept.data_files > 0 && swept.data_bytes > 0);
    check_current(&facts).await;
    let again = facts.collect(None, &clock(), DEFAULT_GRACE).await.unwrap();
    assert_eq!(again, bytefacts_landing::Swept::default());
}

#[tokio::test]
async fn a_survey_tells_what_a_sweep_would_delete_and_changes_nothing() {
    let facts = memory();
    whole_run(&facts, &run_id("r"), &clock()).await.unwrap();
    leave_files(&facts, "r", 1).await;
    let dead = run_id("dead");
    write_bins(&facts, &dead, &BINS).await.unwrap();
    leave_files(&facts, "dead", 0).await;
    let before = keys(&facts, "").await;
    let told = facts.survey(None, &later(25), DEFAULT_GRACE).await.unwrap();
    assert_eq!(told.abandoned_runs, std::slice::from_ref(&dead));
    assert_eq!(keys(&facts, "").await, before);
    assert_eq!(facts.collect(None, &later(25), DEFAULT_GRACE).await.unwrap(), told);
}

#[tokio::test]
async fn what_a_killed_process_asked_the_store_for_its_time_with_goes_after_a_day() {
    let facts = memory();
    whole_run(&facts, &run_id("r"), &clock()).await.unwrap();
    for key in ["clock-t9", "clock.txt"] {
        facts.store().put(&facts.path_of(key).unwrap(), "".into()).await.unwrap();
    }
    let before = keys(&facts, "").await;
    // Its process may be at work still.
    assert_eq!(facts.collect(None, &later(23), DEFAULT_GRACE).await.unwrap().staged_files, 0);
    assert_eq!(keys(&facts, "").await, before);
    assert_eq!(facts.collect(None, &later(25), DEFAULT_GRACE).await.unwrap().staged_files, 1);
    let left: Vec<_> = before.into_iter().filter(|key| !key.ends_with("clock-t9")).collect();
    assert_eq!(keys(&facts, "").await, left);
}

#[tokio::test]
async fn the_store_tells_its_time_and_keeps_no_trace_of_the_question() {
    let facts = memory();
    let before = std::time::SystemTime::now();
    let now = facts.now(&bytefacts_landing::AttemptId::from_random(7)).await.unwrap();
    assert!(now >= before - Duration::from_secs(1) && now <= std::time::SystemTime::now());
    assert!(keys(&facts, "").await.is_empty());
}

#[tokio::test]
async fn live_work_is_not_touched() {
    let facts = memory();
    let live = run_id("live");
    write_bins(&facts, &live, &BINS).await.unwrap();
    land(&facts, &live, 0, BINS[0]).await.unwrap();
    leave_files(&facts, "live", 1).await;
    let before = keys(&facts, "").await;
    let swept = facts.collect(None, &later(23), DEFAULT_GRACE).await.unwrap();
    assert_eq!(swept, bytefacts_landing::Swept::default());
    assert_eq!(keys(&facts, "").await, before);
    land(&facts, &live, 1, BINS[1]).await.unwrap();
    let committed = facts.commit(&request(&live), &TextFold, &clock()).await;
    assert!(committed.unwrap().newly);
}

#[tokio::test]
async fn a_dead_run_is_given_up_and_cannot_come_back() {
    let facts = memory();
    whole_run(&facts, &run_id("good"), &clock()).await.unwrap();
    let dead = run_id("dead");
    write_bins(&facts, &dead, &BINS).await.unwrap();
    for (bin_id, rows) in (0..).zip(BINS) {
        land(&facts, &dead, bin_id, rows).await.unwrap();
    }
    leave_files(&facts, "dead", 1).await;

    let swept = facts.collect(None, &later(25), DEFAULT_GRACE).await.unwrap();
    assert_eq!(swept.abandoned_runs, std::slice::from_ref(&dead));
    // The index of the bins, whose shard is that of the other run, and two records.
    assert_eq!(swept.documents, 3);
    assert_eq!(keys(&facts, "runs/dead").await, ["runs/dead/run.json"]);
    assert_eq!(keys(&facts, "bytecode_files_v1").await.len(), 2);
    assert_eq!(check_current(&facts).await, run_id("good"));
    assert_eq!(facts.run_state(&dead).await.unwrap(), RunState::Abandoned);
    assert_eq!(facts.runs().await.unwrap().len(), 1);

    let commit = facts.commit(&request(&dead), &TextFold, &clock()).await;
    assert!(matches!(commit, Err(LandingError::Abandoned { .. })), "{commit:?}");
    // A straggler's files go with the next sweep, without a grace period.
    leave_files(&facts, "dead", 0).await;
    let swept = facts.collect(None, &clock(), DEFAULT_GRACE).await.unwrap();
    assert!(swept.data_files > 0);
    assert_eq!(keys(&facts, "bytecode_files_v1").await.len(), 2);
}

#[tokio::test]
async fn data_without_any_document_is_a_dead_run_too() {
    let facts = memory();
    leave_files(&facts, "ghost", 0).await;
    let early = facts.collect(None, &later(1), DEFAULT_GRACE).await.unwrap();
    assert_eq!(early.data_files, 0);
    let swept = facts.collect(None, &later(25), DEFAULT_GRACE).await.unwrap();
    assert!(swept.data_files > 0);
    assert!(keys(&facts, "bytecode_files_v1").await.is_empty());
}

#[tokio::test]
async fn what_is_not_ours_stays() {
    let facts = memory();
    let foreign = [
        "bytecode_files_v1/README.md",
        "bytecode_files_v1/repo=a/part-0.parquet",
        "bytecode_files_v1/landed=a/r-x-y-z.parquet",
        "runs/notes.txt",
        "runs/.hidden/x",
        "other/r-000000-a-0000.parquet",
    ];
    for key in foreign {
        let path = facts.path_of(key).unwrap();
        facts.store().put(&path, "x".into()).await.unwrap();
    }
    facts.collect(None, &later(1_000), DEFAULT_GRACE).await.unwrap();
    let mut expected = foreign.map(str::to_owned);
    expected.sort();
    assert_eq!(keys(&facts, "").await, expected);
}

#[tokio::test]
async fn on_disk_temporary_files_of_killed_writers_go_after_the_grace_period() {
    let folder = tempfile::tempdir().unwrap();
    let facts = FactsStore::local(folder.path()).unwrap();
    whole_run(&facts, &run_id("r"), &clock()).await.unwrap();
    let staged = folder.path().join("bytecode_files_v1/landed=r/000000-t1-0000.parquet#1");
    fs::write(&staged, b"half").unwrap();
    let swept = facts.collect(None, &later(1), DEFAULT_GRACE).await.unwrap();
    assert_eq!(swept.staged_files, 0);
    let swept = facts.collect(None, &later(2), Duration::from_hours(1)).await.unwrap();
    assert_eq!(swept.staged_files, 1);
    assert!(!staged.exists());
    check_current(&facts).await;
}

#[tokio::test]
async fn an_aborted_attempt_leaves_nothing() {
    let facts = memory();
    let mut aborted = writer(&facts, &run_id("r"), 0);
    aborted.write(&batch(BINS[0])).await.unwrap();
    aborted.abort().await;
    assert!(keys(&facts, "").await.is_empty());
}
