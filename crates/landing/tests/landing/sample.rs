//! A small corpus, its rows, and a run over it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use arrow::array::{AsArray, Int32Builder, ListBuilder, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use bytefacts_landing::{
    AttemptId, BinIndex, BinRecord, BinStats, BinWriter, BinsWriter, Clock, ColumnSnapshot, CommitRequest, Committed, FactsStore,
    FileDigest, FileName, FixedClock, Fold, Manifest, PlannedBin, ReadErrors, RepoDigests, Result, RunId, RunState, SchemaSnapshot,
    TableSnapshot, Tolerance, WriterOptions,
};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};

pub type Row = (Option<&'static str>, &'static str);

/// Two bins that share a repository.
pub const BINS: [&[Row]; 2] =
    [&[(None, "setup.py"), (Some("a"), "x.py"), (Some("a"), "y.py")], &[(Some("a"), "z.py"), (Some("b"), "x.py")]];

pub fn schema() -> SchemaRef {
    let numbers = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
    Arc::new(Schema::new(vec![
        Field::new("repo", DataType::Utf8, true),
        Field::new("path", DataType::Utf8, false),
        Field::new("file_id", DataType::Utf8, false),
        Field::new("numbers", numbers, true),
    ]))
}

pub fn batch(rows: &[Row]) -> RecordBatch {
    let mut numbers = ListBuilder::new(Int32Builder::new());
    for (_, path) in rows {
        let bytes = path.bytes().map(|b| Some(i32::from(b)));
        numbers.append_value(bytes);
    }
    let repos: StringArray = rows.iter().map(|(repo, _)| *repo).collect();
    let paths: StringArray = rows.iter().map(|(_, path)| Some(*path)).collect();
    let ids: StringArray = rows.iter().map(|row| Some(format!("{row:?}"))).collect();
    RecordBatch::try_new(schema(), vec![Arc::new(repos), Arc::new(paths), Arc::new(ids), Arc::new(numbers.finish())]).unwrap()
}

pub fn digests(rows: &[Row]) -> Vec<RepoDigests> {
    let mut by_repo: BTreeMap<Option<&str>, Vec<FileDigest>> = BTreeMap::new();
    for row in rows {
        by_repo
            .entry(row.0)
            .or_default()
            .push(FileDigest { path: row.1.to_owned(), digest: hex::encode(Sha256::digest(format!("{row:?}"))) });
    }
    let of_repo = |(repo, files): (Option<&str>, _)| RepoDigests { repo: repo.map(str::to_owned), files };
    by_repo.into_iter().map(of_repo).collect()
}

pub fn stats(rows: &[Row]) -> BinStats {
    BinStats { files: rows.len() as u64, units: 7 * rows.len() as u64, ..BinStats::default() }
}

/// Folds whatever it is given into one digest.
pub struct TextFold;

impl Fold for TextFold {
    fn repository(&self, repo: Option<&str>, files: &[(&str, [u8; 32])]) -> [u8; 32] {
        Sha256::digest(format!("{repo:?}{files:?}")).into()
    }

    fn run(&self, repos: &[(Option<&str>, [u8; 32])]) -> [u8; 32] {
        Sha256::digest(format!("{repos:?}")).into()
    }
}

pub fn memory() -> FactsStore {
    FactsStore::new(Arc::new(InMemory::new()), Path::from("some/facts"))
}

pub fn run_id(text: &str) -> RunId {
    RunId::new(text).unwrap()
}

pub fn new_attempt() -> AttemptId {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    AttemptId::new(format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed))).unwrap()
}

pub fn writer(facts: &FactsStore, run: &RunId, bin_id: u32) -> BinWriter {
    let options = WriterOptions::default();
    BinWriter::new(facts, run, bin_id, &new_attempt(), &schema(), options).unwrap()
}

pub async fn land(facts: &FactsStore, run: &RunId, bin_id: u32, rows: &[Row]) -> Result<BinRecord> {
    let mut writer = writer(facts, run, bin_id);
    if let Err(error) = writer.write(&batch(rows)).await {
        writer.abort().await;
        return Err(error);
    }
    writer.finish(rows.len() as u64, stats(rows), digests(rows)).await
}

pub fn name(row: &Row) -> FileName {
    FileName::new(row.0, row.1)
}

/// Writes bins down; what is in one is its rows, as text.
pub async fn write_bins(facts: &FactsStore, run: &RunId, bins: &[&[Row]]) -> Result<BinIndex> {
    let mut writer = BinsWriter::new(facts, run, new_attempt()).await?;
    for rows in bins {
        let first = name(rows.first().unwrap());
        let bin = PlannedBin { files: rows.len() as u64, source_bytes: 3, cost_us: 10, first };
        writer.push(bin, format!("{rows:?}").as_bytes()).await?;
    }
    writer.finish().await
}

/// A schema of one table with these columns.
pub fn snapshot(columns: &[&str]) -> SchemaSnapshot {
    let columns = columns.iter().map(|path| ColumnSnapshot { path: (*path).to_owned(), data_type: "Utf8".to_owned(), nullable: true });
    let table = TableSnapshot { name: "t".to_owned(), table_type: "VIEW".to_owned(), columns: columns.collect() };
    SchemaSnapshot { tables: vec![table] }
}

pub fn request(run: &RunId) -> CommitRequest {
    CommitRequest {
        run_id: run.clone(),
        attempt: new_attempt(),
        started_at_ms: 5,
        corpus: "file:///corpus".to_owned(),
        schema_name: "bytecode_files_v1".to_owned(),
        schema_version: 1,
        interpreter: serde_json::json!({"version": "3.13.0"}),
        options: serde_json::json!({"optimize": 0}),
        schema: snapshot(&["path"]),
        tolerance: Tolerance { unread: 0.1, gone: 0.5 },
        read_errors: ReadErrors { of_files: &["FileTooLarge"], of_folders: &["UnreadableFolder"] },
    }
}

pub fn clock() -> FixedClock {
    FixedClock(SystemTime::now())
}

pub fn later(hours: u64) -> FixedClock {
    FixedClock(SystemTime::now() + Duration::from_hours(hours))
}

/// What a driver does: writes the bins, has the unfinished ones done, commits, sweeps.
pub async fn whole_run(facts: &FactsStore, run: &RunId, clock: &dyn Clock) -> Result<Committed> {
    match facts.run_state(run).await? {
        RunState::New | RunState::Open => {
            write_bins(facts, run, &BINS).await?;
            let finished = facts.finished_bins(run).await?;
            for (bin_id, rows) in (0..).zip(BINS) {
                if !finished.contains(&bin_id) {
                    land(facts, run, bin_id, rows).await?;
                }
            }
        }
        RunState::Committed(_) | RunState::Abandoned => {}
    }
    let committed = facts.commit(&request(run), &TextFold, clock).await?;
    facts.sweep_run(&committed.document).await?;
    Ok(committed)
}

/// All rows that a manifest leads to: repository and path, in the order of the files.
pub async fn rows(facts: &FactsStore, manifest: &Manifest) -> Vec<(Option<String>, String)> {
    let mut rows = Vec::new();
    for file in &manifest.files {
        let path = facts.path_of(&file.key).unwrap();
        let bytes = facts.store().get(&path).await.unwrap().bytes().await.unwrap();
        assert_eq!(hex::encode(Sha256::digest(&bytes)), file.sha256);
        assert_eq!(bytes.len() as u64, file.bytes);
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        let before = rows.len() as u64;
        for batch in reader {
            let batch = batch.unwrap();
            let repos = batch.column_by_name("repo").unwrap().as_string::<i32>();
            let paths = batch.column_by_name("path").unwrap().as_string::<i32>();
            let numbers = batch.column_by_name("numbers").unwrap().as_list::<i32>();
            for (row, (repo, path)) in repos.iter().zip(paths).enumerate() {
                let numbers = numbers.value(row);
                let bytes: Vec<u8> = (numbers.as_primitive::<Int32Type>().values().iter()).map(|&n| n as u8).collect();
                assert_eq!(bytes, path.unwrap().as_bytes());
                rows.push((repo.map(str::to_owned), path.unwrap().to_owned()));
            }
        }
        assert_eq!(rows.len() as u64 - before, file.rows);
        let name_of = |row: &(Option<String>, String)| FileName::new(row.0.as_deref(), &row.1);
        assert_eq!(
            (Some(&file.first), Some(&file.last)),
            (rows.get(before as usize).map(name_of).as_ref(), rows.last().map(name_of).as_ref())
        );
    }
    rows
}

/// All rows of the sample corpus.
pub fn all_rows() -> Vec<(Option<String>, String)> {
    let rows = BINS.into_iter().flatten();
    rows.map(|(repo, path)| (repo.map(str::to_owned), (*path).to_owned())).collect()
}

/// Keys below a folder of the facts, sorted.
pub async fn keys(facts: &FactsStore, folder: &str) -> Vec<String> {
    let prefix = facts.path_of(folder).unwrap();
    let root = facts.root().as_ref().len();
    let mut keys: Vec<String> = (facts.store().list(Some(&prefix)))
        .map_ok(|m| m.location.as_ref()[root..].trim_start_matches('/').to_owned())
        .try_collect()
        .await
        .unwrap();
    keys.sort();
    keys
}

/// Checks that `current` leads to whole data, and returns the run.
pub async fn check_current(facts: &FactsStore) -> RunId {
    let current = facts.current().await.unwrap().unwrap();
    let manifest = facts.manifest(&current.run_id).await.unwrap().unwrap();
    assert_eq!(manifest.run.sequence, current.sequence);
    assert_eq!(rows(facts, &manifest).await, all_rows());
    current.run_id
}
