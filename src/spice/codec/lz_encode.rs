//! Pixels to LZ images: what [`super::lz`] decodes.

use super::lz::{MAGIC, VERSION};

/// Encodes rows of `width` pixels of four bytes (blue, green, red and one that is ignored), from the top, as a stream of
/// the type RGB32. It may be longer than the pixels are.
pub fn encode(pixels: &[u8], width: u32, height: u32) -> Vec<u8> {
    let mut stream = Vec::with_capacity(HEADER_LENGTH + pixels.len() / 4);
    for word in [MAGIC, VERSION, RGB32, width, height, width.saturating_mul(4), TOP_DOWN] {
        stream.extend_from_slice(&word.to_be_bytes());
    }
    let pixels: Vec<[u8; 3]> = pixels.chunks_exact(4).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    let mut seen = Seen::new();
    let (mut at, mut literals_from) = (0, 0);
    while at < pixels.len() {
        match seen.find(&pixels, at) {
            Some((distance, length)) => {
                push_literals(&mut stream, &pixels[literals_from..at]);
                push_reference(&mut stream, distance, length);
                at += length;
                literals_from = at;
            }
            None => at += 1,
        }
    }
    push_literals(&mut stream, &pixels[literals_from..]);
    stream
}

/// Where pixels were seen last that begin like those in question.
struct Seen {
    places: Vec<usize>,
}

impl Seen {
    const BITS: u32 = 12;
    const NOWHERE: usize = usize::MAX;

    fn new() -> Self {
        Self { places: vec![Self::NOWHERE; 1 << Self::BITS] }
    }

    /// Distance and length of a part before `at` that is worth a reference; notes `at` for later.
    fn find(&mut self, pixels: &[[u8; 3]], at: usize) -> Option<(usize, usize)> {
        let next: &[[u8; 3]; LEAST] = pixels.get(at..)?.first_chunk()?;
        let word = |pixel: &[u8; 3]| u32::from_le_bytes([pixel[0], pixel[1], pixel[2], 0]);
        let mixed = next.iter().fold(0_u32, |hash, pixel| (hash ^ word(pixel)).wrapping_mul(0x9e37_79b1));
        let slot = usize::try_from(mixed >> (32 - Self::BITS)).unwrap_or(0);
        let before = std::mem::replace(self.places.get_mut(slot)?, at);
        let distance = at.checked_sub(before).filter(|distance| (1..=FARTHEST).contains(distance))?;
        let pairs = pixels[before..].iter().zip(&pixels[at..]);
        let length = pairs.take_while(|(old, new)| old == new).count();
        (length >= LEAST).then_some((distance, length))
    }
}

fn push_literals(stream: &mut Vec<u8>, pixels: &[[u8; 3]]) {
    for run in pixels.chunks(MOST_LITERALS) {
        stream.push(u8::try_from(run.len() - 1).unwrap_or(0));
        run.iter().for_each(|pixel| stream.extend_from_slice(pixel));
    }
}

fn push_reference(stream: &mut Vec<u8>, distance: usize, length: usize) {
    let low = |value: usize| value.to_le_bytes()[0];
    let offset = distance - 1;
    let near = offset.min(NEAR);
    stream.push(low(length.min(7) << 5 | near >> 8));
    if let Some(mut more) = length.checked_sub(7) {
        while more >= 255 {
            stream.push(255);
            more -= 255;
        }
        stream.push(low(more));
    }
    stream.push(low(near));
    if let Some(far) = offset.checked_sub(NEAR) {
        stream.extend_from_slice(&[low(far >> 8), low(far)]);
    }
}

const HEADER_LENGTH: usize = 28;
const RGB32: u32 = 8;
const TOP_DOWN: u32 = 1;
/// Pixels that a reference is worth.
const LEAST: usize = 3;
const MOST_LITERALS: usize = 32;
/// From this offset on two more bytes say how far.
const NEAR: usize = 8191;
const FARTHEST: usize = NEAR + 65_535 + 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, proptest};

    use super::*;
    use crate::spice::codec::ImageLimits;
    use crate::spice::codec::lz::{Container, decode};

    fn round_trip(pixels: &[u8], width: u32, height: u32) -> usize {
        let stream = encode(pixels, width, height);
        let limits = ImageLimits { side: 1024, pixels: 1 << 20 };
        let picture = decode(&stream, Container::Rgb, width, height, limits).unwrap();
        let wanted = pixels.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 0]);
        assert!(picture.bytes.iter().copied().eq(wanted));
        stream.len()
    }

    #[test]
    fn one_colour_is_next_to_nothing() {
        assert_eq!(encode(&[0xa8; 8], 2, 1)[28..], [1, 0xa8, 0xa8, 0xa8, 0xa8, 0xa8, 0xa8]);
        assert!(round_trip(&vec![7; 640 * 480 * 4], 640, 480) < 1_300);
    }

    #[test]
    fn references_reach_exactly_as_far_as_the_format_does() {
        for distance in [8191, 8192, 8193, 70_000, FARTHEST, FARTHEST + 1] {
            let width = u32::try_from(distance + 8).unwrap();
            let noise = |at: usize| at.wrapping_mul(0x9e37_79b9).to_le_bytes();
            let mut pixels: Vec<u8> =
                (0..distance).flat_map(|at| [noise(at)[3], noise(at)[2], noise(at)[1], 0]).collect();
            pixels.extend_from_within(..32);
            let stream = encode(&pixels, width, 1);
            let limits = ImageLimits { side: width, pixels: 1 << 20 };
            assert!(decode(&stream, Container::Rgb, width, 1, limits).unwrap().bytes == pixels, "{distance}");
        }
    }

    proptest! {
        #[test]
        fn whatever_goes_in_comes_out(
            width in 1_u32..70,
            seed in prop::collection::vec(prop::sample::select(vec![0_u8, 51, 150, 255]), 1..2_000),
            noise in any::<u8>(),
        ) {
            let height = u32::try_from(seed.len()).unwrap().div_ceil(width * 4);
            let mut pixels = seed;
            pixels.resize(usize::try_from(width * height * 4).unwrap(), noise);
            prop_assert!(round_trip(&pixels, width, height) > 28);
        }
    }
}
