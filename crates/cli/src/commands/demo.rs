//! `bytefacts demo`: the standard library as a corpus, and what can be asked of its facts.

use std::io::IsTerminal as _;
use std::sync::Arc;

use anyhow::Context as _;
use arrow::util::pretty::pretty_format_batches;
use bytefacts_compile::{Environment, Interpreter, cache_dir, discover};
use bytefacts_corpus::Location;
use bytefacts_query::facts_session;
use bytefacts_stores::Stores;

use crate::args::{Demo, Format};
use crate::commands::extract::{Wanted, extract};
use crate::commands::python;
use crate::config::Settings;
use crate::exit::Exit;
use crate::output::Output;
use crate::place::{location, shown};

/// What the demo asks, each under its heading.
const QUESTIONS: [(&str, &str); 3] = [
    (
        "The ten most frequent opcodes",
        "SELECT opname, count(*) AS instructions, round(100.0 * count(*) / sum(count(*)) OVER (), 1) AS percent
FROM py_bc_instructions GROUP BY opname ORDER BY instructions DESC, opname LIMIT 10",
    ),
    (
        "The five largest functions",
        "SELECT path, co_qualname, firstlineno AS line, code_len AS bytes
FROM py_bc_code_units WHERE unit_kind = 'function' ORDER BY code_len DESC, path, firstlineno LIMIT 5",
    ),
    (
        "The files that do not compile",
        "SELECT path, line1 AS line, error_type, message
FROM bytecode_errors WHERE severity = 'error' ORDER BY path, line1",
    ),
];

/// Runs the command.
///
/// # Errors
/// When no interpreter is to be had, or the job or a query fails.
pub async fn run(args: Demo, output: &mut Output) -> anyhow::Result<Exit> {
    let mut settings = Settings::load(&args.job)?;
    // Packages that somebody installed beside the library are not the library.
    settings.extract.extend_exclude.push("site-packages".to_owned());
    // The library is on this machine, and so is who works on it.
    settings.client.cluster = None;
    let interpreter = interpreter(&settings, args.install_python, output).await?;
    let facts = match &args.out {
        Some(out) => location(out, "--out")?,
        None => {
            let cache = cache_dir(&Environment::from_process()).context("there is no cache folder to put facts into: give --out FACTS")?;
            Location::local(&cache.join("demo"))?
        }
    };
    let library = Location::local(&interpreter.stdlib)?;
    output.note(format!("extracting the standard library of CPython {}", interpreter.version));
    // Another interpreter's library may take the place of this one's.
    let wanted = Wanted { corpus: library, repo: Some("stdlib".to_owned()), facts: facts.clone(), another_corpus: true };
    let summary = extract(&settings, &args.job, Some(interpreter), wanted, output).await?;
    if args.job.format == Format::Json {
        output.data(serde_json::to_string_pretty(&summary)? + "\n")?;
        return Ok(summary.exit(args.job.fail_on));
    }

    output.data(format!("\n{}\n", summary.text()))?;
    let session = facts_session(&Arc::new(Stores::default()), facts.uri(), None)?;
    for (heading, sql) in QUESTIONS {
        let rows = session.sql(sql).await?.collect().await?;
        output.data(format!("{heading}\n\n{sql};\n\n{}\n\n", pretty_format_batches(&rows)?))?;
    }
    let shown = shown(&facts);
    output.data(format!(
        "Next:
  bytefacts sql --facts {shown}                     an SQL shell; \\d lists the views
  bytefacts runs --facts {shown}                    the committed runs and their Parquet files
  bytefacts dis FILE.py                             the facts of one file, printed
  bytefacts extract REPOSITORIES --out FACTS        your own corpus
"
    ))?;
    Ok(summary.exit(args.job.fail_on))
}

/// An interpreter; if there is none, an installed one, with the user's consent.
async fn interpreter(settings: &Settings, install: bool, output: &mut Output) -> anyhow::Result<Interpreter> {
    let missing = match discover(settings.python.as_deref()).await {
        Ok(found) => return Ok(found),
        // What the user named explicitly is never replaced by something else.
        Err(error) if settings.python.is_some() => return Err(error.into()),
        Err(error) => error,
    };
    let agreed = install || (std::io::stdin().is_terminal() && ask(output)?);
    if !agreed {
        return Err(missing.into());
    }
    python::install(None, crate::args::ProgressMode::Auto, output).await?;
    Ok(discover(None).await?)
}

fn ask(output: &Output) -> anyhow::Result<bool> {
    output.note("No CPython 3.13 was found. Install a pinned, checksummed build into the user's cache folder? [y/N]");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
