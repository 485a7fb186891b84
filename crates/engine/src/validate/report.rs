//! What a validation comes to.

use bytefacts_facts::validate::{Check, Finding, Place, Tally, Totals};
use bytefacts_landing::LandedFile;

/// What came out.
#[derive(Debug)]
pub struct Report {
    /// Counts and findings.
    pub tally: Tally,
    /// What the rows add up to.
    pub totals: Totals,
}

/// A finding about a data file.
pub(super) fn about_file(check: Check, file: &LandedFile, message: String) -> Finding {
    Finding { check, repo: None, path: Some(file.key.clone()), code_unit_id: None, place: Place::Whole, message }
}
