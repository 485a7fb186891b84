//! Compiled files as `compile.py` writes them, for tests and benchmarks, and the attributes of the run that their rows are of.

use bytefacts_facts::RunAttrs;

/// A compiled file.
#[allow(dead_code, reason = "not every user needs all of it")]
pub struct Unit {
    /// Path below the folder.
    pub path: String,
    /// Source bytes.
    pub source: Vec<u8>,
    /// Marshalled code; empty if it does not compile.
    pub code: Vec<u8>,
}

/// Reads the frames that `compile.py` writes, up to the first that is cut short.
pub fn read_frames(mut frames: &[u8]) -> Vec<Unit> {
    let mut part = || {
        let (len, rest) = frames.split_first_chunk::<8>()?;
        let (part, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        frames = rest;
        Some(part.to_vec())
    };
    std::iter::from_fn(|| Some(Unit { path: String::from_utf8_lossy(&part()?).into_owned(), source: part()?, code: part()? })).collect()
}

/// The attributes of rows that were compiled by `compile.py`.
#[allow(dead_code, reason = "not every user builds rows")]
pub fn attrs(include_cfg: bool) -> RunAttrs {
    RunAttrs {
        python_version: "3.13.0".into(),
        python_magic: "f30d0d0a".into(),
        python_implementation: "cpython".into(),
        optimize: 0,
        dont_inherit: true,
        adaptive: false,
        include_cfg,
        analyzer_version: "test".into(),
    }
}
