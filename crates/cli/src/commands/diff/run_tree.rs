//! The tree of a run's digests: kept beside the run once it is made, and read in parts.

use anyhow::{Context as _, bail};
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use bytefacts_audit::Digest;
use bytefacts_audit::changes::{FileFacts, Making, Name, RunTree};
use bytefacts_audit::tree::{FOOTER, Nodes};
use bytefacts_landing::{FactsStore, RunHeader, RunId};
use bytefacts_query::facts_session;
use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStoreExt as _};

use crate::facts::Facts;

/// What the tree is kept as. Another form is another name.
const NAME: &str = "digests.tree-1";

/// Options that say how work is shared out and what is taken of a corpus, not what the facts of a file are.
const NO_FACTS: [&str; 12] = [
    "repo",
    "bins",
    "include",
    "exclude",
    "extend_exclude",
    "virtual_environments",
    "respect_gitignore",
    "oracle",
    "parallel_min_files",
    "parallel_max_bytes",
    "memory_budget_bytes",
    "quarantine_after",
];

/// A tree in a store, or in memory where the store may not be written.
pub enum StoredTree {
    /// In the store.
    Stored {
        /// The store.
        store: FactsStore,
        /// Where.
        path: Path,
    },
    /// Here.
    Held(Bytes),
}

impl StoredTree {
    /// The tree of a committed run. The first who asks makes it of the run's rows and keeps it.
    ///
    /// # Errors
    /// When the facts cannot be read.
    pub async fn of(facts: &Facts, run: &RunId) -> anyhow::Result<Self> {
        let stored = || -> anyhow::Result<Self> {
            Ok(Self::Stored { store: facts.store.clone(), path: facts.store.path_of(&facts.store.attached_key(run, NAME))? })
        };
        if facts.store.attached_size(run, NAME).await.with_context(|| facts.unreadable())?.is_some() {
            return stored();
        }
        let tree = Bytes::from(build(facts, run).await?);
        match facts.store.attach(run, NAME, tree.clone()).await {
            Ok(_) => stored(),
            Err(error) => {
                tracing::info!(%error, "the tree of digests is not kept: the next comparison makes it again");
                Ok(Self::Held(tree))
            }
        }
    }
}

impl Nodes for StoredTree {
    async fn fetch(&self, offset: u64, length: u32) -> Result<Bytes, String> {
        match self {
            Self::Stored { store, path } => {
                let range = offset..offset.saturating_add(length.into());
                store.store().get_range(path, range).await.map_err(|error| error.to_string())
            }
            Self::Held(tree) => tree.fetch(offset, length).await,
        }
    }

    async fn footer(&self) -> Result<Bytes, String> {
        match self {
            Self::Stored { store, path } => {
                let options = GetOptions { range: Some(GetRange::Suffix(FOOTER as u64)), ..GetOptions::default() };
                let object =
                    object_store::ObjectStore::get_opts(store.store().as_ref(), path, options).await.map_err(|error| error.to_string())?;
                object.bytes().await.map_err(|error| error.to_string())
            }
            Self::Held(tree) => tree.footer().await,
        }
    }
}

/// Makes the tree of a run's rows: only the columns of names and digests are read.
async fn build(facts: &Facts, run: &RunId) -> anyhow::Result<Vec<u8>> {
    let session = facts_session(&facts.stores, facts.location.uri(), Some(run.clone()))?;
    let rows = session.sql("SELECT repo, path, file_sha256, facts_digest FROM bytecode_files_v1").await?;
    let mut batches = rows.execute_stream().await?;
    let mut tree = RunTree::default();
    while let Some(batch) = batches.try_next().await? {
        take(&mut tree, &batch)?;
    }
    Ok(tree.finish()?)
}

fn take(tree: &mut RunTree, batch: &RecordBatch) -> anyhow::Result<()> {
    let column = |index: usize| batch.column(index).as_string_opt::<i32>().context("a column of digests is no text");
    let (repos, paths, sources, digests) = (column(0)?, column(1)?, column(2)?, column(3)?);
    for row in 0..batch.num_rows() {
        let repo = (!repos.is_null(row)).then(|| repos.value(row).to_owned());
        let source = (!sources.is_null(row)).then(|| digest(sources.value(row))).transpose()?;
        let file = FileFacts { source, facts: digest(digests.value(row))? };
        tree.push(&Name { repo, path: paths.value(row).to_owned() }, &file);
    }
    Ok(())
}

fn digest(text: &str) -> anyhow::Result<Digest> {
    let mut digest = Digest::default();
    let bytes = text.as_bytes();
    if bytes.len() != 64 || !text.is_ascii() {
        bail!("{text:?} is no digest: the rows of the run are damaged, see `bytefacts validate`");
    }
    for (byte, pair) in digest.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *byte = u8::from_str_radix(str::from_utf8(pair)?, 16).with_context(|| format!("{text:?} is no digest"))?;
    }
    Ok(digest)
}

/// What a run was made with, as far as its facts depend on it.
///
/// # Errors
/// When the facts cannot be read.
pub async fn making(facts: &Facts, run: &RunHeader) -> anyhow::Result<Making> {
    let session = facts_session(&facts.stores, facts.location.uri(), Some(run.run_id.clone()))?;
    let rows = session.sql("SELECT analyzer_version FROM py_bc_metadata LIMIT 1").await?.collect().await?;
    let analyzer = rows.first().and_then(|batch| {
        let column = batch.column(0).as_string_opt::<i32>()?;
        (!column.is_empty()).then(|| column.value(0).to_owned())
    });
    let mut options = run.options.clone();
    if let Some(options) = options.as_object_mut() {
        options.retain(|name, _| !NO_FACTS.contains(&name.as_str()));
    }
    Ok(Making {
        interpreter: run.interpreter.clone(),
        options,
        analyzer: analyzer.unwrap_or_default(),
        schema: format!("{} {}", run.schema_name, run.schema_version),
    })
}
