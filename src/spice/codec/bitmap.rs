//! Raw bitmaps, formats 1 to 10.

use super::{CodecError, ImageLimits, IndexLayout, Picture, expand_555, flip};
use crate::spice::wire::image::Bitmap;

/// SPICE_BITMAP_FMT.
mod format {
    pub(super) const BIT_LE: u8 = 1;
    pub(super) const BIT_BE: u8 = 2;
    pub(super) const NIBBLE_LE: u8 = 3;
    pub(super) const NIBBLE_BE: u8 = 4;
    pub(super) const BYTE: u8 = 5;
    pub(super) const RGB16: u8 = 6;
    pub(super) const RGB24: u8 = 7;
    pub(super) const RGB32: u8 = 8;
    pub(super) const RGBA: u8 = 9;
    pub(super) const ALPHA8: u8 = 10;
}

/// Decodes a bitmap; `palette` holds the colours of an indexed one.
pub fn decode(
    bitmap: &Bitmap<'_>,
    palette: Option<&[u32]>,
    limits: ImageLimits,
) -> Result<Picture, CodecError> {
    let layout = match bitmap.format {
        format::BIT_LE => IndexLayout::BIT_LE,
        format::BIT_BE => IndexLayout::BIT_BE,
        format::NIBBLE_LE => IndexLayout::NIBBLE_LE,
        format::NIBBLE_BE => IndexLayout::NIBBLE_BE,
        format::BYTE => IndexLayout::BYTE,
        _ => return decode_direct(bitmap, limits),
    };
    let palette = palette.ok_or(CodecError::NoPalette { format: layout.name })?;
    decode_rows(bitmap, limits, layout.row_bytes(bitmap.width), |row, out| layout.expand(row, palette, out))
}

/// Decodes a one-bit mask: white where the bit is 1, black elsewhere, whatever the palette says.
pub fn decode_mask(bitmap: &Bitmap<'_>, limits: ImageLimits) -> Result<Picture, CodecError> {
    if !matches!(bitmap.format, format::BIT_LE | format::BIT_BE) {
        let (wanted, got) = (format::BIT_BE.into(), bitmap.format.into());
        return Err(CodecError::Mismatch { what: "bitmap format of a mask", wanted, got });
    }
    decode(bitmap, Some(&[0, 0x00ff_ffff]), limits)
}

fn decode_direct(bitmap: &Bitmap<'_>, limits: ImageLimits) -> Result<Picture, CodecError> {
    let width = u64::from(bitmap.width);
    match bitmap.format {
        format::RGB16 => decode_rows(bitmap, limits, width * 2, |row, out| {
            for (pixel, source) in out.chunks_exact_mut(4).zip(row.chunks_exact(2)) {
                pixel[..3].copy_from_slice(&expand_555(u16::from_le_bytes([source[0], source[1]])));
            }
            Ok(())
        }),
        format::RGB24 => decode_rows(bitmap, limits, width * 3, |row, out| {
            for (pixel, source) in out.chunks_exact_mut(4).zip(row.chunks_exact(3)) {
                pixel[..3].copy_from_slice(source);
            }
            Ok(())
        }),
        format::RGB32 => decode_rows(bitmap, limits, width * 4, |row, out| {
            for (pixel, source) in out.chunks_exact_mut(4).zip(row.chunks_exact(4)) {
                // The guest leaves anything in the fourth byte; nobody below may see it.
                pixel.copy_from_slice(&[source[0], source[1], source[2], 0]);
            }
            Ok(())
        }),
        format::RGBA => {
            let mut picture = decode_rows(bitmap, limits, width * 4, |row, out| {
                out.iter_mut().zip(row).for_each(|(to, from)| *to = *from);
                Ok(())
            })?;
            picture.has_alpha = true;
            Ok(picture)
        }
        format::ALPHA8 => Err(CodecError::Unsupported { codec: "8-bit alpha" }),
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
    row_bytes: u64,
    mut decode_row: impl FnMut(&[u8], &mut [u8]) -> Result<(), CodecError>,
) -> Result<Picture, CodecError> {
    let pixels = limits.check(bitmap.width, bitmap.height)?;
    if u64::from(bitmap.stride) < row_bytes {
        let got = bitmap.stride.into();
        return Err(CodecError::Mismatch { what: "bitmap stride", wanted: row_bytes, got });
    }
    let mut bytes = vec![0; pixels * 4];
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
