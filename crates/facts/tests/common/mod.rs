//! Real input for tests: files compiled by CPython 3.13.

mod frames;
#[cfg(test)]
#[path = "../../../bytecode/tests/oracle/python.rs"]
mod python;

#[allow(unused_imports, reason = "not every test needs all of it")]
pub use frames::{Unit, attrs, read_frames};

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
