//! The bytes between the pool and a worker; `worker.py` is the other side of every format here.
//!
//! Integers are little-endian. A text is its length (`u32`) and UTF-8. A request is `u8` 0, the length of a source (`u32`) and
//! the source. Its answer is `u8` 1 for code or 0 for a failure, `u64` nanoseconds of CPU, `u64` bytes of resident
//! memory, `u32` number of diagnostics (a failure first, then warnings), the diagnostics, `u32` length of the code, the
//! code. Before all, the worker sends [`GREETING`] and a text about itself.
//!
//! A request for a judgement is `u8` 1, a source as above, a path (text) and `u8` 1 for adaptive instructions. Its answer is any
//! number of frames, each `u8` 1, length (`u32`) and bytes, and an end: `u8` 0, or `u8` 2 and a diagnostic if the judge failed;
//! then `u64` bytes of resident memory.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::outcome::{Diagnostic, Outcome, Severity};

/// What a worker sends first: it names this protocol and its version.
pub(crate) const GREETING: &[u8] = b"bytefacts-worker-2\n";

/// Exit status of a worker that ran out of memory where it could not answer.
pub(crate) const EXIT_MEMORY: i32 = 77;

/// How much is sent and received at once, bytes: what Linux keeps in a pipe.
pub(crate) const PIPE_BUFFER: usize = 64 << 10;

/// Longest text that is accepted, bytes: `worker.py` cuts at 4,096 characters, and an escaped surrogate takes six bytes.
const LONGEST_TEXT: u32 = 6 * 4096;
/// Most diagnostics that are accepted; `worker.py` sends at most 10,000 warnings, a note about the rest and a failure.
const MOST_DIAGNOSTICS: u32 = 10_002;
const ABSENT_INT: i32 = i32::MIN;
const ABSENT_TEXT: u32 = u32::MAX;

/// What a worker says of one unit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) warnings: Vec<Diagnostic>,
    pub(crate) cpu: Duration,
    /// Resident memory of the worker afterwards, bytes.
    pub(crate) resident: u64,
}

/// One piece of the answer to a request for a judgement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JudgementPart {
    /// Facts, as `oracle.py` encodes them.
    Frame(Vec<u8>),
    /// Nothing more comes.
    End { failure: Option<Diagnostic>, resident: u64 },
}

/// Sends a source.
pub(crate) async fn write_request(pipe: &mut (impl AsyncWrite + Unpin), source: &[u8]) -> io::Result<()> {
    write_source(pipe, 0, source).await?;
    pipe.flush().await
}

/// Asks what `dis` says of a source.
pub(crate) async fn write_judge_request(pipe: &mut (impl AsyncWrite + Unpin), source: &[u8], path: &str, adaptive: bool) -> io::Result<()> {
    write_source(pipe, 1, source).await?;
    pipe.write_all(&[&frame_length(path.len())?.to_le_bytes(), path.as_bytes(), &[u8::from(adaptive)]].concat()).await?;
    pipe.flush().await
}

async fn write_source(pipe: &mut (impl AsyncWrite + Unpin), request: u8, source: &[u8]) -> io::Result<()> {
    // One write for what fits a pipe at once.
    let (at_once, rest) = source.split_at(source.len().min(PIPE_BUFFER));
    pipe.write_all(&[&[request][..], &frame_length(source.len())?.to_le_bytes(), at_once].concat()).await?;
    pipe.write_all(rest).await
}

fn frame_length(length: usize) -> io::Result<u32> {
    u32::try_from(length).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a request does not fit its frame"))
}

/// Receives a worker's greeting and gives what it says about itself.
pub(crate) async fn read_greeting(pipe: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut greeting = [0; GREETING.len()];
    pipe.read_exact(&mut greeting).await?;
    if greeting != GREETING {
        return Err(malformed("not the greeting of a worker"));
    }
    let length = pipe.read_u32_le().await?;
    read_text(pipe, length).await
}

/// Receives an answer whose code is at most `largest_code` bytes long.
pub(crate) async fn read_answer(pipe: &mut (impl AsyncRead + Unpin), largest_code: u64) -> io::Result<Answer> {
    let kind = pipe.read_u8().await?;
    let cpu = Duration::from_nanos(pipe.read_u64_le().await?);
    let resident = pipe.read_u64_le().await?;
    let count = pipe.read_u32_le().await?;
    if count > MOST_DIAGNOSTICS {
        return Err(malformed("too many diagnostics"));
    }
    let failure = match (kind, count) {
        (1, _) => None,
        (0, 1..) => Some(read_diagnostic(pipe).await?),
        _ => return Err(malformed("neither code nor failure")),
    };
    let mut warnings = Vec::new();
    for _ in u32::from(failure.is_some())..count {
        warnings.push(read_diagnostic(pipe).await?);
    }
    let length = pipe.read_u32_le().await?;
    if u64::from(length) > largest_code {
        return Err(malformed("code beyond the limit"));
    }
    let code = read_bytes(pipe, length).await?;
    let outcome = match failure {
        None => Outcome::Code(code.into()),
        Some(failure) => Outcome::Failed(failure),
    };
    Ok(Answer { outcome, warnings, cpu, resident })
}

/// Receives the next piece of a judgement, of at most `largest_frame` bytes.
pub(crate) async fn read_judgement_part(pipe: &mut (impl AsyncRead + Unpin), largest_frame: u64) -> io::Result<JudgementPart> {
    let failure = match pipe.read_u8().await? {
        0 => None,
        1 => {
            let length = pipe.read_u32_le().await?;
            if u64::from(length) > largest_frame {
                return Err(malformed("facts beyond the limit"));
            }
            return Ok(JudgementPart::Frame(read_bytes(pipe, length).await?));
        }
        2 => Some(read_diagnostic(pipe).await?),
        _ => return Err(malformed("neither facts nor an end")),
    };
    Ok(JudgementPart::End { failure, resident: pipe.read_u64_le().await? })
}

async fn read_diagnostic(pipe: &mut (impl AsyncRead + Unpin)) -> io::Result<Diagnostic> {
    let stage = read_short_text(pipe).await?;
    let severity = match pipe.read_u8().await? {
        0 => Severity::Error,
        1 => Severity::Warning,
        _ => return Err(malformed("unknown severity")),
    };
    let error_type = read_short_text(pipe).await?;
    let message = read_short_text(pipe).await?;
    let line1 = line(pipe.read_i32_le().await?);
    let col = column(pipe.read_i32_le().await?, line1);
    let end_line1 = line(pipe.read_i32_le().await?);
    let end_col = column(pipe.read_i32_le().await?, end_line1);
    let source_line = match pipe.read_u32_le().await? {
        ABSENT_TEXT => None,
        length => Some(read_text(pipe, length).await?),
    };
    Ok(Diagnostic { stage, severity, error_type, message, line1, col, end_line1, end_col, source_line })
}

async fn read_short_text(pipe: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let length = pipe.read_u32_le().await?;
    read_text(pipe, length).await
}

async fn read_text(pipe: &mut (impl AsyncRead + Unpin), length: u32) -> io::Result<String> {
    if length > LONGEST_TEXT {
        return Err(malformed("text beyond the limit"));
    }
    String::from_utf8(read_bytes(pipe, length).await?).map_err(|_| malformed("text is not UTF-8"))
}

/// Memory grows with what arrives, not with what a length promises.
async fn read_bytes(pipe: &mut (impl AsyncRead + Unpin), length: u32) -> io::Result<Vec<u8>> {
    const AT_ONCE: u32 = 1 << 20;
    let mut bytes = Vec::with_capacity(length.min(AT_ONCE) as usize);
    pipe.take(u64::from(length)).read_to_end(&mut bytes).await?;
    if bytes.len() == length as usize { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// CPython's line number; it writes 0 where it knows none.
fn line(number: i32) -> Option<i32> {
    (number != ABSENT_INT && number > 0).then_some(number)
}

/// The column of CPython's 1-based offset; it writes 0 or -1 where it knows none.
fn column(offset: i32, line: Option<i32>) -> Option<i32> {
    (offset != ABSENT_INT && offset > 0 && line.is_some()).then(|| offset - 1)
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
    }

    fn diagnostic(severity: u8, numbers: [i32; 4]) -> Vec<u8> {
        let numbers = numbers.map(i32::to_le_bytes).concat();
        [text("compile"), vec![severity], text("SyntaxError"), text("no"), numbers, text("x =")].concat()
    }

    fn answer(kind: u8, diagnostics: &[Vec<u8>], code: &[u8]) -> Vec<u8> {
        let head = [&[kind][..], &7_u64.to_le_bytes(), &9_u64.to_le_bytes(), &(diagnostics.len() as u32).to_le_bytes()].concat();
        [head, diagnostics.concat(), (code.len() as u32).to_le_bytes().to_vec(), code.to_vec()].concat()
    }

    async fn read(mut bytes: &[u8]) -> io::Result<Answer> {
        read_answer(&mut bytes, 1_000).await
    }

    #[tokio::test]
    async fn code_and_its_warnings_are_read() {
        let answer = read(&answer(1, &[diagnostic(1, [3, ABSENT_INT, ABSENT_INT, ABSENT_INT])], b"code")).await.unwrap();
        assert_eq!((answer.outcome, answer.cpu, answer.resident), (Outcome::Code("code".into()), Duration::from_nanos(7), 9));
        assert_eq!((answer.warnings[0].severity, answer.warnings[0].line1, answer.warnings[0].col), (Severity::Warning, Some(3), None));
    }

    #[tokio::test]
    async fn the_first_diagnostic_of_a_failure_is_the_failure() {
        let answer = read(&answer(0, &[diagnostic(0, [3, 1, 4, 9]), diagnostic(1, [1, 1, 1, 1])], b"")).await.unwrap();
        let Outcome::Failed(failure) = answer.outcome else { panic!("no failure") };
        assert_eq!((failure.line1, failure.col, failure.end_line1, failure.end_col), (Some(3), Some(0), Some(4), Some(8)));
        assert_eq!(answer.warnings.len(), 1);
    }

    #[tokio::test]
    async fn positions_that_cpython_does_not_know_are_none() {
        for numbers in [[0, -1, 0, -1], [0, 5, 0, 5], [ABSENT_INT; 4]] {
            let answer = read(&answer(0, &[diagnostic(0, numbers)], b"")).await.unwrap();
            let Outcome::Failed(failure) = answer.outcome else { panic!("no failure") };
            assert_eq!((failure.line1, failure.col, failure.end_line1, failure.end_col), (None, None, None, None));
        }
    }

    #[tokio::test]
    async fn an_answer_cut_anywhere_is_an_error() {
        let whole = answer(0, &[diagnostic(0, [3, 1, 4, 9])], b"code");
        assert!(read(&whole).await.is_ok());
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).await.is_err(), "{length} bytes");
        }
    }

    #[tokio::test]
    async fn answers_beyond_their_bounds_are_errors() {
        let huge_text = [&[0][..], &[0; 16], &1_u32.to_le_bytes(), &(LONGEST_TEXT + 1).to_le_bytes()].concat();
        let many = [&[1][..], &[0; 16], &(MOST_DIAGNOSTICS + 1).to_le_bytes()].concat();
        for (bytes, message) in [
            (answer(1, &[], &[0; 1_001]), "code beyond the limit"),
            (answer(0, &[], b""), "neither code nor failure"),
            (answer(2, &[], b""), "neither code nor failure"),
            (answer(1, &[diagnostic(2, [1; 4])], b""), "unknown severity"),
            (huge_text, "text beyond the limit"),
            (many, "too many diagnostics"),
        ] {
            assert_eq!(read(&bytes).await.unwrap_err().to_string(), message);
        }
    }

    async fn read_part(mut bytes: &[u8]) -> io::Result<JudgementPart> {
        read_judgement_part(&mut bytes, 1_000).await
    }

    #[tokio::test]
    async fn a_judgement_is_frames_and_an_end() {
        assert_eq!(read_part(&[&[1][..], &3_u32.to_le_bytes(), b"{}\n"].concat()).await.unwrap(), JudgementPart::Frame(b"{}\n".to_vec()));
        let end = read_part(&[&[0][..], &9_u64.to_le_bytes()].concat()).await.unwrap();
        assert_eq!(end, JudgementPart::End { failure: None, resident: 9 });
        let failed = [vec![2], diagnostic(0, [ABSENT_INT; 4]), 9_u64.to_le_bytes().to_vec()].concat();
        let JudgementPart::End { failure: Some(failure), .. } = read_part(&failed).await.unwrap() else { panic!("no failure") };
        assert_eq!(failure.message, "no");
        for length in 0..failed.len() {
            assert!(read_part(&failed[..length]).await.is_err(), "{length} bytes");
        }
        assert_eq!(read_part(&[1, 0xe9, 3, 0, 0]).await.unwrap_err().to_string(), "facts beyond the limit");
        assert_eq!(read_part(&[7]).await.unwrap_err().to_string(), "neither facts nor an end");
    }

    #[tokio::test]
    async fn a_stranger_is_not_taken_for_a_worker() {
        assert!(read_greeting(&mut &b"Python 3.13.0 (main)\n......"[..]).await.is_err());
        let greeting = [GREETING.to_vec(), text("3.13.0")].concat();
        assert_eq!(read_greeting(&mut &greeting[..]).await.unwrap(), "3.13.0");
    }
}
