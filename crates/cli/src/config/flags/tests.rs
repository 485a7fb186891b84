//! File < environment < command line, of every setting that there is and of every option that gives one.

use std::collections::BTreeSet;

use clap::{CommandFactory as _, Parser as _};
use serde_yaml::Value;

use super::*;
use crate::args::Args;
use crate::config::layers::{self, Layers, Origin, all_keys};
use crate::config::{Settings, faults};

/// A setting: its key, a value of the file, another of the environment, and the options that give it: command, option, the value that it makes.
type Row = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str, &'static str)]);

/// Commands that run jobs.
const ROWS: &[Row] = &[
    (
        "python",
        "/a",
        "/b",
        &[
            ("extract", "--python=/c", "/c"),
            ("audit", "--python=/c", "/c"),
            ("demo", "--python=/c", "/c"),
            ("executor", "--python=/c", "/c"),
            ("doctor", "--python=/c", "/c"),
        ],
    ),
    ("extract.optimize", "1", "2", &[("extract", "--optimize=0", "0"), ("demo", "--optimize=0", "0")]),
    ("extract.dont_inherit", "false", "true", &[("extract", "--dont-inherit=false", "false"), ("demo", "--dont-inherit=false", "false")]),
    ("extract.adaptive", "true", "false", &[("extract", "--adaptive", "true"), ("demo", "--adaptive=true", "true")]),
    (
        "extract.include_cfg_derivations",
        "false",
        "true",
        &[("extract", "--include-cfg-derivations=false", "false"), ("demo", "--include-cfg-derivations=false", "false")],
    ),
    (
        "extract.terminator_opnames",
        "[RERAISE]",
        "[RETURN_VALUE]",
        &[
            ("extract", "--terminator-opnames=RETURN_CONST,RERAISE", "[RETURN_CONST, RERAISE]"),
            ("demo", "--terminator-opnames=RERAISE", "[RERAISE]"),
        ],
    ),
    ("extract.max_file_bytes", "5", "6", &[]),
    ("extract.compile_cpu_seconds", "5", "6", &[]),
    ("extract.compile_memory_bytes", "5", "6", &[]),
    ("extract.quarantine_after", "5", "6", &[]),
    ("extract.include", "[a]", "[b]", &[("extract", "--include=c,d", "[c, d]")]),
    ("extract.exclude", "[a]", "[b]", &[("extract", "--exclude=c", "[c]")]),
    // It adds, as it says.
    ("extract.extend_exclude", "[a]", "[b]", &[("extract", "--extend-exclude=c", "[b, c]")]),
    ("extract.virtual_environments", "true", "false", &[("extract", "--virtual-environments", "true")]),
    ("extract.respect_gitignore", "true", "false", &[("extract", "--respect-gitignore", "true")]),
    ("extract.oracle", "0.5", "0.25", &[("extract", "--oracle=0.125", "0.125"), ("demo", "--oracle=0.125", "0.125")]),
    ("extract.parallel_min_files", "5", "6", &[("extract", "--parallel-min-files=7", "7"), ("demo", "--parallel-min-files=7", "7")]),
    ("extract.parallel_max_bytes", "5", "6", &[("extract", "--parallel-max-bytes=7", "7"), ("demo", "--parallel-max-bytes=7", "7")]),
    ("extract.memory_budget_bytes", "5", "6", &[("extract", "--memory-budget-bytes=7", "7"), ("demo", "--memory-budget-bytes=7", "7")]),
    ("bins.count", "5", "6", &[]),
    ("bins.per_task", "5", "6", &[]),
    ("embedded.jobs", "5", "6", &[("extract", "--jobs=7", "7"), ("audit", "--jobs=7", "7"), ("demo", "--jobs=7", "7")]),
    ("embedded.executors", "5", "6", &[("extract", "--executors=7", "7"), ("demo", "--executors=7", "7")]),
    ("cache.enabled", "false", "true", &[("extract", "--no-cache", "false"), ("demo", "--no-cache", "false")]),
    ("cache.folder", "/a", "/b", &[]),
    ("cache.memory_bytes", "5", "6", &[]),
    ("cache.disk_bytes", "5", "6", &[]),
    (
        "cache.shared",
        "s3://a/x",
        "s3://b/x",
        &[("extract", "--shared-cache=/c", "/c"), ("demo", "--shared-cache=/c", "/c"), ("executor", "--shared-cache=/c", "/c")],
    ),
    ("cache.shared_secret", "/a", "/b", &[]),
    ("stores.retries", "1", "2", &[]),
    ("stores.retry_seconds", "1", "2", &[]),
    ("stores.timeout_seconds", "1", "2", &[]),
    ("access.corpus", "[/a]", "['*']", &[]),
    ("access.facts", "[/a]", "['*']", &[]),
    ("cluster_tls.authority", "/a", "/b", &[]),
    ("cluster_tls.certificate", "/a", "/b", &[]),
    ("cluster_tls.key", "/a", "/b", &[]),
    (
        "client.cluster",
        "df://a:1",
        "df://b:1",
        &[
            ("extract", "--cluster=c:1", "c:1"),
            ("audit", "--cluster=c:1", "c:1"),
            ("status", "--cluster=c:1", "c:1"),
            ("jobs", "--cluster=c:1", "c:1"),
            ("executors", "--cluster=c:1", "c:1"),
            ("cancel", "--cluster=c:1", "c:1"),
            ("doctor", "--cluster=c:1", "c:1"),
        ],
    ),
    ("client.detach", "true", "false", &[("extract", "--detach", "true")]),
    ("client.stall_seconds", "1", "2", &[]),
    ("client.unreachable_seconds", "1", "2", &[]),
    ("client.fruitless", "1", "2", &[]),
    ("client.max_unread_share", "0.5", "0.25", &[]),
    ("client.max_gone_share", "0.75", "0.25", &[]),
    ("scheduler.listen", "127.0.0.1:1", "127.0.0.1:2", &[("scheduler", "--listen=127.0.0.1:3", "127.0.0.1:3")]),
    ("scheduler.external_host", "a", "b", &[("scheduler", "--external-host=c", "c")]),
    ("scheduler.probes", "127.0.0.1:1", "127.0.0.1:2", &[("scheduler", "--probes=127.0.0.1:3", "127.0.0.1:3")]),
    ("scheduler.executor_timeout_seconds", "1", "2", &[]),
    ("scheduler.no_executors_seconds", "1", "2", &[]),
    ("scheduler.min_executors", "1", "2", &[]),
    ("scheduler.drain_seconds", "1", "2", &[]),
    ("scheduler.insecure", "true", "false", &[("scheduler", "--insecure", "true")]),
    ("scheduler.sql_listen", "127.0.0.1:1", "127.0.0.1:2", &[("scheduler", "--sql-listen=127.0.0.1:3", "127.0.0.1:3")]),
    ("scheduler.facts", "/a", "/b", &[("scheduler", "--facts=/c", "/c")]),
    ("executor.scheduler", "a:1", "b:1", &[("executor", "--scheduler=c:1", "c:1")]),
    ("executor.interpreter_seconds", "1", "2", &[]),
    ("executor.connect_seconds", "1", "2", &[]),
    ("executor.listen", "127.0.0.1:1", "127.0.0.1:2", &[("executor", "--listen=[::1]:3", "'[::1]:3'")]),
    ("executor.external_host", "a", "b", &[("executor", "--external-host=c", "c")]),
    ("executor.probes", "127.0.0.1:1", "127.0.0.1:2", &[("executor", "--probes=127.0.0.1:3", "127.0.0.1:3")]),
    ("executor.node", "a", "b", &[("executor", "--node=c", "c")]),
    ("executor.cores", "5", "6", &[("executor", "--cores=7", "7")]),
    ("executor.memory_budget_bytes", "1", "2", &[]),
    ("executor.work_dir", "/a", "/b", &[]),
    ("executor.drain_seconds", "1", "2", &[]),
    ("executor.insecure", "true", "false", &[("executor", "--insecure", "true")]),
    ("serve.listen", "127.0.0.1:1", "127.0.0.1:2", &[("serve", "--listen=127.0.0.1:3", "127.0.0.1:3")]),
    ("serve.probes", "127.0.0.1:1", "127.0.0.1:2", &[("serve", "--probes=127.0.0.1:3", "127.0.0.1:3")]),
    ("serve.cluster", "df://a:1", "df://b:1", &[("serve", "--cluster=c:1", "c:1")]),
    ("serve.cluster_bytes", "1", "2", &[]),
    ("serve.users", "/a", "/b", &[("serve", "--users=/c", "/c")]),
    ("serve.insecure", "true", "false", &[("serve", "--insecure", "true")]),
    ("serve.tls_cert", "/a", "/b", &[("serve", "--tls-cert=/c", "/c")]),
    ("serve.tls_key", "/a", "/b", &[("serve", "--tls-key=/c", "/c")]),
    ("serve.threads", "1", "2", &[]),
    ("serve.running", "1", "2", &[]),
    ("serve.queries_per_user", "1", "2", &[]),
    ("serve.query_seconds", "1", "2", &[]),
    ("serve.query_rows", "1", "2", &[]),
    ("serve.query_memory_bytes", "1", "2", &[]),
    ("serve.query_spill_bytes", "1", "2", &[]),
    ("serve.early_milliseconds", "1", "2", &[]),
    ("serve.unclaimed_seconds", "1", "2", &[]),
    ("serve.reader_seconds", "1", "2", &[]),
    ("serve.connections", "1", "2", &[]),
    ("serve.login_seconds", "1", "2", &[]),
    ("serve.message_bytes", "2000000", "3000000", &[]),
    ("serve.audit_log", "false", "true", &[]),
];

/// Options of these commands that give no setting: what is done, where, and how it is told.
const NO_SETTINGS: [&str; 37] = [
    "allow",
    "another-corpus",
    "condition",
    "config",
    "corpus",
    "facts",
    "fail-on",
    "format",
    "help",
    "html",
    "install-python",
    "intoto",
    "junit",
    "log-format",
    "markdown",
    "matrix",
    "max-unknown-share",
    "metrics-file",
    "metrics-push",
    "minutes",
    "night",
    "no-pyc",
    "only",
    "out",
    "preset",
    "progress",
    "repo",
    "resume",
    "resume-unfinished",
    "run",
    "run-id",
    "sarif",
    "tree",
    "verbose",
    "version",
    "what",
    "yes",
];

/// The least that a command must be told.
fn line(command: &'static str) -> Vec<&'static str> {
    let needed: &[&str] = match command {
        "extract" => &["corpus", "--out", "facts"],
        "audit" => &["corpus", "--facts", "facts"],
        "serve" => &["--facts", "facts"],
        "cancel" => &["run"],
        _ => &[],
    };
    ["bytefacts", command].into_iter().chain(needed.iter().copied()).collect()
}

fn given(command: &'static str, option: &'static str) -> Vec<Given> {
    let mut line = line(command);
    line.extend((!option.is_empty()).then_some(option));
    // Those of a certificate demand each other.
    match option.split('=').next() {
        Some("--tls-cert") => line.push("--tls-key=/other"),
        Some("--tls-key") => line.push("--tls-cert=/other"),
        _ => {}
    }
    let args = Args::try_parse_from(line).unwrap();
    of_command(&args.command).unwrap().given().unwrap()
}

/// What the layers make of a key, and who has decided it.
fn decided(key: &str, file: Option<&str>, environment: Option<&str>, given: Vec<Given>) -> (Value, Origin) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.yaml");
    let text = file.map(|value| {
        let value: Value = serde_yaml::from_str(value).unwrap();
        serde_yaml::to_string(&layers::alone(key, value)).unwrap()
    });
    std::fs::write(&path, text.unwrap_or_default()).unwrap();
    let variable = match key.split_once('.') {
        Some((section, key)) => format!("BYTEFACTS_{}__{}", section.to_uppercase(), key.to_uppercase()),
        None => format!("BYTEFACTS_{}", key.to_uppercase()),
    };
    let environment = environment.map(|value| (variable, value.to_owned()));
    let Layers { settings, origins } = layers::read(Some(&path), environment.into_iter(), given).unwrap();
    let value = layers::get(&serde_yaml::to_value(settings).unwrap(), key).unwrap().clone();
    let origin = origins.get(key).cloned().unwrap_or_default();
    (
        value,
        match origin {
            Origin::File(_, line) => Origin::File("file".into(), line),
            origin => origin,
        },
    )
}

#[test]
fn every_setting_is_of_the_command_line_then_the_environment_then_the_file_then_the_defaults() {
    let tested: Vec<&str> = ROWS.iter().map(|(key, ..)| *key).collect();
    assert_eq!(tested, all_keys(), "each setting has its row, in the order of the settings");
    for (key, file, environment, options) in ROWS {
        let value = |text: &str| serde_yaml::from_str::<Value>(text).unwrap();
        let default = decided(key, None, None, vec![]);
        assert_eq!(default.1, Origin::Default, "{key}");
        assert_ne!(file, environment, "{key}: one that states what the other does shows nothing");
        assert!(default.0 != value(file) || default.0 != value(environment), "{key}");

        let (found, origin) = decided(key, Some(file), None, vec![]);
        assert_eq!(found, value(file), "{key} of the file");
        assert!(matches!(origin, Origin::File(_, Some(_))), "{key}: {origin}");
        for file in [None, Some(*file)] {
            let (found, origin) = decided(key, file, Some(environment), vec![]);
            assert_eq!(found, value(environment), "{key} of the environment, over {file:?}");
            assert!(matches!(origin, Origin::Variable(_)), "{key}: {origin}");
        }
        for (command, option, made) in *options {
            let given = given(command, option);
            let (found, origin) = decided(key, Some(file), Some(environment), given.clone());
            assert_eq!(found, value(made), "{key} by {command} {option}");
            let Origin::Flag(name) = origin else { panic!("{key}: {origin}") };
            assert_eq!(Some(name), option.split('=').next(), "{key}");
            let (found, _) = decided(key, None, None, given);
            assert!(found == value(made) || *key == "extract.extend_exclude", "{key} by {command} {option} over the default");
        }
    }
}

#[test]
fn every_option_gives_a_setting_that_is_tested_or_is_known_to_give_none() {
    let all = Args::command();
    let mut seen = BTreeSet::new();
    for command in ["extract", "audit", "demo", "scheduler", "executor", "serve", "status", "jobs", "executors", "cancel", "doctor"] {
        for argument in all.find_subcommand(command).unwrap().get_arguments() {
            let name = argument.get_long().unwrap_or_else(|| argument.get_id().as_str());
            let option = format!("--{name}");
            let is_tested = ROWS.iter().any(|(_, _, _, options)| {
                options.iter().any(|(of, given, _)| *of == command && given.split('=').next() == Some(option.as_str()))
            });
            // Facts are an option of one that is no setting, and of the scheduler one.
            let is_none = NO_SETTINGS.contains(&name);
            assert!(is_tested || is_none, "{command} {option} has no row, and is not among those that give no setting");
            if is_none {
                seen.insert(name.to_owned());
            }
        }
    }
    let unused: Vec<_> = NO_SETTINGS.iter().filter(|name| !seen.contains(**name)).collect();
    assert!(unused.iter().all(|name| ["help", "log-format", "verbose", "version", "yes"].contains(*name)), "{unused:?}");
}

#[test]
fn who_gives_no_option_changes_nothing() {
    for command in ["extract", "audit", "demo", "scheduler", "executor", "serve", "status", "doctor"] {
        assert_eq!(given(command, ""), vec![], "{command}");
    }
}

#[test]
fn what_rows_say_is_sound() {
    for (key, file, environment, _) in ROWS {
        for value in [file, environment] {
            let settings: Settings = layers::interpret(layers::alone(key, serde_yaml::from_str(value).unwrap())).unwrap();
            assert_eq!(faults::by_themselves(&settings), vec![], "{key}: {value}");
        }
    }
}
