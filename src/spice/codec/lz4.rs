//! LZ4 images: raw pixels in blocks, each of which may refer to those before.

use lz4_flex::block::decompress_into_with_dict;

use super::bitmap::{self, format};
use super::{CodecError, ImageLimits, Picture, Pool};
use crate::spice::wire::image::{Bitmap, PaletteSource};

/// How far back a block refers.
const WINDOW: usize = 64 << 10;

/// Decodes an LZ4 image of `width` by `height` pixels.
pub fn decode(data: &[u8], width: u32, height: u32, limits: ImageLimits) -> Result<Picture, CodecError> {
    decode_in(data, width, height, limits, &Pool::default())
}

/// The same with memory out of `pool`.
pub fn decode_in(
    data: &[u8],
    width: u32,
    height: u32,
    limits: ImageLimits,
    pool: &Pool,
) -> Result<Picture, CodecError> {
    let pixels = limits.check(width, height)?;
    let Some((&[top_down, pixel_format], blocks)) = data.split_first_chunk::<2>() else {
        return Err(CodecError::Truncated { offset: data.len(), produced: 0, wanted: pixels });
    };
    let pixel_bytes = match pixel_format {
        format::RGB16 => 2,
        format::RGB24 => 3,
        format::RGB32 | format::RGBA => 4,
        other => {
            let wanted = format::RGB32.into();
            return Err(CodecError::Mismatch { what: "LZ4 bitmap format", wanted, got: other.into() });
        }
    };
    let height_rows = usize::try_from(height).unwrap_or(usize::MAX);
    let raw = decode_blocks(data, blocks, pixels * pixel_bytes, height_rows, pool)?;
    let row_bytes = u64::try_from(raw.len() / height_rows).unwrap_or(u64::MAX);
    // Rows are as long as in the memory of the server, which may pad them.
    if raw.len() % height_rows != 0 {
        let wanted = row_bytes * u64::from(height);
        let got = u64::try_from(raw.len()).unwrap_or(u64::MAX);
        return Err(CodecError::Mismatch { what: "number of LZ4 bytes, whole rows", wanted, got });
    }
    let bitmap = Bitmap {
        format: pixel_format,
        flags: if top_down == 0 { 0 } else { Bitmap::TOP_DOWN },
        width,
        height,
        stride: u32::try_from(row_bytes).unwrap_or(u32::MAX),
        palette: PaletteSource::None,
        data: &raw,
    };
    let picture = bitmap::decode_in(&bitmap, None, limits, pool);
    pool.give(raw);
    picture
}

/// Encodes rows of pixels of four bytes (blue, green, red and one that is ignored), from the top, as one block.
pub fn encode(pixels: &[u8]) -> Vec<u8> {
    let block = lz4_flex::block::compress(pixels);
    let length = u32::try_from(block.len()).unwrap_or(u32::MAX);
    let mut data = Vec::with_capacity(block.len() + 6);
    data.extend_from_slice(&[1, format::RGB32]);
    data.extend_from_slice(&length.to_be_bytes());
    data.extend_from_slice(&block);
    data
}

/// What the blocks amount to: at least `wanted` bytes.
fn decode_blocks(
    data: &[u8],
    blocks: &[u8],
    wanted: usize,
    rows: usize,
    pool: &Pool,
) -> Result<Vec<u8>, CodecError> {
    /// A byte of LZ4 is worth no more than this many.
    const RATIO: usize = 255;
    // Padding of a row is at most the row again or 64 bytes.
    let limit = wanted + wanted.max(rows * 64);
    let mut raw = pool.take(limit.min(blocks.len().saturating_mul(RATIO)));
    let (mut produced, mut rest) = (0, blocks);
    while !rest.is_empty() {
        let offset = data.len() - rest.len();
        let damaged = |problem: String| CodecError::Stream { codec: "LZ4", offset, problem };
        let Some((length, after)) = rest.split_first_chunk() else {
            return Err(CodecError::Truncated { offset: data.len(), produced, wanted });
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((block, after)) = after.split_at_checked(length) else {
            return Err(damaged(format!("block has {length} bytes, {} are left", after.len())));
        };
        if block.is_empty() {
            return Err(damaged("block has 0 bytes, wanted at least 1".to_owned()));
        }
        let (done, room) = raw.split_at_mut(produced);
        let dictionary = &done[done.len().saturating_sub(WINDOW)..];
        let added = decompress_into_with_dict(block, room, dictionary);
        produced += added.map_err(|error| damaged(error.to_string()))?;
        rest = after;
    }
    if produced < wanted {
        return Err(CodecError::Truncated { offset: data.len(), produced, wanted });
    }
    raw.truncate(produced);
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use lz4_flex::block::{compress, compress_with_dict};
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::spice::codec::testing::crc32;
    use crate::spice::wire::testing::hex;

    const LIMITS: ImageLimits = ImageLimits { side: 256, pixels: 16_384 };

    /// RGB32, 8 x 2; the second block refers to the first.
    const TWO_BLOCKS: &str = "
        010800000022f011000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f000000110f200001c0c8c9ca
        cbcccdcecfd0d1d2d3";

    /// An image of blocks of at most `block` raw bytes.
    fn image(top_down: u8, pixel_format: u8, raw: &[u8], block: usize) -> Vec<u8> {
        let mut data = vec![top_down, pixel_format];
        let mut done = 0;
        for part in raw.chunks(block) {
            let packed = compress_with_dict(part, &raw[..done]);
            data.extend(u32::try_from(packed.len()).unwrap().to_be_bytes());
            data.extend(packed);
            done += part.len();
        }
        data
    }

    #[test]
    fn a_block_refers_to_the_one_before() {
        let picture = decode(&hex(TWO_BLOCKS), 8, 2, LIMITS).unwrap();
        let raw: Vec<u8> = (0..0x20).chain(0..0x14).chain(0xc8..=0xd3).collect();
        assert_eq!(crc32(&raw), 0xe5d1_994d);
        let shown: Vec<u8> = raw.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2], 0]).collect();
        assert_eq!(picture.bytes, shown);
        assert!(!picture.has_alpha);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let data = hex(TWO_BLOCKS);
        for length in 0..data.len() {
            assert!(decode(&data[..length], 8, 2, LIMITS).is_err(), "{length}");
        }
    }

    #[test]
    fn rows_may_be_padded_and_bottom_up() {
        let raw = [1, 2, 3, 9, 4, 5, 6, 9];
        let picture = |top_down| decode(&image(top_down, 7, &raw, 100), 1, 2, LIMITS).unwrap().bytes;
        assert_eq!(picture(1), [1, 2, 3, 0, 4, 5, 6, 0]);
        assert_eq!(picture(0), [4, 5, 6, 0, 1, 2, 3, 0]);
    }

    #[test]
    fn impossible_images_are_refused() {
        let fails = |data: &[u8], height| decode(data, 1, height, LIMITS).unwrap_err();
        assert!(matches!(
            fails(&image(1, 8, &[0; 9], 100), 2),
            CodecError::Mismatch { wanted: 8, got: 9, .. }
        ));
        assert!(matches!(fails(&image(1, 8, &[0; 7], 100), 2), CodecError::Truncated { produced: 7, .. }));
        assert!(matches!(fails(&image(1, 5, &[0; 8], 100), 2), CodecError::Mismatch { got: 5, .. }));
        let stream = |data: &[u8]| match fails(data, 2) {
            CodecError::Stream { offset, problem, .. } => (offset, problem),
            other => panic!("{other:?}"),
        };
        assert_eq!(stream(&[1, 8, 0, 0, 0, 0]), (2, "block has 0 bytes, wanted at least 1".to_owned()));
        assert_eq!(
            stream(&[1, 8, 0xff, 0xff, 0xff, 0xff, 0]),
            (2, "block has 4294967295 bytes, 1 are left".to_owned())
        );
        // More than the image and its padding.
        let bomb = compress(&[0; 4096]);
        let mut data = vec![1, 8, 0, 0, 0, u8::try_from(bomb.len()).unwrap()];
        data.extend(bomb);
        assert!(stream(&data).1.contains("too small"));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            size in (1_u32..60, 1_u32..60),
            block in 1_usize..3000,
            noise in prop::collection::vec(any::<u8>(), 1..600),
        ) {
            let bytes = usize::try_from(size.0 * size.1 * 4).unwrap();
            let raw: Vec<u8> = noise.iter().copied().cycle().take(bytes).collect();
            let picture = decode(&image(1, 9, &raw, block), size.0, size.1, LIMITS).unwrap();
            prop_assert!(picture.has_alpha);
            prop_assert_eq!(picture.bytes, raw);
        }

        #[test]
        fn our_encoder_is_understood(
            size in (1_u32..60, 1_u32..60),
            noise in prop::collection::vec(any::<u8>(), 1..600),
        ) {
            let bytes = usize::try_from(size.0 * size.1 * 4).unwrap();
            let raw: Vec<u8> = noise.iter().copied().cycle().take(bytes).collect();
            let picture = decode(&encode(&raw), size.0, size.1, LIMITS).unwrap();
            let wanted: Vec<u8> = raw.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2], 0]).collect();
            prop_assert_eq!(picture.bytes, wanted);
        }

        #[test]
        fn no_stream_panics(
            head in (0_u8..3, 5_u8..11),
            size in (1_u32..60, 1_u32..60),
            blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4),
        ) {
            let mut data = vec![head.0, head.1];
            for block in blocks {
                data.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
                data.extend(block);
            }
            let _ = decode(&data, size.0, size.1, LIMITS);
        }

        #[test]
        fn a_damaged_stream_never_panics(at in 0_usize..61, value in any::<u8>()) {
            let mut data = hex(TWO_BLOCKS);
            data[at] = value;
            let _ = decode(&data, 8, 2, LIMITS);
        }
    }
}
