//! The options of a job, which a run's manifest records.

use std::time::Duration;

use bytefacts_bytecode::flow::{Terminators, UnknownOpname};
use bytefacts_compile::{CompileOptions, Limits};
use bytefacts_corpus::{EXCLUDE, INCLUDE, Selection, SelectionError};
use serde::{Deserialize, Serialize};

use super::sample::SampleRate;

/// The options of the contract, the limits of one file, and how work is shared out. They are recorded in the run's manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExtractOptions {
    /// `compile(optimize=…)`: 0, 1 (no asserts) or 2 (no docstrings either).
    pub optimize: u8,
    /// `compile(dont_inherit=…)`.
    pub dont_inherit: bool,
    /// Whether adaptive instructions are asked for, as by `dis.get_instructions(adaptive=True)`. In code that has never run, as all
    /// code here, they are the same instructions (the oracle checks it); CPython has only set the counters in their inline caches,
    /// which rows show as compiled, that is, zero. Rows so differ in their `adaptive` attribute alone. The run is marked as not
    /// comparable, as the contract wants it.
    pub adaptive: bool,
    /// Whether blocks, edges, stack depths and data flow are derived.
    pub include_cfg_derivations: bool,
    /// The opcodes that end a block without being jumps.
    pub terminator_opnames: Vec<String>,
    /// The largest source file that is read, in bytes; a larger one is an error row.
    pub max_file_bytes: u64,
    /// CPU seconds that compiling one file may take before it becomes an error row.
    pub compile_cpu_seconds: u64,
    /// Address space of one compile worker, in bytes; a file that needs more becomes an error row.
    pub compile_memory_bytes: u64,
    /// Processes that must have died while they worked on nothing but one file, by a signal of their own or for want of memory, until that file is an
    /// error row of stage `quarantine`.
    pub quarantine_after: u32,
    /// Files that are taken: glob patterns, as [`bytefacts_corpus::Selection`] has them.
    pub include: Vec<String>,
    /// Files and folders that are left out: patterns too. Folders named `.git` always are.
    pub exclude: Vec<String>,
    /// What is left out beside them, so that the defaults need not be repeated.
    pub extend_exclude: Vec<String>,
    /// Whether virtual environments are taken: folders with a `pyvenv.cfg`.
    pub virtual_environments: bool,
    /// Whether what the `.gitignore` files of the corpus name is left out. In folders only.
    pub respect_gitignore: bool,
    /// The part of all files that an oracle judges: a worker derives what CPython's `dis` says of them, and every difference from
    /// the row becomes an error of stage `oracle` in it. Nothing else in a row depends on it.
    pub oracle: SampleRate,
    /// A corpus of fewer files is one bin, that is, one task on one executor: for so few, dealing out costs more than it gains.
    pub parallel_min_files: u64,
    /// Bytes of source that the compile workers of one executor are at work on at a time. More waits its turn; a larger file is
    /// compiled while no other is. It bounds what the workers take in memory, as the budget bounds the executor.
    pub parallel_max_bytes: u64,
    /// Bytes of source that one executor of the embedded cluster holds at a time, from reading a file to building its row. More
    /// makes files wait.
    pub memory_budget_bytes: u64,
}

impl Default for ExtractOptions {
    fn default() -> Self {
        Self {
            optimize: 0,
            dont_inherit: true,
            adaptive: false,
            include_cfg_derivations: true,
            terminator_opnames: ["RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE"].map(str::to_owned).to_vec(),
            max_file_bytes: 64 << 20,
            compile_cpu_seconds: 60,
            compile_memory_bytes: 4 << 30,
            quarantine_after: 3,
            include: INCLUDE.map(str::to_owned).to_vec(),
            exclude: EXCLUDE.map(str::to_owned).to_vec(),
            extend_exclude: Vec::new(),
            virtual_environments: false,
            respect_gitignore: false,
            oracle: SampleRate::default(),
            parallel_min_files: 8,
            parallel_max_bytes: 64 << 20,
            memory_budget_bytes: 256 << 20,
        }
    }
}

impl ExtractOptions {
    /// Whether rows of a run can be compared with those of another of the same options: not with adaptive instructions.
    #[must_use]
    pub fn comparable(&self) -> bool {
        !self.adaptive
    }

    /// What workers compile with.
    #[must_use]
    pub fn compile_options(&self) -> CompileOptions {
        CompileOptions { optimize: self.optimize, dont_inherit: self.dont_inherit }
    }

    /// What bounds them.
    #[must_use]
    pub fn compile_limits(&self) -> Limits {
        let cpu = Duration::from_secs(self.compile_cpu_seconds);
        Limits {
            unit_cpu: cpu,
            unit_wall: cpu.saturating_mul(5),
            judge_cpu: cpu.saturating_mul(20),
            memory_bytes: self.compile_memory_bytes,
            ..Limits::default()
        }
    }

    /// Which files of the corpus are taken.
    ///
    /// # Errors
    /// When a pattern is none.
    pub fn selection(&self) -> Result<Selection, SelectionError> {
        let exclude = self.exclude.iter().chain(&self.extend_exclude);
        let selection = Selection::new(self.include.iter().map(String::as_str), exclude.map(String::as_str))?;
        Ok(selection.environments(self.virtual_environments).gitignore(self.respect_gitignore))
    }

    /// The opcodes that end a block without being jumps.
    ///
    /// # Errors
    /// When a name is no opcode's.
    pub fn terminators(&self) -> Result<Terminators, UnknownOpname> {
        Terminators::new(self.terminator_opnames.iter().map(String::as_str))
    }
}
