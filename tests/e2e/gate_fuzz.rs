//! Statements that nobody thought of: made at random of what is dangerous and what is usual, by `BYTEFACTS_SEED`, for `BYTEFACTS_FUZZ_SECONDS`.
//!
//! The judge does not ask the service. Files lie beside the facts: their text must be in no answer, they must not have been read (the system's own
//! times say so), and nothing must have been written. Settings must be what they were, and the service alive.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arrow::array::{Array as _, ArrayData, RecordBatch};
use futures::TryStreamExt as _;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use crate::chaos::{Random, number};
use crate::service::{Client, Service, ask_number, ask_text};
use crate::support::{folder, write_files};

/// What stands in files that nobody may read.
const SECRET: &str = "canary-6f1d";

/// What a statement may take, of which the service gives it five seconds to be planned and five to run: whoever waits so long has been forgotten.
const PATIENCE: Duration = Duration::from_secs(120);

/// Statements at a time.
const CLIENTS: usize = 4;

/// Words that statements are made of.
const WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "*",
    "(",
    ")",
    ",",
    ";",
    ".",
    "'",
    "\"",
    "1",
    "NULL",
    "AS",
    "x",
    "t",
    "JOIN",
    "ON",
    "UNION ALL",
    "WITH",
    "LATERAL",
    "INTO",
    "COPY",
    "TO",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "EXTERNAL",
    "TABLE",
    "VIEW",
    "LOCATION",
    "STORED AS",
    "PARQUET",
    "CSV",
    "OPTIONS",
    "SET",
    "RESET",
    "SHOW",
    "ALL",
    "EXPLAIN",
    "ANALYZE",
    "VERBOSE",
    "DESCRIBE",
    "PREPARE",
    "EXECUTE",
    "DEALLOCATE",
    "USE",
    "CALL",
    "LOAD",
    "UNLOAD",
    "ATTACH",
    "PRAGMA",
    "VALUES",
    "UNNEST",
    "TABLESAMPLE",
    "PIVOT",
    "MATCH_RECOGNIZE",
    "FOR UPDATE",
    "LIMIT",
    "OFFSET",
    "ORDER BY",
    "GROUP BY",
    "RECURSIVE",
    "||",
    "::",
    "=",
    "--",
    "/*",
    "*/",
    "$1",
    "?",
    "@",
    "E'",
    "X'",
    "$$",
    "datafusion",
    "bytefacts",
    "facts",
    "public",
    "system",
    "runs",
];

/// Names that a statement of a hostile client is after.
const TARGETS: &[&str] = &[
    "read_csv('{}')",
    "read_parquet('{}')",
    "read_json('{}')",
    "parquet_metadata('{}')",
    "metadata_cache('{}')",
    "statistics_cache()",
    "list_files_cache()",
    "glob('{}')",
    "'{}'",
    "\"{}\"",
    "\"file://{}\"",
    "'file://{}'",
    "url('{}')",
    "generate_series(1, 9)",
    "range(1, 9)",
    "information_schema.df_settings",
    "information_schema.tables",
    "information_schema.columns",
    "information_schema.views",
    "information_schema.routines",
    "information_schema.schemata",
    "datafusion.public.t",
    "facts.\"{}\".t",
    "runs.\"{}\".bytecode_files_v1",
    "runs.\"../../{}\".x",
    "py_bc_blocks",
    "bytecode_files_v1",
    "records.code_objects",
    "facts.records.code_objects",
    "bytefacts.runs",
    "system.queries",
    "system.options",
    "pg_catalog.pg_class",
    "external_table('{}')",
    "stream_table('{}')",
    "sqlite_master",
    "files('{}')",
];

/// Statements that are hostile as they stand; `{}` is a file, `<>` another statement.
const HOSTILE: &[&str] = &[
    "COPY (<>) TO '{}.out'",
    "COPY (<>) TO '{}.out' STORED AS CSV",
    "COPY bytefacts.runs TO '{}.out'",
    "EXPLAIN ANALYZE COPY (<>) TO '{}.out'",
    "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '{}'",
    "CREATE UNBOUNDED EXTERNAL TABLE x (a INT) STORED AS CSV LOCATION '{}'",
    "CREATE TABLE x AS <>",
    "CREATE VIEW x AS <>",
    "CREATE OR REPLACE VIEW py_bc_blocks AS <>",
    "DROP VIEW py_bc_blocks",
    "DROP SCHEMA public CASCADE",
    "INSERT INTO bytefacts.runs <>",
    "WITH x AS (<>) INSERT INTO bytefacts.runs SELECT * FROM x",
    "SELECT * INTO x FROM (<>)",
    "SET datafusion.catalog.location = '{}'",
    "SET datafusion.runtime.temp_directory = '{}'",
    "SET datafusion.execution.batch_size = 1",
    "SET datafusion.sql_parser.dialect = 'duckdb'",
    "SET bytefacts.run = '../../{}'",
    "SET bytefacts.execution = '{}'",
    "RESET datafusion.catalog.format",
    "<>; COPY (SELECT 1) TO '{}.out'",
    "EXPLAIN <>",
    "EXPLAIN FORMAT TREE <>",
    "EXPLAIN ANALYZE <>",
    "PREPARE p AS <>",
    "EXECUTE p",
    "SELECT * FROM (<>) AS x",
    "WITH x AS (<>) SELECT * FROM x",
    "SELECT (<>)",
    "(<>) UNION ALL (<>)",
    "SELECT arrow_typeof((<>))",
    "CREATE FUNCTION f() RETURNS INT RETURN 1",
    "LOAD DATA INPATH '{}' INTO TABLE x",
    "SELECT * FROM x FOR UPDATE",
    "TABLE bytefacts.runs",
    "FROM '{}'",
    "FROM '{}' SELECT *",
    "DESCRIBE '{}'",
    "SHOW COLUMNS FROM \"{}\"",
    "SHOW FUNCTIONS",
    "SHOW TABLES",
    "SHOW datafusion.catalog.location",
];

struct Maker {
    random: Random,
    functions: Vec<String>,
    seeds: Vec<String>,
    file: String,
}

impl Maker {
    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.random.below(of.len() as u64) as usize]
    }

    fn expression(&mut self) -> String {
        match self.random.below(6) {
            0 => "1".to_owned(),
            1 => format!("'{}'", self.file),
            2 => "*".to_owned(),
            3 => self.pick(&["path", "opname", "name", "value", "run_id", "NULL", "$1", "make_array(1)"]).to_owned(),
            _ => {
                let function = self.functions[self.random.below(self.functions.len() as u64) as usize].clone();
                let args = (0..self.random.below(4)).map(|_| self.expression()).collect::<Vec<_>>();
                format!("{function}({})", args.join(", "))
            }
        }
    }

    fn query(&mut self) -> String {
        let target = self.pick(TARGETS).replace("{}", &self.file);
        let expression = self.expression();
        match self.random.below(4) {
            0 => format!("SELECT {expression} FROM {target} LIMIT 5"),
            1 => format!("SELECT * FROM {target}"),
            2 => format!("SELECT {expression}"),
            _ => self.seeds[self.random.below(self.seeds.len() as u64) as usize].clone(),
        }
    }

    fn statement(&mut self) -> String {
        let mut text = match self.random.below(3) {
            0 => self.query(),
            1 => (0..=self.random.below(25)).map(|_| self.pick(WORDS)).collect::<Vec<_>>().join(" "),
            _ => {
                let mut text = self.pick(HOSTILE).replace("{}", &self.file);
                while text.contains("<>") && text.len() < 20_000 {
                    let inner = if self.random.below(4) == 0 { self.pick(HOSTILE).replace("{}", &self.file) } else { self.query() };
                    text = text.replacen("<>", &inner, 1);
                }
                text
            }
        };
        // Now and then something is lost, doubled, exchanged or put between.
        for _ in 0..self.random.below(4) {
            let mut words: Vec<_> = text.split(' ').map(str::to_owned).collect();
            let (at, other) = (self.random.below(words.len() as u64) as usize, self.random.below(words.len() as u64) as usize);
            match self.random.below(4) {
                0 => drop(words.remove(at)),
                1 => words.insert(at, words[other].clone()),
                2 => words.swap(at, other),
                _ => words.insert(at, self.pick(WORDS).to_owned()),
            }
            text = words.join(" ");
            if text.is_empty() {
                break;
            }
        }
        text
    }
}

/// What a statement answers, of a long answer the beginning; nothing if it is refused or fails.
async fn answer(client: &mut Client, sql: &str) -> Option<Vec<RecordBatch>> {
    let info = client.execute(sql.to_owned(), None).await.ok()?;
    let mut batches = Vec::new();
    for endpoint in info.endpoint {
        let mut stream = client.do_get(endpoint.ticket?).await.ok()?;
        let mut bytes = 0;
        while bytes < 1 << 20
            && let Ok(Some(batch)) = stream.try_next().await
        {
            bytes += batch.get_array_memory_size();
            batches.push(batch);
        }
    }
    Some(batches)
}

/// Whether the secret stands anywhere in the values. Texts lie in memory as they are, so that nothing has to be written out to be searched.
fn tells(batches: &[RecordBatch]) -> bool {
    fn holds(data: &ArrayData) -> bool {
        let found = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        data.buffers().iter().any(|buffer| found(buffer.as_slice())) || data.child_data().iter().any(holds)
    }
    batches.iter().flat_map(RecordBatch::columns).any(|column| holds(&column.to_data()))
}

/// A file with the secret in it that was read last a long time ago.
fn canary(folder: &Path, name: &str) -> PathBuf {
    write_files(folder, &[(name, format!("a,b\n{SECRET},2\n").as_bytes())]);
    let path = folder.join(name);
    let long_ago = TimeSpec::new(1_000_000_000, 0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    utimensat(nix::fcntl::AT_FDCWD, &path, &long_ago, &TimeSpec::new(now.as_secs().cast_signed(), 0), UtimensatFlags::FollowSymlink)
        .unwrap();
    path
}

fn was_read(path: &Path) -> bool {
    std::fs::metadata(path).unwrap().accessed().unwrap() > SystemTime::UNIX_EPOCH + Duration::from_secs(1_100_000_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_reaches_beyond_the_facts() {
    let service =
        Service::start(&[], "serve: {query_seconds: 5, early_milliseconds: 5000, queries_per_user: 64, query_memory_bytes: 64000000}")
            .await;
    let outside = folder();
    // The judge itself is tried first: some file systems do not note who reads.
    let probe = canary(outside.path(), "probe.csv");
    std::fs::read(&probe).unwrap();
    let notes_reads = was_read(&probe);
    if !notes_reads {
        eprintln!("this file system does not note when files are read: only answers and what is written are judged");
    }
    let told = arrow::array::StringViewArray::from(vec![format!("before it {SECRET}")]);
    assert!(tells(&[RecordBatch::try_from_iter([("x", Arc::new(told) as _)]).unwrap()]) && !tells(&[]));
    let file = canary(outside.path(), "canary.csv");
    let before: Vec<_> = std::fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();

    let mut client = service.client().await;
    let settings = "SELECT name, value FROM information_schema.df_settings ORDER BY name";
    let settings_before = ask_text(&mut client, settings).await;
    let functions = ask_text(&mut client, "SELECT DISTINCT routine_name FROM information_schema.routines ORDER BY 1").await;
    let cookbook = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cookbook")).unwrap();
    let mut seeds: Vec<_> =
        cookbook.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "sql")).collect();
    seeds.sort();
    let seeds: Vec<_> = seeds.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    assert!(functions.len() > 100 && seeds.len() > 20);

    let seconds = number("BYTEFACTS_FUZZ_SECONDS").unwrap_or(15);
    let seed = number("BYTEFACTS_SEED").unwrap_or(1);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut running = tokio::task::JoinSet::new();
    for worker in 0..CLIENTS {
        let mut client = service.client().await;
        client.handshake("anybody", "anything").await.unwrap();
        let mut maker = Maker {
            random: Random(seed * 1000 + worker as u64),
            functions: functions.iter().map(|row| row[0].clone()).collect(),
            seeds: seeds.clone(),
            file: file.display().to_string(),
        };
        running.spawn(async move {
            let (mut asked, mut answered, mut slowest) = (0_u64, 0_u64, (Duration::ZERO, String::new()));
            while Instant::now() < end {
                let sql = maker.statement();
                asked += 1;
                let begun = Instant::now();
                let answer = tokio::time::timeout(PATIENCE, answer(&mut client, &sql)).await;
                let answer = answer.unwrap_or_else(|_| panic!("this hangs: {sql}"));
                slowest = slowest.max((begun.elapsed(), sql.clone()));
                let Some(batches) = answer else { continue };
                answered += 1;
                assert!(!tells(&batches), "this has read a file: {sql}");
            }
            (asked, answered, slowest)
        });
    }
    let (mut asked, mut answered, mut slowest) = (0, 0, (Duration::ZERO, String::new()));
    while let Some(counts) = running.join_next().await {
        let (more_asked, more_answered, slow) = counts.unwrap();
        (asked, answered, slowest) = (asked + more_asked, answered + more_answered, slowest.max(slow));
    }
    eprintln!("seed {seed}: {asked} statements in {seconds} s, {answered} of them answered, the slowest in {:?}: {}", slowest.0, slowest.1);
    assert!(asked > 0 && answered > 0);
    let after: Vec<_> = std::fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(after.len(), before.len(), "something was written: {after:?}");
    assert!(!notes_reads || !was_read(&file), "the file was read");
    assert_eq!(ask_text(&mut client, settings).await, settings_before);
    assert_eq!(ask_number(&mut client, "SELECT count(*) FROM bytefacts.runs").await, 1);
}
