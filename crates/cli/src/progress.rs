//! The progress bar of a job: files, megabytes, rate, errors, time left.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use bytefacts_engine::Progress;
use bytefacts_landing::{FactsStore, RunId};
use indicatif::{DecimalBytes, ProgressDrawTarget, ProgressStyle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::args::ProgressMode;

/// A bar that follows a job until it is stopped.
pub struct ProgressBar {
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// How often the bar looks.
const TICK: Duration = Duration::from_millis(200);
/// How often a line is written where there is no terminal.
const LINE_EVERY: u32 = 25;

impl ProgressBar {
    /// Follows `run`, whose total is known once its bins are recorded.
    pub fn start(mode: ProgressMode, facts: FactsStore, run: RunId, progress: Arc<Progress>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let shown = match mode {
            ProgressMode::Auto => terminal,
            ProgressMode::Always => true,
            ProgressMode::Never => false,
        };
        let running = shown.then(|| {
            let (stop, stopped) = oneshot::channel();
            (stop, tokio::spawn(follow(terminal, facts, run, progress, stopped)))
        });
        Self { running }
    }

    /// Draws a last time and clears the line.
    pub async fn stop(self) {
        if let Some((stop, task)) = self.running {
            // A bar that is gone already cannot be stopped again.
            let _: Result<(), ()> = stop.send(());
            let _: Result<(), _> = task.await;
        }
    }
}

async fn follow(terminal: bool, facts: FactsStore, run: RunId, progress: Arc<Progress>, mut stopped: oneshot::Receiver<()>) {
    let bar =
        indicatif::ProgressBar::with_draw_target(None, if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
    bar.set_message("listing the corpus");
    let mut total = None;
    for tick in 0u32.. {
        let last = tokio::time::timeout(TICK, &mut stopped).await.is_ok();
        if total.is_none() {
            total = total_of(&facts, &run).await;
            if let Some((files, _)) = total {
                bar.set_length(files);
                let template = "{elapsed_precise} [{bar:30}] {pos}/{len} files  {msg}  {per_sec}  {eta} left";
                bar.set_style(
                    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "),
                );
            }
        }
        let now = progress.read();
        bar.set_position(now.files);
        if let Some((files, bytes)) = total {
            let message = format!("{} of {}  {} errors", DecimalBytes(now.source_bytes), DecimalBytes(bytes), now.errors());
            if !terminal && (last || tick % LINE_EVERY == LINE_EVERY - 1) {
                use std::io::Write as _;
                let _: std::io::Result<()> = writeln!(std::io::stderr().lock(), "{}/{files} files  {message}", now.files);
            }
            bar.set_message(message);
        }
        bar.tick();
        if last {
            break;
        }
    }
    bar.finish_and_clear();
}

/// Files and bytes of the run's bins, once the scheduler has recorded them.
async fn total_of(facts: &FactsStore, run: &RunId) -> Option<(u64, u64)> {
    let index = facts.bins(run).await.ok()??;
    Some((index.files(), index.source_bytes()))
}

/// A bar of files whose facts are gone through, which the closure moves on. The bar must be cleared at the end.
pub fn files_bar(mode: ProgressMode, files: u64) -> (indicatif::ProgressBar, Arc<dyn Fn(u64) + Send + Sync>) {
    let terminal = std::io::stderr().is_terminal();
    let drawn = terminal && mode != ProgressMode::Never;
    let bar = indicatif::ProgressBar::with_draw_target(
        Some(files),
        if drawn { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
    );
    let template = "{elapsed_precise} [{bar:30}] {pos}/{len} files  {per_sec}  {eta} left";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    let lines = !terminal && mode == ProgressMode::Always;
    let moved = bar.clone();
    let on_files = move |more: u64| {
        let before = moved.position();
        moved.inc(more);
        // A line for every tenth.
        let tenth = |position: u64| position.saturating_mul(10) / files.max(1);
        if lines && tenth(before) < tenth(before + more) {
            use std::io::Write as _;
            let _: std::io::Result<()> = writeln!(std::io::stderr().lock(), "{}/{files} files", before + more);
        }
    };
    (bar, Arc::new(on_files))
}
