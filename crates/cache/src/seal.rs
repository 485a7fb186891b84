//! The seal of an entry in the shared tier: a keyed BLAKE2b over the key and the file, behind the file.
//!
//! The digest in an entry shows damage, and whoever may write to the store can digest too. A secret that the nodes have and the store has not
//! tells their entries from all others.

use std::fmt;

use blake2::Blake2bMac;
use blake2::digest::consts::U32;
use blake2::digest::{KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha512};

type Seal = Blake2bMac<U32>;

/// Bytes of a seal.
const SEAL: usize = 32;

/// A shorter secret could be guessed.
const LEAST: usize = 32;

/// What the nodes that share a tier know, and nobody else.
#[derive(Clone)]
pub struct Secret([u8; 64]);

/// A secret that is too short to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has {0} bytes, and {LEAST} are the least: `openssl rand -hex 32` makes a good one")]
pub struct ShortSecret(usize);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// The secret in the content of a file; white space around it does not count.
    ///
    /// # Errors
    /// When it has less than 32 bytes.
    pub fn new(content: &[u8]) -> Result<Self, ShortSecret> {
        let content = content.trim_ascii();
        if content.len() < LEAST {
            return Err(ShortSecret(content.len()));
        }
        Ok(Self(Sha512::digest(content).into()))
    }

    /// The file of the entry under `key`, sealed.
    pub(crate) fn seal(&self, key: &[u8; 32], mut file: Vec<u8>) -> Vec<u8> {
        let seal = self.over(key, &file).finalize().into_bytes();
        file.extend_from_slice(&seal);
        file
    }

    /// Bytes of the file in an object under `key`, if whoever sealed it had the secret.
    pub(crate) fn opened(&self, key: &[u8; 32], sealed: &[u8]) -> Option<usize> {
        let (file, seal) = sealed.split_at_checked(sealed.len().checked_sub(SEAL)?)?;
        self.over(key, file).verify_slice(seal).ok()?;
        Some(file.len())
    }

    fn over(&self, key: &[u8; 32], file: &[u8]) -> Seal {
        Seal::new(&self.0.into()).chain_update(b"bytefacts unit cache 1\n").chain_update(key).chain_update(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn secret(text: &str) -> Secret {
        Secret::new(text.repeat(8).as_bytes()).unwrap()
    }

    #[test]
    fn a_seal_holds_for_its_key_its_file_and_its_secret() {
        let sealed = secret("abcd").seal(&KEY, b"file".to_vec());
        assert_eq!(secret("abcd").opened(&KEY, &sealed), Some(4));
        assert_eq!(secret("abce").opened(&KEY, &sealed), None);
        assert_eq!(secret("abcd").opened(&[8; 32], &sealed), None);
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 1;
            assert_eq!(secret("abcd").opened(&KEY, &forged), None, "byte {at}");
            assert_eq!(secret("abcd").opened(&KEY, &sealed[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn a_secret_is_long_and_is_not_shown() {
        assert_eq!(Secret::new(b"  short\n").unwrap_err(), ShortSecret(5));
        let long = Secret::new(format!("{}\n", "x".repeat(32)).as_bytes()).unwrap();
        assert_eq!(long.0, Secret::new("x".repeat(32).as_bytes()).unwrap().0);
        assert_eq!(format!("{long:?}"), "Secret");
    }
}
