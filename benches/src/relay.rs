//! A relay before a scheduler that counts what passes: bytes each way, gRPC messages, and the largest of them.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::Context as _;

/// What has passed in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of HTTP/2, headers and all.
    pub bytes: u64,
    /// gRPC messages.
    pub messages: u64,
    /// Bytes of the largest of them.
    pub largest: u64,
}

#[derive(Default)]
struct Counters {
    bytes: AtomicU64,
    messages: AtomicU64,
    largest: AtomicU64,
}

/// A running relay. Dropping it lets no further connection through.
pub struct Relay {
    address: SocketAddr,
    to_scheduler: Arc<Counters>,
    from_scheduler: Arc<Counters>,
    stopped: Arc<AtomicBool>,
}

impl Relay {
    /// Relays to a scheduler.
    pub fn to(scheduler: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen for executors")?;
        let relay =
            Self { address: listener.local_addr()?, to_scheduler: Arc::default(), from_scheduler: Arc::default(), stopped: Arc::default() };
        let (there, back, stopped) = (Arc::clone(&relay.to_scheduler), Arc::clone(&relay.from_scheduler), Arc::clone(&relay.stopped));
        let scheduler = scheduler.to_owned();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                // A connection that cannot be made is dropped, as the scheduler would drop it.
                let Ok(server) = TcpStream::connect(&scheduler) else { continue };
                let _: std::io::Result<()> = join(&client, &server, &there, &back);
            }
        });
        Ok(relay)
    }

    /// Where executors find it.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// What has passed so far: to the scheduler, and from it.
    pub fn traffic(&self) -> (Traffic, Traffic) {
        let read = |counters: &Counters| Traffic {
            bytes: counters.bytes.load(Ordering::Relaxed),
            messages: counters.messages.load(Ordering::Relaxed),
            largest: counters.largest.load(Ordering::Relaxed),
        };
        (read(&self.to_scheduler), read(&self.from_scheduler))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for connections.
        let _: std::io::Result<TcpStream> = TcpStream::connect(self.address);
    }
}

/// Passes bytes between two connections, each direction on a thread of its own, until one side closes.
fn join(client: &TcpStream, server: &TcpStream, there: &Arc<Counters>, back: &Arc<Counters>) -> std::io::Result<()> {
    let pairs = [(client.try_clone()?, server.try_clone()?, there, true), (server.try_clone()?, client.try_clone()?, back, false)];
    for (from, to, counters, preface) in pairs {
        let counters = Arc::clone(counters);
        to.set_nodelay(true)?;
        thread::spawn(move || {
            let _: std::io::Result<()> = pass(&from, &to, &counters, Frames::new(preface));
            // Whichever side it was, the other one is to know.
            let _: std::io::Result<()> = from.shutdown(Shutdown::Both);
            let _: std::io::Result<()> = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, counters: &Counters, mut frames: Frames) -> std::io::Result<()> {
    let mut part = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut part)?;
        let Some(bytes) = part.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        // Before they are passed on: whoever has got them finds them counted.
        counters.bytes.fetch_add(read as u64, Ordering::Relaxed);
        frames.take(bytes, |message| {
            counters.messages.fetch_add(1, Ordering::Relaxed);
            counters.largest.fetch_max(message, Ordering::Relaxed);
        });
        to.write_all(bytes)?;
    }
}

/// Finds the gRPC messages in one direction of an HTTP/2 connection without TLS.
struct Frames {
    /// Bytes that make no whole frame yet.
    pending: Vec<u8>,
    /// Bytes of the client's preface that are still to come.
    preface: usize,
    /// Streams with a message under way.
    streams: BTreeMap<u32, Message>,
}

#[derive(Default)]
struct Message {
    head: Vec<u8>,
    left: usize,
}

impl Frames {
    fn new(preface: bool) -> Self {
        Self { pending: Vec::new(), preface: if preface { b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len() } else { 0 }, streams: BTreeMap::new() }
    }

    /// Takes further bytes; `found` is given the length of each message whose head is in them.
    fn take(&mut self, bytes: &[u8], mut found: impl FnMut(u64)) {
        const DATA: u8 = 0;
        const PADDED: u8 = 8;
        let (preface, bytes) = bytes.split_at(self.preface.min(bytes.len()));
        self.preface -= preface.len();
        self.pending.extend_from_slice(bytes);
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_slice();
        while let Some((head, after)) = rest.split_first_chunk::<9>() {
            let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *head;
            let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
            let Some((payload, after)) = after.split_at_checked(length) else { break };
            rest = after;
            if kind == DATA {
                let data = match payload.split_first() {
                    Some((padding, data)) if flags & PADDED != 0 => data.get(..data.len().saturating_sub(usize::from(*padding))),
                    _ => Some(payload),
                };
                let stream = u32::from_be_bytes([s0, s1, s2, s3]);
                let message = self.streams.entry(stream).or_default();
                message.take(data.unwrap_or_default(), &mut found);
                // A stream that stands between two messages is as good as a new one.
                if message.left == 0 && message.head.is_empty() {
                    self.streams.remove(&stream);
                }
            }
        }
        self.pending = rest.to_vec();
    }
}

impl Message {
    fn take(&mut self, mut data: &[u8], found: &mut impl FnMut(u64)) {
        while !data.is_empty() {
            if self.left > 0 {
                let (_, rest) = data.split_at(self.left.min(data.len()));
                self.left -= data.len() - rest.len();
                data = rest;
                continue;
            }
            let (head, rest) = data.split_at((5 - self.head.len()).min(data.len()));
            self.head.extend_from_slice(head);
            data = rest;
            // Whether it is compressed, and its length.
            if let [_, length @ ..] = self.head.as_slice()
                && let Ok(length) = <[u8; 4]>::try_from(length)
            {
                self.left = u32::from_be_bytes(length) as usize;
                self.head.clear();
                found(self.left as u64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn message(length: usize) -> Vec<u8> {
        [&[0][..], &u32::try_from(length).unwrap_or(0).to_be_bytes(), &vec![7; length]].concat()
    }

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let large = message(40_000);
        let (a, b) = large.split_at(16_384);
        let padded = [&[2][..], &message(3), &[0, 0]].concat();
        let bytes = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, 0, &[0; 6]),
            frame(0, 0, 1, a),
            frame(0, 0, 3, &[message(10), message(0), message(5)[..2].to_vec()].concat()),
            frame(8, 0, 0, &[0; 4]),
            frame(0, 0, 1, b),
            frame(0, 1, 3, &message(5)[2..]),
            frame(0, 8, 5, &padded),
        ]
        .concat();
        for cut in [1, 2, 9, 100, 16_384, bytes.len()] {
            let (mut frames, mut found) = (Frames::new(true), Vec::new());
            bytes.chunks(cut).for_each(|part| frames.take(part, |length| found.push(length)));
            assert_eq!(found, [40_000, 10, 0, 5, 3], "parts of {cut}");
            assert!(frames.streams.is_empty() && frames.pending.is_empty());
        }
    }

    #[test]
    fn a_relay_passes_and_counts_both_ways() -> anyhow::Result<()> {
        let server = TcpListener::bind("127.0.0.1:0")?;
        let relay = Relay::to(&server.local_addr()?.to_string())?;
        let mut client = TcpStream::connect(relay.address())?;
        let (mut served, _) = server.accept()?;
        let request = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(0, 1, 1, &message(8))].concat();
        client.write_all(&request)?;
        let mut got = vec![0; request.len()];
        served.read_exact(&mut got)?;
        assert_eq!(got, request);
        let answer = frame(0, 1, 1, &message(100));
        served.write_all(&answer)?;
        let mut got = vec![0; answer.len()];
        client.read_exact(&mut got)?;
        drop((client, served));
        let (there, back) = relay.traffic();
        assert_eq!(there, Traffic { bytes: request.len() as u64, messages: 1, largest: 8 });
        assert_eq!(back, Traffic { bytes: answer.len() as u64, messages: 1, largest: 100 });
        Ok(())
    }
}
