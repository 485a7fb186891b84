//! `bytefacts trial`: what an executor starts to try a file alone that may kill whoever works on it. Not for people.

use std::path::PathBuf;

use bytefacts_engine::trial::{TrialCommand, serve};

use crate::exit::Exit;

/// How this program starts itself to try files. On Linux it finds itself also after it was replaced on disk.
///
/// # Errors
/// When the system does not say where this program is.
pub fn command() -> std::io::Result<TrialCommand> {
    let program = if cfg!(target_os = "linux") { PathBuf::from("/proc/self/exe") } else { std::env::current_exe()? };
    Ok(TrialCommand { program, arguments: vec!["trial".into()] })
}

/// Runs the command until its input ends.
///
/// # Errors
/// When its input is not an executor's.
pub async fn run() -> anyhow::Result<Exit> {
    serve().await?;
    Ok(Exit::Clean)
}
