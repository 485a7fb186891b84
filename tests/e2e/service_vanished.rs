//! Clients of the SQL service that vanish without a word, as when a machine loses its power or a network its route: nothing is closed, and nothing
//! comes any more.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use tokio::io::copy;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::service::{ENDLESS, LARGE, Service, ask_number, ask_text, client};

/// What stands between client and server, and forwards what they say until it is told to be silent. Then their sockets stay open.
struct Relay {
    address: SocketAddr,
    silent: watch::Sender<bool>,
}

impl Relay {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, silent) = (listener.local_addr().unwrap(), watch::Sender::new(false));
        let told = silent.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = TcpStream::connect(server).await.unwrap().into_split();
                tokio::spawn(forward(from_client, to_server, told.subscribe()));
                tokio::spawn(forward(from_server, to_client, told.subscribe()));
            }
        });
        Self { address, silent }
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut silent: watch::Receiver<bool>) {
    let told = async { silent.wait_for(|silent| *silent).await.is_ok() };
    tokio::select! {
        _ = told => std::future::pending::<()>().await,
        _ = copy(&mut from, &mut to) => {}
    }
}

/// The server asks whether its client is still there, ends what nobody is there for, and has the place free again, long before any other limit.
#[tokio::test(flavor = "multi_thread")]
async fn queries_of_a_client_that_has_vanished_end() {
    let settings = "serve: {running: 2, early_milliseconds: 100, query_seconds: 3600, reader_seconds: 3600, unclaimed_seconds: 3600}";
    let service = Service::start(&[], settings).await;
    let relay = Relay::to(service.daemon.address).await;
    let open = || service.daemon.metric("bytefacts_sql_queries_open");

    // One waits for its first row, the other is in the middle of its rows.
    let mut vanishing = client(relay.address).await;
    let mut reading = Vec::new();
    for sql in [ENDLESS, LARGE] {
        let info = vanishing.execute(sql.to_owned(), None).await.unwrap();
        reading.push(vanishing.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap());
    }
    assert!(reading[1].try_next().await.unwrap().is_some());
    assert_eq!(open(), 2.0);
    relay.silent.send_replace(true);
    let begun = Instant::now();
    while open() > 0.0 {
        assert!(begun.elapsed() < Duration::from_secs(120), "they go on for nobody");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut other = service.client().await;
    assert_eq!(ask_number(&mut other, "SELECT count(*) FROM bytefacts.runs").await, 1, "their places are free");
    assert_eq!(ask_text(&mut other, "SELECT state FROM system.queries WHERE state <> 'running' LIMIT 2").await, [["left"], ["left"]]);
}
