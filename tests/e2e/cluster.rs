//! Each file exactly once, and the same rows, whatever the cluster's shape.

use std::collections::BTreeMap;

use crate::support::{Shape, extract, folder, query_text, small_corpus, store, write_files};

/// Files of [`small_corpus`].
const FILES: u64 = 38;

/// Ballista 55 silently doubles or loses the rows of a plan whose leaf it cannot slice. One bin a task, three, and as many as it likes.
#[tokio::test(flavor = "multi_thread")]
async fn each_file_has_one_row_however_bins_are_cut_into_tasks() {
    let corpus = small_corpus();
    for max_partitions_per_task in [0, 1, 3] {
        let facts = folder();
        let manifest = extract(corpus.path(), facts.path(), &Shape { max_partitions_per_task, bins: 8, ..Shape::default() }).await;
        assert_eq!((manifest.run.stats.files, manifest.run.rows), (FILES, FILES), "{max_partitions_per_task} bins a task");
        let counts = query_text(facts.path(), "SELECT count(*), count(DISTINCT file_id), count(repo) FROM bytecode_files_v1").await;
        assert_eq!(counts, [["38", "38", "37"]], "{max_partitions_per_task} bins a task");
        assert_eq!(store(facts.path()).finished_bins(&manifest.run.run_id).await.unwrap().len(), manifest.run.bins as usize);
    }
}

/// One, two and three executors; few and many bins; other hash seeds: the digest of the whole run is one and the same, and so are the rows.
#[tokio::test(flavor = "multi_thread")]
async fn rows_depend_on_the_corpus_alone() {
    let corpus = small_corpus();
    let shapes = [
        Shape { executors: 1, bins: 1, ..Shape::default() },
        Shape { executors: 2, bins: 7, hash_seed: Some(1), ..Shape::default() },
        Shape { executors: 3, cores: 2, bins: 38, hash_seed: None, max_partitions_per_task: 0, ..Shape::default() },
    ];
    let mut seen = Vec::new();
    for shape in shapes {
        let facts = folder();
        let manifest = extract(corpus.path(), facts.path(), &shape).await;
        let rows = query_text(facts.path(), "SELECT * FROM bytecode_files_v1 ORDER BY repo NULLS FIRST, path").await;
        seen.push((manifest.run.digest.clone(), manifest.repos.iter().map(|r| r.digest.clone()).collect::<Vec<_>>(), rows));
    }
    assert_eq!(seen[0].2.len(), FILES as usize);
    for other in &seen[1..] {
        assert_eq!((&other.0, &other.1), (&seen[0].0, &seen[0].1));
        assert!(other.2 == seen[0].2, "rows differ between shapes");
    }
}

/// The digest is of facts, not of luck: any change of a source changes it, up to the root.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_source_changes_its_repository_and_no_other() {
    let corpus = small_corpus();
    let (before, after) = (folder(), folder());
    let digests =
        |manifest: bytefacts_landing::Manifest| manifest.repos.into_iter().map(|repo| (repo.repo, repo.digest)).collect::<BTreeMap<_, _>>();
    let old = extract(corpus.path(), before.path(), &Shape::default()).await;
    write_files(corpus.path(), &[("a/pkg0/m0.py", b"answer = 43\n")]);
    let new = extract(corpus.path(), after.path(), &Shape::default()).await;
    assert_ne!(old.run.digest, new.run.digest);
    let (old, new) = (digests(old), digests(new));
    let changed: Vec<_> = old.iter().filter(|(repo, digest)| new.get(*repo) != Some(digest)).map(|(repo, _)| repo.as_deref()).collect();
    assert_eq!(changed, [Some("a")]);
}

/// A second run with a warm cache compiles nothing and gives the same facts.
#[tokio::test(flavor = "multi_thread")]
async fn a_warm_cache_changes_no_row() {
    let (corpus, cold, warm, folder_of_cache) = (small_corpus(), folder(), folder(), folder());
    let options =
        bytefacts_cache::CacheOptions { folder: Some(folder_of_cache.path().to_owned()), memory_bytes: 1 << 20, disk_bytes: 1 << 30 };
    let shape = || Shape { cache: Some(std::sync::Arc::new(bytefacts_cache::Cache::open(&options))), ..Shape::default() };
    let first = extract(corpus.path(), cold.path(), &shape()).await;
    let second = extract(corpus.path(), warm.path(), &shape()).await;
    assert_eq!(second.run.stats.cache_hits, FILES, "every file, failing ones included");
    assert_eq!(second.run.stats.compile_cpu_us, 0);
    assert_eq!(first.run.digest, second.run.digest);
    // The same sources occur in three repositories: a copy costs one compile even in a first run. (Where two work at once, both may compile it.)
    let empty = folder();
    let options = bytefacts_cache::CacheOptions { folder: Some(empty.path().to_owned()), ..options };
    let cache = Some(std::sync::Arc::new(bytefacts_cache::Cache::open(&options)));
    let alone = extract(corpus.path(), folder().path(), &Shape { cache, executors: 1, ..Shape::default() }).await;
    assert!(alone.run.stats.cache_hits > 0 && alone.run.digest == first.run.digest);
}

/// What has not changed is not analysed again either: its files are landed as they were, byte for byte. A change, or damage to the cache or to
/// the files of the earlier run, costs the bins that it touches.
#[tokio::test(flavor = "multi_thread")]
async fn a_bin_whose_files_are_unchanged_is_taken_over_byte_for_byte() {
    let (corpus, home, facts) = (small_corpus(), folder(), folder());
    let options = bytefacts_cache::CacheOptions { folder: Some(home.path().to_owned()), memory_bytes: 1 << 20, disk_bytes: 1 << 30 };
    let run = async |name| {
        let cache = Some(std::sync::Arc::new(bytefacts_cache::Cache::open(&options)));
        extract(corpus.path(), facts.path(), &Shape { run: name, cache, ..Shape::default() }).await
    };
    let bytes = |m: &bytefacts_landing::Manifest| {
        m.files.iter().map(|f| (f.first.clone(), f.rows, f.bytes, f.sha256.clone())).collect::<std::collections::BTreeSet<_>>()
    };
    let cold = run("cold").await;
    let warm = run("warm").await;
    assert!(cold.run.stats.analyse_cpu_us > 0);
    assert_eq!(warm.run.stats.analyse_cpu_us, 0, "nothing was analysed");
    assert_eq!(warm.files, cold.files, "the same files are named, none is copied");
    assert_eq!((warm.run.bins_taken_over, warm.run.landed_bytes), (warm.run.bins, 0));
    let written: u64 = walk(&facts.path().join("runs/warm")).iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    assert!(written < 64 << 10, "a night without changes writes kilobytes, this one {written} bytes");
    assert!(!facts.path().join("bytecode_files_v1/landed=warm").exists());
    assert_eq!((bytes(&warm), &warm.run.digest, &warm.run.stats.errors), (bytes(&cold), &cold.run.digest, &cold.run.stats.errors));

    // Of the same size: names and sizes alone do not make a bin the same.
    let path = corpus.path().join("a/pkg0/m0.py");
    let changed = std::fs::read_to_string(&path).unwrap().replace("import os", "import re");
    std::fs::write(&path, changed).unwrap();
    let expected = extract(corpus.path(), folder().path(), &Shape::default()).await;
    let one_changed = run("one-changed").await;
    assert_eq!((bytes(&one_changed), &one_changed.run.digest), (bytes(&expected), &expected.run.digest));
    assert_ne!(one_changed.run.digest, cold.run.digest);
    let (whole, part) = (cold.run.stats.analyse_cpu_us, one_changed.run.stats.analyse_cpu_us);
    assert!(part > 0 && one_changed.run.stats.cache_hits == FILES - 1, "{part} of {whole}, {} hits", one_changed.run.stats.cache_hits);

    // A file that was overwritten is another object, whatever its name; one that is gone is missed. Both cost their bins, and nothing else.
    let [overwritten, deleted, ..] = one_changed.files.as_slice() else { panic!("a bin a repository at least") };
    let path = facts.path().join(&overwritten.key);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, vec![0; usize::try_from(overwritten.bytes).unwrap()]).unwrap();
    std::fs::remove_file(facts.path().join(&deleted.key)).unwrap();
    let mended = run("mended").await;
    assert_eq!((bytes(&mended), &mended.run.digest), (bytes(&expected), &expected.run.digest));
    assert!(mended.run.stats.analyse_cpu_us > 0);

    for path in walk(home.path()) {
        let length = std::fs::metadata(&path).unwrap().len();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(length / 2).unwrap();
    }
    let damaged = run("damaged").await;
    assert_eq!((bytes(&damaged), &damaged.run.digest), (bytes(&expected), &expected.run.digest));
    assert!(damaged.run.stats.analyse_cpu_us > 0);
    for manifest in [&cold, &warm, &mended, &damaged] {
        for file in manifest.files.iter().filter(|file| file.key != overwritten.key && file.key != deleted.key) {
            let landed = std::fs::read(facts.path().join(&file.key)).unwrap();
            assert_eq!(hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&landed)), file.sha256);
        }
    }
}

/// All files below a folder.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// The number of data files is that of the bins, whatever repositories there are; each has its rows under its name.
#[tokio::test(flavor = "multi_thread")]
async fn files_grow_with_bytes_and_not_with_repositories() {
    const REPOSITORIES: usize = 1_000;
    let (corpus, facts) = (folder(), folder());
    let files: Vec<_> = (0..REPOSITORIES).flat_map(|repo| (0..2).map(move |file| format!("r{repo:04}/m{file}.py"))).collect();
    let files: Vec<_> = files.iter().map(|path| (path.as_str(), b"x = 1\n".as_slice())).collect();
    write_files(corpus.path(), &files);
    let manifest = extract(corpus.path(), facts.path(), &Shape { bins: 4, ..Shape::default() }).await;
    assert_eq!((manifest.run.repositories, manifest.run.rows), (REPOSITORIES as u64, 2 * REPOSITORIES as u64));
    assert_eq!(manifest.files.len(), manifest.run.bins as usize);
    assert!(manifest.run.bins <= 6, "{}", manifest.run.bins);
    let one = query_text(facts.path(), "SELECT path FROM bytecode_files_v1 WHERE repo = 'r0500' ORDER BY path").await;
    assert_eq!(one, [["m0.py"], ["m1.py"]]);
}

/// Two runs into the same facts: readers see the newer, both stay readable, and neither sweeps the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_run_replaces_the_old_one_as_current_and_keeps_it() {
    let (corpus, facts) = (small_corpus(), folder());
    let first = extract(corpus.path(), facts.path(), &Shape { run: "first", ..Shape::default() }).await;
    write_files(corpus.path(), &[("a/new.py", b"x = 1\n")]);
    extract(corpus.path(), facts.path(), &Shape { run: "second", ..Shape::default() }).await;
    assert_eq!(query_text(facts.path(), "SELECT count(*) FROM bytecode_files_v1").await, [["39"]]);
    let runs = store(facts.path()).runs().await.unwrap();
    assert_eq!(runs.iter().map(|run| run.run_id.as_str()).collect::<Vec<_>>(), ["second", "first"]);
    for file in first.files {
        assert!(facts.path().join(&file.key).exists(), "{} was swept", file.key);
    }
}
