//! How what is ours travels in plans: JSON, or a message of DataFusion's, behind a tag, which no codec but ours takes for its own.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What stands before values of one kind. It begins with a zero, as no protobuf message does (field 0 does not exist), and changes with the form of
/// the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(&'static [u8]);

impl Tag {
    /// A tag. It begins with a zero, and no tag begins with another.
    #[must_use]
    pub const fn new(tag: &'static [u8]) -> Self {
        Self(tag)
    }

    /// Appends the tag and bytes that something else has written.
    pub fn encode_bytes(self, bytes: &[u8], buf: &mut Vec<u8>) {
        buf.extend_from_slice(self.0);
        buf.extend_from_slice(bytes);
    }

    /// The bytes behind the tag, or `None` when something else is there.
    #[must_use]
    pub fn decode_bytes(self, buf: &[u8]) -> Option<&[u8]> {
        buf.strip_prefix(self.0)
    }

    /// Appends the tag and a value.
    ///
    /// # Errors
    /// When the value cannot be written as JSON.
    pub fn encode(self, value: &impl Serialize, buf: &mut Vec<u8>) -> serde_json::Result<()> {
        buf.extend_from_slice(self.0);
        serde_json::to_writer(buf, value)
    }

    /// The value behind the tag, or `None` when something else is there.
    ///
    /// # Errors
    /// When what stands behind the tag is no such value.
    pub fn decode<T: DeserializeOwned>(self, buf: &[u8]) -> serde_json::Result<Option<T>> {
        self.decode_bytes(buf).map(|json| serde_json::from_slice(json)).transpose()
    }
}
