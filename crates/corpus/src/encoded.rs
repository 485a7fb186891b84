//! A bin as bytes: JSON, in which the name of a repository stands once for all of its files.

use serde::{Deserialize, Serialize};

use crate::bins::Bin;
use crate::entry::Entry;

/// Why bytes are no bin, or a bin could not be written.
#[derive(Debug, thiserror::Error)]
#[error("these bytes are no bin")]
pub struct BinError(#[from] serde_json::Error);

/// A bin as it is written: the name of a repository once for all of its files.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    bin_id: u32,
    cost_us: u64,
    #[serde(borrow)]
    repos: Vec<Repo<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Repo<'a> {
    #[serde(borrow)]
    repo: Option<std::borrow::Cow<'a, str>>,
    files: Vec<(std::borrow::Cow<'a, str>, u64)>,
}

impl Serialize for Bin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let runs = self.files.chunk_by(|a, b| a.repo == b.repo);
        let repos = runs.map(|files| Repo {
            repo: files.first().and_then(|f| f.repo.as_deref()).map(Into::into),
            files: files.iter().map(|f| (f.path.as_str().into(), f.size)).collect(),
        });
        Line { bin_id: self.bin_id, cost_us: self.cost_us, repos: repos.collect() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bin {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let line = Line::deserialize(deserializer)?;
        let mut files = Vec::with_capacity(line.repos.iter().map(|r| r.files.len()).sum());
        for Repo { repo, files: of } in line.repos {
            files.extend(of.into_iter().map(|(path, size)| Entry {
                repo: repo.as_deref().map(str::to_owned),
                path: path.into_owned(),
                size,
            }));
        }
        Ok(Self { bin_id: line.bin_id, cost_us: line.cost_us, files })
    }
}

/// A bin as bytes.
///
/// # Errors
/// If it cannot be written as JSON, which no bin of [`crate::pack`] brings about.
pub fn encode_bin(bin: &Bin) -> Result<Vec<u8>, BinError> {
    Ok(serde_json::to_vec(bin)?)
}

/// The bin that bytes are.
///
/// # Errors
/// If they are none.
pub fn decode_bin(bytes: &[u8]) -> Result<Bin, BinError> {
    Ok(serde_json::from_slice(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bins::tests::{entries, packed};
    use crate::bins::{BinOptions, Target};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bins_come_back(entries in entries(), target in 1u32..20) {
            for bin in packed(entries, BinOptions { target: Target::Bins(target) }) {
                prop_assert_eq!(decode_bin(&encode_bin(&bin).unwrap()).unwrap(), bin);
            }
        }
    }

    #[test]
    fn each_repository_is_named_once() {
        let entry = |repo: Option<&str>, path: &str| Entry { repo: repo.map(str::to_owned), path: path.to_owned(), size: 1 };
        let bin =
            Bin { bin_id: 0, cost_us: 5, files: vec![entry(None, "a\n\"b\".py"), entry(Some("r"), "x.py"), entry(Some("r"), "y.py")] };
        let expected = concat!(
            r#"{"bin_id":0,"cost_us":5,"repos":[{"repo":null,"files":[["a\n\"b\".py",1]]},"#,
            r#"{"repo":"r","files":[["x.py",1],["y.py",1]]}]}"#
        );
        assert_eq!(String::from_utf8(encode_bin(&bin).unwrap()).unwrap(), expected);
        assert_eq!(decode_bin(expected.as_bytes()).unwrap(), bin);
    }

    #[test]
    fn other_bytes_are_no_bin() {
        for bytes in [&b"{}"[..], b"", br#"{"bin_id":1,"cost_us":0,"repos":[]"#, br#"{"bin_id":-1,"cost_us":0,"repos":[]}"#] {
            assert!(decode_bin(bytes).is_err());
        }
    }
}
