//! What becomes of a unit depends on the unit alone.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use bytefacts_compile::{CompileOptions, Compiled, Diagnostic, Interpreter, Limits, Outcome, Pool, WorkerSettings};
use bytes::Bytes;

use crate::{compile, interpreter, pool};

/// Every fifth file of the top level of the standard library, the same ones every time.
fn sample(interpreter: &Interpreter) -> Vec<Bytes> {
    let mut files: Vec<_> = fs::read_dir(&interpreter.stdlib)
        .unwrap()
        .chain(fs::read_dir(interpreter.stdlib.join("json")).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .collect();
    files.sort();
    let mut sources: Vec<Bytes> = files.iter().step_by(5).map(|path| fs::read(path).unwrap().into()).collect();
    sources.push("x = {1, 'a', 'b', 'c', (1, 2), None} | y\nz = w in {'q', 'r', 's', 't', 1, 2.5, b'u'}\n".into());
    sources.push("class C:\n    def f(self): self.q = self.a = self.z = 1\n".into());
    sources.push("x = (\n".into());
    sources.push("x = '\\d'\n".into());
    sources
}

async fn outcomes(pool: &Pool, sources: impl Iterator<Item = &Bytes>) -> BTreeMap<Bytes, (Outcome, Vec<Diagnostic>)> {
    let mut outcomes = BTreeMap::new();
    for source in sources {
        let Compiled { outcome, warnings, .. } = compile(pool, source.clone()).await;
        outcomes.insert(source.clone(), (outcome, warnings));
    }
    outcomes
}

#[tokio::test]
async fn the_outcome_is_the_same_whatever_was_compiled_before() {
    let sources = sample(&interpreter().await);
    let forward = outcomes(&pool(1, Limits::default()).await, sources.iter()).await;
    assert!(forward.len() > 30);
    let backward = pool(1, Limits::default()).await;
    assert!(outcomes(&backward, sources.iter().rev()).await == forward, "reverse order");
    assert!(outcomes(&backward, sources.iter()).await == forward, "a second time");
    let always_fresh = pool(1, Limits { recycle_units: 1, ..Limits::default() }).await;
    assert!(outcomes(&always_fresh, sources.iter()).await == forward, "each on its own worker");
    assert_eq!(always_fresh.stats().recycled, sources.len() as u64);
}

#[tokio::test]
async fn the_outcome_is_the_same_under_any_hash_seed() {
    let interpreter = interpreter().await;
    let sources = sample(&interpreter);
    let with = async |hash_seed| {
        let settings = WorkerSettings { hash_seed, ..WorkerSettings::default() };
        let pool = Pool::start_with(&interpreter, CompileOptions::default(), 1, Limits::default(), settings).await.unwrap();
        outcomes(&pool, sources.iter()).await
    };
    let zero = with(Some(0)).await;
    assert!(with(Some(1)).await == zero, "seed 1");
    assert!(with(Some(4_294_967_295)).await == zero, "largest seed");
    assert!(with(None).await == zero, "random seed");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_units_do_not_mix() {
    let interpreter = interpreter().await;
    let sources = sample(&interpreter);
    let expected = outcomes(&pool(1, Limits::default()).await, sources.iter()).await;
    let pool = Arc::new(pool(4, Limits { recycle_units: 7, ..Limits::default() }).await);
    let units: Vec<_> = sources
        .iter()
        .cycle()
        .take(sources.len() * 3)
        .map(|source| {
            let (pool, source) = (Arc::clone(&pool), source.clone());
            tokio::spawn(async move { (source.clone(), compile(&pool, source).await) })
        })
        .collect();
    for unit in units {
        let (source, compiled) = unit.await.unwrap();
        assert!(expected[&source] == (compiled.outcome, compiled.warnings));
    }
    let stats = pool.stats();
    assert_eq!(stats.units, sources.len() as u64 * 3);
    assert!(stats.starts > 4 && stats.recycled > 0 && stats.cpu > Duration::ZERO);
}
