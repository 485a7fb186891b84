//! Another build of CPython 3.13, if BYTEFACTS_SECOND_PYTHON names one.

use std::path::PathBuf;

use bytefacts_audit::drift::Drifts;
use bytefacts_bytecode::marshal;
use bytefacts_compile::{Diagnostic, Environment, Interpreter, Outcome, probe};
use bytes::Bytes;

use crate::{code, interpreter, library, pool};

#[tokio::test]
async fn another_build_is_drift_and_explained() {
    let first = interpreter().await;
    let Some(path) = std::env::var_os("BYTEFACTS_SECOND_PYTHON").map(PathBuf::from) else {
        // Without another build, the same one must not drift from itself.
        let (one, other) = (pool(&first, 0, 2).await, pool(&first, 0, 2).await);
        let mut drifts = Drifts::default();
        for (path, source) in library(&first).into_iter().step_by(20) {
            let (Some(left), Some(right)) = (code(&one, source.clone()).await, code(&other, source).await) else { continue };
            let (left, right) = (marshal::read_code(&left).unwrap(), marshal::read_code(&right).unwrap());
            assert!(!drifts.add(&path.display().to_string(), &left, &right));
        }
        assert!(drifts.clusters().is_empty());
        return;
    };
    let second = probe(&Environment::from_process(), &path).await.unwrap();
    let (one, other) = (pool(&first, 0, 2).await, pool(&second, 0, 2).await);
    let mut drifts = Drifts::default();
    let mut differing = 0;
    for (path, source) in whole_library(&first) {
        let (Some(left), Some(right)) = (code(&one, source.clone()).await, code(&other, source).await) else { continue };
        differing += u64::from(left != right);
        let (left, right) = (marshal::read_code(&left).unwrap(), marshal::read_code(&right).unwrap());
        drifts.add(&path.display().to_string(), &left, &right);
    }
    let clusters = drifts.clusters();
    for cluster in &clusters {
        println!("{:>6} places, {:>4} files, {:+} instructions: {}", cluster.places, cluster.files, cluster.instructions, cluster.edit);
    }
    println!("{differing} files, {:+} instructions, {} clusters", drifts.instructions, clusters.len());
    assert!(differing > 0);
    assert_eq!(drifts.files, differing, "no file that differs is left unexplained");
    assert_eq!(clusters.iter().map(|cluster| cluster.instructions).sum::<i64>(), drifts.instructions, "the clusters add up");
    assert!(clusters.iter().all(|cluster| cluster.inserted as i64 - cluster.removed as i64 == cluster.instructions));
    assert!(clusters.len() < 20, "{} clusters", clusters.len());
}

/// All of the standard library, and what is installed into it, in order.
fn whole_library(interpreter: &Interpreter) -> Vec<(PathBuf, Bytes)> {
    let (mut files, mut folders) = (Vec::new(), vec![interpreter.stdlib.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "py") {
                files.push((path.clone(), std::fs::read(path).unwrap().into()));
            }
        }
    }
    files.sort();
    files
}

/// Code objects are matched by where they are defined: one that a side has alone shifts none of those behind it.
#[tokio::test]
async fn a_code_object_more_on_one_side_is_one_edit() {
    let pool = pool(&interpreter().await, 0, 2).await;
    let with = "class A:\n    def f(self): return 1\nclass B:\n    def g(self): return 2\n";
    let without = "class A:\n    pass\nclass B:\n    def g(self): return 2\n";
    let codes = [code(&pool, with.into()).await.unwrap(), code(&pool, without.into()).await.unwrap()];
    let [left, right] = codes.map(|bytes| marshal::read_code(&bytes).unwrap());
    for (left, right, edit) in [(&left, &right, "code object removed"), (&right, &left, "code object inserted")] {
        let mut drifts = Drifts::default();
        assert!(drifts.add("a.py", left, right));
        let clusters = drifts.clusters();
        let lone = clusters.iter().find(|cluster| cluster.edit == edit).unwrap();
        assert_eq!((lone.places, lone.example.unit.as_str()), (1, "<module>.A@1.f@2"), "{clusters:#?}");
        assert!(clusters.iter().all(|cluster| !cluster.example.unit.contains("B@3")), "{clusters:#?}");
        assert_eq!(clusters.iter().map(|cluster| cluster.instructions).sum::<i64>(), drifts.instructions, "the clusters add up");
    }
}

#[tokio::test]
async fn two_errors_that_differ_are_drift_and_equal_ones_are_none() {
    let pool = pool(&interpreter().await, 0, 2).await;
    let failed = pool.compile("x = (\n".into()).await.unwrap().outcome;
    let error = if let Outcome::Failed(error) = failed { Some(error) } else { None };
    let error: Diagnostic = error.unwrap();
    let mut drifts = Drifts::default();
    assert!(!drifts.add_errors("a.py", &error, &error) && drifts.clusters().is_empty());
    assert!(drifts.add_errors("a.py", &error, &Diagnostic { message: "other".to_owned(), ..error.clone() }));
    assert!(drifts.add_errors("b.py", &error, &Diagnostic { error_type: "IndentationError".to_owned(), ..error.clone() }));
    let edits: Vec<_> = drifts.clusters().into_iter().map(|cluster| cluster.edit).collect();
    assert_eq!(edits, ["SyntaxError replaced by IndentationError", "SyntaxError with other words or in another place"]);
    assert_eq!(drifts.files, 2);
}
