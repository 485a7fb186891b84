//! What is asked: a job, the few hundred bytes that travel from the client to the scheduler and on to every executor.

mod corpus;
mod options;
mod refused;
mod sample;

use bytefacts_bytecode::flow::UnknownOpname;
use bytefacts_compile::Interpreter;
use bytefacts_corpus::BinOptions;
use bytefacts_facts::{Options, RunAttrs};
use serde::{Deserialize, Serialize};

pub use self::corpus::{RecognitionError, SingleRepository, open_corpus, single_repository};
pub use self::options::ExtractOptions;
pub use self::refused::{BadJob, JobRefused};
pub use self::sample::{NoRate, SampleRate};

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
    /// Whether executors may take compiled code and landed bins from their caches, and keep these there.
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

impl InterpreterId {
    /// What rows depend on of an interpreter.
    #[must_use]
    pub fn of(interpreter: &Interpreter) -> Self {
        Self { version: interpreter.version.clone(), magic: interpreter.magic.clone(), implementation: interpreter.implementation.clone() }
    }
}

impl Job {
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
