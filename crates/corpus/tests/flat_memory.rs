//! Planning a corpus takes the memory that it takes, however many files there are. Alone in its process, whose memory it measures.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytefacts_corpus::{BinOptions, Corpus, Form, INCLUDE, Selection, Target, encode_bin, pack};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta};

/// A store of `files` objects, ten a repository, of which it holds none.
struct Generated {
    files: u64,
    requests: AtomicU64,
}

impl Generated {
    /// Keys in order. Repositories come in another one: `r-1/…` stands before `r/…` in a store and behind it in a run.
    fn key(number: u64) -> String {
        let repo = number / 10;
        format!("corpora/{:06}{}/package/module_{}.py", repo / 2, if repo.is_multiple_of(2) { "-fork" } else { "" }, number % 10)
    }

    /// The number of the first key behind `key`.
    fn behind(&self, key: &str) -> u64 {
        let (mut least, mut most) = (0, self.files);
        while least < most {
            let middle = (least + most) / 2;
            if Self::key(middle).as_str() > key { most = middle } else { least = middle + 1 }
        }
        least
    }
}

#[async_trait::async_trait]
impl PaginatedListStore for Generated {
    async fn list_paginated(&self, prefix: Option<&str>, options: PaginatedListOptions) -> object_store::Result<PaginatedListResult> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let behind = options.page_token.or(options.offset).unwrap_or_default();
        let mut result = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
        let (mut number, mut last) = (self.behind(&behind), behind);
        for _ in 0..options.max_keys.unwrap_or(1_000) {
            if number == self.files {
                return Ok(PaginatedListResult { result, page_token: None });
            }
            let key = Self::key(number);
            let prefix = prefix.unwrap_or_default();
            if options.delimiter.is_some() && key[prefix.len()..].contains('/') {
                let end = prefix.len() + key[prefix.len()..].find('/').unwrap();
                result.common_prefixes.push(Path::parse(&key[..end]).unwrap());
                last = format!("{}{}", &key[..=end], char::MAX);
                number = self.behind(&last);
            } else {
                let (location, last_modified) = (Path::parse(&key).unwrap(), std::time::UNIX_EPOCH.into());
                result.objects.push(ObjectMeta { location, last_modified, size: number % 20_000, e_tag: None, version: None });
                last = key;
                number += 1;
            }
        }
        Ok(PaginatedListResult { result, page_token: Some(last) })
    }
}

struct Planned {
    took: Duration,
    /// The most memory that the process ever had, in KiB.
    peak_kib: u64,
    requests: u64,
}

/// Lists, sorts, packs and encodes bins, as a scheduler does.
fn plan(files: u64) -> Planned {
    let begun = Instant::now();
    let store = Arc::new(Generated { files, requests: AtomicU64::new(0) });
    let selection = Selection::new(INCLUDE, []).unwrap();
    let corpus = Corpus::objects(Arc::new(InMemory::new()), Some(Arc::clone(&store) as _), Path::from("corpora"), Form::Tree, selection);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let inventory = runtime.block_on(corpus.list()).unwrap();
    assert_eq!(inventory.files(), files);

    let (mut last, mut packed) = (None, 0);
    for bin in pack(inventory.entries().unwrap(), inventory.cost_us(), BinOptions { target: Target::CostUs(10_000_000) }) {
        let bin = bin.unwrap();
        assert!(bin.files.is_sorted() && last < bin.files.first().cloned(), "bins come in order");
        packed += bin.files.len() as u64;
        last = bin.files.last().cloned();
        assert!(!encode_bin(&bin).unwrap().is_empty());
    }
    assert_eq!(packed, files);
    Planned { took: begun.elapsed(), peak_kib: peak_kib(), requests: store.requests.load(Ordering::Relaxed) }
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_corpus_of_a_million_files_is_planned_in_the_memory_of_a_third() {
    let (small, third, whole) = (plan(10_000), plan(330_000), plan(1_000_000));
    for (files, planned) in [(10_000, &small), (330_000, &third), (1_000_000, &whole)] {
        println!(
            "{files} files: {:.1} s, {} MiB at most, {} requests",
            planned.took.as_secs_f64(),
            planned.peak_kib / 1024,
            planned.requests
        );
        assert!(planned.requests < files / 1_000 * 5 / 4 + 50, "{} requests for {files} files", planned.requests);
    }
    // All of a million names and what is around them would be 150 MiB.
    assert!(whole.peak_kib < third.peak_kib + 16 * 1024, "{} KiB, and {} KiB for a third of it", whole.peak_kib, third.peak_kib);
}
