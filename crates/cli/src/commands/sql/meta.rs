//! Commands that start with a backslash.

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
    Expanded,
    /// `\timing`: whether times are shown.
    Timing,
    /// `\?`: help.
    Help,
    /// `\q`: leave.
    Quit,
}

/// What `\?` shows.
pub const HELP: &str = "\
  \\d           tables and views
  \\d NAME      columns of a table or view
  \\runs        committed runs
  \\x           one line a value, shown whole, or one line a row; ∅ is NULL
  \\timing      show or hide times
  \\q           leave; so does Ctrl-D
  STATEMENT;   run SQL; it may go over several lines. Ctrl-C stops it, Tab completes names
";

/// Understands a line.
///
/// # Errors
/// What is wrong with it.
pub fn parse(line: &str) -> Result<Meta, String> {
    // A semicolon behind a command is a habit from SQL.
    let line = line.trim().trim_end_matches(';');
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let argument = argument.trim();
    let meta = match name {
        "\\d" if !argument.is_empty() => return Ok(Meta::Describe(argument.to_owned())),
        "\\d" | "\\dt" | "\\dv" => Meta::List,
        "\\runs" => Meta::Runs,
        "\\x" => Meta::Expanded,
        "\\timing" => Meta::Timing,
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
    }

    #[test]
    fn what_is_no_command_is_said() {
        assert_eq!(parse("\\foo"), Err("no command \\foo: \\? lists them".to_owned()));
        assert_eq!(parse("\\x on"), Err("\\x takes nothing behind it, but there is \"on\"".to_owned()));
    }

    #[test]
    fn every_command_in_the_help_exists() {
        let lines = HELP.lines().map(str::trim_start).filter(|line| line.starts_with('\\'));
        let commands: Vec<_> = lines.map(|line| parse(line.split("  ").next().unwrap_or_default())).collect();
        assert_eq!(commands.len(), 6);
        assert!(commands.iter().all(Result::is_ok), "{commands:?}");
    }
}
