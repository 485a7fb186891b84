//! What each setting may be, as a JSON Schema for editors and charts. Nobody writes it: the parser and the faults are asked what they take, and the file that
//! states the defaults what it is for, so that the schema says what is, and nothing else.

use serde_json::{Map, Value as Json, json};
use serde_yaml::Value;

use super::layers::{all_keys, alone, interpret};
use super::{Settings, faults};

/// The file that states all settings with their defaults.
pub const SHIPPED: &str = include_str!("../../../../config/bytefacts.yaml");

/// What a setting may be.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Kind {
    null: bool,
    boolean: bool,
    /// The least and the greatest, where that is not the greatest of all.
    integer: Option<(i64, Option<u64>)>,
    number: bool,
    text: Option<Text>,
    texts: Option<Value>,
}

/// Which texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Any,
    Address,
    Scheduler,
}

/// Whether a setting may have a value.
fn takes(key: &str, value: Value) -> bool {
    interpret(alone(key, value)).is_ok_and(|settings| faults::by_themselves(&settings).is_empty())
}

/// What a setting may be, as its parser says.
pub(super) fn kind(key: &str) -> Kind {
    const GREATEST: [u64; 5] = [2, u8::MAX as u64, u16::MAX as u64, u32::MAX as u64, u64::MAX];
    let least = [-1, 0, 1, 2, 1 << 20].into_iter().find(|&least| takes(key, least.into()));
    let integer = least.filter(|_| !takes(key, 0.5.into()) && !takes(key, "text".into())).map(|least| {
        let greatest = GREATEST.into_iter().rev().find(|&greatest| takes(key, greatest.into()));
        (least, greatest.filter(|greatest| *greatest < u64::MAX))
    });
    let text = match (takes(key, "text".into()), takes(key, "127.0.0.1:1".into()), takes(key, "df://127.0.0.1:1".into())) {
        (true, ..) => Some(Text::Any),
        (false, true, true) => Some(Text::Scheduler),
        (false, true, false) => Some(Text::Address),
        _ => None,
    };
    let texts = ["file:///x", "RERAISE"].into_iter().map(|text| Value::Sequence(vec![text.into()])).find(|texts| takes(key, texts.clone()));
    Kind { null: takes(key, Value::Null), boolean: takes(key, true.into()), integer, number: takes(key, 0.5.into()), text, texts }
}

impl Kind {
    /// In words, for whoever has set something else.
    pub(super) fn words(&self) -> String {
        let mut words = Vec::new();
        if self.boolean {
            words.push("true or false".to_owned());
        }
        match self.integer {
            Some((least, Some(greatest))) => words.push(format!("a whole number from {least} to {greatest}")),
            Some((least, None)) => words.push(format!("a whole number of at least {least}")),
            None => {}
        }
        if self.number {
            words.push("a number from 0 to 1".to_owned());
        }
        match self.text {
            Some(Text::Any) => words.push("a text".to_owned()),
            Some(Text::Address) => words.push("HOST:PORT".to_owned()),
            Some(Text::Scheduler) => words.push("[df://]HOST:PORT".to_owned()),
            None => {}
        }
        if self.texts.is_some() {
            words.push("a list of texts".to_owned());
        }
        if self.null {
            words.push("null".to_owned());
        }
        words.join(", or ")
    }

    fn schema(&self) -> Map<String, Json> {
        let mut schema = Map::new();
        let mut types = Vec::new();
        if self.boolean {
            types.push("boolean");
        }
        if let Some((least, greatest)) = self.integer {
            types.push("integer");
            schema.insert("minimum".to_owned(), least.into());
            if let Some(greatest) = greatest {
                schema.insert("maximum".to_owned(), greatest.into());
            }
        }
        if self.number {
            types.push("number");
            schema.insert("minimum".to_owned(), 0.into());
            schema.insert("maximum".to_owned(), 1.into());
        }
        if let Some(text) = self.text {
            types.push("string");
            match text {
                Text::Any => {}
                Text::Address => drop(schema.insert("pattern".to_owned(), "^[^/]+:[0-9]+$".into())),
                Text::Scheduler => drop(schema.insert("pattern".to_owned(), "^(df://)?[^/]+:[0-9]+$".into())),
            }
        }
        if self.texts.is_some() {
            types.push("array");
            schema.insert("items".to_owned(), json!({"type": "string"}));
        }
        if self.null {
            types.push("null");
        }
        let types = match types.as_slice() {
            [only] => json!(only),
            _ => json!(types),
        };
        schema.insert("type".to_owned(), types);
        schema
    }
}

/// The JSON Schema of settings files.
///
/// # Errors
/// Never: settings are made of what JSON has.
pub fn schema() -> anyhow::Result<Json> {
    let defaults: Json = serde_json::to_value(Settings::default())?;
    let mut sections = Map::new();
    for key in all_keys() {
        let mut about = Map::new();
        about.insert("description".to_owned(), description(&key).into());
        about.append(&mut kind(&key).schema());
        match key.split_once('.') {
            None => {
                about.insert("default".to_owned(), defaults[&key].clone());
                sections.insert(key, about.into());
            }
            Some((section, name)) => {
                about.insert("default".to_owned(), defaults[section][name].clone());
                let of_section = sections.entry(section).or_insert_with(|| {
                    json!({
                        "description": description(section), "type": ["object", "null"], "additionalProperties": false, "properties": {}
                    })
                });
                of_section["properties"][name] = about.into();
            }
        }
    }
    Ok(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of bytefacts",
        "description": "Made by `bytefacts config schema`. The environment (BYTEFACTS_SECTION__KEY) is laid over the file, the command line over both.",
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": sections,
    }))
}

/// What the shipped file says that a key or a section is for: the comment beside it, else the one above it.
pub(super) fn description(key: &str) -> String {
    let lines: Vec<&str> = SHIPPED.lines().collect();
    let Some(at) = super::lines::line(SHIPPED, key).and_then(|line| line.checked_sub(1)) else { return String::new() };
    // A value may go on over lines; the comment stands behind its last one.
    let indent = |line: &str| line.len() - line.trim_start().len();
    let first = lines.get(at).copied().unwrap_or_default();
    let rest = lines.iter().skip(at + 1).take_while(|line| key.contains('.') && indent(line) > indent(first));
    let beside = std::iter::once(&first).chain(rest).last().and_then(|line| Some(line.split_once(" # ")?.1.trim().to_owned()));
    beside.unwrap_or_else(|| {
        let above = lines.iter().take(at).rev().take_while(|line| line.trim_start().starts_with('#'));
        let above: Vec<_> = above.map(|line| line.trim_start().trim_start_matches('#').trim()).collect();
        above.into_iter().rev().collect::<Vec<_>>().join(" ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_schema_is_the_one_that_is_made() {
        let made = serde_json::to_string_pretty(&schema().unwrap()).unwrap() + "\n";
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/bytefacts.schema.json");
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
            std::fs::write(&path, &made).unwrap();
            return;
        }
        assert!(
            published == made,
            "config/bytefacts.schema.json is not what `bytefacts config schema` prints; with INSTA_UPDATE=always this test writes it"
        );
    }

    #[test]
    fn kinds_are_as_the_settings_are_declared() {
        let whole = |least, greatest| Kind { integer: Some((least, greatest)), ..Kind::default() };
        for (key, expected) in [
            ("extract.optimize", whole(0, Some(2))),
            ("extract.adaptive", Kind { boolean: true, ..Kind::default() }),
            ("extract.max_file_bytes", whole(0, None)),
            ("extract.compile_cpu_seconds", whole(1, None)),
            ("extract.oracle", Kind { number: true, ..Kind::default() }),
            ("client.max_unread_share", Kind { number: true, ..Kind::default() }),
            ("client.max_gone_share", Kind { number: true, ..Kind::default() }),
            ("embedded.jobs", Kind { null: true, ..whole(1, Some(65535)) }),
            ("executor.cores", Kind { null: true, ..whole(1, Some(65535)) }),
            ("serve.message_bytes", whole(1 << 20, None)),
            ("serve.listen", Kind { text: Some(Text::Address), ..Kind::default() }),
            ("scheduler.sql_listen", Kind { null: true, text: Some(Text::Address), ..Kind::default() }),
            ("client.cluster", Kind { null: true, text: Some(Text::Scheduler), ..Kind::default() }),
            ("cluster_tls.key", Kind { null: true, text: Some(Text::Any), ..Kind::default() }),
            ("serve.tls_key", Kind { null: true, text: Some(Text::Any), ..Kind::default() }),
            ("python", Kind { null: true, text: Some(Text::Any), ..Kind::default() }),
        ] {
            assert_eq!(kind(key), expected, "{key}");
        }
        for key in ["extract.terminator_opnames", "extract.exclude", "access.facts"] {
            assert!(kind(key).texts.is_some() && kind(key).text.is_none(), "{key}");
        }
        // An empty list may be left empty.
        assert!(kind("access.facts").null && kind("extract.exclude").null && !kind("extract.optimize").null);
    }

    #[test]
    fn every_setting_is_of_some_kind_and_says_what_it_is_for() {
        for key in all_keys() {
            assert_ne!(kind(&key).words(), "", "{key}");
            assert_ne!(description(&key), "", "{key} has no comment in config/bytefacts.yaml");
        }
        assert!(description("extract.exclude").starts_with("what is left out"), "{}", description("extract.exclude"));
        assert!(description("cluster_tls").starts_with("How the processes"), "{}", description("cluster_tls"));
    }
}
