//! Names of runs and of attempts: text that is safe in a path segment on every store.

use std::fmt;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Longest run id, in bytes.
pub const MAX_RUN_ID: usize = 100;

/// Longest attempt id, in bytes.
pub const MAX_ATTEMPT_ID: usize = 40;

/// Why a text cannot name a run or an attempt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing at all.
    #[error("a {kind} id must not be empty")]
    Empty {
        /// `run` or `attempt`.
        kind: &'static str,
    },
    /// More bytes than fit beside the rest of a file name.
    #[error("a {kind} id has at most {limit} characters, this one has {length}: {text:?}")]
    TooLong {
        /// `run` or `attempt`.
        kind: &'static str,
        /// The limit, in bytes.
        limit: usize,
        /// The length found, in bytes.
        length: usize,
        /// The text.
        text: String,
    },
    /// A character that some store or file system treats specially.
    #[error("a {kind} id starts with an ASCII letter or digit and holds only letters, digits and {allowed:?}: {text:?}")]
    Characters {
        /// `run` or `attempt`.
        kind: &'static str,
        /// What is allowed beside letters and digits.
        allowed: &'static str,
        /// The text.
        text: String,
    },
}

/// Name of a run: 1 to 100 ASCII letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// Checks `text`.
    ///
    /// # Errors
    /// If it is empty, too long, or holds a character that is not safe in a path segment.
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        check("run", &text, MAX_RUN_ID, "-_.")?;
        Ok(Self(text))
    }

    /// An id that sorts by time: `20251122T173500Z-1a2b3c4d`. The caller brings time and randomness.
    pub fn generate(now: SystemTime, random: u32) -> Self {
        Self(format!("{}-{random:08x}", DateTime::<Utc>::from(now).format("%Y%m%dT%H%M%SZ")))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Name of one attempt at one bin: letters, digits, `_` and `.`; no `-`, which separates the parts of a file name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttemptId(String);

impl AttemptId {
    /// Checks `text`.
    ///
    /// # Errors
    /// As [`RunId::new`].
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        check("attempt", &text, MAX_ATTEMPT_ID, "_.")?;
        Ok(Self(text))
    }

    /// An id from 128 bits of randomness, so that no two attempts ever share one.
    pub fn from_random(random: u128) -> Self {
        Self(format!("{random:032x}"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(kind: &'static str, text: &str, limit: usize, allowed: &'static str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { kind });
    }
    if text.len() > limit {
        return Err(IdError::TooLong { kind, limit, length: text.len(), text: text.to_owned() });
    }
    let safe = text.chars().all(|c| c.is_ascii_alphanumeric() || allowed.contains(c));
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if safe && starts_well { Ok(()) } else { Err(IdError::Characters { kind, allowed, text: text.to_owned() }) }
}

macro_rules! text_id {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

text_id!(RunId);
text_id!(AttemptId);

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_run_id_is_safe_text() {
        for good in ["a", "nightly-2025.11_22", &"x".repeat(MAX_RUN_ID)] {
            assert_eq!(RunId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "-a", "a/b", "a b", "a%", "é", "a\n", "#1"] {
            assert!(RunId::new(bad).is_err(), "{bad:?}");
        }
        assert!(RunId::new("x".repeat(MAX_RUN_ID + 1)).is_err());
    }

    #[test]
    fn an_attempt_id_holds_no_separator() {
        assert!(AttemptId::new("3f.2_a").is_ok());
        assert!(AttemptId::new("3f-2").is_err());
        assert!(AttemptId::new(AttemptId::from_random(u128::MAX).as_str()).is_ok());
    }

    #[test]
    fn generated_ids_carry_the_time_in_utc() {
        for (seconds, text) in [
            (0, "19700101T000000Z-00000007"),
            (951_782_399, "20000228T235959Z-00000007"),
            (951_782_400, "20000229T000000Z-00000007"),
            (1_763_833_333, "20251122T174213Z-00000007"),
            (4_107_542_400, "21000301T000000Z-00000007"),
        ] {
            let id = RunId::generate(UNIX_EPOCH + Duration::from_secs(seconds), 7);
            assert_eq!(id.as_str(), text);
            assert!(RunId::new(text).is_ok());
        }
    }

    #[test]
    fn ids_are_checked_when_read() {
        assert!(serde_json::from_str::<RunId>(r#""ok""#).is_ok());
        assert!(serde_json::from_str::<RunId>(r#""../x""#).is_err());
    }
}
