//! Snapshots of schemas: stored once, compared with that of the run before.

use bytes::Bytes;

use crate::documents::{FactsStore, from_json, sha256_hex, to_json};
use crate::model::{Current, SchemaDelta, SchemaRecord, SchemaSnapshot};
use crate::names::{RunId, keys};
use crate::{LandingError, Result};

impl FactsStore {
    /// The snapshot of that digest, if it is there and is what its name says.
    ///
    /// # Errors
    /// If the store fails or holds something else than a snapshot.
    pub async fn schema_snapshot(&self, digest: &str) -> Result<Option<SchemaSnapshot>> {
        let key = keys::schema(digest);
        let Some(bytes) = self.bytes(&key).await? else { return Ok(None) };
        if sha256_hex(&bytes) != digest {
            return Ok(None);
        }
        from_json("schema snapshot", &key, &bytes).map(Some)
    }

    /// Stores a snapshot unless it is there, and compares it with that of the run that is current.
    pub(crate) async fn record_schema(&self, snapshot: &SchemaSnapshot, parent: Option<&Current>) -> Result<SchemaRecord> {
        let bytes: Bytes = to_json("schema snapshot", "", snapshot)?;
        let digest = sha256_hex(&bytes);
        self.create(&keys::schema(&digest), bytes).await?;
        let delta = match parent {
            Some(parent) => self.delta_since(&parent.run_id, snapshot).await?,
            None => SchemaDelta::default(),
        };
        Ok(SchemaRecord { snapshot: digest, delta })
    }

    /// What has changed since a run; nothing if that run has recorded no snapshot, or it was lost.
    async fn delta_since(&self, run: &RunId, snapshot: &SchemaSnapshot) -> Result<SchemaDelta> {
        let before = match self.committed(run).await {
            Err(LandingError::OlderLayout { .. }) => None,
            document => document?,
        };
        let Some(record) = before.and_then(|document| document.schema) else {
            return Ok(SchemaDelta::default());
        };
        match self.schema_snapshot(&record.snapshot).await? {
            Some(before) => Ok(snapshot.delta(run, &before)),
            None => {
                tracing::warn!(%run, snapshot = record.snapshot, "the schema snapshot of the run before is gone; no delta is recorded");
                Ok(SchemaDelta::default())
            }
        }
    }
}
