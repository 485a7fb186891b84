//! Clients that mean harm, or do not mind: what they ask for is bounded, and others are served meanwhile.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use arrow_flight::{Action, CancelFlightInfoRequest, FlightData};
use bytefacts_client::{Connection, Options};
use futures::TryStreamExt as _;
use futures::future::join_all;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use prost::Message as _;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::processes::Daemon;
use crate::service::{Client, LARGE, Service, ask, ask_number, ask_text, flight_status};
use crate::service_access::certify;
use crate::support::{folder, not_tested, texts};

/// A query that takes long, and gives way.
const COUNTING: &str = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT max(i) FROM n";

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(90), "{what} does not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn open(daemon: &Daemon) -> f64 {
    daemon.metric("bytefacts_sql_queries_open")
}

/// A text that a step makes longer again and again, as a query over two rows whose value no optimiser knows. Each step has a name of its own: of
/// two projections of one name DataFusion 55 drops one.
fn doubled(times: usize, step: &str) -> String {
    let start = "SELECT a AS s0 FROM (VALUES ('x'), ('y')) AS t(a)".to_owned();
    let inner = (0..times).fold(start, |inner, n| format!("SELECT {} AS s{} FROM ({inner})", step.replace("{}", &format!("s{n}")), n + 1));
    format!("SELECT s{times} AS s FROM ({inner})")
}

/// A plan that takes longer than its query may is given up in time, and more of them than there are threads of a query keep nobody waiting.
#[tokio::test(flavor = "multi_thread")]
async fn planning_has_its_time_and_its_places() {
    let service = Service::start(&[], "serve: {query_seconds: 1, threads: 1}").await;
    let joined = (0..60).map(|n| format!("py_bc_calls c{n}")).collect::<Vec<_>>().join(", ");
    let long = format!("SELECT count(*) FROM {joined}");
    let asking = (0..3).map(|_| async {
        let mut client = service.client().await;
        ask(&mut client, &long).await.map(|_| panic!("it was planned in time")).unwrap_err()
    });
    let others = async {
        let mut client = service.client().await;
        for _ in 0..5 {
            ask_number(&mut client, "SELECT 1").await;
        }
    };
    let (refused, ()) = futures::join!(join_all(asking), others);
    for status in refused {
        assert!(status.code() == Code::DeadlineExceeded && status.message().contains("planning"), "{status}");
    }
    let mut client = service.client().await;
    assert_eq!(ask_number(&mut client, "SELECT count(*) FROM bytefacts.runs").await, 1);
}

/// What makes much of little is refused before it is made, wherever it stands.
#[tokio::test(flavor = "multi_thread")]
async fn texts_do_not_outgrow_the_server() {
    let service = Service::start(&[], "serve: {query_memory_bytes: 16000000, query_spill_bytes: 0}").await;
    let mut client = service.client().await;
    let names = "SELECT arrow_cast(instr_id, 'Utf8') AS t FROM py_bc_instructions";
    for sql in [
        format!("SELECT length(s) FROM ({})", doubled(40, "{} || {}")),
        format!("SELECT length(s) FROM ({})", doubled(40, "concat({}, {})")),
        format!("SELECT length(s) FROM ({})", doubled(30, "concat({}, {}, {})")),
        format!("SELECT length(replace(s, 'x', s)) FROM ({})", doubled(20, "{} || {}")),
        format!("SELECT length(regexp_replace(s, 'x', s, 'g')) FROM ({})", doubled(20, "{} || {}")),
        format!("SELECT levenshtein(s, s) FROM ({})", doubled(20, "{} || {}")),
        // Lists, and constants that stand in each row.
        format!("SELECT cardinality(s) FROM ({})", doubled(40, "{} || {}").replacen("SELECT a AS s0", "SELECT make_array(a) AS s0", 1)),
        format!(
            "SELECT c.s30, t FROM ({names}) AS n, ({}) AS c",
            (0..30).fold("SELECT 'x' AS s0".to_owned(), |inner, n| format!("SELECT s{n} || s{n} AS s{} FROM ({inner})", n + 1))
        ),
    ] {
        let status = ask(&mut client, &sql).await.map(|_| panic!("{sql} was answered")).unwrap_err();
        assert!(status.code() == Code::ResourceExhausted && !status.message().is_empty(), "{}: {status}", &sql[..60]);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.daemon.process())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap();
    assert!(peak < 1536 << 10, "{peak} kB were taken");
    assert_eq!(ask_text(&mut client, "SELECT replace('aXb', 'X', '-') || upper('c')").await, [["a-bC"]]);
}

/// What would end the process, or keep a place for ever, is refused: types that are large by themselves, and WITH in WITH, whose walk doubles with each.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_memory_and_no_time_would_do_for_is_refused() {
    let service = Service::start(&[], "").await;
    let mut client = service.client().await;
    for sql in [
        "SELECT arrow_cast(NULL, 'FixedSizeList(2000000000 x FixedSizeBinary(2000000000))')".to_owned(),
        "SELECT arrow_cast(NULL, 'FixedSizeBinary(2000000000)') FROM py_bc_instructions".to_owned(),
        "SELECT arrow_try_cast(opname, 'FixedSizeBinary(2000000000)') FROM py_bc_instructions".to_owned(),
        "SELECT CAST(NULL AS INT[1000000][1000000])".to_owned(),
        format!("{}SELECT 1{}", "WITH a AS (".repeat(40), ") SELECT 1".repeat(40)),
        vec!["VALUES (1)"; 6_000].join(" UNION ALL "),
    ] {
        let status = ask(&mut client, &sql).await.map(|_| panic!("{} was answered", &sql[..40])).unwrap_err();
        assert!([Code::InvalidArgument, Code::ResourceExhausted].contains(&status.code()), "{}: {status}", &sql[..40]);
    }
    assert_eq!(ask_number(&mut client, "WITH a AS (WITH b AS (SELECT 1 AS n) SELECT n FROM b) SELECT sum(n) FROM a").await, 1);
}

/// A function that keeps its thread is left alone with it once its query is given up: others have threads of their own.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_give_way_keeps_nobody_waiting() {
    let service = Service::start(&[], "serve: {threads: 1, running: 4, early_milliseconds: 100}").await;
    let mut client = service.client().await;
    let stubborn = format!("SELECT regexp_count(s, '(?:(?:x{{1,40}}){{1,40}}){{2}}[^x]') FROM ({})", doubled(20, "{} || {}"));
    let before = service.daemon.cpu();
    let mut infos = Vec::new();
    for _ in 0..2 {
        infos.push(client.execute(stubborn.clone(), None).await.unwrap());
    }
    until("work", || service.daemon.cpu() - before > Duration::from_secs(1)).await;
    assert_eq!(open(&service.daemon), 2.0);
    assert_eq!(ask_number(&mut client, "SELECT count(*) FROM bytefacts.runs").await, 1, "while they work");
    for info in infos {
        let body = CancelFlightInfoRequest::new(info).encode_to_vec().into();
        client.inner_mut().do_action(Action { r#type: "CancelFlightInfo".to_owned(), body }).await.unwrap();
    }
    until("the end of both, as far as clients know", || open(&service.daemon) == 0.0).await;
    let given_up = service.daemon.cpu();
    assert_eq!(ask_number(&mut client, "SELECT count(*) FROM bytefacts.runs").await, 1, "while they are left alone");
    until("proof that they have not given way", || service.daemon.cpu() - given_up > Duration::from_millis(300)).await;
}

/// Calls at the same time do not race past a limit.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_place_is_given_once() {
    let service = Service::start(&[], "serve: {queries_per_user: 3, early_milliseconds: 50}").await;
    let mut clients = Vec::new();
    for _ in 0..24 {
        clients.push(service.client().await);
    }
    let asked = join_all(clients.iter_mut().map(|client| client.execute(COUNTING.to_owned(), None))).await;
    assert_eq!(asked.iter().filter(|answer| answer.is_ok()).count(), 3);
    for refused in asked.into_iter().filter_map(Result::err) {
        let status = flight_status(refused);
        assert!(status.code() == Code::ResourceExhausted && status.message().contains("queries of yours are open"), "{status}");
    }
}

/// Who stops reading loses the result, is told so when it goes on, and has kept no place.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stands_still_is_given_up() {
    let service = Service::start(&[], "serve: {reader_seconds: 1, running: 1, early_milliseconds: 100}").await;
    let mut client = service.client().await;
    let read = async |client: &mut Client| {
        let info = client.execute(LARGE.to_owned(), None).await.unwrap();
        let mut stream = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
        assert!(stream.try_next().await.unwrap().is_some());
        stream
    };
    let mut standing = read(&mut client).await;
    until("the end of the query", || open(&service.daemon) == 0.0).await;
    let mut other = service.client().await;
    assert_eq!(ask_number(&mut other, "SELECT count(*) FROM bytefacts.runs").await, 1, "the only place is free");
    let told = loop {
        match standing.try_next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the result has ended as if it were whole"),
            Err(error) => break flight_status(error),
        }
    };
    // If it goes on late, there is no connection left to tell it over.
    let is_told = told.code() == Code::DeadlineExceeded && told.message().contains("nothing of the result was read for 1 s");
    let is_cut_off = [Code::Unavailable, Code::Cancelled].contains(&told.code());
    assert!(is_told || is_cut_off, "{told}");
    let states = ask_text(&mut other, "SELECT state FROM system.queries WHERE state = 'idle'").await;
    assert_eq!(states, [["idle"]]);

    // Who does not even take the word that it is over loses its connection.
    let mut silent = service.client().await;
    // Once it has an answer, the service has taken its connection and counts it.
    assert_eq!(ask_number(&mut silent, "SELECT count(*) FROM bytefacts.runs").await, 1);
    let before = service.daemon.metric("bytefacts_sql_connections");
    let _standing = read(&mut silent).await;
    until("the end of the connection", || service.daemon.metric("bytefacts_sql_connections") < before).await;
    assert_eq!(ask_number(&mut other, "SELECT count(*) FROM bytefacts.runs").await, 1);
}

/// More connections may be open here than most systems let a process have unless it asks.
fn many_connections() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(4096.min(hard)), hard).unwrap();
}

/// Waits until the server closes a connection.
fn closed(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
    // Settings of HTTP/2 may come before the end.
    let read = stream.read_to_end(&mut Vec::new());
    assert!(!read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "it is still open");
}

/// A thousand connections that say nothing: the service answers, takes whoever speaks in the place of the one that has been silent for longest, and
/// closes the silent ones after a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_silent_connections_keep_nobody_from_a_place_and_are_closed() {
    many_connections();
    let service = Service::start(&[], "serve: {connections: 1001}").await;
    let mut client = service.client().await;
    assert_eq!(ask_number(&mut client, "SELECT count(*) FROM bytefacts.runs").await, 1);
    let begun = Instant::now();
    let mut silent: Vec<_> = (0..1000).map(|_| TcpStream::connect(service.daemon.address).unwrap()).collect();
    until("a thousand and one", || service.daemon.metric("bytefacts_sql_connections") == 1001.0).await;
    assert_eq!(ask_number(&mut client, "SELECT count(*) FROM bytefacts.runs").await, 1, "who is there is served");
    let mut new = service.client().await;
    assert_eq!(ask_number(&mut new, "SELECT count(*) FROM bytefacts.runs").await, 1, "who is new is served");
    if begun.elapsed() < Duration::from_secs(9) {
        closed(&mut silent[0]);
        assert!(begun.elapsed() < Duration::from_secs(10), "the oldest has made room, before its time was over");
    }
    for stream in &mut silent {
        closed(stream);
    }
    until("room", || service.daemon.metric("bytefacts_sql_connections") == 2.0).await;
}

/// Places are of those who speak, and one too many is told so at once.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_speak_are_bounded() {
    let service = Service::start(&[], "serve: {connections: 2}").await;
    let (mut first, mut second) = (service.client().await, service.client().await);
    for client in [&mut first, &mut second] {
        assert_eq!(ask_number(client, "SELECT count(*) FROM bytefacts.runs").await, 1);
    }
    closed(&mut TcpStream::connect(service.daemon.address).unwrap());
    assert_eq!(ask_number(&mut first, "SELECT count(*) FROM bytefacts.runs").await, 1);
    drop(second);
    until("room", || service.daemon.metric("bytefacts_sql_connections") == 1.0).await;
    let mut another = service.client().await;
    assert_eq!(ask_number(&mut another, "SELECT count(*) FROM bytefacts.runs").await, 1);
}

/// As many silent connections as may shake hands at a time: whoever speaks shakes hands before their time is over.
#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_keep_nobody_from_shaking_hands() {
    let home = folder();
    if !certify(home.path(), "own") {
        not_tested("silent connections and TLS", "there is no openssl");
        return;
    }
    let path = |name: &str| home.path().join(name).display().to_string();
    let service = Service::start(&["--tls-cert", &path("own.pem"), "--tls-key", &path("own.key")], "").await;
    let mut options = Options::new(&format!("grpc+tls://localhost:{}", service.daemon.address.port()));
    options.ca = Some(home.path().join("own.pem"));
    for _ in 0..3 {
        let mut silent: Vec<_> = (0..256).map(|_| TcpStream::connect(service.daemon.address).unwrap()).collect();
        let connection = Connection::open(&options).await.unwrap();
        assert_eq!(texts(&connection.rows("SELECT 42 AS n").await.unwrap()), [["42"]]);
        let youngest = silent.last_mut().unwrap();
        youngest.set_nonblocking(true).unwrap();
        // On a slow machine its time may be over for another reason.
        if youngest.read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock) {
            return;
        }
    }
    panic!("who shakes hands waits until those who are silent are closed");
}

/// A call that puts values and never sends any.
async fn silent_put(service: &Service) -> JoinHandle<Result<(), Status>> {
    let mut client = service.client().await;
    tokio::spawn(async move { client.inner_mut().do_put(futures::stream::pending::<FlightData>()).await.map(drop) })
}

/// Tries something until it is not done in time, which it must come to be.
async fn until_it_waits<T>(what: &str, mut attempt: impl AsyncFnMut() -> T) {
    let begun = Instant::now();
    while timeout(Duration::from_secs(2), attempt()).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what} never waits");
    }
}

/// Values that never come keep a place, of which there are sixteen, for a minute and no longer. Who asks is answered meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_never_come_have_few_places_and_little_time() {
    let service = Service::start(&[], "").await;
    let mut client = service.client().await;
    client.handshake("anybody", "anything").await.unwrap();
    let reset = "SET bytefacts.run = DEFAULT";
    let begun = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..15 {
        silent.push(silent_put(&service).await);
    }
    assert_eq!(client.execute_update(reset.to_owned(), None).await.unwrap(), 0, "one place is left");
    silent.push(silent_put(&service).await);
    until_it_waits("what is put", async || client.clone().execute_update(reset.to_owned(), None).await.unwrap()).await;
    assert_eq!(ask_number(&mut client, "SELECT count(*) FROM bytefacts.runs").await, 1);
    for put in silent {
        let told = timeout(Duration::from_secs(90), put).await.expect("it is told").unwrap().unwrap_err();
        assert!(told.code() == Code::DeadlineExceeded && told.message().contains("has not come within 60 s"), "{told}");
    }
    assert!(begun.elapsed() >= Duration::from_secs(60), "they had their time");
    assert_eq!(client.execute_update(reset.to_owned(), None).await.unwrap(), 0, "their places are free");
}

/// The settings that a server of HTTP/2 begins with, by their numbers.
fn http2_settings(service: &Service) -> BTreeMap<u16, u32> {
    let mut stream = TcpStream::connect(service.daemon.address).unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[3], 4, "it begins with its settings");
    let mut settings = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    stream.read_exact(&mut settings).unwrap();
    let number = |setting: &[u8]| u16::from_be_bytes([setting[0], setting[1]]);
    settings.chunks(6).map(|setting| (number(setting), u32::from_be_bytes(setting[2..].try_into().unwrap()))).collect()
}

/// So many calls may be open over one connection, and no more: others wait, over other connections nobody does.
#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_connection_are_bounded() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    let service = Service::start(&[], "").await;
    assert_eq!(http2_settings(&service)[&MAX_CONCURRENT_STREAMS], 128);
    let client = service.client().await;
    let ask = async |mut client: Client| ask_number(&mut client, "SELECT count(*) FROM bytefacts.runs").await;
    let open: Vec<_> = (0..128)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.inner_mut().do_put(futures::stream::pending::<FlightData>()).await.map(drop) })
        })
        .collect();
    until_it_waits("the next call", async || ask(client.clone()).await).await;
    assert_eq!(ask(service.client().await).await, 1);
    for call in &open {
        call.abort();
    }
    assert_eq!(ask(client).await, 1);
}

/// Messages name the nearest of what there is, and no place of the server.
#[tokio::test(flavor = "multi_thread")]
async fn errors_are_in_words_and_tell_no_path() {
    let service = Service::start(&[], "").await;
    let mut client = service.client().await;
    for (sql, said) in [
        ("SELECT * FROM py_bc_block", "table 'py_bc_block' not found: did you mean py_bc_blocks?\nhint: SHOW TABLES"),
        ("SELECT start_ofset FROM py_bc_blocks", "Did you mean 'py_bc_blocks.start_offset'"),
        ("SELECT * FROM py_bc_blocks WHERE kind = \"ENTRY\"", "a text stands in single quotes"),
        ("SELEC 1", "Expected"),
        ("SHOW nonsense", "there are bytefacts.compression, bytefacts.execution, bytefacts.run"),
    ] {
        let status = ask(&mut client, sql).await.map(|_| panic!("{sql}")).unwrap_err();
        assert!(status.code() == Code::InvalidArgument && status.message().contains(said), "{sql}: {status}");
        assert!(!status.message().contains("Error during planning") && !status.message().contains("facts.public"), "{sql}: {status}");
    }
    let files = walk(service.facts.path());
    assert!(!files.is_empty());
    for file in &files {
        std::fs::remove_file(file).unwrap();
    }
    let status = ask(&mut client, "SELECT path FROM bytecode_files_v1").await.map(|_| panic!("there is nothing left to read")).unwrap_err();
    let root = service.facts.path().file_name().unwrap().to_str().unwrap();
    assert!(status.code() == Code::Unavailable && !status.message().contains(root), "{status}");
    assert!(service.daemon.log().contains(root), "the log has it");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let nested = entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] });
    nested.filter(|path| path.extension().is_some_and(|extension| extension == "parquet")).collect()
}

/// What an option would choose must be there when it is chosen; and what is chosen is shown.
#[tokio::test(flavor = "multi_thread")]
async fn options_are_refused_at_once_and_shown() {
    let service = Service::start(&[], "").await;
    service.commit("night-2", "answer = 42\n").await;
    let mut client = service.client().await;
    client.handshake("anybody", "anything").await.unwrap();
    assert_eq!(ask_text(&mut client, "SHOW bytefacts.run").await, [["bytefacts.run", "night-2"]]);
    for (sql, said) in [
        ("SET bytefacts.run = 'nightly'", "run nightly is not committed"),
        ("SET bytefacts.execution = cluster", "started without --cluster"),
    ] {
        for status in
            [flight_status(client.execute_update(sql.to_owned(), None).await.unwrap_err()), ask(&mut client, sql).await.unwrap_err()]
        {
            assert!(status.code() == Code::InvalidArgument && status.message().contains(said), "{sql}: {status}");
        }
    }
    client.execute_update("SET bytefacts.run = 'run-1'".to_owned(), None).await.unwrap();
    client.execute_update("SET bytefacts.execution = local".to_owned(), None).await.unwrap();
    assert_eq!(ask_text(&mut client, "SHOW bytefacts.run").await, [["bytefacts.run", "run-1"]]);
    assert_eq!(
        ask_text(&mut client, "SHOW ALL").await,
        [["bytefacts.compression", "none"], ["bytefacts.execution", "local"], ["bytefacts.run", "run-1"]]
    );
    assert_eq!(ask_text(&mut client, "SELECT name FROM system.options WHERE is_set ORDER BY name").await.len(), 2);
    let prepared = client.prepare("SHOW ALL".to_owned(), None).await.unwrap();
    assert_eq!(prepared.dataset_schema().unwrap().fields().len(), 2);
    prepared.close().await.unwrap();
}
