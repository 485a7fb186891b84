//! What a local disk needs beside an object store: durable documents, a lock, and a broom.
//!
//! `object_store` writes to a temporary file and links it into place, so that a killed process leaves no half-written
//! object; but it never asks the disk to keep what was written, and a power cut may leave an object of the right name
//! and no content. Documents are therefore written here, with the data on the disk before the name appears, and data
//! files are flushed before the record that names them is written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::content::to_json;
use super::{Documents, Mode};
use crate::model::Current;
use crate::names::keys;
use crate::{LandingError, Result};

/// A root of facts in a folder of this machine.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    folder: Arc<Folder>,
}

impl Disk {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { folder: Arc::new(Folder::new(root)) }
    }

    /// Runs a blocking operation off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        key: &str,
        work: impl FnOnce(&Folder) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let folder = Arc::clone(&self.folder);
        tokio::task::spawn_blocking(move || work(&folder))
            .await
            .map_err(|source| LandingError::Interrupted { key: key.to_owned(), source })?
            .map_err(|source| LandingError::Io { operation, path: key.to_owned(), source })
    }
}

#[async_trait]
impl Documents for Disk {
    fn check_writable(&self) -> Result<()> {
        create_folder(&self.folder.root)?;
        self.folder.exclusively(|| Ok(())).map_err(|e| folder_error("write to the folder", &self.folder.root, e))
    }

    async fn create(&self, key: &str, bytes: Bytes) -> Result<bool> {
        let name = key.to_owned();
        self.blocking("create", key, move |folder| folder.create(&name, &bytes)).await
    }

    async fn advance(&self, next: &Current) -> Result<Current> {
        let (bytes, next) = (to_json("current run", keys::CURRENT, next)?, next.clone());
        self.blocking("replace", keys::CURRENT, move |folder| {
            folder.exclusively(|| {
                let found = match folder.read(keys::CURRENT)? {
                    Some(found) => Some(serde_json::from_slice::<Current>(&found)?),
                    None => None,
                };
                match found {
                    Some(found) if found.order() >= next.order() => Ok(found),
                    _ => folder.replace(keys::CURRENT, &bytes).map(|()| next),
                }
            })
        })
        .await
    }

    async fn sync(&self, key: &str) -> Result<()> {
        let name = key.to_owned();
        self.blocking("flush", key, move |folder| folder.sync(&name)).await
    }

    async fn remove_staged(&self, now: SystemTime, grace: Duration, mode: Mode) -> Result<u64> {
        self.blocking("sweep", "", move |folder| folder.remove_staged(now, grace, mode)).await
    }
}

pub(super) fn create_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|e| folder_error("create the folder", folder, e))
}

fn folder_error(operation: &'static str, folder: &Path, source: io::Error) -> LandingError {
    LandingError::Io { operation, path: folder.display().to_string(), source }
}

/// The folder itself. All methods block.
#[derive(Debug)]
struct Folder {
    root: PathBuf,
}

/// Name of the lock that orders those who move `current`; the system releases it when its holder dies.
const LOCK: &str = "current.lock";

impl Folder {
    fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// The bytes of a document, if there is one.
    fn read(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            bytes => bytes.map(Some),
        }
    }

    /// Writes a document unless there is one; says whether it did.
    fn create(&self, key: &str, bytes: &[u8]) -> io::Result<bool> {
        let path = self.path(key);
        let staged = stage(&path, bytes)?;
        let linked = fs::hard_link(&staged, &path);
        // A staged file that stays behind is swept.
        let _ = fs::remove_file(&staged);
        match linked {
            Ok(()) => self.sync_folders(&path).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes a document, whether or not there is one.
    fn replace(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(key);
        let staged = stage(&path, bytes)?;
        fs::rename(&staged, &path).inspect_err(|_| {
            let _ = fs::remove_file(&staged);
        })?;
        self.sync_folders(&path)
    }

    /// Flushes a file that was written by other means, and its name.
    fn sync(&self, key: &str) -> io::Result<()> {
        let path = self.path(key);
        File::open(&path)?.sync_all()?;
        self.sync_folders(&path)
    }

    /// Flushes the folders from `path` up to the root: any of them may be new.
    fn sync_folders(&self, path: &Path) -> io::Result<()> {
        let folders = path.ancestors().skip(1);
        for folder in folders.take_while(|f| f.starts_with(&self.root)) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    /// Runs `change` while no other process does.
    fn exclusively<T>(&self, change: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(self.path(LOCK))?;
        lock.lock()?;
        change()
    }

    /// Deletes temporary files of killed writers that are older than `grace`. Returns how many.
    fn remove_staged(&self, now: SystemTime, grace: Duration, mode: Mode) -> io::Result<u64> {
        let mut removed = 0;
        let mut pending = vec![self.path(keys::DATA_FOLDER), self.path(keys::RUNS_FOLDER)];
        while let Some(folder) = pending.pop() {
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    pending.push(entry.path());
                } else if is_staged(&entry.path()) {
                    let age = entry.metadata().and_then(|m| m.modified()).map(|at| now.duration_since(at).unwrap_or_default());
                    if age.is_ok_and(|age| age > grace) && (mode == Mode::DryRun || fs::remove_file(entry.path()).is_ok()) {
                        removed += 1;
                    }
                }
            }
        }
        Ok(removed)
    }
}

/// Whether `object_store` and [`stage`] would give this name to a file in the making: `…#<digits>`.
pub(super) fn is_staged(path: &Path) -> bool {
    let name = path.file_name().and_then(|n| n.to_str());
    name.and_then(|n| n.rsplit_once('#')).is_some_and(|(_, id)| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
}

/// A temporary file beside `path` with these bytes, flushed.
fn stage(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    loop {
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut staged = path.as_os_str().to_owned();
        staged.push(format!("#{}{serial:06}", process::id()));
        let staged = PathBuf::from(staged);
        // Processes in different containers may share an id, so that the name may be taken.
        let mut file = match OpenOptions::new().write(true).create_new(true).open(&staged) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            file => file?,
        };
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        return match written {
            Ok(()) => Ok(staged),
            Err(error) => {
                let _ = fs::remove_file(&staged);
                Err(error)
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_document_is_created_once_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::new(folder.path().to_owned());
        assert!(disk.create("runs/a/x.json", b"1").unwrap());
        assert!(!disk.create("runs/a/x.json", b"2").unwrap());
        assert_eq!(fs::read(disk.path("runs/a/x.json")).unwrap(), b"1");
        disk.replace("runs/a/x.json", b"3").unwrap();
        assert_eq!(fs::read(disk.path("runs/a/x.json")).unwrap(), b"3");
        assert_eq!(names(&disk.path("runs/a")), ["x.json"]);
        disk.sync("runs/a/x.json").unwrap();
    }

    #[test]
    fn one_of_many_creators_wins() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::new(folder.path().to_owned());
        let winners: u32 = std::thread::scope(|scope| {
            let creators: Vec<_> = (0..8u8)
                .map(|i| {
                    let disk = &disk;
                    scope.spawn(move || u32::from(disk.create("runs/x", &[i]).unwrap()))
                })
                .collect();
            creators.into_iter().map(|c| c.join().unwrap()).sum()
        });
        assert_eq!(winners, 1);
    }

    #[test]
    fn only_old_temporary_files_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::new(folder.path().to_owned());
        let data = disk.path("bytecode_files_v1/landed=a");
        fs::create_dir_all(&data).unwrap();
        for name in ["x.parquet", "x.parquet#1", "y#a", "#"] {
            fs::write(data.join(name), b"").unwrap();
        }
        let hour = Duration::from_hours(1);
        let now = SystemTime::now();
        assert_eq!(disk.remove_staged(now, hour, Mode::Delete).unwrap(), 0);
        assert_eq!(disk.remove_staged(now + 2 * hour, hour, Mode::Delete).unwrap(), 1);
        assert_eq!(names(&data), ["#", "x.parquet", "y#a"]);
    }
}
