//! What is told of a query, and to whom.

/// What is told of a query.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) user: Option<String>,
    pub(crate) statement: String,
    pub(crate) state: &'static str,
    pub(crate) started_at_ms: u64,
    pub(crate) milliseconds: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) error: Option<String>,
}

/// Whose queries somebody is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Everybody's.
    All,
    /// Those of a user.
    Of(String),
}

impl Whose {
    /// Whether this one is theirs.
    pub(crate) fn includes(&self, record: &Record) -> bool {
        match self {
            Self::All => true,
            Self::Of(user) => record.user.as_ref() == Some(user),
        }
    }
}
