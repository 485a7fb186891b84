//! What a file is, at four depths, and how it is derived from what a worker answered.
//!
//! Cheapest first: the marshal stream as the worker wrote it, which tells what else the process had compiled; the same without references,
//! which is what rows keep as `marshal_digest`; the facts; and their shape, which is opcodes and jumps alone.

use arrow::array::RecordBatch;
use blake2::{Blake2b, Digest as _, digest::consts::U32};
use bytefacts_bytecode::{Code, canonical, disassemble, marshal, units};
use bytefacts_compile::{Compiled, Diagnostic, Outcome, Severity};
use bytefacts_facts::{FactError, FileInput, Options, RowBuilder, RunAttrs, Severity as FactSeverity, digest as facts_digest};
use serde::{Deserialize, Serialize};

use crate::Digest;

/// Names and versions of what the digests are made of, in the order of [`Digests`].
pub const FORMS: [&str; 4] = ["marshal.4", canonical::FORM, "bytefacts.file.1", "bytefacts.shape.1"];

/// The digests of a derivation. Those of the code are `None` where there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// Of the marshal stream as it was written.
    #[serde(with = "optional_hex")]
    pub raw: Option<Digest>,
    /// Of the stream without references.
    #[serde(with = "optional_hex")]
    pub marshal: Option<Digest>,
    /// Of the facts, errors included: `facts_digest` of the row.
    #[serde(with = "required_hex")]
    pub facts: Digest,
    /// Of opcodes and jumps.
    #[serde(with = "optional_hex")]
    pub shape: Option<Digest>,
}

/// A source file as the audit sees it.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Its repository.
    pub repo: Option<String>,
    /// Its path in it.
    pub path: String,
    /// Its bytes.
    pub source: bytes::Bytes,
    /// Their SHA-256.
    pub sha256: Digest,
}

/// What a worker's answer comes to.
#[derive(Clone, Debug)]
pub struct Derived {
    /// The answer.
    pub compiled: Compiled,
    /// Its digests.
    pub digests: Digests,
}

/// Why a derivation could not be made: faults of this program, never of a file.
#[derive(Debug, thiserror::Error)]
#[error("cannot derive the facts of {path}: {reason}")]
pub struct DeriveError {
    path: String,
    reason: String,
}

/// Derives digests under the options of a run.
#[derive(Clone, Debug)]
pub struct Deriver {
    /// What the run's rows say of their making.
    pub attrs: RunAttrs,
    /// What rows keep to.
    pub options: Options,
}

impl Deriver {
    /// The digests of what a worker made of a source.
    ///
    /// # Errors
    /// When facts contradict each other, which is a fault of the analysis.
    pub fn derive(&self, file: &SourceFile, compiled: Compiled) -> Result<Derived, DeriveError> {
        let (derived, _) = self.rows(file, compiled)?;
        Ok(derived)
    }

    /// The row of what a worker made of a source.
    ///
    /// # Errors
    /// As [`Deriver::derive`].
    pub fn row(&self, file: &SourceFile, compiled: Compiled) -> Result<RecordBatch, DeriveError> {
        let (_, mut rows) = self.rows(file, compiled)?;
        rows.finish().map_err(|error| DeriveError { path: file.path.clone(), reason: error.to_string() })
    }

    fn rows(&self, file: &SourceFile, compiled: Compiled) -> Result<(Derived, RowBuilder), DeriveError> {
        let failed = |reason: String| DeriveError { path: file.path.clone(), reason };
        let (marshalled, failure) = match &compiled.outcome {
            Outcome::Code(code) => (Some(code), None),
            Outcome::Failed(failure) => (None, Some(failure)),
        };
        let module = marshalled.and_then(|bytes| marshal::read_code(bytes).ok());
        let canonical = module.as_ref().map(canonical::encode);
        // Facts are made of the form that runs keep, so that damage of the stream shows as it would there.
        let input = FileInput {
            repo: file.repo.as_deref(),
            path: &file.path,
            source: Some(&file.source),
            sha256: Some(file.sha256),
            code: canonical.as_deref().or(marshalled.map(|bytes| &**bytes)),
            errors: failure.into_iter().chain(&compiled.warnings).map(fact_error).collect(),
        };
        let mut rows = RowBuilder::new(&self.attrs, self.options.clone());
        let stats = rows.append(input).map_err(|error| failed(error.to_string()))?;
        let digests = Digests {
            raw: marshalled.map(|bytes| facts_digest::marshal(bytes)),
            marshal: stats.marshal_digest,
            facts: stats.digest,
            shape: module.as_ref().map(shape),
        };
        Ok((Derived { compiled, digests }, rows))
    }
}

/// The digest of opcodes and jumps, unit by unit.
#[must_use]
pub fn shape(module: &Code) -> Digest {
    let mut hash = Blake2b::<U32>::new();
    hash.update(b"bytefacts.shape.1");
    for unit in units(module) {
        let instructions = disassemble(unit.code).unwrap_or_default();
        hash.update((instructions.len() as u64).to_le_bytes());
        for instruction in instructions {
            hash.update([instruction.baseopcode]);
            hash.update(instruction.jump_target.unwrap_or(-1).to_le_bytes());
        }
    }
    hash.finalize().into()
}

/// A worker's diagnostic as an error of the contract.
fn fact_error(diagnostic: &Diagnostic) -> FactError {
    FactError {
        error_type: diagnostic.error_type.clone(),
        message: diagnostic.message.clone(),
        attrs: Vec::new(),
        stage: diagnostic.stage.clone(),
        line1: diagnostic.line1,
        col: diagnostic.col,
        end_line1: diagnostic.end_line1,
        end_col: diagnostic.end_col,
        source_line: diagnostic.source_line.clone(),
        code_unit_id: None,
        severity: match diagnostic.severity {
            Severity::Error => FactSeverity::Error,
            Severity::Warning => FactSeverity::Warning,
        },
    }
}

mod required_hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::Digest;

    pub(super) fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(digest))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut digest = Digest::default();
        hex::decode_to_slice(&text, &mut digest).map_err(|_| D::Error::custom("not a digest"))?;
        Ok(digest)
    }
}

mod optional_hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::Digest;

    pub(super) fn serialize<S: Serializer>(digest: &Option<Digest>, serializer: S) -> Result<S::Ok, S::Error> {
        match digest {
            Some(digest) => serializer.serialize_some(&hex::encode(digest)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Digest>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let mut digest = Digest::default();
        hex::decode_to_slice(&text, &mut digest).map_err(|_| D::Error::custom("not a digest"))?;
        Ok(Some(digest))
    }
}
