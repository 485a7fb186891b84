//! What the binary owes as process 1 of a container: it hands on signals, reaps who has lost its parent, and ends as its command did.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::not_tested;

/// Long beyond what is waited for, so that only what never happens fails.
const LIMIT: Duration = Duration::from_secs(60);

/// Options of `unshare`: what it starts is process 1, and is killed with it.
const NAMESPACE: [&str; 6] = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"];

/// Says so where not.
fn there_are_namespaces() -> bool {
    let there = Command::new("unshare").args(NAMESPACE).arg("true").status().is_ok_and(|status| status.success());
    if !there {
        not_tested("process 1 of a container", "this machine gives no process namespaces (unshare)");
    }
    there
}

/// `bytefacts` as process 1 of a namespace of its own, and the machine's number of it; `None` where the machine has no such namespaces for us.
struct First {
    unshare: Child,
    pid: i32,
}

impl First {
    fn start(arguments: &[&str]) -> Option<Self> {
        if !there_are_namespaces() {
            return None;
        }
        let mut command = Command::new("unshare");
        command.args(NAMESPACE).arg(env!("CARGO_BIN_EXE_bytefacts")).args(arguments);
        let unshare = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pid = until(|| children(unshare.id().cast_signed()).first().copied());
        // Its own child is there once it listens to signals.
        until(|| children(pid).first().copied());
        Some(Self { unshare, pid })
    }

    fn send(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid), signal).unwrap();
    }

    /// The exit code.
    fn end(&mut self) -> Option<i32> {
        until(|| self.unshare.try_wait().unwrap()).code()
    }
}

impl Drop for First {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

fn until<T>(mut question: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(begun.elapsed() < LIMIT, "not so after {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn children(of: i32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[test]
fn a_command_that_listens_to_no_signal_can_be_ended() {
    // `dis -` waits for a source that nobody gives. Of process 1 itself the kernel would keep the signal away.
    let Some(mut first) = First::start(&["dis", "-"]) else { return };
    first.send(Signal::SIGTERM);
    assert_eq!(first.end(), Some(128 + 15));
}

#[test]
fn who_has_lost_its_parent_is_reaped() {
    let Some(mut first) = First::start(&["dis", "-"]) else { return };
    let own = children(first.pid);
    // Each `sh` in brackets is left by its parent, and ends a moment later.
    let orphans = "for _ in 1 2 3 4 5 6 7 8; do (sleep 0.1 &); done; exec sleep 0.3";
    let inside = Command::new("nsenter")
        .args(["--target", &first.pid.to_string(), "--user", "--preserve-credentials", "--pid", "--mount", "sh", "-c", orphans])
        .status()
        .unwrap();
    assert!(inside.success());
    until(|| (children(first.pid) == own).then_some(()));
    first.send(Signal::SIGTERM);
    assert_eq!(first.end(), Some(128 + 15));
}

#[test]
fn exit_codes_come_through() {
    if !there_are_namespaces() {
        return;
    }
    for (arguments, code) in [(&["--no-such-option"][..], 2), (&["runs", "--facts", "/nowhere/at/all"], 1), (&["completions", "bash"], 0)] {
        let status = Command::new("unshare").args(NAMESPACE).arg(env!("CARGO_BIN_EXE_bytefacts")).args(arguments).output().unwrap().status;
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
}
