//! The process that tries files: it does with them all that an executor would do, throws the result away, and may die of it.

use std::io::{self, BufRead, BufReader, Write as _};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytefacts_corpus::Entry;
use bytefacts_encode::{EncodeOptions, FileEncoder, FileProperties};
use bytefacts_stores::Stores;
use bytes::Bytes;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{Result, exec_err};
use tokio::sync::mpsc::{self, Sender};

use super::wire::{DONE, READY, Request, Setup};
use crate::error::lasting;
use crate::job::InterpreterId;
use crate::node::file::Examiner;
use crate::node::{Node, NodeOptions};

/// Tries the files that come through stdin, until it ends: the whole process ends then, in the middle of a file too. Run it in a process that
/// is for nothing else, with the stacks that the executor has.
///
/// # Errors
/// When what comes through stdin is no request, or no compile worker is to be had.
pub async fn serve() -> Result<()> {
    be_the_first_to_go();
    let (sender, mut requests) = mpsc::channel(1);
    std::thread::Builder::new().name("trial-input".to_owned()).spawn(move || {
        let end = read(&mut BufReader::new(io::stdin().lock()), &sender);
        // Nobody waits for an answer any more.
        std::process::exit(i32::from(end.is_err()));
    })?;
    let Some(Message::Setup(setup)) = requests.recv().await else { return exec_err!("a trial begins with its setup") };
    let Setup { job, interpreter, worker } = *setup;
    let options = NodeOptions { workers: 1, memory_budget_bytes: job.options.memory_budget_bytes, worker };
    let id = InterpreterId::of(&interpreter);
    let node = Arc::new(Node::new(options, interpreter, Arc::new(Stores::default()), None, Arc::default()));
    let examiner = Examiner::new(Arc::new(job), &id, node).await?;
    say(READY)?;
    while let Some(message) = requests.recv().await {
        let Message::File(entry, source) = message else { return exec_err!("a trial has one setup") };
        if let Err(error) = try_file(&examiner, entry, source).await {
            tracing::debug!(%error, "a file fails, and kills nobody");
        }
        say(DONE)?;
    }
    Ok(())
}

/// The whole way of a file.
async fn try_file(examiner: &Examiner, entry: Entry, source: Bytes) -> Result<()> {
    let memory = examiner.reserve(entry.size).await?;
    let file = examiner.examine_afresh(entry, source, memory).await?;
    let mut rows = examiner.row_builder()?;
    let analysis = SpawnedTask::spawn_blocking(move || {
        file.append_to(&mut rows)?;
        encode(&rows.finish_coded().map_err(lasting)?)
    });
    analysis.join_unwind().await.map_err(lasting)?
}

fn encode(rows: &RecordBatch) -> Result<()> {
    let schema = rows.schema();
    let properties = FileProperties::new(&schema, &EncodeOptions::default()).map_err(lasting)?;
    let mut file = FileEncoder::try_new(io::sink(), &schema, &properties).map_err(lasting)?;
    file.write(rows).map_err(lasting)?;
    file.finish().map(drop).map_err(lasting)
}

/// Has the kernel, where it runs out of memory, take this process and its worker rather than the executor. What it says of that is worth
/// something only because nothing but one file is worked on here.
fn be_the_first_to_go() {
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", "1000") {
        tracing::debug!(%error, "the executor may be killed in place of this process");
    }
}

enum Message {
    Setup(Box<Setup>),
    File(Entry, Bytes),
}

/// Sends on what comes in, until nothing does.
fn read(input: &mut impl BufRead, messages: &Sender<Message>) -> io::Result<()> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let mut message = Message::Setup(serde_json::from_str(&line)?);
    while messages.blocking_send(message).is_ok() {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            break;
        }
        let Request { repo, path, bytes } = serde_json::from_str(&line)?;
        let mut source = vec![0; bytes];
        input.read_exact(&mut source)?;
        message = Message::File(Entry { repo, path, size: bytes as u64 }, source.into());
    }
    Ok(())
}

fn say(word: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{word}")?;
    stdout.flush()
}
