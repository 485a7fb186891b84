//! Brings an archive from a mirror to a file, and believes it only if its checksum is right.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, Response, Url};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::release::Archive;
use super::{InstallError, Progress};

/// How long a server may take to accept a connection, and to send the next bytes.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
const READ_LIMIT: Duration = Duration::from_secs(60);

/// Downloads `archive` from below `mirror` into `file`, and again after each of `pauses` if the network is to blame.
pub(super) async fn download(
    mirror: &str,
    archive: &Archive,
    file: &Path,
    pauses: &[Duration],
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), InstallError> {
    let address = format!("{}/{}", mirror.trim_end_matches('/'), archive.path);
    let url = Url::parse(&address).map_err(|error| InstallError::Mirror { url: address.clone(), reason: error.to_string() })?;
    let mut pauses = pauses.iter();
    loop {
        let error = match attempt(&url, archive, file, progress).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let Some(pause) = pauses.next().filter(|_| is_passing(&error)) else { return Err(error) };
        tracing::warn!(%error, ?pause, "the download failed; trying again");
        sleep(*pause).await;
    }
}

async fn attempt(url: &Url, archive: &Archive, file: &Path, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<(), InstallError> {
    let mut source = Source::open(url).await?;
    let total = source.length();
    let mut into = File::create(file).await.map_err(|source| InstallError::io("create", file, source))?;
    let mut hash = Sha256::new();
    let mut received = 0;
    progress(Progress::Download { received, total });
    while let Some(chunk) = source.next(url).await? {
        hash.update(&chunk);
        into.write_all(&chunk).await.map_err(|source| InstallError::io("write", file, source))?;
        received += chunk.len() as u64;
        progress(Progress::Download { received, total });
    }
    into.flush().await.map_err(|source| InstallError::io("write", file, source))?;
    let found = hex::encode(hash.finalize());
    if found == archive.sha256 {
        Ok(())
    } else {
        Err(InstallError::Checksum { url: url.to_string(), expected: archive.sha256.clone(), found })
    }
}

/// Whether another attempt may help.
fn is_passing(error: &InstallError) -> bool {
    match error {
        InstallError::Network { .. } => true,
        InstallError::Status { status, .. } => *status == 429 || *status >= 500,
        _ => false,
    }
}

/// Where bytes come from.
enum Source {
    Web(Response),
    File(File, Option<u64>),
}

impl Source {
    async fn open(url: &Url) -> Result<Self, InstallError> {
        let unusable = |reason: &str| InstallError::Mirror { url: url.to_string(), reason: reason.to_owned() };
        match url.scheme() {
            "file" => {
                let path = url.to_file_path().map_err(|()| unusable("not a path of this machine"))?;
                let file = File::open(&path).await.map_err(|source| InstallError::io("read", &path, source))?;
                let length = file.metadata().await.ok().map(|metadata| metadata.len());
                Ok(Self::File(file, length))
            }
            "http" | "https" => {
                let failed = |source| InstallError::Network { url: url.to_string(), source };
                let mut client = Client::builder().connect_timeout(CONNECT_LIMIT).read_timeout(READ_LIMIT);
                if matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]")) {
                    client = client.no_proxy();
                }
                let response = client.build().map_err(failed)?.get(url.clone()).send().await.map_err(failed)?;
                match response.status() {
                    status if status.is_success() => Ok(Self::Web(response)),
                    status => Err(InstallError::Status { url: url.to_string(), status: status.as_u16() }),
                }
            }
            _ => Err(unusable("only https, http and file addresses are known")),
        }
    }

    fn length(&self) -> Option<u64> {
        match self {
            Self::Web(response) => response.content_length(),
            Self::File(_, length) => *length,
        }
    }

    async fn next(&mut self, url: &Url) -> Result<Option<Bytes>, InstallError> {
        match self {
            Self::Web(response) => response.chunk().await.map_err(|source| InstallError::Network { url: url.to_string(), source }),
            Self::File(file, _) => {
                let mut chunk = Vec::with_capacity(1 << 16);
                let length = file.read_buf(&mut chunk).await.map_err(|source| InstallError::io("read", Path::new(url.path()), source))?;
                Ok((length > 0).then(|| chunk.into()))
            }
        }
    }
}
