//! The cache: memory over disk over what nodes share, and what it counts.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::disk::Disk;
use crate::entry;
use crate::memory::Memory;
use crate::shared::{Counts, Shared, SharedPlace};

/// Where a cache lives and how much it may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// Folder of the disk tier; `None` keeps the cache in memory only.
    pub folder: Option<PathBuf>,
    /// Bound of the memory tier, in bytes of values; 0 turns it off.
    pub memory_bytes: u64,
    /// Bound of the disk tier, in bytes of files; 0 turns it off.
    pub disk_bytes: u64,
}

impl Default for CacheOptions {
    /// In memory only, 64 MiB; a folder, once given, may hold 8 GiB.
    fn default() -> Self {
        Self { folder: None, memory_bytes: 64 << 20, disk_bytes: 8 << 30 }
    }
}

/// What a cache has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStats {
    /// Lookups answered from memory.
    pub memory_hits: u64,
    /// Lookups answered from disk.
    pub disk_hits: u64,
    /// Lookups answered from the shared tier.
    #[serde(default)]
    pub shared_hits: u64,
    /// Lookups not answered.
    pub misses: u64,
    /// Values stored.
    pub puts: u64,
    /// Values that had to leave memory for others.
    pub memory_evictions: u64,
    /// Files that had to leave the disk for others.
    pub disk_evictions: u64,
    /// Bytes in memory now.
    pub memory_bytes: u64,
    /// Bytes on disk now, as far as this process knows.
    pub disk_bytes: u64,
    /// Values uploaded to the shared tier.
    #[serde(default)]
    pub shared_puts: u64,
    /// Values not uploaded: too many waited, or the store was left alone after a failure.
    #[serde(default)]
    pub shared_skipped: u64,
    /// Objects of the shared tier that were torn or foreign.
    #[serde(default)]
    pub shared_damaged: u64,
    /// Requests to the shared tier that failed.
    #[serde(default)]
    pub shared_errors: u64,
}

impl CacheStats {
    /// Lookups answered.
    pub fn hits(&self) -> u64 {
        self.memory_hits + self.disk_hits + self.shared_hits
    }
}

/// Where a value was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// In memory.
    Memory,
    /// On this node's disk.
    Disk,
    /// In the object store that nodes share.
    Shared,
}

/// How long [`Cache::flush`] waits.
const FLUSH_LIMIT: Duration = Duration::from_secs(10);

/// A content-addressed cache. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Cache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    memory: Mutex<Memory>,
    disk: Option<Disk>,
    disk_limit_bytes: u64,
    shared: Option<Shared>,
    memory_hits: AtomicU64,
    disk_hits: AtomicU64,
    shared_hits: AtomicU64,
    misses: AtomicU64,
    puts: AtomicU64,
    memory_evictions: AtomicU64,
}

impl Cache {
    /// Opens a cache. A folder that cannot be used turns the disk tier off, with one warning. Blocks for a moment.
    pub fn open(options: &CacheOptions) -> Self {
        Self::open_with(options, None)
    }

    /// As [`Cache::open`], with a tier in an object store below those of this node. Its requests are made on the runtime that this is called
    /// from; none is made here.
    pub fn open_shared(options: &CacheOptions, place: SharedPlace) -> Self {
        Self::open_with(options, Some(Shared::new(place, Handle::current())))
    }

    fn open_with(options: &CacheOptions, shared: Option<Shared>) -> Self {
        let folder = options.folder.as_ref().filter(|_| options.disk_bytes > 0);
        let disk = folder.and_then(|folder| {
            Disk::open(folder, options.disk_bytes)
                .inspect_err(|error| {
                    tracing::warn!(
                        folder = %folder.display(),
                        %error,
                        "cannot use the cache folder, the cache is in memory only"
                    );
                })
                .ok()
        });
        Self(Arc::new(Inner {
            memory: Mutex::new(Memory::new(options.memory_bytes)),
            disk_limit_bytes: if disk.is_some() { options.disk_bytes } else { 0 },
            disk,
            shared,
            memory_hits: AtomicU64::default(),
            disk_hits: AtomicU64::default(),
            shared_hits: AtomicU64::default(),
            misses: AtomicU64::default(),
            puts: AtomicU64::default(),
            memory_evictions: AtomicU64::default(),
        }))
    }

    /// The value under `key`, if this node has it intact. May block on the disk; see [`Cache::get_async`].
    pub fn get(&self, key: &[u8; 32]) -> Option<Bytes> {
        let found = self.get_in_memory(key).or_else(|| self.get_on_disk(key));
        self.note_end(found.is_some());
        found
    }

    /// Stores `value` under `key`; the shared tier gets it some time later. May block on the disk; see [`Cache::put_async`].
    pub fn put(&self, key: [u8; 32], value: Bytes) {
        self.put_in(self.0.shared.as_ref(), key, value);
    }

    fn put_in(&self, shared: Option<&Shared>, key: [u8; 32], value: Bytes) {
        let inner = &self.0;
        inner.puts.fetch_add(1, Ordering::Relaxed);
        match (&inner.disk, shared) {
            (Some(disk), None) => disk.put(&key, &value),
            (disk, Some(shared)) => {
                if let Some(file) = entry::encode(&key, &value) {
                    if let Some(disk) = disk {
                        disk.put_encoded(&key, &file);
                    }
                    shared.put(key, file);
                }
            }
            (None, None) => {}
        }
        self.keep(key, value);
    }

    /// The value under `key`, if it is in any tier and intact, with the disk off the async threads.
    pub async fn get_async(&self, key: [u8; 32]) -> Option<Bytes> {
        self.lookup(key).await.map(|(value, _)| value)
    }

    /// [`Cache::get_async`], with the tier that had the value.
    pub async fn lookup(&self, key: [u8; 32]) -> Option<(Bytes, Tier)> {
        if let Some(value) = self.get_in_memory(&key) {
            return Some((value, Tier::Memory));
        }
        let cache = self.clone();
        let on_disk = tokio::task::spawn_blocking(move || cache.get_on_disk(&key)).await;
        let found = match on_disk.ok().flatten() {
            Some(value) => Some((value, Tier::Disk)),
            None => self.get_shared(key).await.map(|value| (value, Tier::Shared)),
        };
        self.note_end(found.is_some());
        found
    }

    async fn get_shared(&self, key: [u8; 32]) -> Option<Bytes> {
        let shared = self.0.shared.clone()?;
        let file = shared.get(key).await?;
        let cache = self.clone();
        let taken = tokio::task::spawn_blocking(move || {
            let Some(value) = entry::decode(&key, &file).map(Bytes::from) else {
                shared.note_damaged();
                return None;
            };
            if let Some(disk) = &cache.0.disk {
                disk.put_encoded(&key, &file);
            }
            cache.0.shared_hits.fetch_add(1, Ordering::Relaxed);
            cache.keep(key, value.clone());
            Some(value)
        });
        taken.await.ok().flatten()
    }

    /// The value under `key` that this node itself has kept by [`Cache::put_own`], with the disk off the async threads.
    ///
    /// The shared tier is not asked: whoever may write there could have a node believe what it has never seen.
    pub async fn get_own(&self, key: [u8; 32]) -> Option<Bytes> {
        let cache = self.clone();
        tokio::task::spawn_blocking(move || cache.get(&key)).await.ok().flatten()
    }

    /// Stores what only this node is to believe; see [`Cache::get_own`].
    pub async fn put_own(&self, key: [u8; 32], value: Bytes) {
        let cache = self.clone();
        // A runtime that shuts down costs the entry.
        let _ = tokio::task::spawn_blocking(move || cache.put_in(None, key, value)).await;
    }

    /// Bytes that the disk tier may take; 0 where there is none.
    pub fn disk_limit_bytes(&self) -> u64 {
        self.0.disk_limit_bytes
    }

    /// Whether there is a shared tier, whose lookups take longer than others.
    pub fn is_shared(&self) -> bool {
        self.0.shared.is_some()
    }

    /// Waits a while for what is still to be uploaded to the shared tier. Returns whether all was.
    pub async fn flush(&self) -> bool {
        match &self.0.shared {
            Some(shared) => shared.flush(FLUSH_LIMIT).await,
            None => true,
        }
    }

    /// [`Cache::put`], with the disk and the compression off the async threads.
    pub async fn put_async(&self, key: [u8; 32], value: Bytes) {
        let cache = self.clone();
        // A runtime that shuts down costs the entry.
        let _ = tokio::task::spawn_blocking(move || cache.put(key, value)).await;
    }

    /// Figures since opening.
    pub fn stats(&self) -> CacheStats {
        let inner = &self.0;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let shared = |counter: fn(&Counts) -> &AtomicU64| inner.shared.as_ref().map_or(0, |shared| read(counter(shared.counts())));
        CacheStats {
            memory_hits: read(&inner.memory_hits),
            disk_hits: read(&inner.disk_hits),
            shared_hits: read(&inner.shared_hits),
            misses: read(&inner.misses),
            puts: read(&inner.puts),
            memory_evictions: read(&inner.memory_evictions),
            disk_evictions: inner.disk.as_ref().map_or(0, Disk::evictions),
            memory_bytes: self.memory().used(),
            disk_bytes: inner.disk.as_ref().map_or(0, Disk::known_bytes),
            shared_puts: shared(|counts| &counts.puts),
            shared_skipped: shared(|counts| &counts.skipped),
            shared_damaged: shared(|counts| &counts.damaged),
            shared_errors: shared(|counts| &counts.errors),
        }
    }

    fn get_in_memory(&self, key: &[u8; 32]) -> Option<Bytes> {
        let found = self.memory().get(key);
        if found.is_some() {
            self.0.memory_hits.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    fn get_on_disk(&self, key: &[u8; 32]) -> Option<Bytes> {
        let found = self.0.disk.as_ref().and_then(|disk| disk.get(key));
        let value = Bytes::from(found?);
        self.0.disk_hits.fetch_add(1, Ordering::Relaxed);
        self.keep(*key, value.clone());
        Some(value)
    }

    /// A lookup has been through all tiers that there are for it.
    fn note_end(&self, found: bool) {
        if !found {
            self.0.misses.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn keep(&self, key: [u8; 32], value: Bytes) {
        let evicted = self.memory().put(key, value);
        self.0.memory_evictions.fetch_add(evicted, Ordering::Relaxed);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // The maps are consistent between any two of their methods' statements that can panic: none can.
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn options(folder: Option<&std::path::Path>) -> CacheOptions {
        CacheOptions { folder: folder.map(PathBuf::from), ..CacheOptions::default() }
    }

    fn key(i: u32) -> [u8; 32] {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&i.to_le_bytes());
        key
    }

    #[test]
    fn memory_answers_before_disk_and_disk_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&options(Some(folder.path())));
        assert_eq!(cache.get(&key(1)), None);
        cache.put(key(1), Bytes::from_static(b"value"));
        assert_eq!(cache.get(&key(1)).unwrap(), "value");
        let stats = cache.stats();
        assert_eq!((stats.memory_hits, stats.disk_hits, stats.misses), (1, 0, 1));

        let cache = Cache::open(&options(Some(folder.path())));
        assert_eq!(cache.get(&key(1)).unwrap(), "value");
        assert_eq!(cache.get(&key(1)).unwrap(), "value");
        let stats = cache.stats();
        assert_eq!((stats.memory_hits, stats.disk_hits, stats.misses), (1, 1, 0));
    }

    #[test]
    fn a_folder_that_cannot_be_used_costs_only_the_disk_tier() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let cache = Cache::open(&options(Some(&file)));
        cache.put(key(1), Bytes::from_static(b"value"));
        assert_eq!(cache.get(&key(1)).unwrap(), "value");
        assert!(cache.0.disk.is_none());
    }

    #[test]
    fn tiers_can_be_turned_off() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&CacheOptions { memory_bytes: 0, ..options(Some(folder.path())) });
        cache.put(key(1), Bytes::from_static(b"value"));
        assert_eq!(cache.get(&key(1)).unwrap(), "value");
        assert_eq!(cache.stats().disk_hits, 1);

        let cache = Cache::open(&CacheOptions { memory_bytes: 0, disk_bytes: 0, ..options(Some(folder.path())) });
        assert_eq!(cache.get(&key(1)), None);
    }

    #[tokio::test]
    async fn the_async_face_is_the_same_cache() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&options(Some(folder.path())));
        assert_eq!(cache.get_async(key(1)).await, None);
        cache.put_async(key(1), Bytes::from_static(b"value")).await;
        assert_eq!(cache.get_async(key(1)).await.unwrap(), "value");
        assert_eq!(cache.get(&key(1)).unwrap(), "value");
    }

    /// A value that its key determines, so that a wrong one is noticed.
    fn value_of(i: u32) -> Bytes {
        Bytes::from(i.to_le_bytes().repeat(1 + i as usize % 400))
    }

    /// Puts and gets in a small cache until all is evicted many times over; no value may ever be wrong.
    fn hammer(cache: &Cache, start: u32) {
        for i in 0..3_000u32 {
            let i = (i.wrapping_mul(2_654_435_761).wrapping_add(start)) % 700;
            match cache.get(&key(i)) {
                Some(found) => assert_eq!(found, value_of(i)),
                None => cache.put(key(i), value_of(i)),
            }
        }
    }

    fn small(folder: &std::path::Path) -> CacheOptions {
        CacheOptions { folder: Some(folder.to_owned()), memory_bytes: 20_000, disk_bytes: 64 * 400 }
    }

    #[test]
    fn threads_share_a_cache_and_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let shared = Cache::open(&small(folder.path()));
        std::thread::scope(|scope| {
            for start in 0..4 {
                let cache = shared.clone();
                scope.spawn(move || hammer(&cache, start));
                // Another cache over the same folder knows nothing of the first one.
                let folder = folder.path();
                scope.spawn(move || hammer(&Cache::open(&small(folder)), start + 100));
            }
        });
        let stats = shared.stats();
        assert!(stats.hits() > 0 && stats.misses > 0, "{stats:?}");
        assert!(stats.memory_evictions > 0 && stats.disk_evictions > 0, "{stats:?}");
    }

    #[test]
    fn processes_share_a_folder() {
        const FOLDER: &str = "BYTEFACTS_CACHE_TEST_FOLDER";
        if let Some(folder) = std::env::var_os(FOLDER) {
            hammer(&Cache::open(&small(folder.as_ref())), std::process::id() % 700);
            return;
        }
        // The test runs itself, and each copy comes by the branch above.
        let folder = tempfile::tempdir().unwrap();
        let this = std::env::current_exe().unwrap();
        let children: Vec<_> = (0..4)
            .map(|_| {
                std::process::Command::new(&this)
                    .args(["--exact", "cache::tests::processes_share_a_folder"])
                    .env(FOLDER, folder.path())
                    .stdout(std::process::Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        let cache = Cache::open(&small(folder.path()));
        hammer(&cache, 0);
        assert!(cache.stats().disk_hits > 0);
    }
}
