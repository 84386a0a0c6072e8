//! The blinking cursor, which is not always whole.

use crate::glyphs::Glyph;

/// How long the cursor stays on, and how long off.
const PHASE_MS: u64 = 500;
/// Which of its appearances are damaged: every sixth.
const DAMAGED_EVERY: u32 = 6;
const SEED: u16 = 0xACE1;

const WHOLE: Glyph = [0xFF; 16];
const DAMAGED: [Glyph; 4] = [
    [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0xFF, 0xFF, 0xFF, 0xFF],
    [0xF0, 0xF0, 0xF0, 0xF0, 0x0F, 0x0F, 0x0F, 0x0F, 0xF0, 0xF0, 0xF0, 0xF0, 0x0F, 0x0F, 0x0F, 0x0F],
    [0x80, 0xC0, 0xE0, 0xF0, 0xF0, 0xF8, 0xF8, 0xFC, 0xFC, 0xFC, 0xFE, 0xFE, 0xFE, 0xFF, 0xFF, 0xFF],
    [0xFF, 0xDB, 0xFF, 0xB6, 0xFF, 0x6D, 0xFF, 0xDB, 0xFF, 0xB6, 0xFF, 0x6D, 0xFF, 0xDB, 0xFF, 0xB6],
];

/// Phase and counters of the cursor. They stand still while no scene polls it.
pub(crate) struct Cursor {
    shape: Option<&'static Glyph>,
    appearances: u32,
    noise: u16,
    /// What is left of this phase.
    left_ms: u64,
}

impl Cursor {
    /// Returns a cursor which comes on as soon as it is polled.
    pub(crate) fn new() -> Self {
        Self { shape: None, appearances: 0, noise: SEED, left_ms: 0 }
    }

    /// Lets `elapsed_ms` pass and returns whether the cursor has changed.
    pub(crate) fn poll(&mut self, elapsed_ms: u64) -> bool {
        self.left_ms = self.left_ms.saturating_sub(elapsed_ms);
        if self.left_ms > 0 {
            return false;
        }
        self.left_ms = PHASE_MS;
        self.shape = if self.shape.is_none() { Some(self.next_shape()) } else { None };
        true
    }

    /// Returns what the cursor looks like; `None` while it is off.
    pub(crate) fn shape(&self) -> Option<&'static Glyph> {
        self.shape
    }

    fn next_shape(&mut self) -> &'static Glyph {
        self.appearances = self.appearances.wrapping_add(1);
        if !self.appearances.is_multiple_of(DAMAGED_EVERY) {
            return &WHOLE;
        }
        self.noise = step(self.noise);
        &DAMAGED[usize::from(self.noise) % DAMAGED.len()]
    }
}

/// A 16-bit linear feedback shift register with taps 16, 14, 13 and 11: it visits every value but 0.
fn step(state: u16) -> u16 {
    let bit = (state ^ state >> 2 ^ state >> 3 ^ state >> 5) & 1;
    state >> 1 | bit << 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_on_at_once_and_changes_every_500_ms() {
        let mut cursor = Cursor::new();
        assert!(cursor.poll(0));
        assert_eq!(cursor.shape(), Some(&WHOLE));
        assert_eq!((1..=10).map(|_| cursor.poll(50)).filter(|changed| *changed).count(), 1);
        assert_eq!(cursor.shape(), None);
    }

    #[test]
    fn every_sixth_appearance_is_damaged_and_all_four_shapes_occur() {
        let mut cursor = Cursor::new();
        let mut seen = Vec::new();
        for appearance in 1..=400 {
            assert!(cursor.poll(PHASE_MS));
            let shape = cursor.shape().expect("on");
            assert_eq!(shape != &WHOLE, appearance % 6 == 0, "appearance {appearance}");
            if shape != &WHOLE && !seen.contains(shape) {
                seen.push(*shape);
            }
            assert!(cursor.poll(PHASE_MS));
        }
        assert_eq!(seen.len(), DAMAGED.len());
    }

    #[test]
    fn the_noise_has_the_full_period() {
        let mut state = step(SEED);
        let mut period = 1;
        while state != SEED {
            state = step(state);
            period += 1;
        }
        assert_eq!(period, 65_535);
    }
}
