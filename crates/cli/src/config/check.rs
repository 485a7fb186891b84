//! All that is wrong with settings at once, each with its line and with what to set: for people who write them, and for pipelines that deliver them.

use std::path::Path;

use serde::Serialize;
use serde_yaml::Value;

use super::faults::{self, Fault};
use super::layers::{self, all_keys, alone, interpret, nearest, put};
use super::lines::{line, line_of};
use super::schema::kind;
use super::yaml::{self, Repetition};
use crate::exit::UsageError;

/// Something that is wrong with settings, or that may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file, or the variable of the environment.
    pub place: String,
    /// The line, where that is known.
    pub line: Option<usize>,
    /// The setting, as `SECTION.KEY`; null where it is about the whole.
    pub key: Option<String>,
    /// What is wrong, and what to set.
    pub message: String,
    /// Whether all may be well: a daemon will not start so, unless an option of its command line says more.
    pub remark: bool,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(if self.remark { ": remark: " } else { ": " })?;
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Checks a file, if there is one, and the environment over it.
///
/// # Errors
/// When the file cannot be read.
pub fn check(file: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Result<Vec<Finding>, UsageError> {
    let text = file.map_or_else(|| Ok(String::new()), layers::text_of)?;
    let place = file.map_or_else(|| "the environment".to_owned(), |file| file.display().to_string());
    Ok(check_text(&place, &text, environment))
}

/// The same of a text.
pub fn check_text(place: &str, text: &str, environment: impl Iterator<Item = (String, String)>) -> Vec<Finding> {
    let mut checking = Checking { place, text, findings: Vec::new(), sound: Value::Null };
    checking.file();
    let mut variables: Vec<_> = environment.collect();
    variables.sort();
    for (name, value) in variables {
        checking.variable(&name, &value);
    }
    checking.together();
    checking.findings
}

struct Checking<'a> {
    place: &'a str,
    text: &'a str,
    findings: Vec<Finding>,
    /// What is sound by itself.
    sound: Value,
}

impl Checking<'_> {
    fn file(&mut self) {
        let (value, repetitions) = match yaml::with_repetitions(self.text) {
            Ok((value, repetitions)) => (layers::without_empty_sections(value), repetitions),
            Err(error) => return self.find(error.line(), None, format!("it is no YAML: {error}")),
        };
        for Repetition { path, before } in repetitions {
            let names: Vec<&str> = path.iter().map(String::as_str).collect();
            let line = |before| line_of(self.text, &names, before);
            let first = line(0).map_or_else(String::new, |line| format!(" at line {line}"));
            self.find(line(before), Some(path.join(".")), format!("it is there before{first}, which counts: keep one of them"));
        }
        let Some(sections) = value.as_mapping() else {
            if !value.is_null() {
                self.find(None, None, "it says nothing of settings: write SECTION: {KEY: VALUE}".to_owned());
            }
            return;
        };
        let known = all_keys();
        for (name, inside) in sections {
            let Some(name) = name.as_str() else {
                self.find(None, None, format!("{} is no name of a section", shown(name)));
                continue;
            };
            let within = format!("{name}.");
            let is_section = known.iter().any(|key| key.starts_with(&within));
            match (inside.as_mapping(), is_section) {
                (Some(settings), true) => {
                    for (key, value) in settings {
                        match key.as_str() {
                            Some(key) => self.setting(&known, &format!("{name}.{key}"), value),
                            None => self.at(name, format!("{} is no name of a setting", shown(key))),
                        }
                    }
                }
                (None, true) => self.at(name, format!("it is a section, and {} is none: write {name}: {{KEY: VALUE}}", shown(inside))),
                (_, false) => self.setting(&known, name, inside),
            }
        }
    }

    /// A setting of the file.
    fn setting(&mut self, known: &[String], key: &str, value: &Value) {
        if known.iter().any(|known| known == key) {
            match sound(key, value) {
                Ok(()) => put(&mut self.sound, key, value.clone()),
                Err(message) => self.at(key, message),
            }
            return;
        }
        self.at(key, unknown(known, key));
    }

    fn variable(&mut self, name: &str, text: &str) {
        let finding = |key: Option<String>, message: String| Finding { place: name.to_owned(), line: None, key, message, remark: false };
        let known = all_keys();
        match layers::said(name, text) {
            Ok(None) => {}
            Ok(Some((key, _))) if !known.contains(&key) => {
                let message = unknown(&known, &key);
                self.findings.push(finding(Some(key), message));
            }
            Ok(Some((key, value))) => match sound(&key, &value) {
                Ok(()) => put(&mut self.sound, &key, value),
                Err(message) => self.findings.push(finding(Some(key), message)),
            },
            Err(error) => self.findings.push(finding(None, format!("{error:#}"))),
        }
    }

    /// What belongs together, of all that is sound by itself.
    fn together(&mut self) {
        let Ok(settings) = interpret(self.sound.clone()) else { return };
        for Fault { key, text } in faults::together(&settings) {
            self.at(&key, text);
        }
        for Fault { key, text } in faults::remarks(&settings) {
            self.at(&key, text);
            if let Some(last) = self.findings.last_mut() {
                last.remark = true;
            }
        }
    }

    fn at(&mut self, key: &str, message: String) {
        // What is missing is missing in its section.
        let line = line(self.text, key).or_else(|| line(self.text, key.split_once('.')?.0));
        self.find(line, Some(key.to_owned()), message);
    }

    fn find(&mut self, line: Option<usize>, key: Option<String>, message: String) {
        self.findings.push(Finding { place: self.place.to_owned(), line, key, message, remark: false });
    }
}

/// What to say of a key that does not exist: what was probably meant.
fn unknown(known: &[String], key: &str) -> String {
    let (section, name) = key.rsplit_once('.').map_or((None, key), |(section, name)| (Some(section), name));
    // What stands in the wrong section has its right name.
    let elsewhere: Vec<&str> = known.iter().filter(|known| known.rsplit('.').next() == Some(name)).map(String::as_str).collect();
    let names = known.iter().filter_map(|known| match (section, known.split_once('.')) {
        (Some(section), Some((of, name))) if of == section => Some(name),
        (None, Some((of, _))) => Some(of),
        (None, None) => Some(known.as_str()),
        _ => None,
    });
    let what = if section.is_some() { "setting" } else { "section" };
    let hint = match (nearest(name, names), elsewhere.as_slice()) {
        (_, [one]) => format!("did you mean {one}?"),
        (Some(nearest), _) => {
            format!("did you mean {}?", section.map_or_else(|| nearest.to_owned(), |section| format!("{section}.{nearest}")))
        }
        (None, []) => "`bytefacts config default` shows all".to_owned(),
        (None, several) => format!("there are {}", several.join(", ")),
    };
    format!("there is no such {what}; {hint}")
}

/// Whether a setting may have a value; else why not, and what it may have.
fn sound(key: &str, value: &Value) -> Result<(), String> {
    match interpret(alone(key, value.clone())) {
        Ok(settings) => faults::by_themselves(&settings).into_iter().next().map_or(Ok(()), |fault| Err(fault.text)),
        Err(error) => {
            let error = error.to_string();
            let reason = error.strip_prefix(&format!("{key}: ")).unwrap_or(&error);
            Err(format!("{reason}; set {}", kind(key).words()))
        }
    }
}

/// A value in one line.
fn shown(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "what stands there".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::SHIPPED;

    fn found(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        check_text("f.yaml", text, environment).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_sound_has_no_finding() {
        for text in [SHIPPED, "", "# nothing\n", "scheduler:\n", "python: python3.13\nexecutor: {cores: 3}\n"] {
            assert_eq!(found(text, &[("PATH", "/bin"), ("BYTEFACTS_EXECUTOR__CORES", "4")]), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn all_faults_are_said_at_once_with_their_lines_and_what_to_set() {
        let text = "\
executor:
  coers: 4
  cores: many
  listen: localhost
  node: ../x
sheduler: {}
cores: 3
extract:
  optimize: 3
  query_rows: 4
embedded: 2
cluster_tls:
  key: key.pem
client:
  cluster: http://x
";
        assert_eq!(
            found(text, &[("BYTEFACTS_EXECUTOR__DRAIN_SECONDS", "soon"), ("BYTEFACTS_EXECUTOR__DRIAN_SECONDS", "1")]),
            [
                "f.yaml:2: executor.coers: there is no such setting; did you mean executor.cores?",
                "f.yaml:3: executor.cores: invalid type: string \"many\", expected u16; set a whole number from 1 to 65535, or null",
                "f.yaml:4: executor.listen: localhost: an address is HOST:PORT; set HOST:PORT",
                "f.yaml:5: executor.node: a name of letters, digits, '-', '_' and '.' is needed, not beginning with a dot",
                "f.yaml:6: sheduler: there is no such section; did you mean scheduler?",
                "f.yaml:7: cores: there is no such section; did you mean executor.cores?",
                "f.yaml:9: extract.optimize: it is 0, 1 or 2",
                "f.yaml:10: extract.query_rows: there is no such setting; did you mean serve.query_rows?",
                "f.yaml:11: embedded: it is a section, and 2 is none: write embedded: {KEY: VALUE}",
                "f.yaml:15: client.cluster: a scheduler is [df://]HOST:PORT, this is \"http://x\"",
                "BYTEFACTS_EXECUTOR__DRAIN_SECONDS: executor.drain_seconds: invalid type: string \"soon\", expected u64; set a whole number of at least 0",
                "BYTEFACTS_EXECUTOR__DRIAN_SECONDS: executor.drian_seconds: there is no such setting; did you mean executor.drain_seconds?",
                "f.yaml:12: cluster_tls.authority: cluster_tls.authority, cluster_tls.certificate, cluster_tls.key belong together: set this one too, or none of them",
                "f.yaml:12: cluster_tls.certificate: cluster_tls.authority, cluster_tls.certificate, cluster_tls.key belong together: set this one too, or none of them",
            ]
        );
    }

    #[test]
    fn what_is_no_yaml_says_where() {
        for (text, line) in [("executor: {cores: 4\nclient: {}\n", 2), ("executor:\n\tcores: 4\n", 2), ("[1, 2", 1)] {
            let found = check_text("f.yaml", text, std::iter::empty());
            assert!(found.len() == 1 && found[0].line.is_some_and(|found| found.abs_diff(line) <= 1), "{text}: {found:?}");
            assert!(found[0].message.starts_with("it is no YAML: "), "{found:?}");
        }
        assert!(found("[1, 2]", &[])[0].contains("says nothing of settings"));
    }

    #[test]
    fn what_stands_twice_hides_no_other_fault() {
        let text = "executor: {cores: 3}\nexecutor:\n  coers: 4\n  cores: many\nembedded: {jobs: 0, jobs: 1}\nsheduler: {}\n";
        assert_eq!(
            found(text, &[]),
            [
                "f.yaml:2: executor: it is there before at line 1, which counts: keep one of them",
                "f.yaml:4: executor.cores: it is there before at line 1, which counts: keep one of them",
                "f.yaml:5: embedded.jobs: it is there before at line 5, which counts: keep one of them",
                "f.yaml:3: executor.coers: there is no such setting; did you mean executor.cores?",
                "f.yaml:5: embedded.jobs: it is at least 1",
                "f.yaml:6: sheduler: there is no such section; did you mean scheduler?",
            ]
        );
    }

    #[test]
    fn what_a_daemon_needs_an_option_for_is_a_remark() {
        let text = "scheduler:\n  listen: 0.0.0.0:1\n  sql_listen: 127.0.0.1:2\nserve: {listen: '0.0.0.0:3'}\n";
        let findings = check_text("f.yaml", text, std::iter::empty());
        assert!(findings.iter().all(|finding| finding.remark));
        let keys: Vec<_> = findings.iter().filter_map(|finding| finding.key.as_deref()).collect();
        assert_eq!(keys, ["scheduler.listen", "access.corpus", "access.facts", "serve.listen", "scheduler.sql_listen"]);
        let sound = "scheduler: {listen: '0.0.0.0:1', insecure: true, sql_listen: '127.0.0.1:2', facts: /f}
access: {corpus: [/c], facts: [/f]}\nserve: {listen: '0.0.0.0:3', users: users.yaml}\n";
        assert_eq!(found(sound, &[]), Vec::<String>::new());
    }
}
