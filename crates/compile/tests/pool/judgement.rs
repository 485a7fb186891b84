//! Judgements: what `dis` says comes frame by frame, within limits, and leaves compiling as it was.

use std::time::Duration;

use bytefacts_compile::{CompileOptions, Diagnostic, Evidence, Judgeable, Limits, Pool, TIME_LIMIT};
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{code_of, compile, interpreter, pool, wrapper};

/// The frames of a judgement and its failure.
async fn judge(pool: &Pool, source: impl Into<Bytes>) -> (Vec<Value>, Option<Diagnostic>) {
    let (sender, mut receiver) = mpsc::channel(2);
    let unit = Judgeable { source: source.into(), path: "pkg/a.py".to_owned(), adaptive: false };
    let (failure, frames) = tokio::join!(pool.judge(unit, sender), async {
        let mut frames = Vec::new();
        while let Some(evidence) = receiver.recv().await {
            match evidence {
                Evidence::Begin => frames.clear(),
                Evidence::Facts(frame) => frames.push(serde_json::from_slice(&frame).unwrap()),
            }
        }
        frames
    });
    (frames, failure.unwrap())
}

/// A worker that dies in the middle of a judgement leaves half of it; what counts is what a fresh one says from the beginning.
#[tokio::test]
async fn a_judgement_begins_anew_on_a_fresh_worker() {
    let folder = tempfile::tempdir().unwrap();
    let died = folder.path().join("died");
    let patch = format!(
        "import os as _os\n_path = _os.path.join(_os.path.dirname(_os.__file__), 'dis.py')\nexec(compile(open(_path).read(), _path, 'exec'))\n\
         _parse = _parse_exception_table\n\
         def _parse_exception_table(code):\n    \
             if code.co_name == 'f' and not _os.path.exists('{0}'):\n        \
                 _os.close(_os.open('{0}', _os.O_CREAT))\n        _os.kill(_os.getpid(), 9)\n    \
             return _parse(code)\n",
        died.display()
    );
    std::fs::write(folder.path().join("dis.py"), patch).unwrap();
    let first = format!("export PYTHONPATH='{}'", folder.path().display());
    let python = wrapper(&folder.path().join("python"), &first, &interpreter().await);
    let pool = Pool::start(&python, CompileOptions::default(), 1, Limits::default()).await.unwrap();

    let source = "x = a\n".repeat(10_000) + "def f(): pass\n";
    let (sender, mut receiver) = mpsc::channel(2);
    let unit = Judgeable { source: source.into(), path: "a.py".to_owned(), adaptive: false };
    let (failure, pieces) = tokio::join!(pool.judge(unit, sender), async {
        let mut pieces = Vec::new();
        while let Some(piece) = receiver.recv().await {
            pieces.push(piece);
        }
        pieces
    });
    assert_eq!((failure.unwrap(), died.exists(), pool.stats().killed), (None, true, 1));
    let begins: Vec<_> = (0..pieces.len()).filter(|at| pieces[*at] == Evidence::Begin).collect();
    assert_eq!((begins.len(), begins[0]), (2, 0));
    let (lost, whole) = (&pieces[1..begins[1]], &pieces[begins[1] + 1..]);
    assert!(!lost.is_empty() && lost.len() < whole.len());
    assert_eq!(lost, &whole[..lost.len()], "what was lost came again");
}

#[tokio::test]
async fn each_unit_is_a_frame_and_its_instructions_follow() {
    let pool = pool(1, Limits::default()).await;
    let (frames, failure) = judge(&pool, "def f(x):\n    return x + 1\ns = '\\ud800', {'b', 'a'}, 10**5000, f in {'q', b'q'}\n").await;
    assert_eq!(failure, None);
    let names: Vec<_> = frames.iter().filter_map(|frame| frame["unit"]["qualname"][0].as_str()).collect();
    assert_eq!(names, ["<module>", "<module>.f@1"]);
    let f = &frames[3]["instructions"];
    assert_eq!(f["opname"], serde_json::json!(["RESUME", "LOAD_FAST", "LOAD_CONST", "BINARY_OP", "RETURN_VALUE"]));
    assert_eq!(f["argrepr"], serde_json::json!(["", "x", "1", "+", ""]));
    assert_eq!(f["cache_info"][3], serde_json::json!([["counter", 1, "0000"]]));
    assert_eq!(f["stack_effect"], serde_json::json!([0, 1, 1, -1, -1]));
    let constants = frames[0]["consts"]["const_repr"].to_string();
    assert!(constants.contains("<code object f, file \\\"pkg/a.py\\\", line 1>"), "{constants}");
    assert!(constants.contains("frozenset({b'q', 'q'})"), "{constants}");
    let strings = frames[1]["instructions"]["argval_str"].to_string();
    assert!(strings.contains("\\\\ud800"), "a lone surrogate as six characters: {strings}");
}

#[tokio::test]
async fn a_unit_of_any_size_comes_in_frames_of_one_size() {
    let (frames, _) = judge(&pool(1, Limits::default()).await, "x = a\n".repeat(10_000)).await;
    let rows: Vec<_> = frames.iter().filter_map(|frame| frame["instructions"]["offset"].as_array()).map(Vec::len).collect();
    assert_eq!(rows.iter().sum::<usize>(), 20_002);
    assert!(rows.len() > 3 && rows.iter().all(|rows| *rows <= 4096), "{rows:?}");
}

#[tokio::test]
async fn compiling_gives_the_same_before_and_after_a_judgement() {
    let source = "def f():\n    return 'is not' is 'x', {1, 2, 3} is {'a', 'b'}\n";
    let pool = pool(1, Limits::default()).await;
    let before = compile(&pool, source).await;
    judge(&pool, source).await;
    let after = compile(&pool, source).await;
    assert_eq!((code_of(&before), &before.warnings), (code_of(&after), &after.warnings));
    assert_eq!(pool.stats().starts, 1);
}

#[tokio::test]
async fn a_judgement_that_takes_too_long_is_given_up_and_the_next_unit_is_fine() {
    let limits = Limits { judge_cpu: Duration::from_millis(200), ..Limits::default() };
    let pool = pool(1, limits).await;
    let (_, failure) = judge(&pool, "x = a.b(c)\n".repeat(200_000)).await;
    let failure = failure.unwrap();
    assert_eq!((failure.stage.as_str(), failure.error_type.as_str()), ("oracle", TIME_LIMIT));
    code_of(&compile(&pool, "x = 1").await);
}

#[tokio::test]
async fn source_that_does_not_compile_cannot_be_judged() {
    let (frames, failure) = judge(&pool(1, Limits::default()).await, "x =").await;
    let failure = failure.unwrap();
    assert_eq!((frames.len(), failure.stage.as_str(), failure.error_type.as_str()), (0, "oracle", "SyntaxError"));
}

#[tokio::test]
async fn a_judgement_that_nobody_reads_ends_all_the_same() {
    let pool = pool(1, Limits::default()).await;
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    let unit = Judgeable { source: "x = 1\n".repeat(50_000).into(), path: "a.py".to_owned(), adaptive: true };
    assert_eq!(pool.judge(unit, sender).await.unwrap(), None);
}
