//! Flight SQL: what comes over the wire, each call to what answers it.
//!
//! `FlightService` itself is implemented, not arrow-flight's `FlightSqlService` above it: that leaves `PollFlightInfo` and `GetSchema` out, and takes
//! two methods for each kind of question where all but two are answered alike. A question is a [`Command`]: what is asked of facts becomes a
//! [`Query`], whatever else is metadata, of which a ticket is the question itself.

mod actions;
mod put;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{Any, Command, ProstMessageExt as _, TicketStatementQuery};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, Result as ActionResult, SchemaAsIpc, SchemaResult, Ticket,
};
use arrow_ipc::writer::IpcWriteOptions;
use futures::{Stream, StreamExt as _};
use prost::Message as _;
use tokio::sync::Semaphore;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use self::put::PUTS;
use crate::access::{COOKIE, Caller, Door};
use crate::audit_log::AuditLog;
use crate::connections::Connection;
use crate::error::{internal, short, status};
use crate::execution::Execution;
use crate::gate::{self, Statement};
use crate::metadata;
use crate::metrics::Metrics;
use crate::options::ServeOptions;
use crate::plan::{Asked, Planned, Prepared};
use crate::planner::{Planner, values};
use crate::prepared::{PreparedStatement, PreparedStatements};
use crate::queries::Queries;
use crate::query::{Query, Question};
use crate::seal::{Purpose, Seal};
use crate::sessions::{Keeping, Sessions};
use crate::users::now_seconds;
use crate::wire;

/// How long `PollFlightInfo` waits before it says that there is nothing yet.
const POLL: Duration = Duration::from_millis(500);

/// The service; clones are the same one.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) options: ServeOptions,
    pub(crate) planner: Arc<Planner>,
    pub(crate) execution: Arc<Execution>,
    pub(crate) queries: Arc<Queries>,
    pub(crate) prepared: Arc<PreparedStatements>,
    pub(crate) sessions: Arc<Sessions>,
    /// Places of clients that put values.
    pub(crate) puts: Arc<Semaphore>,
    pub(crate) door: Arc<Door>,
    pub(crate) seal: Arc<Seal>,
    pub(crate) audit_log: AuditLog,
    pub(crate) metrics: Arc<Metrics>,
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send + 'static>>;

/// Cancels a query unless somebody is told of it.
struct Untold(Option<Arc<Query>>);

impl Drop for Untold {
    fn drop(&mut self) {
        if let Some(query) = &self.0 {
            query.cancel("its client went away before it was told of the result");
        }
    }
}

impl Service {
    /// Who calls, and whether it is to be given a cookie.
    async fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let caller = self.door.caller(request.metadata()).await.inspect_err(|error| {
            if error.code() == tonic::Code::Unauthenticated {
                self.denied(request, error);
            }
        });
        Ok(Caller { client: client(request), ..caller? })
    }

    /// Somebody is not let in.
    fn denied<T>(&self, request: &Request<T>, why: &Status) {
        self.metrics.unauthenticated.inc();
        self.audit_log.denied(self.door.named(request.metadata()).as_deref(), client(request), why);
    }

    /// Reads a statement where there is the stack for it.
    async fn read(&self, text: &str, caller: &Caller) -> Result<Statement, Status> {
        let reading = async {
            gate::check_length(text).map_err(|refused| self.not_passed(&refused))?;
            let text = text.to_owned();
            let read = self.execution.plan(caller.user.as_deref(), caller.limits.time, async move { gate::read(&text) }).await?;
            read.map_err(|refused| self.not_passed(&refused))
        };
        reading.await.inspect_err(|why| self.audit_log.refused(caller, text, why))
    }

    fn not_passed(&self, refused: &gate::Refused) -> Status {
        self.metrics.refused.inc();
        Status::invalid_argument(short(&refused.to_string()))
    }

    /// Plans a query, within what is left of its time.
    async fn plan(
        &self,
        statement: Statement,
        bound: Option<&PreparedStatement>,
        caller: &Caller,
        limit: Duration,
    ) -> Result<Planned, Status> {
        let Statement::Query { parsed, parameters } = statement else { return Err(internal("an option is no query")) };
        let known = bound.and_then(|prepared| prepared.known.clone());
        let values = match (parameters.is_empty(), bound.and_then(|prepared| prepared.bound.clone()), &known) {
            (true, ..) => None,
            (false, Some(batch), Some(known)) => Some(values(&batch, &parameters, &known.types).map_err(|error| status(&error))?),
            (false, ..) => {
                let names = parameters.join(", ");
                return Err(Status::invalid_argument(format!(
                    "the statement has parameters ({names}): prepare it and bind values to them"
                )));
            }
        };
        let announced = known.filter(|_| values.is_some()).map(|known| known.schema);
        let (planner, caller, user) = (Arc::clone(&self.planner), caller.clone(), caller.user.as_deref());
        let planned = self.execution.plan(user, limit, async move {
            let asked = Asked { sees: caller.sees(), options: &caller.options, limits: caller.limits };
            planner.plan(&parsed, values, announced.as_deref(), &asked).await
        });
        planned.await?.map_err(|error| self.refused(&error))
    }

    /// The columns and parameters of a statement that is to be prepared.
    async fn columns(&self, text: &str, statement: &Statement, caller: &Caller) -> Result<Option<Prepared>, Status> {
        self.known(statement, caller).await.inspect_err(|why| self.audit_log.refused(caller, text, why))
    }

    async fn known(&self, statement: &Statement, caller: &Caller) -> Result<Option<Prepared>, Status> {
        let Statement::Query { parsed, parameters } = statement.clone() else { return Ok(None) };
        let (planner, caller, user) = (Arc::clone(&self.planner), caller.clone(), caller.user.as_deref());
        let limit = caller.limits.time;
        let prepared = self.execution.plan(user, limit, async move {
            let asked = Asked { sees: caller.sees(), options: &caller.options, limits: caller.limits };
            planner.prepare(&parsed, &parameters, &asked).await
        });
        prepared.await?.map(Some).map_err(|error| self.refused(&error))
    }

    fn refused(&self, error: &datafusion::error::DataFusionError) -> Status {
        self.metrics.refused.inc();
        status(error)
    }

    /// Starts a query, and waits a while for its first rows or its error.
    async fn open(
        &self,
        caller: &Caller,
        text: &str,
        statement: Statement,
        bound: Option<&PreparedStatement>,
        wait: Duration,
    ) -> Result<Arc<Query>, Status> {
        let planning = async {
            let admitted = self.queries.admit(caller.user.as_deref(), &caller.limits)?;
            let planned = self.plan(statement, bound, caller, admitted.left(&caller.limits)).await?;
            Ok((admitted, planned))
        };
        let (admitted, planned) = planning.await.inspect_err(|why| self.audit_log.refused(caller, text, why))?;
        let question = Question::new(caller, text);
        let query = self.queries.start(admitted, question, planned, caller.limits, &self.options, &self.execution).map_err(internal)?;
        let mut untold = Untold(Some(Arc::clone(&query)));
        query.is_ready(wait).await;
        match query.failure() {
            Some(failure) => {
                self.queries.forget(&query);
                Err(failure)
            }
            None => {
                untold.0 = None;
                Ok(query)
            }
        }
    }

    /// What a client is told of a query.
    fn info(&self, query: &Query, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
        query.tell();
        let ticket = self.ticket(query);
        let rows = query.total().and_then(|rows| i64::try_from(rows).ok()).unwrap_or(-1);
        let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket)).with_expiration_time(self.expires());
        Ok(announced(&query.schema, descriptor)?.with_endpoint(endpoint).with_total_records(rows).with_ordered(true))
    }

    /// When a result is given up that nobody has come for since now.
    fn expires(&self) -> prost_types::Timestamp {
        let seconds = now_seconds() + self.options.unclaimed.as_secs();
        prost_types::Timestamp { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: 0 }
    }

    fn ticket(&self, query: &Query) -> Vec<u8> {
        let handle = self.seal.seal(Purpose::Ticket, &query.id);
        TicketStatementQuery { statement_handle: handle.into() }.as_any().encode_to_vec()
    }

    /// The query that a ticket names.
    fn of_ticket(&self, ticket: &TicketStatementQuery, caller: &Caller) -> Result<Arc<Query>, Status> {
        let forged = || Status::invalid_argument("the ticket is none of this server");
        let handle = std::str::from_utf8(&ticket.statement_handle).map_err(|_| forged())?;
        let id = self.seal.open(Purpose::Ticket, handle).ok_or_else(forged)?;
        let query = self.queries.get(&id).filter(|query| query.question.user == caller.user);
        query.ok_or_else(|| {
            Status::not_found("the result is not there any more: it was read, cancelled, or nobody came for it in time; ask again")
        })
    }

    /// Announces the answer to a question.
    async fn announce(
        &self,
        caller: &mut Caller,
        descriptor: FlightDescriptor,
        wait: Duration,
    ) -> Result<(FlightInfo, Option<Arc<Query>>), Status> {
        let command = command(&descriptor.cmd)?;
        if let Some(schema) = metadata::schema(&command) {
            let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(command.into_any().encode_to_vec()));
            return Ok((announced(&schema, descriptor)?.with_endpoint(endpoint), None));
        }
        let (text, statement, prepared) = match command {
            Command::CommandStatementQuery(query) => {
                no_transaction(query.transaction_id.as_deref())?;
                let statement = self.read(&query.query, caller).await?;
                (query.query, statement, None)
            }
            Command::CommandPreparedStatementQuery(query) => {
                let prepared = self.prepared.get(&query.prepared_statement_handle, caller.user.as_deref())?;
                (prepared.text.clone(), prepared.statement.clone(), Some(prepared))
            }
            other => return Err(unknown(other.type_url())),
        };
        if let Statement::Set { name, value } = statement {
            // Drivers that know queries alone set options by them; there is nothing to be read.
            self.set(caller, &name, value.as_deref()).await?;
            let nothing = Schema::empty();
            return Ok((announced(&nothing, descriptor)?.with_total_records(0), None));
        }
        let query = self.open(caller, &text, statement, prepared.as_ref(), wait).await?;
        Ok((self.info(&query, descriptor)?, Some(query)))
    }

    /// Sets an option of the session of a caller, who must be able to keep one.
    async fn set(&self, caller: &mut Caller, name: &str, value: Option<&str>) -> Result<(), Status> {
        let set = self.try_to_set(caller, name, value).await;
        self.audit_log.option(caller, name, value, set.as_ref().err().map(Status::message));
        set
    }

    async fn try_to_set(&self, caller: &mut Caller, name: &str, value: Option<&str>) -> Result<(), Status> {
        let mut wanted = caller.options.clone();
        wanted.set(name, value).map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.planner.check(&wanted).await.map_err(|error| self.refused(&error))?;
        let id = match &caller.keeping {
            Keeping::Session(id) => id.clone(),
            Keeping::Cookies => self.door.begin_session(caller)?,
            Keeping::Nothing => {
                return Err(Status::failed_precondition(format!(
                    "{name} cannot be set: this client keeps no session; let it log in (with any user name, where none is needed) or keep cookies, \
                     or give the option with each call as the header {name}"
                )));
            }
        };
        self.sessions.set(&id, caller.user.as_deref(), name, value)?.map_err(|error| Status::invalid_argument(error.to_string()))
    }

    /// The schema of the answer to a question.
    async fn schema_of(&self, caller: &Caller, descriptor: &FlightDescriptor) -> Result<SchemaRef, Status> {
        let command = command(&descriptor.cmd)?;
        if let Some(schema) = metadata::schema(&command) {
            return Ok(schema);
        }
        let known = match command {
            Command::CommandStatementQuery(query) => self.columns(&query.query, &self.read(&query.query, caller).await?, caller).await?,
            Command::CommandPreparedStatementQuery(query) => {
                self.prepared.get(&query.prepared_statement_handle, caller.user.as_deref())?.known
            }
            other => return Err(unknown(other.type_url())),
        };
        Ok(known.map_or_else(|| Arc::new(Schema::empty()), |known| known.schema))
    }
}

/// Where a call comes from.
fn client<T>(request: &Request<T>) -> Option<SocketAddr> {
    request.extensions().get::<Connection>().and_then(Connection::peer)
}

/// An announcement without an endpoint.
fn announced(schema: &Schema, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
    Ok(FlightInfo::new().try_with_schema(schema).map_err(internal)?.with_descriptor(descriptor))
}

/// The question in a descriptor or a ticket.
fn command(bytes: &[u8]) -> Result<Command, Status> {
    let unreadable = |error: &dyn std::fmt::Display| Status::invalid_argument(format!("this is no question of Flight SQL: {error}"));
    let any = Any::decode(bytes).map_err(|error| unreadable(&error))?;
    Command::try_from(any).map_err(|error| unreadable(&error))
}

fn unknown(type_url: &str) -> Status {
    let name = type_url.rsplit(['.', '/']).next().unwrap_or_default();
    Status::unimplemented(format!("{name} is not answered here: facts are read by SQL, and nothing is written"))
}

fn no_transaction(id: Option<&[u8]>) -> Result<(), Status> {
    match id {
        Some(id) if !id.is_empty() => Err(Status::unimplemented("there are no transactions: facts are read, and never change")),
        _ => Ok(()),
    }
}

/// A response to a caller, with the cookie that it is to be given.
fn respond<T>(caller: &Caller, answer: T) -> Response<T> {
    let mut response = Response::new(answer);
    let cookie = caller.cookie.as_ref().and_then(|value| MetadataValue::try_from(format!("{COOKIE}={value}; Path=/; HttpOnly")).ok());
    if let Some(cookie) = cookie {
        response.metadata_mut().insert("set-cookie", cookie);
    }
    response
}

fn one<T: Send + 'static>(item: T) -> Messages<T> {
    futures::stream::once(async { Ok(item) }).boxed()
}

#[tonic::async_trait]
impl FlightService for Service {
    type HandshakeStream = Messages<HandshakeResponse>;
    type ListFlightsStream = Messages<FlightInfo>;
    type DoGetStream = Messages<FlightData>;
    type DoPutStream = Messages<PutResult>;
    type DoActionStream = Messages<ActionResult>;
    type ListActionsStream = Messages<ActionType>;
    type DoExchangeStream = Messages<FlightData>;

    async fn handshake(&self, request: Request<Streaming<HandshakeRequest>>) -> Result<Response<Self::HandshakeStream>, Status> {
        let (login, user) = self.door.login(request.metadata()).await.inspect_err(|error| self.denied(&request, error))?;
        self.audit_log.login(user.as_deref(), client(&request));
        let payload = HandshakeResponse { protocol_version: 0, payload: login.clone().into() };
        let mut response = Response::new(one(payload));
        let header = MetadataValue::try_from(format!("Bearer {login}")).map_err(internal)?;
        response.metadata_mut().insert("authorization", header);
        Ok(response)
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        let caller = self.caller(&request).await?;
        // There is nothing but answers to questions.
        Ok(respond(&caller, futures::stream::empty().boxed()))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let mut caller = self.caller(&request).await?;
        let (info, _) = self.announce(&mut caller, request.into_inner(), self.options.early).await?;
        Ok(respond(&caller, info))
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        let mut caller = self.caller(&request).await?;
        let descriptor = request.into_inner();
        let (info, query) = match command(&descriptor.cmd)? {
            // A question that was asked before.
            Command::TicketStatementQuery(ticket) => {
                let query = self.of_ticket(&ticket, &caller)?;
                query.is_ready(POLL).await;
                if let Some(failure) = query.failure() {
                    return Err(failure);
                }
                (self.info(&query, descriptor)?, Some(query))
            }
            _ => self.announce(&mut caller, descriptor, POLL).await?,
        };
        let mut poll = PollInfo::new().with_info(info);
        if let Some(query) = query {
            poll.expiration_time = Some(self.expires());
            if !query.is_ready(Duration::ZERO).await {
                poll = poll.with_descriptor(FlightDescriptor::new_cmd(self.ticket(&query)));
            }
        }
        Ok(respond(&caller, poll))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let caller = self.caller(&request).await?;
        let schema = self.schema_of(&caller, request.get_ref()).await?;
        let result = SchemaAsIpc::new(&schema, &IpcWriteOptions::default()).try_into().map_err(internal)?;
        Ok(respond(&caller, result))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let caller = self.caller(&request).await?;
        let command = command(&request.get_ref().ticket)?;
        if let Command::TicketStatementQuery(ticket) = &command {
            let query = self.of_ticket(ticket, &caller)?;
            let connection = request.extensions().get::<Connection>().cloned();
            let messages = query.read(connection).ok_or_else(|| Status::not_found("the result is read already, or was: ask again"))?;
            self.queries.forget(&query);
            return Ok(respond(&caller, messages.boxed()));
        }
        let Some(schema) = metadata::schema(&command) else { return Err(unknown(command.type_url())) };
        let (planner, options) = (Arc::clone(&self.planner), caller.options.clone());
        let user = caller.user.as_deref();
        let (told, limit) = (self.options, caller.limits.time);
        let answered = self.execution.plan(user, limit, async move { metadata::answer(command, &planner, &options, &told, limit).await });
        let answered = answered.await?.map_err(|error| status(&error))?;
        let rows = wire::messages(answered.unwrap_or_else(|| futures::stream::empty().boxed()), self.options.message_bytes);
        Ok(respond(&caller, futures::stream::once(async move { Ok(wire::schema_message(&schema)) }).chain(rows).boxed()))
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let mut caller = self.caller(&request).await?;
        let result = self.put_in_time(&mut caller, request.into_inner()).await?;
        Ok(respond(&caller, one(result)))
    }

    async fn do_exchange(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        self.caller(&request).await?;
        Err(unknown("DoExchange"))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let mut caller = self.caller(&request).await?;
        self.act(&mut caller, request.into_inner()).await
    }

    async fn list_actions(&self, request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        let caller = self.caller(&request).await?;
        Ok(respond(&caller, futures::stream::iter(actions::all().map(Ok)).boxed()))
    }
}
