//! Digests, a Merkle tree: units fold into a file, files into a repository, repositories into a run.
//!
//! Every digest is BLAKE2b-256 over a canonical encoding that begins with the name and version of its kind. The encoding is
//! injective: numbers are LEB128 (zigzag if they may be negative), texts and lists carry their length in front, options a 0
//! or 1, and the order of fields is fixed. A field that holds the path, the repository or an id made of them does not enter,
//! nor does a message, so that copies of a file have one digest. Nor does what an oracle found (errors of stage `oracle`): it
//! tells of a check of the facts and is none of them, so that runs with and without an oracle are comparable.
//!
//! A unit's digest covers what its row shows: the code object, the constants' canonical texts, lines, exception table, each
//! instruction with what its argument stands for and its place in the source, and, if the run derives them, blocks, edges,
//! depths and events. What follows from these alone is left out: `argrepr`, labels of targets, and byte spans, which follow from
//! positions and the source that the file's digest names. Runs with and without derivations therefore have different digests, as they have different cache keys.

use std::collections::BTreeMap;

use blake2::{Blake2b, Digest as _, digest::consts::U32};

mod unit;

pub(crate) use unit::unit;

use crate::input::{FactError, Severity};
use crate::oracle;

/// A BLAKE2b-256 digest.
pub type Digest = [u8; 32];

/// The digest of a repository from its files' paths and digests, in any order.
pub fn fold_repository<'a>(files: impl IntoIterator<Item = (&'a str, Digest)>) -> Digest {
    let mut files: Vec<(&str, Digest)> = files.into_iter().collect();
    files.sort_unstable();
    let mut encoder = Encoder::new("bytefacts.repository.1");
    encoder.len(files.len());
    for (path, digest) in files {
        encoder.text(path);
        encoder.digest(&digest);
    }
    encoder.finish()
}

/// The digest of a run from its repositories' names and digests, in any order; files without a repository come first.
pub fn fold_run<'a>(repositories: impl IntoIterator<Item = (Option<&'a str>, Digest)>) -> Digest {
    let mut repositories: Vec<(Option<&str>, Digest)> = repositories.into_iter().collect();
    repositories.sort_unstable();
    let mut encoder = Encoder::new("bytefacts.run.1");
    encoder.len(repositories.len());
    for (repo, digest) in repositories {
        encoder.optional_text(repo);
        encoder.digest(&digest);
    }
    encoder.finish()
}

/// The digest of a run, and of each of its repositories in order, from all its files in any order.
pub fn fold_files<'a>(files: impl IntoIterator<Item = (Option<&'a str>, &'a str, Digest)>) -> (Digest, BTreeMap<Option<&'a str>, Digest>) {
    let mut by_repo: BTreeMap<Option<&str>, Vec<(&str, Digest)>> = BTreeMap::new();
    for (repo, path, digest) in files {
        by_repo.entry(repo).or_default().push((path, digest));
    }
    let repositories: BTreeMap<_, _> = by_repo.into_iter().map(|(repo, files)| (repo, fold_repository(files))).collect();
    (fold_run(repositories.iter().map(|(repo, digest)| (*repo, *digest))), repositories)
}

/// The digest of marshalled bytes, which may differ where the facts do not.
pub fn marshal(bytes: &[u8]) -> Digest {
    Blake2b::<U32>::digest(bytes).into()
}

/// The digest of a file: its source, the units' digests in order, and what went wrong where. Each error comes with the
/// position of its unit, if it has one.
pub(crate) fn file<'a>(sha256: Option<&Digest>, units: &[Digest], errors: impl Iterator<Item = (Option<usize>, &'a FactError)>) -> Digest {
    let errors: Vec<_> = errors.filter(|(_, error)| error.stage != oracle::STAGE).collect();
    let mut encoder = Encoder::new("bytefacts.file.1");
    match sha256 {
        Some(sha256) => {
            encoder.byte(1);
            encoder.digest(sha256);
        }
        None => encoder.byte(0),
    }
    encoder.len(units.len());
    for unit in units {
        encoder.digest(unit);
    }
    encoder.len(errors.len());
    for (unit, error) in errors {
        encoder.optional_int(unit.and_then(|unit| i32::try_from(unit).ok()));
        encoder.text(&error.stage);
        encoder.byte(u8::from(error.severity == Severity::Warning));
        encoder.text(&error.error_type);
        for position in [error.line1, error.col, error.end_line1, error.end_col] {
            encoder.optional_int(position);
        }
    }
    encoder.finish()
}

/// Encodes values into a hash.
pub(crate) struct Encoder {
    hasher: Blake2b<U32>,
    buffer: Vec<u8>,
}

impl Encoder {
    /// Begins an encoding of the kind and version named.
    fn new(kind: &str) -> Self {
        let mut encoder = Self { hasher: Blake2b::new(), buffer: Vec::with_capacity(2 * Self::FLUSH) };
        encoder.text(kind);
        encoder
    }

    /// Small enough to stay in the first-level cache.
    const FLUSH: usize = 4096;

    fn byte(&mut self, value: u8) {
        self.buffer.push(value);
    }

    fn unsigned(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buffer.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
    }

    fn len(&mut self, value: usize) {
        self.unsigned(value as u64);
    }

    fn int(&mut self, value: i64) {
        self.unsigned(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    fn optional_int(&mut self, value: Option<i32>) {
        // One number for both: null is 0, a value is its zigzag code plus one.
        let value = value.map(i64::from);
        self.unsigned(value.map_or(0, |value| ((value << 1) ^ (value >> 63)).cast_unsigned() + 1));
    }

    fn bytes(&mut self, value: &[u8]) {
        self.len(value.len());
        if value.len() >= Self::FLUSH {
            self.flush();
            self.hasher.update(value);
        } else {
            self.buffer.extend_from_slice(value);
            self.settle();
        }
    }

    fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    fn optional_text(&mut self, value: Option<&str>) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            self.text(value);
        }
    }

    fn digest(&mut self, value: &Digest) {
        self.buffer.extend_from_slice(value);
        self.settle();
    }

    /// Hashes what has gathered, if it is worth it; to be called now and then between numbers.
    fn settle(&mut self) {
        if self.buffer.len() >= Self::FLUSH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.hasher.update(&self.buffer);
        self.buffer.clear();
    }

    fn finish(mut self) -> Digest {
        self.flush();
        self.hasher.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: Digest = [1; 32];
    const B: Digest = [2; 32];

    #[test]
    fn the_order_of_files_does_not_matter_but_their_paths_do() {
        assert_eq!(fold_repository([("a", A), ("b", B)]), fold_repository([("b", B), ("a", A)]));
        assert_ne!(fold_repository([("a", A), ("b", B)]), fold_repository([("a", B), ("b", A)]));
        assert_ne!(fold_repository([("a", A)]), fold_repository([("a", A), ("b", B)]));
    }

    #[test]
    fn no_repository_is_not_one_without_a_name() {
        assert_ne!(fold_run([(None, A)]), fold_run([(Some(""), A)]));
        assert_eq!(fold_run([(None, A), (Some("r"), B)]), fold_run([(Some("r"), B), (None, A)]));
    }

    #[test]
    fn folding_all_files_equals_folding_repositories() {
        let files = [(Some("r"), "b", B), (None, "x", A), (Some("r"), "a", A)];
        let r = fold_repository([("a", A), ("b", B)]);
        let none = fold_repository([("x", A)]);
        let (run, repositories) = fold_files(files);
        assert_eq!(run, fold_run([(None, none), (Some("r"), r)]));
        assert_eq!(repositories.into_iter().collect::<Vec<_>>(), [(None, none), (Some("r"), r)]);
    }

    #[test]
    fn a_message_is_no_fact_and_a_position_is() {
        let error = FactError { message: "one".into(), line1: Some(1), ..FactError::default() };
        let other = FactError { message: "two".into(), ..error.clone() };
        let moved = FactError { line1: Some(2), ..error.clone() };
        let digest = |error| file(None, &[], [(None, error)].into_iter());
        assert_eq!(digest(&error), digest(&other));
        assert_ne!(digest(&error), digest(&moved));
    }

    #[test]
    fn what_an_oracle_found_is_no_fact() {
        let error = |stage: &str| FactError { stage: stage.to_owned(), error_type: "x".to_owned(), ..FactError::default() };
        let digest = |errors: &[FactError]| file(None, &[], errors.iter().map(|error| (None, error)));
        assert_eq!(digest(&[error("oracle")]), digest(&[]));
        assert_eq!(digest(&[error("compile"), error("oracle")]), digest(&[error("compile")]));
        assert_ne!(digest(&[error("compile")]), digest(&[]));
    }

    /// What an encoder would hash, decoded again: no two sequences of values have one encoding.
    fn decode_ints(mut bytes: &[u8]) -> Vec<Option<i32>> {
        let mut values = Vec::new();
        while !bytes.is_empty() {
            let mut value = 0_u64;
            for shift in (0..).step_by(7) {
                let byte = bytes[0];
                bytes = &bytes[1..];
                value |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
            }
            let zigzag = value.checked_sub(1).map(|value| (value >> 1).cast_signed() ^ -((value & 1).cast_signed()));
            values.push(zigzag.map(|value| i32::try_from(value).unwrap()));
        }
        values
    }

    proptest! {
        #[test]
        fn optional_ints_decode(values in proptest::collection::vec(any::<Option<i32>>(), 0..20)) {
            let mut encoder = Encoder::new("");
            encoder.buffer.clear();
            for value in &values {
                encoder.optional_int(*value);
            }
            prop_assert_eq!(decode_ints(&encoder.buffer), values);
        }
    }
}
