//! Servers that tests start: programs of package indexes, installed once into the tests' own folder.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// The folder of a virtual environment of that name with a package of the Python package index; `complete` adds what else it
/// needs. Whoever comes second waits: a half-made environment is no use.
pub async fn environment(name: &str, package: &str, complete: impl FnOnce(&Path)) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let ready = folder.join("ready");
    if !ready.exists() {
        std::fs::create_dir_all(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let lock = std::fs::File::create(folder.with_extension("lock")).unwrap();
        lock.lock().unwrap();
        if !ready.exists() {
            let python = crate::support::python().await.executable;
            install(Command::new(python).args(["-m", "venv"]).arg(&folder));
            install(Command::new(folder.join("bin/python")).args(["-m", "pip", "install", "--quiet", package]));
            complete(&folder);
            std::fs::write(ready, package).unwrap();
        }
    }
    folder
}

/// Runs a command that installs something.
pub fn install(command: &mut Command) {
    let done = command.stdout(Stdio::null()).status().unwrap();
    assert!(done.success(), "{command:?} failed: is there a way to the package index?");
}

/// A port that nobody listens on, nor will: it is below those that the system gives to whoever asks for any, and is given away once.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let end = range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768).max(12_000);
    let ports = end - 11_000;
    // Other processes of these tests begin elsewhere.
    let first = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(ports)).unwrap();
    loop {
        let port = 11_000 + (first + GIVEN.fetch_add(1, Ordering::Relaxed)) % ports;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Makes requests of a server that has just been started until one is answered well.
pub async fn up(server: &mut Child, request: impl Fn() -> std::io::Result<()>) {
    let begun = Instant::now();
    while let Err(error) = request() {
        assert!(begun.elapsed() < Duration::from_secs(180), "the server does not come up: {error}");
        assert!(server.try_wait().unwrap().is_none(), "the server ended: {error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Sends a `PUT` without a body; the answer must be of the 200s.
pub fn put(port: u16, target: &str) -> std::io::Result<()> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "PUT {target} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    if status.starts_with('2') { Ok(()) } else { Err(std::io::Error::other(answer)) }
}
