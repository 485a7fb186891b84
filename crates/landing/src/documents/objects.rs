//! Documents in an object store: conditional puts.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error as E, ObjectStore, ObjectStoreExt as _, PutMode, UpdateVersion};

use super::content::{from_json, store_error, to_json};
use super::{Documents, Mode};
use crate::model::Current;
use crate::names::keys;
use crate::{LandingError, Result};

/// A root in an object store.
#[derive(Clone, Debug)]
pub(crate) struct Objects {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) root: Path,
}

impl Objects {
    pub(crate) async fn put(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<(), E> {
        let path = keys::under(&self.root, key)?;
        let put = self.store.put_opts(&path, bytes.into(), mode.into());
        put.await.map(drop)
    }

    /// An object and its version, if it is there.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<(Bytes, UpdateVersion)>> {
        let failed = |source| store_error("read", key, source);
        let path = keys::under(&self.root, key).map_err(|source| failed(source.into()))?;
        let object = match self.store.get(&path).await {
            Err(E::NotFound { .. }) => return Ok(None),
            object => object.map_err(failed)?,
        };
        let version = UpdateVersion { e_tag: object.meta.e_tag.clone(), version: object.meta.version.clone() };
        let bytes = object.bytes().await.map_err(failed)?;
        Ok(Some((bytes, version)))
    }
}

#[async_trait]
impl Documents for Objects {
    fn check_writable(&self) -> Result<()> {
        Ok(())
    }

    async fn create(&self, key: &str, bytes: Bytes) -> Result<bool> {
        match self.put(key, bytes, PutMode::Create).await {
            Ok(()) => Ok(true),
            Err(E::AlreadyExists { .. } | E::Precondition { .. }) => Ok(false),
            Err(error) => Err(store_error("create", key, error)),
        }
    }

    async fn advance(&self, next: &Current) -> Result<Current> {
        const ATTEMPTS: u32 = 20;
        let bytes = to_json("current run", keys::CURRENT, next)?;
        for _ in 0..ATTEMPTS {
            let found = self.get(keys::CURRENT).await?;
            let mode = match &found {
                None => PutMode::Create,
                Some((found, version)) => {
                    let found: Current = from_json("current run", keys::CURRENT, found)?;
                    if found.order() >= next.order() {
                        return Ok(found);
                    }
                    PutMode::Update(version.clone())
                }
            };
            match self.put(keys::CURRENT, bytes.clone(), mode).await {
                Err(E::AlreadyExists { .. } | E::Precondition { .. }) => {}
                // No conditional replacement here: write, and look again in the next round.
                Err(E::NotImplemented { .. } | E::NotSupported { .. }) => {
                    let put = self.put(keys::CURRENT, bytes.clone(), PutMode::Overwrite);
                    put.await.map_err(|e| store_error("replace", keys::CURRENT, e))?;
                }
                Ok(()) => return Ok(next.clone()),
                Err(error) => return Err(store_error("replace", keys::CURRENT, error)),
            }
        }
        Err(LandingError::Contended { run_id: next.run_id.clone(), attempts: ATTEMPTS })
    }

    async fn sync(&self, _: &str) -> Result<()> {
        Ok(())
    }

    async fn remove_staged(&self, _: SystemTime, _: Duration, _: Mode) -> Result<u64> {
        Ok(0) // a lifecycle rule removes incomplete uploads
    }
}
