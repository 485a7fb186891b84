//! Names for what a process writes that no other may write.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use bytefacts_landing::{AttemptId, IdError};

/// A name that nobody else has.
///
/// # Errors
/// Never: it is made of hexadecimal digits.
pub(crate) fn fresh_attempt() -> Result<AttemptId, IdError> {
    // Only told apart, never compared or written to a row: the hasher's random keys are randomness enough.
    let number = || RandomState::new().build_hasher().finish();
    AttemptId::new(format!("{:016x}{:016x}", number(), number()))
}
