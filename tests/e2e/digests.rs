//! The digest of a run is that of its corpus and its options, whatever else varies.
//!
//! `BYTEFACTS_DIGESTS=library` runs the same over the whole standard library.

use std::path::Path;
use std::sync::Arc;

use bytefacts_cache::{Cache, CacheOptions};
use bytefacts_compile::Interpreter;
use bytefacts_corpus::{Bin, Corpus, Entry, Form, encode_bin, predicted_cost_us};
use bytefacts_engine::{ExtractOptions, SampleRate};
use bytefacts_landing::{AttemptId, BinsWriter, FileName, Manifest, PlannedBin, RunId};

use crate::support::{Shape, extract, folder, library_corpus, python, store};

/// The corpus, and whether it is the whole library.
async fn corpus(python: &Interpreter) -> (tempfile::TempDir, bool) {
    let whole = std::env::var_os("BYTEFACTS_DIGESTS").is_some_and(|value| value == "library");
    let folders: &[&str] = if whole { &["."] } else { &["asyncio", "json", "unittest"] };
    (library_corpus(python, folders), whole)
}

fn options(optimize: u8, oracle: f64) -> ExtractOptions {
    ExtractOptions { optimize, oracle: SampleRate::try_from(oracle).unwrap(), ..ExtractOptions::default() }
}

/// Puts a listing into some order.
type Order = fn(&mut Vec<Entry>);

/// Writes the bins of a run down as a scheduler does that deals files out in an order of its own, so that bins overlap. Within a bin files are
/// sorted, as in all bins.
async fn list(corpus: &Path, facts: &Path, shape: &Shape, order: Order) {
    let selection = ExtractOptions::default().selection().unwrap();
    let inventory = Corpus::local(corpus, Form::Tree, selection).list().await.unwrap();
    let mut entries: Vec<_> = inventory.entries().unwrap().map(Result::unwrap).collect();
    order(&mut entries);
    let mut bins = Vec::new();
    for files in entries.chunks(entries.len().div_ceil(shape.bins as usize)) {
        let mut files = files.to_vec();
        files.sort();
        bins.push(Bin { bin_id: 0, cost_us: files.iter().map(|file| predicted_cost_us(file.size)).sum(), files });
    }
    let (facts, run) = (store(facts), RunId::new(shape.run).unwrap());
    let mut writer = BinsWriter::new(&facts, &run, AttemptId::from_random(1)).await.unwrap();
    for (bin_id, bin) in (0..).zip(bins) {
        let bin = Bin { bin_id, ..bin };
        let first = bin.files.first().unwrap();
        let first = FileName::new(first.repo.as_deref(), &first.path);
        let planned = PlannedBin { files: bin.files.len() as u64, source_bytes: 0, cost_us: bin.cost_us, first };
        writer.push(planned, &encode_bin(&bin).unwrap()).await.unwrap();
    }
    writer.finish().await.unwrap();
}

async fn digests(corpus: &Path, shape: Shape) -> (String, Vec<String>) {
    digests_of(&extract(corpus, folder().path(), &shape).await)
}

fn digests_of(manifest: &Manifest) -> (String, Vec<String>) {
    (manifest.run.digest.clone(), manifest.repos.iter().map(|repo| repo.digest.clone()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_digest_is_of_corpus_and_options_alone() {
    let python = python().await;
    let (corpus, _) = corpus(&python).await;
    let corpus = corpus.path();
    let units = folder();
    let cache = CacheOptions { folder: Some(units.path().to_owned()), memory_bytes: 1 << 20, disk_bytes: 4 << 30 };
    let cache = || Some(Arc::new(Cache::open(&cache)));

    let first = extract(corpus, folder().path(), &Shape { executors: 1, bins: 1, cache: cache(), ..Shape::default() }).await;
    println!("{} files, {} instructions", first.run.stats.files, first.run.stats.instructions);
    let expected = digests_of(&first);

    let shapes = [
        ("hash seed 1, two executors", Shape { hash_seed: Some(1), ..Shape::default() }),
        ("random hash seed, three executors", Shape { hash_seed: None, executors: 3, bins: 7, ..Shape::default() }),
        ("four executors, bins as tasks like", Shape { executors: 4, bins: 40, max_partitions_per_task: 0, ..Shape::default() }),
        ("two cores each", Shape { cores: 2, bins: 9, ..Shape::default() }),
        ("an oracle", Shape { options: options(0, 1.0), ..Shape::default() }),
        ("an oracle for some, random hash seed", Shape { options: options(0, 0.3), hash_seed: None, ..Shape::default() }),
        (
            "little memory, one file at a time",
            Shape { options: ExtractOptions { parallel_max_bytes: 1, memory_budget_bytes: 1, ..options(0, 0.0) }, ..Shape::default() },
        ),
    ];
    for (what, shape) in shapes {
        assert_eq!(digests(corpus, shape).await, expected, "{what}");
    }

    let warm = extract(corpus, folder().path(), &Shape { cache: cache(), ..Shape::default() }).await;
    assert_eq!(warm.run.stats.cache_hits, warm.run.stats.files);
    assert_eq!(digests_of(&warm), expected, "warm cache");
    let judged = Shape { cache: cache(), options: options(0, 1.0), ..Shape::default() };
    assert_eq!(digests(corpus, judged).await, expected, "warm cache and an oracle");

    let orders: [(&str, Order); 3] = [
        ("forward", |entries| entries.sort()),
        ("reverse", |entries| entries.sort_by(|a, b| b.cmp(a))),
        ("shuffled", |entries| entries.sort_by_key(|entry| entry.size.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
    ];
    for (what, order) in orders {
        let (facts, shape) = (folder(), Shape { bins: 6, ..Shape::default() });
        list(corpus, facts.path(), &shape, order).await;
        assert_eq!(digests_of(&extract(corpus, facts.path(), &shape).await), expected, "{what} listing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn optimisation_levels_have_digests_of_their_own() {
    let python = python().await;
    let (corpus, _) = corpus(&python).await;
    let mut levels = Vec::new();
    for level in [0, 1, 2] {
        let one = Shape { executors: 1, options: options(level, 0.0), ..Shape::default() };
        let other = Shape { executors: 3, bins: 11, hash_seed: None, options: options(level, 0.2), ..Shape::default() };
        let digest = digests(corpus.path(), one).await;
        assert_eq!(digests(corpus.path(), other).await, digest, "level {level}");
        levels.push(digest.0);
    }
    levels.sort();
    levels.dedup();
    assert_eq!(levels.len(), 3);
}
