//! Field metadata.

/// `line_table.line1` counts lines from one.
pub(super) const LINE1_BASE: &[(&str, &str)] = &[("line_base", "1")];

/// Spans count lines from zero, columns in UTF-8 bytes, and exclude their end.
pub(super) const SPAN_UNITS: &[(&str, &str)] = &[("line_base", "0"), ("col_unit", "byte"), ("end_exclusive", "true")];
