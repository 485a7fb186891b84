//! Audits on a cluster: the bins of a night under its conditions, derived by executors.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytefacts_engine::{AuditCluster, AuditJob, AuditTable};
use datafusion::common::Result;

use crate::client::Client;

#[async_trait]
impl AuditCluster for Client {
    async fn submit_audit(&self, audit: &AuditJob) -> Result<Vec<RecordBatch>> {
        let table = AuditTable::new(audit.clone(), Arc::clone(&self.stores));
        self.submit_scan(Arc::new(table), "*", "bin, condition").await
    }
}
