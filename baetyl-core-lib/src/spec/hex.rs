//! Lower-case hexadecimal digits, as digests are written on the wire. Pure.

/// Writes bytes as digits.
///
/// ```
/// assert_eq!(baetyl_core_lib::spec::hex::encode(&[0, 171]), "00ab");
/// ```
pub fn encode(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from_digit(digit.into(), 16).unwrap_or_default()).collect()
}

/// Reads digits of either case; `None` when the text is anything else.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| if let [high, low] = *pair { Some(digit(high)? << 4 | digit(low)?) } else { None })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)).as_deref(), Some(&*all));
        assert_eq!(decode("aB"), Some(vec![0xab]));
        assert_eq!(decode(""), Some(Vec::new()));
        for text in ["a", "+a", "0x", "zz", "ä"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
