//! `ByFile`: finds the parts of a plan that need to know of one source file at a time, and has [`ByFileExec`] do them.
//!
//! It comes before all other rules, while a plan says what is wanted and not yet how it is spread. A part is *local* if what each of its operators
//! brings together has one id of a unit or of a file. Such ids are hashes of repository and path, and what has one lies in one file.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use bytefacts_facts::schema as facts_schema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{JoinType, NullEquality, Result};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, JoinOnRef, PartitionMode, SortMergeJoinExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};

use crate::by_file::{AtHandExec, ByFileExec};
use crate::files_scan::FilesScan;
use crate::flatten::{FILES, FlattenExec};

/// The rule.
#[derive(Debug, Default)]
pub(crate) struct ByFile;

impl PhysicalOptimizerRule for ByFile {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_down(|plan| match local(&plan)?.filter(|part| part.gathers) {
            Some(part) => Ok(Transformed::new(by_file(&plan, &part.scan, config)?, true, TreeNodeRecursion::Jump)),
            None => Ok(Transformed::no(plan)),
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "bytefacts_by_file"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A part of a plan that needs to know of one file at a time.
struct Local {
    /// The columns whose values say which file a row belongs to.
    keys: BTreeMap<usize, Key>,
    /// Which files it has rows of.
    scan: FilesScan,
    /// Whether it brings rows together at all, by a join, an aggregate or a window.
    gathers: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    id: Id,
    /// Whether there is always one. Nulls of different files would be brought together as if they were one value.
    is_there: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Id {
    File,
    Unit,
}

/// What is known of a plan, if it is local.
fn local(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Local>> {
    if let Some(flatten) = plan.downcast_ref::<FlattenExec>() {
        return Ok(flatten.scan().map(|scan| Local { keys: keys(flatten), scan: scan.clone(), gathers: false }));
    }
    if has_subquery(plan)? {
        return Ok(None);
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let Some(part) = local(filter.input())?.filter(|_| filter.fetch().is_none()) else { return Ok(None) };
        let keys = match filter.projection() {
            Some(projection) => select(&part.keys, projection),
            None => part.keys,
        };
        return Ok(Some(Local { keys, ..part }));
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let Some(part) = local(projection.input())? else { return Ok(None) };
        let key = |expr: &Arc<dyn PhysicalExpr>| part.keys.get(&expr.downcast_ref::<Column>()?.index()).copied();
        let keys = (0..).zip(projection.expr()).filter_map(|(nth, column)| Some((nth, key(&column.expr)?))).collect();
        return Ok(Some(Local { keys, ..part }));
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        return aggregated(aggregate);
    }
    if let Some(window) = plan.downcast_ref::<WindowAggExec>() {
        return windowed(window.input(), window.window_expr().iter().map(|window| window.partition_by()));
    }
    if let Some(window) = plan.downcast_ref::<BoundedWindowAggExec>() {
        return windowed(window.input(), window.window_expr().iter().map(|window| window.partition_by()));
    }
    match Join::of(plan) {
        Some(join) => join.local(),
        None => Ok(None),
    }
}

/// The ids among the columns of a flat table.
fn keys(flatten: &FlattenExec) -> BTreeMap<usize, Key> {
    let table = flatten.table();
    let key = |column: &usize| {
        let column = table.columns.get(*column)?;
        match column.name.as_str() {
            "file_id" => (column.level == 0).then_some(Key { id: Id::File, is_there: true }),
            // That of the unit itself, which each has, and those of other units of the file.
            "code_unit_id" => {
                let is_there = column.level == 1 && table.path.first() == Some(&"code_objects");
                Some(Key { id: Id::Unit, is_there })
            }
            "parent_code_unit_id" | "child_code_unit_id" => Some(Key { id: Id::Unit, is_there: false }),
            _ => None,
        }
    };
    (0..).zip(flatten.columns()).filter_map(|(nth, column)| Some((nth, key(column)?))).collect()
}

/// The keys at these positions, numbered by them.
fn select(keys: &BTreeMap<usize, Key>, positions: &[usize]) -> BTreeMap<usize, Key> {
    (0..).zip(positions).filter_map(|(nth, position)| Some((nth, *keys.get(position)?))).collect()
}

/// Whether an expression of the operator waits for a subquery, whose result does not travel with the work.
fn has_subquery(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(&mut |root| {
        found |= root.exists(|part| Ok(part.downcast_ref::<ScalarSubqueryExpr>().is_some()))?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// Groups of which each has the id of something.
fn aggregated(aggregate: &AggregateExec) -> Result<Option<Local>> {
    // A final aggregate stands above a partial one, which is where its groups are made.
    let of_rows = match aggregate.mode() {
        AggregateMode::Final | AggregateMode::FinalPartitioned => match aggregate.input().downcast_ref::<AggregateExec>() {
            Some(partial) if *partial.mode() == AggregateMode::Partial => partial,
            _ => return Ok(None),
        },
        AggregateMode::Single | AggregateMode::SinglePartitioned => aggregate,
        _ => return Ok(None),
    };
    if !of_rows.group_expr().is_single() || aggregate.limit_options().is_some() || of_rows.limit_options().is_some() {
        return Ok(None);
    }
    let Some(part) = local(of_rows.input())? else { return Ok(None) };
    let groups = of_rows.group_expr().expr().iter();
    let key = |expr: &Arc<dyn PhysicalExpr>| part.keys.get(&expr.downcast_ref::<Column>()?.index()).copied();
    let keys: BTreeMap<_, _> = (0..).zip(groups).filter_map(|(nth, (expr, _))| Some((nth, key(expr)?))).collect();
    let is_local = keys.values().any(|key| key.is_there);
    Ok(is_local.then_some(Local { keys, scan: part.scan, gathers: true }))
}

/// Windows each of which is over rows with the id of something.
fn windowed<'a>(
    input: &Arc<dyn ExecutionPlan>,
    mut partitions: impl Iterator<Item = &'a [Arc<dyn PhysicalExpr>]>,
) -> Result<Option<Local>> {
    let Some(part) = local(input)? else { return Ok(None) };
    let is_key = |expr: &Arc<dyn PhysicalExpr>| {
        expr.downcast_ref::<Column>().and_then(|column| part.keys.get(&column.index())).is_some_and(|key| key.is_there)
    };
    let is_local = partitions.all(|partition| partition.iter().any(is_key));
    Ok(is_local.then_some(Local { gathers: true, ..part }))
}

/// A join for equal values, whichever way it is done.
struct Join<'a> {
    left: &'a Arc<dyn ExecutionPlan>,
    right: &'a Arc<dyn ExecutionPlan>,
    on: JoinOnRef<'a>,
    join_type: JoinType,
    null_equality: NullEquality,
    projection: Option<&'a [usize]>,
}

impl<'a> Join<'a> {
    fn of(plan: &'a Arc<dyn ExecutionPlan>) -> Option<Self> {
        if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
            return Some(Self {
                left: join.left(),
                right: join.right(),
                on: join.on(),
                join_type: *join.join_type(),
                null_equality: join.null_equality(),
                projection: join.projection.as_deref(),
            })
            .filter(|_| !join.null_aware && join.fetch().is_none());
        }
        plan.downcast_ref::<SortMergeJoinExec>().map(|join| Self {
            left: join.left(),
            right: join.right(),
            on: join.on(),
            join_type: join.join_type(),
            null_equality: join.null_equality(),
            projection: None,
        })
    }

    /// Rows that find each other are of one file if an id is among what must be equal.
    fn local(&self) -> Result<Option<Local>> {
        let (Some(left), Some(right)) = (local(self.left)?, local(self.right)?) else { return Ok(None) };
        let key = |part: &Local, expr: &Arc<dyn PhysicalExpr>| Some(part.keys.get(&expr.downcast_ref::<Column>()?.index())?.id);
        let is_local = self.null_equality == NullEquality::NullEqualsNothing
            && left.scan.is_of_same_run(&right.scan)
            && self.on.iter().any(|(one, two)| key(&left, one).is_some_and(|id| key(&right, two) == Some(id)));
        if !is_local {
            return Ok(None);
        }
        let (files, left_is_there, right_is_there) = match self.join_type {
            JoinType::Inner => (left.scan.intersection(&right.scan), true, true),
            JoinType::Left => (left.scan.clone(), true, false),
            JoinType::Right => (right.scan.clone(), false, true),
            JoinType::Full => (left.scan.union(&right.scan), false, false),
            JoinType::LeftSemi => (left.scan.intersection(&right.scan), true, true),
            JoinType::RightSemi => (left.scan.intersection(&right.scan), true, true),
            JoinType::LeftAnti | JoinType::LeftMark => (left.scan.clone(), true, true),
            JoinType::RightAnti | JoinType::RightMark => (right.scan.clone(), true, true),
        };
        let padded = |keys: &BTreeMap<usize, Key>, is_there: bool, behind: usize| {
            let keys = keys.iter().map(|(nth, key)| (nth + behind, Key { is_there: key.is_there && is_there, ..*key }));
            keys.collect::<BTreeMap<_, _>>()
        };
        let keys = match self.join_type {
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                let mut keys = padded(&left.keys, left_is_there, 0);
                keys.extend(padded(&right.keys, right_is_there, self.left.schema().fields().len()));
                keys
            }
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left.keys,
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right.keys,
        };
        let keys = self.projection.map_or_else(|| keys.clone(), |projection| select(&keys, projection));
        Ok(Some(Local { keys, scan: files, gathers: true }))
    }
}

/// A local part, done by file.
fn by_file(part: &Arc<dyn ExecutionPlan>, scan: &FilesScan, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
    let mut columns = Fields::empty();
    part.apply(|node| {
        if let Some(flatten) = node.downcast_ref::<FlattenExec>() {
            let table = flatten.table();
            let needed = table.narrowed(flatten.needed().filter_map(|column| table.columns.get(column)));
            columns = merge(facts_schema().fields(), &columns, &needed);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let input = scan.plan(&columns, None, Some(FILES.min(config.execution.batch_size.get())), config.execution.target_partitions)?;
    let at_hand: Arc<dyn ExecutionPlan> = Arc::new(AtHandExec::new(input.schema()));
    let work = Arc::clone(part).transform_up(|node| {
        if let Some(flatten) = node.downcast_ref::<FlattenExec>() {
            return Ok(Transformed::yes(Arc::new(flatten.on(Arc::clone(&at_hand))?) as _));
        }
        // Rows of some files are too few to be sorted for a join.
        let Some(join) = node.downcast_ref::<SortMergeJoinExec>() else { return Ok(Transformed::no(node)) };
        let (left, right, on, filter) = (Arc::clone(join.left()), Arc::clone(join.right()), join.on().to_vec(), join.filter().clone());
        let mode = PartitionMode::CollectLeft;
        let join = HashJoinExec::try_new(left, right, on, filter, &join.join_type(), None, mode, join.null_equality(), false)?;
        Ok(Transformed::yes(Arc::new(join) as _))
    })?;
    let rows = StatisticsContext::new().compute(part.as_ref(), &StatisticsArgs::new()).map_or(Precision::Absent, |found| found.num_rows);
    Ok(Arc::new(ByFileExec::new(in_one_partition(work.data, config)?, input, rows)))
}

/// The work as DataFusion does it in one partition.
fn in_one_partition(mut work: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
    let mut config = config.clone();
    config.execution.target_partitions = 1;
    // What one side of a join has found out for some files is wrong for the next ones.
    config.optimizer.enable_dynamic_filter_pushdown = false;
    config.optimizer.enable_join_dynamic_filter_pushdown = false;
    config.optimizer.enable_topk_dynamic_filter_pushdown = false;
    config.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    for rule in PhysicalOptimizer::new().rules {
        // The stream that the work is for yields by itself.
        if rule.name() != "EnsureCooperative" {
            work = rule.optimize(work, &config)?;
        }
    }
    Ok(work)
}

/// The fields of both, in the order of a record that has them all; each of both has a part of them.
fn merge(all: &Fields, one: &Fields, two: &Fields) -> Fields {
    let merged = all.iter().filter_map(|field| {
        let of = |fields: &Fields| fields.find(field.name()).map(|(_, found)| Arc::clone(found));
        match (of(one), of(two)) {
            (Some(one), Some(two)) => Some(merge_field(field, &one, &two)),
            (one, two) => one.or(two),
        }
    });
    merged.collect()
}

fn merge_field(all: &FieldRef, one: &FieldRef, two: &FieldRef) -> FieldRef {
    if one == two {
        return Arc::clone(one);
    }
    let data_type = match (all.data_type(), one.data_type(), two.data_type()) {
        (DataType::Struct(all), DataType::Struct(one), DataType::Struct(two)) => DataType::Struct(merge(all, one, two)),
        (DataType::List(all), DataType::List(one), DataType::List(two)) => DataType::List(merge_field(all, one, two)),
        _ => all.data_type().clone(),
    };
    Arc::new(Field::clone(one).with_data_type(data_type))
}
