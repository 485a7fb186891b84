//! Tidying up behind a commit: what attempts at the run's own bins have left.
//!
//! It looks at nothing of any other run, so that its cost does not grow with history. What other runs leave behind when they die is `gc`'s.

use std::collections::HashSet;

use object_store::path::Path;

use super::gc::Swept;
use crate::Result;
use crate::documents::FactsStore;
use crate::model::RunDocument;
use crate::names::{DATA_FOLDER, RunId, keys};

impl FactsStore {
    /// Deletes what a committed run's folders hold and the run does not name: files of attempts that lost, their journals, and shards of
    /// listings and commits that came second. A committed run's files are settled.
    ///
    /// # Errors
    /// If the store fails; what was not deleted then is found by `gc`.
    pub async fn sweep_run(&self, document: &RunDocument) -> Result<Swept> {
        let run = &document.run.run_id;
        let named = self.named_by(document).await?;
        let mut swept = Swept::default();
        let mut garbage = Vec::new();
        for meta in self.list(&keys::data_folder(run)).await? {
            if !named.contains(&meta.location) {
                swept.data_files += 1;
                swept.data_bytes += meta.size;
                garbage.push(meta.location);
            }
        }
        self.delete_all(DATA_FOLDER, garbage).await?;
        let leavings = self.leavings(run, &named).await?;
        swept.documents = leavings.len() as u64;
        self.delete_all(&keys::run_folder(run), leavings).await?;
        Ok(swept)
    }

    /// Journals and shards in the folder of a committed run that nobody names.
    pub(super) async fn leavings(&self, run: &RunId, named: &HashSet<Path>) -> Result<Vec<Path>> {
        let mut leavings = Vec::new();
        for folder in [keys::attempts_folder(run), keys::bins_folder(run), keys::manifest_folder(run)] {
            let objects = self.list(&folder).await?.into_iter().map(|meta| meta.location);
            leavings.extend(objects.filter(|location| !named.contains(location)));
        }
        Ok(leavings)
    }

    /// What a committed run names: data files, and the shards of its bins and its manifest.
    pub(super) async fn named_by(&self, document: &RunDocument) -> Result<HashSet<Path>> {
        let mut keys: Vec<String> = self.files(document).await?.into_iter().map(|file| file.key).collect();
        keys.extend(document.files.iter().chain(&document.repos).map(|shard| shard.key.clone()));
        if let Some(index) = self.bins(&document.run.run_id).await? {
            keys.extend(index.shards.into_iter().map(|shard| shard.key));
        }
        keys.iter().map(|key| self.path_of(key)).collect()
    }
}
