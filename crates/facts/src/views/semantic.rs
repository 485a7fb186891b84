//! The views that say what code means rather than what instructions it is: calls, imports, handlers, names and so on.
//!
//! Each is a SELECT in a file of its own, over the [flat tables](crate::flat) and over other views. What belongs together is found by data
//! flow: the operands of an instruction are joined with what makes them, however far away that stands. Where CPython writes down one thing
//! for several, as the call that it makes of a decorator, the place in the source tells them apart. Code that nothing reaches, such as the handler of
//! `try: pass`, has no data flow, and so no rows in views that need it: their documentation says so.
//!
//! The files share pieces, which stand in braces: `{variable}` and `{producer_kind}` of the instruction `p` that makes a value, where
//! `slot` is the place of the value on the stack, `{keywords}` of the constant `k` that names them, `{arguments}`, and `{cleared}`, what
//! a handler does to its variable at the end.

mod columns;

use std::fmt::Write as _;

use super::{View, ViewColumn};
use crate::flat;
use crate::schema::Kind;

/// A view as it is written down.
pub(super) struct Definition {
    name: &'static str,
    doc: &'static str,
    /// The view's own columns, behind those that say where the instruction is.
    columns: &'static [Column],
    sql: &'static str,
}

/// A column of the SELECT by its name, its type and its meaning.
struct Column {
    name: &'static str,
    kind: Kind,
    doc: &'static str,
}

const fn column(name: &'static str, kind: Kind, doc: &'static str) -> Column {
    Column { name, kind, doc }
}

/// The views, each behind those that it is made of.
pub(super) const ALL: &[Definition] = &[
    Definition {
        name: "py_bc_attributes",
        doc: "one row an access to an attribute; code that nothing reaches is left out",
        columns: columns::ATTRIBUTES,
        sql: include_str!("semantic/attributes.sql"),
    },
    Definition {
        name: "py_bc_calls",
        doc: "one row a call that is written in the source; what `finally` holds is compiled once for each way out; code that nothing reaches is left out",
        columns: columns::CALLS,
        sql: include_str!("semantic/calls.sql"),
    },
    Definition {
        name: "py_bc_call_arguments",
        doc: "one row an argument of a call; code that nothing reaches is left out",
        columns: columns::CALL_ARGUMENTS,
        sql: include_str!("semantic/call_arguments.sql"),
    },
    Definition {
        name: "py_bc_bases",
        doc: "one row a base or keyword of a class; code that nothing reaches is left out",
        columns: columns::BASES,
        sql: include_str!("semantic/bases.sql"),
    },
    Definition {
        name: "py_bc_decorators",
        doc: "one row a decorator; code that nothing reaches is left out",
        columns: columns::DECORATORS,
        sql: include_str!("semantic/decorators.sql"),
    },
    Definition {
        name: "py_bc_imports",
        doc: "one row a module or name that is imported; code that nothing reaches is left out",
        columns: columns::IMPORTS,
        sql: include_str!("semantic/imports.sql"),
    },
    Definition {
        name: "py_bc_handlers",
        doc: "one row an `except` clause; `finally`, `with` and the clean-up of comprehensions are none; code that nothing reaches is left out",
        columns: columns::HANDLERS,
        sql: include_str!("semantic/handlers.sql"),
    },
    Definition {
        name: "py_bc_names",
        doc: "one row a parameter, or an access to a variable by its name",
        columns: columns::NAMES,
        sql: include_str!("semantic/names.sql"),
    },
    Definition {
        name: "py_bc_constants",
        doc: "one row a string, number, or tuple or set of constants that is loaded; the docstring of a function never is",
        columns: columns::CONSTANTS,
        sql: include_str!("semantic/constants.sql"),
    },
    Definition {
        name: "py_bc_awaits",
        doc: "one row an `await`, `async for` or `async with`, those in comprehensions included; code that nothing reaches is left out",
        columns: columns::AWAITS,
        sql: include_str!("semantic/awaits.sql"),
    },
    Definition {
        name: "py_bc_global_writes",
        doc: "one row a global variable that is written or deleted by force of a `global` statement",
        columns: columns::GLOBAL_WRITES,
        sql: include_str!("semantic/global_writes.sql"),
    },
];

/// The pieces that the files share.
const PIECES: [(&str, &str); 6] = [
    ("{arguments}", include_str!("semantic/arguments.sql")),
    ("{cleared}", include_str!("semantic/cleared.sql")),
    ("{variable}", include_str!("semantic/variable.sql")),
    ("{producer_kind}", include_str!("semantic/producer_kind.sql")),
    ("{keywords}", include_str!("semantic/keywords.sql")),
    (
        "{logging}",
        "'debug', 'info', 'warning', 'warn', 'error', 'exception', 'critical', 'fatal', 'log', 'print', \
         'print_exc', 'print_exception', 'print_last'",
    ),
];

impl View {
    pub(super) fn of_meaning(definition: &Definition) -> Self {
        let columns = definition.all_columns().map(|column| {
            let data_type = column.kind.data_type();
            ViewColumn { name: column.name, type_text: data_type.to_string(), data_type, doc: column.doc }
        });
        let select = definition.select();
        Self {
            name: definition.name,
            doc: definition.doc,
            unnested: unnested(&select),
            sql: select,
            columns: columns.collect(),
            of_meaning: true,
        }
    }
}

impl Definition {
    fn all_columns(&self) -> impl Iterator<Item = &Column> {
        columns::OF_INSTRUCTION.iter().chain(self.columns).chain(columns::PLACE)
    }

    /// The whole SELECT, each column in its type.
    fn select(&self) -> String {
        let mut sql = String::from("SELECT");
        for (nth, column) in self.all_columns().enumerate() {
            let expression = match (column.name, column.kind) {
                ("instr_id", _) => columns::INSTR_ID.to_owned(),
                (name, Kind::Int32) => format!("CAST(\"{name}\" AS INT)"),
                (name, _) => format!("\"{name}\""),
            };
            // Writing to a String cannot fail.
            let _ = write!(sql, "{}\n  {expression} AS \"{}\"", if nth == 0 { "" } else { "," }, column.name);
        }
        let mut body = self.sql.trim_end().to_owned();
        for (piece, text) in PIECES {
            body = body.replace(piece, text.trim_end());
        }
        let _ = write!(sql, "\nFROM (\n{body}\n)");
        sql
    }
}

/// The same SELECT over the nested table alone, for sessions without flat tables.
fn unnested(select: &str) -> String {
    let mut sql = select.to_owned();
    // Names that begin like others come first.
    let mut tables: Vec<_> = flat::all().iter().collect();
    tables.sort_by_key(|table| std::cmp::Reverse(table.name.len()));
    for table in tables {
        let reference = format!("{}.{}", flat::SCHEMA, table.name);
        if sql.contains(&reference) {
            let words = |name: &str| select.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name);
            let columns: Vec<_> = table.columns.iter().filter(|column| words(&column.name)).collect();
            sql = sql.replace(&reference, &format!("({})", table.unnested(&columns)));
        }
    }
    sql
}
