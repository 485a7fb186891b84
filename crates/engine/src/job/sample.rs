//! Which files an oracle judges.

use serde::{Deserialize, Serialize};

/// The part of all files that is judged, from 0 (none) to 1 (all).
///
/// Whether a file is in the sample is decided by its content and the rate alone, not by where, when or beside what it is analysed:
/// copies are all in or all out, and a sample is part of every larger one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct SampleRate(f64);

/// A number that is no rate.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} is no rate: it is 0 (no file), 1 (every file), or a number between them")]
pub struct NoRate(f64);

impl SampleRate {
    /// Whether a file of this SHA-256 is in the sample.
    #[must_use]
    pub fn takes(self, sha256: &[u8; 32]) -> bool {
        let [a, b, c, d, ..] = *sha256;
        // 32 bits are exact in an f64, so that every node decides alike.
        f64::from(u32::from_be_bytes([a, b, c, d])) < self.0 * f64::from(u32::MAX) + self.0
    }

    /// Whether the sample is empty.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0.0
    }
}

impl Eq for SampleRate {}

impl TryFrom<f64> for SampleRate {
    type Error = NoRate;

    fn try_from(rate: f64) -> Result<Self, NoRate> {
        if (0.0..=1.0).contains(&rate) { Ok(Self(rate)) } else { Err(NoRate(rate)) }
    }
}

impl From<SampleRate> for f64 {
    fn from(rate: SampleRate) -> Self {
        rate.0
    }
}

impl std::str::FromStr for SampleRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rate: f64 = text.parse().map_err(|_| format!("{text} is no number"))?;
        Self::try_from(rate).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn rate(rate: f64) -> SampleRate {
        SampleRate::try_from(rate).unwrap()
    }

    #[test]
    fn nothing_and_everything_are_exact() {
        for sha256 in [[0; 32], [0xff; 32]] {
            assert!(!rate(0.0).takes(&sha256));
            assert!(rate(1.0).takes(&sha256));
        }
    }

    #[test]
    fn a_sample_is_about_its_rate_and_part_of_every_larger_one() {
        let files: Vec<[u8; 32]> = (0..10_000_u32).map(|n| Sha256::digest(n.to_be_bytes()).into()).collect();
        let taken = |part: f64| files.iter().filter(|file| rate(part).takes(file)).collect::<Vec<_>>();
        for part in [0.01_f64, 0.1, 0.5, 0.9] {
            let expected = part * 10_000.0;
            let spread = 4.0 * (expected * (1.0 - part)).sqrt();
            let found = taken(part);
            assert!((found.len() as f64 - expected).abs() < spread, "{} of 10,000 at {part}", found.len());
            assert!(found.iter().all(|file| rate(part + 0.05).takes(file)));
        }
    }

    #[test]
    fn what_is_no_rate_is_refused_with_the_reason() {
        for (text, reason) in [("1.1", "between"), ("-0.1", "between"), ("NaN", "between"), ("half", "no number")] {
            let error = text.parse::<SampleRate>().unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        assert!(serde_json::from_str::<SampleRate>("2").is_err());
        assert_eq!(serde_json::to_string(&rate(0.25)).unwrap(), "0.25");
    }
}
