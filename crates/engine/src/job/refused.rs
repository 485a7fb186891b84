//! Which jobs are taken: a job is as foreign as the files of its corpus.

use bytefacts_stores::{Access, Refused};

use super::Job;

/// Why a job that came from elsewhere cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the job is refused: {0}")]
pub struct BadJob(String);

impl BadJob {
    pub(crate) fn new(what: String) -> Self {
        Self(what)
    }
}

/// Why a job is not taken.
#[derive(Debug, thiserror::Error)]
pub enum JobRefused {
    /// It is no job that can be done.
    #[error(transparent)]
    Job(#[from] BadJob),
    /// It asks for what is not allowed.
    #[error(transparent)]
    Access(#[from] Refused),
}

/// What a job may ask for at most: more is a mistake, or meant to do harm.
mod most {
    /// Bytes of one source, of memory, and the like.
    pub const BYTES: u64 = 1 << 40;
    /// Seconds of CPU for one file.
    pub const CPU_SECONDS: u64 = 24 * 3600;
    /// Items of a list.
    pub const ITEMS: usize = 10_000;
    /// Bytes of a name.
    pub const NAME: usize = 4096;
}

impl Job {
    /// Refuses what no client of ours sends: a job is as foreign as the files of its corpus.
    ///
    /// # Errors
    /// When an option is out of bounds, a name is none, or the run's id is not one.
    pub fn check(&self) -> Result<(), BadJob> {
        let bad = |what: String| Err(BadJob(what));
        if let Err(error) = bytefacts_landing::RunId::new(self.run.as_str()) {
            return bad(format!("its run: {error}"));
        }
        if let Err(error) = self.options.terminators() {
            return bad(format!("terminator_opnames: {error}"));
        }
        let options = &self.options;
        for (name, value, least, most) in [
            ("optimize", u64::from(options.optimize), 0, 2),
            ("max_file_bytes", options.max_file_bytes, 0, most::BYTES),
            ("compile_cpu_seconds", options.compile_cpu_seconds, 1, most::CPU_SECONDS),
            ("compile_memory_bytes", options.compile_memory_bytes, 0, most::BYTES),
            ("quarantine_after", u64::from(options.quarantine_after), 1, u64::from(u32::MAX)),
            ("parallel_max_bytes", options.parallel_max_bytes, 1, most::BYTES),
            ("memory_budget_bytes", options.memory_budget_bytes, 1, most::BYTES),
            ("include", options.include.len() as u64, 0, most::ITEMS as u64),
            ("exclude", options.exclude.len() as u64, 0, most::ITEMS as u64),
            ("extend_exclude", options.extend_exclude.len() as u64, 0, most::ITEMS as u64),
            ("terminator_opnames", options.terminator_opnames.len() as u64, 0, most::ITEMS as u64),
        ] {
            if !(least..=most).contains(&value) {
                return bad(format!("{name} is {value}, and not from {least} to {most}"));
            }
        }
        let interpreter = self.interpreter.iter().flat_map(|id| [&id.version, &id.magic, &id.implementation]);
        let patterns = options.include.iter().chain(&options.exclude).chain(&options.extend_exclude);
        for name in patterns.chain(&self.repo).chain([&self.corpus, &self.facts]).chain(interpreter) {
            if name.len() > most::NAME {
                return bad(format!("a name of {} bytes", name.len()));
            }
        }
        Ok(())
    }

    /// Refuses a job that cannot be done, or names places that are not allowed, or does so in a way of its own: a text that two parsers may
    /// understand differently.
    ///
    /// # Errors
    /// See [`JobRefused`].
    pub fn admit(&self, access: &Access) -> Result<(), JobRefused> {
        self.check()?;
        access.corpus(&self.corpus)?;
        Ok(access.facts(&self.facts)?)
    }
}
