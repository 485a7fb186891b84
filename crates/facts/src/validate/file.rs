//! One row: a file, its errors and its units as a whole.
//!
//! `file` and `code` know each other because a file has its units checked, and what is found in a unit is found in its file.

use std::collections::BTreeMap;

use super::{
    Check, Finding, IdOwner, IdSink, Place, Tally, Totals,
    code::{Excuses, UnitScope},
    columns::Rows,
};
use crate::{
    digest::{self, Digest},
    ids,
    input::{FactError, STAGES, Severity},
};

/// The attributes of the contract.
const ATTRS: [&str; 8] =
    ["python_version", "python_magic", "python_implementation", "optimize", "dont_inherit", "adaptive", "include_cfg", "analyzer_version"];

/// A row, and where what is found in it goes.
pub(super) struct FileScope<'a> {
    pub(super) rows: &'a Rows<'a>,
    pub(super) row: usize,
    pub(super) repo: Option<&'a str>,
    pub(super) path: &'a str,
    pub(super) file_id: &'a str,
    pub(super) terminators: &'a [String],
    pub(super) tally: &'a mut Tally,
    /// The last line that the code may name, if that is known.
    pub(super) last_line: Option<i32>,
}

/// What the units of a file know of each other: by id, the unit's position among them.
pub(super) type UnitIds<'a> = BTreeMap<&'a str, usize>;

impl<'a> FileScope<'a> {
    /// Counts something looked at, and finds fault unless it holds.
    pub(super) fn expect(&mut self, check: Check, holds: bool, message: impl FnOnce() -> String) {
        self.expect_at(check, holds, Place::Whole, None, message);
    }

    pub(super) fn expect_at(&mut self, check: Check, holds: bool, place: Place, unit: Option<&str>, message: impl FnOnce() -> String) {
        self.tally.looked(check, 1);
        if !holds {
            self.find(check, place, unit, message());
        }
    }

    pub(super) fn find(&mut self, check: Check, place: Place, unit: Option<&str>, message: String) {
        let (repo, path) = (self.repo, self.path);
        self.tally.find(check, || Finding {
            check,
            repo: repo.map(str::to_owned),
            path: Some(path.to_owned()),
            code_unit_id: unit.map(str::to_owned),
            place,
            message,
        });
    }

    /// Checks the row. Returns the digest that it claims, if it is one.
    pub(super) fn check(&mut self, totals: &mut Totals, ids: &mut dyn IdSink) -> Option<Digest> {
        let (rows, row) = (self.rows, self.row);
        let units = rows.code_objects.range(row);
        totals.rows += 1;
        totals.units += units.len() as u64;
        totals.source_bytes += rows.source_bytes.get(row).and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0);

        let expected = ids::file_id(self.repo, self.path);
        self.expect(Check::UniqueFile, self.file_id == expected, || format!("file_id should be {expected}"));
        ids.id(Check::UniqueFile, self.file_id, &IdOwner { repo: self.repo, path: self.path, code_unit_id: None, place: Place::Whole });
        for key in ATTRS {
            if rows.attrs.get(row, key).is_none() {
                self.find(Check::RowAttrs, Place::Whole, None, format!("has no attribute {key}"));
            }
        }

        let columns = &rows.code_objects.items;
        let unit_ids: UnitIds<'a> =
            (0..).zip(units.clone()).map(|(nth, unit)| (columns.code_unit_id.get(unit).unwrap_or_default(), nth)).collect();
        let errors = self.errors(&unit_ids, totals);
        let explained = match units.is_empty() {
            true => errors.iter().any(|(_, error)| error.severity == Severity::Error),
            false => columns.code_path.range(units.start).is_empty(),
        };
        self.expect(Check::RowExplained, explained, || match units.is_empty() {
            true => "has no units, and no error says why".to_owned(),
            false => "has a first unit that is no module".to_owned(),
        });

        self.last_line = self.known_last_line(units.clone());
        for (nth, unit) in units.clone().enumerate() {
            let id = columns.code_unit_id.get(unit).unwrap_or_default();
            let excuses = Excuses::new(errors.iter().filter(|(of, _)| *of == Some(nth)).map(|(_, error)| error));
            let instructions = columns.instructions.range(unit).len() as u64;
            totals.instructions += instructions;
            UnitScope::new(self, columns, units.start, unit, id, excuses).check(&unit_ids, ids);
        }
        self.digest(units, &errors)
    }

    /// The number of lines, if CPython's lines are those of the raw file. They need not be where a codec other than UTF-8 decoded it:
    /// `unicode_escape` makes lines of escapes. Such a file has no byte spans at all.
    fn known_last_line(&self, mut units: std::ops::Range<usize>) -> Option<i32> {
        let instructions = &self.rows.code_objects.items.instructions;
        let instrs = &instructions.items;
        let is_mapped = |at: usize| instrs.span.get(at).is_some_and(|span| span.byte_span.get(at).is_some());
        let empty = self.rows.source_bytes.get(self.row) == Some(0);
        let known = empty || units.any(|unit| instructions.range(unit).any(is_mapped));
        // Even an empty module has code, which stands on line 1.
        self.rows.source_lines.get(self.row).map(|lines| lines.max(1)).filter(|_| known)
    }

    /// Checks the errors, and gives each with the position of its unit.
    fn errors(&mut self, unit_ids: &UnitIds<'_>, totals: &mut Totals) -> Vec<(Option<usize>, FactError)> {
        let columns = &self.rows.errors.items;
        let mut errors = Vec::new();
        for (nth, at) in self.rows.errors.range(self.row).enumerate() {
            let text = |column: super::columns::Texts<'_>| column.get(at).unwrap_or_default().to_owned();
            let (stage, severity, unit) = (text(columns.stage), text(columns.severity), columns.code_unit_id.get(at));
            let position = unit.and_then(|unit| unit_ids.get(unit).copied());
            self.expect_at(Check::ReferenceErrorUnit, unit.is_none() || position.is_some(), Place::Error(nth), unit, || {
                "is about a unit that the file does not have".to_owned()
            });
            let known = STAGES.contains(&stage.as_str()) && ["error", "warning"].contains(&severity.as_str());
            self.expect_at(Check::ErrorStage, known, Place::Error(nth), unit, || format!("has stage {stage:?} and severity {severity:?}"));
            let error = FactError {
                error_type: text(columns.error_type),
                stage: stage.clone(),
                line1: columns.line1.get(at),
                col: columns.col.get(at),
                end_line1: columns.end_line1.get(at),
                end_col: columns.end_col.get(at),
                severity: if severity == "warning" { Severity::Warning } else { Severity::Error },
                ..FactError::default()
            };
            *totals.errors.entry((stage, error.error_type.clone(), severity)).or_default() += 1;
            errors.push((position, error));
        }
        errors
    }

    /// Folds the digest of the file again. Returns what the row claims.
    fn digest(&mut self, units: std::ops::Range<usize>, errors: &[(Option<usize>, FactError)]) -> Option<Digest> {
        let (rows, columns) = (self.rows, &self.rows.code_objects.items);
        let claimed = rows.facts_digest.get(self.row).and_then(parse);
        let of_units: Option<Vec<Digest>> = units.map(|unit| columns.facts_digest.get(unit).and_then(parse)).collect();
        let sha256 = rows.file_sha256.get(self.row);
        let source = sha256.map(parse);
        let folded = match (&of_units, source) {
            (Some(of_units), None) => Some(digest::file(None, of_units, errors.iter().map(|(unit, error)| (*unit, error)))),
            (Some(of_units), Some(Some(source))) => {
                Some(digest::file(Some(&source), of_units, errors.iter().map(|(unit, error)| (*unit, error))))
            }
            _ => None,
        };
        self.expect(Check::DigestFile, folded.is_some() && folded == claimed, || match folded {
            Some(folded) => format!("facts_digest should be {}", ids::hex(&folded)),
            None => "a digest or file_sha256 is not 64 hex digits".to_owned(),
        });
        claimed
    }
}

/// 64 lower hex digits as a digest.
fn parse(text: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    if text.len() != 64 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (nth, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * nth..2 * nth + 2)?, 16).ok()?;
    }
    Some(digest)
}
