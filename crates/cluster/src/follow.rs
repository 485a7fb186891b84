//! What an executor does on what its scheduler tells it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures::StreamExt as _;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::events::{Event, Introduction};
use crate::remote::{EVENTS, RemoteScheduler, RestError};
use crate::tasks::Tasks;

/// A silence after which who listens connects anew.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);

/// How often a scheduler is asked for work that does not tell of it, as by Ballista's own executors.
const UNTOLD: Duration = Duration::from_millis(50);

/// How long a lost connection is left alone; executors ask for work meanwhile.
pub(crate) const RECONNECT: Duration = Duration::from_secs(1);

/// Does what the scheduler says, for as long as the executor lives: `wake` has it ask for work, and the tasks of a cancelled job are ended.
pub(crate) async fn follow(scheduler: RemoteScheduler, introduction: Introduction, tasks: Arc<Tasks>, wake: Arc<Notify>) {
    loop {
        if let Err(error) = follow_once(&scheduler, &introduction, &tasks, &wake).await {
            tracing::debug!(%error, "the scheduler tells nothing; it is asked instead");
        }
        // Without being told, work must be asked for.
        let asking = async {
            loop {
                wake.notify_one();
                sleep(UNTOLD).await;
            }
        };
        // It ends by the limit.
        let _: Result<(), _> = timeout(RECONNECT, asking).await;
    }
}

async fn follow_once(scheduler: &RemoteScheduler, introduction: &Introduction, tasks: &Tasks, wake: &Notify) -> Result<(), RestError> {
    let mut lines = Lines::of(scheduler.post(EVENTS, introduction).await?);
    while let Ok(Some(line)) = timeout(SILENCE, lines.next()).await {
        match serde_json::from_slice(&line) {
            Ok(Event::Work) => wake.notify_one(),
            Ok(Event::Cancelled { job }) => tasks.end(&job).await,
            Ok(Event::Alive) => {}
            // A scheduler of another version may say more.
            Err(error) => tracing::debug!(%error, "the scheduler says what is not understood"),
        }
    }
    Ok(())
}

/// The lines of a body.
pub(crate) struct Lines {
    body: BodyDataStream,
    begun: Vec<u8>,
}

impl Lines {
    pub(crate) fn of(body: Body) -> Self {
        Self { body: body.into_data_stream(), begun: Vec::new() }
    }

    /// The next line, without its end; none where the body ends or breaks.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.begun.iter().position(|&byte| byte == b'\n') {
                let rest = self.begun.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.begun, rest);
                line.truncate(end);
                return Some(line);
            }
            self.begun.extend_from_slice(&self.body.next().await?.ok()?);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_end_where_they_end() {
        let mut lines = Lines::of(Body::from("a\n\nbc\nlost"));
        for expected in [&b"a"[..], b"", b"bc"] {
            assert_eq!(lines.next().await.unwrap(), expected);
        }
        assert_eq!(lines.next().await, None);
    }
}
