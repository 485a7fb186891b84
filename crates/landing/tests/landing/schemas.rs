//! Schema snapshots: stored once, compared with the run before.

use bytefacts_landing::{CommitRequest, FactsStore, Manifest, RunId, SchemaRecord};
use object_store::{ObjectStoreExt, PutMode};

use crate::sample::{BINS, TextFold, clock, keys, land, later, memory, request, run_id, snapshot, write_bins};

/// Commits a run whose facts have one table with these columns.
async fn commit(facts: &FactsStore, run: &RunId, columns: &[&str]) -> Manifest {
    write_bins(facts, run, &BINS).await.unwrap();
    for (bin_id, rows) in (0..).zip(BINS) {
        land(facts, run, bin_id, rows).await.unwrap();
    }
    let request = CommitRequest { schema: snapshot(columns), ..request(run) };
    facts.commit(&request, &TextFold, &clock()).await.unwrap();
    facts.manifest(run).await.unwrap().unwrap()
}

fn schema(manifest: &Manifest) -> &SchemaRecord {
    manifest.schema.as_ref().unwrap()
}

#[tokio::test]
async fn runs_of_one_schema_share_a_snapshot_and_a_new_column_is_a_delta() {
    let facts = memory();
    let first = commit(&facts, &run_id("1"), &["path"]).await;
    assert_eq!(schema(&first).delta.since, None);
    assert!(schema(&first).delta.is_empty(), "there is nothing to compare the first run with");

    let second = commit(&facts, &run_id("2"), &["path"]).await;
    assert_eq!(schema(&second).snapshot, schema(&first).snapshot);
    assert_eq!(schema(&second).delta.since, Some(run_id("1")));
    assert!(schema(&second).delta.is_empty());
    assert_eq!(keys(&facts, "schemas").await.len(), 1);

    let third = commit(&facts, &run_id("3"), &["path", "repo"]).await;
    assert_ne!(schema(&third).snapshot, schema(&first).snapshot);
    let added: Vec<_> = schema(&third).delta.added_columns.iter().map(|c| format!("{}.{}", c.table, c.column)).collect();
    assert_eq!(added, ["t.repo"]);
    assert_eq!(facts.manifest(&run_id("3")).await.unwrap(), Some(third.clone()));

    facts.collect(None, &later(48), std::time::Duration::from_hours(24)).await.unwrap();
    let kept = facts.schema_snapshot(&schema(&third).snapshot).await.unwrap();
    assert_eq!(kept, Some(snapshot(&["path", "repo"])), "a sweep leaves snapshots alone");
}

#[tokio::test]
async fn a_run_before_without_a_snapshot_is_no_obstacle() {
    let facts = memory();
    commit(&facts, &run_id("1"), &["path"]).await;
    // As an older version wrote it.
    let key = facts.path_of("runs/1/run.json").unwrap();
    let bytes = facts.store().get(&key).await.unwrap().bytes().await.unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert!(manifest.as_object_mut().unwrap().remove("schema").is_some());
    facts.store().put(&key, manifest.to_string().into()).await.unwrap();
    assert_eq!(facts.manifest(&run_id("1")).await.unwrap().unwrap().schema, None);

    let second = commit(&facts, &run_id("2"), &["path", "repo"]).await;
    assert_eq!(schema(&second).delta.since, None);
    assert!(schema(&second).delta.is_empty());
}

#[tokio::test]
async fn a_snapshot_that_is_lost_or_damaged_is_none() {
    let facts = memory();
    let first = commit(&facts, &run_id("1"), &["path"]).await;
    let digest = &schema(&first).snapshot;
    let key = facts.path_of(&format!("schemas/{digest}.json")).unwrap();
    facts.store().put_opts(&key, "{\"tables\":[]}".into(), PutMode::Overwrite.into()).await.unwrap();
    assert_eq!(facts.schema_snapshot(digest).await.unwrap(), None);
    facts.store().delete(&key).await.unwrap();
    assert_eq!(facts.schema_snapshot(digest).await.unwrap(), None);

    let second = commit(&facts, &run_id("2"), &["path", "repo"]).await;
    assert_eq!(schema(&second).delta.since, None, "the run is committed all the same");
}
