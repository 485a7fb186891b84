//! The `bytefacts` command line.

mod address;
mod args;
mod cluster;
mod commands;
mod config;
mod daemon;
mod exit;
mod facts;
mod freshness;
mod init;
mod log;
mod options;
mod output;
mod paint;
mod place;
mod progress;
mod push;
mod reach;
mod signals;
mod summary;
mod table;
mod work_folder;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Args, Command};
use crate::exit::Exit;
use crate::output::Output;

/// Plans are encoded, decoded and optimised by recursion: Ballista's own binaries run on stacks of this size.
pub const STACK_BYTES: usize = 32 << 20;

fn main() -> ExitCode {
    if init::is_first() {
        return init::run().unwrap_or_else(|error| Output::plain().report(Err(error)).into());
    }
    // Before the command line, into which variables go.
    if let Err(error) = config::check_texts() {
        return Output::plain().report(Err(error)).into();
    }
    let args = Args::parse();
    let mut output = Output::new(&args);
    if let Err(error) = config::check_environment().and_then(|()| output.start_log()) {
        return output.report(Err(error)).into();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build();
    let result = match runtime {
        // The first future too runs on a thread of the runtime: the process's main thread has the stack that the shell gave it.
        Ok(runtime) => {
            let exit = runtime.block_on(async move {
                let task = tokio::spawn(async move {
                    let result = run(args, &mut output).await;
                    (result, output)
                });
                match task.await {
                    Ok((result, output)) => output.report(result),
                    Err(panic) => {
                        let panic = anyhow::Error::from(panic).context("bytefacts has a bug: please report it with this text");
                        Output::plain().report(Err(panic))
                    }
                }
            });
            // What still runs has nobody left to report to.
            runtime.shutdown_timeout(signals::GRACE);
            exit
        }
        Err(error) => output.report(Err(anyhow::Error::from(error).context("cannot start the async runtime"))),
    };
    result.into()
}

async fn run(args: Args, output: &mut Output) -> anyhow::Result<Exit> {
    match args.command {
        Command::Extract(extract) => commands::extract::run(*extract, output).await,
        Command::Demo(demo) => commands::demo::run(*demo, output).await,
        Command::Sql(sql) => commands::sql::run(sql, output).await,
        Command::Runs(runs) => commands::runs::run(runs, output).await,
        Command::Validate(validate) => commands::validate::run(validate, output).await,
        Command::Diff(diff) => commands::diff::run(diff, output).await,
        Command::Audit(audit) => commands::audit::run(*audit, output).await,
        Command::Pyc(pyc) => commands::pyc::run(pyc, output).await,
        Command::Dis(dis) => commands::dis::run(dis, output).await,
        Command::Graph(graph) => commands::graph::run(graph, output).await,
        Command::Python(python) => commands::python::run(python, output).await,
        Command::Scheduler(scheduler) => commands::scheduler::run(*scheduler, output).await,
        Command::Serve(serve) => commands::serve::run(serve, output).await,
        Command::Executor(executor) => commands::executor::run(*executor, output).await,
        Command::Status(cluster) => commands::status::run(cluster, output).await,
        Command::Jobs(cluster) => commands::jobs::run(cluster, output).await,
        Command::Executors(cluster) => commands::executors::run(cluster, output).await,
        Command::Cancel(cancel) => commands::cancel::run(cancel, output).await,
        Command::Doctor(doctor) => commands::doctor::run(doctor, output).await,
        Command::Config(config) => commands::config::run(config, output),
        Command::Gc(gc) => commands::gc::run(gc, output).await,
        Command::Trial => commands::trial::run().await,
        Command::Completions { shell } => commands::manual::completions(shell, output),
        Command::Man { folder } => commands::manual::pages(&folder, output),
    }
}
