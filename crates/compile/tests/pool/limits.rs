//! Units that want too much.

use std::time::Duration;

use bytefacts_compile::{CompileOptions, Limits, MEMORY_LIMIT, Outcome, Pool, SIZE_LIMIT, TIME_LIMIT};

use crate::{code, code_of, compile, exploding, failure_of, interpreter, line, pool, slow, wrapper};

#[tokio::test]
async fn cpu_time_ends_a_unit_inside_c_code_and_the_next_one_is_fine() {
    let limits = Limits { unit_cpu: Duration::from_millis(300), ..Limits::default() };
    let pool = pool(1, limits).await;
    let compiled = compile(&pool, slow(50)).await;
    assert_eq!(line(failure_of(&compiled)), "compile TimeLimit more than 300ms of CPU time @?:?-?:?");
    assert_eq!((compiled.cpu, compiled.is_reproducible()), (Duration::from_millis(300), false));
    code_of(&compile(&pool, "x = 1").await);
    let stats = pool.stats();
    assert_eq!((stats.units, stats.starts, stats.timeouts, stats.crashes), (2, 2, 1, 0));
}

#[tokio::test]
async fn cpu_time_of_earlier_units_does_not_count() {
    let source = "f(a, b)[c] = d\n".repeat(4_000);
    // Several times what one takes, however slow this machine is.
    let one = compile(&pool(1, Limits::default()).await, source.clone()).await.cpu;
    let limits = Limits { unit_cpu: (one * 5).max(Duration::from_millis(600)), ..Limits::default() };
    let pool = pool(1, limits.clone()).await;
    let mut cpu = Duration::ZERO;
    while cpu < limits.unit_cpu * 5 / 2 {
        let compiled = compile(&pool, source.clone()).await;
        code_of(&compiled);
        cpu += compiled.cpu;
    }
    assert_eq!(pool.stats().timeouts, 0);
}

#[tokio::test]
async fn exploding_finally_ends_at_the_memory_limit() {
    let limits = Limits { memory_bytes: 400 << 20, ..Limits::default() };
    let pool = pool(1, limits).await;
    code_of(&compile(&pool, exploding(10)).await);
    let compiled = compile(&pool, exploding(18)).await;
    assert_eq!(line(failure_of(&compiled)), format!("compile MemoryLimit more than {} bytes of memory @?:?-?:?", 400 << 20));
    assert_eq!((failure_of(&compiled).error_type.as_str(), compiled.is_reproducible()), (MEMORY_LIMIT, false));
    code_of(&compile(&pool, "x = 1").await);
}

#[tokio::test]
async fn exploding_finally_ends_at_the_time_limit() {
    let limits = Limits { unit_cpu: Duration::from_millis(500), memory_bytes: 8 << 30, ..Limits::default() };
    let compiled = compile(&pool(1, limits).await, exploding(20)).await;
    assert_eq!(failure_of(&compiled).error_type, TIME_LIMIT);
}

#[tokio::test]
async fn memory_used_by_earlier_units_does_not_count() {
    let big = format!("x = '{}'", "a".repeat(20_000_000));
    let limits = |memory_bytes| Limits { memory_bytes, recycle_bytes: u64::MAX, ..Limits::default() };
    let mut needed = 130 << 20;
    loop {
        let compiled = compile(&pool(1, limits(needed)).await, big.clone()).await;
        match &compiled.outcome {
            Outcome::Code(_) => break,
            Outcome::Failed(failure) => assert_eq!(failure.error_type, MEMORY_LIMIT),
        }
        needed += 16 << 20;
    }
    let pool = pool(1, limits(needed)).await;
    for _ in 0..3 {
        code_of(&compile(&pool, "f(a, b)[c] = d\n".repeat(20_000)).await);
        code_of(&compile(&pool, big.clone()).await);
    }
}

#[tokio::test]
async fn source_and_code_have_a_largest_size() {
    let limits = Limits { source_bytes: 1_000, code_bytes: 2_000, ..Limits::default() };
    let pool = pool(1, limits).await;
    code_of(&compile(&pool, " ".repeat(1_000)).await);
    let large = compile(&pool, " ".repeat(1_001)).await;
    assert_eq!(line(failure_of(&large)), "read SizeLimit the source has 1001 bytes, more than the limit of 1000 @?:?-?:?");
    let swelling = compile(&pool, exploding(8)).await;
    assert_eq!((failure_of(&swelling).stage.as_str(), failure_of(&swelling).error_type.as_str()), ("marshal", SIZE_LIMIT));
    assert_eq!(pool.stats().starts, 1);
}

#[tokio::test]
async fn deep_sources_need_no_generous_host() {
    // Under a stack limit of 256 KiB the main thread of CPython dies of such an expression.
    let terms = vec!["a"; 9_900].join("+");
    let folder = tempfile::tempdir().unwrap();
    let narrow = wrapper(&folder.path().join("python3.13"), "ulimit -s 256", &interpreter().await);
    let pool = Pool::start(&narrow, CompileOptions::default(), 1, Limits::default()).await.unwrap();
    assert_eq!(code_of(&compile(&pool, terms.clone()).await), &code(terms).await);
}
