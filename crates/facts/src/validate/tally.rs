//! What has been looked at and what was found.

use std::fmt;

use super::Check;

/// Something that contradicts the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check that failed.
    pub check: Check,
    /// The repository, null for files without one.
    pub repo: Option<String>,
    /// The source file, or the data file where it is about one.
    pub path: Option<String>,
    /// The unit.
    pub code_unit_id: Option<String>,
    /// Where in the unit or file.
    pub place: Place,
    /// What is wrong.
    pub message: String,
}

/// Where in a unit or file a finding is. Numbers are positions in the unit's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The whole of it.
    Whole,
    /// A byte offset in `co_code`.
    Offset(i32),
    /// An instruction.
    Instr(usize),
    /// A block.
    Block(usize),
    /// An edge of the control flow graph.
    Edge(usize),
    /// An edge of the data flow graph.
    DataEdge(usize),
    /// An entry of the exception table.
    Exception(usize),
    /// A line start.
    Line(usize),
    /// A constant.
    Const(usize),
    /// An event of a variable.
    Event(usize),
    /// An error row of the file.
    Error(usize),
    /// A cache entry of an instruction.
    Cache(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Offset(offset) => write!(f, "offset {offset}"),
            Self::Instr(nth) => write!(f, "instruction {nth}"),
            Self::Block(nth) => write!(f, "block {nth}"),
            Self::Edge(nth) => write!(f, "cfg edge {nth}"),
            Self::DataEdge(nth) => write!(f, "dfg edge {nth}"),
            Self::Exception(nth) => write!(f, "exception entry {nth}"),
            Self::Line(nth) => write!(f, "line start {nth}"),
            Self::Const(nth) => write!(f, "constant {nth}"),
            Self::Event(nth) => write!(f, "event {nth}"),
            Self::Error(nth) => write!(f, "error {nth}"),
            Self::Cache(nth) => write!(f, "cache of instruction {nth}"),
        }
    }
}

/// The figures of one check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Things looked at.
    pub looked: u64,
    /// Findings.
    pub found: u64,
    /// Violations that an error row of the unit explains; no findings.
    pub excused: u64,
}

/// The figures of all checks, and the first findings of each.
#[derive(Debug, Clone)]
pub struct Tally {
    keep: usize,
    counts: Vec<Count>,
    findings: Vec<Vec<Finding>>,
}

impl Tally {
    /// Nothing yet; `keep` findings of each check will be kept.
    #[must_use]
    pub fn new(keep: usize) -> Self {
        let checks = Check::ALL.len();
        Self { keep, counts: vec![Count::default(); checks], findings: vec![Vec::new(); checks] }
    }

    /// The figures of a check.
    #[must_use]
    pub fn count(&self, check: Check) -> Count {
        self.counts.get(check as usize).copied().unwrap_or_default()
    }

    /// The findings that were kept, by check.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().flatten()
    }

    /// All findings, kept or not.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.counts.iter().map(|count| count.found).sum()
    }

    /// Counts things that a check has looked at.
    pub fn looked(&mut self, check: Check, things: u64) {
        if let Some(count) = self.counts.get_mut(check as usize) {
            count.looked += things;
        }
    }

    /// Counts a violation that an error row explains.
    pub fn excuse(&mut self, check: Check) {
        if let Some(count) = self.counts.get_mut(check as usize) {
            count.excused += 1;
        }
    }

    /// Counts a finding and keeps it if there is room.
    pub fn find(&mut self, check: Check, finding: impl FnOnce() -> Finding) {
        if let Some(count) = self.counts.get_mut(check as usize) {
            count.found += 1;
        }
        if let Some(kept) = self.findings.get_mut(check as usize)
            && kept.len() < self.keep
        {
            kept.push(finding());
        }
    }

    /// Counts something looked at that is not inside a source file, and finds fault unless it holds.
    pub fn expect(&mut self, check: Check, holds: bool, repo: Option<&str>, path: Option<&str>, message: impl FnOnce() -> String) {
        self.looked(check, 1);
        if !holds {
            self.find(check, || Finding {
                check,
                repo: repo.map(str::to_owned),
                path: path.map(str::to_owned),
                code_unit_id: None,
                place: Place::Whole,
                message: message(),
            });
        }
    }

    /// Adds what another tally has.
    pub fn merge(&mut self, other: Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            count.looked += more.looked;
            count.found += more.found;
            count.excused += more.excused;
        }
        for (kept, more) in self.findings.iter_mut().zip(other.findings) {
            let room = self.keep.saturating_sub(kept.len());
            kept.extend(more.into_iter().take(room));
        }
    }
}
