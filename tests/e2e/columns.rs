//! `docs/columns.md`: every table and view with its columns, as the code's own schemas and a session's plans have them.
//!
//! `BYTEFACTS_SLT_UPDATE=1` rewrites the page; the diff is then read, not believed.

use std::fmt::Write as _;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use bytefacts_facts::schema::{Column, FILE, Kind, Record};
use bytefacts_facts::{flat, views};
use bytefacts_query::listings::{self, Listing, REMARKS};
use bytefacts_query::{CHANGES, CHANGES_COLUMNS, FACTS_TABLE, facts_session, register_listings};
use bytefacts_stores::Stores;

use crate::cookbook::{holds, repository};
use crate::support::{Shape, extract, folder, small_corpus, url};

const HEAD: &str = "# Tables, views and their columns

Made by a test of what the code itself says (`tests/e2e/columns.rs`), which fails where this page is not current. What can be asked where, and how, is in
[sql.md](sql.md). `null` says whether a value may be null.

";

/// A table of Markdown.
struct Page(String);

impl Page {
    fn table(&mut self, level: usize, name: &str, about: &str) {
        let _ = write!(
            self.0,
            "{} {name}\n\n{}\n\n| column | type | null | meaning |\n|---|---|---|---|\n",
            "#".repeat(level),
            sentence(about)
        );
    }

    fn row(&mut self, name: &str, data_type: &str, nullable: bool, doc: &str) {
        assert!(!doc.is_empty(), "{name} has no meaning");
        let doc = doc.replace('|', "\\|");
        let _ = writeln!(self.0, "| `{name}` | {data_type} | {} | {doc} |", if nullable { "yes" } else { "no" });
    }

    fn schema(&mut self, schema: &Schema, doc: impl Fn(&Field) -> String) {
        for field in schema.fields() {
            self.row(field.name(), &format!("`{}`", type_text(field.data_type())), field.is_nullable(), &doc(field));
        }
        self.0.push('\n');
    }

    fn record(&mut self, record: &Record) {
        for Column { name, kind, nullable, doc, .. } in record.columns {
            self.row(name, &kind_text(*kind), *nullable, doc);
        }
        self.0.push('\n');
    }

    fn listing(&mut self, listing: &Listing) {
        self.table(3, &listing.full_name(), listing.doc);
        self.schema(&listing.arrow_schema(), |field| field.metadata()[REMARKS].clone());
    }
}

/// A meaning as a sentence of its own.
fn sentence(text: &str) -> String {
    let (first, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
    format!("{}{rest}{}", first.to_uppercase(), if text.ends_with('.') { "" } else { "." })
}

fn type_text(data_type: &DataType) -> String {
    match data_type {
        DataType::List(item) => format!("List<{}>", type_text(item.data_type())),
        DataType::Struct(fields) => {
            format!(
                "Struct<{}>",
                fields.iter().map(|f| format!("{}: {}", f.name(), type_text(f.data_type()))).collect::<Vec<_>>().join(", ")
            )
        }
        DataType::Map(..) => "Map<Utf8, Utf8>".to_owned(),
        DataType::Timestamp(TimeUnit::Millisecond, Some(zone)) => format!("Timestamp(ms, {zone})"),
        other => other.to_string(),
    }
}

/// The type of a column of a record; records in it are named, and have tables of their own.
fn kind_text(kind: Kind) -> String {
    let link = |record: &Record| format!("[{}](#{})", record.name, record.name.to_lowercase());
    match kind {
        Kind::Struct(record) => link(record),
        Kind::List(record) => format!("List of {}", link(record)),
        Kind::Text | Kind::Int32 | Kind::Int64 | Kind::Boolean | Kind::Texts | Kind::Int32s | Kind::Map => {
            format!("`{}`", type_text(&kind.data_type()))
        }
    }
}

/// The records in a record, each once, in the order in which they are met.
fn push_records(record: &'static Record, found: &mut Vec<&'static Record>) {
    for column in record.columns {
        if let Kind::Struct(inner) | Kind::List(inner) = column.kind
            && found.iter().all(|known| known.name != inner.name)
        {
            found.push(inner);
            push_records(inner, found);
        }
    }
}

/// The flat tables: the columns of an element are those of its record, and only what is around it is to be said.
fn push_flat_tables(page: &mut Page) {
    page.0.push_str(
        "## records\n\nEach list and map of the root table as a table, of whose elements it has a row each. Its columns are those of the record \
         (a struct whole and, the names\njoined by `_`, its parts), and behind them the plain ones of what is around it.\nWhat comes out of a list \
         may be null, as in SQL. Maps have `key` and `value`.\n\n| table | elements of | columns of what is around |\n|---|---|---|\n",
    );
    for table in flat::all() {
        let around = table.columns.iter().filter(|column| column.level < table.path.len()).map(|column| format!("`{}`", column.name));
        let _ = writeln!(
            page.0,
            "| `{}.{}` | `{}` | {} |",
            flat::SCHEMA,
            table.name,
            table.path.join("."),
            around.collect::<Vec<_>>().join(", ")
        );
    }
    page.0.push('\n');
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_is_documented_as_it_is() {
    let (facts, corpus) = (folder(), small_corpus());
    extract(corpus.path(), facts.path(), &Shape::default()).await;
    let session = facts_session(&Stores::default(), &url(facts.path()), None).unwrap();
    register_listings(&session, &Stores::default(), &url(facts.path()), None).unwrap();
    let mut page = Page(HEAD.to_owned());

    page.0.push_str("## The root table\n\n");
    page.table(3, FACTS_TABLE, "one row a file, whether it compiled or not; everything else is nested in it");
    page.record(&FILE);
    let mut records = Vec::new();
    push_records(&FILE, &mut records);
    for record in records {
        page.table(4, record.name, "a record of the root table");
        page.record(record);
    }

    for (heading, of_meaning) in [("Views of what is recorded", false), ("Views of what code means", true)] {
        let _ = write!(page.0, "## {heading}\n\n");
        for view in views::all().iter().filter(|view| view.of_meaning == of_meaning) {
            page.table(3, view.name, view.doc);
            let planned = session.table_provider(view.name).await.unwrap().schema();
            let doc = |field: &Field| view.columns.iter().find(|column| column.name == field.name()).unwrap().doc.to_owned();
            page.schema(&planned, doc);
        }
    }
    push_flat_tables(&mut page);

    page.0.push_str("## bytefacts\n\nWhat stands around facts.\n\n");
    listings::ALL.iter().for_each(|listing| page.listing(listing));
    page.table(3, &format!("{CHANGES}('RUN', 'RUN')"), "what differs between two runs, a row for each file");
    let changes = session.sql(&format!("SELECT * FROM {CHANGES}('run-1', 'run-1')")).await.unwrap();
    let doc = |field: &Field| CHANGES_COLUMNS.iter().find(|(name, _)| name == field.name()).unwrap().1.to_owned();
    page.schema(changes.schema().as_arrow(), doc);
    page.0.push_str("## system\n\nWhat the SQL service tells of itself and of its cluster.\n\n");
    bytefacts_serve::SYSTEM.iter().for_each(|listing| page.listing(listing));

    let made = format!("{}\n", page.0.trim_end());
    assert!(
        holds(&repository("docs/columns.md"), &made),
        "docs/columns.md is not what the schemas say; with BYTEFACTS_SLT_UPDATE=1 this test writes it"
    );
}
