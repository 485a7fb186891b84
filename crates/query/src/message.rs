//! DataFusion's errors in words for the person who wrote the SQL, be it in the shell or over the wire.

use std::error::Error as _;

use datafusion::arrow::error::ArrowError;
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

/// Where the person finds the names that there are.
#[derive(Clone, Copy, Debug)]
pub struct Hints {
    /// Of tables and views.
    pub tables: &'static str,
    /// Of the columns of one.
    pub columns: &'static str,
    /// What is only elsewhere: what DataFusion says of it, and where it is.
    pub elsewhere: &'static [(&'static str, &'static str)],
}

/// Names of catalogs and schemas that nobody has written.
const DEFAULTS: [&str; 3] = ["datafusion.public.", "facts.public.", "facts."];

/// What went wrong, without DataFusion's noise, and a hint where one helps; `names` are the tables that there are.
#[must_use]
pub fn explain(error: &DataFusionError, names: &[String], hints: Hints) -> String {
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
    let elsewhere = hints.elsewhere.iter().find(|(said, _)| text.contains(said)).map(|(_, hint)| hint);
    // Where a name is elsewhere, it is told as it was written.
    for default in DEFAULTS.iter().filter(|_| elsewhere.is_none()) {
        text = without(&text, default);
    }
    text = text.replace("table 'datafusion.", "table '");
    while let Some((prefix, instead)) = PREFIXES.iter().find(|(prefix, _)| text.starts_with(prefix)) {
        text.replace_range(..prefix.len(), instead);
    }
    let lines = text.lines().filter(|line| !(line.starts_with("Valid fields are") && line.len() > LIST_CHARACTERS));
    text = lines.collect::<Vec<_>>().join("\n");
    if let Some(hint) = elsewhere {
        text.push_str(&format!("\nhint: {hint}"));
    } else if let Some(table) = missing_table(&text) {
        if let Some(meant) = most_alike(table, names) {
            text.push_str(&format!(": did you mean {meant}?"));
        }
        text.push_str(&format!("\nhint: {}", hints.tables));
    } else if text.contains("No field named") || (text.contains("olumn '") && text.contains("not found")) {
        if text.starts_with("No field named \"") {
            text.push_str("\nhint: double quotes are for names; a text stands in single quotes, such as opname = 'CALL'");
        }
        text.push_str(&format!("\nhint: {}", hints.columns));
    }
    text
}

/// The text without a name before others. `facts.` is one, and in `bytefacts.` it is none.
fn without(text: &str, name: &str) -> String {
    let (mut kept, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once(name) {
        kept.push_str(before);
        if kept.ends_with(|c: char| c.is_alphanumeric() || "_.".contains(c)) {
            kept.push_str(name);
        }
        rest = after;
    }
    kept + rest
}

fn missing_table(text: &str) -> Option<&str> {
    text.strip_prefix("table '")?.strip_suffix("' not found")
}

fn most_alike<'a>(name: &str, names: &'a [String]) -> Option<&'a str> {
    let scored = names.iter().map(|other| (strsim::jaro_winkler(name, other), other));
    let best = scored.filter(|(likeness, _)| *likeness >= LIKENESS).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, name)| name.as_str())
}

/// Errors of Arrow and DataFusion that say in words what is wrong with a statement, or with the values that it meets.
const OF_STATEMENT: [&str; 8] =
    ["CastError", "ParseError", "ComputeError", "ArithmeticOverflow", "InvalidArgumentError", "SchemaError", "Execution", "Plan"];

/// What stands in errors of stores and files.
const OF_STORES: [&str; 6] = ["ObjectStore(", "IoError(", "ParquetError(", "ExternalError(", "Generic {", "NotFound {"];

/// What a task of a cluster failed with, if it is an error of its statement. Ballista 55 passes on the debug print of a task's error as a text, be it that
/// its memory was not enough, that it divides by zero, or that a store is down: the first two are made what they were.
#[must_use]
pub fn of_task(error: &DataFusionError) -> Option<DataFusionError> {
    let text = error.to_string();
    let (_, text) = text.split_once("execution error: DataFusionError(")?;
    let words_of = |kind: &str| {
        let (words, _) = text.split_once(&format!("{kind}(\""))?.1.split_once("\")")?;
        Some(words.replace("\\n", "\n").replace("\\\"", "\""))
    };
    if let Some(words) = words_of("ResourcesExhausted") {
        return Some(DataFusionError::ResourcesExhausted(words));
    }
    if OF_STORES.iter().any(|kind| text.contains(kind)) {
        return None;
    }
    if text.contains("DivideByZero") {
        return Some(DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None));
    }
    OF_STATEMENT.iter().find_map(|kind| words_of(kind)).map(DataFusionError::Execution)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::prelude::SessionContext;

    use super::*;

    const HINTS: Hints = Hints {
        tables: "\\d lists the tables and views",
        columns: "\\d NAME lists the columns of a table or view",
        elsewhere: &[("'datafusion.there.", "`there` is elsewhere")],
    };

    async fn said(sql: &str) -> String {
        let session = SessionContext::new();
        session.sql("CREATE TABLE py_bc_blocks AS SELECT 1 AS start_offset").await.unwrap().collect().await.unwrap();
        let result = async { session.sql(sql).await?.collect().await };
        explain(&result.await.unwrap_err(), &["py_bc_blocks".to_owned(), "other".to_owned()], HINTS)
    }

    #[tokio::test]
    async fn a_missing_table_is_named_without_its_catalogue_and_with_a_guess() {
        let expected = "table 'py_bc_block' not found: did you mean py_bc_blocks?\nhint: \\d lists the tables and views";
        assert_eq!(said("SELECT * FROM py_bc_block").await, expected);
        assert_eq!(said("SELECT * FROM zzz").await, "table 'zzz' not found\nhint: \\d lists the tables and views");
    }

    #[tokio::test]
    async fn what_is_only_elsewhere_comes_with_where_it_is() {
        let expected = "table 'there.py_bc_block' not found\nhint: `there` is elsewhere";
        assert_eq!(said("SELECT * FROM there.py_bc_block").await, expected);
    }

    #[test]
    fn catalogs_that_nobody_has_written_are_whole_names() {
        let missing = |name: &str| explain(&DataFusionError::Plan(format!("table '{name}' not found")), &[], HINTS);
        for (name, shown) in [
            ("facts.bytefacts.queries", "bytefacts.queries"),
            ("datafusion.public.x", "x"),
            ("datafusion.bytefacts.public.x", "bytefacts.public.x"),
            ("runs.facts.x", "runs.facts.x"),
        ] {
            assert!(missing(name).starts_with(&format!("table '{shown}' not found")), "{}", missing(name));
        }
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

    #[test]
    fn an_error_of_a_task_is_what_it_was_before_it_became_a_text() {
        let by_task = |error: &DataFusionError| {
            of_task(&DataFusionError::Execution(format!(
                "Job failed due to stage 1 failed: Task failed due to runtime execution error: DataFusionError({error:?})"
            )))
        };
        let memory = || DataFusionError::ResourcesExhausted("no \"room\"".to_owned());
        for error in [memory(), DataFusionError::Shared(Arc::new(DataFusionError::External(Box::new(memory()))))] {
            assert!(matches!(by_task(&error), Some(DataFusionError::ResourcesExhausted(words)) if words == "no \"room\""));
        }
        let zero = DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None);
        assert!(matches!(by_task(&zero), Some(DataFusionError::ArrowError(..))));
        let cast = DataFusionError::ArrowError(Box::new(ArrowError::CastError("not 'x'".to_owned())), None);
        assert!(matches!(by_task(&cast), Some(DataFusionError::Execution(words)) if words == "not 'x'"));
        // Of stores, and of no task at all.
        assert!(by_task(&std::io::Error::other("Plan(\"gone\")").into()).is_none());
        assert!(by_task(&DataFusionError::ArrowError(Box::new(ArrowError::ExternalError("Plan(\"gone\")".into())), None)).is_none());
        assert!(of_task(&DataFusionError::Execution("no executors".to_owned())).is_none());
    }
}
