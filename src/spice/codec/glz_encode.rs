//! Pixels to GLZ images: what [`super::glz`] decodes.

use std::collections::VecDeque;

use super::lz::{MAGIC, VERSION};

/// The images that later ones may refer to: what a client's dictionary holds, by what it was told.
///
/// INVARIANT: together they have no more pixels than the window.
#[derive(Debug)]
pub struct Encoder {
    window_pixels: usize,
    /// The id of the next image.
    next: u64,
    /// The last images, without gaps; the newest is that before `next`.
    images: VecDeque<Vec<Pixel>>,
    held_pixels: usize,
    seen: Vec<Place>,
}

/// Blue, green, red and a byte that is 0.
type Pixel = u32;

/// Where pixels were seen last that begin like those in question.
#[derive(Debug, Clone, Copy)]
struct Place {
    image: u64,
    at: u32,
}

/// A part of an earlier image, or of this one, that repeats.
struct Match {
    /// How many images before; 0 is this one.
    images: u64,
    /// Where in that image; in this one, how far back, less one.
    offset: usize,
    length: usize,
}

impl Encoder {
    /// For a client that keeps images of so many pixels together. Of a larger window only a part is used, which bounds
    /// the memory of this side.
    pub fn new(window_pixels: u32) -> Self {
        let window_pixels = usize::try_from(window_pixels).unwrap_or(usize::MAX).min(MOST_WINDOW_PIXELS);
        Self { window_pixels, next: 0, images: VecDeque::new(), held_pixels: 0, seen: Vec::new() }
    }

    /// Encodes rows of `width` pixels of four bytes (blue, green, red and one that is ignored), from the top, as a stream
    /// of the type RGB32 that is shorter than the pixels are. Nothing when there is none, or when the image alone is larger
    /// than the window; then it is as if this had not been called. Otherwise the stream must be sent.
    pub fn encode(&mut self, pixels: &[u8], width: u32, height: u32) -> Option<Vec<u8>> {
        let image: Vec<Pixel> =
            pixels.chunks_exact(4).map(|p| u32::from_le_bytes([p[0], p[1], p[2], 0])).collect();
        if image.len() > self.window_pixels || image.is_empty() {
            return None;
        }
        if self.seen.is_empty() {
            // Most servers never get here, so it is not made before.
            self.seen = vec![Place { image: u64::MAX, at: 0 }; 1 << BITS];
        }
        // What has to go for this image is not referred to any more, so the client never holds too much.
        let room = self.window_pixels - image.len();
        let mut dropped = (0, 0);
        while self.held_pixels - dropped.1 > room {
            dropped = (dropped.0 + 1, dropped.1 + self.images.get(dropped.0).map_or(0, Vec::len));
        }
        let kept = self.images.len() - dropped.0;
        let distance = u32::try_from(kept).ok()?;
        let oldest = self.next - u64::from(distance);

        let mut stream = Vec::with_capacity(HEADER_LENGTH + pixels.len() / 4);
        stream.extend_from_slice(&MAGIC.to_be_bytes());
        stream.extend_from_slice(&VERSION.to_be_bytes());
        stream.push(RGB32 | TOP_DOWN);
        for word in [width, height, width.saturating_mul(4)] {
            stream.extend_from_slice(&word.to_be_bytes());
        }
        stream.extend_from_slice(&self.next.to_be_bytes());
        stream.extend_from_slice(&distance.to_be_bytes());
        let (mut at, mut literals_from) = (0, 0);
        while at < image.len() {
            match self.find(&image, at, oldest) {
                Some(found) => {
                    push_literals(&mut stream, &image[literals_from..at]);
                    push_reference(&mut stream, &found);
                    at += found.length;
                    literals_from = at;
                }
                None => at += 1,
            }
            if stream.len() >= pixels.len() {
                break;
            }
        }
        push_literals(&mut stream, &image[literals_from..]);
        if stream.len() >= pixels.len() {
            self.forget_places();
            return None;
        }
        self.images.drain(..dropped.0);
        self.held_pixels = self.held_pixels - dropped.1 + image.len();
        self.images.push_back(image);
        self.next += 1;
        Some(stream)
    }

    /// Forgets what was noted about an image that is not sent: the next one gets its id.
    fn forget_places(&mut self) {
        let next = self.next;
        self.seen.iter_mut().filter(|place| place.image == next).for_each(|place| place.image = u64::MAX);
    }

    /// A part of this image, or of one from `oldest` on, that is worth a reference; notes `at` for later.
    fn find(&mut self, image: &[Pixel], at: usize, oldest: u64) -> Option<Match> {
        let begin: &[Pixel; LEAST] = image.get(at..)?.first_chunk()?;
        let mixed = begin.iter().fold(0_u32, |hash, pixel| (hash ^ pixel).wrapping_mul(0x9e37_79b1));
        let slot = usize::try_from(mixed >> (32 - BITS)).unwrap_or(0);
        let here = Place { image: self.next, at: u32::try_from(at).ok()? };
        let before = std::mem::replace(self.seen.get_mut(slot)?, here);
        let then = usize::try_from(before.at).ok()?;
        let repeats = |old: &[Pixel]| {
            let pairs = old.iter().zip(&image[at..]);
            Some(pairs.take_while(|(old, new)| old == new).count()).filter(|length| *length >= LEAST)
        };
        if before.image == self.next {
            let offset = at.checked_sub(then + 1).filter(|offset| *offset <= FARTHEST)?;
            return Some(Match { images: 0, offset, length: repeats(image.get(then..)?)? });
        }
        let images = self.next.checked_sub(before.image).filter(|_| before.image >= oldest)?;
        let index = self.images.len().checked_sub(usize::try_from(images).ok()?)?;
        let length = repeats(self.images.get(index)?.get(then..)?)?;
        Some(Match { images, offset: then, length }).filter(|_| then <= FARTHEST)
    }
}

fn push_literals(stream: &mut Vec<u8>, pixels: &[Pixel]) {
    for run in pixels.chunks(MOST_LITERALS) {
        stream.push(u8::try_from(run.len() - 1).unwrap_or(0));
        run.iter().for_each(|pixel| stream.extend_from_slice(&pixel.to_le_bytes()[..3]));
    }
}

fn push_reference(stream: &mut Vec<u8>, found: &Match) {
    let Match { images, offset, length } = *found;
    let low = |value: usize| value.to_le_bytes()[0];
    let is_long = offset > NEAR;
    stream.push(low(length.min(7) << 5 | usize::from(is_long) << 4 | offset & 0x0f));
    if let Some(mut more) = length.checked_sub(7) {
        while more >= 255 {
            stream.push(255);
            more -= 255;
        }
        stream.push(low(more));
    }
    stream.push(low(offset >> 4));
    // A short reference has room for six bits of the distance in images here, a long one for more of the offset.
    let (here, rest) = if is_long {
        (offset >> 12 & 0x1f, images)
    } else {
        (usize::from(images.to_le_bytes()[0] & 0x3f), images >> 6)
    };
    let bytes = (8 - rest.leading_zeros() / 8).min(3);
    let is_far = is_long && offset >> 17 != 0;
    let count = usize::try_from(bytes).unwrap_or(3);
    stream.push(low(count << 6 | usize::from(is_far) << 5 | here));
    stream.extend_from_slice(&rest.to_le_bytes()[..count]);
    if is_far {
        stream.push(low(offset >> 17));
    }
}

/// What an encoder keeps at most, whatever the client's window is: 4 bytes each.
const MOST_WINDOW_PIXELS: usize = 512 * 1024;
/// Of the hashes of places.
const BITS: u32 = 14;
const HEADER_LENGTH: usize = 33;
const RGB32: u8 = 8;
const TOP_DOWN: u8 = 0x10;
/// Pixels that a reference is worth.
const LEAST: usize = 3;
const MOST_LITERALS: usize = 32;
/// From this offset on it takes a long reference.
const NEAR: usize = 0xfff;
const FARTHEST: usize = (1 << 25) - 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, proptest};

    use super::*;
    use crate::spice::codec::ImageLimits;
    use crate::spice::codec::glz::Dictionary;

    const LIMITS: ImageLimits = ImageLimits { side: 1 << 14, pixels: 1 << 22 };

    fn shown(pixels: &[u8]) -> Vec<u8> {
        pixels.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 0]).collect()
    }

    fn noise(count: usize, seed: usize) -> Vec<u8> {
        let word = |at: usize| (at ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        (0..count).flat_map(|at| [word(at)[0], word(at)[1], word(at)[2], 0]).collect()
    }

    #[test]
    fn an_image_that_was_sent_before_is_next_to_nothing() {
        let (mut encoder, mut dictionary) = (Encoder::new(1 << 18), Dictionary::new(1 << 18));
        let pixels = noise(128 * 64, 7);
        let mut send = |pixels: &[u8]| {
            let stream = encoder.encode(pixels, 128, 64).unwrap();
            assert_eq!(dictionary.decode(&stream, 128, 64, LIMITS).unwrap().bytes, shown(pixels));
            stream.len()
        };
        assert!(send(&pixels) > 20_000);
        for _ in 0..4 {
            assert!(send(&pixels) < 100);
        }
    }

    #[test]
    fn references_reach_every_distance_in_pixels_and_in_images() {
        for (at, between) in [(0, 0), (4_095, 70), (4_096, 1), (131_071, 3), (131_072, 0), (131_073, 300)] {
            let (mut encoder, mut dictionary) = (Encoder::new(1 << 20), Dictionary::new(1 << 20));
            let width = u32::try_from(at + 216).unwrap();
            let old = [vec![9; at * 4], noise(16, 3), vec![9; 200 * 4]].concat();
            let mut send = |pixels: &[u8], width: u32| {
                let stream = encoder.encode(pixels, width, 1).unwrap();
                let limits = ImageLimits { side: 1 << 20, ..LIMITS };
                assert_eq!(dictionary.decode(&stream, width, 1, limits).unwrap().bytes, shown(pixels));
                stream.len()
            };
            send(&old, width);
            for image in 0..between {
                send(&[u8::try_from(image % 200).unwrap(); 64], 16);
            }
            assert!(send(&noise(16, 3), 16) < 33 + 12, "{at} pixels into the image {between} before");
        }
    }

    #[test]
    fn the_window_is_never_exceeded_and_what_does_not_fit_is_not_encoded() {
        let window = 1_000;
        let (mut encoder, mut dictionary) = (Encoder::new(window), Dictionary::new(window.into()));
        assert!(encoder.encode(&[0; 1_001 * 4], 1_001, 1).is_none());
        for round in 0..50_u32 {
            let pixels = vec![round.to_le_bytes()[0] % 3; usize::try_from(round % 9 + 1).unwrap() * 400];
            let width = u32::try_from(pixels.len() / 4).unwrap();
            let stream = encoder.encode(&pixels, width, 1).unwrap();
            assert_eq!(dictionary.decode(&stream, width, 1, LIMITS).unwrap().bytes, shown(&pixels));
            assert!(encoder.held_pixels <= 1_000);
        }
        assert!(Encoder::new(0).encode(&[0; 4], 1, 1).is_none());
    }

    #[test]
    fn an_image_that_would_become_longer_leaves_no_trace() {
        let (mut encoder, mut dictionary) = (Encoder::new(4_096), Dictionary::new(4_096));
        assert!(encoder.encode(&noise(8, 1), 8, 1).is_none());
        let pixels = [noise(64, 1), noise(64, 1)].concat();
        let stream = encoder.encode(&pixels, 128, 1).unwrap();
        assert_eq!(dictionary.decode(&stream, 128, 1, LIMITS).unwrap().bytes, shown(&pixels));
    }

    proptest! {
        #[test]
        fn whatever_goes_in_comes_out(
            window in 0_u32..6_000,
            images in prop::collection::vec(
                (1_u32..70, prop::collection::vec(prop::sample::select(vec![0_u8, 51, 255]), 1..1_500)),
                1..8,
            ),
            fill in any::<u8>(),
        ) {
            let (mut encoder, mut dictionary) = (Encoder::new(window), Dictionary::new(window.into()));
            for (width, mut pixels) in images {
                let height = u32::try_from(pixels.len()).unwrap().div_ceil(width * 4);
                pixels.resize(usize::try_from(width * height * 4).unwrap(), fill);
                let Some(stream) = encoder.encode(&pixels, width, height) else { continue };
                let picture = dictionary.decode(&stream, width, height, LIMITS).unwrap();
                prop_assert!(picture.bytes == shown(&pixels));
                prop_assert!(stream.len() < pixels.len());
            }
        }
    }
}
