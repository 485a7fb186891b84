//! DataFusion's errors in words for the person who wrote the SQL.

use std::error::Error as _;

use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;

/// What DataFusion puts before the message, and what to put there instead.
const PREFIXES: [(&str, &str); 8] = [
    ("Error during planning: ", ""),
    ("Schema error: ", ""),
    ("External error: ", ""),
    ("Execution error: ", ""),
    ("Arrow error: ", ""),
    ("Cast error: ", ""),
    ("Parquet error: ", ""),
    ("This feature is not implemented: ", "not supported: "),
];

/// A list of columns longer than this helps nobody.
const LIST_CHARACTERS: usize = 300;

/// Below this likeness (1 is equal) a name is not meant.
const LIKENESS: f64 = 0.8;

/// The error as the command reports it; see [`explain`].
pub fn error(error: &DataFusionError, names: &[String]) -> anyhow::Error {
    anyhow::Error::msg(explain(error, names))
}

/// What went wrong, without DataFusion's noise, and a hint where one helps; `names` are the tables that there are.
pub fn explain(error: &DataFusionError, names: &[String]) -> String {
    // What stands around the root tells which rule or operator met it.
    let root = error.find_root();
    if let DataFusionError::SQL(error, _) = root {
        return match error.as_ref() {
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => format!("syntax error: {message}"),
            ParserError::RecursionLimitExceeded => "the statement is nested too deeply".to_owned(),
        };
    }
    let mut text = root.strip_backtrace();
    let mut cause = root.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(&format!(": {said}"));
        }
        cause = error.source();
    }
    // Of sessions, and of servers.
    text = text.replace("datafusion.public.", "").replace("facts.public.", "");
    while let Some((prefix, instead)) = PREFIXES.iter().find(|(prefix, _)| text.starts_with(prefix)) {
        text.replace_range(..prefix.len(), instead);
    }
    let lines = text.lines().filter(|line| !(line.starts_with("Valid fields are") && line.len() > LIST_CHARACTERS));
    text = lines.collect::<Vec<_>>().join("\n");
    if let Some(table) = missing_table(&text) {
        if let Some(meant) = most_alike(table, names) {
            text.push_str(&format!(": did you mean {meant}?"));
        }
        text.push_str("\nhint: \\d lists the tables and views");
    } else if text.contains("No field named") || (text.contains("olumn '") && text.contains("not found")) {
        if text.starts_with("No field named \"") {
            text.push_str("\nhint: double quotes are for names; a text stands in single quotes, such as opname = 'CALL'");
        }
        text.push_str("\nhint: \\d NAME lists the columns of a table or view");
    }
    text
}

fn missing_table(text: &str) -> Option<&str> {
    text.strip_prefix("table '")?.strip_suffix("' not found")
}

fn most_alike<'a>(name: &str, names: &'a [String]) -> Option<&'a str> {
    let scored = names.iter().map(|other| (strsim::jaro_winkler(name, other), other));
    let best = scored.filter(|(likeness, _)| *likeness >= LIKENESS).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, name)| name.as_str())
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn said(sql: &str) -> String {
        let session = SessionContext::new();
        session.sql("CREATE TABLE py_bc_blocks AS SELECT 1 AS start_offset").await.unwrap().collect().await.unwrap();
        let result = async { session.sql(sql).await?.collect().await };
        explain(&result.await.unwrap_err(), &["py_bc_blocks".to_owned(), "other".to_owned()])
    }

    #[tokio::test]
    async fn a_missing_table_is_named_without_its_catalogue_and_with_a_guess() {
        let expected = "table 'py_bc_block' not found: did you mean py_bc_blocks?\nhint: \\d lists the tables and views";
        assert_eq!(said("SELECT * FROM py_bc_block").await, expected);
        assert_eq!(said("SELECT * FROM zzz").await, "table 'zzz' not found\nhint: \\d lists the tables and views");
    }

    #[tokio::test]
    async fn a_missing_column_comes_with_a_hint() {
        let text = said("SELECT start_ofset FROM py_bc_blocks").await;
        assert!(text.starts_with("No field named start_ofset. Did you mean"), "{text}");
        assert!(text.ends_with("hint: \\d NAME lists the columns of a table or view"), "{text}");
    }

    #[tokio::test]
    async fn a_text_in_double_quotes_comes_with_a_hint_at_single_ones() {
        let text = said("SELECT * FROM py_bc_blocks WHERE start_offset = \"CALL\"").await;
        assert!(text.starts_with("No field named \"CALL\"") && text.contains("hint: double quotes are for names"), "{text}");
        assert!(!said("SELECT zzz FROM py_bc_blocks").await.contains("double quotes"));
    }

    #[tokio::test]
    async fn a_syntax_error_says_where() {
        let text = said("SELECT 1 FORM t x y").await;
        assert!(text.starts_with("syntax error: ") && text.contains("Line: 1"), "{text}");
        assert!(!text.contains("ParserError"), "{text}");
    }

    #[tokio::test]
    async fn an_error_of_a_value_is_told_without_where_it_was_met() {
        assert_eq!(said("SELECT CAST('x' AS INT)").await, "Cannot cast string 'x' to value of Int32 type");
    }
}
