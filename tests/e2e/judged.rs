//! `--oracle`: what CPython's `dis` says is compared with every row of the sample, and changes nothing else.

use bytefacts_cache::{Cache, CacheOptions};
use bytefacts_engine::{ExtractOptions, SampleRate};
use bytefacts_landing::Manifest;
use serde_json::Value;

use crate::support::{Shape, bytefacts, extract, folder, python, query_text, run, small_corpus, with_patched_dis, write_files};

/// Files of [`small_corpus`] that compile.
const COMPILED: u64 = 37;

/// A judge that has another name for one instruction: of the twelve modules of each repository, each has it once.
pub const WRONG_NAME: &str = "_all_opname[opmap['GET_ITER']] = 'GET_IT'";

fn judging(rate: f64) -> Shape {
    Shape { options: ExtractOptions { oracle: SampleRate::try_from(rate).unwrap(), ..ExtractOptions::default() }, ..Shape::default() }
}

fn found(manifest: &Manifest) -> (u64, u64) {
    (manifest.run.stats.oracle_files, manifest.run.stats.oracle_differences)
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_rows_have_no_difference_and_are_the_same_rows() {
    let (corpus, plain, judged) = (small_corpus(), folder(), folder());
    let without = extract(corpus.path(), plain.path(), &Shape::default()).await;
    let with = extract(corpus.path(), judged.path(), &judging(1.0)).await;
    assert_eq!((found(&without), found(&with)), ((0, 0), (COMPILED, 0)));
    assert_eq!(with.run.digest, without.run.digest);
    let rows = "SELECT * FROM bytecode_files_v1 ORDER BY repo NULLS FIRST, path";
    assert!(query_text(judged.path(), rows).await == query_text(plain.path(), rows).await, "rows differ");
    assert_eq!(with.run.options["oracle"], 1.0);
}

/// The sample is what the content says, whatever the cluster.
#[tokio::test(flavor = "multi_thread")]
async fn the_sample_depends_on_content_and_rate_alone() {
    let corpus = small_corpus();
    let rate = SampleRate::try_from(0.4).unwrap();
    let mut judged = Vec::new();
    for shape in [judging(0.4), Shape { executors: 1, bins: 1, hash_seed: None, ..judging(0.4) }] {
        let facts = folder();
        judged.push(found(&extract(corpus.path(), facts.path(), &shape).await));
        let compiled = "SELECT file_sha256 FROM bytecode_files_v1 WHERE cardinality(code_objects) > 0";
        let in_sample = query_text(facts.path(), compiled).await.into_iter().filter(|row| {
            let sha256: [u8; 32] = hex::decode(&row[0]).unwrap().try_into().unwrap();
            rate.takes(&sha256)
        });
        judged.push((in_sample.count() as u64, 0));
    }
    assert!(judged.iter().all(|each| *each == judged[0]), "{judged:?}");
    assert!((1..COMPILED).contains(&judged[0].0), "{judged:?}");
}

/// What the cache holds is judged too.
#[tokio::test(flavor = "multi_thread")]
async fn a_warm_cache_does_not_answer_for_the_oracle() {
    let (corpus, units) = (small_corpus(), folder());
    let options = CacheOptions { folder: Some(units.path().to_owned()), memory_bytes: 1 << 20, disk_bytes: 1 << 30 };
    let cache = || Some(std::sync::Arc::new(Cache::open(&options)));
    let (cold, warm) = (folder(), folder());
    extract(corpus.path(), cold.path(), &Shape { cache: cache(), ..Shape::default() }).await;
    let manifest = extract(corpus.path(), warm.path(), &Shape { cache: cache(), ..judging(1.0) }).await;
    assert_eq!(manifest.run.stats.cache_hits, COMPILED + 1);
    assert_eq!(found(&manifest), (COMPILED, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_is_an_error_row_of_its_file_and_changes_no_digest() {
    let (corpus, plain, judged, tools) = (small_corpus(), folder(), folder(), folder());
    let without = extract(corpus.path(), plain.path(), &Shape::default()).await;
    let python = with_patched_dis(&python().await, tools.path(), WRONG_NAME);
    let with = extract(corpus.path(), judged.path(), &Shape { python: Some(python), ..judging(1.0) }).await;
    assert_eq!(found(&with), (COMPILED, 36));
    assert_eq!(with.run.digest, without.run.digest);

    let rows = query_text(
        judged.path(),
        "SELECT DISTINCT e.error_type, e.message, e.severity, u.co_qualname, i.opname
         FROM bytecode_errors e
         JOIN py_bc_code_units u USING (code_unit_id)
         JOIN py_bc_error_attrs a ON a.file_id = e.file_id AND a.attr_key = 'offset'
         JOIN py_bc_instructions i ON i.code_unit_id = e.code_unit_id AND CAST(i.\"offset\" AS VARCHAR) = a.attr_value
         WHERE e.stage = 'oracle' AND u.path = 'pkg1/m1.py'",
    )
    .await;
    let message = r#"ours "GET_ITER", CPython "GET_IT""#;
    assert_eq!(rows, [["instructions.opname", message, "error", "C1.m", "GET_ITER"]]);

    let but_errors = "SELECT * EXCEPT (errors) FROM bytecode_files_v1 ORDER BY repo NULLS FIRST, path";
    assert!(query_text(judged.path(), but_errors).await == query_text(plain.path(), but_errors).await, "the oracle changed a column");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_ends_with_findings_and_the_run_is_committed() {
    let (corpus, facts, cache, tools) = (folder(), folder(), folder(), folder());
    write_files(corpus.path(), &[("a/m.py", b"for i in a: print(i)\n"), ("a/n.py", b"x = 1\n")]);
    let python = with_patched_dis(&python().await, tools.path(), WRONG_NAME);
    let paths = [corpus.path(), facts.path(), &python.executable].map(|path| path.display().to_string());
    let arguments = |id, rate| ["extract", &paths[0], "--out", &paths[1], "--python", &paths[2], "--run-id", id, "--oracle", rate];

    let (code, text, stderr) = run(bytefacts(cache.path(), &arguments("judged", "1")).await);
    assert_eq!(code, 3, "{stderr}");
    assert!(text.contains("oracle        2 files checked, 1 difference\n"), "{text}");
    assert!(text.contains("1 × instructions.opname (error, stage oracle)"), "{text}");
    assert_eq!(query_text(facts.path(), "SELECT count(*) FROM bytecode_files_v1").await, [["2"]]);

    let (code, json, stderr) = run(bytefacts(cache.path(), &[&arguments("plain", "0")[..], &["--format", "json"]].concat()).await);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["oracle"], Value::Null);
}

/// Who asked for a judgement is told that there is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_judge_that_fails_is_a_warning_in_the_row_and_a_finding() {
    let (corpus, facts, cache, tools) = (folder(), folder(), folder(), folder());
    write_files(corpus.path(), &[("a/m.py", b"x = 1\n"), ("a/broken.py", b"x =\n")]);
    let patch = "def findlinestarts(code):\n    raise LookupError('no lines today')";
    let python = with_patched_dis(&python().await, tools.path(), patch);
    let paths = [corpus.path(), facts.path(), &python.executable].map(|path| path.display().to_string());
    let line = ["extract", &paths[0], "--out", &paths[1], "--python", &paths[2], "--oracle", "1", "--format", "json"];
    let (code, json, stderr) = run(bytefacts(cache.path(), &line).await);
    assert_eq!(code, 3, "{stderr}");
    let summary: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(summary["oracle"], serde_json::json!({ "files": 0, "differences": 0, "not_judged": 1 }));
    let rows = query_text(facts.path(), "SELECT path, error_type, message, severity FROM bytecode_errors WHERE stage = 'oracle'").await;
    assert_eq!(rows, [["m.py", "LookupError", "not judged: no lines today", "warning"]]);
}

/// The row says itself that its facts are too many; there is nothing to be judged, and nothing found.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_facts_is_no_finding_of_the_oracle() {
    let (corpus, facts, cache) = (folder(), folder(), folder());
    let folded: String = (0..8).map(|n| format!("x{n} = ((b'\\x8{n}' * 4096,) * 255,) * 4\n")).collect();
    write_files(corpus.path(), &[("a/m.py", b"x = 1\n"), ("a/folded.py", folded.as_bytes())]);
    let paths = [corpus.path(), facts.path()].map(|path| path.display().to_string());
    let line = ["extract", &paths[0], "--out", &paths[1], "--oracle", "1", "--format", "json"];
    let (code, json, stderr) = run(bytefacts(cache.path(), &line).await);
    assert_eq!(code, 0, "{stderr}");
    let summary: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(summary["oracle"], serde_json::json!({ "files": 1, "differences": 0, "not_judged": 0 }));
    let rows = query_text(facts.path(), "SELECT path, error_type, message, stage FROM bytecode_errors").await;
    let message = "facts of more than 536870912 bytes, the most that one file may have";
    assert_eq!(rows, [["folded.py", "FactsTooLarge", message, "disassembly"]]);
}

/// CPython's own tests of its compiler, the hardest sources that there are.
#[tokio::test(flavor = "multi_thread")]
async fn cpythons_hard_cases_have_no_difference() {
    const NAMES: [&str; 9] = [
        "test_dis",
        "test_code",
        "test_compile",
        "test_peepholer",
        "test_patma",
        "test_generators",
        "test_coroutines",
        "test_except_star",
        "test_type_params",
    ];
    let (python, corpus, facts) = (python().await, folder(), folder());
    let mut copied = 0;
    for name in NAMES {
        match std::fs::read(python.stdlib.join(format!("test/{name}.py"))) {
            Ok(source) => {
                write_files(corpus.path(), &[(&format!("cpython/{name}.py"), &source)]);
                copied += 1;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => println!("skipped: this CPython has no test/{name}.py"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    if copied == 0 {
        return;
    }
    for optimize in [0, 2] {
        let facts = facts.path().join(optimize.to_string());
        let options = ExtractOptions { optimize, ..judging(1.0).options };
        let manifest = extract(corpus.path(), &facts, &Shape { options, ..Shape::default() }).await;
        let errors = query_text(&facts, "SELECT path, error_type, message FROM bytecode_errors WHERE severity = 'error'").await;
        assert_eq!((found(&manifest), errors), ((copied, 0), Vec::<Vec<String>>::new()));
        println!("{copied} files, {} units, {} instructions: no difference", manifest.run.stats.units, manifest.run.stats.instructions);
    }
}
