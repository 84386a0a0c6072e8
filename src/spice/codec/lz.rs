//! LZ images: literals and references within one image.

use super::units::{Alpha, Byte, Input, Pass, Rgb, Rgb16, Unit};
use super::{CodecError, ImageLimits, IndexLayout, Picture, Pool, flip};

/// First bytes of every LZ and GLZ stream.
pub(super) const MAGIC: u32 = 0x2020_5a4c;
/// The version of both.
pub(super) const VERSION: u32 = 0x0001_0001;

/// The pixel type in LZ and GLZ headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PixelType {
    Plt1Le,
    Plt1Be,
    Plt4Le,
    Plt4Be,
    Plt8,
    Rgb16,
    Rgb24,
    Rgb32,
    Rgba,
    Xxxa,
    A8,
}

impl PixelType {
    pub(super) fn from_wire(value: u32) -> Result<Self, CodecError> {
        Ok(match value {
            1 => Self::Plt1Le,
            2 => Self::Plt1Be,
            3 => Self::Plt4Le,
            4 => Self::Plt4Be,
            5 => Self::Plt8,
            6 => Self::Rgb16,
            7 => Self::Rgb24,
            8 => Self::Rgb32,
            9 => Self::Rgba,
            10 => Self::Xxxa,
            11 => Self::A8,
            other => {
                return Err(CodecError::Mismatch { what: "LZ pixel type", wanted: 8, got: other.into() });
            }
        })
    }

    fn index_layout(self) -> Option<IndexLayout> {
        match self {
            Self::Plt1Le => Some(IndexLayout::BIT_LE),
            Self::Plt1Be => Some(IndexLayout::BIT_BE),
            Self::Plt4Le => Some(IndexLayout::NIBBLE_LE),
            Self::Plt4Be => Some(IndexLayout::NIBBLE_BE),
            Self::Plt8 => Some(IndexLayout::BYTE),
            _ => None,
        }
    }

    /// Bytes of a row before compression.
    fn row_bytes(self, width: u32) -> u64 {
        let width = u64::from(width);
        match self {
            Self::Rgb16 => width * 2,
            Self::Rgb24 => width * 3,
            Self::Rgb32 | Self::Rgba | Self::Xxxa => width * 4,
            Self::A8 => width,
            Self::Plt1Le | Self::Plt1Be => width.div_ceil(8),
            Self::Plt4Le | Self::Plt4Be => width.div_ceil(2),
            Self::Plt8 => width,
        }
    }
}

/// The LZ header. Unlike everything around it, it is big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    pixel_type: PixelType,
    width: u32,
    height: u32,
    is_top_down: bool,
}

impl Header {
    const LENGTH: usize = 28;

    fn decode(data: &[u8], width: u32, height: u32) -> Result<Self, CodecError> {
        let mut words =
            data.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
        let mut word = || words.next().ok_or(truncated_header(data, Self::LENGTH));
        require("LZ magic", MAGIC.into(), word()?.into())?;
        require("LZ version", VERSION.into(), word()?.into())?;
        let pixel_type = PixelType::from_wire(word()?)?;
        require("LZ width", width.into(), word()?.into())?;
        require("LZ height", height.into(), word()?.into())?;
        require("LZ stride", pixel_type.row_bytes(width), word()?.into())?;
        let is_top_down = word()? != 0;
        Ok(Self { pixel_type, width, height, is_top_down })
    }
}

/// Which image type the stream is in; each carries its own pixel types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container<'p> {
    /// LZ_RGB.
    Rgb,
    /// LZ_PLT with its palette.
    Plt(&'p [u32]),
}

/// Decodes an LZ stream of an image of `width` by `height` pixels.
pub fn decode(
    data: &[u8],
    container: Container<'_>,
    width: u32,
    height: u32,
    limits: ImageLimits,
) -> Result<Picture, CodecError> {
    decode_in(data, container, width, height, limits, &Pool::default())
}

/// The same with memory out of `pool`.
pub fn decode_in(
    data: &[u8],
    container: Container<'_>,
    width: u32,
    height: u32,
    limits: ImageLimits,
    pool: &Pool,
) -> Result<Picture, CodecError> {
    let pixels = limits.check(width, height)?;
    let header = Header::decode(data, width, height)?;
    let mut input = Input::new(data, Header::LENGTH);
    if let Container::Plt(palette) = container {
        let Some(layout) = header.pixel_type.index_layout() else { return Err(foreign_type("LZ_PLT")) };
        return decode_indexed(&mut input, &header, layout, palette, pixels, pool);
    }
    let mut bytes = pool.take(pixels * 4);
    let mut has_alpha = false;
    match header.pixel_type {
        PixelType::Rgb32 | PixelType::Rgb24 => decode_pass::<Rgb>(&mut input, &mut bytes)?,
        PixelType::Rgb16 => decode_pass::<Rgb16>(&mut input, &mut bytes)?,
        PixelType::Rgba => {
            decode_pass::<Rgb>(&mut input, &mut bytes)?;
            decode_pass::<Alpha>(&mut input, &mut bytes)?;
            has_alpha = true;
        }
        PixelType::A8 => {
            decode_pass::<Alpha>(&mut input, &mut bytes)?;
            has_alpha = true;
        }
        _ => return Err(foreign_type("LZ_RGB")),
    }
    flip(&mut bytes, row_length(header.width), header.is_top_down);
    Ok(Picture { width, height, has_alpha, bytes })
}

/// Decodes the alpha of an image whose colours are there already, top row first. The rows of the stream must
/// be in the order the image type announced.
pub(super) fn decode_alpha(data: &[u8], is_top_down: bool, picture: &mut Picture) -> Result<(), CodecError> {
    let header = Header::decode(data, picture.width, picture.height)?;
    if header.pixel_type != PixelType::Xxxa {
        return Err(foreign_type("JPEG_ALPHA"));
    }
    require("LZ top_down", is_top_down.into(), header.is_top_down.into())?;
    let mut input = Input::new(data, Header::LENGTH);
    let row_bytes = row_length(picture.width);
    // The pass goes in storage order.
    flip(&mut picture.bytes, row_bytes, is_top_down);
    decode_pass::<Alpha>(&mut input, &mut picture.bytes)?;
    flip(&mut picture.bytes, row_bytes, is_top_down);
    picture.has_alpha = true;
    Ok(())
}

fn decode_indexed(
    input: &mut Input<'_>,
    header: &Header,
    layout: IndexLayout,
    palette: &[u32],
    pixels: usize,
    pool: &Pool,
) -> Result<Picture, CodecError> {
    let (width, height) = (header.width, header.height);
    let stride = usize::try_from(layout.row_bytes(width)).unwrap_or(usize::MAX);
    // No more than the pixels, which are within the limits.
    let mut indices = pool.take(stride * usize::try_from(height).unwrap_or(usize::MAX));
    decode_pass::<Byte>(input, &mut indices)?;
    let mut bytes = pool.take(pixels * 4);
    for (row, out) in indices.chunks_exact(stride).zip(bytes.chunks_exact_mut(row_length(width))) {
        layout.expand(row, palette, out)?;
    }
    pool.give(indices);
    flip(&mut bytes, row_length(width), header.is_top_down);
    Ok(Picture { width, height, has_alpha: false, bytes })
}

/// One pass: a control byte below 32 announces literals, any other a reference.
fn decode_pass<U: Unit>(input: &mut Input<'_>, out: &mut [u8]) -> Result<(), CodecError> {
    let mut pass = Pass::new::<U>(out);
    while !pass.is_complete() {
        let Some(control) = input.byte() else { return Err(pass.truncated(input)) };
        if control < 32 {
            pass.literals::<U>(input, control + 1)?;
            continue;
        }
        let Some((length, distance)) = reference(input, control) else { return Err(pass.truncated(input)) };
        pass.repeat::<U>(length + U::LENGTH_BIAS, distance)?;
    }
    Ok(())
}

/// Length without bias, and distance, of the reference that `control` begins.
fn reference(input: &mut Input<'_>, control: usize) -> Option<(usize, usize)> {
    /// What one control and one offset byte reach; beyond it two more bytes follow.
    const NEAR: usize = 8191;
    let length = input.extended_length(control >> 5)?;
    let near = (control & 31) << 8 | input.byte()?;
    let offset = if near == NEAR { (input.byte()? << 8 | input.byte()?) + NEAR } else { near };
    Some((length, offset + 1))
}

pub(super) fn require(what: &'static str, wanted: u64, got: u64) -> Result<(), CodecError> {
    if wanted == got { Ok(()) } else { Err(CodecError::Mismatch { what, wanted, got }) }
}

pub(super) fn truncated_header(data: &[u8], wanted: usize) -> CodecError {
    CodecError::Truncated { offset: data.len(), produced: 0, wanted }
}

/// Bytes of a decoded row; the width is within the limits.
pub(super) fn row_length(width: u32) -> usize {
    usize::try_from(width).unwrap_or(usize::MAX).saturating_mul(4)
}

fn foreign_type(container: &'static str) -> CodecError {
    CodecError::ForeignPixelType { container }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;
    use crate::spice::codec::testing::{blocks, expected};
    use crate::spice::wire::testing::hex;

    const LIMITS: ImageLimits = ImageLimits { side: 128, pixels: 16_384 };

    /// An RGBA test picture of 40 x 6.
    const RGBA: &str = "
        20205a4c00010001000000090000002800000006000000a00000000101ff0000ff0000e0000000d7503ce0010000afa078e0
        01000087f0b4e00100e002238000e06827e01d6ee002238000e014be03d7503cd7503cd7503cd7503c01ffffe00900004280
        000063c00000002000e08327a0984096600000212000e00b9fe0082702212121";
    /// Palette indices, 24 x 6, bottom row first.
    const PLT8: &str = "
        20205a4c000100010000000500000018000000060000001800000000010000a0000050c00000a06000e03f17e00656200000
        f06000e00c1702f0f0f0";
    /// An RGB16 test picture of 40 x 5.
    const RGB16: &str = "
        20205a4c00010001000000060000002800000005000000500000000101001f001fc000001d5ae00000003e95e00000005bd0
        e00000e001236000e06727e01c6e031d5a1d5a1d5a1d5a";
    /// A grey RGB32 picture of 9 x 2, as QEMU sent it.
    const RGB32: &str = "
        20205a4c00010001000000080000000900000002000000240000000101a8a8a8a8a8a8e0060002a8a8a8a8a8a8a8a8a8";

    #[test]
    fn rgba_is_a_colour_pass_and_an_alpha_pass() {
        let picture = decode(&hex(RGBA), Container::Rgb, 40, 6, LIMITS).unwrap();
        assert!(picture.has_alpha);
        assert!(picture.bytes == expected(40, 6, blocks));
    }

    #[test]
    fn palette_indices_are_coloured_and_turned_over() {
        let palette: Vec<u32> = (0..256).collect();
        let picture = decode(&hex(PLT8), Container::Plt(&palette), 24, 6, LIMITS).unwrap();
        assert!(picture.bytes == expected(24, 6, |x, y| [blocks(x, 5 - y)[1], 0, 0, 0]));
        let short = decode(&hex(PLT8), Container::Plt(&palette[..200]), 24, 6, LIMITS);
        assert_eq!(short, Err(CodecError::PaletteIndex { index: 240, size: 200 }));
    }

    #[test]
    fn sixteen_bit_pixels_are_spread() {
        let spread = |value: u8| value >> 3 << 3 | value >> 5;
        let picture = decode(&hex(RGB16), Container::Rgb, 40, 5, LIMITS).unwrap();
        assert!(
            picture.bytes
                == expected(40, 5, |x, y| {
                    let [b, g, r, _] = blocks(x, y);
                    [spread(b), spread(g), spread(r), 0]
                })
        );
    }

    /// A stream of one row, top-down, that is one run of literals.
    fn literals(kind: u32, width: u32, units: usize, bytes: &str) -> Vec<u8> {
        let row = PixelType::from_wire(kind).unwrap().row_bytes(width);
        let words = [MAGIC, VERSION, kind, width, 1, u32::try_from(row).unwrap(), 1];
        let mut data: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        data.push(u8::try_from(units - 1).unwrap());
        data.extend(hex(bytes));
        data
    }

    #[test]
    fn indices_of_every_size_begin_at_the_end_their_type_says() {
        let palette: Vec<u32> = (0..16).collect();
        let indices = |kind, width, units, bytes| -> Vec<u8> {
            let data = literals(kind, width, units, bytes);
            let picture = decode(&data, Container::Plt(&palette), width, 1, LIMITS).unwrap();
            picture.bytes.chunks_exact(4).map(|pixel| pixel[0]).collect()
        };
        assert_eq!(indices(1, 9, 2, "05 01"), [1, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(indices(2, 9, 2, "a0 80"), [1, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(indices(3, 3, 2, "21 03"), [1, 2, 3]);
        assert_eq!(indices(4, 3, 2, "12 30"), [1, 2, 3]);
        assert_eq!(indices(5, 3, 3, "01 02 03"), [1, 2, 3]);
    }

    #[test]
    fn twenty_four_bits_and_alpha_alone_are_pixels_too() {
        let colours = decode(&literals(7, 2, 2, "010203 040506"), Container::Rgb, 2, 1, LIMITS).unwrap();
        assert_eq!((colours.bytes, colours.has_alpha), (vec![1, 2, 3, 0, 4, 5, 6, 0], false));
        let alpha = decode(&literals(11, 2, 2, "07 08"), Container::Rgb, 2, 1, LIMITS).unwrap();
        assert_eq!((alpha.bytes, alpha.has_alpha), (vec![0, 0, 0, 7, 0, 0, 0, 8], true));
    }

    #[test]
    fn a_live_sample_decodes() {
        let picture = decode(&hex(RGB32), Container::Rgb, 9, 2, LIMITS).unwrap();
        assert!(picture.bytes == expected(9, 2, |_, _| [0xa8, 0xa8, 0xa8, 0]));
    }

    #[test]
    fn every_truncation_is_an_error() {
        for (sample, size) in [(RGBA, (40, 6)), (RGB16, (40, 5)), (RGB32, (9, 2))] {
            let data = hex(sample);
            for length in 0..data.len() {
                assert!(decode(&data[..length], Container::Rgb, size.0, size.1, LIMITS).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn header_and_descriptor_must_agree() {
        let mismatch = |at: usize, value: u8| {
            let mut data = hex(RGB32);
            data[at] = value;
            decode(&data, Container::Rgb, 9, 2, LIMITS).unwrap_err()
        };
        for (at, value, wanted) in
            [(0, 0x21, MAGIC), (7, 2, VERSION), (15, 8, 9), (19, 3, 2), (23, 0x25, 0x24)]
        {
            let wanted = u64::from(wanted);
            assert!(
                matches!(mismatch(at, value), CodecError::Mismatch { wanted: w, .. } if w == wanted),
                "{at}"
            );
        }
        assert!(matches!(mismatch(11, 12), CodecError::Mismatch { got: 12, .. }));
        assert!(matches!(mismatch(11, 10), CodecError::ForeignPixelType { container: "LZ_RGB" }));
        let indexed = decode(&hex(RGB32), Container::Plt(&[]), 9, 2, LIMITS);
        assert_eq!(indexed, Err(CodecError::ForeignPixelType { container: "LZ_PLT" }));
    }

    #[test]
    fn references_stay_within_the_image() {
        let header = hex("20205a4c 00010001 00000008 00000004 00000001 00000010 00000001");
        let decode = |body: &str| decode(&[header.clone(), hex(body)].concat(), Container::Rgb, 4, 1, LIMITS);
        assert!(decode("00 010203 60 00").is_ok(), "one literal, three copies of it");
        // Back beyond the first pixel, more than the image holds, more literals than the image holds.
        for body in ["00 010203 60 01", "00 010203 80 00", "04 010203010203010203010203010203", "60 00"] {
            assert!(matches!(decode(body), Err(CodecError::BadReference { wanted: 4, .. })), "{body}");
        }
        assert!(matches!(decode("00 010203 e0 ffffffffffff"), Err(CodecError::Truncated { .. })));
    }

    proptest! {
        #[test]
        fn no_stream_panics(
            kind in 0_u8..13,
            size in (1_u32..40, 1_u32..40),
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let row = PixelType::from_wire(kind.into()).map_or(0, |kind| kind.row_bytes(size.0));
            let words = [MAGIC, VERSION, kind.into(), size.0, size.1, u32::try_from(row).unwrap(), 1];
            let header = words.iter().flat_map(|word| word.to_be_bytes());
            let data: Vec<u8> = header.chain(body).collect();
            let _ = decode(&data, Container::Rgb, size.0, size.1, LIMITS);
            let _ = decode(&data, Container::Plt(&[1, 2, 3]), size.0, size.1, LIMITS);
        }

        #[test]
        fn no_bytes_panic(data in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&data, Container::Rgb, 8, 8, LIMITS);
        }
    }
}
