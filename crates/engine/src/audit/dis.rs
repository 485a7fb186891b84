//! What CPython's own `dis` says of the files of a bin, against the rows that the analysis makes of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytefacts_audit::digests::{Derived, SourceFile};
use bytefacts_audit::matrix::Condition;
use bytefacts_audit::night::{Bench, Judged, NightError, Verdict, judge_dis};
use bytefacts_bytecode::{canonical, marshal};
use bytefacts_compile::{Outcome, Pool};
use bytefacts_facts::{FactError, Severity};

use super::unit::UnitError;
use crate::job::Job;
use crate::node::judge::{Case, judge};

/// Has `dis` say what it makes of each file that has code, on one worker, and gives the verdicts and the time that took. It is by the clock, as is that of
/// the analysis: a judging worker does not say what CPU it takes, and is waited for, a file at a time.
///
/// # Errors
/// When no worker can be had, or it says what nobody understands.
pub(super) async fn judged(
    name: &str,
    bench: &Bench,
    job: &Arc<Job>,
    files: &[SourceFile],
    first: &[Derived],
) -> Result<(Vec<Verdict>, Duration), UnitError> {
    let condition = Condition::default();
    let (options, limits) = (condition.options(bench.options), condition.limits(&bench.limits));
    let failed = |source| NightError::Pool { condition: name.to_owned(), source };
    let pool = Pool::start_with(&bench.interpreter, options, 1, limits, condition.worker()).await.map_err(failed)?;
    let (mut verdicts, mut took) = (Vec::with_capacity(files.len()), Duration::ZERO);
    for (file, fresh) in files.iter().zip(first) {
        let judged = match &fresh.compiled.outcome {
            Outcome::Code(stream) => match marshal::read_code(stream) {
                Ok(code) => {
                    let case = Case {
                        attrs: bench.deriver.attrs.clone(),
                        repo: file.repo.clone(),
                        path: file.path.clone(),
                        source: file.source.clone(),
                        sha256: file.sha256,
                        code: canonical::encode(&code).into(),
                    };
                    let begun = Instant::now();
                    let judgement = judge(&pool, job, case).await?;
                    took += begun.elapsed();
                    told(&judgement.errors, judgement.differences)
                }
                // The row says itself that its code is damaged.
                Err(_) => Judged::default(),
            },
            Outcome::Failed(_) => Judged::default(),
        };
        verdicts.push(judge_dis(name, file, fresh, &judged));
    }
    pool.shutdown().await;
    Ok((verdicts, took))
}

/// What the errors of a judgement tell: differences, or a warning that there is no telling.
fn told(errors: &[FactError], differences: u64) -> Judged {
    let of = |severity: Severity| {
        let error = errors.iter().find(|error| error.severity == severity)?;
        Some((error.error_type.clone(), error.message.clone()))
    };
    Judged { differences, first: of(Severity::Error), failure: of(Severity::Warning) }
}
