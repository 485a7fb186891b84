//! Stores that do not answer: said within seconds, not when patience ends.
//!
//! A client waits for half a minute and tries again meanwhile, which is right for a store that is away for a moment, and looks like a program
//! that hangs when the endpoint is wrong.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use object_store::client::{ClientOptions, HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector};
use tokio::time::{Instant, timeout};

use crate::requests::{Asked, outcome};

/// After so long without the head of an answer it is said.
const SILENT: Duration = Duration::from_secs(4);

/// And not again for so long: one that is away is asked by many at once.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Connects as usual, to clients that say so when a server is silent.
#[derive(Debug, Default)]
pub(crate) struct Watched;

impl HttpConnector for Watched {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Service { client, said: Mutex::new(None) }))
    }
}

#[derive(Debug)]
struct Service {
    client: HttpClient,
    said: Mutex<Option<Instant>>,
}

impl Service {
    /// Whether it is time to say so again.
    fn is_due(&self) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let due = said.is_none_or(|at| at.elapsed() >= SAID_EVERY);
        if due {
            *said = Some(Instant::now());
        }
        due
    }
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut asked = Asked::of(&request);
        let answer = self.answered(request).await;
        if let Ok(answer) = &answer {
            asked.outcome = outcome(answer);
        }
        answer
    }
}

impl Service {
    async fn answered(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let answer = self.client.execute(request);
        tokio::pin!(answer);
        if let Ok(answer) = timeout(SILENT, &mut answer).await {
            return answer;
        }
        if self.is_due() {
            tracing::warn!("no answer from the object store at {authority} for {} s; still trying", SILENT.as_secs());
        }
        answer.await
    }
}
