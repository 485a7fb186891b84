//! Documents as bytes, and errors of stores about them.

use std::io::Read as _;

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

/// What no document takes decompressed: more is damage, or an attack.
pub(crate) const MAX_BYTES: u64 = 1 << 30;

/// Low: names compress well at any level, digests at none.
const ZSTD_LEVEL: i32 = 3;

/// How what [`compress`] gives begins, and no JSON.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Compresses a document or a part of one; `key` says of what.
pub(crate) fn compress(bytes: &[u8], key: &str) -> Result<Vec<u8>> {
    zstd::bulk::compress(bytes, ZSTD_LEVEL).map_err(|source| LandingError::Io { operation: "compress", path: key.to_owned(), source })
}

/// Decompresses what [`compress`] gave, and refuses what grows beyond all measure.
pub(crate) fn decompress(bytes: &[u8], key: &str) -> Result<Vec<u8>> {
    let damaged = |reason: String| LandingError::Damaged { key: key.to_owned(), reason };
    let decoder = zstd::stream::read::Decoder::new(bytes).map_err(|error| damaged(error.to_string()))?;
    let mut plain = Vec::new();
    decoder.take(MAX_BYTES + 1).read_to_end(&mut plain).map_err(|error| damaged(error.to_string()))?;
    if plain.len() as u64 > MAX_BYTES {
        return Err(damaged(format!("it holds more than {MAX_BYTES} bytes")));
    }
    Ok(plain)
}

/// The JSON of a document that is compressed, or was written before such documents were.
pub(crate) fn plain(bytes: Bytes, key: &str) -> Result<Bytes> {
    if bytes.starts_with(&ZSTD_MAGIC) { decompress(&bytes, key).map(Bytes::from) } else { Ok(bytes) }
}

/// SHA-256 of `bytes`, lower hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_comes_back_and_damage_is_none() {
        let bytes = compress(b"a line\n", "k").unwrap();
        assert_eq!(decompress(&bytes, "k").unwrap(), b"a line\n");
        assert!(matches!(decompress(&bytes[..bytes.len() - 1], "k"), Err(LandingError::Damaged { .. })));
        assert!(matches!(decompress(b"no frame", "k"), Err(LandingError::Damaged { .. })));
    }

    #[test]
    fn a_document_is_read_compressed_and_as_it_was_written_before() {
        let json = Bytes::from_static(b"{\"a\":1}");
        assert_eq!(plain(json.clone(), "k").unwrap(), json);
        assert_eq!(plain(compress(&json, "k").unwrap().into(), "k").unwrap(), json);
    }
}
