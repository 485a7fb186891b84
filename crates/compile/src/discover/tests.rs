//! Discovery among scripts that answer the probe as interpreters of all kinds would.

use std::os::unix::fs::PermissionsExt;

use bytefacts_bytecode::opcode;
use tempfile::TempDir;

use super::*;

/// A machine of our own: a home folder and two folders on `PATH`.
struct Machine {
    root: TempDir,
    vars: Vec<(&'static str, PathBuf)>,
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let path = std::env::join_paths([root.path().join("first"), root.path().join("second")]).unwrap();
        let vars = vec![("HOME", root.path().join("home")), ("PATH", path.into())];
        Self { root, vars }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn with(mut self, name: &'static str, below: &str) -> Self {
        self.vars.push((name, self.at(below)));
        self
    }

    fn script(self, path: &str, body: &str) -> Self {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Something that says it is a fit interpreter of that version.
    fn python(self, path: &str, version: &str) -> Self {
        self.reporting(path, "cpython", version, false)
    }

    fn reporting(self, path: &str, implementation: &str, version: &str, free_threaded: bool) -> Self {
        let report = serde_json::json!({
            "executable": self.at(path), "implementation": implementation, "version": version, "magic": hex::encode(opcode::MAGIC),
            "opcode_map": opcode::map_digest(), "stdlib": "/lib", "free_threaded": free_threaded, "debug": false,
        });
        self.script(path, &format!("echo '{report}'"))
    }

    async fn discover(&self, explicit: Option<&Path>) -> Result<String, DiscoverError> {
        let environment = self.vars.iter().map(|(name, value)| (*name, value)).collect();
        let found = discover_within(&environment, explicit, Duration::from_secs(5)).await?;
        Ok(found.executable.strip_prefix(self.root.path()).unwrap().display().to_string())
    }

    async fn found(&self) -> String {
        self.discover(None).await.unwrap()
    }

    async fn error(&self, explicit: Option<&str>) -> String {
        let explicit = explicit.map(|path| self.at(path));
        self.discover(explicit.as_deref()).await.unwrap_err().to_string()
    }
}

#[tokio::test]
async fn the_first_of_path_that_fits_wins() {
    let machine = Machine::new()
        .python("second/python3.13", "3.13.2")
        .python("first/python3", "3.13.5")
        .python("home/.pyenv/versions/3.13.9/bin/python3.13", "3.13.9");
    assert_eq!(machine.found().await, "second/python3.13");
    assert_eq!(machine.python("first/python3.13", "3.13.1").found().await, "first/python3.13");
}

#[tokio::test]
async fn a_shim_without_a_version_is_passed_over() {
    let shim = "echo \"pyenv: python3.13: command not found\" >&2; exit 127";
    let machine = Machine::new().script("first/python3.13", shim).python("first/python3", "3.11.7").python("first/python", "2.7.18");
    let error = machine.error(None).await;
    assert!(error.contains("first/python3.13 (PATH): it ended with exit status: 127: pyenv: python3.13: command not found"), "{error}");
    assert!(error.contains("first/python3 (PATH): it is cpython 3.11.7, not CPython 3.13"), "{error}");
    let machine = machine.python("home/.pyenv/versions/3.13.0/bin/python3.13", "3.13.0");
    assert_eq!(machine.found().await, "home/.pyenv/versions/3.13.0/bin/python3.13");
}

#[tokio::test]
async fn a_shim_of_pyenv_is_not_run_but_what_it_may_stand_for_is_tried_in_its_place() {
    for (vars, root) in [(None, "home/.pyenv"), (Some("else"), "else")] {
        let machine = match vars {
            Some(below) => Machine::new().with("PYENV_ROOT", below),
            None => Machine::new(),
        };
        let (shims, ran) = (machine.at(&format!("{root}/shims")), machine.at("ran"));
        let path = std::env::join_paths([shims, machine.at("second")]).unwrap();
        let mut machine = machine
            .script(&format!("{root}/shims/python3.13"), &format!("touch '{}'; exit 127", ran.display()))
            .python("second/python3.13", "3.13.2");
        machine.vars.push(("PATH", path.into()));
        assert_eq!(machine.found().await, "second/python3.13", "pyenv has no 3.13");
        let python = format!("{root}/versions/3.13.1/bin/python3.13");
        assert_eq!(machine.python(&python, "3.13.1").found().await, python, "as the shim would, before what comes later on PATH");
        assert!(!ran.exists(), "no shim was run");
    }
}

#[tokio::test]
async fn a_shim_that_works_leads_to_what_stands_behind_it() {
    let machine = Machine::new().python("real/python3.13", "3.13.4");
    let real = machine.at("real/python3.13").display().to_string();
    assert_eq!(machine.script("first/python3.13", &format!("exec '{real}' \"$@\"")).found().await, "real/python3.13");
}

#[tokio::test]
async fn python3_and_python_count_if_they_are_3_13() {
    let machine = Machine::new().python("second/python", "3.13.2");
    assert_eq!(machine.found().await, "second/python");
    assert_eq!(machine.python("second/python3", "3.13.1").found().await, "second/python3");
}

#[tokio::test]
async fn our_own_installation_comes_before_those_of_version_managers() {
    let own = "home/.cache/bytefacts/python/cpython-3.13.15+20260814-x86_64-unknown-linux-gnu/bin/python3.13";
    let machine = Machine::new().with("BYTEFACTS_CACHE_DIR", "home/.cache/bytefacts").python(own, "3.13.15");
    assert_eq!(machine.python("home/.pyenv/versions/3.13.16/bin/python3.13", "3.13.16").found().await, own);
}

#[tokio::test]
async fn every_version_manager_is_looked_at_in_order() {
    let machine = Machine::new().python("home/.local/share/mise/installs/python/3.13.1/bin/python3.13", "3.13.1");
    assert_eq!(machine.found().await, "home/.local/share/mise/installs/python/3.13.1/bin/python3.13");
    let machine = machine.python("home/.asdf/installs/python/3.13.1/bin/python3.13", "3.13.1");
    assert_eq!(machine.found().await, "home/.asdf/installs/python/3.13.1/bin/python3.13");
    let machine = machine.python("home/.local/share/uv/python/cpython-3.13.1-linux-x86_64-gnu/bin/python3.13", "3.13.1");
    assert_eq!(machine.found().await, "home/.local/share/uv/python/cpython-3.13.1-linux-x86_64-gnu/bin/python3.13");
    let machine = machine.python("home/.pyenv/versions/3.13.1/bin/python3.13", "3.13.1");
    assert_eq!(machine.found().await, "home/.pyenv/versions/3.13.1/bin/python3.13");
}

#[tokio::test]
async fn version_managers_may_live_elsewhere() {
    for (var, folder) in [
        ("PYENV_ROOT", "else/versions/3.13.1"),
        ("UV_PYTHON_INSTALL_DIR", "else/cpython-3.13.1-x"),
        ("ASDF_DATA_DIR", "else/installs/python/3.13.1"),
        ("MISE_DATA_DIR", "else/installs/python/3.13.1"),
        ("XDG_DATA_HOME", "else/mise/installs/python/3.13.1"),
    ] {
        let python = format!("{folder}/bin/python3.13");
        assert_eq!(Machine::new().with(var, "else").python(&python, "3.13.1").found().await, python, "{var}");
    }
}

#[tokio::test]
async fn the_newest_patch_release_wins_by_number_and_finals_over_candidates() {
    let at = |version: &str| format!("home/.pyenv/versions/{version}/bin/python3.13");
    let machine = Machine::new()
        .python(&at("3.13.9"), "3.13.9")
        .python(&at("3.13.10"), "3.13.10")
        .python(&at("3.13.10rc1"), "3.13.10rc1")
        .python(&at("3.130.99"), "3.13.99")
        .python(&at("3.12.99"), "3.12.99");
    assert_eq!(machine.found().await, at("3.13.10"));
}

#[tokio::test]
async fn unfit_builds_are_refused_by_name() {
    let at = |version: &str| format!("home/.pyenv/versions/{version}/bin/python3.13");
    let machine = Machine::new().python(&at("3.13.0rc2"), "3.13.0rc2").reporting(&at("3.13.1t"), "cpython", "3.13.1", true).reporting(
        "first/python3.13",
        "pypy",
        "3.13.1",
        false,
    );
    let error = machine.error(None).await;
    for part in [
        "pre-release 3.13.0rc2",
        "free-threaded",
        "it is pypy 3.13.1",
        "bytefacts python install",
        "--python PATH",
        "BYTEFACTS_PYTHON",
        "pyenv",
        "uv",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[tokio::test]
async fn who_names_one_gets_that_one_or_an_error() {
    let machine = Machine::new().python("first/python3.13", "3.13.2").python("other/python3.13", "3.13.3").python("old/python3", "3.12.0");
    assert_eq!(machine.discover(Some(&machine.at("other/python3.13"))).await.unwrap(), "other/python3.13");
    let error = machine.error(Some("old/python3")).await;
    assert!(error.starts_with("the Python that --python names does not fit") && error.contains("3.12.0"), "{error}");
    assert!(machine.error(Some("none/python3")).await.contains("cannot run it"));

    let machine = machine.with(PYTHON_VAR, "old/python3");
    assert!(machine.error(None).await.starts_with("the Python that BYTEFACTS_PYTHON names does not fit"));
    assert_eq!(machine.discover(Some(&machine.at("other/python3.13"))).await.unwrap(), "other/python3.13");
}

#[tokio::test]
async fn a_named_one_may_be_a_bare_name_on_path() {
    let machine = Machine::new().python("second/my-python", "3.13.2");
    assert_eq!(machine.discover(Some(Path::new("my-python"))).await.unwrap(), "second/my-python");
}

#[tokio::test]
async fn one_that_hangs_costs_its_time_limit_only() {
    let machine = Machine::new().script("first/python3.13", "exec sleep 600").python("second/python3.13", "3.13.2");
    let environment = machine.vars.iter().map(|(name, value)| (*name, value)).collect();
    let found = discover_within(&environment, None, Duration::from_secs(5)).await.unwrap();
    assert!(found.executable.ends_with("second/python3.13"));
}

#[tokio::test]
async fn with_nothing_there_the_error_says_how_to_get_one() {
    let error = Machine::new().error(None).await;
    assert!(error.contains("there is no Python on PATH"), "{error}");
    assert!(error.contains("run `bytefacts python install`"), "{error}");
}

#[tokio::test]
async fn the_real_one_has_a_standard_library_and_our_opcode_map() {
    let found = discover(None).await.expect("this test needs a CPython 3.13");
    assert!(found.version.starts_with("3.13.") && found.stdlib.join("os.py").exists());
    assert_eq!((found.magic.as_str(), found.implementation.as_str()), ("f30d0d0a", "cpython"));
}
