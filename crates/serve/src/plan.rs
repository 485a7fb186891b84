//! What passes between those who ask, who plan and who run: who asks, what is known of a statement, and what can run.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;

use crate::options::{Limits, SessionOptions};
use crate::record::Whose;
use crate::spread::Executors;

/// A query that can run.
pub(crate) struct Planned {
    /// What runs.
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    /// What it runs with.
    pub(crate) context: Arc<TaskContext>,
    /// Who runs it, unless this process does.
    pub(crate) executors: Option<Arc<dyn Executors>>,
    /// What is announced, and delivered.
    pub(crate) schema: SchemaRef,
}

/// What is known of a statement before its parameters are.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// Its columns.
    pub(crate) schema: SchemaRef,
    /// Its parameters; where nothing tells the type, a text.
    pub(crate) parameters: SchemaRef,
    /// The types of those of which something tells it, by name.
    pub(crate) types: BTreeMap<String, DataType>,
}

/// Who asks, and how.
pub(crate) struct Asked<'a> {
    /// Whose queries are told of.
    pub(crate) sees: Whose,
    /// What the session has set.
    pub(crate) options: &'a SessionOptions,
    /// What the query may take.
    pub(crate) limits: Limits,
}
