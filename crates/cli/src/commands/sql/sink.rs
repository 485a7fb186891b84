//! Where results go: to stdout, to a file, or on a terminal through a pager if they do not fit.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use terminal_size::{Height, Width, terminal_size};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use crate::output::Output;
use crate::table::width;

/// What pages without a word of the user's: lines are chopped, what fits is left alone, and the screen is not cleared.
const PAGER: &str = "less -RSFX";

/// Columns and lines of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Columns.
    pub width: usize,
    /// Lines.
    pub height: usize,
}

impl Screen {
    /// As the terminal is now; some that have no size say that it is zero.
    pub fn now() -> Option<Self> {
        let (Width(width), Height(height)) = terminal_size()?;
        (width > 0 && height > 0).then_some(Self { width: width.into(), height: height.into() })
    }

    /// Whether `text` can be seen at once, with the prompt below it.
    fn fits(self, text: &str) -> bool {
        text.lines().count() < self.height && text.lines().all(|line| width::of(line) <= self.width)
    }
}

/// Whether a result that goes on is still wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It is.
    Yes,
    /// The reader has left the pager.
    No,
}

/// Where results go.
pub struct Sink {
    /// The file that `\o` has named.
    file: Option<File>,
    /// The pager's command line, unless there is none.
    pager: Option<String>,
    /// The result under way.
    state: State,
    /// Whether a pager has the terminal, and with it Ctrl-C.
    paging: Arc<AtomicBool>,
}

enum State {
    /// It is kept back as long as it may fit the screen.
    Held(String),
    /// It goes through a pager.
    Piped(Child),
    /// It goes straight on.
    Straight,
    /// Nobody reads it any more.
    Left,
}

impl Sink {
    /// To stdout; by a pager if it is a terminal and so is stdin.
    pub fn new(terminal: bool) -> Self {
        let pager = match std::env::var("PAGER") {
            Ok(pager) => Some(pager).filter(|pager| !pager.trim().is_empty()),
            Err(_) => Some(PAGER.to_owned()),
        };
        Self { file: None, pager: pager.filter(|_| terminal), state: State::Straight, paging: Arc::default() }
    }

    /// Whether a pager has the terminal now.
    pub fn paging(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.paging)
    }

    /// Turns the pager on or off; what `PAGER` names, or `less`.
    pub fn set_paged(&mut self, paged: bool) {
        self.pager = Self::new(paged).pager;
    }

    /// Whether results are paged.
    pub fn is_paged(&self) -> bool {
        self.pager.is_some()
    }

    /// Has results go to a file from now on, or to stdout again.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn redirect(&mut self, file: Option<&Path>) -> anyhow::Result<()> {
        self.file = match file {
            Some(path) => Some(File::create(path).with_context(|| format!("cannot write {}", path.display()))?),
            None => None,
        };
        Ok(())
    }

    /// Whether results go to a file.
    pub fn is_file(&self) -> bool {
        self.file.is_some()
    }

    /// Begins a result.
    pub fn begin(&mut self) {
        self.state = if self.file.is_none() && self.pager.is_some() { State::Held(String::new()) } else { State::Straight };
    }

    /// Writes a part of a result.
    ///
    /// # Errors
    /// When stdout or the file cannot be written.
    pub async fn write(&mut self, text: &str, output: &mut Output) -> anyhow::Result<Wanted> {
        match &mut self.state {
            State::Straight => {
                match &mut self.file {
                    Some(file) => file.write_all(text.as_bytes()).context("cannot write the file of \\o")?,
                    None => output.data(text)?,
                }
                return Ok(Wanted::Yes);
            }
            State::Left => return Ok(Wanted::No),
            State::Piped(child) => {
                if let Some(stdin) = &mut child.stdin
                    && stdin.write_all(text.as_bytes()).await.is_err()
                {
                    self.close().await;
                    return Ok(Wanted::No);
                }
                return Ok(Wanted::Yes);
            }
            State::Held(held) => {
                held.push_str(text);
                if Screen::now().is_none_or(|screen| screen.fits(held)) {
                    return Ok(Wanted::Yes);
                }
            }
        }
        let State::Held(held) = std::mem::replace(&mut self.state, State::Straight) else { return Ok(Wanted::Yes) };
        if let Some(child) = self.pager.as_deref().and_then(start) {
            self.paging.store(true, Ordering::SeqCst);
            self.state = State::Piped(child);
        }
        Box::pin(self.write(&held, output)).await
    }

    /// Ends a result, and waits until its reader has seen enough.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub async fn end(&mut self, output: &mut Output) -> anyhow::Result<()> {
        if let State::Held(held) = &self.state {
            output.data(held)?;
        }
        self.close().await;
        self.state = State::Straight;
        Ok(())
    }

    async fn close(&mut self) {
        if let State::Piped(mut child) = std::mem::replace(&mut self.state, State::Left) {
            drop(child.stdin.take());
            // How it ends is the reader's business.
            let _: std::io::Result<_> = child.wait().await;
            self.paging.store(false, Ordering::SeqCst);
        }
    }
}

/// Starts a pager; `None` if there is no such program, and results go straight on.
fn start(pager: &str) -> Option<Child> {
    let program = pager.split_whitespace().next()?;
    let known = std::process::Command::new("sh").args(["-c", "command -v \"$0\" >/dev/null", program]).status().ok()?;
    let mut command = Command::new("sh");
    command.args(["-c", pager]).stdin(Stdio::piped());
    known.success().then(|| command.spawn().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_holds_what_is_no_taller_and_no_wider() {
        let screen = Screen { width: 5, height: 3 };
        assert!(screen.fits("12345\n12345\n"));
        assert!(!screen.fits("1\n2\n3\n"), "the prompt takes a line");
        assert!(!screen.fits("123456\n"));
        assert!(screen.fits("漢字\n") && !screen.fits("漢字漢\n"));
    }

    #[tokio::test]
    async fn a_file_takes_results_until_it_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut output) = (folder.path().join("out"), Output::plain());
        let mut sink = Sink::new(true);
        sink.redirect(Some(&path)).unwrap();
        sink.begin();
        assert_eq!(sink.write("a\n", &mut output).await.unwrap(), Wanted::Yes);
        sink.end(&mut output).await.unwrap();
        sink.redirect(None).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "a\n");
        assert!(sink.redirect(Some(&folder.path().join("no/file"))).unwrap_err().to_string().starts_with("cannot write "));
    }

    #[tokio::test]
    async fn a_pager_that_is_left_wants_no_more() {
        let mut output = Output::plain();
        let mut sink = Sink { pager: Some("true".to_owned()), ..Sink::new(false) };
        sink.state = State::Piped(start("true").unwrap());
        let mut wanted = Wanted::Yes;
        while wanted == Wanted::Yes {
            wanted = sink.write(&"x".repeat(100_000), &mut output).await.unwrap();
        }
        sink.end(&mut output).await.unwrap();
        assert!(start("no-such-pager --at-all").is_none());
    }
}
