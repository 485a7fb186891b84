//! `bytefacts completions` and `bytefacts man`: what a shell and `man` know of the command line, made from its definition.

use std::path::Path;

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use crate::args::Args;
use crate::exit::Exit;
use crate::output::Output;

/// Prints completions.
///
/// # Errors
/// When stdout cannot be written.
pub fn completions(shell: Shell, output: &mut Output) -> anyhow::Result<Exit> {
    output.data(script(shell)?)?;
    Ok(Exit::Clean)
}

/// The completions of a shell.
fn script(shell: Shell) -> anyhow::Result<String> {
    const NAME: &str = "bytefacts";
    let all = Args::command();
    // Made anew without the commands that are not for people: clap_complete's script for bash would offer them.
    let mut command = Command::new(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .args(all.get_arguments().cloned())
        .subcommands(all.get_subcommands().filter(|command| !command.is_hide_set()).cloned());
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, NAME, &mut script);
    Ok(String::from_utf8(script)?)
}

/// Writes a man page for `bytefacts` and for each of its commands.
///
/// # Errors
/// When the folder cannot be written.
pub fn pages(folder: &Path, output: &Output) -> anyhow::Result<Exit> {
    let cannot = || format!("cannot write man pages into {}", folder.display());
    std::fs::create_dir_all(folder).with_context(cannot)?;
    let mut command = Args::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    collect(command, &mut pages);
    for page in &pages {
        page.generate_to(folder).with_context(cannot)?;
    }
    output.note(format!("{} man pages are in {}", pages.len(), folder.display()));
    Ok(Exit::Clean)
}

fn collect(command: Command, pages: &mut Vec<clap_mangen::Man>) {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        collect(below.clone(), pages);
    }
    pages.push(clap_mangen::Man::new(command));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        pages(folder.path(), &Output::plain()).unwrap();
        let page = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(page("bytefacts.1").contains("bytefacts\\-extract(1)"), "{}", page("bytefacts.1"));
        for command in Args::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let text = page(&format!("bytefacts-{}.1", command.get_name()));
            assert!(text.starts_with(".ie") || text.contains(".TH bytefacts"), "{text}");
        }
        // In the order of the help's groups.
        let listed: Vec<_> = Args::command()
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(|command| page("bytefacts.1").find(&format!("bytefacts\\-{}(1)", command.get_name())).unwrap())
            .collect();
        assert!(listed.is_sorted(), "{}", page("bytefacts.1"));
        assert!(page("bytefacts-extract.1").contains("fail\\-on"));
        assert!(page("bytefacts-python-install.1").contains("mirror"));
    }

    #[test]
    fn every_shell_completes_every_command_and_none_that_is_hidden() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell).unwrap();
            // Whole words: `run` would be found in `runs`.
            let words: Vec<&str> = script.split(|c: char| !(c.is_alphanumeric() || c == '-')).collect();
            for command in Args::command().get_subcommands() {
                assert_eq!(words.contains(&command.get_name()), !command.is_hide_set(), "{shell} and {}", command.get_name());
            }
            for option in ["--log-format", "--version", "--fail-on"] {
                // (fish names them without the dashes.)
                assert!(script.contains(option.trim_start_matches('-')), "{shell} and {option}");
            }
        }
    }
}
