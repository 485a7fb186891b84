//! What two marshal streams of one value differ in, where the value is the same: flags of references, references, interning, order of sets.
//! The name of the file is looked over: streams of one source that was compiled under two names can be compared.
//!
//! The streams are walked side by side. Nothing is trusted: depth is bounded, and what does not parse ends the walk.

use serde::{Deserialize, Serialize};

/// How deep objects may be nested, as in the reader.
const MAX_DEPTH: usize = 2000;
/// Objects that are visited at most: references can describe more than there is memory for.
const MAX_OBJECTS: usize = 50_000_000;

/// What was found to differ. Counts of objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamDifference {
    /// Flagged as referable on one side only.
    pub flags: u64,
    /// A reference on one side, written out on the other.
    pub references: u64,
    /// Interned on one side only.
    pub interning: u64,
    /// Whether a set has another order.
    pub order: u64,
    /// Another value: then the streams are not of one value.
    pub values: u64,
    /// Byte of the left stream at which the first difference stands.
    pub first_offset: Option<u64>,
}

impl StreamDifference {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// In words.
    #[must_use]
    pub fn summary(&self) -> String {
        let parts = [
            (self.values, "values"),
            (self.order, "sets in another order"),
            (self.interning, "strings interned on one side"),
            (self.references, "references on one side"),
            (self.flags, "objects flagged on one side"),
        ];
        let found: Vec<_> = parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        if found.is_empty() { "nothing".to_owned() } else { found.join(", ") }
    }
}

/// Compares two streams of one value. `None` if one of them is not marshalled data.
#[must_use]
pub fn compare(left: &[u8], right: &[u8]) -> Option<StreamDifference> {
    let mut pair = Pair { left: Side::new(left), right: Side::new(right), found: StreamDifference::default(), depth: 0, objects: 0 };
    let whole = pair.object(false).is_some();
    (whole || pair.found.values > 0).then_some(pair.found)
}

struct Side<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where flagged objects begin, in order.
    flagged: Vec<usize>,
    /// This deep in an object that was read before.
    replays: usize,
}

struct Pair<'a> {
    left: Side<'a>,
    right: Side<'a>,
    found: StreamDifference,
    depth: usize,
    objects: usize,
}

const FLAG: u8 = 0x80;

impl<'a> Side<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, flagged: Vec::new(), replays: 0 }
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn int(&mut self) -> Option<i32> {
        Some(i32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.int()?).ok()
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    /// The tag at the cursor, past a reference if one stands there: where to go on after the object, and whether it was one.
    fn open(&mut self) -> Option<Open> {
        let begin = self.at;
        let tag = self.byte()?;
        if tag & !FLAG == b'r' {
            let index = usize::try_from(self.int()?).ok()?;
            let target = *self.flagged.get(index)?;
            let resume = self.at;
            self.at = target;
            let tag = self.byte()?;
            self.replays += 1;
            return Some(Open { begin, tag, resume: Some(resume) });
        }
        if tag & FLAG != 0 && self.replays == 0 {
            self.flagged.push(begin);
        }
        Some(Open { begin, tag, resume: None })
    }

    fn close(&mut self, open: &Open) {
        if let Some(resume) = open.resume {
            self.at = resume;
            self.replays -= 1;
        }
    }
}

struct Open {
    begin: usize,
    tag: u8,
    resume: Option<usize>,
}

/// A tag without flag and interning, and whether it said interned; sizes of one and of four bytes are one kind.
fn kind(tag: u8) -> (u8, bool) {
    match tag & !FLAG {
        b'z' | b'a' | b'u' => (b'u', false),
        b'Z' | b'A' | b't' => (b'u', true),
        b')' | b'(' => (b'(', false),
        other => (other, false),
    }
}

impl Pair<'_> {
    fn differs(&mut self, at: usize, count: impl Fn(&mut StreamDifference) -> &mut u64) {
        *count(&mut self.found) += 1;
        self.found.first_offset.get_or_insert(at as u64);
    }

    /// Walks one object of each side. Inside of what a side has by reference, flags tell nothing.
    fn object(&mut self, quiet: bool) -> Option<()> {
        self.objects += 1;
        if self.depth == MAX_DEPTH || self.objects > MAX_OBJECTS {
            return None;
        }
        self.depth += 1;
        let (left, right) = (self.left.open()?, self.right.open()?);
        let by_reference = left.resume.is_some() || right.resume.is_some();
        if left.resume.is_some() != right.resume.is_some() && !quiet {
            self.differs(left.begin, |found| &mut found.references);
        } else if !by_reference && !quiet && (left.tag ^ right.tag) & FLAG != 0 {
            self.differs(left.begin, |found| &mut found.flags);
        }
        let ((of_left, interned_left), (of_right, interned_right)) = (kind(left.tag), kind(right.tag));
        if of_left != of_right {
            self.differs(left.begin, |found| &mut found.values);
            return None; // what comes after another value cannot be told
        }
        if interned_left != interned_right && !quiet {
            self.differs(left.begin, |found| &mut found.interning);
        }
        self.contents(of_left, &left, &right, quiet || by_reference)?;
        self.left.close(&left);
        self.right.close(&right);
        self.depth -= 1;
        Some(())
    }

    fn contents(&mut self, kind: u8, left: &Open, right: &Open, quiet: bool) -> Option<()> {
        match kind {
            b'N' | b'F' | b'T' | b'.' | b'S' => Some(()),
            b'(' | b'>' => {
                let length = |side: &mut Side<'_>, tag: u8| if tag & !FLAG == b')' { side.byte().map(usize::from) } else { side.length() };
                let (of_left, of_right) = (length(&mut self.left, left.tag)?, length(&mut self.right, right.tag)?);
                if of_left != of_right {
                    self.differs(left.begin, |found| &mut found.values);
                    return None; // what comes after another value cannot be told
                }
                let before = self.found.values;
                for _ in 0..of_left {
                    self.object(quiet)?;
                }
                // What differs in a set is the order, where the value as a whole is the same.
                if kind == b'>' && self.found.values > before {
                    self.found.values = before;
                    self.found.order += 1;
                }
                Some(())
            }
            b'c' => {
                for (index, is_object) in CODE.into_iter().enumerate() {
                    let before = (self.found.values, self.found.first_offset);
                    if is_object {
                        self.object(quiet)?
                    } else {
                        self.same(left.begin, |side, _| side.take(4), 0, 0)?
                    }
                    if index == FILENAME && self.found.values > before.0 {
                        (self.found.values, self.found.first_offset) = before;
                    }
                }
                Some(())
            }
            b'i' => self.same(left.begin, |side, _| side.take(4), 0, 0),
            b'I' | b'g' => self.same(left.begin, |side, _| side.take(8), 0, 0),
            b'y' => self.same(left.begin, |side, _| side.take(16), 0, 0),
            b'l' => self.same(
                left.begin,
                |side, _| {
                    let at = side.at;
                    let digits = side.int()?.unsigned_abs() as usize;
                    side.take(digits.checked_mul(2)?)?;
                    side.bytes.get(at..side.at)
                },
                0,
                0,
            ),
            b's' => self.same(
                left.begin,
                |side, _| {
                    let length = side.length()?;
                    side.take(length)
                },
                0,
                0,
            ),
            b'u' => self.same(
                left.begin,
                |side, tag| {
                    let length = if matches!(tag & !FLAG, b'z' | b'Z') { usize::from(side.byte()?) } else { side.length()? };
                    side.take(length)
                },
                left.tag,
                right.tag,
            ),
            _ => None,
        }
    }

    fn same(
        &mut self,
        begin: usize,
        read: impl for<'b> Fn(&mut Side<'b>, u8) -> Option<&'b [u8]>,
        left_tag: u8,
        right_tag: u8,
    ) -> Option<()> {
        let (left, right) = (read(&mut self.left, left_tag)?, read(&mut self.right, right_tag)?);
        if left != right {
            self.differs(begin, |found| &mut found.values);
        }
        Some(())
    }
}

/// The field of a code object that says under which name it was compiled: its value is looked over.
const FILENAME: usize = 10;

/// The fields of a code object: whether an object, or four bytes.
const CODE: [bool; 16] = [false, false, false, false, false, true, true, true, true, true, true, true, true, false, true, true];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_references_and_interning_are_told_apart() {
        assert!(compare(b")\x01N", b")\x01N").unwrap().is_empty());
        assert_eq!(compare(b"\xa9\x01N", b")\x01N").unwrap(), StreamDifference { flags: 1, first_offset: Some(0), ..Default::default() });
        let referring = b")\x02\xfa\x01ar\x00\x00\x00\x00";
        let written = b")\x02\xfa\x01az\x01a";
        assert_eq!(compare(referring, written).unwrap().references, 1);
        assert_eq!(compare(b"z\x01a", b"Z\x01a").unwrap().interning, 1);
        assert_eq!(compare(b"(\x01\x00\x00\x00N", b")\x01N").unwrap(), StreamDifference::default());
        assert_eq!(compare(b">\x02\x00\x00\x00z\x01az\x01b", b">\x02\x00\x00\x00z\x01bz\x01a").unwrap().order, 1);
    }

    #[test]
    fn another_value_is_one_and_damage_is_none() {
        assert_eq!(compare(b"i\x01\x00\x00\x00", b"i\x02\x00\x00\x00").unwrap().values, 1);
        assert_eq!(compare(b"i\x01\x00", b"i\x01\x00\x00\x00"), None);
        assert_eq!(compare(b"r\x00\x00\x00\x00", b"N"), None);
        assert_eq!(compare(b"?", b"?"), None);
    }
}
