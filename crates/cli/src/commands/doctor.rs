//! `bytefacts doctor`: whether an extraction has what it needs, and what to do if not.

mod cluster;
mod machine;
mod stores;

use std::fmt::Write as _;

use bytefacts_compile::discover;
use bytefacts_stores::{StoreOptions, Stores};
use serde::Serialize;

use crate::address::scheduler_url;
use crate::args::{self, Format};
use crate::config::Settings;
use crate::exit::Exit;
use crate::output::Output;
use crate::place::location;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// A check: one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    name: String,
    verdict: Verdict,
    /// What was found.
    found: String,
    /// What to do about it.
    advice: Option<String>,
}

impl Check {
    fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Ok, found: found.into(), advice: None }
    }

    fn warn(name: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    fn fail(name: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Fail, found: found.into(), advice: Some(advice.into()) }
    }
}

/// What was checked, as JSON.
#[derive(Serialize)]
struct Report<'a> {
    healthy: bool,
    checks: &'a [Check],
}

/// How patient a doctor is: what takes longer than some seconds is a finding, not a reason to wait.
const PATIENCE: StoreOptions = StoreOptions { retries: 1, retry_seconds: 10, timeout_seconds: 10 };

/// Runs the command.
///
/// # Errors
/// When what is to be checked is not understood. What is wrong with it is no error.
pub async fn run(args: args::Doctor, output: &mut Output) -> anyhow::Result<Exit> {
    let settings = Settings::load(&args)?;
    let corpus = args.corpus.as_deref().map(|text| location(text, "--corpus")).transpose()?;
    let facts = args.facts.as_deref().map(|text| location(text, "--facts")).transpose()?;
    let cluster = settings.client.cluster.as_deref().map(scheduler_url).transpose()?;

    let mut checks = vec![interpreter(settings.python.as_deref()).await];
    let stores = Stores::new(PATIENCE);
    if let Some(corpus) = corpus {
        checks.extend(stores::readable(&stores, &corpus).await);
    }
    if let Some(facts) = facts {
        checks.extend(stores::writable(&stores, &facts).await);
    }
    checks.extend(machine::cache(&settings));
    if let Some(shared) = settings.shared_cache()? {
        checks.extend(stores::shared_cache(&stores, &shared, settings.cache.shared_secret.as_deref()).await);
    }
    checks.extend(machine::limits());
    if let Some(url) = cluster {
        checks.extend(cluster::cluster(&url, settings.cluster_tls.client()?).await);
    }

    let healthy = checks.iter().all(|check| check.verdict != Verdict::Fail);
    output.data(match args.format {
        Format::Text => text(&checks),
        Format::Json => serde_json::to_string_pretty(&Report { healthy, checks: &checks })? + "\n",
    })?;
    Ok(if healthy { Exit::Clean } else { Exit::Failed })
}

async fn interpreter(python: Option<&std::path::Path>) -> Check {
    const NAME: &str = "interpreter";
    match discover(python).await {
        Ok(found) => Check::ok(NAME, format!("CPython {} at {}", found.version, found.executable.display())),
        Err(error) => Check::fail(
            NAME,
            first_line(&error.to_string()),
            "`bytefacts python install` installs one; --python names one that is elsewhere",
        ),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// A line a check.
fn text(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for check in checks {
        let verdict = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        // Writing to a string does not fail.
        let _: std::fmt::Result = write!(text, "{verdict:<4}  {:<width$}  {}", check.name, check.found.replace('\n', " "));
        if let Some(advice) = &check.advice {
            let _: std::fmt::Result = write!(text, "; {advice}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_is_a_line_with_what_to_do() {
        let checks =
            [Check::ok("cache", "/c"), Check::warn("limits: files", "256", "raise it"), Check::fail("facts", "no\nbucket", "make it")];
        assert_eq!(text(&checks), "ok    cache          /c\nwarn  limits: files  256; raise it\nFAIL  facts          no bucket; make it\n");
    }
}
