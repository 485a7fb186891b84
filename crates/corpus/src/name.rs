//! File names as text, without loss.
//!
//! A name is bytes. Where they are UTF-8 they are the text; an undecodable byte `0xNN` is written `\udcNN`, which is how
//! Python's `surrogateescape` decodes it and how the data contract writes a lone surrogate. To keep the text
//! unambiguous, a real backslash in front of `udc` or `x5c` is written `\x5c`.

/// The text of a name.
pub fn encode_name(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        encode_valid(chunk.valid(), &mut text);
        for byte in chunk.invalid() {
            text.push_str(&format!("\\udc{byte:02x}"));
        }
    }
    text
}

fn encode_valid(mut valid: &str, text: &mut String) {
    while let Some((before, after)) = valid.split_once('\\') {
        text.push_str(before);
        let ambiguous = after.starts_with("udc") || after.starts_with("x5c");
        text.push_str(if ambiguous { "\\x5c" } else { "\\" });
        valid = after;
    }
    text.push_str(valid);
}

/// The name that [`encode_name`] wrote as `text`.
pub fn decode_name(mut text: &str) -> Vec<u8> {
    let mut name = Vec::with_capacity(text.len());
    while let Some((before, after)) = text.split_once('\\') {
        name.extend_from_slice(before.as_bytes());
        if let Some((byte, rest)) = escaped_byte(after) {
            name.push(byte);
            text = rest;
        } else {
            name.push(b'\\');
            text = after.strip_prefix("x5c").unwrap_or(after);
        }
    }
    name.extend_from_slice(text.as_bytes());
    name
}

/// The byte that `udcNN` stands for, and the text behind it. Only bytes that cannot stand alone in UTF-8 are escaped.
fn escaped_byte(after_backslash: &str) -> Option<(u8, &str)> {
    let digits = after_backslash.strip_prefix("udc")?;
    let (hex, rest) = digits.split_at_checked(2)?;
    let lower_hex = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let byte = u8::from_str_radix(hex, 16).ok()?;
    (lower_hex && byte >= 0x80).then_some((byte, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_names_are_themselves() {
        for name in ["a.py", "größe ☃.py", "a\\b.py", "\\u0041", "quote'\"\n.py"] {
            assert_eq!(encode_name(name.as_bytes()), name);
        }
    }

    #[test]
    fn undecodable_bytes_are_escaped_as_python_decodes_them() {
        assert_eq!(encode_name(b"caf\xe9.py"), "caf\\udce9.py");
        // A surrogate encoded in three bytes is no UTF-8.
        assert_eq!(encode_name(b"\xed\xa0\x80"), "\\udced\\udca0\\udc80");
    }

    #[test]
    fn a_backslash_that_looks_like_an_escape_is_escaped() {
        assert_eq!(encode_name(b"\\udce9"), "\\x5cudce9");
        assert_eq!(encode_name(b"\\x5c"), "\\x5cx5c");
        assert_eq!(encode_name(b"\\\\udce9"), "\\\\x5cudce9");
        assert_eq!(encode_name(b"\\\xe9"), "\\\\udce9");
    }

    /// Bytes that hit the escapes often.
    fn names() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            prop::sample::select(vec![
                b"\\".to_vec(),
                b"udc".to_vec(),
                b"x5c".to_vec(),
                b"e9".to_vec(),
                b"41".to_vec(),
                "é".as_bytes().to_vec()
            ]),
            prop::collection::vec(any::<u8>(), 0..3),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in names()) {
            prop_assert_eq!(decode_name(&encode_name(&name)), name);
        }

        #[test]
        fn different_names_have_different_texts(a in names(), b in names()) {
            prop_assert_eq!(a == b, encode_name(&a) == encode_name(&b));
        }

        #[test]
        fn any_text_decodes(text in any::<String>()) {
            decode_name(&text);
        }
    }
}
