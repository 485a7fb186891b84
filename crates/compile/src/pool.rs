//! N workers behind one bounded queue.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex as AsyncMutex, RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::interpreter::Interpreter;
use crate::judging::{Evidence, Judgeable};
use crate::outcome::{Compiled, Diagnostic, MEMORY_LIMIT, Outcome, SIZE_LIMIT, TIME_LIMIT, WORKER_CRASH};
use crate::protocol::Answer;
use crate::settings::{CompileOptions, Limits, WorkerSettings};
use crate::source_line;
use crate::worker::{Blueprint, Death, StartError, Worker};

/// Why the pool could not answer. Never the fault of a unit.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// CPython has no such level of optimisation.
    #[error("optimize is {0}, but CPython knows 0, 1 and 2 only")]
    Optimize(u8),
    /// The pool was shut down or dropped.
    #[error("the compile pool is closed")]
    Closed,
    /// No worker could be started.
    #[error("no CPython worker could be started after {attempts} attempts: {reason}")]
    Start {
        /// How often it was tried.
        attempts: u32,
        /// What the last attempt said.
        reason: String,
    },
    /// Workers are killed from outside, again and again.
    #[error("{kills} workers in a row were killed from outside ({how}) while they worked on one unit, which is not to blame for it")]
    Killed {
        /// How many.
        kills: u32,
        /// By which signal, or for want of what.
        how: String,
    },
}

/// Counters since the start of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Units answered.
    pub units: u64,
    /// Workers started.
    pub starts: u64,
    /// Workers that died by themselves.
    pub crashes: u64,
    /// Workers that somebody else killed.
    pub killed: u64,
    /// Workers ended by a limit of time.
    pub timeouts: u64,
    /// Workers that ran out of memory, or were doubted because a unit did.
    pub out_of_memory: u64,
    /// Workers replaced for their age or their size.
    pub recycled: u64,
    /// CPU time of the answered units.
    pub cpu: Duration,
}

impl PoolStats {
    /// The counters of two pools together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            units: self.units + other.units,
            starts: self.starts + other.starts,
            crashes: self.crashes + other.crashes,
            killed: self.killed + other.killed,
            timeouts: self.timeouts + other.timeouts,
            out_of_memory: self.out_of_memory + other.out_of_memory,
            recycled: self.recycled + other.recycled,
            cpu: self.cpu + other.cpu,
        }
    }

    /// Workers that were replaced, for whatever reason.
    #[must_use]
    pub const fn restarts(&self) -> u64 {
        self.crashes + self.killed + self.timeouts + self.out_of_memory + self.recycled
    }
}

/// A pool of CPython workers. Share it behind an `Arc`; dropping it kills the workers.
///
/// Units are answered first come, first served. What becomes of a unit depends on the unit alone: when a worker that
/// has seen others runs out of memory, stands still or dies, the unit gets a second chance on a fresh one, and only
/// what happens there counts. A worker that somebody else killed counts for nothing, and where the kernel did so for want
/// of memory, the unit is tried again while no other unit of the pool is at work.
#[derive(Debug)]
pub struct Pool {
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    tasks: AsyncMutex<JoinSet<()>>,
    counters: Arc<Counters>,
}

#[derive(Debug)]
enum Job {
    Compile { source: Bytes, reply: oneshot::Sender<Result<Compiled, PoolError>> },
    Judge { unit: Judgeable, evidence: mpsc::Sender<Evidence>, reply: oneshot::Sender<Result<Option<Diagnostic>, PoolError>> },
}

type Queue = Arc<AsyncMutex<mpsc::Receiver<Job>>>;

impl Pool {
    /// Starts a pool of at most `workers` processes (at least one). The first is started at once, so that what is wrong
    /// shows here; the others when there is work for them.
    ///
    /// # Errors
    /// [`PoolError::Start`] if no worker starts, [`PoolError::Optimize`] if the options make no sense.
    pub async fn start(interpreter: &Interpreter, options: CompileOptions, workers: usize, limits: Limits) -> Result<Self, PoolError> {
        Self::start_with(interpreter, options, workers, limits, WorkerSettings::default()).await
    }

    /// Like [`Pool::start`], with what audits vary.
    ///
    /// # Errors
    /// As [`Pool::start`].
    pub async fn start_with(
        interpreter: &Interpreter,
        options: CompileOptions,
        workers: usize,
        limits: Limits,
        settings: WorkerSettings,
    ) -> Result<Self, PoolError> {
        if options.optimize > 2 {
            return Err(PoolError::Optimize(options.optimize));
        }
        let blueprint = Arc::new(Blueprint { interpreter: interpreter.clone(), options, limits, settings });
        let counters = Arc::new(Counters::default());
        let workers = workers.max(1);
        let (sender, receiver) = mpsc::channel(workers);
        let queue = Arc::new(AsyncMutex::new(receiver));
        let turns = Arc::new(RwLock::new(()));
        let mut slots: Vec<_> = (0..workers).map(|_| Slot::new(&blueprint, &counters, &turns)).collect();
        if let Some(first) = slots.first_mut() {
            first.worker().await?;
        }
        let mut tasks = JoinSet::new();
        for slot in slots {
            tasks.spawn(slot.serve(Arc::clone(&queue)));
        }
        Ok(Self { queue: Mutex::new(Some(sender)), tasks: AsyncMutex::new(tasks), counters })
    }

    /// Compiles one unit. Waits while the queue is full. Bad source, limits and crashes are outcomes, not errors.
    ///
    /// # Errors
    /// [`PoolError`], only when no worker can be had at all.
    pub async fn compile(&self, source: Bytes) -> Result<Compiled, PoolError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job::Compile { source, reply }).await?;
        answer.await.map_err(|_| PoolError::Closed)?
    }

    /// Has a worker compile one unit once more and say what CPython's `dis` makes of it. The facts come through `evidence` while
    /// they are derived, and waiting for its reader costs the worker no CPU time. Gives the reason of stage `oracle` if the
    /// judge could not finish: a limit, a crash, or an exception of `dis`.
    ///
    /// # Errors
    /// As [`Pool::compile`].
    pub async fn judge(&self, unit: Judgeable, evidence: mpsc::Sender<Evidence>) -> Result<Option<Diagnostic>, PoolError> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job::Judge { unit, evidence, reply }).await?;
        answer.await.map_err(|_| PoolError::Closed)?
    }

    async fn enqueue(&self, job: Job) -> Result<(), PoolError> {
        let queue = self.lock_queue().clone().ok_or(PoolError::Closed)?;
        queue.send(job).await.map_err(|_| PoolError::Closed)
    }

    /// The counters now.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.counters.read()
    }

    /// Takes no more units, answers those that are queued, lets the workers end. Returns when they are gone.
    pub async fn shutdown(&self) {
        drop(mem::take(&mut *self.lock_queue()));
        let mut tasks = self.tasks.lock().await;
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task of the compile pool failed");
            }
        }
    }

    fn lock_queue(&self) -> std::sync::MutexGuard<'_, Option<mpsc::Sender<Job>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one worker: owned by one task, empty until there is work and after a death.
#[derive(Debug)]
struct Slot {
    blueprint: Arc<Blueprint>,
    counters: Arc<Counters>,
    turns: Turns,
    worker: Option<Worker>,
}

/// Shared by who works beside others, and taken whole by who must be alone in the pool.
type Turns = Arc<RwLock<()>>;

/// A unit's turn; held, and nothing else.
enum Turn<'a> {
    Beside { _others: RwLockReadGuard<'a, ()> },
    Alone { _whole: RwLockWriteGuard<'a, ()> },
}

/// What has become of the workers that one unit was given.
#[derive(Debug, Default)]
struct Losses {
    /// Workers that crashed or stood still.
    failures: u32,
    /// Workers that somebody else killed.
    kills: u32,
    /// Workers that the kernel killed for want of memory while no other unit was at work.
    starved_alone: u32,
    /// Whether the next one must be alone.
    alone: bool,
}

/// Workers that may be killed from outside, or starve alone, until something is said of it: what happens to a node happens more than once.
const MOST_KILLS: u32 = 10;
const MOST_STARVED: u32 = 3;
/// Between a kill and the next worker: who killed the last one may still be at it.
const KILL_PAUSE: Duration = Duration::from_millis(200);

impl Losses {
    async fn turn<'a>(&self, turns: &'a RwLock<()>) -> Turn<'a> {
        if self.alone { Turn::Alone { _whole: turns.write().await } } else { Turn::Beside { _others: turns.read().await } }
    }
}

/// What the death of a worker means for its unit.
enum Consequence {
    /// It is tried on a fresh worker.
    Again,
    /// It is given up: stage, type and message.
    Failed(&'static str, &'static str, String),
}

impl Slot {
    fn new(blueprint: &Arc<Blueprint>, counters: &Arc<Counters>, turns: &Turns) -> Self {
        Self { blueprint: Arc::clone(blueprint), counters: Arc::clone(counters), turns: Arc::clone(turns), worker: None }
    }

    async fn serve(mut self, queue: Queue) {
        // The lock is fair, so idle slots take turns; it is held while waiting for a unit, not while working on it.
        while let Some(job) = { queue.lock().await.recv().await } {
            match job {
                Job::Compile { reply, .. } if reply.is_closed() => {}
                Job::Judge { reply, .. } if reply.is_closed() => {}
                Job::Compile { source, reply } => {
                    let compiled = self.compile(&source).await;
                    if let Ok(compiled) = &compiled {
                        Counters::add(&self.counters.units, 1);
                        Counters::add(&self.counters.cpu_nanos, u64::try_from(compiled.cpu.as_nanos()).unwrap_or(u64::MAX));
                    }
                    let _ = reply.send(compiled);
                }
                Job::Judge { unit, evidence, reply } => {
                    let judged = self.judge(&unit, &evidence).await;
                    let _ = reply.send(judged);
                }
            }
        }
        if let Some(worker) = self.worker.take() {
            worker.retire(self.blueprint.limits.start_wall).await;
        }
    }

    /// Compiles one unit, on a second worker if the first one's end may not have been the unit's fault.
    async fn compile(&mut self, source: &[u8]) -> Result<Compiled, PoolError> {
        let blueprint = Arc::clone(&self.blueprint);
        let limits = &blueprint.limits;
        let size = source.len() as u64;
        if size > limits.source_bytes.min(u64::from(u32::MAX)) {
            let message = format!("the source has {size} bytes, more than the limit of {}", limits.source_bytes);
            return Ok(failed("read", SIZE_LIMIT, message, Duration::ZERO));
        }
        let (turns, mut losses) = (Arc::clone(&self.turns), Losses::default());
        loop {
            let _turn = losses.turn(&turns).await;
            let worker = self.worker().await?;
            let was_fresh = worker.is_fresh();
            let death = match worker.compile(source, limits).await {
                Ok(answer) if !ran_out_of_memory(&answer) => {
                    self.recycle_if_due(answer.resident);
                    return Ok(compiled(answer, source));
                }
                Ok(_) => Death::Memory,
                Err(death) => death,
            };
            let cpu = if death == Death::Cpu { limits.unit_cpu } else { Duration::ZERO };
            if let Consequence::Failed(stage, error_type, message) =
                self.judge_death(death, was_fresh, &mut losses, size, limits.unit_cpu).await?
            {
                return Ok(failed(stage, error_type, message, cpu));
            }
        }
    }

    /// Has one unit judged, on a second worker on the same terms as [`Slot::compile`].
    async fn judge(&mut self, unit: &Judgeable, evidence: &mpsc::Sender<Evidence>) -> Result<Option<Diagnostic>, PoolError> {
        let blueprint = Arc::clone(&self.blueprint);
        let limits = &blueprint.limits;
        let (turns, mut losses) = (Arc::clone(&self.turns), Losses::default());
        loop {
            let _turn = losses.turn(&turns).await;
            let worker = self.worker().await?;
            let was_fresh = worker.is_fresh();
            let _ = evidence.send(Evidence::Begin).await;
            let death = match worker.judge(unit, evidence, limits).await {
                Ok((failure, resident)) if !failure.as_ref().is_some_and(is_out_of_memory) => {
                    self.recycle_if_due(resident);
                    return Ok(failure);
                }
                Ok(_) => Death::Memory,
                Err(death) => death,
            };
            let size = unit.source.len() as u64;
            if let Consequence::Failed(_, error_type, message) =
                self.judge_death(death, was_fresh, &mut losses, size, limits.judge_cpu).await?
            {
                return Ok(Some(Diagnostic::limit("oracle", error_type, message)));
            }
        }
    }

    /// Counts the death of the worker, and says what it means for the unit of `size` bytes.
    ///
    /// # Errors
    /// When worker after worker is killed from outside: the unit is not to blame, and no worker stays alive to compile it.
    async fn judge_death(
        &mut self,
        death: Death,
        was_fresh: bool,
        losses: &mut Losses,
        size: u64,
        cpu: Duration,
    ) -> Result<Consequence, PoolError> {
        let limits = &self.blueprint.limits;
        self.worker = None;
        self.counters.count(&death);
        let failed = |stage, error_type, message| Ok(Consequence::Failed(stage, error_type, message));
        match death {
            Death::Cpu => failed("compile", TIME_LIMIT, format!("more than {cpu:?} of CPU time")),
            Death::Memory if was_fresh => failed("compile", MEMORY_LIMIT, format!("more than {} bytes of memory", limits.memory_bytes)),
            Death::Memory => Ok(Consequence::Again),
            Death::Wall if losses.failures == 0 => {
                tracing::warn!(bytes = size, limit = ?limits.unit_wall, "a worker stood still; trying the unit on a fresh one");
                losses.failures += 1;
                Ok(Consequence::Again)
            }
            Death::Wall => failed("compile", TIME_LIMIT, format!("no answer within {:?}, twice", limits.unit_wall)),
            Death::Crash { how, stderr } if losses.failures == 0 => {
                tracing::warn!(bytes = size, how, stderr, "a worker crashed; trying the unit on a fresh one");
                losses.failures += 1;
                Ok(Consequence::Again)
            }
            Death::Crash { how, stderr } => {
                tracing::warn!(bytes = size, how, stderr, "a unit crashed two workers and is given up");
                failed("quarantine", WORKER_CRASH, format!("two workers ended: {how}"))
            }
            Death::OutOfMemory => {
                losses.starved_alone += u32::from(losses.alone && was_fresh);
                losses.alone = true;
                if losses.starved_alone >= MOST_STARVED {
                    tracing::warn!(bytes = size, "a unit takes more memory than there is and is given up");
                    return failed("compile", MEMORY_LIMIT, "more memory than the executor has".to_owned());
                }
                self.survive(losses, size, "out of memory").await
            }
            Death::Killed { how } => self.survive(losses, size, &how).await,
        }
    }

    /// Bears the loss of a worker that the unit is not to blame for, as long as that makes sense.
    async fn survive(&self, losses: &mut Losses, size: u64, how: &str) -> Result<Consequence, PoolError> {
        losses.kills += 1;
        if losses.kills >= MOST_KILLS {
            return Err(PoolError::Killed { kills: losses.kills, how: how.to_owned() });
        }
        tracing::warn!(bytes = size, how, "a worker was killed; trying the unit on a fresh one");
        sleep(KILL_PAUSE).await;
        Ok(Consequence::Again)
    }

    /// The living worker of this slot; starts one, with some patience, if there is none.
    async fn worker(&mut self) -> Result<&mut Worker, PoolError> {
        if let Some(death) = self.worker.as_mut().and_then(Worker::ended_idle) {
            tracing::warn!(?death, "a worker ended while it was idle");
            self.counters.count(&death);
            self.worker = None;
        }
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None => self.start().await?,
        };
        Ok(self.worker.insert(worker))
    }

    async fn start(&self) -> Result<Worker, PoolError> {
        let mut pauses = [50, 200, 800, 2_000].into_iter().map(Duration::from_millis);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let error = match self.blueprint.start().await {
                Ok(worker) => {
                    Counters::add(&self.counters.starts, 1);
                    return Ok(worker);
                }
                Err(error) => error,
            };
            let pause = pauses.next().filter(|_| !matches!(error, StartError::Changed { .. }));
            let Some(pause) = pause else { return Err(PoolError::Start { attempts, reason: error.to_string() }) };
            tracing::warn!(%error, attempts, ?pause, "a worker did not start; trying again");
            sleep(pause).await;
        }
    }

    /// Retires a worker whose age or size could come to matter for the units after it.
    fn recycle_if_due(&mut self, resident: u64) {
        let limits = &self.blueprint.limits;
        let due = |worker: &mut Worker| worker.units() >= limits.recycle_units || resident > limits.recycle_bytes;
        if self.worker.as_mut().is_some_and(due) {
            self.worker = None;
            Counters::add(&self.counters.recycled, 1);
        }
    }
}

fn compiled(answer: Answer, source: &[u8]) -> Compiled {
    let Answer { mut outcome, mut warnings, cpu, .. } = answer;
    for warning in &mut warnings {
        source_line::fill_in(warning, source);
    }
    if let Outcome::Failed(failure) = &mut outcome {
        source_line::fill_in(failure, source);
    }
    Compiled { outcome, warnings, cpu }
}

fn failed(stage: &str, error_type: &str, message: String, cpu: Duration) -> Compiled {
    Compiled { outcome: Outcome::Failed(Diagnostic::limit(stage, error_type, message)), warnings: Vec::new(), cpu }
}

fn ran_out_of_memory(answer: &Answer) -> bool {
    matches!(&answer.outcome, Outcome::Failed(failure) if is_out_of_memory(failure))
}

/// Whether an allocation failed. A MemoryError with a message is the parser's, for source that is too complex whatever
/// the memory; and where CPython forgets to raise one, the call that failed is reported as a SystemError.
fn is_out_of_memory(failure: &Diagnostic) -> bool {
    match failure.error_type.as_str() {
        "MemoryError" => failure.message.is_empty(),
        "SystemError" => failure.message.ends_with("without setting an exception"),
        _ => false,
    }
}

#[derive(Debug, Default)]
struct Counters {
    units: AtomicU64,
    starts: AtomicU64,
    crashes: AtomicU64,
    killed: AtomicU64,
    timeouts: AtomicU64,
    out_of_memory: AtomicU64,
    recycled: AtomicU64,
    cpu_nanos: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Relaxed);
    }

    fn count(&self, death: &Death) {
        let counter = match death {
            Death::Cpu | Death::Wall => &self.timeouts,
            Death::Memory | Death::OutOfMemory => &self.out_of_memory,
            Death::Crash { .. } => &self.crashes,
            Death::Killed { .. } => &self.killed,
        };
        Self::add(counter, 1);
    }

    fn read(&self) -> PoolStats {
        PoolStats {
            units: self.units.load(Relaxed),
            starts: self.starts.load(Relaxed),
            crashes: self.crashes.load(Relaxed),
            killed: self.killed.load(Relaxed),
            timeouts: self.timeouts.load(Relaxed),
            out_of_memory: self.out_of_memory.load(Relaxed),
            recycled: self.recycled.load(Relaxed),
            cpu: Duration::from_nanos(self.cpu_nanos.load(Relaxed)),
        }
    }
}
