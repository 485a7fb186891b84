//! `bytefacts python`: the interpreter that compiles.

use std::io::IsTerminal as _;

use bytefacts_compile::install::{self, Installed, Progress};
use bytefacts_compile::{Environment, Interpreter, discover};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::{Format, ProgressMode, Python, PythonAction};
use crate::exit::Exit;
use crate::output::Output;
use crate::summary::bytes;

/// Runs the command.
///
/// # Errors
/// When there is no CPython 3.13, or none can be installed.
pub async fn run(args: Python, output: &mut Output) -> anyhow::Result<Exit> {
    match args.action {
        PythonAction::Find { python, format } => {
            let interpreter = discover(python.as_deref()).await?;
            output.data(described(&interpreter, format)?)?;
        }
        PythonAction::Install { mirror, progress, format } => {
            let Installed { interpreter, .. } = install(mirror.as_deref(), progress, output).await?;
            output.data(described(&interpreter, format)?)?;
            output.note("next: `bytefacts demo`");
        }
    }
    Ok(Exit::Clean)
}

/// Installs CPython 3.13 into the user's cache folder, where every command finds it, and notes where that is.
///
/// # Errors
/// When it cannot be downloaded, is not the pinned one, or does not work here; nothing is left behind then.
pub async fn install(mirror: Option<&str>, mode: ProgressMode, output: &Output) -> anyhow::Result<Installed> {
    let mut bar = Bar::new(mode, output);
    let installed = install::install(&Environment::from_process(), mirror, &mut |progress| bar.show(progress)).await;
    bar.finish();
    let installed = installed?;
    let (version, folder) = (&installed.interpreter.version, installed.folder.display());
    output.note(match installed.was_there {
        true => format!("CPython {version} was installed already, in {folder}"),
        false => format!("installed CPython {version} in {folder}"),
    });
    Ok(installed)
}

/// How far an installation is: a bar on a terminal, else a line a stage if that is wanted.
struct Bar<'a> {
    bar: ProgressBar,
    lines: Option<&'a Output>,
    stage: &'static str,
}

impl<'a> Bar<'a> {
    fn new(mode: ProgressMode, output: &'a Output) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let drawn = terminal && mode != ProgressMode::Never;
        let bar = ProgressBar::with_draw_target(None, if drawn { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
        let template = "{msg} [{bar:30}] {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        Self { bar, lines: (!terminal && mode == ProgressMode::Always).then_some(output), stage: "" }
    }

    fn show(&mut self, progress: Progress) {
        let stage = match progress {
            Progress::Download { .. } => "downloading CPython 3.13",
            Progress::Unpack => "unpacking",
            Progress::Check => "trying it",
        };
        if stage != self.stage {
            self.stage = stage;
            self.bar.set_message(stage);
            if let Some(output) = self.lines {
                let size = match progress {
                    Progress::Download { total: Some(total), .. } => format!(" ({})", bytes(total)),
                    _ => String::new(),
                };
                output.note(format!("{stage}{size}"));
            }
        }
        if let Progress::Download { received, total } = progress {
            if let Some(total) = total {
                self.bar.set_length(total);
            }
            self.bar.set_position(received);
        }
    }

    fn finish(self) {
        self.bar.finish_and_clear();
    }
}

fn described(interpreter: &Interpreter, format: Format) -> anyhow::Result<String> {
    let Interpreter { executable, version, magic, implementation, stdlib } = interpreter;
    Ok(match format {
        Format::Json => serde_json::to_string_pretty(interpreter)? + "\n",
        Format::Text => format!(
            "executable      {}\nimplementation  {implementation}\nversion         {version}\nmagic           {magic}\nlibrary         {}\n",
            executable.display(),
            stdlib.display()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_is_described_for_people_and_for_programs() {
        let interpreter = Interpreter {
            executable: "/opt/python3.13".into(),
            version: "3.13.7".to_owned(),
            magic: "f30d0d0a".to_owned(),
            implementation: "cpython".to_owned(),
            stdlib: "/opt/lib".into(),
        };
        let text = described(&interpreter, Format::Text).unwrap();
        assert!(text.starts_with("executable      /opt/python3.13\n") && text.contains("version         3.13.7\n"), "{text}");
        let json = described(&interpreter, Format::Json).unwrap();
        assert_eq!(serde_json::from_str::<Interpreter>(&json).unwrap(), interpreter);
    }
}
