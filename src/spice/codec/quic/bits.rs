//! The bit stream: little-endian words of 32 bits, read from the most significant bit of each.

use std::hint::cold_path;

use super::model::{Code, Family, HEAD_BITS, Word};

/// Bits not yet read. Beyond the end of the data there are zeros; [`BitReader::is_overdrawn`] tells.
#[derive(Debug, Clone)]
pub(super) struct BitReader<'a> {
    words: std::slice::Iter<'a, [u8; 4]>,
    /// The next bits, the first in the most significant place; zeros below the valid ones.
    window: u64,
    valid: u32,
    /// Zeros that were put into the window after the last word.
    padding: u64,
    /// All bits of all samples.
    values: u32,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        let words = data.as_chunks::<4>().0.iter();
        Self { words, window: 0, valid: 0, padding: 0, values: 0 }
    }

    /// Whether bits were read that the data does not have.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.padding > u64::from(self.valid)
    }

    /// Whether a code word stood for none of the `samples` different ones, a power of two.
    pub(super) fn has_bad_code(&self, samples: u32) -> bool {
        self.values >= samples
    }

    /// The next 32 bits.
    #[inline(always)]
    fn peek(&mut self) -> u32 {
        if self.valid < 32 {
            let word = match self.words.next() {
                Some(word) => u32::from_le_bytes(*word),
                None => {
                    self.padding += 32;
                    0
                }
            };
            self.window |= u64::from(word) << (32 - self.valid);
            self.valid += 32;
        }
        u32::try_from(self.window >> 32).unwrap_or(0)
    }

    #[inline(always)]
    fn skip(&mut self, count: u32) {
        self.window <<= count;
        self.valid -= count;
    }

    /// The next `count` bits, at most 32.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> u32 {
        let bits = u64::from(self.peek()) << count >> 32;
        self.skip(count);
        u32::try_from(bits).unwrap_or(0)
    }

    /// The next sample of the family. What a code word stands for beyond eight bits is remembered.
    #[inline(always)]
    pub(super) fn sample<F: Family>(&mut self, code: Code) -> u8 {
        let window = self.peek();
        let (low_bits, prefix) = (u32::from(code.low_bits), u32::from(code.prefix));
        // Where so few zeros announce an escape it is as likely as not, as in noise, and a branch would be guessed wrong every
        // other time. With more of them it is rare.
        let word = if prefix <= HEAD_BITS {
            F::heads(code, window)
        } else {
            // No prefix has as many zeros as there are then.
            let zeros = (window | 1).leading_zeros();
            if zeros < prefix {
                Word::short(zeros, low_bits)
            } else {
                cold_path();
                Word::escaped(code)
            }
        };
        self.skip(word.length);
        let value = (window >> (32 - word.length)).wrapping_add(word.base);
        self.values |= value;
        value.to_le_bytes()[0]
    }
}

/// Bits written.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    window: u64,
    valid: u32,
}

impl BitWriter {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, window: 0, valid: 0 }
    }

    /// Writes the lowest `count` bits of `value`, at most 32; those above are 0.
    pub(super) fn put(&mut self, value: u32, count: u32) {
        self.window = self.window << count | u64::from(value);
        self.valid += count;
        if self.valid >= 32 {
            self.valid -= 32;
            self.word(self.window >> self.valid);
            self.window &= (1 << self.valid) - 1;
        }
    }

    pub(super) fn sample(&mut self, code: Code, value: u8) {
        let low_bits = u32::from(code.low_bits);
        if value >= code.escaped {
            return self.put((value - code.escaped).into(), u32::from(code.prefix) + u32::from(code.suffix));
        }
        let value = u32::from(value);
        self.put(1 << low_bits | value & ((1 << low_bits) - 1), (value >> low_bits) + 1 + low_bits);
    }

    /// Pads to a whole word and adds one of zeros, which readers may fetch.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.valid > 0 {
            self.word(self.window << (32 - self.valid));
        }
        self.word(0);
        self.bytes
    }

    fn word(&mut self, word: u64) {
        self.bytes.extend(u32::try_from(word).unwrap_or(u32::MAX).to_le_bytes());
    }
}
