//! A corpus below a prefix of an object store.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use object_store::list::PaginatedListStore;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::entry::{Entry, Form};
use crate::error::{ListError, ReadError};
use crate::inventory::Inventory;
use crate::local::ENVIRONMENT;
use crate::notes::Notes;
use crate::pages::{Fault, Found, Pages};
use crate::selection::Selection;
use crate::sort::Sorter;

/// Where the objects are.
#[derive(Clone)]
pub(crate) struct Objects {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// The same store, listed by pages.
    pub(crate) pages: Option<Arc<dyn PaginatedListStore>>,
    pub(crate) prefix: Path,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("store", &self.store).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Lists the objects.
pub(crate) async fn list(objects: &Objects, form: &Form, selection: &Selection) -> Result<Inventory, ListError> {
    let location = || format!("{}/{}", objects.store, objects.prefix);
    if selection.gitignore {
        return Err(ListError::Gitignore { location: location() });
    }
    let failed = |source: object_store::Error| match source {
        object_store::Error::NotFound { .. } => ListError::Missing { location: location() },
        object_store::Error::PermissionDenied { .. } => ListError::Denied { location: location() },
        source => ListError::Store { location: location(), source },
    };
    let taker = || Taker::new(&objects.prefix, form, selection);
    let taken = match &objects.pages {
        None => take_stream(objects, taker()).await,
        Some(store) => match take_pages(Pages::new(store.as_ref(), &objects.prefix), taker()).await {
            Err(Stop::Fault(Fault::Disorder)) => take_pages(Pages::serial(store.as_ref(), &objects.prefix), taker()).await,
            taken => taken,
        },
    };
    let taker = taken.map_err(|stop| match stop {
        Stop::Error(error) => error,
        Stop::Fault(Fault::Store(error)) => failed(error),
        Stop::Fault(Fault::Disorder) => failed(object_store::Error::NotImplemented {
            operation: "a listing in order".to_owned(),
            implementer: objects.store.to_string(),
        }),
    })?;
    let inventory = blocking(location(), move || taker.finish()).await?;
    if inventory.files() > 0 {
        Ok(inventory)
    } else if inventory.notes.is_empty() {
        Err(ListError::Empty { location: location() })
    } else {
        Err(ListError::NoPythonFiles { location: location(), notes: Box::new(inventory.notes) })
    }
}

enum Stop {
    Fault(Fault),
    Error(ListError),
}

async fn take_pages(mut pages: Pages<'_>, mut taker: Taker) -> Result<Taker, Stop> {
    while let Some(page) = pages.next().await.map_err(Stop::Fault)? {
        taker = taker.take_page(page).await.map_err(Stop::Error)?;
    }
    Ok(taker)
}

async fn take_stream(objects: &Objects, mut taker: Taker) -> Result<Taker, Stop> {
    let failed = |error| Stop::Fault(Fault::Store(error));
    let mut pages = objects.store.list(Some(&objects.prefix)).try_chunks(1_000);
    while let Some(page) = pages.try_next().await.map_err(|error| failed(error.1))? {
        let page = page.into_iter().map(|object| Found::Object { size: object.size, key: object.location.into() });
        taker = taker.take_page(page.collect()).await.map_err(Stop::Error)?;
    }
    Ok(taker)
}

/// Runs what waits for the disk on a thread that may.
async fn blocking<T: Send + 'static>(location: String, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, ListError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|source| ListError::Interrupted { location, source })?;
    done.map_err(ListError::sorting)
}

/// Takes what is found, page by page, in whatever order pages come.
struct Taker {
    prefix: String,
    form: Form,
    selection: Selection,
    notes: Notes,
    entries: Sorter,
    /// Folders that are left out. Pages of different ranges may hold parts of the same one.
    excluded: Sorter,
    /// Folders that hold what makes them virtual environments. Other files of theirs may have come before.
    environments: BTreeSet<String>,
    /// The folder of the last object, and where in it the first folder ends that is left out.
    last_folder: (String, Option<usize>),
}

impl Taker {
    fn new(prefix: &Path, form: &Form, selection: &Selection) -> Self {
        Self {
            prefix: if prefix.as_ref().is_empty() { String::new() } else { format!("{prefix}/") },
            form: form.clone(),
            selection: selection.clone(),
            notes: Notes::default(),
            entries: Sorter::default(),
            excluded: Sorter::default(),
            environments: BTreeSet::new(),
            last_folder: (String::new(), None),
        }
    }

    async fn take_page(mut self, page: Vec<Found>) -> Result<Self, ListError> {
        if self.entries.is_full() || self.excluded.is_full() {
            let location = self.prefix.clone();
            self = blocking(location, move || {
                for sorter in [&mut self.entries, &mut self.excluded] {
                    if sorter.is_full() {
                        sorter.spill()?;
                    }
                }
                Ok(self)
            })
            .await?;
        }
        page.into_iter().try_for_each(|found| self.take(found)).map_err(ListError::sorting)?;
        Ok(self)
    }

    fn take(&mut self, found: Found) -> io::Result<()> {
        let (key, size) = match found {
            Found::Object { key, size } => (key, size),
            Found::Unnameable(key) => (key, 0),
        };
        // The prefix itself may be an object too: a marker for a folder.
        let Some(below) = key.strip_prefix(&self.prefix) else { return Ok(()) };
        let folder = below.rfind('/').and_then(|end| below.get(..end)).unwrap_or_default();
        if self.last_folder.0 != folder {
            self.last_folder = (folder.to_owned(), excluded_folder(folder, &self.selection));
            if let Some(excluded) = self.last_folder.1.and_then(|end| folder.get(..end)) {
                self.excluded.push(Entry { repo: None, path: excluded.to_owned(), size: 0 })?;
            }
        }
        if self.last_folder.1.is_some() {
            return Ok(());
        }
        if below.ends_with('/') {
            self.notes.unreadable_folders.add(below.to_owned());
        } else if !self.selection.includes(below) {
            self.notes.other_files += 1;
            if below.strip_suffix(ENVIRONMENT).is_some_and(|folder| folder.ends_with('/')) && !self.selection.environments {
                self.environments.insert(folder.to_owned());
            }
            return Ok(());
        } else if self.selection.excludes(below) {
            self.notes.excluded_files.add(below.to_owned());
            return Ok(());
        }
        self.entries.push(entry(&self.form, below, size))
    }

    fn finish(self) -> io::Result<Inventory> {
        let Self { mut notes, form, environments, .. } = self;
        let inside =
            |path: &str| path.match_indices('/').any(|(end, _)| path.get(..end).is_some_and(|folder| environments.contains(folder)));
        for environment in environments.iter().filter(|environment| !inside(environment)) {
            notes.environments.add(environment.clone());
        }
        for excluded in self.excluded.finish(|excluded| inside(&excluded.path))?.entries()? {
            notes.excluded_folders.add(excluded?.path);
        }
        let sorted = self.entries.finish(|entry| !environments.is_empty() && inside(&below_corpus(&form, entry)))?;
        Ok(Inventory::new(sorted, notes))
    }
}

/// The entry of what lies at `below`. A folder that cannot be named belongs to no repository, rather than to one that cannot be named.
fn entry(form: &Form, below: &str, size: u64) -> Entry {
    let (repo, path) = match form {
        Form::Repository(name) => (Some(name.clone()), below),
        Form::Tree => match below.split_once('/') {
            Some((repo, path)) if !path.is_empty() => (Some(repo.to_owned()), path),
            _ => (None, below),
        },
    };
    Entry { repo, path: path.to_owned(), size }
}

/// Where the object of an entry lies below the corpus.
fn below_corpus(form: &Form, entry: &Entry) -> String {
    match (form, &entry.repo) {
        (Form::Tree, Some(repo)) => format!("{repo}/{}", entry.path),
        _ => entry.path.clone(),
    }
}

/// Where in `folder` the first folder ends that is left out.
fn excluded_folder(folder: &str, selection: &Selection) -> Option<usize> {
    let ends = folder.match_indices('/').map(|(end, _)| end).chain((!folder.is_empty()).then_some(folder.len()));
    ends.into_iter().find(|end| folder.get(..*end).is_some_and(|folder| selection.excludes(folder)))
}

/// Whether there is an object `name` right below the prefix, or the head of a git repository in a folder of that name.
pub(crate) async fn holds(objects: &Objects, name: &'static str) -> Result<bool, ReadError> {
    let key = if name == ".git" { objects.prefix.clone().join(name).join("HEAD") } else { objects.prefix.clone().join(name) };
    match objects.store.head(&key).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(ReadError::from_store(error)),
    }
}

/// The key of an entry.
fn key_of(objects: &Objects, form: &Form, entry: &Entry) -> Result<Path, ReadError> {
    let (prefix, below) = (&objects.prefix, below_corpus(form, entry));
    let key = if prefix.as_ref().is_empty() { below } else { format!("{prefix}/{below}") };
    Path::parse(key).map_err(|_| ReadError::BadPath)
}

/// How large the object of an entry is, if the store says so.
pub(crate) async fn size(objects: &Objects, form: &Form, entry: &Entry) -> Option<u64> {
    let key = key_of(objects, form, entry).ok()?;
    objects.store.head(&key).await.ok().map(|meta| meta.size)
}

/// Reads the object of an entry.
pub(crate) async fn read(objects: &Objects, form: &Form, entry: &Entry, limit: u64) -> Result<Bytes, ReadError> {
    let store = &objects.store;
    if entry.size > limit {
        return Err(ReadError::TooLarge { limit });
    }
    let key = key_of(objects, form, entry)?;
    let object = match store.get(&key).await.map_err(ReadError::from_store) {
        Err(ReadError::Missing) => return Err(missing(store, &key).await),
        object => object?,
    };
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

/// Why a store has nothing to give for a key that it has listed. A row says that the file is gone, for ever, so that it is asked once more: stores
/// have answered 404 for what is there, behind a proxy that is restarted or a replica that lags.
async fn missing(store: &Arc<dyn ObjectStore>, key: &Path) -> ReadError {
    match store.head(key).await.map_err(ReadError::from_store) {
        Ok(_) => ReadError::Transient { source: format!("{key} is not found, and then is there").into() },
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use futures::stream::BoxStream;
    use object_store::memory::InMemory;
    use object_store::{
        CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions, PutOptions, PutPayload,
        PutResult, Result as StoreResult,
    };

    use super::*;
    use crate::corpus::Corpus;
    use crate::pages::tests::{Habit, Keys};
    use crate::selection;

    fn entries(inventory: &Inventory) -> Vec<Entry> {
        inventory.entries().unwrap().map(Result::unwrap).collect()
    }

    async fn corpus(keys: &[&str], form: Form) -> Corpus {
        let store = InMemory::new();
        for key in keys {
            let path = Path::parse(key).unwrap();
            store.put(&path, (*key).to_owned().into()).await.unwrap();
        }
        Corpus::objects(Arc::new(store), None, Path::from("c"), form, selection::tests::default()).with_limit(100)
    }

    #[tokio::test]
    async fn keys_are_taken_as_they_are() {
        let keys = ["c/a/x y.py", "c/a/%41.py", "c/b/pkg/z.pyw", "c/top.py", "cc/other.py"];
        let corpus = corpus(&keys, Form::Tree).await;
        let inventory = corpus.list().await.unwrap();
        let entries = entries(&inventory);
        let found: Vec<_> = (entries.iter()).map(|e| (e.repo.as_deref(), e.path.as_str())).collect();
        assert_eq!(found, [(None, "top.py"), (Some("a"), "%41.py"), (Some("a"), "x y.py"), (Some("b"), "pkg/z.pyw")]);
        assert!(inventory.notes.is_empty());
        for entry in &entries {
            assert_eq!(corpus.read(entry).await.unwrap().len() as u64, entry.size);
            assert_eq!(corpus.size(entry).await, entry.size);
        }
        let gone = Entry { repo: None, path: "gone.py".to_owned(), size: 0 };
        assert_eq!(corpus.size(&gone).await, 0);
    }

    #[tokio::test]
    async fn a_whole_prefix_can_be_one_repository() {
        let corpus = corpus(&["c/a/x.py"], Form::Repository("mine".into())).await;
        let entries = entries(&corpus.list().await.unwrap());
        assert_eq!(entries[0].repo.as_deref(), Some("mine"));
        assert_eq!(entries[0].path, "a/x.py");
        assert_eq!(corpus.read(&entries[0]).await.unwrap(), "c/a/x.py");
    }

    #[tokio::test]
    async fn what_is_left_out_is_counted() {
        let keys = ["c/a/x.py", "c/a/.git/a.py", "c/a/.git/b/c.py", "c/.git/x", "c/a/.gitx/y.py", "c/a.txt"];
        let inventory = corpus(&keys, Form::Tree).await.list().await.unwrap();
        assert_eq!(inventory.files(), 2);
        assert_eq!(inventory.notes.excluded_folders.examples, [".git", "a/.git"]);
        assert_eq!(inventory.notes.excluded_folders.count, 2);
        assert_eq!(inventory.notes.other_files, 1);
    }

    fn listed_by_pages(keys: &[&str], habit: Habit) -> Corpus {
        let keys = Keys::new(keys.iter().map(|key| (*key).to_owned()), 3, habit);
        Corpus::objects(Arc::new(InMemory::new()), Some(Arc::new(keys)), Path::from("c"), Form::Tree, selection::tests::default())
    }

    #[tokio::test]
    async fn keys_that_cannot_be_named_are_entries_that_cannot_be_read() {
        let keys = [
            "c//x.py",
            "c//y.py",
            "c/../z.py",
            "c/a//x.py",
            "c/a/b/../x.py",
            "c/a/odd\u{1}.py",
            "c/a/odd\u{1}.txt",
            "c/a/x.py",
            "c/b/y.py",
        ];
        let corpus = listed_by_pages(&keys, Habit::Ordered);
        let inventory = corpus.list().await.unwrap();
        let entries = entries(&inventory);
        let found: Vec<_> = entries.iter().map(|e| (e.repo.as_deref(), e.path.as_str())).collect();
        let (unnamed, named) = found.split_at(2);
        assert_eq!(unnamed, [(None, "../"), (None, "/")]);
        assert_eq!(
            named,
            ["/", "b/../", "odd\u{1}.py", "x.py"]
                .map(|path| (Some("a"), path))
                .into_iter()
                .chain([(Some("b"), "y.py")])
                .collect::<Vec<_>>()
        );
        assert_eq!(inventory.notes.unreadable_folders.examples, ["../", "/", "a//", "a/b/../"]);
        assert_eq!(inventory.notes.other_files, 1);
        for entry in entries.iter().filter(|entry| !["x.py", "y.py"].contains(&entry.path.as_str())) {
            assert_eq!(corpus.read(entry).await.unwrap_err().error_type(), "BadPath", "{entry:?}");
        }
    }

    #[tokio::test]
    async fn a_store_of_another_order_is_listed_all_the_same() {
        let keys = ["c/a/x.py", "c/a/y.py", "c/b/.git/x.py", "c/b/x.py", "c/b/y.py", "c/c/.git/x", "c/c/x.py"];
        for habit in [Habit::Ordered, Habit::Unordered, Habit::FromTheStart] {
            let inventory = listed_by_pages(&keys, habit).list().await.unwrap();
            assert_eq!(inventory.files(), 5, "{habit:?}");
            assert_eq!(inventory.notes.excluded_folders.examples, ["b/.git", "c/.git"], "{habit:?}");
        }
    }

    #[tokio::test]
    async fn a_virtual_environment_is_left_out_with_what_was_listed_before_it_showed() {
        let keys =
            ["c/a/env/lib/x.py", "c/a/env/nested/pyvenv.cfg", "c/a/env/pyvenv.cfg", "c/a/x.py", "c/.venv/pyvenv.cfg", "c/pyvenv.cfg"];
        let inventory = corpus(&keys, Form::Tree).await.list().await.unwrap();
        assert_eq!(entries(&inventory), [Entry { repo: Some("a".into()), path: "x.py".into(), size: 8 }]);
        assert_eq!((inventory.notes.environments.examples, inventory.notes.environments.count), (vec!["a/env".to_owned()], 1));
        assert_eq!(inventory.notes.excluded_folders.examples, [".venv"]);
    }

    #[tokio::test]
    async fn gitignore_files_are_respected_in_folders_only() {
        let selection = selection::tests::default().gitignore(true);
        let corpus = Corpus::objects(Arc::new(InMemory::new()), None, Path::from("c"), Form::Tree, selection);
        assert!(matches!(corpus.list().await, Err(ListError::Gitignore { .. })));
    }

    #[tokio::test]
    async fn a_repository_shows_by_what_is_in_its_root() {
        for (key, marker) in [("c/.git/HEAD", Some(".git")), ("c/pyproject.toml", Some("pyproject.toml")), ("c/a/pyproject.toml", None)] {
            assert_eq!(corpus(&[key], Form::Tree).await.repository_marker().await.unwrap(), marker, "{key}");
        }
    }

    #[tokio::test]
    async fn faults_of_a_file_are_facts() {
        let long = format!("c/a/{}.py", "x".repeat(100));
        let corpus = corpus(&[&long], Form::Tree).await;
        let large = &entries(&corpus.list().await.unwrap())[0];
        assert_eq!(corpus.read(large).await.unwrap_err().error_type(), "FileTooLarge");
        // It may have grown since it was listed.
        let grown = Entry { size: 1, ..large.clone() };
        assert_eq!(corpus.read(&grown).await.unwrap_err().error_type(), "FileTooLarge");
        let gone = Entry { path: "gone.py".into(), ..grown.clone() };
        assert_eq!(corpus.read(&gone).await.unwrap_err().error_type(), "FileNotFound");
        let outside = Entry { path: "../../x.py".into(), ..grown };
        assert_eq!(corpus.read(&outside).await.unwrap_err().error_type(), "BadPath");
    }

    type Answer = fn() -> Error;

    fn not_found() -> Error {
        Error::NotFound { path: "c/a/x.py".to_owned(), source: "404 Not Found: <Error><Code>NoSuchKey</Code></Error>".into() }
    }

    fn forbidden() -> Error {
        Error::PermissionDenied { path: "c/a/x.py".to_owned(), source: "403 Forbidden".into() }
    }

    fn unavailable() -> Error {
        Error::Generic { store: "forgetful", source: "503 Service Unavailable".into() }
    }

    /// A store that gives these answers to the first who ask for an object or for what is known of one, and then says what is so.
    #[derive(Debug)]
    struct Forgetful {
        inner: InMemory,
        answers: Mutex<VecDeque<Answer>>,
    }

    impl fmt::Display for Forgetful {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "forgetful {}", self.inner)
        }
    }

    #[async_trait]
    impl ObjectStore for Forgetful {
        async fn put_opts(&self, at: &Path, bytes: PutPayload, how: PutOptions) -> StoreResult<PutResult> {
            self.inner.put_opts(at, bytes, how).await
        }
        async fn put_multipart_opts(&self, at: &Path, how: PutMultipartOptions) -> StoreResult<Box<dyn MultipartUpload>> {
            self.inner.put_multipart_opts(at, how).await
        }
        async fn get_opts(&self, at: &Path, how: GetOptions) -> StoreResult<GetResult> {
            let answer = self.answers.lock().unwrap().pop_front();
            match answer {
                Some(answer) => Err(answer()),
                None => self.inner.get_opts(at, how).await,
            }
        }
        fn delete_stream(&self, paths: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
            self.inner.delete_stream(paths)
        }
        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
            self.inner.list(prefix)
        }
        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
            self.inner.list_with_delimiter(prefix).await
        }
        async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> StoreResult<()> {
            self.inner.copy_opts(from, to, how).await
        }
    }

    /// Stores have answered 404 for what is there; a row would say so for ever.
    #[tokio::test]
    async fn what_is_not_found_once_is_no_fact_and_what_is_not_found_twice_is_one() {
        let cases: [(&[Answer], Option<&str>); 6] = [
            (&[], None),
            (&[not_found], Some("TransientReadFailure")),
            (&[not_found, not_found], Some("FileNotFound")),
            // The second answer decides, whatever it is.
            (&[not_found, unavailable], Some("TransientReadFailure")),
            (&[not_found, forbidden], Some("CorpusUnreadable")),
            // What was found out at the first request needs no second.
            (&[forbidden], Some("CorpusUnreadable")),
        ];
        for (answers, expected) in cases {
            let inner = InMemory::new();
            inner.put(&Path::from("c/a/x.py"), "x = 1\n".to_owned().into()).await.unwrap();
            let store = Arc::new(Forgetful { inner, answers: Mutex::new(answers.iter().copied().collect()) });
            let corpus =
                Corpus::objects(Arc::clone(&store) as _, None, Path::from("c"), Form::Tree, selection::tests::default()).with_limit(100);
            let entry = Entry { repo: Some("a".into()), path: "x.py".into(), size: 6 };
            let read = corpus.read(&entry).await;
            assert_eq!(read.as_ref().err().map(ReadError::error_type), expected, "{answers:?}");
            assert!(store.answers.lock().unwrap().is_empty(), "{expected:?}: the store was not asked once more");
            assert_eq!(corpus.read(&entry).await.unwrap(), "x = 1\n", "{expected:?}: and later");
        }
    }

    #[tokio::test]
    async fn what_is_no_corpus_says_why() {
        let error = corpus(&["other/x.py"], Form::Tree).await.list().await.unwrap_err();
        assert!(matches!(error, ListError::Empty { .. }), "{error}");
        let error = corpus(&["c/a.txt"], Form::Tree).await.list().await.unwrap_err();
        assert!(error.to_string().contains("it holds 1 other files"), "{error}");
    }
}
