//! The common name of a certificate's subject: as much of DER as that takes. Pure.

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const VERSION: u8 = 0xa0;
/// The object identifier 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// UTF8String, PrintableString, TeletexString, IA5String.
const TEXTS: [u8; 4] = [0x0c, 0x13, 0x14, 0x16];

/// The subject's common name; the last one where there are several, as Go reads it.
pub(super) fn common_name(certificate: &[u8]) -> Option<String> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if let Some((_, after)) = element(rest, VERSION) {
        rest = after;
    }
    // Serial number, algorithm, issuer and validity stand before the subject.
    for _ in 0..4 {
        (_, _, rest) = any(rest)?;
    }
    let (mut names, _) = element(rest, SEQUENCE)?;
    let mut found = None;
    while let Some((mut set, after)) = element(names, SET) {
        names = after;
        while let Some((attribute, after)) = element(set, SEQUENCE) {
            set = after;
            let (oid, value) = element(attribute, OID)?;
            let (tag, text, _) = any(value)?;
            if oid == COMMON_NAME && TEXTS.contains(&tag) {
                found = Some(String::from_utf8(text.to_vec()).ok()?);
            }
        }
    }
    found
}

/// The content of the element with this tag at the start, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = any(bytes)?;
    (found == tag).then_some((content, rest))
}

/// Tag and content of the element at the start, and what follows it.
fn any(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long - 0x80))?;
            (
                digits
                    .iter()
                    .try_fold(0_usize, |sum, digit| sum.checked_mul(256)?.checked_add((*digit).into()))?,
                rest,
            )
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            drop(super::common_name(&bytes));
        }
    }
}
