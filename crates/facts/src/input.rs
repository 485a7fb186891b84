//! What goes into a row besides what the bytecode says.

use bytefacts_bytecode::flow::Terminators;
use serde::{Deserialize, Serialize};

/// The stages of the contract in which errors arise, and the one of the oracle.
pub const STAGES: [&str; 10] =
    ["read", "decode", "compile", "marshal", "disassembly", "exception_table", "line_table", "stack_effect", "quarantine", "oracle"];

/// What a run was made with; the `attrs` of every root row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAttrs {
    /// The interpreter's version, e.g. `3.13.0`.
    pub python_version: String,
    /// Its magic number in lower hex, e.g. `f30d0d0a`.
    pub python_magic: String,
    /// Its implementation, e.g. `cpython`.
    pub python_implementation: String,
    /// The optimisation level that `compile` was given: 0, 1 or 2.
    pub optimize: u8,
    /// Whether `compile` was told not to inherit future flags.
    pub dont_inherit: bool,
    /// Whether adaptive instructions were asked for, which makes a run incomparable.
    pub adaptive: bool,
    /// Whether blocks, edges, stack depths and variable events are derived.
    pub include_cfg: bool,
    /// The version of this analyzer.
    pub analyzer_version: String,
}

impl RunAttrs {
    /// The root attributes in order, booleans as Python writes them.
    pub fn entries(&self) -> [(&'static str, String); 8] {
        let python_bool = |value: bool| String::from(if value { "True" } else { "False" });
        [
            ("python_version", self.python_version.clone()),
            ("python_magic", self.python_magic.clone()),
            ("python_implementation", self.python_implementation.clone()),
            ("optimize", self.optimize.to_string()),
            ("dont_inherit", python_bool(self.dont_inherit)),
            ("adaptive", python_bool(self.adaptive)),
            ("include_cfg", python_bool(self.include_cfg)),
            ("analyzer_version", self.analyzer_version.clone()),
        ]
    }
}

/// What a [`RowBuilder`](crate::RowBuilder) keeps to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The most bytes of facts that one file may produce, as Arrow holds them: 512 MiB, and never more, so that no offset
    /// overflows. Beyond it the file's row has no units and an error `FactsTooLarge`, and what it would have taken is not taken:
    /// instructions, edges and the texts of constants, which folding makes long, are counted before they are written.
    pub max_file_bytes: usize,
    /// The opcodes, jumps aside, after which control does not go on.
    pub terminators: Terminators,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_file_bytes: 512 << 20, terminators: Terminators::default() }
    }
}

/// One file of the corpus, as far as it got.
#[derive(Debug, Clone, Default)]
pub struct FileInput<'a> {
    /// Repository key in the corpus.
    pub repo: Option<&'a str>,
    /// Path inside the repository, separated by `/`.
    pub path: &'a str,
    /// The raw source, for byte spans; `None` if it could not be read.
    pub source: Option<&'a [u8]>,
    /// SHA-256 of the source.
    pub sha256: Option<[u8; 32]>,
    /// The marshalled code object; `None` if the file did not compile.
    pub code: Option<&'a [u8]>,
    /// What went wrong on the way, and warnings.
    pub errors: Vec<FactError>,
}

/// A structured error or warning of a file or of a unit: the contract's ERROR.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactError {
    /// The exception's class name, or a name of ours.
    pub error_type: String,
    /// The message.
    pub message: String,
    /// Whatever else is known, in the order to be written.
    pub attrs: Vec<(String, String)>,
    /// What was being done: see the contract's list of stages.
    pub stage: String,
    /// 1-based line.
    pub line1: Option<i32>,
    /// 0-based column in Unicode characters.
    pub col: Option<i32>,
    /// 1-based end line.
    pub end_line1: Option<i32>,
    /// 0-based exclusive end column in Unicode characters.
    pub end_col: Option<i32>,
    /// The text of the line.
    pub source_line: Option<String>,
    /// The unit concerned; `None` for the file.
    pub code_unit_id: Option<String>,
    /// Whether it is an error or a warning.
    pub severity: Severity,
}

/// Whether something failed, or was only remarked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Facts are missing.
    #[default]
    Error,
    /// Nothing is missing.
    Warning,
}

impl Severity {
    /// The text of the column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}
