//! Asks facts: `cargo run -p bytefacts-client --example ask grpc://127.0.0.1:50052 file:///path/to/FACTS [df://127.0.0.1:50050]`

use bytefacts_client::{Connection, Options, Stores, cluster_session, session};
use datafusion::arrow::util::pretty::pretty_format_batches;

const QUESTION: &str = "SELECT opname, count(*) AS n FROM py_bc_instructions GROUP BY opname ORDER BY n DESC, opname LIMIT 3";

/// A server, the facts themselves, and a cluster's executors: one question, and one answer.
pub async fn ask(server: &str, facts: &str, scheduler: Option<&str>) -> anyhow::Result<Vec<String>> {
    let connection = Connection::open(&Options::new(server)).await?;
    let mut answers = vec![connection.rows(QUESTION).await?];

    let here = session(&Stores::default(), facts, None)?;
    answers.push(here.sql(QUESTION).await?.collect().await?);

    if let Some(scheduler) = scheduler {
        let there = cluster_session(scheduler, None, &Stores::default(), facts, None).await?;
        answers.push(there.sql(QUESTION).await?.collect().await?);
    }
    answers.iter().map(|rows| Ok(pretty_format_batches(rows)?.to_string())).collect()
}

#[tokio::main]
#[allow(dead_code, reason = "a test calls `ask`")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [server, facts, scheduler @ ..] = arguments.as_slice() else { anyhow::bail!("say the server and the facts") };
    for answer in ask(server, facts, scheduler.first().map(String::as_str)).await? {
        use std::io::Write as _;
        writeln!(std::io::stdout(), "{answer}")?;
    }
    Ok(())
}
