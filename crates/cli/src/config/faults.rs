//! What settings mean nothing: each by itself, and together. Asked wherever settings are read, so that `bytefacts config check` says what every command
//! would say.

use std::fmt;

use bytefacts_corpus::{Location, Selection};
use bytefacts_stores::Allowed;

use super::Settings;
use crate::address::scheduler_url;

/// A setting that means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which, as `SECTION.KEY`.
    pub key: String,
    /// Why, and what to set.
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.text)
    }
}

/// The bytes that a message of the SQL service must have room for.
const LEAST_MESSAGE_BYTES: usize = 1 << 20;

/// The faults of settings, each by itself, in the order of the settings.
pub fn by_themselves(settings: &Settings) -> Vec<Fault> {
    let Settings { extract, bins: _, embedded, cache, stores: _, access, client, executor, serve, .. } = settings;
    let mut faults = Faults::default();
    let patterns = |patterns: &[String], include: bool| {
        let patterns = patterns.iter().map(String::as_str);
        let none = std::iter::empty();
        if include { Selection::new(patterns, none).map(drop) } else { Selection::new(none, patterns).map(drop) }
    };

    faults.unless(extract.optimize <= 2, "extract.optimize", "it is 0, 1 or 2");
    faults.of("extract.terminator_opnames", extract.terminators());
    faults.at_least("extract.compile_cpu_seconds", extract.compile_cpu_seconds, 1);
    faults.of("extract.include", patterns(&extract.include, true));
    faults.of("extract.exclude", patterns(&extract.exclude, false));
    faults.of("extract.extend_exclude", patterns(&extract.extend_exclude, false));
    faults.at_least("extract.parallel_max_bytes", extract.parallel_max_bytes, 1);
    faults.at_least("extract.memory_budget_bytes", extract.memory_budget_bytes, 1);
    faults.at_least("embedded.jobs", embedded.jobs.unwrap_or(1), 1);
    faults.at_least("embedded.executors", embedded.executors, 1);
    faults.of("cache.shared", cache.shared.as_deref().map(Location::parse).transpose());
    faults.of("access.corpus", access.corpus.as_deref().map(Allowed::of).transpose());
    faults.of("access.facts", access.facts.as_deref().map(Allowed::of).transpose());
    faults.scheduler("client.cluster", client.cluster.as_deref());
    for (key, share) in [("client.max_unread_share", client.max_unread_share), ("client.max_gone_share", client.max_gone_share)] {
        faults.unless((0.0..=1.0).contains(&share), key, "it is a share, from 0 to 1");
    }
    faults.scheduler("executor.scheduler", Some(&executor.scheduler));
    faults.unless(
        executor.node.as_deref().is_none_or(is_node_name),
        "executor.node",
        "a name of letters, digits, '-', '_' and '.' is needed, not beginning with a dot",
    );
    faults.at_least("executor.cores", executor.cores.unwrap_or(1), 1);
    faults.at_least("executor.memory_budget_bytes", executor.memory_budget_bytes, 1);
    faults.scheduler("serve.cluster", serve.cluster.as_deref());
    faults.at_least("serve.threads", serve.threads.unwrap_or(1), 1);
    faults.at_least("serve.running", serve.running, 1);
    faults.at_least("serve.queries_per_user", serve.queries_per_user, 1);
    faults.at_least("serve.query_seconds", serve.query_seconds, 1);
    faults.at_least("serve.unclaimed_seconds", serve.unclaimed_seconds, 1);
    faults.at_least("serve.reader_seconds", serve.reader_seconds, 1);
    faults.at_least("serve.query_memory_bytes", serve.query_memory_bytes, 1);
    faults.at_least("serve.connections", serve.connections, 1);
    faults.at_least("serve.login_seconds", serve.login_seconds, 1);
    faults.at_least("serve.message_bytes", serve.message_bytes, LEAST_MESSAGE_BYTES);
    faults.0
}

/// Whether an executor may call its node so: the name is part of a folder's.
pub fn is_node_name(name: &str) -> bool {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && !name.starts_with('.') && name.chars().all(safe)
}

/// The faults of settings that belong together.
pub fn together(settings: &Settings) -> Vec<Fault> {
    let mut faults = Faults::default();
    let Settings { cluster_tls: tls, serve, .. } = settings;
    for (section, files) in [
        ("cluster_tls", &[("authority", &tls.authority), ("certificate", &tls.certificate), ("key", &tls.key)][..]),
        ("serve", &[("tls_cert", &serve.tls_cert), ("tls_key", &serve.tls_key)]),
    ] {
        let is_some = files.iter().any(|(_, file)| file.is_some());
        let all = files.iter().map(|(key, _)| format!("{section}.{key}")).collect::<Vec<_>>().join(", ");
        for (key, _) in files.iter().filter(|(_, file)| is_some && file.is_none()) {
            faults.add(format!("{section}.{key}"), format!("{all} belong together: set this one too, or none of them"));
        }
    }
    faults.0
}

/// What is sound, and what a daemon will not start with unless an option of its command line says more.
pub fn remarks(settings: &Settings) -> Vec<Fault> {
    let mut faults = Faults::default();
    let Settings { cluster_tls: tls, scheduler, executor, serve, access, .. } = settings;
    let without = "is reached from other machines: give certificates by cluster_tls, or set";
    for (section, listen, insecure) in
        [("scheduler", scheduler.listen, scheduler.insecure), ("executor", executor.listen, executor.insecure)]
    {
        if listen.ip().is_loopback() {
            continue;
        }
        if tls.authority.is_none() && !insecure {
            let text = format!("{listen} {without} {section}.insecure where the network itself keeps others out");
            faults.add(format!("{section}.listen"), text);
        }
        for (key, places) in [("corpus", &access.corpus), ("facts", &access.facts)] {
            if places.is_none() && !faults.0.iter().any(|fault| fault.key == format!("access.{key}")) {
                faults.add(format!("access.{key}"), format!("null allows jobs nothing where {section}.listen is {listen}: list places"));
            }
        }
    }
    if !serve.listen.ip().is_loopback() && serve.users.is_none() && !serve.insecure {
        let text = format!("{} is reached from other machines: name those who may ask by serve.users, or set serve.insecure", serve.listen);
        faults.add("serve.listen".to_owned(), text);
    }
    if scheduler.sql_listen.is_some() && scheduler.facts.is_none() {
        let text = "it needs facts to answer over: set scheduler.facts, or BYTEFACTS_FACTS where it runs";
        faults.add("scheduler.sql_listen".to_owned(), text.to_owned());
    }
    faults.0
}

#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, key: String, text: String) {
        self.0.push(Fault { key, text });
    }

    fn unless(&mut self, sound: bool, key: &str, text: &str) {
        if !sound {
            self.add(key.to_owned(), text.to_owned());
        }
    }

    fn at_least<T: PartialOrd + fmt::Display>(&mut self, key: &str, value: T, least: T) {
        if value < least {
            self.add(key.to_owned(), format!("it is at least {least}"));
        }
    }

    fn of<T, E: fmt::Display>(&mut self, key: &str, result: Result<T, E>) {
        if let Err(error) = result {
            self.add(key.to_owned(), error.to_string());
        }
    }

    fn scheduler(&mut self, key: &str, url: Option<&str>) {
        if let Some(url) = url.filter(|url| scheduler_url(url).is_err()) {
            self.add(key.to_owned(), format!("a scheduler is [df://]HOST:PORT, this is {url:?}"));
        }
    }
}
