//! The pool against a real CPython 3.13: bad input, limits, dying workers, independence of units from each other.
#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod bad_input;
mod death;
mod independence;
mod judgement;
mod limits;
mod oracle;
mod start;
mod warnings;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bytefacts_compile::{CompileOptions, Compiled, Diagnostic, Interpreter, Limits, Outcome, Pool, discover};
use bytes::Bytes;

async fn interpreter() -> Interpreter {
    discover(None).await.expect("these tests need a CPython 3.13")
}

async fn pool(workers: usize, limits: Limits) -> Pool {
    Pool::start(&interpreter().await, CompileOptions::default(), workers, limits).await.unwrap()
}

async fn compile(pool: &Pool, source: impl Into<Bytes>) -> Compiled {
    pool.compile(source.into()).await.unwrap()
}

/// Compiles `source` by itself and expects code.
async fn code(source: impl Into<Bytes>) -> Bytes {
    code_of(&compile(&pool(1, Limits::default()).await, source).await).clone()
}

/// Compiles `source` by itself and expects a failure.
async fn failure(source: impl Into<Bytes>) -> Diagnostic {
    failure_of(&compile(&pool(1, Limits::default()).await, source).await).clone()
}

fn code_of(compiled: &Compiled) -> &Bytes {
    match &compiled.outcome {
        Outcome::Code(code) => code,
        Outcome::Failed(failure) => panic!("no code: {failure:?}"),
    }
}

fn failure_of(compiled: &Compiled) -> &Diagnostic {
    match &compiled.outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Code(_) => panic!("it compiled"),
    }
}

/// `stage error_type message @line1:col-end_line1:end_col`
fn line(d: &Diagnostic) -> String {
    let n = |n: Option<i32>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
    format!("{} {} {} @{}:{}-{}:{}", d.stage, d.error_type, d.message, n(d.line1), n(d.col), n(d.end_line1), n(d.end_col))
}

/// Nested `finally` blocks: every level doubles the code.
fn exploding(levels: usize) -> String {
    let mut source: String =
        (0..levels).map(|level| format!("{0}try:\n{0} a()\n{0}finally:\n", " ".repeat(level))).collect::<Vec<_>>().concat();
    source.push_str(&format!("{}b()\n", " ".repeat(levels)));
    source
}

/// Compiles for `tenths` of a second or longer, in little memory: every lambda costs a copy of a set of 30,000 names.
fn slow(tenths: usize) -> String {
    let names: String = (0..30_000).map(|n| format!(" a{n} = 0\n")).collect();
    format!("def f():\n{names}{}", " lambda: 0\n".repeat(100 * tenths))
}

/// A script at `path` that does `first` and then becomes the real interpreter.
fn wrapper(path: &Path, first: &str, interpreter: &Interpreter) -> Interpreter {
    fs::write(path, format!("#!/bin/sh\n{first}\nexec '{}' \"$@\"\n", interpreter.executable.display())).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    Interpreter { executable: path.to_owned(), ..interpreter.clone() }
}
