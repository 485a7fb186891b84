//! The sweep: what it takes, and what it must not touch.

use std::fs;
use std::time::Duration;

use bytefacts_landing::{DEFAULT_GRACE, FactsStore, LandingError, RunState};
use object_store::ObjectStoreExt;

use crate::sample::{BINS, TextFold, batch, check_current, clock, keys, land, later, memory, request, run_id, whole_run, writer};

/// Files of an attempt that was killed before it could record anything.
async fn leave_files(facts: &FactsStore, run: &str, bin_id: u32) {
    let before = keys(facts, "bytecode_files_v1").await.len();
    let run = run_id(run);
    let mut lost = writer(facts, &run, bin_id);
    lost.write(&batch(BINS[0])).await.unwrap();
    // The last file is open and never written; the one before it is on its way.
    while keys(facts, "bytecode_files_v1").await.len() == before {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn lost_attempts_of_a_committed_run_go_at_once() {
    let facts = memory();
    leave_files(&facts, "r", 0).await;
    let before = keys(&facts, "bytecode_files_v1").await.len();
    whole_run(&facts, &run_id("r"), &clock()).await.unwrap();
    assert!(before > 0);
    assert_eq!(keys(&facts, "bytecode_files_v1").await.len(), 4);
    // One that comes after the commit goes with the next sweep.
    leave_files(&facts, "r", 1).await;
    let swept = facts.sweep(&clock(), DEFAULT_GRACE).await.unwrap();
    assert!(swept.data_files > 0 && swept.data_bytes > 0);
    check_current(&facts).await;
    let again = facts.sweep(&clock(), DEFAULT_GRACE).await.unwrap();
    assert_eq!(again, bytefacts_landing::Swept::default());
}

#[tokio::test]
async fn a_survey_tells_what_a_sweep_would_delete_and_changes_nothing() {
    let facts = memory();
    whole_run(&facts, &run_id("r"), &clock()).await.unwrap();
    leave_files(&facts, "r", 1).await;
    let dead = run_id("dead");
    facts.create_bins(&dead, "bins\n".into()).await.unwrap();
    leave_files(&facts, "dead", 0).await;
    let before = keys(&facts, "").await;
    let told = facts.survey(&later(25), DEFAULT_GRACE).await.unwrap();
    assert_eq!(told.abandoned_runs, std::slice::from_ref(&dead));
    assert_eq!(keys(&facts, "").await, before);
    assert_eq!(facts.sweep(&later(25), DEFAULT_GRACE).await.unwrap(), told);
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
    assert_eq!(facts.sweep(&later(23), DEFAULT_GRACE).await.unwrap().staged_files, 0);
    assert_eq!(keys(&facts, "").await, before);
    assert_eq!(facts.sweep(&later(25), DEFAULT_GRACE).await.unwrap().staged_files, 1);
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
    facts.create_bins(&live, "bins\n".into()).await.unwrap();
    land(&facts, &live, 0, BINS[0]).await.unwrap();
    leave_files(&facts, "live", 1).await;
    let before = keys(&facts, "").await;
    let swept = facts.sweep(&later(23), DEFAULT_GRACE).await.unwrap();
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
    facts.create_bins(&dead, "bins\n".into()).await.unwrap();
    for (bin_id, rows) in (0..).zip(BINS) {
        land(&facts, &dead, bin_id, rows).await.unwrap();
    }
    leave_files(&facts, "dead", 1).await;

    let swept = facts.sweep(&later(25), DEFAULT_GRACE).await.unwrap();
    assert_eq!(swept.abandoned_runs, std::slice::from_ref(&dead));
    // The bins and two records.
    assert_eq!(swept.documents, 3);
    assert_eq!(keys(&facts, "runs/dead").await, ["runs/dead/manifest.json"]);
    assert_eq!(keys(&facts, "bytecode_files_v1").await.len(), 4);
    assert_eq!(check_current(&facts).await, run_id("good"));
    assert_eq!(facts.run_state(&dead).await.unwrap(), RunState::Abandoned);
    assert_eq!(facts.runs().await.unwrap().len(), 1);

    let commit = facts.commit(&request(&dead), &TextFold, &clock()).await;
    assert!(matches!(commit, Err(LandingError::Abandoned { .. })), "{commit:?}");
    // A straggler's files go with the next sweep, without a grace period.
    leave_files(&facts, "dead", 0).await;
    let swept = facts.sweep(&clock(), DEFAULT_GRACE).await.unwrap();
    assert!(swept.data_files > 0);
    assert_eq!(keys(&facts, "bytecode_files_v1").await.len(), 4);
}

#[tokio::test]
async fn data_without_any_document_is_a_dead_run_too() {
    let facts = memory();
    leave_files(&facts, "ghost", 0).await;
    let early = facts.sweep(&later(1), DEFAULT_GRACE).await.unwrap();
    assert_eq!(early.data_files, 0);
    let swept = facts.sweep(&later(25), DEFAULT_GRACE).await.unwrap();
    assert!(swept.data_files > 0);
    assert!(keys(&facts, "bytecode_files_v1").await.is_empty());
}

#[tokio::test]
async fn what_is_not_ours_stays() {
    let facts = memory();
    let foreign = [
        "bytecode_files_v1/README.md",
        "bytecode_files_v1/repo=a/part-0.parquet",
        "bytecode_files_v1/repo=a/r-x-y-z.parquet",
        "runs/notes.txt",
        "runs/.hidden/x",
        "other/r-000000-a-0000.parquet",
    ];
    for key in foreign {
        let path = facts.path_of(key).unwrap();
        facts.store().put(&path, "x".into()).await.unwrap();
    }
    facts.sweep(&later(1_000), DEFAULT_GRACE).await.unwrap();
    let mut expected = foreign.map(str::to_owned);
    expected.sort();
    assert_eq!(keys(&facts, "").await, expected);
}

#[tokio::test]
async fn on_disk_temporary_files_of_killed_writers_go_after_the_grace_period() {
    let folder = tempfile::tempdir().unwrap();
    let facts = FactsStore::local(folder.path()).unwrap();
    whole_run(&facts, &run_id("r"), &clock()).await.unwrap();
    let staged = folder.path().join("bytecode_files_v1/repo=a/r-000000-t1-0000.parquet#1");
    fs::write(&staged, b"half").unwrap();
    let swept = facts.sweep(&later(1), DEFAULT_GRACE).await.unwrap();
    assert_eq!(swept.staged_files, 0);
    let swept = facts.sweep(&later(2), Duration::from_hours(1)).await.unwrap();
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
