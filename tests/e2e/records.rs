//! The flat tables below the views: the rows of the nested table, of which no more is read than is asked for.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytefacts_facts::{flat, views};
use bytefacts_query::facts_session;
use bytefacts_stores::Stores;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::SessionContext;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::file::metadata::ParquetMetaData;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Shape, extract, folder, library_corpus, python, query_text, small_corpus, url};

/// Facts of the corpus of the SQL tests.
async fn facts() -> TempDir {
    let facts = folder();
    extract(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql/corpus"), facts.path(), &Shape::default()).await;
    facts
}

/// A session whose answers come in the order of the files.
async fn ordered_session(facts: &Path) -> SessionContext {
    let session = facts_session(&Stores::default(), &url(facts), None).unwrap();
    session.sql("SET datafusion.execution.target_partitions = 1").await.unwrap().collect().await.unwrap();
    session
}

async fn rows(session: &SessionContext, sql: &str) -> RecordBatch {
    let frame = session.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let batches = frame.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    concat_batches(&schema, &batches).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Every view of a list and every flat table has the rows that unnesting gives, in the same order; the number of rows compared.
pub async fn assert_equal_to_unnesting(facts: &Path) -> usize {
    let session = ordered_session(facts).await;
    let of_views =
        views::all().iter().filter(|view| !view.of_meaning).map(|view| (format!("SELECT * FROM {}", view.name), view.unnested.clone()));
    let of_tables = flat::all().iter().map(|table| {
        let columns: Vec<_> = table.columns.iter().collect();
        let names: Vec<_> = columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
        (format!("SELECT {} FROM {}.{}", names.join(", "), flat::SCHEMA, table.name), table.unnested(&columns))
    });
    let mut compared = 0;
    for (sql, unnested) in of_views.chain(of_tables) {
        let (found, expected) = (rows(&session, &sql).await, rows(&session, &unnested).await);
        assert_eq!(found.num_rows(), expected.num_rows(), "{sql}");
        for (column, field) in found.columns().iter().zip(found.schema().fields()) {
            let expected = expected.column_by_name(field.name()).unwrap_or_else(|| panic!("{sql}: {}", field.name()));
            assert!(column == expected, "{sql}: {}", field.name());
        }
        compared += found.num_rows();
    }
    compared
}

#[tokio::test(flavor = "multi_thread")]
async fn views_have_the_rows_of_the_nested_table() {
    assert!(assert_equal_to_unnesting(facts().await.path()).await > 1_000);

    let library = folder();
    extract(library_corpus(&python().await, &["asyncio", "json", "unittest"]).path(), library.path(), &Shape::default()).await;
    assert!(assert_equal_to_unnesting(library.path()).await > 100_000);
}

/// Whatever is read beside it, or is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_is_the_same_alone() {
    let facts = facts().await;
    let session = ordered_session(facts.path()).await;
    for table in flat::all() {
        let all = rows(&session, &format!("SELECT * FROM {}.{}", flat::SCHEMA, table.name)).await;
        let count = rows(&session, &format!("SELECT count(*) AS n FROM {}.{}", flat::SCHEMA, table.name)).await;
        let count = arrow::util::display::array_value_to_string(count.column(0), 0).unwrap();
        assert_eq!(count, all.num_rows().to_string(), "{}", table.name);
        for (column, expected) in table.columns.iter().zip(all.columns()) {
            let alone = rows(&session, &format!("SELECT \"{}\" FROM {}.{}", column.name, flat::SCHEMA, table.name)).await;
            assert!(alone.column(0) == expected, "{}.{}", table.name, column.name);
        }
    }
}

/// The footers of the data files.
fn footers(facts: &Path) -> Vec<ParquetMetaData> {
    let files = manifest(facts)["files"].as_array().unwrap().clone();
    let open = |file: &Value| std::fs::File::open(facts.join(file["key"].as_str().unwrap())).unwrap();
    files.iter().map(|file| ParquetRecordBatchReaderBuilder::try_new(open(file)).unwrap().metadata().as_ref().clone()).collect()
}

fn manifest(facts: &Path) -> Value {
    crate::support::manifest_json(facts, "run-1")
}

/// Bytes of the leaves of these names (without what Parquet calls a list's parts) in all data files.
fn bytes_of(facts: &Path, leaves: &[&str]) -> usize {
    let footers = footers(facts);
    let chunks = footers.iter().flat_map(|footer| footer.row_groups()).flat_map(|group| group.columns());
    let bytes = chunks.filter(|chunk| leaves.contains(&chunk.column_path().string().replace(".list.element", "").as_str()));
    bytes.map(|chunk| usize::try_from(chunk.compressed_size()).unwrap()).sum()
}

fn sum_of(plan: &dyn ExecutionPlan, metric: &str) -> usize {
    let own = plan.metrics().and_then(|metrics| metrics.sum_by_name(metric)).map_or(0, |value| value.as_usize());
    own + plan.children().into_iter().map(|child| sum_of(child.as_ref(), metric)).sum::<usize>()
}

async fn bytes_scanned(facts: &Path, sql: &str) -> usize {
    let session = ordered_session(facts).await;
    let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    collect(Arc::clone(&plan), session.task_ctx()).await.unwrap();
    sum_of(plan.as_ref(), "bytes_scanned")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_reads_the_leaves_that_it_needs_and_no_other_byte() {
    let facts = facts().await;
    for (sql, leaves) in [
        // The manifest says how many there are.
        ("SELECT count(*) FROM py_bc_code_units", vec![]),
        ("SELECT count(*) FROM py_bc_instructions", vec![]),
        ("SELECT count(*) FROM bytecode_files_v1", vec![]),
        ("SELECT 1 AS one FROM py_bc_code_units", vec!["code_objects.firstlineno1"]),
        ("SELECT opname FROM py_bc_instructions", vec!["code_objects.firstlineno1", "code_objects.instructions.opname"]),
        ("SELECT 1 AS one FROM py_bc_instructions", vec!["code_objects.firstlineno1", "code_objects.instructions.instr_index"]),
        (
            "SELECT path, const_type FROM py_bc_consts",
            vec!["path", "code_objects.firstlineno1", "code_objects.consts.const_index", "code_objects.consts.const_type"],
        ),
        (
            "SELECT block_id FROM py_bc_blocks WHERE kind = 'handler'",
            vec![
                "code_objects.firstlineno1",
                "code_objects.code_unit_id",
                "code_objects.blocks.start_offset",
                "code_objects.blocks.end_offset",
                "code_objects.blocks.kind",
            ],
        ),
        ("SELECT message FROM bytecode_errors", vec!["errors.message"]),
    ] {
        assert_eq!(bytes_scanned(facts.path(), sql).await, bytes_of(facts.path(), &leaves), "{sql}");
    }
}

/// Before elements were counted manifests said nothing of them: then the files do.
#[tokio::test(flavor = "multi_thread")]
async fn elements_that_no_manifest_counts_are_counted_in_the_files() {
    let facts = facts().await;
    let tables =
        ["py_bc_code_units", "py_bc_instructions", "py_bc_cache_entries", "py_bc_instruction_attrs", "bytecode_errors", "py_bc_reaches"];
    let mut counted = Vec::new();
    for table in tables {
        counted.push(query_text(facts.path(), &format!("SELECT count(*) FROM {table}")).await[0][0].clone());
    }
    crate::support::edit_manifest(facts.path(), "run-1", |manifest| {
        for file in manifest["files"].as_array_mut().unwrap() {
            assert!(file.as_object_mut().unwrap().remove("elements").is_some());
        }
    });
    for (table, counted) in tables.into_iter().zip(counted) {
        let sql = format!("SELECT count(*) FROM {table}");
        assert_eq!(query_text(facts.path(), &sql).await[0][0], counted, "{table}");
        assert!(bytes_scanned(facts.path(), &sql).await > 0, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_on_files_choose_what_is_read() {
    let (corpus, parted) = (small_corpus(), folder());
    extract(corpus.path(), parted.path(), &Shape { bins: 12, ..Shape::default() }).await;
    let all = bytes_scanned(parted.path(), "SELECT opname FROM py_bc_instructions").await;
    let of_repo = bytes_scanned(parted.path(), "SELECT opname FROM py_bc_instructions WHERE repo = 'c d'").await;
    assert!(0 < of_repo && of_repo < all, "{of_repo} of {all}");
    for nothing in ["repo = 'nowhere'", "path = 'zzz.py'", "repo = 'a' AND path = 'zzz.py'"] {
        let sql = format!("SELECT opname FROM py_bc_instructions WHERE {nothing}");
        assert_eq!(bytes_scanned(parted.path(), &sql).await, 0, "{nothing}");
    }
    let facts = facts().await;
    // Which rows of a file that is read pass is found out row by row.
    let counts = "SELECT count(*) FILTER (WHERE path = 'loose.py'), count(*) FROM py_bc_instructions WHERE opname = 'RESUME'";
    let counts = query_text(facts.path(), counts).await;
    let filtered = "SELECT count(*) FROM py_bc_instructions WHERE path = 'loose.py' AND opname = 'RESUME'";
    assert_eq!(query_text(facts.path(), filtered).await[0][0], counts[0][0]);
    assert!(counts[0][0] != "0" && counts[0][0] != counts[0][1], "{counts:?}");
}

/// Rewrites all data files without some of their leaves, as a version would have written them that did not know these.
fn without_leaves(facts: &Path, absent: &[&str]) {
    let mut sizes = Vec::new();
    for file in manifest(facts)["files"].as_array().unwrap() {
        let path = facts.join(file["key"].as_str().unwrap());
        let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap()).unwrap();
        let columns = reader.parquet_schema().columns().iter().enumerate();
        let kept = columns.filter(|(_, column)| {
            let name = column.path().string().replace(".list.element", "");
            absent.iter().all(|absent| name != *absent && !name.starts_with(&format!("{absent}.")))
        });
        let mask = ProjectionMask::leaves(reader.parquet_schema(), kept.map(|(leaf, _)| leaf).collect::<Vec<_>>());
        let mut bytes = Vec::new();
        let batches: Vec<_> = reader.with_projection(mask).build().unwrap().map(Result::unwrap).collect();
        let mut writer = ArrowWriter::try_new(&mut bytes, batches[0].schema(), None).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.close().unwrap();
        std::fs::write(&path, &bytes).unwrap();
        sizes.push(bytes.len());
    }
    crate::support::edit_manifest(facts, "run-1", |manifest| {
        for (file, bytes) in manifest["files"].as_array_mut().unwrap().iter_mut().zip(sizes) {
            file["bytes"] = json!(bytes);
            for list in absent {
                file["elements"].as_object_mut().unwrap().remove(*list);
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_file_lacks_is_null() {
    let facts = facts().await;
    let counts = "SELECT (SELECT count(*) FROM py_bc_instructions) AS a, (SELECT count(*) FROM bytecode_errors) AS b, \
                  (SELECT count(*) FROM py_bc_def_use_events) AS c, (SELECT count(*) FROM py_bc_instruction_spans) AS d";
    let before = query_text(facts.path(), counts).await;
    without_leaves(
        facts.path(),
        &[
            "marshal_digest",
            "errors.severity",
            "code_objects.unit_kind",
            "code_objects.def_use_events",
            "code_objects.instructions.block_index",
            "code_objects.instructions.span.byte_span",
            "code_objects.instructions.span.end.col",
        ],
    );
    let after = query_text(facts.path(), counts).await;
    assert!(before[0].iter().all(|count| count != "0"), "{before:?}");
    assert_eq!((&after[0][..2], after[0][2].as_str(), &after[0][3]), (&before[0][..2], "0", &before[0][3]));

    // Alone, so that nothing else of its struct is asked for, and with all others.
    for (view, column) in [
        ("bytecode_errors", "severity"),
        ("py_bc_code_units", "unit_kind"),
        ("py_bc_instructions", "block_index"),
        ("py_bc_instruction_spans", "byte_len"),
        ("py_bc_instructions", "pos_end_col"),
        ("py_bc_metadata", "marshal_digest"),
    ] {
        let found = query_text(facts.path(), &format!("SELECT count(*) > 0, count({column}) FROM {view}")).await;
        assert_eq!(found, [["true", "0"]], "{view}.{column}");
    }
    assert_equal_to_unnesting(facts.path()).await;
}
