//! `bytefacts config`: what is set, by whom, and what is wrong with it.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser as _;
use serde::Serialize;
use serde_json::Value;

use crate::args::{Args, Config, ConfigAction, Format};
use crate::config::{self, FileOnly, Finding, Flags, Layers, SHIPPED, Settings};
use crate::exit::{Exit, UsageError};
use crate::output::Output;

/// Runs the command.
///
/// # Errors
/// When a file cannot be read, or what is to be shown is wrong.
pub fn run(args: Config, output: &mut Output) -> anyhow::Result<Exit> {
    match args.action {
        ConfigAction::Check { file, format } => check(file, format, output),
        ConfigAction::Show { config, format, line } => show(config.as_deref(), format, &line, output),
        ConfigAction::Default => written(SHIPPED, output),
        ConfigAction::Schema => written(&(serde_json::to_string_pretty(&config::schema()?)? + "\n"), output),
    }
}

fn written(text: &str, output: &mut Output) -> anyhow::Result<Exit> {
    output.data(text)?;
    Ok(Exit::Clean)
}

fn check(file: Option<PathBuf>, format: Format, output: &mut Output) -> anyhow::Result<Exit> {
    let stdin = file.as_deref() == Some(Path::new("-"));
    let findings = if stdin {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read settings from stdin")?;
        config::check_text("stdin", &text, config::environment())
    } else {
        config::check(file.as_deref(), config::environment())?
    };
    let is_wrong = findings.iter().any(|finding| !finding.remark);
    let place = file.map_or_else(|| "the environment".to_owned(), |file| file.display().to_string());
    output.data(match format {
        Format::Json => serde_json::to_string_pretty(&Findings { sound: !is_wrong, findings: &findings })? + "\n",
        Format::Text if is_wrong => lines(&findings),
        Format::Text => format!("{}{place}: the settings are sound\n", lines(&findings)),
    })?;
    Ok(if is_wrong { Exit::Usage } else { Exit::Clean })
}

#[derive(Serialize)]
struct Findings<'a> {
    sound: bool,
    findings: &'a [Finding],
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("{finding}\n")).collect()
}

/// A setting in force.
#[derive(Serialize)]
struct InForce {
    key: String,
    value: Value,
    from: String,
}

fn show(file: Option<&Path>, format: Format, line: &[String], output: &mut Output) -> anyhow::Result<Exit> {
    let Layers { settings, origins } = if line.is_empty() {
        Settings::layers(&FileOnly(file))?
    } else {
        let args = Args::try_parse_from(std::iter::once("bytefacts").chain(line.iter().map(String::as_str)));
        let args = args.map_err(|error| UsageError(error.to_string()))?;
        let flags = config::of_command(&args.command).ok_or_else(|| UsageError(format!("`{}` has no settings", line.join(" "))))?;
        Settings::layers(&WithFile { flags, file })?
    };
    let all = serde_json::to_value(settings)?;
    let from = |key: &str| origins.get(key).cloned().unwrap_or_default().to_string();
    let mut in_force = Vec::new();
    for (section, inside) in all.as_object().into_iter().flatten() {
        match inside.as_object() {
            Some(inside) => in_force.extend(inside.iter().map(|(key, value)| {
                let key = format!("{section}.{key}");
                InForce { from: from(&key), value: value.clone(), key }
            })),
            None => in_force.push(InForce { key: section.clone(), value: inside.clone(), from: from(section) }),
        }
    }
    output.data(match format {
        Format::Json => serde_json::to_string_pretty(&in_force)? + "\n",
        Format::Text => as_yaml(&in_force)?,
    })?;
    Ok(Exit::Clean)
}

/// The options of a command, whose own file counts, or else another.
struct WithFile<'a> {
    flags: &'a dyn Flags,
    file: Option<&'a Path>,
}

impl Flags for WithFile<'_> {
    fn file(&self) -> Option<&Path> {
        self.flags.file().or(self.file)
    }

    fn given(&self) -> Result<Vec<config::Given>, UsageError> {
        self.flags.given()
    }
}

/// Settings as a file that states them, with where each comes from as a comment.
fn as_yaml(in_force: &[InForce]) -> anyhow::Result<String> {
    let (mut text, mut section) = (String::new(), "");
    for InForce { key, value, from } in in_force {
        // JSON is YAML, and fits a line.
        let value = serde_json::to_string(value)?;
        match key.split_once('.') {
            None => text.push_str(&format!("{key}: {value}  # {from}\n")),
            Some((of, key)) => {
                if of != section {
                    section = of;
                    text.push_str(&format!("\n{section}:\n"));
                }
                text.push_str(&format!("  {key}: {value}  # {from}\n"));
            }
        }
    }
    Ok(text)
}
