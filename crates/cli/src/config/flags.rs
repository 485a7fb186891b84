//! What the command line says of settings: each option as the key that it is laid over.

use std::path::Path;

use serde::Serialize;
use serde_yaml::Value;

use crate::args;
use crate::exit::UsageError;

/// A setting that an option gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// Which, as `SECTION.KEY`.
    pub key: &'static str,
    /// The option, with its dashes.
    pub flag: &'static str,
    /// What it says.
    pub value: Value,
    /// Whether it is added to a list, rather than taking its place.
    pub adds: bool,
}

/// The part of a command line that is about settings.
pub trait Flags {
    /// The settings file.
    fn file(&self) -> Option<&Path>;

    /// What is laid over it.
    ///
    /// # Errors
    /// When a value is no text.
    fn given(&self) -> Result<Vec<Given>, UsageError>;
}

/// No options but that of the file, for commands that have no others.
pub struct FileOnly<'a>(pub Option<&'a Path>);

impl Flags for FileOnly<'_> {
    fn file(&self) -> Option<&Path> {
        self.0
    }

    fn given(&self) -> Result<Vec<Given>, UsageError> {
        Ok(Vec::new())
    }
}

/// Options as they are gathered.
#[derive(Default)]
struct Gathered(Vec<Given>);

impl Gathered {
    fn set<T: Serialize>(&mut self, key: &'static str, flag: &'static str, value: Option<&T>) -> Result<(), UsageError> {
        let Some(value) = value else { return Ok(()) };
        let value = serde_yaml::to_value(value).map_err(|error| UsageError(format!("{flag}: {error}")))?;
        self.0.push(Given { key, flag, value, adds: false });
        Ok(())
    }

    /// Of an option that can only turn something on, or off.
    fn switch(&mut self, key: &'static str, flag: &'static str, is_given: bool, value: bool) -> Result<(), UsageError> {
        self.set(key, flag, is_given.then_some(&value))
    }

    fn add(&mut self, key: &'static str, flag: &'static str, more: &[String]) -> Result<(), UsageError> {
        self.set(key, flag, Some(&more).filter(|more| !more.is_empty()))?;
        if let Some(last) = self.0.last_mut().filter(|last| last.key == key) {
            last.adds = true;
        }
        Ok(())
    }

    fn daemon(&mut self, keys: [&'static str; 4], args: &args::DaemonArgs) -> Result<(), UsageError> {
        let [listen, probes, external_host, insecure] = keys;
        self.set(listen, "--listen", args.listen.as_ref())?;
        self.set(probes, "--probes", args.probes.as_ref())?;
        self.set(external_host, "--external-host", args.external_host.as_ref())?;
        self.switch(insecure, "--insecure", args.insecure, true)
    }

    fn job(&mut self, args: &args::JobArgs) -> Result<(), UsageError> {
        self.set("python", "--python", args.python.as_ref())?;
        self.set("embedded.jobs", "--jobs", args.jobs.as_ref())?;
        self.set("embedded.executors", "--executors", args.executors.as_ref())?;
        self.switch("cache.enabled", "--no-cache", args.no_cache, false)?;
        self.set("cache.shared", "--shared-cache", args.shared_cache.as_ref())?;
        let options = &args.options;
        self.set("extract.optimize", "--optimize", options.optimize.as_ref())?;
        self.set("extract.dont_inherit", "--dont-inherit", options.dont_inherit.as_ref())?;
        self.set("extract.adaptive", "--adaptive", options.adaptive.as_ref())?;
        self.set("extract.include_cfg_derivations", "--include-cfg-derivations", options.include_cfg_derivations.as_ref())?;
        self.set("extract.terminator_opnames", "--terminator-opnames", options.terminator_opnames.as_ref())?;
        self.set("extract.oracle", "--oracle", options.oracle.as_ref())?;
        self.set("extract.parallel_min_files", "--parallel-min-files", options.parallel_min_files.as_ref())?;
        self.set("extract.parallel_max_bytes", "--parallel-max-bytes", options.parallel_max_bytes.as_ref())?;
        self.set("extract.memory_budget_bytes", "--memory-budget-bytes", options.memory_budget_bytes.as_ref())
    }
}

impl Flags for args::JobArgs {
    fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    fn given(&self) -> Result<Vec<Given>, UsageError> {
        let mut gathered = Gathered::default();
        gathered.job(self)?;
        Ok(gathered.0)
    }
}

impl Flags for args::Extract {
    fn file(&self) -> Option<&Path> {
        self.job.config.as_deref()
    }

    fn given(&self) -> Result<Vec<Given>, UsageError> {
        let mut gathered = Gathered::default();
        gathered.job(&self.job)?;
        gathered.set("client.cluster", "--cluster", self.cluster.as_ref())?;
        gathered.switch("client.detach", "--detach", self.detach, true)?;
        let selection = &self.selection;
        gathered.set("extract.include", "--include", selection.include.as_ref())?;
        gathered.set("extract.exclude", "--exclude", selection.exclude.as_ref())?;
        gathered.add("extract.extend_exclude", "--extend-exclude", &selection.extend_exclude)?;
        gathered.switch("extract.virtual_environments", "--virtual-environments", selection.virtual_environments, true)?;
        gathered.switch("extract.respect_gitignore", "--respect-gitignore", selection.respect_gitignore, true)?;
        Ok(gathered.0)
    }
}

impl Flags for args::Audit {
    fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    fn given(&self) -> Result<Vec<Given>, UsageError> {
        let mut gathered = Gathered::default();
        gathered.set("python", "--python", self.python.first())?;
        gathered.set("embedded.jobs", "--jobs", self.jobs.as_ref())?;
        gathered.set("client.cluster", "--cluster", self.cluster.as_ref())?;
        Ok(gathered.0)
    }
}

impl Flags for args::Scheduler {
    fn file(&self) -> Option<&Path> {
        self.daemon.config.as_deref()
    }

    fn given(&self) -> Result<Vec<Given>, UsageError> {
        let mut gathered = Gathered::default();
        let keys = ["scheduler.listen", "scheduler.probes", "scheduler.external_host", "scheduler.insecure"];
        gathered.daemon(keys, &self.daemon)?;
        gathered.set("scheduler.sql_listen", "--sql-listen", self.sql_listen.as_ref())?;
        gathered.set("scheduler.facts", "--facts", self.facts.as_ref())?;
        Ok(gathered.0)
    }
}

impl Flags for args::Executor {
    fn file(&self) -> Option<&Path> {
        self.daemon.config.as_deref()
    }

    fn given(&self) -> Result<Vec<Given>, UsageError> {
        let mut gathered = Gathered::default();
        let keys = ["executor.listen", "executor.probes", "executor.external_host", "executor.insecure"];
        gathered.daemon(keys, &self.daemon)?;
        gathered.set("executor.scheduler", "--scheduler", self.scheduler.as_ref())?;
        gathered.set("executor.node", "--node", self.node.as_ref())?;
        gathered.set("executor.cores", "--cores", self.cores.as_ref())?;
        gathered.set("python", "--python", self.python.as_ref())?;
        gathered.set("cache.shared", "--shared-cache", self.shared_cache.as_ref())?;
        Ok(gathered.0)
    }
}

impl Flags for args::Serve {
    fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    fn given(&self) -> Result<Vec<Given>, UsageError> {
        let mut gathered = Gathered::default();
        gathered.set("serve.listen", "--listen", self.listen.as_ref())?;
        gathered.set("serve.probes", "--probes", self.probes.as_ref())?;
        gathered.set("serve.cluster", "--cluster", self.cluster.as_ref())?;
        gathered.set("serve.users", "--users", self.users.as_ref())?;
        gathered.switch("serve.insecure", "--insecure", self.insecure, true)?;
        gathered.set("serve.tls_cert", "--tls-cert", self.tls_cert.as_ref())?;
        gathered.set("serve.tls_key", "--tls-key", self.tls_key.as_ref())?;
        Ok(gathered.0)
    }
}

impl Flags for args::Cluster {
    fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    fn given(&self) -> Result<Vec<Given>, UsageError> {
        let mut gathered = Gathered::default();
        gathered.set("client.cluster", "--cluster", self.cluster.as_ref())?;
        Ok(gathered.0)
    }
}

impl Flags for args::Doctor {
    fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    fn given(&self) -> Result<Vec<Given>, UsageError> {
        let mut gathered = Gathered::default();
        gathered.set("client.cluster", "--cluster", self.cluster.as_ref())?;
        gathered.set("python", "--python", self.python.as_ref())?;
        Ok(gathered.0)
    }
}

/// The part of any command that is about settings; none of commands that have no part.
pub fn of_command(command: &args::Command) -> Option<&dyn Flags> {
    use args::Command::{Audit, Cancel, Demo, Doctor, Executor, Executors, Extract, Jobs, Scheduler, Serve, Status};
    let flags: &dyn Flags = match command {
        Extract(extract) => &**extract,
        Audit(audit) => &**audit,
        Demo(demo) => &demo.job,
        Scheduler(scheduler) => &**scheduler,
        Executor(executor) => &**executor,
        Serve(serve) => serve,
        Status(cluster) | Jobs(cluster) | Executors(cluster) => cluster,
        Cancel(cancel) => &cancel.cluster,
        Doctor(doctor) => doctor,
        _ => return None,
    };
    Some(flags)
}

#[cfg(test)]
mod tests;
