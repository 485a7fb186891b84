//! `Yielding`: joins give way to others, whatever they are made of.
//!
//! DataFusion has scans give way after so many batches. A join of a few rows that are in memory makes any number of batches without asking a scan, and
//! whoever has lost interest in them would wait for its end: so joins give way too.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};

/// The rule. It comes behind all others.
#[derive(Debug, Default)]
pub(crate) struct Yielding;

impl PhysicalOptimizerRule for Yielding {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let yields = |node: Arc<dyn ExecutionPlan>| match is_join(&node) {
            true => Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as _)),
            false => Ok(Transformed::no(node)),
        };
        plan.transform_up(yields).data()
    }

    fn name(&self) -> &'static str {
        "bytefacts_yielding"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn is_join(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<CrossJoinExec>() || plan.is::<NestedLoopJoinExec>() || plan.is::<HashJoinExec>() || plan.is::<SortMergeJoinExec>()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use datafusion::prelude::SessionContext;

    use super::*;

    /// On one thread: what does not give way is never given up.
    #[tokio::test]
    async fn a_join_without_end_is_given_up() {
        let session = SessionContext::new();
        let numbers: Vec<_> = (0..300).map(|number| format!("({number})")).collect();
        session.sql(&format!("CREATE TABLE n AS SELECT * FROM (VALUES {}) AS v(x)", numbers.join(", "))).await.unwrap();
        for filter in ["a.x + b.x + c.x + d.x + e.x + f.x = -1", "a.x >= 0"] {
            let sql = format!("SELECT count(a.x + f.x) FROM n a, n b, n c, n d, n e, n f WHERE {filter}");
            let plan = session.sql(&sql).await.unwrap().create_physical_plan().await.unwrap();
            let plan = Yielding.optimize(plan, session.copied_config().options()).unwrap();
            let answer = datafusion::physical_plan::collect(plan, session.task_ctx());
            assert!(tokio::time::timeout(Duration::from_millis(10), answer).await.is_err(), "{filter}");
        }
    }
}
