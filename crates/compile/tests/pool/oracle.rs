//! The pool against a plain `compile` in the same interpreter, over the standard library with its deliberately bad files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytefacts_compile::{Diagnostic, Limits, Outcome};
use sha2::{Digest, Sha256};

use crate::{compile, interpreter, pool};

/// Prints one line of JSON a file: the digest of its code, or class, line, offset and message of its error, with the number of warnings.
const JUDGE: &str = r#"
import hashlib, json, marshal, sys, warnings
for path in sys.argv[1:]:
    source = open(path, "rb").read()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            code = compile(source, "<bytefacts>", "exec", dont_inherit=True, optimize=0)
            verdict = hashlib.sha256(marshal.dumps(code, 2)).hexdigest()
        except SyntaxError as error:
            known = error.lineno is not None and error.lineno > 0
            column = error.offset - 1 if known and error.offset is not None and error.offset > 0 else None
            verdict = f"{type(error).__name__} {error.lineno if known else None} {column} {error.msg}"
        except Exception as error:
            verdict = f"{type(error).__name__} None None {error}"
        print(json.dumps([verdict, len(seen)]))
"#;

fn python_files(dir: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("site-packages") {
            python_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "py") {
            found.push(path);
        }
    }
    Ok(())
}

fn verdict(outcome: &Outcome) -> String {
    let number = |n: Option<i32>| n.map_or_else(|| "None".to_owned(), |n| n.to_string());
    match outcome {
        Outcome::Code(code) => hex::encode(Sha256::digest(code)),
        Outcome::Failed(Diagnostic { error_type, message, line1, col, .. }) => {
            format!("{error_type} {} {} {message}", number(*line1), number(*col))
        }
    }
}

#[tokio::test]
async fn the_pool_gives_what_compile_gives() {
    let interpreter = interpreter().await;
    let mut files = Vec::new();
    python_files(&interpreter.stdlib, &mut files).unwrap();
    files.sort();
    // Every ninth file, and all that are bad on purpose.
    let bad = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().contains("bad"));
    let files: Vec<_> = files.iter().enumerate().filter(|(n, path)| n % 9 == 0 || bad(path)).map(|(_, path)| path).collect();

    let judge = Command::new(&interpreter.executable).args(["-I", "-S", "-B", "-c", JUDGE]).args(&files).output().unwrap();
    assert!(judge.status.success(), "{}", String::from_utf8_lossy(&judge.stderr));
    let judged = String::from_utf8(judge.stdout).unwrap();
    assert_eq!(judged.lines().count(), files.len());

    let pool = pool(1, Limits::default()).await;
    let mut failures = 0;
    for (path, judged) in files.iter().zip(judged.lines()) {
        let compiled = compile(&pool, fs::read(path).unwrap()).await;
        let judged: (String, usize) = serde_json::from_str(judged).unwrap();
        assert_eq!((verdict(&compiled.outcome), compiled.warnings.len()), judged, "{}", path.display());
        failures += usize::from(matches!(compiled.outcome, Outcome::Failed(_)));
    }
    assert!(files.len() > 100 && failures > 3, "{failures} of {} files fail", files.len());
}
