//! The oracle: rows compared with what CPython's own `dis` says of the same source.
//!
//! A compile worker derives the facts (`oracle.py` of `bytefacts-compile`, which describes their form) and [`Comparison`] lays
//! each frame of them beside the row as it arrives, value by value, against the Arrow columns of the same names. Nothing is kept of
//! a frame but its differences, so memory depends on neither the file nor its units.
//!
//! Every difference is an ERROR of stage [`STAGE`]: the type names the column, the message gives both values, the attributes say
//! which row of the unit. These errors tell of a check and not of the file. They are the one thing that an oracle adds to a row,
//! and no digest covers them, so that runs with and without it are compared by their digests.
//!
//! This module and `table` know each other because a frame is compared while it is parsed: the parser drives the comparison, value by value.

mod column;
mod table;

use arrow::array::{Array as _, AsArray as _, RecordBatch, StructArray};
use arrow::datatypes::Int32Type;
use thiserror::Error;

use self::column::{Lists, at};
use self::table::FrameVisitor;
use crate::input::{FactError, Severity};

/// The stage of the errors that an oracle finds.
pub const STAGE: &str = "oracle";

/// The type of the error that counts the differences beyond those listed.
pub const MORE: &str = "MoreDifferences";

/// The differences of one file that are listed each by itself: enough to see what is wrong, and no flood where everything is.
const LISTED: u64 = 1_000;

/// The longest value in a message, in characters.
const LONGEST_VALUE: usize = 500;

/// A frame that is not of the form that a judge writes.
#[derive(Debug, Error)]
pub enum FrameError {
    /// It is no JSON, or of other types.
    #[error("facts of the oracle cannot be read")]
    Json(#[from] serde_json::Error),
    /// The row is none of `bytecode_files_v1`.
    #[error("row without code objects")]
    Row,
}

/// One file's row beside the facts of `dis`.
pub struct Comparison {
    units: StructArray,
    /// The unit that the facts are at, and its position.
    unit: Option<Unit>,
    /// Units that `dis` has had so far.
    seen: usize,
    findings: Findings,
}

/// What a comparison has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// The differences as errors, in the order of the units and their rows; [`MORE`] comes last if some are not listed.
    pub errors: Vec<FactError>,
    /// How many there are.
    pub differences: u64,
}

/// The unit at hand.
struct Unit {
    id: Option<String>,
    /// The row of the unit itself, and its lists.
    lists: Lists,
    /// Instructions that `dis` has had so far.
    instructions: usize,
}

/// Where a difference is.
#[derive(Debug, Clone, Copy)]
struct Spot<'a> {
    /// The table, empty for the unit's own columns.
    table: &'a str,
    column: &'a str,
    row: usize,
}

impl Comparison {
    /// A comparison with the one row of `batch`, which has the schema of the root table.
    ///
    /// # Errors
    /// [`FrameError::Row`] if it does not.
    pub fn new(batch: &RecordBatch) -> Result<Self, FrameError> {
        let objects = batch.column_by_name("code_objects").and_then(|column| column.as_list_opt::<i32>());
        let objects = objects.filter(|list| list.len() == 1).ok_or(FrameError::Row)?;
        let units = objects.value(0).as_struct_opt().cloned().ok_or(FrameError::Row)?;
        Ok(Self { units, unit: None, seen: 0, findings: Findings::default() })
    }

    /// Compares one frame.
    ///
    /// # Errors
    /// [`FrameError::Json`] if it is none.
    pub fn take(&mut self, frame: &[u8]) -> Result<(), FrameError> {
        let mut reader = serde_json::Deserializer::from_slice(frame);
        serde::Deserializer::deserialize_map(&mut reader, FrameVisitor { comparison: self })?;
        Ok(reader.end()?)
    }

    /// What all frames have come to.
    pub fn finish(mut self) -> Findings {
        self.close_unit();
        if self.seen != self.units.len() {
            self.findings.note(None, &[], Spot { table: "", column: "code_objects", row: 0 }, &count(self.units.len()), &count(self.seen));
        }
        self.abandon()
    }

    /// What the frames so far have come to; those that are missing are no difference.
    pub fn abandon(mut self) -> Findings {
        let unlisted = self.findings.differences.saturating_sub(LISTED);
        if unlisted > 0 {
            self.findings.errors.push(FactError {
                error_type: MORE.to_owned(),
                message: format!("{unlisted} more differences of this file are not listed"),
                attrs: vec![("differences".to_owned(), unlisted.to_string())],
                stage: STAGE.to_owned(),
                ..FactError::default()
            });
        }
        self.findings
    }

    /// Goes on to the next unit of the row.
    fn open_unit(&mut self) {
        self.close_unit();
        self.unit = (self.seen < self.units.len()).then(|| {
            let row = self.units.slice(self.seen, 1);
            let id = row.column_by_name("code_unit_id").and_then(|ids| ids.as_string_opt::<i32>());
            Unit { id: id.filter(|ids| ids.is_valid(0)).map(|ids| ids.value(0).to_owned()), lists: Lists::new(row), instructions: 0 }
        });
        self.seen += 1;
    }

    fn close_unit(&mut self) {
        let Some(unit) = self.unit.take() else { return };
        let ours = unit.lists.table("instructions").map_or(0, |rows| rows.len());
        if unit.instructions != ours {
            let place = Spot { table: "", column: "instructions", row: 0 };
            self.findings.note(unit.id.as_deref(), &[], place, &count(ours), &count(unit.instructions));
        }
    }
}

impl Findings {
    fn note(&mut self, unit: Option<&str>, attrs: &[(&str, String)], place: Spot<'_>, ours: &str, cpython: &str) {
        self.differences += 1;
        if self.differences > LISTED {
            return;
        }
        let dot = if place.table.is_empty() { "" } else { "." };
        self.errors.push(FactError {
            error_type: format!("{}{dot}{}", place.table, place.column),
            message: format!("ours {}, CPython {}", shortened(ours), shortened(cpython)),
            attrs: attrs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
            stage: STAGE.to_owned(),
            code_unit_id: unit.map(str::to_owned),
            severity: Severity::Error,
            ..FactError::default()
        });
    }
}

impl Unit {
    /// What tells a row of a table from its neighbours.
    fn attrs(&self, place: Spot<'_>) -> Vec<(&'static str, String)> {
        let row = place.row.to_string();
        match place.table {
            "" => Vec::new(),
            "instructions" => {
                let offsets = self.lists.table("instructions").and_then(|rows| rows.column_by_name("offset"));
                let offset = offsets.and_then(|offsets| at(offsets.as_primitive_opt::<Int32Type>()?, place.row));
                [("instr_index", Some(row)), ("offset", offset.map(|offset| offset.to_string()))]
                    .into_iter()
                    .filter_map(|(key, value)| Some((key, value?)))
                    .collect()
            }
            _ => vec![("index", row)],
        }
    }
}

fn count(rows: usize) -> String {
    format!("{rows} rows")
}

fn shortened(value: &str) -> String {
    match value.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}…", value.get(..end).unwrap_or_default()),
        None => value.to_owned(),
    }
}
