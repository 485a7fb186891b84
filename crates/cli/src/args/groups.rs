//! The list of commands in the help, under headings. clap knows one heading for all commands: the list is written here, and put into its template.

use std::fmt::Write as _;

use clap::Subcommand as _;

use super::Command;

/// Headings, and the commands below each. [`Command`] has them in this order too, which is that of the man page.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Make facts", &["extract", "demo", "dis", "graph"]),
    ("Ask them", &["sql", "serve"]),
    ("Keep runs", &["runs", "diff", "validate", "gc"]),
    ("Prove that facts are deterministic", &["audit", "pyc"]),
    ("Run a cluster", &["scheduler", "executor", "status", "jobs", "executors", "cancel"]),
    ("Set up, and get help", &["doctor", "config", "python", "completions", "man", "help"]),
];

/// The template of the help: clap's own, with the groups in the place of its list of commands.
pub(super) fn template() -> String {
    let mut all = Command::augment_subcommands(clap::Command::new("bytefacts"));
    // Only then it has `help`.
    all.build();
    let header = all.get_styles().get_header();
    let groups = groups(&all);
    format!(
        "{{before-help}}{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{header}Options:{header:#}\n{{options}}{{after-help}}"
    )
}

fn groups(all: &clap::Command) -> String {
    let (header, literal) = (all.get_styles().get_header(), all.get_styles().get_literal());
    let width = all.get_subcommands().filter(|command| !command.is_hide_set()).map(|command| command.get_name().len()).max().unwrap_or(0);
    let mut text = String::new();
    // Writing to a text does not fail.
    for (heading, names) in GROUPS {
        let _ = writeln!(text, "{header}{heading}:{header:#}");
        for command in names.iter().filter_map(|name| all.find_subcommand(name)) {
            let about = command.get_about().cloned().unwrap_or_default();
            let _ = writeln!(text, "  {literal}{:width$}{literal:#}  {about}", command.get_name());
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Args;

    #[test]
    fn every_command_is_in_one_group_and_in_its_order() {
        let mut all = Args::command();
        all.build();
        let commands: Vec<&str> = all.get_subcommands().filter(|command| !command.is_hide_set()).map(clap::Command::get_name).collect();
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        assert_eq!(grouped, commands);
    }

    #[test]
    fn the_help_lists_commands_under_their_headings_one_a_line() {
        for help in [Args::command().render_help(), Args::command().render_long_help()] {
            let help = help.to_string();
            let lines: Vec<&str> = help.lines().collect();
            let at = |line: &str| lines.iter().position(|found| *found == line).unwrap_or_else(|| panic!("no {line:?} in\n{help}"));
            for (heading, names) in GROUPS {
                let below = &lines[at(&format!("{heading}:")) + 1..][..=names.len()];
                for (name, line) in names.iter().zip(below) {
                    let (found, about) = line.trim_start().split_once(' ').unwrap();
                    assert_eq!(found, *name, "{help}");
                    assert!(
                        !about.trim().is_empty() && line.len() <= 80,
                        "the first paragraph of a command's comment is a line of the list: {line}"
                    );
                }
                assert_eq!(below.last(), Some(&""), "{help}");
            }
            assert!(help.contains("\nOptions:\n") && help.contains("--log-format"), "{help}");
            assert!(!help.contains("\nCommands:"), "{help}");
        }
    }
}
