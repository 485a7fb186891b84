//! A `.pyc` file against its source: whether the bytecode that is shipped is what the source beside it compiles to.
//!
//! It is read here, never by a Python: `marshal.loads` of another version's file crashes interpreters. What a `.pyc` may differ in without being
//! other code is told apart: when its source was written (PEP 552 headers), which strings were interned and which objects shared when it was made
//! (the marshal stream), which hash seed numbered the locals of inlined comprehensions, and under which path it was compiled.

use std::hash::Hasher as _;

use bytefacts_bytecode::{Code, canonical, marshal, opcode};
use bytefacts_compile::{Compiled, Outcome};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use crate::difference::{self, Difference, FieldKind};
use crate::drift::Drifts;
use crate::slots;
use crate::stream;

/// Bytes before the code.
const HEADER: usize = 16;

/// How a `.pyc` knows whether it is up to date: PEP 552.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Validation {
    /// By time and size of the source, both modulo 2^32.
    Timestamp {
        /// Seconds since 1970.
        mtime: u32,
        /// Bytes.
        size: u32,
    },
    /// By a hash of the source, which is compared whenever the file is imported.
    CheckedHash {
        /// SipHash-1-3 keyed with the magic number.
        hash: u64,
    },
    /// By such a hash, which nobody compares.
    UncheckedHash {
        /// The same.
        hash: u64,
    },
}

/// What the name of a `.pyc` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PycName {
    /// The path of its source.
    pub source: String,
    /// Level of optimisation.
    pub optimize: u8,
}

/// Reads a path such as `pkg/__pycache__/mod.cpython-313.opt-1.pyc`, or `pkg/mod.pyc` as earlier Pythons had it. `None` if it is none.
#[must_use]
pub fn parse_name(path: &str) -> Option<PycName> {
    let stem = path.strip_suffix(".pyc")?;
    let (folder, name) = stem.rsplit_once('/').map_or(("", stem), |(folder, name)| (folder, name));
    let parent = match folder {
        "__pycache__" => Some(""),
        folder => folder.strip_suffix("/__pycache__"),
    };
    let source = |folder: &str, name: &str| if folder.is_empty() { format!("{name}.py") } else { format!("{folder}/{name}.py") };
    let Some(parent) = parent else {
        return (!name.is_empty()).then(|| PycName { source: source(folder, name), optimize: 0 });
    };
    let (name, optimize) = match name.rsplit_once(".opt-") {
        Some((name, level)) => (name, level.parse().ok().filter(|level| *level <= 2)?),
        None => (name, 0),
    };
    let (name, _tag) = name.rsplit_once('.')?;
    (!name.is_empty()).then(|| PycName { source: source(parent, name), optimize })
}

/// A `.pyc` whose header was read.
#[derive(Clone, Debug)]
pub struct Pyc<'a> {
    /// How it knows whether it is up to date.
    pub validation: Validation,
    /// Its code.
    pub code: Code,
    /// The marshal stream.
    stream: &'a [u8],
}

/// Why there is no code to be had of a `.pyc`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PycError {
    /// It is of another Python.
    #[error("it is of {0}")]
    Foreign(String),
    /// It is damaged.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

/// Reads a `.pyc` of CPython 3.13.
///
/// # Errors
/// If it is of another Python, or damaged.
pub fn read(bytes: &[u8]) -> Result<Pyc<'_>, PycError> {
    let damaged = |reason: String| PycError::Damaged(reason);
    let Some((header, stream)) = bytes.split_at_checked(HEADER) else {
        let magic = bytes.first_chunk::<4>();
        return Err(match magic {
            Some(magic) if *magic != opcode::MAGIC && python_of(*magic).is_some() => {
                PycError::Foreign(python_of(*magic).unwrap_or_default())
            }
            _ => damaged(format!("it has {} bytes, fewer than its header", bytes.len())),
        });
    };
    let word = |at: usize| header.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_le_bytes);
    let magic = word(0).to_le_bytes();
    if magic != opcode::MAGIC {
        return Err(match python_of(magic) {
            Some(python) => PycError::Foreign(python),
            None => damaged(format!("{} is the magic number of no Python", hex::encode(magic))),
        });
    }
    let hash = u64::from(word(8)) | u64::from(word(12)) << 32;
    let validation = match word(4) {
        0 => Validation::Timestamp { mtime: word(8), size: word(12) },
        1 => Validation::UncheckedHash { hash },
        3 => Validation::CheckedHash { hash },
        flags => return Err(damaged(format!("its header has the flags {flags:#x}, which mean nothing"))),
    };
    let code = marshal::read_code(stream).map_err(|error| damaged(error.to_string()))?;
    Ok(Pyc { validation, code, stream })
}

/// The Python that a magic number is of.
fn python_of(magic: [u8; 4]) -> Option<String> {
    let [low, high, b'\r', b'\n'] = magic else { return None };
    let number = u16::from_le_bytes([low, high]);
    let minor = match number {
        62_000..=62_300 => return Some("Python 2".to_owned()),
        3000..=3189 => "3.2 or earlier",
        3190..=3239 => "3.3",
        3240..=3319 => "3.4",
        3320..=3359 => "3.5",
        3360..=3389 => "3.6",
        3390..=3399 => "3.7",
        3400..=3419 => "3.8",
        3420..=3429 => "3.9",
        3430..=3449 => "3.10",
        3450..=3499 => "3.11",
        3500..=3549 => "3.12",
        3550..=3599 => "3.13",
        3600..=3649 => "3.14",
        3650..=3699 => "3.15",
        _ => return None,
    };
    Some(format!("CPython {minor} (magic {number})"))
}

/// What CPython calls the hash of a source: SipHash-1-3 under the magic number.
#[must_use]
pub fn source_hash(source: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(u32::from_le_bytes(opcode::MAGIC).into(), 0);
    hasher.write(source);
    hasher.finish()
}

/// What became of a `.pyc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It holds other code than its source compiles to.
    Differs,
    /// It is damaged.
    Damaged,
    /// There is no source beside it.
    Orphan,
    /// It is of another Python.
    Foreign,
    /// It holds the same code, and differs in what is no code.
    Metadata,
    /// It is what its source compiles to.
    Same,
}

impl Status {
    /// All of them, the worst first.
    pub const ALL: [Self; 6] = [Self::Differs, Self::Damaged, Self::Orphan, Self::Foreign, Self::Metadata, Self::Same];

    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Differs => "differs",
            Self::Damaged => "damaged",
            Self::Orphan => "orphan",
            Self::Foreign => "foreign",
            Self::Metadata => "metadata",
            Self::Same => "same",
        }
    }

    /// Whether somebody has to look at it.
    #[must_use]
    pub fn is_finding(self) -> bool {
        matches!(self, Self::Differs | Self::Damaged | Self::Orphan)
    }
}

/// What was found out about a `.pyc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// What became of it.
    pub status: Status,
    /// In words.
    pub reason: String,
    /// How it knows whether it is up to date, if its header could be read.
    pub validation: Option<Validation>,
    /// The path that it was compiled under.
    pub compiled_as: Option<String>,
    /// The first field that differs: left in the `.pyc`, right in the fresh code.
    pub difference: Option<Difference>,
}

/// The source of a `.pyc`, and what it compiles to now.
#[derive(Debug)]
pub struct Fresh<'a> {
    /// Its bytes.
    pub source: &'a [u8],
    /// When it was written, in seconds since 1970, if that is known.
    pub mtime: Option<u64>,
    /// What a worker made of it, in marshal version 4 and at the level of the `.pyc`.
    pub compiled: &'a Compiled,
}

/// Judges a `.pyc` by its source.
#[must_use]
pub fn judge(bytes: &[u8], fresh: Option<&Fresh<'_>>) -> Provenance {
    let of = |status, reason: String| Provenance { status, reason, validation: None, compiled_as: None, difference: None };
    let pyc = match read(bytes) {
        Ok(pyc) => pyc,
        Err(error @ PycError::Foreign(_)) => return of(Status::Foreign, error.to_string()),
        Err(error @ PycError::Damaged(_)) => return of(Status::Damaged, error.to_string()),
    };
    let known = |status, reason: String, difference| Provenance {
        status,
        reason,
        validation: Some(pyc.validation),
        compiled_as: Some(pyc.code.filename.to_text().into_owned()),
        difference,
    };
    let Some(fresh) = fresh else {
        return known(Status::Orphan, "there is no source beside it".to_owned(), None);
    };
    let compiled = match &fresh.compiled.outcome {
        Outcome::Code(stream) => stream,
        Outcome::Failed(failure) => {
            let error = format!("{}: {}", failure.error_type, failure.message);
            let difference = Difference::of_file(FieldKind::Outcome, "outcome", "code", &*error);
            return known(Status::Differs, format!("its source does not compile: {error}"), Some(difference));
        }
    };
    let module = match marshal::read_code(compiled) {
        Ok(module) => module,
        Err(error) => return known(Status::Differs, format!("what its source compiles to cannot be read: {error}"), None),
    };
    let same = |one: &Code, other: &Code| canonical::encode_as(one, "") == canonical::encode_as(other, "");
    let is_same = same(&pyc.code, &module);
    if !is_same && !same(&slots::in_order(&pyc.code), &slots::in_order(&module)) {
        let difference = first_difference(&pyc.code, &module);
        let reason = match &difference {
            Some(found) => format!("{} of {} is {}, and {} when compiled now", found.field, found.unit, found.left, found.right),
            None => "its canonical bytes are others".to_owned(),
        };
        return known(Status::Differs, reason, difference);
    }
    let mut metadata = stale(&pyc.validation, fresh);
    if !is_same {
        // Whoever made it had another hash seed, as each process has unless it is told one.
        metadata.push("locals: those of inlined comprehensions are numbered in the order of another hash seed (C47)".to_owned());
    }
    match stream::compare(pyc.stream, compiled) {
        Some(found) if found.is_empty() => {}
        Some(found) => metadata.push(format!("marshal stream: {}", found.summary())),
        None if !is_same => {}
        None => metadata.push("marshal stream: not comparable".to_owned()),
    }
    match metadata.is_empty() {
        true => known(Status::Same, "its source compiles to it".to_owned(), None),
        false => known(Status::Metadata, metadata.join("; "), None),
    }
}

/// Takes what a `.pyc` holds otherwise than its source compiles to into edits gathered over files. Equal edits in many files are those of another
/// release of the compiler, and the magic number does not tell these apart; whoever changes a file makes an edit of its own.
pub fn add_edits(edits: &mut Drifts, file: &str, bytes: &[u8], compiled: &Compiled) {
    if let (Ok(pyc), Outcome::Code(stream)) = (read(bytes), &compiled.outcome)
        && let Ok(fresh) = marshal::read_code(stream)
    {
        edits.add(file, &fresh, &pyc.code);
    }
}

/// A difference that is none of the file's name.
fn first_difference(left: &Code, right: &Code) -> Option<Difference> {
    difference::of_code(left, right).filter(|found| found.kind != FieldKind::Filename)
}

/// What a header says that is not so of the source.
fn stale(validation: &Validation, fresh: &Fresh<'_>) -> Vec<String> {
    let mut stale = Vec::new();
    match *validation {
        Validation::Timestamp { mtime, size } => {
            let low = |value: u64| u32::try_from(value & 0xFFFF_FFFF).unwrap_or(0);
            if let Some(found) = fresh.mtime.filter(|found| low(*found) != mtime) {
                stale.push(format!("mtime: it was made of a source of {mtime}, this one is of {found}"));
            }
            let found = fresh.source.len() as u64;
            if low(found) != size {
                stale.push(format!("size: it was made of a source of {size} bytes, this one has {found}"));
            }
        }
        Validation::CheckedHash { hash } | Validation::UncheckedHash { hash } => {
            if source_hash(fresh.source) != hash {
                stale.push("hash: it was made of another source, which compiles to the same".to_owned());
            }
        }
    }
    stale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_source_and_the_level() {
        let name = |path: &str| parse_name(path).map(|name| (name.source, name.optimize));
        assert_eq!(name("a/__pycache__/m.cpython-313.pyc"), Some(("a/m.py".to_owned(), 0)));
        assert_eq!(name("__pycache__/m.cpython-313.opt-2.pyc"), Some(("m.py".to_owned(), 2)));
        assert_eq!(name("a/b/m.x.pyc"), Some(("a/b/m.x.py".to_owned(), 0)));
        assert_eq!(name("__pycache__/m.x.cpython-312.pyc"), Some(("m.x.py".to_owned(), 0)));
        for none in ["m.py", "__pycache__/m.pyc", "__pycache__/m.cpython-313.opt-7.pyc", ".pyc", "__pycache__/.cpython-313.pyc"] {
            assert_eq!(name(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_no_pyc_is_damaged_or_foreign() {
        let header = |magic: &[u8], flags: u8| [magic, &[flags, 0, 0, 0], &[0; 8], b"N"].concat();
        assert_eq!(read(&header(b"\xcb\x0d\r\n", 0)).unwrap_err(), PycError::Foreign("CPython 3.12 (magic 3531)".to_owned()));
        assert_eq!(read(b"\xcb\x0d\r\n").unwrap_err(), PycError::Foreign("CPython 3.12 (magic 3531)".to_owned()));
        for bytes in [&b""[..], b"\xf3\x0d\r\n", &header(b"\xf3\x0d\r\n", 2), &header(b"\xf3\x0d\r\n", 0), &header(b"abcd", 0)] {
            assert!(matches!(read(bytes), Err(PycError::Damaged(_))), "{bytes:?}");
        }
    }
}
