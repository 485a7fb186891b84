//! The end-to-end tests: one binary, since each one links DataFusion and Ballista.
//!
//! They run the real thing: CPython workers, an embedded Ballista cluster, Parquet on disk, the `bytefacts` binary. What they need they make
//! or find by themselves; CPython 3.13 is found as the product finds it.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod attempts;
mod audit_cluster;
mod audit_reports;
mod audit_seeds;
mod audits;
mod bad_inputs;
mod builds;
mod changes;
mod chaos;
mod chart;
mod cli;
mod client;
mod clients;
mod clocks;
mod clouds;
mod cluster;
mod columns;
mod config;
mod cookbook;
mod digests;
mod docs_clients;
mod drift;
mod equal_answers;
mod failing_disk;
mod full_disk;
mod gate_fuzz;
mod graph;
mod interruption;
mod judged;
mod killers;
mod large_cases;
mod meaning;
mod mutual_tls;
mod observed;
mod operations;
mod options;
mod oracle;
mod process_one;
mod processes;
mod pushdown;
mod queries;
mod records;
mod refusals;
mod s3;
mod selection;
mod servers;
mod service;
mod service_access;
mod service_audit_log;
mod service_clients;
mod service_cluster;
mod service_hostile;
mod service_jdbc;
mod service_limits;
mod service_vanished;
mod shared_cache;
mod shell;
mod shell_connect;
mod signals;
mod sql;
mod support;
mod truths;
mod validate;
