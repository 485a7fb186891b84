//! Facts and corpora in a bucket: a real S3-compatible server, started by the tests, and a proxy before it that makes requests fail.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytefacts_query::facts_session;
use bytefacts_stores::{StoreOptions, Stores};
use futures::StreamExt as _;
use percent_encoding::percent_decode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::processes::Processes;
use crate::servers::{self, environment, free_port};
use crate::support::{Shape, bytefacts, extract, folder, run, small_corpus};

/// The server that the tests use: it honours conditional puts. Version and licence (Apache-2.0) were looked at.
const SERVER: &str = "moto[server]==5.2.5";
const BUCKET: &str = "bucket";
const SECRET: &str = "not-to-be-seen-anywhere";

/// A server with an empty bucket. Dropping it stops it.
pub struct S3 {
    server: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl S3 {
    /// Starts a server on a free port.
    pub async fn start() -> Self {
        let program = environment("s3-server", SERVER, |_| {}).await.join("bin/moto_server");
        let port = free_port();
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut s3 = Self { server: command.spawn().unwrap(), address: SocketAddr::from(([127, 0, 0, 1], port)) };
        servers::up(&mut s3.server, || servers::put(port, &format!("/{BUCKET}"))).await;
        s3
    }

    /// What a process needs to reach the server, through `endpoint` if there is something before it.
    pub fn environment(endpoint: SocketAddr) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT", format!("http://{endpoint}")),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// What the proxy does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is never answered.
    Silence,
    /// It is answered by this status, and not passed on.
    Status(u16),
    /// It is done, but the answer is cut off in the middle.
    Truncated,
    /// It takes its time.
    Slow,
}

/// Overload, a bug of the server's, a role that lacks a right, a token that ran out as S3 and as others say it, a key that is there and is not found,
/// and what networks do.
const FAULTS: [Fault; 9] = [
    Fault::Status(503),
    Fault::Status(500),
    Fault::Status(403),
    Fault::Status(400),
    Fault::Status(401),
    Fault::Status(404),
    Fault::Truncated,
    Fault::Silence,
    Fault::Slow,
];

/// A proxy that injects a fault into requests, by their number, counted from 1, and their first line.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    requests: Arc<AtomicU64>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Passes everything on to `server`, but for the requests that `fault` names, by their number from one and their line without escapes.
    pub async fn start(server: SocketAddr, fault: impl Fn(u64, &str) -> Option<Fault> + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&requests);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (counter, fault) = (Arc::clone(&counter), fault.clone());
                tokio::spawn(async move {
                    // A connection that breaks is the fault, or the client's business.
                    let _ = serve(client, server, &counter, fault).await;
                });
            }
        });
        Self { address, requests, accepting }
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A store that forbids everything.
pub struct Forbidding {
    /// Where it listens.
    pub address: SocketAddr,
    _proxy: Proxy,
}

/// Starts a store that answers every request with 403.
pub async fn forbidding() -> Forbidding {
    let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], 1)), |_, _| Some(Fault::Status(403))).await;
    Forbidding { address: proxy.address, _proxy: proxy }
}

/// One request a connection: the proxy says so to both sides.
async fn serve(
    mut client: TcpStream,
    server: SocketAddr,
    counter: &AtomicU64,
    fault: impl Fn(u64, &str) -> Option<Fault>,
) -> std::io::Result<()> {
    let Some(request) = read_message(&mut client).await? else { return Ok(()) };
    // Clients differ in what they escape of a key: some all that is no letter or digit.
    let line = percent_decode(request.split(|byte| *byte == b'\r').next().unwrap_or_default()).decode_utf8_lossy();
    let fault = fault(counter.fetch_add(1, Ordering::SeqCst) + 1, &line);
    match fault {
        Some(Fault::Silence) => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            return Ok(());
        }
        Some(Fault::Status(status)) => {
            // As S3 says that a token has run out.
            let body = if status == 400 { "<Error><Code>ExpiredToken</Code><Message>it has expired</Message></Error>" } else { "" };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status} Injected\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            return client.write_all(answer.as_bytes()).await;
        }
        Some(Fault::Slow) => tokio::time::sleep(Duration::from_millis(400)).await,
        Some(Fault::Truncated) | None => {}
    }
    let mut upstream = TcpStream::connect(server).await?;
    upstream.write_all(&closing(request)).await?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await?;
    if fault == Some(Fault::Truncated) {
        answer.truncate(answer.len() / 2);
    }
    client.write_all(&closing(answer)).await?;
    client.shutdown().await
}

/// A message with its header saying that the connection ends behind it.
fn closing(message: Vec<u8>) -> Vec<u8> {
    let Some(end) = message.windows(4).position(|w| w == b"\r\n\r\n") else { return message };
    let head = String::from_utf8_lossy(&message[..end]).into_owned();
    let lines = head.split("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let mut closing = lines.collect::<Vec<_>>().join("\r\n").into_bytes();
    closing.extend_from_slice(b"\r\nConnection: close\r\n\r\n");
    closing.extend_from_slice(&message[end + 4..]);
    closing
}

/// Head and body of a request that says its length.
async fn read_message(stream: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut message = Vec::new();
    loop {
        let mut part = [0; 64 << 10];
        let read = stream.read(&mut part).await?;
        if read == 0 {
            return Ok(None);
        }
        message.extend_from_slice(&part[..read]);
        let Some(end) = message.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&message[..end]).to_ascii_lowercase();
        let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        let whole = end + 4 + length.unwrap_or(0);
        while message.len() < whole {
            let read = stream.read(&mut part).await?;
            if read == 0 {
                return Ok(None);
            }
            message.extend_from_slice(&part[..read]);
        }
        return Ok(Some(message));
    }
}

/// The digest of the current run in a bucket, and its rows, read without the proxy.
async fn committed(s3: &S3, facts: &str) -> Option<(String, u64)> {
    let stores = direct(s3);
    let store = stores.open(facts).unwrap().facts();
    let current = store.current().await.unwrap()?;
    let manifest = store.manifest(&current.run_id).await.unwrap().unwrap();
    let session = facts_session(&stores, facts, None).unwrap();
    let rows = session.sql("SELECT count(DISTINCT file_id) FROM bytecode_files_v1").await.unwrap().collect().await.unwrap();
    let rows = arrow::util::display::array_value_to_string(rows[0].column(0), 0).unwrap().parse().unwrap();
    Some((manifest.run.digest, rows))
}

/// A registry whose clients reach the server: the test process gets its address in a place of its own, since variables are the process's.
fn direct(s3: &S3) -> Stores {
    let stores = Stores::new(StoreOptions::default());
    let client = object_store::aws::AmazonS3Builder::new()
        .with_bucket_name(BUCKET)
        .with_endpoint(format!("http://{}", s3.address))
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_access_key_id("test")
        .with_secret_access_key(SECRET)
        .build()
        .unwrap();
    stores.register(&format!("s3://{BUCKET}"), Arc::new(client)).unwrap();
    stores
}

/// Uploads a local corpus.
async fn upload(s3: &S3, corpus: &Path, prefix: &str) {
    let store = direct(s3).open(&format!("s3://{BUCKET}/{prefix}")).unwrap().store;
    let mut pending = vec![corpus.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let key = format!("{prefix}/{}", path.strip_prefix(corpus).unwrap().to_str().unwrap());
            let bytes = std::fs::read(&path).unwrap();
            object_store::ObjectStoreExt::put(&*store, &object_store::path::Path::from(key), bytes.into()).await.unwrap();
        }
    }
}

/// The whole job in a bucket: corpus from S3, facts to S3, by a cluster of processes; then SQL and `runs` over S3. No secret is left behind.
#[tokio::test(flavor = "multi_thread")]
async fn corpus_and_facts_may_both_be_in_a_bucket() {
    let (corpus, s3) = (small_corpus(), S3::start().await);
    let expected = extract(corpus.path(), folder().path(), &Shape::default()).await;
    upload(&s3, corpus.path(), "corpus").await;
    let mut processes = Processes::new();
    processes.environment = S3::environment(s3.address);
    let scheduler = processes.scheduler(0).await;
    let executors = [processes.executor("n1", scheduler.address).await, processes.executor("n2", scheduler.address).await];
    let job = processes.extract(scheduler.address, &["s3://bucket/corpus", "--out", "s3://bucket/facts"]).await;
    let (code, stdout, stderr) = job.end(Duration::from_secs(120)).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(committed(&s3, "s3://bucket/facts").await, Some((expected.run.digest, expected.run.rows)));

    let mut sql = bytefacts(
        processes.home.path(),
        &["sql", "--facts", "s3://bucket/facts", "--format", "csv", "SELECT count(*) AS n FROM py_bc_code_units"],
    )
    .await;
    sql.envs(S3::environment(s3.address));
    let (code, rows, stderr) = run(sql);
    assert_eq!((code, rows), (0, format!("n\n{}\n", expected.run.stats.units)), "{stderr}");

    let mut validate = bytefacts(processes.home.path(), &["validate", "--facts", "s3://bucket/facts"]).await;
    validate.envs(S3::environment(s3.address));
    let (code, findings, stderr) = run(validate);
    assert!(code == 0 && findings.contains("clean: "), "{code} {findings} {stderr}");

    // Neither what was said nor what was written tells the secret.
    let mut said = stdout + &stderr + &scheduler.log();
    said.extend(executors.iter().map(|e| e.log()));
    assert!(!said.contains(SECRET));
    let place = direct(&s3).open("s3://bucket/facts/runs").unwrap();
    let documents: Vec<_> = futures::TryStreamExt::try_collect(place.store.list(Some(&place.path))).await.unwrap();
    assert!(documents.len() > 4);
    for document in documents {
        let bytes = object_store::ObjectStoreExt::get(&*place.store, &document.location).await.unwrap().bytes().await.unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(SECRET), "{}", document.location);
    }
}

/// What has not changed is named again: nothing is analysed, and no byte of facts is sent or copied.
#[tokio::test(flavor = "multi_thread")]
async fn unchanged_bins_are_named_again() {
    let (corpus, home, s3) = (small_corpus(), folder(), S3::start().await);
    upload(&s3, corpus.path(), "corpus").await;
    for run_id in ["first", "second"] {
        let mut job = bytefacts(home.path(), &["extract", "s3://bucket/corpus", "--out", "s3://bucket/facts", "--run-id", run_id]).await;
        job.envs(S3::environment(s3.address));
        let (code, _, stderr) = run(job);
        assert_eq!(code, 0, "{stderr}");
    }
    let store = direct(&s3).open("s3://bucket/facts").unwrap().facts();
    let manifest = async |run: &str| store.manifest(&bytefacts_landing::RunId::new(run).unwrap()).await.unwrap().unwrap();
    let (first, second) = (manifest("first").await, manifest("second").await);
    assert!(first.run.stats.analyse_cpu_us > 0);
    assert_eq!(second.run.stats.analyse_cpu_us, 0);
    assert_eq!(second.run.digest, first.run.digest);
    assert_eq!(second.files, first.files);
    for file in &second.files {
        let landed = object_store::ObjectStoreExt::get(&**store.store(), &store.path_of(&file.key).unwrap()).await.unwrap();
        assert_eq!(hex::encode(<sha2::Sha256 as sha2::Digest>::digest(landed.bytes().await.unwrap())), file.sha256);
    }
}

/// Taking over is a help: where an earlier run's files cannot be looked at, as those of a colder class, bins are done afresh.
#[tokio::test(flavor = "multi_thread")]
async fn bins_that_cannot_be_taken_over_are_done_afresh() {
    let (corpus, home, s3) = (small_corpus(), folder(), S3::start().await);
    upload(&s3, corpus.path(), "corpus").await;
    let colder = |_: u64, line: &str| (line.starts_with("HEAD ") && line.contains("landed=first")).then_some(Fault::Status(403));
    let proxy = Proxy::start(s3.address, colder).await;
    for (run_id, endpoint) in [("first", s3.address), ("second", proxy.address)] {
        let mut job = bytefacts(home.path(), &["extract", "s3://bucket/corpus", "--out", "s3://bucket/facts", "--run-id", run_id]).await;
        job.envs(S3::environment(endpoint));
        let (code, _, stderr) = run(job);
        assert_eq!((code, stderr.contains("cannot be taken over and is done afresh")), (0, run_id == "second"), "{run_id}: {stderr}");
    }
    let store = direct(&s3).open("s3://bucket/facts").unwrap().facts();
    let run = async |run: &str| store.committed(&bytefacts_landing::RunId::new(run).unwrap()).await.unwrap().unwrap().run;
    let (first, second) = (run("first").await, run("second").await);
    assert_eq!((second.digest, second.bins_taken_over), (first.digest, 0));
    assert!(second.stats.analyse_cpu_us > 0);
}

/// However many tables a query names: the lists of the run's files are fetched once.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_fetches_each_list_of_files_once() {
    let (corpus, home, s3) = (small_corpus(), folder(), S3::start().await);
    let mut job = bytefacts(home.path(), &["extract", corpus.path().to_str().unwrap(), "--out", "s3://bucket/facts"]).await;
    job.envs(S3::environment(s3.address));
    let (code, _, stderr) = run(job);
    assert_eq!(code, 0, "{stderr}");
    let asked = async |query: &str| {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&lines);
        let proxy = Proxy::start(s3.address, move |_, line| {
            noted.lock().unwrap().push(line.to_owned());
            None
        })
        .await;
        let mut sql = bytefacts(home.path(), &["sql", "--facts", "s3://bucket/facts", "--format", "csv", query]).await;
        sql.envs(S3::environment(proxy.address));
        let (code, rows, stderr) = tokio::task::spawn_blocking(|| run(sql)).await.unwrap();
        assert_eq!(code, 0, "{stderr}");
        assert!(rows.lines().count() == 2 && !rows.ends_with("\n0\n"), "{rows}");
        let mut gets: Vec<String> = lines.lock().unwrap().iter().filter(|line| line.starts_with("GET ")).cloned().collect();
        gets.retain(|line| line.contains("/manifest/") || line.contains("/run.json"));
        gets.sort();
        gets
    };
    let one = asked("SELECT count(*) FROM py_bc_instructions WHERE opname = 'LOAD_CONST'").await;
    assert!(one.iter().filter(|line| line.contains("/manifest/")).count() == 1, "there is one list: {one:?}");
    // Tables of five kinds, one of them twice, and views of several tables. The engine plans their scans at the same time.
    let many = "SELECT count(*) FROM py_bc_instructions a JOIN py_bc_instructions b USING (instr_id) JOIN py_bc_code_units u ON
        a.code_unit_id = u.code_unit_id JOIN py_bc_blocks k ON k.code_unit_id = u.code_unit_id JOIN py_bc_cfg_edges e ON
        e.code_unit_id = u.code_unit_id JOIN bytecode_files_v1 f ON f.path = u.path WHERE a.opname = 'LOAD_CONST'";
    assert_eq!(asked(many).await, one);
    assert_eq!(asked("SELECT count(*) FROM py_bc_calls c JOIN py_bc_names n USING (code_unit_id)").await, one);
}

/// A store that is away for good is asked so often, and then the job ends: what each layer repeats multiplies, and there is a bound. What it refuses
/// is asked once.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_asks_a_store_that_stays_away_a_bounded_number_of_times() {
    // One a repository: where bins end names decide, and there are no more of them than that.
    const BINS: u64 = 3;
    const RETRIES: u64 = 2;
    const SUBMISSIONS: u64 = 2;
    // How often Ballista runs a task.
    const ATTEMPTS: u64 = 4;
    let (corpus, s3, home) = (folder(), S3::start().await, folder());
    crate::support::write_files(corpus.path(), &[("a/x.py", b"x = 1\n"), ("b/y.py", b"y = 1\n"), ("c/z.py", b"z = 1\n")]);
    upload(&s3, corpus.path(), "corpus").await;
    let settings = format!(
        "bins: {{count: {BINS}}}\nstores: {{retries: {RETRIES}, retry_seconds: 60, timeout_seconds: 10}}\nclient: {{fruitless: {SUBMISSIONS}}}\n\
         executor: {{cores: 1, connect_seconds: 60}}\nextract: {{parallel_min_files: 0}}\n"
    );
    std::fs::write(home.path().join("settings.yaml"), settings).unwrap();
    let mut processes = Processes::new();
    let settings = ("BYTEFACTS_CONFIG".to_owned(), home.path().join("settings.yaml").to_str().unwrap().to_owned());

    // How often the store has answered so, from the first time on that somebody asks for this; and how often it was asked, in all.
    let injected = |what: &'static str, for_all: bool, status: u16| {
        let (count, hit) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let counted = Arc::clone(&count);
        let fault = move |_: u64, line: &str| {
            let meant = line.contains(what);
            let fails = meant || for_all && hit.load(Ordering::SeqCst);
            hit.fetch_or(meant, Ordering::SeqCst);
            counted.fetch_add(u64::from(fails), Ordering::SeqCst);
            fails.then_some(Fault::Status(status))
        };
        (count, fault)
    };
    let each = BINS * (RETRIES + 1) * ATTEMPTS;
    // Data files of bins: by the layers below the job alone (embedded), and by all of them.
    for (status, submissions, bound) in
        [(503, None, each), (503, Some(SUBMISSIONS), each * SUBMISSIONS), (403, None, BINS), (403, Some(SUBMISSIONS), BINS)]
    {
        let (count, fault) = injected("PUT /bucket/facts/bytecode_files_v1/", false, status);
        let proxy = Proxy::start(s3.address, fault).await;
        let mut environment = S3::environment(proxy.address);
        environment.push(settings.clone());
        let args = ["s3://bucket/corpus", "--out", "s3://bucket/facts", "--no-cache"];
        let (code, stderr) = if submissions.is_some() {
            processes.environment = environment;
            let scheduler = processes.scheduler(0).await;
            let _executor = processes.executor("n1", scheduler.address).await;
            let (code, _, stderr) = processes.extract(scheduler.address, &args).await.end(Duration::from_secs(180)).await;
            (code, stderr)
        } else {
            let mut command = bytefacts(home.path(), &[&["extract"], &args[..]].concat()).await;
            command.envs(environment);
            let (code, _, stderr) = tokio::task::spawn_blocking(|| run(command)).await.unwrap();
            (code, stderr)
        };
        let asked = count.load(Ordering::SeqCst);
        eprintln!(
            "{status} to {} submissions: {asked} answers of {bound} at most, {} requests in all",
            submissions.unwrap_or(1),
            proxy.requests()
        );
        assert_eq!(code, 1, "{stderr}");
        assert!((1..=bound).contains(&asked), "{asked} times, and not {bound} at most: {stderr}");
        let words = if status == 403 { "access is forbidden (403)" } else { "503" };
        assert!(stderr.contains(words), "{stderr}");
    }
    assert_eq!(committed(&s3, "s3://bucket/facts").await, None);

    // The whole store, from the first request of a client on, and from each of these moments on.
    for (what, for_all) in [("/bucket", true), ("/bins", true), ("/done/", true)] {
        let (count, fault) = injected(what, for_all, 503);
        let proxy = Proxy::start(s3.address, fault).await;
        let mut command = bytefacts(home.path(), &["extract", "s3://bucket/corpus", "--out", "s3://bucket/facts", "--no-cache"]).await;
        command.envs(S3::environment(proxy.address)).env(&settings.0, &settings.1);
        let (code, _, stderr) = tokio::task::spawn_blocking(|| run(command)).await.unwrap();
        let asked = count.load(Ordering::SeqCst);
        eprintln!("503 from {what} on: {asked} answers");
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains("503"), "{stderr}");
        // What tasks ask for, and beside them the client, who looks at the run, and tidies up.
        assert!((1..=2 * each).contains(&asked), "from {what} on it was asked {asked} times, and not {} at most: {stderr}", 2 * each);
    }
}

/// For every k, the k-th request of a small job fails: the job completes, or it fails and can be resumed. What is committed is always right.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_at_any_request_completes_or_fails_cleanly() {
    let (corpus, s3, home) = (folder(), S3::start().await, folder());
    crate::support::write_files(
        corpus.path(),
        &[("a/x.py", b"def f(a):\n    return [b for b in a]\n"), ("a/y.py", b"y = 1\n"), ("b/z.py", b"def (\n")],
    );
    let expected = extract(corpus.path(), folder().path(), &Shape { bins: 2, ..Shape::default() }).await;
    upload(&s3, corpus.path(), "corpus").await;
    let settings = home.path().join("settings.yaml");
    std::fs::write(&settings, "bins: {count: 2}\nstores: {retries: 2, retry_seconds: 3, timeout_seconds: 2}\nclient: {fruitless: 2}\n")
        .unwrap();
    // Where nothing is to fail, nobody is impatient: the server has much to do.
    let patient = home.path().join("patient.yaml");
    std::fs::write(&patient, "bins: {count: 2}\n").unwrap();
    let extraction = async |endpoint: SocketAddr, run: &str, settings: &Path| {
        let facts = format!("s3://bucket/{run}");
        let args =
            ["extract", "s3://bucket/corpus", "--out", &facts, "--run-id", run, "--no-cache", "--config", settings.to_str().unwrap()];
        let mut command = bytefacts(home.path(), &args).await;
        command.envs(S3::environment(endpoint));
        tokio::task::spawn_blocking(move || crate::support::run(command)).await.unwrap()
    };

    let counting = Proxy::start(s3.address, |_, _| None).await;
    let (code, _, stderr) = extraction(counting.address, "plain", &patient).await;
    assert_eq!(code, 0, "{stderr}");
    let requests = counting.requests();
    assert!(requests > 20, "{requests}");

    let every = std::env::var("BYTEFACTS_FAULT_EVERY").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let mut trials = Vec::new();
    for (f, fault) in FAULTS.into_iter().enumerate() {
        // By default every twelfth request, each fault beginning at another one; BYTEFACTS_FAULT_EVERY=1 takes all. The last ones always: they commit.
        let last = requests.saturating_sub(8)..=requests;
        let some = (1..=requests).skip((f * 2) % every).step_by(every).filter(|k| !last.contains(k));
        // Once, which the client's own retries bear; and from then on, which they do not.
        trials.extend(
            some.chain(last.clone().step_by(if every == 1 { 1 } else { 4 })).flat_map(|k| [(f, fault, k, false), (f, fault, k, true)]),
        );
    }
    let outcomes = futures::stream::iter(trials).map(async |(f, fault, k, for_good)| {
        let hits = move |n: u64, _: &str| (if for_good { n >= k } else { n == k }).then_some(fault);
        let proxy = Proxy::start(s3.address, hits).await;
        let run = format!("{f}-{k}-{for_good}");
        let facts = format!("s3://bucket/{run}");
        let (code, _, stderr) = extraction(proxy.address, &run, &settings).await;
        match committed(&s3, &facts).await {
            Some(found) => assert_eq!(found, (expected.run.digest.clone(), expected.run.rows), "{run} {fault:?}"),
            None => assert_ne!(code, 0, "{run} {fault:?}: a run that was not committed ended well"),
        }
        if code == 0 {
            return true;
        }
        assert!(!stderr.contains("panicked"), "{run} {fault:?}: {stderr}");
        let (code, _, stderr) = extraction(s3.address, &run, &patient).await;
        assert!(code == 0 || stderr.contains("has been committed"), "resuming {run} {fault:?}: {stderr}");
        assert_eq!(committed(&s3, &facts).await, Some((expected.run.digest.clone(), expected.run.rows)), "resumed {run} {fault:?}");
        false
    });
    // Mostly they wait.
    let outcomes: Vec<bool> = outcomes.buffer_unordered(4).collect().await;
    let completed = outcomes.iter().filter(|completed| **completed).count();
    let resumed = outcomes.len() - completed;
    eprintln!("{requests} requests; {completed} jobs completed under a fault, {resumed} failed cleanly and were resumed");
    assert!(completed > 0 && resumed > 0);
}
