//! Runs that are let go.

use std::time::Duration;

use bytefacts_landing::{DEFAULT_GRACE, FactsStore, Keep, LandingError, RunState};
use object_store::ObjectStoreExt as _;

use crate::faulty::{Fault, Faulty};
use crate::sample::{TextFold, all_rows, check_current, clock, keys, later, memory, request, rows, run_id, whole_run};

fn last(count: u32) -> Keep {
    Keep { last: Some(count), ..Keep::default() }
}

async fn nights(facts: &FactsStore, count: u32) {
    for night in 1..=count {
        whole_run(facts, &run_id(&format!("n{night}")), &clock()).await.unwrap();
    }
}

#[tokio::test]
async fn runs_are_let_go_first_and_deleted_a_grace_period_later() {
    let facts = memory();
    nights(&facts, 4).await;
    let surveyed = facts.survey(Some(&last(2)), &clock(), DEFAULT_GRACE).await.unwrap();
    assert_eq!(surveyed.let_go, [run_id("n1"), run_id("n2")]);
    assert_eq!(facts.runs().await.unwrap().len(), 4, "a survey changes nothing");

    let collected = facts.collect(Some(&last(2)), &clock(), DEFAULT_GRACE).await.unwrap();
    assert_eq!(collected, surveyed);
    assert_eq!(collected.data_files, 0);
    let listed: Vec<_> = facts.runs().await.unwrap().into_iter().map(|run| run.run_id).collect();
    assert_eq!(listed, [run_id("n4"), run_id("n3")]);
    // Who is at it still reads it to its end.
    let manifest = facts.manifest(&run_id("n1")).await.unwrap().unwrap();
    assert_eq!(rows(&facts, &manifest).await, all_rows());
    assert_eq!(facts.run_state(&run_id("n1")).await.unwrap(), RunState::Abandoned, "its name is not given again");

    let later_on = facts.collect(None, &later(25), DEFAULT_GRACE).await.unwrap();
    assert_eq!((later_on.data_files, later_on.let_go.len()), (4, 0));
    // Beside the mark, only the lists are left that the later runs share.
    let left = keys(&facts, "runs/n1").await;
    assert!(left.iter().all(|key| key.ends_with("let_go.json") || key.contains("-bins-") || key.contains("-repos-")), "{left:?}");
    assert_eq!(facts.manifest(&run_id("n1")).await.unwrap(), None);
    assert_eq!(facts.run_state(&run_id("n1")).await.unwrap(), RunState::Abandoned);
    assert_eq!(check_current(&facts).await, run_id("n4"));
    assert_eq!(facts.collect(Some(&last(2)), &later(25), DEFAULT_GRACE).await.unwrap(), bytefacts_landing::Swept::default());
}

#[tokio::test]
async fn the_current_run_is_never_let_go() {
    let facts = memory();
    nights(&facts, 2).await;
    let collected = facts.collect(Some(&last(0)), &clock(), DEFAULT_GRACE).await.unwrap();
    assert_eq!(collected.let_go, [run_id("n1")]);
    assert_eq!(check_current(&facts).await, run_id("n2"));
    assert!(matches!(facts.collect(Some(&Keep::default()), &clock(), DEFAULT_GRACE).await, Err(LandingError::NoRule)));
}

/// Interrupted anywhere, what is current stays whole, and the next collection ends what this one began.
#[tokio::test]
async fn a_collection_that_is_interrupted_is_ended_by_the_next() {
    for fault in [Fault::Refused, Fault::AnswerLost, Fault::Dead] {
        for at in 1.. {
            let facts = memory();
            nights(&facts, 3).await;
            facts.collect(Some(&last(2)), &clock(), DEFAULT_GRACE).await.unwrap();
            let faulty = Faulty::new(facts.store().clone(), fault, at);
            let broken = FactsStore::new(std::sync::Arc::new(faulty.clone()), facts.root().clone());
            let outcome = broken.collect(Some(&last(1)), &later(25), DEFAULT_GRACE).await;
            let whole = faulty.requests() < at;
            assert!(!whole || outcome.is_ok(), "{outcome:?}");
            assert_eq!(check_current(&facts).await, run_id("n3"));
            facts.collect(Some(&last(1)), &later(25), DEFAULT_GRACE).await.unwrap();
            facts.collect(None, &later(51), Duration::from_hours(24)).await.unwrap();
            assert_eq!(check_current(&facts).await, run_id("n3"));
            assert_eq!(keys(&facts, "bytecode_files_v1").await.len(), 2);
            if whole {
                break;
            }
        }
    }
}

/// The mark may come between a commit's decision and its move of `current`.
#[tokio::test]
async fn a_marked_run_neither_becomes_current_nor_is_deleted_while_it_is() {
    let facts = memory();
    nights(&facts, 2).await;
    facts.collect(Some(&last(1)), &clock(), DEFAULT_GRACE).await.unwrap();
    let again = facts.commit(&request(&run_id("n1")), &TextFold, &clock()).await;
    assert!(matches!(again, Err(LandingError::Abandoned { .. })), "{again:?}");
    assert_eq!(check_current(&facts).await, run_id("n2"));

    // As if the mark had come a moment too late.
    let mark = facts.path_of("runs/n2/let_go.json").unwrap();
    facts.store().put(&mark, r#"{"run_id":"n2","at_ms":1}"#.into()).await.unwrap();
    facts.collect(None, &later(100), DEFAULT_GRACE).await.unwrap();
    assert_eq!(check_current(&facts).await, run_id("n2"));
}
