//! `bytefacts graph` as its users meet it.

use std::path::Path;

use crate::support::{bytefacts, folder, run, write_files};

const SOURCE: &[u8] = b"class C:\n    def m(self, xs):\n        for x in xs:\n            try:\n                yield x + 1\n            except ValueError:\n                return\n\n\ndef f(): pass\ndef f(): return 1\n";

fn path(root: &Path, name: &str) -> String {
    root.join(name).to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_drawn_as_svg_and_dot() {
    let root = folder();
    write_files(root.path(), &[("m.py", SOURCE)]);
    let (svg, dot) = (path(root.path(), "m.svg"), path(root.path(), "m.dot"));
    let target = path(root.path(), "m.py:C.m");
    let (code, stdout, stderr) = run(bytefacts(root.path(), &["graph", &target, "--svg", &svg, "--dot", &dot, "--data-flow"]).await);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "", ""));
    let picture = std::fs::read_to_string(&svg).unwrap();
    let parts = ["<svg xmlns=", "C.m(self, xs)", "FOR_ITER", "yield x + 1", "handler", "jump back", "exc 0", "x: ", "prefers-color-scheme"];
    for part in parts {
        assert!(picture.contains(part), "{part}: {picture}");
    }
    let dot = std::fs::read_to_string(&dot).unwrap();
    assert!(dot.starts_with("digraph \"C.m(self, xs)\" {") && dot.contains("style=dotted"), "{dot}");

    // Every time the same, to stdout too.
    let (_, again, _) = run(bytefacts(root.path(), &["graph", &target, "--svg", "-", "--data-flow"]).await);
    assert_eq!(again, picture);
    let (_, without, _) = run(bytefacts(root.path(), &["graph", &target, "--svg", "-"]).await);
    assert!(!without.contains("class=\"use\"") && without.len() < picture.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_module_itself_is_drawn_without_a_name() {
    let root = folder();
    write_files(root.path(), &[("m.py", SOURCE)]);
    let (code, stdout, stderr) = run(bytefacts(root.path(), &["graph", &path(root.path(), "m.py"), "--dot", "-"]).await);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("digraph \"&lt;module&gt;\"") || stdout.starts_with("digraph \"<module>\""), "{stdout}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_drawn_is_told() {
    let root = folder();
    write_files(root.path(), &[("m.py", SOURCE), ("bad.py", b"x = (\n")]);
    let file = |name: &str| path(root.path(), name);
    let nowhere = path(root.path(), "no/where.svg");
    let cases: [(&[&str], i32, &str); 9] = [
        (&[&file("m.py:C.n"), "--svg", "-"], 2, "no unit is called C.n; the nearest names are C.m, "),
        (&[&file("m.py:f"), "--svg", "-"], 2, "choose one of f#1 at line 10, f#2 at line 11"),
        (&[&file("m.py:f#3"), "--svg", "-"], 2, "there is no f#3"),
        (&[&file("m.py:C.m"), "--svg", "-", "--max-blocks", "3"], 2, "--max-blocks"),
        (&[&file("m.py")], 2, "--svg"),
        (&[&file("m.py"), "--svg", "-", "--dot", "-"], 2, "stdout"),
        (&[&file("m.py"), "--svg", &nowhere], 1, "cannot write"),
        (&[&file("none.py:f"), "--svg", "-"], 1, "none.py"),
        (&[&file("bad.py"), "--svg", "-"], 1, "was never closed"),
    ];
    for (args, expected, message) in cases {
        let args = [&["graph"], args].concat();
        let (code, stdout, stderr) = run(bytefacts(root.path(), &args).await);
        assert_eq!((code, stdout.as_str()), (expected, ""), "{args:?}: {stderr}");
        assert!(stderr.contains(message), "{args:?}: {stderr}");
    }
    let (code, ..) = run(bytefacts(root.path(), &["graph", &file("m.py:f#2"), "--svg", "-"]).await);
    assert_eq!(code, 0);
}
