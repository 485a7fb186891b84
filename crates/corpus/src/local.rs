//! A corpus in a folder of this machine, walked and read with plain system calls.

use std::ffi::OsString;
use std::fs::{self, File, FileType, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use crate::entry::{Entry, Form};
use crate::error::{ListError, ReadError, SymlinkFault, is_transient};
use crate::gitignore::Gitignore;
use crate::inventory::Inventory;
use crate::name::{decode_name, encode_name};
use crate::notes::Notes;
use crate::selection::Selection;
use crate::sort::Sorter;

/// Lists `root`. Blocks.
pub(crate) fn list(root: &Path, form: &Form, selection: &Selection) -> Result<Inventory, ListError> {
    let location = || root.display().to_string();
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ListError::Missing { location: location() },
        io::ErrorKind::NotADirectory => ListError::NotAFolder { location: location() },
        io::ErrorKind::PermissionDenied => ListError::Denied { location: location() },
        _ => ListError::Io { location: location(), source },
    };
    let root_folder = Folder {
        path: root.to_owned(),
        repo: match form {
            Form::Tree => None,
            Form::Repository(name) => Some(name.clone()),
        },
        prefix: String::new(),
        is_root: true,
    };
    let mut walk = Walk { form, selection, notes: Notes::default(), sorter: Sorter::default(), levels: Vec::new() };
    walk.enter(root_folder).map_err(failed)?;
    while let Some(level) = walk.levels.last_mut() {
        let Some(seen) = level.seen.next() else {
            walk.levels.pop();
            continue;
        };
        match seen.and_then(|seen| walk.take(seen)) {
            Ok(Taken::Nothing) => {}
            Ok(Taken::File(entry)) => walk.sorter.push(entry).map_err(ListError::sorting)?,
            Ok(Taken::Folder(folder)) => {
                let entry = folder.as_entry();
                let (at, path) = (folder.below_corpus("", form), folder.path.clone());
                if let Err(error) = walk.enter(folder) {
                    own_fault(&path, error)?;
                    walk.unreadable(entry, at)?;
                }
            }
            Err(error) => {
                let Some(level) = walk.levels.pop() else { break };
                if level.folder.is_root {
                    return Err(failed(error));
                }
                own_fault(&level.folder.path, error)?;
                walk.unreadable(level.folder.as_entry(), level.folder.below_corpus("", form))?;
            }
        }
    }

    let Walk { notes, sorter, .. } = walk;
    let sorted = sorter.finish(|_| false).map_err(ListError::sorting)?;
    if sorted.files > 0 {
        Ok(Inventory::new(sorted, notes))
    } else if notes.is_empty() {
        Err(ListError::Empty { location: location() })
    } else {
        Err(ListError::NoPythonFiles { location: location(), notes: Box::new(notes) })
    }
}

/// Whether a folder that cannot be listed is itself the reason, as one without permission is. A disk that fails or is away, and a shortage of this
/// process, are faults: a listing that went on would miss the folder's files, and the run would be whole without them.
fn own_fault(folder: &Path, error: io::Error) -> Result<(), ListError> {
    if is_transient(error.kind(), error.raw_os_error()) {
        return Err(ListError::Io { location: folder.display().to_string(), source: error });
    }
    Ok(())
}

/// A walk under way, from each folder straight into its first one, so that it holds one folder a level and no list of those to come.
struct Walk<'a> {
    form: &'a Form,
    selection: &'a Selection,
    notes: Notes,
    sorter: Sorter,
    levels: Vec<Level>,
}

/// A folder that is looked into.
struct Level {
    folder: Folder,
    seen: Box<dyn Iterator<Item = io::Result<Seen>>>,
    gitignore: Option<Gitignore>,
}

/// What a folder holds under a name.
struct Seen {
    name: OsString,
    kind: FileType,
}

/// What becomes of it.
enum Taken {
    Nothing,
    File(Entry),
    Folder(Folder),
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
    /// Path below the corpus.
    fn below_corpus(&self, name: &str, form: &Form) -> String {
        match (form, &self.repo) {
            (Form::Tree, Some(repo)) => format!("{repo}/{}{name}", self.prefix),
            _ => format!("{}{name}", self.prefix),
        }
    }

    /// The folder `name` in this one.
    fn child(&self, path: PathBuf, name: String, form: &Form) -> Self {
        let starts_repository = self.is_root && *form == Form::Tree;
        let (repo, prefix) =
            if starts_repository { (Some(name), String::new()) } else { (self.repo.clone(), format!("{}{name}/", self.prefix)) };
        Self { path, repo, prefix, is_root: false }
    }

    /// The entry that stands for it if it cannot be listed to its end, so that its files are not missed silently.
    fn as_entry(&self) -> Entry {
        let path = if self.prefix.is_empty() { REPOSITORY_ITSELF.to_owned() } else { self.prefix.clone() };
        Entry { repo: self.repo.clone(), path, size: 0 }
    }
}

impl Walk<'_> {
    /// Folders that are open at a time. What lies deeper is read at once: the number of open files is limited.
    const OPEN: usize = 64;

    fn enter(&mut self, folder: Folder) -> io::Result<()> {
        let seen = fs::read_dir(&folder.path)?.map(|entry| {
            let entry = entry?;
            Ok(Seen { kind: entry.file_type()?, name: entry.file_name() })
        });
        let seen: Box<dyn Iterator<Item = _>> =
            if self.levels.len() < Self::OPEN { Box::new(seen) } else { Box::new(seen.collect::<Vec<_>>().into_iter()) };
        let gitignore = if self.selection.gitignore { gitignore_of(&folder.path)? } else { None };
        self.levels.push(Level { folder, seen, gitignore });
        Ok(())
    }

    fn take(&mut self, Seen { name, kind }: Seen) -> io::Result<Taken> {
        let Some(Level { folder, .. }) = self.levels.last() else { return Ok(Taken::Nothing) };
        let path = folder.path.join(&name);
        let text = encode_name(name.as_bytes());
        let at = folder.below_corpus(&text, self.form);
        let notes = &mut self.notes;
        if kind.is_dir() {
            let tally = if self.selection.excludes(&at) {
                &mut notes.excluded_folders
            } else if is_ignored(&self.levels, &path, true) {
                &mut notes.ignored
            } else if !self.selection.environments && look_at(&path.join(ENVIRONMENT))?.is_some_and(|m| m.is_file()) {
                &mut notes.environments
            } else {
                return Ok(Taken::Folder(folder.child(path, text, self.form)));
            };
            tally.add(at);
        } else if kind.is_symlink() && look_at(&path)?.is_some_and(|m| m.is_dir()) {
            notes.linked_folders.add(at);
        } else if !self.selection.includes(&at) {
            notes.other_files += 1;
        } else if self.selection.excludes(&at) {
            notes.excluded_files.add(at);
        } else if is_ignored(&self.levels, &path, false) {
            notes.ignored.add(at);
        } else {
            // Where the size cannot be found out, reading will say why.
            let size = look_at(&path)?.filter(Metadata::is_file).map_or(0, |m| m.len());
            return Ok(Taken::File(Entry { repo: folder.repo.clone(), path: format!("{}{text}", folder.prefix), size }));
        }
        Ok(Taken::Nothing)
    }

    fn unreadable(&mut self, entry: Entry, at: String) -> Result<(), ListError> {
        self.notes.unreadable_folders.add(at);
        self.sorter.push(entry).map_err(ListError::sorting)
    }
}

/// What is at a path, links followed; nothing where nobody can look for a reason that lies in the corpus.
fn look_at(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if is_transient(error.kind(), error.raw_os_error()) => Err(error),
        Err(_) => Ok(None),
    }
}

/// What makes a folder a virtual environment.
pub(crate) const ENVIRONMENT: &str = "pyvenv.cfg";

/// The rules in a folder, if it has any.
fn gitignore_of(folder: &Path) -> io::Result<Option<Gitignore>> {
    match fs::read(folder.join(".gitignore")) {
        Ok(text) => Ok(Some(Gitignore::parse(&encode_name(&text)))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the innermost `.gitignore` that speaks of `path`, in the innermost of `levels`, has it ignored.
fn is_ignored(levels: &[Level], path: &Path, is_dir: bool) -> bool {
    let rules = levels.iter().rev().filter_map(|level| Some((&level.folder.path, level.gitignore.as_ref()?)));
    let mut spoken =
        rules.filter_map(|(folder, rules)| rules.ignores(&encode_name(path.strip_prefix(folder).ok()?.as_os_str().as_bytes()), is_dir));
    spoken.next().unwrap_or(false)
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
            check_standing(root, below).map_err(|source| ReadError::Fault { source: Box::new(source) })?;
            read
        }
        read => read,
    }
}

/// How large the file at `below` in `root` is, if it is one that is read. Blocks.
pub(crate) fn size(root: &Path, below: &Path) -> Option<u64> {
    let metadata = fs::metadata(resolve(root, &root.join(below)).ok()?).ok()?;
    metadata.is_file().then_some(metadata.len())
}

/// Fails if the corpus cannot be entered, or nothing is left of it, or of the folder in it that `below` begins with: a disk that is not mounted
/// leaves no folder, or an empty one, and each repository may have a disk of its own.
fn check_standing(root: &Path, below: &Path) -> io::Result<()> {
    fs::metadata(root.join("."))?;
    let is_empty = |folder: &Path| Ok::<_, io::Error>(fs::read_dir(folder)?.next().transpose()?.is_none());
    let empty = |what: String| Err(io::Error::new(io::ErrorKind::NotFound, format!("{what} is empty now; is its disk mounted?")));
    if is_empty(root)? {
        return empty("the corpus".to_owned());
    }
    let Some(Component::Normal(first)) = below.components().next() else { return Ok(()) };
    // A folder that is gone was deleted; one that may not be read is a fact of the corpus.
    match is_empty(&root.join(first)) {
        Ok(true) => empty(format!("the folder {} of the corpus", first.display())),
        Err(error) if is_transient(error.kind(), error.raw_os_error()) => Err(error),
        Ok(false) | Err(_) => Ok(()),
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
    let target = path.canonicalize().map_err(|error| match ReadError::from_io(error) {
        // It leads nowhere, or in a circle.
        ReadError::Missing | ReadError::Io { .. } if is_link => ReadError::Symlink(SymlinkFault::Broken),
        error => error,
    })?;
    let root = root.canonicalize().map_err(ReadError::from_io)?;
    if target.starts_with(root) { Ok(target) } else { Err(ReadError::Symlink(SymlinkFault::Outside)) }
}

fn kind_of(kind: FileType) -> &'static str {
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
        // As of one whose path is too long.
        Err(ReadError::Io { .. }) => ReadError::Folder { reason: "the system does not list it" },
        Err(error) => error,
        // Its files are still unknown to the run.
        Ok(()) => ReadError::Folder { reason: "it could not be listed at first" },
    }
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
