//! Prepared statements, and what is bound to their parameters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use tonic::Status;

use crate::error::internal;
use crate::gate::Statement;
use crate::lock::lock;
use crate::metrics::Metrics;
use crate::plan::Prepared;
use crate::seal::random_id;

/// Statements that are kept.
const MOST: usize = 10_000;
/// Bytes of their trees and of what is bound to them, taken together.
const MOST_BYTES: usize = 256 << 20;
/// Bytes of the tree of a statement and its columns, for each byte of its text: measured at 140 on long lists.
const TREE: usize = 150;
/// Statements of one user.
const MOST_OF_USER: usize = 1_000;
/// Bytes of those of one user, where there are users: nobody keeps the others out.
const MOST_BYTES_OF_USER: usize = MOST_BYTES / 4;
/// For how long one is kept that nobody uses.
const LIFE: Duration = Duration::from_hours(1);

/// A prepared statement.
#[derive(Clone)]
pub(crate) struct PreparedStatement {
    /// Its text.
    pub(crate) text: String,
    /// What it is.
    pub(crate) statement: Statement,
    /// Its columns and parameters; none of what sets an option.
    pub(crate) known: Option<Prepared>,
    /// Whose it is.
    pub(crate) user: Option<String>,
    /// What is bound to its parameters.
    pub(crate) bound: Option<Arc<RecordBatch>>,
}

impl PreparedStatement {
    fn bytes(&self) -> usize {
        self.text.len() * TREE + self.bound.as_ref().map_or(0, |values| values.get_array_memory_size())
    }
}

type Statements = BTreeMap<String, (Instant, PreparedStatement)>;

/// All of them.
pub(crate) struct PreparedStatements {
    statements: Mutex<Statements>,
    metrics: Arc<Metrics>,
}

impl PreparedStatements {
    /// None yet.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { statements: Mutex::default(), metrics }
    }

    /// Keeps one; its handle.
    ///
    /// # Errors
    /// When too many are kept.
    pub(crate) fn keep(&self, statement: PreparedStatement) -> Result<String, Status> {
        let handle = random_id().map_err(internal)?;
        let mut statements = lock(&self.statements);
        make_room(&mut statements, statement.user.as_deref(), statement.bytes())?;
        if statements.values().filter(|(_, other)| other.user == statement.user).count() >= MOST_OF_USER {
            return Err(Status::resource_exhausted(format!("{MOST_OF_USER} prepared statements of yours are kept: close some")));
        }
        statements.insert(handle.clone(), (Instant::now(), statement));
        self.count(&statements);
        Ok(handle)
    }

    /// The one of this handle.
    ///
    /// # Errors
    /// When this user has none of it.
    pub(crate) fn get(&self, handle: &[u8], user: Option<&str>) -> Result<PreparedStatement, Status> {
        Self::find(&mut lock(&self.statements), handle, user).map(|statement| statement.clone())
    }

    /// Binds values to the parameters of one.
    ///
    /// # Errors
    /// When this user has none of this handle.
    pub(crate) fn bind(&self, handle: &[u8], user: Option<&str>, values: RecordBatch) -> Result<(), Status> {
        let mut statements = lock(&self.statements);
        make_room(&mut statements, user, values.get_array_memory_size())?;
        Self::find(&mut statements, handle, user).map(|statement| statement.bound = Some(Arc::new(values)))
    }

    /// Lets one go.
    pub(crate) fn close(&self, handle: &[u8], user: Option<&str>) {
        if self.get(handle, user).is_ok() {
            let mut statements = lock(&self.statements);
            statements.remove(&*String::from_utf8_lossy(handle));
            self.count(&statements);
        }
    }

    fn find<'a>(statements: &'a mut Statements, handle: &[u8], user: Option<&str>) -> Result<&'a mut PreparedStatement, Status> {
        match statements.get_mut(&*String::from_utf8_lossy(handle)) {
            Some((used, statement)) if statement.user.as_deref() == user => {
                *used = Instant::now();
                Ok(statement)
            }
            _ => Err(Status::not_found(
                "there is no such prepared statement: it was closed, or the server was started again; prepare it anew",
            )),
        }
    }

    fn count(&self, statements: &Statements) {
        self.metrics.prepared.set(i64::try_from(statements.len()).unwrap_or(i64::MAX));
    }
}

/// Lets go of what nobody uses any more, where another one would be too much.
fn make_room(statements: &mut Statements, user: Option<&str>, bytes: usize) -> Result<(), Status> {
    let is_full = |statements: &Statements| {
        let all = || statements.values().map(|(_, statement)| statement);
        let own = || all().filter(|statement| statement.user.as_deref() == user).map(PreparedStatement::bytes).sum::<usize>();
        statements.len() >= MOST
            || all().map(PreparedStatement::bytes).sum::<usize>() + bytes > MOST_BYTES
            || (user.is_some() && own() + bytes > MOST_BYTES_OF_USER)
    };
    if is_full(statements) {
        statements.retain(|_, (used, _)| used.elapsed() < LIFE);
        if is_full(statements) {
            return Err(Status::resource_exhausted("too many prepared statements are kept, or too much is bound to them: close some"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(user: Option<&str>) -> PreparedStatement {
        let set = Statement::Set { name: "bytefacts.run".into(), value: None };
        PreparedStatement { text: String::new(), statement: set, known: None, user: user.map(str::to_owned), bound: None }
    }

    #[test]
    fn there_are_only_so_many() {
        let statements = PreparedStatements::new(Arc::new(Metrics::new().unwrap()));
        let long = PreparedStatement { text: "x".repeat(MOST_BYTES / 4 / TREE), ..statement(None) };
        let handles: Vec<_> = (0..4).map(|_| statements.keep(long.clone()).unwrap()).collect();
        assert_eq!(statements.keep(long.clone()).unwrap_err().code(), tonic::Code::ResourceExhausted);
        statements.close(handles[0].as_bytes(), None);
        statements.keep(long).unwrap();
    }

    #[test]
    fn a_statement_is_its_users_alone() {
        let statements = PreparedStatements::new(Arc::new(Metrics::new().unwrap()));
        let handle = statements.keep(statement(Some("ada"))).unwrap();
        assert!(statements.get(handle.as_bytes(), Some("ada")).is_ok());
        for other in [None, Some("bob")] {
            assert_eq!(statements.get(handle.as_bytes(), other).err().unwrap().code(), tonic::Code::NotFound);
            statements.close(handle.as_bytes(), other);
        }
        assert!(statements.get(handle.as_bytes(), Some("ada")).is_ok());
        statements.close(handle.as_bytes(), Some("ada"));
        assert!(statements.get(handle.as_bytes(), Some("ada")).is_err());
        assert_eq!(statements.metrics.prepared.get(), 0);
    }

    #[test]
    fn no_user_keeps_the_others_out() {
        let statements = PreparedStatements::new(Arc::new(Metrics::new().unwrap()));
        let long = |user| PreparedStatement { text: "x".repeat(MOST_BYTES_OF_USER / 2 / TREE), ..statement(Some(user)) };
        for _ in 0..2 {
            statements.keep(long("ada")).unwrap();
        }
        assert_eq!(statements.keep(long("ada")).unwrap_err().code(), tonic::Code::ResourceExhausted);
        statements.keep(long("bob")).unwrap();
    }
}
