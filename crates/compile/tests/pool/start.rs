//! Starting workers, and what they start with.

use std::fs;

use bytefacts_compile::{CompileOptions, Interpreter, Limits, Pool, PoolError};

use crate::{code, code_of, compile, interpreter, pool, wrapper};

#[tokio::test]
async fn an_executable_that_is_gone_is_an_error_after_some_patience() {
    let gone = Interpreter { executable: "/no/such/python3.13".into(), ..interpreter().await };
    let error = Pool::start(&gone, CompileOptions::default(), 1, Limits::default()).await.unwrap_err().to_string();
    assert!(error.starts_with("no CPython worker could be started after 5 attempts: cannot run /no/such/python3.13"), "{error}");
}

#[tokio::test]
async fn an_interpreter_that_changed_since_the_probe_is_refused_at_once() {
    let changed = Interpreter { version: "3.13.99".into(), ..interpreter().await };
    let error = Pool::start(&changed, CompileOptions::default(), 1, Limits::default()).await.unwrap_err().to_string();
    assert!(error.contains("after 1 attempts") && error.contains("expected") | error.contains("probed as 3.13.99"), "{error}");
}

#[tokio::test]
async fn the_optimisation_level_is_obeyed() {
    let asserting = "'doc'\nassert x\n";
    let mut codes = Vec::new();
    for optimize in 0..=2 {
        let options = CompileOptions { optimize, ..CompileOptions::default() };
        let pool = Pool::start(&interpreter().await, options, 1, Limits::default()).await.unwrap();
        codes.push(code_of(&compile(&pool, asserting).await).clone());
    }
    let has = |code: &[u8], part: &[u8]| code.windows(part.len()).any(|window| window == part);
    assert_eq!([0, 1, 2].map(|n: usize| has(&codes[n], b"doc")), [true, true, false]);
    assert!(codes[0].len() > codes[1].len() && codes[1].len() > codes[2].len());
    assert_eq!(codes[0], code(asserting).await);
    let options = CompileOptions { optimize: 3, ..CompileOptions::default() };
    let error = Pool::start(&interpreter().await, options, 1, Limits::default()).await.unwrap_err();
    assert!(matches!(error, PoolError::Optimize(3)), "{error}");
}

#[tokio::test]
async fn workers_see_nothing_of_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    let curious = wrapper(&folder.path().join("python3.13"), &format!("export -p > '{}'", seen.display()), &interpreter().await);
    let pool = Pool::start(&curious, CompileOptions::default(), 1, Limits::default()).await.unwrap();
    code_of(&compile(&pool, "x = 1").await);
    let seen = fs::read_to_string(seen).unwrap();
    let names: Vec<_> = seen
        .lines()
        .filter_map(|line| line.split(['=', ' ']).find(|word| *word != "export" && *word != "declare" && *word != "-x"))
        .collect();
    let of_the_shell = ["PWD", "OLDPWD", "SHLVL", "_"];
    let ours: Vec<_> = names.into_iter().filter(|name| !of_the_shell.contains(name)).collect();
    assert_eq!(ours, ["LC_ALL", "MALLOC_ARENA_MAX", "PYTHONHASHSEED"], "{seen}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn workers_are_confined() {
    let limits = Limits { memory_bytes: (3 << 30) + 4_711, ..Limits::default() };
    let pool = pool(1, limits.clone()).await;
    code_of(&compile(&pool, "x = 1").await);
    let [worker] = crate::death::workers(&limits)[..] else { panic!("not one worker") };
    let actual = fs::read_to_string(format!("/proc/{worker}/limits")).unwrap();
    for (name, value) in [("Max core file size", 0), ("Max file size", 0), ("Max open files", 32), ("Max address space", (3 << 30) + 4_711)]
    {
        let line = actual.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let value = u64::to_string(&value);
        assert_eq!(line.split_whitespace().take(2).collect::<Vec<_>>(), [&value, &value], "{name}");
    }
}
