//! SQL over the wire: what `bytefacts serve` answers to a client of Arrow's own.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;

use arrow::array::{Array as _, AsArray as _, RecordBatch, UnionArray};
use arrow::datatypes::{DataType, Int64Type, Schema};
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{
    Any, Command, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys, CommandGetPrimaryKeys,
    CommandGetTables, CommandGetXdbcTypeInfo, CommandStatementQuery, ProstMessageExt as _, SqlInfo,
};
use arrow_flight::{FlightDescriptor, FlightInfo};
use bytefacts_facts::views;
use futures::TryStreamExt as _;
use nix::sys::signal::Signal;
use prost::Message as _;
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::processes::Daemon;
use crate::support::{Shape, bytefacts, extract, folder, query, texts, write_files};

/// As gRPC tells health.
pub const SERVING: i32 = ServingStatus::Serving as i32;
/// See [`SERVING`].
pub const NOT_SERVING: i32 = ServingStatus::NotServing as i32;

/// A client.
pub type Client = FlightSqlServiceClient<Channel>;

/// A service over facts.
pub struct Service {
    pub daemon: Daemon,
    pub facts: TempDir,
    _home: TempDir,
}

impl Service {
    /// Over the facts of the corpus of `tests/sql`, with these arguments and settings.
    pub async fn start(args: &[&str], settings: &str) -> Self {
        let facts = folder();
        extract(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql/corpus"), facts.path(), &Shape::default()).await;
        Self::over(facts, args, settings).await
    }

    /// Over these facts.
    pub async fn over(facts: TempDir, args: &[&str], settings: &str) -> Self {
        Self::over_with(facts, args, settings, &[]).await
    }

    /// Over these facts, with variables of the environment.
    pub async fn over_with(facts: TempDir, args: &[&str], settings: &str, environment: &[(&str, &str)]) -> Self {
        let home = folder();
        write_files(home.path(), &[("settings.yaml", settings.as_bytes())]);
        let path = facts.path().display().to_string();
        let mut line = vec!["serve", "--facts", &path, "--probes", "127.0.0.1:0"];
        if !args.contains(&"--listen") {
            line.extend(["--listen", "127.0.0.1:0"]);
        }
        let mut command = bytefacts(home.path(), &[&line, args].concat()).await;
        command.env("BYTEFACTS_CONFIG", home.path().join("settings.yaml")).envs(environment.iter().copied());
        let daemon = Daemon::start(command, &home.path().join("log"));
        Self { daemon, facts, _home: home }
    }

    /// A client of it.
    pub async fn client(&self) -> Client {
        client(self.daemon.address).await
    }

    /// What a client gets that does not encrypt.
    pub async fn client_without_tls(&self) -> Result<(), Status> {
        let channel = Channel::from_shared(format!("http://{}", self.daemon.address)).unwrap().connect_lazy();
        ask(&mut FlightSqlServiceClient::new(channel), "SELECT 1").await.map(drop)
    }

    /// Commits a further run of one file.
    pub async fn commit(&self, run: &'static str, source: &str) {
        let corpus = folder();
        write_files(corpus.path(), &[("new.py", source.as_bytes())]);
        extract(corpus.path(), self.facts.path(), &Shape { run, ..Shape::default() }).await;
    }
}

/// A client of a service.
pub async fn client(address: SocketAddr) -> Client {
    FlightSqlServiceClient::new(channel(address).await)
}

/// What a service says of its health.
pub async fn health(address: SocketAddr) -> i32 {
    let request = HealthCheckRequest { service: String::new() };
    HealthClient::new(channel(address).await).check(request).await.unwrap().into_inner().status
}

async fn channel(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// All rows of what was announced, which must have the schema that was announced.
pub async fn fetch(client: &mut Client, info: FlightInfo) -> Result<(Schema, Vec<RecordBatch>), Status> {
    let announced = info.clone().try_decode_schema().unwrap();
    let mut batches = Vec::new();
    for endpoint in info.endpoint {
        assert!(endpoint.location.is_empty(), "results come from where they were asked for");
        let stream = client.do_get(endpoint.ticket.unwrap()).await.map_err(flight_status)?;
        let mut stream = stream;
        while let Some(batch) = stream.try_next().await.map_err(tonic_status)? {
            assert_eq!(batch.schema().as_ref(), &announced, "what is delivered is what was announced");
            batches.push(batch);
        }
        assert_eq!(stream.schema().unwrap().as_ref(), &announced, "an empty result has its columns too");
    }
    Ok((announced, batches))
}

/// The status in an error of the client.
pub fn flight_status(error: arrow_flight::error::FlightError) -> Status {
    tonic_status(error)
}

fn tonic_status(error: arrow_flight::error::FlightError) -> Status {
    match error {
        arrow_flight::error::FlightError::Tonic(status) => *status,
        other => panic!("{other}"),
    }
}

/// The rows that a statement answers.
pub async fn ask(client: &mut Client, sql: &str) -> Result<(Schema, Vec<RecordBatch>), Status> {
    let info = client.execute(sql.to_owned(), None).await.map_err(flight_status)?;
    fetch(client, info).await
}

/// As [`ask`], as texts.
pub async fn ask_text(client: &mut Client, sql: &str) -> Vec<Vec<String>> {
    texts(&ask(client, sql).await.unwrap_or_else(|status| panic!("{sql}: {status}")).1)
}

/// The one number that a statement answers.
pub async fn ask_number(client: &mut Client, sql: &str) -> i64 {
    let (_, batches) = ask(client, sql).await.unwrap_or_else(|status| panic!("{sql}: {status}"));
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

/// Who asks for it, here by a header, gets compressed batches: the same rows in fewer bytes. Nobody else does.
#[tokio::test(flavor = "multi_thread")]
async fn results_are_compressed_for_who_asks_for_it() {
    let service = Service::start(&[], "").await;
    let sent = async |compression: Option<&str>| {
        let mut client = service.client().await;
        if let Some(compression) = compression {
            client.set_header("bytefacts.compression", compression);
        }
        let info =
            client.execute("SELECT * FROM py_bc_instructions ORDER BY path, code_unit_id, instr_index".to_owned(), None).await.unwrap();
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let messages: Vec<_> = client.inner_mut().do_get(ticket).await.unwrap().into_inner().try_collect().await.unwrap();
        let rows = texts(&arrow_flight::utils::flight_data_to_batches(&messages).unwrap());
        (rows, messages.iter().map(|message| message.data_body.len()).sum::<usize>())
    };
    let (rows, plain) = sent(None).await;
    assert!(rows.len() > 100);
    assert_eq!(sent(Some("none")).await, (rows.clone(), plain));
    for compression in ["lz4", "zstd"] {
        let (read, bytes) = sent(Some(compression)).await;
        assert_eq!(read, rows, "{compression}");
        assert!(bytes * 2 < plain, "{compression}: {bytes} bytes of {plain}");
    }
}

/// Whether every client knows a type, however deep it lies.
fn is_plain(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8View | DataType::BinaryView | DataType::Dictionary(..) | DataType::RunEndEncoded(..) => false,
        DataType::ListView(_) | DataType::LargeListView(_) => false,
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) | DataType::Map(field, _) => {
            is_plain(field.data_type())
        }
        DataType::Struct(fields) => fields.iter().all(|field| is_plain(field.data_type())),
        _ => true,
    }
}

/// The tables and views of the contract.
fn contract() -> Vec<&'static str> {
    std::iter::once("bytecode_files_v1").chain(views::all().iter().map(|view| view.name)).collect()
}

/// Columns without their metadata.
fn columns(schema: &Schema) -> Vec<(String, DataType, bool)> {
    schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone(), field.is_nullable())).collect()
}

/// Tables by catalog, schema and name, with their type and columns.
async fn tables(client: &mut Client, command: CommandGetTables) -> BTreeMap<[String; 3], (String, Option<Schema>)> {
    let with_schemas = command.include_schema;
    let info = client.get_tables(command).await.unwrap();
    let (_, batches) = fetch(client, info).await.unwrap();
    let mut tables = BTreeMap::new();
    for batch in batches {
        let text = |column: usize, row: usize| batch.column(column).as_string::<i32>().value(row).to_owned();
        for row in 0..batch.num_rows() {
            let schema = with_schemas.then(|| {
                let bytes = batch.column(4).as_binary::<i32>().value(row).to_vec();
                Schema::try_from(arrow_flight::IpcMessage(bytes.into())).unwrap()
            });
            tables.insert([0, 1, 2].map(|column| text(column, row)), (text(3, row), schema));
        }
    }
    tables
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_and_view_answers_what_it_has_announced() {
    let service = Service::start(&[], "").await;
    let mut client = service.client().await;
    let listed = tables(&mut client, CommandGetTables { include_schema: true, ..CommandGetTables::default() }).await;
    for name in contract() {
        // Those of a run by its name are the very same.
        let by_name = ["bytecode_files_v1", "py_bc_blocks"].contains(&name).then_some(["runs", "run-1"]);
        for place in [Some(["facts", "public"]), by_name].into_iter().flatten() {
            let [catalog, schema] = place;
            let sql = format!("SELECT * FROM {catalog}.\"{schema}\".{name}");
            let (announced, batches) = ask(&mut client, &sql).await.unwrap_or_else(|status| panic!("{sql}: {status}"));
            assert!(announced.fields().iter().all(|field| is_plain(field.data_type())), "{name}: {announced}");
            let key = [catalog, schema, name].map(str::to_owned);
            let (_, told) = &listed[&key];
            assert_eq!(columns(told.as_ref().unwrap()), columns(&announced), "{name}: what is listed is what is delivered");
            let (mut rows, mut ours) = (texts(&batches), texts(&query(service.facts.path(), &format!("SELECT * FROM {name}")).await));
            rows.sort();
            ours.sort();
            assert_eq!(rows, ours, "{name}");
            // The corpus has none of these.
            let empty = ["py_bc_error_attrs", "py_bc_decorators", "py_bc_bases", "py_bc_global_writes"];
            assert_eq!(rows.is_empty(), empty.contains(&name), "{name}: a test of no rows shows nothing");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_of_the_contract_has_a_comment() {
    let service = Service::start(&[], "").await;
    let mut client = service.client().await;
    let listed = tables(&mut client, CommandGetTables { include_schema: true, ..CommandGetTables::default() }).await;
    // Of what is told beside facts there are six in `bytefacts` and six in `system`.
    assert_eq!(listed.len(), 2 * contract().len() + 12);
    for (name, (_, schema)) in listed {
        for field in schema.unwrap().fields() {
            assert!(!field.metadata()["ARROW:FLIGHT:SQL:REMARKS"].is_empty(), "{name:?}.{}", field.name());
        }
    }
}

/// A value of each type that a query can answer.
pub const EXPRESSIONS: [&str; 24] = [
    "NULL",
    "true",
    "CAST(1 AS TINYINT)",
    "CAST(1 AS SMALLINT)",
    "CAST(1 AS INT)",
    "CAST(1 AS BIGINT)",
    "CAST(1 AS INT UNSIGNED)",
    "CAST(1.5 AS REAL)",
    "CAST(1.5 AS DOUBLE)",
    "CAST(1.25 AS DECIMAL(10, 2))",
    "'text'",
    "arrow_cast('view', 'Utf8View')",
    "arrow_cast('large', 'LargeUtf8')",
    "arrow_cast('word', 'Dictionary(Int32, Utf8)')",
    "X'00ff'",
    "arrow_cast(X'00ff', 'BinaryView')",
    "DATE '2026-01-31'",
    "TIMESTAMP '2026-01-31T12:00:00'",
    "TIME '12:00:00'",
    "INTERVAL '1 month'",
    "make_array('a', NULL)",
    "make_array(arrow_cast('in a list', 'Utf8View'))",
    "named_struct('a', 1, 'b', arrow_cast('in a struct', 'Utf8View'))",
    "make_map('k', 'v')",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_type_and_its_nulls_arrive_as_they_were_announced() {
    let service = Service::start(&[], "").await;
    let mut client = service.client().await;
    for expression in EXPRESSIONS {
        let (announced, batches) =
            ask(&mut client, &format!("SELECT {expression} AS a")).await.unwrap_or_else(|status| panic!("{expression}: {status}"));
        assert!(is_plain(announced.field(0).data_type()), "{expression}: {announced}");
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1, "{expression}");
        // The same with a null beside it, and without a row.
        let nullable = format!("SELECT CASE WHEN n = 1 THEN {expression} END AS a FROM (VALUES (1), (2)) AS t(n) ORDER BY n");
        let (announced, batches) = ask(&mut client, &nullable).await.unwrap_or_else(|status| panic!("{nullable}: {status}"));
        let nulls: usize = batches.iter().map(|batch| batch.column(0).logical_null_count()).sum();
        assert_eq!(nulls, if expression == "NULL" { 2 } else { 1 }, "{expression}");
        let empty = format!("SELECT * FROM ({nullable}) WHERE false");
        let (of_none, batches) = ask(&mut client, &empty).await.unwrap_or_else(|status| panic!("{empty}: {status}"));
        assert_eq!(columns(&of_none), columns(&announced), "{expression}");
        assert!(batches.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_asked_by_their_names_and_a_new_one_is_there_at_once() {
    let service = Service::start(&[], "").await;
    let mut client = service.client().await;
    let count = "SELECT count(*) FROM bytecode_files_v1";
    let before = ask_number(&mut client, count).await;
    assert!(before > 1);

    // A query that is announced keeps to its run, whatever is committed before it is read.
    let announced = client.execute("SELECT path FROM bytecode_files_v1".to_owned(), None).await.unwrap();
    service.commit("night.2", "answer = 42\n").await;
    let (_, batches) = fetch(&mut client, announced).await.unwrap();
    assert_eq!(i64::try_from(texts(&batches).len()).unwrap(), before);

    assert_eq!(ask_number(&mut client, count).await, 1, "the same connection sees the new run");
    assert_eq!(ask_number(&mut client, "SELECT count(*) FROM runs.\"run-1\".bytecode_files_v1").await, before);
    let both = "SELECT count(*) FROM runs.\"run-1\".py_bc_code_units a JOIN runs.\"night.2\".py_bc_code_units b ON a.qualpath = b.qualpath";
    assert!(ask_number(&mut client, both).await > 0, "two runs in one statement");
    let runs = ask_text(&mut client, "SELECT run_id, is_current, parent, files FROM bytefacts.runs ORDER BY sequence").await;
    assert_eq!(runs, [["run-1", "false", "NULL", &before.to_string()], ["night.2", "true", "run-1", "1"]]);
    assert_eq!(ask_text(&mut client, "SELECT DISTINCT run_id FROM bytefacts.files").await, [["night.2"]]);
    let digests = "SELECT count(*) FROM bytefacts.repositories WHERE digest IS NOT NULL";
    assert_eq!(ask_number(&mut client, digests).await, 1);
    assert_eq!(ask_text(&mut client, "SELECT DISTINCT run_id FROM bytefacts.errors").await, [["run-1"]]);

    for (sql, said) in [
        ("SELECT * FROM runs.nightly.bytecode_files_v1", "run nightly is not committed"),
        ("SELECT * FROM runs.\"../x\".bytecode_files_v1", "not found"),
        ("SELECT * FROM runs.\"run-1\".nonsense", "not found"),
    ] {
        let status = ask(&mut client, sql).await.unwrap_err();
        assert!(status.code() == Code::InvalidArgument && status.message().contains(said), "{sql}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_option_chooses_the_run_by_header_or_login_and_never_silently_another() {
    let service = Service::start(&[], "").await;
    service.commit("night-2", "answer = 42\n").await;
    let count = "SELECT count(*) FROM bytecode_files_v1";

    let mut by_header = service.client().await;
    by_header.set_header("bytefacts.run", "run-1");
    assert!(ask_number(&mut by_header, count).await > 1);
    by_header.set_header("bytefacts.run", "no run");
    assert_eq!(ask(&mut by_header, count).await.unwrap_err().code(), Code::InvalidArgument);

    let mut with_login = service.client().await;
    with_login.handshake("anybody", "anything").await.unwrap();
    assert_eq!(ask_number(&mut with_login, count).await, 1);
    assert_eq!(with_login.execute_update("SET bytefacts.run = 'run-1'".to_owned(), None).await.unwrap(), 0);
    assert!(ask_number(&mut with_login, count).await > 1);
    let refused = with_login.execute_update("SET bytefacts.execution = moon".to_owned(), None).await.unwrap_err();
    assert!(flight_status(refused).message().contains("auto, local or cluster"));
    with_login.execute_update("SET bytefacts.run = DEFAULT".to_owned(), None).await.unwrap();
    assert_eq!(ask_number(&mut with_login, count).await, 1);

    let mut forgetful = service.client().await;
    let refused = flight_status(forgetful.execute_update("SET bytefacts.run = 'run-1'".to_owned(), None).await.unwrap_err());
    assert!(refused.message().contains("keeps no session"), "{refused}");
}

/// The session actions of Flight, as other implementations write their messages.
#[tokio::test(flavor = "multi_thread")]
async fn session_options_begin_a_session_that_a_cookie_keeps_until_it_is_closed() {
    let service = Service::start(&[], "").await;
    service.commit("night-2", "answer = 42\n").await;
    let mut client = service.client().await;
    // {"bytefacts.run": "run-1"} and {"nonsense": "x"}: maps of strings to messages whose first field is a text.
    let set = [&b"\x0a\x18\x0a\x0dbytefacts.run\x12\x07\x0a\x05run-1"[..], b"\x0a\x0f\x0a\x08nonsense\x12\x03\x0a\x01x"].concat();
    let act = async |client: &mut Client, cookie: Option<&str>, name: &str, body: Vec<u8>| {
        let mut request = tonic::Request::new(arrow_flight::Action::new(name, body));
        if let Some(cookie) = cookie {
            request.metadata_mut().insert("cookie", cookie.parse().unwrap());
        }
        let response = client.inner_mut().do_action(request).await?;
        let cookie = response.metadata().get("set-cookie").map(|value| value.to_str().unwrap().to_owned());
        let body = response.into_inner().message().await?.map(|result| result.body.to_vec()).unwrap_or_default();
        Ok::<_, Status>((cookie, body))
    };
    let (cookie, errors) = act(&mut client, None, "SetSessionOptions", set).await.unwrap();
    assert_eq!(errors, b"\x0a\x0e\x0a\x08nonsense\x12\x02\x08\x01", "the other is set, and this one is told to be no option");
    let cookie = cookie.unwrap();
    let cookie = cookie.split(';').next();
    client.set_header("cookie", cookie.unwrap());
    assert!(ask_number(&mut client, "SELECT count(*) FROM bytecode_files_v1").await > 1);
    let (_, options) = act(&mut client, cookie, "GetSessionOptions", Vec::new()).await.unwrap();
    assert!(options.windows(5).any(|bytes| bytes == b"run-1"));
    assert_eq!(act(&mut client, cookie, "CloseSession", Vec::new()).await.unwrap().1, [8, 1]);
    assert_eq!(ask(&mut client, "SELECT 1").await.unwrap_err().code(), Code::Unauthenticated, "a lost session is no new one");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_run_everything_but_the_facts_is_answered() {
    let service = Service::over(folder(), &[], "").await;
    let mut client = service.client().await;
    let status = ask(&mut client, "SELECT * FROM py_bc_blocks").await.unwrap_err();
    assert!(status.message().contains("no run has been committed"), "{status}");
    assert_eq!(ask_number(&mut client, "SELECT count(*) FROM bytefacts.runs").await, 0);
    assert!(!tables(&mut client, CommandGetTables::default()).await.is_empty());
    service.commit("run-1", "answer = 42\n").await;
    assert!(ask_number(&mut client, "SELECT count(*) FROM py_bc_blocks").await > 0);
}

/// Statements that would write, read something else or take the service down: each is refused, nothing is written, and the service goes on.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_statements_reach_nothing() {
    let service = Service::start(&[], "").await;
    let mut client = service.client().await;
    client.handshake("anybody", "anything").await.unwrap();
    let victim = folder();
    let out = victim.path().join("out.parquet").display().to_string();
    let n = 10_000;
    let hostile = [
        format!("COPY (SELECT 1) TO '{out}'"),
        format!("COPY (SELECT 1) TO '{out}' STORED AS CSV"),
        format!("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{out}'"),
        format!("EXPLAIN ANALYZE COPY (SELECT 1) TO '{out}'"),
        "CREATE TABLE t AS SELECT 1".to_owned(),
        "SELECT 1 INTO t".to_owned(),
        "CREATE VIEW v AS SELECT 1".to_owned(),
        "DROP VIEW py_bc_blocks".to_owned(),
        "INSERT INTO bytecode_files_v1 SELECT * FROM bytecode_files_v1".to_owned(),
        "WITH x AS (INSERT INTO bytefacts.runs VALUES (1) RETURNING 1) SELECT * FROM x".to_owned(),
        "SELECT * FROM '/etc/passwd'".to_owned(),
        "SELECT * FROM \"file:///etc/passwd\"".to_owned(),
        "SELECT * FROM read_csv('/etc/passwd')".to_owned(),
        "SELECT * FROM read_parquet('/etc/passwd')".to_owned(),
        "SELECT * FROM parquet_metadata('/etc/passwd')".to_owned(),
        "SELECT * FROM generate_series(1, 1000000000000)".to_owned(),
        "SELECT repeat('x', 2000000000)".to_owned(),
        "SELECT range(1, 100000000000)".to_owned(),
        "SELECT lpad('x', 2000000000, 'y')".to_owned(),
        "SELECT array_repeat(1, 100000000000)".to_owned(),
        "SELECT list_resize(make_array(1), 100000000000)".to_owned(),
        "SET datafusion.execution.target_partitions = 1000000".to_owned(),
        "SET datafusion.runtime.memory_limit = '1P'".to_owned(),
        "SELECT 1; SELECT 2".to_owned(),
        String::new(),
        format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n)),
        format!("SELECT {}", vec!["1"; n].join(" + ")),
        format!("SELECT {}", vec!["path = ''"; n].join(" OR ")),
        format!("SELECT {}true", "NOT ".repeat(n)),
        vec!["SELECT 1"; n].join(" UNION ALL "),
        format!("SELECT * FROM {}py_bc_blocks{}", "(SELECT * FROM ".repeat(n), ")".repeat(n)),
        format!("SELECT '{}'", "x".repeat(2 << 20)),
        format!("SELECT path{} FROM py_bc_blocks", "[1]".repeat(n)),
        // Each of these names is what the one before it is, twice.
        format!(
            "WITH t0 AS (SELECT 1) {} SELECT * FROM t30",
            (0..30).map(|n| format!(", t{} AS (SELECT 1 FROM t{n} a, t{n} b)", n + 1)).collect::<String>()
        ),
    ];
    for sql in &hostile {
        let start: String = sql.chars().take(80).collect();
        let status = ask(&mut client, sql).await.map(|rows| panic!("{start} was answered: {rows:?}")).unwrap_err();
        let codes = [Code::InvalidArgument, Code::Unimplemented];
        assert!(codes.contains(&status.code()), "{start}: {status}");
        let status = flight_status(client.execute_update(sql.clone(), None).await.unwrap_err());
        assert!(codes.contains(&status.code()), "{start}: {status}");
        let status = client.prepare(sql.clone(), None).await.map(|_| panic!("{start} was prepared")).map_err(flight_status).unwrap_err();
        assert!(codes.contains(&status.code()), "{start}: {status}");
    }
    assert_eq!(std::fs::read_dir(victim.path()).unwrap().count(), 0, "nothing was written");
    // As deep as a statement may be, it is planned, run and let go.
    let conditions = (0..900).map(|n| format!("kind = 'k{n}' AND start_offset <> {n}")).chain(["kind = 'entry'".to_owned()]);
    let deep = format!("SELECT count(*) FROM py_bc_blocks WHERE {}", conditions.collect::<Vec<_>>().join(" OR "));
    assert!(ask_number(&mut client, &deep).await > 0);
    let settings = "SELECT count(*) FROM information_schema.df_settings WHERE name LIKE '%temp%' AND value LIKE '/%'";
    assert_eq!(ask_number(&mut client, settings).await, 0, "no path of the machine is told");
    assert_eq!(ask_number(&mut client, "SELECT count(*) FROM bytefacts.runs").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_has_the_columns_of_the_protocol() {
    let service = Service::start(&[], "").await;
    let mut client = service.client().await;
    let key = || CommandGetPrimaryKeys { catalog: None, db_schema: None, table: "py_bc_blocks".to_owned() };
    let keys = "pk_catalog_name Utf8 NULL, pk_db_schema_name Utf8 NULL, pk_table_name Utf8, pk_column_name Utf8, fk_catalog_name Utf8 NULL, \
                fk_db_schema_name Utf8 NULL, fk_table_name Utf8, fk_column_name Utf8, key_sequence Int32, fk_key_name Utf8 NULL, \
                pk_key_name Utf8 NULL, update_rule UInt8, delete_rule UInt8";
    let infos = [
        (client.get_catalogs().await.unwrap(), "catalog_name Utf8", 2),
        (client.get_db_schemas(CommandGetDbSchemas::default()).await.unwrap(), "catalog_name Utf8 NULL, db_schema_name Utf8", 4),
        (client.get_table_types().await.unwrap(), "table_type Utf8", 3),
        (
            client.get_tables(CommandGetTables::default()).await.unwrap(),
            "catalog_name Utf8 NULL, db_schema_name Utf8 NULL, table_name Utf8, table_type Utf8",
            2 * contract().len() + 12,
        ),
        (
            client.get_primary_keys(key()).await.unwrap(),
            "catalog_name Utf8 NULL, db_schema_name Utf8 NULL, table_name Utf8, column_name Utf8, key_name Utf8 NULL, key_sequence Int32",
            1,
        ),
        (client.get_exported_keys(CommandGetExportedKeys { table: "x".into(), ..Default::default() }).await.unwrap(), keys, 0),
        (client.get_imported_keys(CommandGetImportedKeys { table: "x".into(), ..Default::default() }).await.unwrap(), keys, 0),
        (client.get_cross_reference(CommandGetCrossReference::default()).await.unwrap(), keys, 0),
    ];
    for (info, expected, rows) in infos {
        let (schema, batches) = fetch(&mut client, info).await.unwrap();
        let text =
            |(name, data_type, nullable): (String, DataType, bool)| format!("{name} {data_type}{}", if nullable { " NULL" } else { "" });
        assert_eq!(columns(&schema).into_iter().map(text).collect::<Vec<_>>().join(", "), expected);
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), rows, "{expected}");
    }
    let info = client.get_xdbc_type_info(CommandGetXdbcTypeInfo { data_type: None }).await.unwrap();
    assert!(!fetch(&mut client, info).await.unwrap().1.is_empty());
    let info = client.get_sql_info(vec![SqlInfo::FlightSqlServerReadOnly, SqlInfo::FlightSqlServerName]).await.unwrap();
    assert_eq!(fetch(&mut client, info).await.unwrap().1[0].num_rows(), 2);

    // Filters are the protocol's: a catalog by name, the rest by patterns, types by name.
    let of = |catalog: Option<&str>, schema: Option<&str>, table: Option<&str>, types: &[&str]| CommandGetTables {
        catalog: catalog.map(str::to_owned),
        db_schema_filter_pattern: schema.map(str::to_owned),
        table_name_filter_pattern: table.map(str::to_owned),
        table_types: types.iter().map(|name| (*name).to_owned()).collect(),
        include_schema: false,
    };
    for (command, found) in [
        (of(Some("facts"), None, None, &[]), contract().len() + 12),
        (of(Some("runs"), Some("run%"), Some("py\\_bc\\_blocks"), &[]), 1),
        (of(None, None, Some("py_bc_bl%"), &[]), 2),
        (of(None, None, None, &["TABLE"]), 2),
        (of(None, None, None, &["SYSTEM TABLE", "TABLE"]), 14),
        (of(Some(""), None, None, &[]), 0),
        (of(Some("nowhere"), None, None, &[]), 0),
    ] {
        assert_eq!(tables(&mut client, command.clone()).await.len(), found, "{command:?}");
    }
}

/// Limits that drivers are told are those that hold: what keeps to them is answered, and what goes beyond is not.
#[tokio::test(flavor = "multi_thread")]
async fn limits_that_are_told_hold() {
    let service = Service::start(&[], "serve: {connections: 4, message_bytes: 1048576}").await;
    let mut client = service.client().await;
    let limits = [SqlInfo::SqlMaxConnections, SqlInfo::SqlMaxRowSize, SqlInfo::SqlMaxStatementLength];
    let mut told = Vec::new();
    for limit in limits {
        let info = client.get_sql_info(vec![limit]).await.unwrap();
        let (_, batches) = fetch(&mut client, info).await.unwrap();
        let value = batches[0].column(1).as_any().downcast_ref::<UnionArray>().unwrap().value(0);
        told.push(usize::try_from(value.as_primitive::<Int64Type>().value(0)).unwrap());
    }
    let [connections, row, length] = told[..] else { panic!("{told:?}") };
    assert!(connections == 4 && row < 1 << 20, "those of the settings, less what is around a row: {told:?}");
    let long = |bytes: usize| format!("SELECT s || s FROM (VALUES ('{}')) AS t(s)", "x".repeat(bytes / 2));
    let padded = |bytes: usize| format!("SELECT 1 --{}", "x".repeat(bytes - 11));
    for (within, beyond) in [(long(row - 4096), long(row + 1)), (padded(length), padded(length + 1))] {
        ask(&mut client, &within).await.unwrap_or_else(|status| panic!("{}…: {status}", &within[..40]));
        ask(&mut client, &beyond).await.map(|_| panic!("{}… was answered", &beyond[..40])).unwrap_err();
    }
    let mut others = Vec::new();
    for _ in 1..connections {
        let mut other = service.client().await;
        ask(&mut other, "SELECT 1").await.unwrap();
        others.push(other);
    }
    service.client_without_tls().await.unwrap_err();
    ask(&mut client, "SELECT 1").await.unwrap();
}

/// What is told to be a key is one: no value twice, and none that is null.
#[tokio::test(flavor = "multi_thread")]
async fn primary_keys_are_keys() {
    let service = Service::start(&[], "").await;
    let mut client = service.client().await;
    let mut keys = 0;
    for name in contract() {
        let command = CommandGetPrimaryKeys { catalog: None, db_schema: None, table: name.to_owned() };
        let info = client.get_primary_keys(command).await.unwrap();
        for row in texts(&fetch(&mut client, info).await.unwrap().1) {
            let column = &row[3];
            let sql = format!("SELECT count(*) - count(DISTINCT {column}) FROM {name}");
            assert_eq!(ask_number(&mut client, &sql).await, 0, "{name}.{column}");
            keys += 1;
        }
    }
    assert_eq!(keys, 12);
}

/// `GetSchema` tells what a query answers without asking it, and of metadata too.
#[tokio::test(flavor = "multi_thread")]
async fn schemas_are_told_without_a_query() {
    let service = Service::start(&[], "").await;
    let mut client = service.client().await;
    let schema = async |client: &mut Client, any: Any| {
        let result = client.inner_mut().get_schema(FlightDescriptor::new_cmd(any.encode_to_vec())).await;
        result.map(|result| Schema::try_from(&result.into_inner()).unwrap())
    };
    let query = |sql: &str| CommandStatementQuery { query: sql.to_owned(), transaction_id: None }.as_any();
    let sql = "SELECT path, count(*) AS n FROM py_bc_blocks GROUP BY path";
    assert_eq!(schema(&mut client, query(sql)).await.unwrap(), ask(&mut client, sql).await.unwrap().0);
    let tables = CommandGetTables { include_schema: true, ..CommandGetTables::default() };
    assert_eq!(schema(&mut client, tables.as_any()).await.unwrap().fields().len(), 5);
    assert_eq!(schema(&mut client, query("DROP TABLE t")).await.unwrap_err().code(), Code::InvalidArgument);
    let nonsense = Any { type_url: "nonsense".into(), value: vec![1].into() };
    assert_eq!(schema(&mut client, nonsense).await.unwrap_err().code(), Code::Unimplemented);
    assert!(matches!(Command::try_from(query(sql)), Ok(Command::CommandStatementQuery(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_within_a_second_and_tells_who_reads() {
    let mut service = Service::start(&[], "").await;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        assert_eq!(service.daemon.get("/readyz").0, 200);
        let mut watched = Vec::new();
        for name in ["", "arrow.flight.protocol.FlightService"] {
            let request = HealthCheckRequest { service: name.to_owned() };
            let mut watching = HealthClient::new(channel(service.daemon.address).await).watch(request).await.unwrap().into_inner();
            assert_eq!(watching.message().await.unwrap().unwrap().status, SERVING, "{name}");
            watched.push(watching);
        }
        let mut client = service.client().await;
        let reading = tokio::spawn(async move { ask(&mut client, ENDLESS).await.unwrap_err() });
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let begun = std::time::Instant::now();
        service.daemon.signal(signal);
        for mut watching in watched {
            assert_eq!(watching.message().await.unwrap().unwrap().status, NOT_SERVING, "whoever watches is told before it ends");
        }
        while service.daemon.is_running() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert!(begun.elapsed() < std::time::Duration::from_millis(1500), "{:?}", begun.elapsed());
        let status = reading.await.unwrap();
        assert!([Code::Cancelled, Code::Unavailable, Code::Unknown].contains(&status.code()), "{status}");
        assert_eq!(service.daemon.wait(), Some(0));
        let facts = service.facts;
        service = Service::over(facts, &[], "").await;
    }
}

/// A query that would take longer than any test.
pub const ENDLESS: &str = "SELECT count(*) FROM py_bc_instructions a, py_bc_instructions b, py_bc_instructions c, py_bc_instructions d \
                           WHERE a.\"offset\" + b.\"offset\" + c.\"offset\" + d.\"offset\" = -1";

/// A query whose result is larger than anybody wants to hold.
pub const LARGE: &str = "SELECT a.*, b.* FROM py_bc_instructions a, py_bc_instructions b, py_bc_instructions c";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_is_listed_and_counted() {
    let service = Service::start(&[], "").await;
    let mut client = service.client().await;
    assert_eq!(
        ask_number(&mut client, "SELECT count(*) FROM py_bc_blocks").await,
        ask_number(&mut client, "SELECT count(*) FROM py_bc_blocks").await
    );
    ask(&mut client, "SELECT 1 / 0").await.unwrap_err();
    ask(&mut client, "SELECT nonsense").await.unwrap_err();
    let listed =
        ask_text(&mut client, "SELECT state, rows, statement, error FROM system.queries WHERE state <> 'running' ORDER BY started_at")
            .await;
    let expected = |error: &str| {
        vec![
            vec!["finished".to_owned(), "1".to_owned(), "SELECT count(*) FROM py_bc_blocks".to_owned(), "NULL".to_owned()],
            vec!["finished".to_owned(), "1".to_owned(), "SELECT count(*) FROM py_bc_blocks".to_owned(), "NULL".to_owned()],
            vec!["failed".to_owned(), "0".to_owned(), "SELECT 1 / 0".to_owned(), error.to_owned()],
        ]
    };
    assert_eq!(listed, expected(&listed[2][3]));
    assert!(listed[2][3].contains("Divide by zero"));
    let ids = ask_text(&mut client, "SELECT query_id FROM system.queries").await;
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    assert_eq!(service.daemon.metric("bytefacts_sql_queries_total"), 5.0);
    assert_eq!(service.daemon.metric("bytefacts_sql_statements_refused_total"), 1.0);
    assert_eq!(service.daemon.metric("bytefacts_sql_queries_open"), 0.0);
    assert_eq!(service.daemon.metric("bytefacts_sql_query_seconds_count"), 5.0);
    assert!(service.daemon.metric("bytefacts_sql_rows_total") >= 5.0);
    assert!(service.daemon.get("/metrics").1.contains("bytefacts_build_info"));
}
