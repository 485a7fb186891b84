//! Whether facts keep what the contract promises: checks over rows of the root table, whoever wrote them.
//!
//! The checks know the rows only. What can be derived from other columns is derived again and compared: ids, blocks' borders, edges,
//! reachability, depths, the digest of a file. Nothing of the analysis that wrote the rows is used but the hashes of
//! [`ids`](crate::ids) and the fold of [`digest`](crate::digest). Types come first ([`differences`]): rows of other types are not read.
//!
//! Files come one by one in any order and are forgotten after they have been looked at. What needs the whole run, the uniqueness of ids
//! above all, goes through an [`IdSink`]. Findings are counted in full and kept up to a limit for each check.
//!
//! A unit that has an error row may break what the error is about: that is what the row says. It is counted as *excused*.

mod check;
mod code;
mod columns;
mod data;
mod dominators;
mod file;
mod flow;
mod graph;
mod identity;
mod lines;
mod schema;
mod sink;
mod stack;
mod tally;
mod totals;

use arrow::array::{Array, RecordBatch, StructArray};

pub use self::{
    check::{Check, CheckSeverity},
    columns::Unreadable,
    schema::{Difference, differences},
    sink::{IdOwner, IdSink, id_key},
    tally::{Count, Finding, Place, Tally},
    totals::Totals,
};
use self::{
    columns::{Read as _, Rows},
    file::FileScope,
};
use crate::digest::Digest;

/// What the validator is told about the run.
#[derive(Debug, Clone)]
pub struct ValidateOptions {
    /// The opcodes, jumps aside, that end a block: the run's `terminator_opnames`.
    pub terminators: Vec<String>,
    /// Findings that are kept for each check.
    pub keep: usize,
}

/// A row that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedRow {
    /// Its repository.
    pub repo: Option<String>,
    /// Its path.
    pub path: String,
    /// The digest that it claims, if that is one.
    pub digest: Option<Digest>,
}

/// Checks the rows of one data file, which are sorted by repository, none first, and path.
#[derive(Debug)]
pub struct Validator {
    options: ValidateOptions,
    /// The attributes that all rows so far had.
    attrs: Option<Vec<(String, String)>>,
    last: Option<(Option<String>, String, String)>,
    /// Counts and findings so far.
    pub tally: Tally,
    /// Sums so far.
    pub totals: Totals,
    /// Each row, in their order.
    pub checked: Vec<CheckedRow>,
}

impl Validator {
    /// For the rows of a file.
    #[must_use]
    pub fn new(options: ValidateOptions) -> Self {
        Self { tally: Tally::new(options.keep), options, attrs: None, last: None, totals: Totals::default(), checked: Vec::new() }
    }

    /// Checks rows of the root table, and passes their ids on.
    ///
    /// # Errors
    /// When a column is missing or of another type.
    pub fn rows(&mut self, batch: &RecordBatch, ids: &mut dyn IdSink) -> Result<(), Unreadable> {
        let structs = StructArray::from(batch.clone());
        schema::nulls(&structs, &mut self.tally);
        let rows = Rows::read(&structs as &dyn Array, "the root row")?;
        for row in 0..batch.num_rows() {
            self.row(&rows, row, ids);
        }
        Ok(())
    }

    /// The attributes that the rows have, if there are any rows.
    #[must_use]
    pub fn attrs(&self) -> Option<&[(String, String)]> {
        self.attrs.as_deref()
    }

    fn row(&mut self, rows: &Rows<'_>, row: usize, ids: &mut dyn IdSink) {
        let (repo, tally) = (rows.repo.get(row), &mut self.tally);
        let path = rows.path.get(row).unwrap_or_default();
        let file_id = rows.file_id.get(row).unwrap_or_default();
        let mut scope = FileScope { rows, row, repo, path, file_id, terminators: &self.options.terminators, tally, last_line: None };

        let order = (repo.map(str::to_owned), path.to_owned(), file_id.to_owned());
        let sorted = self.last.as_ref().is_none_or(|last| *last < order);
        scope.expect(Check::RowOrder, sorted, || match &self.last {
            Some((repo, path, _)) => {
                format!("stands behind {path:?} of repository {repo:?}: rows are sorted by repository, path and file_id")
            }
            None => String::new(),
        });
        self.last = Some(order);

        let attrs = rows.attrs.entries(row);
        let same = self.attrs.as_ref().is_none_or(|first| *first == attrs);
        scope.expect(Check::RowAttrs, same, || format!("has attrs {attrs:?}, rows before it have others"));
        self.attrs.get_or_insert(attrs);

        let digest = scope.check(&mut self.totals, ids);
        self.checked.push(CheckedRow { repo: repo.map(str::to_owned), path: path.to_owned(), digest });
    }
}
