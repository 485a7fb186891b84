//! How a second interpreter compiles a bin. Executors have one interpreter each, so that this is done where the audit is asked for.

use bytefacts_audit::digests::{Derived, SourceFile};
use bytefacts_audit::drift::Drifts;
use bytefacts_bytecode::marshal;
use bytefacts_compile::Outcome;
use serde::{Deserialize, Serialize};

/// How a second interpreter compiles the files of a bin.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct BinDrift {
    pub(super) compared: u64,
    pub(super) failed: u64,
    pub(super) drifts: Drifts,
    /// CPU time that is charged to it, in microseconds.
    pub(super) cpu_us: u64,
}

/// What two derivations of a bin by two interpreters differ in.
pub(super) fn drift(files: &[SourceFile], first: &[Derived], second: &[Derived]) -> BinDrift {
    let mut drift = BinDrift::default();
    for (file, (first, second)) in files.iter().zip(first.iter().zip(second)) {
        let name = file.repo.as_ref().map_or_else(|| file.path.clone(), |repo| format!("{repo}/{}", file.path));
        match (&first.compiled.outcome, &second.compiled.outcome) {
            (Outcome::Code(one), Outcome::Code(other)) => {
                drift.compared += 1;
                match (marshal::read_code(one), marshal::read_code(other)) {
                    (Ok(one), Ok(other)) => {
                        drift.drifts.add(&name, &one, &other);
                    }
                    _ => drift.failed += 1,
                }
            }
            // A limit says nothing of what the other makes of the file.
            (Outcome::Failed(one), Outcome::Failed(other)) if first.compiled.is_reproducible() && second.compiled.is_reproducible() => {
                drift.compared += 1;
                drift.drifts.add_errors(&name, one, other);
            }
            _ => drift.failed += 1,
        }
    }
    drift
}
