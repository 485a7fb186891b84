//! What cannot work is said at once, in words and once: the whole of stderr.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::processes::Processes;
use crate::s3::S3;
use crate::support::{bytefacts, folder, run, small_corpus, write_files};

/// Nothing that no retry heals may take longer, on a machine that does other things too.
const SECONDS: Duration = Duration::from_secs(30);

/// Text without what differs from one time to the next: places and runs.
fn normalised(stderr: &str, root: &Path) -> String {
    const RUN: &str = "20261231T235959Z-0123abcd";
    let mut text = stderr.replace(root.to_str().unwrap(), "[ROOT]");
    let shape = |c: char| if c.is_ascii_hexdigit() { 'x' } else { c };
    let wanted: String = RUN.chars().map(shape).collect();
    while let Some(at) = text.chars().map(shape).collect::<String>().find(&wanted) {
        text.replace_range(at..at + RUN.len(), "[RUN]");
    }
    text
}

/// Runs a command that must fail with this exit code, and soon; its stderr.
fn refused(command: std::process::Command, root: &Path, expected: i32) -> String {
    let begun = Instant::now();
    let (code, stdout, stderr) = run(command);
    assert_eq!((code, stdout.as_str()), (expected, ""), "{stderr}");
    assert!(begun.elapsed() < SECONDS, "{:?}: {stderr}", begun.elapsed());
    normalised(&stderr, root)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corpus_that_cannot_be_listed_is_refused_by_either_cluster() {
    let processes = Processes::new();
    let root = processes.home.path();
    write_files(root, &[("texts/a/readme.txt", b"no Python here"), ("file", b"")]);
    std::fs::create_dir(root.join("empty")).unwrap();
    let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
    let facts = path("facts");
    let scheduler = processes.scheduler(0).await;
    let url = format!("df://{}", scheduler.address);
    let embedded = async |corpus: &str| refused(processes.command(&["extract", &path(corpus), "--out", &facts]).await, root, 1);
    let cluster =
        async |corpus: &str| refused(processes.command(&["extract", &path(corpus), "--out", &facts, "--cluster", &url]).await, root, 1);

    insta::assert_snapshot!(embedded("nowhere").await, @"error: the corpus [ROOT]/nowhere does not exist");
    insta::assert_snapshot!(embedded("file").await, @"error: the corpus [ROOT]/file is not a folder");
    insta::assert_snapshot!(embedded("empty").await, @r"
    run [RUN]: [ROOT]/empty into [ROOT]/facts
    error: the job failed: corpus [ROOT]/empty is empty
    ");
    insta::assert_snapshot!(cluster("nowhere").await, @r"
    run [RUN]: [ROOT]/nowhere into [ROOT]/facts
    error: the job failed: corpus [ROOT]/nowhere does not exist
    ");
    insta::assert_snapshot!(cluster("empty").await, @r"
    run [RUN]: [ROOT]/empty into [ROOT]/facts
    error: the job failed: corpus [ROOT]/empty is empty
    ");
    insta::assert_snapshot!(cluster("texts").await, @r"
    run [RUN]: [ROOT]/texts into [ROOT]/facts
    error: the job failed: corpus [ROOT]/texts holds no Python file that is taken; it holds 1 other files
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_missing_or_forbidden_is_refused() {
    let (root, s3, corpus) = (folder(), S3::start().await, small_corpus());
    let corpus = corpus.path().to_str().unwrap();
    let facts = root.path().join("facts");
    let extract = async |corpus: &str, facts: &str| {
        let mut command = bytefacts(root.path(), &["extract", corpus, "--out", facts]).await;
        command.envs(S3::environment(s3.address));
        refused(command, root.path(), 1).replace(corpus, "[CORPUS]")
    };
    insta::assert_snapshot!(extract("s3://missing/corpus", facts.to_str().unwrap()).await, @r"
    run [RUN]: [CORPUS] into [ROOT]/facts
    error: the job failed: cannot list corpus [CORPUS]: the bucket does not exist
    ");
    insta::assert_snapshot!(extract("s3://bucket/nothing", facts.to_str().unwrap()).await, @r"
    run [RUN]: [CORPUS] into [ROOT]/facts
    error: the job failed: corpus [CORPUS] is empty
    ");
    insta::assert_snapshot!(extract(corpus, "s3://missing/facts").await, @r#"
    error: cannot use the facts at s3://missing/facts
      caused by: cannot create "runs/[RUN]/job.json"
      caused by: the bucket does not exist
    "#);
    let forbidden = crate::s3::forbidding().await;
    let extract = async |corpus: &str, facts: &str| {
        let mut command = bytefacts(root.path(), &["extract", corpus, "--out", facts]).await;
        command.envs(S3::environment(forbidden.address));
        refused(command, root.path(), 1).replace(corpus, "[CORPUS]")
    };
    insta::assert_snapshot!(extract("s3://bucket/corpus", facts.to_str().unwrap()).await, @r"
    run [RUN]: [CORPUS] into [ROOT]/facts
    error: the job failed: cannot list corpus [CORPUS]: access is forbidden (403): see the credentials and the policy of the bucket
    ");
    insta::assert_snapshot!(extract(corpus, "s3://bucket/facts").await, @r#"
    error: cannot use the facts at s3://bucket/facts
      caused by: cannot read "runs/[RUN]/run.json"
      caused by: access is forbidden (403): see the credentials and the policy of the bucket
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_is_not_there_is_refused() {
    let (root, corpus) = (folder(), small_corpus());
    let (corpus, facts) = (corpus.path().to_str().unwrap(), root.path().join("facts"));
    let url = format!("df://127.0.0.1:{}", crate::servers::free_port());
    let stderr =
        refused(bytefacts(root.path(), &["extract", corpus, "--out", facts.to_str().unwrap(), "--cluster", &url]).await, root.path(), 1);
    insta::assert_snapshot!(stderr.replace(&url["df://".len()..], "[SCHEDULER]"), @"error: no scheduler answers at [SCHEDULER]: Connection refused (os error 111); is it running, and is the address right?");
    assert!(!facts.join("runs").exists(), "nothing was begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_would_do_nothing_are_refused() {
    let root = folder();
    let refused = async |more: &[&str]| {
        let args = [&["extract"], more, &["--out", "facts"]].concat();
        refused(bytefacts(root.path(), &args).await, root.path(), 2)
    };
    let cluster = async |more: &[&str]| refused(&[&["corpus", "--cluster", "df://127.0.0.1:1"], more].concat()).await;
    insta::assert_snapshot!(cluster(&["--jobs", "2"]).await, @"error: --jobs is of the embedded cluster and does nothing on another one: each executor is told its cores by `bytefacts executor --cores`");
    insta::assert_snapshot!(cluster(&["--executors", "2"]).await, @"error: --executors is of the embedded cluster and does nothing on another one: a cluster has those that were started by `bytefacts executor`");
    insta::assert_snapshot!(cluster(&["--python", "/usr/bin/python3"]).await, @"error: --python is of the embedded cluster and does nothing on another one: each executor has its own interpreter, by `bytefacts executor --python`");
    insta::assert_snapshot!(cluster(&["--shared-cache", "s3://bucket/cache"]).await, @"error: --shared-cache is of the embedded cluster and does nothing on another one: each executor is told by `bytefacts executor --shared-cache`");
    insta::assert_snapshot!(cluster(&["--memory-budget-bytes", "1000"]).await, @"error: --memory-budget-bytes is of the embedded cluster and does nothing on another one: each executor has its own setting executor.memory_budget_bytes");
    // A run that is resumed has its options already.
    for option in ["--oracle=1", "--adaptive", "--include-cfg-derivations=false", "--parallel-min-files=3", "--exclude=x"] {
        let stderr = refused(&["--resume", "run-1", option]).await;
        assert!(stderr.contains("cannot be used with"), "{option}: {stderr}");
    }
    // The cluster may stand in the environment.
    let mut command = bytefacts(root.path(), &["extract", "corpus", "--out", "facts", "--jobs", "2"]).await;
    command.env("BYTEFACTS_CLIENT__CLUSTER", "df://127.0.0.1:1");
    assert!(self::refused(command, root.path(), 2).contains("--jobs is of the embedded cluster"));
}

/// `--no-cache` is a word to whoever compiles, wherever that is.
#[tokio::test(flavor = "multi_thread")]
async fn no_cache_reaches_the_executors() {
    let (corpus, processes) = (small_corpus(), Processes::new());
    let facts = processes.home.path().join("facts");
    let scheduler = processes.scheduler(0).await;
    let _executors = [processes.executor("n1", scheduler.address).await, processes.executor("n2", scheduler.address).await];
    let extract = async |more: &[&str]| -> Value {
        let args = [&[corpus.path().to_str().unwrap(), "--out", facts.to_str().unwrap()], more].concat();
        let (code, stdout, stderr) = processes.extract(scheduler.address, &args).await.end(Duration::from_secs(120)).await;
        assert_eq!(code, 0, "{stderr}");
        serde_json::from_str(&stdout).unwrap()
    };
    let first = extract(&[]).await;
    assert_eq!(extract(&[]).await["cache_hits"], 38, "the caches of the executors are warm");
    let without = extract(&["--no-cache"]).await;
    assert_eq!(without["cache_hits"], 0);
    assert!(without["compile_cpu_seconds"].as_f64().unwrap() > 0.0, "{without}");
    assert_eq!(without["digest"], first["digest"]);
}

/// What the user takes for a failure is theirs to say.
#[tokio::test(flavor = "multi_thread")]
async fn fail_on_decides_what_ends_with_3() {
    let (root, corpus) = (folder(), folder());
    write_files(corpus.path(), &[("a/warns.py", b"x = '\\d'\n"), ("a/good.py", b"x = 1\n")]);
    let facts = root.path().join("facts");
    let extract = async |level: &[&str]| {
        let args = [&["extract", corpus.path().to_str().unwrap(), "--out", facts.to_str().unwrap()], level].concat();
        run(bytefacts(root.path(), &args).await)
    };
    for (level, expected) in [(&[][..], 0), (&["--fail-on", "error"], 0), (&["--fail-on", "warning"], 3), (&["--fail-on", "never"], 0)] {
        let (code, stdout, stderr) = extract(level).await;
        assert_eq!(code, expected, "{level:?}: {stdout} {stderr}");
    }
    write_files(corpus.path(), &[("a/bad.py", b"def\n")]);
    for (level, expected) in [(&[][..], 0), (&["--fail-on", "error"], 3), (&["--fail-on", "never"], 0)] {
        assert_eq!(extract(level).await.0, expected, "{level:?}");
    }
}

/// Credentials for a store that is asked nothing, at this address.
fn nobodys_store(command: &mut std::process::Command, address: &str) {
    command.envs([("AWS_ENDPOINT", format!("http://{address}").as_str()), ("AWS_ALLOW_HTTP", "true"), ("AWS_REGION", "us-east-1")]);
    command.envs([("AWS_ACCESS_KEY_ID", "nobody"), ("AWS_SECRET_ACCESS_KEY", "nothing")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_where_nobody_listens_is_named_with_the_reason() {
    let (root, corpus) = (folder(), small_corpus());
    let corpus = corpus.path().to_str().unwrap();
    let commands: [&[&str]; 3] =
        [&["runs", "--facts", "s3://b/f"], &["sql", "SELECT 1", "--facts", "s3://b/f"], &["extract", corpus, "--out", "s3://b/f"]];
    for args in commands {
        let mut command = bytefacts(root.path(), args).await;
        // On this port of a machine nobody has listened for thirty years.
        nobodys_store(&mut command, "127.0.0.1:1");
        let stderr = refused(command, root.path(), 1);
        assert!(stderr.contains("http://127.0.0.1:1/") && stderr.contains("Connection refused"), "{args:?}: {stderr}");
    }
}

/// A wrong endpoint often swallows what it is sent. The client's patience is for stores that are away for a moment; the user is not left to guess.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_silent_is_named_while_it_is_waited_for() {
    let (root, corpus) = (folder(), small_corpus());
    let corpus = corpus.path().to_str().unwrap();
    // The kernel takes connections in whether or not they are asked for.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let commands: [&[&str]; 3] =
        [&["runs", "--facts", "s3://b/f"], &["sql", "SELECT 1", "--facts", "s3://b/f"], &["extract", corpus, "--out", "s3://b/f"]];
    let mut children = Vec::new();
    for args in commands {
        let mut command = bytefacts(root.path(), args).await;
        nobodys_store(&mut command, &address);
        children.push(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    }
    for mut child in children {
        // It is said while the command still waits: reading ends at the first line, not with the process.
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = lines.map_while(Result::ok).take_while(|line| !line.starts_with("error:"));
        assert!(
            said.any(|line| line.contains(&format!("no answer from the object store at {address}"))),
            "it says nothing before it gives up"
        );
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
