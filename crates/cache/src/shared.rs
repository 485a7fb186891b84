//! The shared tier: the same entries in an object store, for all nodes of a cluster.
//!
//! An entry is one object, `v1/ab/<key in hex>`, of the bytes that the disk tier has in a file: what a put cut off or somebody else left there
//! is noticed when it is read, and is a miss. With a secret they are sealed (`seal.rs`), as `v1-sealed/…`, and what is not is a miss too. Keys are digests of all that a value depends on, so that whoever comes second writes no worse one.
//! Nothing is deleted here: the bucket's own lifecycle rule bounds the tier. Who may not list a bucket of S3 is told that what is not there is
//! forbidden, and so has no shared tier.
//!
//! The store is never waited for longer than a cache is worth: lookups have a limit, uploads go on in the background, bounded in number and
//! bytes, and a store that fails is left alone for a while (`breaker.rs`).

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::breaker::Breaker;
use crate::seal::Secret;

/// Names of this layout, without seals and with them; another layout gets others.
const LAYOUT: &str = "v1";
const SEALED_LAYOUT: &str = "v1-sealed";

/// Larger objects are neither written nor read: a source of the largest size that is taken has less than this, compressed.
const ENTRY_LIMIT: u64 = 64 << 20;

/// How long a lookup may take: a compile seldom takes as long.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);
const UPLOAD_LIMIT: Duration = Duration::from_secs(30);

/// Uploads under way at a time, and KiB that are or wait to be. What comes on top is not uploaded.
const UPLOADS: usize = 16;
const QUEUE_KIB: u32 = 128 << 10;

/// Where the shared tier is.
#[derive(Clone, Debug)]
pub struct SharedPlace {
    /// The client of the object store.
    pub store: Arc<dyn ObjectStore>,
    /// The path in it below which entries lie.
    pub path: Path,
    /// What those who may write there do not know. Without it, what they put there is taken for compiled code.
    pub secret: Option<Secret>,
}

/// Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    place: SharedPlace,
    /// Where requests run: a caller's own runtime may end before an upload does.
    runtime: Handle,
    reads: Breaker,
    writes: Breaker,
    warned: AtomicBool,
    /// A permit is a KiB.
    queue: Arc<Semaphore>,
    uploads: Semaphore,
    counts: Counts,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) puts: AtomicU64,
    pub(crate) skipped: AtomicU64,
    pub(crate) damaged: AtomicU64,
    pub(crate) errors: AtomicU64,
}

impl Counts {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// A tier at a place. No request is made.
    pub(crate) fn new(place: SharedPlace, runtime: Handle) -> Self {
        Self(Arc::new(Inner {
            place,
            runtime,
            reads: Breaker::default(),
            writes: Breaker::default(),
            warned: AtomicBool::new(false),
            queue: Arc::new(Semaphore::new(QUEUE_KIB as usize)),
            uploads: Semaphore::new(UPLOADS),
            counts: Counts::default(),
        }))
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// The bytes under `key`, whatever they are. A failure of the store is a miss.
    pub(crate) async fn get(&self, key: [u8; 32]) -> Option<Bytes> {
        let inner = &self.0;
        if !inner.reads.admits(Instant::now()) {
            return None;
        }
        let shared = self.clone();
        let read = inner.runtime.spawn(async move { timeout(LOOKUP_LIMIT, shared.read(&key)).await });
        match read.await {
            Ok(Ok(Ok(found))) => {
                self.note_success(&inner.reads);
                found
            }
            Ok(Ok(Err(error))) => {
                self.note_failure(&inner.reads, "read", &error);
                None
            }
            Ok(Err(_)) => {
                self.note_failure(&inner.reads, "read", &format_args!("no answer within {} s", LOOKUP_LIMIT.as_secs()));
                None
            }
            Err(_) => None, // the runtime shuts down
        }
    }

    async fn read(&self, key: &[u8; 32]) -> object_store::Result<Option<Bytes>> {
        let answer = match self.0.place.store.get(&self.object(key)).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            answer => answer?,
        };
        if answer.meta.size > ENTRY_LIMIT {
            self.note_damaged();
            return Ok(None);
        }
        let object = answer.bytes().await?;
        let Some(secret) = &self.0.place.secret else { return Ok(Some(object)) };
        let file = secret.opened(key, &object).map(|length| object.slice(..length));
        if file.is_none() {
            self.note_damaged();
        }
        Ok(file)
    }

    /// An object was no entry of its key. The next put replaces it.
    pub(crate) fn note_damaged(&self) {
        Counts::add(&self.0.counts.damaged);
        tracing::debug!("a damaged entry of the shared cache was left alone");
    }

    /// Has an encoded entry uploaded, without waiting for it.
    pub(crate) fn put(&self, key: [u8; 32], file: Vec<u8>) {
        let file = match &self.0.place.secret {
            Some(secret) => secret.seal(&key, file),
            None => file,
        };
        let kib = u32::try_from(file.len().div_ceil(1 << 10)).unwrap_or(u32::MAX);
        if file.len() as u64 > ENTRY_LIMIT {
            return Counts::add(&self.0.counts.skipped);
        }
        let Ok(queued) = Arc::clone(&self.0.queue).try_acquire_many_owned(kib) else {
            return Counts::add(&self.0.counts.skipped);
        };
        let shared = self.clone();
        self.0.runtime.spawn(async move {
            shared.upload(&key, file.into()).await;
            drop(queued);
        });
    }

    async fn upload(&self, key: &[u8; 32], file: Bytes) {
        let inner = &self.0;
        let Ok(_turn) = inner.uploads.acquire().await else { return };
        // A store that cannot be read is not worth writing to. One that cannot be written may still be read.
        if !inner.reads.is_closed() || !inner.writes.admits(Instant::now()) {
            return Counts::add(&inner.counts.skipped);
        }
        match timeout(UPLOAD_LIMIT, inner.place.store.put(&self.object(key), file.into())).await {
            Ok(Ok(_)) => {
                self.note_success(&inner.writes);
                Counts::add(&inner.counts.puts);
            }
            Ok(Err(error)) => self.note_failure(&inner.writes, "write", &error),
            Err(_) => self.note_failure(&inner.writes, "write", &format_args!("no answer within {} s", UPLOAD_LIMIT.as_secs())),
        }
    }

    /// Waits until nothing is to be uploaded any more, up to `limit`; says whether that came to pass.
    pub(crate) async fn flush(&self, limit: Duration) -> bool {
        timeout(limit, self.0.queue.acquire_many(QUEUE_KIB)).await.is_ok()
    }

    fn object(&self, key: &[u8; 32]) -> Path {
        let hex = hex::encode(key);
        let shard: String = hex.chars().take(2).collect();
        let layout = if self.0.place.secret.is_some() { SEALED_LAYOUT } else { LAYOUT };
        self.0.place.path.clone().join(layout).join(shard).join(hex)
    }

    fn note_success(&self, breaker: &Breaker) {
        if breaker.succeeded() {
            tracing::info!(place = %self.0.place.path, "the shared cache answers again");
        }
    }

    /// The first failure of all is warned of, later ones are not news.
    fn note_failure(&self, breaker: &Breaker, what: &str, error: &dyn Display) {
        Counts::add(&self.0.counts.errors);
        breaker.failed(Instant::now());
        if self.0.warned.swap(true, Ordering::Relaxed) {
            tracing::debug!(place = %self.0.place.path, %error, "cannot {what} the shared cache");
        } else {
            tracing::warn!(
                place = %self.0.place.path,
                %error,
                "cannot {what} the shared cache; the job goes on without it, and it is tried again from time to time"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::local::LocalFileSystem;
    use object_store::memory::InMemory;

    use super::*;
    use crate::{Cache, CacheOptions, Tier};

    const KEY: [u8; 32] = [0xab; 32];

    fn place(store: &Arc<InMemory>) -> SharedPlace {
        SharedPlace { store: Arc::clone(store) as _, path: Path::from("team/cache"), secret: None }
    }

    /// A node with a folder of its own, and the shared tier.
    fn node(folder: &std::path::Path, place: SharedPlace) -> Cache {
        Cache::open_shared(&CacheOptions { folder: Some(folder.to_owned()), ..CacheOptions::default() }, place)
    }

    fn object() -> Path {
        Path::from(format!("team/cache/v1/ab/{}", "ab".repeat(32)))
    }

    #[tokio::test]
    async fn what_one_node_puts_another_gets_and_keeps() {
        let (store, folders) = (Arc::new(InMemory::new()), [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]);
        let first = node(folders[0].path(), place(&store));
        assert_eq!(first.get_async(KEY).await, None);
        first.put_async(KEY, Bytes::from_static(b"value")).await;
        assert!(first.flush().await);
        assert!(store.head(&object()).await.is_ok(), "the key says nothing of a node");

        let second = node(folders[1].path(), place(&store));
        assert_eq!(second.lookup(KEY).await, Some(("value".into(), Tier::Shared)));
        assert_eq!(second.lookup(KEY).await, Some(("value".into(), Tier::Memory)));
        let stats = second.stats();
        assert_eq!((stats.shared_hits, stats.memory_hits, stats.misses, stats.hits()), (1, 1, 0, 2));
        let stats = first.stats();
        assert_eq!((stats.shared_puts, stats.misses, stats.shared_errors, stats.shared_skipped), (1, 1, 0, 0));

        // Without the shared tier: it is on the second node's disk now.
        let restarted = Cache::open(&CacheOptions { folder: Some(folders[1].path().to_owned()), ..CacheOptions::default() });
        assert_eq!(restarted.lookup(KEY).await, Some(("value".into(), Tier::Disk)));
    }

    #[tokio::test]
    async fn what_is_a_nodes_own_neither_goes_to_the_shared_tier_nor_comes_from_there() {
        let (store, folder) = (Arc::new(InMemory::new()), tempfile::tempdir().unwrap());
        let cache = node(folder.path(), place(&store));
        // As somebody would put it there who may write.
        store.put(&object(), crate::entry::encode(&KEY, b"forged").unwrap().into()).await.unwrap();
        assert_eq!(cache.get_own(KEY).await, None);
        cache.put_own([1; 32], Bytes::from_static(b"own")).await;
        assert!(cache.flush().await);
        assert_eq!(cache.stats().shared_puts, 0);
        let restarted = node(folder.path(), place(&store));
        assert_eq!(restarted.get_own([1; 32]).await.unwrap(), "own", "it is on this node's disk");
        assert_eq!(restarted.lookup([1; 32]).await, Some(("own".into(), Tier::Memory)));
    }

    /// Who may write to the store and does not have the secret: whatever they put there is no entry, and is replaced.
    #[tokio::test]
    async fn what_is_not_sealed_is_a_miss() {
        let (store, folders) = (Arc::new(InMemory::new()), [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]);
        let with = |secret: &str| SharedPlace { secret: Some(Secret::new(secret.repeat(32).as_bytes()).unwrap()), ..place(&store) };
        let writer = node(folders[0].path(), with("s"));
        writer.put_async(KEY, Bytes::from_static(b"value")).await;
        assert!(writer.flush().await);
        let object = Path::from(format!("team/cache/v1-sealed/ab/{}", "ab".repeat(32)));
        let ours = store.get(&object).await.unwrap().bytes().await.unwrap();
        let forged = crate::entry::encode(&KEY, b"forged").unwrap();
        let others = Secret::new(&[1; 32]).unwrap().seal(&KEY, forged.clone());
        for (put, taken) in [(forged, None), (others, None), (Vec::new(), None), (ours.to_vec(), Some("value"))] {
            store.put(&object, put.into()).await.unwrap();
            let folder = tempfile::tempdir().unwrap();
            let reader = node(folder.path(), with("s"));
            assert_eq!(reader.get_async(KEY).await.as_deref(), taken.map(str::as_bytes));
            assert_eq!(reader.stats().shared_damaged, u64::from(taken.is_none()));
        }
        let other = node(folders[1].path(), with("t"));
        assert_eq!(other.get_async(KEY).await, None, "another secret, another tier");
    }

    #[tokio::test]
    async fn a_torn_or_foreign_object_is_a_miss_and_is_replaced() {
        let (store, folder) = (Arc::new(InMemory::new()), tempfile::tempdir().unwrap());
        let cache = node(folder.path(), place(&store));
        let whole = crate::entry::encode(&KEY, b"value").unwrap();
        let other = crate::entry::encode(&[1; 32], b"other").unwrap();
        for damaged in [&whole[..whole.len() - 1], b"", b"something else", &other] {
            store.put(&object(), damaged.to_vec().into()).await.unwrap();
            assert_eq!(cache.get_async(KEY).await, None);
        }
        assert_eq!(cache.stats().shared_damaged, 4);
        assert_eq!(cache.stats().misses, 4);
        assert_eq!(cache.stats().shared_errors, 0, "the store is well");
        cache.put_async(KEY, Bytes::from_static(b"value")).await;
        assert!(cache.flush().await);
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(node(folder.path(), place(&store)).get_async(KEY).await.unwrap(), "value");
    }

    #[tokio::test]
    async fn a_store_that_fails_is_left_alone_and_costs_no_entry() {
        let (root, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // A file where a folder should be: neither to be read nor to be written.
        std::fs::write(root.path().join(LAYOUT), b"").unwrap();
        let store = Arc::new(LocalFileSystem::new_with_prefix(root.path()).unwrap());
        let cache = node(folder.path(), SharedPlace { store, path: Path::default(), secret: None });
        assert_eq!(cache.get_async(KEY).await, None);
        for i in 0..20 {
            let key = [i; 32];
            assert_eq!(cache.get_async(key).await, None);
            cache.put_async(key, Bytes::from_static(b"value")).await;
            assert_eq!(cache.get_async(key).await.unwrap(), "value");
        }
        assert!(cache.flush().await);
        let stats = cache.stats();
        assert_eq!((stats.shared_errors, stats.shared_skipped, stats.shared_puts, stats.misses), (1, 20, 0, 21), "asked once");
    }

    #[tokio::test]
    async fn a_store_that_may_only_be_read_is_read() {
        let (root, folders) = (tempfile::tempdir().unwrap(), [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]);
        let place =
            || SharedPlace { store: Arc::new(LocalFileSystem::new_with_prefix(root.path()).unwrap()), path: Path::default(), secret: None };
        let writer = node(folders[0].path(), place());
        writer.put_async(KEY, Bytes::from_static(b"value")).await;
        assert!(writer.flush().await);
        // A folder that cannot be made, whoever runs the test.
        std::fs::write(root.path().join(LAYOUT).join("01"), b"").unwrap();
        let reader = node(folders[1].path(), place());
        reader.put_async([1; 32], Bytes::from_static(b"other")).await;
        assert!(reader.flush().await);
        assert_eq!(reader.get_async(KEY).await.unwrap(), "value");
        assert_eq!((reader.stats().shared_errors, reader.stats().shared_hits), (1, 1));
    }

    #[tokio::test]
    async fn what_the_queue_cannot_hold_is_not_uploaded() {
        let (store, folder) = (Arc::new(InMemory::new()), tempfile::tempdir().unwrap());
        let shared = Shared::new(place(&store), Handle::current());
        let everything = Arc::clone(&shared.0.queue).acquire_many_owned(QUEUE_KIB).await.unwrap();
        shared.put(KEY, b"file".to_vec());
        assert!(!shared.flush(Duration::ZERO).await);
        drop(everything);
        assert!(shared.flush(Duration::from_secs(10)).await);
        assert_eq!(shared.counts().skipped.load(Ordering::Relaxed), 1);
        assert!(store.head(&object()).await.is_err());
        drop(folder);
    }
}
