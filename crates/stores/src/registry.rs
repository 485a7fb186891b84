//! Object stores by URL: one registry for the client, the scheduler and the executors.
//!
//! A client is built once per scheme and authority and then shared, so that connections and credentials are reused. Credentials come from
//! the environment (`AWS_*`, `GOOGLE_*`, `AZURE_*`) or the workload's identity alone: they never enter a plan, a session setting or a manifest.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytefacts_landing::{FactsStore, LocalDisk};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::list::PaginatedListStore;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, ObjectStoreScheme, RetryConfig};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::access::Access;
use crate::error::StoreError;
use crate::place::Place;
use crate::silence::Watched;

/// How patient the clients of object stores are.
///
/// They bridge what passes in seconds: a throttled request, a connection that broke. Whoever asks has patience of its own for what lasts longer:
/// a task is done again by Ballista, and a job submitted again by its client. Each of them multiplies the patience below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreOptions {
    /// Tries after the first one, for requests that may be repeated.
    pub retries: u32,
    /// Seconds after which no further try is made.
    pub retry_seconds: u64,
    /// Seconds that one request may take.
    pub timeout_seconds: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { retries: 5, retry_seconds: 30, timeout_seconds: 30 }
    }
}

/// The longest wait between two tries.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// The registry: store clients by scheme and authority.
#[derive(Default)]
pub struct Stores {
    options: StoreOptions,
    clients: Mutex<BTreeMap<String, StoreClient>>,
    access: Access,
}

/// A client, as the two things that it is.
#[derive(Clone)]
struct StoreClient {
    store: Arc<dyn ObjectStore>,
    pages: Option<Arc<dyn PaginatedListStore>>,
}

impl StoreClient {
    fn paged<S: ObjectStore + PaginatedListStore>(store: S) -> Self {
        let store = Arc::new(store);
        Self { store: Arc::clone(&store) as _, pages: Some(store) }
    }

    fn plain(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, pages: None }
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Stores {
    /// A registry of clients with this patience.
    #[must_use]
    pub fn new(options: StoreOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// Does only what is allowed for the jobs of others.
    #[must_use]
    pub fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// Opens where facts are.
    ///
    /// # Errors
    /// When they are not allowed there, and as [`Stores::open`].
    pub fn open_facts(&self, location: &str) -> Result<FactsStore, StoreError> {
        self.access.facts(location)?;
        Ok(self.open(location)?.facts())
    }

    /// What is allowed for the jobs of others.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Opens the store that `location` (a URL such as `file:///data/facts` or `s3://bucket/facts`) lies in.
    ///
    /// # Errors
    /// When the location is no URL, its scheme is not supported, or the store refuses its settings. No request is made.
    pub fn open(&self, location: &str) -> Result<Place, StoreError> {
        let no_url = |source| StoreError::Url { location: location.to_owned(), source };
        let url = Url::parse(location).map_err(no_url)?;
        let open_error = |source| StoreError::Open { location: location.to_owned(), source };
        let (scheme, path) = ObjectStoreScheme::parse(&url).map_err(|e| open_error(e.into()))?;
        let key = authority(&url);
        let mut root = Url::parse(&key).map_err(no_url)?;
        root.set_path("/");

        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let StoreClient { store, pages } = match clients.get(&key) {
            Some(client) => client.clone(),
            None => {
                let client = self.client(&url, scheme).map_err(open_error)?;
                clients.insert(key, client.clone());
                client
            }
        };
        let folder = if url.scheme() == "file" { url.to_file_path().ok() } else { None };
        Ok(Place { store, pages, root, path, folder })
    }

    /// Has a client of the caller's serve all locations of a scheme and authority, such as `s3://bucket`.
    ///
    /// # Errors
    /// When `root` is no URL.
    pub fn register(&self, root: &str, client: Arc<dyn ObjectStore>) -> Result<(), StoreError> {
        let url = Url::parse(root).map_err(|source| StoreError::Url { location: root.to_owned(), source })?;
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).insert(authority(&url), StoreClient::plain(client));
        Ok(())
    }

    fn client(&self, url: &Url, scheme: ObjectStoreScheme) -> Result<StoreClient, object_store::Error> {
        let retry = RetryConfig {
            max_retries: usize::try_from(self.options.retries).unwrap_or(usize::MAX),
            retry_timeout: Duration::from_secs(self.options.retry_seconds),
            backoff: BackoffConfig { max_backoff: MAX_BACKOFF, ..BackoffConfig::default() },
        };
        let timeout = (ClientConfigKey::Timeout, format!("{} seconds", self.options.timeout_seconds.max(1)));
        Ok(match scheme {
            ObjectStoreScheme::Local => StoreClient::plain(Arc::new(LocalDisk::new())),
            ObjectStoreScheme::AmazonS3 => {
                let builder = AmazonS3Builder::from_env().with_url(url.as_str()).with_retry(retry).with_http_connector(Watched);
                let client = StoreClient::paged(builder.with_config(AmazonS3ConfigKey::Client(timeout.0), timeout.1).build()?);
                // S3 Express neither lists in order nor from any key on.
                let express = url.host_str().is_some_and(|bucket| bucket.ends_with("--x-s3"));
                if express { StoreClient::plain(client.store) } else { client }
            }
            ObjectStoreScheme::GoogleCloudStorage => {
                let builder = GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).with_retry(retry).with_http_connector(Watched);
                StoreClient::paged(builder.with_config(GoogleConfigKey::Client(timeout.0), timeout.1).build()?)
            }
            ObjectStoreScheme::MicrosoftAzure => {
                let builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str()).with_retry(retry).with_http_connector(Watched);
                StoreClient::paged(builder.with_config(AzureConfigKey::Client(timeout.0), timeout.1).build()?)
            }
            // Whatever else the crate knows (HTTP, memory) is no place for facts, and a way for others to have this process make requests.
            _ => return Err(object_store::Error::NotSupported { source: format!("{}:// is not supported", url.scheme()).into() }),
        })
    }
}

/// Scheme and authority: what a client serves.
fn authority(url: &Url) -> String {
    format!("{}://{}", url.scheme(), &url[url::Position::BeforeHost..url::Position::AfterPort])
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
        for bad in ["facts", "ftp://host/facts", "s3://", "http://host/facts", "memory:///facts"] {
            let error = Stores::default().open(bad).unwrap_err().to_string();
            assert!(error.contains(bad), "{error}");
        }
    }
}
