//! Another build of CPython 3.13, if BYTEFACTS_SECOND_PYTHON names one.

use std::path::PathBuf;

use bytefacts_audit::drift::Drifts;
use bytefacts_bytecode::marshal;
use bytefacts_compile::{Environment, probe};

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
    for (path, source) in library(&first) {
        let (Some(left), Some(right)) = (code(&one, source.clone()).await, code(&other, source).await) else { continue };
        differing += u64::from(left != right);
        let (left, right) = (marshal::read_code(&left).unwrap(), marshal::read_code(&right).unwrap());
        drifts.add(&path.display().to_string(), &left, &right);
    }
    let clusters = drifts.clusters();
    for cluster in &clusters {
        println!("{:>6} places, {:>4} files, {:+} instructions: {}", cluster.places, cluster.files, cluster.instructions, cluster.edit);
    }
    assert!(differing > 0);
    assert_eq!(drifts.files, differing, "no file that differs is left unexplained");
    assert_eq!(clusters.iter().map(|cluster| cluster.instructions).sum::<i64>(), drifts.instructions, "the clusters add up");
    assert!(clusters.len() < 20, "{} clusters", clusters.len());
}
