//! How scans of flat tables travel.
//!
//! An engine that spreads plans has a codec of its own for its own operators; ours wraps it and is wrapped in turn by codecs for further operators.

use std::sync::Arc;

use bytefacts_facts::flat;
use datafusion::common::{Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension};
use datafusion_proto::protobuf::PhysicalExprNode;
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::error::external;
use crate::flatten::FlattenExec;
use crate::wire::Tag;

const TAG: Tag = Tag::new(b"\0bytefacts-query2");

/// Physical plans: [`FlattenExec`].
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
        let Some(Flatten { table, columns, conditions }) = TAG.decode(buf).map_err(external)? else {
            return self.inner.try_decode(buf, inputs, ctx, converter);
        };
        let [input] = inputs else { return internal_err!("FlattenExec takes one child, got {}", inputs.len()) };
        let Some(table) = flat::by_name(&table) else {
            return internal_err!("there is no flat table {table}: the plan is of another version of bytefacts");
        };
        let (schema, context) = (table.schema(), PhysicalPlanDecodeContext::new(ctx, self));
        let condition = |bytes: &Vec<u8>| {
            let expression = PhysicalExprNode::decode(bytes.as_slice()).map_err(external)?;
            Condition::new(table, converter.proto_to_physical_expr(&expression, &schema, &context)?)
        };
        let conditions = conditions.iter().map(condition).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(FlattenExec::try_new(table, columns, conditions, Arc::clone(input))?))
    }

    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, buf: &mut Vec<u8>, converter: &dyn PhysicalProtoConverterExtension) -> Result<()> {
        match node.downcast_ref::<FlattenExec>() {
            Some(flatten) => {
                let conditions = flatten.conditions().iter();
                let conditions = conditions.map(|condition| Ok(converter.physical_expr_to_proto(condition.whole(), self)?.encode_to_vec()));
                let conditions = conditions.collect::<Result<_>>()?;
                let flatten = Flatten { table: flatten.table().name.clone(), columns: flatten.columns().to_vec(), conditions };
                TAG.encode(&flatten, buf).map_err(external)
            }
            None => self.inner.try_encode(node, buf, converter),
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
        let sent: Arc<dyn ExecutionPlan> = Arc::new(FlattenExec::try_new(table, vec![4, 0], vec![condition], files()).unwrap());
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
    fn what_does_not_fit_our_tables_is_refused() {
        let context = SessionContext::new().task_ctx();
        let received = |table: &str, columns: &[usize], inputs: &[Arc<dyn ExecutionPlan>]| {
            let mut bytes = Vec::new();
            TAG.encode(&Flatten { table: table.to_owned(), columns: columns.to_vec(), conditions: Vec::new() }, &mut bytes).unwrap();
            codec().try_decode(&bytes, inputs, &context, &DefaultPhysicalProtoConverter {})
        };
        assert!(received("errors", &[0], &[files()]).is_ok());
        let error = received("no_such_table", &[0], &[files()]).unwrap_err().to_string();
        assert!(error.contains("no_such_table") && error.contains("another version"), "{error}");
        assert!(received("errors", &[99], &[files()]).is_err(), "a column that there is not");
        assert!(received("errors", &[0], &[]).is_err(), "no rows to flatten");
    }
}
