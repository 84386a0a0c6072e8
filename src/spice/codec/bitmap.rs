//! Raw bitmaps, formats 1 to 10.

use super::{CodecError, ImageLimits, IndexLayout, Picture, Pool, expand_555, flip};
use crate::spice::wire::image::Bitmap;

/// SPICE_BITMAP_FMT.
pub(super) mod format {
    pub(in super::super) const BIT_LE: u8 = 1;
    pub(in super::super) const BIT_BE: u8 = 2;
    pub(in super::super) const NIBBLE_LE: u8 = 3;
    pub(in super::super) const NIBBLE_BE: u8 = 4;
    pub(in super::super) const BYTE: u8 = 5;
    pub(in super::super) const RGB16: u8 = 6;
    pub(in super::super) const RGB24: u8 = 7;
    pub(in super::super) const RGB32: u8 = 8;
    pub(in super::super) const RGBA: u8 = 9;
    pub(in super::super) const ALPHA8: u8 = 10;
}

/// Decodes a bitmap; `palette` holds the colours of an indexed one.
pub fn decode(
    bitmap: &Bitmap<'_>,
    palette: Option<&[u32]>,
    limits: ImageLimits,
) -> Result<Picture, CodecError> {
    decode_in(bitmap, palette, limits, &Pool::default())
}

/// The same with memory out of `pool`.
pub fn decode_in(
    bitmap: &Bitmap<'_>,
    palette: Option<&[u32]>,
    limits: ImageLimits,
    pool: &Pool,
) -> Result<Picture, CodecError> {
    let layout = match bitmap.format {
        format::BIT_LE => IndexLayout::BIT_LE,
        format::BIT_BE => IndexLayout::BIT_BE,
        format::NIBBLE_LE => IndexLayout::NIBBLE_LE,
        format::NIBBLE_BE => IndexLayout::NIBBLE_BE,
        format::BYTE => IndexLayout::BYTE,
        _ => return decode_direct(bitmap, limits, pool),
    };
    let palette = palette.ok_or(CodecError::NoPalette { format: layout.name })?;
    let row_bytes = layout.row_bytes(bitmap.width);
    decode_rows(bitmap, limits, pool, row_bytes, |row, out| layout.expand(row, palette, out))
}

/// Decodes a one-bit mask: white where the bit is 1, black elsewhere, whatever the palette says.
pub fn decode_mask(bitmap: &Bitmap<'_>, limits: ImageLimits, pool: &Pool) -> Result<Picture, CodecError> {
    if !matches!(bitmap.format, format::BIT_LE | format::BIT_BE) {
        let (wanted, got) = (format::BIT_BE.into(), bitmap.format.into());
        return Err(CodecError::Mismatch { what: "bitmap format of a mask", wanted, got });
    }
    decode_in(bitmap, Some(&[0, 0x00ff_ffff]), limits, pool)
}

fn decode_direct(bitmap: &Bitmap<'_>, limits: ImageLimits, pool: &Pool) -> Result<Picture, CodecError> {
    let width = u64::from(bitmap.width);
    match bitmap.format {
        format::RGB16 => decode_rows(bitmap, limits, pool, width * 2, |row, out| {
            for (pixel, source) in out.chunks_exact_mut(4).zip(row.chunks_exact(2)) {
                pixel[..3].copy_from_slice(&expand_555(u16::from_le_bytes([source[0], source[1]])));
            }
            Ok(())
        }),
        format::RGB24 => decode_rows(bitmap, limits, pool, width * 3, |row, out| {
            for (pixel, source) in out.chunks_exact_mut(4).zip(row.chunks_exact(3)) {
                pixel[..3].copy_from_slice(source);
            }
            Ok(())
        }),
        format::RGB32 => decode_rows(bitmap, limits, pool, width * 4, |row, out| {
            for (pixel, source) in out.as_chunks_mut::<4>().0.iter_mut().zip(row.as_chunks::<4>().0) {
                // The guest leaves anything in the fourth byte; nobody below may see it.
                *pixel = (u32::from_le_bytes(*source) & 0x00ff_ffff).to_le_bytes();
            }
            Ok(())
        }),
        format::RGBA => {
            let mut picture = decode_rows(bitmap, limits, pool, width * 4, |row, out| {
                out.iter_mut().zip(row).for_each(|(to, from)| *to = *from);
                Ok(())
            })?;
            picture.has_alpha = true;
            Ok(picture)
        }
        format::ALPHA8 => {
            let mut picture = decode_rows(bitmap, limits, pool, width, |row, out| {
                out.chunks_exact_mut(4).zip(row).for_each(|(pixel, alpha)| pixel[3] = *alpha);
                Ok(())
            })?;
            picture.has_alpha = true;
            Ok(picture)
        }
        other => Err(CodecError::Mismatch {
            what: "bitmap format",
            wanted: format::RGB32.into(),
            got: other.into(),
        }),
    }
}

fn decode_rows(
    bitmap: &Bitmap<'_>,
    limits: ImageLimits,
    pool: &Pool,
    row_bytes: u64,
    mut decode_row: impl FnMut(&[u8], &mut [u8]) -> Result<(), CodecError>,
) -> Result<Picture, CodecError> {
    let pixels = limits.check(bitmap.width, bitmap.height)?;
    if u64::from(bitmap.stride) < row_bytes {
        let got = bitmap.stride.into();
        return Err(CodecError::Mismatch { what: "bitmap stride", wanted: row_bytes, got });
    }
    let mut bytes = pool.take(pixels * 4);
    let out_row = bytes.len() / usize::try_from(bitmap.height).unwrap_or(1);
    let stride = usize::try_from(bitmap.stride).unwrap_or(usize::MAX);
    let mut produced = 0;
    for (row, out) in bitmap.data.chunks_exact(stride).zip(bytes.chunks_exact_mut(out_row)) {
        decode_row(row, out)?;
        produced += out.len() / 4;
    }
    if produced != pixels {
        return Err(CodecError::Truncated { offset: bitmap.data.len(), produced, wanted: pixels });
    }
    flip(&mut bytes, out_row, bitmap.flags & Bitmap::TOP_DOWN != 0);
    Ok(Picture { width: bitmap.width, height: bitmap.height, has_alpha: false, bytes })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;
    use crate::spice::wire::image::PaletteSource;

    const LIMITS: ImageLimits = ImageLimits { side: 64, pixels: 1024 };

    fn bitmap(format: u8, width: u32, height: u32, stride: u32, data: &[u8]) -> Bitmap<'_> {
        let flags = Bitmap::TOP_DOWN;
        Bitmap { format, flags, width, height, stride, palette: PaletteSource::None, data }
    }

    /// Blue channel of each pixel of a row whose palette is its own index.
    fn indices(format: u8, width: u32, data: &[u8]) -> Vec<u8> {
        let palette: Vec<u32> = (0..16).collect();
        let bitmap = bitmap(format, width, 1, u32::try_from(data.len()).unwrap(), data);
        let picture = decode(&bitmap, Some(&palette), LIMITS).unwrap();
        picture.bytes.chunks_exact(4).map(|pixel| pixel[0]).collect()
    }

    #[test]
    fn indexed_pixels_begin_at_the_end_their_format_says() {
        assert_eq!(indices(1, 9, &[0b0000_0101, 1]), [1, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(indices(2, 9, &[0b1010_0000, 0x80]), [1, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(indices(3, 3, &[0x21, 0x03]), [1, 2, 3]);
        assert_eq!(indices(4, 3, &[0x12, 0x30]), [1, 2, 3]);
        assert_eq!(indices(5, 3, &[1, 2, 3]), [1, 2, 3]);
    }

    #[test]
    fn direct_pixels_become_bgrx() {
        let pixel = |format, data: &[u8]| {
            let stride = u32::try_from(data.len()).unwrap();
            let picture = decode(&bitmap(format, 1, 1, stride, data), None, LIMITS).unwrap();
            (picture.bytes, picture.has_alpha)
        };
        assert_eq!(pixel(6, &[0b0010_0001, 0b0111_1100]), (vec![8, 8, 255, 0], false));
        assert_eq!(pixel(7, &[1, 2, 3]), (vec![1, 2, 3, 0], false));
        assert_eq!(pixel(8, &[1, 2, 3, 0xaa]), (vec![1, 2, 3, 0], false));
        assert_eq!(pixel(9, &[1, 2, 3, 0xaa]), (vec![1, 2, 3, 0xaa], true));
        assert_eq!(pixel(10, &[0xaa]), (vec![0, 0, 0, 0xaa], true));
    }

    #[test]
    fn rows_are_bottom_up_unless_flagged_and_padding_is_skipped() {
        let mut image = bitmap(7, 1, 3, 4, &[1, 1, 1, 9, 2, 2, 2, 9, 3, 3, 3, 9]);
        let blues = |image: &Bitmap<'_>| -> Vec<u8> {
            decode(image, None, LIMITS).unwrap().bytes.iter().step_by(4).copied().collect()
        };
        assert_eq!(blues(&image), [1, 2, 3]);
        image.flags = 0;
        assert_eq!(blues(&image), [3, 2, 1]);
    }

    #[test]
    fn a_mask_is_white_where_its_bit_is_set() {
        let picture = decode_mask(&bitmap(2, 2, 1, 1, &[0b0100_0000]), LIMITS, &Pool::default()).unwrap();
        assert_eq!(picture.bytes, [0, 0, 0, 0, 255, 255, 255, 0]);
        assert!(decode_mask(&bitmap(8, 1, 1, 4, &[0; 4]), LIMITS, &Pool::default()).is_err());
    }

    #[test]
    fn impossible_bitmaps_are_refused() {
        let fails = |image: &Bitmap<'_>, palette| decode(image, palette, LIMITS).unwrap_err();
        assert!(matches!(
            fails(&bitmap(8, 2, 1, 4, &[0; 4]), None),
            CodecError::Mismatch { wanted: 8, got: 4, .. }
        ));
        assert!(matches!(
            fails(&bitmap(8, 1, 2, 4, &[0; 4]), None),
            CodecError::Truncated { produced: 1, .. }
        ));
        assert!(matches!(fails(&bitmap(8, 0, 2, 0, &[]), None), CodecError::Size { .. }));
        assert!(matches!(fails(&bitmap(8, 65, 1, 0, &[]), None), CodecError::Size { width: 65, .. }));
        assert!(matches!(fails(&bitmap(8, 64, 64, 0, &[]), None), CodecError::Size { pixels: 1024, .. }));
        assert!(matches!(fails(&bitmap(5, 1, 1, 1, &[0]), None), CodecError::NoPalette { .. }));
        let one_colour = [0x00ff_ffff];
        let error = fails(&bitmap(5, 1, 1, 1, &[1]), Some(&one_colour));
        assert_eq!(error, CodecError::PaletteIndex { index: 1, size: 1 });
        assert!(matches!(fails(&bitmap(11, 1, 1, 4, &[0; 4]), None), CodecError::Mismatch { got: 11, .. }));
    }

    proptest! {
        #[test]
        fn no_bitmap_panics(
            format in 0_u8..12,
            size in (0_u32..80, 0_u32..80),
            stride in 0_u32..300,
            data in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let image = bitmap(format, size.0, size.1, stride, &data);
            if let Ok(picture) = decode(&image, Some(&[1, 2, 3]), LIMITS) {
                assert_eq!(u64::try_from(picture.bytes.len()).unwrap(), picture.pixels() * 4);
            }
        }
    }
}
