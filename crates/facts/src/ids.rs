//! Identifiers: a prefix and a BLAKE2b hash of the parts that name a thing.
//!
//! `file_id` and the legacy `code_id` join their parts with U+001F, and where a part holds that character itself (file systems
//! and foreign code allow it), the lengths of the parts come first, behind two of them: no text of the plain form looks like
//! that, and no two lists of parts give one text. Every other id joins them with `:`, a missing part
//! being an empty field. That text is injective: only the last part of `code_unit_id` may itself hold a `:`, and what
//! stands before it has a fixed form. Integers are decimal. The views compute the same ids from columns with the
//! functions `bytefacts_hash64` and `bytefacts_hash128`, which are [`hash64`] and [`hash128`] of the joined parts.
//!
//! A unit's id is a 128-bit hash and the ids inside it 63-bit ones, as the contract has them.

use std::fmt::{self, Display, Write};

use blake2::{
    Blake2b, Digest,
    digest::consts::{U8, U16},
};

/// Separates the parts of `file_id` and `code_id`.
const UNIT_SEPARATOR: char = '\u{1f}';

/// BLAKE2b with a 16-byte digest of the UTF-8 text, in lower hex.
pub fn hash128(text: &str) -> String {
    hex(&Blake2b::<U16>::digest(text.as_bytes()))
}

/// BLAKE2b with an 8-byte digest of the UTF-8 text, big-endian, masked to 63 bits.
pub fn hash64(text: &str) -> i64 {
    let digest: [u8; 8] = Blake2b::<U8>::digest(text.as_bytes()).into();
    i64::from_be_bytes(digest) & i64::MAX
}

/// `file:` + hash128 of `file`, the repository if there is one, and the path.
pub fn file_id(repo: Option<&str>, path: &str) -> String {
    format!("file:{}", hash128(&file_text(repo, path)))
}

/// The legacy id of a unit, which does not tell files apart: `qualname` is the qualpath, `firstlineno1` is
/// `co_firstlineno`.
pub fn code_id(qualname: &str, name: &str, firstlineno1: i32) -> String {
    format!("code:{}", hash128(&code_text(qualname, name, firstlineno1)))
}

fn file_text(repo: Option<&str>, path: &str) -> String {
    match repo {
        Some(repo) => unit_separated("file", &[repo, path]),
        None => unit_separated("file", &[path]),
    }
}

fn code_text(qualname: &str, name: &str, firstlineno1: i32) -> String {
    unit_separated("code", &[qualname, name, &firstlineno1.to_string()])
}

/// A kind and its parts behind U+001F each; if a part holds one, behind two of them the parts' lengths in bytes and then the parts.
fn unit_separated(kind: &str, parts: &[&str]) -> String {
    let mut text = String::from(kind);
    if parts.iter().any(|part| part.contains(UNIT_SEPARATOR)) {
        text.push(UNIT_SEPARATOR);
        for part in parts {
            text.push(UNIT_SEPARATOR);
            text.push_str(&part.len().to_string());
        }
        text.push(UNIT_SEPARATOR);
    }
    for part in parts {
        text.push(UNIT_SEPARATOR);
        text.push_str(part);
    }
    text
}

/// `bc_code:` + hash128 of `file_id:code_path:qualname`, the code path's ordinals joined by `.` (empty for the module).
pub fn code_unit_id(file_id: &str, code_path: &[i32], qualname: &str) -> String {
    format!("bc_code:{}", hash128(&Parts::new(file_id).add(DotJoined(code_path)).add(qualname).text))
}

/// `bc_instr:` + hash64 of `code_unit_id:instr_index:offset`.
pub fn instr_id(code_unit_id: &str, instr_index: i32, offset: i32) -> String {
    Parts::new(code_unit_id).add(instr_index).add(offset).id("bc_instr:")
}

/// `bc_exc:` + hash64 of `code_unit_id:exc_index:start:end:target`.
pub fn exc_entry_id(code_unit_id: &str, exc_index: i32, start: i32, end: i32, target: i32) -> String {
    Parts::new(code_unit_id).add(exc_index).add(start).add(end).add(target).id("bc_exc:")
}

/// `bc_block:` + hash64 of `code_unit_id:start:end`.
pub fn block_id(code_unit_id: &str, start: i32, end: i32) -> String {
    Parts::new(code_unit_id).add(start).add(end).id("bc_block:")
}

/// `bc_edge:` + hash64 of `code_unit_id:src_block_id:dst_block_id:kind:edge_key:exc_index`.
pub fn edge_id(code_unit_id: &str, src_block_id: &str, dst_block_id: &str, kind: &str, edge_key: &str, exc_index: Option<i32>) -> String {
    let parts = Parts::new(code_unit_id).add(src_block_id).add(dst_block_id).add(kind).add(edge_key);
    parts.add_optional(exc_index).id("bc_edge:")
}

/// `bc_dfg:` + hash64 of `code_unit_id:src:dst:kind:operand_index`, `src` and `dst` being instruction indexes.
pub fn dfg_edge_id(code_unit_id: &str, src: i32, dst: i32, kind: &str, operand_index: Option<i32>) -> String {
    Parts::new(code_unit_id).add(src).add(dst).add(kind).add_optional(operand_index).id("bc_dfg:")
}

/// `bc_const:` + hash64 of `code_unit_id:const_index`.
pub fn const_id(code_unit_id: &str, const_index: i32) -> String {
    Parts::new(code_unit_id).add(const_index).id("bc_const:")
}

/// `bc_cache:` + hash64 of `code_unit_id:instr_index:offset:name`; a name occurs once in an instruction's cache.
pub fn cache_entry_id(code_unit_id: &str, instr_index: i32, offset: i32, name: &str) -> String {
    Parts::new(code_unit_id).add(instr_index).add(offset).add(name).id("bc_cache:")
}

/// `bc_event:` + hash64 of `code_unit_id:event_index`.
pub fn event_id(code_unit_id: &str, event_index: i32) -> String {
    Parts::new(code_unit_id).add(event_index).id("bc_event:")
}

/// The parts of an id, joined by `:`.
struct Parts {
    text: String,
}

impl Parts {
    fn new(first: &str) -> Self {
        let mut text = String::with_capacity(first.len() + 64);
        text.push_str(first);
        Self { text }
    }

    fn add(mut self, part: impl Display) -> Self {
        // Writing to a String cannot fail.
        let _ = write!(self.text, ":{part}");
        self
    }

    fn add_optional(self, part: Option<impl Display>) -> Self {
        match part {
            Some(part) => self.add(part),
            None => self.add(""),
        }
    }

    fn id(self, prefix: &str) -> String {
        format!("{prefix}{}", hash64(&self.text))
    }
}

struct DotJoined<'a>(&'a [i32]);

impl Display for DotJoined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, ordinal) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(".")?;
            }
            write!(f, "{ordinal}")?;
        }
        Ok(())
    }
}

/// Lower hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    push_hex(bytes, &mut out);
    out
}

/// Appends lower hex.
pub(crate) fn push_hex(bytes: &[u8], out: &mut String) {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_the_contract() {
        assert_eq!(code_id("<module>", "<module>", 1), "code:dd6d05d53f10ab17093cde448bd68d4a");
        assert_eq!(file_id(None, "pkg/mod.py"), "file:e38ce2e912202f083f4e67112ef6f755");
    }

    /// From `hashlib.blake2b(text, digest_size=…)` of CPython.
    #[test]
    fn hashes_equal_hashlib() {
        assert_eq!(hash128(""), "cae66941d9efbd404e4d88758ea67670");
        assert_eq!(hash128("naïve"), "7b633f5f88cb0dd8617039f481fe52e9");
        assert_eq!(hash64(""), 7_252_660_547_403_494_068);
        assert_eq!(hash64("naïve"), 4_535_802_754_998_422_748);
    }

    #[test]
    fn a_separator_in_a_name_runs_into_nothing() {
        let ids = [file_id(Some("a"), "b\u{1f}c.py"), file_id(Some("a\u{1f}b"), "c.py"), file_id(None, "a\u{1f}b\u{1f}c.py")];
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
        assert_ne!(code_id("a\u{1f}b", "c", 1), code_id("a", "b\u{1f}c", 1));
    }

    #[test]
    fn without_a_separator_the_parts_are_joined_plainly() {
        assert_eq!(file_text(Some("r"), "p"), "file\u{1f}r\u{1f}p");
        assert_eq!(file_text(None, ""), "file\u{1f}");
        assert_eq!(code_text("q", "n", -1), "code\u{1f}q\u{1f}n\u{1f}-1");
        assert_eq!(file_text(None, "a\u{1f}b"), "file\u{1f}\u{1f}3\u{1f}\u{1f}a\u{1f}b");
    }

    /// Texts of few characters, separators and digits among them, so that parts often look alike.
    fn part() -> impl proptest::strategy::Strategy<Value = String> {
        "[a1:\u{1f}]{0,5}"
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(20_000))]

        #[test]
        fn distinct_parts_give_distinct_texts(
            one in (proptest::option::of(part()), part()),
            two in (proptest::option::of(part()), part()),
        ) {
            let text = |(repo, path): &(Option<String>, String)| file_text(repo.as_deref(), path);
            proptest::prop_assert_eq!(one == two, text(&one) == text(&two));
            let code = |(name, path): &(Option<String>, String)| code_text(path, name.as_deref().unwrap_or("1"), 1);
            let names = |(name, path): &(Option<String>, String)| (path.clone(), name.clone().unwrap_or_else(|| "1".to_owned()));
            proptest::prop_assert_eq!(names(&one) == names(&two), code(&one) == code(&two));
        }

        /// All ways to cut one text into a repository and a path.
        #[test]
        fn no_two_cuts_of_a_text_give_one_text(text in "[a1\u{1f}]{1,12}") {
            let cuts = (0..=text.len()).filter(|&at| text.is_char_boundary(at)).map(|at| text.split_at(at));
            let mut texts: Vec<_> = cuts.map(|(repo, path)| file_text(Some(repo), path.strip_prefix('\u{1f}').unwrap_or(path))).collect();
            texts.push(file_text(None, &text));
            let parts: std::collections::BTreeSet<_> = (0..=text.len())
                .map(|at| text.split_at(at))
                .map(|(repo, path)| (repo, path.strip_prefix('\u{1f}').unwrap_or(path)))
                .collect();
            let distinct: std::collections::BTreeSet<_> = texts.into_iter().collect();
            proptest::prop_assert_eq!(distinct.len(), parts.len() + 1);
        }
    }

    #[test]
    fn a_repository_tells_equal_paths_apart() {
        assert_ne!(file_id(Some("a"), "b.py"), file_id(Some("b"), "b.py"));
        assert_ne!(file_id(Some("a"), "b.py"), file_id(None, "b.py"));
    }

    #[test]
    fn a_unit_id_is_the_hash_of_its_parts() {
        let file = file_id(None, "m.py");
        let module = code_unit_id(&file, &[], "<module>");
        assert_eq!(module, format!("bc_code:{}", hash128(&format!("{file}::<module>"))));
        let nested = code_unit_id(&file, &[0, 12], "<module>.f@1.g@2");
        assert_eq!(nested, format!("bc_code:{}", hash128(&format!("{file}:0.12:<module>.f@1.g@2"))));
    }

    #[test]
    fn same_line_siblings_differ_by_their_code_path() {
        assert_ne!(code_unit_id("file:0", &[0], "<module>.<genexpr>@1"), code_unit_id("file:0", &[1], "<module>.<genexpr>@1"));
    }

    #[test]
    fn a_missing_part_is_an_empty_field() {
        assert_eq!(edge_id("u", "a", "b", "next", "next", None), format!("bc_edge:{}", hash64("u:a:b:next:next:")));
        assert_eq!(edge_id("u", "a", "b", "exc", "exc:0", Some(0)), format!("bc_edge:{}", hash64("u:a:b:exc:exc:0:0")));
        assert_eq!(dfg_edge_id("u", 1, 2, "USE_STACK", None), format!("bc_dfg:{}", hash64("u:1:2:USE_STACK:")));
    }

    #[test]
    fn ids_inside_a_unit_carry_their_prefix() {
        assert_eq!(instr_id("u", 3, 6), format!("bc_instr:{}", hash64("u:3:6")));
        assert_eq!(exc_entry_id("u", 0, 2, 8, 20), format!("bc_exc:{}", hash64("u:0:2:8:20")));
        assert_eq!(block_id("u", 0, 8), format!("bc_block:{}", hash64("u:0:8")));
        assert_eq!(const_id("u", 5), format!("bc_const:{}", hash64("u:5")));
        assert_eq!(cache_entry_id("u", 3, 6, "counter"), format!("bc_cache:{}", hash64("u:3:6:counter")));
    }
}
