//! SQL over facts: the `.slt` files in `tests/sql`, over the facts of the corpus in `tests/sql/corpus`.
//!
//! `BYTEFACTS_SLT_UPDATE=1 cargo test -p bytefacts --test e2e sql` rewrites the expected results; the diff is then read, not believed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use bytefacts_facts::views;
use bytefacts_query::facts_session;
use bytefacts_stores::Stores;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner, default_normalizer, default_validator, strict_column_validator};

use crate::support::{Shape, extract, folder, query_text, small_corpus, texts, url};

/// A session as the `.slt` files talk to it.
struct Facts(Arc<SessionContext>);

#[async_trait]
impl AsyncDB for Facts {
    type Error = DataFusionError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, DataFusionError> {
        let frame = self.0.sql(sql).await?;
        let types = frame.schema().fields().iter().map(|f| column_type(f.data_type())).collect();
        let mut rows = Vec::new();
        for batch in frame.collect().await? {
            for row in 0..batch.num_rows() {
                rows.push(batch.columns().iter().map(|c| cell(c, row)).collect::<Result<_, _>>()?);
            }
        }
        Ok(DBOutput::Rows { types, rows })
    }

    async fn shutdown(&mut self) {}
}

fn column_type(data_type: &DataType) -> DefaultColumnType {
    match data_type {
        data_type if data_type.is_integer() => DefaultColumnType::Integer,
        data_type if data_type.is_floating() => DefaultColumnType::FloatingPoint,
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => DefaultColumnType::Text,
        _ => DefaultColumnType::Any,
    }
}

/// A value as text on one line, in which an empty string can be seen.
fn cell(column: &ArrayRef, row: usize) -> Result<String, DataFusionError> {
    if column.is_null(row) {
        return Ok("NULL".to_owned());
    }
    let options = FormatOptions::new().with_null("NULL");
    let text = ArrayFormatter::try_new(column.as_ref(), &options)?.value(row).to_string();
    Ok(if text.is_empty() { "(empty)".to_owned() } else { text.replace('\n', "\\n") })
}

fn sql_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_slt_file_holds() {
    hold_in(&sql_folder()).await;
}

/// Every `.slt` file in a folder holds over the facts of the corpus that is in it.
pub async fn hold_in(folder_of_files: &Path) {
    let facts = folder();
    extract(&folder_of_files.join("corpus"), facts.path(), &Shape::default()).await;
    let session = Arc::new(facts_session(&Stores::default(), &url(facts.path()), None).unwrap());

    let mut files: Vec<_> = std::fs::read_dir(folder_of_files).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "slt"));
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let mut runner = Runner::new(|| async { Ok(Facts(Arc::clone(&session))) });
        if std::env::var_os("BYTEFACTS_SLT_UPDATE").is_some() {
            runner.update_test_file(&file, " ", default_validator, default_normalizer, strict_column_validator).await.unwrap();
        } else {
            runner.run_file_async(&file).await.unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

/// Names and types of every view, by value, as `information_schema` and the rows themselves have them.
#[tokio::test(flavor = "multi_thread")]
async fn every_view_has_the_columns_of_the_contract() {
    let facts = folder();
    extract(&sql_folder().join("corpus"), facts.path(), &Shape::default()).await;
    let session = facts_session(&Stores::default(), &url(facts.path()), None).unwrap();
    for view in views::all() {
        let sql = format!(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = '{}' ORDER BY ordinal_position",
            view.name
        );
        let mut columns = Vec::new();
        for batch in session.sql(&sql).await.unwrap().collect().await.unwrap() {
            for row in 0..batch.num_rows() {
                columns.push((cell(batch.column(0), row).unwrap(), cell(batch.column(1), row).unwrap()));
            }
        }
        let expected: Vec<_> = view.columns.iter().map(|c| (c.name.to_owned(), c.type_text.clone())).collect();
        assert_eq!(columns, expected, "{}", view.name);
        let rows = session.table(view.name).await.unwrap().collect().await.unwrap_or_else(|error| panic!("{}: {error}", view.name));
        for batch in rows {
            let types: Vec<_> = batch.schema().fields().iter().map(|f| f.data_type().clone()).collect();
            assert_eq!(types, view.columns.iter().map(|c| c.data_type.clone()).collect::<Vec<_>>(), "{}", view.name);
        }
    }
}

/// A filter on the repository or the path spares the files that cannot have such rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_on_the_repository_reads_no_other_file() {
    let (corpus, facts) = (small_corpus(), folder());
    let manifest = extract(corpus.path(), facts.path(), &Shape { bins: 12, ..Shape::default() }).await;
    assert!(manifest.files.len() > 5, "{:?}", manifest.files);
    let session = facts_session(&Stores::default(), &url(facts.path()), None).unwrap();
    let plan = |filter: &str| {
        let sql = format!("EXPLAIN SELECT path FROM bytecode_files_v1 WHERE {filter}");
        let session = session.clone();
        async move {
            let rows = session.sql(&sql).await.unwrap().collect().await.unwrap();
            arrow::util::pretty::pretty_format_batches(&rows).unwrap().to_string()
        }
    };
    for (filter, repo) in [("repo = 'a'", Some("a")), ("repo IS NULL", None), ("repo IN ('c d')", Some("c d"))] {
        let plan = plan(filter).await;
        for file in &manifest.files {
            let may_have = file.first.repo.as_deref() <= repo && repo <= file.last.repo.as_deref();
            let name = file.key.rsplit('/').next().unwrap();
            assert_eq!(plan.contains(name), may_have, "{filter}: {file:?}\n{plan}");
        }
    }
}

/// Ids are hashes, of which statistics say nothing: which files the units are in is read first, and then the rest of these alone.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_unit_that_is_looked_up_its_file_alone_is_read() {
    let (corpus, facts) = (small_corpus(), folder());
    let manifest = extract(corpus.path(), facts.path(), &Shape { bins: 3, ..Shape::default() }).await;
    let session = facts_session(&Stores::default(), &url(facts.path()), None).unwrap();
    let all = session.sql("SELECT code_unit_id, file_id, count(*) FROM py_bc_instructions GROUP BY code_unit_id, file_id ORDER BY 2, 1");
    let all = texts(&all.await.unwrap().collect().await.unwrap());
    let files: BTreeSet<&str> = all.iter().map(|row| row[1].as_str()).collect();
    assert!(files.len() > 3 && all.len() > files.len(), "{all:?}");
    let (first, last) = (&all[0], &all[all.len() - 1]);
    let of = |row: &[String]| row[2].parse::<usize>().unwrap();
    for (filter, instructions, read) in [
        (format!("code_unit_id = '{}'", first[0]), of(first), 1),
        (format!("code_unit_id IN ('{}', '{}', 'bc_code:none')", first[0], last[0]), of(first) + of(last), 2),
        (format!("'{}' = code_unit_id OR code_unit_id = '{}'", first[0], last[0]), of(first) + of(last), 2),
        (format!("code_unit_id = '{}' AND file_id = '{}'", first[0], last[1]), 0, 0),
        ("code_unit_id = 'bc_code:none'".to_owned(), 0, 0),
        (format!("code_unit_id <> '{}'", first[0]), all.iter().map(|row| of(row)).sum::<usize>() - of(first), manifest.run.rows as usize),
    ] {
        let question = session.sql(&format!("SELECT opname, line_number FROM py_bc_instructions WHERE {filter}")).await.unwrap();
        let (plan, context) = (question.clone().create_physical_plan().await.unwrap(), Arc::new(question.task_ctx()));
        let rows = datafusion::physical_plan::collect(Arc::clone(&plan), context).await.unwrap();
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), instructions, "{filter}");
        let mut scanned = 0;
        let counted = plan.apply(|node| {
            if node.name() == "DataSourceExec" {
                scanned += node.metrics().and_then(|metrics| metrics.output_rows()).unwrap_or(0);
            }
            Ok(TreeNodeRecursion::Continue)
        });
        counted.unwrap();
        assert_eq!(scanned, read, "files that are read for {filter}");
    }
}

/// Where no file can have a row, an aggregate still has its one row, and a join none.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_leaves_no_file_is_answered_like_any_other() {
    let (corpus, facts) = (small_corpus(), folder());
    extract(corpus.path(), facts.path(), &Shape { bins: 12, ..Shape::default() }).await;
    for (sql, expected) in [
        ("SELECT max(path), count(*), count(DISTINCT path) FROM bytecode_files_v1 WHERE repo = 'nowhere'", vec![["NULL", "0", "0"]]),
        ("SELECT max(opname), count(*), count(DISTINCT path) FROM py_bc_instructions WHERE repo = 'nowhere'", vec![["NULL", "0", "0"]]),
        (
            "SELECT a.path, a.repo, b.path FROM bytecode_files_v1 a JOIN bytecode_files_v1 b ON a.path = b.path WHERE a.repo = 'nowhere'",
            vec![],
        ),
        (
            "SELECT count(a.path), count(*), max(b.repo) FROM bytecode_files_v1 a RIGHT JOIN bytecode_files_v1 b \
             ON a.file_id = b.file_id AND a.repo = 'nowhere' AND b.repo = 'a' WHERE b.repo = 'a'",
            vec![["0", "12", "a"]],
        ),
    ] {
        assert_eq!(query_text(facts.path(), sql).await, expected, "{sql}");
    }
}
