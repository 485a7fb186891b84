//! Installing from a server on a loopback port that serves a small archive whose `python3.13` hands over to a real one.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::{Arc, Mutex};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::discover::{discover, discover_in};

/// What the server does with the n-th request; the last entry stands for all later ones.
#[derive(Clone)]
enum Reply {
    Status(u16),
    Body(Vec<u8>),
    /// Says that it sends this much and breaks off in the middle.
    Truncated(Vec<u8>),
}

struct Server {
    mirror: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mirror = format!("http://{}/some/where/", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let line = String::from_utf8(head).unwrap().lines().next().unwrap().to_owned();
                let turn = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(line);
                    seen.len() - 1
                };
                let (status, length, body) = match replies[turn.min(replies.len() - 1)].clone() {
                    Reply::Status(status) => (status, 0, Vec::new()),
                    Reply::Body(body) => (200, body.len(), body),
                    Reply::Truncated(body) => (200, body.len(), body[..body.len() / 2].to_vec()),
                };
                let head = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&body).await;
            }
        });
        Self { mirror, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// A cache folder, the environment that names it, and a release of one archive.
struct Bench {
    cache: TempDir,
    environment: Environment,
    release: Release,
    steps: Vec<Progress>,
}

impl Bench {
    fn new(archive: &[u8]) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let environment = [("BYTEFACTS_CACHE_DIR", cache.path().as_os_str())].into_iter().collect();
        let pinned = Archive { target: "test".into(), path: "7/a%2Bb.tar.gz".into(), sha256: hex::encode(Sha256::digest(archive)) };
        let release = Release { version: "3.13.99".into(), build: "7".into(), archives: vec![pinned] };
        Self { cache, environment, release, steps: Vec::new() }
    }

    async fn install(&mut self, mirror: &str) -> Result<Installed, InstallError> {
        let Self { environment, release, steps, .. } = self;
        let pauses = [Duration::from_millis(1); 2];
        install_archive(environment, release, &release.archives[0], Some(mirror), &pauses, &mut |step| steps.push(step)).await
    }

    fn folder(&self) -> PathBuf {
        self.cache.path().join("python/cpython-3.13.99+7-test")
    }

    /// Everything in the cache but its `python` folder.
    fn leavings(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.cache.path().join("python")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }
}

enum Item<'a> {
    File(&'a str, u32, &'a str),
    Symlink(&'a str, &'a str),
    HardLink(&'a str, &'a str),
}

fn archive(items: &[Item<'_>]) -> Vec<u8> {
    let mut tar = Vec::new();
    for item in items {
        let (kind, name, link, mode, body) = match *item {
            Item::File(name, mode, body) => (EntryKind::Regular, name, "", mode, body),
            Item::Symlink(name, to) => (EntryKind::Symlink, name, to, 0o777, ""),
            Item::HardLink(name, to) => (EntryKind::Link, name, to, 0o644, ""),
        };
        // By hand, because the library's writer refuses the paths that these tests are about.
        let mut header = tar::Header::new_ustar();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(body.len() as u64);
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
        tar.extend_from_slice(body.as_bytes());
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.extend_from_slice(&[0; 1024]);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&tar).unwrap();
    gzip.finish().unwrap()
}

use tar::EntryType as EntryKind;

async fn real_python() -> PathBuf {
    discover(None).await.expect("these tests need a CPython 3.13").executable
}

/// A whole installation in miniature.
async fn good_archive() -> Vec<u8> {
    let script = format!("#!/bin/sh\nexec '{}' \"$@\"\n", real_python().await.display());
    archive(&[
        Item::File("python/bin/python3.13", 0o755, &script),
        Item::Symlink("python/bin/python3", "python3.13"),
        Item::Symlink("python/lib/link", "../bin/python3"),
        Item::HardLink("python/bin/python", "python/bin/python3.13"),
        Item::File("python/lib/data", 0o644, "data"),
    ])
}

#[tokio::test]
async fn it_arrives_whole_is_found_and_is_not_fetched_again() {
    let good = good_archive().await;
    let server = Server::start(vec![Reply::Body(good.clone())]).await;
    let mut bench = Bench::new(&good);
    let installed = bench.install(&server.mirror).await.unwrap();
    assert_eq!((installed.folder.clone(), installed.was_there), (bench.folder(), false));
    assert_eq!(fs::read_to_string(bench.folder().join("lib/data")).unwrap(), "data");
    assert_eq!(fs::read_link(bench.folder().join("bin/python3")).unwrap(), PathBuf::from("python3.13"));
    assert_eq!(fs::metadata(bench.folder().join("bin/python")).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(bench.leavings(), [bench.folder()]);

    let total = Some(good.len() as u64);
    assert_eq!(bench.steps.first(), Some(&Progress::Download { received: 0, total }));
    assert!(bench.steps.contains(&Progress::Download { received: good.len() as u64, total }));
    assert_eq!(bench.steps[bench.steps.len() - 2..], [Progress::Unpack, Progress::Check]);

    let again = bench.install(&server.mirror).await.unwrap();
    assert!(again.was_there);
    assert_eq!(server.requests(), ["GET /some/where/7/a%2Bb.tar.gz HTTP/1.1"]);
    assert_eq!(discover_in(&bench.environment, None).await.unwrap(), installed.interpreter);
}

#[tokio::test]
async fn a_broken_installation_is_replaced() {
    let good = good_archive().await;
    let server = Server::start(vec![Reply::Body(good.clone())]).await;
    let mut bench = Bench::new(&good);
    fs::create_dir_all(bench.folder().join("bin")).unwrap();
    fs::write(bench.folder().join("bin/python3.13"), "half a file").unwrap();
    assert!(!bench.install(&server.mirror).await.unwrap().was_there);
    assert_eq!(bench.leavings(), [bench.folder()]);
}

#[tokio::test]
async fn two_installations_at_once_agree() {
    let good = good_archive().await;
    let server = Server::start(vec![Reply::Body(good.clone())]).await;
    let bench = Bench::new(&good);
    let install = async || {
        let mut ignore = |_| {};
        let archive = &bench.release.archives[0];
        install_archive(&bench.environment, &bench.release, archive, Some(&server.mirror), &[], &mut ignore).await
    };
    let (one, two) = tokio::join!(install(), install());
    assert_eq!(one.unwrap().folder, two.unwrap().folder);
    assert_eq!(bench.leavings(), [bench.folder()]);
}

#[tokio::test]
async fn file_addresses_work() {
    let good = good_archive().await;
    let mirror = tempfile::tempdir().unwrap();
    fs::create_dir(mirror.path().join("7")).unwrap();
    fs::write(mirror.path().join("7/a+b.tar.gz"), &good).unwrap();
    let mut bench = Bench::new(&good);
    bench.install(&format!("file://{}", mirror.path().display())).await.unwrap();
    assert!(bench.folder().exists());
}

#[tokio::test]
async fn passing_faults_are_retried() {
    let good = good_archive().await;
    let server = Server::start(vec![Reply::Status(503), Reply::Truncated(good.clone()), Reply::Body(good.clone())]).await;
    Bench::new(&good).install(&server.mirror).await.unwrap();
    assert_eq!(server.requests().len(), 3);
}

/// The error of installing what `server` replies, after a look that nothing is left.
async fn refusal(replies: Vec<Reply>, pinned: &[u8]) -> (InstallError, usize) {
    let server = Server::start(replies).await;
    let mut bench = Bench::new(pinned);
    let error = bench.install(&server.mirror).await.unwrap_err();
    assert!(bench.leavings().is_empty(), "left behind: {:?}", bench.leavings());
    (error, server.requests().len())
}

#[tokio::test]
async fn a_wrong_checksum_is_refused_before_unpacking() {
    let good = good_archive().await;
    let (error, requests) = refusal(vec![Reply::Body(archive(&[Item::File("python/evil", 0o644, "")]))], &good).await;
    assert!(matches!(&error, InstallError::Checksum { expected, .. } if *expected == hex::encode(Sha256::digest(&good))), "{error}");
    assert_eq!(requests, 1);
}

#[tokio::test]
async fn a_truncated_body_is_an_error_of_the_network() {
    let good = good_archive().await;
    let (error, requests) = refusal(vec![Reply::Truncated(good.clone())], &good).await;
    assert!(matches!(error, InstallError::Network { .. }), "{error}");
    assert!(error.to_string().contains("--mirror URL"), "{error}");
    assert_eq!(requests, 3);
}

#[tokio::test]
async fn what_is_not_there_is_not_asked_for_again() {
    let (error, requests) = refusal(vec![Reply::Status(404)], b"").await;
    assert!(error.to_string().contains("the server answered 404"), "{error}");
    assert_eq!(requests, 1);
}

#[tokio::test]
async fn without_a_network_the_error_says_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mirror = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut bench = Bench::new(b"");
    let error = bench.install(&mirror).await.unwrap_err().to_string();
    assert!(error.contains("BYTEFACTS_PYTHON_MIRROR") && error.contains("--python PATH"), "{error}");
    assert!(error.to_lowercase().contains("refused"), "{error}");
    assert!(bench.leavings().is_empty());
}

#[tokio::test]
async fn addresses_that_are_none_are_refused() {
    let mut bench = Bench::new(b"");
    for mirror in ["no address", "ftp://example.org/x"] {
        let error = bench.install(mirror).await.unwrap_err();
        assert!(matches!(error, InstallError::Mirror { .. }), "{error}");
    }
}

#[tokio::test]
async fn entries_that_lead_out_are_refused() {
    for items in [
        &[Item::File("../escaped", 0o644, "x")][..],
        &[Item::File("python/../../escaped", 0o644, "x")],
        &[Item::File("/escaped", 0o644, "x")],
        &[Item::Symlink("python/out", "/"), Item::File("python/out/escaped", 0o644, "x")],
        &[Item::Symlink("python/out", "../.."), Item::File("python/out/escaped", 0o644, "x")],
        &[Item::HardLink("python/out", "../../secret")],
    ] {
        let evil = archive(items);
        let (error, _) = refusal(vec![Reply::Body(evil.clone())], &evil).await;
        assert!(error.to_string().contains("unsafe entry"), "{error}");
    }
    assert!(!Path::new("/escaped").exists());
}

#[tokio::test]
async fn an_interpreter_that_does_not_fit_is_not_kept() {
    let broken = archive(&[Item::File("python/bin/python3.13", 0o755, "#!/bin/sh\necho nonsense >&2\nexit 3\n")]);
    let (error, _) = refusal(vec![Reply::Body(broken.clone())], &broken).await;
    assert!(error.to_string().contains("nonsense"), "{error}");
}

#[tokio::test]
async fn leavings_of_killed_installations_are_swept_after_a_day() {
    let bench = Bench::new(b"");
    let parent = bench.cache.path().join("python");
    let (old, young) = (parent.join(".partial-old"), parent.join(".partial-young"));
    fs::create_dir_all(&old).unwrap();
    fs::create_dir_all(&young).unwrap();
    symlink("nowhere", old.join("link")).unwrap();
    let yesterday = SystemTime::now() - Duration::from_secs(25 * 3600);
    fs::File::open(&old).unwrap().set_modified(yesterday).unwrap();
    sweep(&parent);
    assert_eq!((old.exists(), young.exists()), (false, true));
}

#[tokio::test]
async fn without_a_cache_folder_nothing_is_installed() {
    let mut ignore = |_| {};
    let error = install(&Environment::default(), None, &mut ignore).await.unwrap_err();
    assert!(matches!(error, InstallError::NoCacheDir));
}
