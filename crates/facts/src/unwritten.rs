//! Why facts do not become rows.

/// The facts of a file outgrow the limit.
#[derive(Debug)]
pub(crate) struct TooLarge;

/// Why the facts of a unit did not become columns.
#[derive(Debug)]
pub(crate) enum Unwritten {
    /// They outgrow the limit of their file.
    TooLarge,
    /// They do not fit each other, which is a fault of this crate or of the analysis.
    Inconsistent(&'static str),
}

impl From<TooLarge> for Unwritten {
    fn from(TooLarge: TooLarge) -> Self {
        Self::TooLarge
    }
}

/// A position in a unit as columns have it.
pub(crate) fn int(position: impl TryInto<i32>) -> Result<i32, Unwritten> {
    position.try_into().map_err(|_| Unwritten::TooLarge)
}
