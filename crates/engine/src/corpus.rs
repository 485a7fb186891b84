//! The corpus of a job, opened on whichever process needs it.

use bytefacts_corpus::{Corpus, Form, Location};
use datafusion::common::Result;

use crate::error::external;
use crate::job::Job;
use crate::stores::Stores;

/// Opens the job's corpus. Nothing is read.
///
/// # Errors
/// When its location is none or not allowed, or its store refuses its settings.
pub(crate) fn open_corpus(job: &Job, stores: &Stores) -> Result<Corpus> {
    stores.access().corpus(&job.corpus).map_err(external)?;
    let location = Location::parse(&job.corpus).map_err(external)?;
    let form = match &job.repo {
        Some(name) => Form::Repository(name.clone()),
        None => Form::Tree,
    };
    // A local folder is not read through its object store: names on a disk need not be text.
    let corpus = match location.local_path() {
        Some(folder) => Corpus::local(folder, form),
        None => {
            let place = stores.open(location.uri()).map_err(external)?;
            Corpus::objects(place.store, place.path, form)
        }
    };
    Ok(corpus.with_limit(job.options.max_file_bytes).excluding(job.options.exclude.iter().cloned()))
}
