//! What an audit varies, as data: conditions, and presets of them with a budget.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bytefacts_compile::{CompileOptions, Limits, WorkerSettings};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::Digest;

/// The matrix that is built in.
pub const BUILT_IN: &str = include_str!("../../../config/audit.yaml");

/// Version of marshal in which derivations are compared: that of `.pyc` files.
pub const MARSHAL_VERSION: u8 = 4;

/// A matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// Of the form.
    version: u32,
    /// Files of a bin.
    #[serde(default = "default_bin_files")]
    pub bin_files: usize,
    /// Conditions by name.
    pub conditions: BTreeMap<String, Condition>,
    /// Presets by name.
    pub presets: BTreeMap<String, Preset>,
}

fn default_bin_files() -> usize {
    64
}

/// In what a second derivation differs from the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Condition {
    /// In words.
    pub about: String,
    /// Nothing is varied: what the run has landed is compared.
    pub committed: bool,
    /// Nothing is varied: what CPython's own `dis` says of the source is compared with what the analysis does.
    pub dis: bool,
    /// The hash seed, or `random`.
    #[serde(deserialize_with = "seed")]
    pub hash_seed: Option<HashSeed>,
    /// Order of the files of a bin.
    pub order: Order,
    /// Each file on a worker of its own.
    pub fresh: bool,
    /// The worker has compiled the whole bin once before.
    pub predecessors: bool,
    /// Modules imported before.
    pub imports: Vec<String>,
    /// Variables of the environment.
    pub environment: BTreeMap<String, String>,
    /// Working folder.
    pub folder: Option<PathBuf>,
    /// The umask, octal as `0o077`.
    #[serde(deserialize_with = "octal")]
    pub umask: Option<u32>,
    /// C stack of the compiling thread.
    pub stack_bytes: Option<u64>,
    /// Address space of a worker.
    pub memory_bytes: Option<u64>,
    /// Level of optimisation, if not the run's; compared with a first derivation of the same level.
    pub optimize: Option<u8>,
    /// Which of the second interpreters compiles; not of the matrix, but of the command line.
    #[serde(skip)]
    pub python: Option<usize>,
}

/// A hash seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashSeed {
    /// Another one for each worker.
    Random,
    /// This one.
    #[serde(untagged)]
    Fixed(u32),
}

/// Order of the files of a bin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// By name.
    #[default]
    Sorted,
    /// By name, the last first.
    Reversed,
    /// By the hash of their content.
    Shuffled,
}

/// Conditions and a budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// CPU time of a night, in minutes.
    pub minutes: u64,
    /// Nights after which all files were covered.
    pub nights: u64,
    /// Names of conditions.
    pub conditions: Selected,
}

/// Which conditions a preset has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Selected {
    /// These.
    Some(Vec<String>),
    /// `all`.
    All(All),
}

/// The word `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum All {
    /// Itself.
    All,
}

/// Why a matrix is none.
#[derive(Debug, thiserror::Error)]
pub enum MatrixError {
    /// It is no YAML of this form.
    #[error("the matrix cannot be read: {0}")]
    Yaml(#[from] serde_yaml::Error),
    /// It contradicts itself.
    #[error("{0}")]
    Invalid(String),
}

impl Matrix {
    /// Reads a matrix.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, MatrixError> {
        let matrix: Self = serde_yaml::from_str(text)?;
        let invalid = |what: String| Err(MatrixError::Invalid(what));
        if matrix.version != 1 {
            return invalid(format!("the matrix is of version {}, this program knows 1", matrix.version));
        }
        if matrix.bin_files == 0 {
            return invalid("bin_files is 0: a bin has at least one file".to_owned());
        }
        for (name, condition) in &matrix.conditions {
            if !Condition::is_name(name) {
                return invalid(format!("{name:?} is no name of a condition: letters, digits and dashes are"));
            }
            if condition.committed && condition.dis {
                return invalid(format!("condition {name}: a condition is `committed` or `dis`, not both"));
            }
            if condition.optimize.is_some_and(|level| level > 2) {
                return invalid(format!("condition {name}: CPython has no level of optimisation above 2"));
            }
        }
        for (name, preset) in &matrix.presets {
            if preset.nights == 0 {
                return invalid(format!("preset {name}: nights is 0"));
            }
            matrix.conditions_of(name)?;
        }
        Ok(matrix)
    }

    /// The conditions of a preset, in order of their names.
    ///
    /// # Errors
    /// If there is no such preset, or it names a condition that is not there.
    pub fn conditions_of(&self, preset: &str) -> Result<Vec<(String, Condition)>, MatrixError> {
        let Some(found) = self.presets.get(preset) else {
            let names: Vec<_> = self.presets.keys().map(String::as_str).collect();
            return Err(MatrixError::Invalid(format!("there is no preset {preset}: there are {}", names.join(", "))));
        };
        let names: BTreeSet<&String> = match &found.conditions {
            Selected::All(_) => self.conditions.keys().collect(),
            Selected::Some(names) => names.iter().collect(),
        };
        names.into_iter().map(|name| self.condition(name).map(|condition| (name.clone(), condition.clone()))).collect()
    }

    /// A condition by its name.
    ///
    /// # Errors
    /// If there is none.
    pub fn condition(&self, name: &str) -> Result<&Condition, MatrixError> {
        self.conditions.get(name).ok_or_else(|| {
            let names: Vec<_> = self.conditions.keys().map(String::as_str).collect();
            MatrixError::Invalid(format!("there is no condition {name}: there are {}", names.join(", ")))
        })
    }
}

impl Condition {
    /// Whether a text can be the name of one.
    #[must_use]
    pub fn is_name(text: &str) -> bool {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    }

    /// What the baseline is: nothing is varied.
    #[must_use]
    pub fn baseline(optimize: Option<u8>) -> Self {
        Self { optimize, ..Self::default() }
    }

    /// Whether the first derivation is held against something else than a second one of a worker.
    #[must_use]
    pub fn varies_nothing(&self) -> bool {
        self.committed || self.dis
    }

    /// Whether it varies what was compiled before.
    #[must_use]
    pub fn changes_order(&self) -> bool {
        self.order != Order::Sorted || self.fresh || self.predecessors
    }

    /// How workers are started.
    #[must_use]
    pub fn worker(&self) -> WorkerSettings {
        WorkerSettings {
            hash_seed: match self.hash_seed {
                None => Some(0),
                Some(HashSeed::Fixed(seed)) => Some(seed),
                Some(HashSeed::Random) => None,
            },
            marshal_version: MARSHAL_VERSION,
            environment: self.environment.clone(),
            folder: self.folder.clone().unwrap_or_else(|| PathBuf::from("/")),
            umask: self.umask,
            imports: self.imports.clone(),
        }
    }

    /// What bounds them.
    #[must_use]
    pub fn limits(&self, limits: &Limits) -> Limits {
        Limits {
            stack_bytes: self.stack_bytes.unwrap_or(limits.stack_bytes),
            memory_bytes: self.memory_bytes.unwrap_or(limits.memory_bytes),
            recycle_units: if self.fresh { 1 } else { limits.recycle_units },
            ..limits.clone()
        }
    }

    /// What they compile with.
    #[must_use]
    pub fn options(&self, options: CompileOptions) -> CompileOptions {
        CompileOptions { optimize: self.optimize.unwrap_or(options.optimize), ..options }
    }

    /// The order in which the files of a bin are compiled, by their places; `contents` are digests of the sources.
    #[must_use]
    pub fn sequence(&self, contents: &[Digest]) -> Vec<usize> {
        let mut sequence: Vec<usize> = (0..contents.len()).collect();
        match self.order {
            Order::Sorted => {}
            Order::Reversed => sequence.reverse(),
            Order::Shuffled => sequence.sort_by_key(|at| (contents.get(*at).copied(), *at)),
        }
        sequence
    }
}

fn seed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<HashSeed>, D::Error> {
    Option::<HashSeed>::deserialize(deserializer)
}

/// YAML 1.2 reads `0o077` as a number; a text is taken too.
fn octal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Octal {
        Number(u32),
        Text(String),
    }
    match Option::<Octal>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Octal::Number(number)) => Ok(Some(number)),
        Some(Octal::Text(text)) => {
            let digits = text.trim_start_matches("0o");
            u32::from_str_radix(digits, 8).map(Some).map_err(|_| D::Error::custom(format!("{text:?} is no umask: 0o077 is one")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_that_is_built_in_is_one() {
        let matrix = Matrix::parse(BUILT_IN).unwrap();
        assert_eq!(matrix.presets.keys().collect::<Vec<_>>(), ["full", "nightly", "quick"]);
        assert_eq!(matrix.conditions_of("full").unwrap().len(), matrix.conditions.len());
        let condition = matrix.condition("everything").unwrap();
        assert_eq!((condition.hash_seed, condition.umask), (Some(HashSeed::Random), Some(0o077)));
        assert_eq!(matrix.condition("hash-seed-max").unwrap().worker().hash_seed, Some(u32::MAX));
    }

    #[test]
    fn what_is_wrong_with_a_matrix_is_said() {
        let error = |text: &str| Matrix::parse(text).unwrap_err().to_string();
        let with = |condition: &str, preset: &str| {
            format!("version: 1\nconditions: {{a: {{{condition}}}}}\npresets: {{p: {{minutes: 1, nights: 1, conditions: {preset}}}}}\n")
        };
        assert!(error(&with("hash_sed: 1", "[a]")).contains("unknown field `hash_sed`"));
        assert!(error(&with("", "[b]")).contains("there is no condition b: there are a"));
        assert!(error(&with("optimize: 3", "[a]")).contains("above 2"));
        assert!(error(&with("umask: '0o9'", "[a]")).contains("is no umask"));
        assert!(error(&with("committed: true, dis: true", "[a]")).contains("not both"));
        assert!(error("version: 2\nconditions: {}\npresets: {}\n").contains("version 2"));
        assert!(Matrix::parse(&with("umask: '077'", "all")).unwrap().condition("a").unwrap().umask == Some(0o77));
    }

    #[test]
    fn orders_are_of_the_contents_alone() {
        let contents = [[3; 32], [1; 32], [2; 32]];
        let of = |order| Condition { order, ..Condition::default() }.sequence(&contents);
        assert_eq!(of(Order::Sorted), [0, 1, 2]);
        assert_eq!(of(Order::Reversed), [2, 1, 0]);
        assert_eq!(of(Order::Shuffled), [1, 2, 0]);
    }
}
