//! `bytefacts pyc`: whether `.pyc` files hold what the sources beside them compile to.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, bail};
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use bytefacts_audit::drift::{Cluster, Drifts};
use bytefacts_audit::matrix::MARSHAL_VERSION;
use bytefacts_audit::pyc::{Fresh, Provenance, Status, add_edits, judge, parse_name};
use bytefacts_compile::{CompileOptions, Interpreter, Limits, Pool, WorkerSettings, discover};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::diff::edits::clusters;
use crate::args::{Format, Pyc};
use crate::exit::Exit;
use crate::output::Output;
use crate::paint::{BOLD, GREEN, Paint, RED};
use crate::summary::{count, thousands};
use crate::table::{Layout, Limits as TableLimits, render};

/// What was found, for programs.
#[derive(Serialize)]
struct Answer<'a> {
    folder: String,
    interpreter: &'a str,
    counts: Vec<(Status, u64)>,
    /// What differing files hold otherwise, equal edits together.
    edits: &'a [Cluster],
    files: &'a [Judged],
}

/// A `.pyc` file and what became of it.
#[derive(Serialize)]
pub(super) struct Judged {
    pub(super) path: String,
    optimize: u8,
    #[serde(flatten)]
    pub(super) provenance: Provenance,
    /// What it holds otherwise than its source compiles to.
    #[serde(skip)]
    edits: Drifts,
}

/// Runs the command.
///
/// # Errors
/// When the folder cannot be read, or no interpreter is to be had.
pub async fn run(args: Pyc, output: &mut Output) -> anyhow::Result<Exit> {
    let (root, files) = listed(&args.path)?;
    if files.is_empty() {
        bail!("there are no .pyc files below {}", args.path.display());
    }
    let interpreter = discover(args.python.as_deref()).await?;
    let judged = judge_all(&root, files, &interpreter, args.jobs).await?;
    let counts: Vec<(Status, u64)> = Status::ALL
        .into_iter()
        .map(|status| (status, judged.iter().filter(|file| file.provenance.status == status).count() as u64))
        .collect();
    let mut edits = Drifts::default();
    for file in &judged {
        edits.merge(file.edits.clone());
    }
    let edits = edits.clusters();
    match args.format {
        Format::Json => {
            let folder = root.display().to_string();
            let answer = Answer { folder, interpreter: &interpreter.version, counts, edits: &edits, files: &judged };
            output.data(serde_json::to_string_pretty(&answer)? + "\n")?;
        }
        Format::Text => output.data(text(&judged, &counts, &edits, args.show, Paint { colour: output.colour() })?)?,
    }
    let finding = judged.iter().any(|file| file.provenance.status.is_finding());
    Ok(if finding { Exit::Findings } else { Exit::Clean })
}

/// Judges `.pyc` files below a folder by the sources beside them, in the order in which they are given.
///
/// # Errors
/// When one cannot be read, or no worker is to be had.
pub(super) async fn judge_all(
    root: &Path,
    files: Vec<String>,
    interpreter: &Interpreter,
    jobs: Option<u16>,
) -> anyhow::Result<Vec<Judged>> {
    let workers = jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let mut pools = Vec::new();
    for optimize in 0..3 {
        let options = CompileOptions { optimize, ..CompileOptions::default() };
        let settings = WorkerSettings { marshal_version: MARSHAL_VERSION, ..WorkerSettings::default() };
        // A pool starts one worker at once; levels that nobody asks for need none.
        let wanted = files.iter().any(|file| parse_name(file).is_some_and(|name| name.optimize == optimize));
        pools.push(if wanted { Some(Pool::start_with(interpreter, options, workers, Limits::default(), settings).await?) } else { None });
    }
    let judged: Vec<_> = files.into_iter().map(|file| judged(root, file, &pools).boxed()).collect();
    let judged = futures::stream::iter(judged).buffered(2 * workers).try_collect().await?;
    for pool in pools.into_iter().flatten() {
        pool.shutdown().await;
    }
    Ok(judged)
}

/// The folder, and the `.pyc` files in it in order of their paths.
pub(super) fn listed(path: &Path) -> anyhow::Result<(PathBuf, Vec<String>)> {
    let meta = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if !meta.is_dir() {
        // Its source may lie in the folder above `__pycache__`.
        let parent = path.parent().unwrap_or(Path::new(""));
        let root = if parent.ends_with("__pycache__") { parent.parent().unwrap_or(Path::new("")) } else { parent };
        let relative = path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
        return Ok((root.to_owned(), vec![relative]));
    }
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let at = path.join(&folder);
        for entry in std::fs::read_dir(&at).with_context(|| format!("cannot read {}", at.display()))? {
            let entry = entry.with_context(|| format!("cannot read {}", at.display()))?;
            let below = folder.join(entry.file_name());
            // Links to folders may loop.
            let kind = entry.file_type().with_context(|| format!("cannot read {}", at.display()))?;
            if kind.is_dir() {
                folders.push(below);
            } else if below.extension().is_some_and(|extension| extension == "pyc") && is_file(&path.join(&below)) {
                match below.to_str() {
                    Some(below) => files.push(below.to_owned()),
                    None => tracing::warn!(path = %below.display(), "a .pyc file is left out: its name is no UTF-8"),
                }
            }
        }
    }
    files.sort_unstable();
    Ok((path.to_owned(), files))
}

/// Whether a path leads to a regular file: a pipe would be waited for. A link that leads nowhere is said by whoever reads it.
fn is_file(path: &Path) -> bool {
    std::fs::metadata(path).map_or(true, |meta| meta.is_file())
}

async fn judged(root: &Path, file: String, pools: &[Option<Pool>]) -> anyhow::Result<Judged> {
    let path = root.join(&file);
    let bytes = tokio::fs::read(&path).await.with_context(|| format!("cannot read {}", path.display()))?;
    let name = parse_name(&file);
    let optimize = name.as_ref().map_or(0, |name| name.optimize);
    let source_path = name.map(|name| root.join(name.source));
    let source = match &source_path {
        Some(path) => match tokio::fs::read(path).await {
            Ok(source) => Some(Bytes::from(source)),
            // What is there and cannot be read says nothing about the file beside it.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        },
        None => None,
    };
    let pool = pools.get(usize::from(optimize)).and_then(Option::as_ref);
    let compiled = match (&source, pool) {
        (Some(source), Some(pool)) => Some(pool.compile(source.clone()).await?),
        _ => None,
    };
    let mtime = source_path.and_then(|path| std::fs::metadata(path).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok());
    let mtime = mtime.map(|time| time.as_secs());
    let fresh = source.as_ref().zip(compiled.as_ref()).map(|(source, compiled)| Fresh { source, mtime, compiled });
    let (provenance, mut edits) = (judge(&bytes, fresh.as_ref()), Drifts::default());
    if let Some(compiled) = compiled.as_ref().filter(|_| provenance.status == Status::Differs) {
        add_edits(&mut edits, &file, &bytes, compiled);
    }
    Ok(Judged { path: file, optimize, provenance, edits })
}

fn text(judged: &[Judged], counts: &[(Status, u64)], edits: &[Cluster], show: usize, paint: Paint) -> anyhow::Result<String> {
    let column = |values: Vec<String>| Arc::new(StringArray::from(values)) as ArrayRef;
    let found: Vec<_> = counts.iter().filter(|(_, n)| *n > 0).collect();
    let table = RecordBatch::try_from_iter([
        ("status", column(found.iter().map(|(status, _)| status.as_str().to_owned()).collect())),
        ("files", column(found.iter().map(|(_, n)| thousands(*n)).collect())),
    ])?;
    let mut text = render(Layout::Grid(TableLimits::default()), &table)?;
    for (status, n) in found.iter().filter(|(status, _)| *status != Status::Same) {
        let style = if status.is_finding() { RED } else { BOLD };
        writeln!(text, "\n{}", paint.paint(style, status.as_str()))?;
        for file in judged.iter().filter(|file| file.provenance.status == *status).take(show) {
            writeln!(text, "  {}: {}", file.path, file.provenance.reason)?;
        }
        if *n > show as u64 {
            writeln!(text, "  … and {} more", thousands(n - show as u64))?;
        }
    }
    if edits.iter().any(|cluster| cluster.files > 1) {
        writeln!(
            text,
            "\n{}: in many files what another release of the compiler does, in one alone its own",
            paint.paint(BOLD, "equal edits")
        )?;
        text.push_str(&clusters(edits, show, paint)?);
    }
    let findings: u64 = found.iter().filter(|(status, _)| status.is_finding()).map(|(_, n)| n).sum();
    let verdict = if findings == 0 { paint.paint(GREEN, "no findings") } else { paint.paint(RED, &count(findings, "finding")) };
    writeln!(text, "\n{verdict} in {}", count(judged.len() as u64, "file"))?;
    Ok(text)
}
