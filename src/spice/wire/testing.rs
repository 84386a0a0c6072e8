//! Values and their bytes, side by side.

use std::fmt::Debug;

use super::Message;

/// Bytes from lines that begin with one word of hexadecimal digits; what follows it is for the reader.
pub(crate) fn annotated(lines: &str) -> Vec<u8> {
    let words = lines.lines().filter_map(|line| line.split_whitespace().next());
    words.flat_map(hex).collect()
}

/// Bytes from hexadecimal digits.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    assert!(digits.len().is_multiple_of(2), "half a byte in {digits:?}");
    digits.chunks(2).map(byte).collect()
}

/// Asserts that the value encodes to the annotated bytes, that these decode to the value, and that no
/// truncation of them decodes to it or panics.
#[track_caller]
pub(crate) fn check<'a, M: Message<'a> + Debug + PartialEq>(value: &M, kind: u16, bytes: &'a [u8]) {
    assert_eq!(M::KIND, kind);
    let encoded = value.to_body();
    assert_eq!(encoded, bytes, "encoding of {value:?}");
    assert_eq!(M::from_body(bytes).as_ref(), Ok(value), "decoding of {bytes:02x?}");
    for length in 0..bytes.len() {
        assert_ne!(M::from_body(&bytes[..length]).as_ref(), Ok(value), "cut to {length} bytes");
    }
}
