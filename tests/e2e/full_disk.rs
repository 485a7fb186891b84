//! A disk that is full under the cache: one warning, and the rows of a run without a cache.
//!
//! Two ways to have one without being root: a tiny tmpfs in a namespace of the test's own, where the machine allows that, and a limit on the size
//! of files, which any machine has.

use std::path::Path;
use std::process::Command;

use bytefacts_landing::Manifest;
use serde_json::Value;
use tempfile::TempDir;

use crate::s3::S3;
use crate::support::{Shape, bytefacts, extract, folder, not_tested, run, small_corpus, write_files};

/// Some small files, and one whose compiled unit is large however it is compressed; and the run that nothing disturbs.
async fn corpus() -> (TempDir, Manifest) {
    let corpus = small_corpus();
    let noise = |i: u64| i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let source: String = (0..20_000).map(|i| format!("x = {}\n", noise(i))).collect();
    write_files(corpus.path(), &[("a/large.py", source.as_bytes())]);
    let expected = extract(corpus.path(), folder().path(), &Shape::default()).await;
    (corpus, expected)
}

/// The summaries of the runs that a command makes, which ends well.
async fn summaries(command: Command, runs: usize) -> (Vec<Value>, String) {
    let (code, stdout, stderr) = tokio::task::spawn_blocking(move || run(command)).await.unwrap();
    assert_eq!(code, 0, "{stderr}");
    let summaries: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(&stdout).into_iter().collect();
    let summaries = summaries.unwrap_or_else(|error| panic!("{error}: {stdout}"));
    assert_eq!(summaries.len(), runs, "{stdout}");
    (summaries, stderr)
}

/// A shell that runs `script` with a command as its arguments. The command's environment is the shell's.
fn shell(launcher: &[&str], script: &str, command: &Command) -> Command {
    let mut shell = Command::new(launcher[0]);
    shell.args(&launcher[1..]).args(["sh", "-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
    shell.env_clear().envs(std::env::vars_os());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

const NAMESPACE: [&str; 3] = ["unshare", "--map-root-user", "--mount"];

/// Why a tmpfs cannot be mounted here, if so.
fn refusal(folder: &Path) -> Option<String> {
    let mut command = Command::new(NAMESPACE[0]);
    command.args(&NAMESPACE[1..]).args(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(folder);
    match command.output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// The disk is full after some entries. A second run takes what there is, and is no worse off.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_system_costs_only_the_cache() {
    let (cache, home) = (folder(), folder());
    if let Some(reason) = refusal(cache.path()) {
        not_tested("a full file system under the cache, since a tmpfs cannot be mounted here", &reason);
        return;
    }
    let (corpus, expected) = corpus().await;
    let facts = home.path().display();
    let command = bytefacts(cache.path(), &["extract", corpus.path().to_str().unwrap(), "--format", "json"]).await;
    let script = format!(
        "set -e; mount -t tmpfs -o size=64k tmpfs \"$BYTEFACTS_CACHE_DIR\"\n\
         \"$@\" --out '{facts}/first'; \"$@\" --out '{facts}/second'\n\
         find \"$BYTEFACTS_CACHE_DIR\" -type f > '{facts}/entries'"
    );
    let (summaries, stderr) = summaries(shell(&NAMESPACE, &script, &command), 2).await;
    for summary in &summaries {
        assert_eq!(summary["digest"], expected.run.digest);
        assert_eq!(summary["files"], expected.run.stats.files);
    }
    let warnings: Vec<_> = stderr.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 2, "one a run: {stderr}");
    for warning in warnings {
        assert!(warning.contains("cannot write to the cache folder") && warning.contains("No space left"), "{warning}");
    }
    assert!(summaries[1]["cache_hits"].as_u64() >= summaries[0]["cache_hits"].as_u64(), "entries that were written are used");
    let entries = std::fs::read_to_string(home.path().join("entries")).unwrap();
    assert!(entries.lines().count() > 0, "nothing was written before the disk was full");
    assert!(!entries.contains("tmp-"), "half-written files are left on a full disk: {entries}");
}

/// No file may be larger than 64 KiB, and one entry is; facts go elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_written_in_full_costs_only_the_cache() {
    let ((corpus, expected), s3, cache) = (corpus().await, S3::start().await, folder());
    let mut command =
        bytefacts(cache.path(), &["extract", corpus.path().to_str().unwrap(), "--out", "s3://bucket/facts", "--format", "json"]).await;
    command.envs(S3::environment(s3.address));
    // In blocks of 512 bytes, as POSIX has it. The signal would end the process.
    let (summaries, stderr) = summaries(shell(&["env"], "trap '' XFSZ; ulimit -f 128; exec \"$@\"", &command), 1).await;
    assert_eq!(summaries[0]["digest"], expected.run.digest);
    assert_eq!(summaries[0]["files"], expected.run.stats.files);
    let warnings: Vec<_> = stderr.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{stderr}");
    assert!(warnings[0].contains("cannot write to the cache folder") && warnings[0].contains("too large"), "{stderr}");
}
