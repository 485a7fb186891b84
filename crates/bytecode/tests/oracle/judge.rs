//! Talks to judge.py: frames of a length and that many bytes.

use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use crate::python;

/// A running judge. It is waited for when its answers have been read.
pub struct Judge {
    process: Child,
    output: BufReader<ChildStdout>,
}

/// An answer of the judge.
pub enum Frame {
    Payload(Vec<u8>),
    /// The file does not compile.
    Failed,
}

impl Judge {
    pub fn start(python: &Path, arguments: &[&str]) -> Self {
        let mut command = python::script(python, "tests/oracle/judge.py");
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the judge starts");
        let output = process.stdout.take().expect("stdout is piped");
        Self { process, output: BufReader::with_capacity(1 << 20, output) }
    }

    /// The next frame, or `None` when the judge is done.
    pub fn frame(&mut self) -> Option<Frame> {
        let mut header = [0; 4];
        if self.output.read_exact(&mut header).is_err() {
            assert!(self.process.wait().expect("the judge ends").success(), "the judge failed");
            return None;
        }
        let length = u32::from_le_bytes(header);
        if length == u32::MAX {
            return Some(Frame::Failed);
        }
        let mut payload = vec![0; usize::try_from(length).expect("a length fits")];
        self.output.read_exact(&mut payload).expect("the judge writes whole frames");
        Some(Frame::Payload(payload))
    }

    /// The next frame, which must be there.
    pub fn payload(&mut self) -> Vec<u8> {
        match self.frame() {
            Some(Frame::Payload(payload)) => payload,
            _ => panic!("the judge owes a frame"),
        }
    }

    /// Where questions go; the judge ends when it is dropped.
    pub fn questions(&mut self) -> ChildStdin {
        self.process.stdin.take().expect("stdin is piped and asked for once")
    }
}

/// Writes a frame.
pub fn ask(questions: &mut impl Write, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a question fits a frame");
    questions.write_all(&length.to_le_bytes()).expect("the judge listens");
    questions.write_all(payload).expect("the judge listens");
}
