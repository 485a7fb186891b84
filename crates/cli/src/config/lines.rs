//! At which line of a YAML text a key is. Values that were read know no lines, but errors do: the text is read once more, and reading fails at the key.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The line, from 1 on, of a key such as `executor.cores` or `executor`.
pub(super) fn line(text: &str, key: &str) -> Option<usize> {
    line_of(text, &key.split('.').collect::<Vec<_>>(), 0)
}

/// The line of a key that is inside others, where it stands once more after so many times before.
pub(super) fn line_of(text: &str, names: &[&str], before: usize) -> Option<usize> {
    let before = Cell::new(before);
    let error = Seek { names, before: &before }.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    error.to_string().contains(HERE).then(|| error.location()).flatten().map(|location| location.line())
}

/// What the error at the key says, and no other error does.
const HERE: &str = "\u{1}the key is here\u{1}";

/// Looks for names, each inside the one before.
struct Seek<'a> {
    names: &'a [&'a str],
    /// How often they are passed by.
    before: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { names, before } = self;
        let Some((name, inside)) = names.split_first() else { return ignored(&mut map) };
        while let Some(found) = map.next_key_seed(Name { name, last: inside.is_empty().then_some(before) })? {
            if found {
                map.next_value_seed(Seek { names: inside, before })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

fn ignored<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Whether a key is that name; where it is the last, the error, once it was passed by often enough.
struct Name<'a> {
    name: &'a str,
    last: Option<&'a Cell<usize>>,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<bool, E> {
        if name != self.name {
            return Ok(false);
        }
        match self.last.map(Cell::get) {
            Some(0) => Err(E::custom(HERE)),
            Some(before) => {
                self.last.inspect(|left| left.set(before - 1));
                Ok(false)
            }
            None => Ok(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_where_it_stands() {
        let text = "# first\nexecutor:\n  cores: 3\n  node: x   # a name\n\nscheduler: {listen: '1.2.3.4:5',\n  probes: '1.2.3.4:6'}\naccess:\n  corpus:\n    - s3://a\n    - s3://b\npython: null\n";
        for (key, expected) in [
            ("executor", 2),
            ("executor.cores", 3),
            ("executor.node", 4),
            ("scheduler.listen", 6),
            ("scheduler.probes", 7),
            ("access.corpus", 9),
            ("python", 12),
        ] {
            assert_eq!(line(text, key), Some(expected), "{key}");
        }
        for missing in ["cores", "executor.listen", "executor.cores.x", "access.corpus.s3", "nothing"] {
            assert_eq!(line(text, missing), None, "{missing}");
        }
    }

    #[test]
    fn a_key_that_stands_again_is_where_it_stands_then() {
        let text = "a: {b: 1}\na:\n  b: 2\n  b: 3\n";
        for (names, lines) in [(&["a"][..], &[Some(1), Some(2), None][..]), (&["a", "b"], &[Some(1), Some(3), Some(4), None])] {
            for (before, expected) in lines.iter().enumerate() {
                assert_eq!(line_of(text, names, before), *expected, "{names:?} {before}");
            }
        }
    }
}
