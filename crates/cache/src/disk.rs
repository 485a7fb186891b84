//! The disk tier: one immutable file an entry, in a folder that processes may share.
//!
//! Files are spread over shards, each with an equal part of the bound. A process counts what it adds to a shard, and
//! looks the shard over (sizes and times of use of its files) only when it has added an eighth of the shard's part since
//! it last did, so that a put costs no scan; what other processes add is found then. The bound may thus be exceeded by
//! an eighth for each process that writes at the same time. The time of use is the modification time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::breaker::Breaker;
use crate::entry;

/// Name of the folder of this layout; another layout gets another one.
const LAYOUT: &str = "v1";
const SHARDS: usize = 64;

/// An entry's time of use is renewed only if it is older than this: a write for each read would cost too much.
const RENEW_AFTER: Duration = Duration::from_hours(1);

/// A temporary file older than this was left by a process that died.
const STALE_AFTER: Duration = Duration::from_hours(1);

const TEMPORARY: &str = "tmp-";

#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    shard_limit: u64,
    shards: Vec<Mutex<Shard>>,
    /// A disk that is full now need not be so later.
    writes: Breaker,
    warned: AtomicBool,
    evictions: AtomicU64,
}

/// What this process knows of a shard.
#[derive(Debug, Default)]
struct Shard {
    /// Bytes when it was looked over, and added since. `None` before the first time.
    known_bytes: Option<u64>,
    added_since: u64,
}

/// A file of a shard.
struct Found {
    used_at: SystemTime,
    bytes: u64,
    path: PathBuf,
}

impl Disk {
    /// Opens a folder, which is created if need be.
    pub(crate) fn open(folder: &Path, limit: u64) -> io::Result<Self> {
        let folder = folder.join(LAYOUT);
        for shard in 0..SHARDS {
            fs::create_dir_all(folder.join(shard_name(shard)))?;
        }
        let disk = Self {
            folder,
            shard_limit: limit / SHARDS as u64,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            writes: Breaker::default(),
            warned: AtomicBool::new(false),
            evictions: AtomicU64::new(0),
        };
        // Says now rather than at the first entry that the folder is not writable.
        let probe = disk.stage(&disk.folder, b"")?;
        fs::remove_file(probe)?;
        Ok(disk)
    }

    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// Bytes of the disk tier as far as this process knows.
    pub(crate) fn known_bytes(&self) -> u64 {
        let shards = self.shards.iter();
        shards
            .map(|s| {
                let shard = s.lock().unwrap_or_else(PoisonError::into_inner);
                shard.known_bytes.unwrap_or(0) + shard.added_since
            })
            .sum()
    }

    /// Reads an entry. A file that is not what it should be is removed.
    pub(crate) fn get(&self, key: &[u8; 32]) -> Option<Vec<u8>> {
        let (_, path) = self.place(key);
        let mut file = File::open(&path).ok()?;
        let metadata = file.metadata().ok()?;
        // Larger than any entry: foreign, and not worth the memory.
        let bytes = (metadata.len() <= self.entry_limit()).then(|| {
            let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
            file.read_to_end(&mut bytes).ok().map(|_| bytes)
        });
        let value = match bytes {
            Some(bytes) => entry::decode(key, &bytes?),
            None => None,
        };
        if value.is_none() {
            tracing::debug!("a damaged cache entry was removed");
            let _ = fs::remove_file(&path);
            return None;
        }
        let now = SystemTime::now();
        let unused_for = metadata.modified().map(|at| now.duration_since(at));
        if unused_for.is_ok_and(|age| age.is_ok_and(|age| age > RENEW_AFTER)) {
            let _ = file.set_modified(now);
        }
        value
    }

    /// Writes an entry; see [`Disk::put_encoded`].
    pub(crate) fn put(&self, key: &[u8; 32], value: &[u8]) {
        if self.writes.admits(Instant::now())
            && let Some(bytes) = entry::encode(key, value)
        {
            self.try_put(key, &bytes);
        }
    }

    /// Writes an entry that has been encoded. After a failure, of which the first is warned of, nothing is written for a while.
    pub(crate) fn put_encoded(&self, key: &[u8; 32], bytes: &[u8]) {
        if self.writes.admits(Instant::now()) {
            self.try_put(key, bytes);
        }
    }

    fn try_put(&self, key: &[u8; 32], bytes: &[u8]) {
        if bytes.len() as u64 > self.entry_limit() {
            return;
        }
        let folder = self.folder.display();
        match self.write(key, bytes) {
            Ok(()) => {
                if self.writes.succeeded() {
                    tracing::info!(%folder, "the cache folder can be written again");
                }
            }
            Err(error) => {
                self.writes.failed(Instant::now());
                if self.warned.swap(true, Ordering::Relaxed) {
                    tracing::debug!(%folder, %error, "cannot write to the cache folder");
                } else {
                    tracing::warn!(%folder, %error, "cannot write to the cache folder; the job goes on, and it is tried again from time to time");
                }
            }
        }
    }

    /// Largest entry that is kept: one must not push out most of its shard.
    fn entry_limit(&self) -> u64 {
        self.shard_limit / 2
    }

    fn write(&self, key: &[u8; 32], bytes: &[u8]) -> io::Result<()> {
        let (index, path) = self.place(key);
        let Some(folder) = path.parent() else {
            return Ok(());
        };
        let staged = self.stage(folder, bytes)?;
        fs::rename(&staged, &path).inspect_err(|_| {
            let _ = fs::remove_file(&staged);
        })?;
        match self.shards.get(index) {
            Some(shard) => self.account(shard, folder, bytes.len() as u64),
            None => Ok(()),
        }
    }

    /// Counts an entry, and looks the shard over if it is time.
    fn account(&self, shard: &Mutex<Shard>, folder: &Path, bytes: u64) -> io::Result<()> {
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        shard.added_since += bytes;
        let is_full = shard.known_bytes.is_none_or(|known| known + shard.added_since > self.shard_limit);
        let is_time = shard.added_since > self.shard_limit / 8;
        if is_full || is_time {
            shard.known_bytes = Some(self.look_over(folder)?);
            shard.added_since = 0;
        }
        Ok(())
    }

    /// Removes the least recently used files if the shard is over its bound, down to nine tenths of it. Returns the
    /// bytes that are left.
    fn look_over(&self, folder: &Path) -> io::Result<u64> {
        let now = SystemTime::now();
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            // Another process may have removed it.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let used_at = metadata.modified().unwrap_or(UNIX_EPOCH);
            let age = now.duration_since(used_at).unwrap_or_default();
            let is_temporary = entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes());
            if is_temporary && age > STALE_AFTER {
                let _ = fs::remove_file(entry.path());
                continue;
            }
            found.push(Found { used_at, bytes: metadata.len(), path: entry.path() });
        }
        let mut bytes: u64 = found.iter().map(|f| f.bytes).sum();
        if bytes <= self.shard_limit {
            return Ok(bytes);
        }
        found.sort_by(|a, b| (a.used_at, &a.path).cmp(&(b.used_at, &b.path)));
        for old in found {
            if bytes <= self.shard_limit / 10 * 9 {
                break;
            }
            if fs::remove_file(&old.path).is_ok() {
                self.evictions.fetch_add(1, Ordering::Relaxed);
            }
            bytes -= old.bytes;
        }
        Ok(bytes)
    }

    /// A new temporary file in `folder` with these bytes.
    ///
    /// It is not flushed: after a power cut a torn entry is noticed when it is read.
    fn stage(&self, folder: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let serial = NEXT.fetch_add(1, Ordering::Relaxed);
            let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            let path = folder.join(format!("{TEMPORARY}{}-{serial}-{nanos:x}", process::id()));
            // Processes in different containers may share an id.
            let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                file => file?,
            };
            return match file.write_all(bytes) {
                Ok(()) => Ok(path),
                Err(error) => {
                    let _ = fs::remove_file(&path);
                    Err(error)
                }
            };
        }
    }

    /// The shard and the file of a key.
    fn place(&self, key: &[u8; 32]) -> (usize, PathBuf) {
        let [first, ..] = key;
        let shard = usize::from(*first) % SHARDS;
        let path = self.folder.join(shard_name(shard)).join(hex::encode(key));
        (shard, path)
    }
}

fn shard_name(shard: usize) -> String {
    format!("{shard:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys of shard 0.
    fn key(i: u32) -> [u8; 32] {
        let mut key = [0; 32];
        key[4..8].copy_from_slice(&i.to_le_bytes());
        key
    }

    /// Bytes that zstd cannot shrink.
    fn noise(seed: u32, length: usize) -> Vec<u8> {
        let mut state = u64::from(seed) + 1;
        let step = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        std::iter::repeat_with(step).take(length).collect()
    }

    fn shard_bytes(disk: &Disk) -> u64 {
        let files = fs::read_dir(disk.folder.join("00")).unwrap();
        files.map(|f| f.unwrap().metadata().unwrap().len()).sum()
    }

    #[test]
    fn entries_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        Disk::open(folder.path(), 1 << 30).unwrap().put(&key(1), b"value");
        let disk = Disk::open(folder.path(), 1 << 30).unwrap();
        assert_eq!(disk.get(&key(1)).unwrap(), b"value");
        assert_eq!(disk.get(&key(2)), None);
    }

    #[test]
    fn a_damaged_entry_is_a_miss_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), 1 << 30).unwrap();
        disk.put(&key(1), b"value");
        let (_, path) = disk.place(&key(1));
        let whole = fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() - 1], b"", b"something else"] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(disk.get(&key(1)), None);
            assert!(!path.exists());
        }
        // A file of another entry, put in its place.
        fs::write(disk.place(&key(2)).1, &whole).unwrap();
        assert_eq!(disk.get(&key(2)), None);
        disk.put(&key(1), b"again");
        assert_eq!(disk.get(&key(1)).unwrap(), b"again");
    }

    #[test]
    fn a_shard_keeps_its_bound_and_loses_the_oldest() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), 64 * 100_000).unwrap();
        let start = SystemTime::now() - Duration::from_hours(10);
        for i in 0..500 {
            disk.put(&key(i), &noise(i, 1_000));
            if let Ok(file) = File::options().write(true).open(disk.place(&key(i)).1) {
                file.set_modified(start + Duration::from_secs(u64::from(i))).unwrap();
            }
            if i == 50 {
                // Used again: renewed, and therefore kept.
                assert!(disk.get(&key(3)).is_some());
            }
        }
        assert!(shard_bytes(&disk) <= 100_000 * 9 / 8);
        assert!(disk.evictions() > 300);
        assert!(disk.known_bytes() <= 100_000 * 9 / 8);
        assert!(disk.get(&key(499)).is_some());
        assert!(disk.get(&key(4)).is_none());
        assert!(disk.get(&key(3)).is_some());
    }

    #[test]
    fn the_bound_holds_for_what_was_there_before() {
        let folder = tempfile::tempdir().unwrap();
        let large = Disk::open(folder.path(), 1 << 30).unwrap();
        for i in 0..300 {
            large.put(&key(i), &noise(i, 1_000));
        }
        let small = Disk::open(folder.path(), 64 * 100_000).unwrap();
        small.put(&key(1_000), &noise(1_000, 1_000));
        assert!(shard_bytes(&small) <= 100_000);
        assert!(small.get(&key(1_000)).is_some());
    }

    #[test]
    fn puts_do_not_look_the_shard_over_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), 64 * 1_000_000).unwrap();
        disk.put(&key(0), b"first");
        // A stale temporary file goes when the shard is looked over, and so tells when that is.
        let stale = disk.folder.join("00").join("tmp-1-1-1");
        let file = File::create(&stale).unwrap();
        file.set_modified(SystemTime::now() - 2 * STALE_AFTER).unwrap();
        for i in 1..100 {
            disk.put(&key(i), &noise(i, 1_000));
        }
        assert!(stale.exists());
        for i in 100..200 {
            disk.put(&key(i), &noise(i, 1_000));
        }
        assert!(!stale.exists());
    }

    #[test]
    fn an_entry_too_large_for_its_shard_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), 64 * 10_000).unwrap();
        disk.put(&key(1), &noise(1, 6_000));
        assert_eq!(disk.get(&key(1)), None);
    }

    #[test]
    fn a_disk_that_cannot_be_written_is_left_alone_for_a_while_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), 1 << 30).unwrap();
        // As full as a disk can be: nothing can be made where shard 0 was.
        let shard = disk.folder.join("00");
        fs::remove_dir(&shard).unwrap();
        fs::write(&shard, b"").unwrap();
        disk.put(&key(1), b"value");
        assert!(!disk.writes.is_closed());
        fs::remove_file(&shard).unwrap();
        fs::create_dir(&shard).unwrap();
        disk.put(&key(1), b"value");
        assert_eq!(disk.get(&key(1)), None, "it is left alone");
        disk.writes.make_due();
        disk.put(&key(1), b"value");
        assert_eq!(disk.get(&key(1)).unwrap(), b"value", "and tried again");
        assert!(disk.writes.is_closed());
        disk.put(&key(2), b"value");
        assert!(disk.get(&key(2)).is_some());
    }
}
