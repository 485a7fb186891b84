//! Data files: what is in them, how large their parts are, and what is refused.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use bytefacts_landing::{BinStats, BinWriter, FactsStore, FileDigest, LandingError, RepoDigests, WriterOptions};
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaData;

use crate::sample::{BINS, batch, digests, land, memory, new_attempt, run_id, schema, stats, writer};

async fn bytes_of(facts: &FactsStore, key: &str) -> bytes::Bytes {
    let path = facts.path_of(key).unwrap();
    facts.store().get(&path).await.unwrap().bytes().await.unwrap()
}

#[tokio::test]
async fn a_bin_is_one_file_whatever_repositories_it_has() {
    let facts = memory();
    let record = land(&facts, &run_id("r"), 0, BINS[0]).await.unwrap();
    assert_eq!((record.files.len(), record.rows()), (1, 3));
    assert_eq!(record.files[0].key, format!("bytecode_files_v1/landed=r/000000-{}-0000.parquet", record.attempt));
    assert_eq!((record.files[0].first.parts(), record.files[0].last.parts()), ((None, "setup.py"), (Some("a"), "y.py")));
    let bytes = bytes_of(&facts, &record.files[0].key).await;
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();

    assert_eq!(builder.schema(), &schema(), "the repository stands in the file, as text");
    let file = builder.metadata().file_metadata();
    assert!(file.created_by().unwrap().starts_with("bytefacts version "));
    let group = builder.metadata().row_group(0);
    let sorting: Vec<_> = group.sorting_columns().unwrap().iter().map(|by| (by.column_idx, by.descending, by.nulls_first)).collect();
    assert_eq!(sorting, [(0, false, true), (1, false, false)]);
    assert_eq!(group.column(1).statistics().unwrap().max_bytes_opt(), Some(b"y.py".as_slice()));
    let repo = group.column(0).statistics().unwrap();
    assert_eq!((repo.min_bytes_opt(), repo.null_count_opt()), (Some(b"a".as_slice()), Some(1)));

    let read: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    assert_eq!(read, [batch(BINS[0])]);
}

/// Names that clients would take for a number, a date or a null if they had to guess them from a folder.
#[tokio::test]
async fn repositories_of_any_name_are_landed_and_found() {
    const NAMES: [&str; 18] = [
        "\n",
        "#1",
        "%41",
        ".",
        "..",
        "100%",
        "2024-01-31",
        "42",
        "?x&y",
        "__HIVE_DEFAULT_PARTITION__",
        "a=b",
        "back\\slash",
        "größe ☃",
        "plain",
        "quote'\"",
        "with space",
        "~",
        "\u{1f}",
    ];
    let folder = tempfile::tempdir().unwrap();
    for facts in [memory(), FactsStore::local(folder.path()).unwrap()] {
        let mut names = NAMES;
        names.sort_unstable();
        let rows: Vec<_> = std::iter::once((None, "x.py")).chain(names.map(|name| (Some(name), "x.py"))).collect();
        let record = land(&facts, &run_id("r"), 0, &rows).await.unwrap();
        assert_eq!(record.files.len(), 1);
        let bytes = bytes_of(&facts, &record.files[0].key).await;
        let read: Vec<_> = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap().map(Result::unwrap).collect();
        assert_eq!(read, [batch(&rows)]);
    }
}

#[tokio::test]
async fn a_bin_of_many_bytes_goes_on_in_further_files() {
    let options = WriterOptions { row_group_bytes: 64 << 10, file_bytes: 300 << 10, part_bytes: 100 << 10, ..WriterOptions::default() };
    let facts = memory();
    let rows = noise(&[5_000; 200]);
    let mut writer = BinWriter::new(&facts, &run_id("r"), 0, &new_attempt(), &rows.schema(), options).unwrap();
    writer.write(&rows).await.unwrap();
    let stats = BinStats { files: 200, ..BinStats::default() };
    let record = writer.finish(200, stats, noise_digests(200)).await.unwrap();
    assert!((3..=5).contains(&record.files.len()), "{}", record.files.len());
    assert_eq!(record.rows(), 200);
    assert!(record.files.is_sorted_by(|a, b| a.last < b.first));
    let sizes: Vec<_> = record.files.iter().map(|file| file.bytes).collect();
    assert!(sizes.iter().all(|bytes| *bytes < 500 << 10), "{sizes:?}");
}

/// A leaf that is small in the file, and large for who reads it, has its bound too: over all row groups of a file.
#[tokio::test]
async fn a_bin_whose_leaf_is_large_decoded_goes_on_in_further_files() {
    let bound = 100 << 10;
    let options = WriterOptions { file_leaf_bytes: bound, row_group_bytes: 64 << 10, row_group_rows: 3, ..WriterOptions::default() };
    let facts = memory();
    let values: BinaryArray = (0..40).map(|_| Some([7; 10 << 10])).collect();
    let paths: StringArray = (0..40).map(|row| Some(format!("{row:05}"))).collect();
    let repos: StringArray = (0..40).map(|_| Some("r")).collect();
    let columns = [("repo", Arc::new(repos) as ArrayRef), ("path", Arc::new(paths)), ("value", Arc::new(values))];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = BinWriter::new(&facts, &run_id("r"), 0, &new_attempt(), &rows.schema(), options).unwrap();
    writer.write(&rows).await.unwrap();
    let record = writer.finish(40, BinStats { files: 40, ..BinStats::default() }, noise_digests(40)).await.unwrap();
    let mut groups = Vec::new();
    for file in &record.files {
        let read = ParquetRecordBatchReaderBuilder::try_new(bytes_of(&facts, &file.key).await).unwrap();
        groups.push(read.metadata().num_row_groups());
        assert!((bound..bound + (20 << 10)).contains(&(file.rows * (10 << 10))), "{} rows", file.rows);
    }
    assert!(groups.iter().all(|groups| *groups > 1), "{groups:?}");
}

#[tokio::test]
async fn the_same_rows_give_the_same_bytes() {
    let hashes = async || {
        let record = land(&memory(), &run_id("r"), 0, BINS[0]).await.unwrap();
        record.files.into_iter().map(|f| f.sha256).collect::<Vec<_>>()
    };
    assert_eq!(hashes().await, hashes().await);
}

#[tokio::test]
async fn a_bin_without_rows_has_a_record_and_no_files() {
    let facts = memory();
    let record = land(&facts, &run_id("r"), 0, &[]).await.unwrap();
    assert!(record.files.is_empty());
    assert_eq!(facts.finished_bins(&run_id("r")).await.unwrap(), [0]);
}

#[tokio::test]
async fn rows_out_of_order_are_refused() {
    let facts = memory();
    let mut writer = writer(&facts, &run_id("r"), 0);
    writer.write(&batch(&[(Some("b"), "b.py")])).await.unwrap();
    // A path, a repository, the same row again, and a repository that was left.
    for rows in [
        batch(&[(Some("b"), "d.py"), (Some("b"), "c.py")]),
        batch(&[(Some("a"), "c.py")]),
        batch(&[(Some("b"), "b.py")]),
        batch(&[(None, "c.py")]),
        batch(&[(Some("c"), "a.py"), (Some("b"), "e.py")]),
    ] {
        let error = writer.write(&rows).await.unwrap_err();
        assert!(matches!(error, LandingError::NotSorted { .. }), "{error}");
    }
    writer.abort().await;
}

#[tokio::test]
async fn a_row_too_few_is_refused() {
    let facts = memory();
    let mut writer = writer(&facts, &run_id("r"), 0);
    writer.write(&batch(&BINS[0][1..])).await.unwrap();
    let error = writer.finish(3, stats(BINS[0]), digests(BINS[0])).await.unwrap_err();
    assert!(matches!(error, LandingError::Record { .. }), "{error}");
    assert!(crate::sample::keys(&facts, "").await.is_empty());
}

#[test]
fn a_schema_without_repo_and_path_is_refused() {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    for fields in
        [vec![], vec![text("path"), text("repo")], vec![text("repo")], vec![text("repo"), Field::new("path", DataType::Int32, false)]]
    {
        let schema = Arc::new(Schema::new(fields));
        let options = WriterOptions::default();
        let writer = BinWriter::new(&memory(), &run_id("r"), 0, &new_attempt(), &schema, options);
        assert!(matches!(writer, Err(LandingError::Schema { .. })));
    }
}

/// Rows of incompressible bytes, of these lengths.
fn noise(lengths: &[usize]) -> RecordBatch {
    let mut state = 1u64;
    let mut value = |length: &usize| -> Vec<u8> {
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(*length)
        .collect()
    };
    let values: BinaryArray = lengths.iter().map(|l| Some(value(l))).collect();
    let paths: StringArray = (0..lengths.len()).map(|i| Some(format!("{i:05}"))).collect();
    let repos: StringArray = lengths.iter().map(|_| Some("r")).collect();
    RecordBatch::try_from_iter([("repo", Arc::new(repos) as ArrayRef), ("path", Arc::new(paths)), ("value", Arc::new(values))]).unwrap()
}

fn noise_digests(rows: usize) -> Vec<RepoDigests> {
    let files = (0..rows).map(|i| FileDigest { path: format!("{i:05}"), digest: "00".repeat(32) });
    vec![RepoDigests { repo: Some("r".to_owned()), files: files.collect() }]
}

async fn write_noise(facts: &FactsStore, lengths: &[usize], options: WriterOptions) -> (Arc<ParquetMetaData>, Vec<RecordBatch>) {
    let batch = noise(lengths);
    let run = run_id("noise");
    let mut writer = BinWriter::new(facts, &run, 0, &new_attempt(), &batch.schema(), options).unwrap();
    writer.write(&batch).await.unwrap();
    let stats = BinStats { files: lengths.len() as u64, ..BinStats::default() };
    let record = writer.finish(lengths.len() as u64, stats, noise_digests(lengths.len())).await.unwrap();
    let bytes = bytes_of(facts, &record.files[0].key).await;
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let metadata = builder.metadata().clone();
    let read = builder.build().unwrap().map(Result::unwrap).collect();
    (metadata, read)
}

#[tokio::test]
async fn row_groups_keep_their_bound_and_one_huge_row_is_alone_to_break_it() {
    const BOUND: usize = 256 << 10;
    let mut lengths = vec![10_000; 300];
    lengths[150] = 3 << 20;
    let options = WriterOptions { row_group_bytes: BOUND, ..WriterOptions::default() };
    let (metadata, read) = write_noise(&memory(), &lengths, options).await;
    let sizes: Vec<i64> = metadata.row_groups().iter().map(|g| g.total_byte_size()).collect();
    let over: Vec<_> = sizes.iter().filter(|&&s| s > BOUND as i64 * 3 / 2).collect();
    assert_eq!(over.len(), 1, "{sizes:?}");
    assert!(*over[0] < (3 << 20) + BOUND as i64 * 3 / 2, "{sizes:?}");
    assert!(sizes.len() >= 12, "{sizes:?}");
    let expected = noise(&lengths);
    let read = arrow::compute::concat_batches(&expected.schema(), &read).unwrap();
    assert_eq!(read, expected);
}

/// Nobody counts these bytes against a budget, so that they have a bound of their own, however large the bin is.
#[tokio::test]
async fn a_bin_under_way_takes_the_memory_of_a_row_group_and_a_part() {
    let options = WriterOptions { row_group_bytes: 256 << 10, part_bytes: 128 << 10, ..WriterOptions::default() };
    let bound = 2 * (options.row_group_bytes + options.part_bytes);
    let (facts, rows) = (memory(), noise(&[5_000; 2_000]));
    let mut writer = BinWriter::new(&facts, &run_id("noise"), 0, &new_attempt(), &rows.schema(), options.clone()).unwrap();
    let mut peak = 0;
    for start in (0..rows.num_rows()).step_by(20) {
        writer.write(&rows.slice(start, 20)).await.unwrap();
        peak = peak.max(writer.memory());
    }
    // 10 MB have passed, in forty row groups.
    assert!((options.row_group_bytes / 2..bound).contains(&peak), "{peak} bytes of {bound}");
    let stats = BinStats { files: 2_000, ..BinStats::default() };
    let record = writer.finish(2_000, stats, noise_digests(2_000)).await.unwrap();
    assert!(record.files.iter().map(|file| file.bytes).sum::<u64>() > 9 << 20);
}

#[tokio::test]
async fn row_groups_are_bounded_by_rows_too() {
    let options = WriterOptions { row_group_rows: 10, ..WriterOptions::default() };
    let (metadata, _) = write_noise(&memory(), &[1; 35], options).await;
    let rows: Vec<_> = metadata.row_groups().iter().map(|g| g.num_rows()).collect();
    assert_eq!(rows, [10, 10, 10, 5]);
}

#[tokio::test]
async fn a_large_file_leaves_in_parts() {
    let options = WriterOptions { row_group_bytes: 64 << 10, part_bytes: 100 << 10, ..WriterOptions::default() };
    let lengths = vec![5_000; 400];
    let folder = tempfile::tempdir().unwrap();
    for facts in [memory(), FactsStore::local(folder.path()).unwrap()] {
        let counting = crate::faulty::Faulty::new(facts.store().clone(), crate::faulty::Fault::Refused, usize::MAX);
        let counted = FactsStore::new(Arc::new(counting.clone()), facts.root().clone());
        let (_, read) = write_noise(&counted, &lengths, options.clone()).await;
        let rows: usize = read.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, 400);
        // 2 MB in parts of 100 kB, and a handful of requests beside them.
        assert!((18..40).contains(&counting.requests()), "{}", counting.requests());
    }
}

#[tokio::test]
async fn a_store_that_fails_in_the_middle_of_a_file_leaves_nothing_behind() {
    let options = WriterOptions { row_group_bytes: 64 << 10, part_bytes: 100 << 10, ..WriterOptions::default() };
    let rows = noise(&[5_000; 400]);
    let facts = memory();
    for at in 1..12 {
        let faulty = crate::faulty::Faulty::new(facts.store().clone(), crate::faulty::Fault::Refused, at);
        let broken = FactsStore::new(Arc::new(faulty), facts.root().clone());
        let run = run_id("r");
        let mut writer = BinWriter::new(&broken, &run, 0, &new_attempt(), &rows.schema(), options.clone()).unwrap();
        let error = writer.write(&rows).await.unwrap_err();
        assert!(error.is_transient());
        writer.abort().await;
        assert!(crate::sample::keys(&facts, "").await.is_empty());
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_is_noticed_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let fresh = folder.path().join("a/b");
    let facts = FactsStore::new(memory().store().clone(), "a/b".into()).on_disk(&fresh);
    facts.check_writable().unwrap();
    assert!(fresh.is_dir());

    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = memory().on_disk(&file).check_writable().unwrap_err();
    assert!(matches!(error, LandingError::Io { .. }) && !error.is_transient(), "{error:?}");
    assert!(FactsStore::local(&file.join("x")).is_err());
    memory().check_writable().unwrap();
}
