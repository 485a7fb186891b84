//! Daemons as processes of their own, for tests that kill them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::{bytefacts, folder, write_files};

/// Settings that make losses show within seconds. A busy executor is heard of every 5 s only.
const SETTINGS: &str = "
scheduler: {executor_timeout_seconds: 8, no_executors_seconds: 60, drain_seconds: 1}
executor: {connect_seconds: 60, drain_seconds: 60, cores: 1}
client: {stall_seconds: 40, unreachable_seconds: 60, fruitless: 5}
bins: {count: 14}
";

/// A daemon. Dropping it kills it.
pub struct Daemon {
    child: Child,
    /// Where it listens for the cluster.
    pub address: SocketAddr,
    /// Where its probes are.
    pub probes: SocketAddr,
    /// Its id in the cluster.
    pub id: String,
    log: PathBuf,
}

impl Daemon {
    /// Starts a daemon and waits until it says where it listens.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let stderr = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut child = command.args(["--format", "json"]).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: serde_json::Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("a daemon said {line:?} and {}", std::fs::read_to_string(log).unwrap()));
        let address = |key: &str| said[key].as_str().unwrap().parse().unwrap();
        let (address, probes) = (address("address"), address("probes"));
        Self { child, address, probes, id: said["id"].as_str().unwrap().to_owned(), log: log.to_owned() }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// CPU time that it has taken.
    pub fn cpu(&self) -> Duration {
        cpu(self.child.id()).unwrap()
    }

    /// Kills it without a word, as the kernel or a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended; its exit code.
    pub fn wait(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Tells it to end; its exit code.
    pub fn terminate(mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.child.wait().unwrap().code()
    }

    /// What a probe answers: status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        get(self.probes, path).unwrap()
    }

    /// The value of a metric, summed over its labels.
    pub fn metric(&self, name: &str) -> f64 {
        let (status, body) = self.get("/metrics");
        assert_eq!(status, 200);
        let lines = body.lines().filter(|line| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time that a process has taken; none of one that is gone.
pub fn cpu(process: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // In hundredths of a second, whatever the kernel's own clock does.
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

/// What a probe at an address answers: status and body.
pub fn get(probes: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(probes)?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Ok((head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned()))
}

/// A cluster of processes on this machine, with what they share.
pub struct Processes {
    /// Settings, logs, cache and work folders.
    pub home: TempDir,
    /// Variables that every process gets, such as the credentials of an object store.
    pub environment: Vec<(String, String)>,
}

impl Processes {
    /// Nothing is started yet.
    pub fn new() -> Self {
        let home = folder();
        write_files(home.path(), &[("settings.yaml", SETTINGS.as_bytes())]);
        Self { home, environment: Vec::new() }
    }

    pub async fn command(&self, args: &[&str]) -> Command {
        let mut command = bytefacts(&self.home.path().join("cache"), args).await;
        command.env("BYTEFACTS_CONFIG", self.home.path().join("settings.yaml"));
        command.env("BYTEFACTS_EXECUTOR__WORK_DIR", self.home.path().join("work"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A scheduler; on a given port when it takes the place of another one.
    pub async fn scheduler(&self, port: u16) -> Daemon {
        let listen = format!("127.0.0.1:{port}");
        let command = self.command(&["scheduler", "--listen", &listen, "--probes", "127.0.0.1:0"]).await;
        Daemon::start(command, &self.home.path().join("scheduler.log"))
    }

    /// An executor on a node of this name.
    pub async fn executor(&self, node: &str, scheduler: SocketAddr) -> Daemon {
        self.executor_with(node, scheduler, &[]).await
    }

    /// An executor with further arguments.
    pub async fn executor_with(&self, node: &str, scheduler: SocketAddr, more: &[&str]) -> Daemon {
        let scheduler = scheduler.to_string();
        let mut args = vec!["executor", "--scheduler", &scheduler, "--node", node, "--listen", "127.0.0.1:0", "--probes", "127.0.0.1:0"];
        args.extend(more);
        Daemon::start(self.command(&args).await, &self.home.path().join(format!("{node}.log")))
    }

    /// `bytefacts extract` with these arguments; the summary is asked for as JSON.
    pub async fn extract(&self, scheduler: SocketAddr, args: &[&str]) -> Running {
        let url = format!("df://{scheduler}");
        let mut all = vec!["extract", "--cluster", &url, "--format", "json", "--progress", "never"];
        all.extend(args);
        let child = self.command(&all).await.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Running { child, said: String::new() }
    }
}

/// A client under way.
pub struct Running {
    child: Child,
    /// What it has said on stderr, as far as that was read.
    said: String,
}

impl Running {
    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it has said this on stderr.
    pub fn says(&mut self, words: &str) {
        // A byte at a time, so that nothing is read that is not kept.
        let stderr = self.child.stderr.as_mut().unwrap();
        let mut said = Vec::new();
        while !String::from_utf8_lossy(&said).contains(words) {
            let mut byte = [0];
            assert!(stderr.read(&mut byte).unwrap() > 0, "it ended, and said {:?} only", String::from_utf8_lossy(&said));
            said.extend(byte);
        }
        self.said += &String::from_utf8(said).unwrap();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Kills it without a word.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end; exit code, stdout, stderr. One that does not end within the limit is killed, and fails the test.
    pub async fn end(mut self, limit: Duration) -> (i32, String, String) {
        let begun = Instant::now();
        while self.is_running() {
            if begun.elapsed() > limit {
                self.child.kill().unwrap();
                let output = self.child.wait_with_output().unwrap();
                panic!("a client did not end within {limit:?}: {}{}", self.said, String::from_utf8_lossy(&output.stderr));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let output = self.child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap_or(-1), text(output.stdout), self.said + &text(output.stderr))
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // On a failure, what the daemons said is worth more than anything else.
        if std::thread::panicking() {
            for entry in std::fs::read_dir(self.home.path()).into_iter().flatten().flatten() {
                if entry.path().extension().is_some_and(|e| e == "log") {
                    let log = std::fs::read_to_string(entry.path()).unwrap_or_default();
                    let tail = log.lines().rev().take(40).collect::<Vec<_>>();
                    let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
                    let mut stderr = std::io::stderr().lock();
                    let _ = writeln!(stderr, "--- the end of {}\n{tail}", entry.path().display());
                }
            }
        }
    }
}
