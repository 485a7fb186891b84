//! YAML texts as values. A text is looked over before it is parsed, since the parser's time grows with the square of how deep brackets lie; and where all
//! faults are to be told, what it says twice is told instead of ending the reading.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize as _;
use serde::de::value::EnumAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Visitor};
use serde_yaml::mapping::Entry;
use serde_yaml::{Mapping, Value};

/// Brackets that may be open at a time. Settings need two; those that cannot be told from text count too.
const MOST_OPEN: usize = 1000;

/// Why a text is no YAML.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotYaml {
    /// It lies too deep to be looked at.
    #[error("more than {most} brackets are open at line {line}", most = MOST_OPEN)]
    Deep {
        /// The line.
        line: usize,
    },
    /// The parser does not take it.
    #[error(transparent)]
    Parser(#[from] serde_yaml::Error),
}

impl NotYaml {
    /// The line, where that is known.
    pub(super) fn line(&self) -> Option<usize> {
        match self {
            Self::Deep { line } => Some(*line),
            Self::Parser(error) => error.location().map(|location| location.line()),
        }
    }
}

/// What a text says.
///
/// # Errors
/// When it is no YAML, or says something twice.
pub(super) fn value(text: &str) -> Result<Value, NotYaml> {
    Ok(serde_yaml::from_str(shallow(text)?)?)
}

/// What a text says, and what it says again. Of two values the first counts; two sections are taken for one.
///
/// # Errors
/// When it is no YAML.
pub(super) fn with_repetitions(text: &str) -> Result<(Value, Vec<Repetition>), NotYaml> {
    let mut seen = Seen::default();
    let value = Node { path: &[], seen: &mut seen }.deserialize(serde_yaml::Deserializer::from_str(shallow(text)?))?;
    Ok((value, seen.repetitions))
}

/// A key that a text has once more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repetition {
    /// The key, below those around it.
    pub(super) path: Vec<String>,
    /// How often it was there before.
    pub(super) before: usize,
}

/// The text, if it does not lie too deep.
///
/// What is a bracket and what is text only the parser knows. An end counts where it is one whatever the start is: nothing between the two begins or ends a text, a
/// comment or a key. So that fewer are never counted than are open, and of what people write hardly more.
fn shallow(text: &str) -> Result<&str, NotYaml> {
    let (mut open, mut closable, mut line) = (0, 0, 1);
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => (open, closable) = (open + 1, closable + 1),
            b']' | b'}' if closable > 0 => (open, closable) = (open - 1, closable - 1),
            b'\'' | b'"' | b'#' | b':' | b'!' => closable = 0,
            b'\n' => (closable, line) = (0, line + 1),
            _ => {}
        }
        if open > MOST_OPEN {
            return Err(NotYaml::Deep { line });
        }
    }
    Ok(text)
}

/// How often each key was seen.
#[derive(Default)]
struct Seen {
    times: BTreeMap<Vec<String>, usize>,
    repetitions: Vec<Repetition>,
}

impl Seen {
    fn see(&mut self, path: &[String]) {
        let times = self.times.entry(path.to_vec()).or_default();
        if *times > 0 {
            self.repetitions.push(Repetition { path: path.to_vec(), before: *times });
        }
        *times += 1;
    }
}

/// The value at a path.
struct Node<'a> {
    path: &'a [String],
    seen: &'a mut Seen,
}

impl Node<'_> {
    fn path_of(&self, name: String) -> Vec<String> {
        self.path.iter().cloned().chain([name]).collect()
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    /// A tag, which no setting has.
    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Value, A::Error> {
        Value::deserialize(EnumAccessDeserializer::new(data))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let path = self.path_of(format!("[{}]", values.len()));
            match list.next_element_seed(Node { path: &path, seen: &mut *self.seen })? {
                Some(value) => values.push(value),
                None => return Ok(Value::Sequence(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Mapping::new();
        while let Some(key) = map.next_key::<Value>()? {
            let path = self.path_of(key.as_str().map_or_else(|| format!("{key:?}"), str::to_owned));
            self.seen.see(&path);
            let value = map.next_value_seed(Node { path: &path, seen: &mut *self.seen })?;
            match values.entry(key) {
                Entry::Occupied(mut there) => add_section(there.get_mut(), value),
                Entry::Vacant(place) => drop(place.insert(value)),
            }
        }
        Ok(Value::Mapping(values))
    }
}

/// Puts into a section what only its repetition says.
fn add_section(there: &mut Value, again: Value) {
    if let (Some(there), Value::Mapping(again)) = (there.as_mapping_mut(), again) {
        for (key, value) in again {
            there.entry(key).or_insert(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repetitions(text: &str) -> (Value, Vec<(String, usize)>) {
        let (value, found) = with_repetitions(text).unwrap();
        (value, found.into_iter().map(|Repetition { path, before }| (path.join("/"), before)).collect())
    }

    #[test]
    fn values_are_those_of_the_parser() {
        for text in
            ["", "# nothing\n", "{}", "a", "null", "a: {b: [1, -1, 0.5, true, ~, 'x', 0o17]}\nc: !tag 1\n1: 2\n", "[{a: 1}, {a: 2}]"]
        {
            assert_eq!(repetitions(text), (value(text).unwrap(), vec![]), "{text}");
        }
    }

    #[test]
    fn what_is_said_again_is_told_and_the_first_counts() {
        let (found, again) = repetitions("a: {b: 1, c: 2, b: 3}\nd: 1\na: {b: 4, e: 5}\nd: 2\n\"a.b\": 6\n");
        assert_eq!(found, value("a: {b: 1, c: 2, e: 5}\nd: 1\n\"a.b\": 6\n").unwrap());
        assert_eq!(again, [("a/b", 1), ("a", 1), ("a/b", 2), ("d", 1)].map(|(path, before)| (path.to_owned(), before)));
    }

    /// The parser would be at it for hours.
    #[test]
    fn what_lies_too_deep_is_refused_unread() {
        for (level, end) in [("[", ""), ("{a: ", ""), ("[\n", ""), ("[ !<]> ", ""), ("[']', ", ""), ("{a: ", "}"), ("{? [a]\n: ", "")] {
            let text = level.repeat(1_000_000) + &end.repeat(1_000_000);
            assert!(matches!(value(&text), Err(NotYaml::Deep { .. })), "{level}");
            assert!(matches!(with_repetitions(&text), Err(NotYaml::Deep { .. })), "{level}");
        }
        // Without brackets depth is the parser's to refuse.
        assert!(matches!(value(&"- ".repeat(100_000)), Err(NotYaml::Parser(_))));
    }

    #[test]
    fn patterns_and_comments_do_not_lie_deep() {
        let patterns = "  - \"**/*.[ch]{,pp}\" # [one]\n".repeat(100_000);
        value(&format!("extract:\n  exclude:\n{patterns}")).unwrap();
    }
}
