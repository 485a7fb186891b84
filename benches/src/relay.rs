//! Relays that count what passes: before a scheduler bytes each way, gRPC messages, and the largest of them; before an object store requests.

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

impl Counters {
    fn take(&self, bytes: &[u8], frames: &mut Frames) {
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        frames.take(bytes, |message| {
            self.messages.fetch_add(1, Ordering::Relaxed);
            self.largest.fetch_max(message, Ordering::Relaxed);
        });
    }
}

/// A relay before a scheduler.
pub struct Relay {
    door: Door,
    to_scheduler: Arc<Counters>,
    from_scheduler: Arc<Counters>,
}

impl Relay {
    /// Relays to a scheduler.
    pub fn to(scheduler: &str) -> anyhow::Result<Self> {
        let (to_scheduler, from_scheduler) = (Arc::new(Counters::default()), Arc::new(Counters::default()));
        let (there, back) = (Arc::clone(&to_scheduler), Arc::clone(&from_scheduler));
        let door = Door::before(scheduler, move || {
            let (there, back) = (Arc::clone(&there), Arc::clone(&back));
            let (mut requests, mut answers) = (Frames::new(true), Frames::new(false));
            (move |bytes: &[u8]| there.take(bytes, &mut requests), move |bytes: &[u8]| back.take(bytes, &mut answers))
        })?;
        Ok(Self { door, to_scheduler, from_scheduler })
    }

    /// Where executors find it.
    pub fn address(&self) -> String {
        self.door.address.to_string()
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

/// A relay before an object store that counts HTTP/1.1 requests.
pub struct Requests {
    door: Door,
    requests: Arc<AtomicU64>,
}

impl Requests {
    /// Relays to a store.
    pub fn to(store: &str) -> anyhow::Result<Self> {
        let requests = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&requests);
        let door = Door::before(store, move || {
            let (counter, mut seen) = (Arc::clone(&counter), Vec::new());
            let count = move |bytes: &[u8]| {
                // How the first line of a request ends; it may come in two parts.
                const END: &[u8] = b" HTTP/1.1\r\n";
                seen.extend_from_slice(bytes);
                let found = seen.windows(END.len()).filter(|window| *window == END).count();
                counter.fetch_add(found as u64, Ordering::Relaxed);
                seen.drain(..seen.len().saturating_sub(END.len() - 1));
            };
            (count, |_: &[u8]| ())
        })?;
        Ok(Self { door, requests })
    }

    /// Where clients find it.
    pub fn address(&self) -> String {
        self.door.address.to_string()
    }

    /// Requests so far.
    pub fn count(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// Where a relay listens. Dropping it lets no further connection through.
struct Door {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl Door {
    /// Joins whoever comes with a server; `watchers` makes what sees the bytes of one connection, to the server and from it.
    fn before<There, Back>(server: &str, watchers: impl Fn() -> (There, Back) + Send + 'static) -> anyhow::Result<Self>
    where
        There: FnMut(&[u8]) + Send + 'static,
        Back: FnMut(&[u8]) + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
        let door = Self { address: listener.local_addr()?, stopped: Arc::default() };
        let (server, stopped) = (server.to_owned(), Arc::clone(&door.stopped));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                // A connection that cannot be made is dropped, as the server would drop it.
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let (there, back) = watchers();
                let _: std::io::Result<()> = pass(&client, &server, there).and_then(|()| pass(&server, &client, back));
            }
        });
        Ok(door)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for connections.
        let _: std::io::Result<TcpStream> = TcpStream::connect(self.address);
    }
}

/// Passes bytes on from one connection to another on a thread of its own, until either is closed.
fn pass(from: &TcpStream, to: &TcpStream, see: impl FnMut(&[u8]) + Send + 'static) -> std::io::Result<()> {
    let (from, to) = (from.try_clone()?, to.try_clone()?);
    to.set_nodelay(true)?;
    thread::spawn(move || {
        let _: std::io::Result<()> = copy(&from, &to, see);
        // Whichever side it was, the other one is to know.
        let _: std::io::Result<()> = from.shutdown(Shutdown::Both);
        let _: std::io::Result<()> = to.shutdown(Shutdown::Both);
    });
    Ok(())
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, mut see: impl FnMut(&[u8])) -> std::io::Result<()> {
    let mut part = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut part)?;
        let Some(bytes) = part.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        // Before they are passed on: whoever has got them finds them counted.
        see(bytes);
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
