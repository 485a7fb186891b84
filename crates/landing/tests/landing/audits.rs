//! Audits: what is created once, what is found again, and what goes with whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytefacts_landing::{AuditAsked, AuditCounts, AuditHeader, DEFAULT_GRACE, FactsStore, Keep, LandingError, Swept};
use object_store::ObjectStoreExt as _;

use crate::faulty::{Fault, Faulty};
use crate::sample::{BINS, check_current, clock, keys, later, memory, run_id, whole_run, write_bins};

fn asked(audit: &str, run: &str) -> AuditAsked {
    AuditAsked { audit: run_id(audit), run: run_id(run), night: 7, request: "q".to_owned(), extracts: true }
}

fn header(audit: &str, run: &str) -> AuditHeader {
    AuditHeader {
        audit: run_id(audit),
        run: run_id(run),
        run_digest: "d".to_owned(),
        corpus: "c".to_owned(),
        night: 7,
        preset: "quick".to_owned(),
        complete: true,
        passed: true,
        by_hand: false,
        conditions: 1,
        files: 5,
        sampled: 5,
        covered: 5,
        verdicts: AuditCounts { good: 5, ..AuditCounts::default() },
        allowed: 0,
        documents: BTreeMap::new(),
    }
}

/// An audit that has done a unit of its work.
async fn begun(facts: &FactsStore, audit: &str, run: &str) {
    facts.ask_audit(&asked(audit, run)).await.unwrap();
    facts.create_audit_document(&run_id(audit), "plan.json", "{}".into()).await.unwrap();
    facts.create_audit_document(&run_id(audit), "units/000000/a.json", "[]".into()).await.unwrap();
}

async fn concluded(facts: &FactsStore, audit: &str, run: &str) -> AuditHeader {
    begun(facts, audit, run).await;
    let mut header = header(audit, run);
    for name in ["report", "table"] {
        let kept = facts.keep_audit_result(&header.audit, name, "json", 1, name.into()).await.unwrap();
        header.documents.insert(name.to_owned(), kept);
    }
    facts.conclude_audit(&header).await.unwrap()
}

#[tokio::test]
async fn who_comes_first_decides_and_results_are_what_the_header_says() {
    let facts = memory();
    assert_eq!(facts.ask_audit(&asked("a", "r")).await.unwrap().run, run_id("r"));
    assert_eq!(facts.ask_audit(&asked("a", "other")).await.unwrap().run, run_id("r"));
    assert_eq!(facts.unfinished_audits().await.unwrap(), [asked("a", "r")]);
    let first = concluded(&facts, "a", "r").await;
    let second = AuditHeader { passed: false, ..first.clone() };
    assert_eq!(facts.conclude_audit(&second).await.unwrap(), first);
    assert!(facts.unfinished_audits().await.unwrap().is_empty());
    assert_eq!(facts.audits().await.unwrap()[0].header, first);
    assert_eq!(facts.audit_documents(&run_id("a"), "units").await.unwrap(), ["000000/a.json"]);

    let report = &first.documents["report"];
    assert_eq!(facts.audit_result(report).await.unwrap(), "report");
    facts.store().put(&facts.path_of(&report.key).unwrap(), "rep0rt".into()).await.unwrap();
    assert!(matches!(facts.audit_result(report).await, Err(LandingError::Damaged { .. })));
    facts.store().delete(&facts.path_of(&report.key).unwrap()).await.unwrap();
    assert!(matches!(facts.audit_result(report).await, Err(LandingError::Damaged { .. })));
}

#[tokio::test]
async fn the_newest_audit_is_the_first() {
    let facts = memory();
    for audit in ["b", "c", "a"] {
        concluded(&facts, audit, "r").await;
        tokio::time::sleep(std::time::Duration::from_millis(3)).await; // the store dates by the millisecond
    }
    let names: Vec<_> = facts.audits().await.unwrap().into_iter().map(|audit| audit.header.audit).collect();
    assert_eq!(names, [run_id("a"), run_id("c"), run_id("b")]);
}

#[tokio::test]
async fn audits_go_with_their_runs_and_those_of_kept_runs_stay() {
    let facts = memory();
    for run in ["n1", "n2"] {
        whole_run(&facts, &run_id(run), &clock()).await.unwrap();
        concluded(&facts, &format!("of-{run}"), run).await;
        begun(&facts, &format!("half-{run}"), run).await;
    }
    begun(&facts, "nothing-came-of", "ghost").await;
    for foreign in ["audits/notes.txt", "audits/mine/x.json"] {
        facts.store().put(&facts.path_of(foreign).unwrap(), "x".into()).await.unwrap();
    }
    let keep = Keep { last: Some(1), ..Keep::default() };
    let before = keys(&facts, "audits").await;
    facts.collect(Some(&keep), &clock(), DEFAULT_GRACE).await.unwrap();
    assert_eq!(facts.collect(None, &later(23), DEFAULT_GRACE).await.unwrap().audits, []);
    assert_eq!(keys(&facts, "audits").await, before, "somebody may be at work");

    let surveyed = facts.survey(None, &later(25), DEFAULT_GRACE).await.unwrap();
    assert_eq!(surveyed.audits, ["half-n1", "nothing-came-of", "of-n1"].map(run_id));
    assert_eq!(keys(&facts, "audits").await, before, "a survey changes nothing");
    assert_eq!(facts.collect(None, &later(25), DEFAULT_GRACE).await.unwrap(), surveyed);
    let left = keys(&facts, "audits").await;
    let expected: Vec<_> = before
        .into_iter()
        .filter(|key| !["of-n1/", "half-n1/", "nothing-came-of/", "of-n2/units/"].iter().any(|gone| key.contains(gone)))
        .collect();
    assert_eq!(left, expected, "of a concluded audit what its header names is kept, of one under way everything");
    assert_eq!(facts.audits().await.unwrap().len(), 1);
    assert_eq!(facts.collect(None, &later(25), DEFAULT_GRACE).await.unwrap(), Swept::default());
}

#[tokio::test]
async fn an_audit_stays_as_long_as_its_run_is_worked_on_and_goes_with_it() {
    let facts = memory();
    facts.ask_audit(&asked("a", "slow")).await.unwrap();
    write_bins(&facts, &run_id("slow"), &BINS).await.unwrap();
    let swept = facts.collect(None, &later(23), DEFAULT_GRACE).await.unwrap();
    assert_eq!(swept, Swept::default());
    // Once nobody works on the run any more, both go.
    let swept = facts.collect(None, &later(25), DEFAULT_GRACE).await.unwrap();
    assert_eq!((swept.abandoned_runs, swept.audits), (vec![run_id("slow")], vec![run_id("a")]));
}

/// Interrupted anywhere, no audit is listed whose tables are gone, and the next collection ends what this one began.
#[tokio::test]
async fn a_collection_of_audits_that_is_interrupted_is_ended_by_the_next() {
    for fault in [Fault::Refused, Fault::AnswerLost, Fault::Dead] {
        for at in 1.. {
            let facts = memory();
            for run in ["n1", "n2"] {
                whole_run(&facts, &run_id(run), &clock()).await.unwrap();
                concluded(&facts, &format!("of-{run}"), run).await;
            }
            facts.collect(Some(&Keep { last: Some(1), ..Keep::default() }), &clock(), DEFAULT_GRACE).await.unwrap();
            let faulty = Faulty::new(facts.store().clone(), fault, at);
            let broken = FactsStore::new(Arc::new(faulty.clone()), facts.root().clone());
            let outcome = broken.collect(None, &later(25), DEFAULT_GRACE).await;
            let whole = faulty.requests() < at;
            assert!(!whole || outcome.is_ok(), "{outcome:?}");
            for audit in facts.audits().await.unwrap() {
                for document in audit.header.documents.values() {
                    facts.audit_result(document).await.unwrap();
                }
            }
            facts.collect(None, &later(25), DEFAULT_GRACE).await.unwrap();
            assert_eq!(check_current(&facts).await, run_id("n2"));
            assert!(keys(&facts, "audits").await.iter().all(|key| key.starts_with("audits/of-n2/")));
            if whole {
                break;
            }
        }
    }
}
