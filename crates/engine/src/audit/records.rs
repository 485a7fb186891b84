//! What is written down of an audit while it is worked on: its bins, and a record for each bin and condition.

use std::collections::BTreeSet;

use bytefacts_audit::Digest;
use bytefacts_audit::changes::{FileFacts, Name};
use bytefacts_audit::night::Verdict;
use bytefacts_landing::{AttemptId, Created, FactsStore, LandingError, Result, RunId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Folder of the records of bins under conditions.
const UNITS: &str = "units";
/// Folder of the bins.
const BINS: &str = "bins";
/// Folder of the signs that somebody is at work.
const NOTES: &str = "notes";
/// Folder of the notes that a unit was begun, and of those that it was given up alive.
const BEGUN: &str = "begun";
const GIVEN_UP: &str = "given_up";
/// Folder of the files that are left out.
const KILLERS: &str = "killers";
/// That the CPU time is spent.
const SPENT: &str = "spent.json";

/// What became of a bin under a condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitRecord {
    /// CPU time that is charged to it, in microseconds: what is left of a night's budget follows from these.
    pub cpu_us: u64,
    /// One verdict for each file of the bin.
    pub verdicts: Vec<Verdict>,
}

/// A file of a bin, as it is written down.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlannedFile {
    repo: Option<String>,
    path: String,
    source: Option<String>,
    facts: String,
}

/// A file that is left out, since whoever tried it alone died of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeftOut {
    /// Its repository.
    pub(super) repo: Option<String>,
    /// Its path.
    pub(super) path: String,
    /// What became of those who tried it.
    pub(super) reason: String,
}

/// The documents of one audit.
#[derive(Clone, Debug)]
pub struct AuditRecords {
    facts: FactsStore,
    audit: RunId,
}

impl AuditRecords {
    /// Those of an audit of these facts.
    #[must_use]
    pub fn new(facts: FactsStore, audit: RunId) -> Self {
        Self { facts, audit }
    }

    /// The audit.
    #[must_use]
    pub fn audit(&self) -> &RunId {
        &self.audit
    }

    /// Bins and conditions that have a record.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn recorded(&self) -> Result<BTreeSet<(u32, String)>> {
        let names = self.facts.audit_documents(&self.audit, UNITS).await?;
        let unit = |name: &str| {
            let (bin, condition) = name.strip_suffix(".json")?.split_once('/')?;
            Some((bin.parse().ok()?, condition.to_owned()))
        };
        Ok(names.iter().filter_map(|name| unit(name)).collect())
    }

    /// What became of a bin under a condition, if that is on record.
    ///
    /// # Errors
    /// If the store fails, or the record is damaged.
    pub async fn unit(&self, bin: u32, condition: &str) -> Result<Option<UnitRecord>> {
        self.read(&unit_name(bin, condition)).await
    }

    /// Records what became of a bin under a condition; gives what stands there if somebody was faster.
    ///
    /// # Errors
    /// If the store fails, or the record that stands is damaged.
    pub async fn record(&self, bin: u32, condition: &str, record: UnitRecord) -> Result<UnitRecord> {
        self.create(&unit_name(bin, condition), record).await
    }

    /// Writes down the files of a bin, unless they are.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn plan_bin(&self, number: u32, files: &[(Name, FileFacts)]) -> Result<()> {
        let planned = |(name, facts): &(Name, FileFacts)| PlannedFile {
            repo: name.repo.clone(),
            path: name.path.clone(),
            source: facts.source.map(hex::encode),
            facts: hex::encode(facts.facts),
        };
        let name = bin_name(number);
        let bytes = self.bytes_of(&name, &files.iter().map(planned).collect::<Vec<_>>())?;
        self.facts.create_audit_document(&self.audit, &name, bytes.into()).await?;
        Ok(())
    }

    /// The files of a bin.
    ///
    /// # Errors
    /// If the store fails, or they are not written down as they should be.
    pub async fn bin(&self, number: u32) -> Result<Vec<(Name, FileFacts)>> {
        let name = bin_name(number);
        let planned: Option<Vec<PlannedFile>> = self.read(&name).await?;
        let planned = planned.ok_or_else(|| self.damaged(&name, "it is not there"))?;
        let file = |file: PlannedFile| {
            let source = file.source.as_deref().map(|source| digest(source).ok_or("no digest")).transpose();
            let facts = digest(&file.facts).ok_or("no digest");
            match (source, facts) {
                (Ok(source), Ok(facts)) => Ok((Name { repo: file.repo, path: file.path }, FileFacts { source, facts })),
                (Err(reason), _) | (_, Err(reason)) => Err(self.damaged(&name, reason)),
            }
        };
        planned.into_iter().map(file).collect()
    }

    /// Tells those who work on it that the CPU time is spent.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn say_spent(&self) -> Result<()> {
        self.facts.create_audit_document(&self.audit, SPENT, "{}".into()).await?;
        Ok(())
    }

    /// Whether somebody has said that the CPU time is spent.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn is_spent(&self) -> Result<bool> {
        Ok(self.facts.audit_document(&self.audit, SPENT).await?.is_some())
    }

    /// Notes, for the so many'th time, that an attempt is at work on a bin.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn note(&self, bin: u32, attempt: &AttemptId, time: u32) -> Result<()> {
        self.facts.create_audit_document(&self.audit, &format!("{NOTES}/{bin:06}-{attempt}-{time}.json"), "{}".into()).await?;
        Ok(())
    }

    /// The names of all notes, to be compared with those of another time.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn notes(&self) -> Result<BTreeSet<String>> {
        Ok(self.facts.audit_documents(&self.audit, NOTES).await?.into_iter().collect())
    }

    /// Attempts at a bin under a condition that have not ended: they died, were cut off, or are still at work.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) async fn unfinished(&self, bin: u32, condition: &str) -> Result<usize> {
        let begun = self.facts.audit_documents(&self.audit, &format!("{BEGUN}/{bin:06}/{condition}")).await?;
        if begun.is_empty() {
            return Ok(0);
        }
        let given_up = self.facts.audit_documents(&self.audit, &format!("{GIVEN_UP}/{bin:06}/{condition}")).await?;
        Ok(begun.iter().filter(|attempt| !given_up.contains(attempt)).count())
    }

    /// Notes that an attempt at a bin under a condition begins.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) async fn begin(&self, bin: u32, condition: &str, attempt: &AttemptId) -> Result<()> {
        self.facts.create_audit_document(&self.audit, &format!("{BEGUN}/{bin:06}/{condition}/{attempt}.json"), "{}".into()).await?;
        Ok(())
    }

    /// Notes that an attempt has ended without a record, but alive.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) async fn give_up(&self, bin: u32, condition: &str, attempt: &AttemptId) -> Result<()> {
        self.facts.create_audit_document(&self.audit, &format!("{GIVEN_UP}/{bin:06}/{condition}/{attempt}.json"), "{}".into()).await?;
        Ok(())
    }

    /// The files of a bin that are left out at a level of optimisation.
    ///
    /// # Errors
    /// If the store fails, or they are not written down as they should be.
    pub(super) async fn left_out(&self, bin: u32, level: Option<u8>) -> Result<Vec<LeftOut>> {
        Ok(self.read(&killers_name(bin, level)).await?.unwrap_or_default())
    }

    /// Writes down the files of a bin that are left out at a level of optimisation; gives what stands there if somebody was faster.
    ///
    /// # Errors
    /// If the store fails, or what stands there is damaged.
    pub(super) async fn leave_out(&self, bin: u32, level: Option<u8>, files: Vec<LeftOut>) -> Result<Vec<LeftOut>> {
        self.create(&killers_name(bin, level), files).await
    }

    /// A document by its name below the audit's folder, if it is there.
    ///
    /// # Errors
    /// If the store fails, or it is damaged.
    pub async fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(bytes) = self.facts.audit_document(&self.audit, name).await? else { return Ok(None) };
        self.parsed(name, &bytes).map(Some)
    }

    /// Creates a document under a name; gives what stands there if somebody was faster.
    ///
    /// # Errors
    /// If the store fails, or what stands there is damaged.
    pub async fn create<T: DeserializeOwned + Serialize>(&self, name: &str, value: T) -> Result<T> {
        let bytes = self.bytes_of(name, &value)?;
        match self.facts.create_audit_document(&self.audit, name, bytes.into()).await? {
            Created::New => Ok(value),
            Created::Existing(first) => self.parsed(name, &first),
        }
    }

    fn bytes_of(&self, name: &str, value: &impl Serialize) -> Result<Vec<u8>> {
        serde_json::to_vec(value).map_err(|error| self.damaged(name, &error.to_string()))
    }

    fn parsed<T: DeserializeOwned>(&self, name: &str, bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes).map_err(|error| self.damaged(name, &error.to_string()))
    }

    fn damaged(&self, name: &str, reason: &str) -> LandingError {
        LandingError::Damaged { key: format!("audits/{}/{name}", self.audit), reason: reason.to_owned() }
    }
}

fn unit_name(bin: u32, condition: &str) -> String {
    format!("{UNITS}/{bin:06}/{condition}.json")
}

fn bin_name(number: u32) -> String {
    format!("{BINS}/{number:06}.json")
}

fn killers_name(bin: u32, level: Option<u8>) -> String {
    let level = level.map_or_else(|| "run".to_owned(), |level| level.to_string());
    format!("{KILLERS}/{bin:06}/{level}.json")
}

fn digest(hex: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    hex::decode_to_slice(hex, &mut digest).ok()?;
    Some(digest)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytefacts_audit::night::{Gap, unknown};
    use object_store::memory::InMemory;
    use object_store::path::Path;

    use super::*;
    use crate::attempt_id::AttemptIds;

    fn records() -> AuditRecords {
        AuditRecords::new(FactsStore::new(Arc::new(InMemory::new()), Path::from("facts")), RunId::new("a").unwrap())
    }

    #[tokio::test]
    async fn the_first_record_stands_and_bins_come_back() {
        let records = records();
        let name = Name { repo: Some("r".to_owned()), path: "p.py".to_owned() };
        let of = |cpu_us| UnitRecord { cpu_us, verdicts: vec![unknown(&name, "c", Gap::SourceGone, "x")] };
        assert_eq!(records.record(7, "c", of(1)).await.unwrap(), of(1));
        assert_eq!(records.record(7, "c", of(2)).await.unwrap(), of(1));
        assert_eq!(records.unit(7, "c").await.unwrap(), Some(of(1)));
        assert_eq!(records.unit(8, "c").await.unwrap(), None);
        assert_eq!(records.recorded().await.unwrap(), BTreeSet::from([(7, "c".to_owned())]));

        let files =
            vec![(name.clone(), FileFacts { source: Some([3; 32]), facts: [4; 32] }), (name, FileFacts { source: None, facts: [0; 32] })];
        records.plan_bin(7, &files).await.unwrap();
        assert_eq!(records.bin(7).await.unwrap(), files);
        assert!(records.bin(8).await.unwrap_err().to_string().contains("is damaged"));
    }

    #[tokio::test]
    async fn an_attempt_is_unfinished_until_it_is_given_up() {
        let (records, ids) = (records(), AttemptIds::new());
        let (one, other) = (ids.next(), ids.next());
        for attempt in [&one, &other] {
            records.begin(3, "c", attempt).await.unwrap();
        }
        records.begin(3, "other", &one).await.unwrap();
        assert_eq!(records.unfinished(3, "c").await.unwrap(), 2);
        records.give_up(3, "c", &one).await.unwrap();
        assert_eq!(records.unfinished(3, "c").await.unwrap(), 1);
        assert_eq!(records.unfinished(30, "c").await.unwrap(), 0);
        assert!(records.recorded().await.unwrap().is_empty(), "none of these is a record");
    }

    #[tokio::test]
    async fn what_is_no_record_is_damaged_and_not_good() {
        let records = records();
        let audit = RunId::new("a").unwrap();
        for (name, text) in
            [("units/000000/c.json", "[{"), ("bins/000000.json", r#"[{"repo":null,"path":"p","source":"00","facts":"00"}]"#)]
        {
            records.facts.create_audit_document(&audit, name, text.into()).await.unwrap();
        }
        assert!(records.unit(0, "c").await.unwrap_err().to_string().contains("is damaged"));
        assert!(records.bin(0).await.unwrap_err().to_string().contains("no digest"));
    }
}
