//! Where the ids of rows go.
//!
//! Whether ids are unique is for a run to say. An id goes to an [`IdSink`] as text, with the row that it belongs to; a sink that only counts keeps
//! [`id_key`]s of it, 8 bytes each.

use super::{Check, Place};
use crate::ids;

/// Where an id was made.
#[derive(Debug, Clone, Copy)]
pub struct IdOwner<'a> {
    /// The repository.
    pub repo: Option<&'a str>,
    /// The source file.
    pub path: &'a str,
    /// The unit, if it is not the id of a file.
    pub code_unit_id: Option<&'a str>,
    /// Where in the unit.
    pub place: Place,
}

/// Takes the ids of a run.
pub trait IdSink {
    /// Takes an id. `check` is the one that demands of ids of this kind to be unique.
    fn id(&mut self, check: Check, id: &str, owner: &IdOwner<'_>);
}

/// A number that equal ids share and that few others do: the hash in the id, or its first 64 bits.
#[must_use]
pub fn id_key(id: &str) -> u64 {
    let hash = id.rsplit_once(':').map_or(id, |(_, hash)| hash);
    let decimal = || hash.parse().ok();
    let hexadecimal = || (hash.len() == 32).then(|| hash.get(..16).and_then(|head| u64::from_str_radix(head, 16).ok())).flatten();
    hexadecimal().or_else(decimal).unwrap_or_else(|| ids::hash64(id).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_an_id_is_its_hash() {
        assert_eq!(id_key(&ids::instr_id("u", 1, 2)), ids::hash64("u:1:2").cast_unsigned());
        let file = ids::file_id(None, "m.py");
        assert_eq!(id_key(&file), u64::from_str_radix(&file["file:".len()..][..16], 16).unwrap());
    }

    #[test]
    fn what_is_no_id_has_a_key_too() {
        assert_ne!(id_key("nonsense"), id_key("other nonsense"));
        assert_ne!(id_key(""), id_key(":"));
    }
}
