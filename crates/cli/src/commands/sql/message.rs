//! DataFusion's errors, in the words of the shell.

use bytefacts_query::Hints;
use datafusion::error::DataFusionError;

const HINTS: Hints = Hints { tables: "\\d lists the tables and views", columns: "\\d NAME lists the columns of a table or view" };

/// The error as the command reports it; see [`explain`].
pub fn error(error: &DataFusionError, names: &[String]) -> anyhow::Error {
    anyhow::Error::msg(explain(error, names))
}

/// What went wrong, without DataFusion's noise, and a hint where one helps; `names` are the tables that there are.
pub fn explain(error: &DataFusionError, names: &[String]) -> String {
    bytefacts_query::explain(error, names, HINTS)
}
