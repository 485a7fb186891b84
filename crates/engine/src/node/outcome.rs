//! Compiled files as cache entries.
//!
//! What is cached is the compiler's outcome, not the facts: no version of the analysis invalidates it, and the key holds no path, so that copies of
//! a file cost one compile. A warm run still analyses and lands every file.

use std::time::Duration;

use bytefacts_compile::{Compiled, Diagnostic, Outcome, WORKER_SCRIPT};
use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::job::{InterpreterId, Job};

/// Everything beside the marshalled code. It stands as JSON, behind its length, before the code.
#[derive(Serialize, Deserialize)]
struct Head {
    failure: Option<Diagnostic>,
    warnings: Vec<Diagnostic>,
    cpu_us: u64,
}

/// What an outcome depends on beside the source, as bytes. The version changes with the form of an entry; another script of the worker words and
/// places errors otherwise, so it stands in the key itself.
pub(crate) fn key_prefix(job: &Job, i: &InterpreterId) -> Vec<u8> {
    let o = &job.options;
    let script = hex::encode(Sha256::digest(WORKER_SCRIPT));
    format!(
        "outcome 2\n{script}\n{} {} {}\noptimize={} dont_inherit={}\n",
        i.implementation, i.version, i.magic, o.optimize, o.dont_inherit
    )
    .into_bytes()
}

/// The cache key of a source.
pub(crate) fn key(prefix: &[u8], sha256: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(prefix).chain_update(sha256).finalize().into()
}

/// A cache entry.
///
/// # Errors
/// Never for what a worker gives; the encoder's signature says otherwise.
pub(crate) fn encode(compiled: &Compiled) -> Result<Bytes, serde_json::Error> {
    let (failure, code) = match &compiled.outcome {
        Outcome::Code(code) => (None, Some(code)),
        Outcome::Failed(failure) => (Some(failure.clone()), None),
    };
    let cpu_us = u64::try_from(compiled.cpu.as_micros()).unwrap_or(u64::MAX);
    let head = serde_json::to_vec(&Head { failure, warnings: compiled.warnings.clone(), cpu_us })?;
    let mut entry = BytesMut::with_capacity(8 + head.len() + code.map_or(0, Bytes::len));
    entry.put_u64(head.len() as u64);
    entry.put_slice(&head);
    if let Some(code) = code {
        entry.put_slice(code);
    }
    Ok(entry.freeze())
}

/// The outcome in a cache entry; what does not parse is a miss.
pub(crate) fn decode(entry: &Bytes) -> Option<Compiled> {
    let length = usize::try_from(u64::from_be_bytes(*entry.first_chunk::<8>()?)).ok()?;
    let body = 8usize.checked_add(length)?;
    let head: Head = serde_json::from_slice(entry.get(8..body)?).ok()?;
    let outcome = match head.failure {
        Some(failure) => Outcome::Failed(failure),
        None => Outcome::Code(entry.slice(body..)),
    };
    Some(Compiled { outcome, warnings: head.warnings, cpu: Duration::from_micros(head.cpu_us) })
}

#[cfg(test)]
mod tests {
    use bytefacts_compile::Severity;

    use super::*;

    fn warning() -> Diagnostic {
        Diagnostic {
            stage: "compile".to_owned(),
            severity: Severity::Warning,
            error_type: "SyntaxWarning".to_owned(),
            message: "invalid escape sequence '\\d'".to_owned(),
            line1: Some(1),
            col: None,
            end_line1: None,
            end_col: None,
            source_line: None,
        }
    }

    #[test]
    fn an_entry_gives_back_code_failures_and_warnings() {
        let cpu = Duration::from_micros(12);
        for outcome in [Outcome::Code(Bytes::from_static(b"c\0\0")), Outcome::Code(Bytes::new()), Outcome::Failed(warning())] {
            let compiled = Compiled { outcome, warnings: vec![warning()], cpu };
            assert_eq!(decode(&encode(&compiled).unwrap()), Some(compiled));
        }
    }

    #[test]
    fn what_is_no_entry_is_a_miss() {
        let good = encode(&Compiled { outcome: Outcome::Failed(warning()), warnings: Vec::new(), cpu: Duration::ZERO }).unwrap();
        for bad in [&b""[..], b"\0\0\0\0\0\0\0\x02{", b"\xff\xff\xff\xff\xff\xff\xff\xff{}", &good[..good.len() / 2]] {
            assert_eq!(decode(&Bytes::copy_from_slice(bad)), None);
        }
    }
}
