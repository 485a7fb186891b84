//! What the service says of itself, truthfully: drivers act on it.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow_flight::sql::SqlInfo as I;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use datafusion::error::DataFusionError;

use crate::gate::{MAX_BYTES, MAX_TABLES};
use crate::options::ServeOptions;
use crate::wire::ENVELOPE;

/// A bit for each of these.
const fn bits(ordinals: &[u32]) -> i32 {
    let (mut bits, mut i) = (0, 0);
    while i < ordinals.len() {
        bits |= 1 << ordinals[i];
        i += 1;
    }
    bits
}

/// Version of Arrow, as its crates give it.
const ARROW_VERSION: &str = arrow::ARROW_VERSION;

/// What there is to say, by what the service was told, to somebody whose statements may take so long.
///
/// # Errors
/// Never, for constants: a test sees to it.
pub(super) fn data(options: &ServeOptions, limit: Duration) -> Result<SqlInfoData, DataFusionError> {
    build(options, limit).build().map_err(|error| DataFusionError::Internal(error.to_string()))
}

fn build(options: &ServeOptions, limit: Duration) -> SqlInfoDataBuilder {
    let mut info = SqlInfoDataBuilder::new();
    info.append(I::FlightSqlServerName, "bytefacts");
    info.append(I::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    info.append(I::FlightSqlServerArrowVersion, ARROW_VERSION);
    info.append(I::FlightSqlServerReadOnly, true);
    info.append(I::FlightSqlServerSql, true);
    info.append(I::FlightSqlServerSubstrait, false);
    info.append(I::FlightSqlServerTransaction, 0i32);
    info.append(I::FlightSqlServerCancel, true);
    info.append(I::FlightSqlServerBulkIngestion, false);
    info.append(I::FlightSqlServerIngestTransactionsSupported, false);
    info.append(I::FlightSqlServerStatementTimeout, i32::try_from(limit.as_millis()).unwrap_or(i32::MAX));
    info.append(I::FlightSqlServerTransactionTimeout, 0i32);

    info.append(I::SqlDdlCatalog, false);
    info.append(I::SqlDdlSchema, false);
    info.append(I::SqlDdlTable, false);
    info.append(I::SqlIdentifierCase, 3i32); // lower case
    info.append(I::SqlIdentifierQuoteChar, "\"");
    info.append(I::SqlQuotedIdentifierCase, 0i32); // as it is written, which has no number
    info.append(I::SqlAllTablesAreSelectable, true);
    info.append(I::SqlNullOrdering, 0i32); // nulls are the highest values
    info.append(
        I::SqlKeywords,
        &["ANALYZE", "DESCRIBE", "EXCLUDE", "EXPLAIN", "ILIKE", "LIMIT", "OFFSET", "QUALIFY", "SHOW", "UNNEST"][..],
    );
    let numeric = ["ABS", "ACOS", "ASIN", "ATAN", "ATAN2", "COS", "COT", "DEGREES", "EXP", "FLOOR", "LOG", "LOG10", "PI", "POWER"];
    info.append(I::SqlNumericFunctions, &numeric[..]);
    let string = ["ASCII", "CONCAT", "LEFT", "LENGTH", "LTRIM", "REPLACE", "RIGHT", "RTRIM", "SUBSTRING"];
    info.append(I::SqlStringFunctions, &string[..]);
    info.append(I::SqlSystemFunctions, &["NULLIF"][..]);
    info.append(I::SqlDatetimeFunctions, &["CURRENT_DATE", "CURRENT_TIME", "NOW"][..]);
    info.append(I::SqlSearchStringEscape, "\\");
    info.append(I::SqlExtraNameCharacters, "");
    info.append(I::SqlSupportsColumnAliasing, true);
    info.append(I::SqlNullPlusNullIsNull, true);
    info.append(I::SqlSupportsConvert, BTreeMap::new());
    info.append(I::SqlSupportsTableCorrelationNames, true);
    info.append(I::SqlSupportsDifferentTableCorrelationNames, false);
    info.append(I::SqlSupportsExpressionsInOrderBy, true);
    info.append(I::SqlSupportsOrderByUnrelated, true);
    info.append(I::SqlSupportedGroupBy, bits(&[0, 1]));
    info.append(I::SqlSupportsLikeEscapeClause, true);
    info.append(I::SqlSupportsNonNullableColumns, true);
    info.append(I::SqlSupportedGrammar, bits(&[0, 1]));
    info.append(I::SqlAnsi92SupportedLevel, bits(&[0]));
    info.append(I::SqlSupportsIntegrityEnhancementFacility, false);
    info.append(I::SqlOuterJoinsSupportLevel, bits(&[2]));
    info.append(I::SqlSchemaTerm, "schema");
    info.append(I::SqlProcedureTerm, "");
    info.append(I::SqlCatalogTerm, "catalog");
    info.append(I::SqlCatalogAtStart, true);
    info.append(I::SqlSchemasSupportedActions, 0i32);
    info.append(I::SqlCatalogsSupportedActions, 0i32);
    info.append(I::SqlSupportedPositionedCommands, 0i32);
    info.append(I::SqlSelectForUpdateSupported, false);
    info.append(I::SqlStoredProceduresSupported, false);
    info.append(I::SqlSupportedSubqueries, bits(&[0, 1, 2]));
    info.append(I::SqlCorrelatedSubqueriesSupported, true);
    info.append(I::SqlSupportedUnions, bits(&[0, 1]));
    let unlimited = [
        I::SqlMaxBinaryLiteralLength,
        I::SqlMaxCharLiteralLength,
        I::SqlMaxColumnNameLength,
        I::SqlMaxColumnsInGroupBy,
        I::SqlMaxColumnsInIndex,
        I::SqlMaxColumnsInOrderBy,
        I::SqlMaxColumnsInSelect,
        I::SqlMaxColumnsInTable,
        I::SqlMaxCursorNameLength,
        I::SqlMaxIndexLength,
        I::SqlDbSchemaNameLength,
        I::SqlMaxProcedureNameLength,
        I::SqlMaxCatalogNameLength,
        I::SqlMaxStatements,
        I::SqlMaxTableNameLength,
        I::SqlMaxUsernameLength,
    ];
    for limit in unlimited {
        info.append(limit, 0i64);
    }
    info.append(I::SqlMaxRowSizeIncludesBlobs, true);
    let limited = [
        (I::SqlMaxConnections, options.connections),
        // A row is not sent in parts.
        (I::SqlMaxRowSize, options.message_bytes.saturating_sub(ENVELOPE)),
        (I::SqlMaxStatementLength, MAX_BYTES),
        // The SELECT itself counts as one of them.
        (I::SqlMaxTablesInSelect, MAX_TABLES - 1),
    ];
    for (limit, most) in limited {
        info.append(limit, i64::try_from(most).unwrap_or(i64::MAX));
    }
    info.append(I::SqlDefaultTransactionIsolation, 0i64);
    info.append(I::SqlTransactionsSupported, false);
    info.append(I::SqlSupportedTransactionsIsolationLevels, bits(&[0]));
    info.append(I::SqlDataDefinitionCausesTransactionCommit, false);
    info.append(I::SqlDataDefinitionsInTransactionsIgnored, false);
    info.append(I::SqlSupportedResultSetTypes, bits(&[0, 1]));
    let read_only = bits(&[0, 1]);
    info.append(I::SqlSupportedConcurrenciesForResultSetUnspecified, read_only);
    info.append(I::SqlSupportedConcurrenciesForResultSetForwardOnly, read_only);
    info.append(I::SqlSupportedConcurrenciesForResultSetScrollSensitive, 0i32);
    info.append(I::SqlSupportedConcurrenciesForResultSetScrollInsensitive, 0i32);
    info.append(I::SqlBatchUpdatesSupported, false);
    info.append(I::SqlSavepointsSupported, false);
    info.append(I::SqlNamedParametersSupported, true);
    info.append(I::SqlLocatorsUpdateCopy, false);
    info.append(I::SqlStoredFunctionsUsingCallSyntaxSupported, false);
    info
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray as _, UnionArray};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::gate;

    #[test]
    fn everything_is_answered() {
        // 12 of the server, 77 of SQL; the Substrait versions are of what there is not.
        let data = data(&ServeOptions::default(), Duration::from_secs(600)).unwrap();
        assert_eq!(data.record_batch(Vec::new()).unwrap().num_rows(), 12 - 2 + 77 + 2);
        assert_eq!(data.record_batch([0, 3, 9]).unwrap().num_rows(), 3);
    }

    #[test]
    fn a_select_of_as_many_tables_as_are_told_passes_and_of_one_more_does_not() {
        let data = data(&ServeOptions::default(), Duration::from_secs(600)).unwrap();
        let batch = data.record_batch([I::SqlMaxTablesInSelect as u32]).unwrap();
        let value = batch.column(1).as_any().downcast_ref::<UnionArray>().unwrap().value(0);
        let most = usize::try_from(value.as_primitive::<Int64Type>().value(0)).unwrap();
        let select = |tables: usize| format!("SELECT 1 FROM {}", vec!["t"; tables].join(", "));
        assert!(gate::read(&select(most)).is_ok());
        assert!(gate::read(&select(most + 1)).is_err());
    }
}
