//! Places that the user names: a path, or a URI.

use bytefacts_corpus::Location;

use crate::exit::UsageError;

/// The location that the user gave as `what`.
///
/// # Errors
/// When it is none.
pub fn location(text: &str, what: &str) -> anyhow::Result<Location> {
    Location::parse(text).map_err(|error| UsageError(format!("{what}: {error}")).into())
}

/// A location as the user writes it: a path, or a URI.
pub fn shown(location: &Location) -> String {
    location.local_path().map_or_else(|| location.uri().to_owned(), |path| path.display().to_string())
}
