//! How the tables of the corpus and of audits and our operators travel: JSON behind a tag of our own, scans of facts as the crate for queries has it,
//! everything else by Ballista's codecs.
//!
//! Ballista's codecs carry its shuffle operators and a positional list of file formats; replacing them would break every query, so ours wrap
//! them.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytefacts_query::QueryCodec;
use bytefacts_query::wire::Tag;
use bytefacts_stores::Stores;
use datafusion::catalog::TableProvider;
use datafusion::common::{DataFusionError, Result, TableReference, internal_err, plan_err};
use datafusion::datasource::file_format::FileFormatFactory;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, Extension, LogicalPlan, ScalarUDF, WindowUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use serde::{Deserialize, Serialize};

use super::analyze::AnalyzeExec;
use super::corpus_table::CorpusTable;
use super::land::LandExec;
use crate::audit::{AuditExec, AuditJob, AuditTable};
use crate::error::lasting;
use crate::job::Job;
use crate::node::Node;

const TAG: Tag = Tag::new(b"\0bytefacts1");
/// Before the job of an audit.
const AUDIT: Tag = Tag::new(b"\0bytefacts-audit1");

/// Logical plans: [`CorpusTable`] and [`AuditTable`].
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

/// Physical plans: [`AnalyzeExec`], [`LandExec`], [`AuditExec`], and what a [`QueryCodec`] knows.
#[derive(Debug)]
pub struct PhysicalCodec {
    inner: QueryCodec,
    node: Option<Arc<Node>>,
}

impl PhysicalCodec {
    /// Wraps Ballista's codec. Operators that it decodes run on `node`; a scheduler has none and only encodes.
    #[must_use]
    pub fn new(inner: Arc<dyn PhysicalExtensionCodec>, node: Option<Arc<Node>>) -> Self {
        Self { inner: QueryCodec::new(inner), node }
    }

    /// Executors do not rely on what a scheduler has checked: it may be another one, and it may have been told otherwise.
    fn admit(&self, job: &Job) -> Result<()> {
        match &self.node {
            Some(node) => job.admit(node.stores().access()).map_err(refused),
            None => job.check().map_err(refused),
        }
    }
}

/// An operator on the wire; its child travels beside it.
#[derive(Serialize, Deserialize)]
enum Operator {
    Analyze { job: Job },
    Land { job: Job, projection: Option<Vec<usize>> },
    Audit { audit: AuditJob },
}

fn encode(value: &impl Serialize, buf: &mut Vec<u8>) -> Result<()> {
    TAG.encode(value, buf).map_err(lasting)
}

/// Why a job is not taken, as text: Ballista tells clients of the errors of its executors by their debug print.
fn refused(error: impl std::fmt::Display) -> DataFusionError {
    DataFusionError::Plan(error.to_string())
}

impl PhysicalExtensionCodec for PhysicalCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(operator) = TAG.decode::<Operator>(buf).map_err(lasting)? else {
            return self.inner.try_decode(buf, inputs, ctx, converter);
        };
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
            Operator::Audit { audit } => {
                match &self.node {
                    Some(node) => audit.admit(node.stores().access()).map_err(refused)?,
                    None => audit.check().map_err(refused)?,
                }
                let audit = AuditExec::new(audit, input, self.node.clone());
                audit.check_input()?;
                Arc::new(audit)
            }
        })
    }

    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, buf: &mut Vec<u8>, converter: &dyn PhysicalProtoConverterExtension) -> Result<()> {
        if let Some(analyze) = node.downcast_ref::<AnalyzeExec>() {
            analyze.check_input()?;
            encode(&Operator::Analyze { job: analyze.job().clone() }, buf)
        } else if let Some(land) = node.downcast_ref::<LandExec>() {
            encode(&Operator::Land { job: land.job().clone(), projection: land.projection().map(<[usize]>::to_vec) }, buf)
        } else if let Some(audit) = node.downcast_ref::<AuditExec>() {
            audit.check_input()?;
            encode(&Operator::Audit { audit: audit.audit().clone() }, buf)
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
        if let Some(audit) = AUDIT.decode::<AuditJob>(buf).map_err(lasting)? {
            audit.admit(self.stores.access()).map_err(refused)?;
            return Ok(Arc::new(AuditTable::new(audit, Arc::clone(&self.stores))));
        }
        match TAG.decode::<Job>(buf).map_err(lasting)? {
            Some(job) => {
                job.admit(self.stores.access()).map_err(refused)?;
                Ok(Arc::new(CorpusTable::new(job, Arc::clone(&self.stores))))
            }
            None => self.inner.try_decode_table_provider(buf, table, schema, ctx),
        }
    }

    fn try_encode_table_provider(&self, table: &TableReference, node: Arc<dyn TableProvider>, buf: &mut Vec<u8>) -> Result<()> {
        let any = node.as_ref() as &dyn std::any::Any;
        match (any.downcast_ref::<CorpusTable>(), any.downcast_ref::<AuditTable>()) {
            (Some(corpus), _) => encode(corpus.job(), buf),
            (None, Some(audit)) => AUDIT.encode(audit.audit(), buf).map_err(lasting),
            (None, None) => self.inner.try_encode_table_provider(table, node, buf),
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
    use bytefacts_query::FlattenExec;
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion::prelude::SessionContext;
    use datafusion_proto::bytes::{physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec};
    use datafusion_proto::physical_plan::DefaultPhysicalExtensionCodec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scans_of_facts_travel_too() {
        let codec = PhysicalCodec::new(Arc::new(DefaultPhysicalExtensionCodec {}), None);
        let input = Arc::new(EmptyExec::new(bytefacts_facts::schema()));
        let table = bytefacts_facts::flat::by_name("code_objects_instructions").unwrap();
        let sent: Arc<dyn ExecutionPlan> = Arc::new(FlattenExec::try_new(table, vec![4, 0], input).unwrap());
        let bytes = physical_plan_to_bytes_with_extension_codec(Arc::clone(&sent), &codec).unwrap();
        let context = SessionContext::new().task_ctx();
        let arrived = physical_plan_from_bytes_with_extension_codec(&bytes, &context, &codec).unwrap();
        assert_eq!(arrived.schema(), sent.schema());
        assert!(arrived.is::<FlattenExec>());
    }

    fn job() -> Job {
        let place = |name: &str| format!("file:///no-such-folder/{name}");
        Job {
            corpus: place("corpus"),
            repo: None,
            facts: place("facts"),
            run: "r1".to_owned(),
            options: crate::job::ExtractOptions::default(),
            bins: bytefacts_corpus::BinOptions { target: bytefacts_corpus::Target::Bins(1) },
            interpreter: None,
            use_cache: true,
        }
    }

    /// A scheduler that allows one corpus and one place for facts.
    fn scheduler() -> LogicalCodec {
        use bytefacts_stores::{Access, Allowed};

        let below = |name: &str| Allowed::of(&[format!("/no-such-folder/{name}")]).unwrap();
        let stores = Stores::default().with_access(Access { corpus: below("corpus"), facts: below("facts") });
        LogicalCodec::new(Arc::new(datafusion_proto::logical_plan::DefaultLogicalExtensionCodec {}), Arc::new(stores))
    }

    fn received(bytes: &[u8]) -> Result<Job> {
        let table = TableReference::bare("t");
        let context = SessionContext::new().task_ctx();
        let provider = scheduler().try_decode_table_provider(bytes, &table, crate::plan::landed_schema(), &context)?;
        let table = (provider.as_ref() as &dyn std::any::Any).downcast_ref::<CorpusTable>();
        table.map(|table| table.job().clone()).ok_or_else(|| lasting(std::io::Error::other("another table")))
    }

    fn sent(job: &serde_json::Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(job, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_job_of_ours_is_taken_and_a_foreign_one_refused_with_the_reason() {
        assert_eq!(received(&sent(&serde_json::to_value(job()).unwrap())).unwrap(), job());
        for (pointer, value, reason) in [
            ("/corpus", serde_json::json!("file:///etc"), "access.corpus"),
            ("/corpus", serde_json::json!("file:///no-such-folder/corpus2"), "access.corpus"),
            ("/corpus", serde_json::json!("http://169.254.169.254/latest"), "http"),
            ("/facts", serde_json::json!("file:///no-such-folder/corpus"), "access.facts"),
            ("/facts", serde_json::json!("memory:///"), "memory"),
            ("/run", serde_json::json!("../../r1"), "its run"),
            ("/run", serde_json::json!(""), "its run"),
            ("/options/optimize", serde_json::json!(3), "optimize"),
            ("/options/compile_cpu_seconds", serde_json::json!(u64::MAX), "compile_cpu_seconds"),
            ("/options/compile_memory_bytes", serde_json::json!(u64::MAX), "compile_memory_bytes"),
            ("/options/quarantine_after", serde_json::json!(0), "quarantine_after"),
            ("/options/parallel_max_bytes", serde_json::json!(0), "parallel_max_bytes"),
            ("/options/terminator_opnames", serde_json::json!(["RETURN"]), "terminator_opnames"),
            ("/options/exclude", serde_json::json!(["x".repeat(5000)]), "a name of 5000 bytes"),
            ("/options/include", serde_json::json!(["x".repeat(5001)]), "a name of 5001 bytes"),
            ("/options/extend_exclude", serde_json::json!(["x".repeat(5002)]), "a name of 5002 bytes"),
            ("/options/include", serde_json::json!(vec!["x"; 10_001]), "include is 10001"),
            ("/options/extend_exclude", serde_json::json!(vec!["x"; 10_001]), "extend_exclude is 10001"),
            ("/repo", serde_json::json!("x".repeat(5000)), "a name of 5000 bytes"),
        ] {
            let mut foreign = serde_json::to_value(job()).unwrap();
            *foreign.pointer_mut(pointer).unwrap() = value;
            let error = received(&sent(&foreign)).unwrap_err().to_string();
            assert!(error.contains(reason), "{pointer}: {error}");
        }
    }

    #[test]
    fn what_is_landed_is_the_analysis_of_the_same_job() {
        let codec = PhysicalCodec::new(Arc::new(DefaultPhysicalExtensionCodec {}), None);
        let context = SessionContext::new().task_ctx();
        let decode = |operator: &Operator, input: Arc<dyn ExecutionPlan>| {
            let mut bytes = Vec::new();
            encode(operator, &mut bytes).unwrap();
            codec.try_decode(&bytes, &[input], &context, &datafusion_proto::physical_plan::DefaultPhysicalProtoConverter {})
        };
        let rows = || Arc::new(EmptyExec::new(crate::plan::envelope::schema_with_envelopes(&bytefacts_facts::coded_schema())));
        let forged = decode(&Operator::Land { job: job(), projection: None }, rows()).unwrap_err().to_string();
        assert!(forged.contains("not the analysis"), "{forged}");
        assert!(decode(&Operator::Analyze { job: job() }, rows()).is_err(), "bins come from a memory source");

        let bins = vec![vec![crate::plan::bins::bins_batch(&[]).unwrap()]];
        let source =
            datafusion::datasource::memory::MemorySourceConfig::try_new_exec(&bins, crate::plan::bins::bins_schema(), None).unwrap();
        let analyze = decode(&Operator::Analyze { job: job() }, source).unwrap();
        decode(&Operator::Land { job: job(), projection: None }, Arc::clone(&analyze)).unwrap();
        let other = Job { run: "r2".to_owned(), ..job() };
        assert!(decode(&Operator::Land { job: other, projection: None }, Arc::clone(&analyze)).is_err());
        assert!(decode(&Operator::Land { job: job(), projection: Some(vec![99]) }, analyze).is_err(), "a column that there is not");
    }

    /// JSON that is like a job's at any of its places.
    fn value() -> impl Strategy<Value = serde_json::Value> {
        prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            ".{0,20}".prop_map(Into::into),
            "(file:///no-such-folder/(corpus|facts)|s3://b|[a-z]{1,9}://)[a-z./%2eF]{0,12}".prop_map(Into::into),
            prop::collection::vec("[A-Z_]{0,14}", 0..3).prop_map(Into::into),
        ]
    }

    proptest! {
        /// Whatever stands at one place of a job, or at any byte of it: it is refused, or it is a job that can be done within what is allowed.
        #[test]
        fn no_job_does_harm_by_being_read(at in any::<prop::sample::Index>(), with in value(), byte in any::<(prop::sample::Index, u8)>()) {
            let whole = serde_json::to_value(job()).unwrap();
            let mut places = vec![String::new()];
            for (key, inner) in whole.as_object().unwrap() {
                places.push(format!("/{key}"));
                places.extend(inner.as_object().into_iter().flatten().map(|(inner, _)| format!("/{key}/{inner}")));
            }
            let mut foreign = whole.clone();
            *foreign.pointer_mut(at.get(places.as_slice()).as_str()).unwrap() = with;
            let mut damaged = sent(&whole);
            let position = byte.0.index(damaged.len());
            damaged[position] = byte.1;
            for bytes in [sent(&foreign), damaged] {
                let Ok(taken) = received(&bytes) else { continue };
                taken.check().unwrap();
                prop_assert!(taken.corpus.starts_with("file:///no-such-folder/corpus"), "{}", taken.corpus);
                prop_assert!(taken.facts.starts_with("file:///no-such-folder/facts"), "{}", taken.facts);
                prop_assert!(!taken.corpus.contains("..") && !taken.facts.contains(".."), "{taken:?}");
                taken.row_options().unwrap();
            }
        }
    }
}
