//! CRC32C (Castagnoli) behind one function, whoever computes it.
//!
//! With feature `host` the processor's own instruction does the work; without it a table does, which is also the
//! faster of the two under QEMU's emulation.

/// Returns the CRC32C of `bytes`.
pub fn checksum(bytes: &[u8]) -> u32 {
    extend(0, bytes)
}

/// Returns the CRC32C of what `finished` covers followed by `bytes`. A `finished` of 0 covers nothing.
#[cfg(feature = "host")]
pub fn extend(finished: u32, bytes: &[u8]) -> u32 {
    ::crc32c::crc32c_append(finished, bytes)
}

/// Returns the CRC32C of what `finished` covers followed by `bytes`. A `finished` of 0 covers nothing.
#[cfg(not(feature = "host"))]
pub fn extend(finished: u32, bytes: &[u8]) -> u32 {
    table::extend(finished, bytes)
}

#[cfg(any(not(feature = "host"), test))]
mod table {
    use crc::{CRC_32_ISCSI, Crc, Table};

    static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

    pub(super) fn extend(finished: u32, bytes: &[u8]) -> u32 {
        // The crate reflects the initial value it is given, so it is handed over reflected.
        let mut digest = CRC32C.digest_with_initial((!finished).reverse_bits());
        digest.update(bytes);
        digest.finalize()
    }
}

/// Joins the CRCs of two byte strings when the second always has the same length, such as the rows of a screen.
///
/// A join costs eight table look-ups; making one costs about as much as hashing a kilobyte.
#[derive(Clone, Debug)]
pub struct Combiner {
    /// `table[k][v]` is nibble `v` at position `k` of a CRC, moved past the second string.
    table: [[u32; 16]; 8],
}

impl Combiner {
    /// Returns a combiner for second strings of `row_len_bytes`.
    pub const fn new(row_len_bytes: usize) -> Self {
        let shift = x_to_the_8(row_len_bytes);
        let mut table = [[0; 16]; 8];
        let mut place = 0;
        while place < 8 {
            let mut nibble = 0;
            while nibble < 16 {
                table[place][nibble as usize] = multiply(shift, nibble << (4 * place));
                nibble += 1;
            }
            place += 1;
        }
        Self { table }
    }

    /// Returns the CRC32C of A followed by B from the CRC32C of each; B has the length given to [`Combiner::new`].
    pub fn combine(&self, a_finished: u32, b_finished: u32) -> u32 {
        let mut joined = b_finished;
        for (place, row) in self.table.iter().enumerate() {
            joined ^= row[((a_finished >> (4 * place)) & 0xF) as usize];
        }
        joined
    }
}

/// The polynomial, bit-reflected: the highest power is the lowest bit.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// Returns the product of two polynomials modulo [`POLYNOMIAL`], all bit-reflected.
const fn multiply(mut a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    while a != 0 {
        if a & 0x8000_0000 != 0 {
            product ^= b;
        }
        a <<= 1;
        b = if b & 1 != 0 { (b >> 1) ^ POLYNOMIAL } else { b >> 1 };
    }
    product
}

/// Returns `x^(8 * bytes)` modulo [`POLYNOMIAL`]: what a CRC is multiplied by to move it past `bytes` bytes.
const fn x_to_the_8(mut bytes: usize) -> u32 {
    let mut power = 0x8000_0000;
    let mut base = 0x0080_0000;
    while bytes != 0 {
        if bytes & 1 != 0 {
            power = multiply(power, base);
        }
        base = multiply(base, base);
        bytes >>= 1;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn published_check_values_hold_for_both_implementations() {
        let vectors: [(&[u8], u32); 5] = [
            (b"123456789", 0xE306_9283),
            (b"", 0),
            (b"a", 0xC1D0_4330),
            (&[0; 32], 0x8A91_36AA),
            (&[0xFF; 32], 0x62A8_AB43),
        ];
        for (bytes, wanted) in vectors {
            assert_eq!(checksum(bytes), wanted, "{bytes:02x?}");
            assert_eq!(table::extend(0, bytes), wanted, "{bytes:02x?} by table");
        }
    }

    #[test]
    fn a_finished_value_can_be_extended() {
        let first = checksum(b"12345");
        assert_eq!(first, 0x18D1_2335);
        assert_eq!(extend(first, b"6789"), 0xE306_9283);
        assert_eq!(table::extend(first, b"6789"), 0xE306_9283);
    }

    proptest! {
        #[test]
        fn joining_two_checksums_is_the_checksum_of_the_joined_bytes(a: Vec<u8>, b: Vec<u8>) {
            let whole: Vec<u8> = a.iter().chain(&b).copied().collect();
            let joined = Combiner::new(b.len()).combine(checksum(&a), checksum(&b));
            prop_assert_eq!(joined, checksum(&whole));
        }
    }
}
