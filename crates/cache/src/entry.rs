//! The file of one entry: a header, the digest of key and value, the value compressed by zstd.
//!
//! ```text
//! 0  8  magic and version        8  8  length of the value, little-endian
//! 16 32 SHA-256 over the key, bytes 0 to 16, and the compressed value
//! 48 …  the compressed value
//! ```

use sha2::{Digest, Sha256};

/// Magic number of the files, with the version of this layout.
const MAGIC: &[u8; 8] = b"bfcache1";
const HEADER: usize = 48;

/// Level of zstd: values are read far more often than written, but writing delays the job.
const LEVEL: i32 = 1;

/// The file of `value` under `key`; `None` if it cannot be compressed, which only a lack of memory brings about.
pub(crate) fn encode(key: &[u8; 32], value: &[u8]) -> Option<Vec<u8>> {
    let compressed = zstd::bulk::compress(value, LEVEL).ok()?;
    let length = (value.len() as u64).to_le_bytes();
    let mut file = Vec::with_capacity(HEADER + compressed.len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&length);
    file.extend_from_slice(&digest(key, &length, &compressed));
    file.extend_from_slice(&compressed);
    Some(file)
}

/// The value in `file`, if the file is whole and was written for `key`.
pub(crate) fn decode(key: &[u8; 32], file: &[u8]) -> Option<Vec<u8>> {
    let rest = file.strip_prefix(MAGIC)?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let (expected, compressed) = rest.split_first_chunk::<32>()?;
    // First of all, so that nothing is allocated on the word of a damaged header.
    if digest(key, length, compressed) != *expected {
        return None;
    }
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let value = zstd::bulk::decompress(compressed, length).ok()?;
    (value.len() == length).then_some(value)
}

fn digest(key: &[u8; 32], length: &[u8; 8], compressed: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(key);
    hasher.update(MAGIC);
    hasher.update(length);
    hasher.update(compressed);
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn a_value_comes_back() {
        for value in [b"".to_vec(), b"x".to_vec(), vec![0; 1 << 20], (0..=255).cycle().take(70_000).collect()] {
            let file = encode(&KEY, &value).unwrap();
            assert_eq!(decode(&KEY, &file).unwrap(), value);
        }
    }

    #[test]
    fn any_damage_is_noticed() {
        let file = encode(&KEY, b"some value, some value, some value").unwrap();
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert!(decode(&KEY, &damaged).is_none(), "byte {at}");
            assert!(decode(&KEY, &file[..at]).is_none(), "cut at {at}");
        }
        let mut longer = file;
        longer.push(0);
        assert!(decode(&KEY, &longer).is_none());
    }

    #[test]
    fn a_file_of_another_key_is_foreign() {
        let file = encode(&KEY, b"value").unwrap();
        assert!(decode(&[8; 32], &file).is_none());
    }
}
