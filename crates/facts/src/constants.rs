//! The canonical texts of a unit's constants, each written once however many instructions load it.

use bytefacts_bytecode::{
    object::{Code, Const},
    text::write_repr,
};

/// The texts of `co_consts`, by slot; reused from unit to unit.
#[derive(Debug, Default)]
pub(crate) struct ConstTexts {
    text: String,
    ends: Vec<usize>,
}

impl ConstTexts {
    /// Writes the texts of a unit's constants, `filename` standing for every `co_filename`.
    pub(crate) fn set(&mut self, code: &Code, filename: &str) {
        self.text.clear();
        self.ends.clear();
        for constant in &code.consts {
            write_repr(constant, filename, &mut self.text);
            self.ends.push(self.text.len());
        }
    }

    /// The text of a slot; empty beyond the last.
    pub(crate) fn get(&self, slot: usize) -> &str {
        let start = slot.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
        let range = start.zip(self.ends.get(slot).copied());
        range.and_then(|(start, end)| self.text.get(start..end)).unwrap_or_default()
    }

    /// The size of all texts.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The texts in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).map(|slot| self.get(slot))
    }
}

/// Whether a constant's text holds a `co_filename`.
pub(crate) fn holds_code(constant: &Const) -> bool {
    match constant {
        Const::Code(_) => true,
        Const::Tuple(items) | Const::FrozenSet(items) => items.iter().any(holds_code),
        Const::Slice(bounds) => bounds.iter().any(holds_code),
        _ => false,
    }
}

/// Appends texts as a JSON array of strings.
pub(crate) fn push_json_array<'a>(texts: impl Iterator<Item = &'a str>, out: &mut String) {
    out.push('[');
    for (nth, text) in texts.enumerate() {
        out.push_str(if nth == 0 { "\"" } else { ",\"" });
        push_json_escaped(text, out);
        out.push('"');
    }
    out.push(']');
}

fn push_json_escaped(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| matches!(c, '"' | '\\' | '\0'..='\x1f')) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = special.chars();
        match chars.next() {
            Some(quoted @ ('"' | '\\')) => out.extend(['\\', quoted]),
            Some(control) => {
                out.push_str("\\u00");
                crate::ids::push_hex(&[control as u8], out);
            }
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn json_reads_back(texts in proptest::collection::vec("(?s).*", 0..4)) {
            let mut json = String::new();
            push_json_array(texts.iter().map(String::as_str), &mut json);
            let read: Vec<String> = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read, texts);
        }
    }
}
