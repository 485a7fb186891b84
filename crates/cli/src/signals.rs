//! The signals that end a command: SIGTERM, as of a service manager or a job's end, and Ctrl-C.
//!
//! The first one lets a command end in order. The second ends the process at once, and so does the first where nobody waits for it any more.

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

/// How long a command may take to put things in order once it was told to end.
pub const GRACE: Duration = Duration::from_secs(1);

/// The exit code of a process that a signal ends is this and the signal's number.
pub const BY_SIGNAL: i32 = 128;

/// Listens for the signals as long as it lives.
#[derive(Clone)]
pub struct Signals(watch::Receiver<Option<&'static str>>);

impl Signals {
    /// Begins to listen, or listens with those who do: of two who listen by themselves, one would end the process under the other's hands.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn listen() -> anyhow::Result<Self> {
        static TELL: OnceLock<watch::Sender<Option<&'static str>>> = OnceLock::new();
        if let Some(tell) = TELL.get() {
            return Ok(Self(tell.subscribe()));
        }
        let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
        let mut streams = [
            (signal(terminate).context("cannot listen for SIGTERM")?, "SIGTERM", terminate.as_raw_value()),
            (signal(interrupt).context("cannot listen for Ctrl-C")?, "Ctrl-C", interrupt.as_raw_value()),
        ];
        let (tell, told) = watch::channel(None);
        let tell = TELL.get_or_init(|| tell);
        tokio::spawn(async move {
            let (name, number) = next(&mut streams).await;
            if tell.send(Some(name)).is_err() {
                std::process::exit(BY_SIGNAL + number);
            }
            let (_, number) = next(&mut streams).await;
            std::process::exit(BY_SIGNAL + number);
        });
        Ok(Self(told))
    }

    /// Waits for the first signal; its name.
    pub async fn first(&self) -> &'static str {
        let mut told = self.0.clone();
        loop {
            if let Some(name) = *told.borrow_and_update() {
                return name;
            }
            if told.changed().await.is_err() {
                // Nobody sends any more: the runtime ends.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits for `work`, but once a signal has come no longer than [`GRACE`]; `None` if that was too short.
    pub async fn bounded<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = async { self.first().await; sleep(GRACE).await } => None,
        }
    }
}

/// Listens for SIGTERM alone, where Ctrl-C is meant for somebody else.
pub struct Termination(Stream);

impl Termination {
    /// Begins to listen.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn listen() -> anyhow::Result<Self> {
        Ok(Self(signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?))
    }

    /// Waits for it.
    pub async fn comes(&mut self) {
        self.0.recv().await;
    }
}

async fn next(streams: &mut [(Stream, &'static str, i32); 2]) -> (&'static str, i32) {
    let [(terminate, terminated, fifteen), (interrupt, interrupted, two)] = streams;
    tokio::select! {
        _ = terminate.recv() => (*terminated, *fifteen),
        _ = interrupt.recv() => (*interrupted, *two),
    }
}
