//! How the corpus table and our operators travel: JSON behind a tag of our own, everything else by Ballista's codecs.
//!
//! Ballista's codecs carry its shuffle operators and a positional list of file formats; replacing them would break every query, so ours wrap
//! them. The tag is no valid protobuf message of Ballista's (field 0 does not exist), so the two cannot be confused.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytefacts_facts::flat;
use datafusion::catalog::TableProvider;
use datafusion::common::{Result, TableReference, internal_err, plan_err};
use datafusion::datasource::file_format::FileFormatFactory;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, Extension, LogicalPlan, ScalarUDF, WindowUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::analyze::AnalyzeExec;
use crate::error::external;
use crate::flatten::FlattenExec;
use crate::job::Job;
use crate::land::LandExec;
use crate::node::Node;
use crate::stores::Stores;
use crate::table::CorpusTable;

const TAG: &[u8] = b"\0bytefacts1";

/// Logical plans: [`CorpusTable`].
#[derive(Debug)]
pub struct LogicalCodec {
    inner: Arc<dyn LogicalExtensionCodec>,
    stores: Arc<Stores>,
}

impl LogicalCodec {
    /// Wraps Ballista's codec; tables that it decodes list and write through `stores`.
    #[must_use]
    pub fn new(inner: Arc<dyn LogicalExtensionCodec>, stores: Arc<Stores>) -> Self {
        Self { inner, stores }
    }
}

/// Physical plans: [`AnalyzeExec`], [`LandExec`] and [`FlattenExec`].
#[derive(Debug)]
pub struct PhysicalCodec {
    inner: Arc<dyn PhysicalExtensionCodec>,
    node: Option<Arc<Node>>,
}

impl PhysicalCodec {
    /// Wraps Ballista's codec. Operators that it decodes run on `node`; a scheduler has none and only encodes.
    #[must_use]
    pub fn new(inner: Arc<dyn PhysicalExtensionCodec>, node: Option<Arc<Node>>) -> Self {
        Self { inner, node }
    }

    /// Executors do not rely on what a scheduler has checked: it may be another one, and it may have been told otherwise.
    fn admit(&self, job: &Job) -> Result<()> {
        match &self.node {
            Some(node) => node.stores().admit(job).map_err(external),
            None => job.check().map_err(external),
        }
    }
}

/// An operator on the wire; its child travels beside it.
#[derive(Serialize, Deserialize)]
enum Operator {
    Analyze { job: Job },
    Land { job: Job, projection: Option<Vec<usize>> },
    Flatten { table: String, columns: Vec<usize> },
}

fn encode(value: &impl Serialize, buf: &mut Vec<u8>) -> Result<()> {
    buf.extend_from_slice(TAG);
    serde_json::to_writer(buf, value).map_err(external)
}

/// The value behind our tag, or `None` when the bytes are not ours.
fn decode<T: DeserializeOwned>(buf: &[u8]) -> Result<Option<T>> {
    buf.strip_prefix(TAG).map(|json| serde_json::from_slice(json).map_err(external)).transpose()
}

impl PhysicalExtensionCodec for PhysicalCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(operator) = decode::<Operator>(buf)? else { return self.inner.try_decode(buf, inputs, ctx, converter) };
        let [input] = inputs else { return internal_err!("an operator of bytefacts takes one input, got {}", inputs.len()) };
        let input = Arc::clone(input);
        Ok(match operator {
            Operator::Analyze { job } => {
                self.admit(&job)?;
                let analyze = AnalyzeExec::new(job, input, self.node.clone());
                analyze.check_input()?;
                Arc::new(analyze)
            }
            Operator::Land { job, projection } => {
                self.admit(&job)?;
                // Rows that nobody has analysed are no facts.
                if input.downcast_ref::<AnalyzeExec>().is_none_or(|analyze| *analyze.job() != job) {
                    return plan_err!("what is landed is not the analysis of the same job");
                }
                Arc::new(LandExec::try_new(job, input, projection, self.node.clone())?)
            }
            Operator::Flatten { table, columns } => match flat::by_name(&table) {
                Some(table) => Arc::new(FlattenExec::try_new(table, columns, input)?),
                None => return internal_err!("there is no flat table {table}: the plan is of another version of bytefacts"),
            },
        })
    }

    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, buf: &mut Vec<u8>, converter: &dyn PhysicalProtoConverterExtension) -> Result<()> {
        if let Some(analyze) = node.downcast_ref::<AnalyzeExec>() {
            analyze.check_input()?;
            encode(&Operator::Analyze { job: analyze.job().clone() }, buf)
        } else if let Some(land) = node.downcast_ref::<LandExec>() {
            encode(&Operator::Land { job: land.job().clone(), projection: land.projection().map(<[usize]>::to_vec) }, buf)
        } else if let Some(flatten) = node.downcast_ref::<FlattenExec>() {
            encode(&Operator::Flatten { table: flatten.table().name.clone(), columns: flatten.columns().to_vec() }, buf)
        } else {
            self.inner.try_encode(node, buf, converter)
        }
    }

    fn try_decode_udf(&self, name: &str, buf: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.inner.try_decode_udf(name, buf)
    }
    fn try_encode_udf(&self, node: &ScalarUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.inner.try_encode_udf(node, buf)
    }
    fn try_decode_udaf(&self, name: &str, buf: &[u8]) -> Result<Arc<AggregateUDF>> {
        self.inner.try_decode_udaf(name, buf)
    }
    fn try_encode_udaf(&self, node: &AggregateUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.inner.try_encode_udaf(node, buf)
    }
    fn try_decode_udwf(&self, name: &str, buf: &[u8]) -> Result<Arc<WindowUDF>> {
        self.inner.try_decode_udwf(name, buf)
    }
    fn try_encode_udwf(&self, node: &WindowUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.inner.try_encode_udwf(node, buf)
    }
}

impl LogicalExtensionCodec for LogicalCodec {
    fn try_decode(&self, buf: &[u8], inputs: &[LogicalPlan], ctx: &TaskContext) -> Result<Extension> {
        self.inner.try_decode(buf, inputs, ctx)
    }

    fn try_encode(&self, node: &Extension, buf: &mut Vec<u8>) -> Result<()> {
        self.inner.try_encode(node, buf)
    }

    fn try_decode_table_provider(
        &self,
        buf: &[u8],
        table: &TableReference,
        schema: SchemaRef,
        ctx: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        match decode::<Job>(buf)? {
            Some(job) => {
                self.stores.admit(&job).map_err(external)?;
                Ok(Arc::new(CorpusTable::new(job, Arc::clone(&self.stores))))
            }
            None => self.inner.try_decode_table_provider(buf, table, schema, ctx),
        }
    }

    fn try_encode_table_provider(&self, table: &TableReference, node: Arc<dyn TableProvider>, buf: &mut Vec<u8>) -> Result<()> {
        match (node.as_ref() as &dyn std::any::Any).downcast_ref::<CorpusTable>() {
            Some(corpus) => encode(corpus.job(), buf),
            None => self.inner.try_encode_table_provider(table, node, buf),
        }
    }

    fn try_decode_file_format(&self, buf: &[u8], ctx: &TaskContext) -> Result<Arc<dyn FileFormatFactory>> {
        self.inner.try_decode_file_format(buf, ctx)
    }
    fn try_encode_file_format(&self, buf: &mut Vec<u8>, node: Arc<dyn FileFormatFactory>) -> Result<()> {
        self.inner.try_encode_file_format(buf, node)
    }
    fn try_decode_udf(&self, name: &str, buf: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.inner.try_decode_udf(name, buf)
    }
    fn try_encode_udf(&self, node: &ScalarUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.inner.try_encode_udf(node, buf)
    }
    fn try_decode_udaf(&self, name: &str, buf: &[u8]) -> Result<Arc<AggregateUDF>> {
        self.inner.try_decode_udaf(name, buf)
    }
    fn try_encode_udaf(&self, node: &AggregateUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.inner.try_encode_udaf(node, buf)
    }
    fn try_decode_udwf(&self, name: &str, buf: &[u8]) -> Result<Arc<WindowUDF>> {
        self.inner.try_decode_udwf(name, buf)
    }
    fn try_encode_udwf(&self, node: &WindowUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.inner.try_encode_udwf(node, buf)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion::prelude::SessionContext;
    use datafusion_proto::bytes::{physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec};
    use datafusion_proto::physical_plan::DefaultPhysicalExtensionCodec;

    use super::*;

    #[test]
    fn a_flat_scan_travels_without_a_node() {
        let codec = PhysicalCodec::new(Arc::new(DefaultPhysicalExtensionCodec {}), None);
        let input = Arc::new(EmptyExec::new(bytefacts_facts::schema()));
        let table = flat::by_name("code_objects_instructions").unwrap();
        let sent: Arc<dyn ExecutionPlan> = Arc::new(FlattenExec::try_new(table, vec![4, 0], input).unwrap());
        let bytes = physical_plan_to_bytes_with_extension_codec(Arc::clone(&sent), &codec).unwrap();
        let context = SessionContext::new().task_ctx();
        let arrived = physical_plan_from_bytes_with_extension_codec(&bytes, &context, &codec).unwrap();
        assert_eq!(arrived.schema(), sent.schema());
        let arrived = arrived.downcast_ref::<FlattenExec>().unwrap();
        assert_eq!((arrived.table().name.as_str(), arrived.columns()), ("code_objects_instructions", &[4, 0][..]));
    }
}
