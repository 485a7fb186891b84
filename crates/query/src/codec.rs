//! How our operators travel.
//!
//! An engine that spreads plans has a codec of its own for its own operators; ours wraps it and is wrapped in turn by codecs for further operators.

use std::sync::Arc;

use arrow::datatypes::Schema;
use bytefacts_facts::flat;
use datafusion::common::stats::Precision;
use datafusion::common::{Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension};
use datafusion_proto::protobuf::{self, PhysicalExprNode, PhysicalPlanNode};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::by_file::{AtHandExec, ByFileExec};
use crate::condition::Condition;
use crate::error::external;
use crate::flatten::FlattenExec;
use crate::wire::Tag;

const FLATTEN: Tag = Tag::new(b"\0bytefacts-query2");
const BY_FILE: Tag = Tag::new(b"\0bytefacts-by-file1");
const AT_HAND: Tag = Tag::new(b"\0bytefacts-at-hand1");

/// Physical plans: [`FlattenExec`], and [`ByFileExec`] with its work.
#[derive(Debug)]
pub struct QueryCodec {
    inner: Arc<dyn PhysicalExtensionCodec>,
}

impl QueryCodec {
    /// Wraps the codec of whoever spreads the plans.
    #[must_use]
    pub fn new(inner: Arc<dyn PhysicalExtensionCodec>) -> Self {
        Self { inner }
    }
}

/// [`FlattenExec`] on the wire; its child travels beside it.
#[derive(Serialize, Deserialize)]
struct Flatten {
    table: String,
    columns: Vec<usize>,
    /// Expressions over all columns of the table.
    conditions: Vec<Vec<u8>>,
}

impl PhysicalExtensionCodec for QueryCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let context = PhysicalPlanDecodeContext::new(ctx, self);
        if let Some(schema) = AT_HAND.decode_bytes(buf) {
            let schema: Schema = (&protobuf::Schema::decode(schema).map_err(external)?).try_into()?;
            return Ok(Arc::new(AtHandExec::new(Arc::new(schema))));
        }
        if let Some(work) = BY_FILE.decode_bytes(buf) {
            let [input] = inputs else { return internal_err!("ByFileExec takes one child, got {}", inputs.len()) };
            let work = converter.proto_to_execution_plan(&PhysicalPlanNode::decode(work).map_err(external)?, &context)?;
            return Ok(Arc::new(ByFileExec::new(work, Arc::clone(input), Precision::Absent)));
        }
        let Some(Flatten { table, columns, conditions }) = FLATTEN.decode(buf).map_err(external)? else {
            return self.inner.try_decode(buf, inputs, ctx, converter);
        };
        let [input] = inputs else { return internal_err!("FlattenExec takes one child, got {}", inputs.len()) };
        let Some(table) = flat::by_name(&table) else {
            return internal_err!("there is no flat table {table}: the plan is of another version of bytefacts");
        };
        let schema = table.schema();
        let condition = |bytes: &Vec<u8>| {
            let expression = PhysicalExprNode::decode(bytes.as_slice()).map_err(external)?;
            Condition::new(table, converter.proto_to_physical_expr(&expression, &schema, &context)?)
        };
        let conditions = conditions.iter().map(condition).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(FlattenExec::filtered(table, columns, conditions, Arc::clone(input))?))
    }

    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, buf: &mut Vec<u8>, converter: &dyn PhysicalProtoConverterExtension) -> Result<()> {
        if let Some(leaf) = node.downcast_ref::<AtHandExec>() {
            AT_HAND.encode_bytes(&protobuf::Schema::try_from(leaf.schema().as_ref())?.encode_to_vec(), buf);
            return Ok(());
        }
        if let Some(by_file) = node.downcast_ref::<ByFileExec>() {
            BY_FILE.encode_bytes(&converter.execution_plan_to_proto(by_file.work(), self)?.encode_to_vec(), buf);
            return Ok(());
        }
        let Some(flatten) = node.downcast_ref::<FlattenExec>() else { return self.inner.try_encode(node, buf, converter) };
        let conditions = flatten.conditions().iter();
        let conditions = conditions.map(|condition| Ok(converter.physical_expr_to_proto(condition.whole(), self)?.encode_to_vec()));
        let conditions = conditions.collect::<Result<_>>()?;
        let flatten = Flatten { table: flatten.table().name.clone(), columns: flatten.columns().to_vec(), conditions };
        FLATTEN.encode(&flatten, buf).map_err(external)
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
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::{BinaryExpr, Column, lit};
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion::prelude::SessionContext;
    use datafusion_proto::bytes::{physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec};
    use datafusion_proto::physical_plan::{DefaultPhysicalExtensionCodec, DefaultPhysicalProtoConverter};

    use super::*;

    fn codec() -> QueryCodec {
        QueryCodec::new(Arc::new(DefaultPhysicalExtensionCodec {}))
    }

    fn files() -> Arc<dyn ExecutionPlan> {
        Arc::new(EmptyExec::new(bytefacts_facts::schema()))
    }

    #[test]
    fn a_flat_scan_travels() {
        let table = flat::by_name("code_objects_instructions").unwrap();
        let offset = Arc::new(Column::new_with_schema("offset", &table.schema()).unwrap());
        let later = Arc::new(BinaryExpr::new(offset, Operator::Gt, lit(4)));
        let condition = Condition::new(table, later).unwrap();
        let sent: Arc<dyn ExecutionPlan> = Arc::new(FlattenExec::filtered(table, vec![4, 0], vec![condition], files()).unwrap());
        let bytes = physical_plan_to_bytes_with_extension_codec(Arc::clone(&sent), &codec()).unwrap();
        let context = SessionContext::new().task_ctx();
        let arrived = physical_plan_from_bytes_with_extension_codec(&bytes, &context, &codec()).unwrap();
        assert_eq!(arrived.schema(), sent.schema());
        let arrived = arrived.downcast_ref::<FlattenExec>().unwrap();
        assert_eq!((arrived.table().name.as_str(), arrived.columns()), ("code_objects_instructions", &[4, 0][..]));
        let conditions: Vec<_> = arrived.conditions().iter().map(|condition| condition.whole().to_string()).collect();
        assert_eq!(conditions, ["offset@1 > 4"]);
    }

    #[test]
    fn work_by_file_travels_with_its_leaf() {
        let table = flat::by_name("code_objects").unwrap();
        let at_hand: Arc<dyn ExecutionPlan> = Arc::new(AtHandExec::new(bytefacts_facts::schema()));
        let work: Arc<dyn ExecutionPlan> = Arc::new(FlattenExec::try_new(table, vec![1], at_hand).unwrap());
        let sent: Arc<dyn ExecutionPlan> = Arc::new(ByFileExec::new(work, files(), Precision::Absent));
        let bytes = physical_plan_to_bytes_with_extension_codec(Arc::clone(&sent), &codec()).unwrap();
        let context = SessionContext::new().task_ctx();
        let arrived = physical_plan_from_bytes_with_extension_codec(&bytes, &context, &codec()).unwrap();
        assert_eq!(arrived.schema(), sent.schema());
        let work = arrived.downcast_ref::<ByFileExec>().unwrap().work();
        assert_eq!(work.children()[0].downcast_ref::<AtHandExec>().unwrap().schema(), bytefacts_facts::schema());
    }

    #[test]
    fn what_does_not_fit_our_tables_is_refused() {
        let context = SessionContext::new().task_ctx();
        let received = |table: &str, columns: &[usize], inputs: &[Arc<dyn ExecutionPlan>]| {
            let mut bytes = Vec::new();
            FLATTEN.encode(&Flatten { table: table.to_owned(), columns: columns.to_vec(), conditions: Vec::new() }, &mut bytes).unwrap();
            codec().try_decode(&bytes, inputs, &context, &DefaultPhysicalProtoConverter {})
        };
        assert!(received("errors", &[0], &[files()]).is_ok());
        let error = received("no_such_table", &[0], &[files()]).unwrap_err().to_string();
        assert!(error.contains("no_such_table") && error.contains("another version"), "{error}");
        assert!(received("errors", &[99], &[files()]).is_err(), "a column that there is not");
        assert!(received("errors", &[0], &[]).is_err(), "no rows to flatten");
    }
}
