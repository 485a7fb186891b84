//! `bytefacts validate` on whole runs: clean as they are extracted, with findings once data files or manifest are spoilt.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use bytefacts_engine::validate::{Options, validate};
use bytefacts_facts::validate::Check;
use bytefacts_query::{facts_session, schema_snapshot};
use bytefacts_stores::Stores;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::support::{Shape, bytefacts, extract, folder, query_text, run, small_corpus, try_extract_job, url};

const RUN: &str = "run-1";

/// A committed run of the small corpus.
async fn facts() -> TempDir {
    let (corpus, facts) = (small_corpus(), folder());
    extract(corpus.path(), facts.path(), &Shape::default()).await;
    facts
}

/// `bytefacts validate`: its exit code, and the names of the checks that found something with the first message of each.
async fn findings(facts: &Path) -> (i32, Vec<(String, String)>) {
    let facts = facts.to_str().unwrap();
    let (code, stdout, stderr) = run(bytefacts(&std::env::temp_dir(), &["validate", "--facts", facts, "--format", "json"]).await);
    let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{code} {stdout} {stderr}"));
    assert_eq!(report["clean"], code == 0);
    let mut found: Vec<(String, String)> = Vec::new();
    for finding in report["findings"].as_array().unwrap() {
        let check = finding["check"].as_str().unwrap();
        if found.last().is_none_or(|(last, _)| last != check) {
            found.push((check.to_owned(), format!("{} {}", finding["path"], finding["message"])));
        }
    }
    (code, found)
}

async fn assert_found(facts: &Path, checks: &[&str]) {
    let (code, found) = findings(facts).await;
    assert_eq!(code, 3, "{found:?}");
    for check in checks {
        assert!(found.iter().any(|(name, _)| name == check), "{check} was to be found: {found:#?}");
    }
}

/// Changes the manifest of the run.
fn edit_manifest(facts: &Path, edit: impl FnOnce(&mut Value)) {
    crate::support::edit_manifest(facts, RUN, edit);
}

/// The first data file of the run with more than one row.
fn data_file(facts: &Path) -> PathBuf {
    let mut found = PathBuf::new();
    edit_manifest(facts, |manifest| {
        let file = manifest["files"].as_array().unwrap().iter().find(|file| file["rows"].as_u64().unwrap() > 1).unwrap();
        found = facts.join(file["key"].as_str().unwrap());
    });
    found
}

/// Rewrites a data file, and makes size, hash and rows of the manifest agree with it: a forger who is careful.
fn rewrite(facts: &Path, edit: impl FnOnce(RecordBatch) -> RecordBatch) {
    let path = data_file(facts);
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap()).unwrap();
    let schema = Arc::clone(reader.schema());
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    let rows = edit(concat_batches(&schema, &batches).unwrap());
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    std::fs::write(&path, &bytes).unwrap();
    edit_manifest(facts, |manifest| {
        let files = manifest["files"].as_array_mut().unwrap();
        let file = files.iter_mut().find(|file| path.ends_with(file["key"].as_str().unwrap())).unwrap();
        file["bytes"] = json!(bytes.len());
        file["sha256"] = json!(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        file["rows"] = json!(rows.num_rows());
        // As of files that were landed before elements were counted.
        file.as_object_mut().unwrap().remove("elements");
    });
}

/// Rows with one root column replaced.
fn with_column(rows: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let schema = rows.schema();
    let at = schema.index_of(name).unwrap();
    let mut columns = rows.columns().to_vec();
    let fields = schema.fields().iter().enumerate().map(|(nth, field)| match nth == at {
        true => Arc::new(Field::new(name, column.data_type().clone(), field.is_nullable() || column.null_count() > 0)),
        false => Arc::clone(field),
    });
    let schema = Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone());
    columns[at] = column;
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_as_it_is_extracted_is_clean_and_the_report_says_what_was_checked() {
    let facts = facts().await;
    assert_eq!(findings(facts.path()).await, (0, vec![]));
    let args = ["validate", "--facts", facts.path().to_str().unwrap(), "--progress", "always"];
    let (code, stdout, stderr) = run(bytefacts(facts.path(), &args).await);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("38 files") && stdout.contains("file.sha256") && stdout.contains("\nclean: "), "{stdout}");
    assert!(stderr.contains("38/38 files"), "{stderr}");
    // Whatever can be looked at in this corpus has been. Audits there are none of, and `audits.rs` has them checked.
    let idle: Vec<_> = stdout.lines().filter(|line| line.contains("nothing to check") && !line.contains("audit.")).collect();
    assert_eq!(idle, Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_corpus_of_the_sql_tests_and_a_run_without_derivations_are_clean() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql/corpus");
    let facts = folder();
    extract(&corpus, facts.path(), &Shape::default()).await;
    assert_eq!(findings(facts.path()).await, (0, vec![]));

    let facts = folder();
    try_extract_job(&corpus, facts.path(), &Shape::default(), |job| job.options.include_cfg_derivations = false).await.unwrap();
    assert_eq!(query_text(facts.path(), "SELECT count(*) FROM py_bc_blocks").await, [["0"]]);
    assert_eq!(findings(facts.path()).await, (0, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_validated_is_an_error_and_no_finding() {
    let root = folder();
    let facts = root.path().to_str().unwrap();
    let (code, _, stderr) = run(bytefacts(root.path(), &["validate", "--facts", facts]).await);
    assert!(code == 1 && stderr.contains("no run is committed"), "{code} {stderr}");
    let (code, _, stderr) = run(bytefacts(root.path(), &["validate", "--facts", facts, "--run", "no/id"]).await);
    assert!(code == 2 && stderr.contains("--run"), "{code} {stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_file_that_is_missing_cut_or_no_parquet_is_found() {
    let facts = facts().await;
    let path = data_file(facts.path());
    let whole = std::fs::read(&path).unwrap();

    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert_found(facts.path(), &["file.present", "file.sha256", "file.readable"]).await;
    std::fs::write(&path, vec![0; whole.len()]).unwrap();
    assert_found(facts.path(), &["file.sha256", "file.readable"]).await;
    // A byte in the middle of the data.
    let mut flipped = whole.clone();
    flipped[whole.len() / 3] ^= 0x40;
    std::fs::write(&path, flipped).unwrap();
    assert_found(facts.path(), &["file.sha256"]).await;
    std::fs::remove_file(&path).unwrap();
    assert_found(facts.path(), &["file.present"]).await;
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(findings(facts.path()).await, (0, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_another_type_name_or_nullability_is_found() {
    let facts = facts().await;
    rewrite(facts.path(), |rows| {
        with_column(&rows, "source_lines", cast(rows.column_by_name("source_lines").unwrap(), &DataType::Int64).unwrap())
    });
    let (code, found) = findings(facts.path()).await;
    assert_eq!(code, 3);
    assert!(found[0].0 == "schema.file" && found[0].1.contains("source_lines is Int64 and should be Int32"), "{found:?}");

    let facts = self::facts().await;
    rewrite(facts.path(), |rows| {
        let nulls = StringArray::from(vec![None::<&str>; rows.num_rows()]);
        with_column(&rows, "file_id", Arc::new(nulls))
    });
    assert_found(facts.path(), &["schema.metadata", "row.required", "id.file_id"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_doubled_dropped_or_foreign_are_found() {
    let facts = facts().await;
    rewrite(facts.path(), |rows| concat_batches(&rows.schema(), [&rows, &rows]).unwrap());
    assert_found(
        facts.path(),
        &["run.files", "run.totals", "row.order", "id.file_id", "id.code_unit_id", "id.instr_id", "id.cache_entry_id"],
    )
    .await;

    let facts = self::facts().await;
    rewrite(facts.path(), |rows| rows.slice(1, rows.num_rows() - 1));
    let (_, found) = findings(facts.path()).await;
    // (The file is another writer's now, which has statistics where ours have none.)
    let found: Vec<_> = found.into_iter().filter(|(name, _)| name != "file.statistics").collect();
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    // It was the only row without a repository, and the first of its file.
    assert_eq!(names, ["file.span", "run.files", "run.totals", "digest.run"], "{found:#?}");
    assert!(found[1].1.contains("has no row"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_is_tampered_with_is_found_at_each_level_of_the_tree() {
    let facts = facts().await;
    rewrite(facts.path(), |rows| with_column(&rows, "facts_digest", Arc::new(StringArray::from(vec!["0".repeat(64); rows.num_rows()]))));
    assert_found(facts.path(), &["digest.file", "digest.repository", "digest.run"]).await;

    for (pointer, check) in [("/run/digest", "digest.run"), ("/repos/0/digest", "digest.repository")] {
        let facts = self::facts().await;
        edit_manifest(facts.path(), |manifest| *manifest.pointer_mut(pointer).unwrap() = json!("0".repeat(64)));
        let (code, found) = findings(facts.path()).await;
        assert_eq!((code, found.len(), found[0].0.as_str()), (3, 1, check), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_says_other_figures_is_found() {
    type Edit = fn(&mut Value);
    let edits: [(&str, Edit); 11] = [
        ("file.rows", |manifest| manifest["files"][0]["rows"] = json!(99)),
        ("file.sha256", |manifest| manifest["files"][0]["sha256"] = json!("00")),
        ("file.elements", |manifest| manifest["files"][0]["elements"]["code_objects.instructions"] = json!(1)),
        ("file.span", |manifest| manifest["files"][0]["last"] = json!(["zz", "other.py"])),
        ("run.totals", |manifest| manifest["repos"][0]["files"] = json!(99)),
        ("run.totals", |manifest| manifest["repos"].as_array_mut().unwrap().truncate(1)),
        ("run.totals", |manifest| manifest["repos"].as_array_mut().unwrap().push(json!({"repo": "zz", "files": 1, "digest": "00"}))),
        ("run.files", |manifest| manifest["files"].as_array_mut().unwrap().truncate(1)),
        ("run.totals", |manifest| manifest["run"]["stats"]["instructions"] = json!(1)),
        ("run.totals", |manifest| manifest["run"]["options"]["optimize"] = json!(2)),
        ("schema.snapshot", |manifest| manifest["schema"]["snapshot"] = json!("00")),
    ];
    for (check, edit) in edits {
        let facts = facts().await;
        edit_manifest(facts.path(), edit);
        assert_found(facts.path(), &[check]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_are_cut_in_the_report_and_ids_may_outgrow_memory() {
    let facts = facts().await;
    rewrite(facts.path(), |rows| concat_batches(&rows.schema(), [&rows, &rows]).unwrap());
    let args = ["validate", "--facts", facts.path().to_str().unwrap(), "--show", "1"];
    let (code, stdout, _) = run(bytefacts(facts.path(), &args).await);
    assert!(code == 3 && stdout.contains("error: id.instr_id") && stdout.contains("more\n"), "{stdout}");
    assert!(stdout.contains("is also the id of"), "{stdout}");

    let stores = Stores::default();
    let manifest = crate::support::store(facts.path()).manifest(&bytefacts_landing::RunId::new(RUN).unwrap()).await.unwrap().unwrap();
    let mut counts = Vec::new();
    for ids_in_memory in [1 << 20, 0] {
        let options = Options { ids_in_memory, ..Options::default() };
        let report = validate(&stores, &url(facts.path()), &manifest, &options, Arc::new(|_| ())).await.unwrap();
        counts.push(Check::ALL.iter().map(|check| report.tally.count(*check)).collect::<Vec<_>>());
    }
    assert_eq!(counts[0], counts[1]);
}

/// The snapshot that a commit records is what `information_schema` says in a session.
#[tokio::test(flavor = "multi_thread")]
async fn the_recorded_snapshot_is_that_of_the_session() {
    let facts = facts().await;
    let session = facts_session(&Stores::default(), &url(facts.path()), None).unwrap();
    let sql = "SELECT table_name, column_name, ordinal_position, is_nullable FROM information_schema.columns \
               WHERE table_schema = 'public' ORDER BY table_name, ordinal_position";
    let mut in_session = Vec::new();
    for batch in session.sql(sql).await.unwrap().collect().await.unwrap() {
        let positions = cast(batch.column(2), &DataType::Int64).unwrap();
        let positions: &Int64Array = positions.as_primitive::<Int64Type>();
        let text = |column: usize, row: usize| batch.column(column).as_string::<i32>().value(row).to_owned();
        in_session.extend((0..batch.num_rows()).map(|row| (text(0, row), text(1, row), positions.value(row), text(3, row))));
    }
    let mut recorded = Vec::new();
    for table in schema_snapshot().tables {
        let columns = table.columns.iter().filter(|column| !column.path.contains('.'));
        recorded.extend(columns.zip(0..).map(|(column, position)| {
            (table.name.clone(), column.path.clone(), position, if column.nullable { "YES" } else { "NO" }.to_owned())
        }));
    }
    // Positions count from 0 or 1, whatever the session's habit is.
    let base = in_session.first().map_or(0, |first| first.2);
    let in_session: Vec<_> = in_session.into_iter().map(|(table, column, at, nullable)| (table, column, at - base, nullable)).collect();
    let views_may_be_null = |rows: Vec<(String, String, i64, String)>| -> Vec<_> {
        rows.into_iter().map(|row| if row.0 == "bytecode_files_v1" { row } else { (row.0, row.1, row.2, String::new()) }).collect()
    };
    assert_eq!(views_may_be_null(in_session), views_may_be_null(recorded));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_shows_the_snapshot_and_what_changed_since_the_run_before() {
    let (corpus, facts) = (small_corpus(), folder());
    extract(corpus.path(), facts.path(), &Shape::default()).await;
    // As if a version without one of the columns had made it.
    let snapshots = facts.path().join("schemas");
    let name = std::fs::read_dir(&snapshots).unwrap().next().unwrap().unwrap().path();
    let mut older: Value = serde_json::from_slice(&std::fs::read(&name).unwrap()).unwrap();
    older["tables"][0]["columns"].as_array_mut().unwrap().remove(0);
    let older = older.to_string();
    let digest = Sha256::digest(&older).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    std::fs::write(snapshots.join(format!("{digest}.json")), older).unwrap();
    edit_manifest(facts.path(), |manifest| manifest["schema"]["snapshot"] = json!(digest));

    let second = Shape { run: "run-2", ..Shape::default() };
    extract(corpus.path(), facts.path(), &second).await;
    extract(corpus.path(), facts.path(), &Shape { run: "run-3", ..second }).await;
    let show = async |run_id: &str, format: &str| {
        let args = ["runs", "--facts", facts.path().to_str().unwrap(), "--run", run_id, "--format", format];
        run(bytefacts(facts.path(), &args).await).1
    };
    let text = show("run-2", "text").await;
    assert!(text.contains("1 change since run run-1") && text.contains("+ bytecode_errors: repo Utf8"), "{text}");
    assert!(show("run-3", "text").await.contains("unchanged since run run-2"));
    let json: Value = serde_json::from_str(&show("run-2", "json").await).unwrap();
    assert_eq!(json["schema"]["delta"]["added_columns"][0]["column"], "repo");
    assert_eq!(std::fs::read_dir(&snapshots).unwrap().count(), 2);
}
