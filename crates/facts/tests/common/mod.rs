//! Real input for tests and the benchmark: files compiled by CPython 3.13.

#[cfg(test)]
#[path = "../../../bytecode/tests/oracle/python.rs"]
mod python;

/// A compiled file.
#[allow(dead_code, reason = "not every test needs it")]
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
    std::iter::from_fn(|| Some(Unit { path: String::from_utf8(part()?).ok()?, source: part()?, code: part()? })).collect()
}

/// Runs a script of this folder and returns what it wrote.
#[cfg(test)]
pub fn run_python(script: &str, args: &[&str]) -> Vec<u8> {
    let output = python::script(&python::find(), &format!("tests/common/{script}")).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The folder of the standard library of the CPython that judges.
#[cfg(test)]
pub fn standard_library_folder() -> String {
    String::from_utf8(run_python("folder.py", &[])).unwrap().trim().to_owned()
}

/// Every n-th file of that library.
#[cfg(test)]
#[allow(dead_code, reason = "not every test needs it")]
pub fn standard_library(every_nth: usize) -> Vec<Unit> {
    read_frames(&run_python("compile.py", &[&standard_library_folder(), &every_nth.to_string()]))
}
