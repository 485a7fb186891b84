//! The gate that every statement passes: one statement, and one that only reads.
//!
//! It is the first of three walls. Behind it the session has no table function, no file format and no catalog that can be written to, and every
//! plan is asked again whether it changes anything. The gate says *why* in words, and it keeps statements away whose depth would take more stack
//! than there is: they are counted as tokens before a tree is made of them, and as a tree before it is planned.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::sql::parser::{DFParserBuilder, ResetStatement, Statement as Parsed};
use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, Query, Select, Set, SetExpr, Statement as Sql, Value, Visit as _, Visitor};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::options::NAMES;

/// Bytes of a statement.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// Tokens of a statement, spaces not counted. A chain of operators makes a tree half as deep as it has tokens.
const MAX_TOKENS: usize = 50_000;
/// How deep expressions may lie in each other.
const MAX_DEPTH: usize = 1000;
/// How deep the parser may go: brackets, queries in queries.
const MAX_BRACKETS: usize = 100;
/// Tables, and queries that are joined by UNION and the like. What WITH names counts wherever it is used, since that is where it is planned.
pub(crate) const MAX_TABLES: usize = 500;
/// WITH in what WITH names. Each is walked twice, once for what it counts and once with the whole, so that the time doubles with each.
const MAX_WITHS: usize = 6;

/// A statement that has passed.
#[derive(Clone, Debug)]
pub(crate) enum Statement {
    /// It answers rows.
    Query {
        /// The statement.
        parsed: Box<Parsed>,
        /// Its parameters, each once, as they come: `$1`, `$name`. A `?` is the next number.
        parameters: Vec<String>,
    },
    /// It sets an option of the session, or resets it.
    Set {
        /// The option.
        name: String,
        /// Its value.
        value: Option<String>,
    },
}

/// Why a statement has not passed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// It is no SQL.
    #[error("{0}")]
    Syntax(String),
    /// It is none, or several.
    #[error("one statement at a time: this is {0}")]
    Several(usize),
    /// It is too large.
    #[error("the statement is too large: {0}")]
    Large(String),
    /// It would change something, or reach something else than facts.
    #[error("{0}: this service only reads facts; it takes SELECT, WITH, VALUES, EXPLAIN, SHOW, DESCRIBE, and SET of bytefacts.* options")]
    Writes(String),
    /// Its parameters are of both kinds.
    #[error("parameters are either ? or $1, not both")]
    Mixed,
}

/// Whether a text is short enough to be read at all.
///
/// # Errors
/// When it is not.
pub(crate) fn check_length(text: &str) -> Result<(), Refused> {
    if text.len() > MAX_BYTES {
        return Err(Refused::Large(format!("{} bytes, of {MAX_BYTES} at most", text.len())));
    }
    Ok(())
}

/// Reads a statement. To be called on a thread with much stack.
pub(crate) fn read(text: &str) -> Result<Statement, Refused> {
    check_length(text)?;
    let dialect = GenericDialect {};
    let mut tokens = Tokenizer::new(&dialect, text).tokenize_with_location().map_err(|error| Refused::Syntax(error.to_string()))?;
    let count = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).count();
    if count > MAX_TOKENS {
        return Err(Refused::Large(format!("{count} words and signs, of {MAX_TOKENS} at most")));
    }
    let parameters = number_parameters(&mut tokens)?;

    let parser = DFParserBuilder::new(tokens).with_dialect(&dialect).with_recursion_limit(MAX_BRACKETS).build();
    let statements = parser.and_then(|mut parser| parser.parse_statements());
    let mut statements = statements.map_err(|error| syntax(&error.strip_backtrace()))?;
    let (Some(parsed), true) = (statements.pop_front(), statements.is_empty()) else {
        // Without one, there was none; else one was taken away.
        return Err(Refused::Several(if statements.is_empty() { 0 } else { statements.len() + 1 }));
    };
    if let Some(set) = option(&parsed)? {
        return Ok(set);
    }
    if let Some(shown) = shown(&parsed)? {
        return Ok(Statement::Query { parsed: Box::new(shown), parameters: Vec::new() });
    }
    check(&parsed)?;
    Ok(Statement::Query { parsed: Box::new(parsed), parameters })
}

/// Numbers the parameters that have no number, in the order of the text.
fn number_parameters(tokens: &mut [TokenWithSpan]) -> Result<Vec<String>, Refused> {
    let (mut unnamed, mut names) = (0, Vec::<String>::new());
    for TokenWithSpan { token, .. } in tokens {
        match token {
            Token::Question => {}
            Token::Placeholder(name) if name == "?" => {}
            Token::Placeholder(name) => {
                if !names.contains(name) {
                    names.push(name.clone());
                }
                continue;
            }
            _ => continue,
        }
        unnamed += 1;
        *token = Token::Placeholder(format!("${unnamed}"));
    }
    match (unnamed, names.is_empty()) {
        (0, _) => Ok(names),
        (_, false) => Err(Refused::Mixed),
        _ => Ok((1..=unnamed).map(|number| format!("${number}")).collect()),
    }
}

fn syntax(text: &str) -> Refused {
    if text.contains("RecursionLimitExceeded") || text.contains("recursion limit") {
        return Refused::Large(format!("brackets or queries in each other, of {MAX_BRACKETS} at most"));
    }
    Refused::Syntax(text.to_owned())
}

/// The option that a statement sets, if it does.
fn option(parsed: &Parsed) -> Result<Option<Statement>, Refused> {
    let ours = |variable: &ObjectName| {
        let words = variable.0.iter().filter_map(|part| part.as_ident()).map(|word| word.value.to_ascii_lowercase());
        let name = words.collect::<Vec<_>>().join(".");
        if is_set_by_statement(&name) { Ok(name) } else { Err(Refused::Writes(format!("SET {name}"))) }
    };
    match parsed {
        Parsed::Statement(statement) => match &**statement {
            Sql::Set(Set::SingleAssignment { variable, values, hivevar: false, .. }) => {
                let name = ours(variable)?;
                let [value] = values.as_slice() else { return Err(Refused::Syntax(format!("SET {name} takes one value"))) };
                Ok(Some(Statement::Set { value: text_of(&name, value)?, name }))
            }
            Sql::Set(_) => Err(Refused::Writes("this SET".to_owned())),
            _ => Ok(None),
        },
        Parsed::Reset(ResetStatement::Variable(variable)) => Ok(Some(Statement::Set { name: ours(variable)?, value: None })),
        _ => Ok(None),
    }
}

/// The query that `SHOW name` or `SHOW ALL` stands for. Of the engine's own options there is nothing to be told, since none can be set.
fn shown(parsed: &Parsed) -> Result<Option<Parsed>, Refused> {
    let Parsed::Statement(statement) = parsed else { return Ok(None) };
    let Sql::ShowVariable { variable } = &**statement else { return Ok(None) };
    let name = variable.iter().map(|word| word.value.to_ascii_lowercase()).collect::<Vec<_>>().join(".");
    let condition = match NAMES.into_iter().find(|option| *option == name && is_set_by_statement(option)) {
        Some(option) => format!("WHERE name = '{option}'"),
        None if name == "all" => String::new(),
        None => {
            let all = NAMES.into_iter().filter(|name| is_set_by_statement(name)).collect::<Vec<_>>().join(", ");
            return Err(Refused::Syntax(format!("there is no option {name}: there are {all}, and SHOW ALL tells them all")));
        }
    };
    let query = format!("SELECT name, value FROM facts.system.options {condition} ORDER BY name");
    let parser = DFParserBuilder::new(query.as_str()).build();
    let statements = parser.and_then(|mut parser| parser.parse_statements());
    Ok(statements.map_err(|error| syntax(&error.strip_backtrace()))?.pop_front())
}

fn is_set_by_statement(name: &str) -> bool {
    name.starts_with("bytefacts.")
}

/// The value of an option, unless it is DEFAULT.
fn text_of(name: &str, value: &Expr) -> Result<Option<String>, Refused> {
    match value {
        Expr::Identifier(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default") => Ok(None),
        Expr::Identifier(word) => Ok(Some(word.value.clone())),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) | Value::Number(text, _) => Ok(Some(text.clone())),
            Value::Null => Ok(None),
            _ => Err(Refused::Syntax(format!("SET {name} takes a text or a word"))),
        },
        _ => Err(Refused::Syntax(format!("SET {name} takes a text or a word"))),
    }
}

/// Refuses a statement that does not only read, or is too deep.
fn check(parsed: &Parsed) -> Result<(), Refused> {
    let statement = match parsed {
        Parsed::Statement(statement) => statement,
        Parsed::Explain(explain) if matches!(*explain.statement, Parsed::Explain(_)) => {
            return Err(Refused::Large("EXPLAIN in EXPLAIN".to_owned()));
        }
        Parsed::Explain(explain) => return check(&explain.statement),
        Parsed::CreateExternalTable(_) => return Err(Refused::Writes("CREATE EXTERNAL TABLE".to_owned())),
        Parsed::CopyTo(_) => return Err(Refused::Writes("COPY".to_owned())),
        Parsed::Reset(_) => return Err(Refused::Writes("RESET".to_owned())),
    };
    match statement.visit(&mut Check::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(refused) => Err(refused),
    }
}

/// Walks through a statement.
#[derive(Default)]
struct Check {
    depth: usize,
    tables: usize,
    /// In how many WITHs this walk began.
    withs: usize,
    /// How many tables there are in what WITH has named.
    named: BTreeMap<String, usize>,
}

impl Check {
    fn deeper(&mut self) -> ControlFlow<Refused> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return ControlFlow::Break(Refused::Large(format!("expressions lie deeper in each other than {MAX_DEPTH}")));
        }
        ControlFlow::Continue(())
    }

    fn more_tables(&mut self, count: usize) -> ControlFlow<Refused> {
        self.tables = self.tables.saturating_add(count);
        if self.tables > MAX_TABLES {
            return ControlFlow::Break(Refused::Large(format!(
                "more than {MAX_TABLES} tables or SELECTs, those of WITH wherever they are used"
            )));
        }
        ControlFlow::Continue(())
    }
}

impl Visitor for Check {
    type Break = Refused;

    fn pre_visit_statement(&mut self, statement: &Sql) -> ControlFlow<Refused> {
        match statement {
            Sql::Query(_)
            | Sql::Explain { .. }
            | Sql::ExplainTable { .. }
            | Sql::ShowTables { .. }
            | Sql::ShowColumns { .. }
            | Sql::ShowFunctions { .. } => ControlFlow::Continue(()),
            other => ControlFlow::Break(Refused::Writes(first_words(other))),
        }
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Refused> {
        if !query.locks.is_empty() {
            return ControlFlow::Break(Refused::Writes("SELECT … FOR UPDATE".to_owned()));
        }
        for named in query.with.iter().flat_map(|with| &with.cte_tables) {
            if self.withs == MAX_WITHS {
                return ControlFlow::Break(Refused::Large(format!("WITH in WITH, of {MAX_WITHS} at most")));
            }
            let mut inside = Self { named: self.named.clone(), withs: self.withs + 1, ..Self::default() };
            named.query.visit(&mut inside)?;
            self.named.insert(as_planned(&named.alias.name), inside.tables.max(1));
        }
        self.more_tables(rows_of_values(&query.body))
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Refused> {
        if select.into.is_some() {
            return ControlFlow::Break(Refused::Writes("SELECT INTO".to_owned()));
        }
        self.more_tables(1)
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Refused> {
        // What WITH names has a name of one part.
        let named = match relation.0.as_slice() {
            [name] => name.as_ident().and_then(|name| self.named.get(&as_planned(name))).copied(),
            _ => None,
        };
        self.more_tables(named.unwrap_or(1))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Refused> {
        // What is flat here and becomes deep when it is planned.
        let chain = match expr {
            Expr::CompoundFieldAccess { access_chain, .. } => access_chain.len(),
            Expr::CompoundIdentifier(names) => names.len(),
            Expr::JsonAccess { path, .. } => path.path.len(),
            _ => 0,
        };
        if chain > MAX_BRACKETS {
            return ControlFlow::Break(Refused::Large(format!("more than {MAX_BRACKETS} parts of parts")));
        }
        self.deeper()
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<Refused> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

/// How many VALUES are joined by UNION and the like. They are a tree as deep as they are many, and no SELECT counts them.
fn rows_of_values(body: &SetExpr) -> usize {
    let (mut pending, mut count) = (vec![body], 0);
    while let Some(body) = pending.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => pending.extend([left.as_ref(), right.as_ref()]),
            SetExpr::Values(_) => count += 1,
            _ => {}
        }
    }
    count
}

/// A name as it is planned: in lower case, unless it is quoted.
fn as_planned(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_ascii_lowercase() }
}

/// What a statement begins with, to name it by.
fn first_words(statement: &Sql) -> String {
    let text = statement.to_string();
    text.split_whitespace().take_while(|word| word.bytes().all(|b| b.is_ascii_uppercase())).take(3).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Refused {
        read(text).map(|statement| panic!("{text} has passed as {statement:?}")).unwrap_err()
    }

    #[test]
    fn what_with_names_counts_wherever_it_is_used_however_it_is_written() {
        let many = vec!["t"; 40].join(", ");
        for (name, used) in [("a", "a"), ("a", "A"), ("\"A\"", "\"A\""), ("A", "a")] {
            let uses = vec![used; 40].join(", ");
            let text = format!("WITH {name} AS (SELECT 1 FROM {many}), b AS (SELECT 1) SELECT 1 FROM {uses}");
            assert!(matches!(refused(&text), Refused::Large(_)), "{text}");
        }
        // Another name, whatever it is like.
        let hidden = format!("WITH \"A\" AS (SELECT 1 FROM {many}), a AS (SELECT 1) SELECT 1 FROM {}", vec!["\"A\""; 40].join(", "));
        assert!(matches!(refused(&hidden), Refused::Large(_)));
    }

    #[test]
    fn what_reads_passes() {
        for text in [
            "SELECT 1",
            "select * from t where a = 1;",
            "WITH x AS (SELECT 1) SELECT * FROM x",
            "WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x WHERE n < 3) SELECT * FROM x",
            "VALUES (1), (2)",
            "EXPLAIN SELECT 1",
            "EXPLAIN ANALYZE SELECT 1",
            "SHOW TABLES",
            "SHOW COLUMNS FROM t",
            "SHOW bytefacts.run",
            "SHOW BYTEFACTS.EXECUTION",
            "SHOW ALL",
            "DESCRIBE t",
            "(SELECT 1) UNION ALL (SELECT 2)",
            "SELECT 'DROP TABLE t; --' AS text",
        ] {
            assert!(matches!(read(text), Ok(Statement::Query { .. })), "{text}: {:?}", read(text));
        }
    }

    #[test]
    fn what_writes_or_reaches_further_is_refused() {
        for text in [
            "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '/etc'",
            "CREATE TABLE t AS SELECT 1",
            "CREATE VIEW v AS SELECT 1",
            "CREATE SCHEMA s",
            "CREATE DATABASE d",
            "CREATE FUNCTION f(INT) RETURNS INT RETURN $1",
            "DROP TABLE t",
            "ALTER TABLE t ADD COLUMN a INT",
            "INSERT INTO t VALUES (1)",
            "UPDATE t SET a = 1",
            "DELETE FROM t",
            "TRUNCATE TABLE t",
            "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE",
            "COPY t TO '/tmp/x.parquet'",
            "COPY (SELECT 1) TO '/tmp/x.csv'",
            "EXPLAIN COPY (SELECT 1) TO '/tmp/x.csv'",
            "EXPLAIN ANALYZE INSERT INTO t VALUES (1)",
            "EXPLAIN CREATE TABLE t AS SELECT 1",
            "SELECT 1 INTO t",
            "WITH x AS (INSERT INTO t VALUES (1) RETURNING a) SELECT * FROM x",
            "SELECT * FROM t FOR UPDATE",
            "SET datafusion.execution.batch_size = 1",
            "SET datafusion.runtime.temp_directory = '/'",
            "SET TIME ZONE 'UTC'",
            "SET ROLE x",
            "RESET datafusion.execution.batch_size",
            "PREPARE p AS SELECT 1",
            "EXECUTE p",
            "DEALLOCATE p",
            "START TRANSACTION",
            "COMMIT",
            "USE x",
            "KILL 1",
            "LOAD DATA INPATH '/etc' INTO TABLE t",
            "CALL p()",
            "SHOW datafusion.execution.batch_size",
            "SHOW bytefacts.nonsense",
            "EXPLAIN SHOW ALL",
        ] {
            let refusal = refused(text);
            assert!(matches!(refusal, Refused::Writes(_) | Refused::Syntax(_)), "{text}: {refusal:?}");
        }
        assert!(refused("DROP TABLE t").to_string().starts_with("DROP TABLE: this service only reads"), "{}", refused("DROP TABLE t"));
    }

    #[test]
    fn there_is_one_statement() {
        assert_eq!(refused("SELECT 1; SELECT 2"), Refused::Several(2));
        assert_eq!(refused(""), Refused::Several(0));
        assert_eq!(refused(" -- nothing\n"), Refused::Several(0));
        assert_eq!(refused("SELECT 1; DROP TABLE t; SELECT 2"), Refused::Several(3));
    }

    #[test]
    fn options_of_ours_are_set() {
        let set = |text: &str| match read(text) {
            Ok(Statement::Set { name, value }) => (name, value),
            other => panic!("{text}: {other:?}"),
        };
        let run = |value: Option<&str>| ("bytefacts.run".to_owned(), value.map(str::to_owned));
        assert_eq!(set("SET bytefacts.run = 'r-1'"), run(Some("r-1")));
        assert_eq!(set("set BYTEFACTS.RUN to 'r-1';"), run(Some("r-1")));
        assert_eq!(set("SET bytefacts.run = DEFAULT"), run(None));
        assert_eq!(set("RESET bytefacts.run"), run(None));
        assert_eq!(set("SET bytefacts.execution = local").1.as_deref(), Some("local"));
        assert!(matches!(refused("SET bytefacts.run = (SELECT 1)"), Refused::Syntax(_)));
    }

    fn parameters(text: &str) -> Vec<String> {
        match read(text) {
            Ok(Statement::Query { parameters, .. }) => parameters,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn parameters_are_numbered_as_they_are_written() {
        let text = "SELECT CASE WHEN a = ? THEN ? ELSE '?' END FROM t WHERE b BETWEEN ? AND ? -- ?\nLIMIT ?";
        assert_eq!(parameters(text), ["$1", "$2", "$3", "$4", "$5"]);
        let Ok(Statement::Query { parsed, .. }) = read(text) else { panic!() };
        let again = parsed.to_string();
        let order: Vec<_> = again.match_indices('$').map(|(at, _)| &again[at..at + 2]).collect();
        assert_eq!(order, ["$1", "$2", "$3", "$4", "$5"], "{again}");
        assert_eq!(parameters("SELECT $2 + $1 + $2"), ["$2", "$1"]);
        assert_eq!(parameters("SELECT $who"), ["$who"]);
        assert_eq!(refused("SELECT ? + $1"), Refused::Mixed);
    }

    /// On as much stack as the threads that plan have.
    fn deep(text: &str) -> Result<(), Refused> {
        let text = text.to_owned();
        let thread = std::thread::Builder::new().stack_size(crate::STACK_BYTES).spawn(move || read(&text).map(drop));
        thread.unwrap().join().unwrap()
    }

    #[test]
    fn depth_is_refused_before_it_takes_the_stack() {
        let n = 10_000;
        let nested = |open: &str, close: &str| format!("SELECT {}1{}", open.repeat(n), close.repeat(n));
        let mut hostile = vec![
            nested("(", ")"),
            nested("NOT ", ""),
            nested("- ", ""),
            nested("[", "]"),
            nested("abs(", ")"),
            nested("CASE WHEN true THEN ", " END"),
            nested("CAST(", " AS INT)"),
            nested("(SELECT ", ")"),
            format!("SELECT {}", vec!["a"; n].join(" + ")),
            format!("SELECT {}", vec!["a = 1"; n].join(" OR ")),
            format!("SELECT {}", vec!["a"; n].join("::INT || ")),
            format!("SELECT a{}", "[1]".repeat(n)),
            format!("SELECT a{}", ".b".repeat(n)),
            format!(
                "WITH t0 AS (SELECT 1) {} SELECT * FROM t20",
                (0..20).map(|n| format!(", t{} AS (SELECT * FROM t{n} a, T{n} b)", n + 1)).collect::<String>()
            ),
            vec!["SELECT 1"; n].join(" UNION ALL "),
            vec!["VALUES (1)"; 6_000].join(" UNION ALL "),
            format!("{}SELECT 1{}", "WITH a AS (".repeat(40), ") SELECT 1".repeat(40)),
            format!("SELECT 1 FROM {}", vec!["t"; n].join(", ")),
            format!("SELECT 1 FROM t {}", "JOIN t ON true ".repeat(n)),
            format!("{}SELECT 1", "EXPLAIN ".repeat(n)),
            format!("SELECT * FROM {}t{}", "(SELECT * FROM ".repeat(n), ")".repeat(n)),
        ];
        hostile.push(format!("SELECT {}", vec!["a"; MAX_TOKENS / 2 - 2].join(" + ")));
        for text in hostile {
            let start = &text[..40];
            assert!(matches!(deep(&text), Err(Refused::Large(_) | Refused::Syntax(_) | Refused::Writes(_))), "{start}: {:?}", deep(&text));
        }
        deep(&format!("SELECT {}", vec!["a = 1"; 400].join(" OR "))).unwrap();
        deep(&format!("SELECT a IN ({})", vec!["1"; 20_000].join(", "))).unwrap();
        assert!(matches!(refused(&format!("SELECT '{}'", "x".repeat(MAX_BYTES))), Refused::Large(_)));
    }
}
