//! What a job is: the few hundred bytes that travel from the client to the scheduler and on to every executor.

use bytefacts_bytecode::flow::{Terminators, UnknownOpname};
use bytefacts_corpus::{BinOptions, EXCLUDE, INCLUDE, Selection, SelectionError};
use bytefacts_facts::{Options, RunAttrs};
use bytefacts_stores::{Access, Refused};
use serde::{Deserialize, Serialize};

use crate::sample::SampleRate;

/// One extraction job. It names its corpus and never lists it, so that a plan does not grow with the corpus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The corpus as a URL.
    pub corpus: String,
    /// The one repository that the whole corpus is; without it, first-level folders are the repositories.
    pub repo: Option<String>,
    /// Where the facts go, as a URL.
    pub facts: String,
    /// The run's id.
    pub run: String,
    /// What determines a row, beside the source.
    pub options: ExtractOptions,
    /// How files are packed into bins.
    pub bins: BinOptions,
    /// The interpreter that must compile; without it the first executor decides. An executor with another one refuses the job: rows must not
    /// depend on the node.
    pub interpreter: Option<InterpreterId>,
    /// Whether executors may take compiled units and landed bins from their caches, and keep these there.
    #[serde(default = "yes")]
    pub use_cache: bool,
}

/// Jobs that were recorded before there was a choice use the cache.
fn yes() -> bool {
    true
}

/// The identity of a CPython build as far as rows depend on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterpreterId {
    /// `3.13.0`.
    pub version: String,
    /// The magic number in hex, as it stands at the start of a `.pyc`.
    pub magic: String,
    /// `cpython`.
    pub implementation: String,
}

/// The options of contract.md, 6, the limits of one file, and how work is shared out. They are recorded in the run's manifest.
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

/// Why a job that came from elsewhere cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the job is refused: {0}")]
pub struct BadJob(String);

/// Why a job is not taken.
#[derive(Debug, thiserror::Error)]
pub enum JobRefused {
    /// It is no job that can be done.
    #[error(transparent)]
    Job(#[from] BadJob),
    /// It asks for what is not allowed.
    #[error(transparent)]
    Access(#[from] Refused),
}

/// What a job may ask for at most: more is a mistake, or meant to do harm.
mod most {
    /// Bytes of one source, of memory, and the like.
    pub const BYTES: u64 = 1 << 40;
    /// Seconds of CPU for one file.
    pub const CPU_SECONDS: u64 = 24 * 3600;
    /// Items of a list.
    pub const ITEMS: usize = 10_000;
    /// Bytes of a name.
    pub const NAME: usize = 4096;
}

impl Job {
    /// Refuses what no client of ours sends: a job is as foreign as the files of its corpus.
    ///
    /// # Errors
    /// When an option is out of bounds, a name is none, or the run's id is not one.
    pub fn check(&self) -> Result<(), BadJob> {
        let bad = |what: String| Err(BadJob(what));
        if let Err(error) = bytefacts_landing::RunId::new(self.run.as_str()) {
            return bad(format!("its run: {error}"));
        }
        if let Err(error) = self.options.terminators() {
            return bad(format!("terminator_opnames: {error}"));
        }
        let options = &self.options;
        for (name, value, least, most) in [
            ("optimize", u64::from(options.optimize), 0, 2),
            ("max_file_bytes", options.max_file_bytes, 0, most::BYTES),
            ("compile_cpu_seconds", options.compile_cpu_seconds, 1, most::CPU_SECONDS),
            ("compile_memory_bytes", options.compile_memory_bytes, 0, most::BYTES),
            ("quarantine_after", u64::from(options.quarantine_after), 1, u64::from(u32::MAX)),
            ("parallel_max_bytes", options.parallel_max_bytes, 1, most::BYTES),
            ("memory_budget_bytes", options.memory_budget_bytes, 1, most::BYTES),
            ("exclude", options.exclude.len() as u64, 0, most::ITEMS as u64),
            ("terminator_opnames", options.terminator_opnames.len() as u64, 0, most::ITEMS as u64),
        ] {
            if !(least..=most).contains(&value) {
                return bad(format!("{name} is {value}, and not from {least} to {most}"));
            }
        }
        let interpreter = self.interpreter.iter().flat_map(|id| [&id.version, &id.magic, &id.implementation]);
        for name in options.exclude.iter().chain(&self.repo).chain([&self.corpus, &self.facts]).chain(interpreter) {
            if name.len() > most::NAME {
                return bad(format!("a name of {} bytes", name.len()));
            }
        }
        Ok(())
    }

    /// Refuses a job that cannot be done, or names places that are not allowed, or does so in a way of its own: a text that two parsers may
    /// understand differently.
    ///
    /// # Errors
    /// See [`JobRefused`].
    pub fn admit(&self, access: &Access) -> Result<(), JobRefused> {
        self.check()?;
        access.corpus(&self.corpus)?;
        Ok(access.facts(&self.facts)?)
    }

    /// How rows are built.
    ///
    /// # Errors
    /// When a terminator is no opcode's name.
    pub fn row_options(&self) -> Result<Options, UnknownOpname> {
        Ok(Options { terminators: self.options.terminators()?, ..Options::default() })
    }

    /// The root attributes of every row of this job, whose interpreter is `interpreter`.
    #[must_use]
    pub fn attrs(&self, interpreter: &InterpreterId) -> RunAttrs {
        RunAttrs {
            python_version: interpreter.version.clone(),
            python_magic: interpreter.magic.clone(),
            python_implementation: interpreter.implementation.clone(),
            optimize: self.options.optimize,
            dont_inherit: self.options.dont_inherit,
            adaptive: self.options.adaptive,
            include_cfg: self.options.include_cfg_derivations,
            analyzer_version: ANALYZER_VERSION.to_owned(),
        }
    }
}

/// The version of the analysis. It changes whenever the same source could give other facts.
pub const ANALYZER_VERSION: &str = "3";
