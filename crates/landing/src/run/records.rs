//! Records of finished bins: created once, so that of any number of attempts at a bin one counts.

use futures::TryStreamExt as _;

use crate::data::BinWriter;
use crate::documents::{Created, FactsStore, from_json, sha256_hex, store_error, to_json};
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
        let key = keys::done(run, bin_id);
        self.document("bin record", &key).await?.map(|record| sound(record, &key)).transpose()
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
        let key = keys::done(&record.run_id, record.bin_id);
        let bytes = to_json("bin record", &key, &record)?;
        match self.create(&key, bytes).await? {
            Created::New => Ok(record),
            Created::Existing(found) => sound(from_json("bin record", &key, &found)?, &key),
        }
    }

    /// The digests of a recorded bin, which may stand in the record of the bin that it was taken over from.
    pub(crate) async fn digests_of(&self, record: &mut BinRecord) -> Result<Vec<RepoDigests>> {
        let Some(origin) = &record.origin else { return Ok(std::mem::take(&mut record.digests)) };
        let (of_origin, _) = self.origin(origin).await?;
        Ok(of_origin.digests)
    }

    /// The record that an origin speaks of, which must be the very one.
    pub(crate) async fn origin(&self, origin: &Origin) -> Result<(BinRecord, String)> {
        let key = keys::done(&origin.run_id, origin.bin_id);
        let damaged = |reason: &str| LandingError::Damaged { key: key.clone(), reason: reason.to_owned() };
        let bytes = self.bytes(&key).await?.ok_or_else(|| damaged("it is gone"))?;
        if sha256_hex(&bytes) != origin.sha256 {
            return Err(damaged("it is not the record that the bin was taken over from"));
        }
        Ok((sound(from_json("bin record", &key, &bytes)?, &key)?, key))
    }
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
