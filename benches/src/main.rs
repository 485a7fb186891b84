//! Benchmarks: the whole job against the least that CPython costs and against a Python extractor, the analysis alone, the size of the
//! facts, the memory of a job, and queries.
//!
//! What is a process of its own is charged with the CPU time that the system counts for it and its children, so that nothing hides in a worker.

mod analysis;
mod audit;
mod cluster;
mod daemon;
mod engines;
#[path = "../../crates/facts/tests/common/frames.rs"]
mod frames;
mod job;
mod memory;
mod nights;
mod planning;
mod plot;
mod process;
mod relay;
mod service;
mod size;
mod sql;
mod stream;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Benchmarks of bytefacts. Build first: `cargo build --release --workspace`.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    benchmark: Benchmark,
}

/// How figures are printed.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

#[derive(Subcommand)]
enum Benchmark {
    /// The whole job over the interpreter's standard library: CPU against a bare `compile()` loop, cold and warm, and against a Python extractor.
    Job {
        /// Rounds; each runs every contestant once.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// A CPython 3.13 that has pyarrow, for the Python extractor; without it that comparison is left out.
        #[arg(long, env = "BYTEFACTS_BENCH_PYARROW", value_name = "PYTHON")]
        pyarrow: Option<PathBuf>,
        /// Also run the other Python extractors: with the slow parts of `dis` replaced, and with the columns of `dis` alone, as columns and as dicts.
        #[arg(long)]
        others: bool,
    },
    /// The analysis alone over the interpreter's standard library, on one core and without I/O: instructions a second of decoding, of control
    /// and data flow, and of building Arrow rows. No Parquet.
    Analysis {
        /// Rounds; each part is the fastest of its rounds.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// How figures are printed.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// A cluster of processes on this machine: two executors of one core against one, the cluster's CPU against the embedded cluster's, and jobs
    /// of many bins: time, memory of the scheduler, and what passes between it and the executors. Linux only.
    Cluster {
        /// Rounds.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Jobs of so many bins, afterwards.
        #[arg(long, value_delimiter = ',', default_value = "50,500,2000", value_name = "N,N,...")]
        bins: Vec<u32>,
    },
    /// Bytes of Parquet for each instruction of the interpreter's standard library, and for each byte of its source.
    Size {
        /// How figures are printed.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Queries over the facts of the interpreter's standard library through the views, against the same queries that unnest the nested table: time
    /// and memory at its peak, medians of the rounds. Linux only.
    Sql {
        /// Facts to ask instead of those of the standard library, which are extracted first.
        #[arg(long, value_name = "FOLDER")]
        facts: Option<PathBuf>,
        /// Rounds; each asks every query both ways.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// How figures are printed.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// A large result streamed from the service to the shell as its client: the memory of both while it goes on. Linux only.
    Stream {
        /// Facts to ask instead of those of the standard library, which are extracted first.
        #[arg(long, value_name = "FOLDER")]
        facts: Option<PathBuf>,
        /// Rows at least.
        #[arg(long, default_value_t = 20_000_000)]
        rows: u64,
        /// Seconds from one figure to the next.
        #[arg(long, default_value_t = 5.0)]
        every: f64,
        /// How figures are printed.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Questions over the facts of copies of the standard library, asked of bytefacts and of other engines: DuckDB over flat Parquet with the same
    /// rows, pyarrow and polars over the nested files. Time, CPU and memory at its peak, medians of the rounds; the answers must be equal. Linux only;
    /// it installs the others from PyPI into the folder.
    Engines {
        /// Where corpus, facts, flat files and the others are kept for the next time: some gigabytes.
        #[arg(long, value_name = "FOLDER")]
        folder: PathBuf,
        /// Copies of the standard library, 3.8 million instructions each.
        #[arg(long, default_value_t = 6)]
        copies: usize,
        /// Rounds; each asks everybody every question once.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Threads that each has.
        #[arg(long, default_value_t = 2)]
        threads: usize,
        /// Only the questions with this in their name.
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        /// How figures are printed.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// The SQL service under load: clients that ask the cookbook's questions, half of them on a cluster, while a corpus is extracted there. Each answer is
    /// compared with that at rest; a wrong one, or one that does not come, fails the benchmark. Linux only.
    Service {
        /// Clients at a time.
        #[arg(long, default_value_t = 32)]
        clients: usize,
        /// Minutes.
        #[arg(long, default_value_t = 10.0)]
        minutes: f64,
        /// Kill an executor every quarter of a minute; another one takes its place.
        #[arg(long)]
        kills: bool,
        /// Extract nothing meanwhile.
        #[arg(long)]
        no_extraction: bool,
    },
    /// A corpus of many small repositories, night after night: files, bytes and seconds of a cold run, of one after no change and after one file's,
    /// and of nights in which a share of the repositories changes, next to each other or scattered. Linux only.
    Nights {
        /// Repositories.
        #[arg(long, default_value_t = 10_000)]
        repositories: usize,
        /// Files in each.
        #[arg(long, default_value_t = 10)]
        files: usize,
        /// Nights with changes.
        #[arg(long, default_value_t = 10)]
        nights: usize,
        /// The share of the repositories that changes in a night.
        #[arg(long, default_value_t = 0.01)]
        share: f64,
        /// How figures are printed.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// The determinism audit: CPU of nights of a corpus that does not change, with a warm cache, against the first; and how many digests a comparison of
    /// runs reads.
    Audit {
        /// A corpus instead of the standard library.
        #[arg(long, value_name = "FOLDER")]
        corpus: Option<PathBuf>,
        /// Nights; none leaves them out.
        #[arg(long, default_value_t = 4)]
        nights: u64,
        /// Presets of the matrix.
        #[arg(long, value_delimiter = ',', default_value = "quick", value_name = "NAME,NAME,...")]
        presets: Vec<String>,
        /// Files of the runs that are compared.
        #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000,1000000", value_name = "N,N,...")]
        files: Vec<u32>,
        /// How many of them have changed.
        #[arg(long, value_delimiter = ',', default_value = "0,1,10,100", value_name = "N,N,...")]
        changed: Vec<u32>,
        /// How figures are printed.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// What planning takes as the corpus grows: seconds, memory of the scheduler and of the client at their peaks, and requests to the store. No
    /// executor is there. Linux only.
    Planning {
        /// Files of each corpus.
        #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000", value_name = "N,N,...")]
        files: Vec<usize>,
        /// Where the corpora are made [default: a temporary folder].
        #[arg(long, value_name = "FOLDER")]
        folder: Option<PathBuf>,
        /// The bucket that a server without TLS makes of the folder, for schedulers that list it there. AWS_* variables say the rest.
        #[arg(long, value_name = "URI", requires_all = ["folder", "server"])]
        bucket: Option<String>,
        /// That server.
        #[arg(long, value_name = "HOST:PORT", requires = "bucket")]
        server: Option<String>,
        /// How figures are printed.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// The memory of a job at its peak as the corpus grows: copies of the standard library as repositories. Linux only.
    Memory {
        /// How many copies each job has.
        #[arg(long, value_delimiter = ',', default_value = "1,2,4,8", value_name = "N,N,...")]
        copies: Vec<usize>,
        /// Cores of the embedded cluster [default: all].
        #[arg(long, value_name = "N")]
        jobs: Option<u16>,
        /// Draw the figures as an SVG into this file.
        #[arg(long, value_name = "FILE")]
        plot: Option<PathBuf>,
        /// How figures are printed.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

fn main() -> anyhow::Result<()> {
    match Args::parse().benchmark {
        Benchmark::Job { rounds, pyarrow, others } => job::job(rounds, pyarrow.as_deref(), others),
        Benchmark::Analysis { rounds, format } => analysis::analysis(rounds, format),
        Benchmark::Cluster { rounds, bins } => cluster::cluster(rounds, &bins),
        Benchmark::Size { format } => size::size(format),
        Benchmark::Service { clients, minutes, kills, no_extraction } => {
            let time = std::time::Duration::from_secs_f64(minutes * 60.0);
            service::service(&service::Load { clients, time, kills, extraction: !no_extraction })
        }
        Benchmark::Sql { facts, rounds, format } => sql::sql(facts, rounds, format),
        Benchmark::Stream { facts, rows, every, format } => stream::stream(facts, rows, every, format),
        Benchmark::Engines { folder, copies, rounds, threads, only, format } => {
            engines::engines(&engines::Setting { folder, copies, rounds, threads, only }, format)
        }
        Benchmark::Nights { repositories, files, nights: number, share, format } => {
            nights::nights(nights::Shape { repositories, files, nights: number, share }, format)
        }
        Benchmark::Audit { corpus, nights, presets, files, changed, format } => {
            tokio::runtime::Builder::new_current_thread().build()?.block_on(audit::comparisons(&files, &changed, format))?;
            audit::nights(&audit::Setting { corpus, nights, presets }, format)
        }
        Benchmark::Planning { files, folder, bucket, server, format } => {
            let temporary = tempfile::tempdir()?;
            let folder = folder.unwrap_or_else(|| temporary.path().to_owned());
            planning::planning(&files, &planning::Place { folder, server: bucket.zip(server) }, format)
        }
        Benchmark::Memory { copies, jobs, plot, format } => memory::memory(&copies, jobs, plot.as_deref(), format),
    }
}
