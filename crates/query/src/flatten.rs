//! `FlattenExec`: rows of the nested table in, rows of a flat table out.
//!
//! What an element has itself is passed on as it was read, and only what it has from around it is repeated. It holds no state but what it is
//! asked for, and its child is an ordinary scan of Parquet files, so that it runs wherever its plan is sent.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, RecordBatch, RecordBatchOptions, StructArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{nullif, take};
use arrow::datatypes::{DataType, SchemaRef};
use bytefacts_facts::flat::{FlatColumn, FlatTable};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput as _};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::operator::{RECOMPUTE, single_child_properties};

/// Streams the rows of a flat table from rows of the root table that have at least what its columns are made of.
#[derive(Debug)]
pub struct FlattenExec {
    table: &'static FlatTable,
    columns: Vec<usize>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl FlattenExec {
    /// An operator over a scan of the root table; `columns` are those of the flat table that come out, in this order.
    ///
    /// # Errors
    /// When the table does not have so many columns.
    pub fn try_new(table: &'static FlatTable, columns: Vec<usize>, input: Arc<dyn ExecutionPlan>) -> Result<Self> {
        let schema = Arc::new(table.schema().project(&columns)?);
        let properties = single_child_properties(EquivalenceProperties::new(schema), &input);
        Ok(Self { table, columns, input, properties, metrics: ExecutionPlanMetricsSet::new() })
    }

    /// The flat table.
    #[must_use]
    pub fn table(&self) -> &'static FlatTable {
        self.table
    }

    /// The columns of it that come out.
    #[must_use]
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }
}

impl DisplayAs for FlattenExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let names: Vec<_> = self.columns.iter().filter_map(|i| self.table.columns.get(*i)).map(|column| column.name.as_str()).collect();
        write!(f, "FlattenExec: list={}, columns=[{}]", self.table.path.join("."), names.join(", "))
    }
}

impl ExecutionPlan for FlattenExec {
    fn name(&self) -> &'static str {
        "FlattenExec"
    }
    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }
    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = children.as_slice() else { return internal_err!("FlattenExec takes one child, got {}", children.len()) };
        Ok(Arc::new(Self::try_new(self.table, self.columns.clone(), Arc::clone(input))?))
    }
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, RECOMPUTE)
    }
    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let (table, columns, schema) = (self.table, self.columns.clone(), self.schema());
        let most = context.session_config().batch_size().max(1);
        let input = self.input.execute(partition, context)?;
        let rows = input.map(move |batch| -> Result<_> {
            let timer = metrics.elapsed_compute().timer();
            let flattened = Flattened::new(table, &columns, Arc::clone(&schema), &batch?, most)?;
            timer.done();
            let metrics = metrics.clone();
            Ok(futures::stream::iter(flattened.starts()).map(move |start| {
                let _timer = metrics.elapsed_compute().timer();
                flattened.piece(start).record_output(&metrics)
            }))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows.try_flatten())))
    }
}

/// How many bytes of repeated text a batch may have: a text that is long where it stands once must not fill the memory where it stands in
/// thousands of rows.
const REPEATED_BYTES: usize = 16 << 20;

/// The elements of a batch of files.
struct Flattened {
    schema: SchemaRef,
    rows: usize,
    /// How many rows go into a batch.
    step: usize,
    columns: Vec<Values>,
}

/// The values of a column: one for each row, or those of something around the rows and which of them each row has.
struct Values {
    values: ArrayRef,
    of_row: Option<UInt32Array>,
}

impl Flattened {
    /// The rows of a flat table in a batch of files, of which at most so many go into a batch again.
    fn new(table: &FlatTable, columns: &[usize], schema: SchemaRef, batch: &RecordBatch, most: usize) -> Result<Self> {
        let mut records = vec![StructArray::from(batch.clone())];
        let mut parents = Vec::new();
        for list in &table.path {
            let around = records.last().ok_or_else(|| internal_datafusion_err!("a flat table has no file around it"))?;
            let (elements, parent) = elements(field(around, list)?.as_ref())?;
            records.push(elements);
            parents.push(parent);
        }
        let rows = records.last().map_or(0, Array::len);

        // Which record of each level a row lies in, from the innermost level around the rows outwards.
        let mut of_row = parents.clone();
        for level in (0..of_row.len().saturating_sub(1)).rev() {
            if let [outer, inner, ..] = &mut of_row[level..] {
                *outer = take(outer, inner, None)?.as_primitive().clone();
            }
        }
        let values = columns.iter().map(|i| {
            let column = table.columns.get(*i).ok_or_else(|| internal_datafusion_err!("{} has no column {i}", table.name))?;
            let record =
                records.get(column.level).ok_or_else(|| internal_datafusion_err!("{} has no level {}", table.name, column.level))?;
            Ok(Values { values: value(record, column)?, of_row: of_row.get(column.level).cloned() })
        });
        let columns = values.collect::<Result<Vec<_>>>()?;
        let repeated = columns.iter().filter(|column| column.of_row.is_some()).map(|column| longest(column.values.as_ref())).sum::<usize>();
        Ok(Self { schema, rows, step: most.min(REPEATED_BYTES / repeated.max(1)).max(1), columns })
    }

    /// Where batches begin.
    fn starts(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.rows).step_by(self.step)
    }

    /// The batch that begins at a row.
    fn piece(&self, start: usize) -> Result<RecordBatch> {
        let rows = self.step.min(self.rows - start);
        let columns = self.columns.iter().map(|Values { values, of_row }| match of_row {
            Some(of_row) => take(values, &of_row.slice(start, rows), None),
            None => Ok(values.slice(start, rows)),
        });
        let columns = columns.collect::<Result<_, _>>()?;
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &RecordBatchOptions::new().with_row_count(Some(rows)))?)
    }
}

/// Bytes of the longest text; other values are short.
fn longest(values: &dyn Array) -> usize {
    values.as_string_opt::<i32>().and_then(|texts| texts.offsets().lengths().max()).unwrap_or(0)
}

/// The elements of the lists, or the entries of the maps, one after the other, and in which list each of them lies.
fn elements(lists: &dyn Array) -> Result<(StructArray, UInt32Array)> {
    let (offsets, values) = match lists.data_type() {
        DataType::List(_) => (lists.as_list::<i32>().offsets(), lists.as_list::<i32>().values().as_struct_opt()),
        DataType::Map(..) => (lists.as_map().offsets(), Some(lists.as_map().entries())),
        other => return internal_err!("a flat table is made of lists, not of {other}"),
    };
    let Some(values) = values else { return internal_err!("the elements of a flat table are structs, not {}", lists.data_type()) };
    let bounds = || {
        (0u32..)
            .zip(offsets.windows(2))
            .filter_map(|(list, bounds)| Some((list, usize::try_from(bounds[0]).ok()?, usize::try_from(bounds[1]).ok()?)))
    };

    let first = bounds().next().map_or(0, |(_, start, _)| start);
    let mut parents = Vec::with_capacity(bounds().last().map_or(0, |(_, _, end)| end - first));
    let mut hidden = false;
    for (list, start, end) in bounds() {
        let there = lists.is_valid(list as usize);
        hidden |= !there && start < end;
        if there {
            parents.extend(std::iter::repeat_n(list, end - start));
        }
    }
    if !hidden {
        return Ok((values.slice(first, parents.len()), parents.into()));
    }
    // Arrow allows a null list to have elements behind it, which are none.
    let shown = bounds().filter(|(list, ..)| lists.is_valid(*list as usize)).flat_map(|(_, start, end)| start as u32..end as u32);
    let values = take(values, &UInt32Array::from_iter_values(shown), None)?;
    Ok((values.as_struct().clone(), parents.into()))
}

/// The values of a column in the record that has it.
fn value(record: &StructArray, column: &FlatColumn) -> Result<ArrayRef> {
    let mut fields = column.fields.iter();
    let first = fields.next().ok_or_else(|| internal_datafusion_err!("column {} has no field", column.name))?;
    let mut values = Arc::clone(field(record, first)?);
    for name in fields {
        let Some(parts) = values.as_struct_opt() else { return internal_err!("{name} of column {} lies in no struct", column.name) };
        let part = field(parts, name)?;
        // What lies in a struct that is null is null.
        values = match parts.nulls() {
            Some(nulls) => nullif(part, &nulls_as_booleans(nulls))?,
            None => Arc::clone(part),
        };
    }
    Ok(values)
}

fn nulls_as_booleans(nulls: &NullBuffer) -> BooleanArray {
    BooleanArray::new(!nulls.inner(), None)
}

fn field<'a>(record: &'a StructArray, name: &str) -> Result<&'a ArrayRef> {
    record.column_by_name(name).ok_or_else(|| internal_datafusion_err!("the scan below a flat table lacks {name}"))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ListArray, StringArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{Field, Schema};
    use bytefacts_facts::flat;

    use super::*;

    fn list(elements: StructArray, lengths: &[usize], nulls: Option<Vec<bool>>) -> ArrayRef {
        let element = Arc::new(Field::new("element", elements.data_type().clone(), false));
        let lengths = OffsetBuffer::from_lengths(lengths.iter().copied());
        Arc::new(ListArray::new(element, lengths, Arc::new(elements), nulls.map(NullBuffer::from)))
    }

    fn record(name: &str, values: ArrayRef) -> StructArray {
        StructArray::from(vec![(Arc::new(Field::new(name, values.data_type().clone(), true)), values)])
    }

    fn texts(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        let schema =
            Schema::new(columns.iter().map(|(name, values)| Field::new(*name, values.data_type().clone(), true)).collect::<Vec<_>>());
        RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, values)| values).collect()).unwrap()
    }

    /// The rows of some columns, in pieces of `most`, as text.
    fn flattened(table: &str, columns: &[&str], batch: &RecordBatch, most: usize) -> Vec<Vec<String>> {
        let table = flat::by_name(table).unwrap();
        let columns: Vec<_> = columns.iter().map(|name| table.columns.iter().position(|column| column.name == *name).unwrap()).collect();
        let schema = Arc::new(table.schema().project(&columns).unwrap());
        let flattened = Flattened::new(table, &columns, schema, batch, most).unwrap();
        let text = |column: &ArrayRef, row| match column.is_null(row) {
            true => "null".to_owned(),
            false => arrow::util::display::array_value_to_string(column, row).unwrap(),
        };
        let pieces = flattened.starts().map(|start| flattened.piece(start).unwrap());
        let rows = |piece: RecordBatch| {
            (0..piece.num_rows()).map(|row| piece.columns().iter().map(|column| text(column, row)).collect::<Vec<_>>().join(" ")).collect()
        };
        pieces.map(rows).collect()
    }

    /// Four files, of which the second has no list but something behind it, and the third an empty one.
    fn errors() -> RecordBatch {
        let errors = list(record("error_type", texts(&["1", "2", "hidden", "4", "5"])), &[2, 1, 0, 2], Some(vec![true, false, true, true]));
        batch(vec![("path", texts(&["a", "b", "c", "d"])), ("errors", errors)])
    }

    #[test]
    fn elements_are_rows_and_what_is_around_them_is_repeated() {
        assert_eq!(flattened("errors", &["error_type", "path"], &errors(), 8), [["1 a", "2 a", "4 d", "5 d"]]);
        assert_eq!(flattened("errors", &["path", "error_type"], &errors().slice(2, 2), 8), [["d 4", "d 5"]]);
        assert!(flattened("errors", &["path"], &errors().slice(1, 2), 8).is_empty());
    }

    #[test]
    fn rows_come_in_pieces_and_may_have_no_column() {
        assert_eq!(flattened("errors", &["path"], &errors(), 3), [vec!["a", "a", "d"], vec!["d"]]);
        assert_eq!(flattened("errors", &[], &errors(), 3), [vec!["", "", ""], vec![""]]);
    }

    #[test]
    fn long_texts_are_repeated_in_small_batches() {
        let long = "x".repeat(REPEATED_BYTES / 2);
        let errors = list(record("error_type", texts(&["1", "2", "3"])), &[3], None);
        let files = batch(vec![("path", texts(&[&long])), ("errors", errors)]);
        let rows = |columns| flattened("errors", columns, &files, 8).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(rows(&["path", "error_type"]), [2, 1]);
        assert_eq!(rows(&["error_type"]), [3]);
    }

    #[test]
    fn lists_in_lists_keep_the_place_of_each_row() {
        let names = record("name", texts(&["u", "v", "w"]));
        let blocks = list(record("kind", texts(&["entry", "normal", "entry"])), &[2, 0, 1], None);
        let blocks = (Arc::new(Field::new("blocks", blocks.data_type().clone(), true)), blocks);
        let units = StructArray::from(vec![(Arc::clone(&names.fields()[0]), Arc::clone(names.column(0))), blocks]);
        let files = batch(vec![("path", texts(&["a", "b"])), ("code_objects", list(units, &[1, 2], None))]);
        let rows = flattened("code_objects_blocks", &["path", "name", "kind"], &files, 8);
        assert_eq!(rows, [["a u entry", "a u normal", "b w entry"]]);
    }

    #[test]
    fn what_lies_in_a_null_struct_is_null() {
        let flags: ArrayRef = Arc::new(BooleanArray::from(vec![true, true]));
        let fields = record("is_nested", flags);
        let flags = StructArray::new(fields.fields().clone(), fields.columns().to_vec(), Some(NullBuffer::from(vec![false, true])));
        let units = list(record("flags_detail", Arc::new(flags)), &[2], None);
        let rows = flattened("code_objects", &["flags_detail_is_nested"], &batch(vec![("code_objects", units)]), 8);
        assert_eq!(rows, [["null", "true"]]);
    }
}
