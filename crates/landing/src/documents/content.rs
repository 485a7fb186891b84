//! Documents as bytes, and errors of stores about them.

use bytes::Bytes;
use object_store::Error as E;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::{LandingError, Result};

pub(crate) fn store_error(operation: &'static str, key: &str, source: E) -> LandingError {
    LandingError::Store { operation, key: key.to_owned(), source }
}

pub(crate) fn to_json<T: Serialize>(what: &'static str, key: &str, value: &T) -> Result<Bytes> {
    let bytes = serde_json::to_vec(value).map_err(|source| LandingError::Corrupt { what, key: key.to_owned(), source })?;
    Ok(bytes.into())
}

pub(crate) fn from_json<T: DeserializeOwned>(what: &'static str, key: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|source| LandingError::Corrupt { what, key: key.to_owned(), source })
}

/// SHA-256 of `bytes`, lower hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
