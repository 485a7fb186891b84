//! Causes of the catalogue: those that CPython has by itself, and those that a test puts into a worker.

use std::collections::BTreeSet;

use bytefacts_audit::cause::{self, Met};
use bytefacts_audit::changes::FileFacts;
use bytefacts_audit::matrix::{Condition, Matrix, Order};
use bytefacts_audit::night::{self, Bench, Kind, Verdict};
use bytefacts_compile::Interpreter;

use crate::{bench, executable, file, interpreter};

/// The verdict on a source under a condition.
async fn verdict(bench: &Bench, condition: &Condition, source: impl Into<bytes::Bytes>) -> Verdict {
    verdicts(bench, condition, &[("a.py", source.into())]).await.remove(0)
}

async fn verdicts(bench: &Bench, condition: &Condition, sources: &[(&str, bytes::Bytes)]) -> Vec<Verdict> {
    let bin: Vec<_> = sources.iter().map(|(path, source)| file(path, source.clone())).collect();
    let first = night::derive(bench, "first", &Condition::baseline(condition.optimize), &bin).await.unwrap().files;
    let second = night::derive(bench, "c", condition, &bin).await.unwrap().files;
    bin.iter().zip(first.iter().zip(&second)).map(|(file, (first, second))| night::judge("c", condition, file, first, second)).collect()
}

/// An interpreter that a variable of the environment makes faulty.
async fn faulty(folder: &std::path::Path) -> Interpreter {
    let real = interpreter().await;
    let path = folder.join("python3.13");
    executable(&path, &include_str!("faults.py").replace("PYTHON", real.executable.to_str().unwrap()));
    Interpreter { executable: path, ..real }
}

fn faulty_condition(fault: &str) -> Condition {
    Condition { environment: [("BYTEFACTS_TEST_FAULT".to_owned(), fault.to_owned())].into(), ..Condition::default() }
}

/// The fault, a source in which it shows, the kind of its verdict, the cause that must be named, and what of the difference must be shown.
const INJECTED: &[(&str, &[u8], Kind, &str, &str)] = &[
    ("C02", b"def f():\n    return 'one', g(2)\n", Kind::Good, "C02", "flagged"),
    ("C06", b"x = 'not an identifier'\n", Kind::Good, "C06", "interned"),
    ("C09", b"class C:\n    def f(self):\n        self.a = self.b = self.c = 1\n", Kind::Bad, "C09", "('a', 'b', 'c')"),
    ("C14", b"x = 1\n", Kind::Bad, "C14", "/build/a.py"),
    ("C15", b"x = 1\n", Kind::Bad, "C15", "co_firstlineno"),
    ("C17", b"def f(x):\n    assert x\n", Kind::Bad, "C17", "instructions["),
    ("C17", b"def f(x):\n    'about'\n    return x\n", Kind::Bad, "C17", "about"),
    ("C18", b"def f(x): return x\n", Kind::Bad, "C18", "co_flags"),
    ("C19", b"await x\n", Kind::Bad, "C19", "outside"),
    ("C20", b"# coding: cp1251\nx = '\xe4'\n", Kind::Bad, "C20", "ä"),
    ("C22", b"x = '\\d'\n", Kind::Bad, "C22", "SyntaxError"),
    ("C23", b"x = '\\d'\n", Kind::Bad, "C23", "SyntaxWarning"),
    ("C25", b"x = 1\n", Kind::Bad, "C25", "RecursionError"),
    ("C27", b"x = 1\n", Kind::Bad, "C27", "too complex"),
    ("C29", b"x = 2.0 ** 0.5\n", Kind::Bad, "C29", "1.414213562373095"),
    ("C30", b"x = 1e999 - 1e999\n", Kind::Bad, "C30", "nan"),
    ("C31", b"x = -0.0\n", Kind::Bad, "C31", "-0.0"),
    ("C31 type", b"x = 1\n", Kind::Bad, "C31", "True"),
    ("C33", b"find = file\n", Kind::Bad, "C33", "ﬁ"),
    ("C34", b"x = 1\n", Kind::Bad, "C34", "RESUME_CHECK"),
    ("C37", b"x = (\n", Kind::Bad, "C37", "at 2"),
    ("X00", b"f()\n", Kind::Bad, "X00", "NOP"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_that_is_put_in_is_found_under_its_own_code() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(faulty(folder.path()).await);
    let mut wrong = Vec::new();
    for (fault, source, kind, code, shown) in INJECTED {
        let verdict = verdict(&bench, &faulty_condition(fault), source.to_vec()).await;
        let said = format!("{} {:?}", verdict.reason, verdict.difference);
        let shows = said.contains(shown);
        if verdict.kind != *kind || verdict.cause.as_deref() != Some(code) || !shows {
            wrong.push(format!("{fault}: {:?} {:?} {said}", verdict.kind, verdict.cause));
        }
    }
    let digits = format!("x = {}\n", "7".repeat(5_000));
    let of_digits = verdict(&bench, &faulty_condition("C24"), digits).await;
    if (of_digits.kind, of_digits.cause.as_deref()) != (Kind::Bad, Some("C24")) {
        wrong.push(format!("{of_digits:?}"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_catalogue_says_is_injected_is() {
    let injected: BTreeSet<&str> = INJECTED.iter().map(|(_, _, _, code, _)| *code).chain(["C24"]).collect();
    let claimed: BTreeSet<&str> =
        cause::CATALOGUE.iter().filter(|cause| matches!(cause.met, Met::Injected(_))).map(|cause| cause.code).collect();
    assert_eq!(claimed, injected);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_fault_nothing_is_found_under_any_condition() {
    let bench = bench(interpreter().await);
    let matrix = Matrix::parse(bytefacts_audit::matrix::BUILT_IN).unwrap();
    let sources: Vec<(&str, bytes::Bytes)> = INJECTED.iter().map(|(fault, source, ..)| (*fault, source.to_vec().into())).collect();
    for (name, condition) in matrix.conditions_of("full").unwrap() {
        if condition.varies_nothing() {
            continue;
        }
        for verdict in verdicts(&bench, &condition, &sources).await {
            assert_eq!(verdict.kind, Kind::Good, "{name}: {verdict:?}");
        }
    }
}

#[tokio::test]
async fn what_was_compiled_before_shows_in_the_stream_alone() {
    let bench = bench(interpreter().await);
    // gh-129724, in an order in which the import comes last at first.
    let sources = [("a.py", "a = {'foo', 2, 3}\n\ndef f():\n    b = {'foo', 2, 3}\n".into()), ("b.py", "import foo\n".into())];
    let reversed = Condition { order: Order::Reversed, ..Condition::default() };
    let verdict = verdicts(&bench, &reversed, &sources).await.remove(0);
    assert_eq!((verdict.kind, verdict.cause.as_deref()), (Kind::Good, Some("C03")), "{verdict:?}");
    assert!(verdict.reason.contains("the facts do not"), "{}", verdict.reason);
    let imports = Condition { imports: vec!["ast".to_owned(), "email".to_owned()], ..Condition::default() };
    let verdict =
        verdicts(&bench, &imports, &[("a.py", "a = {'generic_visit', 2, 3}\n\ndef f():\n    b = {'generic_visit', 2, 3}\n".into())])
            .await
            .remove(0);
    assert_eq!((verdict.kind, verdict.cause.as_deref()), (Kind::Good, Some("C04")), "{verdict:?}");
}

#[tokio::test]
async fn an_environment_that_drops_columns_is_named() {
    let bench = bench(interpreter().await);
    let condition = Condition { environment: [("PYTHONNODEBUGRANGES".to_owned(), "1".to_owned())].into(), ..Condition::default() };
    let verdict = verdict(&bench, &condition, "x = f(1)\n").await;
    assert_eq!((verdict.kind, verdict.cause.as_deref()), (Kind::Bad, Some("C16")), "{verdict:?}");
    assert_eq!(verdict.difference.unwrap().field, "instructions[0].positions");
}

#[tokio::test]
async fn too_small_a_stack_fails_and_is_named() {
    let bench = bench(interpreter().await);
    let condition = Condition { stack_bytes: Some(512 << 10), ..Condition::default() };
    let verdict = verdict(&bench, &condition, format!("x = {}1\n", "1 + ".repeat(9_000))).await;
    assert_eq!((verdict.kind, verdict.cause.as_deref()), (Kind::Fail, Some("C26")), "{verdict:?}");
}

#[tokio::test]
async fn too_little_memory_fails_and_is_named() {
    let bench = bench(interpreter().await);
    let condition = Condition { memory_bytes: Some(120 << 20), stack_bytes: Some(8 << 20), ..Condition::default() };
    let verdict = verdict(&bench, &condition, format!("x = [{}]\n", "f(1, 'a', b), ".repeat(60_000))).await;
    assert_eq!((verdict.kind, verdict.cause.as_deref()), (Kind::Fail, Some("C28")), "{verdict:?}");
}

/// A busy machine may cut off the first derivation as well as the second: that says as little of the code.
#[tokio::test]
async fn a_limit_that_the_first_derivation_met_is_no_other_fact() {
    let bench = bench(interpreter().await);
    let small = Condition { memory_bytes: Some(120 << 20), stack_bytes: Some(8 << 20), ..Condition::default() };
    let bin = [file("a.py", format!("x = [{}]\n", "f(1, 'a', b), ".repeat(60_000)))];
    let first = night::derive(&bench, "first", &small, &bin).await.unwrap().files;
    let second = night::derive(&bench, "c", &Condition::default(), &bin).await.unwrap().files;
    let verdict = night::judge("c", &Condition::default(), &bin[0], &first[0], &second[0]);
    assert_eq!((verdict.kind, verdict.cause.as_deref()), (Kind::Fail, Some("C28")), "{verdict:?}");
    assert!(verdict.reason.starts_with("the first derivation failed"), "{verdict:?}");
}

/// The digest of the facts is made of no `marshal_digest`, so that one alone may be wrong.
#[tokio::test]
async fn what_was_landed_is_compared_with_its_code_too() {
    let bench = bench(interpreter().await);
    let file = file("a.py", "x = 1\n");
    let fresh = night::derive(&bench, "first", &Condition::default(), std::slice::from_ref(&file)).await.unwrap().files.remove(0);
    let landed = FileFacts { source: Some(file.sha256), facts: fresh.digests.facts };
    let digest = hex::encode(fresh.digests.marshal.unwrap());
    assert_eq!(night::judge_landed("committed", &file, &landed, Some(&digest), &fresh).kind, Kind::Good);
    for marshal in [None, Some("00")] {
        let verdict = night::judge_landed("committed", &file, &landed, marshal, &fresh);
        assert_eq!((verdict.kind, verdict.cause.as_deref()), (Kind::Bad, Some("X01")), "{verdict:?}");
        assert_eq!(verdict.difference.unwrap().field, "marshal_digest");
    }
}
