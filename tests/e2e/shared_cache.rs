//! The tier of the cache that nodes share: what one node has compiled the next one takes, and whatever becomes of the store, the rows are the same.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use bytefacts_landing::Manifest;
use serde_json::Value;
use tempfile::TempDir;

use crate::processes::Processes;
use crate::s3::S3;
use crate::support::{Shape, bytefacts, extract, folder, run, small_corpus};

/// The corpus, and what an undisturbed run without a cache makes of it.
async fn corpus() -> (TempDir, Manifest) {
    let corpus = small_corpus();
    let expected = extract(corpus.path(), folder().path(), &Shape::default()).await;
    (corpus, expected)
}

/// A run on a node that has nothing but the shared cache: its summary and its log. Its rows are those that are expected.
async fn on_a_new_node(corpus: &Path, expected: &Manifest, shared: &str, environment: &[(String, String)]) -> (Value, String) {
    let (node, facts) = (folder(), folder());
    let args = ["extract", corpus.to_str().unwrap(), "--out", facts.path().to_str().unwrap(), "--shared-cache", shared, "--format", "json"];
    let mut command: Command = bytefacts(node.path(), &args).await;
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let (code, stdout, stderr) = tokio::task::spawn_blocking(move || run(command)).await.unwrap();
    assert_eq!(code, 0, "{stderr}");
    let summary: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(summary["digest"], expected.run.digest);
    assert_eq!(summary["files"], expected.run.stats.files);
    (summary, stderr)
}

/// Contents in the corpus: each was compiled at least once where nothing could be had from a cache.
const CONTENTS: u64 = 14;

fn compiled(summary: &Value) -> u64 {
    summary["files"].as_u64().unwrap() - summary["cache_hits"].as_u64().unwrap()
}

/// The setting that has entries sealed by a secret of 40 bytes, which is written below `folder`.
fn secret(folder: &Path, name: &str) -> (String, String) {
    let file = folder.join(name);
    std::fs::write(&file, name.repeat(40).get(..40).unwrap()).unwrap();
    ("BYTEFACTS_CACHE__SHARED_SECRET".to_owned(), file.display().to_string())
}

/// Files below a folder.
fn files(root: &Path) -> Vec<std::path::PathBuf> {
    let (mut pending, mut found) = (vec![root.to_owned()], Vec::new());
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { pending.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_compiles_nothing() {
    let ((corpus, expected), shared, secrets) = (corpus().await, folder(), folder());
    let uri = format!("file://{}", shared.path().display());
    let sealed = [secret(secrets.path(), "ours")];
    let (first, _) = on_a_new_node(corpus.path(), &expected, &uri, &sealed).await;
    assert!(compiled(&first) >= CONTENTS);
    let (second, stderr) = on_a_new_node(corpus.path(), &expected, &uri, &sealed).await;
    assert_eq!(second["cache_hits"], expected.run.stats.files);
    assert!(second["cache_shared_hits"].as_u64().unwrap() > 0);
    assert_eq!(second["compile_cpu_seconds"], 0.0);
    assert!(stderr.starts_with("run ") && stderr.lines().count() == 1, "nothing to warn of: {stderr}");
}

/// Objects that are cut off, and others that were written for another key, are misses.
#[tokio::test(flavor = "multi_thread")]
async fn torn_and_foreign_objects_are_misses() {
    let ((corpus, expected), shared) = (corpus().await, folder());
    let uri = shared.path().to_str().unwrap();
    on_a_new_node(corpus.path(), &expected, uri, &[]).await;
    let objects = files(shared.path());
    assert!(objects.len() as u64 >= CONTENTS, "{}", objects.len());
    let contents: Vec<_> = objects.iter().map(|path| std::fs::read(path).unwrap()).collect();
    for (i, path) in objects.iter().enumerate() {
        let damaged = if i % 2 == 0 { &contents[i][..contents[i].len() / 2] } else { &contents[(i + 1) % contents.len()] };
        std::fs::write(path, damaged).unwrap();
    }
    let (damaged, _) = on_a_new_node(corpus.path(), &expected, uri, &[]).await;
    assert!(compiled(&damaged) >= CONTENTS);
    // What was damaged has been replaced.
    let (again, _) = on_a_new_node(corpus.path(), &expected, uri, &[]).await;
    assert_eq!(again["cache_hits"], expected.run.stats.files);
    assert_eq!(again["compile_cpu_seconds"], 0.0);
}

/// Whoever may write to the store and does not have the secret cannot have a node take anything for compiled code.
#[tokio::test(flavor = "multi_thread")]
async fn a_forger_without_the_secret_is_not_believed() {
    let ((corpus, expected), shared, secrets) = (corpus().await, folder(), folder());
    let uri = shared.path().to_str().unwrap();
    let sealed_by = |name: &str| [secret(secrets.path(), name)];
    on_a_new_node(corpus.path(), &expected, uri, &sealed_by("theirs")).await;
    let (_, warned) = on_a_new_node(corpus.path(), &expected, uri, &[]).await;
    assert!(warned.matches("WARN").count() == 1 && warned.contains("not sealed"), "{warned}");
    let (first, _) = on_a_new_node(corpus.path(), &expected, uri, &sealed_by("ours")).await;
    assert!(compiled(&first) >= CONTENTS, "neither what others have sealed nor what nobody has is taken");
    let (second, _) = on_a_new_node(corpus.path(), &expected, uri, &sealed_by("ours")).await;
    assert_eq!(second["cache_hits"], expected.run.stats.files);

    let facts = secrets.path().join("facts");
    let args = ["extract", corpus.path().to_str().unwrap(), "--out", facts.to_str().unwrap(), "--shared-cache", uri];
    let mut guessed = bytefacts(secrets.path(), &args).await;
    std::fs::write(secrets.path().join("short"), b"guess").unwrap();
    guessed.env("BYTEFACTS_CACHE__SHARED_SECRET", secrets.path().join("short"));
    let (code, _, stderr) = run(guessed);
    assert!(code == 1 && stderr.contains("cache.shared_secret") && stderr.contains("32 are the least"), "{code} {stderr}");
}

/// An executor that others than its own machine reach takes nothing unsealed, whatever certificates it has.
#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_is_reached_by_others_needs_the_secret() {
    let (processes, files) = (Processes::new(), folder());
    let settings = format!(
        "access: {{corpus: ['*'], facts: ['*']}}\ncluster_tls: {{authority: /none, certificate: /none, key: /none}}\ncache: {{shared: {}}}\n",
        files.path().display()
    );
    crate::support::write_files(files.path(), &[("settings.yaml", settings.as_bytes())]);
    let config = files.path().join("settings.yaml");
    let line = ["executor", "--config", config.to_str().unwrap(), "--listen", "0.0.0.0:0", "--scheduler", "127.0.0.1:1", "--node", "n"];
    let (code, _, stderr) = run(processes.command(&line).await);
    assert!(code == 2 && stderr.contains("cache.shared_secret"), "{code} {stderr}");
}

/// Two executors that share nothing but a bucket: what the first has compiled the second takes from there, and its metrics say so.
#[tokio::test(flavor = "multi_thread")]
async fn executors_share_a_bucket() {
    let ((corpus, expected), s3) = (corpus().await, S3::start().await);
    let mut processes = Processes::new();
    processes.environment = S3::environment(s3.address);
    let scheduler = processes.scheduler(0).await;
    let run_on = async |node: &str| {
        // Nothing is left on this machine by the one before.
        let _ = std::fs::remove_dir_all(processes.home.path().join("cache"));
        let executor = processes.executor_with(node, scheduler.address, &["--shared-cache", "s3://bucket/units"]).await;
        let facts = processes.home.path().join(format!("facts-{node}"));
        let job = processes.extract(scheduler.address, &[corpus.path().to_str().unwrap(), "--out", facts.to_str().unwrap()]).await;
        let (code, stdout, stderr) = job.end(std::time::Duration::from_secs(120)).await;
        assert_eq!(code, 0, "{stderr}");
        let summary: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(summary["digest"], expected.run.digest);
        let (_, metrics) = executor.get("/metrics");
        let id = executor.id.clone();
        assert_eq!(executor.terminate(), Some(0), "{id} leaves once all is uploaded");
        (summary, metrics)
    };
    let (first, _) = run_on("n1").await;
    assert!(compiled(&first) >= CONTENTS);
    let (second, metrics) = run_on("n2").await;
    assert_eq!(second["cache_hits"], expected.run.stats.files);
    let shared = second["cache_shared_hits"].as_u64().unwrap();
    assert!(shared > 0);
    let value = |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok()).unwrap() as u64;
    assert!(value("bytefacts_cache_lookups_total{tier=\"shared\"}") >= shared, "{metrics}");
    assert_eq!(value("bytefacts_cache_shared_errors_total"), 0);
}

/// A store that is not there, one that refuses, and a folder that is none: one warning each, and the same rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_costs_one_warning() {
    let ((corpus, expected), home) = (corpus().await, folder());
    let file = home.path().join("file");
    std::fs::write(&file, b"where the cache should be").unwrap();
    // A port that nobody listens on: it was free a moment ago.
    let nobody: SocketAddr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refusing = S3::start().await;
    for (what, uri, environment) in [
        ("nobody listens", "s3://bucket/units", S3::environment(nobody)),
        ("no such bucket", "s3://another-bucket/units", S3::environment(refusing.address)),
        ("a file", file.to_str().unwrap(), Vec::new()),
    ] {
        let environment = [environment, vec![secret(home.path(), "ours")]].concat();
        let (summary, stderr) = on_a_new_node(corpus.path(), &expected, uri, &environment).await;
        assert_eq!(summary["cache_shared_hits"], 0, "{what}");
        assert_eq!(stderr.matches("WARN").count(), 1, "{what}: {stderr}");
        assert!(stderr.contains("the shared cache"), "{what}: {stderr}");
    }
}
