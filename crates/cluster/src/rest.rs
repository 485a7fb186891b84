//! What a scheduler answers beside Ballista's calls, on the same port: how the cluster is, and what executors are told. JSON over HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use axum::{Json, Router};
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer;
use tonic::service::Routes;

use crate::attendance::{Attendance, Attendant};
use crate::events::{self, Events, Goodbye, Introduction};
use crate::listen::Incoming;
use crate::remote::{CLIENTS, EVENTS, GOODBYE, STATUS};
use crate::session::MAX_MESSAGE_BYTES;
use crate::view::{SchedulerView, Server};

/// Serves a scheduler: Ballista's calls and ours.
pub(crate) async fn serve(incoming: Incoming, server: Server, view: SchedulerView, events: Arc<Events>) -> io::Result<()> {
    let ballista =
        SchedulerGrpcServer::new(server).max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES);
    let attendance = Arc::new(Attendance::default());
    let attend = async move |State(view): State<SchedulerView>, Json(who): Json<Attendant>| attendance.body(who, view);
    let status = Router::new()
        .route(CLIENTS, post(attend))
        .route(STATUS, get(async |State(view): State<SchedulerView>| Json(view.status().await)))
        .with_state(view);
    let listen = async |State(events): State<Arc<Events>>, Json(who): Json<Introduction>| events::body(&events, who);
    let leave = async |State(events): State<Arc<Events>>, Json(who): Json<Goodbye>| events.goodbye(&who.id);
    let events = Router::new().route(EVENTS, post(listen)).route(GOODBYE, post(leave)).with_state(events);
    let routes = Routes::new(ballista).into_axum_router().merge(status).merge(events);
    // Ballista takes the address of an executor that does not say where it is from the connection.
    axum::serve(incoming.tap_io(|_| {}), routes.into_make_service_with_connect_info::<SocketAddr>()).await
}
