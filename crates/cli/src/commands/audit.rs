//! `bytefacts audit`
use crate::args::Audit;
use crate::exit::Exit;
use crate::output::Output;

/// Runs the command.
pub async fn run(_args: Audit, _output: &mut Output) -> anyhow::Result<Exit> {
    anyhow::bail!("to come")
}
