//! Certificates among the processes of a cluster: who has none of its authority reaches nobody, and files that rotate are taken as they come.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytefacts_client::{Mutual, Stores, cluster_session};

use crate::processes::{Daemon, Processes};
use crate::service::{Service, ask_text};
use crate::support::{Shape, extract, folder, library_corpus, python, run, texts, write_files};

/// Makes an authority in a folder, or has the one that is there certify anew.
fn certify(folder: &Path, days: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/development-ca.sh");
    let made = Command::new("sh").arg(script).args([folder.to_str().unwrap(), days]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// What a process is told of certificates.
fn told(authority: &Path, certificate: &Path) -> Vec<(String, String)> {
    let key = certificate.with_extension("key");
    [("AUTHORITY", authority), ("CERTIFICATE", certificate), ("KEY", &*key)]
        .map(|(name, path)| (format!("BYTEFACTS_CLUSTER_TLS__{name}"), path.display().to_string()))
        .to_vec()
}

/// Exit code and stderr of `bytefacts status` with these certificates.
async fn status(processes: &Processes, scheduler: &Daemon, told: &[(String, String)]) -> (i32, String) {
    let mut command = processes.command(&["status", "--cluster", &format!("df://{}", scheduler.address)]).await;
    for name in ["AUTHORITY", "CERTIFICATE", "KEY"] {
        command.env_remove(format!("BYTEFACTS_CLUSTER_TLS__{name}"));
    }
    command.envs(told.iter().map(|(name, value)| (name, value)));
    let (code, _, stderr) = run(command);
    (code, stderr)
}

/// A cluster of an authority, with the authority's folder.
struct Certified {
    processes: Processes,
    authority: PathBuf,
    scheduler: Daemon,
    _executors: Vec<Daemon>,
}

impl Certified {
    async fn start() -> Self {
        let mut processes = Processes::new();
        let authority = processes.home.path().join("ca");
        certify(&authority, "30");
        processes.environment = told(&authority.join("ca.pem"), &authority.join("member.pem"));
        let scheduler = processes.scheduler(0).await;
        let executors = vec![processes.executor("n1", scheduler.address).await, processes.executor("n2", scheduler.address).await];
        Self { processes, authority, scheduler, _executors: executors }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.authority.join(name)
    }

    fn client(&self) -> Vec<(String, String)> {
        told(&self.file("ca.pem"), &self.file("client.pem"))
    }

    async fn status(&self, told: &[(String, String)]) -> (i32, String) {
        status(&self.processes, &self.scheduler, told).await
    }

    /// Lands a corpus as a client of it; the summary's exit code and words.
    async fn extract(&self, name: &str) -> (i32, String) {
        let (corpus, facts) = (folder(), folder());
        write_files(corpus.path(), &[("a.py", b"x = 1\n"), ("b.py", b"def f(): return 2\n")]);
        let url = format!("df://{}", self.scheduler.address);
        let args = ["extract", corpus.path().to_str().unwrap(), "--out", facts.path().to_str().unwrap(), "--run-id", name];
        let mut command = self.processes.command(&[&args[..], &["--cluster", &url, "--progress", "never"]].concat()).await;
        command.envs(self.client());
        let (code, _, stderr) = run(command);
        (code, stderr)
    }
}

/// Jobs and queries, with what executors fetch from each other, go as without certificates.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_with_certificates_lands_and_answers() {
    let cluster = Certified::start().await;
    let (code, stderr) = cluster.extract("certified").await;
    assert_eq!(code, 0, "{stderr}");

    let facts = folder();
    let corpus = library_corpus(&python().await, &["json", "email"]);
    extract(corpus.path(), facts.path(), &Shape { bins: 5, ..Shape::default() }).await;
    let files = |name: &str| cluster.file(name).display().to_string();
    let settings =
        format!("cluster_tls: {{authority: {}, certificate: {}, key: {}}}", files("ca.pem"), files("client.pem"), files("client.key"));
    let service = Service::over(facts, &["--cluster", &format!("df://{}", cluster.scheduler.address)], &settings).await;
    let sql = "SELECT u.repo, i.opname, count(*) AS n FROM py_bc_instructions i JOIN py_bc_code_units u USING (code_unit_id) \
               GROUP BY u.repo, i.opname ORDER BY n DESC, i.opname LIMIT 7";
    let (mut local, mut spread) = (service.client().await, service.client().await);
    spread.set_header("bytefacts.execution", "cluster");
    let expected = ask_text(&mut local, sql).await;
    assert_eq!(expected.len(), 7);
    assert_eq!(ask_text(&mut spread, sql).await, expected);

    // A session of a client's own, with no server in between.
    let (url, location) = (format!("df://{}", cluster.scheduler.address), format!("file://{}", service.facts.path().display()));
    let certificates =
        |name: &str| Mutual::new(&cluster.file("ca.pem"), &cluster.file(&format!("{name}.pem")), &cluster.file(&format!("{name}.key")));
    let stores = Stores::default();
    let session = cluster_session(&url, Some(&certificates("client")), &stores, &location, None).await.unwrap();
    assert_eq!(texts(&session.sql(sql).await.unwrap().collect().await.unwrap()), expected);
    let error = cluster_session(&url, None, &stores, &location, None).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("no server answers at df://"), "{error}");
    let error = cluster_session(&url, Some(&certificates("nobody")), &stores, &location, None).await.map(drop).unwrap_err().to_string();
    assert!(error.contains("certificates of the cluster cannot be used") && error.contains("nobody.pem"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_certificate_of_the_cluster_reaches_nobody() {
    let cluster = Certified::start().await;
    let (code, stderr) = cluster.status(&cluster.client()).await;
    assert_eq!(code, 0, "{stderr}");

    let other = cluster.processes.home.path().join("other");
    certify(&other, "30");
    for (what, files) in [
        ("no certificate", Vec::new()),
        ("that of another authority", told(&cluster.file("ca.pem"), &other.join("client.pem"))),
        ("belief in another authority", told(&other.join("ca.pem"), &cluster.file("client.pem"))),
    ] {
        let (code, stderr) = cluster.status(&files).await;
        assert!(code == 1 && stderr.contains("does not answer") && stderr.contains("certificates"), "{what}: {code} {stderr}");
    }

    // One that has expired.
    let old = cluster.processes.home.path().join("old");
    std::fs::create_dir(&old).unwrap();
    for name in ["ca.pem", "ca.key"] {
        std::fs::copy(cluster.file(name), old.join(name)).unwrap();
    }
    certify(&old, "0");
    let begun = Instant::now();
    while cluster.status(&told(&old.join("ca.pem"), &old.join("client.pem"))).await.0 == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is taken although it has expired");
    }

    // Who may call is called by nobody: a client's certificate makes no scheduler.
    let mut imposter = Processes::new();
    imposter.environment = cluster.client();
    let false_scheduler = imposter.scheduler(0).await;
    let (code, stderr) = status(&imposter, &false_scheduler, &cluster.client()).await;
    assert!(code == 1 && stderr.contains("does not answer"), "{code} {stderr}");
}

/// The authority itself is replaced while the cluster runs: whoever has the new files goes on, and the old ones are worth nothing.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_rotate_are_taken_as_they_come() {
    let cluster = Certified::start().await;
    let before = cluster.processes.home.path().join("before");
    std::fs::create_dir(&before).unwrap();
    for name in ["ca.pem", "client.pem", "client.key"] {
        std::fs::copy(cluster.file(name), before.join(name)).unwrap();
    }
    let old = told(&before.join("ca.pem"), &before.join("client.pem"));
    assert_eq!(cluster.status(&old).await.0, 0);

    for name in ["ca.pem", "ca.key"] {
        std::fs::remove_file(cluster.file(name)).unwrap();
    }
    certify(&cluster.authority, "30");
    let begun = Instant::now();
    while cluster.status(&cluster.client()).await.0 != 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the new files are not taken");
    }
    assert_eq!(cluster.status(&old).await.0, 1, "the old ones are");
    let (code, stderr) = cluster.extract("rotated").await;
    assert_eq!(code, 0, "{stderr}");
}

/// Beyond its own machine a daemon does without certificates only where that is said.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_reached_by_others_needs_certificates() {
    let processes = Processes::new();
    let (code, _, stderr) = run(processes.command(&["scheduler", "--listen", "0.0.0.0:0", "--probes", "127.0.0.1:0"]).await);
    assert!(code == 2 && stderr.contains("cluster_tls") && stderr.contains("--insecure"), "{code} {stderr}");
    let (code, _, stderr) =
        run(processes.command(&["executor", "--listen", "0.0.0.0:0", "--probes", "127.0.0.1:0", "--scheduler", "127.0.0.1:1"]).await);
    assert!(code == 2 && stderr.contains("cluster_tls"), "{code} {stderr}");
}
