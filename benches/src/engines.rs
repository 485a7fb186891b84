//! The same questions asked of bytefacts, of DuckDB over flat Parquet with the same rows, and of pyarrow and polars over the nested files: time, CPU
//! and memory at its peak, of a process each, in turn, on the same number of threads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::Format;
use crate::memory::copy;
use crate::process::{Watched, interpreter, json, median, number, say, sibling, stdlib, watch};

/// What is asked, and how pyarrow and polars are asked, where an analyst would do so with them.
struct Question {
    name: &'static str,
    sql: String,
    of_frames: Option<(&'static str, String)>,
}

/// The file that is looked up.
const FILE: &str = "argparse.py";

fn questions(unit: &str, file_id: &str) -> Vec<Question> {
    let file = || Some(("file", format!("copy-0/{FILE}")));
    let question = |name, sql: &str, of_frames| Question { name, sql: sql.to_owned(), of_frames };
    let edges = "e.code_unit_id = i.code_unit_id AND e.dst_instr_index = i.instr_index";
    vec![
        question("start of the process", "SELECT 1 AS one", None),
        question("count", "SELECT count(*) AS n FROM py_bc_instructions", Some(("count", String::new()))),
        question("histogram", "SELECT opname, count(*) AS n FROM py_bc_instructions GROUP BY opname", Some(("histogram", String::new()))),
        question("one file", &format!("SELECT count(*) AS n FROM py_bc_instructions WHERE repo = 'copy-0' AND path = '{FILE}'"), file()),
        question(
            "one file by its id",
            &format!("SELECT opname, line_number, stack_depth_before FROM py_bc_instructions WHERE file_id = '{file_id}'"),
            None,
        ),
        question(
            "one unit",
            &format!("SELECT opname, line_number, stack_depth_before FROM py_bc_instructions WHERE code_unit_id = '{unit}'"),
            None,
        ),
        question(
            "filter on a name",
            "SELECT count(*) AS n FROM py_bc_instructions WHERE argval_str = 'eval'",
            Some(("filter", "eval".to_owned())),
        ),
        question("filter, rows", "SELECT repo, path, line_number FROM py_bc_instructions WHERE argval_str = 'eval'", None),
        question(
            "instructions and edges",
            &format!("SELECT i.opname, count(*) AS n FROM py_bc_instructions i JOIN py_bc_dfg_edges e ON {edges} GROUP BY i.opname"),
            None,
        ),
        question(
            "edges and instructions",
            &format!("SELECT i.opname, count(*) AS n FROM py_bc_dfg_edges e JOIN py_bc_instructions i ON {edges} GROUP BY i.opname"),
            None,
        ),
        question(
            "opcode pairs",
            "SELECT a.opname AS first, b.opname AS second, count(*) AS pairs FROM py_bc_instructions a JOIN py_bc_instructions b \
             ON b.code_unit_id = a.code_unit_id AND b.instr_index = a.instr_index + 1 AND b.block_index = a.block_index \
             GROUP BY a.opname, b.opname",
            None,
        ),
        question(
            "two versions compared",
            "WITH functions AS (SELECT u.repo, u.path, u.qualpath, count(*) AS n, sum(CAST(i.opcode AS BIGINT) * (i.instr_index + 1)) AS code \
             FROM py_bc_code_units u JOIN py_bc_instructions i ON i.code_unit_id = u.code_unit_id WHERE u.repo IN ('copy-0', 'copy-1') \
             GROUP BY u.repo, u.path, u.qualpath) \
             SELECT count(*) AS n FROM (SELECT * FROM functions WHERE repo = 'copy-0') a \
             FULL JOIN (SELECT * FROM functions WHERE repo = 'copy-1') b ON b.path = a.path AND b.qualpath = a.qualpath \
             WHERE (a.n IS DISTINCT FROM b.n) OR (a.code IS DISTINCT FROM b.code)",
            None,
        ),
        question("distinct names", "SELECT count(DISTINCT argval_str) AS n FROM py_bc_instructions", None),
        question("distinct units", "SELECT count(DISTINCT code_unit_id) AS n FROM py_bc_instructions", None),
    ]
}

/// What is measured, and how.
pub struct Setting {
    /// Where corpus, facts, flat files and the environment of Python are kept, or made.
    pub folder: PathBuf,
    /// Copies of the standard library, some 3.8 million instructions each.
    pub copies: usize,
    pub rounds: usize,
    /// Threads of each contestant.
    pub threads: usize,
    /// Only questions that have this in their name.
    pub only: Option<String>,
}

/// Makes what is missing, asks everything of everybody, and prints what it took.
pub fn engines(setting: &Setting, format: Format) -> anyhow::Result<()> {
    ensure!(setting.rounds > 0 && setting.copies > 1, "a benchmark needs a round and two copies at least");
    let bytefacts = sibling("bytefacts")?;
    fs::create_dir_all(&setting.folder)?;
    let python = environment(&bytefacts, &setting.folder)?;
    let facts = facts(&bytefacts, setting)?;
    let files = data_files(&bytefacts, &facts)?;
    let flat = flat(&python, &files, &setting.folder)?;

    let one = |column: &str| -> anyhow::Result<String> {
        let sql = format!(
            "SELECT {column} FROM py_bc_code_units WHERE repo = 'copy-0' AND path = '{FILE}' AND co_qualname = 'ArgumentParser.parse_args'"
        );
        let found = watch(Command::new(&bytefacts).args(["sql", "--format", "csv", "--facts"]).arg(&facts).arg(sql))?;
        let text = String::from_utf8_lossy(&found.output).lines().nth(1).map(str::to_owned);
        text.with_context(|| format!("{FILE} has no such function"))
    };
    let questions = questions(&one("code_unit_id")?, &one("file_id")?);
    if format == Format::Text {
        say(format!("{:<24} {:<10} {:>8} {:>8} {:>9}   bytefacts / it: wall, CPU, peak", "", "", "wall s", "CPU s", "peak MB"))?;
    }
    let mut found = Vec::new();
    for question in questions.iter().filter(|question| setting.only.as_ref().is_none_or(|only| question.name.contains(only.as_str()))) {
        let mut contestants: Vec<(&str, Command)> = vec![
            ("bytefacts", ours(&bytefacts, &facts, &question.sql)),
            ("duckdb", theirs(&python, "duckdb", setting.threads, [flat.as_os_str(), question.sql.as_ref()])),
        ];
        if let Some((name, argument)) = &question.of_frames {
            for engine in ["pyarrow", "polars"] {
                let mut command = theirs(&python, engine, setting.threads, [name.as_ref(), argument.as_ref()]);
                command.args(&files);
                contestants.push((engine, command));
            }
        }
        let mut taken: Vec<Vec<Watched>> = contestants.iter().map(|_| Vec::new()).collect();
        for _ in 0..setting.rounds {
            for ((engine, command), taken) in contestants.iter_mut().zip(&mut taken) {
                taken.push(watch(&mut on_threads(command, setting.threads)).with_context(|| format!("{engine}: {}", question.name))?);
            }
        }
        let answers: Vec<_> =
            contestants.iter().zip(&taken).map(|((engine, _), taken)| (*engine, rows(*engine == "bytefacts", taken))).collect();
        for (engine, answer) in &answers {
            let ours = &answers.first().context("nobody was asked")?.1;
            ensure!(answer == ours, "{engine} answers otherwise to {:?}: {} rows against {}", question.name, answer.len(), ours.len());
        }
        let figures: Vec<[f64; 3]> = taken.iter().map(|taken| figures(taken)).collect();
        for ((engine, _), of_engine) in contestants.iter().zip(&figures) {
            if format == Format::Text {
                let [wall, cpu, peak] = of_engine;
                let ratios: Vec<_> =
                    figures.first().into_iter().flatten().zip(of_engine).map(|(ours, it)| format!("{:>6.2}", ours / it)).collect();
                let ratios = if *engine == "bytefacts" { String::new() } else { format!("   {}", ratios.join(" ")) };
                let name = if *engine == "bytefacts" { question.name } else { "" };
                say(format!("{name:<24} {engine:<10} {wall:>8.3} {cpu:>8.3} {:>9.0}{ratios}", peak / 1e6))?;
            }
            let [wall, cpu, peak] = of_engine;
            found
                .push(json!({ "question": question.name, "engine": engine, "wall_seconds": wall, "cpu_seconds": cpu, "peak_bytes": peak }));
        }
    }
    if format == Format::Json {
        say(Value::Array(found).to_string())?;
    }
    Ok(())
}

fn ours(bytefacts: &Path, facts: &Path, sql: &str) -> Command {
    let mut command = Command::new(bytefacts);
    command.args(["sql", "--format", "csv", "--facts"]).arg(facts).arg(sql);
    command
}

fn theirs<'a>(python: &Path, engine: &str, threads: usize, arguments: impl IntoIterator<Item = &'a std::ffi::OsStr>) -> Command {
    let mut command = Command::new(python);
    command.arg(script()).arg(engine).arg("--threads").arg(threads.to_string()).args(arguments);
    command
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("comparators/engines.py")
}

/// The same command where it has no more processors than it is to have threads.
fn on_threads(command: &Command, threads: usize) -> Command {
    let mut bound = Command::new("taskset");
    bound.arg("-c").arg(format!("0-{}", threads.saturating_sub(1))).arg(command.get_program()).args(command.get_args());
    bound
}

/// The rows of the last answer, sorted, as comma separated values.
fn rows(has_header: bool, taken: &[Watched]) -> Vec<String> {
    let text = taken.last().map(|watched| String::from_utf8_lossy(&watched.output).into_owned()).unwrap_or_default();
    let mut rows: Vec<String> = text.lines().skip(usize::from(has_header)).map(str::to_owned).collect();
    rows.sort_unstable();
    rows
}

fn figures(taken: &[Watched]) -> [f64; 3] {
    let of = |value: fn(&Watched) -> f64| median(taken.iter().map(value).collect());
    [of(|w| w.cost.wall.as_secs_f64()), of(|w| w.cost.cpu.as_secs_f64()), of(|w| w.peak as f64)]
}

/// A Python that has DuckDB, pyarrow and polars.
fn environment(bytefacts: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let python = folder.join("venv/bin/python");
    if !python.exists() {
        succeed(Command::new(interpreter(bytefacts)?).args(["-m", "venv"]).arg(folder.join("venv")))?;
        succeed(Command::new(&python).args(["-m", "pip", "install", "--quiet", "duckdb", "pyarrow", "polars"]))?;
    }
    Ok(python)
}

/// The facts of so many copies of the standard library, each a repository; of the second one, a file has changed.
fn facts(bytefacts: &Path, setting: &Setting) -> anyhow::Result<PathBuf> {
    let facts = setting.folder.join("facts");
    if facts.join("current.json").exists() {
        return Ok(facts);
    }
    let (library, corpus) = (stdlib(bytefacts)?, setting.folder.join("corpus"));
    for nth in 0..setting.copies {
        copy(&library, &corpus.join(format!("copy-{nth}")))?;
    }
    let changed = corpus.join("copy-1").join(FILE);
    let source = fs::read_to_string(&changed)?;
    fs::write(&changed, source.replace("return ", "return None or "))?;
    let mut extract = Command::new(bytefacts);
    extract.arg("extract").arg(&corpus).arg("--tree").arg("--out").arg(&facts).args(["--progress", "never", "--format", "json"]);
    let summary = json(&mut extract)?;
    say(format!("{} instructions in {} files", number(&summary, "instructions")?, number(&summary, "files")?))?;
    Ok(facts)
}

/// The data files of the newest run.
fn data_files(bytefacts: &Path, facts: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let runs = json(Command::new(bytefacts).args(["runs", "--format", "json", "--facts"]).arg(facts))?;
    let files = runs.get(0).and_then(|run| run.get("files")).and_then(Value::as_array).context("`bytefacts runs` names no files")?;
    let key = |file: &Value| file.get("key").and_then(Value::as_str).map(|key| facts.join(key)).context("a data file has no key");
    files.iter().map(key).collect()
}

/// Flat files with the rows of the views.
fn flat(python: &Path, files: &[PathBuf], folder: &Path) -> anyhow::Result<PathBuf> {
    let flat = folder.join("flat");
    if !flat.exists() {
        let partial = folder.join("flat.partial");
        succeed(Command::new(python).arg(script()).arg("flatten").arg(&partial).args(files))?;
        fs::rename(partial, &flat)?;
    }
    Ok(flat)
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}
