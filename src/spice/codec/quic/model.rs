//! What decoder and encoder must know alike: the codes, how they adapt, and when.

/// Samples of 5 or of 8 bits.
pub(super) trait Family {
    /// Bits of a sample.
    const BITS: usize;
    /// All bits of a sample.
    const MASK: u8;
    /// How many different samples there are.
    const SAMPLES: u32;
    /// Codes by parameter.
    const CODES: [Code; 8];
    /// Length of the code word of each residual code, by parameter.
    const LENGTHS: &'static [[u16; 8]; 256];
    /// What begins with these bits, by parameter; for codes whose prefixes are no longer than [`HEAD_BITS`].
    const HEADS: &'static [[Word; 1 << HEAD_BITS]; 8];

    /// The code word at the beginning of `window`.
    #[inline(always)]
    fn heads(code: Code, window: u32) -> Word {
        let head = usize::try_from(window >> (32 - HEAD_BITS)).unwrap_or(0);
        Self::HEADS[usize::from(code.low_bits & 7)][head]
    }
}

/// Bits that tell all about a code word whose prefix is no longer.
pub(super) const HEAD_BITS: u32 = 3;

/// Samples of RGB16.
#[derive(Debug)]
pub(super) struct Five;
/// Samples of all other types.
#[derive(Debug)]
pub(super) struct Eight;

impl Family for Five {
    const BITS: usize = 5;
    const MASK: u8 = 0x1f;
    const SAMPLES: u32 = 32;
    const CODES: [Code; 8] = codes(5);
    const LENGTHS: &'static [[u16; 8]; 256] = &lengths(5);
    const HEADS: &'static [[Word; 1 << HEAD_BITS]; 8] = &heads(5);
}

impl Family for Eight {
    const BITS: usize = 8;
    const MASK: u8 = 0xff;
    const SAMPLES: u32 = 256;
    const CODES: [Code; 8] = codes(8);
    const LENGTHS: &'static [[u16; 8]; 256] = &lengths(8);
    const HEADS: &'static [[Word; 1 << HEAD_BITS]; 8] = &heads(8);
}

/// A Golomb-Rice code whose long words are replaced by an escape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code {
    /// The parameter: bits of a value that are written as they are.
    pub(super) low_bits: u8,
    /// Zeros that announce an escaped value.
    pub(super) prefix: u8,
    /// The first value that is escaped.
    pub(super) escaped: u8,
    /// Bits of an escaped value.
    pub(super) suffix: u8,
}

/// The codes of samples of `bits` bits. Places beyond repeat the last.
#[expect(clippy::cast_possible_truncation, reason = "the table of the specification has no value above 240")]
const fn codes(bits: u32) -> [Code; 8] {
    /// Bits of the longest code word.
    const LIMIT: u32 = 26;
    let mut codes = [Code { low_bits: 0, prefix: 0, escaped: 0, suffix: 0 }; 8];
    let mut index = 0;
    while index < 8 {
        let low_bits = if index < bits { index } else { bits - 1 };
        let all_shorter = (1 << (bits - low_bits)) - 1;
        let prefix = if LIMIT - bits < all_shorter { LIMIT - bits } else { all_shorter };
        let escaped = prefix << low_bits;
        let suffix = u32::BITS - ((1 << bits) - escaped - 1_u32).leading_zeros();
        codes[index as usize] = Code {
            low_bits: low_bits as u8,
            prefix: prefix as u8,
            escaped: escaped as u8,
            suffix: suffix as u8,
        };
        index += 1;
    }
    codes
}

const fn lengths(bits: u32) -> [[u16; 8]; 256] {
    let codes = codes(bits);
    let mut lengths = [[0; 8]; 256];
    let mut value = 0;
    while value < 256 {
        let mut index = 0;
        while index < 8 {
            let code = codes[index];
            lengths[value as usize][index] = if value < code.escaped as u16 {
                (value >> code.low_bits) + code.low_bits as u16 + 1
            } else {
                code.prefix as u16 + code.suffix as u16
            };
            index += 1;
        }
        value += 1;
    }
    lengths
}

/// How a code word is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word {
    /// All of its bits.
    pub(super) length: u32,
    /// What its bits, as a number, have to be raised by. Wraps around.
    pub(super) base: u32,
}

impl Word {
    /// One that begins with so many zeros and a one, which stands where the zeros belong.
    #[inline(always)]
    pub(super) const fn short(zeros: u32, low_bits: u32) -> Self {
        Self { length: zeros + 1 + low_bits, base: zeros.wrapping_sub(1) << low_bits }
    }

    #[inline(always)]
    pub(super) const fn escaped(code: Code) -> Self {
        Self { length: code.prefix as u32 + code.suffix as u32, base: code.escaped as u32 }
    }
}

const fn heads(bits: u32) -> [[Word; 1 << HEAD_BITS]; 8] {
    let codes = codes(bits);
    let mut heads = [[Word { length: 1, base: 0 }; 1 << HEAD_BITS]; 8];
    let mut index = 0;
    while index < 8 {
        let mut head = 0_u32;
        while head < 1 << HEAD_BITS {
            let zeros = head.leading_zeros() - (u32::BITS - HEAD_BITS);
            let code = codes[index];
            heads[index][head as usize] = if zeros < code.prefix as u32 {
                Word::short(zeros, code.low_bits as u32)
            } else {
                Word::escaped(code)
            };
            head += 1;
        }
        index += 1;
    }
    heads
}

/// What is known about the residuals that follow those of one size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    /// Bits that each code would have taken so far.
    costs: [u16; 8],
    /// The code in use: the cheapest.
    pub(super) code: Code,
}

impl Bucket {
    fn new<F: Family>() -> Self {
        Self { costs: [0; 8], code: F::CODES[F::BITS - 1] }
    }

    fn update<F: Family>(&mut self, value: u8, trigger: u16) {
        for (cost, length) in self.costs.iter_mut().zip(&F::LENGTHS[usize::from(value)]) {
            *cost += length;
        }
        let mut best = F::BITS - 1;
        for index in (0..F::BITS - 1).rev() {
            if self.costs[index] < self.costs[best] {
                best = index;
            }
        }
        self.code = F::CODES[best];
        if self.costs[best] > trigger {
            self.costs.iter_mut().for_each(|cost| *cost >>= 1);
        }
    }
}

/// The buckets of one channel: 0, 1 to 2, 3 to 6 and so on.
#[derive(Debug, Clone)]
pub(super) struct Buckets([Bucket; 8]);

impl Buckets {
    pub(super) fn new<F: Family>() -> Self {
        Self([Bucket::new::<F>(); 8])
    }

    /// The code for what follows the residual code `context`.
    #[inline(always)]
    pub(super) fn code<F: Family>(&self, context: u8) -> Code {
        self.0[bucket_of::<F>(context)].code
    }

    pub(super) fn update<F: Family>(&mut self, context: u8, value: u8, trigger: u16) {
        self.0[bucket_of::<F>(context)].update::<F>(value, trigger);
    }
}

#[inline(always)]
fn bucket_of<F: Family>(context: u8) -> usize {
    // Each has twice as many as the one before.
    let bucket = (u32::from(context) + 1).ilog2();
    usize::try_from(bucket).unwrap_or(0).min(F::BITS - 1)
}

/// When the model learns, and how long runs are expected to be. Persists from row to row.
#[derive(Debug)]
pub(super) struct Pace {
    /// Pixels until the next update.
    pub(super) wait: usize,
    random: u8,
    /// How far the waits have grown: they are below `1 << stage`.
    stage: usize,
    /// Pixels left in the stage.
    left: usize,
    run_state: usize,
}

impl Pace {
    const STAGE_PIXELS: usize = 2048;
    const LAST_STAGE: usize = 6;

    pub(super) fn new() -> Self {
        Self { wait: 0, random: 255, stage: 0, left: Self::STAGE_PIXELS, run_state: 0 }
    }

    /// The cost at which a bucket begins to forget.
    pub(super) fn trigger(&self) -> u16 {
        const TRIGGERS: [u16; 7] = [110, 550, 900, 800, 550, 400, 350];
        TRIGGERS[self.stage.min(Self::LAST_STAGE)]
    }

    /// How many pixels to leave out after an update.
    pub(super) fn draw_wait(&mut self) -> usize {
        self.random = self.random.wrapping_add(1);
        usize::from(RANDOM[usize::from(self.random)]) & ((1 << self.stage) - 1)
    }

    /// How many of the `rest` of a row belong to the stage.
    pub(super) fn segment(&self, rest: usize) -> usize {
        if self.stage < Self::LAST_STAGE { rest.min(self.left) } else { rest }
    }

    /// Goes on after a segment.
    pub(super) fn finish_segment(&mut self, pixels: usize) {
        if self.stage < Self::LAST_STAGE {
            self.left -= pixels;
            if self.left == 0 {
                self.stage += 1;
                self.left = Self::STAGE_PIXELS;
            }
        }
    }

    /// Bits that count the pixels of a run beyond the steps taken.
    pub(super) fn run_bits(&self) -> u32 {
        const BITS: [u8; 32] = [
            0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14,
            15,
        ];
        BITS[self.run_state & 31].into()
    }

    /// After a step of `1 << run_bits` pixels.
    pub(super) fn lengthen_runs(&mut self) {
        self.run_state = (self.run_state + 1).min(31);
    }

    /// After the end of a run.
    pub(super) fn shorten_runs(&mut self) {
        self.run_state = self.run_state.saturating_sub(1);
    }
}

/// The six bits in use of the numbers that the format calls random.
static RANDOM: [u8; 256] = [
    2, 23, 19, 21, 7, 18, 40, 14, 12, 32, 47, 44, 36, 6, 18, 11, 4, 19, 42, 29, 16, 63, 57, 51, 16, 3, 5, 14,
    15, 30, 20, 9, 36, 45, 3, 57, 61, 0, 8, 5, 41, 14, 43, 27, 43, 59, 31, 35, 39, 60, 42, 38, 13, 54, 62, 1,
    26, 3, 11, 61, 52, 34, 7, 48, 4, 59, 22, 12, 22, 8, 50, 4, 10, 6, 44, 8, 11, 46, 31, 51, 53, 17, 1, 43,
    46, 60, 36, 54, 10, 27, 39, 44, 22, 41, 23, 2, 44, 0, 40, 53, 40, 48, 16, 43, 32, 28, 33, 12, 20, 2, 56,
    62, 55, 58, 18, 20, 13, 55, 38, 29, 57, 19, 49, 33, 47, 63, 59, 0, 35, 61, 19, 25, 46, 38, 60, 4, 35, 1,
    26, 40, 28, 10, 5, 14, 25, 18, 48, 49, 20, 59, 62, 34, 46, 7, 33, 52, 34, 58, 9, 29, 8, 55, 62, 60, 37,
    36, 37, 50, 6, 3, 10, 28, 48, 24, 26, 61, 57, 30, 11, 54, 2, 6, 50, 47, 7, 17, 35, 53, 32, 12, 23, 17, 5,
    21, 49, 55, 51, 45, 52, 27, 39, 25, 39, 63, 22, 24, 42, 52, 56, 38, 41, 41, 56, 32, 13, 24, 26, 51, 27,
    56, 58, 37, 24, 42, 15, 28, 17, 30, 31, 15, 16, 23, 25, 54, 33, 34, 1, 29, 31, 50, 53, 21, 49, 15, 47, 9,
    0, 58, 37, 45, 30, 13, 9, 45, 63, 21,
];

/// The residual that a residual code stands for, without the bits beyond the sample.
#[inline(always)]
pub(super) fn residual(code: u8) -> u8 {
    code >> 1 ^ (code & 1).wrapping_neg()
}

/// The code of a residual.
pub(super) fn residual_code<F: Family>(residual: u8) -> u8 {
    let residual = residual & F::MASK;
    if residual <= F::MASK / 2 { residual << 1 } else { (F::MASK - residual) << 1 | 1 }
}

/// A pixel of a plane: B, G, R, 0 where there are three channels, else the sample and zeros.
pub(super) type Pixel = [u8; 4];

/// Where a pixel of `channels` channels has the one coded in this place: red is first in the stream, blue in memory.
pub(super) const fn place(channels: usize, channel: usize) -> usize {
    channels - 1 - channel
}

/// What pixel `left` right of which and `above` below which a pixel lies leads to expect.
#[inline(always)]
pub(super) fn average(left: Pixel, above: Pixel) -> Pixel {
    // Half of both and the bit that both halves lost; no component overflows into the next.
    let (left, above) = (u32::from_le_bytes(left), u32::from_le_bytes(above));
    ((left & above) + (((left ^ above) & 0xfefe_fefe) >> 1)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_specification() {
        let table = |codes: [Code; 8]| codes.map(|code| (code.prefix, code.escaped, code.suffix));
        let eight = [
            (18, 18, 8),
            (18, 36, 8),
            (18, 72, 8),
            (18, 144, 7),
            (15, 240, 4),
            (7, 224, 5),
            (3, 192, 6),
            (1, 128, 7),
        ];
        assert_eq!(table(Eight::CODES), eight);
        let five = [(21, 21, 4), (15, 30, 1), (7, 28, 2), (3, 24, 3), (1, 16, 4)];
        assert_eq!(table(Five::CODES)[..5], five);
    }

    #[test]
    fn buckets_double_in_size() {
        let firsts = |bucket: fn(u8) -> usize| -> Vec<u8> {
            (1..=255).filter(|context| bucket(*context) != bucket(context - 1)).collect()
        };
        assert_eq!(firsts(bucket_of::<Eight>), [1, 3, 7, 15, 31, 63, 127]);
        assert_eq!(firsts(bucket_of::<Five>), [1, 3, 7, 15]);
        assert_eq!((bucket_of::<Eight>(255), bucket_of::<Five>(31)), (7, 4));
    }

    #[test]
    fn residuals_and_their_codes_are_one_to_one() {
        for code in 0..=255 {
            assert_eq!(residual_code::<Eight>(residual(code)), code);
            assert_eq!(residual_code::<Five>(residual(code & 31) & Five::MASK), code & 31);
        }
        assert_eq!([residual(0), residual(1), residual(2), residual(255)], [0, 255, 1, 128]);
    }

    #[test]
    fn the_average_is_rounded_down_in_each_component() {
        assert_eq!(average([255, 0, 3, 0], [255, 1, 4, 0]), [255, 0, 3, 0]);
        assert_eq!(average([254, 200, 0, 7], [1, 100, 255, 9]), [127, 150, 127, 8]);
    }
}
