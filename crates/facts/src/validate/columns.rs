//! The columns that the checks read, as Rust types. Whatever is out of range is as good as null.

use std::ops::Range;

use arrow::{
    array::{Array, AsArray, BooleanArray, Int32Array, Int64Array, PrimitiveArray, StringArray},
    buffer::NullBuffer,
    datatypes::{Int32Type, Int64Type},
};

use thiserror::Error;

/// A column that the checks read is not there or of another type. [`differences`] tells of it beforehand.
#[derive(Debug, Error)]
#[error("column {name} is missing or of another type")]
pub struct Unreadable {
    /// The column.
    pub name: &'static str,
}

/// A type that a column can be read as.
pub(super) trait Read<'a>: Sized {
    /// The column of that name.
    fn read(array: &'a dyn Array, name: &'static str) -> Result<Self, Unreadable>;
}

/// An Int32 column.
#[derive(Clone, Copy)]
pub(super) struct Ints<'a>(&'a Int32Array);

/// An Int64 column.
#[derive(Clone, Copy)]
pub(super) struct Longs<'a>(&'a Int64Array);

/// A text column.
#[derive(Clone, Copy)]
pub(super) struct Texts<'a>(&'a StringArray);

/// A Boolean column.
#[derive(Clone, Copy)]
pub(super) struct Bools<'a>(&'a BooleanArray);

/// A column of lists.
#[derive(Clone, Copy)]
pub(super) struct Lists<'a, T> {
    offsets: &'a [i32],
    nulls: Option<&'a NullBuffer>,
    pub(super) items: T,
}

/// A column of structs that may be null.
#[derive(Clone, Copy)]
pub(super) struct Structs<'a, T> {
    nulls: Option<&'a NullBuffer>,
    fields: T,
}

/// A column of maps.
#[derive(Clone, Copy)]
pub(super) struct Maps<'a> {
    offsets: &'a [i32],
    keys: Texts<'a>,
    values: Texts<'a>,
}

fn value<T: arrow::array::ArrowPrimitiveType>(array: &PrimitiveArray<T>, at: usize) -> Option<T::Native> {
    (at < array.len() && array.is_valid(at)).then(|| array.value(at))
}

impl Ints<'_> {
    pub(super) fn get(self, at: usize) -> Option<i32> {
        value(self.0, at)
    }
}

impl Longs<'_> {
    pub(super) fn get(self, at: usize) -> Option<i64> {
        value(self.0, at)
    }
}

impl<'a> Texts<'a> {
    pub(super) fn get(self, at: usize) -> Option<&'a str> {
        (at < self.0.len() && self.0.is_valid(at)).then(|| self.0.value(at))
    }
}

impl Bools<'_> {
    pub(super) fn get(self, at: usize) -> Option<bool> {
        (at < self.0.len() && self.0.is_valid(at)).then(|| self.0.value(at))
    }

    pub(super) fn is_true(self, at: usize) -> bool {
        self.get(at) == Some(true)
    }
}

fn range(offsets: &[i32], at: usize) -> Range<usize> {
    let offset = |at: usize| offsets.get(at).and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
    offset(at)..offset(at + 1).max(offset(at))
}

impl<T> Lists<'_, T> {
    /// The positions of a list's items; none for a null list.
    pub(super) fn range(&self, at: usize) -> Range<usize> {
        if self.nulls.is_some_and(|nulls| at < nulls.len() && nulls.is_null(at)) { 0..0 } else { range(self.offsets, at) }
    }
}

impl<T> Structs<'_, T> {
    /// The fields, unless the struct is null.
    pub(super) fn get(&self, at: usize) -> Option<&T> {
        self.nulls.is_none_or(|nulls| at < nulls.len() && nulls.is_valid(at)).then_some(&self.fields)
    }
}

impl<'a> Maps<'a> {
    /// The value of a key.
    pub(super) fn get(&self, at: usize, key: &str) -> Option<&'a str> {
        let entry = range(self.offsets, at).find(|entry| self.keys.get(*entry) == Some(key))?;
        self.values.get(entry)
    }

    /// All entries in order.
    pub(super) fn entries(&self, at: usize) -> Vec<(String, String)> {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        range(self.offsets, at).map(|entry| (text(self.keys.get(entry)), text(self.values.get(entry)))).collect()
    }
}

impl<'a> Read<'a> for Ints<'a> {
    fn read(array: &'a dyn Array, name: &'static str) -> Result<Self, Unreadable> {
        array.as_primitive_opt::<Int32Type>().map(Self).ok_or(Unreadable { name })
    }
}

impl<'a> Read<'a> for Longs<'a> {
    fn read(array: &'a dyn Array, name: &'static str) -> Result<Self, Unreadable> {
        array.as_primitive_opt::<Int64Type>().map(Self).ok_or(Unreadable { name })
    }
}

impl<'a> Read<'a> for Texts<'a> {
    fn read(array: &'a dyn Array, name: &'static str) -> Result<Self, Unreadable> {
        array.as_string_opt::<i32>().map(Self).ok_or(Unreadable { name })
    }
}

impl<'a> Read<'a> for Bools<'a> {
    fn read(array: &'a dyn Array, name: &'static str) -> Result<Self, Unreadable> {
        array.as_boolean_opt().map(Self).ok_or(Unreadable { name })
    }
}

impl<'a, T: Read<'a>> Read<'a> for Lists<'a, T> {
    fn read(array: &'a dyn Array, name: &'static str) -> Result<Self, Unreadable> {
        let list = array.as_list_opt::<i32>().ok_or(Unreadable { name })?;
        Ok(Self { offsets: list.value_offsets(), nulls: list.nulls(), items: T::read(list.values().as_ref(), name)? })
    }
}

impl<'a, T: Read<'a>> Read<'a> for Structs<'a, T> {
    fn read(array: &'a dyn Array, name: &'static str) -> Result<Self, Unreadable> {
        Ok(Self { nulls: array.nulls(), fields: T::read(array, name)? })
    }
}

impl<'a> Read<'a> for Maps<'a> {
    fn read(array: &'a dyn Array, name: &'static str) -> Result<Self, Unreadable> {
        let map = array.as_map_opt().ok_or(Unreadable { name })?;
        Ok(Self {
            offsets: map.value_offsets(),
            keys: Texts::read(map.keys().as_ref(), name)?,
            values: Texts::read(map.values().as_ref(), name)?,
        })
    }
}

macro_rules! fields {
    ($($name:ident { $($field:ident: $type:ty),+ $(,)? })+) => {$(
        #[derive(Clone, Copy)]
        pub(super) struct $name<'a> {
            $(pub(super) $field: $type,)+
        }

        impl<'a> Read<'a> for $name<'a> {
            fn read(array: &'a dyn Array, name: &'static str) -> Result<Self, Unreadable> {
                let fields = array.as_struct_opt().ok_or(Unreadable { name })?;
                Ok(Self {
                    $($field: {
                        let name = stringify!($field);
                        Read::read(fields.column_by_name(name).ok_or(Unreadable { name })?.as_ref(), name)?
                    },)+
                })
            }
        }
    )+};
}

fields! {
    Rows {
        repo: Texts<'a>,
        path: Texts<'a>,
        file_id: Texts<'a>,
        file_sha256: Texts<'a>,
        code_objects: Lists<'a, Units<'a>>,
        errors: Lists<'a, Errors<'a>>,
        attrs: Maps<'a>,
        facts_digest: Texts<'a>,
        source_bytes: Longs<'a>,
        source_lines: Ints<'a>,
    }
    Errors {
        error_type: Texts<'a>,
        stage: Texts<'a>,
        line1: Ints<'a>,
        col: Ints<'a>,
        end_line1: Ints<'a>,
        end_col: Ints<'a>,
        code_unit_id: Texts<'a>,
        severity: Texts<'a>,
    }
    Units {
        code_id: Texts<'a>,
        qualname: Texts<'a>,
        name: Texts<'a>,
        firstlineno1: Ints<'a>,
        nlocals: Ints<'a>,
        flags: Ints<'a>,
        stacksize: Ints<'a>,
        code_len: Ints<'a>,
        flags_detail: Flags<'a>,
        varnames: Lists<'a, Texts<'a>>,
        consts: Lists<'a, Consts<'a>>,
        line_table: Lists<'a, Lines<'a>>,
        instructions: Lists<'a, Instrs<'a>>,
        exception_table: Lists<'a, Exceptions<'a>>,
        blocks: Lists<'a, Blocks<'a>>,
        cfg_edges: Lists<'a, Edges<'a>>,
        dfg_edges: Lists<'a, DataEdges<'a>>,
        code_unit_id: Texts<'a>,
        parent_code_unit_id: Texts<'a>,
        code_path: Lists<'a, Ints<'a>>,
        facts_digest: Texts<'a>,
        max_stack_depth: Ints<'a>,
        def_use_events: Lists<'a, Events<'a>>,
    }
    Flags {
        is_optimized: Bools<'a>,
        is_newlocals: Bools<'a>,
        has_varargs: Bools<'a>,
        has_varkeywords: Bools<'a>,
        is_nested: Bools<'a>,
        is_generator: Bools<'a>,
        is_nofree: Bools<'a>,
        is_coroutine: Bools<'a>,
        is_iterable_coroutine: Bools<'a>,
        is_async_generator: Bools<'a>,
    }
    Consts { const_index: Ints<'a>, const_type: Texts<'a>, child_code_unit_id: Texts<'a> }
    Lines { offset: Ints<'a>, line1: Ints<'a>, line0: Ints<'a> }
    Exceptions {
        exc_index: Ints<'a>,
        start_offset: Ints<'a>,
        end_offset: Ints<'a>,
        target_offset: Ints<'a>,
        depth: Ints<'a>,
        lasti: Bools<'a>,
    }
    Instrs {
        instr_index: Ints<'a>,
        offset: Ints<'a>,
        start_offset: Ints<'a>,
        end_offset: Ints<'a>,
        opname: Texts<'a>,
        argval_kind: Texts<'a>,
        argval_int: Longs<'a>,
        line_number: Ints<'a>,
        starts_line: Ints<'a>,
        label: Ints<'a>,
        is_jump_target: Bools<'a>,
        jump_target: Ints<'a>,
        cache_info: Lists<'a, Caches<'a>>,
        span: Structs<'a, Span<'a>>,
        stack_depth_before: Ints<'a>,
        stack_depth_after: Ints<'a>,
        pops: Ints<'a>,
        pushes: Ints<'a>,
        operands: Ints<'a>,
        block_index: Ints<'a>,
        block_start_offset: Ints<'a>,
        block_end_offset: Ints<'a>,
    }
    Caches { name: Texts<'a>, size: Ints<'a>, data_hex: Texts<'a> }
    Span { start: Point<'a>, end: Point<'a>, byte_span: Structs<'a, ByteSpan<'a>> }
    Point { line0: Ints<'a>, col: Ints<'a> }
    ByteSpan { byte_start: Ints<'a>, byte_len: Ints<'a> }
    Blocks {
        start_offset: Ints<'a>,
        end_offset: Ints<'a>,
        kind: Texts<'a>,
        block_index: Ints<'a>,
        first_instr_index: Ints<'a>,
        last_instr_index: Ints<'a>,
        is_exit: Bools<'a>,
        is_reachable: Bools<'a>,
        loop_depth: Ints<'a>,
        immediate_dominator: Ints<'a>,
    }
    Edges {
        src_block_start: Ints<'a>,
        src_block_end: Ints<'a>,
        dst_block_start: Ints<'a>,
        dst_block_end: Ints<'a>,
        kind: Texts<'a>,
        edge_key: Texts<'a>,
        cond_instr_index: Ints<'a>,
        cond_instr_offset: Ints<'a>,
        exc_index: Ints<'a>,
        polarity: Texts<'a>,
        is_back_edge: Bools<'a>,
    }
    DataEdges {
        src_instr_index: Ints<'a>,
        dst_instr_index: Ints<'a>,
        kind: Texts<'a>,
        operand_index: Ints<'a>,
        symbol: Texts<'a>,
        producer_kind: Texts<'a>,
        src_instr_offset: Ints<'a>,
        dst_instr_offset: Ints<'a>,
    }
    Events {
        event_index: Ints<'a>,
        instr_index: Ints<'a>,
        instr_offset: Ints<'a>,
        kind: Texts<'a>,
        namespace: Texts<'a>,
    }
}
