//! What our operators share as plan nodes.

use std::sync::Arc;

use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, ChildrenPropertiesMode, EmissionType};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties as _, Partitioning, PlanProperties, ReplaceChildrenOptions};

/// Children are always replaced with new properties: the scheduler slices the leaf, so the number of partitions changes.
pub const RECOMPUTE: ReplaceChildrenOptions = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);

/// Properties of an operator with this schema and these orders that keeps its child's partitions and nothing else of it.
#[must_use]
pub fn single_child_properties(schema: EquivalenceProperties, child: &Arc<dyn ExecutionPlan>) -> Arc<PlanProperties> {
    let partitioning = Partitioning::UnknownPartitioning(child.output_partitioning().partition_count());
    Arc::new(PlanProperties::new(schema, partitioning, EmissionType::Incremental, Boundedness::Bounded))
}
