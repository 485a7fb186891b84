//! Completion of names and keywords.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::meta;
use super::schema::{Table, sorted};

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

/// The names that a session knows, each list sorted and without duplicates.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Tables and views.
    pub tables: Vec<String>,
    /// Columns of any of them.
    pub columns: Vec<String>,
    /// Columns of each.
    pub columns_of: BTreeMap<String, Vec<String>>,
    /// Functions.
    pub functions: Vec<String>,
}

impl Names {
    /// Of these tables and functions.
    pub fn new(tables: &[Table], functions: Vec<String>) -> Self {
        let columns_of: BTreeMap<_, Vec<_>> = tables
            .iter()
            .map(|table| (table.name.clone(), sorted(table.schema.fields().iter().map(|field| field.name().clone()).collect())))
            .collect();
        Self {
            tables: sorted(tables.iter().map(|table| table.name.clone()).collect()),
            columns: sorted(columns_of.values().flatten().cloned().collect()),
            columns_of,
            functions: sorted(functions),
        }
    }
}

/// What the word in front of `position` of `line` may become, and where that word starts. Names come before keywords, which follow the case
/// that was begun; `above` is what stands before the line in its statement.
pub fn complete(above: &str, line: &str, position: usize, names: &Names) -> (usize, Vec<String>) {
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
        let commands = meta::HELP.iter().filter_map(|(command, _)| command.split(' ').next()).filter(|name| name.starts_with(word));
        sorted(commands.map(str::to_owned).collect())
    } else if in_front.trim_start().starts_with('\\') {
        of(&names.tables, "")
    } else if let Some(qualified) = in_front.strip_suffix('.') {
        let qualifier = qualified.rsplit(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
        of(table_of(qualifier, &format!("{above}{line}"), names).map_or(&names.columns, |(_, columns)| columns), "")
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

/// The table that `qualifier` stands for in a statement, by its own name or by the alias behind it, and its columns.
fn table_of<'a>(qualifier: &str, statement: &str, names: &'a Names) -> Option<(&'a String, &'a Vec<String>)> {
    let table = |name: &str| names.columns_of.iter().find(|(table, _)| table.eq_ignore_ascii_case(name));
    if let Some(found) = table(qualifier) {
        return Some(found);
    }
    // What does not tokenise, such as an open text, has no aliases that could be told from it.
    let tokens = Tokenizer::new(&GenericDialect {}, statement).tokenize().ok()?;
    let mut words = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).map(|token| match token {
        Token::Word(word) => Some(word),
        _ => None,
    });
    let mut last = None;
    // `table alias`, `table AS alias`
    words.find_map(|word| {
        let Some(word) = word else {
            last = None;
            return None;
        };
        if word.keyword == Keyword::AS {
            return None;
        }
        let before = std::mem::replace(&mut last, table(&word.value));
        before.filter(|_| word.value.eq_ignore_ascii_case(qualifier))
    })
}

fn starts_with(name: &str, word: &str) -> bool {
    name.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let tables = [("bytecode_files_v1", &["path", "repo"][..]), ("py_bc_blocks", &["start_offset"]), ("py_bc_consts", &["const_type"])];
        Names {
            tables: tables.iter().map(|(table, _)| (*table).to_owned()).collect(),
            columns: owned(&["opname", "opcode", "path"]),
            columns_of: tables.iter().map(|(table, columns)| ((*table).to_owned(), owned(columns))).collect(),
            functions: owned(&["count", "octet_length"]),
        }
    }

    fn at_end(line: &str) -> (usize, Vec<String>) {
        complete("", line, line.len(), &names())
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
    fn behind_an_alias_stand_the_columns_of_its_table() {
        for statement in [
            "select * from py_bc_blocks b where b.",
            "SELECT * FROM bytecode_files_v1 f JOIN py_bc_blocks AS B ON b.",
            "select * from py_bc_blocks where py_bc_blocks.st",
            "select 'x', c.const_type from py_bc_consts c, py_bc_blocks b where b.",
        ] {
            assert_eq!(at_end(statement).1, ["start_offset"], "{statement}");
        }
        // The alias may stand behind, or on a line above.
        assert_eq!(complete("", "select b. from py_bc_blocks b", 9, &names()).1, ["start_offset"]);
        assert_eq!(complete("select *\nfrom py_bc_blocks b\n", "where b.", 8, &names()).1, ["start_offset"]);
        assert_eq!(at_end("select * from py_bc_blocks b where x.").1, ["opname", "opcode", "path"], "nobody knows what x is");
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
