//! Commits: who is first, what is missing, where `current` ends up.

use bytefacts_landing::{Created, FactsStore, LandingError, RunState};

use crate::sample::{BINS, TextFold, all_rows, check_current, clock, keys, land, memory, request, rows, run_id, whole_run};

#[tokio::test]
async fn a_run_goes_through_its_states() {
    let facts = memory();
    let run = run_id("r1");
    assert_eq!(facts.run_state(&run).await.unwrap(), RunState::New);
    assert!(facts.runs().await.unwrap().is_empty());
    assert_eq!(facts.current().await.unwrap(), None);

    let bins = facts.create_bins(&run, "one\n".into()).await.unwrap();
    assert_eq!(bins, Created::New);
    let bins = facts.create_bins(&run, "two\n".into()).await.unwrap();
    assert_eq!(bins, Created::Existing("one\n".into()));
    assert_eq!(facts.bins_range(&run, 1..3).await.unwrap(), "ne");
    assert_eq!(facts.run_state(&run).await.unwrap(), RunState::Open);

    let committed = whole_run(&facts, &run, &clock()).await.unwrap();
    assert!(committed.newly);
    let header = &committed.manifest.run;
    assert_eq!((header.sequence, header.parent.as_ref()), (1, None));
    assert_eq!((header.rows, header.stats.units, header.bins), (5, 35, 2));
    assert_eq!((header.repositories, header.data_files), (3, 4));
    let repos: Vec<_> = committed.manifest.repos.iter().collect();
    assert_eq!(repos[1].repo.as_deref(), Some("a"));
    assert_eq!(repos[1].files, 3);
    assert_eq!(repos.iter().map(|r| r.bytes).sum::<u64>(), header.data_bytes);
    assert_eq!(rows(&facts, &committed.manifest).await, all_rows());

    let state = facts.run_state(&run).await.unwrap();
    assert_eq!(state, RunState::Committed(Box::new(committed.manifest)));
}

#[tokio::test]
async fn a_commit_can_be_repeated() {
    let facts = memory();
    let first = whole_run(&facts, &run_id("r"), &clock()).await.unwrap();
    let again = facts.commit(&request(&run_id("r")), &TextFold, &clock()).await.unwrap();
    assert!(!again.newly);
    assert_eq!(again.manifest, first.manifest);
}

#[tokio::test]
async fn runs_are_listed_newest_first_and_current_is_the_last() {
    let facts = memory();
    for id in ["z", "y", "x"] {
        whole_run(&facts, &run_id(id), &clock()).await.unwrap();
    }
    let runs = facts.runs().await.unwrap();
    let listed: Vec<_> = runs.iter().map(|r| (r.run_id.as_str(), r.sequence, r.parent.as_ref().map(|p| p.as_str()))).collect();
    assert_eq!(listed, [("x", 3, Some("y")), ("y", 2, Some("z")), ("z", 1, None)]);
    assert_eq!(check_current(&facts).await, run_id("x"));
    // Committing an older run again does not move it back.
    let again = facts.commit(&request(&run_id("z")), &TextFold, &clock()).await.unwrap();
    assert_eq!(again.current.run_id, run_id("x"));
}

#[tokio::test]
async fn an_incomplete_run_is_not_committed() {
    let facts = memory();
    let run = run_id("r");
    let commit = async || facts.commit(&request(&run), &TextFold, &clock()).await;
    land(&facts, &run, 1, BINS[1]).await.unwrap();
    match commit().await {
        Err(LandingError::Incomplete { missing, expected, .. }) => {
            assert_eq!((missing, expected), (vec![0], 2));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(facts.manifest(&run).await.unwrap(), None);
    land(&facts, &run, 0, BINS[0]).await.unwrap();
    commit().await.unwrap();
}

#[tokio::test]
async fn a_bin_that_nobody_expects_is_an_error() {
    let facts = memory();
    let run = run_id("r");
    for (bin_id, rows) in [(0, BINS[0]), (1, BINS[1]), (2, BINS[1])] {
        land(&facts, &run, bin_id, rows).await.unwrap();
    }
    let error = facts.commit(&request(&run), &TextFold, &clock()).await;
    assert!(matches!(error, Err(LandingError::Record { bin_id: 2, .. })), "{error:?}");
}

#[tokio::test]
async fn a_file_done_twice_is_an_error() {
    let facts = memory();
    let run = run_id("r");
    land(&facts, &run, 0, BINS[0]).await.unwrap();
    land(&facts, &run, 1, &BINS[0][1..]).await.unwrap();
    let error = facts.commit(&request(&run), &TextFold, &clock()).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("x.py") && error.contains("done before"), "{error}");
}

#[tokio::test]
async fn a_bin_with_fewer_rows_than_files_is_an_error() {
    let facts = memory();
    let run = run_id("r");
    land(&facts, &run, 0, BINS[0]).await.unwrap();
    land(&facts, &run, 1, &BINS[1][1..]).await.unwrap();
    let error = facts.commit(&request(&run), &TextFold, &clock()).await;
    assert!(matches!(error, Err(LandingError::Record { bin_id: 1, .. })), "{error:?}");
}

#[tokio::test]
async fn a_data_file_that_is_gone_prevents_the_commit() {
    let facts = memory();
    let run = run_id("r");
    let record = land(&facts, &run, 0, BINS[0]).await.unwrap();
    land(&facts, &run, 1, BINS[1]).await.unwrap();
    let gone = facts.path_of(&record.files[0].key).unwrap();
    object_store::ObjectStoreExt::delete(facts.store(), &gone).await.unwrap();
    let error = facts.commit(&request(&run), &TextFold, &clock()).await;
    assert!(matches!(error, Err(LandingError::DataFile { found: None, .. })), "{error:?}");
    assert_eq!(facts.manifest(&run).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_attempts_at_a_bin_one_wins_and_the_others_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for facts in [memory(), FactsStore::local(folder.path()).unwrap()] {
        let run = run_id("r");
        let attempts = (0..8).map(|_| {
            let (facts, run) = (facts.clone(), run.clone());
            tokio::spawn(async move { land(&facts, &run, 0, BINS[0]).await.unwrap() })
        });
        let records = futures::future::join_all(attempts).await;
        let winner = records[0].as_ref().unwrap();
        for record in &records {
            assert_eq!(record.as_ref().unwrap(), winner);
        }
        let mut named: Vec<_> = winner.files.iter().map(|f| f.key.clone()).collect();
        named.sort();
        assert_eq!(keys(&facts, "bytecode_files_v1").await, named);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_commits_of_a_run_one_decides() {
    let facts = memory();
    let run = run_id("r");
    for (bin_id, rows) in (0..).zip(BINS) {
        land(&facts, &run, bin_id, rows).await.unwrap();
    }
    let commits = (0..8u64).map(|i| {
        let (facts, run) = (facts.clone(), run.clone());
        tokio::spawn(async move {
            let request = bytefacts_landing::CommitRequest { started_at_ms: i, ..request(&run) };
            facts.commit(&request, &TextFold, &clock()).await.unwrap()
        })
    });
    let commits: Vec<_> = futures::future::join_all(commits).await;
    let commits: Vec<_> = commits.into_iter().map(Result::unwrap).collect();
    assert_eq!(commits.iter().filter(|c| c.newly).count(), 1);
    assert!(commits.iter().all(|c| c.manifest == commits[0].manifest));
}

/// Runs that commit at the same time are all committed, and `current` is the same whatever the order.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_runs_agree_on_current() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let on_disk = FactsStore::local(&folder.path().join(round.to_string())).unwrap();
        for facts in [memory(), on_disk] {
            let runs = (0..6).map(|i| {
                let facts = facts.clone();
                let run = run_id(&format!("r{i}"));
                tokio::spawn(async move { whole_run(&facts, &run, &clock()).await.unwrap() })
            });
            for run in futures::future::join_all(runs).await {
                assert!(run.unwrap().newly);
            }
            let newest = &facts.runs().await.unwrap()[0];
            let current = facts.current().await.unwrap().unwrap();
            assert_eq!(current.order(), (newest.sequence, &newest.run_id));
            check_current(&facts).await;
        }
    }
}

#[test]
fn operations_can_be_spawned() {
    fn is_send<T: Send>(_: &T) {}
    let facts = memory();
    let run = run_id("r");
    is_send(&facts.commit(&request(&run), &TextFold, &clock()));
    is_send(&facts.sweep(&clock(), bytefacts_landing::DEFAULT_GRACE));
    is_send(&land(&facts, &run, 0, BINS[0]));
    is_send(&facts.runs());
    is_send(&facts.run_state(&run));
}
