//! A corpus below a prefix of an object store.

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::error::{ListError, ReadError};
use crate::inventory::{Entry, Excluded, Form, Inventory, is_python};

/// Lists the objects below `prefix`.
pub(crate) async fn list(store: &dyn ObjectStore, prefix: &Path, form: &Form, excluded: &Excluded) -> Result<Inventory, ListError> {
    let location = || format!("{store}/{prefix}");
    let failed = |source: object_store::Error| match source {
        object_store::Error::NotFound { .. } => ListError::Missing { location: location() },
        object_store::Error::PermissionDenied { .. } => ListError::Denied { location: location() },
        source => ListError::Store { location: location(), source },
    };
    let mut inventory = Inventory::default();
    let mut listing = store.list(Some(prefix));
    while let Some(meta) = listing.try_next().await.map_err(failed)? {
        take(&mut inventory, prefix, form, excluded, meta.location.as_ref(), meta.size);
    }

    let Inventory { mut entries, notes } = inventory;
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

fn take(inventory: &mut Inventory, prefix: &Path, form: &Form, excluded: &Excluded, key: &str, size: u64) {
    let below =
        if prefix.as_ref().is_empty() { Some(key) } else { key.strip_prefix(prefix.as_ref()).and_then(|rest| rest.strip_prefix('/')) };
    // The prefix itself may be an object too: a marker for a folder.
    let Some(below) = below else { return };
    if let Some(at) = excluded_folder(below, excluded) {
        let tally = &mut inventory.notes.excluded_folders;
        // Listings come sorted, so that the objects of one folder follow each other.
        if tally.examples.last().is_none_or(|last| last != at) {
            tally.add(at.to_owned());
        }
        return;
    }
    if !is_python(below.as_bytes()) {
        inventory.notes.other_files += 1;
        return;
    }
    let (repo, path) = match form {
        Form::Repository(name) => (Some(name.clone()), below),
        Form::Tree => match below.split_once('/') {
            Some((repo, path)) => (Some(repo.to_owned()), path),
            None => (None, below),
        },
    };
    inventory.entries.push(Entry { repo, path: path.to_owned(), size });
}

/// The path up to and with the first folder that is left out.
fn excluded_folder<'a>(below: &'a str, excluded: &Excluded) -> Option<&'a str> {
    let (folders, _) = below.rsplit_once('/')?;
    let mut end = 0;
    for segment in folders.split('/') {
        end += segment.len();
        if excluded.has(segment) {
            return below.get(..end);
        }
        end += 1;
    }
    None
}

/// Reads the object of an entry.
pub(crate) async fn read(store: &dyn ObjectStore, prefix: &Path, form: &Form, entry: &Entry, limit: u64) -> Result<Bytes, ReadError> {
    if entry.size > limit {
        return Err(ReadError::TooLarge { limit });
    }
    let below = match (form, &entry.repo) {
        (Form::Tree, Some(repo)) => format!("{repo}/{}", entry.path),
        _ => entry.path.clone(),
    };
    let key = if prefix.as_ref().is_empty() { below } else { format!("{prefix}/{below}") };
    let key = Path::parse(key).map_err(|_| ReadError::BadPath)?;
    let object = store.get(&key).await.map_err(ReadError::from_store)?;
    if object.meta.size > limit {
        return Err(ReadError::TooLarge { limit });
    }
    let mut bytes = BytesMut::with_capacity(usize::try_from(object.meta.size).unwrap_or(0));
    let mut stream = object.into_stream();
    while let Some(chunk) = stream.try_next().await.map_err(ReadError::from_store)? {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(ReadError::TooLarge { limit });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;
    use crate::corpus::Corpus;

    async fn corpus(keys: &[&str], form: Form) -> Corpus {
        let store = InMemory::new();
        for key in keys {
            let path = Path::parse(key).unwrap();
            store.put(&path, (*key).to_owned().into()).await.unwrap();
        }
        Corpus::objects(Arc::new(store), Path::from("c"), form).with_limit(100)
    }

    #[tokio::test]
    async fn keys_are_taken_as_they_are() {
        let keys = ["c/a/x y.py", "c/a/%41.py", "c/b/pkg/z.pyw", "c/top.py", "cc/other.py"];
        let corpus = corpus(&keys, Form::Tree).await;
        let Inventory { entries, notes } = corpus.list().await.unwrap();
        let found: Vec<_> = (entries.iter()).map(|e| (e.repo.as_deref(), e.path.as_str())).collect();
        assert_eq!(found, [(None, "top.py"), (Some("a"), "%41.py"), (Some("a"), "x y.py"), (Some("b"), "pkg/z.pyw")]);
        assert!(notes.is_empty());
        for entry in &entries {
            assert_eq!(corpus.read(entry).await.unwrap().len() as u64, entry.size);
        }
    }

    #[tokio::test]
    async fn a_whole_prefix_can_be_one_repository() {
        let corpus = corpus(&["c/a/x.py"], Form::Repository("mine".into())).await;
        let entries = corpus.list().await.unwrap().entries;
        assert_eq!(entries[0].repo.as_deref(), Some("mine"));
        assert_eq!(entries[0].path, "a/x.py");
        assert_eq!(corpus.read(&entries[0]).await.unwrap(), "c/a/x.py");
    }

    #[tokio::test]
    async fn what_is_left_out_is_counted() {
        let keys = ["c/a/x.py", "c/a/.git/a.py", "c/a/.git/b/c.py", "c/.git/x", "c/a/.gitx/y.py", "c/a.txt"];
        let inventory = corpus(&keys, Form::Tree).await.list().await.unwrap();
        assert_eq!(inventory.entries.len(), 2);
        assert_eq!(inventory.notes.excluded_folders.examples, [".git", "a/.git"]);
        assert_eq!(inventory.notes.excluded_folders.count, 2);
        assert_eq!(inventory.notes.other_files, 1);
    }

    #[tokio::test]
    async fn faults_of_a_file_are_facts() {
        let long = format!("c/a/{}.py", "x".repeat(100));
        let corpus = corpus(&[&long], Form::Tree).await;
        let large = &corpus.list().await.unwrap().entries[0];
        assert_eq!(corpus.read(large).await.unwrap_err().error_type(), "FileTooLarge");
        // It may have grown since it was listed.
        let grown = Entry { size: 1, ..large.clone() };
        assert_eq!(corpus.read(&grown).await.unwrap_err().error_type(), "FileTooLarge");
        let gone = Entry { path: "gone.py".into(), ..grown.clone() };
        assert_eq!(corpus.read(&gone).await.unwrap_err().error_type(), "FileNotFound");
        let outside = Entry { path: "../../x.py".into(), ..grown };
        assert_eq!(corpus.read(&outside).await.unwrap_err().error_type(), "BadPath");
    }

    #[tokio::test]
    async fn what_is_no_corpus_says_why() {
        let error = corpus(&["other/x.py"], Form::Tree).await.list().await.unwrap_err();
        assert!(matches!(error, ListError::Empty { .. }), "{error}");
        let error = corpus(&["c/a.txt"], Form::Tree).await.list().await.unwrap_err();
        assert!(error.to_string().contains("it holds 1 other files"), "{error}");
    }
}
