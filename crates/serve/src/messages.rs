//! Messages of Flight that arrow-flight does not have yet: those of session options, as `Flight.proto` gives them.

use std::collections::BTreeMap;

/// Asks that options be set, and a session begun if there is none.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SetSessionOptionsRequest {
    /// By name.
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) session_options: BTreeMap<String, SessionOptionValue>,
}

/// Tells which were not set.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SetSessionOptionsResult {
    /// By name.
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) errors: BTreeMap<String, SetError>,
}

/// Why an option was not set.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct SetError {
    /// As a number.
    #[prost(enumeration = "SetErrorValue", tag = "1")]
    pub(crate) value: i32,
}

/// Why an option was not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum SetErrorValue {
    /// Nobody knows.
    Unspecified = 0,
    /// There is none of that name.
    InvalidName = 1,
    /// It has no such value.
    InvalidValue = 2,
}

/// Tells what is set.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct GetSessionOptionsResult {
    /// By name.
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) session_options: BTreeMap<String, SessionOptionValue>,
}

/// Tells whether a session is closed.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct CloseSessionResult {
    /// As a number.
    #[prost(enumeration = "CloseStatus", tag = "1")]
    pub(crate) status: i32,
}

/// Whether a session is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum CloseStatus {
    /// Nobody knows.
    Unspecified = 0,
    /// It is.
    Closed = 1,
    /// It will be.
    Closing = 2,
    /// It cannot be.
    NotCloseable = 3,
}

/// A value of an option.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SessionOptionValue {
    /// None resets it.
    #[prost(oneof = "OptionValue", tags = "1, 2, 3, 4, 5")]
    pub(crate) value: Option<OptionValue>,
}

/// A value of one of the types.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum OptionValue {
    /// A text.
    #[prost(string, tag = "1")]
    Text(String),
    /// A flag.
    #[prost(bool, tag = "2")]
    Flag(bool),
    /// A number.
    #[prost(sfixed64, tag = "3")]
    Number(i64),
    /// A number with a fraction.
    #[prost(double, tag = "4")]
    Fraction(f64),
    /// Several texts.
    #[prost(message, tag = "5")]
    Texts(Texts),
}

/// Several texts.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Texts {
    /// In their order.
    #[prost(string, repeated, tag = "1")]
    pub(crate) values: Vec<String>,
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    /// The bytes are those that another implementation writes: field 1 of the map, its key as field 1, its value as field 2, in which field 1 is the text.
    #[test]
    fn options_are_read_as_others_write_them() {
        let bytes = b"\x0a\x1a\x0a\x0dbytefacts.run\x12\x09\x0a\x07nightly";
        let request = SetSessionOptionsRequest::decode(&bytes[..]).unwrap();
        assert_eq!(request.session_options["bytefacts.run"].value, Some(OptionValue::Text("nightly".into())));
        assert_eq!(request.encode_to_vec(), bytes);
    }
}
