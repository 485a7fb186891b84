//! `audit` and `pyc`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use super::{Format, ProgressMode};

/// Derive facts again under other conditions, and compare.
///
/// A run is taken, and a sample of its files is derived again under each condition of a matrix: hash seed, order of work, what the worker did
/// before, environment, limits, levels of optimisation, caches against fresh. The sample rotates, so that all files are covered after some nights.
/// Each file and condition is good, bad, fail (the second derivation failed) or unknown (not covered, and why); what is bad has its cause, the first
/// field that differs, and the command that repeats it. With several --python, the others than the first are compared with it: what they compile
/// differently is drift and explained, never bad.
///
/// Ends with 0 if nothing is bad or failed, with 3 if something is.
#[derive(Debug, ClapArgs)]
pub struct Audit {
    /// The corpus that the run was made of: a path or a URI.
    pub corpus: String,
    /// The facts: a path or a URI.
    #[arg(long, value_name = "FACTS", env = "BYTEFACTS_FACTS")]
    pub facts: String,
    /// The run to audit. Without this option the corpus is extracted first, into a run of its own.
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Which conditions, how many nights until all files are covered, and how much CPU time: quick, nightly or full. A --matrix has its own.
    ///
    /// quick: 3 conditions, 30 nights, 2 CPU minutes a night. For a look at a large corpus, or at a change.
    ///
    /// nightly: 9 conditions, 7 nights, 60 CPU minutes a night. For a job that runs every night, and has seen all files after a week.
    ///
    /// full: 21 conditions, 1 night, 1440 CPU minutes a night. All files under all conditions: for a release, or where something was bad.
    #[arg(long, value_name = "NAME", default_value = "nightly", help_heading = "Matrix")]
    pub preset: String,
    /// Another matrix than the one that is built in: a YAML file as config/audit.yaml.
    #[arg(long, value_name = "FILE", help_heading = "Matrix")]
    pub matrix: Option<PathBuf>,
    /// The night, by which the sample rotates [default: days since 1970].
    #[arg(long, value_name = "N", help_heading = "Matrix")]
    pub night: Option<u64>,
    /// CPU minutes, instead of the preset's.
    #[arg(long, value_name = "N", help_heading = "Matrix")]
    pub minutes: Option<u64>,
    /// This condition alone, whatever the preset says. May be given several times.
    #[arg(long, value_name = "NAME", help_heading = "Matrix")]
    pub condition: Vec<String>,
    /// Judge this file alone, with its whole bin derived as before: its path, or its repository, a slash and its path. Nothing is recorded.
    #[arg(long, value_name = "PATH", help_heading = "Matrix")]
    pub only: Option<String>,
    /// The CPython 3.13 that compiles; given again, further ones that are compared with it.
    #[arg(long, value_name = "PATH", help_heading = "Interpreter")]
    pub python: Vec<PathBuf>,
    /// Bins that are derived at a time on this machine [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Have a cluster's executors extract and derive: its scheduler, as df://HOST:PORT. They must reach CORPUS and FACTS. What further interpreters
    /// compile, and `.pyc` files, are still compared here.
    #[arg(long, value_name = "URL")]
    pub cluster: Option<String>,
    /// A YAML file of settings, for the extraction and the cluster.
    #[arg(long, value_name = "FILE", env = "BYTEFACTS_CONFIG")]
    pub config: Option<PathBuf>,
    /// When to draw a progress bar: of files, each under each condition.
    #[arg(long, value_enum, default_value_t)]
    pub progress: ProgressMode,
    /// Go on with an audit of this night or the one before that was asked for the same and did not end, its extraction included. Where there is none
    /// a new one is begun, so that a job that is started again may always say it.
    #[arg(long, conflicts_with_all = ["run", "only"])]
    pub resume_unfinished: bool,
    /// Leave the `.pyc` files of the corpus alone.
    #[arg(long)]
    pub no_pyc: bool,
    /// Findings that are known, and let pass until a day: a YAML file as docs/audit.md shows.
    #[arg(long, value_name = "FILE", help_heading = "What ends the command with exit code 3")]
    pub allow: Option<PathBuf>,
    /// Which findings do.
    #[arg(long, value_enum, default_value_t, help_heading = "What ends the command with exit code 3")]
    pub fail_on: AuditFailOn,
    /// So much of the night's sample that was not covered, from 0 to 1, does too.
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "What ends the command with exit code 3")]
    pub max_unknown_share: Option<f64>,
    /// Write the report as Markdown too.
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub markdown: Option<PathBuf>,
    /// Write the report as a page of HTML too.
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub html: Option<PathBuf>,
    /// Write the findings as JUnit XML too.
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub junit: Option<PathBuf>,
    /// Write the findings as SARIF 2.1.0 too.
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub sarif: Option<PathBuf>,
    /// Write an in-toto statement of the run, the matrix and the verdicts too. It is not signed.
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub intoto: Option<PathBuf>,
    /// Write metrics of the newest audit too, for node_exporter's textfile collector: those that `bytefacts serve` shows.
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub metrics_file: Option<PathBuf>,
    /// Push the same metrics to a Prometheus Pushgateway: http://HOST:9091, where they are the group of the job bytefacts_audit, or the whole path of
    /// another group (http://HOST:9091/metrics/job/NAME/corpus/A). User and password may stand before the host.
    #[arg(long, value_name = "URL", env = "BYTEFACTS_METRICS_PUSH", hide_env_values = true, help_heading = "Reports")]
    pub metrics_push: Option<String>,
    /// How the report is written to stdout.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What ends an audit's command with exit code 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AuditFailOn {
    /// A file that gave other facts.
    Bad,
    /// That, a second derivation that failed, and an entry of the allow-list that has expired.
    #[default]
    Findings,
    /// Those, and a `.pyc` file that is not what its source compiles to.
    Pyc,
    /// Nothing: an audit that comes to its end ends with 0.
    Never,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share is a number from 0 to 1".to_owned()),
    }
}

/// Check that `.pyc` files hold what their sources compile to.
///
/// They are read here and never loaded by a Python. A file is the same; differs in metadata alone (time or size of the source, references, interned
/// strings); differs; has no source (orphan); is of another Python (foreign); or is damaged. Ends with 3 if one differs, is damaged or an orphan.
#[derive(Debug, ClapArgs)]
pub struct Pyc {
    /// A folder with Python files, or one `.pyc` file.
    pub path: PathBuf,
    /// The CPython 3.13 that compiles.
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// Compile workers [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Files that are shown of each status; all are counted.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub show: usize,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[cfg(test)]
mod tests {
    use bytefacts_audit::matrix::{BUILT_IN, Matrix, Preset};
    use clap::CommandFactory as _;

    use crate::args::Args;

    fn presets() -> Vec<(String, Preset, Vec<String>)> {
        let matrix = Matrix::parse(BUILT_IN).unwrap();
        let conditions = |name: &str| matrix.conditions_of(name).unwrap().into_iter().map(|(name, _)| name).collect();
        matrix.presets.iter().map(|(name, preset)| (name.clone(), preset.clone(), conditions(name))).collect()
    }

    #[test]
    fn the_help_says_what_each_preset_is() {
        let all = Args::command();
        let audit = all.find_subcommand("audit").unwrap();
        let option = audit.get_arguments().find(|argument| argument.get_id() == "preset").unwrap();
        let help = option.get_long_help().unwrap().to_string();
        for (name, preset, conditions) in presets() {
            let nights = if preset.nights == 1 { "night" } else { "nights" };
            let said =
                format!("\n{name}: {} conditions, {} {nights}, {} CPU minutes a night. ", conditions.len(), preset.nights, preset.minutes);
            assert!(help.contains(&said), "no {said:?} in\n{help}");
        }
        assert_eq!(help.matches(" CPU minutes a night. ").count(), presets().len(), "{help}");
    }

    #[test]
    fn the_documentation_has_a_row_for_each_preset() {
        let page = include_str!("../../../../docs/audit.md");
        for (name, preset, conditions) in presets() {
            let all = Matrix::parse(BUILT_IN).unwrap().conditions.len();
            let conditions = match conditions.len() {
                number if number == all => format!("all {number}"),
                _ => conditions.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
            };
            let row = format!("| `{name}` | {} | {} | {conditions} |", preset.minutes, preset.nights);
            assert!(page.lines().any(|line| line.starts_with(&row)), "docs/audit.md has no row\n{row}");
        }
    }
}
