//! `.pyc` files that real interpreters have made, and such that were damaged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use bytefacts_audit::pyc::{self, Fresh, Status, Validation, judge, parse_name};
use bytefacts_compile::{Compiled, Interpreter};
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::{interpreter, library, pool};

/// Some sources of the library in a folder of their own, with files of each kind that the compiler treats in its own way.
fn sources(interpreter: &Interpreter, folder: &Path) {
    for (path, source) in library(interpreter).into_iter().step_by(9) {
        fs::write(folder.join(path.file_name().unwrap()), source).unwrap();
    }
    fs::write(folder.join("own.py"), "'about'\nassert x, {1, 'a', 2.5}\nclass C:\n    'more'\n    def f(self): self.b = self.a = 'x y'\n")
        .unwrap();
    fs::write(folder.join("empty.py"), "").unwrap();
}

fn compileall(python: &Path, folder: &Path, arguments: &[&str]) {
    let mut command = Command::new(python);
    command.args(["-I", "-m", "compileall", "-q"]).args(arguments).arg(folder).env_clear();
    assert!(command.status().unwrap().success());
}

fn pycs(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder.join("__pycache__")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// Judges every `.pyc` of a folder as `bytefacts pyc` does, and counts.
async fn judged(interpreter: &Interpreter, folder: &Path) -> BTreeMap<(Status, &'static str), Vec<String>> {
    let mut counts: BTreeMap<_, Vec<String>> = BTreeMap::new();
    let mut pools = Vec::new();
    for level in 0..3 {
        pools.push(pool(interpreter, level, 4).await);
    }
    for path in pycs(folder) {
        let relative = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        let name = parse_name(&relative).unwrap();
        let source_path = folder.join(&name.source);
        let source = fs::read(&source_path).ok().map(Bytes::from);
        let compiled = match &source {
            Some(source) => Some(pools[usize::from(name.optimize)].compile(source.clone()).await.unwrap()),
            None => None,
        };
        let mtime = fs::metadata(&source_path).ok().map(|meta| meta.modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs());
        let fresh = source.as_ref().zip(compiled.as_ref()).map(|(source, compiled)| Fresh { source, mtime, compiled });
        let found = judge(&fs::read(&path).unwrap(), fresh.as_ref());
        let kind = match found.validation {
            Some(Validation::Timestamp { .. }) => "timestamp",
            Some(Validation::CheckedHash { .. }) => "checked-hash",
            Some(Validation::UncheckedHash { .. }) => "unchecked-hash",
            None => "none",
        };
        counts.entry((found.status, kind)).or_default().push(format!("{relative}: {}", found.reason));
    }
    counts
}

#[tokio::test]
async fn what_compileall_makes_in_any_mode_and_level_holds_the_code_of_its_source() {
    let interpreter = interpreter().await;
    for mode in ["timestamp", "checked-hash", "unchecked-hash"] {
        let folder = tempfile::tempdir().unwrap();
        sources(&interpreter, folder.path());
        compileall(&interpreter.executable, folder.path(), &["-o0", "-o1", "-o2", "--invalidation-mode", mode]);
        let counts = judged(&interpreter, folder.path()).await;
        let files: usize = counts.values().map(Vec::len).sum();
        assert!(files >= 3 * 25, "{files}");
        for ((status, kind), which) in &counts {
            assert_eq!(*kind, mode);
            // Which objects were held while CPython marshalled is its own affair: informational.
            assert!(matches!(status, Status::Same | Status::Metadata), "{status:?}: {which:?}");
            for reason in which {
                assert!(!reason.contains("hash:") && !reason.contains("mtime:") && !reason.contains("size:"), "{reason}");
            }
        }
        let same = counts.get(&(Status::Same, mode)).map_or(0, Vec::len);
        println!("{mode}: {same} of {files} are the same to the byte; the others: {:?}", counts.get(&(Status::Metadata, mode)));
        assert!(same * 10 >= files * 8, "{same} of {files}");
    }
}

#[tokio::test]
async fn metadata_is_told_from_code() {
    let interpreter = interpreter().await;
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("m.py");
    fs::write(&source, "x = 1\ny = 'one two'\n").unwrap();
    compileall(&interpreter.executable, folder.path(), &["--invalidation-mode", "timestamp"]);
    let only = async |folder: &Path| {
        let counts = judged(&interpreter, folder).await;
        assert_eq!(counts.len(), 1, "{counts:?}");
        counts.into_iter().map(|((status, _), which)| (status, which.concat())).next().unwrap()
    };
    assert_eq!(only(folder.path()).await.0, Status::Same);

    // Another time.
    let earlier = UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    fs::File::options().write(true).open(&source).unwrap().set_modified(earlier).unwrap();
    let (status, reason) = only(folder.path()).await;
    assert!(status == Status::Metadata && reason.contains("mtime:"), "{reason}");

    // Another source that compiles to the same.
    fs::write(&source, "x = 1\ny = 'one two'\n# nothing\n").unwrap();
    let (status, reason) = only(folder.path()).await;
    assert!(status == Status::Metadata && reason.contains("size:"), "{reason}");

    // Another source that does not.
    fs::write(&source, "x = 2\ny = 'one two'\n").unwrap();
    let (status, reason) = only(folder.path()).await;
    assert!(status == Status::Differs && reason.contains("LOAD_CONST") && reason.contains("<module>"), "{reason}");

    // None that compiles, and none at all.
    fs::write(&source, "x = (\n").unwrap();
    let (status, reason) = only(folder.path()).await;
    assert!(status == Status::Differs && reason.contains("SyntaxError"), "{reason}");
    fs::remove_file(&source).unwrap();
    assert_eq!(only(folder.path()).await.0, Status::Orphan);

    // A hash of another source.
    fs::write(&source, "x = 1\n").unwrap();
    compileall(&interpreter.executable, folder.path(), &["-f", "--invalidation-mode", "checked-hash"]);
    fs::write(&source, "x = 1 # one\n").unwrap();
    let (status, reason) = only(folder.path()).await;
    assert!(status == Status::Differs || reason.contains("hash:"), "{reason}");
}

#[tokio::test]
async fn the_hash_of_a_source_is_cpythons() {
    let interpreter = interpreter().await;
    let script =
        "import _imp, sys; sys.stdout.write(_imp.source_hash(int.from_bytes(b'\\xf3\\r\\r\\n', 'little'), sys.argv[1].encode()).hex())";
    for source in ["", "x = 1\n", "ü", &"long".repeat(1_000)] {
        let output = Command::new(&interpreter.executable).args(["-I", "-c", script, source]).output().unwrap();
        let expected = String::from_utf8(output.stdout).unwrap();
        let found: String = pyc::source_hash(source.as_bytes()).to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected, "{source:?}");
    }
}

/// Other Pythons of this machine, as pyenv keeps them.
fn foreign() -> Vec<PathBuf> {
    let root = std::env::var_os("PYENV_ROOT").map(PathBuf::from).or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")));
    let versions = root.and_then(|root| fs::read_dir(root.join("versions")).ok());
    let names = versions.into_iter().flatten().flatten().map(|entry| entry.path());
    names.filter(|path| !path.ends_with("3.13.0")).map(|path| path.join("bin/python")).filter(|path| path.exists()).collect()
}

#[tokio::test]
async fn what_other_pythons_made_is_foreign_and_named() {
    let interpreter = interpreter().await;
    let mut seen = 0;
    for python in foreign() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("m.py"), "x = {1: 'a'}\n").unwrap();
        let status = Command::new(&python).args(["-m", "compileall", "-q"]).arg(folder.path()).env_clear().status().unwrap();
        if !status.success() || !folder.path().join("__pycache__").is_dir() {
            continue; // Python 2 puts its file beside the source
        }
        let counts = judged(&interpreter, folder.path()).await;
        let ((status, _), which) = counts.iter().next().unwrap();
        let version = python.parent().unwrap().parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let minor = version.rsplit_once('.').unwrap().0;
        assert_eq!(*status, Status::Foreign, "{which:?}");
        assert!(which[0].contains(&format!("CPython {minor} ")), "{which:?}, not {minor}");
        seen += 1;
    }
    println!("{seen} other Pythons");
}

#[tokio::test]
async fn damage_never_passes_for_code_and_never_panics() {
    let interpreter = interpreter().await;
    let folder = tempfile::tempdir().unwrap();
    let source: Bytes =
        "'about'\ndef f(x, *y):\n    try:\n        return {1, 'a', 2.5}, g(x)[y:1]\n    except E: pass\nclass C: a = 10**30\n".into();
    fs::write(folder.path().join("m.py"), &source).unwrap();
    compileall(&interpreter.executable, folder.path(), &["--invalidation-mode", "unchecked-hash"]);
    let good = fs::read(&pycs(folder.path())[0]).unwrap();
    let compiled: Compiled = pool(&interpreter, 0, 4).await.compile(source.clone()).await.unwrap();
    let fresh = Fresh { source: &source, mtime: None, compiled: &compiled };
    assert!(matches!(judge(&good, Some(&fresh)).status, Status::Same | Status::Metadata));
    for length in 0..good.len() {
        assert_eq!(judge(&good[..length], Some(&fresh)).status, Status::Damaged, "cut at {length}");
    }
    let mut harmless = 0;
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            let found = judge(&bad, Some(&fresh));
            // A flag of a reference that nobody uses, a hash that nobody compares, or a name of the file.
            harmless += u32::from(matches!(found.status, Status::Same | Status::Metadata));
        }
    }
    println!("{harmless} of {} flips change no code", 8 * good.len());
    assert!(harmless < 8 * good.len() as u32 / 2);

    let mut runner = TestRunner::new(Config { failure_persistence: None, cases: 2_000, ..Config::default() });
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8);
    runner
        .run(&edits, |edits| {
            let mut bad = good.clone();
            for (at, byte) in edits {
                let at = at.index(bad.len());
                bad[at] = byte;
            }
            let _ = judge(&bad, Some(&fresh));
            Ok(())
        })
        .unwrap();
}
