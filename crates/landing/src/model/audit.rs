//! What is written down about an audit of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::RunId;

/// The document `audits/<audit>/asked.json`: what an audit was asked to do, written before anything else, so that whoever comes after a process that
/// died finds what it was at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditAsked {
    /// The audit.
    pub audit: RunId,
    /// The run that it is of, which may have to be extracted first.
    pub run: RunId,
    /// The night.
    pub night: u64,
    /// Digest of all that was asked but for the night, and for the run where that was left to the audit: who asks for the same goes on with it.
    pub request: String,
    /// Whether the audit extracts the run itself.
    pub extracts: bool,
}

/// The document `audits/<audit>/audit.json`: small, and the last that is created. An audit that has it is concluded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHeader {
    /// The audit.
    pub audit: RunId,
    /// The run that it is of.
    pub run: RunId,
    /// The run's root digest.
    pub run_digest: String,
    /// The corpus, as the audit was given it.
    pub corpus: String,
    /// The night, by which samples rotate.
    pub night: u64,
    /// Which conditions and how much of the corpus, by name.
    pub preset: String,
    /// Whether nothing of the night's sample was left out for want of time.
    pub complete: bool,
    /// Whether all of the sample was derived again and nothing was found, allowed or not. What ended the command has no say in it.
    pub passed: bool,
    /// Whether it was of other conditions than its preset has, as someone looked for by hand: it says nothing of the preset's nights.
    #[serde(default)]
    pub by_hand: bool,
    /// Conditions.
    pub conditions: u64,
    /// Files of the run.
    pub files: u64,
    /// Those of the night's sample.
    pub sampled: u64,
    /// Those of them that were derived again.
    pub covered: u64,
    /// One for each file of the run and condition.
    pub verdicts: AuditCounts,
    /// Bad and failed ones that a list of what is allowed lets pass.
    pub allowed: u64,
    /// What else belongs to it, by name: the report and the tables.
    pub documents: BTreeMap<String, AuditDocument>,
}

/// Counts of verdicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditCounts {
    /// The same facts.
    pub good: u64,
    /// Other facts.
    pub bad: u64,
    /// Second derivations that failed.
    pub fail: u64,
    /// Not covered.
    pub unknown: u64,
}

impl AuditHeader {
    /// How much of the night's sample was not covered, over files and conditions: 0 to 1. What other nights cover does not count.
    #[expect(clippy::cast_precision_loss, reason = "a share of counts")]
    pub fn unknown_share(&self) -> f64 {
        let beyond = self.files.saturating_sub(self.sampled).saturating_mul(self.conditions);
        let all = self.sampled.saturating_mul(self.conditions);
        if all == 0 { 0.0 } else { self.verdicts.unknown.saturating_sub(beyond) as f64 / all as f64 }
    }
}

impl AuditCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.good + self.bad + self.fail + self.unknown
    }
}

/// A document that an audit's header names. Its name in the store says its content, so that of two that write it at once neither disturbs the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditDocument {
    /// Object key below the root of the facts.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, lower hex.
    pub sha256: String,
    /// Rows, of a table.
    pub rows: u64,
}

/// An audit that is concluded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConcludedAudit {
    /// What it came to.
    pub header: AuditHeader,
    /// When the store received its header, in milliseconds since 1970, UTC, by the clock that dates all its objects.
    pub concluded_at_ms: u64,
}
