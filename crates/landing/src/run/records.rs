//! Records of finished bins: created once, so that of any number of attempts at a bin one counts.

use bytes::Bytes;
use futures::TryStreamExt as _;

use crate::data::BinWriter;
use crate::documents::{Created, FactsStore, compress, from_json, plain, sha256_hex, store_error, to_json};
use crate::model::{BinRecord, BinStats, Origin, RepoDigests};
use crate::names::{RunId, keys};
use crate::{LandingError, Result};

impl BinWriter {
    /// Completes all files and records the bin, which has `expected` source files.
    ///
    /// If another attempt was first, its record is returned and the files of this one are deleted: compare
    /// [`BinRecord::attempt`].
    ///
    /// # Errors
    /// If rows, figures and digests are not one for each file of the bin: a record is created once, so that a wrong one could never be mended.
    /// Or if the store fails. The attempt is aborted then, unless its record may have been created in spite of the error.
    pub async fn finish(mut self, expected: u64, stats: BinStats, digests: Vec<RepoDigests>) -> Result<BinRecord> {
        let completed = self.complete(stats, digests).await.and_then(|record| check(&record, expected).map(|()| record));
        let record = match completed {
            Ok(record) => record,
            Err(error) => {
                self.abort().await;
                return Err(error);
            }
        };
        let attempt = record.attempt.clone();
        let recorded = self.facts().record(record).await?;
        if recorded.attempt != attempt {
            self.abort().await;
        }
        Ok(recorded)
    }
}

impl FactsStore {
    /// The record of a bin, if it is finished.
    ///
    /// # Errors
    /// If the store fails or holds something else than a record.
    pub async fn bin_record(&self, run: &RunId, bin_id: u32) -> Result<Option<BinRecord>> {
        Ok(self.record_and_digests(run, bin_id).await?.map(|(record, _)| record))
    }

    /// The record of a finished bin; if it was taken over, also the digests, which stand in the record of its origin.
    pub(crate) async fn record_and_digests(&self, run: &RunId, bin_id: u32) -> Result<Option<(BinRecord, Option<Vec<RepoDigests>>)>> {
        match self.bytes(&keys::done(run, bin_id)).await? {
            Some(bytes) => self.standing(run, bin_id, bytes).await.map(Some),
            None => Ok(None),
        }
    }

    /// Finished bins of a run, ascending.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn finished_bins(&self, run: &RunId) -> Result<Vec<u32>> {
        let folder = keys::done_folder(run);
        let prefix = self.path_of(&folder)?;
        let records = self.store().list(Some(&prefix));
        let mut bins: Vec<u32> = records
            .try_filter_map(async |meta| Ok(meta.location.filename().and_then(keys::bin_of_record)))
            .try_collect()
            .await
            .map_err(|source| store_error("list", &folder, source))?;
        bins.sort_unstable();
        Ok(bins)
    }

    /// Records a bin unless it is recorded; the record that stands is returned.
    pub(crate) async fn record(&self, record: BinRecord) -> Result<BinRecord> {
        let (run, bin_id) = (&record.run_id, record.bin_id);
        let key = keys::done(run, bin_id);
        let json = if record.origin.is_some() { json(&record.reference())? } else { json(&record)? };
        match self.create(&key, compress(&json, &key)?.into()).await? {
            Created::New => Ok(record),
            Created::Existing(found) => self.standing(run, bin_id, found).await.map(|(record, _)| record),
        }
    }

    /// The whole record of a bin whose document this is; if it was taken over, with the digests of its origin's record.
    async fn standing(&self, run: &RunId, bin_id: u32, document: Bytes) -> Result<(BinRecord, Option<Vec<RepoDigests>>)> {
        let key = keys::done(run, bin_id);
        let record = parsed(&plain(document, &key)?, &key)?;
        let Some(origin) = &record.origin else { return Ok((record, None)) };
        let of_origin = self.origin(origin).await?;
        // What earlier versions wrote is whole as it is.
        let record = if record.files.is_empty() { record.of_origin(&of_origin) } else { record };
        Ok((record, Some(of_origin.digests)))
    }

    /// The record that an origin speaks of, which must be the very one.
    pub(crate) async fn origin(&self, origin: &Origin) -> Result<BinRecord> {
        let key = keys::done(&origin.run_id, origin.bin_id);
        let damaged = |reason: &str| LandingError::Damaged { key: key.clone(), reason: reason.to_owned() };
        let json = plain(self.bytes(&key).await?.ok_or_else(|| damaged("it is gone"))?, &key)?;
        if sha256_hex(&json) != origin.sha256 {
            return Err(damaged("it is not the record that the bin was taken over from"));
        }
        parsed(&json, &key)
    }
}

/// A record as JSON, by whose digest others refer to it.
pub(super) fn json(record: &BinRecord) -> Result<Bytes> {
    to_json("bin record", &keys::done(&record.run_id, record.bin_id), record)
}

fn parsed(json: &[u8], key: &str) -> Result<BinRecord> {
    sound(from_json("bin record", key, json)?, key)
}

/// What is read is anybody's: its figures are added here and there, and must let themselves be.
fn sound(record: BinRecord, key: &str) -> Result<BinRecord> {
    if record.adds_up() {
        return Ok(record);
    }
    Err(LandingError::Damaged { key: key.to_owned(), reason: "its figures are beyond all numbers when they are added".to_owned() })
}

/// Files listed = files taken in = rows written = digests taken.
pub(crate) fn check(record: &BinRecord, expected: u64) -> Result<()> {
    let digests: u64 = record.digests.iter().map(|r| r.files.len() as u64).sum();
    let (rows, taken) = (record.rows(), record.stats.files);
    if rows == expected && taken == expected && (digests == expected || record.origin.is_some()) {
        return Ok(());
    }
    let reason = format!("{expected} files listed, {taken} taken in, {rows} rows, {digests} digests");
    Err(LandingError::Record { bin_id: record.bin_id, reason })
}
