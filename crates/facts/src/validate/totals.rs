//! Sums over rows.

use std::collections::BTreeMap;

/// What rows add up to, for comparison with what a manifest says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rows.
    pub rows: u64,
    /// Units.
    pub units: u64,
    /// Instructions.
    pub instructions: u64,
    /// Bytes of source.
    pub source_bytes: u64,
    /// Errors and warnings by stage, type and severity.
    pub errors: BTreeMap<(String, String, String), u64>,
}

impl Totals {
    /// Adds the figures of `other`.
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.units += other.units;
        self.instructions += other.instructions;
        self.source_bytes += other.source_bytes;
        for (key, count) in &other.errors {
            *self.errors.entry(key.clone()).or_default() += count;
        }
    }
}
