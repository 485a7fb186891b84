//! What travels from the client of an audit to the scheduler and on to every executor, and what of it is refused.

use std::collections::BTreeMap;

use bytefacts_audit::matrix::Condition;
use bytefacts_landing::RunId;
use bytefacts_stores::Access;
use serde::{Deserialize, Serialize};

use crate::job::{BadJob, Job, JobRefused};

/// A night's bins under conditions. It names the bins and never lists their files, so that a plan does not grow with them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditJob {
    /// The audit.
    pub audit: String,
    /// The job that has made the run: its corpus, its facts, and what rows depend on.
    pub job: Job,
    /// Bins that are written down.
    pub bins: u32,
    /// The conditions, by name.
    pub conditions: BTreeMap<String, Condition>,
}

/// What a job may ask for at most: more is a mistake, or meant to do harm.
mod most {
    /// Bins of a night.
    pub(super) const BINS: u32 = 1 << 20;
    /// Conditions.
    pub(super) const CONDITIONS: usize = 1000;
    /// Bytes of a name, of a variable's value, of a folder.
    pub(super) const NAME: usize = 4096;
    /// Variables and imports of a condition.
    pub(super) const ITEMS: usize = 1000;
    /// Bytes of memory.
    pub(super) const BYTES: u64 = 1 << 40;
    /// Bits of a umask.
    pub(super) const UMASK: u32 = 0o777;
    /// Level of optimisation.
    pub(super) const OPTIMIZE: u8 = 2;
}

/// Variables that executors give to their workers when a job says so. Others (`LD_PRELOAD`, `PYTHONHOME`) have the loader, the C library or CPython
/// itself load what lies about, and a job is as foreign as the files of its corpus.
const VARIABLES: [&str; 37] = [
    "COLUMNS",
    "HOME",
    "LANG",
    "LANGUAGE",
    "LC_ADDRESS",
    "LC_ALL",
    "LC_COLLATE",
    "LC_CTYPE",
    "LC_IDENTIFICATION",
    "LC_MEASUREMENT",
    "LC_MESSAGES",
    "LC_MONETARY",
    "LC_NAME",
    "LC_NUMERIC",
    "LC_PAPER",
    "LC_TELEPHONE",
    "LC_TIME",
    "LINES",
    "LOGNAME",
    "PYTHONCOERCECLOCALE",
    "PYTHONDEVMODE",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHASHSEED",
    "PYTHONHASHSEED_NOISE",
    "PYTHONINTMAXSTRDIGITS",
    "PYTHONIOENCODING",
    "PYTHONMALLOC",
    "PYTHONNODEBUGRANGES",
    "PYTHONOPTIMIZE",
    "PYTHONUNBUFFERED",
    "PYTHONUTF8",
    "PYTHONVERBOSE",
    "PYTHONWARNINGS",
    "SOURCE_DATE_EPOCH",
    "TERM",
    "TZ",
    "USER",
];

impl AuditJob {
    /// Refuses what no client of ours sends.
    ///
    /// # Errors
    /// When an option is out of bounds, or a name is none.
    pub fn check(&self) -> Result<(), BadJob> {
        self.job.check()?;
        let bad = |what: String| Err(BadJob::new(what));
        if let Err(error) = RunId::new(self.audit.as_str()) {
            return bad(format!("its audit: {error}"));
        }
        if self.bins > most::BINS || self.conditions.len() > most::CONDITIONS {
            return bad(format!("{} bins under {} conditions", self.bins, self.conditions.len()));
        }
        for (name, condition) in &self.conditions {
            if let Err(what) = check(name, condition) {
                return bad(format!("condition `{name}`: {what}"));
            }
        }
        Ok(())
    }

    /// Refuses a job that cannot be done, or names places that are not allowed.
    ///
    /// # Errors
    /// See [`JobRefused`].
    pub fn admit(&self, access: &Access) -> Result<(), JobRefused> {
        self.check()?;
        self.job.admit(access)
    }
}

fn check(name: &str, condition: &Condition) -> Result<(), String> {
    if !Condition::is_name(name) || name.len() > most::NAME {
        return Err("that is no name of a condition".to_owned());
    }
    let Condition { environment, imports, folder, umask, stack_bytes, memory_bytes, optimize, .. } = condition;
    if environment.len() > most::ITEMS || imports.len() > most::ITEMS {
        return Err(format!("{} variables and {} imports", environment.len(), imports.len()));
    }
    for (variable, value) in environment {
        if !VARIABLES.contains(&variable.as_str()) {
            return Err(format!("executors do not set the variable `{variable}`: audit without --cluster for that"));
        }
        // Locales and time zones are files to whoever says so.
        let is_file = variable != "HOME" && (value.starts_with(['/', ':']) || value.contains(".."));
        if value.len() > most::NAME || value.contains('\0') || is_file {
            return Err(format!("executors do not set `{variable}` to that"));
        }
    }
    let is_word = |part: &str| {
        part.chars().next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
            && part.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
    };
    if let Some(import) = imports.iter().find(|import| import.len() > most::NAME || !import.split('.').all(is_word)) {
        return Err(format!("{import:?} is no module"));
    }
    if let Some(folder) = folder
        && (!folder.is_absolute() || folder.as_os_str().len() > most::NAME)
    {
        return Err(format!("{} is no absolute path", folder.display()));
    }
    let too_large = umask.is_some_and(|umask| umask > most::UMASK)
        || optimize.is_some_and(|level| level > most::OPTIMIZE)
        || [stack_bytes, memory_bytes].into_iter().flatten().any(|bytes| *bytes > most::BYTES);
    if too_large { Err("a umask, a level of optimisation or an amount of memory that there is not".to_owned()) } else { Ok(()) }
}

#[cfg(test)]
pub(super) mod tests {
    use bytefacts_audit::matrix::{BUILT_IN, Matrix};
    use bytefacts_corpus::{BinOptions, Target};
    use bytefacts_stores::Allowed;

    use super::*;
    use crate::job::ExtractOptions;

    pub(in crate::audit) fn audit() -> AuditJob {
        let place = |name: &str| format!("file:///no-such-folder/{name}");
        let job = Job {
            corpus: place("corpus"),
            repo: None,
            facts: place("facts"),
            run: "r1".to_owned(),
            options: ExtractOptions::default(),
            bins: BinOptions { target: Target::Bins(1) },
            interpreter: None,
            use_cache: true,
        };
        AuditJob { audit: "r1.night-1.full".to_owned(), job, bins: 2, conditions: Matrix::parse(BUILT_IN).unwrap().conditions }
    }

    #[test]
    fn what_is_built_in_travels_and_what_is_foreign_is_refused_with_the_reason() {
        let access = Access {
            corpus: Allowed::of(&["/no-such-folder/corpus".to_owned()]).unwrap(),
            facts: Allowed::of(&["/no-such-folder/facts".to_owned()]).unwrap(),
        };
        let sent = serde_json::to_value(audit()).unwrap();
        let taken: AuditJob = serde_json::from_value(sent.clone()).unwrap();
        assert_eq!(taken, audit());
        taken.admit(&access).unwrap();
        for (pointer, value, reason) in [
            ("/job/corpus", serde_json::json!("file:///etc"), "access.corpus"),
            ("/job/facts", serde_json::json!("file:///etc"), "access.facts"),
            ("/job/options/optimize", serde_json::json!(3), "optimize"),
            ("/audit", serde_json::json!("../r"), "its audit"),
            ("/bins", serde_json::json!(u32::MAX), "4294967295 bins"),
            ("/conditions/stack/stack_bytes", serde_json::json!(u64::MAX), "condition `stack`"),
            ("/conditions/umask/umask", serde_json::json!(0o1000), "condition `umask`"),
            ("/conditions/folder/folder", serde_json::json!("tmp"), "no absolute path"),
            ("/conditions/optimize-1/optimize", serde_json::json!(9), "condition `optimize-1`"),
            ("/conditions/imports/imports", serde_json::json!(["os;x"]), "\"os;x\" is no module"),
            ("/conditions/environment/environment", serde_json::json!({"LD_PRELOAD": "/tmp/x.so"}), "do not set the variable `LD_PRELOAD`"),
            ("/conditions/environment/environment", serde_json::json!({"PYTHONHOME": "/tmp"}), "do not set the variable `PYTHONHOME`"),
            ("/conditions/environment/environment", serde_json::json!({"TZ": "x".repeat(5000)}), "do not set `TZ` to that"),
            ("/conditions/environment/environment", serde_json::json!({"LC_ALL": "/tmp/x"}), "do not set `LC_ALL` to that"),
            ("/conditions", serde_json::json!({"../x": {}}), "no name of a condition"),
        ] {
            let mut foreign = sent.clone();
            *foreign.pointer_mut(pointer).unwrap() = value;
            let foreign: AuditJob = serde_json::from_value(foreign).unwrap();
            let error = foreign.admit(&access).unwrap_err().to_string();
            assert!(error.contains(reason), "{pointer}: {error}");
        }
    }
}
