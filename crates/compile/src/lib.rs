//! Pool of confined CPython 3.13 workers: source bytes in, marshalled code or a structured error out.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use bytefacts_compile::{CompileOptions, Limits, Outcome, Pool, discover};
//!
//! let interpreter = discover(None).await?;
//! let pool = Pool::start(&interpreter, CompileOptions::default(), 4, Limits::default()).await?;
//! match pool.compile("x = 1".into()).await?.outcome {
//!     Outcome::Code(marshalled) => assert!(!marshalled.is_empty()),
//!     Outcome::Failed(diagnostic) => assert!(!diagnostic.message.is_empty()),
//! }
//! pool.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What fixes an outcome
//!
//! The source, [`CompileOptions`] and the interpreter's version, and nothing else. A worker runs without an environment,
//! site packages or user folder, with a fixed hash seed, in the root folder; it gets bytes, compiles them under the name
//! `<bytefacts>` and marshals without references, which would tell what was compiled before. A unit that fails on a
//! worker with a past, for want of memory or because the worker died, is tried again on a fresh one. Outcomes that
//! [`Limits`] decided say so: [`Compiled::is_reproducible`].
//!
//! # What confines a worker
//!
//! - It compiles and never executes what it compiled. The codec that a coding cookie names is imported, from the
//!   interpreter's own library only.
//! - The kernel bounds its CPU time a unit (`ITIMER_PROF`, which ends C code too), its address space, the files it
//!   writes (none) and opens (32). The compiling thread's C stack has a fixed size. Core dumps are off.
//! - A worker that crashes or stands still costs one unit and is replaced. A unit is never blamed for a worker that somebody else killed. None outlives the pool: it ends when its input
//!   does, on Linux also in the middle of a unit.
//!
//! There is no sandbox beside that: nothing takes the network, the file system or system calls from a worker. It needs
//! none of the network; who wants to be sure that even a broken CPython parser reaches nothing gives the whole process a
//! network policy, a read-only root and an unprivileged user. On macOS the address space is not bounded.

#[cfg(not(unix))]
compile_error!("workers are confined by means of Unix; Windows is not supported");

mod discover;
mod ending;
mod environment;
pub mod install;
mod interpreter;
mod judging;
mod launch;
mod outcome;
mod pool;
mod protocol;
mod settings;
mod source_line;
mod worker;

pub use discover::{Candidate, DiscoverError, PYTHON_VAR, Tried, discover, discover_in};
pub use ending::{Ending, Witness};
pub use environment::{CACHE_DIR_VAR, Environment, cache_dir};
pub use interpreter::{Interpreter, PROBE_LIMIT, ProbeError, probe};
pub use judging::{Evidence, Judgeable};
pub use outcome::{Compiled, Diagnostic, MAX_TEXT, MEMORY_LIMIT, Outcome, SIZE_LIMIT, Severity, TIME_LIMIT, WORKER_CRASH};
pub use pool::{Pool, PoolError, PoolStats};
pub use settings::{CompileOptions, Limits, WorkerSettings};
pub use worker::SCRIPT as WORKER_SCRIPT;
