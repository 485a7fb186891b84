//! The rows of a flat table in a batch of files. Pure: arrays in, arrays out.
//!
//! What an element has itself is passed on as it was read, and only what it has from around it is repeated, for the elements that pass.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, RecordBatch, RecordBatchOptions, StructArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{nullif, take};
use arrow::datatypes::{DataType, SchemaRef};
use bytefacts_facts::flat::{FlatColumn, FlatTable};
use datafusion::common::{Result, internal_datafusion_err, internal_err};

use crate::condition::Condition;

/// How many bytes of repeated text a batch may have: a text that is long where it stands once must not fill the memory where it stands in
/// thousands of rows.
const REPEATED_BYTES: usize = 16 << 20;

/// The elements of a batch of files that pass the conditions.
pub(crate) struct Flattened {
    schema: SchemaRef,
    /// How many there are.
    rows: usize,
    /// How many rows go into a batch.
    step: usize,
    /// Which elements they are, unless they are all.
    kept: Option<UInt32Array>,
    columns: Vec<Values>,
}

/// The values of a column: one for each element, or those of something around the elements and which of them each element has.
struct Values {
    values: ArrayRef,
    of_row: Option<UInt32Array>,
}

impl Values {
    /// Those of so many elements from a position on, of all or of those that are kept.
    fn piece(&self, kept: Option<&UInt32Array>, start: usize, rows: usize) -> Result<ArrayRef> {
        Ok(match (&self.of_row, kept) {
            (None, None) => self.values.slice(start, rows),
            (None, Some(kept)) => take(&self.values, &kept.slice(start, rows), None)?,
            (Some(of_row), None) => take(&self.values, &of_row.slice(start, rows), None)?,
            (Some(of_row), Some(kept)) => take(&self.values, &take(of_row, &kept.slice(start, rows), None)?, None)?,
        })
    }
}

/// How many elements, of so many, go into a batch of these columns.
fn step(columns: &[Values], most: usize) -> usize {
    let repeated = columns.iter().filter(|column| column.of_row.is_some()).map(|column| longest(column.values.as_ref())).sum::<usize>();
    most.min(REPEATED_BYTES / repeated.max(1)).max(1)
}

/// The records of a batch of files, level by level.
struct Levels<'a> {
    table: &'a FlatTable,
    records: Vec<StructArray>,
    /// Which record of each level an element lies in; of the last level it is the element itself.
    of_row: Vec<UInt32Array>,
}

impl<'a> Levels<'a> {
    fn new(table: &'a FlatTable, batch: &RecordBatch) -> Result<Self> {
        let mut records = vec![StructArray::from(batch.clone())];
        let mut of_row: Vec<UInt32Array> = Vec::new();
        for list in &table.path {
            let around = records.last().ok_or_else(|| internal_datafusion_err!("a flat table has no file around it"))?;
            let (elements, parent) = elements(field(around, list)?.as_ref())?;
            records.push(elements);
            of_row.push(parent);
        }
        // From the innermost level around the elements outwards.
        for level in (0..of_row.len().saturating_sub(1)).rev() {
            if let [outer, inner, ..] = &mut of_row[level..] {
                *outer = take(outer, inner, None)?.as_primitive().clone();
            }
        }
        Ok(Self { table, records, of_row })
    }

    fn elements(&self) -> usize {
        self.records.last().map_or(0, Array::len)
    }

    fn column(&self, column: usize) -> Result<(&FlatColumn, &StructArray)> {
        let of_table = self.table;
        let found = of_table.columns.get(column).ok_or_else(|| internal_datafusion_err!("{} has no column {column}", of_table.name))?;
        let record = self.records.get(found.level);
        Ok((found, record.ok_or_else(|| internal_datafusion_err!("{} has no level {}", of_table.name, found.level))?))
    }

    fn values(&self, column: usize) -> Result<Values> {
        let (column, record) = self.column(column)?;
        Ok(Values { values: value(record, column)?, of_row: self.of_row.get(column.level).cloned() })
    }

    /// The elements that pass all conditions; none if they are all.
    fn select(&self, conditions: &[Condition]) -> Result<Option<UInt32Array>> {
        let mut kept: Option<UInt32Array> = None;
        for condition in conditions {
            if let Some(of_row) = condition.level().and_then(|level| self.of_row.get(level)) {
                self.keep_by_record(condition, of_row, &mut kept)?;
            }
        }
        for condition in conditions.iter().filter(|condition| condition.level().is_none_or(|level| level >= self.of_row.len())) {
            let rows = kept.as_ref().map_or_else(|| self.elements(), Array::len);
            if rows == 0 {
                break;
            }
            let values = condition.columns().iter().map(|column| self.values(*column)).collect::<Result<Vec<_>>>()?;
            let (step, mut passing) = (step(&values, rows), Vec::new());
            for start in (0..rows).step_by(step) {
                let step = step.min(rows - start);
                let pieces = values.iter().map(|values| values.piece(kept.as_ref(), start, step)).collect::<Result<_>>()?;
                let passes = condition.passes(pieces, step)?;
                passing.extend(passes.values().set_indices().map(|position| (start + position) as u32));
            }
            if passing.len() < rows {
                let passing = UInt32Array::from(passing);
                kept = Some(match &kept {
                    None => passing,
                    Some(kept) => take(kept, &passing, None)?.as_primitive().clone(),
                });
            }
        }
        Ok(kept)
    }

    /// Keeps the elements in records that pass. Records without elements left are not asked: what cannot be told of them is no error.
    fn keep_by_record(&self, condition: &Condition, of_row: &UInt32Array, kept: &mut Option<UInt32Array>) -> Result<()> {
        let record_of = |element: u32| of_row.values()[element as usize];
        let mut asked: Vec<u32> = match &kept {
            None => of_row.values().to_vec(),
            Some(kept) => kept.values().iter().map(|element| record_of(*element)).collect(),
        };
        asked.dedup();
        let asked = UInt32Array::from(asked);
        let values = condition.columns().iter().map(|column| {
            let (column, record) = self.column(*column)?;
            Ok(take(&value(record, column)?, &asked, None)?)
        });
        let passes = condition.passes(values.collect::<Result<_>>()?, asked.len())?;
        if passes.true_count() == asked.len() {
            return Ok(());
        }
        let mut passing = vec![false; condition.level().and_then(|level| self.records.get(level)).map_or(0, Array::len)];
        for position in passes.values().set_indices() {
            passing[asked.values()[position] as usize] = true;
        }
        let passes = |element: &u32| passing[record_of(*element) as usize];
        *kept = Some(match kept.take() {
            None => (0..self.elements() as u32).filter(passes).collect::<Vec<_>>().into(),
            Some(kept) => kept.values().iter().copied().filter(passes).collect::<Vec<_>>().into(),
        });
        Ok(())
    }
}

impl Flattened {
    /// The rows of a flat table in a batch of files, of which at most so many go into a batch again.
    pub(crate) fn new(
        table: &FlatTable,
        columns: &[usize],
        conditions: &[Condition],
        schema: SchemaRef,
        batch: &RecordBatch,
        most: usize,
    ) -> Result<Self> {
        let levels = Levels::new(table, batch)?;
        let kept = levels.select(conditions)?;
        let rows = kept.as_ref().map_or_else(|| levels.elements(), Array::len);
        let columns = columns.iter().map(|column| levels.values(*column)).collect::<Result<Vec<_>>>()?;
        Ok(Self { schema, rows, step: step(&columns, most), kept, columns })
    }

    /// Where batches begin.
    pub(crate) fn starts(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.rows).step_by(self.step)
    }

    /// The batch that begins at a row.
    pub(crate) fn piece(&self, start: usize) -> Result<RecordBatch> {
        let rows = self.step.min(self.rows - start);
        let columns = self.columns.iter().map(|column| column.piece(self.kept.as_ref(), start, rows));
        let columns = columns.collect::<Result<_>>()?;
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
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::PhysicalExpr;
    use datafusion::physical_expr::expressions::{BinaryExpr, Column, IsNotNullExpr, lit};

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
        filtered(table, columns, &[], batch, most)
    }

    /// The same of rows whose columns are equal to these, if a text is given, or not null.
    fn filtered(table: &str, columns: &[&str], conditions: &[(&str, Option<&str>)], batch: &RecordBatch, most: usize) -> Vec<Vec<String>> {
        let table = flat::by_name(table).unwrap();
        let condition = |(name, value): &(&str, Option<&str>)| {
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new_with_schema(name, &table.schema()).unwrap());
            Condition::new(
                table,
                match value {
                    Some(value) => Arc::new(BinaryExpr::new(column, Operator::Eq, lit(*value))),
                    None => Arc::new(IsNotNullExpr::new(column)),
                },
            )
        };
        let conditions = conditions.iter().map(condition).collect::<Result<Vec<_>>>().unwrap();
        let columns: Vec<_> = columns.iter().map(|name| table.columns.iter().position(|column| column.name == *name).unwrap()).collect();
        let schema = Arc::new(table.schema().project(&columns).unwrap());
        let flattened = Flattened::new(table, &columns, &conditions, schema, batch, most).unwrap();
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
    fn conditions_are_tested_where_their_columns_are() {
        let rows = |columns, conditions: &[_]| filtered("errors", columns, conditions, &errors(), 8).concat();
        assert_eq!(rows(&["error_type"], &[("path", Some("d"))]), ["4", "5"], "once a file");
        assert_eq!(rows(&["path"], &[("error_type", Some("2"))]), ["a"], "once an element");
        assert_eq!(rows(&["error_type", "path"], &[("error_type", Some("5")), ("path", Some("d"))]), ["5 d"]);
        assert!(rows(&["path"], &[("error_type", Some("5")), ("path", Some("a"))]).is_empty());
        assert!(rows(&["path"], &[("error_type", Some("hidden"))]).is_empty());
        assert_eq!(rows(&[], &[("path", Some("a"))]), ["", ""]);
        assert_eq!(filtered("errors", &["path"], &[("error_type", None)], &errors(), 3), [vec!["a", "a", "d"], vec!["d"]]);
    }

    #[test]
    fn records_without_elements_are_not_asked() {
        // A number that does not fit would be an error of the condition.
        let table = flat::by_name("errors").unwrap();
        let path: Arc<dyn PhysicalExpr> = Arc::new(Column::new_with_schema("path", &table.schema()).unwrap());
        let number = datafusion::physical_expr::expressions::cast(path, &table.schema(), DataType::Int32).unwrap();
        let condition = Condition::new(table, Arc::new(BinaryExpr::new(number, Operator::Gt, lit(1)))).unwrap();
        let errors = list(record("error_type", texts(&["1", "2"])), &[1, 0, 1], None);
        let files = batch(vec![("path", texts(&["1", "no number", "2"])), ("errors", errors)]);
        let column = table.columns.iter().position(|column| column.name == "error_type").unwrap();
        let schema = Arc::new(table.schema().project(&[column]).unwrap());
        let flattened = Flattened::new(table, &[column], &[condition], schema, &files, 8).unwrap();
        assert_eq!(flattened.piece(0).unwrap().column(0).as_string::<i32>().value(0), "2");
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
