//! Where text goes: data to stdout, everything else to stderr.

use std::io::{self, IsTerminal as _, Write};

use anyhow::Error;
use bytefacts_stores::explain;

use crate::args::{Args, Command, Format};
use crate::exit::{Exit, UsageError};

/// The two streams of a command.
pub struct Output {
    verbose: u8,
    log_format: Format,
    colour: bool,
}

impl Output {
    /// As the arguments and the terminal say. `NO_COLOR` turns colour off whatever they say.
    pub fn new(args: &Args) -> Self {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        // A daemon that says nothing cannot be told from one that does nothing.
        let daemon = matches!(args.command, Command::Scheduler(_) | Command::Executor(_));
        Self { verbose: args.verbose.max(u8::from(daemon)), log_format: args.log_format, colour }
    }

    /// No colour, no log.
    pub fn plain() -> Self {
        Self { verbose: 0, log_format: Format::Text, colour: false }
    }

    /// Whether stdout takes colours.
    pub fn colour(&self) -> bool {
        self.colour
    }

    /// Sends log lines to stderr: warnings by default, more with `-v`, or as `BYTEFACTS_LOG` says.
    ///
    /// # Errors
    /// When `BYTEFACTS_LOG` holds what is no filter.
    pub fn start_log(&self) -> anyhow::Result<()> {
        // Ballista logs an error for every LIMIT that ends a shuffle early, a line for every task, and twice or thrice what the error of a job
        // says again: theirs are shown on demand only.
        let default = match self.verbose {
            0 => "warn,ballista=off,ballista_core=off,ballista_scheduler=off,ballista_executor=off,datafusion=off",
            1 => "info,ballista=warn,ballista_core=warn,ballista_scheduler=warn,ballista_executor=warn,datafusion=warn",
            2 => "debug,h2=info,hyper=info,tower=info,ballista=info",
            _ => "trace",
        };
        let wanted = std::env::var_os("BYTEFACTS_LOG").map(|text| text.to_string_lossy().into_owned());
        Ok(crate::log::start(wanted.as_deref(), default, self.log_format)?)
    }

    /// Writes data.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn data(&mut self, text: impl AsRef<str>) -> anyhow::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_ref().as_bytes())?;
        stdout.flush()?;
        Ok(())
    }

    /// Writes a line about what is going on.
    pub fn note(&self, text: impl AsRef<str>) {
        // A closed stderr leaves nobody to tell.
        let _: io::Result<()> = writeln!(io::stderr().lock(), "{}", text.as_ref());
    }

    /// Tells how a command ended, with the chain of causes.
    pub fn report(&self, result: anyhow::Result<Exit>) -> Exit {
        match result {
            Ok(exit) => exit,
            Err(error) if is_closed_pipe(&error) => Exit::Clean, // `bytefacts … | head` has what it wants
            Err(error) => {
                self.note(format!("error: {}", chain(&error)));
                if error.downcast_ref::<UsageError>().is_some() { Exit::Usage } else { Exit::Failed }
            }
        }
    }
}

/// The causes of an error, outermost first, each said once.
fn chain(error: &Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let store: Option<&object_store::Error> = cause.downcast_ref();
        let is_store = store.is_some();
        let cause = store.map_or_else(|| cause.to_string(), explain);
        // Many errors repeat their source in their own text.
        if text.contains(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\n  caused by: ");
        }
        text.push_str(&cause);
        // What is below a store's error is in its text.
        if is_store {
            break;
        }
    }
    text
}

fn is_closed_pipe(error: &Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_is_part_of_the_text_is_not_repeated() {
        let error = anyhow::anyhow!("disk full").context("cannot write x: disk full").context("the job failed");
        assert_eq!(chain(&error), "the job failed\n  caused by: cannot write x: disk full");
    }

    #[test]
    fn a_usage_error_ends_with_2_even_with_context() {
        let error = Error::from(UsageError("no such option".into())).context("config.yaml");
        assert_eq!(Output::plain().report(Err(error)), Exit::Usage);
    }
}
