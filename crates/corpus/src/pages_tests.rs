use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use object_store::path::Path;
use object_store::{ListResult, ObjectMeta};
use proptest::prelude::*;

use super::*;

/// A store that lists as S3 does, through a client that parses keys as ours does.
pub(crate) struct Keys {
    keys: BTreeMap<String, u64>,
    page: usize,
    requests: AtomicUsize,
    at_a_time: (AtomicUsize, AtomicUsize),
    habit: Habit,
    gone: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Keys in order, from where the listing shall begin.
    Ordered,
    /// It ignores where a listing shall begin.
    FromTheStart,
    /// Keys in an order of its own.
    Unordered,
}

impl Keys {
    pub(crate) fn new(keys: impl IntoIterator<Item = String>, page: usize, habit: Habit) -> Self {
        let keys = keys.into_iter().enumerate().map(|(size, key)| (key, size as u64)).collect();
        Self { keys, page, requests: AtomicUsize::new(0), at_a_time: Default::default(), habit, gone: AtomicBool::new(false) }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// What a page lists: a key, or a folder of keys. By their place in the order.
type Item = (String, Option<u64>);

#[async_trait::async_trait]
impl PaginatedListStore for Keys {
    async fn list_paginated(&self, prefix: Option<&str>, options: PaginatedListOptions) -> object_store::Result<PaginatedListResult> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let (now, most) = &self.at_a_time;
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        // Answers come in an order of their own.
        for _ in 0..self.requests() % 5 {
            tokio::task::yield_now().await;
        }
        now.fetch_sub(1, Ordering::SeqCst);
        if self.gone.load(Ordering::SeqCst) {
            return Err(Error::NotImplemented { operation: "anything".to_owned(), implementer: "a store that is gone".to_owned() });
        }

        let prefix = prefix.unwrap_or_default();
        let mut behind = options.offset.filter(|_| self.habit != Habit::FromTheStart).unwrap_or_default();
        if let Some(token) = options.page_token {
            behind = token;
        }
        let most = options.max_keys.unwrap_or(usize::MAX).min(self.page);
        let mut items: BTreeSet<Item> = BTreeSet::new();
        let first = prefix.max(behind.as_str()).to_owned();
        for (key, size) in self.keys.range(first..).filter(|(key, _)| **key > behind).take_while(|(key, _)| key.starts_with(prefix)) {
            match key[prefix.len()..].find('/').filter(|_| options.delimiter.is_some()) {
                // A folder is listed if any of its keys lies behind, but not again where it ended the page before.
                Some(end) => match key[..=prefix.len() + end].to_owned() {
                    folder if behind.starts_with(&format!("{folder}{LAST}{LAST}")) => false,
                    folder => items.insert((folder, None)),
                },
                None => items.insert((key.clone(), Some(*size))),
            };
            if items.len() > most {
                break;
            }
        }
        let more = items.len() > most;
        let mut items: Vec<Item> = items.into_iter().take(most).collect();
        let token = items.last().map(|(name, size)| if size.is_some() { name.clone() } else { format!("{name}{LAST}{LAST}") });
        if self.habit == Habit::Unordered {
            items.reverse();
        }
        let mut result = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
        for (name, size) in items {
            let location = Path::parse(&name)?;
            match size {
                None => result.common_prefixes.push(location),
                Some(size) => {
                    let last_modified = std::time::UNIX_EPOCH.into();
                    result.objects.push(ObjectMeta { location, last_modified, size, e_tag: None, version: None });
                }
            }
        }
        Ok(PaginatedListResult { result, page_token: token.filter(|_| more) })
    }
}

async fn all(mut pages: Pages<'_>) -> Result<Vec<Found>, Fault> {
    let mut all = Vec::new();
    while let Some(page) = pages.next().await? {
        all.extend(page);
    }
    Ok(all)
}

fn list(store: &Keys, prefix: &str) -> Result<Vec<Found>, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(all(Pages::new(store, &Path::from(prefix))))
}

/// What shall be found of `keys`, sorted.
fn expected(keys: &Keys, prefix: &str) -> Vec<Found> {
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let mut expected = Vec::new();
    for (key, size) in keys.keys.iter().filter(|(key, _)| key.starts_with(&prefix)) {
        match Path::parse(key) {
            Ok(location) => expected.push(Found::Object { key: location.into(), size: *size }),
            Err(_) => expected.push(Found::Unnameable(blamed(&prefix, key).unwrap())),
        }
    }
    sorted(expected)
}

fn sorted(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_by_key(|found| format!("{found:?}"));
    found.dedup();
    found
}

/// Keys of few letters, so that folders, and names that begin with the name of a folder, are many.
fn keys() -> impl Strategy<Value = BTreeSet<String>> {
    let name = prop_oneof![10 => "[ab0.!-]{1,2}", 1 => Just("é".to_owned())].prop_filter("named apart", |name| name != "." && name != "..");
    let key = prop::collection::vec(name, 1..4).prop_map(|names| format!("c/{}", names.join("/")));
    prop::collection::btree_set(key, 1..120)
}

/// Keys that the client cannot name.
fn odd_keys() -> impl Strategy<Value = BTreeSet<String>> {
    let odd = prop::sample::select(vec!["", ".", "..", "x\u{1}", "\n.py"]);
    let key = ("[ab]{0,1}", odd, "[ab]{0,2}").prop_map(|(folder, odd, name)| match (folder.is_empty(), name.is_empty()) {
        (true, true) => format!("c/{odd}b"),
        (true, false) => format!("c/{odd}/{name}"),
        (false, true) => format!("c/{folder}/{odd}"),
        (false, false) => format!("c/{folder}/{odd}/{name}"),
    });
    prop::collection::btree_set(key, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn ranges_neither_overlap_nor_leave_gaps(keys in keys(), page in 1usize..6) {
        let store = Keys::new(keys, page, Habit::Ordered);
        let found = list(&store, "c").unwrap();
        prop_assert_eq!(found.len(), store.keys.len());
        prop_assert_eq!(sorted(found), expected(&store, "c"));
    }

    #[test]
    fn keys_that_cannot_be_named_are_found_and_hide_no_other(keys in keys(), odd in odd_keys(), page in 1usize..6, prefix in "c?") {
        let store = Keys::new(keys.into_iter().chain(odd), page, Habit::Ordered);
        let found = list(&store, &prefix).unwrap();
        prop_assert_eq!(sorted(found), expected(&store, &prefix));
    }

    #[test]
    fn folders_with_objects_of_their_own_are_in_order(keys in keys(), page in 1usize..6) {
        let markers: Vec<_> = keys.iter().filter_map(|key| Some(format!("{}/", key.rsplit_once('/')?.0))).collect();
        let store = Keys::new(keys.into_iter().chain(markers), page, Habit::Ordered);
        prop_assert_eq!(sorted(list(&store, "c").unwrap()), expected(&store, "c"));
    }

    #[test]
    fn a_store_of_another_order_is_noticed_and_listed_as_one_range(keys in keys(), page in 1usize..6, unordered in any::<bool>()) {
        let store = Keys::new(keys, page, if unordered { Habit::Unordered } else { Habit::FromTheStart });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        if let Ok(found) = list(&store, "c") {
            prop_assert_eq!(sorted(found), expected(&store, "c"));
        }
        let found = runtime.block_on(all(Pages::serial(&store, &Path::from("c")))).unwrap();
        prop_assert_eq!(sorted(found), expected(&store, "c"));
    }
}

/// As many requests as keys fill pages, and a little more; folders cost nothing.
#[test]
fn requests_do_not_grow_with_folders() {
    let keys = (0..100_000).map(|i| format!("c/repo-{:05}/{}.py", i / 10, i % 10));
    let store = Keys::new(keys, 1_000, Habit::Ordered);
    assert_eq!(list(&store, "c").unwrap().len(), 100_000);
    assert!(store.requests() <= 150, "{}", store.requests());
    assert_eq!(store.at_a_time.1.load(Ordering::SeqCst), WIDTH);
}

/// One repository of many folders is listed by several requests at a time too.
#[test]
fn one_large_folder_is_cut_inside() {
    let keys = (0..100_000).map(|i| format!("c/repo/package/{:02}/{i:06}.py", i / 1_000));
    let store = Keys::new(keys, 1_000, Habit::Ordered);
    assert_eq!(list(&store, "c").unwrap().len(), 100_000);
    assert!(store.requests() <= 150, "{}", store.requests());
    assert_eq!(store.at_a_time.1.load(Ordering::SeqCst), WIDTH);
}

#[test]
fn a_small_corpus_is_one_request() {
    let store = Keys::new((0..900).map(|i| format!("c/{i}/x.py")), 1_000, Habit::Ordered);
    assert_eq!(list(&store, "c").unwrap().len(), 900);
    assert_eq!(store.requests(), 1);
}

/// A folder without a name, however much is in it, costs what it takes to find its first key.
#[test]
fn a_folder_that_cannot_be_named_is_stepped_over_as_one() {
    let keys = (0..5_000).map(|i| if i % 2 == 0 { format!("c/a//{i}.py") } else { format!("c/a/{i}.py") });
    let store = Keys::new(keys, 1_000, Habit::Ordered);
    let found = list(&store, "c").unwrap();
    let unnameable: Vec<_> = found.iter().filter(|found| matches!(found, Found::Unnameable(_))).collect();
    assert_eq!(unnameable, [&Found::Unnameable("c/a//".to_owned())]);
    assert_eq!(found.len(), 2_501);
    assert!(store.requests() < 30, "{}", store.requests());
}

#[test]
fn a_store_that_fails_fails_the_listing() {
    let store = Keys::new(["c/x.py".to_owned()], 1, Habit::Ordered);
    store.gone.store(true, Ordering::SeqCst);
    assert!(matches!(list(&store, "c"), Err(Fault::Store(Error::NotImplemented { .. }))));
}
