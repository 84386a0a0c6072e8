//! The bit stream: little-endian words of 32 bits, read from the most significant bit of each.

use super::model::Code;

/// Bits not yet read. Beyond the end of the data there are zeros; [`BitReader::is_overdrawn`] tells.
#[derive(Debug, Clone)]
pub(super) struct BitReader<'a> {
    words: std::slice::Iter<'a, [u8; 4]>,
    /// The next bits, the first in the most significant place; zeros below the valid ones.
    window: u64,
    valid: u32,
    /// Zeros that were put into the window after the last word.
    padding: u64,
    has_bad_code: bool,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        let words = data.as_chunks::<4>().0.iter();
        Self { words, window: 0, valid: 0, padding: 0, has_bad_code: false }
    }

    /// Whether bits were read that the data does not have.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.padding > u64::from(self.valid)
    }

    /// Whether a code word stood for no sample.
    pub(super) fn has_bad_code(&self) -> bool {
        self.has_bad_code
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

    /// A sample of a family with `samples` different ones. A code word for none of them is remembered.
    #[inline(always)]
    pub(super) fn sample(&mut self, code: Code, samples: u32) -> u8 {
        let window = self.peek();
        let zeros = window.leading_zeros();
        if zeros >= u32::from(code.prefix) {
            return self.escaped(code, samples);
        }
        let low_bits = u32::from(code.low_bits);
        let length = zeros + 1 + low_bits;
        // The leading one stands where the zeros belong.
        let low = (window >> (32 - length)) ^ (1 << low_bits);
        self.skip(length);
        (zeros << low_bits | low).to_le_bytes()[0]
    }

    #[cold]
    fn escaped(&mut self, code: Code, samples: u32) -> u8 {
        self.skip(code.prefix.into());
        let value = u32::from(code.escaped) + self.take(code.suffix.into());
        self.has_bad_code |= value >= samples;
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
