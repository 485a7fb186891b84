//! Disks of this machine as object stores.
//!
//! All is `object_store`'s, but for listings: its own leave out, without a word, what they cannot look at. Of a disk that fails for a moment that makes
//! a run without records, a manifest that nobody has written, and data files that nothing names, which `gc` would delete.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::{Error as PathError, Path};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RenameOptions, Result,
};

use super::disk::is_staged;

/// A disk of this machine, or a folder of it.
#[derive(Debug)]
pub struct LocalDisk {
    inner: LocalFileSystem,
    /// What its paths are below.
    base: PathBuf,
}

impl LocalDisk {
    /// The whole of it: `/a/b` is the object `a/b`.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: LocalFileSystem::new(), base: PathBuf::from("/") }
    }

    /// What is below a folder.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn below(folder: &FsPath) -> Result<Self> {
        let inner = LocalFileSystem::new_with_prefix(folder)?;
        Ok(Self { inner, base: fs::canonicalize(folder).map_err(|source| Unlisted::of(folder, source))? })
    }
}

impl Default for LocalDisk {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a folder is not listed.
#[derive(Debug, thiserror::Error)]
#[error("cannot list {}: {source}", path.display())]
struct Unlisted {
    path: PathBuf,
    source: io::Error,
}

impl Unlisted {
    fn of(path: &FsPath, source: io::Error) -> Error {
        Error::Generic { store: "LocalDisk", source: Box::new(Self { path: path.to_owned(), source }) }
    }
}

/// What a folder holds.
#[derive(Default)]
struct Held {
    objects: Vec<ObjectMeta>,
    /// Folders in it, as paths of the store.
    folders: BTreeSet<Path>,
}

/// Looks into a folder; one that is not there holds nothing. Links are followed, and those that lead nowhere are none. Blocks.
fn look_into(folder: &FsPath, prefix: &Path) -> Result<Held> {
    let mut held = Held::default();
    let failed = |source| Unlisted::of(folder, source);
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(held),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let (path, name) = (entry.path(), entry.file_name());
        let metadata = match fs::metadata(&path) {
            // It is gone by now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata.map_err(|source| Unlisted::of(&path, source))?,
        };
        let name = std::str::from_utf8(name.as_encoded_bytes())
            .map_err(|source| PathError::NonUnicode { path: path.display().to_string(), source })?;
        let location = if prefix.as_ref().is_empty() { Path::parse(name)? } else { Path::parse(format!("{prefix}/{name}"))? };
        if metadata.is_dir() {
            held.folders.insert(location);
        } else if metadata.is_file() && !is_staged(&path) {
            let last_modified = metadata.modified().map_err(|source| Unlisted::of(&path, source))?.into();
            held.objects.push(ObjectMeta { location, last_modified, size: metadata.len(), e_tag: None, version: None });
        }
    }
    Ok(held)
}

/// The same of the folder at a prefix, off the async threads.
async fn held(base: PathBuf, prefix: Path) -> Result<Held> {
    tokio::task::spawn_blocking(move || look_into(&base.join(prefix.as_ref()), &prefix)).await?
}

impl fmt::Display for LocalDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for LocalDisk {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    /// A folder at a time.
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (base, prefix) = (self.base.clone(), prefix.cloned().unwrap_or_default());
        let folders = stream::try_unfold(vec![prefix], move |mut pending| {
            let base = base.clone();
            async move {
                let Some(prefix) = pending.pop() else { return Ok::<_, Error>(None) };
                let Held { objects, folders } = held(base, prefix).await?;
                pending.extend(folders.into_iter().rev());
                Ok(Some((stream::iter(objects.into_iter().map(Ok)), pending)))
            }
        });
        folders.try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = prefix.cloned().unwrap_or_default();
        let Held { objects, folders } = held(self.base.clone(), prefix).await?;
        Ok(ListResult { common_prefixes: folders.into_iter().collect(), objects })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where nothing fails, it lists what `object_store` does.
    #[tokio::test]
    async fn what_is_listed_is_what_object_store_lists() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a", "b/c#1", "b/c#x", "b/d e%20é", "b/deep/er/x.json", "b/.hidden", "c/#", "runs/r/done/000001.json"];
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, file).unwrap();
        }
        fs::create_dir(folder.path().join("empty")).unwrap();
        std::os::unix::fs::symlink("a", folder.path().join("b/link")).unwrap();
        std::os::unix::fs::symlink("../a", folder.path().join("b/good")).unwrap();
        std::os::unix::fs::symlink("deep", folder.path().join("b/tree")).unwrap();
        let (ours, theirs) = (LocalDisk::below(folder.path()).unwrap(), LocalFileSystem::new_with_prefix(folder.path()).unwrap());
        let sorted = |mut listed: Vec<ObjectMeta>| {
            listed.sort_by(|a, b| a.location.cmp(&b.location));
            listed.into_iter().map(|meta| (meta.location, meta.size, meta.last_modified)).collect::<Vec<_>>()
        };
        for prefix in [None, Some("b"), Some("b/deep"), Some("a"), Some("empty"), Some("nowhere/at/all")] {
            let prefix = prefix.map(Path::from);
            let ours_here: Vec<_> = ours.list(prefix.as_ref()).try_collect().await.unwrap();
            let theirs_here: Vec<_> = theirs.list(prefix.as_ref()).try_collect().await.unwrap();
            assert_eq!(sorted(ours_here), sorted(theirs_here), "{prefix:?}");
            let (ours_here, theirs_here) =
                (ours.list_with_delimiter(prefix.as_ref()).await.unwrap(), theirs.list_with_delimiter(prefix.as_ref()).await.unwrap());
            assert_eq!(ours_here.common_prefixes, theirs_here.common_prefixes, "{prefix:?}");
            assert_eq!(sorted(ours_here.objects), sorted(theirs_here.objects), "{prefix:?}");
        }
        let whole = LocalDisk::new();
        let below = Path::from_absolute_path(folder.path()).unwrap();
        let listed: Vec<_> = whole.list(Some(&below)).try_collect().await.unwrap();
        assert_eq!(listed.len(), files.len() - 1 + 2, "one is staged; links lead to a file and to a folder with one");
    }
}
