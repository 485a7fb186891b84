//! Commits: who is first, what is missing, where `current` ends up.

use bytefacts_landing::{AttemptId, CommitRequest, FactsStore, Gone, HeldBack, LandingError, RunState, Tolerance};
use futures::TryStreamExt as _;
use object_store::{ObjectStoreExt as _, PutMode};

use crate::faulty::{Fault, Faulty};
use crate::sample::{
    BINS, Row, TextFold, all_rows, batch, check_current, clock, digests, keys, land, memory, request, rows, run_id, stats, whole_run,
    write_bins, writer,
};

#[tokio::test]
async fn a_run_goes_through_its_states() {
    let facts = memory();
    let run = run_id("r1");
    assert_eq!(facts.run_state(&run).await.unwrap(), RunState::New);
    assert!(facts.runs().await.unwrap().is_empty());
    assert_eq!(facts.current().await.unwrap(), None);

    let bins = write_bins(&facts, &run, &BINS).await.unwrap();
    assert_eq!((bins.bins.len(), bins.files()), (2, 5));
    let second = write_bins(&facts, &run, &BINS[1..]).await.unwrap();
    assert_eq!(second, bins, "whoever comes second works on the bins of the first");
    let contents: Vec<_> = facts.bin_contents(&bins).try_collect().await.unwrap();
    for (bin, (content, rows)) in bins.bins.iter().zip(contents.iter().zip(BINS)) {
        assert_eq!(content, format!("{rows:?}").as_bytes());
        let shard = &bins.shards[bin.shard as usize];
        assert_eq!(&facts.bin_content(&shard.key, bin.offset..bin.offset + bin.length).await.unwrap(), content);
    }
    assert_eq!(facts.run_state(&run).await.unwrap(), RunState::Open);

    let committed = whole_run(&facts, &run, &clock()).await.unwrap();
    assert!(committed.newly);
    let manifest = facts.manifest(&run).await.unwrap().unwrap();
    let header = &committed.document.run;
    assert_eq!(manifest.run, *header);
    assert_eq!((header.sequence, header.parent.as_ref()), (1, None));
    assert_eq!((header.rows, header.stats.units, header.bins), (5, 35, 2));
    assert_eq!((header.repositories, header.data_files, header.bins_taken_over), (3, 2, 0));
    assert_eq!(header.landed_bytes, header.data_bytes);
    let repos: Vec<_> = manifest.repos.iter().map(|repo| (repo.repo.as_deref(), repo.files)).collect();
    assert_eq!(repos, [(None, 1), (Some("a"), 3), (Some("b"), 1)]);
    assert_eq!(manifest.files.iter().map(|file| file.bytes).sum::<u64>(), header.data_bytes);
    assert_eq!(rows(&facts, &manifest).await, all_rows());

    let state = facts.run_state(&run).await.unwrap();
    assert_eq!(state, RunState::Committed(Box::new(committed.document)));
}

#[tokio::test]
async fn a_commit_can_be_repeated() {
    let facts = memory();
    let first = whole_run(&facts, &run_id("r"), &clock()).await.unwrap();
    let again = facts.commit(&request(&run_id("r")), &TextFold, &clock()).await.unwrap();
    assert!(!again.newly);
    assert_eq!(again.document, first.document);
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
    assert_eq!(again.current.unwrap().run_id, run_id("x"));
}

#[tokio::test]
async fn an_incomplete_run_is_not_committed() {
    let facts = memory();
    let run = run_id("r");
    let commit = async || facts.commit(&request(&run), &TextFold, &clock()).await;
    assert!(matches!(commit().await, Err(LandingError::NoBins { .. })));
    write_bins(&facts, &run, &BINS).await.unwrap();
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
    write_bins(&facts, &run, &BINS).await.unwrap();
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
    write_bins(&facts, &run, &[BINS[0], &BINS[0][1..]]).await.unwrap();
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
    write_bins(&facts, &run, &BINS).await.unwrap();
    land(&facts, &run, 0, BINS[0]).await.unwrap();
    land(&facts, &run, 1, &BINS[1][1..]).await.unwrap();
    let error = facts.commit(&request(&run), &TextFold, &clock()).await;
    assert!(matches!(error, Err(LandingError::Record { bin_id: 1, .. })), "{error:?}");
}

/// The record would stand for ever, and the run could never be committed.
#[tokio::test]
async fn a_bin_with_fewer_rows_than_files_gets_no_record_and_can_be_done_again() {
    let facts = memory();
    let run = run_id("r");
    write_bins(&facts, &run, &BINS).await.unwrap();
    land(&facts, &run, 0, BINS[0]).await.unwrap();
    let mut short = writer(&facts, &run, 1);
    short.write(&batch(&BINS[1][1..])).await.unwrap();
    let error = short.finish(2, stats(&BINS[1][1..]), digests(&BINS[1][1..])).await.unwrap_err();
    assert!(matches!(error, LandingError::Record { bin_id: 1, .. }), "{error}");
    assert_eq!(facts.finished_bins(&run).await.unwrap(), [0]);
    land(&facts, &run, 1, BINS[1]).await.unwrap();
    assert!(facts.commit(&request(&run), &TextFold, &clock()).await.unwrap().newly);
}

/// A bin of one huge file stands amid the files of another.
#[tokio::test]
async fn bins_that_overlap_are_folded_in_the_order_of_names() {
    const APART: [&[Row]; 3] =
        [&[(None, "setup.py"), (Some("a"), "x.py"), (Some("a"), "z.py")], &[(Some("a"), "y.py")], &[(Some("b"), "x.py")]];
    let (facts, other) = (memory(), memory());
    let run = run_id("r");
    write_bins(&facts, &run, &APART).await.unwrap();
    for (bin_id, rows) in (0..).zip(APART) {
        land(&facts, &run, bin_id, rows).await.unwrap();
    }
    facts.commit(&request(&run), &TextFold, &clock()).await.unwrap();
    whole_run(&other, &run, &clock()).await.unwrap();
    let of = async |facts: &FactsStore| facts.manifest(&run).await.unwrap().unwrap();
    let (overlapping, plain) = (of(&facts).await, of(&other).await);
    assert_eq!(overlapping.repos, plain.repos);
    assert_eq!(overlapping.run.digest, plain.run.digest);
    let firsts: Vec<_> = overlapping.files.iter().map(|file| file.first.parts()).collect();
    assert_eq!(firsts, [(None, "setup.py"), (Some("a"), "y.py"), (Some("b"), "x.py")]);
}

#[tokio::test]
async fn a_run_of_which_too_much_could_not_be_read_is_committed_and_not_current() {
    let facts = memory();
    whole_run(&facts, &run_id("before"), &clock()).await.unwrap();
    let run = run_id("r");
    write_bins(&facts, &run, &BINS).await.unwrap();
    for (bin_id, rows) in (0..).zip(BINS) {
        let mut writer = writer(&facts, &run, bin_id);
        writer.write(&batch(rows)).await.unwrap();
        let mut stats = stats(rows);
        stats.count_error("read", "FileNotFound", "error", 1);
        // What says something of the file, or is of another stage, does not count.
        stats.count_error("read", "FileTooLarge", "error", 5);
        stats.count_error("compile", "SyntaxError", "error", 5);
        writer.finish(rows.len() as u64, stats, digests(rows)).await.unwrap();
    }
    let strict = CommitRequest { tolerance: Tolerance { unread: 0.39, gone: 1.0 }, ..request(&run) };
    let committed = facts.commit(&strict, &TextFold, &clock()).await.unwrap();
    assert_eq!(committed.held_back, Some(HeldBack::Unread { unread: 2, files: 5, allowed: 0.39 }));
    assert!(committed.newly && facts.manifest(&run).await.unwrap().is_some());
    assert_eq!(committed.current.unwrap().run_id, run_id("before"));
    assert_eq!(check_current(&facts).await, run_id("before"));

    // Who looks and finds it in order lets it become current.
    let lenient = CommitRequest { tolerance: Tolerance { unread: 0.4, gone: 1.0 }, ..request(&run) };
    let again = facts.commit(&lenient, &TextFold, &clock()).await.unwrap();
    assert_eq!((again.newly, again.held_back), (false, None));
    assert_eq!(check_current(&facts).await, run);
}

/// One folder is one error, whatever was in it: a share of files says nothing of that.
#[tokio::test]
async fn a_run_with_a_folder_that_was_not_listed_is_not_current() {
    let facts = memory();
    let run = run_id("r");
    let rows = BINS[0];
    write_bins(&facts, &run, &[rows]).await.unwrap();
    let mut writer = writer(&facts, &run, 0);
    writer.write(&batch(rows)).await.unwrap();
    let mut stats = stats(rows);
    stats.count_error("read", "UnreadableFolder", "error", 1);
    writer.finish(rows.len() as u64, stats, digests(rows)).await.unwrap();
    let nearly_all = CommitRequest { tolerance: Tolerance { unread: 0.99, gone: 1.0 }, ..request(&run) };
    let committed = facts.commit(&nearly_all, &TextFold, &clock()).await.unwrap();
    assert_eq!((committed.held_back, committed.current), (Some(HeldBack::Unlisted { folders: 1 }), None));
    assert!(committed.document.run.held_back);
    let lenient = CommitRequest { tolerance: Tolerance { unread: 1.0, gone: 1.0 }, ..request(&run) };
    assert_eq!(facts.commit(&lenient, &TextFold, &clock()).await.unwrap().held_back, None);
}

/// A mount that is missing looks like an empty folder: nothing fails, and repositories are gone. So many files may go with theirs, and no more; of
/// another corpus none were there.
#[tokio::test]
async fn a_run_in_which_too_many_repositories_are_gone_is_not_current() {
    const BEFORE: [Row; 4] = [(Some("a"), "x.py"), (Some("b"), "x.py"), (Some("b"), "y.py"), (Some("c"), "x.py")];
    let commit = async |facts: &FactsStore, id: &str, rows: &[Row], corpus: &str, gone: f64| {
        let run = run_id(id);
        write_bins(facts, &run, &[rows]).await.unwrap();
        land(facts, &run, 0, rows).await.unwrap();
        let request = CommitRequest { corpus: corpus.to_owned(), tolerance: Tolerance { unread: 0.1, gone }, ..request(&run) };
        facts.commit(&request, &TextFold, &clock()).await.unwrap()
    };
    let facts = memory();
    commit(&facts, "before", &BEFORE, "file:///c", 0.5).await;
    let gone = Gone { repositories: 2, files: 3, of_files: 4 };
    let most = commit(&facts, "most", &BEFORE[..1], "file:///c", 0.5).await;
    assert_eq!(most.held_back, Some(HeldBack::Gone { gone, allowed: 0.5 }));
    assert_eq!((most.document.run.gone, most.current.unwrap().run_id), (Some(gone), run_id("before")));
    // As many as may go; of files alone that are gone no word.
    let half = commit(&facts, "half", &[BEFORE[0], BEFORE[1]], "file:///c", 0.5).await;
    assert_eq!((half.held_back, half.document.run.gone), (None, Some(Gone { repositories: 1, files: 1, of_files: 4 })));
    let elsewhere = commit(&facts, "elsewhere", &[(Some("z"), "x.py")], "file:///d", 0.0).await;
    assert_eq!((elsewhere.held_back, elsewhere.document.run.gone), (None, None));
    let run = run_id("named");
    write_bins(&facts, &run, &[&BEFORE[..1]]).await.unwrap();
    land(&facts, &run, 0, &BEFORE[..1]).await.unwrap();
    let options = serde_json::json!({ "optimize": 0, "repo": "mine" });
    let named = CommitRequest { corpus: "file:///d".to_owned(), options, tolerance: Tolerance { unread: 0.1, gone: 0.0 }, ..request(&run) };
    assert_eq!(facts.commit(&named, &TextFold, &clock()).await.unwrap().held_back, None);
}

#[tokio::test]
async fn a_store_that_overwrites_what_is_to_be_created_is_found_out() {
    memory().check_create_only(&AttemptId::from_random(1)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    FactsStore::local(folder.path()).unwrap().check_create_only(&AttemptId::from_random(1)).await.unwrap();
    assert!(keys(&memory(), "").await.is_empty());

    for fault in [Fault::Overwrites, Fault::NoCreate] {
        let facts = memory();
        let careless = Faulty::new(facts.store().clone(), fault, usize::MAX);
        let careless = FactsStore::new(std::sync::Arc::new(careless), facts.root().clone());
        let error = careless.check_create_only(&AttemptId::from_random(1)).await.unwrap_err();
        assert!(matches!(error, LandingError::Unconditional { .. }), "{fault:?}: {error}");
        assert!(keys(&facts, "").await.is_empty(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_run_of_an_earlier_layout_says_what_to_do_and_is_left_alone() {
    let facts = memory();
    let old = [
        "runs/old/manifest.json",
        "runs/old/bins.jsonl",
        "runs/begun/bins.jsonl",
        "runs/begun/done/000000.json",
        "bytecode_files_v1/repo=a/old-000000-t1-0000.parquet",
    ];
    for key in old {
        facts.store().put(&facts.path_of(key).unwrap(), "{}".into()).await.unwrap();
    }
    facts.store().put(&facts.path_of("current.json").unwrap(), r#"{"run_id":"old","sequence":7}"#.into()).await.unwrap();
    let error = facts.manifest(&run_id("old")).await.unwrap_err();
    assert!(matches!(error, LandingError::OlderLayout { .. }) && error.to_string().contains("extract the corpus again"), "{error}");
    assert!(facts.runs().await.unwrap().is_empty());

    let committed = whole_run(&facts, &run_id("new"), &clock()).await.unwrap();
    assert_eq!(committed.document.run.sequence, 8, "the line of runs goes on");
    assert_eq!(facts.runs().await.unwrap().len(), 1);
    let swept = facts.collect(None, &crate::sample::later(1_000), bytefacts_landing::DEFAULT_GRACE).await.unwrap();
    assert_eq!(swept.older_runs, [run_id("begun"), run_id("old")]);
    assert!(facts.unfinished().await.unwrap().is_empty(), "what an earlier version has begun is not to be gone on with");
    let all = keys(&facts, "").await;
    assert!(old.iter().all(|key| all.iter().any(|there| there == key)), "{all:?}");
}

#[tokio::test]
async fn a_manifest_that_is_damaged_is_an_error_and_not_an_empty_one() {
    let facts = memory();
    let run = run_id("r");
    let document = whole_run(&facts, &run, &clock()).await.unwrap().document;
    let key = facts.path_of(&document.files[0].key).unwrap();
    let whole = facts.store().get(&key).await.unwrap().bytes().await.unwrap();
    for damaged in [whole.slice(..whole.len() - 1), bytes::Bytes::new()] {
        facts.store().put_opts(&key, damaged.into(), PutMode::Overwrite.into()).await.unwrap();
        let error = facts.files(&document).await.unwrap_err();
        assert!(matches!(error, LandingError::Damaged { .. }), "{error}");
    }
    facts.store().delete(&key).await.unwrap();
    assert!(matches!(facts.files(&document).await, Err(LandingError::Damaged { .. })));
}

#[tokio::test]
async fn the_shards_of_a_manifest_say_how_much_they_list() {
    let document = whole_run(&memory(), &run_id("r"), &clock()).await.unwrap().document;
    assert_eq!(document.files.iter().map(|shard| shard.entries).collect::<Vec<_>>(), [2]);
    assert_eq!(document.repos.iter().map(|shard| shard.entries).collect::<Vec<_>>(), [3]);
}

#[tokio::test]
async fn a_data_file_that_is_gone_prevents_the_commit() {
    let facts = memory();
    let run = run_id("r");
    write_bins(&facts, &run, &BINS).await.unwrap();
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
    write_bins(&facts, &run, &BINS).await.unwrap();
    for (bin_id, rows) in (0..).zip(BINS) {
        land(&facts, &run, bin_id, rows).await.unwrap();
    }
    let commits = (0..8u64).map(|i| {
        let (facts, run) = (facts.clone(), run.clone());
        tokio::spawn(async move {
            let request = CommitRequest { started_at_ms: i, ..request(&run) };
            facts.commit(&request, &TextFold, &clock()).await.unwrap()
        })
    });
    let commits: Vec<_> = futures::future::join_all(commits).await;
    let commits: Vec<_> = commits.into_iter().map(Result::unwrap).collect();
    assert_eq!(commits.iter().filter(|c| c.newly).count(), 1);
    assert!(commits.iter().all(|c| c.document == commits[0].document));
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
    is_send(&facts.collect(None, &clock(), bytefacts_landing::DEFAULT_GRACE));
    is_send(&land(&facts, &run, 0, BINS[0]));
    is_send(&facts.runs());
    is_send(&facts.run_state(&run));
}

/// A night must not pay for all the nights before it.
#[tokio::test]
async fn a_run_costs_as_many_requests_after_thirty_runs_as_after_one() {
    let counting = Faulty::new(std::sync::Arc::new(object_store::memory::InMemory::new()), Fault::Refused, usize::MAX);
    let facts = FactsStore::new(std::sync::Arc::new(counting.clone()), "facts".into());
    let mut costs = Vec::new();
    for night in 1..=30 {
        let before = counting.requests();
        whole_run(&facts, &run_id(&format!("{night:02}")), &clock()).await.unwrap();
        costs.push(counting.requests() - before);
    }
    assert!(costs[1] > 10, "{costs:?}");
    // The first has no parent.
    assert!(costs[1..].iter().all(|cost| *cost == costs[1]), "{costs:?}");
}
