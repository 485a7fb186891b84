//! The options of an extraction: what each does, and that the run's manifest records it.

use bytefacts_engine::ExtractOptions;
use serde_json::{Value, json};

use crate::support::{Shape, bytefacts, extract, folder, query_text, run, small_corpus, store, write_files};

const SOURCE: &[u8] = b"def f(x):\n    'doc'\n    assert x\n    return [y for y in x]\n";

/// Runs with options; what the manifest records of them, the query's answer, the number of bins and the digest.
async fn with(options: ExtractOptions, sql: &str) -> (Value, Vec<Vec<String>>, u32, String) {
    let (corpus, facts) = (folder(), folder());
    for i in 0..9 {
        write_files(corpus.path(), &[(&format!("r/m{i}.py"), SOURCE)]);
    }
    let manifest = extract(corpus.path(), facts.path(), &Shape { bins: 3, options, ..Shape::default() }).await;
    (manifest.run.options, query_text(facts.path(), sql).await, manifest.run.bins, manifest.run.digest)
}

fn default() -> ExtractOptions {
    ExtractOptions::default()
}

fn attr(key: &str) -> String {
    format!("SELECT DISTINCT map_extract(attrs, '{key}')[1] FROM bytecode_files_v1")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_option_is_recorded() {
    let (recorded, ..) = with(default(), "SELECT 1").await;
    let expected = json!({
        "optimize": 0, "dont_inherit": true, "adaptive": false, "include_cfg_derivations": true, "oracle": 0.0,
        "terminator_opnames": ["RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE"],
        "parallel_min_files": 8, "parallel_max_bytes": 64 << 20, "memory_budget_bytes": 256 << 20, "comparable": true,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(recorded.get(key), Some(value), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn optimize_drops_asserts_and_docstrings() {
    let asserts = "SELECT count(*) FROM py_bc_instructions WHERE opname = 'LOAD_ASSERTION_ERROR'";
    assert_eq!(with(default(), asserts).await.1, [["9"]]);
    assert_eq!(with(ExtractOptions { optimize: 1, ..default() }, asserts).await.1, [["0"]]);
    let docs = "SELECT count(*) FROM py_bc_consts WHERE const_repr = '''doc'''";
    let (recorded, rows, ..) = with(ExtractOptions { optimize: 2, ..default() }, docs).await;
    assert_eq!((&recorded["optimize"], rows), (&json!(2), vec![vec!["0".to_owned()]]));
}

/// The workers have no future flags, so that the attribute is all that changes; the facts stay the same.
#[tokio::test(flavor = "multi_thread")]
async fn dont_inherit_changes_the_record_alone() {
    let (recorded, rows, _, digest) = with(ExtractOptions { dont_inherit: false, ..default() }, &attr("dont_inherit")).await;
    assert_eq!((&recorded["dont_inherit"], rows), (&json!(false), vec![vec!["False".to_owned()]]));
    assert_eq!(with(default(), "SELECT 1").await.3, digest);
}

/// Judged by `dis.get_instructions(adaptive=True)`: code that never ran has the same instructions.
#[tokio::test(flavor = "multi_thread")]
async fn adaptive_runs_have_the_same_instructions_and_say_that_they_are_not_comparable() {
    let options = ExtractOptions { adaptive: true, oracle: 1.0.try_into().unwrap(), ..default() };
    let (recorded, rows, _, digest) = with(options, &attr("adaptive")).await;
    assert_eq!((&recorded["adaptive"], &recorded["comparable"], rows), (&json!(true), &json!(false), vec![vec!["True".to_owned()]]));
    assert_eq!(with(default(), "SELECT 1").await.3, digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_derivations_there_are_no_blocks() {
    let blocks = "SELECT count(*) > 0 FROM py_bc_blocks";
    assert_eq!(with(default(), blocks).await.1, [["true"]]);
    let (recorded, rows, ..) = with(ExtractOptions { include_cfg_derivations: false, ..default() }, blocks).await;
    assert_eq!((&recorded["include_cfg_derivations"], rows), (&json!(false), vec![vec!["false".to_owned()]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn terminators_decide_where_blocks_end() {
    let blocks = "SELECT count(*) FROM py_bc_blocks WHERE is_exit";
    let all = with(default(), blocks).await.1;
    let (recorded, fewer, ..) = with(ExtractOptions { terminator_opnames: vec!["RERAISE".to_owned()], ..default() }, blocks).await;
    assert_eq!(recorded["terminator_opnames"], json!(["RERAISE"]));
    assert_ne!(all, fewer);
}

#[tokio::test(flavor = "multi_thread")]
async fn few_files_are_one_bin() {
    let (recorded, _, bins, digest) = with(ExtractOptions { parallel_min_files: 10, ..default() }, "SELECT 1").await;
    assert_eq!((&recorded["parallel_min_files"], bins), (&json!(10), 1));
    let (_, _, bins, as_many) = with(ExtractOptions { parallel_min_files: 9, ..default() }, "SELECT 1").await;
    assert_eq!((bins, as_many), (3, digest));
}

/// `extract` of the tests checks that workers never hold more at a time; here is room for one file only, and for none.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_at_a_time_are_bounded_and_no_file_is_refused() {
    let digest = with(default(), "SELECT 1").await.3;
    let options = ExtractOptions { parallel_max_bytes: 4096, memory_budget_bytes: 1, ..default() };
    let (recorded, rows, _, bounded) = with(options, "SELECT count(*) FROM bytecode_files_v1").await;
    assert_eq!((&recorded["parallel_max_bytes"], &recorded["memory_budget_bytes"]), (&json!(4096), &json!(1)));
    assert_eq!((rows, bounded), (vec![vec!["9".to_owned()]], digest));
}

/// From the command line and the settings file to the manifest and the summary.
#[tokio::test(flavor = "multi_thread")]
async fn the_binary_passes_options_on() {
    let (corpus, facts, cache) = (folder(), folder(), folder());
    write_files(
        corpus.path(),
        &[("a/m.py", SOURCE), ("settings.yaml", b"extract: {optimize: 1, parallel_min_files: 3, adaptive: true}\n")],
    );
    let [source, out, settings] = [corpus.path(), facts.path(), &corpus.path().join("settings.yaml")].map(|p| p.display().to_string());
    let line =
        ["extract", &source, "--out", &out, "--config", &settings, "--optimize", "2", "--parallel-max-bytes", "5000", "--oracle", "1"];
    let (code, text, stderr) = run(bytefacts(cache.path(), &line).await);
    assert_eq!(code, 0, "{stderr}");
    assert!(text.contains("(not comparable: adaptive instructions)"), "{text}");
    let recorded = &store(facts.path()).runs().await.unwrap()[0].options;
    let values = ["optimize", "parallel_min_files", "adaptive", "comparable", "parallel_max_bytes", "oracle"].map(|key| &recorded[key]);
    assert_eq!(values, [&json!(2), &json!(3), &json!(true), &json!(false), &json!(5000), &json!(1.0)]);
}

/// Files that are read only to see whether a bin can be taken over count against the memory budget like all others.
#[tokio::test(flavor = "multi_thread")]
async fn reading_to_take_a_bin_over_keeps_to_the_memory_budget() {
    let (corpus, facts, home) = (small_corpus(), folder(), folder());
    let mut peaks = Vec::new();
    for run in ["cold", "warm"] {
        let args = ["-vv", "extract", corpus.path().to_str().unwrap(), "--out", facts.path().to_str().unwrap(), "--run-id", run];
        let mut command = bytefacts(home.path(), &args).await;
        command.args(["--memory-budget-bytes", "40000", "--progress", "never"]);
        let (code, _, stderr) = self::run(command);
        assert_eq!(code, 0, "{stderr}");
        assert_eq!(stderr.contains("bin taken over"), run == "warm", "{stderr}");
        let held = stderr.lines().filter(|line| line.contains("the most that an executor held"));
        let held = held.filter_map(|line| line.split("peaks.memory_bytes=").nth(1)?.split_whitespace().next()?.parse::<u64>().ok());
        peaks.push(held.max().unwrap());
    }
    assert!(peaks.iter().all(|peak| (1..=40_000).contains(peak)), "{peaks:?}");
}
