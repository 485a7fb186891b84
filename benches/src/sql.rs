//! Queries over the facts of the standard library: through the views, and the same with the views written as SQL over the nested table, which is
//! what they would cost if no leaf were pruned.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::ensure;
use bytefacts_facts::views;
use serde_json::json;

use crate::Format;
use crate::process::{Watched, json, median, say, sibling, watch};

/// What users ask: the name of a query, and the query.
const QUERIES: [(&str, &str); 9] = [
    ("count units", "SELECT count(*) FROM py_bc_code_units"),
    ("count instructions", "SELECT count(*) FROM py_bc_instructions"),
    ("opcodes", "SELECT opname, count(*) FROM py_bc_instructions GROUP BY opname"),
    ("largest frames", "SELECT path, co_qualname, stacksize FROM py_bc_code_units ORDER BY stacksize DESC, path, co_qualname LIMIT 10"),
    ("kinds of constants", "SELECT const_type, count(*) FROM py_bc_consts GROUP BY const_type"),
    ("loops", "SELECT path, max(loop_depth) FROM py_bc_blocks GROUP BY path"),
    ("one file", "SELECT opname, argrepr, line_number FROM py_bc_instructions WHERE path = 'dis.py'"),
    (
        "raises by file",
        "SELECT u.path, count(*) FROM py_bc_instructions i JOIN py_bc_code_units u USING (code_unit_id) WHERE i.opname = 'RAISE_VARARGS' \
         GROUP BY u.path",
    ),
    (
        "swallowed exceptions",
        "SELECT DISTINCT u.path, u.co_qualname FROM bytecode_exception_table e JOIN py_bc_code_units u USING (code_unit_id) \
         JOIN py_bc_instructions i ON i.code_unit_id = e.code_unit_id AND i.\"offset\" BETWEEN e.target_offset AND e.target_offset + 6 \
         WHERE i.opname = 'POP_TOP'",
    ),
];

/// What a query took: medians of its rounds.
struct Figures {
    wall: f64,
    cpu: f64,
    peak: f64,
}

/// Asks every query both ways and prints what it took.
pub fn sql(facts: Option<PathBuf>, rounds: usize, format: Format) -> anyhow::Result<()> {
    ensure!(rounds > 0, "a benchmark needs at least one round");
    let bytefacts = sibling("bytefacts")?;
    let root = tempfile::tempdir()?;
    let facts = match facts {
        Some(facts) => facts,
        None => {
            let facts = root.path().join("facts");
            json(Command::new(&bytefacts).arg("demo").arg("--out").arg(&facts).args(["--format", "json", "--progress", "never"]))?;
            facts
        }
    };
    if format == Format::Text {
        say(format!("{:<22} {:>21} {:>21} {:>21}", "", "wall s", "CPU s", "peak MB"))?;
        say(format!("{:<22}{}", "", format!(" {:>7} {:>6} {:>6}", "unnest", "views", "ratio").repeat(3)))?;
    }
    let mut found = Vec::new();
    for (name, query) in QUERIES {
        let [nested, flat] = ask(&bytefacts, &facts, query, rounds)?;
        let pairs = [(nested.wall, flat.wall, 2), (nested.cpu, flat.cpu, 2), (nested.peak, flat.peak, 0)];
        if format == Format::Text {
            let cells = pairs.map(|(nested, flat, digits)| format!(" {nested:>7.digits$} {flat:>6.digits$} {:>6.2}", flat / nested));
            say(format!("{name:<22}{}", cells.concat()))?;
        }
        let figures = |f: &Figures| json!({ "wall_seconds": f.wall, "cpu_seconds": f.cpu, "peak_megabytes": f.peak });
        found.push(json!({ "name": name, "query": query, "unnest": figures(&nested), "views": figures(&flat) }));
    }
    if format == Format::Json {
        say(serde_json::Value::Array(found).to_string())?;
    }
    Ok(())
}

/// Asks a query by unnesting and through the views, in turn, and compares the answers.
fn ask(bytefacts: &Path, facts: &Path, query: &str, rounds: usize) -> anyhow::Result<[Figures; 2]> {
    let used = views::all().iter().filter(|view| query.contains(view.name));
    let unnested: Vec<_> = used.map(|view| format!("{} AS ({})", view.name, view.unnested)).collect();
    let statements = [format!("WITH {} {query}", unnested.join(", ")), query.to_owned()];
    let mut taken: [Vec<Watched>; 2] = Default::default();
    for _ in 0..rounds {
        let mut answers = Vec::new();
        for (statement, taken) in statements.iter().zip(&mut taken) {
            let watched = watch(Command::new(bytefacts).arg("sql").arg("--facts").arg(facts).args(["--format", "csv", statement]))?;
            let mut rows: Vec<_> = String::from_utf8_lossy(&watched.output).lines().map(str::to_owned).collect();
            rows.sort_unstable();
            answers.push(rows);
            taken.push(watched);
        }
        ensure!(answers.windows(2).all(|pair| pair[0] == pair[1]), "the views and the nested table answer differently: {query}");
    }
    Ok(taken.map(|taken| {
        let of = |value: fn(&Watched) -> f64| median(taken.iter().map(value).collect());
        Figures { wall: of(|w| w.cost.wall.as_secs_f64()), cpu: of(|w| w.cost.cpu.as_secs_f64()), peak: of(|w| w.peak as f64 / 1e6) }
    }))
}
