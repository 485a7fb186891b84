//! A run is interrupted at every single request, in every way, and done again.

use std::sync::Arc;
use std::time::Duration;

use bytefacts_landing::{FactsStore, LandingError};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;

use crate::faulty::{Fault, Faulty};
use crate::sample::{all_rows, check_current, clock, keys, later, memory, rows, run_id, whole_run};

/// Interrupts at request 1, 2, … until a run comes through undisturbed.
async fn interrupted_everywhere(fault: Fault, new_store: impl Fn() -> Arc<dyn ObjectStore>) {
    let (first, second) = (run_id("first"), run_id("second"));
    let mut interrupted = 0;
    for at in 1.. {
        let store = new_store();
        let facts = FactsStore::new(store.clone(), "facts".into());
        whole_run(&facts, &first, &clock()).await.unwrap();

        let faulty = Faulty::new(store, fault, at);
        let broken = FactsStore::new(Arc::new(faulty.clone()), "facts".into());
        let outcome = whole_run(&broken, &second, &clock()).await;
        if faulty.requests() < at {
            outcome.unwrap();
            break;
        }

        // What was current stays so, or the run was committed as a whole.
        if let Err(error) = outcome {
            interrupted += 1;
            assert!(error.is_transient(), "{fault:?} at {at}: {error:?}");
        }
        let current = check_current(&facts).await;
        assert!(current == first || current == second);

        // Whoever tries again succeeds, with what was done already.
        let committed = whole_run(&facts, &second, &clock()).await.unwrap();
        assert_eq!(committed.current.unwrap().run_id, second, "{fault:?} at {at}");
        assert_eq!(check_current(&facts).await, second);
        assert_eq!(committed.document.run.sequence, 2);

        // And nothing is left that no manifest names.
        facts.collect(None, &later(48), Duration::from_hours(24)).await.unwrap();
        let mut named = Vec::new();
        for run in [&first, &second] {
            let manifest = facts.manifest(run).await.unwrap().unwrap();
            assert_eq!(rows(&facts, &manifest).await, all_rows());
            named.extend(manifest.files.into_iter().map(|f| f.key));
        }
        named.sort();
        assert_eq!(keys(&facts, "bytecode_files_v1").await, named);
    }
    assert!(interrupted >= 20, "only {interrupted} interruptions");
}

#[tokio::test]
async fn a_refused_request_costs_nothing() {
    interrupted_everywhere(Fault::Refused, || Arc::new(InMemory::new())).await;
}

#[tokio::test]
async fn a_lost_answer_costs_nothing() {
    interrupted_everywhere(Fault::AnswerLost, || Arc::new(InMemory::new())).await;
}

#[tokio::test]
async fn a_death_costs_nothing() {
    interrupted_everywhere(Fault::Dead, || Arc::new(InMemory::new())).await;
}

#[tokio::test]
async fn the_same_on_disk() {
    for fault in [Fault::Refused, Fault::AnswerLost, Fault::Dead] {
        // Folders live until the end of the round.
        let folders = std::sync::Mutex::new(Vec::new());
        interrupted_everywhere(fault, || {
            let folder = tempfile::tempdir().unwrap();
            let store = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
            folders.lock().unwrap().push(folder);
            Arc::new(store)
        })
        .await;
    }
}

/// The digest of a run depends on its files alone: not on bins, attempts or interruptions.
#[tokio::test]
async fn digests_do_not_depend_on_what_went_wrong() {
    let undisturbed = memory();
    let run = run_id("run");
    let expected = whole_run(&undisturbed, &run, &clock()).await.unwrap();

    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    for at in [3, 7, 11, 15] {
        let faulty = Faulty::new(store.clone(), Fault::Dead, at);
        let _ = whole_run(&FactsStore::new(Arc::new(faulty), "f".into()), &run, &clock()).await;
    }
    let facts = FactsStore::new(store, "f".into());
    let committed = whole_run(&facts, &run, &clock()).await.unwrap();
    assert_eq!(committed.document.run.digest, expected.document.run.digest);
    let repos = async |facts: &FactsStore| facts.manifest(&run).await.unwrap().unwrap().repos;
    assert_eq!(repos(&facts).await, repos(&undisturbed).await);
}

/// As where objects were deleted behind a store's back, and what it knows of them was not.
#[tokio::test]
async fn a_document_that_is_there_and_is_not_is_damage_and_no_endless_wait() {
    let faulty = Faulty::new(Arc::new(InMemory::new()), Fault::Ghosts, 0);
    let facts = FactsStore::new(Arc::new(faulty.clone()), "facts".into());
    let error = facts.attach(&run_id("r"), "tree", "{}".into()).await.unwrap_err();
    assert!(matches!(error, LandingError::Damaged { .. }) && !error.is_transient(), "{error:?}");
    assert!(error.to_string().contains("runs/r/about/tree"), "{error}");
    assert!(faulty.requests() > 1, "a sweep may be at work: it is asked again");
}
