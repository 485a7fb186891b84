//! An object store in which one request goes wrong.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// How a request goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request does not arrive.
    Refused,
    /// The request is carried out, but its answer does not arrive.
    AnswerLost,
    /// Neither this request nor any later one arrives, as if the caller had died.
    Dead,
    /// Every create-only put overwrites, as some stores do that do not know of conditions.
    Overwrites,
    /// No create-only put is understood.
    NoCreate,
    /// Create-only puts find an object that is not there when it is read.
    Ghosts,
}

#[derive(Clone, Debug)]
pub struct Faulty {
    inner: Arc<dyn ObjectStore>,
    fault: Fault,
    /// The request that goes wrong, from 1.
    at: usize,
    requests: Arc<AtomicUsize>,
}

/// What becomes of a request.
enum Course {
    Through,
    Fails,
    LosesAnswer,
}

impl Faulty {
    pub fn new(inner: Arc<dyn ObjectStore>, fault: Fault, at: usize) -> Self {
        Self { inner, fault, at, requests: Arc::default() }
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn course(&self) -> Course {
        let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        match self.fault {
            Fault::Refused if number == self.at => Course::Fails,
            Fault::AnswerLost if number == self.at => Course::LosesAnswer,
            Fault::Dead if number >= self.at => Course::Fails,
            _ => Course::Through,
        }
    }

    async fn request<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match self.course() {
            Course::Through => work.await,
            Course::Fails => Err(injected()),
            Course::LosesAnswer => {
                let _ = work.await;
                Err(injected())
            }
        }
    }

    fn stream<T: Send + 'static>(&self, work: BoxStream<'static, Result<T>>) -> BoxStream<'static, Result<T>> {
        match self.course() {
            Course::Through => work,
            Course::Fails => stream::once(async { Err(injected()) }).boxed(),
            Course::LosesAnswer => {
                work.chain(stream::once(async { Err(injected()) })).filter(|item| futures::future::ready(item.is_err())).boxed()
            }
        }
    }
}

fn injected() -> Error {
    Error::Generic { store: "faulty", source: "injected fault".into() }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, mut how: PutOptions) -> Result<PutResult> {
        match (self.fault, &how.mode) {
            (Fault::Overwrites, PutMode::Create) => how.mode = PutMode::Overwrite,
            (Fault::NoCreate, PutMode::Create) => {
                return Err(Error::NotImplemented { operation: "put".into(), implementer: "faulty".into() });
            }
            (Fault::Ghosts, PutMode::Create) => {
                return Err(Error::AlreadyExists { path: at.to_string(), source: "a ghost".into() });
            }
            _ => {}
        }
        self.request(self.inner.put_opts(at, bytes, how)).await
    }

    async fn put_multipart_opts(&self, at: &Path, how: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.request(self.inner.put_multipart_opts(at, how)).await?;
        Ok(Box::new(FaultyUpload { store: self.clone(), upload }))
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.request(self.inner.get_opts(at, how)).await
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.request(self.inner.get_ranges(at, ranges)).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.stream(self.inner.delete_stream(paths))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.stream(self.inner.list(prefix))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.request(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.request(self.inner.copy_opts(from, to, how)).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    store: Faulty,
    upload: Box<dyn MultipartUpload>,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, bytes: PutPayload) -> UploadPart {
        let part = self.upload.put_part(bytes);
        let store = self.store.clone();
        async move { store.request(part).await }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.store.request(self.upload.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.store.request(self.upload.abort()).await
    }
}
