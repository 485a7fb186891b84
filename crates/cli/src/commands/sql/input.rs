//! What the user wrote, cut into statements and commands.

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, Tokenizer};

/// A part of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A line that starts with a backslash, between statements.
    Command(String),
    /// One or more statements.
    Sql(String),
}

/// Cuts a script into commands and the SQL between them. SQL keeps its line numbers.
pub fn pieces(script: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut sql = String::new();
    for (number, line) in script.lines().enumerate() {
        if line.trim_start().starts_with('\\') && (is_blank(&sql) || is_complete(&sql)) {
            if !is_blank(&sql) {
                pieces.push(Piece::Sql(std::mem::take(&mut sql)));
            }
            pieces.push(Piece::Command(line.trim().to_owned()));
            sql = "\n".repeat(number + 1);
        } else {
            sql.push_str(line);
            sql.push('\n');
        }
    }
    if !is_blank(&sql) {
        pieces.push(Piece::Sql(sql));
    }
    pieces
}

/// A statement, and how it was written.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The statement.
    pub statement: Statement,
    /// Its text, without the semicolon.
    pub text: String,
}

/// The statements of a piece of SQL; empty ones are left out.
///
/// # Errors
/// When any of them does not parse: none is to run then.
pub fn statements(sql: &str) -> Result<Vec<Parsed>, DataFusionError> {
    let statements = DFParser::parse_sql(sql)?;
    let texts = texts(sql);
    let are_those = texts.len() == statements.len();
    let parsed = |(number, statement): (usize, Statement)| {
        // Where texts and statements are not told apart alike, a statement is written as it was understood.
        let text = texts.get(number).filter(|_| are_those).map_or_else(|| statement.to_string(), |text| (*text).to_owned());
        Parsed { statement, text }
    };
    Ok(statements.into_iter().enumerate().map(parsed).collect())
}

/// The texts between semicolons in which there is more than space and comments.
fn texts(sql: &str) -> Vec<&str> {
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location() else { return Vec::new() };
    let (mut texts, mut start, mut is_empty) = (Vec::new(), 0, true);
    for token in tokens {
        match token.token {
            Token::SemiColon => {
                let end = offset(sql, token.span.start);
                texts.extend((!is_empty).then(|| sql.get(start..end)).flatten());
                (start, is_empty) = (end + 1, true);
            }
            Token::Whitespace(_) | Token::EOF => {}
            _ => is_empty = false,
        }
    }
    texts.extend((!is_empty).then(|| sql.get(start..)).flatten());
    texts.into_iter().map(str::trim).collect()
}

/// Where a line and a column stand, both counted from 1.
fn offset(sql: &str, at: Location) -> usize {
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1);
    let lines = sql.split_inclusive('\n').take(number(at.line)).map(str::len).sum::<usize>();
    let line = sql.get(lines..).unwrap_or_default();
    lines + line.char_indices().nth(number(at.column)).map_or(line.len(), |(offset, _)| offset)
}

/// Whether what was typed so far can be run: a command, or SQL up to a semicolon that stands in no text, name or comment.
pub fn is_complete(input: &str) -> bool {
    let text = input.trim();
    if text.is_empty() || text.starts_with('\\') || is_farewell(text) {
        return true;
    }
    match Tokenizer::new(&GenericDialect {}, text).tokenize() {
        Ok(tokens) => tokens.iter().rev().find(|token| !matches!(token, Token::Whitespace(_))) == Some(&Token::SemiColon),
        // An open quote or comment goes on; whatever else is wrong is for the parser to say.
        Err(error) if is_open(&error.message) => false,
        Err(_) => text.ends_with(';'),
    }
}

/// What people type to leave or to be helped, beside the commands.
pub fn is_farewell(text: &str) -> bool {
    matches!(text.trim(), "exit" | "quit" | "help")
}

fn is_open(message: &str) -> bool {
    message.starts_with("Unterminated") || message.starts_with("Unexpected EOF") || message.contains("before EOF")
}

fn is_blank(sql: &str) -> bool {
    sql.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn understood(sql: &str) -> Vec<String> {
        statements(sql).unwrap().iter().map(|parsed| parsed.statement.to_string()).collect()
    }

    #[test]
    fn statements_end_at_semicolons_that_are_none_of_a_text() {
        assert_eq!(understood("SELECT 1"), ["SELECT 1"]);
        assert_eq!(understood("SELECT ';' ; -- ; not here\n;; SELECT \"a;b\" FROM t;"), ["SELECT ';'", "SELECT \"a;b\" FROM t"]);
        assert_eq!(understood("/* ; */ SHOW TABLES; EXPLAIN SELECT 1;").len(), 2);
        assert_eq!(understood(" ; -- nothing"), [""; 0]);
    }

    #[test]
    fn a_statement_keeps_its_text() {
        let written = |sql| statements(sql).unwrap().into_iter().map(|parsed| parsed.text).collect::<Vec<_>>();
        assert_eq!(written("select 1"), ["select 1"]);
        assert_eq!(
            written("select 'ä;''x' ;\n;; select  \"a;b\"\n from t -- ; ö\n;"),
            ["select 'ä;''x'", "select  \"a;b\"\n from t -- ; ö"]
        );
        assert_eq!(written("/* ; */ show tables;explain select 1"), ["/* ; */ show tables", "explain select 1"]);
    }

    #[test]
    fn one_bad_statement_refuses_all() {
        assert!(statements("SELECT 1; SELEC 2").is_err());
        assert!(statements("SELECT 1 SELECT 2").is_err());
    }

    #[test]
    fn input_is_complete_at_its_semicolon() {
        for complete in ["SELECT 1;", "SELECT 1; -- done", "\\d", "  \\d x", "", "SELECT ';';", "exit", "SELECT $$ a ; $$;"] {
            assert!(is_complete(complete), "{complete:?}");
        }
        for open in ["SELECT 1", "SELECT ';", "SELECT 1 -- ;", "SELECT 1 /* ;", "SELECT \"a;", "SELECT 1;\nSELECT 2"] {
            assert!(!is_complete(open), "{open:?}");
        }
    }

    #[test]
    fn commands_stand_between_statements() {
        let script = "SELECT 1;\n\\d\nSELECT '\n\\d inside\n';\n  \\runs  \n";
        let expected = [
            Piece::Sql("SELECT 1;\n".to_owned()),
            Piece::Command("\\d".to_owned()),
            Piece::Sql("\n\nSELECT '\n\\d inside\n';\n".to_owned()),
            Piece::Command("\\runs".to_owned()),
        ];
        assert_eq!(pieces(script), expected);
        assert_eq!(pieces(" \n"), []);
    }

    #[test]
    fn a_syntax_error_behind_a_command_names_the_line_of_the_script() {
        let pieces = pieces("\\d\n\nSELEC 1;");
        let Some(Piece::Sql(sql)) = pieces.get(1) else { panic!("{pieces:?}") };
        assert!(statements(sql).unwrap_err().to_string().contains("Line: 3"));
    }
}
