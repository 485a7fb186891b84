//! A corpus in a folder of this machine, walked and read with plain system calls.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::error::{ListError, ReadError, SymlinkFault};
use crate::inventory::{Entry, Excluded, Form, Inventory, is_python};
use crate::name::{decode_name, encode_name};

/// Lists `root`. Blocks.
pub(crate) fn list(root: &Path, form: &Form, excluded: &Excluded) -> Result<Inventory, ListError> {
    let location = || root.display().to_string();
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ListError::Missing { location: location() },
        io::ErrorKind::NotADirectory => ListError::NotAFolder { location: location() },
        io::ErrorKind::PermissionDenied => ListError::Denied { location: location() },
        _ => ListError::Io { location: location(), source },
    };
    let top = fs::read_dir(root).map_err(failed)?;
    let mut walk = Walk { form, excluded, inventory: Inventory::default(), pending: Vec::new() };
    let top_folder = Folder {
        path: root.to_owned(),
        repo: match form {
            Form::Tree => None,
            Form::Repository(name) => Some(name.clone()),
        },
        prefix: String::new(),
        is_root: true,
    };
    walk.take(&top_folder, top).map_err(failed)?;
    while let Some(folder) = walk.pending.pop() {
        let listed = fs::read_dir(&folder.path).and_then(|entries| walk.take(&folder, entries));
        if listed.is_err() {
            walk.unreadable(&folder);
        }
    }

    let Inventory { mut entries, notes } = walk.inventory;
    entries.sort_unstable();
    entries.dedup();
    if !entries.is_empty() {
        Ok(Inventory { entries, notes })
    } else if notes.is_empty() {
        Err(ListError::Empty { location: location() })
    } else {
        Err(ListError::NoPythonFiles { location: location(), notes: Box::new(notes) })
    }
}

struct Walk<'a> {
    form: &'a Form,
    excluded: &'a Excluded,
    inventory: Inventory,
    pending: Vec<Folder>,
}

/// A folder to look into.
struct Folder {
    path: PathBuf,
    repo: Option<String>,
    /// Its path inside the repository, as text with a slash at its end, or empty.
    prefix: String,
    is_root: bool,
}

impl Folder {
    /// Path below the corpus, for notes.
    fn below_corpus(&self, name: &str, form: &Form) -> String {
        match (form, &self.repo) {
            (Form::Tree, Some(repo)) => format!("{repo}/{}{name}", self.prefix),
            _ => format!("{}{name}", self.prefix),
        }
    }
}

impl Walk<'_> {
    fn take(&mut self, folder: &Folder, entries: fs::ReadDir) -> io::Result<()> {
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let text = encode_name(name.as_bytes());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.take_folder(folder, entry.path(), text);
            } else if kind.is_symlink() && fs::metadata(entry.path()).is_ok_and(|m| m.is_dir()) {
                let at = folder.below_corpus(&text, self.form);
                self.inventory.notes.linked_folders.add(at);
            } else if is_python(name.as_bytes()) {
                // Where the size cannot be found out, reading will say why.
                let size = fs::metadata(entry.path()).map_or(0, |m| if m.is_file() { m.len() } else { 0 });
                self.inventory.entries.push(Entry { repo: folder.repo.clone(), path: format!("{}{text}", folder.prefix), size });
            } else {
                self.inventory.notes.other_files += 1;
            }
        }
        Ok(())
    }

    fn take_folder(&mut self, parent: &Folder, path: PathBuf, name: String) {
        if self.excluded.has(&name) {
            let at = parent.below_corpus(&name, self.form);
            self.inventory.notes.excluded_folders.add(at);
            return;
        }
        let starts_repository = parent.is_root && *self.form == Form::Tree;
        let (repo, prefix) =
            if starts_repository { (Some(name), String::new()) } else { (parent.repo.clone(), format!("{}{name}/", parent.prefix)) };
        self.pending.push(Folder { path, repo, prefix, is_root: false });
    }

    /// An entry for a folder that could not be listed to its end, so that its files are not missed silently.
    fn unreadable(&mut self, folder: &Folder) {
        let at = folder.below_corpus("", self.form);
        self.inventory.notes.unreadable_folders.add(at);
        let path = if folder.prefix.is_empty() { REPOSITORY_ITSELF.to_owned() } else { folder.prefix.clone() };
        self.inventory.entries.push(Entry { repo: folder.repo.clone(), path, size: 0 });
    }
}

/// Path of the entry for a repository whose own folder could not be listed.
const REPOSITORY_ITSELF: &str = "./";

/// The path below the root that an entry stands for. Entries may come from a file, so that they are not trusted to
/// stay inside.
pub(crate) fn path_of(entry: &Entry, form: &Form) -> Result<PathBuf, ReadError> {
    let mut bytes = Vec::new();
    if let (Form::Tree, Some(repo)) = (form, &entry.repo) {
        bytes.extend(decode_name(repo));
        bytes.push(b'/');
    }
    if entry.path == REPOSITORY_ITSELF {
        return inside(bytes);
    }
    bytes.extend(decode_name(&entry.path));
    inside(bytes)
}

fn inside(bytes: Vec<u8>) -> Result<PathBuf, ReadError> {
    let without_slash = bytes.strip_suffix(b"/").unwrap_or(&bytes);
    let mut segments = without_slash.split(|&b| b == b'/');
    if segments.any(|s| matches!(s, b"" | b"." | b"..") || s.contains(&0)) {
        return Err(ReadError::BadPath);
    }
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}

/// Reads the file at `below` in `root`. Blocks.
pub(crate) fn read(root: &Path, below: &Path, limit: u64) -> Result<Bytes, ReadError> {
    let read = read_below(root, below, limit);
    match read {
        // Of a corpus that is not there, every file seems to have vanished.
        Err(ReadError::Missing | ReadError::Denied | ReadError::Symlink(_) | ReadError::Folder { .. }) => {
            check_root(root).map_err(|source| ReadError::Fault { source: Box::new(source) })?;
            read
        }
        read => read,
    }
}

/// Fails if the corpus cannot be entered, or nothing is left of it: a disk that is not mounted leaves no folder, or an empty one.
fn check_root(root: &Path) -> io::Result<()> {
    fs::metadata(root.join("."))?;
    match fs::read_dir(root)?.next() {
        Some(entry) => entry.map(drop),
        None => Err(io::Error::new(io::ErrorKind::NotFound, "the corpus is empty now; is its disk mounted?")),
    }
}

fn read_below(root: &Path, below: &Path, limit: u64) -> Result<Bytes, ReadError> {
    let path = root.join(below);
    if below.as_os_str().as_bytes().ends_with(b"/") {
        return Err(why_unreadable(&path));
    }
    let target = resolve(root, &path)?;
    // Opening a pipe would wait for a writer, so that its kind is asked first.
    let metadata = fs::metadata(&target).map_err(ReadError::from_io)?;
    if !metadata.is_file() {
        return Err(ReadError::Special { kind: kind_of(metadata.file_type()) });
    }
    if metadata.len() > limit {
        return Err(ReadError::TooLarge { limit });
    }
    let file = File::open(&target).map_err(ReadError::from_io)?;
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // It may have grown since.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(ReadError::from_io)?;
    if bytes.len() as u64 > limit {
        return Err(ReadError::TooLarge { limit });
    }
    Ok(bytes.into())
}

/// The real path of a file, which must lie inside the corpus however many links lead to it.
fn resolve(root: &Path, path: &Path) -> Result<PathBuf, ReadError> {
    let is_link = fs::symlink_metadata(path).map_err(ReadError::from_io)?.is_symlink();
    let target = path.canonicalize().map_err(|error| {
        if is_link && error.kind() != io::ErrorKind::PermissionDenied {
            ReadError::Symlink(SymlinkFault::Broken)
        } else {
            ReadError::from_io(error)
        }
    })?;
    let root = root.canonicalize().map_err(ReadError::from_io)?;
    if target.starts_with(root) { Ok(target) } else { Err(ReadError::Symlink(SymlinkFault::Outside)) }
}

fn kind_of(kind: fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_dir() {
        "a folder"
    } else {
        "a device"
    }
}

fn why_unreadable(folder: &Path) -> ReadError {
    let listed = fs::read_dir(folder).and_then(|mut entries| entries.try_for_each(|e| e.map(drop)));
    match listed.map_err(ReadError::from_io) {
        Err(ReadError::Denied) => ReadError::Folder { reason: "no permission" },
        Err(ReadError::Missing) => ReadError::Folder { reason: "it vanished" },
        Err(error) => error,
        // Its files are still unknown to the run.
        Ok(()) => ReadError::Folder { reason: "it could not be listed at first" },
    }
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
