//! The SQL shell as its users meet it: on a terminal of 80 columns and 24 lines.

use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rexpect::session::{PtySession, spawn_command};
use tempfile::TempDir;

use crate::support::{Shape, bytefacts, extract, folder, small_corpus};

const PROMPT: &str = "bytefacts> ";
const CONTINUATION: &str = "        -> ";
const TIMEOUT_MS: u64 = 60_000;

/// A shell over the facts of the small corpus.
struct Shell {
    root: TempDir,
    session: PtySession,
    /// The process that has started it.
    parent: String,
}

impl Shell {
    /// Starts one and waits for its prompt.
    async fn start(environment: &[(&str, &str)]) -> Self {
        let root = folder();
        extract(small_corpus().path(), &root.path().join("facts"), &Shape::default()).await;
        Self::over(root, environment).await
    }

    async fn over(root: TempDir, environment: &[(&str, &str)]) -> Self {
        let shell = bytefacts(root.path(), &["sql", "--facts", root.path().join("facts").to_str().unwrap()]).await;
        // The terminal gets its size before, and is looked at afterwards.
        let mut command = Command::new("sh");
        command.args(["-c", "echo parent=$$.; stty rows 24 cols 80; \"$0\" \"$@\"; echo ended with $?; stty -a"]);
        command.arg(shell.get_program()).args(shell.get_args());
        command.envs(shell.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.envs([("TERM", "xterm"), ("NO_COLOR", "1"), ("PAGER", "sed s/^/PAGED:/")]).envs(environment.iter().copied());
        let mut session = spawn_command(command, Some(TIMEOUT_MS)).unwrap();
        session.exp_string("parent=").unwrap();
        let parent = session.exp_char('.').unwrap();
        session.exp_string(PROMPT).unwrap();
        Self { root, session, parent }
    }

    /// Types a line, and gives what is shown until the next prompt.
    fn ask(&mut self, line: &str) -> String {
        self.session.send_line(line).unwrap();
        let shown = self.session.exp_string(PROMPT).unwrap();
        // Each byte comes as a character.
        let bytes: Vec<u8> = shown.chars().filter_map(|c| u8::try_from(c).ok()).collect();
        String::from_utf8(bytes).unwrap()
    }

    /// Types what is no whole line.
    fn press(&mut self, keys: &str) {
        self.session.send(keys).unwrap();
        self.session.flush().unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The shell's process.
    fn pid(&self) -> Pid {
        let parent = &self.parent;
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
        Pid::from_raw(children.trim().parse().unwrap())
    }
}

/// The widest line of the table that was shown: neither what was typed nor what is noted below.
fn widest(shown: &str) -> usize {
    let table = shown.lines().filter(|line| line.starts_with([' ', '-']));
    table.map(|line| line.trim_end_matches('\r').chars().count()).max().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_may_go_over_lines_and_be_given_up() {
    let mut shell = Shell::start(&[]).await;
    shell.session.send_line("select 40").unwrap();
    shell.session.exp_string(CONTINUATION).unwrap();
    assert!(shell.ask("+ 2 as answer;").contains("    42"));
    shell.session.send_line("select 'never").unwrap();
    shell.session.exp_string(CONTINUATION).unwrap();
    shell.session.send_control('c').unwrap();
    shell.session.exp_string(PROMPT).unwrap();
    assert!(shell.ask("select 'after' as it;").contains(" after"));
    // Kept at once, in one entry.
    let history = std::fs::read_to_string(shell.path("sql-history")).unwrap();
    assert!(history.contains("select 40\\n+ 2 as answer;") && !history.contains("never"), "{history}");
    shell.session.send_line("\\q").unwrap();
    shell.session.exp_string("ended with 0").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tab_knows_the_columns_behind_an_alias() {
    let mut shell = Shell::start(&[]).await;
    shell.session.send_line("select i.opname, count(*) as n").unwrap();
    shell.session.exp_string(CONTINUATION).unwrap();
    // Many tables have columns that begin so, the table of this alias has one.
    shell.press("from py_bc_instructions i where i.code\t");
    shell.session.exp_string("py_bc_instructions i where i.code_unit_id").unwrap();
    assert!(shell.ask(" is not null and opname = 'RESUME' group by 1;").contains("RESUME"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_stops_a_statement_and_keeps_the_shell() {
    let mut shell = Shell::start(&[]).await;
    let endless =
        "select count(*) from py_bc_instructions a, py_bc_instructions b, py_bc_instructions c where a.offset + b.offset > c.offset;";
    let taken = |shell: &Shell| crate::processes::cpu(shell.pid().as_raw().cast_unsigned()).unwrap();
    let before = taken(&shell);
    shell.session.send_line(endless).unwrap();
    // No planning takes so long.
    while taken(&shell) < before + std::time::Duration::from_secs(2) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    shell.session.send_control('c').unwrap();
    shell.session.exp_string("stopped").unwrap();
    shell.session.exp_string(PROMPT).unwrap();
    assert!(shell.ask("select 6 * 7 as answer;").contains("    42"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_the_screen_is_paged_and_the_rest_is_not() {
    let mut shell = Shell::start(&[]).await;
    let tall = "select path from bytecode_files_v1 order by path limit 30;";
    let shown = shell.ask(tall);
    assert!(shown.contains("PAGED: path") && shown.matches("PAGED:").count() == 32, "{shown}");
    assert!(!shell.ask("select path from bytecode_files_v1 limit 3;").contains("PAGED:"));
    assert!(shell.ask("\\pset pager off").contains("the pager is off"));
    assert!(!shell.ask(tall).contains("PAGED:"));
    assert!(shell.ask("\\pager").contains("the pager is on"));
    assert!(shell.ask(tall).contains("PAGED:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_fit_the_line_and_are_shown_whole_on_demand() {
    let mut shell = Shell::start(&[("PAGER", "")]).await;
    let shown = shell.ask("select * from bytecode_files_v1 limit 1;");
    assert!(widest(&shown) <= 80, "{}: {shown}", widest(&shown));
    assert!(shown.contains("the line is too short for ") && shown.contains("\\x shows all"), "{shown}");
    let long = "select repeat('abcdefghi ', 30) as text;";
    let shown = shell.ask(long);
    assert!(widest(&shown) <= 80 && shown.contains('…'), "{shown}");
    assert!(shell.ask("\\x").contains("one line a value"));
    let whole = "abcdefghi ".repeat(30);
    assert!(shell.ask(long).contains(whole.trim_end()));
    assert!(shell.ask("\\x auto").contains("wider than the terminal"));
    assert!(shell.ask(long).contains("-[ row 1 ]-"));
    assert!(!shell.ask("select 1 as narrow;").contains("-[ row 1 ]-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_run_and_written() {
    let mut shell = Shell::start(&[]).await;
    std::fs::write(shell.path("queries.sql"), "select 'of the file' as said;\n\\timing off\n").unwrap();
    let (queries, out) = (shell.path("queries.sql"), shell.path("out.txt"));
    let shown = shell.ask(&format!("\\i {}", queries.display()));
    assert!(shown.contains(" of the file") && shown.contains("times are hidden"), "{shown}");
    shell.ask(&format!("\\o {}", out.display()));
    assert!(!shell.ask("select path from bytecode_files_v1 order by path limit 30;").contains("m1.py"));
    shell.ask("\\o");
    assert_eq!(std::fs::read_to_string(out).unwrap().lines().count(), 32);
    assert!(shell.ask("\\i nowhere.sql").contains("error: cannot read nowhere.sql"));
    let help = shell.ask("\\?");
    for command in ["\\d NAME", "\\x [on|off|auto]", "\\pager", "\\timing", "\\i FILE", "\\o [FILE]", "\\q"] {
        assert!(help.contains(command), "{command}: {help}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_that_is_told_to_end_gives_the_terminal_back() {
    let mut shell = Shell::start(&[]).await;
    shell.press("select 1");
    shell.session.exp_string("select 1").unwrap();
    kill(shell.pid(), Signal::SIGTERM).unwrap();
    shell.session.exp_string("ended with 143").unwrap();
    // The terminal edits lines and makes signals of keys, as it did before.
    let settings = shell.session.exp_eof().unwrap();
    assert!(settings.contains("isig icanon iexten"), "{settings}");
}

/// A single statement on a terminal fits the line too, and its pager keeps Ctrl-C for itself.
#[tokio::test(flavor = "multi_thread")]
async fn one_statement_on_a_terminal_is_paged() {
    let root = folder();
    extract(small_corpus().path(), &root.path().join("facts"), &Shape::default()).await;
    let statement = "select * from bytecode_files_v1 order by path";
    let sql = bytefacts(root.path(), &["sql", "--facts", root.path().join("facts").to_str().unwrap(), statement]).await;
    let session = |pager: &str| {
        let mut command = Command::new("sh");
        command
            .args(["-c", "trap : INT; stty rows 24 cols 80; \"$0\" \"$@\"; echo ended with $?"])
            .arg(sql.get_program())
            .args(sql.get_args());
        command.envs(sql.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("PAGER", pager).env("TERM", "xterm");
        spawn_command(command, Some(TIMEOUT_MS)).unwrap()
    };
    let shown = session("sed s/^/PAGED:/").exp_eof().unwrap();
    assert!(shown.contains("PAGED:") && shown.contains("ended with 0"), "{shown}");
    let mut patient = session("trap '' INT; sed s/^/PAGED:/; sleep 2; echo left");
    patient.exp_string("PAGED:").unwrap();
    patient.send_control('c').unwrap();
    patient.exp_string("left").unwrap();
    patient.exp_string("ended with 0").unwrap();
}
