//! A connection to the SQL service.

use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::CommandGetTables;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{FlightInfo, HandshakeRequest, IpcMessage};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytefacts_query::Underway;
use datafusion::physical_plan::common::collect;
use tonic::Request;
use tonic::metadata::MetadataValue;

use crate::answer::{Answer, cancel};
use crate::connect::{Client, channel, is_encrypted};
use crate::error::ClientError;
use crate::options::{Credentials, Options};
use crate::silence::SILENT;

/// The largest message that is read. A server of ours sends 16 MiB at most, unless it is told otherwise.
const MAX_MESSAGE_BYTES: usize = 1 << 30;

/// A table or view of the server.
#[derive(Clone, Debug)]
pub struct TableInfo {
    /// Its catalog.
    pub catalog: String,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `TABLE`, `VIEW` or `SYSTEM TABLE`.
    pub kind: String,
    /// Its columns. Their metadata say what they mean, under `ARROW:FLIGHT:SQL:REMARKS`.
    pub columns: SchemaRef,
}

/// A connection to the SQL service, with a session of its own: what `SET` sets lasts as long. Clones are the same session.
#[derive(Clone, Debug)]
pub struct Connection {
    client: Client,
    address: String,
}

impl Connection {
    /// Connects, and logs in.
    ///
    /// # Errors
    /// When the address is none, nobody answers there, the server cannot be trusted, or it does not know who asks.
    pub async fn open(options: &Options) -> Result<Self, ClientError> {
        let inner = FlightServiceClient::new(channel(options).await?).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let mut connection = Self { client: FlightSqlServiceClient::new_from_inner(inner), address: options.address.clone() };
        if let Err(error) = connection.log_in(&options.credentials).await {
            return Err(no_login(options, error).await);
        }
        if let Some(run) = &options.run {
            connection.client.set_header("bytefacts.run", run);
        }
        Ok(connection)
    }

    /// Exchanges what is known of the user for a login, which is what keeps a session. Where anybody may ask, it is had for nothing.
    async fn log_in(&mut self, credentials: &Credentials) -> Result<(), ClientError> {
        let mut request = Request::new(futures::stream::iter([HandshakeRequest::default()]));
        let header = match credentials {
            Credentials::None => None,
            Credentials::Password { user, password } => Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))),
            Credentials::Token(token) => Some(format!("Bearer {token}")),
        };
        if let Some(header) = header {
            let header = MetadataValue::try_from(header).map_err(|_| ClientError::Refused("a token is of printable ASCII".to_owned()))?;
            request.metadata_mut().insert("authorization", header);
        }
        let answer = self.client.inner_mut().handshake(request).await.map_err(|status| ClientError::of(&self.address, &status))?;
        let token = answer.metadata().get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        match token {
            Some(token) => self.client.set_token(token.to_owned()),
            None => return Err(ClientError::Unreadable("there is no login in it".to_owned())),
        }
        Ok(())
    }

    /// Where the server is.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Asks a statement. What is returned has the columns; the rows come as they are read, and whoever drops it, or this call, ends the query on the
    /// server too.
    ///
    /// # Errors
    /// When the server refuses the statement, or the query fails before its first rows.
    pub async fn ask(&self, statement: &str) -> Result<Answer, ClientError> {
        let mut client = self.client.clone();
        let info = client.execute(statement.to_owned(), None).await.map_err(|error| ClientError::of_flight(&self.address, error))?;
        self.fetch(info).await
    }

    async fn fetch(&self, info: FlightInfo) -> Result<Answer, ClientError> {
        let schema = Schema::try_from(IpcMessage(info.schema.clone())).map_err(|error| ClientError::Unreadable(error.to_string()))?;
        let Some(ticket) = info.endpoint.first().and_then(|endpoint| endpoint.ticket.clone()) else {
            // What sets an option has no rows.
            return Ok(Answer::empty(Arc::new(schema)));
        };
        // From here on somebody has to tell the server that nobody wants the rows.
        let underway = Underway::new(cancel(self.client.clone(), info));
        let stream = self.client.clone().do_get(ticket).await.map_err(|error| ClientError::of_flight(&self.address, error))?;
        Ok(Answer::new(Arc::new(schema), stream, underway, self.address.clone()))
    }

    /// All rows that a statement answers.
    ///
    /// # Errors
    /// As [`Connection::ask`], and when the query fails later on.
    pub async fn rows(&self, statement: &str) -> datafusion::common::Result<Vec<RecordBatch>> {
        collect(self.ask(statement).await?.into_stream()).await
    }

    /// The tables and views that are asked where a statement names no other catalog, with their columns.
    ///
    /// # Errors
    /// When the server does not tell.
    pub async fn tables(&self) -> Result<Vec<TableInfo>, ClientError> {
        let command = CommandGetTables { catalog: Some("facts".to_owned()), include_schema: true, ..CommandGetTables::default() };
        let info = self.client.clone().get_tables(command).await.map_err(|error| ClientError::of_flight(&self.address, error))?;
        let rows = collect(self.fetch(info).await?.into_stream()).await;
        let mut tables = Vec::new();
        for batch in rows.map_err(|error| ClientError::Server(error.to_string()))? {
            tables.extend(tables_of(&batch)?);
        }
        Ok(tables)
    }
}

/// Why the first call of all has failed: whoever answers may speak another language.
async fn no_login(options: &Options, error: ClientError) -> ClientError {
    let reason = match &error {
        ClientError::Unreachable { reason, .. } | ClientError::Server(reason) => reason,
        _ => return error,
    };
    match options.target() {
        Ok(target) if !target.tls && reason != SILENT && is_encrypted(&target).await => {
            ClientError::Unreachable { address: options.address.clone(), reason: format!("it encrypts: take grpc+tls:// ({reason})") }
        }
        _ => error,
    }
}

/// The tables in rows of `GetTables`.
fn tables_of(batch: &RecordBatch) -> Result<Vec<TableInfo>, ClientError> {
    let unreadable = |what: &str| ClientError::Unreadable(format!("its list of tables has no {what}"));
    let text = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>()).ok_or_else(|| unreadable(name));
    let (catalogs, schemas) = (text("catalog_name")?, text("db_schema_name")?);
    let (names, kinds) = (text("table_name")?, text("table_type")?);
    let columns = batch.column_by_name("table_schema").and_then(|column| column.as_binary_opt::<i32>());
    let columns = columns.ok_or_else(|| unreadable("table_schema"))?;
    let tables = (0..batch.num_rows()).map(|row| {
        let schema = Schema::try_from(IpcMessage(columns.value(row).to_vec().into()));
        Ok(TableInfo {
            catalog: if catalogs.is_null(row) { String::new() } else { catalogs.value(row).to_owned() },
            schema: if schemas.is_null(row) { String::new() } else { schemas.value(row).to_owned() },
            name: names.value(row).to_owned(),
            kind: kinds.value(row).to_owned(),
            columns: Arc::new(schema.map_err(|error| ClientError::Unreadable(error.to_string()))?),
        })
    });
    tables.collect()
}
