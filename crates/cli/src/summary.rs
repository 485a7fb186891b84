//! What a job is summed up as, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use arrow::temporal_conversions::timestamp_ms_to_datetime;
use bytefacts_compile::{MEMORY_LIMIT, TIME_LIMIT};
use bytefacts_landing::{Committed, ErrorCount, Gone, HeldBack, RunHeader};
use serde::Serialize;

use crate::args::FailOn;
use crate::exit::Exit;
use crate::table::width::printable;

/// The stage of the errors of files that were given up.
const QUARANTINE: &str = "quarantine";

/// The errors of files of which a larger or quicker machine might say something else.
const DECIDED_BY_THE_MACHINE: [&str; 2] = [MEMORY_LIMIT, TIME_LIMIT];

/// The end of a job.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The run.
    pub run: String,
    /// The corpus, as a URI.
    pub corpus: String,
    /// The one repository that the whole corpus is; null where its first-level folders are the repositories.
    pub repository: Option<String>,
    /// Where the facts are, as a URI.
    pub facts: String,
    /// Whether readers see this run now; a newer one may have been committed meanwhile.
    pub current: bool,
    /// Why it is not to become current; null if it is.
    pub held_back: Option<String>,
    /// What the run before had of the corpus, and this one has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gone: Option<Gone>,
    /// Whether this run had been committed before, so that nothing was done.
    pub committed_before: bool,
    /// The interpreter that compiled.
    pub python: String,
    /// Files listed; each has a row.
    pub files: u64,
    /// Repositories.
    pub repositories: u64,
    /// Bytes of source.
    pub source_bytes: u64,
    /// Code objects.
    pub units: u64,
    /// Instructions.
    pub instructions: u64,
    /// Files whose compiled unit came from the cache.
    pub cache_hits: u64,
    /// Those of them that came from the tier which nodes share.
    pub cache_shared_hits: u64,
    /// What an oracle has found; null without one.
    pub oracle: Option<Oracle>,
    /// Whether rows can be compared with those of other runs of the same options.
    pub comparable: bool,
    /// Errors and warnings by stage, type and severity.
    pub errors: Vec<ErrorCount>,
    /// Bins, each landed by one task.
    pub bins: u32,
    /// Those of which nothing had changed, so that an earlier run's files are named again.
    pub bins_taken_over: u32,
    /// Parquet files.
    pub data_files: u64,
    /// Bytes of Parquet.
    pub data_bytes: u64,
    /// Those of them that this run itself has written.
    pub landed_bytes: u64,
    /// The digest of the whole run: equal runs have equal digests.
    pub digest: String,
    /// Wall-clock time.
    pub seconds: f64,
    /// CPU time of all processes, compile workers included; none where other machines worked.
    pub cpu_seconds: Option<f64>,
    /// CPU time of the compile workers alone, as they reported it.
    pub compile_cpu_seconds: f64,
}

/// What an oracle has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Oracle {
    /// Files that were compared in full.
    pub files: u64,
    /// Values in which `dis` differs.
    pub differences: u64,
    /// Files of the sample of which there is no telling: a limit, or a judge that failed.
    pub not_judged: u64,
}

impl Oracle {
    /// What the manifest of a run says of it; `None` if it ran without an oracle.
    fn of(run: &RunHeader) -> Option<Self> {
        run.options.get("oracle").and_then(serde_json::Value::as_f64).filter(|rate| *rate > 0.0)?;
        let stats = &run.stats;
        let warnings = stats.errors.iter().filter(|e| e.stage == bytefacts_facts::oracle::STAGE && e.severity == "warning");
        Some(Self { files: stats.oracle_files, differences: stats.oracle_differences, not_judged: warnings.map(|e| e.count).sum() })
    }

    fn text(self) -> String {
        let mut text = format!("{} checked, {}", count(self.files, "file"), count(self.differences, "difference"));
        if self.not_judged > 0 {
            // Writing to a string does not fail.
            let _: std::fmt::Result = write!(text, ", {} could not be judged", count(self.not_judged, "file"));
        }
        text
    }
}

impl Summary {
    /// How the command ends.
    pub fn exit(&self, fail_on: FailOn) -> Exit {
        exit(fail_on, self.oracle, &self.errors, self.held_back.is_some())
    }

    /// Sums up a committed run.
    pub fn new(committed: &Committed, repository: Option<&str>, facts: &str, wall: Duration, cpu: Option<Duration>) -> Self {
        let run = &committed.document.run;
        let text = |key: &str| run.interpreter.get(key).and_then(|v| v.as_str()).unwrap_or("?").to_owned();
        Self {
            run: run.run_id.to_string(),
            corpus: run.corpus.clone(),
            repository: repository.map(str::to_owned),
            facts: facts.to_owned(),
            current: committed.current.as_ref().is_some_and(|current| current.run_id == run.run_id),
            held_back: committed.held_back.map(|held| why_held_back(held, run.run_id.as_str())),
            gone: run.gone,
            committed_before: !committed.newly,
            python: format!("{} {}", text("implementation"), text("version")),
            files: run.stats.files,
            repositories: run.repositories,
            source_bytes: run.stats.source_bytes,
            units: run.stats.units,
            instructions: run.stats.instructions,
            cache_hits: run.stats.cache_hits,
            cache_shared_hits: run.stats.cache_shared_hits,
            oracle: Oracle::of(run),
            comparable: run.options.get("comparable").and_then(serde_json::Value::as_bool).unwrap_or(true),
            errors: run.stats.errors.clone(),
            bins: run.bins,
            bins_taken_over: run.bins_taken_over,
            data_files: run.data_files,
            data_bytes: run.data_bytes,
            landed_bytes: run.landed_bytes,
            digest: run.digest.clone(),
            seconds: wall.as_secs_f64(),
            cpu_seconds: cpu.map(|cpu| cpu.as_secs_f64()),
            compile_cpu_seconds: Duration::from_micros(run.stats.compile_cpu_us).as_secs_f64(),
        }
    }

    /// The summary for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            // Writing to a string does not fail.
            let _: std::fmt::Result = writeln!(text, "{name:<14}{value}");
        };
        line(
            "run",
            match (&self.held_back, self.current) {
                (_, true) => self.run.clone(),
                (Some(_), false) => format!("{} (committed, but held back: it is not current)", self.run),
                (None, false) => format!("{} (not current: a newer run was committed meanwhile)", self.run),
            },
        );
        if let Some(why) = &self.held_back {
            line("held back", why.clone());
        }
        if let Some(Gone { repositories, files, .. }) = self.gone {
            let gone = plural(repositories, "repository", "repositories");
            line("gone", format!("{gone} of the run before, with {}", count(files, "file")));
        }
        if self.committed_before {
            line("", "was committed before; nothing was done".to_owned());
        }
        line("corpus", format!("{} ({}, {})", self.corpus, count(self.files, "file"), bytes(self.source_bytes)));
        if let Some(repository) = &self.repository {
            line("", format!("as one repository, {}", printable(repository)));
        }
        line("compiled by", self.python.clone());
        line("facts", format!("{} code objects, {} instructions", thousands(self.units), thousands(self.instructions)));
        for (i, error) in self.errors.iter().enumerate() {
            let name = if i == 0 { "errors" } else { "" };
            line(name, format!("{} × {} ({}, stage {})", thousands(error.count), error.error_type, error.severity, error.stage));
        }
        if self.errors.is_empty() {
            line("errors", "none".to_owned());
        }
        if let Some(oracle) = self.oracle {
            line("oracle", oracle.text());
        }
        let shared = match self.cache_shared_hits {
            0 => String::new(),
            hits => format!(", {} of them from the shared cache", thousands(hits)),
        };
        line("cache", format!("{} of {} files{shared}", thousands(self.cache_hits), thousands(self.files)));
        line(
            "landed",
            match self.landed_bytes {
                new if new == self.data_bytes => {
                    format!("{} in {} of {}", bytes(new), count(self.data_files, "Parquet file"), count(u64::from(self.bins), "bin"))
                }
                new => format!(
                    "{} of {} ({} of {} unchanged: an earlier run's files are named again)",
                    bytes(new),
                    bytes(self.data_bytes),
                    thousands(u64::from(self.bins_taken_over)),
                    count(u64::from(self.bins), "bin"),
                ),
            },
        );
        line(
            "time",
            match self.cpu_seconds {
                Some(cpu) => format!("{:.1} s, {cpu:.1} s of CPU ({:.1} s of it compiling)", self.seconds, self.compile_cpu_seconds),
                None => format!("{:.1} s, {:.1} s of CPU compiling", self.seconds, self.compile_cpu_seconds),
            },
        );
        line("digest", self.digest.clone() + if self.comparable { "" } else { " (not comparable: adaptive instructions)" });
        line("facts are in", self.facts.clone());
        text
    }
}

/// What was missing, how to see it, and how to make the run current as it is.
fn why_held_back(held: HeldBack, run: &str) -> String {
    let anyway =
        |setting: &str| format!("`bytefacts extract --resume {run}` with a greater client.{setting} makes the run current as it is");
    let rows = "see `bytefacts sql` for them (bytecode_errors, stage read)";
    match held {
        HeldBack::Unlisted { folders } => {
            let listed = format!("{} could not be listed, and nobody knows what they hold: {rows}", count(folders, "folder"));
            format!("{listed}; `bytefacts extract --resume {run}` with client.max_unread_share = 1 makes the run current as it is")
        }
        HeldBack::Unread { unread, files, allowed } => format!(
            "{} of {} could not be read, more than client.max_unread_share = {allowed} allows: {rows}; {}",
            thousands(unread),
            count(files, "file"),
            anyway("max_unread_share")
        ),
        HeldBack::Gone { gone, allowed } => format!(
            "{} of {} of the run before are gone with their repositories, more than client.max_gone_share = {allowed} allows: is a mount missing? {}",
            thousands(gone.files),
            count(gone.of_files, "file"),
            anyway("max_gone_share")
        ),
    }
}

fn exit(fail_on: FailOn, oracle: Option<Oracle>, errors: &[ErrorCount], held_back: bool) -> Exit {
    let differs = oracle.is_some_and(|oracle| oracle.differences + oracle.not_judged > 0);
    let is_given_up = |error: &ErrorCount| error.stage == QUARANTINE || DECIDED_BY_THE_MACHINE.contains(&error.error_type.as_str());
    let given_up = || errors.iter().any(|error| is_given_up(error) && error.count > 0);
    let has = |severity: &str| errors.iter().any(|error| error.severity == severity && error.count > 0);
    let fails = match fail_on {
        FailOn::Findings => differs || held_back || given_up(),
        FailOn::Error => differs || held_back || has("error"),
        FailOn::Warning => differs || held_back || has("error") || has("warning"),
        FailOn::Never => false,
    };
    if fails { Exit::Findings } else { Exit::Clean }
}

/// `1 file`, `2,132 files`.
pub fn count(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(n), if n == 1 { "" } else { "s" })
}

/// `1 repository`, `2,132 repositories`.
pub fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(n), if n == 1 { one } else { many })
}

/// `1,234,567`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A difference: `+1,234`, `-3`, `+0`.
pub fn signed(n: i64) -> String {
    format!("{}{}", if n < 0 { '-' } else { '+' }, thousands(n.unsigned_abs()))
}

/// `12.3 MB`: decimal units.
pub fn bytes(n: u64) -> String {
    indicatif::DecimalBytes(n).to_string()
}

/// A time as ISO 8601, UTC, in whole seconds.
pub fn utc(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(timestamp_ms_to_datetime);
    time.map_or_else(|| "?".to_owned(), |time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_has_its_sign() {
        assert_eq!([2_881, 0, -1_234].map(signed), ["+2,881", "+0", "-1,234"]);
    }

    #[test]
    fn what_is_a_finding_is_for_the_user_to_say() {
        use FailOn::{Error, Findings, Never, Warning};
        let errors = |stage: &str, severity: &str| {
            let (stage, severity) = (stage.to_owned(), severity.to_owned());
            vec![ErrorCount { stage, error_type: "X".to_owned(), severity, count: 1 }]
        };
        let differs = Some(Oracle { files: 3, differences: 1, not_judged: 0 });
        for (oracle, errors, fails) in [
            (None, vec![], &[][..]),
            (None, errors("compile", "warning"), &[Warning]),
            (None, errors("compile", "error"), &[Warning, Error]),
            (None, errors("quarantine", "error"), &[Warning, Error, Findings]),
            (differs, vec![], &[Warning, Error, Findings]),
        ] {
            for level in [Never, Findings, Error, Warning] {
                let expected = if fails.contains(&level) { Exit::Findings } else { Exit::Clean };
                assert_eq!(exit(level, oracle, &errors, false), expected, "{level:?} of {errors:?}");
            }
        }
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399_999), "2000-02-28T23:59:59Z");
        assert_eq!(utc(u64::MAX), "?");
    }

    #[test]
    fn figures_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(count(1, "file"), "1 file");
        assert_eq!(count(2_132, "file"), "2,132 files");
        assert_eq!(bytes(33_100_000), "33.10 MB");
        assert_eq!(Oracle { files: 3, differences: 0, not_judged: 0 }.text(), "3 files checked, 0 differences");
        assert_eq!(
            Oracle { files: 1_000, differences: 1, not_judged: 2 }.text(),
            "1,000 files checked, 1 difference, 2 files could not be judged"
        );
    }
}
