//! `changes('a', 'b')`: what differs between two runs, and what is read to find out.

use std::path::Path;

use bytefacts_client::{Connection, Options};
use bytefacts_engine::ExtractOptions;
use bytefacts_query::facts_session;
use bytefacts_stores::Stores;
use serde_json::json;
use tempfile::TempDir;

use crate::service::Service;
use crate::support::{Shape, edit_manifest, extract, folder, query_text, texts, url, write_files};

const CHANGES: &str = "SELECT repo, path, change, drift FROM changes('one', 'two') ORDER BY repo NULLS FIRST, path";

/// Four repositories and a loose file, of which a further run is to find changed what `change` does.
async fn two_runs(options: ExtractOptions, change: impl FnOnce(&Path)) -> (TempDir, TempDir) {
    let (corpus, facts) = (folder(), folder());
    write_files(
        corpus.path(),
        &[("loose.py", b"x = 1\n"), ("a/kept.py", b"k = 1\n"), ("a/other.py", b"o = 1\n"), ("b/gone.py", b"g = 1\n")],
    );
    write_files(corpus.path(), &[("c/m.py", b"def f(a):\n    return a or 2\n"), ("c/n.py", b"n = 'text'\n"), ("d/same.py", b"s = 1\n")]);
    extract(corpus.path(), facts.path(), &Shape { run: "one", bins: 3, ..Shape::default() }).await;
    change(corpus.path());
    extract(corpus.path(), facts.path(), &Shape { run: "two", bins: 3, options, ..Shape::default() }).await;
    (corpus, facts)
}

fn edit(corpus: &Path) {
    std::fs::remove_dir_all(corpus.join("b")).unwrap();
    write_files(
        corpus,
        &[("loose.py", b"x = 2\n"), ("a/other.py", b"o = 1  # said\n"), ("a/new.py", b"n = 1\n"), ("e/new.py", b"e = 1\n")],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_went_and_was_written_anew_is_told_and_nothing_else() {
    let (_corpus, facts) = two_runs(ExtractOptions::default(), edit).await;
    let expected = [
        ["NULL", "loose.py", "source", "NULL"],
        ["a", "new.py", "added", "NULL"],
        ["a", "other.py", "source", "NULL"],
        ["b", "gone.py", "removed", "NULL"],
        ["e", "new.py", "added", "NULL"],
    ];
    assert_eq!(query_text(facts.path(), CHANGES).await, expected);
    // The other way round what came has gone.
    let back = query_text(facts.path(), "SELECT change, count(*) FROM changes('two', 'one') GROUP BY change ORDER BY change").await;
    assert_eq!(back, [["added", "1"], ["removed", "2"], ["source", "2"]]);
    assert!(query_text(facts.path(), "SELECT * FROM changes('two', 'two')").await.is_empty());
    // The digests are those of the runs.
    let of_runs = "SELECT count(*) FROM changes('one', 'two') c JOIN bytecode_files_v1 f ON f.path = c.path AND f.repo IS NOT DISTINCT FROM c.repo \
                   WHERE c.facts_digest_b = f.facts_digest AND c.file_sha256_b = f.file_sha256 AND c.facts_digest_a IS DISTINCT FROM c.facts_digest_b";
    assert_eq!(query_text(facts.path(), of_runs).await, [["4"]], "all but the file that is gone");
}

/// The same corpus by other options: all of it differs, and none of it is an alarm. Where the manifests deny that anything was made differently, it is.
#[tokio::test(flavor = "multi_thread")]
async fn drift_is_told_from_what_nobody_can_explain() {
    let options = ExtractOptions { include_cfg_derivations: false, ..ExtractOptions::default() };
    let (_corpus, facts) = two_runs(options, |_| ()).await;
    let kinds = async || query_text(facts.path(), "SELECT change, drift, count(*) FROM changes('one', 'two') GROUP BY change, drift").await;
    assert_eq!(kinds().await, [["drift", "options", "7"]]);
    edit_manifest(facts.path(), "two", |manifest| {
        manifest["run"]["options"]["include_cfg_derivations"] = json!(true);
        manifest["run"]["options"]["exclude"] = json!(["other/**"]);
        manifest["run"]["interpreter"]["version"] = json!("3.13.99");
        manifest["run"]["schema_version"] = json!(99);
    });
    assert_eq!(kinds().await, [["drift", "interpreter, schema", "7"]], "what is taken in is no drift");
    let made = crate::support::manifest_json(facts.path(), "one")["run"].clone();
    edit_manifest(facts.path(), "two", |manifest| {
        for name in ["interpreter", "schema_version"] {
            manifest["run"][name] = made[name].clone();
        }
    });
    assert_eq!(kinds().await, [["facts", "NULL", "7"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_no_change_of_source() {
    let missing = |corpus: &Path| {
        std::fs::remove_file(corpus.join("a/kept.py")).unwrap();
        std::os::unix::fs::symlink("nowhere.py", corpus.join("a/kept.py")).unwrap();
    };
    let (_corpus, facts) = two_runs(ExtractOptions::default(), missing).await;
    assert_eq!(query_text(facts.path(), CHANGES).await, [["a", "kept.py", "unread", "NULL"]]);
}

/// No more is read than the manifests leave open: no column of code, no file that both runs name, and nothing of equal runs.
#[tokio::test(flavor = "multi_thread")]
async fn digests_are_read_of_what_may_differ_and_no_code() {
    let (corpus, facts) = two_runs(ExtractOptions::default(), |corpus| write_files(corpus, &[("d/same.py", b"s = 2\n")])).await;
    let plan = async |sql: &str| {
        let session = facts_session(&Stores::default(), &url(facts.path()), None).unwrap();
        let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        datafusion::physical_plan::displayable(plan.as_ref()).indent(true).to_string()
    };
    let shown = plan("SELECT * FROM changes('one', 'two')").await;
    assert!(shown.contains("projection=[repo, path, file_sha256, facts_digest, attrs"), "{shown}");
    assert!(!shown.contains("code_objects") && shown.contains("predicate=repo"), "{shown}");
    // By another run of the same corpus, which has landed files of its own.
    extract(corpus.path(), facts.path(), &Shape { run: "three", bins: 2, ..Shape::default() }).await;
    let shown = plan("SELECT * FROM changes('two', 'three')").await;
    assert!(!shown.contains("parquet"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_are_not_there_are_answered_with_those_that_are() {
    let (_corpus, facts) = two_runs(ExtractOptions::default(), edit).await;
    let error = async |sql: &str| {
        let session = facts_session(&Stores::default(), &url(facts.path()), None).unwrap();
        match session.sql(sql).await {
            Ok(frame) => frame.collect().await.unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    };
    let unknown = error("SELECT * FROM changes('one', 'three')").await;
    assert!(unknown.contains("run three is not committed; these are, the newest first: two, one"), "{unknown}");
    for wrong in ["SELECT * FROM changes('one')", "SELECT * FROM changes(1, 2)", "SELECT * FROM changes('../one', 'two')"] {
        assert!(error(wrong).await.contains("takes the ids of two runs, as texts"), "{wrong}: {}", error(wrong).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_tells_the_same() {
    let (_corpus, facts) = two_runs(ExtractOptions::default(), edit).await;
    let expected = query_text(facts.path(), CHANGES).await;
    let service = Service::over(facts, &[], "").await;
    let connection = Connection::open(&Options::new(&format!("grpc://{}", service.daemon.address))).await.unwrap();
    assert_eq!(texts(&connection.rows(CHANGES).await.unwrap()), expected);
    let unknown = connection.rows("SELECT * FROM changes('one', 'three')").await.unwrap_err().to_string();
    assert!(unknown.contains("these are, the newest first: two, one"), "{unknown}");
    let refused = connection.rows("SELECT * FROM generate_series(1, 3)").await.unwrap_err().to_string();
    assert!(refused.contains("generate_series"), "no other table function is there: {refused}");
}
