//! Shapes of the pointer: from the seven encodings of the cursor channel to one picture.

use crate::spice::codec::{CodecError, ImageLimits, Picture};
use crate::spice::wire::cursor::CursorHeader;
use crate::spice::wire::types::Point16;

/// What the pointer looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorShape {
    /// The pixels, with alpha. Those that invert the screen below are [`CursorShape::INVERTS`].
    pub picture: Picture,
    /// The pixel of the picture that points; may lie outside.
    pub hot_spot: Point16,
}

impl CursorShape {
    /// B, G, R, A of a pixel that inverts what is below: half transparent grey, which is no colour of an opaque shape.
    pub const INVERTS: [u8; 4] = [0x80; 4];

    /// The largest shape, on either side.
    pub const SIDE: u32 = 1024;

    /// Decodes the pixels that follow a header. Bytes beyond them are ignored.
    pub fn decode(header: &CursorHeader, data: &[u8]) -> Result<Self, CodecError> {
        let limits = ImageLimits { side: Self::SIDE, pixels: u64::from(Self::SIDE) * u64::from(Self::SIDE) };
        let (width, height) = (u32::from(header.width), u32::from(header.height));
        let pixels = limits.check(width, height)?;
        let shape = Encoded { width: header.width.into(), height: header.height.into(), data };
        let bytes = match header.kind {
            0 => shape.part(0, 4 * pixels)?.to_vec(),
            1 => shape.mono()?,
            2 => shape.coloured(shape.row_bytes(4), 16)?,
            3 => shape.coloured(shape.width, 256)?,
            4 => shape.coloured(2 * shape.width, 0)?,
            5 => shape.coloured(3 * shape.width, 0)?,
            6 => shape.coloured(4 * shape.width, 0)?,
            other => {
                return Err(CodecError::Mismatch { what: "cursor type", wanted: 6, got: other.into() });
            }
        };
        let coordinate = |place: u16| i16::try_from(place).unwrap_or(i16::MAX);
        let hot_spot = Point16 { x: coordinate(header.hot_spot_x), y: coordinate(header.hot_spot_y) };
        Ok(Self { picture: Picture { width, height, has_alpha: true, bytes }, hot_spot })
    }
}

struct Encoded<'a> {
    width: usize,
    height: usize,
    data: &'a [u8],
}

impl<'a> Encoded<'a> {
    /// Bytes of a row of pixels of so many bits.
    fn row_bytes(&self, bits: usize) -> usize {
        (self.width * bits).div_ceil(8)
    }

    fn part(&self, start: usize, length: usize) -> Result<&'a [u8], CodecError> {
        let end = start.saturating_add(length);
        self.data.get(start..end).ok_or(CodecError::Truncated {
            offset: self.data.len(),
            produced: self.data.len().min(end),
            wanted: end,
        })
    }

    /// Calls `pixel` for each pixel in order.
    fn each(&self, pixel: impl Fn(usize, usize) -> [u8; 4]) -> Vec<u8> {
        (0..self.height)
            .flat_map(|y| (0..self.width).map(move |x| (x, y)))
            .flat_map(|(x, y)| pixel(x, y))
            .collect()
    }

    /// Two masks: what of the screen stays, and what is inverted after that.
    fn mono(&self) -> Result<Vec<u8>, CodecError> {
        let row_bytes = self.row_bytes(1);
        let length = row_bytes * self.height;
        let (and, xor) = (self.part(0, length)?, self.part(length, length)?);
        Ok(self.each(|x, y| match (bit(and, row_bytes, x, y), bit(xor, row_bytes, x, y)) {
            (false, false) => [0, 0, 0, 0xff],
            (false, true) => [0xff; 4],
            (true, false) => [0; 4],
            (true, true) => CursorShape::INVERTS,
        }))
    }

    /// Colours in rows of `row_bytes`, a palette of so many, and a mask of what is transparent.
    fn coloured(&self, row_bytes: usize, palette_size: usize) -> Result<Vec<u8>, CodecError> {
        let length = row_bytes * self.height;
        let colours = self.part(0, length)?;
        let palette = self.part(length, 4 * palette_size)?;
        let mask_row = self.row_bytes(1);
        let mask = self.part(length + palette.len(), mask_row * self.height)?;
        let index = |row: &[u8], x: usize| match palette_size {
            16 if x.is_multiple_of(2) => row[x / 2] >> 4,
            16 => row[x / 2] & 0xf,
            _ => row[x],
        };
        Ok(self.each(|x, y| {
            let row = &colours[y * row_bytes..(y + 1) * row_bytes];
            let [b, g, r] = match row_bytes / self.width {
                _ if palette_size != 0 => {
                    let at = usize::from(index(row, x)) * 4;
                    [palette[at], palette[at + 1], palette[at + 2]]
                }
                2 => crate::spice::codec::expand_555(u16::from_le_bytes([row[2 * x], row[2 * x + 1]])),
                bytes => [row[bytes * x], row[bytes * x + 1], row[bytes * x + 2]],
            };
            match (bit(mask, mask_row, x, y), [b, g, r]) {
                (false, _) => [b, g, r, 0xff],
                (true, [0xff, 0xff, 0xff]) => CursorShape::INVERTS,
                (true, _) => [0; 4],
            }
        }))
    }
}

/// Bit `x` of row `y`, the first one highest. The caller has checked the length.
fn bit(mask: &[u8], row_bytes: usize, x: usize, y: usize) -> bool {
    mask[y * row_bytes + x / 8] >> (7 - x % 8) & 1 != 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    const BLACK: [u8; 4] = [0, 0, 0, 255];
    const WHITE: [u8; 4] = [255; 4];
    const RED: [u8; 4] = [0, 0, 255, 255];
    const NOTHING: [u8; 4] = [0; 4];

    fn header(kind: u8, width: u16, height: u16) -> CursorHeader {
        CursorHeader { unique: 1, kind, width, height, hot_spot_x: 1, hot_spot_y: 0 }
    }

    /// The pixels of a shape two wide and two high.
    fn pixels(kind: u8, parts: &[&[u8]]) -> Vec<[u8; 4]> {
        let shape = CursorShape::decode(&header(kind, 2, 2), &parts.concat()).unwrap();
        shape.picture.bytes.as_chunks::<4>().0.to_vec()
    }

    /// Of the second row, the first pixel is inverted and the second transparent.
    const MASK: &[u8] = &[0b0000_0000, 0b1100_0000];
    const COLOURS: [[u8; 4]; 4] = [BLACK, RED, CursorShape::INVERTS, NOTHING];

    #[test]
    fn two_masks_give_two_colours_and_two_kinds_of_nothing() {
        let masks: [&[u8]; 2] = [&[0b0000_0000, 0b1100_0000], &[0b0100_0000, 0b0100_0000]];
        assert_eq!(pixels(1, &masks), [BLACK, WHITE, NOTHING, CursorShape::INVERTS]);
    }

    #[test]
    fn every_depth_gives_the_same_colours() {
        let mut palette = vec![0; 256 * 4];
        palette[4..8].copy_from_slice(&[0, 0, 255, 0]);
        palette[8..12].copy_from_slice(&[255, 255, 255, 0]);
        assert_eq!(pixels(2, &[&[0x01, 0x20], &palette[..64], MASK]), COLOURS);
        assert_eq!(pixels(3, &[&[0, 1, 2, 0], &palette, MASK]), COLOURS);
        assert_eq!(pixels(4, &[&[0, 0, 0, 0x7c, 0xff, 0x7f, 0, 0], MASK]), COLOURS);
        assert_eq!(pixels(5, &[&[0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0], MASK]), COLOURS);
        assert_eq!(pixels(6, &[&[0, 0, 0, 9, 0, 0, 255, 9, 255, 255, 255, 9, 0, 0, 0, 9], MASK]), COLOURS);
    }

    #[test]
    fn alpha_is_taken_as_it_is() {
        let data: Vec<u8> = (0..16).collect();
        let shape = CursorShape::decode(&header(0, 2, 2), &data).unwrap();
        assert_eq!((shape.picture.bytes, shape.hot_spot), (data, Point16 { x: 1, y: 0 }));
    }

    #[test]
    fn impossible_shapes_are_refused() {
        let message = |header, data: &[u8]| CursorShape::decode(&header, data).unwrap_err().to_string();
        assert_eq!(message(header(7, 1, 1), &[]), "cursor type is 7, wanted 6");
        assert_eq!(message(header(0, 1, 1), &[0; 3]), "data ends at byte 3 with 3 of 4 units produced");
        assert!(message(header(0, 1025, 1), &[]).contains("1025 x 1"));
        assert!(message(header(0, 0, 1), &[]).contains("0 x 1"));
    }

    proptest! {
        #[test]
        fn no_shape_panics(
            kind in 0_u8..8,
            width in 0_u16..40,
            height in 0_u16..40,
            data in prop::collection::vec(any::<u8>(), 0..3000),
        ) {
            let _ = CursorShape::decode(&header(kind, width, height), &data);
        }
    }
}
