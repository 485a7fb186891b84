//! The cookbook: each question in `docs/cookbook` has its known answer, beside it, over the corpus in `tests/cookbook`.
//!
//! `BYTEFACTS_SLT_UPDATE=1` rewrites answers and index; the diff is then read, not believed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use bytefacts_cluster::RemoteScheduler;
use bytefacts_landing::RunId;
use bytefacts_query::{facts_session, register_listings};
use bytefacts_stores::Stores;
use tempfile::TempDir;

use crate::processes::Processes;
use crate::service::{Service, ask, ask_text};
use crate::support::{Shape, bytefacts, extract, folder, run, url};

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A file of the cookbook: its name, the question, and all of its text, which is the statement too.
struct Recipe {
    path: PathBuf,
    question: String,
    sql: String,
}

fn recipes() -> Vec<Recipe> {
    let entries = std::fs::read_dir(repository("docs/cookbook")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "sql")).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let sql = std::fs::read_to_string(&path).unwrap();
        let question = sql.lines().next().and_then(|line| line.strip_prefix("-- ")).expect("a recipe begins with its question").to_owned();
        Recipe { path, question, sql }
    };
    paths.into_iter().map(read).collect()
}

/// What the file holds, or what it now should, and whether the two are one.
pub fn holds(path: &Path, text: &str) -> bool {
    if std::env::var_os("BYTEFACTS_SLT_UPDATE").is_some() {
        std::fs::write(path, text).unwrap();
    }
    std::fs::read_to_string(path).is_ok_and(|found| found == text)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Facts of the corpus in two runs.
async fn two_nights() -> TempDir {
    let (facts, later) = (folder(), folder());
    extract(&repository("tests/cookbook/corpus"), facts.path(), &Shape { run: "night-1", ..Shape::default() }).await;
    // The next night a file is gone, and others are new or written anew.
    for corpus in ["tests/cookbook/corpus", "tests/cookbook/later"] {
        copy(&repository(corpus), later.path());
    }
    std::fs::remove_file(later.path().join("tools/copy.py")).unwrap();
    extract(later.path(), facts.path(), &Shape { run: "night-2", ..Shape::default() }).await;
    facts
}

#[tokio::test(flavor = "multi_thread")]
async fn every_question_has_its_answer() {
    let recipes = recipes();
    assert!(recipes.len() >= 30, "{} questions", recipes.len());
    let facts = two_nights().await;
    let (home, place) = (folder(), facts.path().to_str().unwrap());
    let mut wrong = String::new();
    for Recipe { path, .. } in recipes {
        // As the cookbook says how to ask, so that a reader sees what they will get.
        let mut shell = bytefacts(home.path(), &["sql", "--facts", place, "--run", "night-1"]).await;
        shell.stdin(std::fs::File::open(&path).unwrap());
        let (code, answer, stderr) = run(shell);
        assert_eq!((code, stderr.as_str()), (0, ""), "{}", path.display());
        assert!(answer.lines().count() > 2, "{}: a question without an answer tests nothing", path.display());
        if !holds(&path.with_extension("txt"), &answer) {
            let _ = write!(wrong, "{}:\n{answer}", path.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Rows as a table.
fn table(rows: &[RecordBatch]) -> String {
    arrow::util::pretty::pretty_format_batches(rows).unwrap().to_string()
}

/// What a client of the service is answered by the service itself, and by a cluster of processes, is what a session over the facts gives, as the shell
/// has it.
#[tokio::test(flavor = "multi_thread")]
async fn every_question_has_its_answer_from_a_service_and_from_a_cluster() {
    // WITH RECURSIVE is done by one process, and of runs themselves the cluster knows nothing.
    const OF_THE_SERVER: [&str; 2] = ["27-subclasses", "40-parquet-files"];
    let (processes, facts) = (Processes::new(), two_nights().await);
    let scheduler = processes.scheduler(0).await;
    let _executors = [processes.executor("n1", scheduler.address).await, processes.executor("n2", scheduler.address).await];
    let first = Some(RunId::new("night-1").unwrap());
    let session = facts_session(&Stores::default(), &url(facts.path()), first.clone()).unwrap();
    register_listings(&session, &Stores::default(), &url(facts.path()), first).unwrap();
    let mut expected = Vec::new();
    for Recipe { sql, .. } in recipes() {
        expected.push(table(&session.sql(&sql).await.unwrap().collect().await.unwrap()));
    }
    let service = Service::over(facts, &["--cluster", &format!("df://{}", scheduler.address)], "").await;
    let mut wrong = String::new();
    for execution in ["local", "cluster"] {
        let mut client = service.client().await;
        client.handshake("anybody", "anything").await.unwrap();
        for set in ["SET bytefacts.run = 'night-1'".to_owned(), format!("SET bytefacts.execution = {execution}")] {
            client.execute_update(set, None).await.unwrap();
        }
        assert_eq!(ask_text(&mut client, "SHOW bytefacts.execution").await[0][1], execution);
        for (Recipe { path, sql, .. }, expected) in recipes().into_iter().zip(&expected) {
            let name = path.file_stem().unwrap().to_str().unwrap();
            match ask(&mut client, &sql).await {
                Ok((_, rows)) if table(&rows) == *expected => {}
                Err(status)
                    if execution == "cluster"
                        && OF_THE_SERVER.contains(&name)
                        && status.message().contains("what only this server has") => {}
                Ok((_, rows)) => _ = write!(wrong, "{name}, {execution}:\n{}", table(&rows)),
                Err(status) => _ = writeln!(wrong, "{name}, {execution}: {status}"),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let jobs = RemoteScheduler::new(&scheduler.address.to_string()).status().await.unwrap().jobs.len();
    // Some are too deep for a cluster to read.
    assert!(jobs * 10 >= recipes().len() * 7, "the cluster has had {jobs} jobs");
}

#[test]
fn the_index_lists_every_question() {
    let mut index = String::from(
        "# Cookbook\n\nQuestions to facts, each a file of SQL: `bytefacts sql --facts FACTS < 01-eval-and-exec.sql`. Beside it stands the \
         answer as\nthe shell prints it (`∅` is NULL) for the small corpus in [tests/cookbook](../../tests/cookbook/corpus), by which a test checks it; 39 has the run of \
         the night\nafter beside it.\n\n| | |\n|---|---|\n",
    );
    for Recipe { path, question, .. } in recipes() {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let _ = writeln!(index, "| [{name}]({name}.sql) | {question} |");
    }
    assert!(holds(&repository("docs/cookbook/README.md"), &index), "docs/cookbook/README.md should be:\n{index}");
}
