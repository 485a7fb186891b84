//! What is built is built once: `cargo run` and `cargo test --workspace` share DataFusion and all else. And what a crate is for, it links, and no more.

use std::collections::BTreeSet;
use std::process::Command;

/// The packages that cargo would build here with these arguments, each with its features.
fn packages(args: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["tree", "--locked", "--prefix", "none", "--format", "{p} {f}"]).args(args);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    // A star says that what is below a package stands above.
    lines.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
}

/// One feature more in a package, and cargo builds it and all that stands on it a second time: ten minutes where DataFusion is among them.
/// Where this fails, `cargo tree --workspace --edges features --invert PACKAGE` says who asks for the feature; the workspace's
/// `Cargo.toml` then asks for it too.
#[test]
fn a_build_after_the_tests_builds_no_package_again() {
    let (tests, build) = (packages(&["--workspace", "--edges", "normal,build,dev"]), packages(&["--edges", "normal,build"]));
    assert!(build.len() > 300, "{build:?}");
    let again: Vec<_> = build.difference(&tests).collect();
    assert!(again.is_empty(), "with other features than in tests: {again:?}");
}

/// ARCHITECTURE.md says which way dependencies point; here is who must not link what, however many crates lie between.
#[test]
fn a_crate_links_nothing_that_it_is_not_for() {
    for (package, without) in [
        ("bytefacts-bytecode", &["arrow", "tokio", "object_store"][..]),
        ("bytefacts-compile", &["arrow", "datafusion", "object_store", "bytefacts-facts"]),
        ("bytefacts-graph", &["arrow", "tokio", "object_store", "bytefacts-bytecode", "bytefacts-facts"]),
        ("bytefacts-corpus", &["arrow", "parquet", "datafusion", "bytefacts-landing", "bytefacts-compile"]),
        ("bytefacts-cache", &["arrow", "datafusion", "bytefacts-bytecode", "bytefacts-compile", "bytefacts-landing"]),
        ("bytefacts-facts", &["datafusion", "ballista-core", "tokio", "object_store"]),
        ("bytefacts-encode", &["datafusion", "object_store"]),
        // Executors will audit too, and whoever only compares runs links no engine.
        ("bytefacts-audit", &["datafusion", "ballista-core", "object_store", "bytefacts-landing"]),
        ("bytefacts-landing", &["datafusion", "bytefacts-facts"]),
        ("bytefacts-stores", &["datafusion", "bytefacts-compile"]),
        // Who only asks for facts links nothing that makes them.
        ("bytefacts-query", &["bytefacts-compile", "bytefacts-engine", "bytefacts-cache", "ballista-core"]),
        ("bytefacts-serve", &["bytefacts-compile", "bytefacts-engine", "bytefacts-cache", "ballista-core"]),
        ("bytefacts-engine", &["ballista-core", "bytefacts-serve", "bytefacts-graph"]),
        ("bytefacts-cluster", &["bytefacts-serve", "bytefacts-graph", "clap"]),
        ("bytefacts-client", &["bytefacts-compile", "bytefacts-engine", "bytefacts-cache", "ballista-scheduler"]),
    ] {
        let linked = packages(&["--package", package, "--edges", "normal"]);
        let name = |line: &String| line.split(' ').next().unwrap_or_default().to_owned();
        let names: BTreeSet<_> = linked.iter().map(name).collect();
        assert!(names.contains(package) && names.len() > 1, "{names:?}");
        for other in without {
            assert!(
                !names.contains(*other),
                "{package} links {other}: `cargo tree --package {package} --invert {other}` says by which way"
            );
        }
    }
}
