//! Object stores by URL: one registry for the client, the scheduler and the executors.
//!
//! A client is built once per scheme and authority and then shared, so that connections and credentials are reused. Credentials come from
//! the environment alone: they never enter a plan, a session setting or a manifest.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytefacts_landing::FactsStore;
use datafusion::execution::object_store::ObjectStoreUrl;
use object_store::ObjectStore;
use object_store::ObjectStoreScheme;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use url::Url;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The text is no URL.
    #[error("not a valid location: {location}: {source}")]
    Url {
        /// The text as given.
        location: String,
        /// What the URL parser says.
        source: url::ParseError,
    },
    /// The scheme is unknown, or the store's own settings are incomplete.
    #[error("cannot open the object store of {location}: {source}")]
    Open {
        /// The URL as given.
        location: String,
        /// What the store says.
        source: object_store::Error,
    },
}

/// A place in an object store.
#[derive(Clone, Debug)]
pub struct Place {
    /// The store's client.
    pub store: Arc<dyn ObjectStore>,
    /// The store's root as DataFusion names it (`file:///`, `s3://bucket/`).
    pub root: ObjectStoreUrl,
    /// The path inside the store.
    pub path: Path,
    /// The folder, where the store is a disk of this machine.
    pub folder: Option<PathBuf>,
}

/// The registry: store clients by scheme and authority.
#[derive(Debug, Default)]
pub struct Stores {
    clients: Mutex<BTreeMap<String, Arc<dyn ObjectStore>>>,
}

impl Stores {
    /// Opens the store that `location` (a URL such as `file:///data/facts` or `s3://bucket/facts`) lies in.
    ///
    /// # Errors
    /// When the location is no URL, its scheme is not supported, or the store refuses its settings. No request is made.
    pub fn open(&self, location: &str) -> Result<Place, StoreError> {
        let url = Url::parse(location).map_err(|source| StoreError::Url { location: location.to_owned(), source })?;
        let open_error = |source| StoreError::Open { location: location.to_owned(), source };
        let (scheme, path) = ObjectStoreScheme::parse(&url).map_err(|e| open_error(e.into()))?;
        let key = format!("{}://{}", url.scheme(), &url[url::Position::BeforeHost..url::Position::AfterPort]);
        let root = ObjectStoreUrl::parse(&key).map_err(|e| open_error(generic(e)))?;

        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let store = match clients.get(&key) {
            Some(store) => Arc::clone(store),
            None => {
                let store: Arc<dyn ObjectStore> = match scheme {
                    ObjectStoreScheme::Local => Arc::new(LocalFileSystem::new()),
                    // Variables such as AWS_REGION are lower-cased option names to the builders; they ignore all others.
                    _ => {
                        let settings = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
                        Arc::from(object_store::parse_url_opts(&url, settings).map_err(open_error)?.0)
                    }
                };
                clients.insert(key, Arc::clone(&store));
                store
            }
        };
        let folder = if url.scheme() == "file" { url.to_file_path().ok() } else { None };
        Ok(Place { store, root, path, folder })
    }
}

impl Place {
    /// The facts here. On a local disk they are written so that a power cut leaves nothing torn.
    #[must_use]
    pub fn facts(&self) -> FactsStore {
        let facts = FactsStore::new(Arc::clone(&self.store), self.path.clone());
        match &self.folder {
            Some(folder) => facts.on_disk(folder),
            None => facts,
        }
    }
}

fn generic(error: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic { store: "registry", source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_url_names_the_local_root_and_the_decoded_path() {
        let place = Stores::default().open("file:///data/my%20facts").unwrap();
        assert_eq!(place.root.as_str(), "file:///");
        assert_eq!(place.path.as_ref(), "data/my facts");
    }

    #[test]
    fn a_bucket_is_opened_once_and_shared() {
        let stores = Stores::default();
        let (a, b) = (stores.open("s3://bucket/a").unwrap(), stores.open("s3://bucket/b/c").unwrap());
        assert!(Arc::ptr_eq(&a.store, &b.store));
        assert_eq!((a.root.as_str(), b.path.as_ref()), ("s3://bucket/", "b/c"));
    }

    #[test]
    fn what_is_no_store_is_refused_with_its_name() {
        for bad in ["facts", "ftp://host/facts", "s3://"] {
            let error = Stores::default().open(bad).unwrap_err().to_string();
            assert!(error.contains(bad), "{error}");
        }
    }
}
