//! Where settings come from: a YAML file, the environment over it, the command line over both. All three say the same thing, so that each is a layer of
//! values by key, and what is in force is one value after the other.
//!
//! By hand, and not by a crate for it: those know which file a value is from, and neither its line nor the nearest name, and read `BYTEFACTS_SCHEDULER_PORT` of
//! Kubernetes as a setting.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_yaml::{Mapping, Value};

use super::flags::Given;
use super::lines::line;
use super::{Settings, yaml};
use crate::exit::UsageError;

/// `BYTEFACTS_EXECUTOR__CORES=4` is `executor: {cores: 4}`. Two underscores, since Kubernetes gives every container variables such as
/// `BYTEFACTS_SCHEDULER_PORT` for a service of that name.
pub(super) const PREFIX: &str = "BYTEFACTS_";
pub(super) const LEVEL: &str = "__";
/// The one setting that belongs to no section, and its variable.
pub(super) const PYTHON: &str = "python";
pub(super) const PYTHON_VARIABLE: &str = "BYTEFACTS_PYTHON";

/// Who has said what a setting is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    #[default]
    Default,
    /// A file, at this line.
    File(PathBuf, Option<usize>),
    /// A variable of the environment.
    Variable(String),
    /// An option of the command line.
    Flag(&'static str),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(file, Some(line)) => write!(f, "{}:{line}", file.display()),
            Self::File(file, None) => write!(f, "{}", file.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// Settings, and where each comes from.
#[derive(Debug)]
pub struct Layers {
    /// Those in force.
    pub settings: Settings,
    /// Who has said so, by key; of those that nobody has said anything about there is nothing.
    pub origins: BTreeMap<String, Origin>,
}

/// The settings of a file, if there is one, with those of the environment over them, and with what the command line gives over both.
///
/// # Errors
/// When the file cannot be read, or one of them holds what is no setting.
pub fn read(file: Option<&Path>, environment: impl Iterator<Item = (String, String)>, given: Vec<Given>) -> anyhow::Result<Layers> {
    let text = match file {
        Some(file) => text_of(file)?,
        None => String::new(),
    };
    let name = || file.map_or_else(|| "the environment".to_owned(), |file| format!("settings {}", file.display()));
    // Checked by itself first, so that an error tells the line.
    parse(&text).map_err(|error| UsageError(format!("{}: {error:#}", name())))?;

    let mut settings = document(&text)?;
    let mut origins = BTreeMap::new();
    for key in keys_of(&settings) {
        let line = line(&text, &key);
        origins.insert(key, Origin::File(file.map(Path::to_owned).unwrap_or_default(), line));
    }
    for (name, text) in environment {
        let Some((key, value)) = variable(&name, &text).map_err(|error| UsageError(format!("{name}: {error:#}")))? else { continue };
        put(&mut settings, &key, value);
        origins.insert(key, Origin::Variable(name));
    }
    for Given { key, flag, value, adds } in given {
        let value = if adds { added(&settings, key, value) } else { value };
        put(&mut settings, key, value);
        origins.insert(key.to_owned(), Origin::Flag(flag));
    }
    let settings = interpret(settings).map_err(|error| UsageError(format!("{error:#}")))?;
    Ok(Layers { settings, origins })
}

/// The text of a settings file.
///
/// # Errors
/// When it cannot be read.
pub(super) fn text_of(file: &Path) -> Result<String, UsageError> {
    std::fs::read_to_string(file).map_err(|error| UsageError(format!("cannot read settings {}: {error}", file.display())))
}

/// The settings in a YAML text; an empty one, or one of comments alone, is the defaults.
pub(super) fn parse(text: &str) -> anyhow::Result<Settings> {
    let value = yaml::value(text).map_err(|error| explained(&error.to_string()))?;
    if has_empty_sections(&value) {
        return interpret(value);
    }
    let settings: Option<Settings> = serde_yaml::from_str(text).map_err(|error| explained(&error.to_string()))?;
    Ok(settings.unwrap_or_default())
}

/// A YAML text as a value of sections; where it says nothing there are none.
fn document(text: &str) -> Result<Value, yaml::NotYaml> {
    Ok(without_empty_sections(yaml::value(text)?))
}

/// What a value of sections says.
pub(super) fn interpret(settings: Value) -> anyhow::Result<Settings> {
    let settings: Option<Settings> =
        serde_yaml::from_value(without_empty_sections(settings)).map_err(|error| explained(&error.to_string()))?;
    Ok(settings.unwrap_or_default())
}

/// A section of which all is commented out says nothing, as Helm's null.
pub(super) fn without_empty_sections(mut value: Value) -> Value {
    if let Some(sections) = value.as_mapping_mut() {
        sections.retain(|_, section| !section.is_null());
    }
    value
}

fn has_empty_sections(value: &Value) -> bool {
    value.as_mapping().is_some_and(|sections| sections.values().any(Value::is_null))
}

/// The setting that a variable of the environment stands for, with its value; none for variables that are none of ours.
///
/// # Errors
/// When it is no setting, or cannot have that value.
fn variable(name: &str, text: &str) -> anyhow::Result<Option<(String, Value)>> {
    let Some((key, value)) = said(name, text)? else { return Ok(None) };
    // Alone first, so that an error names the variable it comes from.
    interpret(alone(&key, value.clone()))?;
    Ok(Some((key, value)))
}

/// What a variable of the environment says, whether or not there is such a setting.
///
/// # Errors
/// When its value is no YAML.
pub(super) fn said(name: &str, text: &str) -> anyhow::Result<Option<(String, Value)>> {
    if name == PYTHON_VARIABLE {
        // An empty one counts as unset, as where it is looked for.
        return Ok(Some(text).filter(|text| !text.is_empty()).map(|text| (PYTHON.to_owned(), text.into())));
    }
    let Some((section, key)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once(LEVEL)) else { return Ok(None) };
    let value = yaml::value(text).context("not a YAML value")?;
    let key = format!("{}.{}", section.to_ascii_lowercase(), key.to_ascii_lowercase());
    Ok(Some((key, value)))
}

/// Settings that say one thing.
pub(super) fn alone(key: &str, value: Value) -> Value {
    let mut settings = Value::Null;
    put(&mut settings, key, value);
    settings
}

/// Sets a key, which is `SECTION.KEY`, or a name alone.
pub(super) fn put(settings: &mut Value, key: &str, value: Value) {
    if !settings.is_mapping() {
        *settings = Value::Mapping(Mapping::new());
    }
    let Some(names) = settings.as_mapping_mut() else { return };
    match key.split_once('.') {
        Some((section, key)) => put(names.entry(section.into()).or_insert(Value::Null), key, value),
        None => {
            names.insert(key.into(), value);
        }
    }
}

/// What `settings` say of a key.
pub(super) fn get<'a>(settings: &'a Value, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((section, key)) => settings.get(section)?.get(key),
        None => settings.get(key),
    }
}

/// A list with more at its end.
fn added(settings: &Value, key: &str, more: Value) -> Value {
    let there = get(settings, key).and_then(Value::as_sequence).cloned().unwrap_or_default();
    let more = more.as_sequence().cloned().unwrap_or_default();
    Value::Sequence(there.into_iter().chain(more).collect())
}

/// The keys that a value of sections says something about, as `SECTION.KEY`.
pub(super) fn keys_of(settings: &Value) -> Vec<String> {
    let mut keys = Vec::new();
    for (section, inside) in settings.as_mapping().into_iter().flatten() {
        let Some(section) = section.as_str() else { continue };
        match inside.as_mapping() {
            Some(inside) => keys.extend(inside.keys().filter_map(Value::as_str).map(|key| format!("{section}.{key}"))),
            None => keys.push(section.to_owned()),
        }
    }
    keys
}

/// Every setting, in the order of the file that states them all.
pub(super) fn all_keys() -> Vec<String> {
    // Settings are made of what YAML has.
    keys_of(&serde_yaml::to_value(Settings::default()).unwrap_or_default())
}

/// Every setting that is two levels deep, as its variable is called.
pub(super) fn variables() -> Vec<String> {
    all_keys().iter().filter_map(|key| key.split_once('.')).map(|(section, key)| variable_of(section, key)).collect()
}

fn variable_of(section: &str, key: &str) -> String {
    format!("{PREFIX}{}{LEVEL}{}", section.to_ascii_uppercase(), key.to_ascii_uppercase())
}

/// Below this likeness (1 is equal) a name is not meant.
const LIKENESS: f64 = 0.7;

/// The name that was probably meant.
pub(super) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.map(|known| (strsim::jaro_winkler(unknown, known), known));
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(likeness, _)| *likeness > LIKENESS).map(|(_, name)| name)
}

/// An error of the parser; one about an unknown key gets the key that was probably meant.
fn explained(error: &str) -> anyhow::Error {
    let names: Vec<&str> = error.split('`').skip(1).step_by(2).collect();
    let meant = match names.as_slice() {
        [unknown, known @ ..] if error.contains("unknown field") => nearest(unknown, known.iter().copied()),
        _ => None,
    };
    match meant {
        Some(meant) => anyhow::anyhow!("{error}; did you mean `{meant}`?"),
        None => anyhow::anyhow!("{error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str, environment: &[(&str, &str)]) -> anyhow::Result<Settings> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("settings.yaml");
        std::fs::write(&file, text)?;
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Ok(read(Some(&file), environment, Vec::new())?.settings)
    }

    #[test]
    fn the_environment_is_laid_over_the_file() {
        let settings = with("embedded: {executors: 5, jobs: 3}\n", &[("BYTEFACTS_EMBEDDED__EXECUTORS", "7")]).unwrap();
        assert_eq!((settings.embedded.executors, settings.embedded.jobs), (7, Some(3)));
        let settings = with("", &[("BYTEFACTS_EXECUTOR__SCHEDULER", "scheduler:50050"), ("BYTEFACTS_CACHE__ENABLED", "false")]).unwrap();
        assert_eq!(settings.executor.scheduler, "scheduler:50050");
        assert!(!settings.cache.enabled);
    }

    #[test]
    fn what_kubernetes_says_of_services_is_no_setting() {
        let injected = [("BYTEFACTS_SCHEDULER_PORT", "tcp://10.0.0.1:50050"), ("BYTEFACTS_PYTHON", ""), ("PATH", "/bin")];
        assert_eq!(with("", &injected).unwrap(), Settings::default());
    }

    #[test]
    fn a_section_that_says_nothing_is_none() {
        for text in ["scheduler:\n  # listen: 0.0.0.0:1\nexecutor: {cores: 3}\n", "scheduler: null\nexecutor: {cores: 3}\n"] {
            assert_eq!(with(text, &[]).unwrap().executor.cores, Some(3), "{text}");
        }
        let error = with("scheduler:\nsheduler: {}\n", &[]).unwrap_err().to_string();
        assert!(error.contains("sheduler"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_one() {
        for (text, environment) in [("embedded: {executers: 3}", &[][..]), ("", &[("BYTEFACTS_EMBEDDED__EXECUTERS", "3")][..])] {
            let error = with(text, environment).unwrap_err();
            assert!(error.is::<UsageError>());
            assert!(error.to_string().contains("did you mean `executors`?"), "{error}");
        }
        assert!(with("sheduler: {}", &[]).unwrap_err().to_string().contains("did you mean `scheduler`?"));
        assert!(with("xyzzy: {}", &[]).unwrap_err().to_string().contains("xyzzy"));
        let error = with("", &[("BYTEFACTS_EXECUTOR__CORES", "many")]).unwrap_err();
        assert!(error.to_string().starts_with("BYTEFACTS_EXECUTOR__CORES"), "{error}");
    }
}
