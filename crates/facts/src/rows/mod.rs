//! From marshalled code to the rows of `bytecode_files_v1`, a unit in three steps: what the analysis finds out ([`UnitFacts::analyse`]), the digest
//! of that ([`digest::unit`]), and the columns ([`Units::push`](unit::Units::push)).
//!
//! A unit, not a file, goes from step to step: what is known of it takes as much memory as its rows, and is forgotten before the next. Where the
//! facts of a file outgrow its limit, that shows before they are made.

mod column;
mod context;
mod file;
mod flow;
mod instruction;
mod unit;

use std::sync::{Arc, LazyLock};

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Schema, SchemaRef},
    error::ArrowError,
};
use bytefacts_bytecode::{
    flow::Terminators,
    marshal,
    unit::{Unit, units},
};
use thiserror::Error;

use self::{
    column::Column,
    context::{Ids, UnitContext},
    file::Files,
};
use crate::{
    constants::ConstTexts,
    digest::{self, Digest},
    ids,
    input::{FactError, FileInput, Options, RunAttrs},
    schema::schema,
    source::SourceMap,
    unit::{UnitFacts, chain},
    unwritten::Unwritten,
};

/// [`schema`], with dictionaries (of `Int32` and `Utf8`) in the place of nested texts that have few distinct values, such as
/// the names of opcodes.
pub fn coded_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let plain = schema();
        let coded = Files::coded(&DataType::Struct(plain.fields.clone()));
        let fields = if let DataType::Struct(fields) = coded { fields } else { plain.fields.clone() };
        Arc::new(Schema::new_with_metadata(fields, plain.metadata.clone()))
    });
    Arc::clone(&SCHEMA)
}

/// Beyond this a batch takes no more files. With the most that a file may add it stays below what 32-bit offsets can say.
const MAX_BATCH_BYTES: usize = 1 << 30;

/// The most that a file's limit may be.
const MAX_FILE_BYTES: usize = 512 << 20;

/// Why rows could not be built. What is wrong with a file never is the reason; that is a row.
#[derive(Debug, Error)]
pub enum RowError {
    /// The batch holds 1 GiB; it must be finished before it takes another file.
    #[error("batch of {bytes} bytes is full")]
    Full {
        /// What the batch holds.
        bytes: usize,
    },
    /// Facts of a file do not fit each other, which is a fault of this crate.
    #[error("facts of {path} do not fit each other: {reason}")]
    Inconsistent {
        /// The file.
        path: String,
        /// What does not fit.
        reason: &'static str,
    },
    /// Arrow refused the columns, which is a fault of this crate.
    #[error("columns do not make a record batch")]
    Arrow(#[from] ArrowError),
}

/// What became of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileStats {
    /// Units in the row.
    pub units: usize,
    /// Instructions in the row.
    pub instructions: u64,
    /// Errors and warnings of the row, those of the input first.
    pub errors: Vec<FactError>,
    /// Digest of the file's facts.
    pub digest: Digest,
    /// Digest of the marshalled code, if there is any.
    pub marshal_digest: Option<Digest>,
    /// Bytes of Arrow data that the row takes.
    pub bytes: usize,
}

/// Builds record batches of the root table, one row a file, in the order of the files appended.
pub struct RowBuilder {
    attrs: Vec<(&'static str, String)>,
    max_file_bytes: usize,
    /// If derivations are on.
    terminators: Option<Terminators>,
    files: Files,
    texts: ConstTexts,
}

/// What the units of a file add up to.
#[derive(Default)]
struct UnitTotals {
    digests: Vec<Digest>,
    instructions: u64,
    /// Errors with the position of their unit.
    errors: Vec<(Option<usize>, FactError)>,
}

impl RowBuilder {
    /// A builder of empty batches.
    pub fn new(attrs: &RunAttrs, options: Options) -> Self {
        Self {
            attrs: attrs.entries().into(),
            max_file_bytes: options.max_file_bytes.min(MAX_FILE_BYTES),
            terminators: attrs.include_cfg.then_some(options.terminators),
            files: Files::default(),
            texts: ConstTexts::default(),
        }
    }

    /// Appends the row of a file.
    ///
    /// # Errors
    /// [`RowError::Full`] if the batch already holds 1 GiB; [`RowError::Inconsistent`] is a fault of this crate. Nothing has been
    /// appended then.
    pub fn append(&mut self, input: FileInput<'_>) -> Result<FileStats, RowError> {
        let before = self.bytes();
        if before >= MAX_BATCH_BYTES {
            return Err(RowError::Full { bytes: before });
        }
        let file_id = ids::file_id(input.repo, input.path);
        let source = input.source.map(SourceMap::new);
        let totals = input.code.map(|code| self.append_units(code, &file_id, input.path, source.as_ref())).transpose()?.unwrap_or_default();
        let errors: Vec<_> = input.errors.into_iter().map(|error| (None, error)).chain(totals.errors).collect();
        let errors_by_unit = errors.iter().map(|(unit, error)| (*unit, error));
        let stats = FileStats {
            units: totals.digests.len(),
            instructions: totals.instructions,
            digest: digest::file(input.sha256.as_ref(), &totals.digests, errors_by_unit),
            marshal_digest: input.code.map(digest::marshal),
            errors: errors.into_iter().map(|(_, error)| error).collect(),
            bytes: 0,
        };

        let files = &mut self.files;
        files.repo.push_optional(input.repo);
        files.path.push(input.path);
        files.file_id.push(&file_id);
        files.file_sha256.push_optional(input.sha256.as_ref().map(|sha256| ids::hex(sha256)).as_deref());
        files.code_objects.close();
        files.push_errors(&stats.errors);
        for (key, value) in &self.attrs {
            files.attrs.entry(key, value);
        }
        files.attrs.close();
        files.facts_digest.push(&ids::hex(&stats.digest));
        files.marshal_digest.push_optional(stats.marshal_digest.as_ref().map(|digest| ids::hex(digest)).as_deref());
        files.source_bytes.push_optional(input.source.and_then(|source| i64::try_from(source.len()).ok()));
        files.source_lines.push_optional(source.and_then(|source| i32::try_from(source.line_count()).ok()));
        Ok(FileStats { bytes: self.bytes() - before, ..stats })
    }

    /// The number of rows so far.
    pub fn rows(&self) -> usize {
        self.files.path.len()
    }

    /// The bytes of Arrow data so far.
    pub fn bytes(&self) -> usize {
        self.files.bytes()
    }

    /// The rows so far as a batch of [`schema`]; the builder is empty again.
    ///
    /// # Errors
    /// [`RowError::Arrow`], which is a fault of this crate.
    pub fn finish(&mut self) -> Result<RecordBatch, RowError> {
        self.finish_as(schema())
    }

    /// The same as a batch of [`coded_schema`], which costs less to make and to encode.
    ///
    /// # Errors
    /// [`RowError::Arrow`], which is a fault of this crate.
    pub fn finish_coded(&mut self) -> Result<RecordBatch, RowError> {
        self.finish_as(coded_schema())
    }

    fn finish_as(&mut self, schema: SchemaRef) -> Result<RecordBatch, RowError> {
        let columns = self.files.finish_columns(&schema.fields)?;
        Ok(RecordBatch::try_new(schema, columns)?)
    }

    /// Appends the units of a marshalled file, or takes back what there is of them and says why.
    fn append_units(&mut self, marshalled: &[u8], file_id: &str, path: &str, source: Option<&SourceMap>) -> Result<UnitTotals, RowError> {
        let failed = |stage: &str, error_type: &str, message: String| UnitTotals {
            errors: vec![(None, FactError { stage: stage.to_owned(), error_type: error_type.to_owned(), message, ..FactError::default() })],
            ..UnitTotals::default()
        };
        let module = match marshal::read_code(marshalled) {
            Ok(module) => module,
            Err(error) => return Ok(failed("marshal", "MarshalError", chain(&error))),
        };
        let units = units(&module);
        let ids = Ids::new(&units, file_id);
        let len = self.files.code_objects.items.len();
        match self.push_units(&units, &ids, path, source) {
            Ok(totals) => Ok(totals),
            Err(why) => {
                self.files.code_objects.items.truncate(len);
                match why {
                    Unwritten::TooLarge => {
                        let limit = self.max_file_bytes;
                        let message = format!("facts of more than {limit} bytes, the most that one file may have");
                        Ok(failed("disassembly", "FactsTooLarge", message))
                    }
                    Unwritten::Inconsistent(reason) => Err(RowError::Inconsistent { path: path.to_owned(), reason }),
                }
            }
        }
    }

    /// Appends units one by one.
    fn push_units(&mut self, units: &[Unit<'_>], ids: &Ids<'_>, path: &str, source: Option<&SourceMap>) -> Result<UnitTotals, Unwritten> {
        let column = &mut self.files.code_objects.items;
        let before = column.bytes();
        let mut totals = UnitTotals::default();
        for (index, unit) in units.iter().enumerate() {
            let room = self.max_file_bytes.saturating_sub(column.bytes() - before);
            let facts = UnitFacts::analyse(unit, ids.of(index)?, self.terminators.as_ref(), room)?;
            self.texts.set(&facts, path, room)?;
            let digest = digest::unit(&facts, &self.texts)?;
            column.push(&facts, &UnitContext { ids, index, path, source, room }, &self.texts, &digest)?;
            if column.bytes() - before > self.max_file_bytes {
                return Err(Unwritten::TooLarge);
            }
            totals.digests.push(digest);
            totals.instructions += facts.instructions.len() as u64;
            totals.errors.extend(facts.errors.into_iter().map(|error| (Some(index), error)));
        }
        Ok(totals)
    }
}

#[cfg(test)]
mod tests;
