//! The root columns and the errors.

use super::{
    column::{Int32s, Int64s, List, Map, Texts, record},
    unit::Units,
};
use crate::input::FactError;

record! {
    /// `schema::FILE`.
    Files {
        repo: Texts,
        path: Texts,
        file_id: Texts,
        file_sha256: Texts,
        code_objects: List<Units>,
        errors: List<Errors>,
        attrs: Map,
        facts_digest: Texts,
        marshal_digest: Texts,
        source_bytes: Int64s,
        source_lines: Int32s,
    }
}

record! {
    /// `schema::ERROR`.
    Errors {
        error_type: Texts,
        message: Texts,
        attrs: Map,
        stage: Texts,
        line1: Int32s,
        col: Int32s,
        end_line1: Int32s,
        end_col: Int32s,
        source_line: Texts,
        code_unit_id: Texts,
        severity: Texts,
    }
}

impl Files {
    /// Appends a row's list of errors.
    pub(super) fn push_errors(&mut self, errors: &[FactError]) {
        for error in errors {
            self.errors.items.push(error);
        }
        self.errors.close();
    }
}

impl Errors {
    fn push(&mut self, error: &FactError) {
        self.error_type.push(&error.error_type);
        self.message.push(&error.message);
        for (key, value) in &error.attrs {
            self.attrs.entry(key, value);
        }
        self.attrs.close();
        self.stage.push(&error.stage);
        self.line1.push_optional(error.line1);
        self.col.push_optional(error.col);
        self.end_line1.push_optional(error.end_line1);
        self.end_col.push_optional(error.end_col);
        self.source_line.push_optional(error.source_line.as_deref());
        self.code_unit_id.push_optional(error.code_unit_id.as_deref());
        self.severity.push(error.severity.as_str());
    }
}
