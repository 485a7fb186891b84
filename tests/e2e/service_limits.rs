//! What a query of the SQL service may take, and what ends it.

use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_flight::sql::{ActionCancelQueryRequest, CommandGetTables, CommandStatementQuery, ProstMessageExt as _, TicketStatementQuery};
use arrow_flight::{Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightDescriptor, FlightInfo, Ticket};
use futures::TryStreamExt as _;
use prost::Message as _;
use tonic::{Code, Status};

use crate::processes::Daemon;
use crate::service::{Client, ENDLESS, LARGE, Service, ask, ask_number, ask_text, fetch, flight_status};
use crate::support::{texts, write_files};

/// Announcements that do not wait for what never comes.
const IMPATIENT: &str = "serve: {early_milliseconds: 100}";

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} does not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until no query is open and the service rests.
async fn at_rest(daemon: &Daemon) {
    until("the end of all queries", || daemon.metric("bytefacts_sql_queries_open") == 0.0).await;
    // What ends is let go within moments, or some seconds on a machine that does other things; then no CPU is taken any more.
    let begun = Instant::now();
    loop {
        let before = daemon.cpu();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let taken = daemon.cpu() - before;
        if taken < Duration::from_millis(300) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{taken:?} of CPU are taken in a second of rest");
    }
}

async fn announced(client: &mut Client, sql: &str) -> FlightInfo {
    client.execute(sql.to_owned(), None).await.unwrap()
}

/// A query that takes long, and no memory.
const COUNTING: &str = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT max(i) FROM n";

fn ticket(info: &FlightInfo) -> Ticket {
    info.endpoint[0].ticket.clone().unwrap()
}

async fn act(client: &mut Client, name: &str, body: Vec<u8>) -> Result<Vec<u8>, Status> {
    let mut answers = client.inner_mut().do_action(Action { r#type: name.to_owned(), body: body.into() }).await?.into_inner();
    Ok(answers.message().await?.map(|answer| answer.body.to_vec()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_ends_the_work() {
    let service = Service::start(&[], IMPATIENT).await;
    let mut client = service.client().await;

    // A stream of which somebody reads the beginning, and lets it go.
    let info = announced(&mut client, LARGE).await;
    let mut stream = client.do_get(ticket(&info)).await.unwrap();
    assert!(stream.try_next().await.unwrap().is_some());
    assert_eq!(service.daemon.metric("bytefacts_sql_queries_open"), 1.0);
    drop(stream);
    at_rest(&service.daemon).await;

    // One that has nothing to read yet, and works.
    let info = announced(&mut client, ENDLESS).await;
    let before = service.daemon.cpu();
    let stream = client.do_get(ticket(&info)).await.unwrap();
    until("work", || service.daemon.cpu() - before > Duration::from_millis(300)).await;
    drop(stream);
    at_rest(&service.daemon).await;
    let states = ask_text(&mut client, "SELECT state FROM system.queries WHERE state <> 'running' ORDER BY started_at").await;
    assert_eq!(states, [["left"], ["left"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_and_goes_away_before_the_answer_leaves_nothing_behind() {
    let service = Service::start(&[], "serve: {early_milliseconds: 60000}").await;
    let mut client = service.client().await;
    let asking = tokio::spawn(async move { announced(&mut client, ENDLESS).await });
    until("the query", || service.daemon.metric("bytefacts_sql_queries_open") == 1.0).await;
    asking.abort();
    at_rest(&service.daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_cancelled_by_what_was_announced_for_it() {
    let service = Service::start(&[], IMPATIENT).await;
    let mut client = service.client().await;
    for deprecated in [false, true] {
        let info = announced(&mut client, ENDLESS).await;
        let mut reader = service.client().await;
        let of_reader = info.clone();
        let reading = tokio::spawn(async move { fetch(&mut reader, of_reader).await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        let status = if deprecated {
            let request = ActionCancelQueryRequest { info: info.encode_to_vec().into() }.as_any().encode_to_vec();
            let body = act(&mut client, "CancelQuery", request).await.unwrap();
            let any = arrow_flight::sql::Any::decode(&*body).unwrap();
            any.unpack::<arrow_flight::sql::ActionCancelQueryResult>().unwrap().unwrap().result
        } else {
            let body = act(&mut client, "CancelFlightInfo", CancelFlightInfoRequest::new(info.clone()).encode_to_vec()).await.unwrap();
            CancelFlightInfoResult::decode(&*body).unwrap().status
        };
        assert_eq!(status, CancelStatus::Cancelled as i32);
        let told = reading.await.unwrap().unwrap_err();
        assert_eq!((told.code(), told.message()), (Code::Cancelled, "the query was cancelled"));
        at_rest(&service.daemon).await;
        let again = act(&mut client, "CancelFlightInfo", CancelFlightInfoRequest::new(info).encode_to_vec()).await.unwrap();
        assert_eq!(CancelFlightInfoResult::decode(&*again).unwrap().status, CancelStatus::NotCancellable as i32);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_are_read_once_and_cannot_be_forged() {
    let service = Service::start(&[], "").await;
    let mut client = service.client().await;
    let info = announced(&mut client, "SELECT 1 AS a").await;
    assert_eq!(info.total_records, 1, "what is over at once is counted");
    let ticket = ticket(&info);
    fetch(&mut client, info.clone()).await.unwrap();
    let again = fetch(&mut client, info).await.unwrap_err();
    assert!(again.code() == Code::NotFound && again.message().contains("ask again"), "{again}");

    let with = |handle: Vec<u8>| Ticket::new(TicketStatementQuery { statement_handle: handle.into() }.as_any().encode_to_vec());
    let any = arrow_flight::sql::Any::decode(&*ticket.ticket).unwrap();
    let handle = any.unpack::<TicketStatementQuery>().unwrap().unwrap().statement_handle.to_vec();
    let mut other = handle.clone();
    *other.last_mut().unwrap() ^= 1;
    let statement = CommandStatementQuery { query: "SELECT 1".into(), transaction_id: None }.as_any().encode_to_vec();
    for (forged, code) in [
        (with(other), Code::InvalidArgument),
        (with(b"SELECT 1".to_vec()), Code::InvalidArgument),
        (with(vec![0xff; 40]), Code::InvalidArgument),
        (with(Vec::new()), Code::InvalidArgument),
        (Ticket::new(Vec::new()), Code::Unimplemented),
        (Ticket::new(vec![0xff; 40]), Code::InvalidArgument),
        (Ticket::new(statement), Code::Unimplemented),
    ] {
        let status = flight_status(client.do_get(forged.clone()).await.map(|_| panic!("{forged:?}")).unwrap_err());
        assert_eq!(status.code(), code, "{forged:?}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_polled_until_there_is_something_to_read() {
    let service = Service::start(&[], "").await;
    let mut client = service.client().await;
    let descriptor =
        |sql: &str| FlightDescriptor::new_cmd(CommandStatementQuery { query: sql.into(), transaction_id: None }.as_any().encode_to_vec());

    let quick = client.inner_mut().poll_flight_info(descriptor("SELECT 1 AS a")).await.unwrap().into_inner();
    assert_eq!(quick.flight_descriptor, None, "it is ready");
    assert_eq!(texts(&fetch(&mut client, quick.info.unwrap()).await.unwrap().1), [["1"]]);

    let first = client.inner_mut().poll_flight_info(descriptor(ENDLESS)).await.unwrap().into_inner();
    let next = first.flight_descriptor.expect("it is not ready");
    assert!(first.expiration_time.is_some());
    let second = client.inner_mut().poll_flight_info(next.clone()).await.unwrap().into_inner();
    assert!(second.flight_descriptor.is_some());
    let request = CancelFlightInfoRequest::new(second.info.unwrap()).encode_to_vec();
    act(&mut client, "CancelFlightInfo", request).await.unwrap();
    let status = client.inner_mut().poll_flight_info(next).await.unwrap_err();
    assert!([Code::Cancelled, Code::NotFound].contains(&status.code()), "{status}");
    at_rest(&service.daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_come_with_the_announcement_where_they_come_soon() {
    let service = Service::start(&[], "").await;
    let mut client = service.client().await;
    for (sql, code) in [
        ("SELECT * FROM nonsense", Code::InvalidArgument),
        ("SELECT 1 / (argcount - argcount) FROM py_bc_code_units", Code::InvalidArgument),
    ] {
        let status = flight_status(client.execute(sql.to_owned(), None).await.map(|_| panic!("{sql}")).unwrap_err());
        assert_eq!(status.code(), code, "{sql}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_end_a_query_in_words() {
    let settings = "serve: {query_seconds: 3, query_rows: 1000, query_memory_bytes: 16000000, query_spill_bytes: 0, queries_per_user: 2, \
                    early_milliseconds: 50}";
    let service = Service::start(&[], settings).await;
    let mut client = service.client().await;
    let ids = "a.instr_id || b.instr_id || a.file_id || b.file_id || a.code_unit_id || b.code_unit_id";
    let fat = format!("SELECT count(DISTINCT {ids}) FROM py_bc_instructions a, py_bc_instructions b");
    for (sql, code, said) in [
        ("SELECT a.path FROM py_bc_instructions a, py_bc_instructions b", Code::ResourceExhausted, "more than 1000 rows"),
        (COUNTING, Code::DeadlineExceeded, "has taken 3 s"),
        (&*fat, Code::ResourceExhausted, "Resources exhausted"),
    ] {
        let status = ask(&mut client, sql).await.map(|_| panic!("{sql}")).unwrap_err();
        assert!(status.code() == code && status.message().contains(said), "{sql}: {status}");
    }
    at_rest(&service.daemon).await;
    assert_eq!(ask_number(&mut client, "SELECT count(*) FROM bytefacts.runs").await, 1, "others are not touched");
    for _ in 0..2 {
        announced(&mut client, "SELECT path FROM bytecode_files_v1").await;
    }
    let status = ask(&mut client, "SELECT 1").await.unwrap_err();
    assert!(status.code() == Code::ResourceExhausted && status.message().contains("2 queries of yours are open"), "{status}");
}

/// One that was cancelled is no longer its user's, although nobody has come to be told so.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_query_makes_room() {
    let service = Service::start(&[], "serve: {queries_per_user: 2, early_milliseconds: 50}").await;
    let mut client = service.client().await;
    for _ in 0..3 {
        let mut infos = Vec::new();
        for _ in 0..2 {
            infos.push(client.execute(COUNTING.to_owned(), None).await.unwrap());
        }
        assert_eq!(ask(&mut client, "SELECT 1").await.unwrap_err().code(), Code::ResourceExhausted);
        for info in infos {
            act(&mut client, "CancelFlightInfo", CancelFlightInfoRequest::new(info).encode_to_vec()).await.unwrap();
        }
        at_rest(&service.daemon).await;
        assert_eq!(ask_number(&mut client, "SELECT 1").await, 1);
    }
}

/// What panics is an error to its reader, and no end of rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_panics_is_an_error_and_is_over() {
    let service = Service::start(&[], "serve: {queries_per_user: 2}").await;
    let mut client = service.client().await;
    // A fault of the engine: an offset that overflows, in builds that look for it.
    let panics = "SELECT array_position(make_array(length(path)), 1, -9223372036854775808) FROM bytecode_files_v1";
    for _ in 0..3 {
        let status = ask(&mut client, panics).await.map(|_| panic!("it has answered")).unwrap_err();
        assert!(!status.message().is_empty(), "{status}");
    }
    assert_eq!(ask_number(&mut client, "SELECT 1").await, 1);
    at_rest(&service.daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_comes_for_is_given_up() {
    let service = Service::start(&[], "serve: {unclaimed_seconds: 1, early_milliseconds: 100}").await;
    let mut client = service.client().await;
    let (working, ready) = (announced(&mut client, LARGE).await, announced(&mut client, "SELECT 1").await);
    at_rest(&service.daemon).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for info in [working, ready] {
        assert_eq!(fetch(&mut client, info).await.unwrap_err().code(), Code::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn others_wait_for_their_turn() {
    let service = Service::start(&[], "serve: {running: 1, early_milliseconds: 100}").await;
    let mut client = service.client().await;
    let endless = announced(&mut client, ENDLESS).await;
    let waiting = announced(&mut client, "SELECT 42 AS a").await;
    let mut reader = service.client().await;
    let reading = tokio::spawn(async move { fetch(&mut reader, waiting).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!reading.is_finished());
    act(&mut client, "CancelFlightInfo", CancelFlightInfoRequest::new(endless).encode_to_vec()).await.unwrap();
    assert_eq!(texts(&reading.await.unwrap().unwrap().1), [["42"]]);
}

/// Bytes of memory that a process has.
fn resident(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.process())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Who reads slowly makes the query wait, and not the memory grow.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_little_memory() {
    let service = Service::start(&[], IMPATIENT).await;
    let mut client = service.client().await;
    let info = announced(&mut client, LARGE).await;
    let mut stream = client.do_get(ticket(&info)).await.unwrap();
    assert!(stream.try_next().await.unwrap().is_some());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (before, sent) = (resident(&service.daemon), service.daemon.metric("bytefacts_sql_bytes_total"));
    for _ in 0..5 {
        stream.try_next().await.unwrap();
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let (after, sent_since) = (resident(&service.daemon), service.daemon.metric("bytefacts_sql_bytes_total") - sent);
    assert!(sent_since < 64e6, "{sent_since} bytes were made for a reader of a few messages");
    assert!(after < before + (64 << 20), "{before} bytes have become {after}");
}

/// Tables of all runs are as many as runs, each with all of its columns: they are made as they are read.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_of_the_tables_of_all_runs_holds_little_memory() {
    const RUNS: usize = 1_000;
    let service = Service::start(&[], "").await;
    let runs = service.facts.path().join("runs");
    let header = std::fs::read_to_string(runs.join("run-1/run.json")).unwrap();
    for n in 0..RUNS {
        let name = format!("copy-{n}");
        let copy = header.replace("\"run-1\"", &format!("\"{name}\""));
        write_files(&runs, &[(&format!("{name}/run.json"), copy.as_bytes())]);
    }
    let mut client = service.client().await;
    // The first question of columns plans a query of each table.
    let shown = CommandGetTables { catalog: Some("facts".to_owned()), include_schema: true, ..CommandGetTables::default() };
    let info = client.get_tables(shown).await.unwrap();
    fetch(&mut client, info).await.unwrap();

    let all = CommandGetTables { catalog: Some("runs".to_owned()), include_schema: true, ..CommandGetTables::default() };
    let info = client.get_tables(all).await.unwrap();
    let before = resident(&service.daemon);
    let mut stream = client.do_get(ticket(&info)).await.unwrap();
    let first = stream.try_next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (after, bytes) = (resident(&service.daemon), first.get_array_memory_size() as u64);
    assert!(after < before + (64 << 20), "{before} bytes have become {after}, for a first message of {bytes}");
    let mut rows = first.num_rows();
    while let Some(batch) = stream.try_next().await.unwrap() {
        rows += batch.num_rows();
    }
    let of_one = ask_number(&mut client, "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'").await;
    assert_eq!(i64::try_from(rows).unwrap(), (i64::try_from(RUNS).unwrap() + 1) * of_one);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_split_over_messages_and_one_that_fits_none_is_an_error() {
    let service = Service::start(&[], "serve: {message_bytes: 1048576}").await;
    let mut client = service.client().await;
    // 2^n letters.
    let doubled =
        |n: usize| (0..n).fold("SELECT 'x' AS s0".to_owned(), |inner, n| format!("SELECT s{n} || s{n} AS s{} FROM ({inner})", n + 1));
    let fitting = ask(&mut client, &doubled(19)).await.unwrap().1;
    assert_eq!(texts(&fitting)[0][0].len(), 1 << 19);
    let status = ask(&mut client, &doubled(21)).await.unwrap_err();
    assert!(status.code() == Code::ResourceExhausted && status.message().contains("fewer columns"), "{status}");
    let many = format!("SELECT t.s14, i.instr_id FROM ({}) AS t, py_bc_instructions AS i", doubled(14));
    let (_, batches) = ask(&mut client, &many).await.unwrap();
    assert!(batches.len() > 3, "{}", batches.len());
    assert!(batches.iter().all(|batch| batch.num_rows() < 64));
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(i64::try_from(rows).unwrap(), ask_number(&mut client, "SELECT count(*) FROM py_bc_instructions").await);
}

fn values(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_tell_their_parameters_and_take_values() {
    let service = Service::start(&[], "").await;
    let mut client = service.client().await;
    let text = |value: &str| -> ArrayRef { std::sync::Arc::new(StringArray::from(vec![value])) };
    let number = |value: i64| -> ArrayRef { std::sync::Arc::new(Int64Array::from(vec![value])) };
    let literal = "SELECT count(*) FROM py_bc_instructions WHERE opname = 'LOAD_CONST' AND \"offset\" > 4";
    let expected = ask_number(&mut client, literal).await;
    assert!(expected > 0);
    for (placeholders, batch) in [
        (("?", "?"), values(vec![("0", text("LOAD_CONST")), ("1", number(4))])),
        (("$1", "$2"), values(vec![("0", text("LOAD_CONST")), ("1", std::sync::Arc::new(Int32Array::from(vec![4])) as ArrayRef)])),
        (("$2", "$1"), values(vec![("0", number(4)), ("1", text("LOAD_CONST"))])),
        (("$name", "$least"), values(vec![("least", number(4)), ("name", text("LOAD_CONST"))])),
    ] {
        let (name, least) = placeholders;
        let sql = format!("SELECT count(*) FROM py_bc_instructions WHERE opname = {name} AND \"offset\" > {least}");
        let mut prepared = client.prepare(sql.clone(), None).await.unwrap();
        let mut types: Vec<_> = prepared.parameter_schema().unwrap().fields().iter().map(|field| field.data_type().to_string()).collect();
        types.sort();
        assert_eq!(types, ["Int32", "Utf8"], "{sql}");
        assert_eq!(prepared.dataset_schema().unwrap().fields().len(), 1);
        let unbound = flight_status(prepared.execute().await.unwrap_err());
        assert!(unbound.message().contains("bind values"), "{unbound}");
        for _ in 0..2 {
            prepared.set_parameters(batch.clone()).unwrap();
            let info = prepared.execute().await.unwrap();
            assert_eq!(texts(&fetch(&mut client, info).await.unwrap().1), [[expected.to_string()]], "{sql}");
        }
        let two = arrow::compute::concat_batches(&batch.schema(), [&batch, &batch]).unwrap();
        prepared.set_parameters(two).unwrap();
        assert!(flight_status(prepared.execute().await.unwrap_err()).message().contains("one row of parameters"));
        prepared.close().await.unwrap();
    }
    until("all statements to be let go", || service.daemon.metric("bytefacts_sql_prepared_statements") == 0.0).await;

    // Before the values are known a column may be null, and it stays announced so.
    let mut prepared = client.prepare("SELECT path, $1 AS given FROM py_bc_blocks LIMIT 1".to_owned(), None).await.unwrap();
    let told = prepared.dataset_schema().unwrap().clone();
    prepared.set_parameters(values(vec![("0", text("x"))])).unwrap();
    let info = prepared.execute().await.unwrap();
    assert_eq!(fetch(&mut client, info).await.unwrap().0, told);

    let mut update = client.prepare("SET bytefacts.run = DEFAULT".to_owned(), None).await.unwrap();
    assert!(update.dataset_schema().unwrap().fields().is_empty(), "an update has no columns");
    assert!(flight_status(update.execute_update().await.unwrap_err()).message().contains("keeps no session"));
}
