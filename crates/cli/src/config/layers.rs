//! Where settings come from: a YAML file, then the environment over it.

use std::path::Path;

use anyhow::Context as _;
use serde_yaml::{Mapping, Value};

use super::Settings;
use crate::exit::UsageError;

/// `BYTEFACTS_EXECUTOR__CORES=4` is `executor: {cores: 4}`. Two underscores, since Kubernetes gives every container variables such as
/// `BYTEFACTS_SCHEDULER_PORT` for a service of that name.
pub(super) const PREFIX: &str = "BYTEFACTS_";
pub(super) const LEVEL: &str = "__";

/// The settings of a file, if there is one, with those of the environment over them.
///
/// # Errors
/// When the file cannot be read, or either holds what is no setting.
pub fn read(file: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> anyhow::Result<Settings> {
    let text = match file {
        Some(file) => {
            std::fs::read_to_string(file).map_err(|error| UsageError(format!("cannot read settings {}: {error}", file.display())))?
        }
        None => String::new(),
    };
    let name = || file.map_or_else(|| "the environment".to_owned(), |file| format!("settings {}", file.display()));
    // Checked by itself first, so that an error tells the line.
    parse(&text).map_err(|error| UsageError(format!("{}: {error:#}", name())))?;

    let mut settings: Value = serde_yaml::from_str(&text)?;
    for (name, text) in environment {
        overlay(&mut settings, &name, &text).map_err(|error| UsageError(format!("{name}: {error:#}")))?;
    }
    Ok(interpret(settings).map_err(|error| UsageError(format!("{error:#}")))?)
}

/// The settings in a YAML text; an empty one, or one of comments alone, is the defaults.
pub(super) fn parse(text: &str) -> anyhow::Result<Settings> {
    let settings: Option<Settings> = serde_yaml::from_str(text).map_err(|error| explained(&error.to_string()))?;
    Ok(settings.unwrap_or_default())
}

fn interpret(settings: Value) -> anyhow::Result<Settings> {
    let settings: Option<Settings> = serde_yaml::from_value(settings).map_err(|error| explained(&error.to_string()))?;
    Ok(settings.unwrap_or_default())
}

/// Lays one variable of the environment over the settings; variables of another form are none of ours.
fn overlay(settings: &mut Value, name: &str, text: &str) -> anyhow::Result<()> {
    let Some((section, key)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once(LEVEL)) else { return Ok(()) };
    let value: Value = serde_yaml::from_str(text).context("not a YAML value")?;
    let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
    // Alone first, so that an error names the variable it comes from.
    let alone = Value::Mapping(Mapping::from_iter([(
        section.clone().into(),
        Value::Mapping(Mapping::from_iter([(key.clone().into(), value.clone())])),
    )]));
    interpret(alone)?;

    if !settings.is_mapping() {
        *settings = Value::Mapping(Mapping::new());
    }
    if let Some(sections) = settings.as_mapping_mut() {
        let entry = sections.entry(section.into()).or_insert(Value::Null);
        if !entry.is_mapping() {
            *entry = Value::Mapping(Mapping::new());
        }
        if let Some(keys) = entry.as_mapping_mut() {
            keys.insert(key.into(), value);
        }
    }
    Ok(())
}

/// Every setting that is two levels deep, as its variable is called.
pub(super) fn variables() -> Vec<String> {
    let mut names = Vec::new();
    for section in keys(None) {
        for key in keys(Some(&section)) {
            names.push(format!("{PREFIX}{}{LEVEL}{}", section.to_ascii_uppercase(), key.to_ascii_uppercase()));
        }
    }
    names
}

/// The keys of a section, or the sections, as the parser lists them to whoever names one that does not exist; none of what is no section.
fn keys(section: Option<&str>) -> Vec<String> {
    const NONE: &str = "?";
    let unknown = Value::Mapping(Mapping::from_iter([(NONE.into(), Value::Null)]));
    let probe = match section {
        Some(section) => Value::Mapping(Mapping::from_iter([(section.into(), unknown)])),
        None => unknown,
    };
    let error = serde_yaml::from_value::<Settings>(probe).err().map(|error| error.to_string()).unwrap_or_default();
    if !error.contains("unknown field") {
        return Vec::new();
    }
    error.split('`').skip(1).step_by(2).filter(|name| *name != NONE).map(str::to_owned).collect()
}

/// An error of the parser; one about an unknown key gets the key that was probably meant.
fn explained(error: &str) -> anyhow::Error {
    let names: Vec<&str> = error.split('`').skip(1).step_by(2).collect();
    let meant = match names.as_slice() {
        [unknown, known @ ..] if error.contains("unknown field") => {
            let nearest = known.iter().map(|known| (strsim::jaro_winkler(unknown, known), *known)).max_by(|a, b| a.0.total_cmp(&b.0));
            nearest.filter(|(likeness, _)| *likeness > 0.7).map(|(_, name)| name)
        }
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
        read(Some(&file), environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
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
        let injected = [("BYTEFACTS_SCHEDULER_PORT", "tcp://10.0.0.1:50050"), ("BYTEFACTS_PYTHON", "/python"), ("PATH", "/bin")];
        assert_eq!(with("", &injected).unwrap(), Settings::default());
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
