//! The canonical texts of a unit's constants, each written once however many instructions load it.
//!
//! Constants are folded, so that 35 bytes of source can make a text of 16 million. Each stands in several columns, once more for
//! each instruction that loads it, and so nothing is written before it is known that all of it has room.

use bytefacts_bytecode::{
    instruction::Instruction,
    object::Const,
    text::{Sink, try_write_repr},
};

use crate::{unit::UnitFacts, unwritten::TooLarge};

/// The texts of `co_consts`, by slot; reused from unit to unit.
#[derive(Debug, Default)]
pub(crate) struct ConstTexts {
    text: String,
    ends: Vec<usize>,
}

/// Texts of a unit that take no more than this are written at once, and their room is looked at afterwards; longer ones are
/// counted first. Nearly all take less.
const WRITTEN_AT_ONCE: usize = 64 << 10;

impl ConstTexts {
    /// Writes the texts of a unit's constants, `filename` standing for every `co_filename`, unless the columns that they stand in
    /// would take more than `room` bytes.
    pub(crate) fn set(&mut self, facts: &UnitFacts<'_>, filename: &str, room: usize) -> Result<(), TooLarge> {
        let consts = &facts.unit.code.consts;
        self.clear();
        let mut short = Capped { text: &mut self.text, limit: WRITTEN_AT_ONCE };
        let is_short = consts.iter().try_for_each(|constant| {
            try_write_repr(constant, filename, &mut short)?;
            self.ends.push(short.text.len());
            Ok::<_, TooLarge>(())
        });
        if is_short.is_ok() {
            // What the arguments of instructions may take at most is seldom near the limit.
            let most = facts.instructions.len().saturating_add(LEAST_COLUMNS).saturating_mul(2 * self.text.len());
            return if most <= room { Ok(()) } else { check(facts, &self.lengths(), room) };
        }
        let mut lengths = Vec::with_capacity(consts.len());
        for constant in consts {
            let mut length = Length { bytes: 0, escapes: 0, limit: room };
            try_write_repr(constant, filename, &mut length)?;
            lengths.push((length.bytes, length.escapes));
        }
        check(facts, &lengths, room)?;
        self.clear();
        self.text.reserve_exact(lengths.iter().map(|(bytes, _)| bytes).sum());
        for constant in consts {
            let Ok(()) = try_write_repr(constant, filename, &mut self.text);
            self.ends.push(self.text.len());
        }
        Ok(())
    }

    /// Forgets the texts, and gives back what long ones have taken.
    fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(2 * WRITTEN_AT_ONCE);
        self.ends.clear();
    }

    /// The text of a slot; none beyond the last.
    pub(crate) fn get(&self, slot: usize) -> Option<&str> {
        let start = slot.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.text.get(start..*self.ends.get(slot)?)
    }

    /// The texts in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).map_while(|slot| self.get(slot))
    }

    /// The length of each text, and what escapes add to it in JSON.
    fn lengths(&self) -> Vec<(usize, usize)> {
        self.iter().map(|text| (text.len(), escapes(text))).collect()
    }
}

/// The columns that each constant stands in at least: `const_repr` and `consts_json`.
const LEAST_COLUMNS: usize = 2;

/// Adds up what texts of these lengths, as [`ConstTexts::lengths`] has them, take in the columns of a unit.
fn check(facts: &UnitFacts<'_>, lengths: &[(usize, usize)], room: usize) -> Result<(), TooLarge> {
    let mut left = room;
    let mut take = |bytes: usize| {
        left = left.checked_sub(bytes).ok_or(TooLarge)?;
        Ok(())
    };
    for (bytes, escapes) in lengths {
        take(LEAST_COLUMNS * bytes + escapes)?;
    }
    for slot in facts.instructions.iter().filter_map(Instruction::const_index) {
        let argrepr = lengths.get(slot).map_or(0, |(bytes, _)| *bytes);
        let argval_str = match facts.unit.code.consts.get(slot) {
            Some(Const::None) | None => 0,
            Some(Const::Str(value)) => value.as_bytes().len(),
            Some(_) => argrepr,
        };
        take(argrepr + argval_str)?;
    }
    Ok(())
}

/// A text that ends before it takes more than so many bytes.
struct Capped<'a> {
    text: &'a mut String,
    limit: usize,
}

impl Sink for Capped<'_> {
    type Full = TooLarge;

    #[inline]
    fn take(&mut self, piece: &str) -> Result<(), TooLarge> {
        if self.text.len() + piece.len() > self.limit {
            return Err(TooLarge);
        }
        self.text.push_str(piece);
        Ok(())
    }
}

/// Counts a text that is not written.
struct Length {
    bytes: usize,
    escapes: usize,
    limit: usize,
}

impl Sink for Length {
    type Full = TooLarge;

    const IS_ORDERED: bool = false;

    fn take(&mut self, piece: &str) -> Result<(), TooLarge> {
        self.bytes += piece.len();
        self.escapes += escapes(piece);
        if self.bytes > self.limit { Err(TooLarge) } else { Ok(()) }
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

/// What [`push_json_escaped`] adds to a text's length.
fn escapes(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            b'"' | b'\\' => 1,
            ..b' ' => 5,
            _ => 0,
        })
        .sum()
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
