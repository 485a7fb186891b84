//! The keys below a prefix of an object store, listed as several ranges at a time.
//!
//! A store hands out keys in pages of a thousand, one after the other, which makes a listing as slow as its pages are many. Keys come in order,
//! though, and a listing may begin behind any key. So the listing begins as one range of all keys; while requests are to spare, the range that has
//! gone on for longest is cut at folders that lie ahead of it. What ranges cost does not grow with folders: a range may span thousands of them.
//!
//! Ranges are halves of an order of *keys*, and every range begins behind the very key where the one before it ends, so that none overlaps or
//! leaves a gap. Where a store turns out to have another order, or to ignore where a listing shall begin, its keys are listed as one range.
//!
//! **Keys that the store's client cannot name**: `object_store` wants keys without empty segments, `.`, `..` and control characters, and gives up a
//! whole page with one such key in it. The page is asked for in halves until that key alone is left, which is reported and stepped over, with
//! all of its folder if that is to blame.

use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::FuturesUnordered;
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::{Error, path};

/// Requests at a time.
const WIDTH: usize = 8;
/// Pages that a range goes on for until it is cut. Its parts end within a page, and so cost a request each that is not full.
const PAGES_UNTIL_CUT: u32 = 8;
/// Requests for the folders at which a range is cut, at most: they come one after the other.
const CUT_REQUESTS: usize = 16;
/// Keys of a page whose size nobody has set.
const PAGE: usize = 1_000;
/// Behind every name that a key continues with.
const LAST: char = char::MAX;

/// What a listing comes upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Object {
        key: String,
        size: u64,
    },
    /// A key that the store's client cannot name, or a folder (with a slash at its end) none of whose keys it can name.
    Unnameable(String),
}

/// Why a listing ends early.
#[derive(Debug)]
pub(crate) enum Fault {
    Store(Error),
    /// Keys do not come in order, or not from where they shall begin: list them as one range.
    Disorder,
}

/// A listing under way.
pub(crate) struct Pages<'a> {
    store: &'a dyn PaginatedListStore,
    /// Empty, or with a slash at its end.
    prefix: String,
    /// Those that are at their end are none.
    ranges: Vec<Option<Range>>,
    requests: FuturesUnordered<BoxFuture<'a, Answer>>,
    cutting: bool,
    ordered: bool,
}

/// Keys that come one after the other: those behind where it began, up to and with `until`.
struct Range {
    until: Option<String>,
    /// The last key that was seen, or the one behind which the range begins.
    last: String,
    position: Position,
    /// The size of the next page; less than [`PAGE`] in front of a key that cannot be named.
    page: usize,
    /// The last key that could not be named.
    unnameable: Option<String>,
    /// Pages since it was cut, or should have been.
    pages: u32,
    /// Pages that it takes before it is cut.
    patience: u32,
}

/// Where the next page begins.
#[derive(Clone)]
enum Position {
    Behind(String),
    Token(String),
}

enum Answer {
    Page { range: usize, result: Result<PaginatedListResult, Error> },
    Cuts { range: usize, folders: Vec<String> },
}

impl<'a> Pages<'a> {
    /// Lists the keys below `prefix`, several ranges at a time.
    pub(crate) fn new(store: &'a dyn PaginatedListStore, prefix: &path::Path) -> Self {
        Self::start(store, prefix, true)
    }

    /// Lists the keys below `prefix` as one range, in whatever order they come.
    pub(crate) fn serial(store: &'a dyn PaginatedListStore, prefix: &path::Path) -> Self {
        Self::start(store, prefix, false)
    }

    fn start(store: &'a dyn PaginatedListStore, prefix: &path::Path, ordered: bool) -> Self {
        let prefix = if prefix.as_ref().is_empty() { String::new() } else { format!("{prefix}/") };
        let mut pages = Self { store, prefix, ranges: Vec::new(), requests: FuturesUnordered::new(), cutting: false, ordered };
        pages.add(Range::new(String::new(), None, 1));
        pages
    }

    /// What the next page holds; pages of different ranges come in no order. `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Found>>, Fault> {
        loop {
            self.cut_if_idle();
            match self.requests.next().await {
                None => return Ok(None),
                Some(Answer::Cuts { range, folders }) => self.cut(range, &folders),
                Some(Answer::Page { range, result: Ok(page) }) => {
                    let found = self.take(range, page)?;
                    if !found.is_empty() {
                        return Ok(Some(found));
                    }
                }
                Some(Answer::Page { range, result: Err(error) }) => {
                    if let Some(found) = self.step_over(range, error)? {
                        return Ok(Some(vec![found]));
                    }
                }
            }
        }
    }

    fn add(&mut self, range: Range) {
        self.ranges.push(Some(range));
        self.request(self.ranges.len() - 1);
    }

    /// Asks for the next page of a range.
    fn request(&mut self, number: usize) {
        let Some(Some(range)) = self.ranges.get(number) else { return };
        let mut options = PaginatedListOptions::default();
        match range.position.clone() {
            Position::Behind(key) => options.offset = (!key.is_empty()).then_some(key),
            Position::Token(token) => options.page_token = Some(token),
        }
        options.max_keys = (range.page < PAGE).then_some(range.page);
        let (store, prefix) = (self.store, self.prefix.clone());
        let page = async move {
            let prefix = (!prefix.is_empty()).then_some(prefix.as_str());
            Answer::Page { range: number, result: store.list_paginated(prefix, options).await }
        };
        self.requests.push(page.boxed());
    }

    fn end(&mut self, number: usize) {
        if let Some(range) = self.ranges.get_mut(number) {
            *range = None;
        }
    }

    /// The keys of a page that belong to its range.
    fn take(&mut self, number: usize, page: PaginatedListResult) -> Result<Vec<Found>, Fault> {
        let Some(Some(range)) = self.ranges.get_mut(number) else { return Ok(Vec::new()) };
        let mut found = Vec::with_capacity(page.result.objects.len());
        let mut beyond = false;
        for object in page.result.objects {
            let (key, size) = (String::from(object.location), object.size);
            if self.ordered {
                let place = place(&key, &range.last).ok_or(Fault::Disorder)?;
                if range.until.as_ref().is_some_and(|until| place > *until) {
                    beyond = true;
                    break;
                }
                range.last = place;
            }
            found.push(Found::Object { key, size });
        }
        range.pages += 1;
        match page.page_token.filter(|token| !token.is_empty() && !beyond) {
            Some(token) => {
                range.position = Position::Token(token);
                range.halve();
                self.request(number);
            }
            None => self.end(number),
        }
        Ok(found)
    }

    /// Has a page that holds a key which cannot be named asked for anew in halves; if there is nothing in front of the key, steps over it.
    fn step_over(&mut self, number: usize, error: Error) -> Result<Option<Found>, Fault> {
        let Some(Some(range)) = self.ranges.get_mut(number) else { return Ok(None) };
        let Some(key) = unnameable_key(&error) else { return Err(Fault::Store(error)) };
        // Without an order there is no stepping over; nor where the store does not begin where it is told to.
        if !self.ordered || range.unnameable.as_ref() == Some(&key) {
            return Err(Fault::Store(error));
        }
        if range.page > 1 {
            range.page /= 2;
            self.request(number);
            return Ok(None);
        }
        let Some(blamed) = blamed(&self.prefix, &key) else { return Err(Fault::Store(error)) };
        range.page = PAGE;
        if range.until.as_ref().is_some_and(|until| key > *until) {
            self.end(number);
            return Ok(None);
        }
        range.last = if blamed.ends_with('/') { format!("{blamed}{LAST}") } else { blamed.clone() };
        range.position = Position::Behind(range.last.clone());
        range.unnameable = Some(key);
        self.request(number);
        Ok(Some(Found::Unnameable(blamed)))
    }

    /// Looks for places where to cut the range that has gone on for longest, if a request is to spare.
    fn cut_if_idle(&mut self) {
        if self.cutting || !self.ordered || self.requests.len() >= WIDTH {
            return;
        }
        let ranges = (0..).zip(&self.ranges).filter_map(|(number, range)| Some((number, range.as_ref()?)));
        let Some((number, range)) = ranges.filter(|(_, range)| range.pages >= range.patience).max_by_key(|(_, range)| range.pages) else {
            return;
        };
        let (store, prefix, last, until) = (self.store, self.prefix.clone(), range.last.clone(), range.until.clone());
        let cuts = async move { Answer::Cuts { range: number, folders: folders_ahead(store, &prefix, &last, until.as_deref()).await } };
        self.requests.push(cuts.boxed());
        self.cutting = true;
    }

    /// Cuts a range at some of `folders`, into as many parts as requests are to spare.
    fn cut(&mut self, number: usize, folders: &[String]) {
        self.cutting = false;
        let spare = WIDTH.saturating_sub(self.requests.len());
        let Some(Some(range)) = self.ranges.get_mut(number) else { return };
        // It has gone on meanwhile.
        let ahead = folders.get(folders.partition_point(|folder| *folder <= range.last)..).unwrap_or_default();
        range.pages = 0;
        if ahead.is_empty() || spare == 0 {
            range.patience = range.patience.saturating_mul(2).max(PAGES_UNTIL_CUT);
            return;
        }
        range.patience = PAGES_UNTIL_CUT;
        let parts = spare.min(ahead.len()) + 1;
        let mut cuts: Vec<_> = (1..parts).filter_map(|part| ahead.get(part * ahead.len() / parts)).cloned().collect();
        cuts.dedup();
        let last_until = range.until.take();
        range.until = cuts.first().cloned();
        let untils = cuts.iter().skip(1).cloned().map(Some).chain([last_until]).collect::<Vec<_>>();
        for (behind, until) in cuts.into_iter().zip(untils) {
            self.add(Range::new(behind, until, PAGES_UNTIL_CUT));
        }
    }
}

impl Range {
    fn new(behind: String, until: Option<String>, patience: u32) -> Self {
        Self { until, last: behind.clone(), position: Position::Behind(behind), page: PAGE, unnameable: None, pages: 0, patience }
    }

    /// In front of a key that cannot be named, each page is half of the one before.
    fn halve(&mut self) {
        if self.page < PAGE {
            self.page = (self.page / 2).max(1);
        }
    }
}

/// Where `key` stands in the order if it comes behind `last`. The client cuts off the slash at the end of a folder's own object, with which that
/// stands behind more than without it.
fn place(key: &str, last: &str) -> Option<String> {
    if key > last {
        return Some(key.to_owned());
    }
    let folder = format!("{key}/");
    (folder.as_str() > last).then_some(folder)
}

/// Folders, with a slash at their ends and in order, that lie between `last` and `until`: those beside the outermost folder of `last` that has any.
///
/// A fault ends the search; the listing itself will meet it.
async fn folders_ahead(store: &dyn PaginatedListStore, prefix: &str, last: &str, until: Option<&str>) -> Vec<String> {
    let below = last.strip_prefix(prefix).unwrap_or_default();
    let mut begin = prefix.len();
    for segment in below.split_inclusive('/').take(CUT_REQUESTS) {
        let (parent, end) = (last.get(..begin).unwrap_or_default(), begin + segment.len());
        let own = last.get(..end).unwrap_or_default();
        let behind = if segment.ends_with('/') { format!("{own}{LAST}") } else { own.to_owned() };
        let folders = folders_behind(store, parent, behind, last, until).await;
        if !folders.is_empty() {
            return folders;
        }
        begin = end;
    }
    Vec::new()
}

async fn folders_behind(store: &dyn PaginatedListStore, parent: &str, behind: String, last: &str, until: Option<&str>) -> Vec<String> {
    let mut folders = Vec::new();
    let mut options = PaginatedListOptions { offset: Some(behind), delimiter: Some("/".into()), ..PaginatedListOptions::default() };
    for _ in 0..CUT_REQUESTS {
        let parent = (!parent.is_empty()).then_some(parent);
        let Ok(page) = store.list_paginated(parent, options.clone()).await else { break };
        let named = page.result.common_prefixes.into_iter().map(|folder| format!("{folder}/"));
        folders.extend(named.filter(|folder| folder.as_str() > last));
        let beyond = until.is_some_and(|until| folders.last().is_some_and(|folder| folder.as_str() >= until));
        options.page_token = page.page_token.filter(|token| !token.is_empty() && !beyond);
        if options.page_token.is_none() {
            break;
        }
    }
    folders.sort_unstable();
    folders.dedup();
    folders.truncate(folders.partition_point(|folder| until.is_none_or(|until| folder.as_str() < until)));
    folders
}

/// The key that made the store's client give up a page.
fn unnameable_key(error: &Error) -> Option<String> {
    match error {
        Error::InvalidPath { source: path::Error::EmptySegment { path } | path::Error::BadSegment { path, .. } } => Some(path.clone()),
        _ => None,
    }
}

/// The outermost folder of `key` that cannot be named, or the key itself.
fn blamed(prefix: &str, key: &str) -> Option<String> {
    let below = key.strip_prefix(prefix)?;
    let mut end = prefix.len();
    for segment in below.split_inclusive('/') {
        end += segment.len();
        let name = segment.strip_suffix('/').unwrap_or(segment);
        if name.is_empty() || path::PathPart::parse(name).is_err() {
            return key.get(..end).map(str::to_owned);
        }
    }
    None
}

#[cfg(test)]
#[path = "pages_tests.rs"]
pub(crate) mod tests;
