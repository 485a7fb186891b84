//! Audits of runs: what they were asked, what of it is done, and what they came to. All of it is created once; the header comes last.

use bytes::Bytes;
use object_store::path::Path;

use super::gc::{in_parallel, modified_ms};
use crate::documents::{Created, FactsStore, from_json, sha256_hex, store_error, to_json};
use crate::model::{AuditAsked, AuditDocument, AuditHeader, ConcludedAudit};
use crate::names::{RunId, keys};
use crate::{LandingError, Result};

impl FactsStore {
    /// Writes down what an audit was asked to do, unless that is known: what stands there is returned.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn ask_audit(&self, asked: &AuditAsked) -> Result<AuditAsked> {
        let key = keys::audit(&asked.audit, keys::AUDIT_ASKED);
        match self.create(&key, to_json("audit", &key, asked)?).await? {
            Created::New => Ok(asked.clone()),
            Created::Existing(first) => from_json("audit", &key, &first),
        }
    }

    /// What an audit was asked to do, if it is one.
    ///
    /// # Errors
    /// If the store fails or holds something else.
    pub async fn audit_asked(&self, audit: &RunId) -> Result<Option<AuditAsked>> {
        self.document("audit", &keys::audit(audit, keys::AUDIT_ASKED)).await
    }

    /// What audits were asked to do that have no header yet, in order of their names.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn unfinished_audits(&self) -> Result<Vec<AuditAsked>> {
        let audits = self.audit_ids().await?.into_iter().map(|audit| async move {
            if self.meta(&keys::audit(&audit, keys::AUDIT_HEADER)).await?.is_some() { Ok(None) } else { self.audit_asked(&audit).await }
        });
        Ok(in_parallel(audits).await?.into_iter().flatten().collect())
    }

    /// Creates a document of an audit unless there is one.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn create_audit_document(&self, audit: &RunId, name: &str, bytes: Bytes) -> Result<Created> {
        self.create(&keys::audit(audit, name), bytes).await
    }

    /// A document of an audit, if there is one.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn audit_document(&self, audit: &RunId, name: &str) -> Result<Option<Bytes>> {
        self.bytes(&keys::audit(audit, name)).await
    }

    /// The names of the documents of an audit in a folder of it, without the folder, in order.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn audit_documents(&self, audit: &RunId, folder: &str) -> Result<Vec<String>> {
        let folder = keys::audit(audit, folder);
        let start = self.path_of(&folder)?.as_ref().len() + 1;
        let listed = self.list(&folder).await?;
        let mut names: Vec<_> = listed.iter().filter_map(|meta| meta.location.as_ref().get(start..)).map(str::to_owned).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Keeps what an audit came to under a name that says its content, to be named by its header.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn keep_audit_result(&self, audit: &RunId, name: &str, extension: &str, rows: u64, bytes: Bytes) -> Result<AuditDocument> {
        let (sha256, size) = (sha256_hex(&bytes), bytes.len() as u64);
        let key = keys::audit(audit, &format!("{name}-{}.{extension}", sha256.get(..16).unwrap_or(&sha256)));
        self.create(&key, bytes).await?;
        Ok(AuditDocument { key, bytes: size, sha256, rows })
    }

    /// Concludes an audit, unless it is concluded: the header that stands is returned.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn conclude_audit(&self, header: &AuditHeader) -> Result<AuditHeader> {
        let key = keys::audit(&header.audit, keys::AUDIT_HEADER);
        match self.create(&key, to_json("audit header", &key, header)?).await? {
            Created::New => Ok(header.clone()),
            Created::Existing(first) => from_json("audit header", &key, &first),
        }
    }

    /// The header of an audit, if it is concluded.
    ///
    /// # Errors
    /// If the store fails or holds something else.
    pub async fn audit_header(&self, audit: &RunId) -> Result<Option<AuditHeader>> {
        self.document("audit header", &keys::audit(audit, keys::AUDIT_HEADER)).await
    }

    /// What a header names, as it was written.
    ///
    /// # Errors
    /// If the store fails, or what is there is something else or nothing.
    pub async fn audit_result(&self, document: &AuditDocument) -> Result<Bytes> {
        let damaged = |reason: &str| LandingError::Damaged { key: document.key.clone(), reason: reason.to_owned() };
        let bytes = self.bytes(&document.key).await?.ok_or_else(|| damaged("it is gone"))?;
        if sha256_hex(&bytes) == document.sha256 { Ok(bytes) } else { Err(damaged("it is not what the audit's header says")) }
    }

    /// The concluded audits, the newest first. Costs a small request or two for each.
    ///
    /// # Errors
    /// If the store fails or holds something else than headers.
    pub async fn audits(&self) -> Result<Vec<ConcludedAudit>> {
        let audits = self.audit_ids().await?.into_iter().map(|audit| async move {
            let Some(meta) = self.meta(&keys::audit(&audit, keys::AUDIT_HEADER)).await? else { return Ok(None) };
            // A collection may have been faster.
            let Some(header) = self.audit_header(&audit).await? else { return Ok(None) };
            Ok(Some(ConcludedAudit { header, concluded_at_ms: modified_ms(&meta) }))
        });
        let mut audits: Vec<_> = in_parallel(audits).await?.into_iter().flatten().collect();
        audits.sort_by(|a, b| (b.concluded_at_ms, &b.header.audit).cmp(&(a.concluded_at_ms, &a.header.audit)));
        Ok(audits)
    }

    /// All audits that have left something behind.
    pub(super) async fn audit_ids(&self) -> Result<Vec<RunId>> {
        let prefix = self.path_of(keys::AUDITS_FOLDER)?;
        let listing = self.store().list_with_delimiter(Some(&prefix)).await;
        let folders = listing.map_err(|e| store_error("list", keys::AUDITS_FOLDER, e))?;
        let names = folders.common_prefixes.iter().filter_map(Path::filename);
        let mut ids: Vec<_> = names.filter_map(|name| RunId::new(name).ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }
}
