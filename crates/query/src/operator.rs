//! What our operators share as plan nodes.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNode as _;
use datafusion::common::{Result, internal_err};
use datafusion::datasource::memory::{DataSourceExec, MemorySourceConfig};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::{Boundedness, ChildrenPropertiesMode, EmissionType};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _, Partitioning, PlanProperties, ReplaceChildrenOptions};

/// Children are always replaced with new properties: the scheduler slices the leaf, so the number of partitions changes.
pub const RECOMPUTE: ReplaceChildrenOptions = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);

/// Properties of an operator with this schema and these orders that keeps its child's partitions and nothing else of it.
#[must_use]
pub fn single_child_properties(schema: EquivalenceProperties, child: &Arc<dyn ExecutionPlan>) -> Arc<PlanProperties> {
    let partitioning = Partitioning::UnknownPartitioning(child.output_partitioning().partition_count());
    Arc::new(PlanProperties::new(schema, partitioning, EmissionType::Incremental, Boundedness::Bounded))
}

/// Refuses a child that Ballista would not slice: each task would do the work of all, and rows would be doubled. `operator` is who refuses.
///
/// # Errors
/// When the child is not a memory source.
pub fn check_sliced(operator: &str, child: &Arc<dyn ExecutionPlan>) -> Result<()> {
    let source = child.downcast_ref::<DataSourceExec>();
    if source.is_some_and(|source| source.data_source().downcast_ref::<MemorySourceConfig>().is_some()) {
        return Ok(());
    }
    internal_err!("{operator} over {}: only a memory source is cut into tasks correctly", child.name())
}

/// Operators above each other that a cluster reads. Plans travel as messages in messages, of which its decoder takes 100: two for each operator, up to
/// some twenty for the types of what is scanned, and those of expressions.
const MOST_HEIGHT: usize = 38;

/// Whether a cluster reads a plan, and sees its end. Otherwise it is run where it was planned: the rows are the same.
///
/// # Errors
/// Never: nothing that is asked can fail.
pub fn runs_on_a_cluster(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    Ok(height(plan) <= MOST_HEIGHT && ends_on_a_cluster(plan)?)
}

fn height(plan: &Arc<dyn ExecutionPlan>) -> usize {
    1 + plan.children().into_iter().map(height).max().unwrap_or(0)
}

/// Whether a cluster sees the end of a plan.
///
/// Ballista 55 takes a task's report only if it has as many metrics as that of the stage's first task, and operators that read nothing have none. Of a
/// union of such an operator and a scan the tasks differ, reports are thrown away, and the job never ends.
fn ends_on_a_cluster(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let reads_nothing = |node: &Arc<dyn ExecutionPlan>| node.is::<EmptyExec>() || node.is::<PlaceholderRowExec>();
    let hangs = plan.exists(|node| Ok(node.is::<UnionExec>() && node.exists(|below| Ok(reads_nothing(below)))?))?;
    Ok(!hangs)
}
