//! The audit's core against real interpreters: pools of workers, `compileall`, faults that a test puts into them.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod canonical;
mod faults;
mod pyc;
mod second;
mod slots;

use std::fs;
use std::path::{Path, PathBuf};

use bytefacts_audit::digests::{Deriver, SourceFile};
use bytefacts_audit::night::Bench;
use bytefacts_compile::{CompileOptions, Interpreter, Limits, Outcome, Pool, WorkerSettings, discover};
use bytefacts_facts::{Options, RunAttrs};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

async fn interpreter() -> Interpreter {
    discover(None).await.expect("these tests need a CPython 3.13")
}

fn bench(interpreter: Interpreter) -> Bench {
    let attrs = RunAttrs {
        python_version: interpreter.version.clone(),
        python_magic: interpreter.magic.clone(),
        python_implementation: interpreter.implementation.clone(),
        optimize: 0,
        dont_inherit: true,
        adaptive: false,
        include_cfg: true,
        analyzer_version: "test".to_owned(),
    };
    Bench {
        interpreter,
        others: Vec::new(),
        options: CompileOptions::default(),
        limits: Limits::default(),
        deriver: Deriver { attrs, options: Options::default() },
    }
}

fn file(path: &str, source: impl Into<Bytes>) -> SourceFile {
    let source = source.into();
    SourceFile { repo: None, path: path.to_owned(), sha256: Sha256::digest(&source).into(), source }
}

/// The sources at the top level of the standard library and of some packages in it, in order.
fn library(interpreter: &Interpreter) -> Vec<(PathBuf, Bytes)> {
    let mut files = Vec::new();
    for folder in ["", "json", "email", "asyncio", "unittest", "encodings"] {
        for entry in fs::read_dir(interpreter.stdlib.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "py") {
                files.push((path.clone(), fs::read(path).unwrap().into()));
            }
        }
    }
    files.sort();
    files
}

/// A pool whose workers marshal in `version`.
async fn pool(interpreter: &Interpreter, optimize: u8, version: u8) -> Pool {
    let options = CompileOptions { optimize, ..CompileOptions::default() };
    let settings = WorkerSettings { marshal_version: version, ..WorkerSettings::default() };
    Pool::start_with(interpreter, options, 1, Limits::default(), settings).await.unwrap()
}

async fn code(pool: &Pool, source: Bytes) -> Option<Bytes> {
    match pool.compile(source).await.unwrap().outcome {
        Outcome::Code(code) => Some(code),
        Outcome::Failed(_) => None,
    }
}

fn executable(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
