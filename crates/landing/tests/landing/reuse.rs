//! Bins that are taken over, and runs that share what they name.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytefacts_landing::{BinRecord, DEFAULT_GRACE, FactsStore, FixedClock, LandingError, PinnedBin, RunId};
use futures::TryStreamExt as _;
use object_store::{ObjectStoreExt as _, PutMode};

use crate::faulty::{Fault, Faulty};
use crate::sample::{
    BINS, TextFold, all_rows, clock, keys, land, later, memory, new_attempt, request, rows, run_id, whole_run, write_bins,
};

async fn pin(facts: &FactsStore, run: &RunId, bin: u32) -> PinnedBin {
    let record = facts.bin_record(run, bin).await.unwrap().unwrap();
    facts.pin(&record).await.unwrap().unwrap()
}

async fn take_over(facts: &FactsStore, pinned: &PinnedBin, run: &RunId, bin: u32) -> Result<Option<BinRecord>, LandingError> {
    facts.take_over(pinned, run, bin, BINS[bin as usize].len() as u64, &new_attempt(), || 7).await
}

/// A run that takes every bin over from another, and is committed.
async fn same_again(facts: &FactsStore, of: &RunId, run: &RunId) {
    write_bins(facts, run, &BINS).await.unwrap();
    for bin in [0, 1] {
        let record = take_over(facts, &pin(facts, of, bin).await, run, bin).await.unwrap().unwrap();
        assert_eq!((record.stats.cache_hits, record.stats.wall_us), (BINS[bin as usize].len() as u64, 7));
    }
    let committed = facts.commit(&request(run), &TextFold, &clock()).await.unwrap();
    assert_eq!(committed.document.run.bins_taken_over, 2);
    assert_eq!(committed.document.run.landed_bytes, 0);
}

#[tokio::test]
async fn a_night_without_changes_writes_no_data_and_no_list_again() {
    let facts = memory();
    let (first, second, third) = (run_id("1"), run_id("2"), run_id("3"));
    let original = whole_run(&facts, &first, &clock()).await.unwrap().document;
    let data = keys(&facts, "bytecode_files_v1").await;
    same_again(&facts, &first, &second).await;
    // From a run that had taken them over itself: the origin is the run that landed them.
    same_again(&facts, &second, &third).await;
    assert_eq!(keys(&facts, "bytecode_files_v1").await, data);
    for run in [&second, &third] {
        assert!(keys(&facts, &format!("runs/{run}/manifest")).await.is_empty());
        assert!(keys(&facts, &format!("runs/{run}/bins")).await.is_empty());
        let manifest = facts.manifest(run).await.unwrap().unwrap();
        assert_eq!(rows(&facts, &manifest).await, all_rows());
        assert_eq!(manifest.run.digest, original.run.digest);
        assert_eq!(facts.bin_record(run, 0).await.unwrap().unwrap().origin.unwrap().run_id, first);
    }
}

#[tokio::test]
async fn what_another_run_names_stays_when_its_own_is_let_go() {
    let facts = memory();
    let (first, second) = (run_id("1"), run_id("2"));
    whole_run(&facts, &first, &clock()).await.unwrap();
    write_bins(&facts, &second, &BINS).await.unwrap();
    take_over(&facts, &pin(&facts, &first, 0).await, &second, 0).await.unwrap().unwrap();
    land(&facts, &second, 1, BINS[1]).await.unwrap();
    facts.commit(&request(&second), &TextFold, &clock()).await.unwrap();
    assert_eq!(keys(&facts, "bytecode_files_v1").await.len(), 3);

    let keep = bytefacts_landing::Keep { last: Some(1), ..Default::default() };
    let marked = facts.collect(Some(&keep), &clock(), DEFAULT_GRACE).await.unwrap();
    assert_eq!(marked.let_go, std::slice::from_ref(&first));
    assert_eq!(facts.runs().await.unwrap().len(), 1);
    assert_eq!(keys(&facts, "bytecode_files_v1").await.len(), 3, "who reads it may be at it still");
    let swept = facts.collect(Some(&keep), &later(25), DEFAULT_GRACE).await.unwrap();
    assert_eq!(swept.data_files, 1);
    let left = keys(&facts, "bytecode_files_v1").await;
    assert!(left.len() == 2 && left[0].contains("landed=1/000000-") && left[1].contains("landed=2/000001-"), "{left:?}");
    // The record has the digests of what is named.
    let documents = keys(&facts, "runs/1").await;
    assert!(documents.iter().any(|key| key == "runs/1/done/000000.json"), "{documents:?}");
    assert!(!documents.iter().any(|key| key == "runs/1/done/000001.json" || key == "runs/1/run.json"), "{documents:?}");
    let manifest = facts.manifest(&second).await.unwrap().unwrap();
    assert_eq!(rows(&facts, &manifest).await, all_rows());
    assert!(facts.bins(&second).await.unwrap().is_some());
    // A third can still take over what the second names, whoever landed it.
    same_again(&facts, &second, &run_id("3")).await;
}

#[tokio::test]
async fn nothing_is_taken_over_from_a_run_that_is_let_go_or_not_committed() {
    let facts = memory();
    let (first, second, third) = (run_id("1"), run_id("2"), run_id("3"));
    whole_run(&facts, &first, &clock()).await.unwrap();
    let pinned = pin(&facts, &first, 0).await;
    whole_run(&facts, &second, &clock()).await.unwrap();
    let keep = bytefacts_landing::Keep { last: Some(1), ..Default::default() };
    facts.collect(Some(&keep), &clock(), DEFAULT_GRACE).await.unwrap();
    assert_eq!(take_over(&facts, &pinned, &third, 0).await.unwrap(), None);

    let open = run_id("open");
    write_bins(&facts, &open, &BINS).await.unwrap();
    land(&facts, &open, 0, BINS[0]).await.unwrap();
    assert_eq!(take_over(&facts, &pin(&facts, &open, 0).await, &third, 0).await.unwrap(), None);
    // Unless a run that is kept names the same files.
    write_bins(&facts, &third, &BINS).await.unwrap();
    let kept = pin(&facts, &second, 0).await;
    let taken = take_over(&facts, &kept, &third, 0).await.unwrap().unwrap();
    let newest = facts.pin(&taken).await.unwrap().unwrap();
    let fourth = run_id("4");
    assert_eq!(take_over(&facts, &newest, &fourth, 0).await.unwrap(), None, "the third is not committed");
    assert!(take_over(&facts, &newest.named_before_by(&kept), &fourth, 0).await.unwrap().is_some());
}

/// It took the bin over a moment before the mark, and commits after what only marked runs name is deleted: its record says what it needs.
#[tokio::test]
async fn what_an_open_run_has_taken_over_is_kept_for_it() {
    let facts = memory();
    let (first, second, third) = (run_id("1"), run_id("2"), run_id("3"));
    whole_run(&facts, &first, &clock()).await.unwrap();
    write_bins(&facts, &third, &BINS).await.unwrap();
    take_over(&facts, &pin(&facts, &first, 0).await, &third, 0).await.unwrap().unwrap();
    whole_run(&facts, &second, &clock()).await.unwrap();
    let keep = bytefacts_landing::Keep { last: Some(1), ..Default::default() };
    assert_eq!(facts.collect(Some(&keep), &clock(), DEFAULT_GRACE).await.unwrap().let_go, std::slice::from_ref(&first));

    // The mark is older than the grace period, and the open run is at work still: by the store's clock, which the times are taken from.
    let newest = async |folder: &str| {
        let documents: Vec<_> = facts.store().list(Some(&facts.path_of(folder).unwrap())).try_collect().await.unwrap();
        SystemTime::from(documents.iter().map(|document| document.last_modified).max().unwrap())
    };
    let marked_at = newest("runs/1").await;
    while SystemTime::now() < marked_at + Duration::from_millis(20) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    land(&facts, &third, 1, BINS[1]).await.unwrap();
    let at_work = newest("runs/3").await;
    let grace = at_work.duration_since(marked_at).unwrap() - Duration::from_millis(5);
    let swept = facts.collect(None, &FixedClock(at_work), grace).await.unwrap();
    assert_eq!((swept.data_files, swept.abandoned_runs.len()), (1, 0), "of the first run only what nobody else names");
    let committed = facts.commit(&request(&third), &TextFold, &clock()).await.unwrap();
    assert_eq!(rows(&facts, &facts.whole(committed.document).await.unwrap()).await, all_rows());
}

#[tokio::test]
async fn objects_that_are_gone_or_others_are_not_taken_over() {
    let facts = memory();
    let (first, second) = (run_id("1"), run_id("2"));
    whole_run(&facts, &first, &clock()).await.unwrap();
    let pinned = pin(&facts, &first, 0).await;
    let record = facts.bin_record(&first, 0).await.unwrap().unwrap();
    let key = facts.path_of(&record.files[0].key).unwrap();
    let bytes = facts.store().get(&key).await.unwrap().bytes().await.unwrap();
    facts.store().put_opts(&key, bytes.into(), PutMode::Overwrite.into()).await.unwrap();
    assert_eq!(take_over(&facts, &pinned, &second, 0).await.unwrap(), None, "an object of the same bytes, but another one");
    facts.store().delete(&key).await.unwrap();
    assert_eq!(take_over(&facts, &pinned, &second, 0).await.unwrap(), None);
    assert_eq!(facts.pin(&record).await.unwrap(), None);
}

#[tokio::test]
async fn a_forged_or_damaged_record_is_not_taken_over() {
    let facts = memory();
    let (first, second) = (run_id("1"), run_id("2"));
    whole_run(&facts, &first, &clock()).await.unwrap();
    let pinned = pin(&facts, &first, 0).await;
    let key = facts.path_of("runs/1/done/000000.json").unwrap();
    let whole = facts.store().get(&key).await.unwrap().bytes().await.unwrap();
    let whole = String::from_utf8(zstd::decode_all(&whole[..]).unwrap()).unwrap();
    let forged = whole.replace("\"units\":21", "\"units\":22");
    assert_ne!(forged, whole);
    for forged in [zstd::encode_all(forged.as_bytes(), 3).unwrap(), forged.into_bytes()] {
        facts.store().put_opts(&key, forged.into(), PutMode::Overwrite.into()).await.unwrap();
        assert!(matches!(take_over(&facts, &pinned, &second, 0).await, Err(LandingError::Damaged { .. })));
    }
    // A pin of another bin does not fit.
    let other = pin(&facts, &first, 1).await;
    assert!(matches!(take_over(&facts, &other, &second, 0).await, Err(LandingError::Record { .. })));
    assert!(facts.finished_bins(&second).await.unwrap().is_empty());
}

/// What is written of a bin that is taken over says whose it is, and no more; the commit reads the rest where it stands.
#[tokio::test]
async fn a_bin_that_is_taken_over_costs_a_reference() {
    let facts = memory();
    let (first, second, third) = (run_id("1"), run_id("2"), run_id("3"));
    whole_run(&facts, &first, &clock()).await.unwrap();
    same_again(&facts, &first, &second).await;
    let stored = async |run: &RunId| {
        let key = facts.path_of(&format!("runs/{run}/done/000000.json")).unwrap();
        let bytes = facts.store().get(&key).await.unwrap().bytes().await.unwrap();
        (key, String::from_utf8(zstd::decode_all(&bytes[..]).unwrap()).unwrap())
    };
    let (key, reference) = stored(&second).await;
    assert!(!reference.contains("files\":[") && !reference.contains("digests") && reference.contains("sha256"), "{reference}");

    // As earlier versions wrote records: whole, and as they are.
    let record = facts.bin_record(&second, 0).await.unwrap().unwrap();
    assert_eq!(record.files, facts.bin_record(&first, 0).await.unwrap().unwrap().files);
    facts.store().put_opts(&key, serde_json::to_vec(&record).unwrap().into(), PutMode::Overwrite.into()).await.unwrap();
    let (landed, of_first) = stored(&first).await;
    facts.store().put_opts(&landed, of_first.into(), PutMode::Overwrite.into()).await.unwrap();
    assert_eq!(facts.bin_record(&second, 0).await.unwrap().unwrap(), record);
    same_again(&facts, &second, &third).await;

    // Without the record that it speaks of it is none.
    facts.store().delete(&landed).await.unwrap();
    assert!(matches!(facts.bin_record(&third, 0).await, Err(LandingError::Damaged { .. })));
}

#[tokio::test]
async fn a_take_over_that_is_interrupted_anywhere_leaves_a_record_or_none() {
    for fault in [Fault::Refused, Fault::AnswerLost, Fault::Dead] {
        for at in 1.. {
            let facts = memory();
            let (first, second) = (run_id("1"), run_id("2"));
            whole_run(&facts, &first, &clock()).await.unwrap();
            write_bins(&facts, &second, &BINS).await.unwrap();
            let pinned = pin(&facts, &first, 0).await;
            let faulty = Faulty::new(facts.store().clone(), fault, at);
            let broken = FactsStore::new(Arc::new(faulty.clone()), facts.root().clone());
            let taken = take_over(&broken, &pinned, &second, 0).await;
            if faulty.requests() < at {
                assert!(taken.unwrap().is_some());
                break;
            }
            if facts.finished_bins(&second).await.unwrap().is_empty() {
                assert!(taken.is_err());
                land(&facts, &second, 0, BINS[0]).await.unwrap();
            }
            land(&facts, &second, 1, BINS[1]).await.unwrap();
            let committed = facts.commit(&request(&second), &TextFold, &clock()).await.unwrap();
            assert_eq!(rows(&facts, &facts.whole(committed.document).await.unwrap()).await, all_rows());
        }
    }
}
