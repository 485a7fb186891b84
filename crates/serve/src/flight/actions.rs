//! `DoAction`: prepared statements, cancelling, and the options of a session.

use std::collections::BTreeMap;

use arrow::datatypes::Schema;
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, Any, Command, ProstMessageExt,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo, IpcMessage, Result as ActionResult,
    SchemaAsIpc,
};
use arrow_ipc::writer::IpcWriteOptions;
use bytes::Bytes;
use futures::StreamExt as _;
use prost::Message;
use tonic::{Response, Status};

use super::{Messages, Service, command, no_transaction, one, respond};
use crate::access::Caller;
use crate::error::{internal, status};
use crate::messages::{
    CloseSessionResult, CloseStatus, GetSessionOptionsResult, OptionValue, SessionOptionValue, SetError, SetErrorValue,
    SetSessionOptionsRequest, SetSessionOptionsResult,
};
use crate::options::BadOption;
use crate::prepared::PreparedStatement;
use crate::sessions::Keeping;

const ALL: [(&str, &str); 7] = [
    ("CreatePreparedStatement", "Prepares a statement, and tells its columns and parameters."),
    ("ClosePreparedStatement", "Lets a prepared statement go."),
    ("CancelFlightInfo", "Ends a query, by what was announced for it."),
    ("CancelQuery", "The same, as older clients ask for it."),
    ("SetSessionOptions", "Sets options of the session, and begins one if there is none."),
    ("GetSessionOptions", "Tells the options of the session."),
    ("CloseSession", "Closes the session."),
];

/// All actions.
pub(super) fn all() -> impl Iterator<Item = ActionType> {
    ALL.iter().map(|(name, description)| ActionType { r#type: (*name).to_owned(), description: (*description).to_owned() })
}

impl Service {
    pub(super) async fn act(&self, caller: &mut Caller, action: Action) -> Result<Response<Messages<ActionResult>>, Status> {
        let body = action.body;
        let result = match action.r#type.as_str() {
            "CreatePreparedStatement" => self.prepare(caller, unpack(&body)?).await?.as_any().encode_to_vec(),
            "ClosePreparedStatement" => {
                let request: ActionClosePreparedStatementRequest = unpack(&body)?;
                self.prepared.close(&request.prepared_statement_handle, caller.user.as_deref());
                return Ok(respond(caller, futures::stream::empty().boxed()));
            }
            "CancelFlightInfo" => {
                let request: CancelFlightInfoRequest = decode(&body)?;
                let info = request.info.ok_or_else(|| Status::invalid_argument("nothing says what is to be cancelled"))?;
                CancelFlightInfoResult::new(self.cancel(caller, &info)?).encode_to_vec()
            }
            "CancelQuery" => {
                let request: ActionCancelQueryRequest = unpack(&body)?;
                // Both enumerations have the same numbers.
                let result = self.cancel(caller, &decode(&request.info)?)? as i32;
                ActionCancelQueryResult { result }.as_any().encode_to_vec()
            }
            "SetSessionOptions" => return self.set_options(caller, decode(&body)?).await,
            "GetSessionOptions" => {
                let text = |value: String| SessionOptionValue { value: Some(OptionValue::Text(value)) };
                let options = caller.options.all().into_iter().map(|(name, value)| (name.to_owned(), text(value)));
                GetSessionOptionsResult { session_options: options.collect() }.encode_to_vec()
            }
            "CloseSession" => {
                let status = match &caller.keeping {
                    Keeping::Session(id) => self.sessions.close(id, caller.user.as_deref()).map(|()| CloseStatus::Closed)?,
                    _ => CloseStatus::NotCloseable,
                };
                CloseSessionResult { status: status.into() }.encode_to_vec()
            }
            "BeginTransaction" | "EndTransaction" | "BeginSavepoint" | "EndSavepoint" => {
                return Err(Status::unimplemented("there are no transactions: facts are read, and never change"));
            }
            other => return Err(Status::unimplemented(format!("there is no action {other} here"))),
        };
        Ok(respond(caller, one(ActionResult { body: result.into() })))
    }

    async fn prepare(
        &self,
        caller: &Caller,
        request: ActionCreatePreparedStatementRequest,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        no_transaction(request.transaction_id.as_deref())?;
        let statement = self.read(&request.query, caller).await?;
        let known = self.columns(&request.query, &statement, caller).await?;
        let schema = |schema: &Schema| -> Result<Bytes, Status> {
            let message: IpcMessage = SchemaAsIpc::new(schema, &IpcWriteOptions::default()).try_into().map_err(internal)?;
            Ok(message.0)
        };
        let none = Schema::empty();
        // What sets an option has no columns, by which drivers know that it is an update.
        let (dataset_schema, parameter_schema) = match &known {
            Some(known) => (schema(&known.schema)?, schema(&known.parameters)?),
            None => (schema(&none)?, schema(&none)?),
        };
        let prepared = PreparedStatement { text: request.query, statement, known, user: caller.user.clone(), bound: None };
        let prepared_statement_handle = self.prepared.keep(prepared)?.into();
        Ok(ActionCreatePreparedStatementResult { prepared_statement_handle, dataset_schema, parameter_schema })
    }

    /// Ends the query that was announced so.
    fn cancel(&self, caller: &Caller, info: &FlightInfo) -> Result<CancelStatus, Status> {
        let ticket = info.endpoint.first().and_then(|endpoint| endpoint.ticket.as_ref());
        let ticket = ticket.ok_or_else(|| Status::invalid_argument("what was announced has no ticket"))?;
        let Command::TicketStatementQuery(ticket) = command(&ticket.ticket)? else { return Ok(CancelStatus::NotCancellable) };
        match self.of_ticket(&ticket, caller) {
            Ok(query) => {
                let is_cancelled = query.cancel("the query was cancelled");
                self.audit_log.cancel(caller, &query.id, is_cancelled);
                Ok(if is_cancelled { CancelStatus::Cancelled } else { CancelStatus::NotCancellable })
            }
            Err(status) if status.code() == tonic::Code::NotFound => Ok(CancelStatus::NotCancellable),
            Err(forged) => Err(forged),
        }
    }

    async fn set_options(
        &self,
        caller: &mut Caller,
        request: SetSessionOptionsRequest,
    ) -> Result<Response<Messages<ActionResult>>, Status> {
        let id = match &caller.keeping {
            Keeping::Session(id) => id.clone(),
            // To ask for this begins a session.
            _ => self.door.begin_session(caller)?,
        };
        let mut errors = BTreeMap::new();
        for (name, value) in request.session_options {
            let (text, is_text) = match value.value {
                None => (None, true),
                Some(OptionValue::Text(text)) => (Some(text), true),
                Some(_) => (None, false),
            };
            let set = if is_text && self.is_there(caller, &name, text.as_deref()).await? {
                self.sessions.set(&id, caller.user.as_deref(), &name, text.as_deref())?.map_err(|error| match error {
                    BadOption::Name(_) => SetErrorValue::InvalidName,
                    BadOption::Value(_) => SetErrorValue::InvalidValue,
                })
            } else {
                Err(SetErrorValue::InvalidValue)
            };
            self.audit_log.option(caller, &name, text.as_deref(), set.is_err().then_some("there is no such option, or no such value"));
            if let Err(error) = set {
                errors.insert(name, SetError { value: error.into() });
            }
        }
        let result = SetSessionOptionsResult { errors }.encode_to_vec();
        Ok(respond(caller, one(ActionResult { body: result.into() })))
    }

    /// Whether there is what an option would choose. What is no option or no value is another matter.
    async fn is_there(&self, caller: &Caller, name: &str, value: Option<&str>) -> Result<bool, Status> {
        let mut wanted = caller.options.clone();
        if wanted.set(name, value).is_err() {
            return Ok(true);
        }
        match self.planner.check(&wanted).await {
            Ok(()) => Ok(true),
            Err(error) => match status(&error) {
                status if status.code() == tonic::Code::InvalidArgument => Ok(false),
                status => Err(status),
            },
        }
    }
}

/// A message that says its type.
fn unpack<M: ProstMessageExt>(bytes: &[u8]) -> Result<M, Status> {
    let any: Any = decode(bytes)?;
    let unpacked = any.unpack().map_err(|error| Status::invalid_argument(error.to_string()))?;
    unpacked.ok_or_else(|| Status::invalid_argument(format!("the action takes a {}, not a {}", M::type_url(), any.type_url)))
}

fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, Status> {
    M::decode(bytes).map_err(|error| Status::invalid_argument(format!("the message cannot be read: {error}")))
}
