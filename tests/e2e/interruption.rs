//! Kills: whenever a job dies, readers keep what they had, and the next job succeeds.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::Arc;

use bytefacts_engine::{CorpusTable, Job};
use bytefacts_stores::Stores;
use datafusion::catalog::TableProvider as _;
use datafusion::prelude::SessionContext;

use crate::chaos::landed;
use crate::support::{
    GATED, Gate, Shape, bytefacts, extract, folder, python, query_text, run, small_corpus, store, try_extract, write_files,
};

/// Plans a job, as the scheduler does, without running it: its bins are recorded afterwards.
pub async fn record_bins(job: &Job) {
    let table = CorpusTable::new(job.clone(), Arc::new(Stores::default()));
    table.scan(&SessionContext::new().state(), None, &[], None).await.unwrap();
}

/// The binary is killed at moments spread over the whole job: after no bin, after one and after several that are on record, and at the last one,
/// where the commit may be faster. The run that was current stays so, and the killed run, resumed under its name, ends with the digest of an
/// undisturbed one.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_killed_at_any_moment_leaves_the_current_run_and_can_be_resumed() {
    let (corpus, facts, cache, gate) = (small_corpus(), folder(), folder(), Gate::closed(&python().await));
    write_files(corpus.path(), &[("b/gated.py", format!("{GATED} = 1\n").as_bytes())]);
    let before = extract(corpus.path(), facts.path(), &Shape { run: "before", ..Shape::default() }).await;
    write_files(corpus.path(), &[("a/new.py", b"x = 1\n")]);
    write_files(cache.path(), &[("settings.yaml", b"bins: {count: 12}")]);
    let reference = folder();
    let undisturbed = extract(corpus.path(), reference.path(), &Shape::default()).await;

    let arguments = |id: &str| {
        let (corpus, facts) = (corpus.path().to_str().unwrap().to_owned(), facts.path().to_str().unwrap().to_owned());
        let settings = cache.path().join("settings.yaml").to_str().unwrap().to_owned();
        // A worker may be held, and another one goes on.
        ["extract", &corpus, "--out", &facts, "--run-id", id, "--no-cache", "--jobs", "2", "--config", &settings].map(str::to_owned)
    };
    let command = async |args: &[String; 11]| {
        let mut command = bytefacts(cache.path(), &args.each_ref().map(String::as_str)).await;
        command.envs([gate.variable()]);
        command
    };
    gate.open();
    let (code, _, stderr) = run(command(&arguments("whole")).await);
    assert_eq!(code, 0, "{stderr}");
    let bins = store(facts.path()).manifest(&bytefacts_landing::RunId::new("whole").unwrap()).await.unwrap().unwrap().run.bins as usize;
    gate.close();

    for kill in BTreeSet::from([0, 1, 2, 4, 6, bins - 2, bins - 1, bins]) {
        let id = format!("killed-{kill}");
        let current = store(facts.path()).current().await.unwrap().unwrap();
        let args = arguments(&id);
        if kill == bins {
            gate.open();
        }
        let mut child = command(&args).await.stdout(Stdio::null()).spawn().unwrap();
        landed(facts.path(), &id, kill).await;
        child.kill().unwrap(); // SIGKILL: no handler, no clean-up
        child.wait().unwrap();
        if kill < bins {
            gate.open();
        }

        let now = store(facts.path()).current().await.unwrap().unwrap();
        assert!(now == current || kill == bins, "after kill {kill}: {now:?} instead of {current:?}");
        // Whatever is current can be read in full.
        let manifest = store(facts.path()).manifest(&now.run_id).await.unwrap().unwrap();
        let rows = query_text(facts.path(), "SELECT count(*) FROM bytecode_files_v1").await;
        assert_eq!(rows, [[manifest.run.rows.to_string()]]);

        if now.run_id.as_str() != id {
            let (code, _, stderr) = run(command(&args).await);
            assert_eq!(code, 0, "resuming after kill {kill}: {stderr}");
        }
        let resumed = store(facts.path()).current().await.unwrap().unwrap();
        assert_eq!(resumed.run_id.as_str(), id);
        let resumed = store(facts.path()).manifest(&resumed.run_id).await.unwrap().unwrap();
        assert_eq!(resumed.run.digest, undisturbed.run.digest, "after kill {kill}");
        assert_eq!(resumed.run.rows, undisturbed.run.rows);
        gate.close();
    }
    assert!(store(facts.path()).manifest(&before.run.run_id).await.unwrap().is_some());
}

/// Bins with a record are not done again: a resumed run reads their record, even when the source has changed since.
#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_run_keeps_the_bins_that_are_on_record() {
    let (corpus, facts) = (small_corpus(), folder());
    let shape = Shape { run: "resumed", bins: 4, ..Shape::default() };
    let first = extract(corpus.path(), facts.path(), &shape).await;
    // As if the client had died between the last bin and the commit.
    std::fs::remove_file(facts.path().join("runs/resumed/run.json")).unwrap();
    std::fs::remove_file(facts.path().join("current.json")).unwrap();
    for repo in ["a", "b", "c d"] {
        write_files(corpus.path(), &[(&format!("{repo}/pkg0/m0.py"), b"changed = True\n")]);
    }
    let second = extract(corpus.path(), facts.path(), &shape).await;
    assert_eq!(second.run.digest, first.run.digest);
    assert_eq!(second.files, first.files);
}

/// A store that refuses to be written fails the job with the reason, and does not disturb what is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_land_fails_with_the_reason() {
    let (corpus, facts) = (small_corpus(), folder());
    extract(corpus.path(), facts.path(), &Shape { run: "good", ..Shape::default() }).await;
    let data = facts.path().join("bytecode_files_v1");
    std::fs::rename(&data, facts.path().join("aside")).unwrap();
    std::fs::write(&data, b"a file where the folder should be").unwrap();
    let failed = try_extract(corpus.path(), facts.path(), &Shape { run: "bad", ..Shape::default() }).await;
    assert!(failed.is_err());
    std::fs::remove_file(&data).unwrap();
    std::fs::rename(facts.path().join("aside"), &data).unwrap();
    assert_eq!(query_text(facts.path(), "SELECT count(*) FROM bytecode_files_v1").await, [["38"]]);
    extract(corpus.path(), facts.path(), &Shape { run: "bad", ..Shape::default() }).await;
}
