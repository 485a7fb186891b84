//! The types that columns and results have, as ODBC and JDBC name them.

use std::sync::LazyLock;

use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, XdbcDataType as X};
use datafusion::error::DataFusionError;

/// The types.
///
/// # Errors
/// Never, for constants: a test sees to it.
pub(super) fn data() -> Result<&'static XdbcTypeInfoData, DataFusionError> {
    static DATA: LazyLock<Result<XdbcTypeInfoData, String>> = LazyLock::new(|| build().build().map_err(|error| error.to_string()));
    DATA.as_ref().map_err(|error| DataFusionError::Internal(error.clone()))
}

/// Its name in SQL, its number, digits or characters, what a literal begins and ends with, and the base of its digits.
type Row = (&'static str, X, Option<i32>, Option<&'static str>, Option<i32>);

const ROWS: [Row; 12] = [
    ("BOOLEAN", X::XdbcBit, Some(1), None, None),
    ("TINYINT", X::XdbcTinyint, Some(8), None, Some(2)),
    ("SMALLINT", X::XdbcSmallint, Some(16), None, Some(2)),
    ("INT", X::XdbcInteger, Some(32), None, Some(2)),
    ("BIGINT", X::XdbcBigint, Some(64), None, Some(2)),
    ("REAL", X::XdbcReal, Some(24), None, Some(2)),
    ("DOUBLE", X::XdbcDouble, Some(53), None, Some(2)),
    ("DECIMAL", X::XdbcDecimal, Some(76), None, Some(10)),
    ("VARCHAR", X::XdbcVarchar, None, Some("'"), None),
    ("BYTEA", X::XdbcVarbinary, None, Some("X'"), None),
    ("DATE", X::XdbcDate, Some(10), Some("DATE '"), None),
    ("TIMESTAMP", X::XdbcTimestamp, Some(29), Some("TIMESTAMP '"), None),
];

fn build() -> XdbcTypeInfoDataBuilder {
    let mut types = XdbcTypeInfoDataBuilder::new();
    for (name, number, column_size, prefix, base) in ROWS {
        let is_text = number == X::XdbcVarchar;
        types.append(XdbcTypeInfo {
            type_name: name.to_owned(),
            data_type: number,
            column_size,
            literal_prefix: prefix.map(str::to_owned),
            literal_suffix: prefix.map(|_| "'".to_owned()),
            create_params: (number == X::XdbcDecimal).then(|| vec!["precision".to_owned(), "scale".to_owned()]),
            nullable: Nullable::NullabilityNullable,
            case_sensitive: is_text,
            searchable: if is_text { Searchable::Full } else { Searchable::Basic },
            unsigned_attribute: base.map(|_| false),
            fixed_prec_scale: false,
            auto_increment: base.map(|_| false),
            local_type_name: Some(name.to_owned()),
            minimum_scale: (number == X::XdbcDecimal).then_some(0),
            maximum_scale: (number == X::XdbcDecimal).then_some(76),
            sql_data_type: number,
            datetime_subcode: None,
            num_prec_radix: base,
            interval_precision: None,
        });
    }
    types
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_found_by_their_number() {
        assert_eq!(data().unwrap().record_batch(None).unwrap().num_rows(), ROWS.len());
        assert_eq!(data().unwrap().record_batch(X::XdbcVarchar as i32).unwrap().num_rows(), 1);
        assert_eq!(data().unwrap().record_batch(X::XdbcTime as i32).unwrap().num_rows(), 0);
    }
}
