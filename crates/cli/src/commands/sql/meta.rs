//! Commands that start with a backslash.

use std::path::PathBuf;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meta {
    /// `\d`: the tables and views.
    List,
    /// `\d NAME`: the columns of one.
    Describe(String),
    /// `\runs`: the committed runs.
    Runs,
    /// `\x`: a line a value, or a line a row.
    Expanded(Option<Expansion>),
    /// `\pager`: whether long results are paged.
    Pager(Option<bool>),
    /// `\timing`: whether times are shown.
    Timing(Option<bool>),
    /// `\i FILE`: run a script.
    Include(PathBuf),
    /// `\o FILE`: where results go.
    Redirect(Option<PathBuf>),
    /// `\?`: help.
    Help,
    /// `\q`: leave.
    Quit,
}

/// When a row is shown with a line a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expansion {
    /// Always.
    On,
    /// Never.
    Off,
    /// When it is wider than the terminal.
    Auto,
}

/// What `\?` shows: each command with what it takes, and what it does.
pub const HELP: [(&str, &str); 11] = [
    ("\\d", "tables and views"),
    ("\\d NAME", "columns of a table or view"),
    ("\\runs", "committed runs"),
    ("\\x [on|off|auto]", "one line a value, shown whole, or one line a row; auto: as it fits. ∅ is NULL"),
    ("\\pager [on|off]", "page what does not fit the screen, by PAGER or less"),
    ("\\timing [on|off]", "show or hide times"),
    ("\\i FILE", "run the statements and commands of a file"),
    ("\\o [FILE]", "write results to a file; without one, show them again"),
    ("\\?", "this help"),
    ("\\q", "leave; so does Ctrl-D"),
    ("STATEMENT;", "run SQL; it may go over several lines. Ctrl-C stops it, Tab completes names"),
];

/// The help as text.
pub fn help() -> String {
    HELP.iter().map(|(command, meaning)| format!("  {command:<18}{meaning}\n")).collect()
}

/// Understands a line.
///
/// # Errors
/// What is wrong with it.
pub fn parse(line: &str) -> Result<Meta, String> {
    // A semicolon behind a command is a habit from SQL.
    let line = line.trim().trim_end_matches(';');
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let argument = argument.trim();
    let switch = || match argument {
        "" => Ok(None),
        "on" => Ok(Some(true)),
        "off" => Ok(Some(false)),
        other => Err(format!("{name} takes on or off, this is {other:?}")),
    };
    let meta = match name {
        "\\d" if !argument.is_empty() => return Ok(Meta::Describe(argument.to_owned())),
        "\\i" if argument.is_empty() => return Err("\\i takes a file".to_owned()),
        "\\i" => return Ok(Meta::Include(argument.into())),
        "\\o" => return Ok(Meta::Redirect((!argument.is_empty()).then(|| argument.into()))),
        "\\timing" => return switch().map(Meta::Timing),
        "\\pager" => return switch().map(Meta::Pager),
        // As psql has it.
        "\\pset" => match argument.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["pager", "on"] => return Ok(Meta::Pager(Some(true))),
            ["pager", "off"] => return Ok(Meta::Pager(Some(false))),
            _ => return Err("\\pset takes pager on or pager off".to_owned()),
        },
        "\\x" => {
            return match argument {
                "" => Ok(Meta::Expanded(None)),
                "on" => Ok(Meta::Expanded(Some(Expansion::On))),
                "off" => Ok(Meta::Expanded(Some(Expansion::Off))),
                "auto" => Ok(Meta::Expanded(Some(Expansion::Auto))),
                other => Err(format!("\\x takes on, off or auto, this is {other:?}")),
            };
        }
        "\\d" | "\\dt" | "\\dv" => Meta::List,
        "\\runs" => Meta::Runs,
        "\\?" | "\\h" | "\\help" | "help" => Meta::Help,
        "\\q" | "exit" | "quit" => Meta::Quit,
        _ => return Err(format!("no command {name}: \\? lists them")),
    };
    if argument.is_empty() { Ok(meta) } else { Err(format!("{name} takes nothing behind it, but there is {argument:?}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_understood_as_people_type_them() {
        assert_eq!(parse("\\d"), Ok(Meta::List));
        assert_eq!(parse(" \\d ; "), Ok(Meta::List));
        assert_eq!(parse("\\d  py_bc_consts;"), Ok(Meta::Describe("py_bc_consts".to_owned())));
        assert_eq!(parse("\\q"), Ok(Meta::Quit));
        assert_eq!(parse("quit"), Ok(Meta::Quit));
        assert_eq!(parse("\\?"), Ok(Meta::Help));
        assert_eq!(parse("\\x"), Ok(Meta::Expanded(None)));
        assert_eq!(parse("\\x auto"), Ok(Meta::Expanded(Some(Expansion::Auto))));
        assert_eq!(parse("\\timing off"), Ok(Meta::Timing(Some(false))));
        assert_eq!(parse("\\pset pager off"), parse("\\pager off"));
        assert_eq!(parse("\\i my queries.sql"), Ok(Meta::Include("my queries.sql".into())));
        assert_eq!(parse("\\o"), Ok(Meta::Redirect(None)));
        assert_eq!(parse("\\o out.csv"), Ok(Meta::Redirect(Some("out.csv".into()))));
    }

    #[test]
    fn what_is_no_command_is_said() {
        assert_eq!(parse("\\foo"), Err("no command \\foo: \\? lists them".to_owned()));
        assert_eq!(parse("\\x maybe"), Err("\\x takes on, off or auto, this is \"maybe\"".to_owned()));
        assert_eq!(parse("\\runs all"), Err("\\runs takes nothing behind it, but there is \"all\"".to_owned()));
        assert_eq!(parse("\\i"), Err("\\i takes a file".to_owned()));
    }

    #[test]
    fn every_command_in_the_help_exists() {
        for (command, _) in HELP.iter().filter(|(command, _)| command.starts_with('\\')) {
            let with_argument = command.split(" [").next().unwrap_or_default();
            assert!(parse(with_argument).is_ok(), "{command}");
        }
    }
}
