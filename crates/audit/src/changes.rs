//! What has changed from one run to another, file by file.
//!
//! A file is known by its name and by its content. Where a name has other facts, the source says why; where the source is the same, the
//! interpreter, the options, the analysis or the schema must be another, else it is the alarm that this crate exists for.

mod moves;

use serde::Serialize;
use serde_json::Value;

use crate::Digest;
use crate::tree::{self, Changed, Cost, Nodes, TreeBuilder, TreeError};

/// A file of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Name {
    /// Its repository.
    pub repo: Option<String>,
    /// Its path in it.
    pub path: String,
}

/// What a run's tree keeps of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// SHA-256 of its source; `None` if it could not be read.
    pub source: Option<Digest>,
    /// Digest of its facts.
    pub facts: Digest,
}

/// What a run was made with, as far as facts depend on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Making {
    /// Version, magic and implementation of the interpreter.
    pub interpreter: Value,
    /// Options that facts depend on.
    pub options: Value,
    /// Version of the analysis.
    pub analyzer: String,
    /// Name and version of the schema.
    pub schema: String,
}

/// Why the facts of one source may differ between runs without anybody being at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Drift {
    /// Another interpreter.
    Interpreter,
    /// Other options.
    Options,
    /// Another version of the analysis.
    Analyzer,
    /// Another schema.
    Schema,
}

impl Making {
    /// In what this making and another differ.
    #[must_use]
    pub fn drift(&self, other: &Self) -> Vec<Drift> {
        let parts = [
            (Drift::Interpreter, self.interpreter != other.interpreter),
            (Drift::Options, self.options != other.options),
            (Drift::Analyzer, self.analyzer != other.analyzer),
            (Drift::Schema, self.schema != other.schema),
        ];
        parts.into_iter().filter(|(_, differs)| *differs).map(|(drift, _)| drift).collect()
    }
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The same source, made the same way, has other facts.
    SameSourceDifferentFacts,
    /// The same source has other facts, and the runs were made differently.
    Drift,
    /// Its source is another.
    SourceChanged,
    /// It could be read in one of the runs only.
    Readability,
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is new, and a file of the same content is gone.
    Moved,
    /// It is new, and the earlier run has a file of the same content that stays.
    Copied,
}

impl Class {
    /// All of them, the worst first.
    pub const ALL: [Self; 8] = [
        Self::SameSourceDifferentFacts,
        Self::Drift,
        Self::SourceChanged,
        Self::Readability,
        Self::Moved,
        Self::Copied,
        Self::Added,
        Self::Removed,
    ];

    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SameSourceDifferentFacts => "same source, different facts",
            Self::Drift => "same source, made differently",
            Self::SourceChanged => "source changed",
            Self::Readability => "readable in one run only",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Moved => "moved",
            Self::Copied => "copied",
        }
    }
}

/// One file that is not the same in both runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What became of it.
    pub class: Class,
    /// Its repository.
    pub repo: Option<String>,
    /// Its path, in the later run if it is there.
    pub path: String,
    /// Where it was, if it was moved or copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Name>,
    /// SHA-256 of its source in the earlier run.
    pub source_before: Option<String>,
    /// And in the later.
    pub source_after: Option<String>,
    /// Digest of its facts in the earlier run.
    pub facts_before: Option<String>,
    /// And in the later.
    pub facts_after: Option<String>,
}

/// What differs between two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changes {
    /// In what the runs were made differently.
    pub drift: Vec<Drift>,
    /// The files that are not the same, the worst class first, then by name.
    pub changes: Vec<Change>,
    /// What was read of the trees.
    pub cost: Cost,
}

impl Changes {
    /// How many files are of a class.
    #[must_use]
    pub fn count(&self, class: Class) -> u64 {
        self.changes.iter().filter(|change| change.class == class).count() as u64
    }
}

/// Builds the tree of a run: its files by name, and the same by content, by which moves and copies are found.
#[derive(Debug, Default)]
pub struct RunTree {
    names: Vec<(Vec<u8>, Vec<u8>)>,
    contents: Vec<Vec<u8>>,
}

const BY_NAME: u8 = 0;
const BY_CONTENT: u8 = 1;

impl RunTree {
    /// Takes a file in, in any order.
    pub fn push(&mut self, name: &Name, file: &FileFacts) {
        self.names.push((name_key(name), value(file)));
        if let Some(source) = file.source {
            self.contents.push([&[BY_CONTENT][..], &source, &name_key(name)[1..]].concat());
        }
    }

    /// The tree's bytes.
    ///
    /// # Errors
    /// If a file was given twice.
    pub fn finish(mut self) -> Result<Vec<u8>, TreeError> {
        self.names.sort_unstable();
        self.contents.sort_unstable();
        let mut builder = TreeBuilder::default();
        for (key, value) in &self.names {
            builder.push(key, value)?;
        }
        for key in &self.contents {
            builder.push(key, &[])?;
        }
        Ok(builder.finish())
    }
}

/// A key that sorts as names do: no repository first, then by repository and path, whatever characters are in them.
fn name_key(name: &Name) -> Vec<u8> {
    let mut key = vec![BY_NAME];
    match &name.repo {
        None => key.push(0),
        Some(repo) => {
            key.push(1);
            for byte in repo.bytes() {
                key.push(byte);
                if byte == 0 {
                    key.push(0xFF);
                }
            }
            key.extend([0, 1]);
        }
    }
    key.extend(name.path.bytes());
    key
}

fn name_of(key: &[u8]) -> Option<Name> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
    match key {
        [0, path @ ..] => Some(Name { repo: None, path: text(path.to_vec())? }),
        [1, rest @ ..] => {
            let mut repo = Vec::new();
            let mut bytes = rest.iter().copied();
            loop {
                match bytes.next()? {
                    0 if bytes.next()? == 1 => break,
                    byte => repo.push(byte),
                }
            }
            Some(Name { repo: Some(text(repo)?), path: text(bytes.collect())? })
        }
        _ => None,
    }
}

fn value(file: &FileFacts) -> Vec<u8> {
    match file.source {
        Some(source) => [&[1][..], &source, &file.facts].concat(),
        None => [&[0][..], &file.facts].concat(),
    }
}

fn facts_of(value: &[u8]) -> Option<FileFacts> {
    match value.split_first()? {
        (0, facts) => Some(FileFacts { source: None, facts: facts.try_into().ok()? }),
        (1, rest) => {
            let (source, facts) = rest.split_at_checked(32)?;
            Some(FileFacts { source: Some(source.try_into().ok()?), facts: facts.try_into().ok()? })
        }
        _ => None,
    }
}

/// The files of a run, in order.
///
/// # Errors
/// If the tree is damaged.
pub async fn files<T: Nodes + Sync>(run: &T) -> Result<Vec<(Name, FileFacts)>, TreeError> {
    let (entries, _) = tree::find(run, &[BY_NAME], usize::MAX).await?;
    entries.into_iter().map(|entry| Ok((named(&entry.key)?, known(&entry.value)?))).collect()
}

fn named(key: &[u8]) -> Result<Name, TreeError> {
    key.split_first().and_then(|(_, rest)| name_of(rest)).ok_or(TreeError::Damaged("a key is no name"))
}

fn known(value: &[u8]) -> Result<FileFacts, TreeError> {
    facts_of(value).ok_or(TreeError::Damaged("a value is no pair of digests"))
}

/// Compares an earlier run with a later one, from the roots of their trees down.
///
/// # Errors
/// If a tree is damaged or cannot be fetched.
pub async fn compare<L: Nodes + Sync, R: Nodes + Sync>(
    (before, making_before): (&L, &Making),
    (after, making_after): (&R, &Making),
) -> Result<Changes, TreeError> {
    let drift = making_before.drift(making_after);
    let (changed, mut cost) = tree::compare(before, after).await?;
    let mut changes = Vec::new();
    let (mut gone, mut new) = (Vec::new(), Vec::new());
    for Changed { key, left, right } in changed.into_iter().filter(|changed| changed.key.first() == Some(&BY_NAME)) {
        let name = named(&key)?;
        match (left.as_deref().map(known).transpose()?, right.as_deref().map(known).transpose()?) {
            (Some(left), Some(right)) => {
                let class = match (left.source, right.source) {
                    (Some(a), Some(b)) if a != b => Class::SourceChanged,
                    (Some(_), None) | (None, Some(_)) => Class::Readability,
                    _ if drift.is_empty() => Class::SameSourceDifferentFacts,
                    _ => Class::Drift,
                };
                changes.push(change(class, name, None, Some(left), Some(right)));
            }
            (Some(left), None) => gone.push((name, left)),
            (None, Some(right)) => new.push((name, right)),
            (None, None) => {}
        }
    }
    let origins = moves::origins(&gone, &new);
    let mut gone: Vec<_> = gone.into_iter().map(Some).collect();
    for ((name, right), origin) in new.into_iter().zip(origins) {
        if let Some((from, left)) = origin.and_then(|at| gone.get_mut(at)?.take()) {
            changes.push(change(Class::Moved, name, Some(from), Some(left), Some(right)));
            continue;
        }
        let original = match right.source {
            Some(source) => {
                let (found, of_search) = tree::find(before, &[&[BY_CONTENT][..], &source].concat(), 1).await?;
                cost = Cost {
                    nodes: cost.nodes + of_search.nodes,
                    digests: cost.digests + of_search.digests,
                    bytes: cost.bytes + of_search.bytes,
                };
                found.first().and_then(|entry| name_of(entry.key.get(33..)?))
            }
            None => None,
        };
        let class = if original.is_some() { Class::Copied } else { Class::Added };
        changes.push(change(class, name, original, None, Some(right)));
    }
    changes.extend(gone.into_iter().flatten().map(|(name, left)| change(Class::Removed, name, None, Some(left), None)));
    let rank = |class: Class| Class::ALL.iter().position(|other| *other == class);
    changes.sort_by(|a, b| (rank(a.class), &a.repo, &a.path).cmp(&(rank(b.class), &b.repo, &b.path)));
    Ok(Changes { drift, changes, cost })
}

fn change(class: Class, name: Name, from: Option<Name>, before: Option<FileFacts>, after: Option<FileFacts>) -> Change {
    let source = |file: Option<FileFacts>| file.and_then(|file| file.source).map(hex::encode);
    let facts = |file: Option<FileFacts>| file.map(|file| hex::encode(file.facts));
    Change {
        class,
        repo: name.repo,
        path: name.path,
        from,
        source_before: source(before),
        source_after: source(after),
        facts_before: facts(before),
        facts_after: facts(after),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn name(repo: &str, path: &str) -> Name {
        Name { repo: (!repo.is_empty()).then(|| repo.to_owned()), path: path.to_owned() }
    }

    fn file(source: u8, facts: u8) -> FileFacts {
        FileFacts { source: Some([source; 32]), facts: [facts; 32] }
    }

    fn tree(files: &[(&str, &str, FileFacts)]) -> Bytes {
        let mut tree = RunTree::default();
        for (repo, path, facts) in files {
            tree.push(&name(repo, path), facts);
        }
        tree.finish().unwrap().into()
    }

    async fn classes(before: &Bytes, after: &Bytes, making: (&Making, &Making)) -> Vec<(Class, String, Option<String>)> {
        let changes = compare((before, making.0), (after, making.1)).await.unwrap();
        changes.changes.into_iter().map(|c| (c.class, c.path, c.from.map(|from| from.path))).collect()
    }

    #[tokio::test]
    async fn each_change_has_its_class_and_the_alarm_comes_first() {
        let before = tree(&[
            ("r", "a.py", file(1, 1)),
            ("r", "b.py", file(2, 2)),
            ("r", "c.py", file(3, 3)),
            ("r", "d.py", file(4, 4)),
            ("r", "old/e.py", file(5, 5)),
            ("", "f.py", FileFacts { source: None, facts: [6; 32] }),
        ]);
        let after = tree(&[
            ("r", "a.py", file(1, 1)),
            ("r", "a2.py", file(1, 1)),
            ("r", "b.py", file(2, 9)),
            ("r", "c.py", file(8, 8)),
            ("s", "new/e.py", file(5, 5)),
            ("r", "g.py", file(7, 7)),
            ("", "f.py", file(6, 6)),
        ]);
        let same = Making::default();
        let expected = [
            (Class::SameSourceDifferentFacts, "b.py", None),
            (Class::SourceChanged, "c.py", None),
            (Class::Readability, "f.py", None),
            (Class::Moved, "new/e.py", Some("old/e.py")),
            (Class::Copied, "a2.py", Some("a.py")),
            (Class::Added, "g.py", None),
            (Class::Removed, "d.py", None),
        ]
        .map(|(class, path, from)| (class, path.to_owned(), from.map(str::to_owned)));
        assert_eq!(classes(&before, &after, (&same, &same)).await, expected);

        let other = Making { interpreter: serde_json::json!({"version": "3.13.1"}), ..Making::default() };
        let with_drift = classes(&before, &after, (&same, &other)).await;
        assert_eq!(with_drift[0], (Class::Drift, "b.py".to_owned(), None));
        assert_eq!(same.drift(&other), [Drift::Interpreter]);
    }

    #[test]
    fn keys_sort_as_names_do_and_give_them_back() {
        let names = [
            name("", "z"),
            name("", "z/a"),
            name("\u{0}", "a"),
            name("\u{0}x", "a"),
            name("a", "b"),
            name("a", "b\u{0}"),
            name("a\u{0}", "b"),
            name("ab", ""),
        ];
        let mut sorted = names.to_vec();
        sorted.sort();
        let mut by_key = names.to_vec();
        by_key.sort_by_key(name_key);
        assert_eq!(by_key, sorted);
        for name in names {
            assert_eq!(named(&name_key(&name)).unwrap(), name);
        }
    }

    #[tokio::test]
    async fn files_come_back_in_order() {
        let tree = tree(&[("r", "b", file(1, 1)), ("", "z", file(2, 2)), ("r", "a", FileFacts { source: None, facts: [0; 32] })]);
        let files: Vec<_> = files(&tree).await.unwrap().into_iter().map(|(name, _)| name.path).collect();
        assert_eq!(files, ["z", "a", "b"]);
    }
}
