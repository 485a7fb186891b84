//! Completion of names and keywords.

use datafusion::prelude::SessionContext;

use super::schema;

/// Keywords worth completing: those of queries, not all that the parser knows.
const KEYWORDS: &[&str] = &[
    "ALL",
    "AND",
    "ANTI",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "COPY",
    "CREATE",
    "CROSS",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DROP",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN ANALYZE",
    "EXPLAIN",
    "EXTERNAL TABLE",
    "EXTRACT",
    "FALSE",
    "FILTER",
    "FROM",
    "FULL",
    "GROUP BY",
    "HAVING",
    "ILIKE",
    "IN",
    "INNER",
    "INTERSECT",
    "INTERVAL",
    "IS NOT NULL",
    "IS NULL",
    "JOIN",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "NULLS LAST",
    "OFFSET",
    "ON",
    "OR",
    "ORDER BY",
    "OVER",
    "PARTITION BY",
    "RECURSIVE",
    "RIGHT",
    "SELECT",
    "SEMI",
    "SET",
    "SHOW COLUMNS FROM",
    "SHOW TABLES",
    "TABLE",
    "THEN",
    "TO",
    "TRUE",
    "UNION ALL",
    "UNION",
    "UNNEST",
    "USING",
    "VALUES",
    "VIEW",
    "WHEN",
    "WHERE",
    "WITH",
];

/// Backslash commands worth completing.
const COMMANDS: &[&str] = &["\\d", "\\q", "\\runs", "\\timing", "\\x", "\\?"];

/// The names that a session knows, each list sorted and without duplicates.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Tables and views.
    pub tables: Vec<String>,
    /// Columns of any of them.
    pub columns: Vec<String>,
    /// Functions.
    pub functions: Vec<String>,
}

impl Names {
    /// The names as they are now.
    ///
    /// # Errors
    /// When a table's provider cannot be had.
    pub async fn of(session: &SessionContext) -> datafusion::common::Result<Self> {
        let tables = schema::tables(session).await?;
        let columns = tables.iter().flat_map(|table| table.schema.fields().iter().map(|field| field.name().clone())).collect();
        let state = session.state();
        let functions = [
            state.scalar_functions().keys().cloned().collect::<Vec<_>>(),
            state.aggregate_functions().keys().cloned().collect(),
            state.window_functions().keys().cloned().collect(),
        ];
        Ok(Self {
            tables: sorted(tables.into_iter().map(|table| table.name).collect()),
            columns: sorted(columns),
            functions: sorted(functions.concat()),
        })
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names.dedup();
    names
}

/// What the word in front of `position` may become, and where that word starts. Names come before keywords, which follow the case that was begun.
pub fn complete(line: &str, position: usize, names: &Names) -> (usize, Vec<String>) {
    let before = line.get(..position).unwrap_or(line);
    let start = before
        .rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '\\' || c == '?'))
        .map_or(0, |at| at + before.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8));
    let word = before.get(start..).unwrap_or_default();
    let of = |names: &[String], end: &str| -> Vec<String> {
        names.iter().filter(|name| starts_with(name, word)).map(|name| format!("{name}{end}")).collect()
    };
    let in_front = before.get(..start).unwrap_or_default();
    let candidates = if word.starts_with('\\') {
        COMMANDS.iter().filter(|command| command.starts_with(word)).map(|&command| command.to_owned()).collect()
    } else if in_front.trim_start().starts_with('\\') {
        of(&names.tables, "")
    } else if in_front.ends_with('.') {
        of(&names.columns, "")
    } else if word.is_empty() {
        Vec::new()
    } else {
        let lower = word.starts_with(char::is_lowercase);
        let keywords = KEYWORDS.iter().filter(|keyword| starts_with(keyword, word));
        let keywords = keywords.map(|keyword| if lower { keyword.to_lowercase() } else { (*keyword).to_owned() });
        [of(&names.tables, ""), of(&names.columns, ""), of(&names.functions, "("), keywords.collect()].concat()
    };
    (start, candidates)
}

fn starts_with(name: &str, word: &str) -> bool {
    name.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_end(line: &str) -> (usize, Vec<String>) {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let names = Names {
            tables: owned(&["bytecode_files_v1", "py_bc_blocks", "py_bc_consts"]),
            columns: owned(&["opname", "opcode", "path"]),
            functions: owned(&["count", "octet_length"]),
        };
        complete(line, line.len(), &names)
    }

    #[test]
    fn a_word_becomes_a_name_a_function_or_a_keyword() {
        assert_eq!(at_end("SELECT op"), (7, vec!["opname".into(), "opcode".into()]));
        assert_eq!(at_end("select count(*) from PY_BC_C"), (21, vec!["py_bc_consts".into()]));
        assert_eq!(at_end("select co"), (7, vec!["count(".into(), "copy".into()]));
        assert_eq!(at_end("SEL"), (0, vec!["SELECT".into()]));
    }

    #[test]
    fn behind_a_dot_stand_columns() {
        assert_eq!(at_end("SELECT b."), (9, vec!["opname".into(), "opcode".into(), "path".into()]));
        assert_eq!(at_end("SELECT b.pa"), (9, vec!["path".into()]));
    }

    #[test]
    fn behind_a_command_stand_tables() {
        assert_eq!(at_end("\\d py_bc_b"), (3, vec!["py_bc_blocks".into()]));
        assert_eq!(at_end("\\r"), (0, vec!["\\runs".into()]));
    }

    #[test]
    fn nothing_becomes_nothing() {
        assert_eq!(at_end("SELECT "), (7, vec![]));
        assert_eq!(at_end("SELECT 'ä"), (8, vec![]));
        assert_eq!(at_end("").1, [""; 0]);
    }
}
