//! Sources that are hard to compile or cannot be: each is an outcome, as CPython 3.13 gives it.

use std::io::Write as _;
use std::process::Stdio;

use bytefacts_compile::{CompileOptions, Limits, MAX_TEXT, Pool, WorkerSettings};

use crate::{code, compile, failure, failure_of, interpreter, line, pool};

#[tokio::test]
async fn empty_source_is_a_module() {
    assert_eq!(code("").await.first(), Some(&b'c'));
}

#[tokio::test]
async fn nul_bytes() {
    assert_eq!(line(&failure(&b"x = 1\n\0"[..]).await), "compile SyntaxError source code string cannot contain null bytes @?:?-?:?");
}

#[tokio::test]
async fn bytes_that_are_not_utf8() {
    let failure = failure(&b"x = 1\ny = '\xff'\n"[..]).await;
    assert_eq!(
        line(&failure),
        "decode SyntaxError (unicode error) 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte @2:4-2:5"
    );
}

#[tokio::test]
async fn a_byte_order_mark_changes_nothing() {
    assert_eq!(code(&b"\xef\xbb\xbfx = 1"[..]).await, code("x = 1").await);
}

#[tokio::test]
async fn coding_cookies_are_followed() {
    assert_eq!(code(&b"# coding: latin-1\nx = '\xe9'"[..]).await, code("#\nx = 'é'").await);
    assert_eq!(code(&b"# -*- coding: cp1251 -*-\nx = '\xe9'"[..]).await, code("#\nx = 'й'").await);
}

#[tokio::test]
async fn wrong_coding_cookies() {
    let pool = pool(1, Limits::default()).await;
    for (source, message) in [
        (&b"# coding: no-such\nx = 1"[..], "unknown encoding: no-such"),
        (b"\xef\xbb\xbf# coding: latin-1\nx = 1", "encoding problem: iso-8859-1 with BOM"),
        (b"# coding: ascii\nx = '\xe9'", "'ascii' codec can't decode byte 0xe9 in position 21: ordinal not in range(128)"),
        (b"# coding: rot13\nx = 1", "'rot13' is not a text encoding; use codecs.decode() to handle arbitrary codecs"),
    ] {
        assert_eq!(line(failure_of(&compile(&pool, source).await)), format!("decode SyntaxError {message} @?:?-?:?"));
    }
}

#[tokio::test]
async fn lone_surrogates_are_kept_in_generalised_utf8() {
    let code = code("x = '\\ud800'").await;
    assert!(code.windows(3).any(|window| window == b"\xed\xa0\x80"));
}

#[tokio::test]
async fn an_escape_that_is_no_escape_is_no_matter_of_the_file_s_encoding() {
    let failure = failure("x = '\\N{NO SUCH}'\n").await;
    assert_eq!((failure.stage.as_str(), failure.error_type.as_str(), failure.line1), ("compile", "SyntaxError", Some(1)));
}

#[tokio::test]
async fn five_thousand_digits() {
    let failure = failure(format!("x = {}", "7".repeat(5_000))).await;
    assert!(failure.message.starts_with("Exceeds the limit (4300 digits) for integer string conversion: value has 5000 digits"));
    assert_eq!((failure.stage.as_str(), failure.line1, failure.col), ("compile", Some(1), None));
    let text = failure.source_line.unwrap();
    assert_eq!((text.chars().count(), text.ends_with("7…")), (MAX_TEXT, true));
    let hex = format!("x = 0x{}", "7".repeat(5_000));
    code(hex).await;
}

#[tokio::test]
async fn tabs_and_spaces_mixed() {
    let failure = failure("if 1:\n\tx\n        y\n").await;
    assert_eq!(line(&failure), "compile TabError inconsistent use of tabs and spaces in indentation @3:0-3:?");
    assert_eq!(failure.source_line.as_deref(), Some("        y"));
}

#[tokio::test]
async fn python_2() {
    let failure = failure("import os\nprint \"x\"\n").await;
    assert_eq!(line(&failure), "compile SyntaxError Missing parentheses in call to 'print'. Did you mean print(...)? @2:0-2:9");
    assert_eq!(failure.source_line.as_deref(), Some("print \"x\""));
}

#[tokio::test]
async fn columns_count_characters() {
    let failure = failure("é = = 1\n").await;
    assert_eq!(line(&failure), "compile SyntaxError invalid syntax @1:4-1:5");
}

/// Counted by hand: the source, its lines from 1, its columns from 0 in characters, the end exclusive.
const PLACES: &[(&str, &str)] = &[
    // The parser and the tokenizer.
    ("'ééé' 1 2\n", "1:6-1:7"),
    ("# coding: utf-8\n'ééé' 1 2\n", "2:6-2:7"),
    ("\u{feff}'ééé' 1 2\n", "1:6-1:7"),
    ("'é'; 0777\n", "1:6-1:7"),
    ("'𝄞', f(a for b in c, 1)\n", "1:7-1:19"),
    ("if 1:\n 'é'; x = 'é' 'é' 3\n", "2:18-2:19"),
    // The end on another line than the start.
    ("f(**e, *\n'éé')\n", "1:5-2:4"),
    ("'éé', f(**é, *\n'éé')\n", "1:11-2:4"),
    // The symbol table.
    ("'é'; x: int; global x\n", "1:13-1:21"),
    ("def f(a,\n é, a): pass\n", "2:4-2:5"),
    // The code generator, with a cookie, a carriage return and a codec of its own too.
    ("'ééé'; return 1\n", "1:7-1:15"),
    ("'é'\r\n'𝄞𝄞'; return (\r\n'éé')\r\n", "2:6-3:5"),
    ("# coding: utf-8\n'éé'; break\n", "2:6-2:11"),
    ("\u{feff}'éé'; break\n", "1:6-1:11"),
    // Statements about the future, whose end CPython does not give.
    ("'éé'; from __future__ import foo\n", "1:6-1:?"),
];

#[tokio::test]
async fn columns_count_characters_whoever_finds_the_error() {
    for (source, place) in PLACES {
        let found = line(&failure((*source).to_owned()).await);
        assert_eq!(found.rsplit_once('@').map(|(_, place)| place), Some(*place), "{source}: {found}");
    }
    let latin1 = failure(b"# coding: latin-1\n'\xe9\xe9'; return 1\n".to_vec()).await;
    assert!(line(&latin1).ends_with("@2:6-2:14"), "{latin1:?}");
}

/// CPython takes these for faults of its own, and prints where it keeps the module's block.
const FAULTS_OF_CPYTHON: &[&str] = &[
    "class Shelf:\n    boxes = {k: __classdict__ for k in order}\n",
    "class Cupboard:\n    doors = [(k, __classdict__) for k in order if k]\n",
];

#[tokio::test]
async fn no_message_holds_an_address() {
    for source in FAULTS_OF_CPYTHON {
        let failure = failure(*source).await;
        assert!(failure.message.contains("in unit <module> (0x…); symbols: {'"), "{failure:?}");
    }
}

/// No source is known that makes CPython print an object in a message; the next release may have one.
#[tokio::test]
async fn addresses_of_objects_are_left_out_and_what_looks_like_them_stays() {
    const ASK: &str = "import json, sys; print(json.dumps([without_addresses(message) for message in json.load(sys.stdin)]))";
    let (functions, _) = include_str!("../../src/worker.py").rsplit_once("\nmain()\n").unwrap();
    let messages = [
        ("<code object f at 0x7f3a1c0d5e30, file \"a\", line 1>", "<code object f at 0x…, file \"a\", line 1>"),
        ("<cell at 0x7f01: int object at 0xA1> and <b at 0x0>", "<cell at 0x…: int object at 0x…> and <b at 0x…>"),
        ("no colour at 0xff00ff", "no colour at 0xff00ff"),
        ("meet at 0x and leave", "meet at 0x and leave"),
        (
            "_PyST_GetScope(name='x') failed: unknown scope in unit f (94772648048936); symbols: {'x': 94772648048936}",
            "_PyST_GetScope(name='x') failed: unknown scope in unit f (0x…); symbols: {'x': 94772648048936}",
        ),
    ];
    let mut python = std::process::Command::new(interpreter().await.executable);
    // What the script takes, of no meaning here.
    let arguments = ["0", "0", "1", "0", "0", "0", "1", "", "2", "-1", ""];
    let python = python.arg("-c").arg(format!("{functions}\n{ASK}")).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = python.spawn().unwrap();
    let asked = serde_json::to_string(&messages.map(|(message, _)| message)).unwrap();
    child.stdin.take().unwrap().write_all(asked.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let answers: Vec<String> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answers, messages.map(|(_, expected)| expected));
}

#[tokio::test]
async fn whole_diagnostics_are_equal_in_two_processes_of_other_hash_seeds() {
    let interpreter = interpreter().await;
    let sources = || PLACES.iter().map(|(source, _)| *source).chain(FAULTS_OF_CPYTHON.iter().copied());
    let mut rounds = Vec::new();
    for hash_seed in [0, 1, 4_294_967_295] {
        let settings = WorkerSettings { hash_seed: Some(hash_seed), ..WorkerSettings::default() };
        let pool = Pool::start_with(&interpreter, CompileOptions::default(), 1, Limits::default(), settings).await.unwrap();
        let mut round = Vec::new();
        for source in sources() {
            let compiled = compile(&pool, source).await;
            round.push((compiled.outcome, compiled.warnings));
        }
        rounds.push(round);
    }
    for round in &rounds[1..] {
        assert_eq!(round, &rounds[0]);
    }
}

#[tokio::test]
async fn what_only_looks_like_an_address_stays() {
    let failure = failure("def f(x0x7f0000000000):\n global x0x7f0000000000\n").await;
    assert!(failure.message.contains("'x0x7f0000000000'"), "{failure:?}");
}

#[tokio::test]
async fn errors_of_the_compiler_proper_have_their_line_too() {
    let failure = failure("def f():\n    pass\nreturn 1\r\n").await;
    assert_eq!(line(&failure), "compile SyntaxError 'return' outside function @3:0-3:8");
    assert_eq!(failure.source_line.as_deref(), Some("return 1"));
}

#[tokio::test]
async fn a_hundred_thousand_nested_parentheses() {
    let failure = failure("(".repeat(100_000) + &")".repeat(100_000)).await;
    assert_eq!(line(&failure), "compile SyntaxError too many nested parentheses @1:200-1:200");
}

#[tokio::test]
async fn too_complex_for_the_parser_is_a_memory_error_of_cpython_and_reproducible() {
    let pool = pool(1, Limits::default()).await;
    let compiled = compile(&pool, "-".repeat(10_000) + "x").await;
    assert_eq!(line(failure_of(&compiled)), "compile MemoryError Parser stack overflowed - Python source too complex to parse @?:?-?:?");
    assert!(compiled.is_reproducible());
    assert_eq!(pool.stats().restarts(), 0);
}

#[tokio::test]
async fn ten_thousand_terms() {
    let terms = |n: usize| format!("x = {}", vec!["a"; n].join(" + "));
    code(terms(9_900)).await;
    let failure = failure(terms(10_000)).await;
    assert_eq!(line(&failure), "compile RecursionError maximum recursion depth exceeded during compilation @?:?-?:?");
}

#[tokio::test]
async fn code_too_deep_to_marshal() {
    let failure = failure("lambda: ".repeat(1_500) + "0").await;
    assert_eq!(line(&failure), "marshal ValueError object too deeply nested to marshal @?:?-?:?");
}

#[tokio::test]
async fn a_literal_of_fifty_megabytes() {
    let code = code(format!("x = '{}'", "a".repeat(50_000_000))).await;
    assert!(code.len() > 50_000_000);
}
