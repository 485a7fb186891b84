//! What two committed runs may differ in, by their manifests alone.
//!
//! Digests fold upwards: where those of two runs are equal nothing below them differs, and where those of a repository are, nothing in it does. A data
//! file that both runs name holds the same rows in both. Whatever compares runs reads what is left.

use std::collections::{BTreeMap, BTreeSet};

use super::manifest::Manifest;
use super::record::LandedFile;

/// What of two runs has to be looked at to find all in which they differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Repositories of either run of which something differs, in order; null stands for files without one.
    pub repos: Vec<Option<String>>,
    /// Data files of the first run that may hold rows of these.
    pub before: Vec<LandedFile>,
    /// Data files of the second run that may.
    pub after: Vec<LandedFile>,
}

impl Changed {
    /// Compares two runs.
    #[must_use]
    pub fn between(before: &Manifest, after: &Manifest) -> Self {
        if before.run.digest == after.run.digest {
            return Self::default();
        }
        let (left, right) = (digests(before), digests(after));
        let all: BTreeSet<_> = left.keys().chain(right.keys()).copied().collect();
        let repos: BTreeSet<_> = all.into_iter().filter(|repo| left.get(repo) != right.get(repo)).collect();
        Self {
            before: unshared(before, after, &repos),
            after: unshared(after, before, &repos),
            repos: repos.into_iter().map(|repo| repo.map(str::to_owned)).collect(),
        }
    }
}

fn digests(run: &Manifest) -> BTreeMap<Option<&str>, &str> {
    run.repos.iter().map(|repo| (repo.repo.as_deref(), repo.digest.as_str())).collect()
}

/// The data files of a run that another does not name, and that may hold rows of these repositories.
fn unshared(of: &Manifest, other: &Manifest, repos: &BTreeSet<Option<&str>>) -> Vec<LandedFile> {
    let known: BTreeSet<_> = other.files.iter().map(|file| (file.key.as_str(), file.sha256.as_str())).collect();
    let is_of_one = |file: &LandedFile| {
        let (first, last) = (file.first.repo.as_deref(), file.last.repo.as_deref());
        // Rows are in the order of names, so that what a file holds lies between its first and its last.
        first <= last && repos.range(first..=last).next().is_some()
    };
    of.files.iter().filter(|file| !known.contains(&(file.key.as_str(), file.sha256.as_str())) && is_of_one(file)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A run of repositories with a digest each, and data files with a name each that go from one repository to another.
    fn run(repos: &[(Option<&str>, &str)], files: &[(&str, Option<&str>, Option<&str>)]) -> Manifest {
        let name = |repo: &Option<&str>| json!([repo, "x.py"]);
        let file = |(key, first, last): &(&str, Option<&str>, Option<&str>)| json!({"key": key, "rows": 1, "bytes": 1, "sha256": key, "first": name(first), "last": name(last)});
        let repo = |(repo, digest): &(Option<&str>, &str)| json!({"repo": repo, "files": 1, "digest": digest});
        let digest = format!("{repos:?}");
        let stats = json!({
            "files": 1, "units": 1, "instructions": 1, "source_bytes": 1, "cache_hits": 0, "cache_misses": 1, "compile_cpu_us": 0, "errors": []
        });
        serde_json::from_value(json!({
            "run": {
                "run_id": "r", "sequence": 1, "parent": null, "committed_at_ms": 0, "started_at_ms": 0, "schema_name": "s", "schema_version": 1,
                "corpus": "c", "interpreter": null, "options": null, "bins": 1, "bins_taken_over": 0, "repositories": 1, "data_files": 1,
                "data_bytes": 1, "landed_bytes": 1, "rows": 1, "stats": stats, "digest": digest
            },
            "repos": repos.iter().map(repo).collect::<Vec<_>>(),
            "files": files.iter().map(file).collect::<Vec<_>>(),
        }))
        .unwrap()
    }

    fn keys(files: &[LandedFile]) -> Vec<&str> {
        files.iter().map(|file| file.key.as_str()).collect()
    }

    #[test]
    fn equal_runs_leave_nothing_whatever_their_files() {
        let (before, after) = (run(&[(None, "1")], &[("f", None, None)]), run(&[(None, "1")], &[("g", None, None)]));
        assert_eq!(Changed::between(&before, &after), Changed::default());
    }

    #[test]
    fn a_repository_that_has_changed_come_or_gone_is_looked_at_where_it_may_lie() {
        let before = run(
            &[(None, "0"), (Some("a"), "1"), (Some("b"), "1"), (Some("c"), "1"), (Some("d"), "1")],
            &[("shared", None, Some("a")), ("ab", Some("a"), Some("b")), ("c", Some("c"), Some("c")), ("d", Some("d"), Some("d"))],
        );
        let after = run(
            &[(None, "0"), (Some("a"), "1"), (Some("b"), "2"), (Some("c"), "1"), (Some("e"), "1")],
            &[("shared", None, Some("a")), ("ab2", Some("a"), Some("b")), ("ce", Some("c"), Some("e"))],
        );
        let changed = Changed::between(&before, &after);
        assert_eq!(changed.repos, [Some("b"), Some("d"), Some("e")].map(|repo| repo.map(str::to_owned)));
        assert_eq!(keys(&changed.before), ["ab", "d"], "c is the same in both");
        assert_eq!(keys(&changed.after), ["ab2", "ce"]);
    }

    #[test]
    fn files_that_both_name_are_left_out_though_their_repository_has_changed() {
        let before = run(&[(None, "1")], &[("same", None, None), ("old", None, None)]);
        let after = run(&[(None, "2")], &[("same", None, None), ("new", None, None)]);
        let changed = Changed::between(&before, &after);
        assert_eq!((keys(&changed.before), keys(&changed.after), changed.repos), (vec!["old"], vec!["new"], vec![None]));
    }
}
