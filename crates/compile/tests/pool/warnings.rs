//! What CPython warns of while it compiles.

use bytefacts_compile::{Limits, Severity};

use crate::{code_of, compile, failure_of, line, pool};

#[tokio::test]
async fn syntax_warnings_are_recorded_with_their_lines() {
    let pool = pool(1, Limits::default()).await;
    let source = "x = '\\d'\nassert (1, 'always')\nx is 1\n";
    for _ in 0..2 {
        let compiled = compile(&pool, source).await;
        code_of(&compiled);
        let warnings: Vec<_> = compiled.warnings.iter().map(line).collect();
        assert_eq!(
            warnings,
            [
                "compile SyntaxWarning invalid escape sequence '\\d' @1:?-?:?",
                "compile SyntaxWarning assertion is always true, perhaps remove parentheses? @2:?-?:?",
                "compile SyntaxWarning \"is\" with 'int' literal. Did you mean \"==\"? @3:?-?:?",
            ]
        );
        assert!(compiled.warnings.iter().all(|warning| warning.severity == Severity::Warning));
        assert_eq!(compiled.warnings[2].source_line.as_deref(), Some("x is 1"));
    }
    assert_eq!(compile(&pool, "y = 1").await.warnings, []);
}

#[tokio::test]
async fn warnings_before_an_error_are_kept() {
    let compiled = compile(&pool(1, Limits::default()).await, "x = '\\d'\nreturn\n").await;
    assert_eq!(failure_of(&compiled).line1, Some(2));
    assert_eq!(compiled.warnings.len(), 1);
}

#[tokio::test]
async fn a_warning_that_points_at_the_worker_has_no_line() {
    let compiled = compile(&pool(1, Limits::default()).await, "x = 1\n\ny = ~True\n").await;
    let [warning] = &compiled.warnings[..] else { panic!("{compiled:?}") };
    assert_eq!((warning.error_type.as_str(), warning.line1, warning.source_line.as_deref()), ("DeprecationWarning", None, None));
}

#[tokio::test]
async fn a_flood_is_cut_and_says_so() {
    let compiled = compile(&pool(1, Limits::default()).await, "'\\d'\n".repeat(10_007)).await;
    assert_eq!(compiled.warnings.len(), 10_001);
    assert_eq!(compiled.warnings[10_000].message, "7 more warnings of this unit are left out");
}
