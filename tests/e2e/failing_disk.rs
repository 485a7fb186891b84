//! Disks that fail under a job, at any of its calls, once and for good: the job completes, or fails and can be gone on with, and what is committed is right.
//!
//! Calls fail by a library that is preloaded (`disk.c`). `BYTEFACTS_FAULT_EVERY=1` has each call fail instead of some.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytefacts_landing::RunId;
use futures::StreamExt as _;
use tempfile::TempDir;

use crate::chaos::number;
use crate::support::{Shape, bytefacts, extract, folder, preloadable, run, store, write_files};

const RUN: &str = "r";

/// Which calls fail, and how many there were: what `disk.c` shares with the process that it is in.
struct Fault(PathBuf);

impl Fault {
    fn new(home: &Path, number: i64, for_good: bool) -> Self {
        let path = home.join("fault");
        std::fs::write(&path, [number, i64::from(for_good), 0].map(i64::to_ne_bytes).concat()).unwrap();
        Self(path)
    }

    fn calls(&self) -> i64 {
        let mut calls = [0; 8];
        File::open(&self.0).unwrap().read_exact_at(&mut calls, 16).unwrap();
        i64::from_ne_bytes(calls)
    }

    /// Has a command meet it below these folders.
    fn meets(&self, command: &mut Command, library: &Path, roots: &[&Path]) {
        let roots: Vec<_> = roots.iter().map(|root| root.to_str().unwrap()).collect();
        command.env("LD_PRELOAD", library).env("DISK_FAULT", &self.0).env("DISK_ROOTS", roots.join(":"));
    }
}

/// A small corpus, and what its run comes to: digest and rows.
struct Place {
    corpus: TempDir,
    library: PathBuf,
    home: TempDir,
    expected: Came,
}

type Came = (String, u64);

impl Place {
    async fn new() -> Option<Self> {
        let (corpus, home) = (folder(), folder());
        let library = preloadable(home.path(), "disk.c", "disks that fail")?;
        write_files(
            corpus.path(),
            &[
                ("a/x.py", b"def f(a):\n    return [b for b in a]\n"),
                ("a/p/y.py", b"y = 1\n"),
                ("a/env/pyvenv.cfg", b"home = elsewhere\n"),
                ("a/env/left_out.py", b"z = 1\n"),
                ("b/z.py", b"def (\n"),
            ],
        );
        // So many that one which cannot be read does not hold the run back.
        for n in 0..10 {
            write_files(corpus.path(), &[(&format!("b/f{n}.py"), b"w = 1\n")]);
        }
        // What leads somewhere, nowhere, and to a folder, which is left out.
        for (to, link) in [("x.py", "a/good.py"), ("nowhere", "a/broken.py"), ("p", "a/folder.py")] {
            std::os::unix::fs::symlink(to, corpus.path().join(link)).unwrap();
        }
        let facts = folder();
        extract(corpus.path(), facts.path(), &Shape { run: RUN, bins: 2, ..Shape::default() }).await;
        let expected = came(facts.path()).await.unwrap();
        Some(Self { corpus, library, home, expected })
    }

    /// The extraction with a cache and facts of its own.
    async fn extraction(&self, home: &Path, facts: &Path) -> Command {
        let settings = self.home.path().join("settings.yaml");
        if !settings.exists() {
            std::fs::write(&settings, "bins: {count: 2}\nstores: {retries: 1, retry_seconds: 1}\nclient: {fruitless: 2}\n").unwrap();
        }
        let args = ["extract", self.corpus.path().to_str().unwrap(), "--out", facts.to_str().unwrap(), "--run-id", RUN];
        let mut command = bytefacts(&home.join("cache"), &args).await;
        command.arg("--config").arg(settings);
        command
    }

    /// Calls of an extraction below these folders while none fails.
    async fn calls(&self, roots: impl Fn(&Path) -> Vec<PathBuf>) -> i64 {
        let home = folder();
        let fault = Fault::new(home.path(), 0, false);
        let (code, _, stderr) = self.under(&fault, home.path(), &roots(home.path())).await;
        assert_eq!(code, 0, "{stderr}");
        fault.calls()
    }

    async fn under(&self, fault: &Fault, home: &Path, roots: &[PathBuf]) -> (i32, String, String) {
        let mut command = self.extraction(home, &home.join("facts")).await;
        fault.meets(&mut command, &self.library, &roots.iter().map(PathBuf::as_path).collect::<Vec<_>>());
        tokio::task::spawn_blocking(move || run(command)).await.unwrap()
    }
}

/// What is committed of the run, if it is.
async fn came(facts: &Path) -> Option<Came> {
    let committed = store(facts).committed(&RunId::new(RUN).unwrap()).await.unwrap()?;
    Some((committed.run.digest.clone(), committed.run.rows))
}

/// Numbers of calls to fail, each once and for good: all of them, or so many as a change can wait for.
fn trials(calls: i64, every: i64) -> Vec<(i64, bool)> {
    let every = number("BYTEFACTS_FAULT_EVERY").map_or(every, |every| i64::try_from(every).unwrap());
    (1..=calls).step_by(usize::try_from(every).unwrap()).flat_map(|call| [(call, false), (call, true)]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_of_corpus_and_facts_that_fails_at_any_call_never_has_a_lie_committed() {
    let Some(place) = Place::new().await else { return };
    let roots = |home: &Path| vec![place.corpus.path().to_owned(), home.join("facts")];
    let calls = place.calls(roots).await;
    assert!(calls > 100, "{calls}");
    let outcomes = futures::stream::iter(trials(calls, 41)).map(async |(call, for_good)| {
        let (home, what) = (folder(), format!("call {call}, for good: {for_good}"));
        let facts = home.path().join("facts");
        let fault = Fault::new(home.path(), call, for_good);
        let (code, _, stderr) = place.under(&fault, home.path(), &roots(home.path())).await;
        let found = came(&facts).await;
        assert!(found.is_some() || code != 0, "{what}: a run that was not committed ended well");
        assert!(found.is_none_or(|found| found == place.expected), "{what}: {stderr}");
        assert!([0, 1].contains(&code) && !stderr.contains("panicked"), "{what}: {code} {stderr}");
        if code == 0 {
            return true;
        }
        // Where it cannot see whether what is there is a folder, the standard library says that it is there.
        assert!(["Input/output error", "File exists"].iter().any(|said| stderr.contains(said)), "{what}: {stderr}");
        let again = place.extraction(home.path(), &facts).await;
        let (code, _, stderr) = tokio::task::spawn_blocking(move || run(again)).await.unwrap();
        assert_eq!(code, 0, "{what}, gone on with: {stderr}");
        assert_eq!(came(&facts).await.as_ref(), Some(&place.expected), "{what}, gone on with");
        assert_eq!(store(&facts).current().await.unwrap().unwrap().run_id.as_str(), RUN, "{what}");
        false
    });
    let outcomes: Vec<bool> = outcomes.buffer_unordered(4).collect().await;
    let completed = outcomes.iter().filter(|completed| **completed).count();
    eprintln!(
        "{calls} calls; {completed} jobs completed under a fault, {} failed cleanly and were gone on with",
        outcomes.len() - completed
    );
    assert!(completed < outcomes.len());
}

/// What is let go is what nothing names, also where what names it cannot be looked at for a moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_under_gc_never_has_it_delete_what_a_run_names() {
    let Some(place) = Place::new().await else { return };
    let facts = place.home.path().join("facts");
    for run in ["one", "two", "three"] {
        write_files(place.corpus.path(), &[("a/x.py", format!("x = '{run}'\n").as_bytes())]);
        extract(place.corpus.path(), &facts, &Shape { run, bins: 2, ..Shape::default() }).await;
    }
    let command = async |home: &Path, args: &[&str]| {
        let facts = home.join("facts");
        bytefacts(&home.join("cache"), &[args, &["--facts", facts.to_str().unwrap()]].concat()).await
    };
    let gc = ["gc", "--keep", "2", "--grace-hours", "0", "--yes"];
    let trial = async |call: i64, for_good: bool| {
        let (home, what) = (folder(), format!("call {call}, for good: {for_good}"));
        assert!(Command::new("cp").arg("-a").arg(&facts).arg(home.path()).status().unwrap().success());
        let fault = Fault::new(home.path(), call, for_good);
        let mut under = command(home.path(), &gc).await;
        fault.meets(&mut under, &place.library, &[&home.path().join("facts")]);
        let (code, _, stderr) = tokio::task::spawn_blocking(move || run(under)).await.unwrap();
        assert!([0, 1].contains(&code) && !stderr.contains("panicked"), "{what}: {code} {stderr}");
        for again in [false, true] {
            for run_id in ["two", "three"] {
                let validate = command(home.path(), &["validate", "--run", run_id]).await;
                let (code, stdout, stderr) = tokio::task::spawn_blocking(move || run(validate)).await.unwrap();
                assert_eq!(code, 0, "{what}, run {run_id}: {stdout}{stderr}");
            }
            if !again {
                let gc = command(home.path(), &gc).await;
                let (code, _, stderr) = tokio::task::spawn_blocking(move || run(gc)).await.unwrap();
                assert_eq!(code, 0, "{what}, once more: {stderr}");
            }
        }
        fault.calls()
    };
    let calls = trial(0, false).await;
    assert!(calls > 50, "{calls}");
    let done = futures::stream::iter(trials(calls, 71)).map(|(call, for_good)| trial(call, for_good));
    let jobs = done.buffer_unordered(4).count().await;
    eprintln!("{calls} calls; gc under {jobs} faults, and what is kept is whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_of_the_cache_that_fails_at_any_call_costs_only_the_cache() {
    let Some(place) = Place::new().await else { return };
    let roots = |home: &Path| vec![home.join("cache")];
    let calls = place.calls(roots).await;
    assert!(calls > 10, "{calls}");
    let done = futures::stream::iter(trials(calls, 17)).map(async |(call, for_good)| {
        let (home, what) = (folder(), format!("call {call}, for good: {for_good}"));
        let facts = home.path().join("facts");
        // The second job meets what the first has left there.
        for _ in 0..2 {
            let fault = Fault::new(home.path(), call, for_good);
            let (code, _, stderr) = place.under(&fault, home.path(), &roots(home.path())).await;
            assert_eq!(code, 0, "{what}: {stderr}");
            assert_eq!(came(&facts).await.as_ref(), Some(&place.expected), "{what}");
            std::fs::remove_dir_all(&facts).unwrap();
        }
    });
    let jobs = done.buffer_unordered(4).count().await * 2;
    eprintln!("{calls} calls; {jobs} jobs under a fault of the cache's disk, each as if there were none");
}
