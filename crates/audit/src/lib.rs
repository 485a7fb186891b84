//! Determinism: what differs between two runs, two derivations of a file, or a `.pyc` and its source, and why.
//!
//! ```text
//! digests       what a file is, at four depths            difference    the first field that differs, with both values
//! tree          the digests of a run as a Merkle tree     stream        what two marshal streams of one value differ in
//! changes       two runs, from the root down              cause         the catalogue of causes, and which of them it was
//! pyc           a `.pyc` against its source               edits         two listings of instructions aligned, side by side
//! row           rows of two runs: first field that differs, listings
//! drift         equal edits between two interpreters, counted together
//! slots         code whose locals are numbered in an order of their own
//! matrix        what is varied, as YAML data              night         which files and conditions a night covers, verdicts
//! allow         what is known and let pass until a day      report/       verdicts as JSON, Markdown, JUnit, SARIF, HTML, in-toto
//! ```
//!
//! The crate is pure: bytes, rows and outcomes in, findings out. It reads no file and knows no time of day, and workers are all that it starts; who
//! does more is `bytefacts audit`, and executors. It links neither DataFusion nor Ballista, so that an executor can audit as well as a laptop.

pub mod allow;
pub mod cause;
pub mod changes;
pub mod difference;
pub mod digests;
pub mod drift;
pub mod edits;
pub mod matrix;
pub mod night;
pub mod pyc;
pub mod report;
pub mod row;
pub mod slots;
pub mod stream;
pub mod tree;

/// A digest of 256 bits.
pub type Digest = [u8; 32];
