//! The least and the greatest text of a column chunk, short enough for the footer.

/// Longer ones are cut, in bytes. Nearly all paths and all ids fit.
pub(super) const MAX_BYTES: usize = 256;

/// What no value is less, or greater, than.
pub(super) struct Bound {
    pub(super) value: Vec<u8>,
    /// Whether there is such a value.
    pub(super) is_exact: bool,
}

/// The bound below texts of which this is the least.
pub(super) fn least(value: Vec<u8>) -> Bound {
    match head(&value) {
        None => Bound { value, is_exact: true },
        Some(head) => Bound { value: head.into(), is_exact: false },
    }
}

/// The bound above texts of which this is the greatest: a head of it with its last character put up by one, which comes
/// behind whatever begins with the head. UTF-8 sorts as its characters do.
pub(super) fn greatest(value: Vec<u8>) -> Bound {
    let next = |(at, character): (usize, char)| {
        let next = char::from_u32(u32::from(character) + 1)?;
        (next.len_utf8() == character.len_utf8()).then_some((at, next))
    };
    let above = head(&value).and_then(|head| {
        let (at, next) = head.char_indices().rev().find_map(next)?;
        Some(format!("{}{next}", head.get(..at)?))
    });
    match above {
        None => Bound { value, is_exact: true },
        Some(above) => Bound { value: above.into(), is_exact: false },
    }
}

/// The whole characters that a bound has room for; none if all of it has.
fn head(value: &[u8]) -> Option<&str> {
    if value.len() <= MAX_BYTES {
        return None;
    }
    let text = str::from_utf8(value).ok()?;
    text.get(..text.floor_char_boundary(MAX_BYTES))
}
