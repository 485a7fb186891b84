//! Which variables of the environment are ours.

use std::ffi::OsString;

use super::layers::{self, LEVEL, PREFIX};
use crate::exit::UsageError;

/// Those that are no setting of the file: options of the command line, and what other crates read.
const NAMES: [&str; 8] = [
    "BYTEFACTS_CACHE_DIR",
    "BYTEFACTS_CONFIG",
    "BYTEFACTS_FACTS",
    "BYTEFACTS_LOG",
    "BYTEFACTS_LOG_FORMAT",
    "BYTEFACTS_METRICS_PUSH",
    "BYTEFACTS_PYTHON",
    "BYTEFACTS_PYTHON_MIRROR",
];

/// What only tests, benchmarks and builds read. The binary inherits it from them; nobody else is told of it.
const INHERITED: [&str; 26] = [
    "BYTEFACTS_ALL_CLIENTS",
    "BYTEFACTS_BAD_INPUTS",
    "BYTEFACTS_BENCH_PYARROW",
    "BYTEFACTS_CACHE_TEST_FOLDER",
    "BYTEFACTS_CHROMIUM",
    "BYTEFACTS_DIGESTS",
    "BYTEFACTS_FAULT_EVERY",
    "BYTEFACTS_FINGERPRINT",
    "BYTEFACTS_FLOW_EVERY",
    "BYTEFACTS_FLOW_SEED",
    "BYTEFACTS_FUZZ_SECONDS",
    "BYTEFACTS_LARGE",
    "BYTEFACTS_MEANING_EVERY",
    "BYTEFACTS_OTHER_BINARY",
    "BYTEFACTS_PAGES",
    "BYTEFACTS_PUSHDOWN",
    "BYTEFACTS_SECOND_PYTHON",
    "BYTEFACTS_SEED",
    "BYTEFACTS_SLT_UPDATE",
    "BYTEFACTS_TEST_HELM",
    "BYTEFACTS_TEST_HELM3",
    "BYTEFACTS_TEST_KUBECTL",
    "BYTEFACTS_TEST_PROMTOOL",
    "BYTEFACTS_TEST_REQUIRE",
    "BYTEFACTS_TEST_S3",
    "BYTEFACTS_TRIALS",
];

/// Those of [`NAMES`] that are paths, and as such need not be text.
const PATHS: [&str; 3] = ["BYTEFACTS_CACHE_DIR", "BYTEFACTS_CONFIG", "BYTEFACTS_PYTHON"];

/// Below this likeness (1 is equal) a name is not meant.
const LIKENESS: f64 = 0.8;

/// Refuses the first of the variables that begins as ours do and is no text, in its name or in its value.
///
/// # Errors
/// Its name, and what is no text.
pub fn check_texts(environment: impl Iterator<Item = (OsString, OsString)>) -> Result<(), UsageError> {
    for (name, value) in environment.filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes())) {
        let Some(text) = name.to_str() else {
            return Err(UsageError(format!("the variable {} has a name that is no UTF-8: unset it", name.display())));
        };
        if value.to_str().is_none() && !PATHS.contains(&text) {
            return Err(UsageError(format!("the value of {text} is no UTF-8, but \"{}\": set a text, or unset it", value.display())));
        }
    }
    Ok(())
}

/// Refuses the first of the variables that is ours by its name and that nothing reads. One that is empty counts as unset.
///
/// # Errors
/// Its name, and the one that was probably meant.
pub fn check(environment: impl Iterator<Item = (String, String)>) -> Result<(), UsageError> {
    let is_setting = |name: &str| {
        let is_below = |known: &str| name.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with(LEVEL));
        name.contains(LEVEL) && layers::variables().iter().any(|known| is_below(known))
    };
    for (name, value) in environment {
        let read = NAMES.contains(&name.as_str()) || INHERITED.contains(&name.as_str()) || is_setting(&name);
        if name.starts_with(PREFIX) && !read && !value.is_empty() && !is_of_kubernetes(&name, &value) {
            return Err(UsageError(unknown(&name)));
        }
    }
    Ok(())
}

/// Whether it is one of those that tell a container of a service, such as one called `bytefacts-scheduler`.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
    let is_link = || PROTOCOLS.iter().any(|protocol| value.to_ascii_uppercase().starts_with(&format!("{protocol}://")));
    let is_of_port = |rest: &str| {
        let mut parts = rest.split('_');
        let number = parts.next().is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
        number && parts.next().is_some_and(|protocol| PROTOCOLS.contains(&protocol))
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && is_link())
        || name.match_indices("_PORT_").any(|(at, found)| name.get(at + found.len()..).is_some_and(is_of_port))
}

fn unknown(name: &str) -> String {
    let settings = layers::variables();
    let known = || NAMES.iter().copied().chain(settings.iter().map(String::as_str));
    // One underscore where two belong is a mistake of its own: nothing else is as near.
    let meant = known().find(|known| known.replace(LEVEL, "_") == name).or_else(|| {
        let scored = known().map(|known| (strsim::jaro_winkler(distinct(name), distinct(known)), known));
        scored.filter(|(likeness, _)| *likeness >= LIKENESS).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
    });
    match meant {
        Some(meant) => format!("no variable {name} is read; did you mean {meant}?"),
        None => format!("no variable {name} is read; there are {}, and settings as {PREFIX}SECTION{LEVEL}KEY", NAMES.join(", ")),
    }
}

/// What tells a name from the others: all begin alike.
fn distinct(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, value: &str) -> Result<(), String> {
        check([(name.to_owned(), value.to_owned())].into_iter()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_unknown_variable_is_refused_with_the_nearest_one() {
        for (name, meant) in [
            ("BYTEFACTS_EXECUTOR_CORES", "BYTEFACTS_EXECUTOR__CORES"),
            ("BYTEFACTS_CLIENT_STALL_SECONDS", "BYTEFACTS_CLIENT__STALL_SECONDS"),
            ("BYTEFACTS_BINS_COUNT", "BYTEFACTS_BINS__COUNT"),
            ("BYTEFACTS_EXECUTOR__COERS", "BYTEFACTS_EXECUTOR__CORES"),
            ("BYTEFACTS_EXECUTER__CORES", "BYTEFACTS_EXECUTOR__CORES"),
            ("BYTEFACTS_PYHTON", "BYTEFACTS_PYTHON"),
            ("BYTEFACTS_LOG_FROMAT", "BYTEFACTS_LOG_FORMAT"),
        ] {
            let error = checked(name, "1").unwrap_err();
            assert_eq!(error, format!("no variable {name} is read; did you mean {meant}?"));
        }
        let error = checked("BYTEFACTS_QQQ", "1").unwrap_err();
        assert!(error.contains("BYTEFACTS_QQQ") && error.contains("BYTEFACTS_CONFIG") && !error.contains("did you mean"), "{error}");
    }

    #[test]
    fn what_is_no_text_is_refused_by_its_name() {
        use std::os::unix::ffi::OsStringExt as _;

        let checked = |name: &[u8], value: &[u8]| {
            let variable = (OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec()));
            check_texts(std::iter::once(variable)).map_err(|error| error.to_string())
        };
        assert_eq!(
            checked(b"BYTEFACTS_LOG\xff", b"info"),
            Err("the variable BYTEFACTS_LOG\u{fffd} has a name that is no UTF-8: unset it".to_owned())
        );
        assert_eq!(
            checked(b"BYTEFACTS_EXECUTOR__NODE", b"n\xff"),
            Err("the value of BYTEFACTS_EXECUTOR__NODE is no UTF-8, but \"n\u{fffd}\": set a text, or unset it".to_owned())
        );
        // Paths need not be text, and what is not ours is nobody's business.
        for (name, value) in
            [(&b"BYTEFACTS_CONFIG"[..], &b"/\xff"[..]), (b"BYTEFACTS_LOG", b"info"), (b"OTHER\xff", b"\xff"), (b"OTHER", b"\xff")]
        {
            assert_eq!(checked(name, value), Ok(()));
        }
    }

    /// Whoever widens a test by a variable has its processes inherit it.
    #[test]
    fn what_the_end_to_end_tests_read_is_taken() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let sources = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
        let mut read = std::collections::BTreeSet::new();
        for source in sources.map(|path| std::fs::read_to_string(path).unwrap()) {
            for before in ["var(\"", "var_os(\"", "number(\""] {
                let names = source.split(before).skip(1).filter_map(|rest| rest.split('"').next());
                read.extend(names.filter(|name| name.starts_with(PREFIX)).map(str::to_owned));
            }
        }
        // (The chart's test makes names of these.)
        let tools = ["HELM", "HELM3", "KUBECTL", "PROMTOOL", "REQUIRE"];
        read.extend(tools.map(|tool| format!("{PREFIX}TEST_{tool}")));
        assert!(read.contains("BYTEFACTS_TRIALS") && read.contains("BYTEFACTS_ALL_CLIENTS"), "{read:?}");
        for name in read {
            assert_eq!(checked(&name, "1"), Ok(()));
        }
    }

    #[test]
    fn what_is_read_is_taken() {
        for name in NAMES.iter().chain(&INHERITED) {
            assert_eq!(checked(name, "1"), Ok(()));
        }
        for (name, value) in [("PATH", "/bin"), ("BYTEFACTSX", "1"), ("BYTEFACTS_FOO", ""), ("BYTEFACTS_EXECUTOR__CORES", "4")] {
            assert_eq!(checked(name, value), Ok(()));
        }
    }

    #[test]
    fn what_kubernetes_says_of_services_is_taken() {
        for (name, value) in [
            ("BYTEFACTS_SCHEDULER_PORT", "tcp://10.0.0.1:50050"),
            ("BYTEFACTS_SCHEDULER_SERVICE_HOST", "10.0.0.1"),
            ("BYTEFACTS_SCHEDULER_SERVICE_PORT", "50050"),
            ("BYTEFACTS_SCHEDULER_SERVICE_PORT_GRPC", "50050"),
            ("BYTEFACTS_SCHEDULER_PORT_50050_TCP", "tcp://10.0.0.1:50050"),
            ("BYTEFACTS_SCHEDULER_PORT_50050_TCP_ADDR", "10.0.0.1"),
        ] {
            assert_eq!(checked(name, value), Ok(()), "{name}");
        }
        assert!(checked("BYTEFACTS_SCHEDULER_PORT", "50050").is_err());
    }

    #[test]
    fn every_setting_of_two_levels_has_a_variable() {
        let names = layers::variables();
        for name in ["BYTEFACTS_EXECUTOR__CORES", "BYTEFACTS_EXTRACT__OPTIMIZE", "BYTEFACTS_BINS__PER_TASK", "BYTEFACTS_CACHE__ENABLED"] {
            assert!(names.iter().any(|known| known == name), "{name} is not among {names:?}");
        }
    }
}
