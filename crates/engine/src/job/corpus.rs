//! The corpus of a job, opened on whichever process needs it, and whether a place is a single repository.

use std::os::unix::ffi::OsStrExt as _;

use bytefacts_corpus::{Corpus, Form, Location, ReadError, Selection, encode_name};
use bytefacts_stores::{StoreError, Stores};

use super::Job;
use crate::error::lasting;

/// Opens the job's corpus. Nothing is read.
///
/// # Errors
/// When its location or a pattern is none, the location is not allowed, or its store refuses its settings.
pub fn open_corpus(job: &Job, stores: &Stores) -> datafusion::common::Result<Corpus> {
    stores.access().corpus(&job.corpus).map_err(lasting)?;
    let location = Location::parse(&job.corpus).map_err(lasting)?;
    let form = match &job.repo {
        Some(name) => Form::Repository(name.clone()),
        None => Form::Tree,
    };
    let selection = job.options.selection().map_err(lasting)?;
    Ok(open(&location, form, selection, stores).map_err(lasting)?.with_limit(job.options.max_file_bytes))
}

fn open(location: &Location, form: Form, selection: Selection, stores: &Stores) -> Result<Corpus, StoreError> {
    // A local folder is not read through its object store: names on a disk need not be text.
    Ok(match location.local_path() {
        Some(folder) => Corpus::local(folder, form, selection),
        None => {
            let place = stores.open(location.uri())?;
            Corpus::objects(place.store, place.pages, place.path, form, selection)
        }
    })
}

/// A place that is recognised as a single repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SingleRepository {
    /// Its name: that of its folder.
    pub name: String,
    /// What shows it: `.git` or `pyproject.toml` in its root.
    pub marker: &'static str,
}

/// Why nobody knows whether a place is a single repository.
#[derive(Debug, thiserror::Error)]
pub enum RecognitionError {
    /// Its store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its store does not say.
    #[error("cannot look into the corpus")]
    Read(#[from] ReadError),
}

/// Whether `location` is a single repository rather than a folder of repositories.
///
/// # Errors
/// When its store cannot be opened, or does not say.
pub async fn single_repository(location: &Location, stores: &Stores) -> Result<Option<SingleRepository>, RecognitionError> {
    let name = match (location.local_path(), location.object_prefix()) {
        (Some(folder), _) => folder.file_name().map(|name| encode_name(name.as_bytes())),
        (None, prefix) => {
            prefix.and_then(|prefix| prefix.filename().map(str::to_owned)).or_else(|| location.url().host_str().map(str::to_owned))
        }
    };
    let corpus = open(location, Form::Tree, Selection::default(), stores)?;
    let marker = corpus.repository_marker().await?;
    Ok(name.zip(marker).map(|(name, marker)| SingleRepository { name, marker }))
}
