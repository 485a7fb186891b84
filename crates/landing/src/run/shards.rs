//! Lists too long for one object, in shards of their own.
//!
//! A shard holds JSON lines, compressed, and is named by whoever writes it, so that nobody else can. A shard that an earlier
//! run has written byte for byte is named in the place of a copy: of an unchanged corpus little more than a header is new, and of one in which
//! a few entries have changed little more than the shards that these stand in, since lists are cut where their content says so.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cuts::Cuts;
use crate::documents::{CONCURRENCY, Created, FactsStore, compress, decompress, from_json, sha256_hex};
use crate::model::Shard;
use crate::names::{AttemptId, keys};
use crate::{LandingError, Result};

/// Bytes of JSON that the first shards of a list have on average: some 16 KiB when they are compressed.
const SHARD_BYTES: u64 = 64 << 10;

/// Shards that earlier runs have written, by their digests.
pub(crate) type Known = BTreeMap<String, Shard>;

/// Of these shards, those to be named again where they are the same.
pub(crate) fn known<'a>(shards: impl IntoIterator<Item = &'a Shard>) -> Known {
    shards.into_iter().map(|shard| (shard.sha256.clone(), shard.clone())).collect()
}

/// Where the shards of a list go, and whose they are.
pub(crate) struct ShardStore<'a> {
    pub(crate) facts: &'a FactsStore,
    pub(crate) folder: String,
    pub(crate) attempt: AttemptId,
    pub(crate) kind: &'static str,
    pub(crate) known: Known,
}

impl ShardStore<'_> {
    /// Stores a shard unless it is known. `number` is its place in the list.
    pub(crate) async fn put(&self, number: usize, bytes: Vec<u8>, entries: u64) -> Result<Shard> {
        let sha256 = sha256_hex(&bytes);
        if let Some(known) = self.known.get(&sha256) {
            return Ok(known.clone());
        }
        let key = keys::shard(&self.folder, &self.attempt, self.kind, number);
        let size = bytes.len() as u64;
        match self.facts.create(&key, bytes.into()).await? {
            Created::New => {}
            // Also after a first try that succeeded, but whose answer was lost.
            Created::Existing(found) if sha256_hex(&found) == sha256 => {}
            Created::Existing(_) => return Err(LandingError::Damaged { key, reason: "somebody else has written it".to_owned() }),
        }
        Ok(Shard { key, bytes: size, sha256, entries })
    }
}

/// Writes a list of entries as shards.
pub(crate) struct ShardWriter<'a> {
    store: ShardStore<'a>,
    shards: Vec<Shard>,
    cuts: Cuts,
    lines: Vec<u8>,
    entries: u64,
}

impl<'a> ShardWriter<'a> {
    pub(crate) fn new(store: ShardStore<'a>) -> Self {
        Self { store, shards: Vec::new(), cuts: Cuts::new(SHARD_BYTES), lines: Vec::new(), entries: 0 }
    }

    /// Appends an entry.
    pub(crate) async fn push<T: Serialize>(&mut self, entry: &T) -> Result<()> {
        let failed = |source| LandingError::Corrupt { what: "shard", key: self.store.folder.clone(), source };
        let start = self.lines.len();
        serde_json::to_writer(&mut self.lines, entry).map_err(failed)?;
        self.lines.push(b'\n');
        self.entries += 1;
        if self.cuts.after(&self.lines[start..]) { self.close().await } else { Ok(()) }
    }

    async fn close(&mut self) -> Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let bytes = compress(&self.lines, &self.store.folder)?;
        self.lines.clear();
        let shard = self.store.put(self.shards.len(), bytes, std::mem::take(&mut self.entries)).await?;
        self.shards.push(shard);
        Ok(())
    }

    /// The shards, in order.
    pub(crate) async fn finish(mut self) -> Result<Vec<Shard>> {
        self.close().await?;
        Ok(self.shards)
    }
}

impl FactsStore {
    /// The entries of all shards, in order; each object is fetched once.
    pub(crate) async fn read_shards<T: DeserializeOwned>(&self, shards: &[Shard]) -> Result<Vec<T>> {
        let parts: Vec<Vec<T>> = futures::stream::iter(shards.to_vec())
            .map(|shard| async move { self.read_shard(&shard).await })
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// The entries of a shard.
    pub(crate) async fn read_shard<T: DeserializeOwned>(&self, shard: &Shard) -> Result<Vec<T>> {
        let bytes = self.shard_bytes(shard).await?;
        let lines = decompress(&bytes, &shard.key)?;
        let lines = lines.split(|&b| b == b'\n').filter(|line| !line.is_empty());
        let entries: Vec<T> = lines.map(|line| from_json("shard", &shard.key, line)).collect::<Result<_>>()?;
        if entries.len() as u64 == shard.entries {
            return Ok(entries);
        }
        let reason = format!("it has {} entries instead of {}", entries.len(), shard.entries);
        Err(LandingError::Damaged { key: shard.key.clone(), reason })
    }

    /// The bytes of a shard as they were written.
    pub(crate) async fn shard_bytes(&self, shard: &Shard) -> Result<Bytes> {
        let damaged = |reason: &str| LandingError::Damaged { key: shard.key.clone(), reason: reason.to_owned() };
        let bytes = self.bytes(&shard.key).await?.ok_or_else(|| damaged("it is gone"))?;
        if sha256_hex(&bytes) == shard.sha256 { Ok(bytes) } else { Err(damaged("its bytes are not those that were written")) }
    }
}
