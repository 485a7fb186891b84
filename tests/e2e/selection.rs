//! Which files of a corpus are taken, and when a corpus is one repository.

use std::path::Path;

use bytefacts_engine::ExtractOptions;
use bytefacts_landing::RunId;

use crate::s3::S3;
use crate::servers;
use crate::support::{Shape, bytefacts, folder, job, python, query_text, run, store, write_files};

/// A repository with tests, packages, builds and an environment, as people have them.
fn corpus() -> tempfile::TempDir {
    let corpus = folder();
    let files =
        ["x.py", "stub.pyi", "tests/t.py", "node_modules/n.py", "dist/d.py", ".venv/v.py", "env/lib/e.py", "generated/g.py", "x1.py"];
    for file in files {
        write_files(corpus.path(), &[(&format!("a/{file}"), b"x = 1\n")]);
    }
    write_files(corpus.path(), &[("a/env/pyvenv.cfg", b""), ("a/.gitignore", b"generated/\n"), ("b/tests/x.py", b"y = 2\n")]);
    corpus
}

/// The files of the current run, as `repo:path`.
async fn taken(facts: &Path) -> Vec<String> {
    let rows = query_text(facts, "SELECT repo, path FROM bytecode_files_v1 ORDER BY repo NULLS FIRST, path").await;
    rows.into_iter().map(|row| row.join(":")).collect()
}

async fn extracted(root: &Path, corpus: &Path, args: &[&str]) -> Vec<String> {
    let facts = root.join("facts");
    let all = [&["extract", corpus.to_str().unwrap(), "--out", facts.to_str().unwrap(), "--another-corpus"], args].concat();
    let (code, _, stderr) = run(bytefacts(root, &all).await);
    assert_eq!(code, 0, "{stderr}");
    taken(&facts).await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_selected_as_ruff_selects_them() {
    let (root, corpus) = (folder(), corpus());
    let cases: [(&[&str], &[&str]); 6] = [
        (&[], &["a:generated/g.py", "a:tests/t.py", "a:x.py", "a:x1.py", "b:tests/x.py"]),
        (&["--extend-exclude", "tests,a/x?.py"], &["a:generated/g.py", "a:x.py"]),
        (&["--exclude", "tests", "--exclude", "generated"], &["a:.venv/v.py", "a:dist/d.py", "a:node_modules/n.py", "a:x.py", "a:x1.py"]),
        (&["--include", "*.pyi,b/**/*.py"], &["a:stub.pyi", "b:tests/x.py"]),
        (&["--respect-gitignore"], &["a:tests/t.py", "a:x.py", "a:x1.py", "b:tests/x.py"]),
        (&["--virtual-environments", "--include", "e.py"], &["a:env/lib/e.py"]),
    ];
    for (args, expected) in cases {
        assert_eq!(extracted(root.path(), corpus.path(), args).await, expected, "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_with_the_files_that_it_was_begun_for() {
    let (root, corpus) = (folder(), corpus());
    let facts = root.path().join("facts");
    let options = ExtractOptions { include: vec!["x*.py".to_owned()], extend_exclude: vec!["b".to_owned()], ..ExtractOptions::default() };
    let begun = job(corpus.path(), &facts, &Shape { run: "begun", options, ..Shape::default() }, &python().await);
    std::fs::create_dir(&facts).unwrap();
    store(&facts).create_job(&RunId::new("begun").unwrap(), serde_json::to_vec(&begun).unwrap().into()).await.unwrap();
    let (code, _, stderr) = run(bytefacts(root.path(), &["extract", "--resume", "begun", "--out", facts.to_str().unwrap()]).await);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(taken(&facts).await, ["a:x.py", "a:x1.py"]);
    let other = ["extract", "--resume", "begun", "--include", "*.py", "--out", facts.to_str().unwrap()];
    assert_eq!(run(bytefacts(root.path(), &other).await).0, 2, "what a run takes cannot be changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_repository_is_recognised() {
    let (root, above) = (folder(), folder());
    let corpus = above.path().join("project");
    write_files(&corpus, &[("pyproject.toml", b""), ("src/x.py", b"x = 1\n"), ("setup.py", b"y = 2\n")]);
    assert_eq!(extracted(root.path(), &corpus, &[]).await, ["project:setup.py", "project:src/x.py"]);
    assert_eq!(extracted(root.path(), &corpus, &["--tree"]).await, ["NULL:setup.py", "src:x.py"]);
    assert_eq!(extracted(root.path(), &corpus, &["--repo", "mine"]).await, ["mine:setup.py", "mine:src/x.py"]);
    std::fs::rename(corpus.join("pyproject.toml"), corpus.join(".git")).unwrap();
    let facts = root.path().join("facts");
    let args = ["extract", corpus.to_str().unwrap(), "--out", facts.to_str().unwrap(), "--another-corpus"];
    let (code, stdout, stderr) = run(bytefacts(root.path(), &args).await);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("as one repository, project") && stderr.contains(".git is in the corpus") && stderr.contains("--tree"),
        "{stdout}{stderr}"
    );
}

/// A mistyped name would put another corpus in the place of the one that readers expect.
#[tokio::test(flavor = "multi_thread")]
async fn facts_are_of_one_corpus_unless_another_is_meant() {
    let (root, above) = (folder(), folder());
    for name in ["one", "other"] {
        write_files(&above.path().join(name), &[(&format!("{name}/x.py"), b"x = 1\n")]);
    }
    let facts = root.path().join("facts");
    let extract = async |corpus: &str, args: &[&str]| {
        let corpus = above.path().join(corpus);
        let all = [&["extract", corpus.to_str().unwrap(), "--out", facts.to_str().unwrap(), "--run-id"], args].concat();
        run(bytefacts(root.path(), &all).await)
    };
    assert_eq!(extract("one", &["r1"]).await.0, 0);
    for args in [&["r2"][..], &["r2", "--repo", "mine"]] {
        let (code, _, stderr) = extract(if args.len() == 1 { "other" } else { "one" }, args).await;
        assert!(code == 2 && stderr.contains("(run r1), not of") && stderr.contains("--another-corpus"), "{args:?}: {code} {stderr}");
    }
    assert_eq!(taken(&facts).await, ["one:x.py"]);
    assert_eq!(extract("one", &["r2"]).await.0, 0, "the same one is asked nothing");
    assert_eq!(extract("other", &["r3", "--another-corpus"]).await.0, 0);
    assert_eq!(taken(&facts).await, ["other:x.py"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_is_refused() {
    let (root, corpus) = (folder(), corpus());
    let (inside, outside) = (corpus.path().join("a/facts"), root.path().join("facts"));
    let linked = root.path().join("linked");
    std::os::unix::fs::symlink(corpus.path(), &linked).unwrap();
    let linked = linked.join("facts");
    let cases: [(&Path, &[&str], &str); 4] = [
        (&inside, &[], "lies inside the corpus"),
        (&linked, &[], "lies inside the corpus"),
        (&outside, &["--extend-exclude", "a["], "\"a[\" is no glob pattern"),
        (&outside, &["--tree", "--repo", "mine"], "cannot be used with"),
    ];
    for (out, args, says) in cases {
        let all = [&["extract", corpus.path().to_str().unwrap(), "--out", out.to_str().unwrap()], args].concat();
        let (code, _, stderr) = run(bytefacts(root.path(), &all).await);
        assert!(code == 2 && stderr.contains(says), "{args:?}: {code} {stderr}");
        assert!(!out.exists(), "nothing is written");
    }
}

/// Keys of a bucket that the store's client cannot name, and an environment that shows only behind the files in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_selected_from_as_a_folder_is() {
    let (root, s3) = (folder(), S3::start().await);
    for key in ["a/x.py", "a/env/lib/e.py", "a/env/pyvenv.cfg", "a/node_modules/n.py", "a//nameless.py", "b/y.py"] {
        servers::put(s3.address.port(), &format!("/bucket/corpus/{key}")).unwrap();
    }
    let facts = root.path().join("facts");
    let mut command = bytefacts(root.path(), &["extract", "s3://bucket/corpus", "--out", facts.to_str().unwrap()]).await;
    // One of three cannot be read, which is more than a run may have that is to be current.
    command.envs(S3::environment(s3.address)).env("BYTEFACTS_CLIENT__MAX_UNREAD_SHARE", "0.5");
    let (code, _, stderr) = run(command);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(taken(&facts).await, ["a:/", "a:x.py", "b:y.py"]);
    let errors = query_text(&facts, "SELECT path, stage, error_type FROM bytecode_errors").await;
    assert_eq!(errors, [["/", "read", "BadPath"]]);
}
