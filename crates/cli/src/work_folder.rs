//! The folder of an executor's work: its own as long as it lives, whatever the others on its machine are called.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The file of a folder that is locked as long as its executor lives. The system unlocks it when the process is gone, however it ended.
const LOCK: &str = "lock";

/// A folder that is in use. Dropping it removes it with all that is in it.
pub struct WorkFolder {
    path: PathBuf,
    _lock: File,
}

impl WorkFolder {
    /// Makes the folder of an executor below a root, and removes what earlier executors of its node that were killed have left behind there. The
    /// executor's id is that of its node with a number of its own.
    ///
    /// # Errors
    /// When it cannot be made or locked.
    pub fn make(root: &Path, node: &str, number: &str) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        remove_leftovers(root, node);
        let path = root.join(format!("{node}-{number}"));
        // It gets its name when it is locked: until then nobody takes it for a leftover.
        let unnamed = root.join(format!(".{node}-{number}"));
        std::fs::create_dir(&unnamed)?;
        let lock = File::create_new(unnamed.join(LOCK))?;
        lock.try_lock()?;
        std::fs::rename(&unnamed, &path)?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove_leftovers(root: &Path, node: &str) {
    let Ok(entries) = std::fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(node)?.strip_prefix('-'));
        if number.is_some_and(|number| number.len() == 8 && number.bytes().all(|b| b.is_ascii_hexdigit())) {
            remove_unless_in_use(&entry.path());
        }
    }
}

fn remove_unless_in_use(folder: &Path) {
    // The lock is held until all is gone. A folder that has none was left by an earlier version.
    let lock = File::open(folder.join(LOCK));
    match lock.as_ref().map(File::try_lock) {
        Ok(Ok(())) => remove(folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => remove(folder),
        Ok(Err(TryLockError::WouldBlock)) => {
            tracing::info!(folder = %folder.display(), "another executor of this name works here");
        }
        Ok(Err(TryLockError::Error(error))) => left(folder, &error),
        Err(error) => left(folder, error),
    }
}

fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        left(folder, &error);
    }
}

fn left(folder: &Path, error: &io::Error) {
    tracing::debug!(%error, folder = %folder.display(), "a work folder could not be removed");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_node_is_removed_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for name in ["n-0123abcd/job", "n-4567abcd/job", "n-m-0123abcd/job", "n-0123abc/job", "other/job"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        File::create_new(at("n-4567abcd").join(LOCK)).unwrap();
        let first = WorkFolder::make(root.path(), "n", "00000001").unwrap();
        assert!(!at("n-0123abcd").exists(), "a leftover of an earlier version");
        assert!(!at("n-4567abcd").exists(), "a leftover of one that was killed");
        for name in ["n-m-0123abcd/job", "n-0123abc/job", "other/job"] {
            assert!(at(name).exists(), "{name} is none of this node's");
        }
        let second = WorkFolder::make(root.path(), "n", "00000002").unwrap();
        assert!(first.path().exists(), "it is in use");
        drop(first);
        assert!(!at("n-00000001").exists() && second.path().exists());
    }
}
